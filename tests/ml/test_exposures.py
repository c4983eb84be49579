"""What an exposure may say, and the sentence for everything that does not fit."""

import re
from importlib.resources import files
from typing import Any

import pytest

from ml import estimators, exposures, spec
from ml.exposures import OWN_TABLES
from ml.manifest import SpecError, doubts, read_exposures

ALLOWED = "Columns of features.points: id, a, b, cell, y."


def manifest(ml: Any = None, /, *more: dict[str, Any], columns: dict[str, str] | None = None) -> dict[str, Any]:
    """dbt's manifest with an exposure `points` on a model `points`, and others as given."""
    columns = columns or {"id": "varchar", "a": "double", "b": "double", "cell": "varchar", "y": "double"}
    exposures = [
        exposure("points", {"key": "id", "target": "y", "group": "cell", "candidates": ["ridge"]} | (ml or {}))
    ]
    return {
        "exposures": {node["name"]: node for node in [*exposures, *more]},
        "nodes": {name: model(name, columns) for name in ("model.tract.points", "model.tract.others")},
    }


POINTS, ZONES = "Exposure points (models/exposures.yml)", "Exposure zones (models/exposures.yml)"


def exposure(name: str, ml: object, parents: tuple[str, ...] = ("model.tract.points",)) -> dict[str, Any]:
    return {
        "name": name,
        "type": "ml",
        "original_file_path": "models/exposures.yml",
        "owner": {"name": "Someone", "email": "someone@example.com"},
        "depends_on": {"nodes": list(parents)},
        "config": {"meta": {"ml": ml}},
    }


def model(unique_id: str, columns: dict[str, str]) -> dict[str, Any]:
    name = unique_id.rsplit(".", 1)[1]
    return {
        "name": name,
        "schema": "features",
        "alias": name,
        "columns": {column: {"name": column, "data_type": kind} for column, kind in columns.items()},
        "config": {"contract": {"enforced": True}},
    }


