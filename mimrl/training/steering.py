"""What the critics add to the loss of stage 2, and how far they are believed.

``loss = task - factor * sum_t weight_t term_t``, where ``weight_t`` is a term's weight in all
quantities together (:func:`mimrl.training.objectives.term_weights`).

* ``critics.update: follow``. Before each step of the model the critics take a step on the present
  features. Joint and product samples are of the same moment, and both carry gradients. The rows
  are a *window*: the present batch and, where it is smaller than a batch of stage 1, the rows of
  the steps before it as they were when last computed (as He et al., CVPR 2020, keep negatives).
  A term that is pushed down gets no gradient while its estimate is below 0, one that is pushed up
  gets none above the largest value it can have.
* ``critics.update: epoch``, as published: the critics rest during stage 2, and product samples come
  from features of the start of the epoch.

* ``steering.scale: task``. The factor makes the norm of the steering gradient at the modalities'
  features ``sum_q |weight_q|`` times the norm of the task's gradient there. Both are gradients
  with respect to a shift of all valid steps of a sequence: steering sees but a sequence's mean.
* ``steering.scale: published``: the factor is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimrl.mi.bank import Bank
from mimrl.mi.ranks import order
from mimrl.model.masks import masked_mean
from mimrl.model.output import Encoded, Output
from mimrl.settings import Settings
from mimrl.terms import FUSED, LABEL, quantities
from mimrl.training.critics import Critics, Variables, label_variable
from mimrl.training.objectives import quantity_values, steered_loss, term_weights
from mimrl.training.optimisation import Learner
from mimrl.training.precision import Precision
from mimrl.training.team import Team

TINIEST = 1e-30  # a gradient norm; below it nothing is scaled up


def label_entropy(labels: npt.NDArray[np.generic], num_classes: int) -> float:
    """H(label) of ``(N,)`` classes in nats, which no I(x; label | z) exceeds; infinite for ratings.

    >>> round(label_entropy(np.array([0, 1, 1, 0]), 2), 4)
    0.6931
    """
    if num_classes == 1:
        return math.inf
    counts = np.unique(labels, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


class LatestFeatures:
    """The features of all training samples, each as it was when its batch was last computed.

    Args:
        variables: name -> ``(N, d)`` features and labels at the start of stage 2, on their own
            scale, without gradients.
        window: rows that critics see at a time.
        generator: chooses the rows that stand in for earlier steps at the start.
    """

    def __init__(self, variables: Variables, window: int, generator: torch.Generator) -> None:
        self.variables = {name: value.clone() for name, value in variables.items()}
        labels = self.variables[LABEL]
        self._size = min(window, len(labels))
        self._recent = order(len(labels), generator, labels.device)[: self._size]

    def window(self, rows: Tensor, variables: Variables) -> dict[str, Tensor]:
        """The rows of a batch first, with gradients, then those of the steps before it, without.

        Args:
            rows: ``(B,)`` which samples the batch holds, all different.
            variables: name -> ``(B, d)`` their present features and labels.

        Returns:
            name -> ``(max(B, window), d)``.
        """
        for name, value in variables.items():
            self.variables[name][rows] = value.detach()
        again = torch.isin(self._recent, rows).to(torch.uint8)
        others = self._recent[again.argsort(stable=True)]  # those of this batch come last
        self._recent = torch.cat([rows, others])[: self._size]
        beside = self._recent[len(rows) :]
        if not len(beside):
            return dict(variables)
        return {n: torch.cat([v, self.variables[n][beside]]) for n, v in variables.items()}


@dataclass(frozen=True)
class Steered:
    """One step's losses, 0-d each.

    Attributes:
        total: what is minimised.
        terms: term -> its estimate in nats, whether or not its gradient was stopped.
        stopped: term -> 1 where its gradient was stopped, else 0.
    """

    total: Tensor
    terms: Mapping[str, Tensor]
    stopped: Mapping[str, Tensor]


class Steering:
    """Steers one pass of stage 2.

    Args:
        settings: the whole tree; at least one quantity has a weight.
        critics: on the device; their scale is that of ``bank``.
        learner: of the critics, for those that follow.
        bank: all training features at the start of the pass, on the critics' scale.
        labels: ``(N,)`` of the training samples.
        num_classes: 1 for a rating.
        label_entropy: H(label) in nats; infinite for a rating.
        window: rows that critics see at a time.
        generator: source of the product samples.
        precision: gives the context in which the critics run.
        team: the processes; all see all rows.
    """

    def __init__(
        self,
        settings: Settings,
        critics: Critics,
        learner: Learner,
        bank: Bank,
        *,
        labels: Tensor,
        num_classes: int,
        label_entropy: float,
        window: int,
        generator: torch.Generator,
        precision: Precision,
        team: Team,
    ) -> None:
        self.critics, self.learner, self.bank = critics, learner, bank
        self.labels, self.num_classes, self.generator = labels, num_classes, generator
        self.precision, self.team = precision, team
        table = quantities(settings.data.modalities)
        self.weights = settings.quantity_weights
        self.table = tuple(q for q in table if self.weights[q.name])
        self.by_term = term_weights(self.table, self.weights)
        self.critic_weights = settings.term_weights
        self.scaled = settings.steering.scale == "task"
        self.share = sum(abs(self.weights[q.name]) for q in self.table)
        self.anchored = settings.critics.conditional.anchors == "batch"
        self.ceilings = {t.name: label_entropy for t in critics.table if t.y == LABEL}
        self.latest: LatestFeatures | None = None
        if critics.follow:
            self.latest = LatestFeatures(critics.unscaled(bank.variables), window, generator)
        critics.eval().requires_grad_(False)

    def __call__(
        self,
        task: Tensor,
        output: Output,
        encoded: Encoded,
        rows: Tensor,
        scale: Callable[[Tensor], Tensor] = lambda loss: loss,
    ) -> Steered:
        """The losses of one step; critics that follow take theirs first.

        Args:
            task: the task loss of the batch.
            output: of the rows of all processes, in float32, with gradients.
            encoded: the sequences of this process's rows that ``task`` and ``output`` come from.
            rows: ``(B,)`` which training samples ``output`` is of.
            scale: enlarges losses before gradients are formed of them, as fp16 needs it.
        """
        label = label_variable(self.labels[rows], self.num_classes)
        variables = {**output.unimodal, FUSED: output.fused, LABEL: label}
        terms = self._estimates(variables, rows)
        if self.latest is None:
            stopped: dict[str, Tensor] = {}
            values = quantity_values(self.table, terms)
            gain = -steered_loss(task.new_zeros(()), values, self.weights)
        else:
            stopped = {name: self._stopped(name, value) for name, value in terms.items()}
            gain = torch.stack(
                [
                    self.by_term[name] * torch.where(stopped[name], 0.0, value)
                    for name, value in terms.items()
                ]
            ).sum()
        if self.scaled:
            gain = gain * self._factor(scale(task), scale(gain), encoded)
        numbers = {name: flag.float() for name, flag in stopped.items()}
        return Steered(task - gain, terms, numbers)

    def _estimates(self, variables: Variables, rows: Tensor) -> dict[str, Tensor]:
        """Every steering term in nats, with gradients into ``variables``."""
        critics = self.critics
        if self.latest is not None:
            variables = self.latest.window(rows, variables)
            critics.set_scale(self.latest.variables)
        scaled = critics.standardise(variables)
        if self.latest is not None:
            self._follow({name: value.detach() for name, value in scaled.items()})
        bank_rows = rows if self.anchored and self.latest is None else None
        with self.precision():
            return critics.values(
                scaled, self.bank, self.generator, self.by_term, bank_rows=bank_rows
            )

    def _follow(self, scaled: Variables) -> None:
        """One step of the critics on the present features."""
        critics = self.critics
        critics.train().requires_grad_(True)
        with self.precision():
            losses = critics.losses(scaled, self.bank, self.generator)
        weights = self.critic_weights
        self.learner.step(torch.stack([weights[n] * loss for n, loss in losses.items()]).sum())
        critics.eval().requires_grad_(False)

    def _stopped(self, name: str, value: Tensor) -> Tensor:
        """Whether pushing a term further would reward an estimate that cannot be true; 0-d bool."""
        if self.by_term[name] < 0:
            return value.detach() < 0
        return value.detach() > self.ceilings.get(name, math.inf)

    def _factor(self, task: Tensor, gain: Tensor, encoded: Encoded) -> Tensor:
        """What brings the steering gradient to its share of the task's; 0-d."""
        moving = {n: s for n, s in encoded.sequences.items() if s.requires_grad}
        norms = [
            self.team.total(_squares(_gradients(loss, moving), encoded.lengths)).sqrt()
            for loss in (task, gain)
        ]
        return self.share * norms[0] / norms[1].clamp_min(TINIEST)


def _gradients(loss: Tensor, sequences: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Modality -> the gradient of ``loss`` with respect to its sequence; the graph stays."""
    found: Sequence[Tensor | None] = torch.autograd.grad(
        loss, list(sequences.values()), retain_graph=True, allow_unused=True
    )
    return {n: g.float() for n, g in zip(sequences, found, strict=True) if g is not None}


def _squares(gradients: Mapping[str, Tensor], lengths: Mapping[str, Tensor]) -> Tensor:
    """The squared norm of gradients with respect to a shift of all valid steps, 0-d."""
    parts = []
    for name, gradient in gradients.items():
        steps = lengths[name].to(gradient.device, gradient.dtype, non_blocking=True)
        parts.append((masked_mean(gradient, lengths[name]) * steps[:, None]).square().sum())
    return torch.stack(parts).sum()
