"""When a publication is tried, tried again, and left to a person."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.attempts import LONGEST_SECONDS, TRIES, GiveUp, Run, Start, Wait, decide, pause

NOW = 1000.0


def failed(
    ended_at: float, publication: str = "t@7", error: str = "no disk", number: int = 1, reached: bool = True
) -> Run:
    return Run(f"run-ended-{ended_at}", publication, ended_at, number=number, error=error, reached=reached)


def away(ended_at: float, number: int) -> Run:
    return failed(ended_at, error="no net", number=number, reached=False)


CASES = [
    ("nothing was tried", [], Start(1)),
    ("another publication failed", [failed(999, "t@6")], Start(1)),
    (
        "its run is under way",
        [Run("0123456789", "t@7", None)],
        Wait("run 01234567 is under way for t@7"),
    ),
    (
        "the run of an older one is under way",
        [Run("0123456789", "t@6", None)],
        Wait("run 01234567 is under way for t@6"),
    ),
    (
        "the run of an older one is under way and has consumed it",
        [Run("0123456789", "t@6", None, consumed=True)],
        Start(1),
    ),
    (
        "it failed a moment ago",
        [failed(990)],
        Wait("try 1 of 3 failed (no disk); the next is due in 5 s"),
    ),
    ("the first pause is over", [failed(985)], Start(2)),
    (
        "the second pause is longer",
        [failed(900), failed(985, number=2)],
        Wait("try 2 of 3 failed (no disk); the next is due in 45 s"),
    ),
    ("the second pause is over", [failed(900), failed(940, number=2)], Start(3)),
    (
        "it did not reach the rows",
        [failed(900), away(985, 2)],
        Wait("try 2 did not reach the rows (no net); the next is due in 45 s"),
    ),
    ("three did not reach the rows", [away(1, 1), away(2, 2), away(3, 3)], Start(4)),
    (
        "however often, it is not given up",
        [away(number, number) for number in range(1, 60)],
        Start(60),
    ),
    (
        "only what reached the rows counts",
        [failed(1), away(2, 2), failed(3, number=3), away(4, 4), failed(5, number=5)],
        GiveUp("3 tries failed, the last with: no disk"),
    ),
    (
        "all tries failed",
        [failed(900), failed(940), failed(999, error="no net")],
        GiveUp("3 tries failed, the last with: no net"),
    ),
    (
        "all tries ended well and consumed nothing",
        [failed(900, error=""), failed(940, error=""), failed(999, error="")],
        GiveUp("3 tries failed, the last with: the run ended without consuming it"),
    ),
]


@pytest.mark.parametrize(("runs", "decision"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_decides(runs: list[Run], decision: Start | Wait | GiveUp) -> None:
    assert decide("t@7", runs, NOW) == decision
    assert decide("t@7", runs[::-1], NOW) == decision  # in whatever order they come


runs = st.lists(
    st.builds(
        Run,
        run_id=st.uuids().map(str),
        publication_id=st.sampled_from(["t@7", "t@8"]),
        ended_at=st.none() | st.floats(1, NOW),
        number=st.integers(1, 9),
        error=st.sampled_from(["", "no disk"]),
        reached=st.booleans(),
    ),
    max_size=8,
)


@given(runs)
def test_never_two_at_once(runs: list[Run]) -> None:
    if any(run.ended_at is None for run in runs):
        assert isinstance(decide("t@7", runs, NOW), Wait)


@given(runs)
def test_never_more_than_three_tries_that_reach_the_rows_and_never_the_same_number_twice(runs: list[Run]) -> None:
    tries = [run for run in runs if run.publication_id == "t@7"]
    decision = decide("t@7", runs, NOW)
    if isinstance(decision, Start):
        assert sum(run.reached for run in tries) < TRIES
        assert decision.number not in {run.number for run in tries}
    if isinstance(decision, GiveUp):
        assert sum(run.reached for run in tries) >= TRIES


@given(runs, st.floats(0, 1000))
def test_a_due_time_is_obeyed(runs: list[Run], later: float) -> None:
    ended = [run.ended_at for run in runs if run.ended_at is not None and run.publication_id == "t@7"]
    decision = decide("t@7", runs, NOW + later)
    if isinstance(decision, Start) and ended:
        assert NOW + later >= max(ended) + pause(len(ended))
    if isinstance(decision, Start) and later:
        assert decide("t@7", runs, NOW + 2 * later) == decision  # once due, it stays due


@given(st.lists(st.floats(0, 100), max_size=400))
def test_however_often_it_is_asked_a_publication_ends_after_three_failures(pauses: list[float]) -> None:
    runs: list[Run] = []
    now, starts = NOW, []
    for seconds in pauses:
        now += seconds
        if isinstance(decide("t@7", runs, now), Start):
            starts.append(now)
            runs.append(failed(now, number=len(starts)))
    assert len(starts) <= TRIES
    gaps = [after - before for before, after in pairwise(starts)]
    assert all(gap >= pause(number) for number, gap in enumerate(gaps, start=1))


def test_pauses_grow_and_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [pause(1), pause(2), pause(3), pause(4), pause(9_999)] == [15.0, 60.0, 240.0, *[LONGEST_SECONDS] * 2]
    monkeypatch.setenv("TRACT_RETRY_SECONDS", "0.5")
    assert [pause(1), pause(2)] == [0.5, 2.0]
