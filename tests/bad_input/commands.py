"""The commands, small files for them, and our own files with changed headers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import save_file
from training.small import SMALL

import lsmi.command
import mimrl.command
import mimrl.datasets.__main__
from mimrl.datasets.features import SPLITS
from mimrl.training.checkpoint import HEADER

Main = Callable[[Sequence[str]], int]
TRAIN, READ, DATA = mimrl.command.main, lsmi.command.main, mimrl.datasets.__main__.main
NETWORK = tuple(item for item in SMALL if not item.startswith(("data.", "training.loss")))
SIZE = 12


def clips(name: str) -> dict[str, Any]:
    """A split of a small MMSA file."""
    generator = np.random.default_rng(0)
    return {
        "raw_text": np.array(["a word"] * SIZE, dtype=object),
        "text": generator.normal(size=(SIZE, 3, 4)).astype("f4"),
        "audio": generator.normal(size=(SIZE, 3, 2)).astype("f4"),
        "vision": generator.normal(size=(SIZE, 3, 3)).astype("f4"),
        "regression_labels": np.linspace(-3, 3, SIZE),
        "id": [f"{name}{i // 2}$_${i % 2}" for i in range(SIZE)],
    }


def write_clips(path: str = "clips.pkl", **changes: Any) -> str:
    """A small MMSA file with changed keys in train; None removes a split of that name."""
    content = {name: clips(name) for name in SPLITS if changes.get(name, 1) is not None}
    content["train"] |= {k: v for k, v in changes.items() if k not in SPLITS}
    Path(path).write_bytes(pickle.dumps(content))
    return path


def on_clips(*overrides: str, path: str = "clips.pkl") -> list[str]:
    """Arguments that train on such a file, its text features read by a recurrent encoder."""
    return [*NETWORK, f"data.path={path}", "device=cpu", *overrides]


def rewrite(path: Path, **header: Any) -> None:
    """One of our files again, with changed entries of its header."""
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()[HEADER])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    gone = {key for key, value in header.items() if value is None}
    meta = {key: value for key, value in (meta | header).items() if key not in gone}
    save_file(tensors, path, metadata={HEADER: json.dumps(meta)})


def resettled(path: Path, **changes: Any) -> None:
    """One of our files again, with changed settings in its header."""
    with safe_open(path, framework="pt") as file:
        settings = json.loads(file.metadata()[HEADER])["settings"]
    rewrite(path, settings=settings | changes)
