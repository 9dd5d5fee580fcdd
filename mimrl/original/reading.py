"""The weights in a file of the original code, and whether a file is one; nothing in it is run."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mimrl.errors import CheckpointError, MissingFileError

CHECKPOINT = "best_valid_model.pth.tar"
PREFIX = "module."  # what DataParallel puts before every name
MARK = "mlp_encoder.layers_stack.0.mlp_l.fc1.weight"  # in every network of the original code
_LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # torch.save before version 1.6
_LEGACY_PICKLES = 4  # magic number, protocol, system, then the object with its names


@dataclass(frozen=True)
class Stored:
    """What is read from a checkpoint.

    Attributes:
        path: the file.
        weights: names without ``module.`` -> tensors on the CPU; floats may still lie in the file.
        epoch: the epoch written into it, counted from 1; None where it holds none.
    """

    path: Path
    weights: Mapping[str, Tensor]
    epoch: int | None


def is_original(path: str | Path) -> bool:
    """Whether a file, or a folder's ``best_valid_model.pth.tar``, is an original checkpoint.

    Decided by the names of weights in it. They are read from the opcodes of its pickle, which is
    not executed, so a file that :func:`read_weights` will refuse is recognised as well. Never
    raises.
    """
    file = _file(Path(path))
    try:
        return any(text.removeprefix(PREFIX) == MARK for text in _strings(file))
    except Exception:  # a damaged file can fail in every way; it is then not recognised
        return False


def read_weights(path: str | Path) -> Stored:
    """The network's weights in a checkpoint of the original code.

    Args:
        path: the file, or the folder of a run that holds ``best_valid_model.pth.tar``.

    Raises:
        MissingFileError: no such file.
        CheckpointError: not a file of ``torch.save``, damaged, with other things than tensors and
            containers in it, or without the weights of a MIMRL network.
    """
    file = _file(Path(path))
    if not file.is_file():
        raise MissingFileError(
            f"checkpoint {file} does not exist; expected a file such as "
            f"TaskRuning/<name>/{CHECKPOINT}, or the folder that holds it"
        )
    content = _content(file)
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not isinstance(model, Mapping):
        raise CheckpointError(
            f"{file}: expected a dictionary with 'epoch', 'model', 'optim_main', 'optim_vmi', as "
            f"the original MIMRL writes it, got {_described(content)}; name its {CHECKPOINT}"
        )
    named = {str(name).removeprefix(PREFIX): value for name, value in model.items()}
    _check(file, named)
    epoch = content.get("epoch")
    return Stored(file, named, epoch + 1 if isinstance(epoch, int) else None)


def _file(path: Path) -> Path:
    return path / CHECKPOINT if path.is_dir() else path


def _content(file: Path) -> Any:
    try:
        # Mapped into memory, the optimisers' state, twice as large as the weights, is never read.
        mapped = zipfile.is_zipfile(file)
        return torch.load(file, weights_only=True, map_location="cpu", mmap=mapped)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked is None:
            raise _damaged(file, error) from error
        raise CheckpointError(
            f"{file}: refused, because it asks for {asked[1]}; expected tensors, numbers and "
            "containers only, as torch.save writes a state_dict. If you trust the file, load it "
            "yourself and save {'epoch': ..., 'model': model.state_dict()} again"
        ) from error
    except Exception as error:  # a damaged file can fail in every way Python can
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> CheckpointError:
    first = " ".join(str(error).split())[:200]
    return CheckpointError(
        f"{file}: expected a whole file written by torch.save, but it is truncated, damaged or "
        f"something else ({type(error).__name__}: {first}); copy it again"
    )


def _check(file: Path, named: Mapping[str, object]) -> None:
    if MARK not in named:
        raise CheckpointError(
            f"{file}: its 'model' has no weights {MARK!r}; expected those of the original MIMRL, "
            f"got {len(named)} names such as {', '.join(sorted(named)[:3]) or 'none'}"
        )
    for name, value in named.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{file}: {name} is {type(value).__name__}, expected a tensor; save a state_dict"
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(
                f"{file}: {name} holds NaN or infinite weights, so the network has no outputs; "
                "the training diverged: use the checkpoint of another run"
            )


def _strings(file: Path) -> Iterator[str]:
    """Strings in the pickle of a file of ``torch.save``, without building anything from it."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if name.count("/") == 1 and name.endswith("/data.pkl"):
                    with archive.open(name) as stream:
                        yield from _of_pickle(stream)
        return
    with file.open("rb") as stream:
        if stream.read(len(_LEGACY)) == _LEGACY:
            for _ in range(_LEGACY_PICKLES - 1):
                yield from _of_pickle(stream)


def _of_pickle(stream: Any) -> Iterator[str]:
    source: BinaryIO = stream
    for _, argument, _ in pickletools.genops(source):
        if isinstance(argument, str):
            yield argument


def _described(content: object) -> str:
    if isinstance(content, Mapping):
        return f"one with {', '.join(sorted(map(str, content))[:6]) or 'nothing in it'}"
    return type(content).__name__
