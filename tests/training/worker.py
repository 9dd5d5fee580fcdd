"""One of several processes of a test: ``worker.py JOB.json``; see ``test_together.py``.

A job is a list of trainings, one after the other in the same processes. What they did step by step
is written beside the job, one file a process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from mimrl.launch import first_process
from mimrl.settings import from_mapping
from mimrl.training import checkpoint, folder, results, run, tracking, trainer
from mimrl.training.optimisation import Learner
from mimrl.training.trainer import Trainer


def recorded(settings: Any, **options: Any) -> dict[str, Any]:
    """Trains; gives every step's loss, the selection and what the parameters are in the end."""
    losses: list[float] = []
    found: dict[str, Any] = {"losses": losses}
    step, select = Learner.step, Trainer._select

    def watched_step(self: Learner, loss: torch.Tensor) -> None:
        losses.append(float(loss.detach()))
        step(self, loss)

    def watched_select(self: Trainer, epoch: int, value: float) -> None:
        select(self, epoch, value)
        found["selection"] = [self.selection.epoch, self.selection.score]
        weights = {**self.model.state_dict(), **dict(self.critics.state_dict())}
        found["weights"] = {k: v.double().flatten().tolist() for k, v in weights.items()}

    Learner.step, Trainer._select = watched_step, watched_select
    try:
        result = run.train(settings, progress=False, **options)
    finally:
        Learner.step, Trainer._select = step, select
    found["metrics"] = {split: dict(values) for split, values in result.metrics.items()}
    return found


def interrupted(settings: Any) -> None:
    """The first epoch of a training, of which the second is lost."""
    save = Trainer._save_state

    def ended(self: Trainer) -> None:
        if self.epoch == 2:
            self.team.wait()  # Ctrl-C reaches all, and nobody in the middle of an operation
            raise KeyboardInterrupt
        save(self)

    Trainer._save_state = ended
    try:
        run.train(settings, progress=False)
    except KeyboardInterrupt:
        return
    finally:
        Trainer._save_state = save
    raise AssertionError("the training was to be interrupted")


def forbid_writing() -> None:
    """Whatever this process tries to write is an error."""

    def refused(*args: Any, **more: Any) -> None:
        raise AssertionError(f"this process must not write: {args}")

    for module, names in {
        checkpoint: ("write",),
        tracking: ("write_text", "write_json", "SummaryWriter"),
        run: ("write_json",),
        folder: ("write_text",),
        results: ("write_text", "write_json", "draw_curves", "draw_missing"),
        trainer: ("Tracker",),
    }.items():
        for name in names:
            setattr(module, name, refused)
    Path.mkdir = refused


def main(job: Path) -> None:
    """All trainings of a job."""
    if not first_process():
        forbid_writing()
    found = []
    for task in json.loads(job.read_text()):
        settings = from_mapping(task["settings"])
        if task.get("interrupt"):
            interrupted(settings)
        found.append(recorded(settings, resume=bool(task.get("interrupt"))))
    rank = torch.distributed.get_rank()
    job.with_name(f"found{rank}.json").open("w").write(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
