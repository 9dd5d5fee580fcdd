"""Hidden states of a frozen encoder in files, found again by all that they depend on.

One file a split, in the safetensors format: ``values`` ``(sum of lengths, d)`` float32 and
``offsets`` ``(N + 1,)`` int64, with ``format``, ``format_version``, ``key`` and ``sha256`` (of the
values and offsets) in its header. A file appears whole, by a rename, so that several runs may share
a folder; a run keeps reading the file that it opened, whatever becomes of its name.

Note:
    Not HDF5, because a disk that fills up while HDF5 1.14 and 2.0 write ends the whole process
    (its library crashes when it closes such a file); here that must cost a warning only.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mimrl.datasets.features import FloatArray, IntArray, Ragged
from mimrl.datasets.paths import require_space
from mimrl.datasets.rows import row_blocks
from mimrl.errors import DataError, MimrlError, TrainingWarning
from mimrl.pretrained import encoder_config
from mimrl.training.turns import turn

FORMAT = "mimrl-states"
FORMAT_VERSION = 1
READ_BYTES = 1 << 22
ABANDONED = 86400.0  # seconds without a write: a day is beyond any difference of hosts' clocks
ALIGNMENT = 64  # of the values in their file, as everywhere in safetensors headers


class UnwritableError(MimrlError, OSError):
    """States could not be written; nothing is left of the attempt."""


@dataclass(frozen=True)
class States:
    """Which hidden states are meant.

    Attributes:
        key: of all they depend on, see :func:`key_of`.
        offsets: ``(N + 1,)`` int64, those of the token ids.
        width: ``d``.
    """

    key: str
    offsets: IntArray
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Of the values."""
        return int(self.offsets[-1]), self.width

    @property
    def nbytes(self) -> int:
        """Of the values as float32."""
        return 4 * self.shape[0] * self.width

    def file(self, folder: Path) -> Path:
        """Where they are kept in ``folder``."""
        return folder / f"text-{self.key}.safetensors"


def encoder_digest(encoder: nn.Module) -> str:
    """A digest of a transformers model's configuration and of every weight.

    The version of the library that wrote the configuration is left out.
    """
    config = encoder_config(encoder)
    config.pop("transformers_version", None)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        plain = value.detach().cpu().contiguous().reshape(-1)
        digest.update(plain.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def key_of(encoder: str, ids: Ragged, how: str) -> str:
    """What hidden states depend on, as 40 hexadecimal digits.

    Args:
        encoder: its :func:`encoder_digest`.
        ids: token ids of all samples; their ends and the tokenizer's part are in them.
        how: anything else that changes the values, if only by rounding.
    """
    digest = hashlib.sha256(f"{FORMAT} {FORMAT_VERSION} {encoder} {how};".encode())
    digest.update(ids.offsets.astype("<i8").tobytes())
    for _, block in row_blocks(ids.values):
        digest.update(block.astype("<i8").tobytes())
    return digest.hexdigest()[:40]


class FileRows:
    """Rows of float32 in a file, read by slices; opened at the first use, pickled as its path.

    Args:
        path: the file.
        start: bytes before the first row.
        shape: rows and width.
    """

    clean = True  # states are finite, or the encoder is broken: no reader need look

    def __init__(self, path: Path, start: int, shape: tuple[int, int]) -> None:
        self.path, self.start, self.shape = path, start, shape
        self._file: FileIO | None = None

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.generic]:
        """The rows of a slice with step 1.

        Raises:
            DataError: the file was cut short, or has gone before it was first read.
        """
        first, last, _ = rows.indices(self.shape[0])
        found = np.empty((max(last - first, 0), self.shape[1]), "<f4")
        view = found.reshape(-1).view(np.uint8)
        place = self.start + 4 * self.shape[1] * first
        try:
            self._file = self._file or self.path.open("rb", buffering=0)
            while len(view):  # a read may give less than was asked for; not moving the file's
                got = os.preadv(self._file.fileno(), [view.data], place)  # place, it suits threads
                if got == 0:
                    raise OSError("it ends too early")
                view, place = view[got:], place + got
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be read any more ({error}); leave the cache alone during a "
                "run, and start again"
            ) from error
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}


