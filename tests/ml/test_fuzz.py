"""Specs and manifests of any content: an exposure, or sentences of what does not fit; never another error."""

import copy
import random
from typing import Any

import pytest

from ml.exposures import Exposure
from ml.manifest import SpecError, read_exposures
from tests.ml.test_exposures import manifest

SCALARS: list[Any] = [
    *(None, True, False, 0, 1, -7, 10**30, 0.5, float("nan"), float("inf"), -1e308),
    *("id", "y", "a", "cell", "ridge", "group", "random", "time", "", "\0", "x" * 5000, "a b'\"", "ä\u202e"),
]
SETTINGS = (
    *("key", "target", "group", "time", "split", "candidates", "slices", "features", "folds", "coverage", "minimum"),
    *("predictions", "max_rows", "backtest", "promotion", "fresh_within_hours", "seed", "limitations", "map_columns"),
    *("refresh_margin", "challenge", "nobody_s"),
)  # fmt: skip


def told(given: Any) -> list[Exposure]:
    """The exposures, or the sentences."""
    try:
        return list(read_exposures(given))
    except SpecError as error:
        lines = str(error).splitlines()
    if not lines or not all(line.strip() for line in lines):
        pytest.fail("refused without a sentence")
    return []


def anything(drawn: random.Random, depth: int = 2) -> Any:
    kind = drawn.randrange(4) if depth else 0
    if kind < 2:
        return drawn.choice(SCALARS)
    inner = [anything(drawn, depth - 1) for _ in range(drawn.randrange(3))]
    return inner if kind == 2 else {str(drawn.choice(SCALARS)): value for value in inner}


@pytest.mark.parametrize("seed", range(100))
def test_any_settings_are_taken_or_refused_with_sentences(seed: int) -> None:
    drawn = random.Random(seed)
    for _ in range(3):
        told(manifest({drawn.choice(SETTINGS): anything(drawn) for _ in range(drawn.randint(1, 3))}))
    given = manifest()
    given["exposures"]["points"]["config"]["meta"]["ml"] = anything(drawn)
    told(given)


@pytest.mark.parametrize("count", [300])
def test_a_huge_manifest_is_read(count: int) -> None:
    given = manifest()
    model = given["nodes"]["model.tract.points"]
    for number in range(20 * count):
        given["nodes"][f"model.tract.other_{number}"] = {**model, "name": f"other_{number}"}
    points = given["exposures"].pop("points")
    for number in range(count):
        one = copy.deepcopy(points)
        one["name"] = f"points_{number}"
        one["config"]["meta"]["ml"]["predictions"] = f"predictions_{number}"
        given["exposures"][one["name"]] = one
    read = read_exposures(given)
    assert len(read) == count
    assert len({exposure.spec.predictions for exposure in read}) == count


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for name, child in children for place in places(child, (*at, name)))]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_torn_out_of_the_settings_is_said(seed: int) -> None:
    """Each part of what a person writes, taken away or replaced; the rest of a manifest is dbt's, which checks it."""
    drawn = random.Random(seed)
    whole = manifest({"slices": {"low": "a < 1"}, "features": {"exclude": ["b"]}})
    settings_of = ("exposures", "points", "config", "meta", "ml")
    for place in places(whole["exposures"]["points"]["config"]["meta"]["ml"]):
        given = copy.deepcopy(whole)
        holder: Any = given
        for name in (*settings_of, *place)[:-1]:
            holder = holder[name]
        holder[(*settings_of, *place)[-1]] = drawn.choice([None, [], {}, 7, -1.5, "nobody", [None], {"a": {}}, True])
        told(given)
