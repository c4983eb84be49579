"""What the plugin answers macros: decisions of ml, as dbt hands over what it found."""

from decimal import Decimal

import pytest

from dbt_project.tract import ahead, plugin
from tests.ml.test_exposures import manifest


@pytest.mark.parametrize(
    ("classes", "note"),
    [
        (None, ""),
        (
            Decimal(3),
            " Mind, points: y, the target, has only 3 distinct values, all of them whole: they are learned as "
            "numbers, and predictions lie between them. If they are classes, say so: meta.ml.task: classification, "
            "with candidates for them, logistic and gradient_boosting, and another table in meta.ml.predictions.",
        ),
    ],
)
def test_a_target_that_looks_like_classes_is_published_with_a_note(classes: Decimal | None, note: str) -> None:
    counts = [Decimal(150), Decimal(150), Decimal(10), classes]  # rows, with an answer, groups, classes
    counts += [Decimal(0)] * 7  # NULLs of key and group, unusable numbers, weights, repeated keys
    step = {"relation": "features.points", "snapshot": 7, "manifest": manifest(), "counts": {"points": counts}}
    answer = plugin.publish_or_not({**step, "followed": {}})
    assert answer["sentence"] == f"Published features.points@7; `tract status` says what comes of it.{note}"
    other = plugin.publish_or_not({**step, "followed": {"points": "another"}})
    unknown = " But Dagster does not follow points as it is here yet: `tract status` says why."
    assert other["sentence"] == answer["sentence"].removesuffix(note) + unknown + note
    assert answer["insert_sql"].lstrip().startswith("insert into lake.ops.publications")


def test_a_target_builds_in_no_schemas_but_its_own() -> None:
    assert ahead.not_its_own([("points", "features"), ("marts", "pr_41__marts")], "") == []
    assert ahead.not_its_own([("points", "pr_41__features")], "pr_41") == []
    (sentence,) = ahead.not_its_own([("points", "features"), ("marts", "pr_41__marts")], "pr_41")
    assert sentence.startswith(
        "The target pr_41 would build points in features, which is not its own: schemas begin with"
    )


def test_candidates_that_are_not_to_be_found_are_doubts_and_no_errors() -> None:
    given = manifest({"candidates": ["ridge", {"name": "trees", "estimator": "nowhere.Trees"}]})
    (doubt,) = plugin.doubtful_exposures(given)
    assert doubt.startswith("Exposure points: candidate trees cannot compete, as nowhere.Trees is not to be found: ")
