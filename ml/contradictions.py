"""What does not fit between an exposure's settings, its table's contract and other exposures, in sentences."""

from collections.abc import Iterator

from ml import classes
from ml.columns import LEVELS, is_boolean, kind_of
from ml.exposures import (
    BESIDE_PREDICTIONS,
    OWN_TABLES,
    PERIOD,
    TAKEN,
    TAKEN_BESIDE_KEY,
    TAKEN_BY_CLASSES,
    Exposure,
)
from ml.lake.sql import is_key, is_numeric
from ml.metrics import METRICS, Task
from ml.spec import ALL_ROWS, BINNED, OWN, UNBINNED, Spec


def of(exposure: Exposure) -> Iterator[str]:
    """What does not fit between the settings, and between them and the table's contract: a sentence each."""
    roles = list(_unfit_roles(exposure))
    yield from roles
    yield from _unfit_settings(exposure)
    if exposure.spec.target in exposure.columns:  # else nothing is known of the task
        yield from _unfit_task(exposure)
    if not roles:  # else a column may be no feature at all
        yield from _unfit_columns(exposure)


def _named_columns(exposure: Exposure) -> str:
    return f"Columns of {exposure.relation}: {', '.join(exposure.columns)}."


def _unfit_roles(exposure: Exposure) -> Iterator[str]:
    spec, columns, allowed = exposure.spec, exposure.columns, _named_columns(exposure)
    roles = [*(("key", name) for name in spec.key_columns), ("target", spec.target), ("group", spec.group)]
    for field, name in roles:
        if name is not None and name not in columns:
            yield f"meta.ml.{field} is '{name}', which is no column. {allowed}"
    if spec.target in (*spec.key_columns, spec.group) or spec.group == spec.key:
        named = [*spec.key_columns, spec.target, *([spec.group] if spec.group else [])]
        yield (
            f"key, target and group must be columns of their own, not {', '.join(named)}; only a key of several "
            "columns may hold the group."
        )
    if spec.split == "group" and spec.group is None:
        yield f"meta.ml.split is 'group', but meta.ml.group names no column. {allowed}"
    yield from _unfit_weight(exposure)
    yield from _unfit_time(exposure)


def _unfit_weight(exposure: Exposure) -> Iterator[str]:
    spec, kind = exposure.spec, exposure.columns.get(exposure.spec.weight or "")
    if spec.weight is None:
        return
    if kind is None:
        yield f"meta.ml.weight is '{spec.weight}', which is no column. {_named_columns(exposure)}"
    elif not is_numeric(kind):
        yield (
            f"meta.ml.weight is '{spec.weight}', which is {kind}. It must be a number: cast it where the "
            "table is built."
        )
    if spec.weight in (*spec.key_columns, spec.target):
        yield f"meta.ml.weight is '{spec.weight}', which is key or target: a weight is a column of its own."


def _unfit_time(exposure: Exposure) -> Iterator[str]:
    spec, columns, allowed = exposure.spec, exposure.columns, _named_columns(exposure)
    if spec.time is not None and spec.time not in columns:
        yield f"meta.ml.time is '{spec.time}', which is no column. {allowed}"
    elif spec.time is not None and kind_of(columns[spec.time]) != "date":
        yield (
            f"meta.ml.time is '{spec.time}', which is {columns[spec.time]}. It must be a date or a timestamp: cast it "
            "where the table is built."
        )
    if spec.split == "time":
        if spec.time is None:
            yield f"meta.ml.split is 'time', but meta.ml.time names no column. {allowed}"
        if "folds" in spec.model_fields_set:
            yield "meta.ml.folds deals rows by chance, and meta.ml.split is 'time': say meta.ml.backtest.folds."
        if PERIOD in spec.slices:
            yield f"meta.ml.slices names '{PERIOD}', which is what meta.ml.split: time calls its slices: rename it."
    elif "backtest" in spec.model_fields_set:
        yield f"meta.ml.backtest is for meta.ml.split: time, and the split is '{spec.split}': leave one of them out."


