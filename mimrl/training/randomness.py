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


def derive(seed: int, place: Place, *index: int) -> int:
    """A 63-bit seed for one place; different places are independent (NumPy's SeedSequence)."""
    words = np.random.SeedSequence([seed, int(place), *index]).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


@contextmanager
def seeded(seed: int, place: Place, *index: int) -> Iterator[torch.Generator]:
    """Seeds everything random inside, and puts the global generators back afterwards.

    Yields:
        A CPU generator for what takes one explicitly; dropout and initialisation inside draw from
        the forked global generators.
    """
    number = derive(seed, place, *index)
    with torch.random.fork_rng():
        torch.manual_seed(number)
        yield torch.Generator().manual_seed(number)
