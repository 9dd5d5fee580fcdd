"""One run from settings to results, and several seeds of it.

``runs/<name>/seed<k>/`` then holds ``settings.yaml``, ``log.jsonl``, ``best.safetensors``,
``last.safetensors``, ``predictions.csv``, ``metrics.json``, ``curves.png`` and TensorBoard events,
and ``epoch<k>.safetensors`` for each epoch in ``training.keep_epochs``; ``metrics.json`` comes last
and says that the run is complete.
"""

from __future__ import annotations

import json
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import Prepared, prepare
from mimrl.errors import CheckpointError, ConfigError
from mimrl.launch import first_process
from mimrl.model.model import MIMRL
from mimrl.settings import Settings, dump, from_mapping
from mimrl.training import checkpoint
from mimrl.training.controls import read_terms
from mimrl.training.costs import logged_seconds, seed_line
from mimrl.training.curves import draw_curves
from mimrl.training.frozen import with_hidden_states
from mimrl.training.inference import Features, encode
from mimrl.training.memory import freed_memory_given_back, keep_freed_memory
from mimrl.training.objectives import probabilities
from mimrl.training.precision import require_usable
from mimrl.training.randomness import Place, seeded
from mimrl.training.scoring import score, selection_metric
from mimrl.training.summary import Summary, summarise
from mimrl.training.team import ALONE, Team, assemble
from mimrl.training.tracking import read_log, write_json, write_text
from mimrl.training.trainer import ENCODED, Trainer

METRICS = "metrics.json"
SETTINGS = "settings.yaml"
PREDICTIONS = "predictions.csv"
CURVES = "curves.png"
ALIVE = 0.01
HELD_OUT = ("valid", "test")
MACHINE_KEYS = ("device", "output", "performance.loader_workers", "performance.cache")


@dataclass(frozen=True)
class RunResult:
    """What one run ended with.

    Attributes:
        folder: ``runs/<name>/seed<k>``.
        seed: its seed.
        epoch: the epoch that validation chose; every metric is of this epoch.
        metrics: split (``valid``, ``test``) -> metric -> value.
    """

    folder: Path
    seed: int
    epoch: int
    metrics: Mapping[str, Mapping[str, float]]


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
            the device or this machine lacks what ``settings.performance`` asks for.
        CheckpointError: the state to resume is damaged, of another version or other settings.
        DataError: the data cannot be used.
        NonFiniteError: a loss became NaN or infinite.
    """
    folder = Path(settings.output) / settings.name / f"seed{settings.seed}"
    team, device = assemble(choose_device(settings.device))
    require_usable(settings.performance, device)
    _check_folder(folder, resume=resume, overwrite=overwrite)
    state = _stored_state(folder, settings, team) if resume else None
    done = _completed(folder, settings) if resume else None
    start = (dump(settings), done is None, state[1]["epoch"] if state else 0)
    team.require_same("settings or files of the run", zlib.crc32(repr(start).encode()), device)
    if done is not None:
        return done
    with threads(settings.threads), freed_memory_given_back():
        data = prepare(open_corpus(settings.data), settings)
        trainer = build_trainer(settings, data, folder, device, team)
        team.wait()  # all have looked at the folder
        if team.first:
            _start_folder(folder, settings, overwrite=overwrite)
        if state is not None:
            trainer.load_state(*state)
        started = time.perf_counter()
        trainer.fit(progress=progress)
        team.wait()  # the last model is written
        return _finish(settings, trainer.data, folder, device, time.perf_counter() - started, team)


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
    metric = selection_metric(settings)
    left = [seed for seed in seeds if not (resume and (folder / f"seed{seed}" / METRICS).is_file())]
    results, costs = [], {}
    for seed in seeds:
        started = time.perf_counter()
        chosen = settings.model_copy(update={"seed": seed})
        result = train(chosen, resume=resume, overwrite=overwrite, progress=progress)
        wall = time.perf_counter() - started
        results.append(result)
        costs[seed] = max(wall, logged_seconds(read_log(result.folder)))
        if say is not None:
            mean = sum(costs.values()) / len(costs)
            spent = wall if seed in left else None
            left = [one for one in left if one != seed]
            value = result.metrics["valid"][metric]
            say(seed_line(seed, metric, value, spent, len(left), len(seeds), mean))
    metrics = {result.seed: result.metrics for result in results}
    epochs = {result.seed: result.epoch for result in results}
    summary = summarise(folder, metric, metrics, epochs, costs)
    if len(results) > 1 and first_process():
        write_json(folder / "summary.json", summary.as_dict())
    return summary


def build_trainer(
    settings: Settings, data: Prepared, folder: Path, device: torch.device, team: Team = ALONE
) -> Trainer:
    """A trainer with a new model of the settings' seed; nothing is written before it trains."""
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


def _check_folder(folder: Path, *, resume: bool, overwrite: bool) -> None:
    """Raises ConfigError where this run would have to touch what it must not."""
    if resume and overwrite:
        raise ConfigError("resume and overwrite exclude each other")
    if not folder.exists() or not any(folder.iterdir()) or resume:
        return
    if not overwrite:
        raise ConfigError(
            f"{folder} already holds a run; --resume goes on with it, --overwrite replaces it, "
            "name=... starts another"
        )
    if not (folder / SETTINGS).is_file():
        raise ConfigError(f"{folder} is not a run of mimrl (no {SETTINGS}); it is left alone")


def _start_folder(folder: Path, settings: Settings, *, overwrite: bool) -> None:
    """The folder of a run that nothing can refuse any more, with its settings in it."""
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder of the run, {folder}, cannot be made ({error}); set output to a folder "
            "that can be written to"
        ) from error
    write_text(folder / SETTINGS, dump(settings))


