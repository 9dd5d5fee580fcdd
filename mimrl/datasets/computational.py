"""One CMU-MultimodalSDK computational sequence: the structure of a ``.csd`` file.

Source: Zadeh et al., ACL 2018, and files of CMU-MOSI and CMU-MOSEI.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from mimrl.datasets.fields import column_names
from mimrl.errors import DataError


def root_name(file: h5py.File) -> str | None:
    """Name of the root group of a computational sequence; None for other HDF5 files."""
    roots = list(file)
    one = len(roots) == 1 and isinstance(file[roots[0]], h5py.Group)
    return str(roots[0]) if one and "data" in file[roots[0]] else None


@dataclass(frozen=True)
class ComputationalSequence:
    """One open computational sequence.

    Attributes:
        path: its file.
        root: its root group; valid while the file is open.
        videos: the names of its entries, in the file's order.
    """

    path: Path
    root: h5py.Group
    videos: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, file: h5py.File) -> ComputationalSequence:
        """The sequence in an open file.

        Raises:
            DataError: the file has another structure, or no entry.
        """
        name = root_name(file)
        if name is None:
            raise DataError(
                f"{path}: expected a computational sequence (one group that holds 'data'), got "
                f"{sorted(file)[:8]}"
            )
        videos = tuple(file[name]["data"])
        if not videos:
            raise DataError(f"{path}: group '{name}/data' is empty; download the file again")
        return cls(path, file[name], videos)

    @cached_property
    def is_words(self) -> bool:
        """Whether its features are bytes (words), not numbers."""
        return self.array(self.videos[0], "features").dtype.kind in "SO"

    @cached_property
    def width(self) -> int:
        """``d``, the number of columns."""
        shape = self.array(self.videos[0], "features").shape
        return int(shape[1]) if len(shape) > 1 else 1

    def timed(self, video: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.float64]] | None:
        """Features ``(n, d)`` and intervals ``(n, 2)`` of a video; None where it is absent.

        Raises:
            DataError: the two do not fit each other or the other videos.
        """
        if video not in self.root["data"]:
            return None
        features = self.array(video, "features")[()]
        intervals = self.array(video, "intervals")[()].astype(np.float64)
        features = features.reshape(len(features), -1)
        if intervals.shape != (len(features), 2) or features.shape[1] != self.width:
            raise DataError(
                f"{self.path}, video {video}: expected features (n, {self.width}) and intervals "
                f"(n, 2), got {features.shape} and {intervals.shape}"
            )
        return features, intervals

    def label_names(self) -> tuple[str, ...]:
        """The file's names of its columns, or those of files that leave them unnamed."""
        try:
            names = json.loads(self.root["metadata/dimension names"][0])
        except (KeyError, IndexError, TypeError, ValueError):
            names = []
        if isinstance(names, list) and len(set(map(str, names))) == self.width == len(names):
            return tuple(str(name) for name in names)
        return column_names(self.width)

    def array(self, video: str, name: str) -> h5py.Dataset:
        """``features`` or ``intervals`` of a video, not yet read.

        Raises:
            DataError: the video lacks it.
        """
        group = self.root["data"][video]
        if not isinstance(group, h5py.Group) or name not in group:
            raise DataError(f"{self.path}: video {video} has no '{name}'; download it again")
        return group[name]
