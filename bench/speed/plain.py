"""The published order of work on the same network and the same mathematics, without any haste.

What the code published with MIMRL does in an epoch, in our words and on our network:

* every batch is padded to the maximum: text to the longest that is allowed, audio and video to the
  longest of the split;
* a step of stage 1 is a full forward and backward pass through the whole model, in training mode;
  only the critics' optimiser then steps, and the model's gradients pile up unused;
* recurrences run over packed sequences, the transformer over all padded tokens;
* the critics are computed one after the other, with product samples drawn before each: for each
  anchor, in a Python loop, the distances to all rows of the bank that are no anchors;
* gradients of all parameters, the model's and the critics', are clipped in both stages;
* the bank of an epoch is what the batches of the previous epoch's stage 2 have left behind;
* Adam steps parameter by parameter.

Where the settings have critics that follow, stage 2 lets them: a step of theirs before each of the
model's, on one batch; the share of the task's gradient is taken from a vector that is added to all
valid steps of each sequence.

What it leaves out of the published code because it would only cost memory: the graphs that the
rows of the bank keep alive. For comparisons number by number (``bank="snapshot"``) the bank is one
state of the model, as in :mod:`mimrl.training.trainer`, and the anchors are those that the trainer
draws from the same generator; their neighbours are sought in the loop still. Dropout must be 0.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from bench.speed.slow_parts import (
    Means,
    anchor_rows,
    gradient_norm,
    longest,
    loop_product,
    one_by_one,
    pad,
    slow,
)
from mimrl import mi
from mimrl.datasets.batches import Batch, collate
from mimrl.datasets.loading import batch_rows, iterate
from mimrl.datasets.prepare import Prepared
from mimrl.errors import ConfigError
from mimrl.mi.bank import Bank
from mimrl.mi.search import shuffled
from mimrl.model.masks import step_mask
from mimrl.model.model import MIMRL
from mimrl.model.output import Output
from mimrl.settings import Settings
from mimrl.settings.training import AdamSettings, ConstantSchedule
from mimrl.terms import FUSED, LABEL, Term, quantities
from mimrl.training import checkpoint
from mimrl.training.critics import Variables, even_chunks, label_variable
from mimrl.training.inference import encode
from mimrl.training.metrics import better
from mimrl.training.objectives import quantity_values, steered_loss, task_loss, term_weights
from mimrl.training.optimisation import Schedule
from mimrl.training.randomness import Place, seeded
from mimrl.training.scoring import score, selection_metric
from mimrl.training.steering import TINIEST, label_entropy

Drawn = Mapping[str, mi.Triples]
Losses = dict[str, Tensor]
Loaded = Generator[tuple[Batch, torch.Generator], None, None]


@dataclass
class Chosen:
    """The best epoch so far by the validation split."""

    epoch: int
    value: float
    weights: dict[str, Tensor]


class Plain:
    """Trains in the published order of work.

    Args:
        settings: the whole tree; Adam, conditional terms with their defaults.
        data: as for :class:`mimrl.training.trainer.Trainer`.
        model: on the CPU.
        bank: ``collected`` by stage 2 as published, or a ``snapshot`` before stage 1.

    Raises:
        ConfigError: settings that the published code has no counterpart of.
    """

    def __init__(
        self,
        settings: Settings,
        data: Prepared,
        model: MIMRL,
        *,
        bank: Literal["collected", "snapshot"] = "collected",
    ) -> None:
        self.optimizer_settings = _supported(settings)
        self.settings, self.data, self.model, self.bank_from = settings, data, model, bank
        self.loss = task_loss(settings.training.loss)
        self.table = quantities(settings.data.modalities)
        self.steps = longest(settings, data)
        groups = [
            (model.text_parameters(), settings.training.text_rate),
            (model.other_parameters(), 1.0),
        ]
        self.follow = settings.critics.update == "follow"
        with seeded(settings.seed, Place.INITIALISATION, 1):
            self.critics = checkpoint.build_critics(settings, model, data.num_classes)
        self.estimators = one_by_one(self.critics)
        slow(model)
        self.optimizer = self._adam(groups)
        self.critic_optimizer = self._adam(
            [(list(self.estimators.parameters()), settings.critics.rate)]
        )
        of_critics, total = self._totals()
        constant = ConstantSchedule() if self.follow else settings.training.schedule
        self.critic_schedule = Schedule(constant, self.critic_optimizer, of_critics)
        self.schedule = Schedule(settings.training.schedule, self.optimizer, total)
        self.everything = [
            p for g in (*self.optimizer.param_groups, *self.critic_optimizer.param_groups)
            for p in g["params"]
        ]  # fmt: skip
        self.collected: list[dict[str, Tensor]] = []
        self.shared: Bank | None = None
        self.latest: dict[str, Tensor] = {}
        self.entropy = label_entropy(data.splits["train"].labels, data.num_classes)

    def _adam(self, groups: list[tuple[list[nn.Parameter], float]]) -> torch.optim.Adam:
        rate = self.optimizer_settings.rate
        rows = [
            {"params": parameters, "lr": rate * multiple}
            for parameters, multiple in groups
            if parameters
        ]
        return torch.optim.Adam(rows, lr=rate, weight_decay=self.optimizer_settings.weight_decay)

    def _totals(self) -> tuple[int, int]:
        """Steps of stage 1 and of stage 2 in the whole training."""
        training, train = self.settings.training, self.data.splits["train"]
        size = training.stage1_batch_size or training.batch_size
        passes = (training.epochs - training.warmup_epochs) * training.stage1_passes
        batches = batch_rows(train.lengths, training.batch_size, generator=None, bucketing=True)
        return max(passes, 0) * max(1, round(len(train) / size)), training.epochs * len(batches)

    def variables(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Predictions and all variables of a padded batch, not on the critics' scale."""
        return self._named(self.model(pad(batch, self.steps)), batch)

    def shifted(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        """The same, and a vector of zeros that is added to all valid steps of each sequence."""
        encoded = self.model.run_encoders(pad(batch, self.steps))
        shifts, moved = [], {}
        for name, sequence in encoded.sequences.items():
            shifts.append(torch.zeros_like(sequence[:, 0], requires_grad=True))
            valid = step_mask(encoded.lengths[name], sequence.shape[1])
            moved[name] = sequence + shifts[-1][:, None] * valid[..., None]
        return *self._named(self.model.fuse(replace(encoded, sequences=moved)), batch), shifts

    def _named(self, output: Output, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        label = label_variable(batch.labels, self.data.num_classes)
        return output.prediction, {**output.unimodal, FUSED: output.fused, LABEL: label}

    def critic_step(self, batch: Batch, bank: Variables, generator: torch.Generator) -> Losses:
        """One step of stage 1."""
        rows = self.critics.standardise(self.variables(batch)[1])
        return self.fit_critics(rows, bank, generator)

    def fit_critics(self, rows: Variables, bank: Variables, generator: torch.Generator) -> Losses:
        """One step of the critics on standardised rows."""
        losses, drawn = {}, self.drawn(rows, generator)
        for term in self.critics.table:
            estimator = self.estimators[term.name]
            if isinstance(estimator, mi.VariationalMI):
                losses[term.name] = estimator.loss(rows[term.x], rows[term.y])
            else:
                product = self.product(term, len(rows[LABEL]), bank, generator, drawn)
                conditional = cast("mi.ConditionalMI", estimator)
                losses[term.name] = conditional.loss(_triples(term, rows), product)
        weights = self.settings.term_weights
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self.critic_optimizer.zero_grad()
        total.backward()
        self.clip()
        self.critic_optimizer.step()
        self.critic_schedule.step()
        return losses

    def model_step(
        self, batch: Batch, bank: Variables | None, generator: torch.Generator
    ) -> Losses:
        """One step of stage 2; leaves its rows for the next bank."""
        if bank is not None and self.follow:
            return self.following_step(batch, bank, generator)
        prediction, variables = self.variables(batch)
        self.collected.append({name: value.detach() for name, value in variables.items()})
        task = self.loss(prediction, batch.labels)
        terms: Losses = {}
        total = task
        if bank is not None:
            rows = self.critics.standardise(variables)
            drawn = self.drawn(rows, generator)
            for term in self.critics.table:
                terms[term.name] = self.value(term, rows, bank, generator, drawn)
            values = quantity_values(self.table, terms)
            total = steered_loss(task, values, self.settings.quantity_weights)
        self.descend(total)
        return {"task": task, "total": total, **terms}

    def descend(self, total: Tensor) -> None:
        """One step of the model."""
        self.optimizer.zero_grad()
        total.backward()
        self.clip()
        self.optimizer.step()
        self.schedule.step()

    def following_step(self, batch: Batch, bank: Variables, generator: torch.Generator) -> Losses:
        """One step of the critics on the present features, then one of the model."""
        prediction, variables, shifts = self.shifted(batch)
        task = self.loss(prediction, batch.labels)
        for name, value in variables.items():
            self.latest[name][batch.rows] = value.detach()
        self.critics.set_scale(self.latest)
        rows = self.critics.standardise(variables)
        self.fit_critics({n: v.detach() for n, v in rows.items()}, bank, generator)
        weights = self.settings.quantity_weights
        by_term = term_weights(self.table, weights)
        drawn = self.drawn(rows, generator, by_term)
        wanted = [term for term in self.critics.table if term.name in by_term]
        terms = {t.name: self.value(t, rows, bank, generator, drawn) for t in wanted}
        gain = task.new_zeros(())
        for name, weight in by_term.items():
            estimate = float(terms[name])
            of_label = "_label" in name.partition("_given_")[0]
            too_much = of_label and weight > 0 and estimate > self.entropy
            if not (weight < 0 and estimate < 0) and not too_much:
                gain = gain + weight * terms[name]
        if self.settings.steering.scale == "task":
            share = float(sum(map(abs, weights.values())))
            norms = gradient_norm(task, shifts), gradient_norm(gain, shifts)
            gain = gain * (share * norms[0] / max(norms[1], TINIEST))
        self.descend(task - gain)
        return {"task": task, "total": task - gain, **terms}

    def value(
        self,
        term: Term,
        rows: Variables,
        bank: Variables,
        generator: torch.Generator,
        drawn: Drawn,
    ) -> Tensor:
        """The estimate of one term, in nats."""
        estimator = self.estimators[term.name]
        if isinstance(estimator, mi.VariationalMI):
            return estimator(rows[term.x], rows[term.y])
        product = self.product(term, len(rows[LABEL]), bank, generator, drawn)
        return estimator(_triples(term, rows), product)

    def product(
        self,
        term: Term,
        rows: int,
        bank: Variables,
        generator: torch.Generator,
        drawn: Drawn,
    ) -> mi.Triples:
        """Product samples of one term, as many as ``rows``.

        Given a class, x is drawn within the class; the published code has no counterpart of that.
        """
        neighbours, triples = self.settings.critics.conditional.neighbours, _triples(term, bank)
        if self.follow or (drawn and self.critics.discrete_label and term.given == LABEL):
            return drawn[term.name]
        if drawn:
            found = cast("mi.ProductSamples", drawn[term.name])
            anchors = anchor_rows(found, triples, neighbours)
            return loop_product(triples, anchors, len(found), neighbours)
        most = len(triples) * neighbours // (neighbours + 1)
        count = min(rows, max(most, 1))
        anchors = shuffled(len(triples), generator, triples.z.device)[: -(-count // neighbours)]
        return loop_product(triples, anchors, count, neighbours)

    def drawn(
        self,
        rows: Variables,
        generator: torch.Generator,
        wanted: Collection[str] | None = None,
    ) -> Drawn:
        """What the trainer would draw for these rows; nothing where banks are collected."""
        if self.shared is None:
            return {}
        contrasts = self.critics.samples(rows, self.shared, generator, wanted).contrasts
        return {n: contrast.product for n, contrast in contrasts.items()}

    def clip(self) -> None:
        """Gradients of all parameters, whoever steps next."""
        nn.utils.clip_grad_value_(self.everything, self.settings.training.clip_at)

    def stage1(self, epoch: int) -> Loaded:
        """Batches of stage 1, as many as the critics' passes have."""
        training, train = self.settings.training, self.data.splits["train"]
        size = training.stage1_batch_size or training.batch_size
        self.model.train()
        with seeded(self.settings.seed, Place.STAGE1, epoch) as generator:
            for _ in range(training.stage1_passes):
                order = torch.randperm(len(train), generator=generator)
                for chunk in even_chunks(order, size):
                    yield collate(train, chunk.numpy()), generator

    def stage2(self, epoch: int) -> Loaded:
        """Batches of stage 2: one pass; what a batch holds is as in the fast path."""
        training = self.settings.training
        self.model.train()
        with seeded(self.settings.seed, Place.STAGE2, epoch) as generator:
            batches = iterate(
                self.data.splits["train"],
                training.batch_size,
                generator=generator,
                bucketing=training.bucketing,
            )
            for batch in batches:
                yield batch, generator

    def bank(self) -> Variables:
        """The bank of the next epoch on the critics' scale, which is set by it."""
        if self.bank_from == "snapshot":
            variables = self.snapshot()
        else:
            names = self.collected[0]
            variables = {n: torch.cat([rows[n] for rows in self.collected]) for n in names}
        self.collected = []
        self.latest = {name: value.clone() for name, value in variables.items()}
        self.critics.set_scale(variables)
        bank = self.critics.standardise(variables)
        self.shared = self.critics.bank(bank) if self.bank_from == "snapshot" else None
        return bank

    @torch.no_grad()
    def snapshot(self) -> dict[str, Tensor]:
        """All training features from one state of the model, in row order."""
        self.model.eval()
        batches = iterate(
            self.data.splits["train"], self.settings.training.batch_size, bucketing=False
        )
        rows = [self.variables(batch)[1] for batch in batches]
        return {name: torch.cat([each[name] for each in rows]) for name in rows[0]}

    def run_epoch(self, epoch: int) -> dict[str, dict[str, float]]:
        """One epoch; mean losses of stage 1 and 2."""
        found, bank = {}, None
        if epoch > self.settings.training.warmup_epochs:
            bank = self.bank()
            sums = Means()
            for batch, generator in self.stage1(epoch):
                sums.add(self.critic_step(batch, bank, generator), len(batch))
            found["stage1"] = sums.means()
        sums = Means()
        for batch, generator in self.stage2(epoch):
            sums.add(self.model_step(batch, bank, generator), len(batch))
        found["stage2"] = sums.means()
        return found

    def run(self) -> dict[str, Any]:
        """All epochs; metrics of both held-out splits at the epoch that validation chooses."""
        metric, chosen = selection_metric(self.settings), None
        log = []
        for epoch in range(1, self.settings.training.epochs + 1):
            log.append(self.run_epoch(epoch))
            value = self.score("valid")[metric]
            improved = chosen is None or better(metric, value, chosen.value)
            if improved:
                chosen = Chosen(epoch, value, copy.deepcopy(self.model.state_dict()))
            for schedule in (self.critic_schedule, self.schedule):
                schedule.end_epoch(improved)
        if chosen is not None:
            self.model.load_state_dict(chosen.weights)
        epoch = 0 if chosen is None else chosen.epoch
        return {"log": log, "epoch": epoch, **{s: self.score(s) for s in ("valid", "test")}}

    def score(self, split: str) -> Mapping[str, float]:
        """Metrics of a split with the present model."""
        size = self.settings.training.batch_size
        return score(self.settings, encode(self.model, self.data.splits[split], batch_size=size))


def _triples(term: Term, variables: Variables) -> mi.Triples:
    return mi.Triples(variables[term.x], variables[term.y], variables[str(term.given)])


def _supported(settings: Settings) -> AdamSettings:
    optimizer, conditional = settings.training.optimizer, settings.critics.conditional
    published = conditional.search == "condition" and conditional.anchors == "bank"
    training = settings.training
    more = (training.stage1_batch_size or 0) > training.batch_size
    if settings.critics.update == "follow" and (more or not settings.steered):
        raise ConfigError(
            "the plain order of work lets critics follow on one batch, and where they steer"
        )
    clips = settings.training.clip == "value"
    if not isinstance(optimizer, AdamSettings) or not published or not clips:
        raise ConfigError(
            "the published order of work knows Adam, clipping by value, neighbours in the "
            "condition and anchors from the bank only"
        )
    return optimizer