def _stored_state(folder: Path, settings: Settings, team: Team) -> tuple[Any, Any] | None:
    if not (folder / checkpoint.LAST).is_file():
        return None
    file = folder / checkpoint.LAST
    tensors, header = checkpoint.read(file, "state")
    try:
        stored = from_mapping(header["settings"], source=f"settings in {file}")
    except (KeyError, ConfigError) as error:
        raise CheckpointError(
            f"{file} does not fit this version of mimrl: {error}; start again with --overwrite"
        ) from error
    differ = sorted(_differences(stored.model_dump(), settings.model_dump()))
    if differ:
        raise CheckpointError(
            f"{folder} was started with other settings ({', '.join(differ)}); resume with the "
            f"same ones, as {folder / SETTINGS} has them, or give the run another name"
        )
    if header.get("processes", 1) != team.size:
        raise CheckpointError(
            f"{folder} was started with {header.get('processes', 1)} processes, which had batches "
            f"of {header.get('processes', 1) * settings.training.batch_size}; this command has "
            f"{team.size}: resume with as many, or give the run another name"
        )
    return tensors, header


def _differences(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            name = f"{prefix}.{key}" if prefix else str(key)
            if name not in MACHINE_KEYS:
                yield from _differences(old.get(key), new.get(key), name)
    elif old != new:
        yield prefix


def _completed(folder: Path, settings: Settings) -> RunResult | None:
    """The result of a run that was complete before."""
    if not (folder / METRICS).is_file():
        return None
    try:
        found = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        metrics = {
            split: {k: float("nan") if v is None else float(v) for k, v in found[split].items()}
            for split in HELD_OUT
        }
        return RunResult(folder, settings.seed, int(found["epoch"]), metrics)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / METRICS} is damaged ({error!r}); remove it, and --resume writes it again"
        ) from error


def _finish(
    settings: Settings,
    data: Prepared,
    folder: Path,
    device: torch.device,
    seconds: float,
    team: Team,
) -> RunResult:
    """Reads the test split, once, with the model that validation chose; writes the results.

    All processes have the features and the metrics; the first one writes.
    """
    loaded = checkpoint.load_model(folder)
    model = loaded.model.to(device)
    size = settings.training.batch_size
    features = {
        name: encode(model, samples, batch_size=max(size, ENCODED), device=device, team=team)
        for name, samples in data.splits.items()
    }
    metrics = {split: score(settings, features[split]) for split in HELD_OUT}
    result = RunResult(folder, settings.seed, loaded.epoch, metrics)
    if team.first:
        _report(settings, data, loaded, features, result, seconds, team)
    team.wait()
    return result


def _report(
    settings: Settings,
    data: Prepared,
    loaded: checkpoint.Loaded,
    features: Mapping[str, Features],
    result: RunResult,
    seconds: float,
    team: Team,
) -> None:
    """Writes predictions, curves and, last of all, the metrics."""
    folder, model, training = result.folder, loaded.model, settings.training
    report: dict[str, Any] = {
        "name": settings.name,
        "seed": settings.seed,
        "selected_by": f"valid {selection_metric(settings)}",
        "epoch": loaded.epoch,
        "epochs_run": len(read_log(folder)),
        **result.metrics,
        "samples": {name: len(samples) for name, samples in data.splits.items()},
        "alive": alive(features["test"]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(seconds, 1),
        "processes": team.size,
        "global_batch_size": training.batch_size * team.size,
    }
    if loaded.critics is not None and settings.training.controls:
        banks = {name: f.variables(data.num_classes) for name, f in features.items()}
        critics = loaded.critics.to(features["train"].fused.device)
        terms = read_terms(_as_one(settings, team), critics, banks, training.controls)
        report["terms"] = {name: reading.as_dict() for name, reading in terms.items()}
    write_text(folder / PREDICTIONS, _predictions(settings, data, features))
    draw_curves(read_log(folder), folder / CURVES, chosen=loaded.epoch)
    write_json(folder / METRICS, report)


def _as_one(settings: Settings, team: Team) -> Settings:
    """Settings with which one process has the batches that the team had together."""
    training, size = settings.training, team.size
    stage1 = training.stage1_batch_size
    sizes = {
        "batch_size": training.batch_size * size,
        "stage1_batch_size": None if stage1 is None else stage1 * size,
    }
    return settings.model_copy(update={"training": training.model_copy(update=sizes)})


def alive(features: Features) -> dict[str, float]:
    """Share of the dimensions of each modality's features that vary (deviation above 0.01)."""
    return {
        name: float((values.std(dim=0, correction=0) > ALIVE).float().mean())
        for name, values in features.named().items()
    }


def _predictions(settings: Settings, data: Prepared, features: Mapping[str, Features]) -> str:
    """CSV of every held-out sample: split, id, label, prediction (and class probabilities)."""
    frames = []
    for split in HELD_OUT:
        found = features[split]
        columns: dict[str, Any] = {"split": split, "id": data.splits[split].ids}
        if settings.task == "regression":
            columns["label"] = found.labels.cpu().numpy()
            columns["prediction"] = found.prediction[:, 0].cpu().numpy()
        else:
            chance = probabilities(found.prediction).cpu().numpy()
            columns["label"] = [data.class_names[i] for i in found.labels.tolist()]
            columns["prediction"] = [data.class_names[i] for i in chance.argmax(axis=1)]
            for index, name in enumerate(data.class_names):
                columns[f"probability_{name}"] = chance[:, index]
        frames.append(pd.DataFrame(columns))
    return str(pd.concat(frames).to_csv(index=False))
