"""Generated data whose interactions between modalities, and their sizes, are known.

A sample's latent vector of each modality (:mod:`mimrl.datasets.latent`) is embedded in ``width``
features by a fixed random projection and spread over a sequence: at least half of the steps carry
it, the others carry noise only. The noise is centred over the sequence, so that the mean over all
steps is exactly the embedded latent vector. A sequence therefore holds the same information about
the label as its latent vector, no less and no more, and an encoder can in principle reach the
exact numbers that :func:`truth` gives.

``amplitude`` scales a modality's whole latent part in the features, ``nuisance`` the bits that two
modalities share and the label does not need. However small, the mean over steps still holds them
exactly; but each step drowns them in its noise, and a task alone may leave them there. What
features could hold is in :mod:`mimrl.datasets.ceilings`. ``label_flips`` concern every split, for
the law is one, so accuracy cannot expect more than ``1 - label_flips`` on test either; the labels
before flips are ``Truth.draws[split].clean_labels``, so that a study can score both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from mimrl.datasets.features import SPLITS, Corpus, Ragged, Split
from mimrl.datasets.latent import (
    COMPONENTS,
    MODALITIES,
    NUISANCES,
    Array,
    Draw,
    LatentInformation,
    LatentModel,
    Task,
)
from mimrl.errors import ConfigError
from mimrl.settings.data import PlantedSettings

_LATENT, _RENDERING, _PROJECTION = 0, 1, 2
"""Random streams of their own, so that the size of one split changes no other."""


@dataclass(frozen=True)
class Truth:
    """Exact information of every sample of a generated corpus, in its row order.

    Attributes:
        model: the law the samples were drawn from.
        draws: split -> latent vectors, bit patterns, labels and clean labels of its samples.
    """

    model: LatentModel
    draws: Mapping[str, Draw]

    def information(self, split: str, *modalities: str) -> Array:
        """``(N,)`` i(x; y) in nats of the latent vectors of one or more modalities together."""
        draw = self.draws[split]
        return self.model.information({m: draw.latents[m] for m in modalities}, draw.labels)

    def bit_information(self, split: str, *modalities: str) -> Array:
        """``(N,)`` i(b; y) in nats of the noiseless bits of one or more modalities together."""
        draw = self.draws[split]
        return self.model.bit_information(modalities, draw.states, draw.labels)

    def pair(self, split: str, first: str, second: str) -> LatentInformation:
        """All that LSMI needs of a pair of modalities, from the exact latent densities."""
        latents = self.draws[split].latents
        return LatentInformation(
            first=first,
            second=second,
            i1=self.information(split, first),
            i2=self.information(split, second),
            i12=self.information(split, first, second),
            h1=self.model.surprisal(first, latents[first]),
            h2=self.model.surprisal(second, latents[second]),
        )


def generate(settings: PlantedSettings, task: Task) -> Corpus:
    """The generated corpus; the same settings give the same corpus.

    Args:
        settings: what the label depends on, sizes, noise, seed.
        task: regression (labels in about [-3, 3]) or classification (labels 0 and 1). The latent
            vectors and features are the same, and the class says whether the rating is >= 0.

    Returns:
        Train, valid and test with text, audio and video features ``(T, width)`` and one label.

    Raises:
        ConfigError: ``width`` is below the number of latent coordinates, so that features could
            not hold them, or a real label is to be flipped.
    """
    draws = truth(settings, task).draws
    splits = {name: _split(settings, name, draw) for name, draw in draws.items()}
    return Corpus(
        layout="planted",
        source=f"planted data ({settings.interaction}, seed {settings.seed})",
        splits=splits,
    )


def truth(settings: PlantedSettings, task: Task) -> Truth:
    """The exact information of the corpus that :func:`generate` gives for the same arguments.

    >>> settings = PlantedSettings(interaction="synergy", label_noise=0)
    >>> model = truth(settings, "classification").model
    >>> round(model.total_bit_information("text"), 6)
    0.0
    >>> round(model.total_bit_information("text", "audio"), 6)
    0.693147
    """
    model = latent_model(settings, task)
    sizes = (settings.train_size, settings.valid_size, settings.test_size)
    draws = {
        name: model.draw(size, _generator(settings, _LATENT, name))
        for name, size in zip(SPLITS, sizes, strict=True)
    }
    return Truth(model, MappingProxyType(draws))


def latent_model(settings: PlantedSettings, task: Task) -> LatentModel:
    """The latent law that the settings describe.

    Raises:
        ConfigError: ``width`` is below the number of latent coordinates, or a real label is to
            be flipped.
    """
    if settings.interaction == "mixed":
        given = settings.shares or dict.fromkeys(COMPONENTS, 1.0)
        total = sum(given.values())
        shares = {name: share / total for name, share in given.items()}
    else:
        shares = {settings.interaction: 1.0}
    model = LatentModel(
        shares,
        settings.noise,
        settings.label_noise,
        task,
        nuisance=tuple(pair for pair in NUISANCES if pair in settings.nuisance),
        label_flips=settings.label_flips,
    )
    if settings.width < len(model.coordinates):
        raise ConfigError(
            f"data.planted.width is {settings.width}, but these interactions need "
            f"{len(model.coordinates)} latent coordinates ({', '.join(model.coordinates)}); set it "
            f"to at least {len(model.coordinates)}"
        )
    return model


def projection(settings: PlantedSettings, modality: str, coordinates: int) -> Array:
    """``(width, coordinates)``: orthogonal columns of length ``sqrt(width / coordinates)``.

    A feature of amplitude 1 is then of size 1 on average, and
    ``features @ projection * coordinates / width`` gives latent vectors times :func:`amplitudes`.
    """
    normal = _generator(settings, _PROJECTION, modality).standard_normal(
        (settings.width, coordinates)
    )
    orthogonal: Array = np.linalg.qr(normal)[0]
    return orthogonal * np.sqrt(settings.width / coordinates)


def amplitudes(settings: PlantedSettings, modality: str) -> Array:
    """``(D,)`` the factor with which each latent coordinate of ``modality`` enters the features.

    >>> amplitudes(PlantedSettings(interaction="synergy", nuisance={"text_audio": 0.1}), "text")
    array([1. , 0.1])
    """
    kinds = latent_model(settings, "classification").kinds
    own = [1.0] * len(kinds) + [settings.nuisance[p] for p in NUISANCES if p in settings.nuisance]
    return settings.amplitude.get(modality, 1.0) * np.array(own)


def _split(settings: PlantedSettings, name: str, draw: Draw) -> Split:
    generator = _generator(settings, _RENDERING, name)
    return Split(
        ids=tuple(f"{name}_{i:06d}" for i in range(len(draw.labels))),
        sequences={m: _rendered(draw.latents[m], settings, m, generator) for m in MODALITIES},
        labels=draw.labels.astype(np.float32)[:, None],
    )


def _rendered(
    latents: Array, settings: PlantedSettings, modality: str, generator: np.random.Generator
) -> Ragged:
    """Sequences whose means over time are the embedded latent vectors."""
    scaled = latents * amplitudes(settings, modality)
    embedded = scaled @ projection(settings, modality, latents.shape[1]).T
    lengths = generator.integers(settings.min_steps, settings.max_steps + 1, size=len(latents))
    return Ragged.from_list(
        [
            _sequence(row, int(steps), settings.noise, generator)
            for row, steps in zip(embedded, lengths, strict=True)
        ]
    )


def _sequence(embedded: Array, steps: int, noise: float, generator: np.random.Generator) -> Array:
    """``(steps, width)`` float64: some steps carry ``embedded``, all carry centred noise."""
    carriers = int(generator.integers((steps + 1) // 2, steps + 1))
    amplitude = np.zeros(steps)
    amplitude[generator.choice(steps, size=carriers, replace=False)] = steps / carriers
    jitter = noise * generator.standard_normal((steps, len(embedded)))
    return amplitude[:, None] * embedded + jitter - jitter.mean(axis=0)


def _generator(settings: PlantedSettings, stream: int, name: str) -> np.random.Generator:
    names = (*SPLITS, *MODALITIES)
    return np.random.default_rng([settings.seed, stream, names.index(name)])
