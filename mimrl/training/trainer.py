"""The two-stage training of MIMRL (Sun et al., IEEE TAFFC 2025).

In each epoch, stage 1 fits the critics on one snapshot of all training features; stage 2 fits
encoders, fusion and head to the task, steered by what the critics estimate. The epoch is judged on
the validation split; the test split is never seen here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimrl.datasets.loading import Batch, iterate
from mimrl.datasets.prepare import Prepared
from mimrl.mi.bank import Bank
from mimrl.mi.ranks import order
from mimrl.model.model import MIMRL
from mimrl.settings import Settings
from mimrl.settings.training import ConstantSchedule
from mimrl.terms import quantities
from mimrl.training import checkpoint, saving
from mimrl.training.critics import Critics, even_chunks
from mimrl.training.inference import Features, encode, gathered
from mimrl.training.measures import Clock, Losses, compared, not_finite
from mimrl.training.metrics import better
from mimrl.training.missing import Presence, draw_presence, held
from mimrl.training.objectives import quantity_values, task_loss
from mimrl.training.optimisation import Groups, Learner, model_groups
from mimrl.training.precision import Precision, compile_network, in_float32
from mimrl.training.randomness import Place, seeded
from mimrl.training.scoring import score, selection_metric
from mimrl.training.steering import Steering, label_entropy
from mimrl.training.steps import Steps
from mimrl.training.team import ALONE, Team
from mimrl.training.tracking import Progress, Tracker

OnEpoch = Callable[[Mapping[str, Any]], None]
ENCODED = 128  # samples that are encoded at a time without gradients, at least


@dataclass
class Selection:
    """Which epoch validation has chosen so far."""

    epoch: int = 0
    score: float | None = None
    waited: int = 0


class Trainer:
    """Trains one model with one seed.

    Args:
        settings: the whole tree.
        data: the prepared splits; ``test`` is not used.
        model: on ``device``.
        folder: where the best model, kept ones and the resumable state are written.
        device: where to compute.
        team: the processes that train this model together, each with an instance of its own.

    Raises:
        ConfigError: the device or this machine lacks what ``settings.performance`` asks for.
    """

    def __init__(
        self,
        settings: Settings,
        data: Prepared,
        model: MIMRL,
        folder: Path,
        *,
        device: torch.device,
        team: Team = ALONE,
    ) -> None:
        self.settings, self.data, self.model = settings, data, model
        self.folder, self.device, self.team = folder, device, team
        training = settings.training
        self.steps = Steps.of(settings, data, team)
        self.precision = Precision(settings.performance.precision, device)
        self.labels = torch.from_numpy(data.splits["train"].labels).to(device)
        self.has = held(data.splits["train"])
        self.label_entropy = label_entropy(data.splits["train"].labels, data.num_classes)
        compile_network(model, settings.performance, device)
        team.start_alike(model)
        self.loss = task_loss(training.loss)
        self.table = quantities(settings.data.modalities)
        self.term_weights = settings.term_weights
        self.learner = self._learner(model_groups(model, training), self.steps.all_stage2)
        self.critics: Critics | None = None
        if training.stage1_passes:
            with self._seeded(Place.INITIALISATION, 1):
                built = checkpoint.build_critics(settings, model, data.num_classes)
            self.critics = built.to(device)
            self.critics.spread_rows(team.spread)
            groups = {"critics": (list(self.critics.parameters()), settings.critics.rate)}
            # Critics that follow must stay as fast as they were while the model slows down.
            schedule = {"schedule": ConstantSchedule()} if self.critics.follow else {}
            self.critic_learner = self._learner(groups, self.steps.all_stage1, **schedule)
        self.metric = selection_metric(settings)
        self.selection = Selection()
        self.epoch = 0

    def fit(self, *, progress: bool = True, on_epoch: OnEpoch | None = None) -> Selection:
        """Trains to the last epoch, or until validation has not improved for ``patience`` epochs.

        Args:
            progress: show a bar, when standard error is a terminal.
            on_epoch: gets each epoch's record once its state is saved; what it raises ends the fit.

        Raises:
            NonFiniteError: a loss became NaN or infinite.
            ProcessError: another process of the team ended or cannot be reached.
        """
        training = self.settings.training
        tracker = Tracker(self.folder, self.epoch) if self.team.first else None
        total, done = self.steps.done(training.epochs), self.steps.done(self.epoch)
        bar = Progress(total, done, "training", shown=progress and self.team.first)
        try:
            self._keep()
            while self.epoch < training.epochs and not self._out_of_patience():
                record = self._run_epoch(self.epoch + 1, bar)
                if tracker is not None:
                    tracker.epoch(record)
                self._keep()
                self._save_state()
                if on_epoch is not None:
                    on_epoch(record)
        finally:
            bar.close()
            if tracker is not None:
                tracker.close()
        return self.selection

    def _run_epoch(self, epoch: int, bar: Progress) -> dict[str, Any]:
        """One epoch: bank, stage 1, stage 2, validation. Returns its line of the log."""
        critics = self.critics if epoch > self.settings.training.warmup_epochs else None
        record: dict[str, Any] = {"epoch": epoch, "rates": self._rates()}
        clock = Clock(self.device)
        bank = None
        if critics is not None:
            bank = self._bank(critics, epoch)
            clock.lap("bank")
            record["stage1"] = self._fit_critics(critics, bank, epoch, bar)
            clock.lap("stage1")
        record["stage2"] = self._fit_model(critics, bank, epoch, bar)
        clock.lap("stage2")
        record["valid"] = self._validate(critics, epoch)
        clock.lap("valid")
        record["difference"] = compared(record, warn=self.team.first)
        self._select(epoch, record["valid"]["metrics"][self.metric])
        record["best_epoch"] = self.selection.epoch
        record["seconds"] = clock.seconds
        self.epoch = epoch
        return record

    @torch.no_grad()
    def _bank(self, critics: Critics, epoch: int) -> Bank:
        """All training features and labels from one snapshot of the model, on the critics' scale.

        Note:
            The published code collects them during the previous epoch's stage 2, and compares them
            with joint samples from newer weights: the classifier then sees the drift between the
            two as information.
        """
        features = self._encode("train", self.precision)
        variables = features.variables(self.data.num_classes)
        critics.set_scale(variables)
        performance = self.settings.performance
        with self._seeded(Place.BANK, epoch) as generator:
            return critics.bank(
                critics.standardise(variables),
                size=performance.bank_size,
                dtype=getattr(torch, performance.bank_dtype),
                generator=generator,
            )

    def _fit_critics(
        self, critics: Critics, bank: Bank, epoch: int, bar: Progress
    ) -> dict[str, float]:
        """Stage 1: ``stage1_passes`` passes of the critics over the bank. Returns mean losses."""
        critics.train().requires_grad_(True)
        sums = Losses(f"stage 1 of epoch {epoch}")
        bar.stage(epoch, "critics")
        with self._seeded(Place.STAGE1, epoch) as generator:
            for _ in range(self.settings.training.stage1_passes):
                shuffled = order(len(bank), generator, self.device)
                for chunk in even_chunks(shuffled, self.steps.stage1_batch):
                    with self.precision():
                        losses = critics.losses(bank.rows(chunk), bank, generator)
                    total = torch.stack(
                        [self.term_weights[name] * loss for name, loss in losses.items()]
                    ).sum()
                    self.critic_learner.step(total)
                    sums.add(losses, len(chunk))
                    bar.step(critics=total)
        return sums.means()

    def _fit_model(
        self, critics: Critics | None, bank: Bank | None, epoch: int, bar: Progress
    ) -> dict[str, Any]:
        """Stage 2: one pass of encoders, fusion and head. Returns means over the pass."""
        training = self.settings.training
        self.model.train()
        sums, stops = Losses(f"stage 2 of epoch {epoch}"), Losses(f"stops of epoch {epoch}")
        bar.stage(epoch, "model")
        with self._seeded(Place.STAGE2, epoch) as generator:
            steering = self._steering(critics, bank, generator)
            batches = iterate(
                self.data.splits["train"],
                training.batch_size,
                present=self._present(epoch),
                generator=generator,
                bucketing=training.bucketing,
                share=self.team.part,
                workers=self.settings.performance.loader_workers,
                pin=self.device.type == "cuda",
            )
            for read in batches:
                batch = read.to(self.device)
                rows = self._rows(batch)
                parts, stopped = self._losses(batch, rows, steering)
                self.learner.step(parts["total"])
                sums.add(parts, len(rows))
                if stopped:
                    stops.add(stopped, 1)
                bar.step(task=parts["task"], total=parts["total"])
        means = sums.means()
        terms = {name: value for name, value in means.items() if name not in ("task", "total")}
        return {
            "task": means["task"],
            "total": means["total"],
            "terms": terms,
            "quantities": self._quantities(terms),
            "stopped": stops.means(),
        }

    def _present(self, epoch: int) -> Presence | None:
        """``(N, K)``: which modalities the training clips keep in an epoch's stage 2; None: all.

        Drawn for all clips, so that processes that share a batch need not tell each other, and
        from a generator of its own: all else is drawn as without dropout of modalities.
        """
        rate = self.settings.training.modality_dropout
        if not rate:
            return None
        with self._seeded(Place.MODALITY_DROPOUT, epoch) as generator:
            return draw_presence(self.has, rate, generator)

    def _losses(
        self, batch: Batch, rows: Tensor, steering: Steering | None
    ) -> tuple[dict[str, Tensor], Mapping[str, Tensor]]:
        """The stage-2 loss ``total``, the ``task`` loss and every term that steers; what stopped.

        Of all processes' shares of the batch, in every process.
        """
        with self.precision():
            encoded = self.model.run_encoders(batch)
            output = self.model.fuse(encoded)
        output = gathered(in_float32(output), self.team, len(rows))
        task = self.loss(output.prediction, self.labels[rows])
        if steering is None:
            return {"task": task, "total": task}, {}
        found = steering(task, output, encoded, rows, self.learner.scale)
        return {"task": task, "total": found.total, **found.terms}, found.stopped

    def _steering(
        self, critics: Critics | None, bank: Bank | None, generator: torch.Generator
    ) -> Steering | None:
        """What steers a pass of stage 2; None where nothing does."""
        if critics is None or bank is None or not self.settings.steered:
            return None
        return Steering(
            self.settings,
            critics,
            self.critic_learner,
            bank,
            labels=self.labels,
            num_classes=self.data.num_classes,
            label_entropy=self.label_entropy,
            window=self.steps.stage1_batch,
            generator=generator,
            precision=self.precision,
            team=self.team,
        )

    def _validate(self, critics: Critics | None, epoch: int) -> dict[str, Any]:
        """Metrics, terms and quantities on the validation split, with a bank of its own."""
        features = self._encode("valid")
        where = f"validation of epoch {epoch}"
        found: dict[str, Any] = {"metrics": score(self.settings, features, where)}
        if critics is not None:
            critics.eval()
            variables = features.variables(self.data.num_classes)
            with self._seeded(Place.READING, epoch) as generator:
                terms = critics.readings(variables, self.steps.stage1_batch, generator)
            bad = [name for name, value in terms.items() if not math.isfinite(value)]
            if bad:
                raise not_finite(where, bad)
            found |= {"terms": terms, "quantities": self._quantities(terms)}
        return found

    def _select(self, epoch: int, value: float) -> None:
        """Keeps the epoch when validation prefers it; moves the schedules on."""
        value = self.team.agreed(value, self.device)
        improved = better(self.metric, value, self.selection.score)
        if improved or self.selection.epoch == 0:
            self.selection = Selection(epoch, value)
            self._save_model(checkpoint.BEST, epoch)
        else:
            self.selection.waited += 1
        for learner in self._learners().values():
            learner.schedule.end_epoch(improved)

    def _keep(self) -> None:
        """Writes the model of an epoch that ``keep_epochs`` names, before the state moves on."""
        if self.epoch in self.settings.training.keep_epochs:
            self._save_model(checkpoint.KEPT.format(self.epoch), self.epoch)

    def _save_model(self, name: str, epoch: int) -> None:
        """Writes the present model, in a form that needs no other file."""
        if self.team.first:
            path = self.folder / name
            saving.save_model(path, self.settings, self.data, self.model, self.critics, epoch)

    def _save_state(self) -> None:
        """Writes all that :meth:`load_state` needs to go on after this epoch."""
        if not self.team.first:
            return
        header = {
            "settings": self.settings.model_dump(mode="json"),
            "epoch": self.epoch,
            "processes": self.team.size,
            "selection": asdict(self.selection),
        }
        file = self.folder / checkpoint.LAST
        saving.save_state(file, self.model, self.critics, self._learners(), header)

    def load_state(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Goes on from a state that this run wrote earlier."""
        saving.load_state(tensors, header, self.model, self.critics, self._learners())
        self.selection = Selection(**header["selection"])
        self.epoch = int(header["epoch"])

    def _learner(self, groups: Groups, steps: int, **changed: Any) -> Learner:
        training = self.settings.training.model_copy(update=changed)
        scaler = self.precision.scaler()
        return Learner(groups, training, steps, team=self.team, scaler=scaler)

    def _learners(self) -> dict[str, Learner]:
        if self.critics is None:
            return {"learner": self.learner}
        return {"learner": self.learner, "critic_learner": self.critic_learner}

    def _encode(self, split: str, precision: Callable[..., Any] = nullcontext) -> Features:
        return encode(
            self.model,
            self.data.splits[split],
            batch_size=max(self.settings.training.batch_size, ENCODED),
            device=self.device,
            team=self.team,
            precision=precision,
            workers=self.settings.performance.loader_workers,
        )

    def _quantities(self, terms: Mapping[str, float]) -> dict[str, float]:
        known = tuple(q for q in self.table if set(q.parts) <= set(terms))
        return {name: float(value) for name, value in quantity_values(known, terms).items()}

    def _seeded(self, place: Place, epoch: int) -> AbstractContextManager[torch.Generator]:
        rank = self.team.rank if place is Place.STAGE2 else 0  # dropout differs, nothing else
        return seeded(self.settings.seed, place, epoch, rank=rank)

    def _rates(self) -> dict[str, float]:
        return {k: v for learner in self._learners().values() for k, v in learner.rates().items()}

    def _out_of_patience(self) -> bool:
        patience = self.settings.training.patience
        return patience is not None and self.selection.waited >= patience

    def _rows(self, batch: Batch) -> Tensor:
        """Where all processes' shares of a batch stand in the training split, in its order."""
        ranked = batch.global_rows
        if ranked is None:
            return batch.rows
        return ranked[self.team.dealt(len(ranked)).to(ranked.device, non_blocking=True)]
