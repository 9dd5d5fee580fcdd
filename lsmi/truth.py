"""Distributions of two modalities and a label whose information is known exactly.

A labelled mixture has finitely many Gaussian components, each of one label; both modalities carry
noise of one scale, which may be correlated between them. Every density of it, given the label or
not, of one modality or of both, is again a Gaussian mixture in closed form, so that ``i`` and
``h`` of each sample are exact, and the totals are so up to the error of a Monte Carlo mean.

>>> gate("xor", noise=0.1).totals(2000).adjusted.round(2)
Totals(r=0.0, u1=0.0, u2=0.0, s=0.69)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from lsmi.decomposition import (
    PointwiseDecomposition,
    PointwiseInformation,
    Totals,
    decompose_pointwise,
    published_shift,
    raw_atoms,
)
from lsmi.samples import NamedFeatures
from mimrl.errors import ConfigError, EstimationError, ShapeError

FloatArray = npt.NDArray[np.float64]
DRAWS = 100_000  # standard errors of totals of about 0.002 nats
CHUNK = 10_000  # samples whose distances to all components are held at a time

BITS = ((0, 0), (0, 1), (1, 0), (1, 1))
Row = tuple[Sequence[int], Sequence[int], int]
GATES: dict[str, tuple[Row, ...]] = {
    # equally likely rows: x1, x2, y
    "xor": tuple(((a,), (b,), a ^ b) for a, b in BITS),
    "and": tuple(((a,), (b,), a & b) for a, b in BITS),
    "or": tuple(((a,), (b,), a | b) for a, b in BITS),
    "unique": tuple(((a,), (b,), a) for a, b in BITS),
    "redundant copy": (((0,), (0,), 0), ((1,), (1,), 1)),
    # x1 = (a, b), x2 = c, y = (a xor c, b): log 2 of synergy and log 2 of unique information
    "xor + unique": tuple(((a, b), (c,), 2 * (a ^ c) + b) for a, c in BITS for b in (0, 1)),
}


@dataclass(frozen=True)
class KnownTotals:
    """Exact totals, in nats, up to the error of a Monte Carlo mean.

    Attributes:
        raw: means of the raw atoms.
        adjusted: the same after the published shift.
        error: largest standard error of the four raw means.
    """

    raw: Totals
    adjusted: Totals
    error: float


@dataclass(frozen=True)
class LabelledMixture:
    """``x1 = m1[k] + e1``, ``x2 = m2[k] + e2``, ``y = labels[k]`` for a random component ``k``.

    Each coordinate of ``e1`` and ``e2`` is Gaussian of scale ``noise``; coordinate ``d`` of ``e1``
    has correlation ``correlation`` with coordinate ``d`` of ``e2``, and none with any other.

    Attributes:
        means1: ``(K, D1)``.
        means2: ``(K, D2)``.
        labels: ``(K,)`` class numbers.
        noise: standard deviation of every coordinate, above 0.
        correlation: in (-1, 1); other than 0 only where ``D1 == D2``.
        weights: ``(K,)`` probabilities of the components; None: all equal.

    Raises:
        ShapeError: arrays that do not fit together.
        ConfigError: noise, correlation or weights out of range.
    """

    means1: FloatArray
    means2: FloatArray
    labels: npt.NDArray[np.int64]
    noise: float
    correlation: float = 0.0
    weights: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "means1", np.asarray(self.means1, np.float64))
        object.__setattr__(self, "means2", np.asarray(self.means2, np.float64))
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64))
        count = len(self.labels)
        shapes = {"means1": self.means1.shape, "means2": self.means2.shape}
        for name, shape in shapes.items():
            if len(shape) != 2 or shape[0] != count:
                raise ShapeError(f"{name} has shape {shape}; expected ({count}, D), one a label")
        if self.correlation and self.means1.shape != self.means2.shape:
            raise ShapeError(f"correlated noise needs equal widths, got {shapes}")
        if not (self.noise > 0 and abs(self.correlation) < 1):
            raise ConfigError(
                f"noise {self.noise} and correlation {self.correlation}; expected noise above 0 "
                "and a correlation between -1 and 1"
            )
        weights = self.probabilities
        if weights.shape != (count,) or (weights <= 0).any() or abs(weights.sum() - 1) > 1e-9:
            raise ConfigError(f"weights {weights}; expected {count} probabilities above 0")

    @property
    def probabilities(self) -> FloatArray:
        """``(K,)`` of the components."""
        count = len(self.labels)
        return np.full(count, 1 / count) if self.weights is None else np.asarray(self.weights)

    def sample(self, size: int, generator: np.random.Generator) -> NamedFeatures:
        """``size`` samples with features ``x1`` and ``x2``."""
        component = generator.choice(len(self.labels), size, p=self.probabilities)
        noise1 = generator.normal(size=(size, self.means1.shape[1]))
        noise2 = generator.normal(size=(size, self.means2.shape[1]))
        if self.correlation:
            noise2 = self.correlation * noise1 + np.sqrt(1 - self.correlation**2) * noise2
        return NamedFeatures(
            {
                "x1": self.means1[component] + self.noise * noise1,
                "x2": self.means2[component] + self.noise * noise2,
            },
            self.labels[component],
        )

    def information(self, samples: NamedFeatures) -> PointwiseInformation:
        """Exact ``i`` and ``h`` of each sample, in nats.

        Args:
            samples: with features ``x1`` and ``x2`` of the mixture's widths.

        Raises:
            EstimationError: a label that the mixture cannot give.
        """
        foreign = np.setdiff1d(samples.labels, self.labels)
        if len(foreign):
            raise EstimationError(
                f"labels {foreign.tolist()} are not of this mixture; expected "
                f"{np.unique(self.labels).tolist()}"
            )
        x1, x2 = (np.asarray(samples.features[name], np.float64) for name in ("x1", "x2"))
        parts = [
            self._information(x1[k : k + CHUNK], x2[k : k + CHUNK], samples.labels[k : k + CHUNK])
            for k in range(0, len(samples), CHUNK)
        ]
        return PointwiseInformation(*np.concatenate(parts, axis=1))

    def decompose(self, samples: NamedFeatures) -> PointwiseDecomposition:
        """The exact decomposition of each sample; its shift is that of these samples."""
        return decompose_pointwise(self.information(samples))

    def totals(self, draws: int = DRAWS, seed: int = 0) -> KnownTotals:
        """Totals of the distribution, from so many draws.

        Raises:
            ConfigError: fewer than two draws.
        """
        if draws < 2:
            raise ConfigError(f"{draws} draws; expected at least 2")
        generator = np.random.default_rng(seed)
        atoms = raw_atoms(self.information(self.sample(draws, generator)))
        raw = atoms.totals
        adjusted = atoms.shifted(published_shift(raw)).totals
        spread = max(float(np.std(part)) for part in (atoms.r, atoms.u1, atoms.u2, atoms.s))
        return KnownTotals(raw, adjusted, spread / np.sqrt(draws))

    def _information(
        self, x1: FloatArray, x2: FloatArray, labels: npt.NDArray[np.integer]
    ) -> FloatArray:
        """``(5, n)``: i1, i2, i12, h1, h2."""
        z1 = (x1[:, None] - self.means1) / self.noise
        z2 = (x2[:, None] - self.means2) / self.noise
        square1, square2 = (z1**2).sum(axis=2), (z2**2).sum(axis=2)
        rho = self.correlation
        cross = 2 * rho * (z1 * z2).sum(axis=2) if rho else 0.0
        joint = (square1 + square2 - cross) / (1 - rho**2)
        rows = []
        for quadratic, width in ((square1, x1.shape[1]), (square2, x2.shape[1]), (joint, 0)):
            # constants of the joint density are not needed: h of both together is not read
            constant = width * np.log(2 * np.pi * self.noise**2)
            rows.append(self._posterior(-0.5 * (quadratic + constant), labels))
        (i1, h1), (i2, h2), (i12, _) = rows
        return np.stack([i1, i2, i12, h1, h2])

    def _posterior(
        self, logs: FloatArray, labels: npt.NDArray[np.integer]
    ) -> tuple[FloatArray, FloatArray]:
        """``log p(y|x) - log p(y)`` and ``-log p(x)`` from ``(n, K)`` log densities."""
        joint = logs + np.log(self.probabilities)
        own = self.labels == np.asarray(labels)[:, None]
        marginal = logsumexp(joint, axis=1)
        with_label = logsumexp(np.where(own, joint, -np.inf), axis=1)
        prior = np.log((own * self.probabilities).sum(axis=1))
        return with_label - marginal - prior, -marginal


def toy(classes: int, rho: float, sigma: float = 0.5) -> LabelledMixture:
    """The toy data of the LSMI paper (Yang et al., ICML 2025), classes equally likely.

    ``x1 = onehot(y) + sigma u`` and ``x2 = onehot(y) + sigma (rho u + sqrt(1 - rho^2) v)``.

    Args:
        classes: ``C``, also the width of both modalities.
        rho: correlation of the noises.
        sigma: their scale.
    """
    eye = np.eye(classes)
    return LabelledMixture(eye, eye, np.arange(classes), sigma, rho)


def gate(name: str, noise: float) -> LabelledMixture:
    """A gate of equally likely bits, with independent Gaussian noise on each input.

    Args:
        name: a key of :data:`GATES`.
        noise: its scale.

    Note:
        However small the noise, the raw totals are not those of the discrete gate: ``h`` of a
        sample varies with ``|noise|^2 / 2`` in units of the scale, which does not become small,
        and that decides which modality has the smaller ``h``. Raw r of ``and`` is .292 at every
        small scale and .389 without noise; ``adjusted`` is the same in both.

    Raises:
        ConfigError: no such gate.
    """
    if name not in GATES:
        raise ConfigError(f"no gate {name!r}; expected one of {', '.join(GATES)}")
    means1, means2, labels = zip(*GATES[name], strict=True)
    return LabelledMixture(np.asarray(means1), np.asarray(means2), np.asarray(labels), noise)
