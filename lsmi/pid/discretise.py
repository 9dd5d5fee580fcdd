"""Continuous features as symbols, so that measures of discrete tables can read them.

Fitted on train, applied to the rows read, three steps a modality:

1. *Whitening* (centring and PCA, the leading components), so that rotating or rescaling a modality
   changes nothing.
2. *Directions that have to do with the label.* K-means on 16 whitened coordinates cuts mostly along
   those that say nothing, and a handful of cells then keeps hardly any information. So features
   are projected on what the label moves: with g the standardised contrasts of the classes,

       E[z1 g]         class means              (information of one modality)
       E[z1 z1' g]     second moments           (information of one modality that means miss)
       E[z1 z2' g]     joint moments            (synergy: in xor the other two are 0)

   and singular vectors of these matrices count as far as their singular values exceed the largest
   that shuffled labels give. A partition by each classifier's p(y|x1) would be the obvious
   alternative; it is blind to synergy, as p(y|x1) is constant in xor. If nothing exceeds chance,
   the whitened coordinates are taken as they are: a modality that says nothing may be cut anyhow.
3. *K-means cells* in the projected space.

The number of cells K leaves the joint table of C labels and K x K cells at least five samples an
entry on average, ``C K^2 <= N / 5``: there the bias of its information is close enough to 1/N for
:mod:`lsmi.pid.correction` to remove it. What cells cannot keep is lost: their information is at
most that of the features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans

from lsmi.preprocessing import Whitening, fit_whitening
from mimrl.errors import EstimationError, ShapeError

FloatArray = npt.NDArray[np.float64]
Symbols = npt.NDArray[np.int64]
SAMPLES_AN_ENTRY = 5
MOST_CELLS = 8
MOST_ENTRIES = 400  # BROJA takes a tenth of a second for so many
LEADING = 32  # components; joint moments have as many entries as pairs of them
SHUFFLES = 8  # the largest of eight is exceeded by chance once in nine times
STARTS = 4  # of k-means
CHUNK = 4096  # rows whose products are held in memory at a time


@dataclass(frozen=True)
class Cells:
    """Cells of one modality.

    Attributes:
        whitening: of the features.
        directions: ``(m, d)``; cells are told apart in ``whitening(x) @ directions``.
        centres: ``(K, d)``; a sample belongs to the nearest.
    """

    whitening: Whitening
    directions: FloatArray
    centres: FloatArray

    def __call__(self, x: FloatArray) -> Symbols:
        """``(N, D)`` features as ``(N,)`` symbols ``0 .. K - 1``."""
        projected = self.whitening(x) @ self.directions
        # |p - c|^2 without |p|^2, which is the same for all centres
        distance = (self.centres**2).sum(axis=1) - 2 * projected @ self.centres.T
        return distance.argmin(axis=1)

    def __len__(self) -> int:
        return len(self.centres)


def cell_number(samples: int, classes: int) -> int:
    """The most cells a modality, 2 to 8, with ``C K^2`` at most ``samples / 5`` (and 400).

    Raises:
        EstimationError: too few samples for two cells.

    >>> cell_number(2000, 2), cell_number(2000, 7), cell_number(229, 7)
    (8, 7, 2)
    """
    entries = min(samples / SAMPLES_AN_ENTRY, MOST_ENTRIES)
    most = int(np.sqrt(entries / classes))
    if most < 2:
        raise EstimationError(
            f"{samples} samples are too few for a table of {classes} classes and two cells a "
            f"modality; expected at least {4 * SAMPLES_AN_ENTRY * classes}, or merge classes"
        )
    return min(most, MOST_CELLS)


def fit_cells(
    x1: FloatArray, x2: FloatArray, labels: Symbols, cells: int, seed: int
) -> tuple[Cells, Cells]:
    """Cells of both modalities, from training rows.

    Args:
        x1: ``(N, D1)`` finite features.
        x2: ``(N, D2)`` of the second modality.
        labels: ``(N,)`` any integers.
        cells: ``K``; fewer are made of features with fewer distinct values.
        seed: of the shuffled labels and of k-means.

    Raises:
        ShapeError: unequal numbers of rows.
        EstimationError: fewer than two samples, one class only, or features that do not vary.
    """
    if not len(x1) == len(x2) == len(labels):
        raise ShapeError(f"{len(x1)} and {len(x2)} features for {len(labels)} labels")
    contrasts = class_contrasts(labels)
    scales = [fit_whitening(x).first(LEADING) for x in (x1, x2)]
    z1, z2 = scales[0](x1), scales[1](x2)
    fitted = []
    for scale, own, other in ((scales[0], z1, z2), (scales[1], z2, z1)):
        directions = informative_directions(own, other, contrasts, np.random.default_rng(seed))
        if directions.shape[1] == 0:
            directions = np.eye(own.shape[1])
        fitted.append(Cells(scale, directions, _centres(own @ directions, cells, seed)))
    return fitted[0], fitted[1]


def class_contrasts(labels: Symbols) -> FloatArray:
    """``(N, C - 1)`` uncorrelated functions of the label, of mean 0 and variance 1.

    Raises:
        EstimationError: all labels are the same.
    """
    values, numbers = np.unique(labels, return_inverse=True)
    if len(values) < 2:
        raise EstimationError(
            f"{len(labels)} samples have {len(values)} classes; information about a label needs "
            "at least two"
        )
    indicators = np.eye(len(values))[numbers]
    left = np.linalg.svd(indicators - indicators.mean(axis=0), full_matrices=False)[0]
    return left[:, : len(values) - 1] * np.sqrt(len(labels))


def informative_directions(
    own: FloatArray, other: FloatArray, contrasts: FloatArray, generator: np.random.Generator
) -> FloatArray:
    """Directions of a modality along which the label moves its moments.

    Args:
        own: ``(N, m)`` whitened features of the modality.
        other: ``(N, m')`` of the other one.
        contrasts: ``(N, L)`` of :func:`class_contrasts`.
        generator: shuffles the labels.

    Returns:
        ``(m, d)``, ``d >= 0`` columns, each as long as its singular value exceeds chance (the root
        of the difference of squares).
    """
    orders = [np.arange(len(own)), *(generator.permutation(len(own)) for _ in range(SHUFFLES))]
    stacked = np.concatenate([contrasts[order] for order in orders], axis=1)
    found = []
    for moments in (
        own.T @ stacked / len(own),
        _joint(own, own, stacked),
        _joint(own, other, stacked),
    ):
        matrices = list(_by_order(moments, len(own.T), contrasts.shape[1]))
        left, singular, _ = np.linalg.svd(matrices[0], full_matrices=False)
        chance = max(np.linalg.svd(matrix, compute_uv=False)[0] for matrix in matrices[1:])
        kept = singular > chance
        found.append(left[:, kept] * np.sqrt(singular[kept] ** 2 - chance**2))
    return np.concatenate(found, axis=1)


def _joint(a: FloatArray, b: FloatArray, contrasts: FloatArray) -> FloatArray:
    """``(m m', L)``: means over samples of ``(a_i b_j - mean) g_l``."""
    total = np.zeros((a.shape[1] * b.shape[1], contrasts.shape[1]))
    mean = (a.T @ b / len(a)).reshape(-1)
    for start in range(0, len(a), CHUNK):
        rows = slice(start, start + CHUNK)
        products = np.einsum("ni,nj->nij", a[rows], b[rows]).reshape(-1, len(mean)) - mean
        total += products.T @ contrasts[rows]
    return total / len(a)


def _by_order(moments: FloatArray, width: int, contrasts: int) -> Iterator[FloatArray]:
    """One matrix with ``width`` rows for each order of the labels."""
    for start in range(0, moments.shape[1], contrasts):
        yield moments[:, start : start + contrasts].reshape(width, -1)


def _centres(projected: FloatArray, cells: int, seed: int) -> FloatArray:
    """``(K, d)`` centres; k-means warns when asked for more than there are distinct points."""
    distinct = len(np.unique(projected, axis=0))
    means = KMeans(min(cells, distinct), n_init=STARTS, random_state=seed).fit(projected)
    return np.asarray(means.cluster_centers_, dtype=np.float64)
