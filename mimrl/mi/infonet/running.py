"""A training run in a folder: its state, its log, its weights. Survives a kill at any moment."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from mimrl.errors import ConfigError
from mimrl.mi.infonet.network import GridNetwork, NetworkConfig
from mimrl.mi.infonet.storage import load_state, load_weights, save_state, save_weights
from mimrl.mi.infonet.training import Losses, Trainer, TrainingSettings
from mimrl.mi.infonet.validation import family_errors

STATE, WEIGHTS, LOG = "state.safetensors", "infonet.safetensors", "log.jsonl"
CHECK_SEED = 2**31 - 1
"""Of the pairs that a run is checked with."""
CHECK_SAMPLES, CHECK_PAIRS = 2000, 8


@dataclass(frozen=True)
class RunSettings:
    """How often a run writes.

    Attributes:
        save_every: steps between two states; a kill loses no more than these.
        check_every: steps between two looks at pairs that are not trained on.
        progress: show a bar on standard error.
    """

    save_every: int = 100
    check_every: int = 1000
    progress: bool = False


class Run:
    """A training in a folder, begun there or gone on with.

    Args:
        folder: of the run's files; what lies there already is gone on with.
        config: sizes of the network by name; what is not named is as it was, or the default.
        settings: how to train, by name; likewise.
        device: where.
        start: weights to begin with instead of random ones; where the folder holds a training
            already, they must not be given.

    Raises:
        ConfigError: settings out of range, or ones that a begun training cannot change.
        CheckpointError: the folder holds another kind of state.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        settings: Mapping[str, Any],
        device: torch.device | str,
        start: Path | None = None,
    ) -> None:
        self.folder = folder
        self.seconds = 0.0
        self.pairs = 0
        state = folder / STATE
        if state.is_file() and start is not None:
            raise ConfigError(f"{state} is gone on with; begin from {start} in another folder")
        if start is not None:
            network = load_weights(start, device)
            _refuse_changes(start, network, config)
            self.trainer = Trainer(network.config, checked(_settings(settings)), device)
            self.trainer.begin_from(network)
            return
        if not state.is_file():
            chosen = checked(_settings(settings))
            self.trainer = Trainer(
                checked_sizes(replace(NetworkConfig(), **config)), chosen, device
            )
            return
        self.trainer, content = load_state(state, settings, device)
        self.seconds, self.pairs = content["seconds"], content["pairs"]
        if self.trainer.settings.seed != content["settings"]["seed"]:
            raise ConfigError(f"{state} was begun with another seed; leave it out to go on")
        _refuse_changes(state, self.trainer.network, config)
        checked(self.trainer.settings)

    def train(self, run: RunSettings) -> None:
        """Trains to the last step and writes the weights.

        Raises:
            NonFiniteError: the loss became NaN or infinite.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        trainer, steps = self.trainer, self.trainer.settings.steps
        _forget_after(self.folder / LOG, trainer.step)
        tally: list[Tensor] = []
        before = time.monotonic()
        with tqdm(total=steps, initial=trainer.step, disable=not run.progress, unit="step") as bar:
            while trainer.step < steps:
                losses = trainer.advance()
                tally.append(_numbers(losses))
                self.pairs += trainer.settings.batch
                bar.update()
                last = trainer.step == steps
                if trainer.step % run.save_every == 0 or last:
                    now = time.monotonic()
                    self.seconds, before = self.seconds + now - before, now
                    check = trainer.step % run.check_every == 0 or last
                    row = self._save(torch.stack(tally).mean(dim=0), check)
                    bar.set_postfix(gap=row["gap"], error=row["error"])
                    tally = []
        if not (self.folder / WEIGHTS).is_file():  # the run was at its end before
            self._save_weights()

    def _save(self, means: Tensor, check: bool) -> dict[str, Any]:
        trainer = self.trainer
        names = ("loss", "gap", "error")
        row: dict[str, Any] = {"step": trainer.step, "seconds": round(self.seconds, 1)}
        row |= {name: round(float(v), 5) for name, v in zip(names, means, strict=True)}
        if check:
            found = family_errors(trainer.average, CHECK_SAMPLES, CHECK_PAIRS, CHECK_SEED)
            row["checked"] = {each.name: round(each.absolute, 4) for each in found}
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        save_state(self.folder / STATE, trainer, self._about())
        self._save_weights()
        return row

    def _save_weights(self) -> None:
        settings = {"settings": asdict(self.trainer.settings), "step": self.trainer.step}
        about = {**settings, **self._about(), "torch": torch.__version__}
        save_weights(self.folder / WEIGHTS, self.trainer.average, about)

    def _about(self) -> dict[str, Any]:
        return {"seconds": round(self.seconds, 1), "pairs": self.pairs}


def checked(settings: TrainingSettings) -> TrainingSettings:
    """The same settings.

    Raises:
        ConfigError: a value out of its range.
    """
    ranges = {
        "steps": settings.steps >= 1,
        "batch": settings.batch >= 4 and settings.batch % 4 == 0,
        "fresh": settings.fresh >= 100,
        "least": settings.least >= 20,
        "most": settings.least <= settings.most,
        "learning_rate": 0 < settings.learning_rate <= 1,
        "warm_up": settings.warm_up >= 1,
        "decay": 0 <= settings.decay <= 1,
        "clip": settings.clip > 0,
        "averaging": 0 <= settings.averaging < 1,
        "estimate_weight": settings.estimate_weight >= 0,
        "seed": 0 <= settings.seed < 2**31 and settings.seed != CHECK_SEED,
    }
    for name, fits in ranges.items():
        if not fits:
            value = getattr(settings, name)
            raise ConfigError(
                f"{name.replace('_', '-')} = {value} is out of its range (see --help)"
            )
    return settings


def checked_sizes(config: NetworkConfig) -> NetworkConfig:
    """The same sizes.

    Raises:
        ConfigError: sizes that no network has.
    """
    if config.grid < 16 or config.grid % 16:
        raise ConfigError(f"grid = {config.grid}: expected a multiple of 16")
    if config.largest < 100:
        raise ConfigError(f"largest = {config.largest}: expected at least 100")
    if config.width < 1 or min(config.fields) < 1 or min(*config.down, *config.up) < 0:
        raise ConfigError("width and fields must be at least 1, numbers of blocks at least 0")
    return config


def _settings(given: Mapping[str, Any]) -> TrainingSettings:
    return replace(TrainingSettings(), **given)


def _refuse_changes(path: Path, network: GridNetwork, config: Mapping[str, Any]) -> None:
    """A network keeps its sizes."""
    sizes = asdict(network.config)
    changed = [name for name, value in config.items() if value != sizes[name]]
    if changed:
        raise ConfigError(
            f"{path} holds a network with another {', '.join(changed)}; leave it out to go on, or "
            "begin in another folder"
        )


def _forget_after(log: Path, step: int) -> None:
    """Removes rows of steps that a kill undid."""
    if log.is_file():
        rows = log.read_text(encoding="utf-8").splitlines()
        kept = [row for row in rows if row.endswith("}") and json.loads(row)["step"] <= step]
        log.write_text("".join(f"{row}\n" for row in kept), encoding="utf-8")


def _numbers(losses: Losses) -> Tensor:
    return torch.stack([getattr(losses, f.name).detach() for f in fields(losses)]).cpu()
