"""When a publication is tried, tried again, and left to a person."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.attempts import TRIES, GiveUp, Run, Start, Wait, decide, pause

NOW = 1000.0


def failed(ended_at: float, publication: str = "t@7", error: str = "no disk") -> Run:
    return Run(f"run-ended-{ended_at}", publication, ended_at, error=error)


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
        [failed(900), failed(985)],
        Wait("try 2 of 3 failed (no disk); the next is due in 45 s"),
    ),
    ("the second pause is over", [failed(900), failed(940)], Start(3)),
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
        error=st.sampled_from(["", "no disk"]),
    ),
    max_size=8,
)


@given(runs)
def test_never_two_at_once(runs: list[Run]) -> None:
    if any(run.ended_at is None for run in runs):
        assert isinstance(decide("t@7", runs, NOW), Wait)


@given(runs)
def test_never_more_than_three_tries(runs: list[Run]) -> None:
    tries = sum(run.publication_id == "t@7" for run in runs)
    decision = decide("t@7", runs, NOW)
    if isinstance(decision, Start):
        assert decision.number == tries + 1 <= TRIES
    if isinstance(decision, GiveUp):
        assert tries >= TRIES


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
            runs.append(failed(now))
    assert len(starts) <= TRIES
    gaps = [after - before for before, after in pairwise(starts)]
    assert all(gap >= pause(number) for number, gap in enumerate(gaps, start=1))


def test_pauses_grow_and_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [pause(1), pause(2), pause(3)] == [15.0, 60.0, 240.0]
    monkeypatch.setenv("TRACT_RETRY_SECONDS", "0.5")
    assert [pause(1), pause(2)] == [0.5, 2.0]
