"""Randomness as a function of the seed and the place in the training, not of what ran before.

Each stage of each epoch draws from its own seed, so a resumed run needs no generator state to
continue to the same numbers, and the global generators are left as they were found.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import numpy as np
import torch


class Place(IntEnum):
    """Where in a run a random number is drawn."""

    INITIALISATION = 0
    STAGE1 = 1
    STAGE2 = 2
    READING = 3
    CONTROL = 4
    BANK = 5
    MODALITY_DROPOUT = 6
    MISSING = 7


def derive(seed: int, place: Place, *index: int) -> int:
    """A 63-bit seed for one place; different places are independent (NumPy's SeedSequence)."""
    words = np.random.SeedSequence([seed, int(place), *index]).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


@contextmanager
def seeded(seed: int, place: Place, *index: int, rank: int = 0) -> Iterator[torch.Generator]:
    """Seeds everything random inside, and puts the global generators back afterwards.

    Args:
        seed: of the run.
        place: where in the run.
        *index: the epoch, say.
        rank: of several processes; what they draw from the global generators then differs.

    Yields:
        A CPU generator for what takes one explicitly, the same in all processes; dropout and
        initialisation inside draw from the forked global generators.
    """
    number = derive(seed, place, *index)
    used = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(used):
        torch.manual_seed(derive(seed, place, *index, rank) if rank else number)
        yield torch.Generator().manual_seed(number)
