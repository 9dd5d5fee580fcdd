"""LSMI as its published code computes it (Yang et al., ICML 2025), kept for comparison.

Three classifiers and two density models are fitted to train for a fixed number of epochs; train is
read by the models that were fitted to it, every other split by the same models. Nothing is held
out, calibrated or stopped early. Two codes follow this procedure: the authors' own
(:data:`AUTHORS`) and its adaptation to the MINT model (:data:`MINT`).

Note:
    Three faults of these codes are not repeated. They read shuffled batches anew for each of the
    five models, so that the minimum of ``h1`` and ``h2`` on train compares *different samples*;
    here one pass in order reads all five. They take the log of a softmax, which becomes -inf for
    a confident mistake; here log-softmax. The adaptation standardises every split by its own mean
    and deviation; here the features come as they are given.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lsmi.decomposition import (
    PointwiseDecomposition,
    PointwiseInformation,
    decompose_pointwise,
    pointwise_information,
)
from lsmi.density import knife_log_density
from lsmi.samples import NamedFeatures
from mimrl.errors import EstimationError, NonFiniteError, ShapeError

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int], object]
RATE = 1e-3  # of Adam, for classifiers and densities
CLASSIFIER_STEP, DENSITY_STEP = 15, 20  # epochs between two falls of the rate to a tenth
COMPONENTS = 5  # Gaussians of a density model


@dataclass(frozen=True)
class PublishedSettings:
    """Sizes and training of the published procedure.

    Attributes:
        hidden: width of a classifier's two hidden layers.
        discriminator_epochs: passes over train that fit the classifiers.
        entropy_epochs: passes over train that fit the densities.
        batch_size: samples a step of both.
        accumulate: the densities' gradients are never set to zero, so that each step follows the
            sum of all gradients so far. The authors' code forgets it; its adaptation does not.
            The classifiers' gradients are set to zero in both.
        seed: of initial weights and batches.
        device: PyTorch device.
    """

    hidden: int = 64
    discriminator_epochs: int = 30
    entropy_epochs: int = 30
    batch_size: int = 32
    accumulate: bool = True
    seed: int = 0
    device: str = "cpu"


AUTHORS = PublishedSettings()
MINT = PublishedSettings(
    hidden=128, discriminator_epochs=50, entropy_epochs=50, batch_size=64, accumulate=False
)


class Discriminator(nn.Module):
    """p(y|x): two hidden layers with ReLU; parameters are named as in the published code."""

    def __init__(self, width: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D)`` to logits ``(B, C)``."""
        return cast(Tensor, self.fc(x))


class Kernel(nn.Module):
    """p(x): five Gaussians started from noise; parameters are named as in the published code.

    The logs of the inverse scales go through a tanh, so that no scale leaves [1/e, e] and data in
    other units are out of reach.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.randn(COMPONENTS, width))
        self.logvar = nn.Parameter(torch.randn(1, COMPONENTS, width))
        self.tri = nn.Parameter(torch.randn(1, COMPONENTS, width, width))
        self.weigh = nn.Parameter(torch.ones(1, COMPONENTS))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, D)`` to ``-log p(x)``, ``(B,)`` in nats."""
        scales, lower, weights = torch.tanh(self.logvar[0]), self.tri[0], self.weigh[0]
        return -knife_log_density(x, self.means, scales, lower, weights)


@dataclass(frozen=True)
class PublishedModels:
    """The five models.

    Attributes:
        discriminators: of ``x1``, ``x2`` and the two side by side.
        kernels: of ``x1`` and ``x2``.
    """

    discriminators: Sequence[Discriminator]
    kernels: Sequence[Kernel]

    @torch.no_grad()
    def read(self, x1: Tensor, x2: Tensor, labels: Tensor, log_prior: FloatArray) -> (
        PointwiseInformation
    ):  # fmt: skip
        """Pointwise information and entropies of samples, all in the order given.

        Args:
            x1: ``(N, D1)`` float32.
            x2: ``(N, D2)`` float32.
            labels: ``(N,)`` class numbers.
            log_prior: ``(C,)``.

        Returns:
            ``N`` values of each, in nats.
        """
        classes = labels.cpu().numpy()
        inputs = (x1, x2, torch.cat([x1, x2], dim=1))
        i1, i2, i12 = (
            pointwise_information(_array(torch.log_softmax(model(x), -1)), classes, log_prior)
            for model, x in zip(self.discriminators, inputs, strict=True)
        )
        h1, h2 = (_array(model(x)) for model, x in zip(self.kernels, inputs, strict=False))
        return PointwiseInformation(i1, i2, i12, h1, h2)


