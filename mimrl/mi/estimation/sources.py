"""Files as named columns, read only as far as they are asked for.

Tables (CSV, TSV, Parquet, a single npy array) have columns under names; archives (npz, HDF5) have
arrays under names, of which some columns can be taken.
"""

from __future__ import annotations

import csv
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mimrl.errors import DataError, MissingFileError

Column = tuple[str, npt.NDArray[Any]]
SEPARATORS = ",;\t"
_HEAD_BYTES = 2**20
_UNREADABLE = (
    *(ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error),
    Warning,  # of pandas, made an error below
)


@dataclass(frozen=True)
class Table:
    """Columns under names.

    Attributes:
        names: in their order.
        load: the columns ``(N,)`` at some places.
    """

    names: Sequence[str]
    load: Callable[[Sequence[int]], Sequence[npt.NDArray[Any]]]


@dataclass(frozen=True)
class Archive:
    """Arrays under names.

    Attributes:
        shapes: of each array.
        load: an array.
    """

    shapes: Mapping[str, tuple[int, ...]]
    load: Callable[[str], npt.NDArray[Any]]


Source = Table | Archive


def open_source(path: Path) -> Source:
    """What a file holds.

    Args:
        path: ``.npz``, ``.npy``, ``.h5`` / ``.hdf5``, ``.csv``, ``.tsv`` / ``.txt`` or
            ``.parquet``.

    Raises:
        MissingFileError: there is no such file, or no package that reads it.
        DataError: another kind of file, or one that cannot be read as its name promises.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} is not a file; expected one of {', '.join(READERS)}")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: expected a file of one of {', '.join(READERS)}")
    with _reading(path):
        return reader(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what readers raise into one error that names the file."""
    try:
        yield
    except ImportError as error:
        raise MissingFileError(
            f"{path}: a package that reads such files is missing ({error}); install it, or save "
            "the data as CSV or npz"
        ) from error
    except _UNREADABLE as error:
        if isinstance(error, DataError):
            raise
        text = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as a {path.suffix} file: {text}") from error


def _npz(path: Path) -> Archive:
    stored = np.load(path, allow_pickle=False)
    if not isinstance(stored, np.lib.npyio.NpzFile):
        raise ValueError("it holds a single array; call it .npy")
    with stored:
        arrays = {name: stored[name] for name in stored.files}
    return Archive({name: array.shape for name, array in arrays.items()}, arrays.__getitem__)


def _npy(path: Path) -> Table:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("it holds several arrays; call it .npz")
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"expected an array (N, d), got {array.shape}")
    names = [str(place) for place in range(array.shape[1])]
    return Table(names, lambda places: [array[:, place] for place in places])


def _hdf5(path: Path) -> Archive:
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[name] = item.shape

    with h5py.File(path, "r") as file:
        file.visititems(note)

    def load(name: str) -> npt.NDArray[Any]:
        with _reading(path), h5py.File(path, "r") as file:
            return np.asarray(file[name][()])

    return Archive(shapes, load)


def _text(path: Path) -> Table:
    """CSV, with the separator that its first line has most of, and a header if that is no data."""
    import pandas as pd  # a second that other files need not wait

    with path.open(encoding="utf-8-sig", newline="") as file:
        line = file.readline(_HEAD_BYTES)
    if not line.strip():
        raise ValueError("its first line is empty; expected names of columns or numbers")
    separator = max(SEPARATORS, key=line.count)
    first = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    bare = all(_is_number(name) for name in first)
    names = [str(place) for place in range(len(first))] if bare else _distinct(first)
    style: dict[str, Any] = {
        **{"sep": separator, "header": None, "names": names, "skiprows": 0 if bare else 1},
        **{"skipinitialspace": True, "encoding": "utf-8-sig", "index_col": False},
    }

    def load(places: Sequence[int]) -> list[npt.NDArray[Any]]:
        with _reading(path), warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # fields without a name
            frame = pd.read_csv(path, low_memory=False, **style)  # usecols would skip them silently
        return [frame[names[place]].to_numpy() for place in places]

    return Table(names, load)


def _parquet(path: Path) -> Table:
    import pandas as pd

    frame = pd.read_parquet(path)
    return Table(
        [str(name) for name in frame.columns],
        lambda places: [frame.iloc[:, place].to_numpy() for place in places],
    )


def _distinct(names: Sequence[str]) -> list[str]:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"several columns are called {', '.join(map(repr, repeated))}")
    return list(names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


READERS: Mapping[str, Callable[[Path], Source]] = {
    **{".npz": _npz, ".npy": _npy, ".h5": _hdf5, ".hdf5": _hdf5},
    **{".csv": _text, ".tsv": _text, ".txt": _text, ".parquet": _parquet},
}
"""Ending of a file's name -> reader."""
