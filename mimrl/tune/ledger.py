"""What a study knows of its trials: how each ended, what it cost, what is left."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mimrl.training.turns import has_ended

COMPLETE, PRUNED, REFUSED, DIVERGED = "complete", "pruned", "refused", "diverged"
RUNNING, WAITING = "running", "waiting"
LOST, INTERRUPTED, CRASHED, SURPLUS = "lost", "interrupted", "crashed", "surplus"
FAILED = (LOST, INTERRUPTED, CRASHED)
FRUITLESS = (REFUSED, DIVERGED)

OUTCOME, REASON, SECONDS, EPOCHS = "outcome", "reason", "seconds", "epochs"
SCORES, CHOSEN, WORKER, BEAT, FOLDER = "scores", "best_epochs", "worker", "beat", "folder"
SILENT = "its worker ended without a word"


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        number: its number in the study.
        outcome: ``complete``; ``pruned``: stopped early; ``refused``: the settings do not go
            together; ``diverged``: a loss became NaN; ``running``; ``waiting``: to be tried again;
            ``lost``, ``interrupted``, ``crashed``: its worker ended, and it does not count.
        value: mean over seeds of the best validation value; of a pruned trial the last one.
        seconds: what it cost.
        epochs: epochs trained, over all seeds.
        params: key -> value as the study stores it.
        reason: why it did not complete.
        scores: seed -> best validation value.
        chosen: seed -> epoch of it.
        worker: ``host:process``.
        folder: what it left on that host.
    """

    number: int
    outcome: str
    value: float | None
    seconds: float
    epochs: int
    params: Mapping[str, Any]
    reason: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    chosen: Mapping[str, int] = field(default_factory=dict)
    worker: str = ""
    folder: str = ""

    @property
    def counts(self) -> bool:
        """Whether it is one of the trials asked for: begun, and not lost."""
        return self.outcome not in (*FAILED, SURPLUS, WAITING)

    @property
    def finished(self) -> bool:
        """Whether it counts and is over."""
        return self.counts and self.outcome != RUNNING


def read(study: Study) -> list[Row]:
    """All trials of a study but surplus ones, by number."""
    rows = [_row(trial) for trial in study.get_trials(deepcopy=False)]
    return sorted((row for row in rows if row.outcome != SURPLUS), key=lambda row: row.number)


def best(rows: Sequence[Row], lower: bool) -> Row | None:
    """The complete trial with the best value, the first of equals; None before there is one."""
    done = [row for row in rows if row.outcome == COMPLETE and row.value is not None]
    sign = 1 if lower else -1
    return min(done, key=lambda row: (sign * (row.value or 0.0), row.number), default=None)


@dataclass(frozen=True)
class Account:
    """Costs of a study.

    Attributes:
        outcomes: outcome -> trials.
        finished: trials that count and are over.
        total: trials asked for.
        workers: trials that run at present, one a worker.
        seconds: of all trials, also lost ones, summed over workers.
        mean: seconds of a finished trial.
    """

    outcomes: Mapping[str, int]
    finished: int
    total: int
    workers: int
    seconds: float
    mean: float

    @property
    def left(self) -> int:
        """Trials that are not over yet."""
        return max(self.total - self.finished, 0)

    @property
    def left_seconds(self) -> float:
        """Time until all are over, with the workers there are (at least one)."""
        return self.left * self.mean / min(max(self.workers, 1), max(self.left, 1))


def account(rows: Sequence[Row], total: int) -> Account:
    """What a study has cost, and what is left of ``total`` trials."""
    finished = [row for row in rows if row.finished]
    mean = sum(row.seconds for row in finished) / len(finished) if finished else 0.0
    return Account(
        outcomes=Counter(row.outcome for row in rows),
        finished=len(finished),
        total=total,
        workers=sum(row.outcome == RUNNING for row in rows),
        seconds=sum(row.seconds for row in rows),
        mean=mean,
    )


def _row(trial: FrozenTrial) -> Row:
    known = trial.user_attrs
    outcome, reason = _outcome(trial), str(known.get(REASON, ""))
    if outcome == RUNNING and has_ended(str(known.get(WORKER, ""))):
        outcome, reason = LOST, SILENT  # no worker has looked since
    return Row(
        number=trial.number,
        outcome=outcome,
        value=trial.value if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None,
        seconds=_seconds(trial),
        epochs=int(known.get(EPOCHS, len(trial.intermediate_values))),
        params=trial.params,
        reason=reason,
        scores=known.get(SCORES, {}),
        chosen=known.get(CHOSEN, {}),
        worker=str(known.get(WORKER, "")),
        folder=str(known.get(FOLDER, "")),
    )


def _outcome(trial: FrozenTrial) -> str:
    states = {
        TrialState.COMPLETE: COMPLETE,
        TrialState.RUNNING: RUNNING,
        TrialState.WAITING: WAITING,
    }
    if trial.state in states:
        return states[trial.state]
    told = str(trial.user_attrs.get(OUTCOME, ""))
    if trial.state == TrialState.PRUNED:  # a word of another worker that thought it lost is void
        return told if told in FRUITLESS else PRUNED
    return told if told in (*FAILED, SURPLUS) else LOST


def _seconds(trial: FrozenTrial) -> float:
    """As its worker measured it; of a lost trial, up to its last sign of life."""
    if SECONDS in trial.user_attrs:
        return float(trial.user_attrs[SECONDS])
    if BEAT in trial.user_attrs and trial.datetime_start is not None:
        return max(float(trial.user_attrs[BEAT]) - _stamp(trial.datetime_start), 0.0)
    return 0.0


def _stamp(moment: datetime.datetime) -> float:
    return moment.timestamp()
