"""Folds, sums and sample of a published table; and what cannot be learned from is said, never dropped."""

from dataclasses import replace

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.exposures import Exposure
from ml.learning import folds, notes, training_set
from ml.learning.published import RowsError
from ml.learning.training_set import TrainingSet
from ml.linear.moments import Moments
from tests.ml.conftest import POINTS
from tests.ml.rows import frame, published, silent, trained_on

BUCKET = folds.bucket_sql("cell")
SETTINGS = settings(max_examples=30, deadline=None, derandomize=True)


def at_most(rows: int) -> Exposure:
    return replace(POINTS, spec=POINTS.spec.model_copy(update={"max_rows": rows}))


def fold_by_key(training: TrainingSet, split: str) -> dict[str, int]:
    return dict(zip(training.sample["id"], training.fold(split).tolist(), strict=True))


@pytest.mark.slow
@SETTINGS
@given(seed=st.integers(0, 2**31), split=st.sampled_from(["random", "group"]))
def test_folds_do_not_depend_on_the_order_of_rows(seed: int, split: str) -> None:
    rows = frame(120)
    shuffled = rows.sample(frac=1, random_state=seed)
    assert fold_by_key(trained_on(rows, POINTS), split) == fold_by_key(trained_on(shuffled, POINTS), split)


def test_random_folds_are_even_and_groups_stay_whole() -> None:
    training = trained_on(frame(2000), POINTS)
    assert np.bincount(training.fold("random")) == pytest.approx([400] * 5, rel=0.15)
    held = training.sample.merge(frame(2000)[["id", "cell"]])
    assert held.groupby("cell")["group fold"].nunique().max() == 1
    assert held["group fold"].nunique() == 5


@pytest.mark.slow
@SETTINGS
@given(rows=st.integers(60, 300), seed=st.integers(0, 1000), threads=st.sampled_from([1, 2]))
def test_sums_by_fold_are_those_of_the_rows_of_the_fold_in_both_splits(rows: int, seed: int, threads: int) -> None:
    training = trained_on(frame(rows, seed), POINTS, threads)
    values = training.sample[["a", "b", "y"]].to_numpy()
    for split in ("random", "group"):
        fold = training.fold(split)
        assert sorted(training.moments[split]) == [0, 1, 2, 3, 4]
        for number, moments in training.moments[split].items():
            expected = Moments.of(values[fold == number])
            assert moments.n == expected.n
            np.testing.assert_allclose(moments.mean, expected.mean, rtol=1e-12)
            np.testing.assert_allclose(moments.scatter, expected.scatter, rtol=1e-9, atol=1e-9)
    assert training.whole.n == rows


def test_large_groups_are_thinned_at_the_same_rate() -> None:
    training = trained_on(frame(20_000), at_most(2000))
    assert 1800 < len(training.sample) < 2200
    cells = training.sample.merge(frame(20_000)[["id", "cell"]])["cell"].value_counts()
    assert len(cells) == 12
    assert cells.to_numpy() == pytest.approx(np.full(12, len(training.sample) / 12), rel=0.3)
    assert training.whole.n == 20_000