def refused(given: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as error:
        read_exposures(given)
    return str(error.value).splitlines()


def test_features_are_the_contracts_columns_less_key_target_and_group() -> None:
    (points,) = read_exposures(manifest())
    assert points.features == ("a", "b")
    assert (points.relation, points.unique_id, points.heldout) == (
        "features.points",
        "model.tract.points",
        "heldout_predictions",
    )
    assert (points.owner, points.owner_email) == ("Someone", "someone@example.com")
    assert points.columns == {"id": "VARCHAR", "a": "DOUBLE", "b": "DOUBLE", "cell": "VARCHAR", "y": "DOUBLE"}


def test_what_another_exposure_on_the_table_predicts_is_a_feature_of_neither() -> None:
    asks_for_a = exposure("zones", {"key": "id", "target": "a", "group": "cell", "candidates": ["ridge"]})
    elsewhere = exposure(
        "others", {"key": "id", "target": "b", "group": "cell", "candidates": ["ridge"]}, ("model.tract.others",)
    )
    others, points, zones = read_exposures(manifest({}, asks_for_a, elsewhere))
    assert (points.spec.target, points.features) == ("y", ("b",))
    assert (zones.spec.target, zones.features) == ("a", ("b",))
    assert (others.spec.target, others.features) == ("b", ("a", "y"))
    (alone,) = read_exposures(manifest())
    assert alone.digest() != points.digest()  # other features: it is learned anew
    same = exposure("zones", {"key": "id", "target": "y", "group": "cell", "candidates": ["ridge"]})
    assert [one.features for one in read_exposures(manifest({}, same))] == [("a", "b"), ("a", "b")]


def test_exposures_that_predict_every_column_of_a_table_leave_none_to_learn_from() -> None:
    others = [
        exposure(name, {"key": "id", "target": name, "group": "cell", "candidates": ["ridge"]}) for name in ("a", "b")
    ]
    assert refused(manifest({}, *others)) == [
        f"Exposure {name} (models/exposures.yml): features.points has no column left to learn from. {ALLOWED}"
        for name in ("points", "a", "b")
    ]


def test_without_a_group_its_column_is_learned_from() -> None:
    (points,) = read_exposures(manifest({"group": None}))
    assert points.kinds == {"a": "number", "b": "number", "cell": "text"}


def test_exposures_that_do_not_ask_for_a_model_are_left_alone() -> None:
    dashboard = exposure("dashboard", {"nonsense": 1}) | {"type": "dashboard"}
    silent = exposure("silent", None) | {"config": {"meta": {}}}
    assert [found.name for found in read_exposures(manifest({}, dashboard, silent))] == ["points"]


def test_meta_may_stand_beside_config_as_dbt_users_also_write_it() -> None:
    given = manifest()
    node = given["exposures"]["points"]
    node["meta"] = node.pop("config")["meta"]
    assert [found.name for found in read_exposures(given)] == ["points"]


@pytest.mark.parametrize(
    ("ml", "sentence"),
    [
        (
            {"colour": "red"},
            "meta.ml.colour is not known. Allowed: " + ", ".join(spec.Spec.model_fields) + ".",
        ),
        ({"key": "ident"}, f"meta.ml.key is 'ident', which is no column. {ALLOWED}"),
        ({"target": "z"}, f"meta.ml.target is 'z', which is no column. {ALLOWED}"),
        ({"group": "block"}, f"meta.ml.group is 'block', which is no column. {ALLOWED}"),
        ({"group": "id"}, "key, target and group must be columns of their own, not id, y, id; "
            "only a key of several columns may hold the group."),
        ({"split": "group", "group": None}, f"meta.ml.split is 'group', but meta.ml.group names no column. {ALLOWED}"),
        ({"split": "space"}, "meta.ml.split is 'space'. Input should be 'random', 'group' or 'time'."),
        ({"candidates": []}, "meta.ml.candidates is []. Tuple should have at least 1 item after validation, not 0."),
        ({"folds": 1}, "meta.ml.folds is 1. Input should be greater than or equal to 2."),
        ({"seed": -1}, "meta.ml.seed is -1. Input should be greater than or equal to 0."),
        ({"coverage": 1}, "meta.ml.coverage is 1. Input should be less than 1."),
        ({"refresh_margin": -0.1}, "meta.ml.refresh_margin is -0.1. Input should be greater than or equal to 0."),
        (
            {"predictions": "No-Table"},
            "meta.ml.predictions is 'No-Table'. String should match pattern '^[a-z_][a-z0-9_]*$'.",
        ),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_fit_is_named(ml: dict[str, Any], sentence: str) -> None:
    assert refused(manifest(ml)) == [f"{POINTS}: {sentence}"]


def test_a_missing_setting_is_named_with_what_it_is() -> None:
    given = manifest()
    del given["exposures"]["points"]["config"]["meta"]["ml"]["key"]
    del given["exposures"]["points"]["config"]["meta"]["ml"]["target"]
    assert refused(given) == [
        f"{POINTS}: meta.ml.key is missing (column that identifies a row, or a list of columns that do together).",
        f"{POINTS}: meta.ml.target is missing (column to be predicted).",
    ]


def test_settings_that_are_no_mapping() -> None:
    given = manifest()
    given["exposures"]["points"]["config"]["meta"]["ml"] = ["id", "y"]
    assert refused(given) == [
        f"{POINTS}: meta.ml is ['id', 'y']. It must be a mapping with key, target and candidates."
    ]


@pytest.mark.parametrize(
    ("kind", "learned"),
    [
        ("decimal(9, 2)", "number"),
        ("boolean", "number"),
        ("date", "date"),
        ("timestamp with time zone", "date"),
        ("timestamp_ns", "date"),
        ("varchar(20)", "text"),
        ("enum('red', 'deep blue')", "text"),
    ],
)
def test_a_column_is_learned_from_as_what_it_is(kind: str, learned: str) -> None:
    columns = {"id": "varchar", "a": kind, "b": "double", "cell": "varchar", "y": "double"}
    (points,) = read_exposures(manifest(columns=columns))
    assert points.kinds == {"a": learned, "b": "number"}


def test_numbers_that_are_names_are_levels() -> None:
    columns = {"id": "varchar", "a": "integer", "b": "varchar", "cell": "varchar", "y": "double", "on": "date"}
    plain, coded = (
        read_exposures(manifest({"features": {"categorical": named}}, columns=columns))[0] for named in ([], ["a", "b"])
    )
    assert plain.kinds == {"a": "number", "b": "text", "on": "date"}
    assert coded.kinds == {"a": "code", "b": "text", "on": "date"}
    assert plain.digest() != coded.digest()
    assert refused(manifest({"features": {"categorical": ["on", "z"]}}, columns=columns)) == [
        f"{POINTS}: meta.ml.features.categorical names 'on', which is DATE, no number. Cast it to varchar where the "
        "table is built: each text is a level of its own.",
        f"{POINTS}: meta.ml.features.categorical names 'z', which is no column. "
        "Columns of features.points: id, a, b, cell, y, on.",
    ]


@pytest.mark.parametrize(
    ("column", "kind"), [("a", "varchar[]"), ("b", "json"), ("a", "struct(x double)"), ("b", "interval"), ("a", "uuid")]
)
def test_a_feature_from_which_nothing_is_learned_is_named(column: str, kind: str) -> None:
    columns = {"id": "varchar", "a": "double", "b": "double", "cell": "varchar", "y": "double"} | {column: kind}
    assert refused(manifest(columns=columns)) == [
        f"{POINTS}: column {column} of features.points is {kind.upper()}, from which nothing is learned: numbers, "
        "booleans, dates, timestamps, texts and enums are learned from. Features are the contract's columns less key, "
        "target, group, time and weight, and less what other exposures on the table predict: cast it where the table "
        "is built, or name it in meta.ml.features.exclude."
    ]
    (left_out,) = read_exposures(manifest({"features": {"exclude": [column]}}, columns=columns))
    assert left_out.features == ("b" if column == "a" else "a",)


def test_a_target_that_is_not_a_number_is_named() -> None:
    columns = {"id": "varchar", "a": "double", "cell": "varchar", "y": "date"}
    assert refused(manifest(columns=columns)) == [
        f"{POINTS}: the target y of features.points is DATE, neither a number nor a class. Cast it where the table "
        "is built: numbers are predicted as such, booleans, texts and enums as classes."
    ]


def test_features_are_those_that_are_included_or_not_excluded() -> None:
    def features(**chosen: list[str]) -> tuple[str, ...]:
        (found,) = read_exposures(manifest({"features": chosen}))
        return found.features

    assert features() == ("a", "b")
    assert features(include=["b"]) == features(exclude=["a"]) == ("b",)
    assert features(include=["b", "a"]) == ("a", "b")  # in the contract's order
    (by_name,) = read_exposures(manifest({"features": {"include": ["b"]}}))
    (by_others,) = read_exposures(manifest({"features": {"exclude": ["a"]}}))
    (both,) = read_exposures(manifest())
    assert by_name.digest() == by_others.digest() != both.digest()


def test_what_another_exposure_predicts_is_learned_from_where_it_is_included() -> None:
    columns = {"id": "varchar", "a": "double", "y": "double", "z": "double"}
    asked = {"group": None, "predictions": "zones"}
    other = exposure("zones", {"key": "id", "target": "z", "candidates": ["ridge"]} | asked)
    points, zones = read_exposures(manifest({"group": None}, other, columns=columns))
    assert (points.features, zones.features) == (("a",), ("a",))
    other["config"]["meta"]["ml"]["features"] = {"include": ["a", "y"]}
    points, zones = read_exposures(manifest({"group": None}, other, columns=columns))
    assert (points.features, zones.features) == (("a",), ("a", "y"))


@pytest.mark.parametrize(
    ("chosen", "sentences"),
    [
        ({"include": ["a"], "exclude": ["b"]}, [
            "meta.ml.features is {'include': ['a'], 'exclude': ['b']}. It has include and exclude: say one of them.",
        ]),
        ({"exclude": ["z"]}, [f"meta.ml.features.exclude names 'z', which is no column. {ALLOWED}"]),
        ({"include": ["a", "y", "z"]}, [
            "meta.ml.features.include names 'y', which is key, target, group, time or weight: those are no "
            "features. Give what is learned from a column of its own where the table is built.",
            f"meta.ml.features.include names 'z', which is no column. {ALLOWED}",
        ]),
        ({"exclude": ["a", "b"]}, [f"features.points has no column left to learn from. {ALLOWED}"]),
        ({"without": ["a"]}, ["meta.ml.features.without is not known. Allowed: include, exclude, categorical."]),
    ],
)  # fmt: skip
def test_a_choice_of_features_that_does_not_fit_is_named(chosen: dict[str, Any], sentences: list[str]) -> None:
    assert refused(manifest({"features": chosen})) == [f"{POINTS}: {sentence}" for sentence in sentences]


def of_type(kind: str, **ml: Any) -> dict[str, Any]:
    columns = {"id": "varchar", "a": "double", "cell": "varchar", "y": kind}
    return manifest({"candidates": ["gradient_boosting"]} | ml, columns=columns)


@pytest.mark.parametrize(
    ("kind", "ml", "expected"),
    [
        ("double", {}, ("regression", "rmse")),
        ("integer", {}, ("regression", "rmse")),
        ("decimal(9, 2)", {"metric": "mae"}, ("regression", "mae")),
        ("boolean", {}, ("classification", "log_loss")),
        ("varchar(20)", {"positive": "a'b"}, ("classification", "log_loss")),
        ("enum('a', 'b')", {"metric": "roc_auc"}, ("classification", "roc_auc")),
        ("smallint", {"task": "classification", "positive": 0}, ("classification", "log_loss")),
    ],
)
def test_the_task_is_what_the_target_s_type_says_and_the_metric_what_the_task_says(
    kind: str, ml: dict[str, Any], expected: tuple[str, str]
) -> None:
    (points,) = read_exposures(of_type(kind, **ml))
    assert (points.task, points.metric) == expected


@pytest.mark.parametrize(
    ("kind", "ml", "sentence"),
    [
        ("boolean", {"task": "regression"}, (
            "meta.ml.task is 'regression', and the target y of features.points is BOOLEAN: it has classes. Leave "
            "meta.ml.task out, or cast the column to a number where the table is built."
        )),
        ("double", {"task": "classification"}, (
            "meta.ml.task is 'classification', and the target y of features.points is DOUBLE, no integer that fits "
            "into 64 bits. Classes are booleans, texts, enums or integers: cast it where the table is built."
        )),
        ("hugeint", {"task": "classification"}, (
            "meta.ml.task is 'classification', and the target y of features.points is HUGEINT, no integer that fits "
            "into 64 bits. Classes are booleans, texts, enums or integers: cast it where the table is built."
        )),
        ("boolean", {"metric": "rmse"}, (
            "meta.ml.metric is 'rmse', and the task is classification: allowed are log_loss, brier_score, accuracy, "
            "roc_auc, average_precision."
        )),
        ("double", {"metric": "log_loss"}, (
            "meta.ml.metric is 'log_loss', and the task is regression: allowed are rmse, mae."
        )),
        ("boolean", {"candidates": ["ridge"]}, (
            "meta.ml.candidates names 'ridge', which is for regression, and the task is classification: take logistic, "
            "gradient_boosting, or an estimator by its path."
        )),
        ("double", {"candidates": ["logistic"]}, (
            "meta.ml.candidates names 'logistic', which is for classification, and the task is regression: take ridge, "
            "gradient_boosting, or an estimator by its path."
        )),
        ("double", {"positive": 1}, (
            "meta.ml.positive is 1, which is for classes, and the task is regression: leave it out."
        )),
        ("varchar", {"positive": True}, (
            "meta.ml.positive is True, and the target y is VARCHAR: it must be a text. YAML reads yes, no, on, off, "
            "true and false as booleans: put it in quotes."
        )),
        ("boolean", {"positive": "true"}, (
            "meta.ml.positive is 'true', and the target y is BOOLEAN: it must be true or false."
        )),
        ("integer", {"task": "classification", "positive": True}, (
            "meta.ml.positive is True, and the target y is INTEGER: it must be a whole number."
        )),
        ("boolean", {"positive": 1.5}, (
            "meta.ml.positive is 1.5. A class is true or false, a whole number, or a text."
        )),
        ("boolean", {"minimum": 0}, "meta.ml.minimum is for numbers, and the task is classification: leave it out."),
        ("boolean", {"unit": "km"}, "meta.ml.unit is for numbers, and the task is classification: leave it out."),
        ("boolean", {"task": "ranking"}, (
            "meta.ml.task is 'ranking'. Input should be 'regression' or 'classification'."
        )),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_task_is_named_with_what_is_allowed(kind: str, ml: dict[str, Any], sentence: str) -> None:
    assert refused(of_type(kind, **ml)) == [f"{POINTS}: {sentence}"]


def test_a_table_of_predictions_is_shared_by_those_who_predict_the_same_type() -> None:
    columns = {"id": "varchar", "a": "double", "y": "double", "s": "varchar", "e": "enum('u', 'v')", "b": "boolean"}

    def asks(name: str, **ml: Any) -> dict[str, Any]:
        return exposure(name, {"key": "id", "target": name, "candidates": ["gradient_boosting"]} | ml)

    numbers = {"group": None}
    assert refused(manifest(numbers, asks("s"), asks("b", predictions="flags"), columns=columns)) == [
        "Exposure s: it predicts classes of type VARCHAR, but ml.predictions has numbers of exposure points. Name "
        "another table in meta.ml.predictions."
    ]
    of_texts = [asks("s", predictions="texts"), asks("e", predictions="texts")]
    assert len(read_exposures(manifest(numbers, *of_texts, columns=columns))) == 3
    assert refused(manifest(numbers, *of_texts, asks("b", predictions="texts"), columns=columns)) == [
        "Exposure b: it predicts classes of type BOOLEAN, but ml.texts has classes of type VARCHAR of exposure s. "
        "Name another table in meta.ml.predictions."
    ]


def test_what_is_learned_depends_on_the_task_the_positive_class_and_the_metric() -> None:
    asked: list[dict[str, Any]] = [
        {}, {"metric": "mae"}, {"task": "classification"}, {"task": "classification", "positive": 0},
        {"task": "classification", "metric": "roc_auc"},
    ]  # fmt: skip
    digests = [read_exposures(of_type("integer", **ml))[0].digest() for ml in asked]
    assert len(set(digests)) == 5
    # what is said that would be so without is the same
    for same in ({"task": "regression"}, {"metric": "rmse"}):
        assert read_exposures(of_type("integer", **same))[0].digest() == digests[0]


LGBM = {"name": "trees", "estimator": "lightgbm.LGBMRegressor"}


@pytest.mark.parametrize(
    ("features", "rows"), [(1, 500_000), (99, 500_000), (100, 495_049), (2_000, 24_987), (20_000, 10_000)]
)
def test_how_many_rows_are_sampled_follows_from_the_width_of_the_table(features: int, rows: int) -> None:
    columns = {"id": "varchar", **{f"x{i}": "double" for i in range(features)}, "y": "double"}
    asked = {"group": None, "candidates": [LGBM]}
    every = [read_exposures(manifest({**asked, **more}, columns=columns))[0] for more in ({}, {"max_rows": "all"})]
    assert [exposure.sample_rows for exposure in every] == [rows, rows]
    (other,) = read_exposures(manifest({**asked, "max_rows": 1_000}, columns=columns))
    assert other.sample_rows == 1_000
    assert len({exposure.digest() for exposure in (*every, other)}) == 3


def test_where_no_candidate_holds_rows_fewer_are_sampled() -> None:
    columns = {"id": "varchar", "a": "double", "cell": "varchar", "y": "integer"}
    for more, rows in (
        ({"candidates": ["ridge"]}, 200_000),
        ({"candidates": ["ridge", "gradient_boosting"]}, 500_000),
        ({"candidates": ["ridge", {"name": "gradient_boosting", "enabled": False}]}, 200_000),
        ({"candidates": ["logistic"], "task": "classification"}, 500_000),
        ({"candidates": ["ridge"], "max_rows": 300_000}, 300_000),
    ):
        (exposure,) = read_exposures(manifest(more, columns=columns))
        assert exposure.sample_rows == rows, more


def test_the_number_of_sampled_rows_is_in_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    open_, said = (read_exposures(manifest(ml))[0] for ml in ({}, {"max_rows": 5_000}))
    before = (open_.digest(), said.digest())
    monkeypatch.setattr(exposures, "JUDGED_SAMPLE", 100_000)
    assert open_.digest() != before[0]
    assert said.digest() == before[1]


@pytest.mark.parametrize("rows", [999, 0, True, "some", 1e6])
def test_rows_are_a_number_or_all(rows: Any) -> None:
    (sentence,) = refused(manifest({"max_rows": rows}))
    assert sentence == f"{POINTS}: meta.ml.max_rows is {rows!r}. It must be a whole number, at least 1000, or all."


def test_all_rows_need_a_candidate_that_learns_from_them() -> None:
    read_exposures(manifest({"max_rows": "all", "candidates": ["gradient_boosting", "ridge"]}))
    read_exposures(manifest({"max_rows": "all", "candidates": ["gradient_boosting", LGBM]}))
    off = {**LGBM, "enabled": False}
    (sentence,) = refused(manifest({"max_rows": "all", "candidates": ["gradient_boosting", off]}))
    assert sentence == (
        f"{POINTS}: meta.ml.max_rows is 'all', and no candidate learns from all rows: gradient_boosting hold what they "
        "learn from. Add one whose estimator is lightgbm.LGBMRegressor or lightgbm.LGBMClassifier, or give a number of "
        "rows."
    )


@pytest.mark.parametrize("given", [{"parameters": {"linear_tree": True}}, {"search": {"space": {"linear_tree": [1]}}}])
def test_what_binned_rows_do_not_take_is_refused(given: dict[str, Any]) -> None:
    read_exposures(manifest({"candidates": [{**LGBM, **given}]}))
    (sentence,) = refused(manifest({"max_rows": "all", "candidates": [{**LGBM, **given}]}))
    assert sentence == (
        f"{POINTS}: meta.ml.candidates: trees has the parameter linear_tree, which LightGBM does not take with binned "
        "rows, and meta.ml.max_rows is 'all': leave the parameter out, or give a number of rows. Texts and columns "
        "named in features.categorical are categories by themselves, and a class counts by meta.ml.weight."
    )


def test_the_extra_that_brings_lightgbm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimators, "find_spec", lambda name: None)
    (doubt,) = doubts(read_exposures(manifest({"max_rows": "all", "candidates": [LGBM]})))
    assert doubt == (
        "Exposure points: candidate trees cannot compete, as lightgbm.LGBMRegressor is not to be found: there is no "
        "package lightgbm here. Write its estimator as package.module.Name, install its package: `pip install "
        "'tract[boosting]'`, in a checkout of Tract `make boosting`, or say `enabled: false`."
    )


def test_a_candidate_that_is_not_to_be_found_is_a_doubt_and_no_error() -> None:
    asked = [
        "ridge",
        {"name": "typo", "estimator": "sklearn.linear_model.Rigde"},
        {"name": "absent", "estimator": "nowhere.Boosting"},
        {"name": "off", "estimator": "nowhere.Boosting", "enabled": False},
    ]
    points = read_exposures(manifest({"candidates": asked}))
    advice = "Write its estimator as package.module.Name, install its package, or say `enabled: false`."
    assert doubts(points) == [
        "Exposure points: candidate typo cannot compete, as sklearn.linear_model.Rigde is not to be found: "
        f"sklearn.linear_model has no Rigde, but Ridge. {advice}",
        "Exposure points: candidate absent cannot compete, as nowhere.Boosting is not to be found: there is no package "
        f"nowhere here. {advice}",
    ]
    assert doubts(read_exposures(manifest())) == []


@pytest.mark.parametrize(("feature", "key"), [("Prediction", "id"), ("a", "version_id")])
def test_a_column_whose_name_is_taken_is_named(feature: str, key: str) -> None:
    columns = {key: "varchar", feature: "double", "cell": "varchar", "y": "double"}
    (sentence,) = refused(manifest({"key": key}, columns=columns))
    wrong = feature if key == "id" else key
    assert sentence.startswith(
        f"{POINTS}: column {wrong} of features.points has a name that ml gives to a column of its own. Rename it"
    )


def test_a_table_without_a_feature() -> None:
    columns = {"id": "varchar", "cell": "varchar", "y": "double"}
    assert refused(manifest(columns=columns)) == [
        f"{POINTS}: features.points has no column left to learn from. Columns of features.points: id, cell, y."
    ]


def test_a_model_without_a_contract() -> None:
    given = manifest()
    given["nodes"]["model.tract.points"]["config"] = {}
    assert refused(given) == [
        f"{POINTS}: points has no enforced contract. "
        "Set `contract: {enforced: true}` and name its columns with their types."
    ]


@pytest.mark.parametrize("materialized", ["view", "ephemeral", "materialized_view", "external"])
def test_a_model_that_keeps_no_rows_is_refused(materialized: str) -> None:
    given = manifest()
    given["nodes"]["model.tract.points"]["config"]["materialized"] = materialized
    assert refused(given) == [
        f"{POINTS}: points is materialized as {materialized}, which keeps no rows of its own to go back to. "
        "Materialize it as `table` or `incremental`."
    ]


def test_a_model_that_is_built_elsewhere_is_refused() -> None:
    given = manifest()
    given["nodes"]["model.tract.points"]["database"] = "attached"
    assert refused(given) == [
        f"{POINTS}: points is built in the database attached. It must be built in `lake`, whose snapshots are learned "
        "from: leave its `database` out."
    ]


@pytest.mark.parametrize(
    ("parents", "named"),
    [
        ((), "nothing"),
        (("model.tract.points", "model.tract.others"), "model.tract.points, model.tract.others"),
        (("source.tract.raw.points",), "source.tract.raw.points"),
    ],
)
def test_an_exposure_learns_from_exactly_one_model(parents: tuple[str, ...], named: str) -> None:
    wanting = exposure("points", {}, parents)
    assert refused(manifest({}, wanting)) == [
        f"{POINTS}: depends_on names {named}. It must be exactly one model, the table to learn from."
    ]


def test_a_shared_table_of_predictions_needs_one_key() -> None:
    other = exposure("zones", {"key": "cell", "target": "y", "group": "id", "candidates": ["ridge"]})
    assert refused(manifest({}, other)) == [
        "Exposure zones: its key is cell VARCHAR, but ml.predictions has the key id VARCHAR of exposure points. "
        "Name another table in meta.ml.predictions."
    ]
    other["config"]["meta"]["ml"]["predictions"] = "zone_predictions"
    assert [found.name for found in read_exposures(manifest({}, other))] == ["points", "zones"]


def test_all_contradictions_of_an_exposure_are_said_at_once() -> None:
    columns = {"id": "hugeint", "a": "blob", "b": "double", "cell": "varchar", "y": "date"}
    wrong = {"map_columns": ["z", "b"], "predictions": "trials", "features": {"exclude": ["z"]}}
    found = refused(manifest(wrong, columns=columns))
    assert [line.removeprefix(f"{POINTS}: ").split(",")[0] for line in found] == [
        "meta.ml.features.exclude names 'z'",
        "meta.ml.map_columns names 'z'",
        "meta.ml.predictions is 'trials'",
        "the target y of features.points is DATE",
        "the key id of features.points is HUGEINT",
        "column a of features.points is BLOB",
    ]


def test_everything_that_is_wrong_is_said_at_once() -> None:
    other = exposure("zones", {"key": "id", "target": "z", "candidates": ["ridge"]})
    found = refused(manifest({"folds": 1, "seed": -1}, other))
    assert [line.split(" is ")[0] for line in found] == [
        f"{POINTS}: meta.ml.folds",
        f"{POINTS}: meta.ml.seed",
        f"{ZONES}: meta.ml.target",
    ]


def test_the_digest_changes_with_whatever_decides_what_is_learned_and_with_nothing_else() -> None:
    (first,) = read_exposures(manifest())
    given = manifest()
    given["exposures"]["points"] |= {"description": "In other words.", "owner": {"email": "other@example.com"}}
    (reworded,) = read_exposures(given)
    (reseeded,) = read_exposures(manifest({"seed": 1}))
    (retyped,) = read_exposures(
        manifest(columns={"id": "varchar", "a": "double", "b": "float", "cell": "varchar", "y": "double"})
    )
    assert reworded.digest() == first.digest()
    assert len({first.digest(), reseeded.digest(), retyped.digest()}) == 3


def test_a_map_is_made_of_two_columns_that_are_numbers() -> None:
    assert refused(manifest({"map_columns": ["a", "z"]})) == [
        f"{POINTS}: meta.ml.map_columns names 'z', which is no column. {ALLOWED}"
    ]
    assert refused(manifest({"map_columns": ["cell", "a"]})) == [
        f"{POINTS}: meta.ml.map_columns names 'cell', which is VARCHAR, not a number. {ALLOWED}"
    ]


def test_what_dbt_says_of_the_table_is_told_without_its_examples() -> None:
    given = manifest()
    said = "One row per point.\n\n```sql\nselect * from points\n```\n"
    given["nodes"]["model.tract.points"]["description"] = said
    (found,) = read_exposures(given)
    assert found.relation_description == "One row per point."


def test_the_names_that_no_exposure_may_take_are_the_tables_of_ml() -> None:
    ddl = files("ml.records").joinpath("tables.sql").read_text()
    assert set(re.findall(r"create (?:table|view) if not exists lake\.ml\.(\w+)", ddl)) == OWN_TABLES
