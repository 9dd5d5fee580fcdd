"""One run from settings to results, and several seeds of it.

``runs/<name>/seed<k>/`` then holds ``settings.yaml``, ``log.jsonl``, ``best.safetensors``,
``last.safetensors``, ``predictions.csv``, ``metrics.json``, ``curves.png`` and TensorBoard events,
``epoch<k>.safetensors`` for each epoch in ``training.keep_epochs``, and ``missing.png`` with
``evaluation.missing``; ``metrics.json`` comes last and says that the run is complete.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import Prepared, prepare
from mimrl.errors import ConfigError
from mimrl.launch import first_process
from mimrl.model.model import MIMRL
from mimrl.settings import Settings, dump
from mimrl.training import checkpoint
from mimrl.training.alarm import alarmed
from mimrl.training.costs import logged_seconds, seed_line
from mimrl.training.folder import check_folder, folder_of, start_folder, stored_state
from mimrl.training.frozen import with_hidden_states
from mimrl.training.memory import freed_memory_given_back, keep_freed_memory
from mimrl.training.precision import require_usable
from mimrl.training.randomness import Place, seeded
from mimrl.training.requirements import require_banks, require_shares, require_workers
from mimrl.training.results import METRICS, RunResult, completed, finish
from mimrl.training.scoring import selection_metric
from mimrl.training.summary import Summary, summarise
from mimrl.training.team import ALONE, Team, assemble
from mimrl.training.tracking import read_log, write_json
from mimrl.training.trainer import Trainer


@alarmed()
def train(
    settings: Settings, *, resume: bool = False, overwrite: bool = False, progress: bool = True
) -> RunResult:
    """Trains one model with the seed of the settings, or finishes a run that was interrupted.

    Args:
        settings: everything the run depends on.
        resume: go on from the last complete epoch; a run that is complete is only read.
        overwrite: replace a run that the folder holds already.
        progress: show a bar, when standard error is a terminal.

    Raises:
        ConfigError: the folder holds a run and neither ``resume`` nor ``overwrite`` is given; or
            the device, this machine or the data lack what the settings ask for.
        CheckpointError: the state to resume is damaged, of another version or other settings.
        DataError: the data cannot be used.
        NonFiniteError: a loss became NaN or infinite.
        ProcessError: another process of this training has failed.
    """
    folder = folder_of(settings)
    team, device = assemble(choose_device(settings.device))
    require_usable(settings.performance, device)
    require_workers(settings.performance)
    check_folder(folder, resume=resume, overwrite=overwrite)
    state = stored_state(folder, settings, team) if resume else None
    done = completed(folder, settings) if resume else None
    start = (dump(settings), done is None, state[1]["epoch"] if state else 0)
    team.require_same("settings or files of the run", zlib.crc32(repr(start).encode()), device)
    if done is not None:
        return done
    with threads(settings.threads), freed_memory_given_back():
        data = prepare(open_corpus(settings.data), settings)
        trainer = build_trainer(settings, data, folder, device, team)
        team.wait()  # all have looked at the folder
        if team.first:
            start_folder(folder, settings, overwrite=overwrite)
        if state is not None:
            trainer.load_state(*state)
        started = time.perf_counter()
        trainer.fit(progress=progress)
        team.wait()  # the last model is written
        return finish(settings, trainer.data, folder, device, time.perf_counter() - started, team)


@alarmed()
def train_seeds(
    settings: Settings,
    seeds: Sequence[int],
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> Summary:
    """Trains once a seed and summarises; with several seeds also writes ``summary.json``.

    Args:
        settings: everything the runs depend on, but for the seed.
        seeds: one run each, in this order.
        resume: see :func:`train`; a seed that is complete costs nothing.
        overwrite: see :func:`train`.
        progress: see :func:`train`.
        say: gets a line after each seed: what it cost and what is left.

    Raises:
        ConfigError: no seed, or one twice; also whatever :func:`train` raises.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds must be one or more different numbers, got {list(seeds)}")
    folder = Path(settings.output) / settings.name
    costs = _Costs(settings, seeds, folder, resume=resume)
    results = []
    for seed in seeds:
        started = time.perf_counter()
        chosen = settings.model_copy(update={"seed": seed})
        result = train(chosen, resume=resume, overwrite=overwrite, progress=progress)
        line = costs.add(result, time.perf_counter() - started)
        results.append(result)
        if say is not None:
            say(line)
    metrics = {result.seed: result.metrics for result in results}
    epochs = {result.seed: result.epoch for result in results}
    summary = summarise(folder, costs.metric, metrics, epochs, costs.seconds)
    if len(results) > 1 and first_process():
        write_json(folder / "summary.json", summary.as_dict())
    return summary


class _Costs:
    """What seeds took, and how many are left.

    Args:
        settings: of all seeds.
        seeds: all that are wanted.
        folder: holds one folder a seed.
        resume: a seed that is complete is only read.
    """

    def __init__(
        self, settings: Settings, seeds: Sequence[int], folder: Path, *, resume: bool
    ) -> None:
        self.metric = selection_metric(settings)
        self.seconds: dict[int, float] = {}
        self._count = len(seeds)
        done = {s for s in seeds if resume and (folder / f"seed{s}" / METRICS).is_file()}
        self._left = [seed for seed in seeds if seed not in done]

    def add(self, result: RunResult, wall: float) -> str:
        """A seed has ended after ``wall`` seconds of this call; a line that says so."""
        seed = result.seed
        self.seconds[seed] = max(wall, logged_seconds(read_log(result.folder)))
        mean = sum(self.seconds.values()) / len(self.seconds)
        spent = wall if seed in self._left else None
        self._left = [one for one in self._left if one != seed]
        value = result.metrics["valid"][self.metric]
        return seed_line(seed, self.metric, value, spent, len(self._left), self._count, mean)


def build_trainer(
    settings: Settings, data: Prepared, folder: Path, device: torch.device, team: Team = ALONE
) -> Trainer:
    """A trainer with a new model of the settings' seed; nothing is written before it trains.

    Raises:
        ConfigError: the device, this machine or the data lack what the settings ask for.
    """
    require_shares(data, team)
    require_banks(settings, data, team)
    if device.type == "cpu":
        keep_freed_memory()
    with seeded(settings.seed, Place.INITIALISATION, 0):
        model = build_model(settings, data)
    model = model.to(device)
    cache = settings.performance.cache
    if cache is not None and not team.first:
        team.wait()  # for what the first one keeps
    data = with_hidden_states(model, data, device, folder=cache, progress=team.first)
    if cache is not None and team.first:
        team.wait()
    return Trainer(settings, data, model, folder, device=device, team=team)


def build_model(settings: Settings, data: Prepared) -> MIMRL:
    """A model that fits the data; its weights come from the global generator."""
    return MIMRL(
        settings.model,
        settings.data.modalities,
        data.widths,
        checkpoint.outputs(settings, data.num_classes),
    )


def choose_device(name: str) -> torch.device:
    """``auto`` takes a GPU when there is one.

    Raises:
        ConfigError: ``cuda`` where PyTorch finds no GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but PyTorch finds no GPU here; use device=auto or cpu")
    return torch.device(name)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """PyTorch with ``count`` CPU threads (None: as it is) for as long as this lasts."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)
