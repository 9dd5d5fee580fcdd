"""Generated corpora of any size, written without ever being whole in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mimrl.datasets import hdf5
from mimrl.datasets.features import Corpus, Ragged, Split

SHARES = {"train": 16326, "valid": 1871, "test": 4659}  # the splits of CMU-MOSEI
DRAWN = 99_991  # a prime, so that repeated numbers meet other features
WORDS = 30_000  # token ids run below this


@dataclass(frozen=True)
class Shape:
    """What a generated corpus looks like.

    Attributes:
        clips: samples of all three splits together.
        text: ``vectors``, or ``tokens`` of a transformer.
        widths: modality -> features of a step.
        steps: fewest and most steps of audio and video, uniform between.
        words: fewest and most steps of text.
    """

    clips: int = 23_000
    text: str = "vectors"
    widths: tuple[tuple[str, int], ...] = (("text", 300), ("audio", 74), ("video", 35))
    steps: tuple[int, int] = (50, 500)
    words: tuple[int, int] = (5, 50)

    def range_of(self, modality: str) -> tuple[int, int]:
        """Fewest and most steps of a modality."""
        return self.words if modality == "text" else self.steps

    @property
    def sizes(self) -> dict[str, int]:
        """Samples a split, in MOSEI's shares."""
        total = sum(SHARES.values())
        held_out = {name: self.clips * SHARES[name] // total for name in ("valid", "test")}
        return {"train": self.clips - sum(held_out.values()), **held_out}

    @property
    def padded_bytes(self) -> int:
        """What all features, token ids left out, take in float32 and padded to the longest."""
        steps = {name: self.range_of(name)[1] * width for name, width in self.widths}
        if self.text == "tokens":
            del steps["text"]
        return 4 * self.clips * sum(steps.values())


class MadeRows:
    """Rows that are made when they are asked for, the same for the same slice.

    Normal numbers, drawn once and repeated, since drawing all would take longer than writing them;
    plus a level that rises from the first row of a slice to its last.
    """

    def __init__(self, rows: int, width: int, seed: int) -> None:
        self.shape = (rows, width) if width else (rows,)
        self.seed = seed
        self._drawn = np.random.default_rng(seed).standard_normal(DRAWN, dtype=np.float32)

    def __getitem__(self, rows: slice, /) -> npt.NDArray[np.generic]:
        """The rows of a slice."""
        start, stop, _ = rows.indices(self.shape[0])
        generator = np.random.default_rng([self.seed, start, stop])
        if len(self.shape) == 1:
            return generator.integers(1000, WORDS, stop - start)
        shape = stop - start, self.shape[1]
        repeated = np.resize(self._drawn, shape) * np.float32(generator.uniform(0.5, 1.5))
        return repeated + np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]


def corpus(shape: Shape, seed: int = 0) -> Corpus:
    """A corpus none of whose features are in memory; ratings in [-3, 3]."""
    splits = {
        name: _split(shape, name, size, seed + 10 * k)
        for k, (name, size) in enumerate(shape.sizes.items())
    }
    return Corpus("made", "generated", splits)


def write(shape: Shape, path: Path, seed: int = 0) -> None:
    """Writes a corpus in the project's own HDF5 layout, a few MiB at a time."""
    hdf5.write(corpus(shape, seed), path)


def _split(shape: Shape, name: str, size: int, seed: int) -> Split:
    generator = np.random.default_rng(seed)
    sequences = {}
    for k, (modality, width) in enumerate(shape.widths):
        low, high = shape.range_of(modality)
        lengths = generator.integers(low, high, size, endpoint=True)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        tokens = modality == "text" and shape.text == "tokens"
        rows = MadeRows(int(offsets[-1]), 0 if tokens else width, seed + 1 + k)
        sequences[modality] = Ragged(rows, offsets)
    ids = sequences.pop("text") if shape.text == "tokens" else None
    return Split(
        ids=tuple(f"{name}{i // 20}$_${i % 20}" for i in range(size)),
        sequences=sequences,
        labels=generator.uniform(-3, 3, (size, 1)).astype(np.float32),
        token_ids=ids,
    )
