"""Drift is zero where nothing moved, grows with the move, and is recorded beside the run that met it."""

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from ml.exposures import Exposure
from ml.monitoring import drift
from tests.ml import mixed
from tests.ml.completed import consume_and_complete
from tests.ml.conftest import Publish
from tests.ml.rows import silent


def test_the_index_of_known_shares() -> None:
    baseline = np.repeat(np.arange(10.0), 100)
    current = np.repeat(np.arange(10.0), [200, 0, *[100] * 8])
    least = drift.LEAST_SHARE
    expected = (0.2 - 0.1) * np.log(2) + (least - 0.1) * np.log(least / 0.1)
    assert drift.population_stability_index(baseline, current) == pytest.approx(expected, rel=1e-12)
    assert drift.population_stability_index(baseline, baseline) == 0.0


def test_the_distances_of_shifted_normals_are_those_of_theory() -> None:
    random = np.random.default_rng(0)
    baseline, current = random.normal(size=200_000), random.normal(size=200_000) + 0.5
    found = drift.between(baseline, current)
    assert found.ks == pytest.approx(2 * norm.cdf(0.25) - 1, abs=0.005)
    shares = np.diff(norm.cdf(norm.ppf(np.linspace(0, 1, 11)) - 0.5))
    assert found.psi == pytest.approx(np.sum((shares - 0.1) * np.log(shares / 0.1)), rel=0.03)


def test_a_constant_column_that_stays_has_not_moved_and_one_that_jumps_has() -> None:
    five = np.full(100, 5.0)
    assert drift.between(five, five) == drift.Drift(0.0, 0.0)
    moved = drift.between(five, five + 1)
    assert moved.psi > 1
    assert moved.ks == 1.0


def test_levels_move_by_their_shares_and_rare_ones_together() -> None:
    baseline = pd.Series(["a"] * 60 + ["b"] * 30 + [None] * 10, dtype=object)
    current = pd.Series(["a"] * 30 + ["b"] * 30 + [None] * 20 + ["new"] * 12 + ["newer"] * 8, dtype=object)
    p, q = np.array([0.6, 0.3, 0.1, drift.LEAST_SHARE]), np.array([0.3, 0.3, 0.2, 0.2])
    found = drift.between_levels(baseline, current)
    assert found.psi == pytest.approx(np.sum((q - p) * np.log(q / p)), rel=1e-12)
    assert found.ks == pytest.approx(0.3)
    assert drift.between_levels(baseline, baseline.sample(frac=1, random_state=0)) == drift.Drift(0.0, 0.0)
    # of a thousand levels, no sample has the same shares
    random = np.random.default_rng(0)
    many, others = (pd.Series(random.integers(0, 1000, 5000).astype(float)) for _ in range(2))
    assert drift.between_levels(many, others).psi < 0.05
    assert drift.between_levels(many, others).ks < 0.05


def test_null_among_numbers_is_a_bin_and_the_largest_of_them() -> None:
    baseline = np.repeat(np.arange(10.0), 100)
    current = np.where(np.arange(1000) % 4 == 0, drift.NULL, baseline)
    found = drift.between(baseline, current)
    assert found.ks == pytest.approx(0.25, abs=0.01)
    least = drift.LEAST_SHARE
    moved = (0.25 - least) * np.log(0.25 / least)
    assert found.psi == pytest.approx(moved + 10 * (0.075 - 0.1) * np.log(0.75), rel=0.01)
    assert drift.between(current, current) == drift.Drift(0.0, 0.0)
    nothing = np.full(10, drift.NULL)
    assert drift.between(nothing, nothing) == drift.Drift(0.0, 0.0)
    assert drift.between(nothing, np.zeros(10)).ks == 1.0


def test_each_publication_is_held_against_what_the_champion_learned_from(
    con: duckdb.DuckDBPyConnection, exposure: Exposure, publish: Publish
) -> None:
    first = publish(0.1, rows=2000)
    consume_and_complete(exposure, say=silent)
    assert con.execute("select count(*) from lake.ml.drift").fetchall() == [(0,)]  # there was none to hold it against
    publish(0.2, rows=2000)
    con.execute("update lake.features.points set a = a + 5")
    con.execute(
        "insert into lake.ops.publications select 'features.points@moved', 'features.points', "
        "(select max(snapshot_id) from lake.snapshots()), 'f', '1', 2000, 'i', 'me', null, now()"
    )
    said: list[str] = []
    consume_and_complete(exposure, say=said.append)
    found = con.execute(
        "select column_name, publication_id, baseline_publication_id, baseline_rows, current_rows, psi, ks "
        "from lake.ml.drift order by column_name"
    ).fetchall()
    assert [row[0] for row in found] == ["a", "b", "prediction"]
    assert {row[1:5] for row in found} == {("features.points@moved", first, 2000, 2000)}
    psi, ks = ({row[0]: row[at] for row in found} for at in (5, 6))
    assert ks["a"] == pytest.approx(0.5, abs=0.05)  # half of a uniform's range
    assert ks["b"] < 0.06
    assert psi["a"] > 0.25 > 0.1 > psi["b"]
    assert ks["prediction"] > 0.3
    assert any(sentence.startswith("a has moved most since features.points@") for sentence in said)


def test_levels_that_no_learned_row_had_are_counted_over_all_rows(con: duckdb.DuckDBPyConnection) -> None:
    exposure = replace(mixed.exposure(), spec=mixed.exposure().spec.model_copy(update={"max_rows": 1000}))
    mixed.publish(con, mixed.frame(1500))
    consume_and_complete(exposure)
    rows = mixed.frame(1500, seed=1)
    rows.loc[rows.index % 300 == 0, mixed.WHERE] = "Übersee"
    rows.loc[rows.index % 500 == 0, mixed.WHERE] = "NULL"  # as a text
    rows.loc[rows.index == 1499, mixed.CODE] = 99
    mixed.publish(con, rows, "second")
    consume_and_complete(exposure)
    found = con.execute(
        "select column_name, new_levels, new_level_rows from lake.ml.drift where new_levels is not null order by all"
    ).fetchall()
    assert found == [(mixed.CODE, 1, 1), (mixed.WHERE, 2, 7)]