def published_reading(
    splits: Mapping[str, NamedFeatures],
    pair: tuple[str, str] = ("x1", "x2"),
    settings: PublishedSettings = AUTHORS,
    *,
    log_prior: FloatArray | None = None,
    progress: Progress = lambda epochs: None,
) -> dict[str, PointwiseDecomposition]:
    """Every split read by the models fitted to train, train among them.

    Args:
        splits: ``train`` and any others.
        pair: names of the two features.
        settings: sizes and training.
        log_prior: ``(C,)`` class prior in logs, in the order of the labels' values; None: equal
            classes, as published.
        progress: called with the number of epochs just done;
            ``discriminator_epochs + entropy_epochs`` in all.

    Returns:
        Split name -> raw and adjusted atoms of its samples, in the order given.

    Raises:
        EstimationError: no train split, one class only, or a class that train lacks.
        ShapeError: a prior of another number of classes.
        NonFiniteError: a loss or a value became NaN or infinite.
    """
    if "train" not in splits:
        raise EstimationError(f"no train split among {list(splits)}; models are fitted to train")
    values = np.unique(splits["train"].labels)
    if len(values) < 2:
        raise EstimationError(f"train has one class only, {values}; expected at least two")
    prior = np.full(len(values), -np.log(len(values))) if log_prior is None else log_prior
    if len(prior) != len(values):
        raise ShapeError(f"prior of {len(prior)} classes; expected {len(values)}, those of train")
    tensors = {
        name: _tensors(split, pair, values, name, settings.device) for name, split in splits.items()
    }
    models = fit_models(*tensors["train"], len(values), settings, progress)
    return {
        name: decompose_pointwise(models.read(*found, prior)) for name, found in tensors.items()
    }


def fit_models(
    x1: Tensor,
    x2: Tensor,
    labels: Tensor,
    classes: int,
    settings: PublishedSettings,
    progress: Progress = lambda epochs: None,
) -> PublishedModels:
    """The five models, fitted to all samples given.

    Args:
        x1: ``(N, D1)`` float32 on the settings' device.
        x2: ``(N, D2)`` likewise.
        labels: ``(N,)`` class numbers below ``classes``.
        classes: ``C``.
        settings: sizes and training.
        progress: called with the number of epochs just done.

    Raises:
        NonFiniteError: a loss became NaN or infinite.
    """
    joint = torch.cat([x1, x2], dim=1)
    with torch.random.fork_rng(devices=[]):  # layers draw their start from the global generator
        torch.default_generator.manual_seed(settings.seed)
        judges = [Discriminator(x.shape[1], settings.hidden, classes) for x in (x1, x2, joint)]
        kernels = [Kernel(x.shape[1]) for x in (x1, x2)]
    models = PublishedModels(
        [judge.to(x1.device) for judge in judges], [kernel.to(x1.device) for kernel in kernels]
    )
    generator = torch.Generator().manual_seed(settings.seed)

    def cross_entropy(rows: Tensor) -> Tensor:
        logits = (
            judge(x[rows]) for judge, x in zip(models.discriminators, (x1, x2, joint), strict=True)
        )
        return _sum(nn.functional.cross_entropy(each, labels[rows]) for each in logits)

    def likelihood(rows: Tensor) -> Tensor:
        return _sum(
            kernel(x[rows]).mean() for kernel, x in zip(models.kernels, (x1, x2), strict=True)
        )

    def batches() -> Iterator[Tensor]:
        order = torch.randperm(len(labels), generator=generator).to(x1.device)
        yield from order.split(settings.batch_size)

    schedule = (settings.discriminator_epochs, CLASSIFIER_STEP)
    _descend(models.discriminators, cross_entropy, batches, schedule, progress)
    schedule = (settings.entropy_epochs, DENSITY_STEP)
    _descend(models.kernels, likelihood, batches, schedule, progress, settings.accumulate)
    return models


def _sum(losses: Iterator[Tensor]) -> Tensor:
    """Their sum as a tensor: models that share no weights are trained by one optimiser."""
    return torch.stack(list(losses)).sum()


def _descend(
    models: Sequence[nn.Module],
    loss_of: Callable[[Tensor], Tensor],
    batches: Callable[[], Iterator[Tensor]],
    schedule: tuple[int, int],
    progress: Progress,
    accumulate: bool = False,
) -> None:
    """One Adam over all models; the rate falls to a tenth after each step of the schedule."""
    epochs, step = schedule
    parameters = itertools.chain.from_iterable(model.parameters() for model in models)
    optimiser = torch.optim.Adam(parameters, lr=RATE)
    falling = torch.optim.lr_scheduler.StepLR(optimiser, step, gamma=0.1)
    for epoch in range(1, epochs + 1):
        for rows in batches():
            loss = loss_of(rows)
            if not torch.isfinite(loss):
                raise NonFiniteError(f"loss of {models[0]} is {loss.item()} in epoch {epoch}")
            if not accumulate:
                optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        falling.step()
        progress(1)


def _tensors(
    split: NamedFeatures, pair: tuple[str, str], values: npt.NDArray[np.int64], name: str, to: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Both features as float32 and labels as class numbers."""
    unknown = np.setdiff1d(split.labels, values)
    if len(unknown):
        raise EstimationError(f"{name} has classes {unknown.tolist()} that train lacks")
    x1, x2 = (torch.as_tensor(np.asarray(split.features[x], np.float32), device=to) for x in pair)
    return x1, x2, torch.as_tensor(np.searchsorted(values, split.labels), device=to)


def _array(values: Tensor) -> FloatArray:
    return values.cpu().numpy().astype(np.float64)
