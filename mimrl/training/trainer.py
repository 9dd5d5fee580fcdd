"""The two-stage training of MIMRL (Sun et al., IEEE TAFFC 2025).

In each epoch, stage 1 fits the critics on one snapshot of all training features; stage 2 fits
encoders, fusion and head to the task, steered by what the critics estimate. The epoch is judged on
the validation split; the test split is never seen here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimrl.datasets.loading import Batch, batch_rows, iterate
from mimrl.datasets.prepare import Prepared
from mimrl.errors import NonFiniteError
from mimrl.mi.bank import Bank
from mimrl.model.model import MIMRL
from mimrl.settings import Settings
from mimrl.terms import FUSED, LABEL, quantities
from mimrl.training import checkpoint
from mimrl.training.critics import Critics, even_chunks, label_variable
from mimrl.training.inference import Features, encode
from mimrl.training.metrics import better
from mimrl.training.objectives import quantity_values, steered_loss, task_loss
from mimrl.training.optimisation import Learner
from mimrl.training.randomness import Place, seeded
from mimrl.training.scoring import score, selection_metric
from mimrl.training.tracking import Progress, Tracker

OnEpoch = Callable[[Mapping[str, Any]], None]


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
    """

    def __init__(
        self,
        settings: Settings,
        data: Prepared,
        model: MIMRL,
        folder: Path,
        *,
        device: torch.device,
    ) -> None:
        self.settings, self.data, self.model = settings, data, model
        self.folder, self.device = folder, device
        training = settings.training
        self.loss = task_loss(training.loss)
        self.table = quantities(settings.data.modalities)
        self.weights = settings.quantity_weights
        self.term_weights = settings.term_weights
        self.steering = tuple(q for q in self.table if self.weights[q.name])
        self.wanted = {term for quantity in self.steering for term in quantity.parts}
        text = (model.text_parameters(), training.text_rate)
        self.learner = Learner(
            {"text": text, "main": (model.other_parameters(), 1.0)},
            training,
            training.epochs * self._stage2_steps(),
        )
        self.critics: Critics | None = None
        if training.stage1_passes:
            with self._seeded(Place.INITIALISATION, 1):
                built = checkpoint.build_critics(settings, model, data.num_classes)
            self.critics = built.to(device)
            self.critic_learner = Learner(
                {"critics": (list(self.critics.parameters()), settings.critics.rate)},
                training,
                self._stage1_total(),
            )
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
        """
        training = self.settings.training
        tracker = Tracker(self.folder, self.epoch)
        bar = Progress(self._total_steps(), self._steps_done(), "training", shown=progress)
        try:
            self._keep()
            while self.epoch < training.epochs and not self._out_of_patience():
                record = self._run_epoch(self.epoch + 1, bar)
                tracker.epoch(record)
                self._keep()
                self._save_state()
                if on_epoch is not None:
                    on_epoch(record)
        finally:
            bar.close()
            tracker.close()
        return self.selection

    def _run_epoch(self, epoch: int, bar: Progress) -> dict[str, Any]:
        """One epoch: bank, stage 1, stage 2, validation. Returns its line of the log."""
        critics = self.critics if epoch > self.settings.training.warmup_epochs else None
        record: dict[str, Any] = {"epoch": epoch, "rates": self._rates()}
        clock = _Clock(self.device)
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
        variables = self._encode("train").variables(self.data.num_classes)
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
        sums = _Means()
        bar.stage(epoch, "critics")
        with self._seeded(Place.STAGE1, epoch) as generator:
            for _ in range(self.settings.training.stage1_passes):
                order = torch.randperm(len(bank), generator=generator).to(self.device)
                for chunk in even_chunks(order, self._stage1_batch()):
                    losses = critics.losses(bank.rows(chunk), bank, generator)
                    total = torch.stack(
                        [self.term_weights[name] * loss for name, loss in losses.items()]
                    ).sum()
                    self._require_finite(total, losses, "stage 1", epoch)
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
        if critics is not None:
            critics.eval().requires_grad_(False)
        sums = _Means()
        bar.stage(epoch, "model")
        with self._seeded(Place.STAGE2, epoch) as generator:
            batches = iterate(
                self.data.splits["train"],
                training.batch_size,
                generator=generator,
                bucketing=training.bucketing,
            )
            for batch in batches:
                parts = self._losses(batch.to(self.device), critics, bank, generator)
                self._require_finite(parts["total"], parts, "stage 2", epoch)
                self.learner.step(parts["total"])
                sums.add(parts, len(batch))
                bar.step(task=parts["task"], total=parts["total"])
        means = sums.means()
        terms = {name: value for name, value in means.items() if name not in ("task", "total")}
        return {
            "task": means["task"],
            "total": means["total"],
            "terms": terms,
            "quantities": self._quantities(terms),
        }

    def _losses(
        self,
        batch: Batch,
        critics: Critics | None,
        bank: Bank | None,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """The stage-2 loss ``total``, the ``task`` loss and every term that steers."""
        output = self.model(batch)
        task = self.loss(output.prediction, batch.labels)
        if critics is None or bank is None or not self.wanted:
            return {"task": task, "total": task}
        label = label_variable(batch.labels, self.data.num_classes)
        rows = critics.standardise({**output.unimodal, FUSED: output.fused, LABEL: label})
        terms = critics.values(
            rows,
            bank,
            generator,
            self.wanted,
            bank_rows=batch.rows if self.settings.critics.conditional.anchors == "batch" else None,
        )
        values = quantity_values(self.steering, terms)
        return {"task": task, "total": steered_loss(task, values, self.weights), **terms}

    def _validate(self, critics: Critics | None, epoch: int) -> dict[str, Any]:
        """Metrics, terms and quantities on the validation split, with a bank of its own."""
        features = self._encode("valid")
        found: dict[str, Any] = {"metrics": score(self.settings, features)}
        if critics is not None:
            critics.eval()
            variables = features.variables(self.data.num_classes)
            with self._seeded(Place.READING, epoch) as generator:
                terms = critics.readings(variables, self._stage1_batch(), generator)
            self._require_finite(torch.tensor(sum(terms.values())), terms, "validation", epoch)
            found |= {"terms": terms, "quantities": self._quantities(terms)}
        return found

    def _select(self, epoch: int, value: float) -> None:
        """Keeps the epoch when validation prefers it; moves the schedules on."""
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
        checkpoint.save_model(
            self.folder / name,
            settings=self.settings,
            model=self.model,
            critics=self.critics,
            scalers=self.data.scalers,
            widths=self.data.widths,
            class_names=self.data.class_names,
            num_classes=self.data.num_classes,
            epoch=epoch,
        )

    def _save_state(self) -> None:
        """Writes all that :meth:`load_state` needs to go on after this epoch."""
        tensors = checkpoint.prefixed("model", self.model.state_dict())
        if self.critics is not None:
            tensors |= checkpoint.prefixed("critics", self.critics.state_dict())
        learners = self._learners()
        for name, learner in learners.items():
            tensors |= checkpoint.prefixed(name, learner.tensors())
        header = {
            "settings": self.settings.model_dump(mode="json"),
            "epoch": self.epoch,
            "selection": asdict(self.selection),
            "schedules": {name: learner.schedule.state() for name, learner in learners.items()},
        }
        checkpoint.write(self.folder / checkpoint.LAST, "state", tensors, header)

    def load_state(self, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Goes on from a state that this run wrote earlier."""
        self.model.load_state_dict(checkpoint.take(tensors, "model"))
        if self.critics is not None:
            self.critics.load_state_dict(checkpoint.take(tensors, "critics"))
        for name, learner in self._learners().items():
            learner.load(checkpoint.take(tensors, name), header["schedules"][name])
        self.selection = Selection(**header["selection"])
        self.epoch = int(header["epoch"])

    def _learners(self) -> dict[str, Learner]:
        if self.critics is None:
            return {"learner": self.learner}
        return {"learner": self.learner, "critic_learner": self.critic_learner}

    def _encode(self, split: str) -> Features:
        return encode(
            self.model,
            self.data.splits[split],
            batch_size=self.settings.training.batch_size,
            device=self.device,
        )

    def _quantities(self, terms: Mapping[str, float]) -> dict[str, float]:
        known = tuple(q for q in self.table if set(q.parts) <= set(terms))
        return {name: float(value) for name, value in quantity_values(known, terms).items()}

    def _require_finite(
        self, total: Tensor, parts: Mapping[str, Any], stage: str, epoch: int
    ) -> None:
        if bool(torch.isfinite(total)):
            return
        bad = [name for name, v in parts.items() if not bool(torch.isfinite(torch.as_tensor(v)))]
        raise NonFiniteError(
            f"{stage} of epoch {epoch}: {', '.join(bad) or 'the sum'} became NaN or infinite; "
            "lower training.optimizer.rate or training.clip_at, or check data.scaling"
        )

    def _seeded(self, place: Place, epoch: int) -> AbstractContextManager[torch.Generator]:
        return seeded(self.settings.seed, place, epoch)

    def _rates(self) -> dict[str, float]:
        return {k: v for learner in self._learners().values() for k, v in learner.rates().items()}

    def _out_of_patience(self) -> bool:
        patience = self.settings.training.patience
        return patience is not None and self.selection.waited >= patience

    def _stage1_batch(self) -> int:
        return self.settings.training.stage1_batch_size or self.settings.training.batch_size

    def _stage2_steps(self) -> int:
        split = self.data.splits["train"]
        size = self.settings.training.batch_size
        return len(batch_rows(split.lengths, size, generator=None, bucketing=True))

    def _stage1_steps(self) -> int:
        count = len(self.data.splits["train"])
        return self.settings.training.stage1_passes * max(1, round(count / self._stage1_batch()))

    def _stage1_total(self) -> int:
        training = self.settings.training
        return max(training.epochs - training.warmup_epochs, 0) * self._stage1_steps()

    def _total_steps(self) -> int:
        return self.settings.training.epochs * self._stage2_steps() + self._stage1_total()

    def _steps_done(self) -> int:
        steered = max(self.epoch - self.settings.training.warmup_epochs, 0)
        return self.epoch * self._stage2_steps() + steered * self._stage1_steps()


class _Means:
    """Means of named numbers, weighted by rows; kept on the device until asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        self._rows = 0

    def add(self, values: Mapping[str, Tensor], rows: int) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums[name].to(value.device) + value.detach() * rows
        self._rows += rows

    def means(self) -> dict[str, float]:
        return {name: float(total) / self._rows for name, total in self._sums.items()}


class _Clock:
    """Seconds of each part of an epoch."""

    def __init__(self, device: torch.device) -> None:
        self._wait: Callable[[], None] = (
            torch.cuda.synchronize if device.type == "cuda" else lambda: None
        )
        self._last = time.perf_counter()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        self._wait()
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now
