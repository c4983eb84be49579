"""What was measured is read back by version, in order, and which cards are due follows from it."""

from dataclasses import replace

import duckdb
import pandas as pd

from ml.consumption import Consumption
from ml.exposures import Exposure
from ml.records import champions, findings
from tests.ml.records.conftest import Consumed


def test_what_is_recorded_of_a_version_is_read_back_and_its_card_is_due(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, consumed: Consumption
) -> None:
    version, publication = champions.champion(con, "points"), consumed.publication
    assert version is not None
    version_id = version.version_id
    assert findings.cards_due(con, "points") == [(version_id, True)]
    assert findings.importance(con, "points", version_id).empty
    assert findings.last_card(con, "points", version_id) is None

    importance = pd.DataFrame(
        [("b", 1.0, 0.1, 5, "random", 400), ("a", 2.0, 0.2, 5, "random", 400)],
        columns=["feature", "importance_mean", "importance_sd", "repeats", "split", "heldout_rows"],
    )
    dependence = pd.DataFrame(
        [("a", 1, 5.0, 1010.0, 400), ("a", 0, 0.0, 995.0, 400)],
        columns=["feature", "grid_point", "feature_value", "mean_prediction", "averaged_rows"],
    )
    findings.record_explanation(con, exposure, version, importance, dependence)
    assert findings.importance(con, "points", version_id).to_numpy().tolist() == importance[::-1].to_numpy().tolist()
    assert findings.dependence(con, "points", version_id).to_numpy().tolist() == [
        [*row, None]
        for row in dependence[::-1].to_numpy().tolist()  # of numbers there is no class
    ]

    drift = pd.DataFrame(
        [(version_id, publication.publication_id, name, psi, 0.1, 400, 400) for name, psi in (("b", 0.3), ("a", 0.2))],
        columns=[
            "version_id", "baseline_publication_id", "column_name", "psi", "ks", "baseline_rows", "current_rows",
        ],
    )  # fmt: skip
    findings.record_drift(con, exposure, publication, drift)
    found = findings.drift(con, "points", version_id, "another publication")
    assert found[["column_name", "psi"]].to_numpy().tolist() == [["a", 0.2], ["b", 0.3]]

    for source_hash in ("first", "second"):
        findings.record_card(con, exposure, version, source_hash, f"s3://{source_hash}", "0" * 64)
    assert findings.last_card(con, "points", version_id) == ("second", "s3://second", "0" * 64)
    assert findings.cards_due(con, "points") == [(version_id, False)]


def test_a_promotion_lasts_until_another_follows(exposure: Exposure, shared: Consumed) -> None:
    con, _ = shared
    version = champions.champion(con, "points")
    assert version is not None
    champions.promote(con, exposure, replace(version, version_id="other"), "Ann", "for a test")
    (first,) = findings.promotions(con, "points", version.version_id)
    (second,) = findings.promotions(con, "points", "other")
    assert (first["promotion"], first["followed_at"]) == (1, second["promoted_at"])
    assert (second["promotion"], second["promoted_by"], second["reason"]) == (2, "Ann", "for a test")
    assert second["followed_at"] is None
