"""Exact information between parts of a jointly Gaussian vector, from its covariance.

``covariance`` is ``(D, D)``; ``x``, ``y`` and ``given`` are disjoint lists of its columns. With one
column each, I(X; Y | Z) = -1/2 log(1 - partial correlation^2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mimrl.errors import EstimationError, ShapeError

Columns = Sequence[int]
Floats = npt.NDArray[np.float64]


def gaussian_information(
    covariance: npt.ArrayLike, x: Columns, y: Columns, given: Columns = ()
) -> float:
    """I(X; Y) or, with ``given``, I(X; Y | Z).

    Args:
        covariance: ``(D, D)``, symmetric, positive definite on the columns named.
        x: columns of X, at least one.
        y: columns of Y, at least one.
        given: columns of Z.

    Returns:
        Nats, 0 or more.

    Raises:
        ShapeError: the covariance is not square, or a column does not exist or is named twice.
        EstimationError: the covariance is not symmetric and positive definite.

    >>> round(gaussian_information([[1.0, 0.5], [0.5, 1.0]], [0], [1]), 4)  # -1/2 log(1 - 1/4)
    0.1438
    """
    matrix = _checked(covariance, x, y, given)
    total = sum(sign * _log_determinant(matrix, part) for sign, part in _parts(x, y, given))
    return max(0.0, -0.5 * total)


def gaussian_pointwise(
    values: npt.ArrayLike,
    covariance: npt.ArrayLike,
    x: Columns,
    y: Columns,
    given: Columns = (),
) -> Floats:
    """Log p(x, y | z) / (p(x | z) p(y | z)) of every sample of a centred Gaussian vector.

    Args:
        values: ``(N, D)`` samples.
        covariance: ``(D, D)``, symmetric, positive definite on the columns named.
        x: columns of X, at least one.
        y: columns of Y, at least one.
        given: columns of Z.

    Returns:
        ``(N,)`` in nats; its mean over samples is :func:`gaussian_information`.

    Raises:
        ShapeError: shapes that do not fit, or a column that does not exist or is named twice.
        EstimationError: the covariance is not symmetric and positive definite.
    """
    matrix = _checked(covariance, x, y, given)
    samples = np.asarray(values, dtype=np.float64)
    if samples.ndim != 2 or samples.shape[1] != len(matrix):
        raise ShapeError(f"samples must be (N, {len(matrix)}), got {samples.shape}")
    total = np.zeros(len(samples))
    for sign, part in _parts(x, y, given):
        total += sign * _log_density(samples, matrix, part)
    return total


def _parts(x: Columns, y: Columns, given: Columns) -> tuple[tuple[int, list[int]], ...]:
    """Sets of columns whose log densities, with these signs, make up the log ratio."""
    xs, ys, zs = list(x), list(y), list(given)
    return (1, xs + ys + zs), (1, zs), (-1, xs + zs), (-1, ys + zs)


def _log_density(samples: Floats, covariance: Floats, columns: list[int]) -> Floats:
    """Log density without the constant of the dimension, which cancels in a log ratio."""
    if not columns:
        return np.zeros(len(samples))
    block = covariance[np.ix_(columns, columns)]
    chosen = samples[:, columns]
    distance = np.einsum("nd,nd->n", chosen, np.linalg.solve(block, chosen.T).T)
    return -0.5 * (distance + _log_determinant(covariance, columns))


def _log_determinant(covariance: Floats, columns: list[int]) -> float:
    if not columns:
        return 0.0
    try:
        factor = np.linalg.cholesky(covariance[np.ix_(columns, columns)])
    except np.linalg.LinAlgError as error:
        raise EstimationError(
            f"the covariance of columns {columns} is not positive definite; "
            "one of them may be a linear function of the others, and information is infinite"
        ) from error
    return 2 * float(np.log(np.diagonal(factor)).sum())


def _checked(covariance: npt.ArrayLike, x: Columns, y: Columns, given: Columns) -> Floats:
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError(f"a covariance must be (D, D), got {matrix.shape}")
    if not np.allclose(matrix, matrix.T):
        raise EstimationError("a covariance must be symmetric")
    named = [*x, *y, *given]
    if not len(x) or not len(y):
        raise ShapeError("x and y need at least one column each")
    if len(set(named)) < len(named) or min(named) < 0 or max(named) >= len(matrix):
        raise ShapeError(
            f"columns must be different numbers below {len(matrix)}, "
            f"got x {list(x)}, y {list(y)}, given {list(given)}"
        )
    return matrix
