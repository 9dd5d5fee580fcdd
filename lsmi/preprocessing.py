"""One scale and one dimension for both modalities, so that their entropies can be compared.

``h(x) = -log p(x)`` changes with the units and the number of the coordinates, and the redundancy
compares ``h(x1)`` with ``h(x2)``. The rule here: centre each modality and whiten it by PCA to the
same number ``m`` of components. It is fitted on train, and there is no scaling of single
coordinates before it, so that rotating, permuting or rescaling a modality changes nothing.

Other scales that are linear maps of the same coordinates need no other models: ``h`` of all
samples moves by one number, the log volume of the map. So the totals under all of them are exact
and free (:func:`log_volumes`), and the choice of a scale comes down to an offset of ``h1 - h2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mimrl.errors import EstimationError

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Scaling = Literal["whiten", "trace", "own", "standard", "none"]
SCALINGS: Mapping[str, str] = {
    "whiten": "centring and PCA whitening to one number of components",
    "trace": "the same components, each modality divided by one number: mean variance 1",
    "own": "the same components in the features' own units",
    "standard": "all coordinates that vary, each of variance 1",
    "none": "the coordinates as they are",
}
BY_PCA = ("whiten", "trace", "own")
ROUNDING = np.finfo(np.float32).eps  # share of a value's size that is no variance either
RELATIVE_FLOOR = 1e-6  # components below this share of the largest variance are rounding


@dataclass(frozen=True)
class Whitening:
    """Centring and PCA whitening; components in order of falling variance.

    Attributes:
        mean: ``(D,)``.
        directions: ``(D, m)``; ``(x - mean) @ directions`` has unit covariance on what it was
            fitted on. The sign of a component makes its third moment positive, so that it does
            not depend on how ``x`` was rotated.
        variances: ``(m,)`` of the components in the units of ``x``.
    """

    mean: FloatArray
    directions: FloatArray
    variances: FloatArray

    @property
    def components(self) -> int:
        """``m``."""
        return self.directions.shape[1]

    def __call__(self, x: FloatArray) -> FloatArray:
        """``(N, D)`` features as ``(N, m)`` whitened ones."""
        return (x - self.mean) @ self.directions

    def first(self, components: int) -> Whitening:
        """The first ``components`` of them."""
        return Whitening(self.mean, self.directions[:, :components], self.variances[:components])


def fit_whitening(x: FloatArray, name: str = "x") -> Whitening:
    """Whitening of all components of ``x`` that have variance.

    Args:
        x: ``(N, D)`` training features, finite; ``D`` may exceed ``N``.
        name: of the features, for messages.

    Raises:
        EstimationError: fewer than two samples, or features that do not vary.
    """
    if len(x) < 2:
        raise EstimationError(
            f"{name}: whitening needs at least two training samples, got {len(x)}"
        )
    mean = x.mean(axis=0)
    left, singular, right = np.linalg.svd(x - mean, full_matrices=False)
    # constant features vary by rounding: hence the scale of x itself
    scale = ROUNDING * np.sqrt(len(x)) * np.abs(x).max(initial=0.0)
    floor = max(np.sqrt(RELATIVE_FLOOR) * singular[0], scale)
    kept = singular > floor
    if not kept.any():
        raise EstimationError(
            f"{name}: the features are the same for every training sample; they carry no "
            "information, leave them out"
        )
    signs = np.where((left[:, kept] ** 3).sum(axis=0) < 0, -1.0, 1.0)
    directions = right[kept].T * (signs * np.sqrt(len(x)) / singular[kept])
    return Whitening(mean, directions, singular[kept] ** 2 / len(x))


@dataclass(frozen=True)
class Coordinates:
    """What the models of one modality see, and what other scales would have changed.

    Attributes:
        values: ``(N, m)``.
        volumes: scale -> nats that ``h`` has more under it than in ``values``; the first is the
            scale asked for.
    """

    values: FloatArray
    volumes: Mapping[str, float]


def coordinates(
    x: FloatArray, train: Rows, scaling: Scaling, components: int | None, name: str
) -> Coordinates:
    """``x`` on the scale asked for.

    Args:
        x: ``(N, D)`` finite features.
        train: rows on which means and scales are fitted.
        scaling: a key of :data:`SCALINGS`.
        components: ``m`` of the scalings by PCA; None keeps all. Others use every coordinate.
        name: of the features, for messages.

    Raises:
        EstimationError: features that do not vary on train.
    """
    if scaling in BY_PCA:
        whitening = fit_whitening(x[train], name)
        first = whitening if components is None else whitening.first(components)
        values, volumes = first(x), log_volumes(np.diag(first.variances))
        del volumes["standard"]  # along principal axes the same as whiten
        base = "whiten"
    else:
        spread = x[train].std(axis=0)
        varies = spread > ROUNDING * np.abs(x[train]).max(axis=0)
        if not varies.any() or (scaling == "none" and not varies.all()):
            raise EstimationError(
                f"{name}: {int((~varies).sum())} of {len(spread)} coordinates are the same for "
                f"every training sample; leave them out, or use scaling whiten"
            )
        x, spread = x[:, varies], spread[varies]
        values = (x - x[train].mean(axis=0)) / spread if scaling == "standard" else x
        volumes = log_volumes(np.atleast_2d(np.cov(x[train], rowvar=False, ddof=0)))
        base = "standard" if scaling == "standard" else "own"
    relative = {key: value - volumes[base] for key, value in volumes.items()}
    chosen = "own" if scaling == "none" else scaling
    return Coordinates(values, {chosen: relative.pop(chosen), **relative})


def log_volumes(covariance: FloatArray) -> dict[str, float]:
    """Nats that ``h`` has under each linear scale, up to one constant.

    Args:
        covariance: ``(m, m)`` in the features' own units.

    Returns:
        ``own`` (0), ``trace``, ``standard`` and, if the covariance has full rank, ``whiten``.

    >>> {key: round(value, 3) for key, value in log_volumes(np.diag([4.0, 1.0])).items()}
    {'own': 0.0, 'trace': -0.916, 'standard': -0.693, 'whiten': -0.693}
    """
    variances = np.diag(covariance)
    found = {
        "own": 0.0,
        "trace": float(-0.5 * len(variances) * np.log(variances.mean())),
        "standard": float(-0.5 * np.log(variances).sum()),
    }
    sign, log_determinant = np.linalg.slogdet(covariance)
    smallest = np.linalg.eigvalsh(covariance)[0]
    if sign > 0 and smallest > 0.5 * RELATIVE_FLOOR * variances.max():
        found["whiten"] = float(-0.5 * log_determinant)
    return found
