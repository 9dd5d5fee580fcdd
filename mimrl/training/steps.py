"""How many optimiser steps a training has, stage by stage."""

from __future__ import annotations

from dataclasses import dataclass

from mimrl.datasets.loading import batch_rows
from mimrl.datasets.prepare import Prepared
from mimrl.settings import Settings
from mimrl.training.team import Team


@dataclass(frozen=True)
class Steps:
    """Sizes of the global batches, and steps.

    Attributes:
        batch: samples a step of stage 2, all processes together.
        stage1_batch: samples a step of stage 1, all processes together.
        stage1: steps of stage 1 in an epoch that has one.
        stage2: steps of stage 2 in an epoch.
        epochs: of the whole training.
        warmup: epochs without stage 1.
    """

    batch: int
    stage1_batch: int
    stage1: int
    stage2: int
    epochs: int
    warmup: int

    @classmethod
    def of(cls, settings: Settings, data: Prepared, team: Team) -> Steps:
        """Those of a run."""
        training, train = settings.training, data.splits["train"]
        stage1_batch = (training.stage1_batch_size or training.batch_size) * team.size
        batches = batch_rows(
            train.lengths, training.batch_size, generator=None, bucketing=True, world=team.size
        )
        return cls(
            batch=training.batch_size * team.size,
            stage1_batch=stage1_batch,
            stage1=training.stage1_passes * max(1, round(len(train) / stage1_batch)),
            stage2=len(batches),
            epochs=training.epochs,
            warmup=training.warmup_epochs,
        )

    @property
    def all_stage1(self) -> int:
        """Steps of stage 1 in the whole training."""
        return self.stage1 * max(self.epochs - self.warmup, 0)

    @property
    def all_stage2(self) -> int:
        """Steps of stage 2 in the whole training."""
        return self.stage2 * self.epochs

    def done(self, epoch: int) -> int:
        """Steps of both stages in the first ``epoch`` epochs."""
        return epoch * self.stage2 + max(epoch - self.warmup, 0) * self.stage1