def _unfit_settings(exposure: Exposure) -> Iterator[str]:
    spec, columns, allowed = exposure.spec, exposure.columns, _named_columns(exposure)
    for field in ("include", "exclude"):
        for name in getattr(spec.features, field):
            if name not in columns:
                yield f"meta.ml.features.{field} names '{name}', which is no column. {allowed}"
            elif field == "include" and name in spec.roles:
                yield (
                    f"meta.ml.features.include names '{name}', which is key, target, group, time or weight: those are "
                    "no features. Give what is learned from a column of its own where the table is built."
                )
    for name in spec.features.categorical:
        kind = columns.get(name)
        if kind is None:
            yield f"meta.ml.features.categorical names '{name}', which is no column. {allowed}"
        elif kind_of(kind, categorical=True) not in LEVELS:
            yield (
                f"meta.ml.features.categorical names '{name}', which is {kind}, no number. Cast it to varchar where "
                "the table is built: each text is a level of its own."
            )
    for name in spec.map_columns or ():
        if not is_numeric(columns.get(name, "")):
            found = f"{columns[name]}, not a number" if name in columns else "no column"
            yield f"meta.ml.map_columns names '{name}', which is {found}. {allowed}"
    yield from _unfit_rows(spec, exposure.task)
    if spec.predictions_table in OWN_TABLES or spec.predictions_table.startswith(BESIDE_PREDICTIONS):
        yield (
            f"meta.ml.predictions is '{spec.predictions_table}', a table that ml keeps for itself. Name another; "
            f"taken are {', '.join(sorted(OWN_TABLES))}, and all that begin with {', '.join(BESIDE_PREDICTIONS)}."
        )


def _unfit_rows(spec: Spec, task: Task) -> Iterator[str]:
    """What does not fit to `max_rows: all`."""
    if spec.max_rows != ALL_ROWS:
        return
    binned = [recipe for recipe in spec.recipes if recipe.path(task) in BINNED]
    if not binned and not any(recipe.name in OWN for recipe in spec.recipes):
        named = ", ".join(recipe.name for recipe in spec.recipes)
        yield (
            f"meta.ml.max_rows is '{ALL_ROWS}', and no candidate learns from all rows: {named} hold what they learn "
            f"from. Add one whose estimator is {' or '.join(BINNED)}, or give a number of rows."
        )
    for recipe in binned:
        searched = recipe.search.space if recipe.search else {}
        for name in dict.fromkeys([*recipe.chosen, *searched]):
            if name in UNBINNED:
                yield (
                    f"meta.ml.candidates: {recipe.name} has the parameter {name}, which LightGBM does not take with "
                    f"binned rows, and meta.ml.max_rows is '{ALL_ROWS}': leave the parameter out, or give a number of "
                    "rows. Texts and columns named in features.categorical are categories by themselves, and a "
                    "class counts by meta.ml.weight."
                )


def _unfit_task(exposure: Exposure) -> Iterator[str]:
    """What does not fit between the task, the type of the target, and the settings that are of one task alone."""
    spec, task = exposure.spec, exposure.task
    kind = exposure.columns[spec.target]
    target = f"the target {spec.target} of {exposure.relation} is {kind}"
    number = is_numeric(kind)
    if task == "regression" and classes.by_nature(kind):
        yield (
            f"meta.ml.task is 'regression', and {target}: it has classes. Leave meta.ml.task out, or cast the column "
            "to a number where the table is built."
        )
    elif task == "regression" and not number:
        yield (
            f"{target}, neither a number nor a class. Cast it where the table is built: numbers are predicted as such, "
            "booleans, texts and enums as classes."
        )
    elif task == "classification" and not classes.are_classes(kind):
        what = "no integer that fits into 64 bits" if number else "no class"
        yield (
            f"meta.ml.task is 'classification', and {target}, {what}. Classes are booleans, texts, enums or integers: "
            "cast it where the table is built."
        )
    if spec.metric and spec.metric not in METRICS[task]:
        yield f"meta.ml.metric is '{spec.metric}', and the task is {task}: allowed are {', '.join(METRICS[task])}."
    for recipe in spec.candidates:
        if OWN.get(recipe.name, task) != task:
            yield (
                f"meta.ml.candidates names '{recipe.name}', which is for {OWN[recipe.name]}, and the task is {task}: "
                f"take {' or '.join(name for name, its in OWN.items() if its == task)}, gradient_boosting, or an "
                "estimator by its path."
            )
    if task == "regression" and spec.positive is not None:
        yield f"meta.ml.positive is {spec.positive!r}, which is for classes, and the task is {task}: leave it out."
    if task == "classification":
        yield from _unfit_for_classes(exposure, kind)


