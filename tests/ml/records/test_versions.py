"""A version is read back as it was written, with its metrics, its held-out predictions and where it came from."""

from dataclasses import replace

import numpy as np
import pytest

from ml.exposures import Exposure
from ml.records import versions
from tests.ml.records.conftest import Consumed


def test_the_name_of_a_version_is_that_of_what_it_is_made_from() -> None:
    assert versions.version_id("hash", "ridge") == versions.version_id("hash", "ridge")
    assert len({versions.version_id(*of) for of in (("hash", "ridge"), ("hash", "other"), ("hush", "ridge"))}) == 3
    assert len(versions.version_id("hash", "ridge")) == 12


def test_a_version_is_found_by_its_name_with_all_that_was_recorded(exposure: Exposure, shared: Consumed) -> None:
    con, consumed = shared
    assert consumed.version_id is not None
    version = versions.version(con, "points", consumed.version_id)
    assert version is not None
    assert (version.candidate, version.features) == ("ridge", ("a", "b"))
    assert version.recipe == exposure.spec.recipes[0]
    assert "alpha" in version.chosen and "spread" not in version.chosen
    assert versions.version_ids(con, "points") == [version.version_id]
    assert versions.artifact_uris(con) == {version.artifact.uri, version.scaler.uri}
    assert versions.origin(con, "points", version.version_id)[0] == consumed.publication
    assert versions.version(con, "points", "nobody") is None
    with pytest.raises(AssertionError, match="no version nobody of points"):
        versions.row(con, "points", "nobody")


def test_its_metrics_are_those_of_its_held_out_predictions(shared: Consumed) -> None:
    con, consumed = shared
    assert consumed.version_id is not None
    row = versions.row(con, "points", consumed.version_id)
    version = versions.from_row(row)
    heldout = versions.heldout(con, "points", row, ["a"])
    assert list(heldout) == ["actual", "predicted", "lower", "upper", "a"]
    assert len(heldout) == 400
    rmse = float(np.sqrt(np.mean((heldout["actual"] - heldout["predicted"]) ** 2)))
    assert versions.metric(con, "points", version, "random", "rmse") == pytest.approx(rmse, rel=1e-9)
    mean = float(consumed.baseline["rmse"])
    assert versions.metric(con, "points", version, "random", "rmse", "mean") == pytest.approx(mean, rel=1e-12)
    assert versions.metric(con, "points", version, "time", "rmse") is None
    assert list(versions.heldout(con, "points", row, ["gone"])) == ["actual", "predicted", "lower", "upper"]
    metrics = versions.metrics(con, "points", version.version_id)
    assert metrics.groupby(["candidate", "split"]).size().to_dict() == {
        ("mean", "group"): 6,
        ("mean", "random"): 6,
        ("ridge", "group"): 9,
        ("ridge", "random"): 9,
    }


def test_what_versions_learned_from_is_told_of_those_with_the_same_question(
    exposure: Exposure, shared: Consumed
) -> None:
    con, consumed = shared
    assert consumed.version_id is not None
    asked = [consumed.version_id, "nobody"]
    assert versions.learned_from(con, exposure, asked) == {consumed.version_id: consumed.publication.table}
    other = replace(exposure, spec=exposure.spec.model_copy(update={"target": "b"}))
    assert versions.learned_from(con, other, asked) == {}
