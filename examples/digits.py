"""Handwritten digits for ``information_bottleneck.py``; run alone it does nothing.

scikit-learn's 1,797 digits of 8 x 8, or MNIST from the four files it is published in.
"""

from __future__ import annotations

import gzip
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from mimrl.errors import DataError

MAGIC = {1: 0x0801, 3: 0x0803}  # unsigned bytes with one and with three axes
HELD_BACK = 10_000  # MNIST training images kept for validation


@dataclass(frozen=True)
class Part:
    """Images as rows in [0, 1] and their digits.

    Attributes:
        x: ``(N, pixels)`` float32.
        y: ``(N,)`` int64, 0 to 9.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, chosen: Tensor) -> Part:
        """The rows ``chosen`` in that order."""
        return Part(self.x[chosen], self.y[chosen])


@dataclass(frozen=True)
class Digits:
    """What is fitted on, what chooses, what is read once."""

    train: Part
    valid: Part
    test: Part


def digits(seed: int, folder: Path | None = None) -> Digits:
    """Three parts, divided at random.

    Args:
        seed: of the division.
        folder: with MNIST's idx files, packed by gzip or not; None for scikit-learn's digits, of
            which a quarter each is fitted on and chooses, and half tests: few images to learn from,
            so that a regulariser has something to do, and many to tell errors apart.

    Raises:
        DataError: a file is missing or is no idx file.
    """
    generator = torch.Generator().manual_seed(seed)
    if folder is not None:
        known, test = _mnist(folder, "train"), _mnist(folder, "t10k")
        order = torch.randperm(len(known), generator=generator)
        held_back = min(HELD_BACK, len(known) // 6)
        return Digits(known.rows(order[held_back:]), known.rows(order[:held_back]), test)
    images, labels = load_digits(return_X_y=True)
    whole = Part(torch.from_numpy(images / 16).float(), torch.from_numpy(labels).long())
    order = torch.randperm(len(whole), generator=generator)
    quarter = len(whole) // 4
    return Digits(
        train=whole.rows(order[:quarter]),
        valid=whole.rows(order[quarter : 2 * quarter]),
        test=whole.rows(order[2 * quarter :]),
    )


def _mnist(folder: Path, part: str) -> Part:
    images = _idx(folder, f"{part}-images", axes=3)
    labels = _idx(folder, f"{part}-labels", axes=1)
    if len(images) != len(labels):
        raise DataError(
            f"{folder}: {len(images)} images but {len(labels)} labels in the files {part}-*; "
            "they are of different sets"
        )
    x = torch.from_numpy(images.reshape(len(images), -1) / np.float32(255))
    return Part(x.float(), torch.from_numpy(labels.astype(np.int64)))


def _idx(folder: Path, name: str, *, axes: int) -> np.ndarray:
    """Unsigned bytes: magic number, one length an axis (big-endian, 4 bytes each), the bytes."""
    found = sorted(folder.glob(f"{name}[-.]idx{axes}-ubyte*"))
    if not found:
        raise DataError(
            f"{folder} has no file {name}-idx{axes}-ubyte[.gz]; MNIST's four files are wanted"
        )
    content = found[0].read_bytes()
    if found[0].suffix == ".gz":
        content = gzip.decompress(content)
    start = 4 * (axes + 1)
    header = struct.unpack_from(f">{axes + 1}I", content) if len(content) >= start else (0,)
    shape = header[1:]
    if header[0] != MAGIC[axes] or len(content) - start != math.prod(shape):
        raise DataError(f"{found[0]} is no idx file of unsigned bytes with {axes} axes")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
