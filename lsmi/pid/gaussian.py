"""Gaussian partial information decomposition of a continuous label (a rating).

Where modalities and one target T are jointly Gaussian, the information of a modality is that of
its best linear prediction, ``I(X; T) = -1/2 log(1 - R^2)``. What X says of T comes down to one
number, T plus Gaussian noise, so that of two modalities the noisier is a degraded version of the
other and everything that it says is redundant. Hence MMI, I_min and BROJA agree (Barrett 2015), and
the deficiency of the better modality, on which Venkatesh and Schamberg (2022, "Partial information
decomposition via deficiency for multivariate Gaussians") build their delta measure, is 0. With one
rating a sample there is one Gaussian decomposition, and no program to solve.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

from lsmi.decomposition import Totals
from lsmi.pid.mmi import mmi
from lsmi.pid.tables import Information
from mimrl.errors import EstimationError, NonFiniteError, ShapeError

FloatArray = npt.NDArray[np.float64]
RANK_TOLERANCE = 1e-9  # directions below this share of the largest are copies of others
LEAST_RESIDUAL = 1e-12  # share of the target's variance that counts as none


def gaussian_pid(x1: npt.ArrayLike, x2: npt.ArrayLike, target: npt.ArrayLike) -> Totals:
    """MMI under a Gaussian model, corrected for the number of samples.

    Args:
        x1: ``(N, D1)`` features.
        x2: ``(N, D2)`` of the second modality.
        target: ``(N,)`` ratings.

    Returns:
        Atoms in nats, about the rating, not about a class.

    Raises:
        ShapeError: shapes that do not fit together.
        NonFiniteError: NaN or infinite values.
        EstimationError: fewer than two samples a coordinate, a constant target, or one that the
            features determine.
    """
    known = gaussian_informations(x1, x2, target)
    return mmi(known.i1, known.i2, known.i12)


def gaussian_informations(
    x1: npt.ArrayLike, x2: npt.ArrayLike, target: npt.ArrayLike
) -> Information:
    """I(X1; T), I(X2; T) and I(X1, X2; T); arguments and errors of :func:`gaussian_pid`."""
    one, two = np.asarray(x1, dtype=np.float64), np.asarray(x2, dtype=np.float64)
    if one.ndim != 2 or two.ndim != 2 or len(one) != len(two):
        raise ShapeError(f"features have shapes {one.shape} and {two.shape}; expected (N, D) each")
    return Information(
        linear_information(one, target),
        linear_information(two, target),
        linear_information(np.hstack([one, two]), target),
    )


def linear_information(x: npt.ArrayLike, target: npt.ArrayLike) -> float:
    """I(X; T) of jointly Gaussian features and target, without the bias of N samples.

    A regression on m coordinates explains part of any target. For Gaussian variables the residual
    and the total sum of squares are chi-square with ``N - 1 - m`` and ``N - 1`` degrees of freedom
    times their variances, and the mean log of a chi-square is ``digamma(k / 2) + log 2``; so

        -1/2 log(1 - R^2) + 1/2 (digamma((N - 1 - m) / 2) - digamma((N - 1) / 2))

    is exactly unbiased, for any true information, and samples need not be held out.

    Args:
        x: ``(N, D)``; ``m`` is its rank after centring.
        target: ``(N,)``.

    Returns:
        Nats; scatters around 0 where there is no information.

    Raises:
        ShapeError: shapes that do not fit together.
        NonFiniteError: NaN or infinite values.
        EstimationError: ``m`` exceeds half the samples, a constant target, or one that the features
            determine.

    >>> generator = np.random.default_rng(0)
    >>> x = generator.normal(size=(40_000, 1))
    >>> t = x[:, 0] + generator.normal(size=40_000)  # -1/2 log(1 - 1/2) = 0.347
    >>> round(linear_information(x, t), 2)
    0.35
    """
    features, values = np.asarray(x, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if features.ndim != 2 or values.shape != features.shape[:1]:
        raise ShapeError(
            f"features have shape {features.shape}, the target {values.shape}; expected (N, D) "
            "and (N,)"
        )
    if not (np.isfinite(features).all() and np.isfinite(values).all()):
        raise NonFiniteError("features or target of a Gaussian decomposition are not all finite")
    basis = _basis(features)
    free = len(values) - 1
    if 2 * basis.shape[1] > free:
        raise EstimationError(
            f"{len(values)} samples are too few for a linear model of {basis.shape[1]} "
            "coordinates; expected more than twice as many samples"
        )
    residual = _residual_share(basis, values)
    bias = digamma((free - basis.shape[1]) / 2) - digamma(free / 2)
    return float(0.5 * (bias - np.log(residual)))


def _basis(features: FloatArray) -> FloatArray:
    """``(N, m)`` orthonormal columns that span the centred features."""
    if len(features) == 0:
        return np.zeros((0, 0))
    left, singular, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    scale = np.sqrt(len(features)) * np.abs(features).max(initial=0.0)
    floor = RANK_TOLERANCE * max(singular.max(initial=0.0), scale)
    return left[:, singular > floor]


def _residual_share(basis: FloatArray, values: FloatArray) -> float:
    """Share of the target's variance outside of ``basis``."""
    centred = values - values.mean()
    total = float(centred @ centred)
    if total <= (RANK_TOLERANCE * np.abs(values).max()) ** 2 * len(values):
        raise EstimationError("the target is the same for every sample; nothing to decompose")
    rest = centred - basis @ (basis.T @ centred)
    share = float(rest @ rest) / total
    if share < LEAST_RESIDUAL:
        raise EstimationError(
            "the target is a linear function of the features, so the information is infinite"
        )
    return share
