"""Conditional information by a classifier of joint against product samples, cross-fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mimrl.errors import BiasWarning
from mimrl.mi.conditional import read_out
from mimrl.mi.early_stopping import FitSettings
from mimrl.mi.estimators.crossfitting import fold_rows
from mimrl.mi.estimators.interface import ConditionalEstimator, Device, EstimateResult, Floats
from mimrl.mi.estimators.preprocessing import fit_map
from mimrl.mi.fitting import FittedConditional, ProductSampler, fit_conditional, scaled
from mimrl.mi.neighbours import ProductSamples, Triples

ReadOut = Literal["ldr", "dv", "nwj"]

FAR = 0.1
"""Squared distance to neighbours in z, as a share of that to any sample, that is warned of."""
DRAWS = 4
"""Times that product samples are drawn for a reading."""


class ConditionalClassifier(ConditionalEstimator):
    """I(X; Y | Z) by a classifier of (x, y, z) against samples of p(x | z) p(y, z).

    Product samples take x from a nearest neighbour in z (Mukherjee, Asnani, Kannan 2019;
    Molavipour, Bassi, Skoglund 2020). The log odds of the classifier estimate the log ratio of the
    two densities; each fold is read by a classifier fitted on the others
    (:func:`~mimrl.mi.fitting.fit_conditional`).

    Note:
        In a wide z no neighbour is near; what x knows of z then counts as information, and the
        value is too high: a :class:`~mimrl.errors.BiasWarning` says so. ``regression`` seeks
        neighbours in the linear prediction of x from z, which has the width of x; right if x
        depends on z through it alone, and wrong without a warning if it does not. x, y and z may
        hold discrete columns.
    """

    continuous: ClassVar[bool] = False
    smallest: ClassVar[int] = 100

    read_out: ReadOut = Field("ldr", description="mean log ratio, Donsker-Varadhan or NWJ")
    neighbours: int = Field(3, ge=1, description="in z, of a sample; each gives one x")
    regression: bool = Field(
        False, description="seek neighbours in the linear prediction of x from z"
    )
    discrete: bool = Field(False, description="z holds classes: neighbours are of the same class")
    hidden: int = Field(64, ge=1, description="width of the classifier")
    steps: int = Field(1500, ge=1, description="most training steps of a fold")
    rate: float = Field(1e-3, gt=0, description="learning rate")
    batch_size: int = Field(512, ge=2, description="joint rows a step")
    folds: int = Field(5, ge=2, le=50, description="cross-fitting folds")
    seed: int = Field(0, ge=0, description="of folds, initial weights, batches and products")
    device: Device = Field("cpu", description="PyTorch device of the training")

    def read(self, x: Floats, y: Floats, z: Floats) -> EstimateResult:
        """The mean over folds, each read by a fit to the others."""
        samples = Triples(
            *(
                torch.as_tensor(values, dtype=torch.float32, device=self.device)
                for values in (_scaled(x), _scaled(y), z if self.discrete else _scaled(z))
            )
        )
        values, readings = np.empty(len(x)), []
        for number, held in enumerate(fold_rows(len(x), self.folds, self.seed)):
            others = np.setdiff1d(np.arange(len(x)), held)
            reading = self._fold(
                samples.select(torch.from_numpy(others).to(samples.x.device)),
                samples.select(torch.from_numpy(held).to(samples.x.device)),
                self.seed + number,
            )
            values[held] = reading.values
            readings.append(reading)
        product = float(np.mean([reading.product_variance for reading in readings]))
        far = float(np.mean([reading.far for reading in readings]))
        return EstimateResult(
            float(values.mean()),
            math.sqrt((values.var(ddof=1) + product) / len(values)),
            values,
            warnings=_distant(far) if far > FAR else (),
            additional_information={
                "steps": [reading.step for reading in readings],
                "neighbour_distance": far,
            },
        )

    def _fold(self, train: Triples, held_out: Triples, seed: int) -> _Reading:
        settings = FitSettings(
            hidden=self.hidden,
            rate=self.rate,
            batch_size=self.batch_size,
            steps=self.steps,
            neighbours=self.neighbours,
            regression=self.regression,
        )
        fitted = fit_conditional(train, seed, settings, discrete=self.discrete)
        with torch.no_grad():
            return _read(fitted, train, held_out, self.read_out, seed)


def _scaled(values: Floats) -> Floats:
    """Standardised before single precision, which has no digits for 1e8 + small differences."""
    return fit_map(values, "standardise")(values)


@dataclass(frozen=True)
class _Reading:
    """A fold's pointwise values.

    Attributes:
        values: ``(N,)`` in nats; their mean is the fold's read-out.
        product_variance: of what product samples add to the read-out, times N.
        far: squared distance of neighbours in z over that of any two samples.
        step: whose weights were taken.
    """

    values: Floats
    product_variance: float
    far: float
    step: int


def _read(
    fitted: FittedConditional, train: Triples, held_out: Triples, how: ReadOut, seed: int
) -> _Reading:
    """Product samples are drawn from the held-out rows alone."""
    generator = torch.Generator().manual_seed(seed)
    joint, variance = _ratios(fitted, scaled(held_out, fitted.scaling)), 0.0
    values = joint
    if how != "ldr":
        sampler = _sampler(fitted, held_out)
        draws = [_ratios(fitted, sampler.draw(len(joint), generator)) for _ in range(DRAWS)]
        product = torch.cat(draws)
        values = joint + (read_out(joint, product, how) - joint.mean())
        scale = product.exp().mean() ** 2 if how == "dv" else 1.0
        variance = float(product.exp().var() / scale)
    return _Reading(
        values.double().cpu().numpy(), variance, _far(fitted, train, generator), fitted.step
    )


def _sampler(fitted: FittedConditional, rows: Triples) -> ProductSampler:
    bank = scaled(rows, fitted.scaling)
    return ProductSampler(bank, fitted.settings, fitted.discrete, fitted.metric)


def _ratios(fitted: FittedConditional, rows: Triples) -> Tensor:
    clip = fitted.model.logit_clip
    return fitted.model.logits(rows).clamp(-clip, clip)


def _far(fitted: FittedConditional, train: Triples, generator: torch.Generator) -> float:
    """How far in z, or in its prediction of x, the x of a product sample came from."""
    sampler = _sampler(fitted, train)
    drawn = sampler.draw(len(train), generator)
    if fitted.discrete or not isinstance(drawn, ProductSamples):
        return 0.0
    own, found, bank = drawn.z, sampler.bank.z[drawn.rows], sampler.bank.z
    if fitted.metric is not None:
        own, found, bank = (values @ fitted.metric for values in (own, found, bank))
    any_two = 2 * bank.var(dim=0).sum()
    return float((own - found).square().sum(dim=1).mean() / any_two.clamp_min(1e-12))


def _distant(far: float) -> tuple[BiasWarning]:
    return (
        BiasWarning(
            f"nearest neighbours in z are {math.sqrt(far):.2f} times as far as any two samples "
            "are, so what x knows of z counts as information and the value is too high; take "
            "fewer columns of z, regression=True if x depends on z linearly, or more samples"
        ),
    )
