"""Training of the grid network on synthetic pairs, resumable at any step.

Each step draws new distributions and, of each, samples to read and fresh samples to judge by. The
table is judged by the log likelihood ratio of the fresh samples, so that it learns to smooth the
samples that it reads rather than to repeat them; the estimate by its distance from the truth.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mimrl.errors import NonFiniteError
from mimrl.mi.infonet.drawing import Source
from mimrl.mi.infonet.grid import cells
from mimrl.mi.infonet.network import GridNetwork, NetworkConfig
from mimrl.mi.infonet.pairs import Pairs, draw_pairs, draw_size
from mimrl.mi.infonet.ranks import ordinal

SMALL_ERROR = 0.02
"""Errors of the estimate below this count by their square, larger ones by their size, nats."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes:
        steps: in all; the last ``decay`` share of them lowers the learning rate to 0.
        batch: distributions a step, a multiple of 4.
        fresh: samples of each distribution to judge by.
        least: samples to read, at least; their number is drawn uniformly in its logarithm.
        most: samples to read, at most.
        learning_rate: of Adam after ``warm_up`` steps.
        warm_up: steps.
        decay: share of the steps.
        clip: largest norm of the gradient.
        averaging: of the weights that are kept: each step keeps this share of the average.
        estimate_weight: of the estimate's error beside the table's.
        low_precision: convolutions in bfloat16: half the time where the processor knows it.
        seed: of the first weights and of all pairs.
    """

    steps: int = 20_000
    batch: int = 32
    fresh: int = 2000
    least: int = 150
    most: int = 6000
    learning_rate: float = 2e-3
    warm_up: int = 200
    decay: float = 0.3
    clip: float = 1.0
    averaging: float = 0.998
    estimate_weight: float = 2.0
    low_precision: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Losses:
    """Of one batch.

    Attributes:
        total: what is minimised.
        gap: mean information that the table misses on fresh samples, nats.
        error: mean absolute error of the estimate, nats.
    """

    total: Tensor
    gap: Tensor
    error: Tensor


class Trainer:
    """A network in training: weights, their average, the optimiser and the pairs' generator.

    Args:
        config: sizes of the network.
        settings: how to train.
        device: where.
    """

    def __init__(
        self, config: NetworkConfig, settings: TrainingSettings, device: torch.device | str = "cpu"
    ) -> None:
        self.settings = settings
        self.device = torch.device(device)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            network = GridNetwork(config)
        self.network = network.to(self.device)
        self.network.low_precision = settings.low_precision
        self.average = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.average.low_precision = False
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98)
        )
        self.source = Source(settings.seed, self.device)
        self.step = 0

    def begin_from(self, network: GridNetwork) -> None:
        """Takes the weights of a network of the same sizes for the first ones."""
        self.network.load_state_dict(network.state_dict())
        self.average.load_state_dict(network.state_dict())

    def advance(self) -> Losses:
        """One step: new pairs, one update.

        Returns:
            The losses before the update.

        Raises:
            NonFiniteError: the loss became NaN or infinite.
        """
        settings = self.settings
        count = draw_size(settings.least, settings.most, self.source)
        pairs = draw_pairs(settings.batch, count + settings.fresh, self.source)
        losses = judge(self.network, pairs, count, settings.estimate_weight)
        if not bool(losses.total.isfinite()):
            raise NonFiniteError(f"the loss is {losses.total.item()} at step {self.step}")
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(settings, self.step)
        self.optimiser.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self.optimiser.step()
        self.step += 1
        self._average()
        return losses

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.settings.averaging, self.step / (self.step + 10))
        for kept, now in zip(self.average.parameters(), self.network.parameters(), strict=True):
            kept.lerp_(now, 1 - keep)


def judge(network: GridNetwork, pairs: Pairs, count: int, estimate_weight: float) -> Losses:
    """Losses of a network on pairs.

    Args:
        network: reads the first ``count`` samples of each pair.
        pairs: the rest of their samples judges; it has the truth as well.
        count: samples to read.
        estimate_weight: of the estimate's error.

    Returns:
        The losses. Pairs of much information weigh less: their errors are larger for all.
    """
    u, v = ordinal(pairs.x[:, :count]), ordinal(pairs.y[:, :count])
    fresh_u, fresh_v = ordinal(pairs.x[:, count:]), ordinal(pairs.y[:, count:])
    truth = pairs.log_ratio[:, count:].mean(dim=1)
    reading = network(u, v)
    fresh = cells(fresh_u, fresh_v, network.config.grid)
    gap = truth - fresh.look_up(reading.table).log().mean(dim=1)
    error = reading.information - truth
    smooth = functional.huber_loss(
        error, torch.zeros_like(error), reduction="none", delta=SMALL_ERROR
    )
    weight = 1 / (0.3 + truth.clamp_min(0))
    total = (weight * (gap + estimate_weight * smooth / SMALL_ERROR)).mean()
    return Losses(total, gap.detach().mean(), error.detach().abs().mean())


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Of a step: rises, stays, and falls to 0 along half a cosine."""
    rise = min(1.0, (step + 1) / settings.warm_up)
    start = settings.steps * (1 - settings.decay)
    part = max(0.0, (step - start) / max(1.0, settings.steps - start))
    return settings.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))
