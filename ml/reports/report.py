"""The report: one HTML file of all models of a lake, who serves, how wrong, and what came of the last publications."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime

import duckdb

from ml.environments import PRODUCTION
from ml.exposures import Exposure
from ml.records import overview
from ml.reports import html

TEMPLATE = "report.html.jinja"
LAST = 20  # publications that are shown


def to_html(
    con: duckdb.DuckDBPyConnection, exposures: Sequence[Exposure], cards: Mapping[str, str], now: datetime
) -> str:
    """The report, one self-contained file.

    Args:
        exposures: The models to show, in order.
        cards: Where the champion's card is, relative to the report, by exposure; of those that have one.
        now: The moment that it is of.
    """
    serving = {row.exposure: row for row in overview.serving(con)}
    live = dict(overview.live_errors(con))
    moved = {name: (most, columns) for name, most, columns in overview.most_moved(con)}
    models = []
    for exposure in exposures:
        most, columns = moved.get(exposure.name, (None, 0))
        models.append(
            {
                "exposure": exposure,
                "serving": serving.get(exposure.name),
                "live": live.get(exposure.name),
                "turned_out": overview.turned_out(live[exposure.name]) if exposure.name in live else "",
                "moved": most,
                "moved_columns": columns,
                "card": cards.get(exposure.name),
                "picture": _picture(con, exposure),
            }
        )
    environment = exposures[0].environment if exposures else PRODUCTION
    events = overview.followed(con, LAST, environment)
    return html.template(TEMPLATE).render(models=models, events=events, now=now)


def _picture(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> dict[str, str] | None:
    """The errors of its versions; None before the first."""
    learned = overview.learned(con, exposure.name, exposure.metric)
    if not learned:
        return None
    drawn = html.pictures().errors_by_version(learned, exposure.spec.unit, exposure.metric)
    return {"title": drawn.title, "data": base64.b64encode(drawn.svg).decode()}
