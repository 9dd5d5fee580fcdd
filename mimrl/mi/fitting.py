"""From samples to a held-out estimate: fit an estimator on some rows, read it on others.

An estimator read on the rows it was fitted on reports too much information. So the estimate of a
fit is read on other rows, with product samples drawn from those rows alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from mimrl.errors import ShapeError
from mimrl.mi.conditional import ConditionalMI, read_out
from mimrl.mi.critics import SeparableCritic
from mimrl.mi.early_stopping import (
    FitSettings,
    Scaling,
    draw_batch,
    fit_with_early_stopping,
    split_rows,
)
from mimrl.mi.neighbours import Triples, product_samples, regression_slopes
from mimrl.mi.objectives import Bound, InfoNce
from mimrl.mi.variational import VariationalMI

READING_ROWS = 1000
"""Rows scored against each other when a mutual information is read."""


@dataclass(frozen=True)
class Estimate:
    """A held-out reading, in nats.

    Attributes:
        value: the estimate.
        standard_error: of the mean over the held-out rows; the fit's own error is not in it.
    """

    value: float
    standard_error: float


@dataclass(frozen=True)
class ConditionalEstimate:
    """I(X; Y | Z) read in three ways from the same log ratios, in nats.

    Attributes:
        ldr: mean log ratio of the joint rows.
        dv: Donsker-Varadhan.
        nwj: Nguyen-Wainwright-Jordan.
        standard_error: of ``ldr``, over the held-out rows; the fit's own error is not in it.
    """

    ldr: float
    dv: float
    nwj: float
    standard_error: float


@dataclass(frozen=True)
class FittedConditional:
    """A fitted classifier for I(X; Y | Z) and all that is needed to read it on other rows.

    Attributes:
        model: the classifier, in evaluation mode.
        scaling: of x, y and z.
        metric: regression of x on z over the fitting rows, if neighbours are sought by it.
        settings: how it was fitted.
        discrete: whether z holds classes.
        step: the step whose weights validation chose.
    """

    model: ConditionalMI
    scaling: tuple[Scaling, Scaling, Scaling]
    metric: Tensor | None
    settings: FitSettings
    discrete: bool
    step: int

    @torch.no_grad()
    def estimate(self, held_out: Triples, seed: int, *, draws: int = 4) -> ConditionalEstimate:
        """Reads the information on rows the classifier was not fitted on.

        Args:
            held_out: joint samples; product samples are drawn from them alone.
            seed: of the product samples.
            draws: times half as many product samples as rows are drawn.

        Returns:
            The three read-outs, in nats.

        Raises:
            EstimationError: too few rows for product samples.
        """
        generator = torch.Generator().manual_seed(seed)
        joint = scaled(held_out, self.scaling)
        sampler = ProductSampler(joint, self.settings, self.discrete, self.metric)
        clip = self.model.logit_clip
        joint_ratios = self.model.logits(joint).clamp(-clip, clip)
        product_ratios = torch.cat(
            [
                self.model.logits(sampler.draw(len(joint), generator)).clamp(-clip, clip)
                for _ in range(draws)
            ]
        )
        return ConditionalEstimate(
            ldr=float(read_out(joint_ratios, product_ratios, "ldr")),
            dv=float(read_out(joint_ratios, product_ratios, "dv")),
            nwj=float(read_out(joint_ratios, product_ratios, "nwj")),
            standard_error=_standard_error(joint_ratios),
        )


@dataclass(frozen=True)
class FittedMutual:
    """A fitted estimator of I(X; Y) and all that is needed to read it on other rows.

    Attributes:
        model: the estimator, in evaluation mode.
        scaling: of x and y.
        step: the step whose weights validation chose.
    """

    model: VariationalMI
    scaling: tuple[Scaling, Scaling]
    step: int

    @torch.no_grad()
    def estimate(self, x: Tensor, y: Tensor, seed: int) -> Estimate:
        """Reads the information on rows the critic was not fitted on.

        Args:
            x: ``(N, dx)`` held-out rows.
            y: ``(N, dy)``, paired with x.
            seed: of the random division into groups of about 1,000 rows that are scored against
                each other.

        Returns:
            The mean over the groups, in nats, with its standard error (0 for one group).
        """
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        groups = order.to(x.device).tensor_split(max(1, round(len(x) / READING_ROWS)))
        x, y = self.scaling[0](x), self.scaling[1](y)
        values = torch.stack([self.model(x[rows], y[rows]) for rows in groups])
        return Estimate(float(values.mean()), _standard_error(values))


class ProductSampler:
    """Product samples of one bank by the rules of a fit.

    Args:
        bank: joint samples.
        settings: neighbours of an anchor.
        discrete: whether z holds classes.
        metric: neighbours are sought in ``z @ metric``, or in z for None.
    """

    def __init__(
        self, bank: Triples, settings: FitSettings, discrete: bool, metric: Tensor | None
    ) -> None:
        self.bank, self.settings, self.discrete, self.metric = bank, settings, discrete, metric
        anchors = len(bank) // 2
        if discrete:
            anchors = min(anchors, len(bank) - len(bank.z.unique(dim=0)))
        self.most = max(1, anchors) * settings.neighbours

    def draw(self, count: int, generator: torch.Generator) -> Triples:
        """``count`` product samples, or as many as half of the bank as anchors gives."""
        bank = self.bank
        return product_samples(
            bank.x,
            bank.y,
            bank.z,
            min(count, self.most),
            self.settings.neighbours,
            generator,
            discrete=self.discrete,
            metric=self.metric,
        )


def fit_conditional(
    train: Triples, seed: int, settings: FitSettings | None = None, *, discrete: bool = False
) -> FittedConditional:
    """Fits a classifier for I(X; Y | Z).

    Args:
        train: joint samples; ``settings.validation`` of them, drawn at random, choose the step.
        seed: of the split, the initial weights, the batches and the product samples.
        settings: defaults to :class:`FitSettings`.
        discrete: z holds classes, one number or one-hot.

    Returns:
        The fitted classifier; read it with its ``estimate`` on other rows.

    Raises:
        EstimationError: too few rows.
        NonFiniteError: the loss became NaN or infinite.
    """
    settings = settings or FitSettings()
    generator = torch.Generator().manual_seed(seed)
    scaling = (
        Scaling.fit(train.x),
        Scaling.fit(train.y),
        Scaling.none(train.z.shape[1]) if discrete else Scaling.fit(train.z),
    )
    rows = scaled(train, scaling)
    fitting, held = split_rows(len(train), settings, generator, train.x.device)
    fit_rows, valid_rows = rows.select(fitting), rows.select(held)
    metric = regression_slopes(fit_rows.x, fit_rows.z) if settings.regression else None
    sampler = ProductSampler(fit_rows, settings, discrete, metric)
    valid_sampler = ProductSampler(valid_rows, settings, discrete, metric)
    valid_product = _joined([valid_sampler.draw(len(valid_rows), generator) for _ in range(4)])

    def step_loss(model: ConditionalMI) -> Tensor:
        batch = rows.select(draw_batch(fitting, settings, generator))
        return model.loss(batch, sampler.draw(len(batch), generator))

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _conditional_model(train, settings)
        step = fit_with_early_stopping(
            model, step_loss, lambda m: m.loss(valid_rows, valid_product), settings
        )
    return FittedConditional(model.eval(), scaling, metric, settings, discrete, step)


def fit_mutual(
    x: Tensor,
    y: Tensor,
    seed: int,
    settings: FitSettings | None = None,
    *,
    bound: Bound | None = None,
) -> FittedMutual:
    """Fits a separable critic for I(X; Y).

    Args:
        x: ``(N, dx)``.
        y: ``(N, dy)``, paired with x.
        seed: of the split, the initial weights and the batches.
        settings: defaults to :class:`FitSettings`.
        bound: defaults to InfoNCE, whose value is at most the log of the rows in a group: of the
            batch while fitting, of 1,000 when read.

    Returns:
        The fitted estimator; read it with its ``estimate`` on other rows.

    Raises:
        ShapeError: x and y differ in rows.
        EstimationError: too few rows.
        NonFiniteError: the loss became NaN or infinite.
    """
    settings = settings or FitSettings()
    if len(x) != len(y):
        raise ShapeError(f"x and y must be paired, got {len(x)} and {len(y)} rows")
    generator = torch.Generator().manual_seed(seed)
    scaling = (Scaling.fit(x), Scaling.fit(y))
    x, y = scaling[0](x), scaling[1](y)
    fitting, held = split_rows(len(x), settings, generator, x.device)

    def step_loss(model: VariationalMI) -> Tensor:
        rows = draw_batch(fitting, settings, generator)
        return model.loss(x[rows], y[rows])

    def valid_loss(model: VariationalMI) -> Tensor:
        return model.loss(x[held], y[held])

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _mutual_model(x, y, bound or InfoNce(), settings)
        step = fit_with_early_stopping(model, step_loss, valid_loss, settings)
    return FittedMutual(model.eval(), scaling, step)


def scaled(rows: Triples, scaling: tuple[Scaling, Scaling, Scaling]) -> Triples:
    """``rows`` on the training rows' scale."""
    return Triples(scaling[0](rows.x), scaling[1](rows.y), scaling[2](rows.z))


def _conditional_model(train: Triples, settings: FitSettings) -> ConditionalMI:
    return ConditionalMI(
        train.x.shape[1],
        train.y.shape[1],
        train.z.shape[1],
        hidden=settings.hidden,
        layers=settings.layers,
        activation=settings.activation,
        dropout=settings.dropout,
    ).to(train.x)


def _mutual_model(x: Tensor, y: Tensor, bound: Bound, settings: FitSettings) -> VariationalMI:
    critic = SeparableCritic(
        x.shape[1],
        y.shape[1],
        hidden=settings.hidden,
        layers=settings.layers,
        embedding=settings.hidden,
        activation=settings.activation,
    )
    return VariationalMI(critic, bound).to(x)


def _joined(parts: list[Triples]) -> Triples:
    columns = {f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Triples)}
    return Triples(**columns)


def _standard_error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else 0.0
