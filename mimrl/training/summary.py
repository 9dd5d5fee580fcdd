"""Mean and spread over seeds, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mimrl.training.costs import duration

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Summary:
    """Metrics of several seeds of one experiment.

    Attributes:
        folder: ``runs/<name>``.
        selected_by: the validation metric that chose each epoch.
        seeds: seed -> split -> metric -> value.
        epochs: seed -> chosen epoch.
        mean: split -> metric -> mean over seeds.
        deviation: split -> metric -> sample standard deviation over seeds (nan for one seed).
        seconds: seed -> seconds of all its epochs, also of those before it was resumed.
    """

    folder: Path
    selected_by: str
    seeds: Mapping[int, Mapping[str, Metrics]]
    epochs: Mapping[int, int]
    mean: Mapping[str, Metrics]
    deviation: Mapping[str, Metrics]
    seconds: Mapping[int, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return {
            "selected_by": f"valid {self.selected_by}",
            "seeds": {str(seed): dict(splits) for seed, splits in self.seeds.items()},
            "epochs": {str(seed): epoch for seed, epoch in self.epochs.items()},
            "mean": dict(self.mean),
            "standard_deviation": dict(self.deviation),
            "seconds": {str(seed): round(value, 1) for seed, value in self.seconds.items()},
        }

    def table(self) -> str:
        """One row a metric: mean and standard deviation on valid and test."""
        count = len(self.seeds)
        spread = "mean (standard deviation)" if count > 1 else "value"
        chosen = ", ".join(f"seed {seed}: {epoch}" for seed, epoch in self.epochs.items())
        lines = [
            f"{self.folder}: {spread} over {count} seed{'s' if count > 1 else ''}, "
            f"epoch chosen by valid {self.selected_by} ({chosen})",
            f"{'':14}{'valid':>18}{'test':>18}",
        ]
        for metric in self.mean["valid"]:
            cells = "".join(f"{self._cell(split, metric):>18}" for split in ("valid", "test"))
            lines.append(f"{metric:14}{cells}")
        if self.seconds:
            each = f" ({duration(sum(self.seconds.values()) / count)} a seed)" if count > 1 else ""
            lines.append(f"training took {duration(sum(self.seconds.values()))}{each}")
        return "\n".join(lines)

    def _cell(self, split: str, metric: str) -> str:
        mean, deviation = self.mean[split][metric], self.deviation[split][metric]
        return f"{mean:.4f}" + ("" if np.isnan(deviation) else f" ({deviation:.4f})")


def summarise(
    folder: Path,
    selected_by: str,
    seeds: Mapping[int, Mapping[str, Metrics]],
    epochs: Mapping[int, int],
    seconds: Mapping[int, float] | None = None,
) -> Summary:
    """Means and sample standard deviations over seeds, from unrounded values."""
    splits = next(iter(seeds.values()))
    spreads = {s: spread([seeds[seed][s] for seed in seeds]) for s in splits}
    return Summary(
        folder=folder,
        selected_by=selected_by,
        seeds=seeds,
        epochs=epochs,
        mean={s: found.mean for s, found in spreads.items()},
        seconds=seconds or {},
        deviation={s: found.deviation for s, found in spreads.items()},
    )


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of each metric; the latter is nan for one value."""

    mean: Metrics
    deviation: Metrics


def spread(tables: Sequence[Metrics]) -> Spread:
    """Over tables of the same metrics: one of each seed, or of each draw.

    >>> spread([{"mae": 1.0}, {"mae": 3.0}]).mean
    {'mae': 2.0}
    """
    values = {metric: np.array([table[metric] for table in tables]) for metric in tables[0]}
    return Spread(
        mean={metric: float(found.mean()) for metric, found in values.items()},
        deviation={metric: _deviation(found) for metric, found in values.items()},
    )


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
