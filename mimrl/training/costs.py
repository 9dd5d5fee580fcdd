"""What runs cost and what is left of them, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def duration(seconds: float) -> str:
    """A time as a reader says it, in at most two units.

    >>> duration(4.26), duration(192), duration(7500)
    ('4.3 s', '3 min 12 s', '2 h 05 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def logged_seconds(log: Sequence[Mapping[str, Any]]) -> float:
    """Seconds of all epochs of a log, also of those before it was resumed."""
    return sum(float(value) for record in log for value in record.get("seconds", {}).values())


def seed_line(
    seed: int, metric: str, value: float, spent: float | None, left: int, seeds: int, mean: float
) -> str:
    """What one seed cost and what is left of all.

    >>> seed_line(0, "mae", 0.8123, 192.0, 2, 3, 190.0)
    'seed 0: 3 min 12 s, valid mae 0.8123; 2 of 3 left, about 6 min 20 s'
    >>> seed_line(2, "mae", 0.8, None, 0, 3, 190.0)
    'seed 2: complete before, valid mae 0.8000; 0 of 3 left'

    Args:
        seed: the seed.
        metric: name of the metric that chooses epochs.
        value: its value on validation.
        spent: seconds of this call; None for a run that was complete before.
        left: seeds that are not complete yet.
        seeds: all seeds.
        mean: seconds that a seed takes on average.
    """
    cost = "complete before" if spent is None else duration(spent)
    rest = f", about {duration(left * mean)}" if left else ""
    return f"seed {seed}: {cost}, valid {metric} {value:.4f}; {left} of {seeds} left{rest}"