def test_small_groups_are_sampled_whole() -> None:
    rows = frame(20_000).assign(cell=lambda rows: "g" + (rows.index // 10).astype(str))
    training = trained_on(rows, at_most(5000))
    assert 4900 < len(training.sample) <= 5000
    cells = training.sample.merge(rows[["id", "cell"]])["cell"].value_counts()
    assert (cells.min(), cells.max()) == (10, 10)


def test_the_sample_is_the_same_on_any_number_of_threads() -> None:
    one, two = (trained_on(frame(20_000), at_most(1000), threads) for threads in (1, 2))
    pd.testing.assert_frame_equal(one.sample, two.sample)


@pytest.mark.slow
@SETTINGS
@given(seed=st.integers(0, 1000), rows=st.integers(60, 300), few=st.booleans())
def test_rows_without_an_answer_are_learned_from_as_if_they_were_not_there(seed: int, rows: int, few: bool) -> None:
    every = frame(rows, seed)
    unknown = np.random.default_rng(seed).uniform(size=rows) < (0.05 if few else 0.8)
    unknown[:20] = False
    every.loc[unknown, ["y", "cell"]] = None  # nor is a group needed where nothing is held out
    asked, told = trained_on(every, POINTS), trained_on(every[~unknown], POINTS)
    pd.testing.assert_frame_equal(asked.sample, told.sample)
    assert asked.unknown == unknown.sum()
    assert told.unknown == 0
    for split in ("random", "group"):
        assert asked.moments[split].keys() == told.moments[split].keys()
        for number, moments in told.moments[split].items():
            assert asked.moments[split][number].n == moments.n
            np.testing.assert_allclose(asked.moments[split][number].scatter, moments.scatter, rtol=1e-12)
    note = f"{unknown.sum():,} of {rows:,} rows have no y, the target: they are predicted, and not learned from"
    assert (note in notes.of_rows(asked)) == bool(unknown.any())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda rows: rows.head(0), r"points@1, read by exposure points, has 0 rows; 5 folds need at least as many"),
        (lambda rows: rows.head(4), r"has 4 rows; 5 folds need at least as many.*lower meta\.ml\.folds"),
        (lambda rows: rows.assign(cell="one"), r"column cell has 1 groups; 5 folds by group need at least as many"),
        (lambda rows: rows.assign(cell=rows["cell"].where(rows.index != 3)), "the group cell is missing in 1 of 200"),
        (lambda rows: rows.assign(b=rows["b"].replace(rows["b"][5], np.inf)), "column 'b' has 1 infinite value: only"),
        (lambda rows: rows.assign(y=rows["y"].replace(rows["y"][9], np.inf)), "column 'y' has 1 infinite value: only"),
        (
            lambda rows: rows.assign(y=rows["y"].where(rows.index < 3)),
            "has 3 rows whose target y is known, and 197 others; 5 folds need at least as many",
        ),
        (lambda rows: rows.assign(id="same"), "the key id is missing or repeated in 199 rows"),
        (lambda rows: rows.assign(id=rows["id"].where(rows.index != 0)), "the key id is missing or repeated in 1 rows"),
        (lambda rows: rows.assign(a=rows["a"] * 1e300), "too large to be squared and summed"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_said(change: object, sentence: str) -> None:
    rows = change(frame())  # type: ignore[operator]
    with duckdb.connect() as con, pytest.raises(RowsError, match=sentence):
        training_set.read(con, POINTS, published(con, rows), silent)


@pytest.mark.parametrize(("rows", "count"), [(2, 2), (5, 5), (6, 5), (10, 5), (40, 20)])
def test_few_rows_fill_every_fold_evenly(rows: int, count: int) -> None:
    columns = {name: kind for name, kind in POINTS.columns.items() if name != "cell"}
    spec = POINTS.spec.model_copy(update={"group": None, "folds": count})
    training = trained_on(frame(rows).drop(columns="cell"), replace(POINTS, columns=columns, spec=spec))
    sizes = np.bincount(training.fold("random"), minlength=count)
    assert sizes.min() >= 1
    assert [training.moments["random"][number].n for number in range(count)] == sizes.tolist()


def test_rows_whose_hashes_fill_every_fold_stay_where_they_were() -> None:
    """The folds of 30 keys as they were before few rows were dealt: what was learned of them repeats."""
    by_hash = folds.random_sql(("id",), 5, 0)
    with duckdb.connect(config={"threads": 1}) as con:
        published(con, frame(30))
        expected = dict(con.execute(f"select id, {by_hash} from published").fetchall())
    assert len(set(expected.values())) == 5
    assert fold_by_key(trained_on(frame(30), POINTS), "random") == expected


def test_groups_that_share_a_bucket_have_folds_of_their_own() -> None:
    two = replace(POINTS, spec=POINTS.spec.model_copy(update={"folds": 2}))
    rows = frame(60).assign(cell=lambda rows: np.where(rows.index % 3, *sharing()))
    training = trained_on(rows, two)
    assert np.bincount(training.fold("group")).tolist() == [40, 20]
    assert training.sample.merge(rows[["id", "cell"]]).groupby("cell")["group fold"].nunique().tolist() == [1, 1]


def sharing() -> list[str]:
    """Two groups of one bucket."""
    query = f"select min(cell), max(cell) from (select 'c' || i as cell from range(500) t(i)) group by {BUCKET}"
    with duckdb.connect(config={"threads": 1}) as con:
        ((one, other),) = con.execute(f"{query} having count(*) > 1 order by 1 limit 1").fetchall()
    return [one, other]


def test_a_spec_without_groups_is_judged_by_random_folds_alone() -> None:
    columns = {name: kind for name, kind in POINTS.columns.items() if name != "cell"}
    exposure = replace(POINTS, columns=columns, spec=POINTS.spec.model_copy(update={"group": None}))
    training = trained_on(frame(300).drop(columns="cell"), exposure)
    assert list(training.moments) == ["random"]
    assert training.whole.n == 300


def test_other_seeds_deal_the_rows_anew() -> None:
    """Rows of one fold are in all folds of another seed, as chance has it: a fifth in each."""
    deals = []
    for seed in (6, 7):  # their hashes differ in low bits alone
        exposure = replace(POINTS, spec=POINTS.spec.model_copy(update={"seed": seed}))
        deals.append(trained_on(frame(5000), exposure).fold("random"))
    together = np.histogram2d(deals[0], deals[1], bins=5)[0] / 1000
    assert together == pytest.approx(np.full((5, 5), 0.2), abs=0.06)
