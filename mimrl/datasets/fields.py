"""Checks shared by the layout modules: a field of a file -> an array or names, or one DataError."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mimrl.datasets.features import (
    SPLITS,
    TEST,
    TRAIN,
    VALID,
    FloatArray,
    IntArray,
    Ragged,
)
from mimrl.errors import DataError

SPLIT_NAMES = {
    "train": TRAIN,
    "valid": VALID,
    "val": VALID,
    "dev": VALID,
    "validation": VALID,
    "test": TEST,
}
SEQUENCES = {"text": "text", "audio": "audio", "vision": "video"}  # key in files -> modality
_SPLIT_FILE = re.compile(rf"(?:.*[_\-.])?({'|'.join(SPLIT_NAMES)})", re.IGNORECASE)
_INDEXED = re.compile(r"(.+)\[\d+\]")
_INTERVAL = re.compile(r"(.+)\[[^\[\],]+,[^\[\],]+\]")
# Label columns of CMU-MOSEI's files, in their order.
MOSEI_LABELS = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
SHOWN = 5  # names listed in a message

Table = Mapping[object, object]


@dataclass(frozen=True)
class Where:
    """A place in a file, for messages."""

    path: Path
    split: str
    key: str = ""

    def at(self, key: str) -> Where:
        """The same split at another key."""
        return replace(self, key=key)

    def error(self, expected: str, got: str, advice: str = "") -> DataError:
        """An error that names the place, what was expected and what is there."""
        key = f", key {self.key!r}" if self.key else ""
        tail = f"; {advice}" if advice else ""
        return DataError(
            f"{self.path}, split {self.split!r}{key}: expected {expected}, got {got}{tail}"
        )


def describe(value: object) -> str:
    """What a value is, for messages: type, shape or size."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and type {value.dtype}"
    if isinstance(value, (str, bytes)):
        return f"{type(value).__name__} {value[:40]!r}"
    if isinstance(value, (list, tuple, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {value!r}"[:80]


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def split_of_file(path: Path) -> str | None:
    """``train``, ``valid`` or ``test`` by the end of the file's name (``mosi_dev.pkl``), or None.

    >>> split_of_file(Path("mosi_dev.pkl")), split_of_file(Path("mosi.pkl"))
    ('valid', None)
    """
    match = _SPLIT_FILE.fullmatch(path.stem)
    return SPLIT_NAMES[match[1].lower()] if match else None


def split_files(folder: Path) -> dict[str, Path]:
    """The pickles of a folder whose names end in that of a split: split -> file.

    Raises:
        DataError: two files for one split.
    """
    found: dict[str, Path] = {}
    for path in sorted((*folder.glob("*.pkl"), *folder.glob("*.pickle"))):
        split = split_of_file(path)
        if split is None:
            continue
        if split in found:
            raise DataError(
                f"{folder}: expected one file a split, got {found[split].name} and {path.name} "
                f"for {split!r}; set data.path to one of them, or move one away"
            )
        found[split] = path
    return {split: found[split] for split in SPLITS if split in found}


def named_splits(content: Mapping[object, object], path: Path) -> dict[str, object]:
    """The entries of a dict that are splits, under our names and in our order.

    Raises:
        DataError: two entries for one split, e.g. ``valid`` and ``dev``.
    """
    found: dict[str, object] = {}
    for key, value in content.items():
        split = SPLIT_NAMES.get(key) if isinstance(key, str) else None
        if split is None:
            continue
        if split in found:
            raise DataError(f"{path}: two of its keys mean the split {split!r}: {list(content)}")
        found[split] = value
    return {split: found[split] for split in SPLITS if split in found}


def tables(content: object) -> list[Table]:
    """The splits of ``{split: {key: values}}``; empty when the content is of another form."""
    if not isinstance(content, Mapping):
        return []
    inner = [value for key, value in content.items() if key in SPLIT_NAMES]
    return inner if all(isinstance(value, Mapping) for value in inner) else []


def named_tables(content: object, path: Path) -> dict[str, Table]:
    """The splits of ``{split: {key: values}}``, under our names and in our order."""
    found = named_splits(content, path) if isinstance(content, Mapping) else {}
    return {split: table for split, table in found.items() if isinstance(table, Mapping)}


def feature_arrays(table: Table, where: Where) -> dict[str, FloatArray]:
    """Modality -> ``(N, T, d)`` of the keys in :data:`SEQUENCES`; ``(N, d)`` is one step each."""
    found = {}
    for key, modality in SEQUENCES.items():
        if table.get(key) is not None:
            values = floats(table[key], where.at(key), axes=(2, 3))
            found[modality] = values[:, None, :] if values.ndim == 2 else values
    return found


def floats(value: object, where: Where, axes: tuple[int, ...]) -> FloatArray:
    """A value as float32 with one of the numbers of axes ``axes``.

    Values too large for float32 become infinite, and are then mended and counted like those.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(value).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise where.error("numbers of one shape", f"{describe(value)} ({error})") from error
    if array.ndim not in axes:
        wanted = " or ".join(str(n) for n in axes)
        raise where.error(f"an array with {wanted} axes", describe(np.asarray(value)))
    return array


def ragged(values: Sequence[FloatArray], where: Where, width: int | None = None) -> Ragged:
    """Sequences ``(T_i, d)`` end to end.

    Raises:
        DataError: they differ in ``d``.
    """
    widths = Counter(value.shape[1] for value in values if len(value))
    if len(widths) > 1:
        common = widths.most_common(1)[0][0]
        odd = next(i for i, value in enumerate(values) if len(value) and value.shape[1] != common)
        got = f"{values[odd].shape[1]} in row {odd}"
        raise where.error(f"{common} features a step, as in most rows", got)
    known = width if width is not None else max((v.shape[1] for v in values), default=0)
    return Ragged.from_list(values, width=known)


def integers(value: object, where: Where) -> IntArray:
    """A value as ``(N,)`` int64; whole floats are accepted."""
    array = floats_exact(value, where).reshape(-1)
    if not np.all(np.isfinite(array)) or np.any(array != np.round(array)):
        raise where.error("whole numbers", describe(value))
    return array.astype(np.int64)


def floats_exact(value: object, where: Where) -> npt.NDArray[np.float64]:
    """A value as float64, any shape."""
    try:
        return np.asarray(value).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise where.error("numbers", f"{describe(value)} ({error})") from error


def text(value: object, where: Where) -> str:
    """A string; bytes are decoded as UTF-8."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise where.error("strings", describe(value))
    return str(value)


def texts(value: object, where: Where) -> tuple[str, ...]:
    """A list or array ``(N,)`` or ``(N, 1)`` of strings."""
    if isinstance(value, np.ndarray):
        value = list(value.reshape(-1))
    if not isinstance(value, (list, tuple)):
        raise where.error("a list of strings", describe(value))
    return tuple(text(item, where) for item in value)


def same_rows(sizes: Mapping[str, int], where: Where) -> int:
    """The one number of samples that all fields of a split have.

    Raises:
        DataError: they differ, or there are no samples.
    """
    if len(set(sizes.values())) > 1:
        listing = ", ".join(f"{key} {size}" for key, size in sizes.items())
        raise where.error("one number of samples in all fields", listing)
    rows = next(iter(sizes.values()), 0)
    if rows == 0:
        raise where.error("samples", "none", "remove the split or write the file again")
    return rows


def finite_labels(labels: FloatArray, ids: Sequence[str], where: Where) -> FloatArray:
    """``labels`` ``(N, C)`` themselves.

    Raises:
        DataError: some are NaN or infinite; the message counts them and names the first.
    """
    bad = np.flatnonzero(~np.isfinite(labels).all(axis=1))
    if len(bad):
        names = listed([ids[int(i)] for i in bad])
        raise where.error(
            "finite labels",
            f"{len(bad)} samples of {len(labels)} with NaN or infinite ones ({names})",
            "remove these samples or mend their labels",
        )
    return labels


def column_names(count: int) -> tuple[str, ...]:
    """Names of label columns that a file leaves unnamed; seven are CMU-MOSEI's."""
    if count == 1:
        return ("label",)
    if count == len(MOSEI_LABELS):
        return MOSEI_LABELS
    return tuple(f"label[{i}]" for i in range(count))


def videos(ids: Sequence[str]) -> tuple[str, ...] | None:
    """The video of each ``video$_$clip``, ``video[k]``, ``video[start,end]``; None if one is other.

    >>> videos(["a_b$_$3", "c[0]"]), videos(["1_60"])
    (('a_b', 'c'), None)
    """
    found = []
    for name in ids:
        if "$_$" in name:
            found.append(name.rsplit("$_$", 1)[0])
        elif match := _INDEXED.fullmatch(name) or _INTERVAL.fullmatch(name):
            found.append(match[1])
        else:
            return None
    return tuple(found)
