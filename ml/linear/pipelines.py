"""What all linear models share: rows standardized, NULLs at their mean, and a fitted pipeline of scikit-learn's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ml.linear import encoder
from ml.linear.moments import Moments
from ml.linear.spectrum import Scaling, Spectrum
from ml.linear.terms import Term, Value, are_plain
from ml.linear.terms import terms as terms_of


def imputed(moments: Moments, features: Sequence[str | Term]) -> tuple[Moments, tuple[Term, ...]]:
    """Moments and terms whose NULLs stand at the rows' own mean; of plain numbers they stay as they are."""
    made = terms_of(features)
    if are_plain(made):
        return moments, made
    change, made = encoder.imputed(moments, made)
    return moments.mapped(change), made


def notes(moments: Moments, terms: Sequence[Term], spectrum: Spectrum | None = None) -> tuple[str, ...]:
    """A sentence for each constant or collinear column of values: that a column's levels add up to one is known.

    Args:
        moments: Of the terms and a target, as `imputed` gives both.
        spectrum: Of these moments, where it is known.
    """
    values = [i for i, term in enumerate(terms) if isinstance(term, Value)]
    if not values:
        return ()
    if spectrum is None or len(values) < len(terms):
        spectrum = Spectrum(moments.of_columns(values))
    return spectrum.notes([terms[i].name for i in values])


def assembled(scaling: Scaling, terms: Sequence[Term], name: str, model: Any) -> Pipeline:
    """The fitted `Pipeline(StandardScaler(), model)` of rows that are known by their sums.

    Args:
        scaling: Of the terms.
        terms: In the order of `encoder.fitted`, which makes the transformer before the scaler if not all are plain.
        name: Of the model's step, as `make_pipeline` calls it.
        model: Fitted.
    """
    plain = are_plain(terms)
    # scikit-learn fits two rows of zeros first: every attribute that its version sets is then there, with its right
    # type, and only the numbers are put in
    zeros = np.zeros((2, len(terms)))
    scaler = StandardScaler().fit(pd.DataFrame(zeros, columns=[term.name for term in terms]) if plain else zeros)
    scaler.mean_, scaler.var_, scaler.scale_ = scaling.mean.copy(), scaling.variance.copy(), scaling.scale.copy()
    scaler.n_samples_seen_ = type(scaler.n_samples_seen_)(scaling.n)
    steps = [("standardscaler", scaler), (name, model)]
    return Pipeline(steps if plain else [("columns", encoder.fitted(terms)), *steps])
