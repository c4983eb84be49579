"""A learned-from table whose targets are classes of every type, some without an answer, with names of all sorts."""

from typing import Any

import duckdb
import numpy as np
import pandas as pd

from ml.exposures import Exposure
from ml.records import publications, tables
from ml.spec import FeaturesSpec, Spec

KEY, SIZE, WHERE = "row no", 'Größe "m²"', "select"
# By target: its type, and its classes, the first of which are more likely where the size is greater.
KINDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "order": ("VARCHAR", ("a'b", "", "null")),
    "is open?": ("BOOLEAN", (True, False)),
    'the "level"': ("ENUM('hi', 'lo')", ("lo", "hi")),
    "Klasse": ("SMALLINT", (7, -1, 30)),
}
RELATION = "features.classified"


def exposure(target: str, **spec: Any) -> Exposure:
    """An exposure on one of the targets, with a table of predictions of its own."""
    kind, _ = KINDS[target]
    asked = {"candidates": ("logistic",), "group": "cell"} | spec
    if kind == "SMALLINT":
        asked["task"] = "classification"
    return Exposure(
        name=f"class_{list(KINDS).index(target)}",
        owner="Someone",
        owner_email=None,
        description="",
        unique_id="model.tract.classified",
        relation=RELATION,
        columns={KEY: "VARCHAR", SIZE: "DOUBLE", WHERE: "VARCHAR", "cell": "VARCHAR"}
        | {name: kind for name, (kind, _) in KINDS.items()},
        spec=Spec(
            key=KEY,
            target=target,
            predictions=f"classes_{list(KINDS).index(target)}",
            features=FeaturesSpec(include=(SIZE, WHERE)),
            **asked,
        ),
    )


def frame(rows: int = 400, seed: int = 0, unknown: float = 0.1) -> pd.DataFrame:
    """Rows as pandas has them; None where there is no answer, or no place."""
    random = np.random.default_rng(seed)
    size, where = random.normal(size=rows), random.integers(0, 4, rows)
    made = pd.DataFrame(
        {
            KEY: [f"k{i:05d}" for i in range(rows)],
            SIZE: size,
            WHERE: np.array(["from", "it's", None, "wo"], object)[where],
            "cell": [f"c{i % 20}" for i in range(rows)],
        }
    )
    for target, (_, classes) in KINDS.items():
        place = np.digitize(
            -1.5 * size - (where == 1) + random.logistic(size=rows), np.linspace(-1, 1, len(classes) - 1)
        )
        answers = pd.Series([classes[i] for i in place], dtype=object)
        made[target] = answers.where(random.uniform(size=rows) >= unknown, None)
    return made


def publish(con: duckdb.DuckDBPyConnection, rows: pd.DataFrame, asked: Exposure, invocation: str = "first") -> str:
    """Build the table of a frame and publish it, in a lake of `tests.ml.conftest`; the publication's id."""
    for statement in tables.statements([asked]):
        con.execute(statement)
    types = {name: kind.replace("ENUM('hi', 'lo')", "VARCHAR") for name, kind in asked.columns.items()}
    columns = ", ".join(f"cast({_quoted(name)} as {kind}) as {_quoted(name)}" for name, kind in types.items())
    con.execute("begin")
    con.execute(f"create or replace table lake.{RELATION} as select {columns} from rows")
    con.execute(f"call lake.set_commit_message('dbt', '{invocation}', extra_info => '{RELATION}')")
    con.execute("commit")
    ((snapshot,),) = con.execute(publications.snapshot_sql(invocation, RELATION)).fetchall()
    con.execute(publications.insert_sql(invocation, RELATION, str(snapshot)))
    return f"{RELATION}@{snapshot}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
