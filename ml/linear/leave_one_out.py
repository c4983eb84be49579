"""Leave-one-out errors of ridge penalties, which need each row's leverage: one scan in Arrow batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from ml.arrays import Matrix, Vector
from ml.lake.engine import Source
from ml.linear import batches
from ml.linear.gathering import UnusableRowsError
from ml.linear.moments import Moments
from ml.linear.spectrum import Spectrum, check_alphas
from ml.linear.terms import Term, Value
from ml.linear.terms import terms as terms_of

# Interpolation in the penalty is used where its error bound is below this, far under a double's rounding.
_MAX_INTERPOLATION_ERROR = 1e-18
# ... and where no row's leverage is beyond this; the bound allows for one half.
_MAX_LEVERAGE = 0.4


def loo_errors(
    con: Source,
    relation: str,
    features: Sequence[str | Term],
    target: str,
    moments: Moments,
    alphas: Sequence[float] | Vector,
    weight: str | None = None,
) -> Vector:
    """Mean squared leave-one-out error of each penalty, in one scan; the scaling is that of all rows.

    A row's left-out error is `(y - prediction) / (1 - h)` with its leverage `h = 1/n + sum_j q_j^2 / (l_j + a)`, q
    being the standardized row in the eigenbasis; a row of weight w has `1 - w h` and counts w times, n being the weight
    of all: Golub, Heath, Wahba (1979), 'Generalized cross-validation as a method for choosing a good ridge parameter',
    for one row at a time as in Allen's PRESS.

    Rows arrive as Arrow batches, and BLAS multiplies them by the eigenbasis. It takes 4.4 s for 10 million rows, 8
    features and 30 penalties on one thread. SQL expressions took 44 s: DuckDB makes a vector for each of 1,100
    operators. Many rows make the error a smooth function of the penalty; then few penalties are enough (`_nodes`),
    in 1.2 s.

    Args:
        con: As for `gather`, like the next three.
        relation: The rows that the moments are of.
        features: The p features, as for `gather`.
        target: Name of the target.
        moments: Of all rows, from `gather`, which has checked them.
        alphas: Penalties, positive and finite.
        weight: As for `gather`, by which the moments were made.

    Returns:
        Shape (penalties,), in squared units of the target.

    Raises:
        UnusableRowsError: One row only; or other rows than the moments were made of.
    """
    if moments.n < 2:
        raise UnusableRowsError("the table has 1 row; at least 2 are needed to leave one out: choose alpha by hand")
    checked = np.array(check_alphas(alphas))
    spectrum = Spectrum(moments)
    nodes, weights = _nodes(spectrum, checked)
    columns = [*terms_of(features), Value(target)]
    sums, leverage = _loo_scan(con, relation, columns, spectrum, nodes, weight)
    if len(nodes) < len(checked) and leverage > _MAX_LEVERAGE:
        nodes, weights = checked, np.eye(len(checked))
        sums, _ = _loo_scan(con, relation, columns, spectrum, nodes, weight)
    # The error at a penalty is e_0 + sum_s w_s (e_s - e_0). Squared, the differences stay apart from e_0^2: they
    # distinguish penalties whose errors agree in ten digits.
    rest = weights[:, 1:]
    excess = 2 * rest @ sums[0, 1:] + np.einsum("ks,st,kt->k", rest, sums[1:, 1:], rest)
    result: Vector = (sums[0, 0] + excess) / moments.weight
    return result


def _nodes(spectrum: Spectrum, alphas: Vector) -> tuple[Vector, Matrix]:
    """Penalties to evaluate, (r,), and weights, (penalties, r), that give the errors at `alphas` from them.

    A row's left-out error is a constant plus terms `b / (m + alpha)`, m being the eigenvalues without that row: at
    least half of Z'Z's if no leverage exceeds one half. Interpolated at r Chebyshev nodes of an interval of length w,
    each term is off by at most `2 (w / 4m)^r` of itself. With 10 million rows the eigenvalues are in the millions, and
    four nodes do for penalties up to 10. Else the nodes are the penalties, and the weights 1.
    """
    low, high = float(alphas.min()), float(alphas.max())
    least = float(spectrum.eigenvalues.min(initial=np.inf)) / 2
    for count in range(1, len(alphas) // 3 + 1):
        if 2 * ((high - low) / (4 * (least + low))) ** count <= _MAX_INTERPOLATION_ERROR:
            angles = (2 * np.arange(count) + 1) * np.pi / (2 * count)
            nodes = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
            return nodes, _lagrange(nodes, alphas)
    return alphas, np.eye(len(alphas))


def _lagrange(nodes: Vector, points: Vector) -> Matrix:
    """Weights of the values at `nodes` for the polynomial through them at `points`: (points, nodes)."""
    weights = np.ones((len(points), len(nodes)))
    for s, node in enumerate(nodes):
        for other in np.delete(nodes, s):
            weights[:, s] *= (points - other) / (node - other)
    return weights


def _loo_scan(
    con: Source,
    relation: str,
    columns: Sequence[Term],
    spectrum: Spectrum,
    nodes: Vector,
    weight: str | None,
) -> tuple[Matrix, float]:
    """Sum the products of `[e_0, e_1 - e_0, ...]`, e being a row's left-out errors at the nodes.

    Returns:
        The sums, shape (nodes, nodes), and the largest leverage.
    """
    means = [*spectrum.mean, spectrum.target_mean]
    beside = [] if weight is None else [weight]
    parts = batches.each(con, relation, columns, means, partial(_part, spectrum=spectrum, nodes=nodes), beside)
    sums, least, rows = parts[0]
    for more in parts[1:]:
        sums, least, rows = sums + more[0], min(least, more[1]), rows + more[2]
    if rows != spectrum.n:
        raise UnusableRowsError(
            f"{relation} had {spectrum.n} rows at the first scan and {rows} at the second: read one snapshot "
            "of it, with at (version => ...)"
        )
    return sums, 1 - least


def _part(part: Iterable[batches.Batch], spectrum: Spectrum, nodes: Vector) -> tuple[Matrix, float, int]:
    """The sums of one part of the rows, the least `1 - leverage` there, and how many rows it has."""
    shrunk = spectrum.shrunk(nodes)
    basis = spectrum.vectors / spectrum.scale[:, None]
    residual = np.vstack([-(basis @ (spectrum.projection[:, None] * shrunk)), np.ones(len(nodes))])
    sums, least, rows = np.zeros((len(nodes), len(nodes))), np.inf, 0
    for centred, beside in part:
        projected = basis.T @ centred[:-1]
        reach = shrunk.T @ np.square(projected, out=projected)
        kept = 1 - beside[0] * (reach + 1 / spectrum.weight) if beside else (1 - 1 / spectrum.weight) - reach
        errors = residual.T @ centred
        errors /= kept
        errors[1:] -= errors[0]
        sums += (errors * beside[0] if beside else errors) @ errors.T
        least, rows = min(least, float(kept.min(initial=np.inf))), rows + centred.shape[1]
    return sums, least, rows
