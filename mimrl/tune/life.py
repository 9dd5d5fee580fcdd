"""Signs of life of a running trial, and trials whose worker has ended without a word.

Optuna's own heartbeat works with SQL storages only; a journal file needs one as well.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from mimrl.training.turns import has_ended, process_name
from mimrl.tune.ledger import BEAT, LOST, OUTCOME, REASON, SILENT, WORKER

INTERVAL = 20.0
GRACE = 240.0
RETRIES = 2
RETRY_OF = "retry_of"


class Beating:
    """Writes a time into a running trial every ``INTERVAL`` seconds, for as long as it lasts."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Beating:
        self._trial.set_user_attr(WORKER, process_name())
        self._trial.set_user_attr(BEAT, time.time())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(INTERVAL):
            try:
                self._trial.set_user_attr(BEAT, time.time())
            except Exception:  # a busy storage: the next beat comes
                continue


def is_dead(trial: FrozenTrial) -> bool:
    """Whether a running trial's worker has ended: its process is gone, or it long gave no sign."""
    return has_ended(str(trial.user_attrs.get(WORKER, ""))) or silence(trial) > GRACE


def silence(trial: FrozenTrial) -> float:
    """Seconds since a running trial's last sign of life."""
    begun = trial.datetime_start.timestamp() if trial.datetime_start is not None else 0.0
    return time.time() - float(trial.user_attrs.get(BEAT, begun))


def bury(study: Study) -> dict[int, bool]:
    """Marks trials of dead workers as lost, and has each tried again up to ``RETRIES`` times.

    Returns:
        Number of each trial that was found lost now, by this worker -> whether it is tried again.
    """
    found = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_dead(trial) and fail(study, trial.number, LOST, SILENT):
            found[trial.number] = retry(study, trial)
    return found


def fail(study: Study, number: int, outcome: str, reason: str) -> bool:
    """Ends a running trial without a value; False where another worker was first."""
    trial = next(t for t in study.get_trials(deepcopy=False) if t.number == number)
    try:
        # the outcome first: what has ended cannot be written to
        optuna.Trial(study, trial._trial_id).set_user_attr(OUTCOME, outcome)
        optuna.Trial(study, trial._trial_id).set_user_attr(REASON, reason)
        study.tell(number, state=TrialState.FAIL)
    except (ValueError, RuntimeError):  # it has ended already
        return False
    return True


def retry(study: Study, trial: FrozenTrial) -> bool:
    """Puts the settings of a lost trial into the queue, unless they were lost too often.

    Returns:
        Whether they are in the queue now; also not where none were drawn yet.
    """
    history = [*trial.user_attrs.get(RETRY_OF, []), trial.number]
    # what it was to try again, and had not drawn yet, it hands on
    settings = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    if not settings or len(history) > RETRIES:
        return False
    study.enqueue_trial(settings, user_attrs={RETRY_OF: history})
    return True
