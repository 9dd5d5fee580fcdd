"""Whether a launcher started this process as one of several, from its environment alone.

``torchrun``, ``accelerate launch`` and a Slurm script that sets the same variables say it in
``WORLD_SIZE``, ``RANK`` and ``LOCAL_RANK``.
"""

from __future__ import annotations

import os


def launched() -> bool:
    """Whether this is one of several processes that train together."""
    return _number("WORLD_SIZE", 1) > 1


def first_process() -> bool:
    """Whether this process writes files and prints: the only one, or the first of several."""
    return not launched() or _number("RANK", 0) == 0


def local_rank() -> int:
    """Number of this process among those on its host."""
    return _number("LOCAL_RANK", 0)


def _number(name: str, default: int) -> int:
    try:
        return int(os.environ.get(name, default))
    except ValueError:
        return default
