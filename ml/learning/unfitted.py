"""The unfitted estimator that a candidate of the spec names."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any

from sklearn.base import is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression

from ml import estimators
from ml.learning.encoding import Encoding
from ml.learning.fits import EstimatorError, said
from ml.metrics import Task
from ml.spec import CandidateSpec

# What libraries call an estimator's seed, and its number of threads.
SEEDS = ("random_state", "random_seed", "seed")
THREADS = ("n_jobs", "thread_count", "num_threads", "nthread")


def estimator(spec: CandidateSpec, seed: int, encoding: Encoding | None = None, task: Task = "regression") -> Any:
    """The unfitted regressor or classifier of a candidate, and all that it is made of, with the spec's seed, on one
    thread.

    Where columns are encoded, it is a pipeline with the encoders before it.

    A seed or a number of threads that the spec's parameters name, under whichever name, stays as it is.

    Raises:
        EstimatorError: As `build`.
    """
    path = spec.path(task)
    assert path is not None, f"{spec.name} has no estimator"
    where = f"candidate {spec.name}: estimator {path}"
    make = _imported(path, where)
    accepted = [name for name in _parameters(make) if make is not LogisticRegression or name not in THREADS]
    ours = [(names, value) for names, value in ((SEEDS, seed), (THREADS, 1)) if not set(names) & set(spec.chosen)]
    given = {_first(accepted, names): value for names, value in ours}
    try:
        made = make(**{name: value for name, value in given.items() if name}, **spec.chosen)
        if hasattr(made, "__sklearn_tags__") and (is_regressor if task == "regression" else _is_able)(made):
            filled = _filled(made, ours)
            return encoding.before(spec.name, filled) if encoding else filled
    except Exception as error:  # anybody's code
        allowed = f" Allowed parameters: {', '.join(accepted)}." if accepted else ""
        raise EstimatorError(f"{where}: {said(error)}.{allowed}") from error
    needed = "regressor" if task == "regression" else "classifier"
    lacks = f"is no {needed}" if task == "regression" or not _is_classifier(made) else "gives no probabilities"
    raise EstimatorError(
        f"{where} makes a {type(made).__name__}, which {lacks}. Name a class or function that gives an unfitted "
        f"scikit-learn {needed}{'' if task == 'regression' else ' with predict_proba'}."
    )


def _is_classifier(made: Any) -> bool:
    return hasattr(made, "__sklearn_tags__") and bool(is_classifier(made))


def _is_able(made: Any) -> bool:
    return _is_classifier(made) and hasattr(made, "predict_proba")


def _filled(made: Any, ours: Sequence[tuple[Sequence[str], int]]) -> Any:
    """The estimator with values of ours where it, or one that is inside it, leaves such a parameter open."""
    inside = {f"{name}__": value for name, value in made.get_params().items() if _is_estimator(value)}
    for prefix, part in {"": made, **inside}.items():
        told = part.get_params(deep=False)
        # not every estimator tells of a parameter that was not given
        known = dict.fromkeys([*told, *_parameters(type(part))])
        if isinstance(part, LogisticRegression):
            known.pop("n_jobs", None)  # which it warns of: it has no threads
        for names, value in ours:
            values = [told[name] for name in names if told.get(name) is not None]
            open_ = not values or (names is THREADS and min(values) < 0)  # joblib's -1 is all cores
            if open_ and (name := _first(known, names)):
                made.set_params(**{f"{prefix}{name}": value})
    return made


def _parameters(make: Any) -> list[str]:
    """The names of what it is called with; none where it does not tell, as compiled code may not."""
    try:
        return list(inspect.signature(make).parameters)
    except (TypeError, ValueError):
        return []


def _first(known: Iterable[str], names: Sequence[str]) -> str:
    """Of names for the same, the one that is known; where several are, as CatBoost's two for a seed, it takes one."""
    return next((name for name in known if name in names), "")


def _is_estimator(value: object) -> bool:
    return hasattr(value, "set_params") and not isinstance(value, type)


def _imported(path: str, where: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(import_module(module), name)
    except Exception as error:  # a module that is imported may do anything
        raise EstimatorError(
            f"{where} cannot be imported: {said(error)}. Write it as package.module.Name, and "
            f"{estimators.installing(path)}."
        ) from error
    return found
