"""One scale and one dimension for both modalities, so that their entropies can be compared.

``h(x) = -log p(x)`` changes with the units and the number of the coordinates, and the redundancy
compares ``h(x1)`` with ``h(x2)``. The rule here: centre each modality and whiten it by PCA to the
same number ``m`` of components. It is fitted on train, and there is no scaling of single
coordinates before it, so that rotating, permuting or rescaling a modality changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimrl.errors import EstimationError, NonFiniteError, ShapeError

FloatArray = npt.NDArray[np.float64]
RELATIVE_FLOOR = 1e-6  # components below this share of the largest variance are rounding


@dataclass(frozen=True)
class Whitening:
    """Centring and PCA whitening; components in order of falling variance.

    Attributes:
        mean: ``(D,)``.
        directions: ``(D, m)``; ``(x - mean) @ directions`` has unit covariance on what it was
            fitted on. The sign of a component makes its third moment positive, so that it does
            not depend on how ``x`` was rotated.
        explained: ``(m,)``, the components' shares of the variance of ``x``.
    """

    mean: FloatArray
    directions: FloatArray
    explained: FloatArray

    @property
    def components(self) -> int:
        """``m``."""
        return self.directions.shape[1]

    def __call__(self, x: FloatArray) -> FloatArray:
        """``(N, D)`` features as ``(N, m)`` whitened ones."""
        return (x - self.mean) @ self.directions

    def first(self, components: int) -> Whitening:
        """The first ``components`` of them."""
        return Whitening(self.mean, self.directions[:, :components], self.explained[:components])


def fit_whitening(x: FloatArray) -> Whitening:
    """Whitening of all components of ``x`` that have variance.

    Args:
        x: ``(N, D)`` training features, finite; ``D`` may exceed ``N``.

    Raises:
        EstimationError: fewer than two samples, or features that do not vary.
    """
    if len(x) < 2:
        raise EstimationError(f"whitening needs at least two training samples, got {len(x)}")
    mean = x.mean(axis=0)
    left, singular, right = np.linalg.svd(x - mean, full_matrices=False)
    # rounding of constant features is no variance either: hence the scale of x itself
    scale = np.finfo(np.float32).eps * np.sqrt(len(x)) * np.abs(x).max(initial=0.0)
    floor = max(np.sqrt(RELATIVE_FLOOR) * singular[0], scale)
    kept = singular > floor
    if not kept.any():
        raise EstimationError("the features are the same for every training sample")
    signs = np.where((left[:, kept] ** 3).sum(axis=0) < 0, -1.0, 1.0)
    directions = right[kept].T * (signs * np.sqrt(len(x)) / singular[kept])
    return Whitening(mean, directions, singular[kept] ** 2 / np.sum(singular**2))


def check_features(x: npt.ArrayLike, name: str, rows: int) -> FloatArray:
    """``x`` as float64 ``(rows, D)``.

    Raises:
        ShapeError: another number of axes or rows, or no columns.
        NonFiniteError: NaN or infinite values.
    """
    array = np.asarray(x, dtype=np.float64)
    if array.ndim != 2 or len(array) != rows or array.shape[1] == 0:
        raise ShapeError(f"{name} has shape {array.shape}; expected ({rows}, D), a row a sample")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if len(bad):
        raise NonFiniteError(
            f"{name} has NaN or infinite values in {len(bad)} of {rows} samples, "
            f"first in row {bad[0]}"
        )
    return array
