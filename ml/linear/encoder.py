"""Terms as scikit-learn makes them of a frame of raw columns: a fitted ColumnTransformer, and back to terms.

All that is saved is scikit-learn's and pandas' own: a file is read without Tract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from ml.arrays import Matrix
from ml.columns import Kind
from ml.linear.moments import Moments
from ml.linear.terms import Level, Term, Value


def reading(kind: Kind) -> list[FunctionTransformer]:
    """The steps that make a column, of whatever type pandas has for it, one of doubles or of texts, NaN for NULL."""
    frames: Any = pd.DataFrame
    if kind == "date":
        steps = [
            (frames.apply, {"func": pd.to_datetime, "utc": True}),
            (frames.sub, {"other": pd.Timestamp(0, tz="UTC")}),
            (frames.div, {"other": pd.Timedelta(days=1)}),
        ]
    elif kind == "text":
        steps = [(frames.astype, {"dtype": object}), (frames.where, {"cond": pd.notna, "other": np.nan})]
    else:
        steps = [(frames.astype, {"dtype": np.float64})]
    return [FunctionTransformer(step, kw_args=given, feature_names_out="one-to-one") for step, given in steps]


def imputed(moments: Moments, terms: Sequence[Term]) -> tuple[Matrix, tuple[Term, ...]]:
    """What puts the mean of these rows' own values in the place of NULL, for `Moments.mapped`; and the terms then.

    A column that is filled with c, x, and its NULLs, m, know the column that is filled with any other c': it is
    x + (c' - c) m. Where all values are NULL, 0 stands for them, as `SimpleImputer` has it.

    Args:
        moments: Of the rows, of the terms and a target.
    """
    change = np.eye(len(terms) + 1)
    nulls = {term.column: i for i, term in enumerate(terms) if isinstance(term, Level) and term.level is None}
    made: list[Term] = []
    for i, term in enumerate(terms):
        if isinstance(term, Level):
            made.append(term)
            continue
        mean = float(moments.mean[i])
        if term.fill is not None and term.column in nulls:
            null = nulls[term.column]
            present = 1 - float(moments.mean[null])
            mean = term.fill + (mean - term.fill) / present if present > 1e-12 else 0.0  # rounding may leave as much
            change[i, null] = mean - term.fill
        made.append(replace(term, fill=mean))
    return change, tuple(made)


def fitted(terms: Sequence[Term]) -> ColumnTransformer:
    """The transformer that makes terms, in their order, of a frame of the columns.

    Args:
        terms: As `imputed` gives them, all of a kind together: numbers, dates, texts, codes; of numbers and dates first
            all values, then all NULLs; of texts and codes each column's levels, NULL last.
    """
    columns: dict[Kind, list[str]] = {}
    for term in terms:
        names = columns.setdefault(term.kind, [])
        if term.column not in names:
            names.append(term.column)
    frame: dict[str, Any] = {}
    parts: list[tuple[str, Pipeline, list[str]]] = []
    for kind, names in columns.items():
        if kind in ("text", "code"):
            levels = [[_level(term) for term in terms if term.column == name] for name in names]
            kept = [np.array(some, dtype=object if kind == "text" else np.float64) for some in levels]
            last: Any = OneHotEncoder(categories=kept, handle_unknown="ignore", sparse_output=False)
            for name, some in zip(names, kept, strict=True):
                frame[name] = pd.Series([some[0]] * 2, dtype=some.dtype)
        else:
            nullable = {term.column for term in terms if isinstance(term, Level)}
            last = SimpleImputer(strategy="mean", add_indicator=True, keep_empty_features=True)
            one = pd.Timestamp(0) if kind == "date" else 0.0
            frame |= {name: pd.Series([None if name in nullable else one, one], dtype=_dtype(kind)) for name in names}
        parts.append((kind, make_pipeline(*reading(kind), last), names))
    # scikit-learn fits two rows first, so that every attribute which its version sets is there
    transformer = ColumnTransformer(parts).fit(pd.DataFrame(frame))
    for kind, pipeline, _ in transformer.transformers_:
        if kind in ("number", "date"):
            means = [term.fill for term in terms if isinstance(term, Value) and term.kind == kind]
            pipeline[-1].statistics_ = np.array(means, np.float64)
    return transformer


def _level(term: Term) -> Any:
    assert isinstance(term, Level)
    return np.nan if term.level is None else term.level


def _dtype(kind: Kind) -> str:
    return "datetime64[us]" if kind == "date" else "float64"


def terms_of(transformer: ColumnTransformer) -> tuple[Term, ...] | None:
    """The terms of a transformer that `fitted` made, or that scikit-learn fitted again; None of any other."""
    found: list[Term] = []
    for kind, part, names in transformer.transformers_:
        if kind not in ("number", "date", "text", "code") or not isinstance(part, Pipeline):
            return None
        last = part[-1]
        if kind in ("number", "date") and isinstance(last, SimpleImputer) and last.indicator_ is not None:
            found += [Value(name, kind, float(fill)) for name, fill in zip(names, last.statistics_, strict=True)]
            found += [Level(names[i], kind, None) for i in last.indicator_.features_]
        elif kind in ("text", "code") and isinstance(last, OneHotEncoder) and last.handle_unknown == "ignore":
            for name, levels in zip(names, last.categories_, strict=True):
                found += [Level(name, kind, None if level != level else _plain(level)) for level in levels]
        else:
            return None
    return tuple(found)


def _plain(level: Any) -> str | float:
    return level if isinstance(level, str) else float(level)
