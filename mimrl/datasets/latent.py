"""A latent model of text, audio and video whose information about the label is known exactly.

Independent fair bits (+1 or -1) decide the score of the label, each component with its own:

==================  ==========================  ================================================
component           value                       who has the bits
==================  ==========================  ================================================
redundant           one bit                     text, audio and video alike
unique_<modality>   one bit                     that modality alone
synergy             product of two bits         one in text, one in audio; video's own bit of
                                                this kind enters nothing
==================  ==========================  ================================================

The score is ``2 * sum(share * value)`` and the label ``score + label_noise * eps`` (regression),
or whether that is 0 or more (two classes, of which a share may be flipped). A modality's latent
vector holds its bits of every kind in use, plus Gaussian noise, so all modalities have one
dimension and one marginal law: ``x_m ~ N(bits_m, noise^2 I)``. All densities are therefore mixtures
over the ``2^n`` bit patterns, and every ``h(x)``, ``i(x; y)`` below is such a mixture evaluated
exactly, in nats.

A *nuisance* is a bit that two modalities share and that enters no label, with a coordinate of its
own behind those above; the third modality has an independent bit there. It is independent of all
else, so it adds to ``h(x)`` and to what the two modalities share, and nothing to ``i(x; y)``.
:mod:`mimrl.datasets.ceilings` gives the information between modalities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, logsumexp

from mimrl.errors import ConfigError

Task = Literal["regression", "classification"]
Array = npt.NDArray[np.float64]

MODALITIES = ("text", "audio", "video")
KINDS = ("redundant", "unique", "synergy")
COMPONENTS = ("redundant", "unique_text", "unique_audio", "unique_video", "synergy")
NUISANCES = ("text_audio", "text_video", "audio_video")
SYNERGY_PAIR = ("text", "audio")
SCORE_SCALE = 2.0
SAME_SCORE = 1e-6


@dataclass(frozen=True)
class LatentModel:
    """The joint law of the bits, latent vectors and label.

    Attributes:
        shares: component -> weight in the score; they add up to 1.
        noise: standard deviation of each latent coordinate around its bit, above 0.
        label_noise: standard deviation of the label around its score, 0 or more.
        task: what the label is.
        nuisance: pairs of modalities that share a bit of which the label says nothing.
        label_flips: share of labels replaced by the other class, in [0, 0.5); classification only.
    """

    shares: Mapping[str, float]
    noise: float
    label_noise: float
    task: Task
    nuisance: tuple[str, ...] = ()
    label_flips: float = 0.0

    def __post_init__(self) -> None:
        if not set(self.shares) <= set(COMPONENTS) or abs(sum(self.shares.values()) - 1) > 1e-9:
            raise ConfigError(
                f"shares of a latent model must be of {', '.join(COMPONENTS)} and add up to 1, "
                f"got {dict(self.shares)}"
            )
        if not set(self.nuisance) <= set(NUISANCES) or len(set(self.nuisance)) < len(self.nuisance):
            raise ConfigError(
                f"nuisance must name each of {', '.join(NUISANCES)} once at most, "
                f"got {', '.join(self.nuisance)}"
            )
        if not 0 <= self.label_flips < 0.5:
            raise ConfigError(f"label_flips must be in [0, 0.5), got {self.label_flips}")
        if self.label_flips and self.task != "classification":
            raise ConfigError(
                f"label_flips is {self.label_flips}, but a real label has no other class; set it "
                "to 0, or data.target to class"
            )

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of bits that enter the label, one latent coordinate each."""
        used = {name.split("_")[0] for name, share in self.shares.items() if share > 0}
        return tuple(kind for kind in KINDS if kind in used)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the ``D`` latent coordinates of each modality: the kinds, then the nuisances."""
        return (*self.kinds, *(f"nuisance_{pair}" for pair in self.nuisance))

    @cached_property
    def bits(self) -> dict[str, Array]:
        """Modality -> ``(S, kinds)`` its bits (+1, -1) in each of ``S`` equally likely patterns."""
        names = [
            name
            for kind in self.kinds
            for name in ([kind] if kind == "redundant" else [f"{kind}_{m}" for m in MODALITIES])
        ]
        patterns = np.array(list(product((-1.0, 1.0), repeat=len(names))))
        column = {name: patterns[:, i] for i, name in enumerate(names)}
        return {
            m: np.stack([column[k if k == "redundant" else f"{k}_{m}"] for k in self.kinds], axis=1)
            for m in MODALITIES
        }

    @cached_property
    def scores(self) -> Array:
        """``(S,)`` the label's score in each pattern, rounded to 1e-9 so that ties are exact."""
        total = np.zeros(len(self.bits["text"]))
        for name, share in self.shares.items():
            if share > 0:
                total += share * self._component(name)
        return np.round(SCORE_SCALE * total, 9)

    def _component(self, name: str) -> Array:
        kind, _, modality = name.partition("_")
        column = self.kinds.index(kind)
        if kind == "synergy":
            first, second = SYNERGY_PAIR
            return self.bits[first][:, column] * self.bits[second][:, column]
        return self.bits[modality or MODALITIES[0]][:, column]

    def draw(self, size: int, generator: np.random.Generator) -> Draw:
        """``size`` independent samples.

        The same state of the generator gives the same bits, noise and label noise for both tasks,
        so the class, before flips, says whether the rating is 0 or more; and the same label part
        with and without nuisances and flips, which are drawn last.
        """
        states = generator.integers(len(self.scores), size=size)
        shape = (size, len(self.kinds))
        latents = {
            m: self.bits[m][states] + self.noise * generator.standard_normal(shape)
            for m in MODALITIES
        }
        labels = self.scores[states] + self.label_noise * generator.standard_normal(size)
        if self.task == "classification":
            labels = (labels >= 0).astype(np.float64)
        clean = labels.astype(np.float32).astype(np.float64)
        for pair in self.nuisance:
            extra = self._draw_nuisance(pair, size, generator)
            latents = {m: np.column_stack([latents[m], extra[m]]) for m in MODALITIES}
        flipped = generator.random(size) < self.label_flips
        return Draw(states, latents, np.where(flipped, 1 - clean, clean), clean)

    def _draw_nuisance(
        self, pair: str, size: int, generator: np.random.Generator
    ) -> dict[str, Array]:
        """Modality -> ``(size,)``: one bit for the two of ``pair``, another for the third."""
        shared, other = generator.choice((-1.0, 1.0), size=(2, size))
        return {
            m: (shared if m in pair.split("_") else other)
            + self.noise * generator.standard_normal(size)
            for m in MODALITIES
        }

    def surprisal(self, modality: str, latents: Array) -> Array:
        """``h(x) = -log p(x)`` of latent vectors, in nats.

        Args:
            modality: text, audio or video.
            latents: ``(N, D)``.

        Returns:
            ``(N,)``; a differential quantity, so it may be negative.
        """
        log_density = self.log_latent(modality, latents)
        nuisance = latents[:, len(self.kinds) :]
        return (
            np.log(len(self.scores))
            - logsumexp(log_density, axis=1)
            - _log_bit(nuisance, self.noise).sum(axis=1)
        )

    def information(self, latents: Mapping[str, Array], labels: Array) -> Array:
        """``i(x; y) = log p(x, y) / (p(x) p(y))`` of the latent vectors of one or more modalities.

        Args:
            latents: modality -> ``(N, D)``.
            labels: ``(N,)``.

        Returns:
            ``(N,)`` in nats.
        """
        log_x = np.sum([self.log_latent(m, x) for m, x in latents.items()], axis=0)
        return _pointwise(log_x, self.log_label(labels))

    def bit_information(self, modalities: Sequence[str], states: npt.ArrayLike, y: Array) -> Array:
        """``i(b; y)`` of the bits themselves, the limit of :meth:`information` without noise.

        Args:
            modalities: whose bits are known.
            states: ``(N,)`` number of the bit pattern of each sample.
            y: ``(N,)`` labels.

        Returns:
            ``(N,)`` in nats.
        """
        return _pointwise(self._log_same_bits(modalities)[np.asarray(states)], self.log_label(y))

    def total_bit_information(self, *modalities: str) -> float:
        """``I(b; y)``, the expectation of :meth:`bit_information`, in nats.

        A finite sum, except for regression with label noise: there the label is integrated by the
        trapezoidal rule over +-10 standard deviations, good to about 1e-9.
        """
        states = np.arange(len(self.scores))
        if self.task == "classification":
            total = 0.0
            for label in (0.0, 1.0):
                p = np.exp(self.log_label(np.array([label])))[0]
                i = self.bit_information(modalities, states, np.full(len(states), label))
                total += float(np.sum(p[p > 0] * i[p > 0])) / len(states)
            return total
        if self.label_noise == 0:
            return float(np.mean(self.bit_information(modalities, states, self.scores)))
        same, z = self._log_same_bits(modalities), np.linspace(-10, 10, 401)
        weights = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
        labels = self.scores + self.label_noise * z[:, None]
        means = [np.mean(_pointwise(same, self.log_label(y))) for y in labels]
        return float(weights @ np.array(means))

    def log_latent(self, modality: str, latents: Array) -> Array:
        """Log density of the label's coordinates given each bit pattern; nuisances are left out.

        Args:
            modality: text, audio or video.
            latents: ``(N, D)``; at least the coordinates of :attr:`kinds`.

        Returns:
            ``(N, S)``.
        """
        means = self.bits[modality]
        x = latents[:, : means.shape[1]]
        distance = np.square(x).sum(axis=1)[:, None] - 2 * x @ means.T + means.shape[1]
        constant = means.shape[1] * np.log(self.noise * np.sqrt(2 * np.pi))
        return -0.5 * distance / self.noise**2 - constant

    def log_label(self, labels: Array) -> Array:
        """Log probability (density, in regression) of labels given each pattern, flips included.

        Args:
            labels: ``(N,)``.

        Returns:
            ``(N, S)``.
        """
        y = np.asarray(labels)[:, None]
        if self.task == "classification":
            return self._flipped(*(self._log_side(sign * (y - 0.5)) for sign in (1, -1)))
        if self.label_noise == 0:
            return np.where(np.abs(y - self.scores) < SAME_SCORE, 0.0, -np.inf)
        z = (y - self.scores) / self.label_noise
        return -0.5 * z**2 - np.log(self.label_noise * np.sqrt(2 * np.pi))

    def _log_side(self, sign: Array) -> Array:
        """``(N, S)`` log probability that the noisy score has the sign of ``(N, 1)``."""
        side = np.where(sign > 0, 1.0, -1.0)
        if self.label_noise == 0:
            return np.where((self.scores >= 0) == (side > 0), 0.0, -np.inf)
        return log_ndtr(side * self.scores / self.label_noise)

    def _flipped(self, log_class: Array, log_other: Array) -> Array:
        """Log probability of a class from those of both before flips."""
        if self.label_flips == 0:
            return log_class
        return np.logaddexp(
            np.log1p(-self.label_flips) + log_class, np.log(self.label_flips) + log_other
        )

    def _log_same_bits(self, modalities: Sequence[str]) -> Array:
        """``(S, S)`` 0 where two patterns agree in all bits of ``modalities``, else -inf."""
        known = np.concatenate([self.bits[m] for m in modalities], axis=1)
        same = np.all(known[:, None, :] == known[None, :, :], axis=2)
        return np.where(same, 0.0, -np.inf)


