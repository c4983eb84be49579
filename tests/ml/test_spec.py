"""Which candidates a spec takes, which of them compete, and what of it changes nothing that is learned."""

from typing import Any

import pytest
import yaml

from ml.manifest import NOTICES, read_exposures
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


WEBHOOK = {"on": ["failed", "late"], "to": "OPS_WEBHOOK"}
URL = "https://hooks.example.com/services/T0/B0/s3cret"


def everyone(notify: object) -> dict[str, Any]:
    """What the manifest has of the variable of dbt."""
    return {"sources": {NOTICES: {"config": {"meta": {"notify": notify}}}}}


def test_who_is_told_is_a_mapping_or_a_list_and_yaml_s_on_may_have_become_true() -> None:
    for said in (WEBHOOK, [WEBHOOK], {True: WEBHOOK["on"], "to": "OPS_WEBHOOK"}, [{"true": WEBHOOK["on"], **WEBHOOK}]):
        (found,) = read_exposures(manifest({"notify": said}))
        assert [(one.on, one.to, one.template) for one in found.spec.notify] == [
            (("failed", "late"), "OPS_WEBHOOK", "json")
        ]
    assert yaml.safe_load("{on: [failed], to: OPS}") == {True: ["failed"], "to": "OPS"}  # as dbt reads it


def test_who_is_told_changes_nothing_that_is_learned_but_is_followed() -> None:
    (plain,) = read_exposures(manifest())
    (told,) = read_exposures(manifest({"notify": WEBHOOK}))
    assert (plain.spec.notify, told.digest()) == ((), plain.digest())
    assert told.revision() != plain.revision()


def test_the_variable_of_dbt_is_for_each_exposure_that_says_nothing() -> None:
    theirs = {"on": ["promoted"], "to": "ann@example.com"}
    for said, expected in ({}, "OPS_WEBHOOK"), ({"notify": theirs}, "ann@example.com"), ({"notify": []}, None):
        (found,) = read_exposures(manifest(said) | everyone(WEBHOOK))
        assert [one.to for one in found.spec.notify] == ([expected] if expected else [])
    assert refused(manifest() | everyone({"on": ["failling"], "to": "OPS"})) == [
        f"{POINTS}: the variable of dbt tract.notify.0.on.0 is 'failling'. Input should be 'failed', 'refused', "
        "'promoted', 'drifted', 'late' or 'coverage'."
    ]


@pytest.mark.parametrize("said", [{**WEBHOOK, "to": URL}, {**WEBHOOK, "to": [URL]}, URL, [URL], {"on": URL, "to": URL}])
def test_a_url_is_refused_and_not_repeated(said: object) -> None:
    told = "\n".join(refused(manifest({"notify": said})))
    assert told.startswith(f"{POINTS}: meta.ml.notify.0")
    assert "hooks.example.com" not in told and "s3cret" not in told
    assert (
        "environment variable" in told
        or "as it may be a secret" in told
        or "must be a mapping with `on` and `to`" in told
    )


def test_what_does_not_fit_is_said_with_the_place_and_what_is_allowed() -> None:
    sentences = refused(
        manifest({"notify": [{"to": "OPS"}, {"on": [], "to": "OPS"}, {**WEBHOOK, "at": 1}, {**WEBHOOK, "to": "ops"}]})
    )
    assert [one.removeprefix(f"{POINTS}: meta.ml.notify.")[:60] for one in sentences] == [
        "0.on is missing (it is required).",
        "1.on is []. Tuple should have at least 1 item after validati",
        "2.at is not known. Allowed: on, to, template.",
        "3.to must be the name of an environment variable (capitals, ",
    ]
    (mailed,) = refused(manifest({"notify": {"on": ["late"], "to": "ann@example.com", "template": "slack"}}))
    assert "template is slack, which is for webhooks, and to is an address: leave it out." in mailed
