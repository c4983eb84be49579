"""One sentence for an error of S3, Postgres or the disk: object, operation, and the setting that names the server."""

import re

import psycopg2

from ml import lake
from ml.errors import TractError
from ml.lake import patience
from ml.lake.away import ENDED, SPILLED

# Words of S3 and its clients.
PLACE = re.compile(r"s3://[^\s'\":]+|https?://[^\s'\"]+")
METHOD = re.compile(r"HTTP (GET|HEAD|PUT|POST|DELETE)")
OPERATIONS = {"GET": "Reading", "HEAD": "Reading", "PUT": "Writing", "POST": "Writing", "DELETE": "Removing"}
REFUSED = re.compile(r"HTTP code 40[13]|AccessDenied|Expired\w*|InvalidAccessKeyId|SignatureDoesNotMatch")
NO_ROOM = re.compile(r"HTTP code 507|InsufficientStorage")
# S3's own word for it, which DuckDB gives below its own.
CODE = re.compile(r"^(\w+): ", re.MULTILINE)

QUERY = "Failed to execute query"  # DuckDB's word for a query of the catalog
# Words of Postgres, and what they mean for who reads.
POSTGRES = {
    rf"({patience.NO_ROOM.pattern})[^\n]*": (
        "has no connection left",
        "Raise its max_connections, or the limit of the role (TRACT_POSTGRES_USER)",
    ),
    r"cannot execute [A-Z ]+ in a read-only transaction": (
        "takes no writes",
        "TRACT_POSTGRES_HOST must name a primary, with room on its disk",
    ),
    r"(new row violates row-level security policy for|permission denied for|must be owner of)[^\n]*": (
        "refuses this role",
        "What was to be written is another role's: SECURITY.md says whose (TRACT_POSTGRES_USER)",
    ),
    r"No space left on device": ("has no room", "Free some on its disk (TRACT_POSTGRES_HOST)"),
    r"server closed the connection[^\n]*|terminating connection[^\n]*|no connection to the server|SSL connection has "
    rf"been closed[^\n]*|[Cc]onnection refused|{patience.NOT_READY.pattern}": (
        "ended, or does not answer",
        "See that it is up (TRACT_POSTGRES_HOST, TRACT_POSTGRES_PORT)",
    ),
}


def sentence(error: BaseException) -> str:
    """What to tell a person of an error of which `away.is_away` is true; an error of ours is its own sentence."""
    said = str(error)
    if isinstance(error, TractError):
        return said
    if isinstance(error, psycopg2.Error) or QUERY in said or ENDED.search(said):
        answer = said.rpartition('": ')[2]  # what stands before is the query, with texts of users
        for words, (what, mend) in POSTGRES.items():
            if found := re.search(words, answer):
                return f"Nothing was committed: the catalog's Postgres {what} ({found[0].strip()}). {mend}."
        return f"Nothing was committed: the catalog's Postgres failed ({lake.first_line(answer)})."
    spilled = SPILLED in said  # beside which DuckDB names an address of its documentation
    if (place := PLACE.search(said)) and not spilled:
        return _of_s3(place[0].rstrip(".,"), said)
    if "No space left" in said or spilled:
        return f"The disk is full: {lake.first_line(error)}. DuckDB spills into {lake.home() / 'tmp'} (TRACT_HOME)."
    return f"S3, Postgres or the disk failed: {lake.first_line(error)}."


def _of_s3(place: str, said: str) -> str:
    method = METHOD.search(said)
    failed = f"{OPERATIONS[method[1]] if method else 'Reaching'} {place} failed"
    code = CODE.search(said.partition("\n")[2])
    if refused := REFUSED.search(said):
        return (
            f"{failed}: S3 refuses it ({code[1] if code else refused[0]}). The credentials have expired, or have no "
            "right to it: give others by TRACT_S3_KEY_ID, TRACT_S3_SECRET and `tract connect`."
        )
    if NO_ROOM.search(said):
        return f"{failed}: S3 has no room for it. Free some, or name another store by TRACT_S3_ENDPOINT."
    return f"{failed}, tried again and again: {lake.first_line(said)}. See that S3 is up (TRACT_S3_ENDPOINT)."
