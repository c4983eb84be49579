"""The report says what the lake holds of every model, and whatever users wrote is text in it."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import duckdb

from ml.exposures import Exposure
from ml.numbers import figure
from ml.records import overview
from ml.reports import report
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import Publish
from tests.ml.reports.test_card import text
from tests.ml.rows import silent

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def consume(exposure: Exposure) -> str:
    made = consume_and_complete(exposure, say=silent)
    assert made is not None
    assert made.version_id is not None
    return made.version_id


def test_a_lake_in_which_nothing_was_built_has_a_report(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> None:
    said = text(report.to_html(con, [exposure], {}, NOW))
    assert "As of 2026-01-02 03:04 UTC." in said
    assert "No version serves: none has passed the gate yet." in said
    assert "None yet: dbt build publishes when its tests pass." in said.replace("  ", " ")
    assert "Drift not measured yet" in said
    assert "Error of each version" not in said


def test_the_report_holds_the_figures_of_the_lake(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    shown = replace(exposure, spec=exposure.spec.model_copy(update={"unit": "dollars", "refresh_margin": 0.0}))
    first_publication = publish(0.1)
    first = consume(shown)
    second_publication = publish(0.2, noise=9.0)
    second = consume(shown)
    waiting = publish(0.3)

    learned = overview.learned(con, "points")
    assert [(one.version_id, one.publication_id, one.candidate, one.served) for one in learned] == [
        (first, first_publication, "ridge", True),
        (second, second_publication, "ridge", False),
    ]
    metrics = con.sql("from lake.ml.model_metrics where split = 'random' and slice = 'all' and metric = 'rmse'").df()
    by_candidate = metrics.set_index(["version_id", "candidate"])["value"]
    for one in learned:
        assert one.value == by_candidate[one.version_id, "ridge"]
        assert one.mean == by_candidate[one.version_id, "mean"]
    # the first version was asked for the second's rows, whose values of the same keys it had not known
    (live,) = con.execute("select rmse, row_count, coverage from lake.ml.live_errors").fetchall()
    assert (learned[0].live, learned[1].live) == (live[0], None)

    page = report.to_html(con, [shown], {"points": "report-points.html"}, NOW)
    said = text(page)
    assert re.search(rf"{first} \(ridge\) serves since \S+ \S+ UTC, promoted by gate: first model, better than", said)
    assert f"Held-out error RMSE {figure(learned[0].value)}, dollars (random folds)" in said
    assert "of held-out values are inside; 90% are asked for" in said
    assert f"Live error RMSE {figure(live[0])} on {live[1]:,} true values that {second_publication} brought" in said
    assert f"{live[2]:.1%} were inside their intervals" in said
    ((_, moved, columns),) = overview.most_moved(con)
    assert f"{moved['column_name']} has moved most in {second_publication}: stability index {moved['psi']:.3f}" in said
    assert re.search(rf"; {columns} columns? (is|are) above 0\.1", said)
    assert '<a href="report-points.html">report-points.html</a>' in page
    events = re.findall(r"<tr><td><code>(.*?)</code></td>.*?<td>points: (?:<strong>)?(\w+)", page)
    assert events == [(waiting, "waits"), (second_publication, "refreshed"), (first_publication, "trained")]
    assert page.count("data:image/svg+xml;base64,") == 1
    assert "http" not in page  # nothing is fetched from elsewhere
    assert re.findall('<li><a href="#(.*?)"', page) == re.findall('<h2 id="(.*?)"', page) == ["model-1", "events"]


def test_what_others_wrote_is_text_and_never_markup(con: duckdb.DuckDBPyConnection, exposure: Exposure) -> None:
    evil = "<script>alert(1)</script>"
    page = report.to_html(con, [replace(exposure, name=evil, description=evil, owner=evil)], {}, NOW)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") == 4  # its name in the contents too
