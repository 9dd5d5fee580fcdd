"""Reading HDF5 files safely: one message for a damaged file, rows that are read when needed.

HDF5 handles can neither be pickled nor shared with a forked process; :class:`StoredFile` reopens
its file in each process that asks, so a corpus on disk works in the workers of a data loader.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from mimrl.errors import DataError, MimrlError, MissingFileError

SIGNATURE = b"\x89HDF\r\n\x1a\n"  # HDF5 file format specification 3.0, section II.A


def is_hdf5(path: Path) -> bool:
    """Whether ``path`` is a file that starts as HDF5 files do; it may still be damaged."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file open for reading.

    Raises:
        MissingFileError: no such file.
        DataError: the file is not HDF5, is truncated or is damaged; also when that shows only
            while the block reads from it.
    """
    if not path.is_file():
        raise MissingFileError(f"{path} does not exist")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except MimrlError:
        raise
    except (OSError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: expected a whole HDF5 file, but it is truncated, damaged or not HDF5 ({error}); "
        "copy or convert it again"
    )


class StoredFile:
    """An HDF5 file that is opened at the first use in each process, and pickles as its path.

    Args:
        path: the file; it must stay as it is for as long as this object is used.
    """

    _file: h5py.File | None
    _datasets: dict[str, h5py.Dataset]
    _process: int

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = self._now()
        self._forget()

    def rows(self, name: str) -> h5py.Dataset:
        """The HDF5 data set ``name``.

        Raises:
            DataError: the file was replaced or damaged since this object was made.
        """
        if self._process != os.getpid():
            self._forget()
        if name not in self._datasets:
            if self._file is None:
                self._file = self._open()
                self._process = os.getpid()
            self._datasets[name] = self._file[name]
        return self._datasets[name]

    def _open(self) -> h5py.File:
        if self._now() != self._stamp:
            raise DataError(
                f"{self.path} changed while it was in use; do not replace a data file during a "
                "run, and start again"
            )
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise _damaged(self.path, error) from error

    def _now(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError as error:
            raise MissingFileError(
                f"{self.path} cannot be read any more ({error}); leave a data file where it is "
                "during a run, and start again"
            ) from error
        return status.st_size, status.st_mtime_ns

    def _forget(self) -> None:
        self._file = None
        self._datasets = {}
        self._process = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_stamp": self._stamp}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


class StoredRows:
    """The rows of one HDF5 data set, read by slices.

    Args:
        file: the file that holds it.
        name: path of the data set inside the file.
        shape: its shape.
        clean: whether the file says that it holds finite values only; looked at as they are read.
        dtype: values are converted to this type as they are read.
    """

    def __init__(
        self,
        file: StoredFile,
        name: str,
        shape: tuple[int, ...],
        *,
        clean: bool = False,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        self.file = file
        self.name = name
        self.shape = tuple(shape)
        self.clean = clean
        self.dtype = np.dtype(dtype)

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.generic]:
        """The rows of a slice.

        Raises:
            DataError: the rows cannot be read: the file is damaged there; or they are not clean.
        """
        dataset = self.file.rows(self.name)
        try:
            found = np.asarray(dataset[rows]).astype(self.dtype, copy=False)
        except (OSError, RuntimeError) as error:
            raise _damaged(self.file.path, error) from error
        if self.clean and not np.isfinite(found).all():
            raise self._unclean(rows.indices(self.shape[0])[0], found)
        return found

    def _unclean(self, start: int, found: npt.NDArray[np.generic]) -> DataError:
        bad = ~np.isfinite(found).reshape(len(found), -1).all(axis=1)
        return DataError(
            f"{self.file.path}: expected finite values in {self.name}, as its attribute 'clean' "
            f"says, got NaN or infinity in row {start + int(bad.argmax())}; the file was changed "
            "after it was written: convert the original again"
        )
