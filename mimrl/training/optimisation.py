"""Optimisers with one group a part of the model, schedules of their rates, gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from mimrl.model.layers import from_the_top
from mimrl.model.model import MIMRL
from mimrl.settings.training import (
    AdamSettings,
    AdamWSettings,
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    MultiStepSchedule,
    OptimizerSettings,
    PlateauSchedule,
    ScheduleSettings,
    StepSchedule,
    TrainingSettings,
)
from mimrl.training.team import ALONE, Team

Groups = Mapping[str, tuple[Sequence[nn.Parameter], float]]
"""Name -> (parameters, rate as a multiple of the optimiser's rate)."""


def build_optimizer(
    settings: OptimizerSettings, groups: Mapping[str, tuple[Iterable[nn.Parameter], float]]
) -> torch.optim.Optimizer:
    """An optimiser over named groups of parameters.

    Args:
        settings: which optimiser, its rate and its other settings.
        groups: name -> (parameters, rate as a multiple of ``settings.rate``). Parameters without
            gradient and empty groups are left out; a multiple of 0 freezes the group: its
            parameters ask for no gradient any more.

    Note:
        AdamW decays matrices only: decaying biases and LayerNorm gains shrinks what they are there
        to set. All three run fused: one pass over the memory of each parameter (on two cores an
        eighth of the time, for a text encoder of 22 million parameters).
    """
    rows = []
    for name, (parameters, multiple) in groups.items():
        learning = [p for p in parameters if p.requires_grad]
        if multiple == 0:
            for parameter in learning:
                parameter.requires_grad_(False)
            learning = []
        matrices = [p for p in learning if p.ndim > 1]
        vectors = [p for p in learning if p.ndim <= 1]
        rate = settings.rate * multiple
        decay = settings.weight_decay
        kept = 0.0 if isinstance(settings, AdamWSettings) else decay
        rows.append({"name": name, "params": matrices, "lr": rate, "weight_decay": decay})
        rows.append(
            {"name": f"{name}_vectors", "params": vectors, "lr": rate, "weight_decay": kept}
        )
    rows = [row for row in rows if row["params"]]
    if isinstance(settings, AdamSettings):
        return torch.optim.Adam(rows, lr=settings.rate, fused=True)
    if isinstance(settings, AdamWSettings):
        return torch.optim.AdamW(rows, lr=settings.rate, fused=True)
    return torch.optim.SGD(rows, lr=settings.rate, momentum=settings.momentum, fused=True)


def model_groups(model: MIMRL, settings: TrainingSettings) -> Groups:
    """The model's parameters with their rates: the text transformer's, and all others.

    With ``text_layer_decay`` the transformer has a group a layer, each at that multiple of the rate
    of the one above it (Howard and Ruder, ACL 2018, section 3.2: lower layers know what is general
    and want to move less).

    Args:
        model: what learns.
        settings: the rates.

    Raises:
        ConfigError: a decay, but the transformer's layers were not found.
    """
    rate, decay, encoder = settings.text_rate, settings.text_layer_decay, model.text_encoder
    main = {"main": (model.other_parameters(), 1.0)}
    if decay == 1 or encoder is None:
        return {"text": (model.text_parameters(), rate), **main}
    layers = from_the_top(encoder.transformer)
    found = {
        f"text_{name}": (parameters, rate * decay**above)
        for above, (name, parameters) in enumerate(layers)
    }
    return {**found, **main}


class Schedule:
    """Multiplies the rates an optimiser started with; its whole state is a handful of numbers.

    Args:
        settings: which schedule.
        optimizer: the optimiser whose groups' rates are set.
        total_steps: optimiser steps of the whole training, for the cosine.
    """

    def __init__(
        self, settings: ScheduleSettings, optimizer: torch.optim.Optimizer, total_steps: int
    ) -> None:
        self._settings = settings
        self._optimizer = optimizer
        self._total = max(total_steps, 1)
        self._start = [float(group["lr"]) for group in optimizer.param_groups]
        self._drops = 0
        self._waited = 0
        self._step = 0
        self._epoch = 0
        self._set()

    def step(self) -> None:
        """One optimiser step has been made."""
        self._step += 1
        if isinstance(self._settings, CosineSchedule):
            self._set()

    def end_epoch(self, improved: bool) -> None:
        """One epoch has ended; ``improved``: its validation score is the best so far."""
        self._epoch += 1
        if isinstance(self._settings, PlateauSchedule):
            self._waited = 0 if improved else self._waited + 1
            if self._waited > self._settings.patience:
                self._drops, self._waited = self._drops + 1, 0
        self._set()

    def factor(self) -> float:
        """The present multiple of the starting rates."""
        s = self._settings
        if isinstance(s, ConstantSchedule):
            return 1.0
        if isinstance(s, StepSchedule):
            return s.factor ** (self._epoch // s.every)
        if isinstance(s, MultiStepSchedule):
            return s.factor ** sum(self._epoch >= epoch for epoch in s.epochs)
        if isinstance(s, ExponentialSchedule):
            return s.factor**self._epoch
        if isinstance(s, PlateauSchedule):
            return s.factor**self._drops
        return self._cosine(s)

    def _cosine(self, settings: CosineSchedule) -> float:
        warm = settings.warmup * self._total
        if self._step < warm:
            return (self._step + 1) / (warm + 1)
        done = min((self._step - warm) / max(self._total - warm, 1), 1.0)
        return settings.floor + (1 - settings.floor) * 0.5 * (1 + math.cos(math.pi * done))

    def _set(self) -> None:
        factor = self.factor()
        for group, start in zip(self._optimizer.param_groups, self._start, strict=True):
            group["lr"] = start * factor

    def state(self) -> dict[str, int]:
        """What :meth:`load_state` needs to go on."""
        return {
            "drops": self._drops,
            "waited": self._waited,
            "step": self._step,
            "epoch": self._epoch,
        }

    def load_state(self, state: Mapping[str, int]) -> None:
        """Goes on from a state that :meth:`state` gave."""
        self._drops, self._waited = int(state["drops"]), int(state["waited"])
        self._step, self._epoch = int(state["step"]), int(state["epoch"])
        self._set()


def clipper(settings: TrainingSettings) -> Callable[[Iterable[nn.Parameter]], None]:
    """The gradient clipping that ``training.clip`` names, as a function of parameters."""
    limit = settings.clip_at
    if settings.clip == "value":
        return lambda parameters: _clip_value(parameters, limit)
    if settings.clip == "norm":
        return lambda parameters: _clip_norm(parameters, limit)
    return lambda parameters: None


def _clip_value(parameters: Iterable[nn.Parameter], limit: float) -> None:
    found = [p for p in parameters if p.grad is not None]
    if any(p.is_cuda for p in found):
        nn.utils.clip_grad_value_(found, limit)
        return
    for parameter in found:  # one pass over the memory instead of two
        if parameter.grad is not None:
            parameter.grad.clamp_(-limit, limit)


def _clip_norm(parameters: Iterable[nn.Parameter], limit: float) -> None:
    nn.utils.clip_grad_norm_(parameters, limit)


class Learner:
    """Parameters with their optimiser, schedule and clipping: everything one step needs.

    Args:
        groups: name -> (parameters, rate as a multiple of the optimiser's rate).
        settings: optimiser, schedule and clipping.
        total_steps: optimiser steps of the whole training.
        team: processes that each have found a part of the gradient.
        scaler: of fp16 gradients; None: they are not scaled.
    """

    def __init__(
        self,
        groups: Groups,
        settings: TrainingSettings,
        total_steps: int,
        *,
        team: Team = ALONE,
        scaler: GradScaler | None = None,
    ) -> None:
        self.optimizer = build_optimizer(settings.optimizer, groups)
        self.schedule = Schedule(settings.schedule, self.optimizer, total_steps)
        self._parameters = [p for parameters, _ in groups.values() for p in parameters]
        self._clip = clipper(settings)
        self._team, self._scaler = team, scaler

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of a scalar loss."""
        self.optimizer.zero_grad()
        if self._scaler is None:
            loss.backward()
            self._team.average(self._parameters)
            self._clip(self._parameters)
            self.optimizer.step()
        else:
            self._scaled_step(loss, self._scaler)
        self.schedule.step()

    def scale(self, loss: Tensor) -> Tensor:
        """``loss`` as large as a step makes it before it forms gradients."""
        return loss if self._scaler is None else self._scaler.scale(loss)

    def _scaled_step(self, loss: Tensor, scaler: GradScaler) -> None:
        """The same with a scaled loss; averaged first, so that all see an overflow of one.

        A step whose gradients overflowed is left out, by the optimiser on the device. The schedule
        counts it all the same: whether it was is not known here without waiting.
        """
        scaler.scale(loss).backward()
        self._team.average(self._parameters)
        scaler.unscale_(self.optimizer)
        self._clip(self._parameters)
        scaler.step(self.optimizer)
        scaler.update()

    def scaling(self) -> dict[str, float]:
        """What the scaling of fp16 gradients goes on from; empty without it."""
        return {} if self._scaler is None else dict(self._scaler.state_dict())

    def rates(self) -> dict[str, float]:
        """Group -> its present learning rate."""
        groups = self.optimizer.param_groups
        return {group["name"].removesuffix("_vectors"): float(group["lr"]) for group in groups}

    def tensors(self) -> dict[str, Tensor]:
        """The optimiser's moments by name; the rates belong to the schedule."""
        return {
            f"{index}.{key}": value
            for index, entries in self.optimizer.state_dict()["state"].items()
            for key, value in entries.items()
            if isinstance(value, Tensor)
        }

    def load(
        self,
        tensors: Mapping[str, Tensor],
        schedule: Mapping[str, int],
        scaling: Mapping[str, float],
    ) -> None:
        """Goes on from what :meth:`tensors`, the schedule's ``state``, :meth:`scaling` gave."""
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.schedule.load_state(schedule)
        if self._scaler is not None and scaling:
            self._scaler.load_state_dict(dict(scaling))
