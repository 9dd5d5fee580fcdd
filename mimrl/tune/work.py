"""One worker of a study: takes trials until there are as many as asked for, says what they cost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import TrialState

from mimrl.errors import ConfigError
from mimrl.training.costs import duration
from mimrl.tune import life
from mimrl.tune.ledger import (
    CHOSEN,
    COMPLETE,
    CRASHED,
    DIVERGED,
    EPOCHS,
    FRUITLESS,
    INTERRUPTED,
    OUTCOME,
    PRUNED,
    REASON,
    REFUSED,
    SCORES,
    SECONDS,
    SURPLUS,
    Account,
    Row,
    account,
    best,
    read,
)
from mimrl.tune.signals import held
from mimrl.tune.study import Plan
from mimrl.tune.trials import Result, Trials, remove_losers

FRUITLESS_AT_MOST = 10
POLL = 5.0
Say = Callable[[str], None]


class Worker:
    """Runs trials of a study, beside other workers of it.

    Args:
        study: the study.
        plan: what it searches.
        trials: how one is run.
        total: trials of the study, over all workers and calls.
        timeout: seconds after which this worker begins no more trials.
        say: gets the lines for the user.
    """

    def __init__(
        self,
        study: Study,
        plan: Plan,
        trials: Trials,
        *,
        total: int,
        timeout: float | None = None,
        say: Say,
    ) -> None:
        self.study, self.plan, self.trials = study, plan, trials
        self.total, self.say = total, say
        self._until = float("inf") if timeout is None else time.monotonic() + timeout

    def run(self) -> None:
        """Works until the study has its trials, or until the time is up.

        Raises:
            ConfigError: the first trials all came to nothing, now or in an earlier call.
            KeyboardInterrupt: passed on after the present trial was put back into the queue.
        """
        while True:
            for number, back in life.bury(self.study).items():
                again = "it is tried again" if back else "it is given up"
                self.say(f"trial {number} was lost with its worker; {again}")
            rows = read(self.study)
            if sum(row.counts for row in rows) >= self.total:
                if not self._suspicious():
                    require_fruit(rows, self.total)
                    return
                time.sleep(POLL)
            elif time.monotonic() >= self._until:
                self.say("the time is up: no more trials are begun here")
                return
            else:
                self._one()

    def _suspicious(self) -> bool:
        """Whether another worker's running trial is silent, and may soon count as lost."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return any(life.silence(trial) > 3 * life.INTERVAL for trial in running)

    def _one(self) -> None:
        trial = None
        started = time.perf_counter()
        try:
            with held():  # a trial of unknown number could not be put back
                trial = self.study.ask()
            if not self._ran(trial, started):
                return
        except BaseException as error:
            if trial is not None:
                with held():
                    self._broken_off(trial, error, time.perf_counter() - started)
            raise
        rows = read(self.study)
        winner = best(rows, self.plan.lower)
        remove_losers(self.trials.folder, rows, winner)
        self.say(trial_line(rows, trial.number, self.plan, account(rows, self.total)))
        require_fruit(rows, self.total)

    def _ran(self, trial: optuna.Trial, started: float) -> bool:
        """Runs a trial and records how it ended; False where it is not this worker's any more."""
        if self._is_surplus(trial.number):
            life.fail(self.study, trial.number, SURPLUS, "another worker took the last one")
            return False
        try:
            with life.Beating(trial):
                result = self.trials.run(trial)
            with held():
                self._record(trial, result, time.perf_counter() - started)
        except UpdateFinishedTrialError:
            self.say(f"trial {trial.number} was taken for lost by another worker and is dropped")
            return False
        return True

    def _is_surplus(self, number: int) -> bool:
        """Whether enough trials stand before this one.

        Numbers are given once and in order, and a trial before this one can only cease to count;
        so however many workers ask at once, no more than ``total`` trials are run.
        """
        before = (
            trial
            for trial in self.study.get_trials(deepcopy=False)
            if trial.number < number and trial.state != TrialState.FAIL
        )
        return sum(1 for _ in before) >= self.total

    def _record(self, trial: optuna.Trial, result: Result, seconds: float) -> None:
        known: Mapping[str, Any] = {
            OUTCOME: result.outcome,
            REASON: result.reason,
            SECONDS: round(seconds, 2),
            EPOCHS: result.epochs,
            SCORES: dict(result.scores),
            CHOSEN: dict(result.chosen),
        }
        for name, value in known.items():
            trial.set_user_attr(name, value)
        if result.outcome == COMPLETE:
            self.study.tell(trial, result.value)
        else:  # the sampler keeps away from pruned trials, not from failed ones
            self.study.tell(trial, state=TrialState.PRUNED)

    def _broken_off(self, trial: optuna.Trial, error: BaseException, seconds: float) -> None:
        """The trial does not count; after an interruption it is tried again."""
        interrupted = isinstance(error, KeyboardInterrupt)
        number = trial.number
        try:
            trial.set_user_attr(SECONDS, round(seconds, 2))
        except UpdateFinishedTrialError:
            return
        outcome = INTERRUPTED if interrupted else CRASHED
        reason = "Ctrl-C or SIGTERM" if interrupted else f"{type(error).__name__}: {error}"
        failed = life.fail(self.study, number, outcome, reason)
        if failed and interrupted:
            same = next(t for t in self.study.get_trials(deepcopy=False) if t.number == number)
            back = life.retry(self.study, same)
            self.say(f"trial {number} was interrupted" + ("; it is tried again" if back else ""))
        remove_losers(self.trials.folder, rows := read(self.study), best(rows, self.plan.lower))


