"""Two settings over the same seeds: the mean difference with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.steering.lines import Line
from bench.steering.options import interval, with_deviation


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """All numbers below ``metrics`` and ``extra``, by their path: ``chosen.test.accuracy``."""
    found: dict[str, float] = {}
    for part in ("metrics", "extra"):
        _collect(line.get(part, {}), "", found)
    return found


def _collect(tree: Mapping[str, Any], prefix: str, found: dict[str, float]) -> None:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            _collect(value, f"{prefix}{name}.", found)
        elif isinstance(value, int | float):
            found[prefix + name] = float(value)


def by_seed(lines: Sequence[Line], metric: str, **key: object) -> dict[int, float]:
    """Seed -> the metric of the lines whose cell has all of ``key``."""
    found = {}
    for line in lines:
        cell = line["cell"]
        values = numbers(line)
        if metric in values and all(cell.get(name) == value for name, value in key.items()):
            found[int(cell["seed"])] = values[metric]
    return found


def row(steered: Mapping[int, float], unsteered: Mapping[int, float]) -> list[str]:
    """Seeds, both means (deviations), the mean difference with its interval, whether it shows.

    ``+`` and ``-``: the interval lies above or below 0.
    """
    both = sorted(steered.keys() & unsteered.keys())
    if not both:
        return ["0", "", "", "", ""]
    differences = [steered[seed] - unsteered[seed] for seed in both]
    means = [with_deviation([each[seed] for seed in both], 3) for each in (unsteered, steered)]
    mean, half = interval(differences)
    said = f"{mean:+.4f}"
    if len(both) > 1:
        said += f" [{mean - half:+.4f}, {mean + half:+.4f}]"
    sign = "+" if mean - half > 0 else "-" if mean + half < 0 else ""
    return [str(len(both)), *means, said, sign]
