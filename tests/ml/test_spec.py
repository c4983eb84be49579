"""Which candidates a spec takes, which of them compete, and what of it changes nothing that is learned."""

from ml.exposures import read_exposures
from tests.ml.test_exposures import POINTS, manifest, refused


def test_an_unknown_candidate_is_named_with_those_that_are_known() -> None:
    (found,) = refused(manifest({"candidates": ["ridge", "forest"]}))
    assert found == (
        f"{POINTS}: meta.ml.candidates.1 is 'forest'. It is not known (ridge, "
        "logistic, gradient_boosting are): give its `estimator` as package.module.Name."
    )
    (found,) = refused(manifest({"candidates": ["forest"]}))
    assert found.startswith(f"{POINTS}: meta.ml.candidates.0 is 'forest'. It is not known")


def test_what_only_the_card_tells_changes_nothing_that_is_learned() -> None:
    (plain,) = read_exposures(manifest())
    (told,) = read_exposures(manifest({"map_columns": ["a", "b"], "unit": "dollars", "limitations": "Not of today."}))
    assert (told.spec.map_columns, told.spec.unit, told.spec.limitations) == (("a", "b"), "dollars", "Not of today.")
    assert told.digest() == plain.digest()


def test_a_candidate_that_is_not_enabled_does_not_compete_and_one_must() -> None:
    off = {"name": "gradient_boosting", "enabled": False}
    (found,) = read_exposures(manifest({"candidates": ["ridge", off]}))
    assert [recipe.name for recipe in found.spec.recipes] == ["ridge"]
    (wrong,) = refused(manifest({"candidates": [off]}))
    assert wrong == f"{POINTS}: meta.ml: no candidate is enabled: enable one."


def test_each_candidate_has_a_name_of_its_own() -> None:
    twice = [
        {"name": "trees", "estimator": "sklearn.tree.DecisionTreeRegressor", "parameters": {"max_depth": depth}}
        for depth in (2, 3)
    ]
    assert refused(manifest({"candidates": ["ridge", *twice]})) == [
        f"{POINTS}: meta.ml: several candidates are called trees: give each a name of its own."
    ]


def test_a_search_s_budget_and_space_change_nothing_that_is_learned() -> None:
    candidate = {"name": "gradient_boosting"}
    space = {"space": {"max_iter": {"low": 10, "high": 99}}, "seconds": 5}
    (plain,) = read_exposures(manifest({"candidates": [candidate]}))
    (searched,) = read_exposures(manifest({"candidates": [candidate | {"search": space}]}))
    assert searched.digest() == plain.digest()
    (wrong,) = refused(manifest({"candidates": [candidate | {"search": {"trails": 3, "space": {"max_iter": [1]}}}]}))
    assert "search.trails is not known. Allowed: space, trials, seconds." in wrong


def test_a_setting_that_has_another_name_now_is_refused_by_that() -> None:
    assert refused(manifest({"level": 0.8, "limits": "x", "map": ["a", "b"]})) == [
        f"{POINTS}: meta.ml.level is called meta.ml.coverage now.",
        f"{POINTS}: meta.ml.limits is called meta.ml.limitations now.",
        f"{POINTS}: meta.ml.map is called meta.ml.map_columns now.",
    ]
