"""Our own file: any corpus as ragged HDF5, read lazily, so that it need not fit in memory.

Written by ``python -m mimrl.datasets convert IN OUT.h5``. The layout, format version 1::

    attributes  format = "mimrl-corpus", format_version, layout and source (of the origin),
                label_names, modalities, repairs (JSON)
    splits/<train|valid|test>/
        ids, groups, raw_text            (N,) UTF-8 strings; the last two where there are any
        labels                           (N, C) float32
        sequences/<modality>/values      (sum of lengths, d) float32 in checksummed chunks
        sequences/<modality>/offsets     (N + 1,) int64; attribute clean of values = true
        token_ids/values, offsets        as above, values (sum of lengths,) int64

There is no padding and no non-finite feature: both were dealt with when the file was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from mimrl.datasets.features import SPLITS, Corpus, Ragged, Split
from mimrl.datasets.paths import require_space
from mimrl.datasets.repair import zeroed
from mimrl.datasets.rows import row_blocks
from mimrl.datasets.stored import StoredFile, StoredRows, is_hdf5, opened
from mimrl.errors import DataError, MimrlError
from mimrl.mi.writing import written_whole
from mimrl.settings import DataSettings

LAYOUT = "hdf5"
FORMAT = "mimrl-corpus"
FORMAT_VERSION = 1
CHUNK_BYTES = 1 << 16  # a batch reads scattered sequences; most are a few to some tens of KiB


@dataclass(frozen=True)
class Origin:
    """Which layout and file a converted file was made from."""

    layout: str
    source: str


def matches(path: Path) -> bool:
    """Whether ``path`` is a file in our own format, of any version.

    Raises:
        DataError: an HDF5 file that is truncated or damaged.
    """
    if not is_hdf5(path):
        return False
    with opened(path) as file:
        return str(file.attrs.get("format", "")) == FORMAT


def origin(path: Path) -> Origin:
    """What the file was converted from.

    Raises:
        DataError: as :func:`read`.
    """
    with opened(path) as file:
        _check_version(path, file)
        return Origin(str(file.attrs.get("layout", "?")), str(file.attrs.get("source", "?")))


def read(path: Path, settings: DataSettings) -> Corpus:
    """A corpus whose features stay on disk until a batch needs them.

    Args:
        path: a file that :func:`write` wrote.
        settings: not needed by this layout; our files say everything themselves.

    Returns:
        The corpus; ids, labels and transcripts are in memory, features and token ids are not.

    Raises:
        MissingFileError: no such file.
        DataError: another format or version, or a truncated or damaged file.
    """
    with opened(path) as file:
        _check_version(path, file)
        stored = StoredFile(path)
        try:
            splits = {
                name: _read_split(file[f"splits/{name}"], stored, _strings_of(file, "modalities"))
                for name in SPLITS
                if name in file["splits"]
            }
            return Corpus(
                layout=LAYOUT,
                source=str(path),
                splits=splits,
                label_names=_strings_of(file, "label_names"),
                repairs=json.loads(file.attrs["repairs"]),
            )
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            detail = error.args[0] if error.args else error
            raise DataError(
                f"{path}: a {FORMAT} file whose content is not as written ({detail}); convert the "
                "original again"
            ) from error


def write(
    corpus: Corpus, path: Path, *, made_from: Origin | None = None, progress: bool = False
) -> None:
    """Writes a corpus to ``path``, whole or not at all, a few MiB at a time.

    Non-finite features are written as 0; count them before with
    :func:`mimrl.datasets.repair.repair`, so that ``corpus.repairs`` tells of them.

    Args:
        corpus: any corpus, in memory or on disk.
        path: the file to make. An existing file in our format is replaced.
        made_from: the origin to note; the corpus's own layout and source by default.
        progress: show a progress bar where standard error is a terminal.

    Raises:
        DataError: ``path`` is an existing file of another kind, or cannot be written.
    """
    refuse_other_files(path)
    made_from = made_from or Origin(corpus.layout, Path(corpus.source).name)
    try:
        _require_room(path, _bytes(corpus))
        with (
            written_whole(path) as temporary,
            h5py.File(temporary, "w", libver="v110") as file,
        ):
            file.attrs["format"] = FORMAT
            file.attrs["format_version"] = FORMAT_VERSION
            file.attrs["layout"] = made_from.layout
            file.attrs["source"] = made_from.source
            file.attrs["label_names"] = json.dumps(corpus.label_names)
            file.attrs["modalities"] = json.dumps(corpus.modalities)
            file.attrs["repairs"] = json.dumps(dict(corpus.repairs))
            # Silent without a terminal (disable=None), and when nobody asked (True).
            with tqdm(
                total=_bytes(corpus), unit="B", unit_scale=True, disable=None if progress else True
            ) as bar:
                for name, split in corpus.splits.items():
                    _write_split(file.create_group(f"splits/{name}"), split, bar.update)
    except MimrlError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path} could not be written ({error}); nothing is left of it") from error


def refuse_other_files(path: Path) -> None:
    """Checks that writing to ``path`` would replace nothing but a file in our own format.

    Raises:
        DataError: ``path`` exists and is something else.
    """
    if path.exists() and not matches(path):
        raise DataError(
            f"{path} exists and is not a {FORMAT} file; it is left alone. Name another file to "
            "write to, or remove it"
        )


def _check_version(path: Path, file: h5py.File) -> None:
    if str(file.attrs.get("format", "")) != FORMAT:
        raise DataError(
            f"{path}: expected a {FORMAT} file, got another HDF5 file with {sorted(file)[:8]}; "
            "see 'python -m mimrl.datasets inspect' for what it is"
        )
    version = file.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: expected format version {FORMAT_VERSION}, got {version}; convert the "
            "original file again with 'python -m mimrl.datasets convert', or use the version of "
            "mimrl that wrote it"
        )


def _strings_of(file: h5py.File, attribute: str) -> tuple[str, ...]:
    return tuple(str(item) for item in json.loads(file.attrs[attribute]))


def _read_split(group: h5py.Group, stored: StoredFile, modalities: Sequence[str]) -> Split:
    tokens = group.get("token_ids")
    return Split(
        ids=tuple(group["ids"].asstr()[()].tolist()),
        sequences={name: _read_ragged(group[f"sequences/{name}"], stored) for name in modalities},
        labels=group["labels"][()].astype(np.float32, copy=False),
        raw_text=_strings(group, "raw_text"),
        token_ids=None if tokens is None else _read_ragged(tokens, stored),
        groups=_strings(group, "groups"),
    )


def _strings(group: h5py.Group, name: str) -> tuple[str, ...] | None:
    return tuple(group[name].asstr()[()].tolist()) if name in group else None


def _read_ragged(group: h5py.Group, stored: StoredFile) -> Ragged:
    values = group["values"]
    rows = StoredRows(
        stored,
        values.name,
        values.shape,
        clean=bool(values.attrs.get("clean", False)),
        dtype=np.int64 if values.ndim == 1 else np.float32,
    )
    return Ragged(rows, group["offsets"][()])


def _write_split(group: h5py.Group, split: Split, wrote: Callable[[int], object]) -> None:
    text = h5py.string_dtype("utf-8")
    for name in ("ids", "groups", "raw_text"):
        strings = getattr(split, name)
        if strings is not None:
            group.create_dataset(name, data=np.array(strings, dtype=object), dtype=text)
    group.create_dataset("labels", data=split.labels.astype(np.float32, copy=False))
    for modality, ragged in split.sequences.items():
        _write_ragged(group.create_group(f"sequences/{modality}"), ragged, np.float32, wrote)
    if split.token_ids is not None:
        _write_ragged(group.create_group("token_ids"), split.token_ids, np.int64, wrote)


def _write_ragged(
    group: h5py.Group, ragged: Ragged, dtype: type[np.generic], wrote: Callable[[int], object]
) -> None:
    shape = tuple(ragged.values.shape)
    row_bytes = np.dtype(dtype).itemsize * max(1, ragged.width)
    chunk = (max(1, min(shape[0], CHUNK_BYTES // row_bytes)), *(max(1, d) for d in shape[1:]))
    values = group.create_dataset(
        "values",
        shape=shape,
        dtype=dtype,
        chunks=chunk if min(shape) > 0 else None,
        fletcher32=min(shape) > 0,  # a flipped bit is an error, not a wrong feature
    )
    for rows, block in row_blocks(ragged.values):
        values[rows] = zeroed(block.astype(dtype, copy=False))
        wrote(block.shape[0] * row_bytes)
    values.attrs["clean"] = True
    group.create_dataset("offsets", data=ragged.offsets)


def _bytes(corpus: Corpus) -> int:
    return sum(
        4 * int(np.prod(ragged.values.shape, dtype=np.int64))
        for split in corpus.splits.values()
        for ragged in split.sequences.values()
    )


def _require_room(path: Path, nbytes: int) -> None:
    """Asks for the space of a file before it is written.

    On a disk that fills up while HDF5 writes, its library ends the whole process when the file is
    closed.
    """
    if not path.parent.is_dir():
        raise DataError(f"{path}: its folder does not exist; make it first")
    require_space(path.parent, nbytes)