def _unfit_for_classes(exposure: Exposure, kind: str) -> Iterator[str]:
    spec = exposure.spec
    for field in ("minimum", "unit", "alpha_by"):
        if field in spec.model_fields_set:
            yield f"meta.ml.{field} is for numbers, and the task is classification: leave it out."
    is_text = kind_of(kind) == "text"
    needed = "true or false" if is_boolean(kind) else "a text" if is_text else "a whole number"
    if spec.positive is not None and classes.are_classes(kind) and not classes.fits(spec.positive, kind):
        quotes = " YAML reads yes, no, on, off, true and false as booleans: put it in quotes." if is_text else ""
        yield (
            f"meta.ml.positive is {spec.positive!r}, and the target {spec.target} is {kind}: it must be {needed}."
            f"{quotes}"
        )


def _unfit_columns(exposure: Exposure) -> Iterator[str]:
    """Names and types of the contract's columns that do not fit their roles, which are columns of it."""
    spec, columns, relation = exposure.spec, exposure.columns, exposure.relation
    taken = [name for name in columns if name.lower() in TAKEN]
    beside_key = TAKEN_BESIDE_KEY if exposure.task == "regression" else TAKEN_BY_CLASSES
    if taken := taken or [name for name in spec.key_columns if name.lower() in beside_key]:
        yield (
            f"column {taken[0]} of {relation} has a name that ml gives to a column of its own. "
            f"Rename it; taken are {', '.join(TAKEN)}, and for the key {', '.join(beside_key)}."
        )
    for name in spec.key_columns:
        if not is_key(columns[name]):
            yield (
                f"the key {name} of {relation} is {columns[name]}, which the lake does not keep as it is. Cast it to "
                "varchar where the table is built; keys are integers of up to 64 bits, decimals, floats, texts, UUIDs, "
                "dates, times, timestamps or blobs."
            )
    kinds = exposure.kinds  # made anew each time
    for name in exposure.features:
        if name not in kinds:
            yield (
                f"column {name} of {relation} is {columns[name]}, from which nothing is learned: numbers, booleans, "
                "dates, timestamps, texts and enums are learned from. Features are the contract's columns less key, "
                "target, group, time and weight, and less what other exposures on the table predict: cast it where the "
                "table is built, or name it in meta.ml.features.exclude."
            )
    if not exposure.features:
        yield f"{relation} has no column left to learn from. {_named_columns(exposure)}"


def shared_tables(found: list[Exposure]) -> list[str]:
    """A table of predictions has its key's name and type, and its classes': who share one must share both."""
    first: dict[str, Exposure] = {}
    wrong = []
    for exposure in found:
        other = first.setdefault(exposure.spec.predictions_table, exposure)
        ours, theirs = (
            ", ".join(f"{name} {e.columns[name]}" for name in e.spec.key_columns) for e in (exposure, other)
        )
        if ours != theirs:
            wrong.append(
                f"Exposure {exposure.name}: its key is {ours}, but ml.{exposure.spec.predictions_table} "
                f"has the key {theirs} of exposure {other.name}. Name another table in meta.ml.predictions."
            )
        elif exposure.predicted_columns != other.predicted_columns:
            ours, theirs = (_predicted(e) for e in (exposure, other))
            wrong.append(
                f"Exposure {exposure.name}: it predicts {ours}, but ml.{exposure.spec.predictions_table} has {theirs} "
                f"of exposure {other.name}. Name another table in meta.ml.predictions."
            )
    return wrong


def _predicted(exposure: Exposure) -> str:
    if exposure.task == "regression":
        return "numbers"
    return f"classes of type {classes.stored_as(exposure.columns[exposure.spec.target])}"
