"""From samples to a held-out estimate: fit an estimator with early stopping, read it elsewhere.

An estimator read on the rows it was fitted on reports too much information, and one fitted for too
long reports too little elsewhere. So the rows given are split into a fitting and a validation part,
a running average of the weights is kept, and the average that did best on validation is the result;
its estimate is read on other rows, with product samples from those rows alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor, nn

from mimrl.errors import EstimationError, NonFiniteError, ShapeError
from mimrl.mi.conditional import ConditionalMI, read_out
from mimrl.mi.critics import Activation, SeparableCritic
from mimrl.mi.neighbours import Triples, product_samples, regression_slopes
from mimrl.mi.objectives import Bound, InfoNce
from mimrl.mi.variational import VariationalMI

SMALLEST_TRAINING = 20
READING_ROWS = 1000
"""Rows scored against each other when a mutual information is read."""

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class FitSettings:
    """How an estimator is fitted.

    Attributes:
        hidden: hidden width; also the embedding width of a separable critic.
        layers: hidden layers after the input layer.
        activation: between the layers.
        dropout: share of hidden units zeroed while fitting (conditional terms only).
        rate: Adam's learning rate.
        weight_decay: decoupled weight decay.
        batch_size: rows a step.
        steps: most steps.
        check_every: steps between two looks at the validation rows.
        patience: looks without improvement after which fitting ends.
        averaging: decay of the running average of the weights, in [0, 1).
        validation: share of the rows held back for early stopping.
        neighbours: neighbours of an anchor (conditional terms only).
        adjust: move a neighbour's x along the linear regression of x on z
            (:func:`~mimrl.mi.neighbours.regression_slopes`; conditional terms only).
    """

    hidden: int = 64
    layers: int = 2
    activation: Activation = "silu"
    dropout: float = 0.0
    rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_size: int = 256
    steps: int = 1500
    check_every: int = 25
    patience: int = 6
    averaging: float = 0.98
    validation: float = 0.15
    neighbours: int = 1
    adjust: bool = False


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
class Scaling:
    """Mean and standard deviation of each column, from training rows."""

    mean: Tensor
    scale: Tensor

    @classmethod
    def fit(cls, values: Tensor) -> Scaling:
        """Of the columns of ``values`` ``(N, d)``; a constant column keeps its scale."""
        scale = values.std(dim=0, correction=0)
        return cls(values.mean(dim=0), torch.where(scale > 0, scale, 1.0))

    @classmethod
    def none(cls, width: int) -> Scaling:
        """Leaves ``width`` columns as they are."""
        return cls(torch.zeros(width), torch.ones(width))

    def __call__(self, values: Tensor) -> Tensor:
        """``values`` ``(N, d)`` on the training rows' scale."""
        return (values - self.mean.to(values)) / self.scale.to(values)


@dataclass(frozen=True)
class FittedConditional:
    """A fitted classifier for I(X; Y | Z) and all that is needed to read it on other rows.

    Attributes:
        model: the classifier, in evaluation mode.
        scaling: of x, y and z.
        slopes: regression of x on z over the fitting rows, if product samples are adjusted.
        settings: how it was fitted.
        discrete: whether z holds classes.
        step: the step whose weights validation chose.
    """

    model: ConditionalMI
    scaling: tuple[Scaling, Scaling, Scaling]
    slopes: Tensor | None
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
        sampler = ProductSampler(joint, self.settings, self.discrete, self.slopes)
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
        slopes: regression of x on z, or None.
    """

    def __init__(
        self, bank: Triples, settings: FitSettings, discrete: bool, slopes: Tensor | None
    ) -> None:
        self.bank, self.settings, self.discrete, self.slopes = bank, settings, discrete, slopes
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
            slopes=self.slopes,
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
    fit_rows, valid_rows = (
        rows.select(part) for part in _split(len(train), settings, generator, train.x.device)
    )
    slopes = regression_slopes(fit_rows.x, fit_rows.z) if settings.adjust else None
    sampler = ProductSampler(fit_rows, settings, discrete, slopes)
    valid_sampler = ProductSampler(valid_rows, settings, discrete, slopes)
    valid_product = _joined([valid_sampler.draw(len(valid_rows), generator) for _ in range(4)])

    def step_loss(model: ConditionalMI) -> Tensor:
        batch = fit_rows.select(_batch(len(fit_rows), settings, generator, rows.x.device))
        return model.loss(batch, sampler.draw(len(batch), generator))

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _conditional_model(train, settings)
        step = _fit(model, step_loss, lambda m: m.loss(valid_rows, valid_product), settings)
    return FittedConditional(model.eval(), scaling, slopes, settings, discrete, step)


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
    fit_rows, valid_rows = _split(len(x), settings, generator, x.device)

    def step_loss(model: VariationalMI) -> Tensor:
        rows = fit_rows[_batch(len(fit_rows), settings, generator, x.device)]
        return model.loss(x[rows], y[rows])

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        critic = SeparableCritic(
            x.shape[1],
            y.shape[1],
            hidden=settings.hidden,
            layers=settings.layers,
            embedding=settings.hidden,
            activation=settings.activation,
        )
        model = VariationalMI(critic, bound or InfoNce()).to(x)
        step = _fit(model, step_loss, lambda m: m.loss(x[valid_rows], y[valid_rows]), settings)
    return FittedMutual(model.eval(), scaling, step)


def scaled(rows: Triples, scaling: tuple[Scaling, Scaling, Scaling]) -> Triples:
    """``rows`` on the training rows' scale."""
    return Triples(scaling[0](rows.x), scaling[1](rows.y), scaling[2](rows.z))


def _fit(
    model: Model,
    step_loss: Callable[[Model], Tensor],
    valid_loss: Callable[[Model], Tensor],
    settings: FitSettings,
) -> int:
    """Leaves in ``model`` the averaged weights with the lowest validation loss; their step."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.rate, weight_decay=settings.weight_decay
    )
    average = copy.deepcopy(model).eval()
    lowest, chosen, looks = math.inf, 0, 0
    best = copy.deepcopy(average.state_dict())
    for step in range(1, settings.steps + 1):
        loss = step_loss(model.train())
        if not bool(loss.isfinite()):
            raise NonFiniteError(f"the loss of a {type(model).__name__} fit is {float(loss)}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        _average(average, model, min(settings.averaging, step / (step + 10)))
        if step % settings.check_every == 0 or step == settings.steps:
            with torch.no_grad():
                found = float(valid_loss(average))
            looks += 1
            if found < lowest:
                lowest, chosen, looks = found, step, 0
                best = copy.deepcopy(average.state_dict())
            if looks >= settings.patience:
                break
    model.load_state_dict(best)
    return chosen


@torch.no_grad()
def _average(average: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for kept, new in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(new)


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


def _split(
    size: int, settings: FitSettings, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    if size < SMALLEST_TRAINING:
        raise EstimationError(
            f"a fit needs {SMALLEST_TRAINING} or more rows, a part of them for validation, "
            f"got {size}"
        )
    order = torch.randperm(size, generator=generator).to(device)
    held_back = max(2, round(size * settings.validation))
    return order[held_back:], order[:held_back]


def _batch(
    size: int, settings: FitSettings, generator: torch.Generator, device: torch.device
) -> Tensor:
    order = torch.randperm(size, generator=generator)
    return order[: settings.batch_size].to(device)


def _joined(parts: list[Triples]) -> Triples:
    columns = {f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Triples)}
    return Triples(**columns)


def _standard_error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values))) if len(values) > 1 else 0.0