@dataclass(frozen=True)
class Draw:
    """Samples of a :class:`LatentModel`.

    Attributes:
        states: ``(N,)`` number of each sample's bit pattern (those that enter the label).
        latents: modality -> ``(N, D)`` latent vectors.
        labels: ``(N,)`` labels, rounded to float32.
        clean_labels: ``(N,)`` the labels before flips.
    """

    states: npt.NDArray[np.int64]
    latents: Mapping[str, Array]
    labels: Array
    clean_labels: Array


@dataclass(frozen=True)
class LatentInformation:
    """What LSMI estimates for a pair of modalities, exact for every sample, in nats.

    Attributes:
        first: name of the first modality.
        second: name of the second modality.
        i1: ``(N,)`` i(x1; y).
        i2: ``(N,)`` i(x2; y).
        i12: ``(N,)`` i(x1, x2; y).
        h1: ``(N,)`` -log p(x1).
        h2: ``(N,)`` -log p(x2).
    """

    first: str
    second: str
    i1: Array
    i2: Array
    i12: Array
    h1: Array
    h2: Array


def _log_bit(x: Array, noise: float) -> Array:
    """Log density of a fair bit (+1, -1) with Gaussian noise, in the shape of ``x``."""
    each = [-0.5 * ((x - bit) / noise) ** 2 for bit in (1.0, -1.0)]
    return np.logaddexp(*each) - np.log(2 * noise * np.sqrt(2 * np.pi))


def _pointwise(log_x: Array, log_y: Array) -> Array:
    """``log p(x, y) - log p(x) - log p(y)`` from ``(N, S)`` logs given each equally likely state.

    Unnormalised ``log_x`` will do. A pair that cannot occur has -inf.
    """
    joint = logsumexp(log_x + log_y, axis=1)
    return joint - logsumexp(log_x, axis=1) - logsumexp(log_y, axis=1) + np.log(log_x.shape[1])
