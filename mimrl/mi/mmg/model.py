"""MMG on samples: fitted coordinates, trained denoisers, and what they read on other samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from mimrl.errors import ConfigError, EstimationError, ShapeError
from mimrl.mi.mmg.bases import Preconditioning, base_of
from mimrl.mi.mmg.channel import LogSnrLaw
from mimrl.mi.mmg.coordinates import Coordinates, Preprocess
from mimrl.mi.mmg.denoisers import NetworkDenoisers
from mimrl.mi.mmg.reading import adapted, corrections
from mimrl.mi.mmg.rows import Rows
from mimrl.mi.mmg.training import Training, TrainingSettings

Floats = npt.NDArray[np.float64]
Form = Literal["plain", "orthogonal", "adaptive"]

FEWEST_ROWS = 20
MOST_VALIDATION = 5000
PILOT_ROWS, PILOT_PASSES = 2000, 8


@dataclass(frozen=True)
class Plan:
    """How a model is made from samples.

    Attributes:
        training: of the networks.
        preprocess: of the columns; see :meth:`Coordinates.fit`.
        preconditioning: see :mod:`mimrl.mi.mmg.bases`.
        validation: share of the rows that chooses the step, in (0, 1); at most 5,000 rows.
    """

    training: TrainingSettings
    preprocess: Preprocess = "rescale"
    preconditioning: Preconditioning = "linear"
    validation: float = 0.15

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ConfigError(f"validation = {self.validation}; expected a share in (0, 1)")


@dataclass(frozen=True)
class Reading:
    """The information in one form, nats.

    Attributes:
        inside: ``(N,)`` half the integral over the interval of the log-SNR law.
        tails: ``(N,)`` what is added for the log-SNRs beyond: there the denoisers are taken to be
            the best linear ones, whose integral is known.
    """

    inside: Floats
    tails: Floats

    @property
    def pointwise(self) -> Floats:
        """``(N,)`` log p(x, y) / (p(x) p(y)); their mean is :attr:`value`."""
        return self.inside + self.tails

    @property
    def value(self) -> float:
        """The estimate over all log-SNRs."""
        return float(self.pointwise.mean())

    @property
    def cut(self) -> float:
        """The estimate on the interval alone."""
        return float(self.inside.mean())

    @property
    def standard_error(self) -> float:
        """Of :attr:`value` over the samples."""
        return float(self.pointwise.std(ddof=1) / math.sqrt(len(self.inside)))


@dataclass(frozen=True)
class MmgModel:
    """Fitted denoisers.

    Attributes:
        coordinates: of x and y.
        denoisers: trained.
        law: of the log-SNR in training and in the plain and orthogonal forms.
        adapted: that of the adaptive form.
        device: of the networks.
    """

    coordinates: Coordinates
    denoisers: NetworkDenoisers
    law: LogSnrLaw
    adapted: LogSnrLaw
    device: str

    def read(
        self,
        x: Floats,
        y: Floats,
        form: Form,
        *,
        passes: int = 10,
        seed: int = 0,
        chunk: int = 1000,
    ) -> Reading:
        """The information in one form; as :meth:`readings`."""
        law = self.adapted if form == "adaptive" else self.law
        kind = "orthogonal" if form == "orthogonal" else "plain"
        return self._read(x, y, law, passes, seed, chunk)[kind]

    def readings(
        self, x: Floats, y: Floats, *, passes: int = 10, seed: int = 0, chunk: int = 1000
    ) -> Mapping[Form, Reading]:
        """The information in all forms, on samples that should not be those of the fit.

        Args:
            x: ``(N, dx)``.
            y: ``(N, dy)``.
            passes: log-SNRs and noises for each sample.
            seed: of them.
            chunk: samples denoised at a time.

        Raises:
            ShapeError: widths or lengths that do not fit.
        """
        found = self._read(x, y, self.law, passes, seed, chunk)
        return {
            "plain": found["plain"],
            "orthogonal": found["orthogonal"],
            "adaptive": self.read(x, y, "adaptive", passes=passes, seed=seed, chunk=chunk),
        }

    def _read(
        self, x: Floats, y: Floats, law: LogSnrLaw, passes: int, seed: int, chunk: int
    ) -> dict[str, Reading]:
        widths = len(self.coordinates.x.centre), len(self.coordinates.y.centre)
        if len(x) != len(y) or (x.shape[1:], y.shape[1:]) != ((widths[0],), (widths[1],)):
            raise ShapeError(
                f"expected paired x (N, {widths[0]}) and y (N, {widths[1]}), got {x.shape} and "
                f"{y.shape}"
            )
        x, y = self.coordinates.x(x), self.coordinates.y(y)
        base, linear = self.denoisers.base, self.coordinates.linear
        rows = base.rows(x, y).to(self.device, torch.float32)
        found = corrections(self.denoisers, rows, law, passes=passes, seed=seed, chunk=chunk)
        plain, orthogonal = base.integrals(x, y, law.low, law.high)
        tails = linear.plain(x, y) - linear.plain(x, y, law.low, law.high)
        return {
            "plain": Reading(plain + found.plain, tails),
            "orthogonal": Reading(orthogonal + found.orthogonal, tails),
        }


@dataclass(frozen=True)
class Fit:
    """A model in the making: run :attr:`training`, then take :meth:`model`.

    Attributes:
        coordinates: fitted to the training rows.
        training: of the networks; can be written down and gone on with.
        device: of the networks.
        information: of the linear denoisers on validation rows, nats: what the looks of the
            training add to.
    """

    coordinates: Coordinates
    training: Training
    device: str
    information: float

    def model(self) -> MmgModel:
        """The model of the step that validation has chosen so far."""
        training = self.training
        denoisers, law = training.result(), training.settings.law
        pilot = training.rows.select(slice(0, PILOT_ROWS))
        moved = adapted(denoisers, pilot, law, passes=PILOT_PASSES, seed=training.seed)
        return MmgModel(self.coordinates, denoisers, law, moved, self.device)


def start(
    x: Floats,
    y: Floats,
    plan: Plan,
    *,
    seed: int,
    device: str = "cpu",
    coordinates: Coordinates | None = None,
) -> Fit:
    """Divides the rows and fits what is known in closed form.

    Args:
        x: ``(N, dx)`` finite.
        y: ``(N, dy)``, paired with x.
        plan: how.
        seed: of the division, the initial weights, the batches and the noise.
        device: of the networks.
        coordinates: fitted before, when a training is gone on with; None to fit them.

    Raises:
        ShapeError: unpaired rows.
        EstimationError: fewer than 20 rows, or infinite information.
    """
    if len(x) != len(y):
        raise ShapeError(f"samples must be paired row by row, got {len(x)} and {len(y)} rows")
    if len(x) < FEWEST_ROWS:
        raise EstimationError(f"{len(x)} samples; expected {FEWEST_ROWS} or more for a training")
    order = np.random.default_rng(seed).permutation(len(x))
    held = max(2, min(MOST_VALIDATION, round(len(x) * plan.validation)))
    valid, fitting = order[:held], order[held:]
    found = coordinates or Coordinates.fit(x[fitting], y[fitting], plan.preprocess)
    base = base_of(found.linear, plan.preconditioning)

    def rows(part: npt.NDArray[np.int64]) -> Rows:
        return base.rows(found.x(x[part]), found.y(y[part])).to(device, torch.float32)

    law, inside = plan.training.law, base.integrals
    seen = found.x(x[valid]), found.y(y[valid])
    tails = found.linear.plain(*seen) - found.linear.plain(*seen, law.low, law.high)
    information = float((inside(*seen, law.low, law.high)[0] + tails).mean())
    training = Training(base, rows(fitting), rows(valid), plan.training, seed)
    return Fit(found, training, device, information)
