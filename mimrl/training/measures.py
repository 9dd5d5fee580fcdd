"""What is measured while a stage runs, without waiting for the device at any step."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mimrl.errors import EstimationWarning, NonFiniteError

LOOK_EVERY = 50  # steps between two looks for numbers that are not finite
NEVER = 2**62
FAR = 0.3  # nats between what stage 2 believes and what validation reads


class Losses:
    """Means of named losses over a stage, weighted by rows, and where one ceased to be finite.

    All of it is kept on the device. It is fetched at the end, and for the check every
    ``LOOK_EVERY`` steps: fetching it at each step would make the processor wait for the GPU.

    Args:
        where: stage and epoch, for the message.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._names: tuple[str, ...] = ()
        self._sums = self._first_bad = torch.zeros(0)
        self._rows = self._steps = 0

    def add(self, values: Mapping[str, Tensor], rows: int) -> None:
        """One step's losses, 0-d, the same names at each.

        Raises:
            NonFiniteError: one was NaN or infinite at this step or a few before.
        """
        found = torch.stack([value.detach().float() for value in values.values()])
        if not self._steps:
            self._names = tuple(values)
            self._sums = torch.zeros_like(found)
            self._first_bad = torch.full_like(found, NEVER, dtype=torch.int64)
        self._sums += found * rows
        self._rows += rows
        self._steps += 1
        now = torch.where(found.isfinite(), NEVER, self._steps)
        self._first_bad = torch.minimum(self._first_bad, now)
        if self._steps % LOOK_EVERY == 0:
            self._check()

    def means(self) -> dict[str, float]:
        """The means over all rows.

        Raises:
            NonFiniteError: one was NaN or infinite at some step.
        """
        self._check()
        sums = self._sums.tolist()
        return {name: total / self._rows for name, total in zip(self._names, sums, strict=True)}

    def _check(self) -> None:
        steps = dict(zip(self._names, self._first_bad.tolist(), strict=True))
        first = min(steps.values(), default=NEVER)
        if first < NEVER:
            bad = [name for name, step in steps.items() if step == first]
            raise not_finite(self._where, bad, f" at step {first}")


def not_finite(where: str, names: list[str], when: str = "") -> NonFiniteError:
    """The error of losses that ceased to be finite."""
    terms = [name for name in names if name != "total"]
    return NonFiniteError(
        f"{where}: {', '.join(terms) or 'the sum'} became NaN or infinite{when}; lower "
        "training.optimizer.rate or training.clip_at, or check data.scaling"
    )


def compared(record: Mapping[str, Any], *, warn: bool = True) -> dict[str, float]:
    """How far stage 2 and validation differ in each term that steers, in nats.

    Stage 2 gives the mean over an epoch in which the model moves; validation, its end.

    Args:
        record: an epoch's ``epoch``, ``stage2`` and ``valid``.
        warn: whether to warn of large differences.

    Warns:
        EstimationWarning: terms that differ by more than ``FAR``.
    """
    believed, read = record["stage2"]["terms"], record["valid"].get("terms", {})
    found = {name: value - read[name] for name, value in believed.items()}
    far = [name for name, value in found.items() if abs(value) > FAR]
    if far and warn:
        told = ", ".join(f"{n} {believed[n]:.2f} (validation {read[n]:.2f})" for n in far)
        warnings.warn(
            f"epoch {record['epoch']}: estimates that steer differ from validation by more than "
            f"{FAR} nats: {told}; lower their weights or change critics.rate: up where critics lag "
            "behind the model, down where they know the training clips by heart",
            EstimationWarning,
            stacklevel=2,
        )
    return found


class Clock:
    """Seconds of each part of an epoch.

    Args:
        device: waited for at the start and at the end of each part.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._wait()
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """A part has ended."""
        self._wait()
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