def require_fruit(rows: list[Row], total: int) -> None:
    """Raises ConfigError where so many trials came to nothing that the rest will as well."""
    finished = [row for row in rows if row.finished]
    enough = min(FRUITLESS_AT_MOST, total)
    if len(finished) < enough or any(row.outcome not in FRUITLESS for row in finished):
        return
    reasons = dict.fromkeys(row.reason for row in finished)
    lines = "".join(f"\n  - {reason}" for reason in [*reasons][:5])
    raise ConfigError(
        f"all {len(finished)} trials were refused or diverged; the search space does not fit these "
        f"settings:{lines}\nchange --search or the settings, and choose another --name"
    )


def first_line(plan: Plan, rows: list[Row], total: int, where: str) -> str:
    """What is about to be done."""
    state = account(rows, total)
    lower = "lower" if plan.lower else "higher"
    seeds = f", mean over seeds {', '.join(map(str, plan.seeds))}" if len(plan.seeds) > 1 else ""
    done = f"{state.finished} of {total} trials done"
    if state.finished > total:
        done = f"{state.finished} trials done, more than the {total} asked for"
    keys = "".join(f"\n  {k}: {json.dumps(v)}" for k, v in plan.space.as_dict().items())
    return (
        f"study in {where}: {done}, {state.workers} running\n"
        f"objective: best epoch's valid {plan.metric} ({lower} is better){seeds}; test is not read"
        f"\nsearched:{keys}"
    )


def trial_line(rows: list[Row], number: int, plan: Plan, state: Account) -> str:
    """One line when a trial has ended: its value, the best, its cost, what is left."""
    row = next(row for row in rows if row.number == number)
    winner = best(rows, plan.lower)
    top = "" if winner is None else f"; best {winner.value:.4f} (trial {winner.number})"
    return f"trial {number}: {_told(row, plan)}{top}; {_cost(row, state)}"


def _told(row: Row, plan: Plan) -> str:
    if row.outcome == COMPLETE:
        return f"valid {plan.metric} {row.value:.4f}"
    if row.outcome == PRUNED:
        value = "" if row.value is None else f" at {row.value:.4f}"
        return f"pruned{value} after {row.epochs} epoch{'s' if row.epochs != 1 else ''}"
    return f"{row.outcome} ({row.reason})" if row.outcome in (REFUSED, DIVERGED) else row.outcome


def _cost(row: Row, state: Account) -> str:
    left = f"{state.left} of {state.total} left"
    if state.left:
        workers = max(state.workers, 1)
        among = f" with {workers} workers" if workers > 1 else ""
        left += f", about {duration(state.left_seconds)}{among}"
    return f"{duration(row.seconds)} (mean {duration(state.mean)}); {left}"


def folder_of(output: str, name: str) -> Path:
    """Where a study leaves its results."""
    return Path(output) / name / "tune"
