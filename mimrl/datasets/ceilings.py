"""What terms and quantities can reach on planted data, exactly: the room that steering has.

A feature of text is computed from text alone, and likewise for audio and video. For features
``f(T), g(A), h(V)`` of this kind (noise of their own allowed) data processing says:

* I(f; g) <= I(T; A), and I(f; g | C) <= I(T; A | C), for f - T - A - g holds within each label
  value too. Both are 0 for constant features. Hence ``invariant`` and ``complementary``.
* I(g; C | f) <= I(f, g; C) <= I(T, A; C), and 0 for constant g. The features conditioned on may
  drop things, so I(A; C | T) of the inputs themselves is no ceiling. Where no g reaches
  I(T, A; C) given any f, this bound is loose.
* specific_audio = I(g; C | f) - I(f; g | C) = I(g; C) - I(f; g) <= I(A; C), reached by g = A and a
  constant f. Its floor: I(g; C) and I(g; C | f) are at least 0, so it is at least -I(f; g) and
  at least -I(f; g | C), hence at least -min(I(T; A), I(T; A | C)). This is a bound; features need
  not reach it.
* specific_text = sum over the k others of I(f; C) - I(f; g) <= k I(T; C), reached by f = T and
  constant others; its floor is the sum of the floors above, a bound too.
* fusion_*: the fused features are a function of f, so I(fused; f) is as large as f is rich; no
  law bounds it.

These hold one at a time: all quantities together cannot sit at their ceilings. And they hold for
the true values; an estimate errs on top. The inputs hold what their latent vectors hold
(:mod:`mimrl.datasets.planted`), whatever the amplitudes, so the values here are those of
:class:`~mimrl.datasets.latent.LatentModel`.

I(T; A) is a finite sum over the bits that both have. What concerns the label is a mean of exact
log ratios over scrambled Sobol points, and the conditional terms follow by the chain rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import ndtri, softmax, xlogy
from scipy.stats.qmc import Sobol

from mimrl.datasets.latent import MODALITIES, Array, LatentModel
from mimrl.errors import ConfigError
from mimrl.terms import FUSED, LABEL, Quantity, Term, quantities, terms

POINTS = 2**13  # in each scrambling
SCRAMBLINGS = 8  # independent, so that they show the error
EDGE = 1e-12  # keeps normal quantiles finite
HALF_WIDTH, GRID = 10.0, 801  # standard deviations and points of the trapezoidal rule


@dataclass(frozen=True)
class Exact:
    """A term or quantity of the inputs, and the range that features of them can have, in nats.

    Attributes:
        value: of the inputs (their latent vectors) themselves.
        error: standard error of ``value``; 0 where no sample enters.
        floor: no features are below.
        ceiling: no features are above.
    """

    value: float
    error: float
    floor: float
    ceiling: float


@dataclass(frozen=True)
class Ceilings:
    """All terms and quantities of a planted law; None where features have no bound (``fused``).

    Attributes:
        terms: term name -> its value and range.
        quantities: quantity name -> likewise.
        label: modalities, in the order given -> I(their latents together; label).
        label_entropy: H(label); of a real label with noise the differential entropy.
    """

    terms: Mapping[str, Exact | None]
    quantities: Mapping[str, Exact | None]
    label: Mapping[tuple[str, ...], Exact]
    label_entropy: float


def ceilings(model: LatentModel, modalities: Sequence[str] = MODALITIES) -> Ceilings:
    """Exact terms and quantities of ``modalities`` and what features can reach.

    Args:
        model: the law, e.g. ``latent_model(settings.data.planted, settings.task)``.
        modalities: some of text, audio, video, the anchor first.

    Returns:
        Every term and quantity of :mod:`mimrl.terms` by name, in nats. Standard errors are below
        0.002; the same arguments give the same numbers.

    Raises:
        ConfigError: no modality, an unknown one, or one twice.

    >>> law = LatentModel({"redundant": 1.0}, noise=0.1, label_noise=0.0, task="classification")
    >>> found = ceilings(law, ("text", "audio"))
    >>> round(found.quantities["invariant"].ceiling, 4)
    0.6931
    >>> abs(round(found.quantities["complementary"].ceiling, 4))
    0.0
    """
    names = tuple(modalities)
    if not names or not set(names) <= set(MODALITIES) or len(set(names)) < len(names):
        raise ConfigError(
            f"ceilings need some of {', '.join(MODALITIES)}, each once, got {', '.join(names)}"
        )
    table = _Table(names, _shared(model, names), _about_label(model, names))
    return Ceilings(
        terms={term.name: table.term(term) for term in terms(names)},
        quantities={q.name: table.quantity(q) for q in quantities(names)},
        label={subset: table.label(*subset) for subset in table.about_label},
        label_entropy=label_entropy(model),
    )


def bit_pair_information(noise: float) -> float:
    """I(x1; x2) of one fair bit (+1, -1) seen twice, each with Gaussian noise of its own.

    With t = tanh(x / noise^2), the expectation of its bit, ``p(x1, x2) / (p(x1) p(x2))`` is
    ``1 + t1 t2``; by symmetry its log is averaged for the bit +1 alone.

    Args:
        noise: its standard deviation, above 0.

    Returns:
        nats, by the trapezoidal rule in two dimensions; within about 1e-9.

    >>> round(bit_pair_information(0.1), 6)
    0.693147
    """
    z = np.linspace(-HALF_WIDTH, HALF_WIDTH, GRID)
    weights = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    a = (1 + noise * z) / noise**2
    cosh = np.logaddexp(a, -a)
    total = a[:, None] + a
    log_ratio = np.logaddexp(total, -total) - cosh[:, None] - cosh + np.log(2)
    return float(weights @ log_ratio @ weights)


def label_entropy(model: LatentModel) -> float:
    """H(label) in nats; for a real label with noise the differential h(label)."""
    if model.task == "classification":
        p = np.exp(model.log_label(np.array([0.0, 1.0]))).mean(axis=1)
        return -float(np.sum(p[p > 0] * np.log(p[p > 0])))
    if model.label_noise == 0:
        share = np.unique(model.scores, return_counts=True)[1] / len(model.scores)
        return -float(np.sum(share * np.log(share)))
    z = np.linspace(-HALF_WIDTH, HALF_WIDTH, GRID)
    weights = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    scores, counts = np.unique(model.scores, return_counts=True)
    log_p = [_log_density(model, score + model.label_noise * z) for score in scores]
    return -float(counts / counts.sum() @ np.array(log_p) @ weights)


def _log_density(model: LatentModel, labels: Array) -> Array:
    """``(N,)`` log p(label)."""
    return np.asarray(np.log(np.exp(model.log_label(labels)).mean(axis=1)))


@dataclass(frozen=True)
class _Table:
    """Terms from their ingredients, by the chain rule.

    Attributes:
        names: the modalities, anchor first.
        shared: modality beside the anchor -> I(anchor; it).
        about_label: modalities -> ``(SCRAMBLINGS,)`` estimates of I(they; label).
    """

    names: tuple[str, ...]
    shared: Mapping[str, float]
    about_label: Mapping[tuple[str, ...], Array]

    def label(self, *modalities: str) -> Exact:
        """I(modalities; label)."""
        return _exact(self._label(*modalities), 0.0, _mean(self._label(*modalities)))

    def term(self, term: Term) -> Exact | None:
        """Value and range of a term; None with the fused features."""
        values = self._values(term)
        if values is None:
            return None
        pair = self._label(*(m for m in (term.x, term.y, term.given) if m and m != LABEL))
        about_label = term.y == LABEL
        return _exact(values, 0.0, _mean(pair if about_label else values))

    def quantity(self, quantity: Quantity) -> Exact | None:
        """Value and range of a quantity; None for fusion."""
        table = {term.name: self._values(term) for term in terms(self.names)}
        parts = [(sign, table[name]) for name, sign in quantity.parts.items()]
        known = [sign * value for sign, value in parts if value is not None]
        if len(known) < len(parts):
            return None
        values = np.sum(known, axis=0)
        kind, _, modality = quantity.name.partition("_")
        if kind != "specific":
            return _exact(values, 0.0, _mean(values))
        anchor, others = self.names[0], self.names[1:]
        pairs = others if modality == anchor else (modality,)
        ceiling = len(pairs) * _mean(self._label(modality))
        return _exact(values, sum(self._specific_floor(o) for o in pairs), ceiling)

    def _specific_floor(self, other: str) -> float:
        given_label = _mean(self._shared_given_label(other))
        return -min(self.shared[other], max(0.0, given_label))

    def _values(self, term: Term) -> Array | None:
        """``(SCRAMBLINGS,)`` estimates of a term."""
        if FUSED in (term.x, term.y):
            return None
        if term.y == LABEL and term.given is not None:
            return self._label(term.x, term.given) - self._label(term.given)
        if term.given == LABEL:
            return self._shared_given_label(term.y)
        return np.full(SCRAMBLINGS, self.shared[term.y])

    def _shared_given_label(self, other: str) -> Array:
        anchor = self.names[0]
        about_label = self._label(anchor, other) - self._label(anchor) - self._label(other)
        return self.shared[other] + about_label

    def _label(self, *modalities: str) -> Array:
        return self.about_label[tuple(m for m in self.names if m in modalities)]


def _exact(values: Array, floor: float, ceiling: float) -> Exact:
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Exact(_mean(values), error, floor, max(floor, ceiling))


def _mean(values: Array) -> float:
    return float(values.mean())


def _shared(model: LatentModel, names: tuple[str, ...]) -> dict[str, float]:
    """Modality -> I(anchor; modality): one bit seen twice for each that both have."""
    one = bit_pair_information(model.noise)
    both = {other: {names[0], other} for other in names[1:]}
    return {
        other: one
        * (("redundant" in model.kinds) + sum(set(n.split("_")) == pair for n in model.nuisance))
        for other, pair in both.items()
    }


def _about_label(model: LatentModel, names: tuple[str, ...]) -> dict[tuple[str, ...], Array]:
    """Every set of modalities -> ``(SCRAMBLINGS,)`` estimates of what it says about the label."""
    subsets = [s for size in range(1, len(names) + 1) for s in combinations(names, size)]
    rows = np.array([_one_scrambling(model, names, subsets, s) for s in range(SCRAMBLINGS)])
    return dict(zip(subsets, rows.T, strict=True))


def _one_scrambling(
    model: LatentModel, names: tuple[str, ...], subsets: Sequence[tuple[str, ...]], seed: int
) -> list[float]:
    """I(subset; label) of each subset, averaged over ``POINTS`` scrambled Sobol points."""
    width = len(model.kinds)
    points = Sobol(2 + len(names) * width, rng=np.random.default_rng(seed)).random(POINTS)
    states = np.minimum((points[:, 0] * len(model.scores)).astype(int), len(model.scores) - 1)
    normal = ndtri(np.clip(points[:, 1:], EDGE, 1 - EDGE))
    noises = model.noise * normal[:, 1:].reshape(POINTS, len(names), width)
    posterior = {
        name: softmax(model.log_latent(name, model.bits[name][states] + noises[:, i]), axis=1)
        for i, name in enumerate(names)
    }
    products = (np.prod([posterior[name] for name in subset], axis=0) for subset in subsets)
    if model.task == "classification":
        information = _class_information(model, states)
    else:
        information = _rating_information(model, states, normal[:, 0])
    return [information(p / p.sum(axis=1, keepdims=True)) for p in products]


def _class_information(model: LatentModel, states: Array) -> Callable[[Array], float]:
    """Posterior ``(N, S)`` of the states -> mean log p(c | x) / p(c), over both classes c."""
    chances = np.exp(model.log_label(np.array([0.0, 1.0])))
    prior = chances.mean(axis=1)
    own = chances.T[states]

    def information(posterior: Array) -> float:
        return float(np.mean(xlogy(own, posterior @ chances.T / prior).sum(axis=1)))

    return information


def _rating_information(model: LatentModel, states: Array, z: Array) -> Callable[[Array], float]:
    """Likewise for the real label that the state and the normal noise z of a sample give."""
    chances = np.exp(model.log_label(model.scores[states] + model.label_noise * z))
    chances /= chances.mean(axis=1, keepdims=True)

    def information(posterior: Array) -> float:
        return float(np.mean(np.log((posterior * chances).sum(axis=1))))

    return information