def find(states: States, folder: Path) -> Ragged | None:
    """The states from their file, on disk still; None where there is no file that can be used.

    All of the file is read once, so that its digest tells of damage now and not in mid-training.

    Warns:
        TrainingWarning: there is a file, but it is damaged.
    """
    path = states.file(folder)
    try:
        return _opened(states, path) if path.exists() else None
    except (DataError, OSError) as error:
        warnings.warn(
            f"performance.cache: {path} cannot be used ({error}); its states are computed again",
            TrainingWarning,
            stacklevel=2,
        )
        return None


def shared(
    states: States,
    folder: Path,
    blocks: Callable[[], Iterable[FloatArray]],
    waiting: Callable[[str], object],
) -> tuple[Ragged, bool]:
    """The states from their file, which one of all processes that want it at once makes.

    Args:
        states: what is wanted.
        folder: where they are kept.
        blocks: computes all rows of the values in their order.
        waiting: gets the name of the process that is waited for.

    Returns:
        The states, and whether they were there without being computed here.

    Raises:
        UnwritableError: as of :func:`keep`.

    Warns:
        TrainingWarning: as of :func:`find`.
    """
    path = states.file(folder)
    while True:
        before = _stamp(path)
        found = None if before is None else find(states, folder)
        if found is not None:
            return found, True
        usable = partial(_is_new, path, before)
        with turn(path, usable, waiting) as mine:
            if mine and not usable():
                return keep(states, folder, blocks()), False


def _is_new(path: Path, before: tuple[int, int] | None) -> bool:
    """Whether there is a file, and another one than ``before``."""
    return _stamp(path) not in (None, before)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes with every file in this place; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def keep(states: States, folder: Path, blocks: Iterable[FloatArray]) -> Ragged:
    """Writes the states as they come and gives them back from the file.

    Args:
        states: what is written.
        folder: where; it is made where it does not exist.
        blocks: all rows of the values in their order.

    Raises:
        UnwritableError: no folder, no space, no permission.
    """
    path = states.file(folder)
    beside = folder / f".{path.name}.{uuid.uuid4().hex}.tmp"  # unlike a process id, for all hosts
    digest = hashlib.sha256()
    with _reported(path):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        require_space(folder, states.nbytes)
        file = beside.open("xb")
    try:
        with _reported(path):
            file.write(_header(states, "0" * 64))
        for block in chain(blocks, [states.offsets.astype("<i8")]):
            with _reported(path):
                content = np.ascontiguousarray(block).data
                digest.update(content)
                file.write(content)
        with _reported(path):
            file.seek(0)
            file.write(_header(states, digest.hexdigest()))
            file.flush()
            os.fsync(file.fileno())
            file.close()
            beside.replace(path)
    finally:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return Ragged(FileRows(path, len(_header(states, "0" * 64)), states.shape), states.offsets)


def _remove_abandoned(path: Path) -> None:
    """Removes what killed runs left of the same states; a run at work writes to its own."""
    for beside in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            if time.time() - beside.stat().st_mtime > ABANDONED:
                beside.unlink()


def _header(states: States, digest: str) -> bytes:
    """What stands before the values: a size and that many bytes of JSON, spaces at the end."""
    ends = [0, states.nbytes, states.nbytes + 8 * len(states.offsets)]
    tensors = {
        "__metadata__": {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "key": states.key,
            "sha256": digest,
        },
        "values": {"dtype": "F32", "shape": list(states.shape), "data_offsets": ends[:2]},
        "offsets": {"dtype": "I64", "shape": [len(states.offsets)], "data_offsets": ends[1:]},
    }
    text = json.dumps(tensors).encode()
    text += b" " * (-(len(text) + 8) % ALIGNMENT)
    return struct.pack("<Q", len(text)) + text


def _opened(states: States, path: Path) -> Ragged:
    """The states in a file, all of it tested.

    Raises:
        DataError: it is damaged, or not what its name says.
    """
    with path.open("rb") as file:
        empty = _header(states, "0" * 64)
        header = file.read(len(empty))
        digest = hashlib.sha256()
        while piece := file.read(READ_BYTES):
            digest.update(piece)
    if header != _header(states, digest.hexdigest()):
        raise DataError("it is damaged, cut short or another file")
    return Ragged(FileRows(path, len(header), states.shape), states.offsets)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turns what the disk raises into :class:`UnwritableError`."""
    try:
        yield
    except OSError as error:
        raise UnwritableError(f"{path} could not be written ({error})") from error
