"""What the lake holds of a version, and a digest that changes with whatever a card would show."""

from dataclasses import replace

import duckdb
import pytest

from ml import promotion
from ml.exposures import Exposure
from ml.reports import facts as version_facts
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def consume(exposure: Exposure) -> str:
    made = consume_and_complete(exposure, say=silent)
    assert made is not None
    assert made.version_id is not None
    return made.version_id


def test_the_facts_of_a_version_are_its_rows_in_the_lake(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publication = publish(0.1)
    version = consume(exposure)
    facts = version_facts.read(con, exposure, version)
    assert (facts.version_id, facts.made.version_id, facts.candidate) == (version, version, "ridge")
    assert (facts.target, facts.split, facts.coverage) == ("y", "random", 0.9)
    assert facts.publication["publication_id"] == publication
    assert facts.consumption is not None
    assert facts.consumption["outcome"] == "trained"
    assert [(one["promotion"], one["promoted_by"], one["followed_at"]) for one in facts.promotions] == [
        (1, "gate", None)
    ]
    assert len(facts.metrics) == 30
    assert (len(facts.drift), len(facts.importance), len(facts.dependence)) == (0, 0, 0)
    assert list(version_facts.heldout(con, facts).columns) == ["actual", "predicted", "lower", "upper"]


def test_drift_is_that_of_the_newest_publication_that_was_compared_with_the_version_s_own(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    kept = replace(exposure, spec=exposure.spec.model_copy(update={"refresh_margin": 0.0}))
    publish(0.1)
    first = consume(kept)
    later = [publish(seed, noise=3.0) for seed in (0.2,)]
    refused = consume(kept)
    later.append(publish(0.3, noise=3.0))
    consume(kept)
    facts = version_facts.read(con, kept, first)
    assert set(facts.drift["publication_id"]) == set(later)
    assert set(facts.last_drift["publication_id"]) == {later[1]}
    assert set(facts.last_drift["column_name"]) == {"a", "b", "prediction"}
    # of one that never served, the drift of its own publication against the champion
    own = version_facts.read(con, kept, refused).last_drift
    assert (set(own["publication_id"]), set(own["version_id"])) == ({later[0]}, {first})


def test_the_digest_changes_with_what_is_shown_and_with_nothing_else(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    version = consume(exposure)
    facts = version_facts.read(con, exposure, version)
    assert version_facts.read(con, exposure, version).digest() == facts.digest()
    assert replace(facts, exposure=replace(exposure, unique_id="model.tract.other")).digest() == facts.digest()
    described = replace(exposure, description="in other words")
    in_yards = replace(exposure, spec=exposure.spec.model_copy(update={"unit": "yards"}))
    for shown in (
        replace(facts, exposure=described),
        replace(facts, exposure=in_yards),
        replace(facts, promotions=()),
        replace(facts, metrics=facts.metrics.iloc[1:]),
    ):
        assert shown.digest() != facts.digest()


def test_a_version_that_is_not_registered_has_no_facts(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    with pytest.raises(AssertionError, match="no version nothing of points"):
        version_facts.read(con, exposure, "nothing")


def test_the_champion_before_is_the_one_that_served_when_the_version_was_made(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    publish(0.1)
    first = consume(exposure)
    publish(0.2)
    second = consume(exposure)
    assert version_facts.champion_before(con, version_facts.read(con, exposure, first)) is None
    before = version_facts.champion_before(con, version_facts.read(con, exposure, second))
    assert before is not None
    assert before.version_id == first
    promotion.rollback(exposure, by="Ann", reason="the second is odd", say=silent)
    again = version_facts.champion_before(con, version_facts.read(con, exposure, first))
    assert again is None  # what was promoted later does not change what was there before
