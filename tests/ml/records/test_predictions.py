"""Predictions stand per publication, version and key, and those of the champion are told from the rest."""

from dataclasses import replace

import pandas as pd

from ml.exposures import Exposure
from ml.records import champions, predictions, scorings
from tests.ml.records.conftest import Consumed


def test_the_champions_predictions_stand_by_key_beside_the_target(exposure: Exposure, shared: Consumed) -> None:
    con, consumed = shared
    publication, version_id = consumed.publication, consumed.version_id
    assert version_id is not None
    of_version = predictions.of_version(con, exposure, publication.publication_id, version_id)
    assert list(of_version) == ["id", "prediction", "lower", "upper"]
    assert of_version["id"].tolist() == sorted(f"k{i}" for i in range(400))
    standing = predictions.standing(con, exposure, publication, 5)
    assert list(standing) == ["id", "y", "prediction", "lower", "upper"]
    pd.testing.assert_frame_equal(standing.drop(columns="y"), of_version.head(5))
    assert (standing["y"] - standing["prediction"]).abs().max() < 1
    assert predictions.count_standing(con, exposure) == (publication.publication_id, 400, 400, 400)


def test_another_versions_predictions_are_beside_and_are_not_the_champions(
    exposure: Exposure, shared: Consumed
) -> None:
    con, consumed = shared
    publication, champion = consumed.publication, champions.champion(con, "points")
    assert champion is not None
    other = replace(champion, version_id="0")
    rows = "(select 'k1' as id, 1.0 as prediction, 0.0 as lower, 2.0 as upper)"
    assert predictions.append(con, exposure, publication, other, rows) == 1
    scorings.record(con, exposure, publication, other, 1, None)
    found = predictions.of_version(con, exposure, publication.publication_id, "0")
    assert found.to_numpy().tolist() == [["k1", 1.0, 0.0, 2.0]]
    assert scorings.versions_of(con, exposure, publication.publication_id) == ["0", champion.version_id]
    assert predictions.count_standing(con, exposure) == (publication.publication_id, 400, 400, 400)


def test_predictions_of_the_same_rows_are_found_by_what_they_are_made_from(
    exposure: Exposure, shared: Consumed
) -> None:
    con, consumed = shared
    publication, version_id = consumed.publication, consumed.version_id
    assert version_id is not None
    input_hash = publication.input_hash(exposure)
    assert scorings.predicted_as(con, exposure, input_hash, version_id) == publication.publication_id
    assert scorings.predicted_as(con, exposure, input_hash, "nobody") is None
    assert scorings.predicted_as(con, exposure, "other", version_id) is None
