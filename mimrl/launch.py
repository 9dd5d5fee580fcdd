"""Whether a launcher started this process as one of several, from its environment alone.

``torchrun``, ``accelerate launch`` and a Slurm script that sets the same variables say it in
``WORLD_SIZE``, ``RANK`` and ``LOCAL_RANK``, and in ``MASTER_ADDR`` and ``MASTER_PORT`` where they
meet.
"""

from __future__ import annotations

import os

from mimrl.errors import ConfigError

LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def process_count() -> int:
    """Processes that train together; 1 without a launcher."""
    return max(_number("WORLD_SIZE", 1), 1)


def launched() -> bool:
    """Whether this is one of several processes that train together."""
    return process_count() > 1


def first_process() -> bool:
    """Whether this process writes files and prints: the only one, or the first of several."""
    return not launched() or _number("RANK", 0) == 0


def local_rank() -> int:
    """Number of this process among those on its host."""
    return _number("LOCAL_RANK", 0)


def require_launcher() -> None:
    """Raises where the environment speaks of several processes, but not of all a meeting takes.

    Raises:
        ConfigError: some of a launcher's variables are missing.
    """
    missing = [name for name in LAUNCHER if not os.environ.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE={os.environ.get('WORLD_SIZE')} in the environment asks for several "
            f"processes, but {', '.join(missing)} is missing; start them with torchrun or "
            "accelerate launch, or unset WORLD_SIZE to train in one"
        )


def works_alone(advice: str) -> bool:
    """Whether a command that is for one process shall do its work here.

    Of several processes the first raises, and the others are told to leave quietly, so that there
    is one message; that they end well keeps a launcher from ending the first before it has spoken.

    Args:
        advice: what to do instead.

    Raises:
        ConfigError: this is the first of several processes.
    """
    if not launched():
        return True
    if not first_process():
        return False
    raise ConfigError(
        f"WORLD_SIZE={os.environ['WORLD_SIZE']} in the environment (of torchrun, accelerate launch "
        f"or a cluster) means {os.environ['WORLD_SIZE']} processes of one training; {advice}, or "
        "unset WORLD_SIZE"
    )


def _number(name: str, default: int) -> int:
    try:
        return int(os.environ.get(name, default))
    except ValueError:
        return default
