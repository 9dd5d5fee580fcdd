"""Results with modalities missing of one model or several: tables, JSON, CSV, a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mimrl.errors import ConfigError
from mimrl.mi.writing import written_whole
from mimrl.training.metrics import LOWER_IS_BETTER
from mimrl.training.missing import DEFINITION, TOGETHER, MissingResult
from mimrl.training.summary import Spread, spread

MISSING_PICTURE = "missing.png"
SHOWN = ("mae", "corr", "acc2_non0", "acc2", "accuracy", "f1_non0", "f1", "acc7", "auc", "ccc")
BESIDE = ("acc2_non0", "acc2", "f1", "corr", "mae")
"""Metrics in order of preference: in the tables, and in the picture beside the selection's."""
COLUMNS = 5
# Okabe and Ito (2008): told apart by the colour-blind and in print
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class MissingReport:
    """Results to be compared.

    Attributes:
        metric: the one that chose the epochs; it stands first.
        results: name of a model -> its results, one a seed.

    Raises:
        ConfigError: the models differ in modalities, metrics or rates, or one has no result.
    """

    metric: str
    results: Mapping[str, tuple[MissingResult, ...]]

    def __post_init__(self) -> None:
        kinds = {
            (one.modalities, tuple(one.rates), tuple(next(iter(one.subsets.values()))))
            for found in self.results.values()
            for one in found
        }
        if len(kinds) != 1 or not all(self.results.values()):
            raise ConfigError(
                f"models to compare ({', '.join(self.results)}): expected the same modalities, "
                "metrics and rates, and a result of each; compare models of one data set"
            )

    @property
    def first(self) -> MissingResult:
        """Any result: its names are those of all."""
        return next(iter(self.results.values()))[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics of the tables, the one of the selection first."""
        there = next(iter(self.first.subsets.values()))
        rest = [name for name in SHOWN if name in there and name != self.metric]
        return (self.metric, *rest)[:COLUMNS]

    def subsets(self, name: str) -> dict[str, Spread]:
        """Modalities present to the metrics of a model, over its seeds."""
        found = self.results[name]
        return {key: spread([one.subsets[key] for one in found]) for key in found[0].subsets}

    def rates(self, name: str) -> dict[float, Spread]:
        """Rate to the metrics of a model: over its seeds (means over draws), or over draws."""
        found = self.results[name]
        if len(found) == 1:
            return {rate: found[0].over_draws(rate) for rate in found[0].rates}
        return {
            rate: spread([one.over_draws(rate).mean for one in found]) for rate in found[0].rates
        }

    def spread_over(self, name: str) -> str:
        """What the standard deviations at the rates are over, in words."""
        found = self.results[name]
        draws = len(next(iter(found[0].rates.values())))
        each = f"{draws} draw{'s' if draws > 1 else ''}"
        return each if len(found) == 1 else f"{len(found)} seeds (means of {each} each)"

    def text(self) -> str:
        """The definition and, for each model, a table of the subsets and one of the rates."""
        lines = [textwrap.fill(DEFINITION, 100)]
        for name in self.results:
            lines += ["", *self._tables(name)]
        return "\n".join(lines)

    def _tables(self, name: str) -> list[str]:
        one, seeds = self.results[name][0], len(self.results[name])
        subsets, rates = self.subsets(name), self.rates(name)
        width = max(map(len, [*subsets, "rate  absent"])) + 2
        heads = "".join(f"{metric:>15}" for metric in self.metrics)
        over = f", mean (standard deviation) over {seeds} seeds" if seeds > 1 else ""
        return [
            f"{name}: {one.samples} samples; present in all of them{over}",
            f"{'':{width}}{heads}",
            *(f"{key:{width}}{self._cells(found)}" for key, found in subsets.items()),
            f"missing at random, mean (standard deviation) over {self.spread_over(name)}",
            f"{'rate  absent':{width}}{heads}",
            *(
                f"{f'{rate:<5g} {one.absent[rate]:.3f}':{width}}{self._cells(found)}"
                for rate, found in rates.items()
            ),
        ]

    def _cells(self, found: Spread) -> str:
        cells = ""
        for metric in self.metrics:
            mean, deviation = found.mean[metric], found.deviation[metric]
            cell = f"{mean:.3f}" + ("" if np.isnan(deviation) else f" ({deviation:.3f})")
            cells += f"{cell:>15}"
        return cells

    def as_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON: the definition, and for each model its seeds and means."""
        models = {}
        for name, found in self.results.items():
            subsets, rates = self.subsets(name), self.rates(name)
            models[name] = {
                "seeds": [one.as_dict() for one in found],
                "subsets": {key: _plain(value) for key, value in subsets.items()},
                "rates": {str(rate): _plain(value) for rate, value in rates.items()},
                "rates_over": self.spread_over(name),
            }
        return {"definition": DEFINITION, "selected_by": f"valid {self.metric}", "models": models}

    def csv(self) -> str:
        """A line for each model, result, and subset or draw; all metrics."""
        rows: list[dict[str, Any]] = []
        for name, found in self.results.items():
            for number, one in enumerate(found):
                head = {"model": name, "result": number, "seed_of_draws": one.seed}
                for key, metrics in one.subsets.items():
                    rows.append({**head, "present": key, "rate": None, "draw": None, **metrics})
                for rate, draws in one.rates.items():
                    for draw, metrics in enumerate(draws):
                        rows.append(
                            {**head, "present": None, "rate": rate, "draw": draw, **metrics}
                        )
        frame = pd.DataFrame(rows)
        frame["draw"] = frame["draw"].astype("Int64")  # whole, also where there is none
        return str(frame.to_csv(index=False))


def draw_missing(report: MissingReport, path: Path | None = None) -> Figure:
    """Two metrics against the rate, and with each subset of modalities.

    Args:
        report: of one model or several.
        path: where the PNG is written, by a rename; None writes nothing.
    """
    there = report.metrics
    beside = next((name for name in BESIDE if name in there and name != report.metric), None)
    shown = [report.metric] if beside is None else [report.metric, beside]
    figure = Figure(figsize=(12, 1.2 + 3.6 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), metric in zip(axes, shown, strict=True):
        _draw_rates(left, report, metric)
        _draw_subsets(right, report, metric)
    axes[0, 0].legend(fontsize=8)
    figure.supxlabel(textwrap.fill(DEFINITION, 150), fontsize=8, color="0.3")
    if path is not None:
        with written_whole(path) as beside_it:
            figure.savefig(beside_it, dpi=110, format="png")
    return figure


def _draw_rates(axis: Axes, report: MissingReport, metric: str) -> None:
    for index, name in enumerate(report.results):
        found = report.rates(name)
        rates = sorted(found)
        mean = np.array([found[rate].mean[metric] for rate in rates])
        deviation = np.nan_to_num([found[rate].deviation[metric] for rate in rates])
        label = f"{name} (band: deviation over {report.spread_over(name)})"
        colour = COLOURS[index % len(COLOURS)]
        style = STYLES[index % len(STYLES)] + MARKERS[index % len(MARKERS)]
        axis.plot(rates, mean, style, color=colour, markersize=5, label=label)
        axis.fill_between(rates, mean - deviation, mean + deviation, color=colour, alpha=0.2, lw=0)
    axis.set_title(_title(metric), fontsize=11)
    axis.set_xlabel("rate at which a clip loses each modality (one at least is kept)")
    axis.set_ylabel(metric)
    axis.grid(alpha=0.3)


def _draw_subsets(axis: Axes, report: MissingReport, metric: str) -> None:
    keys = list(report.first.subsets)
    offsets = np.linspace(-0.18, 0.18, len(report.results)) if len(report.results) > 1 else [0.0]
    for index, (name, offset) in enumerate(zip(report.results, offsets, strict=True)):
        found = report.subsets(name)
        axis.errorbar(
            [found[key].mean[metric] for key in keys],
            np.arange(len(keys)) + offset,
            xerr=np.nan_to_num([found[key].deviation[metric] for key in keys]),
            fmt=MARKERS[index % len(MARKERS)],
            color=COLOURS[index % len(COLOURS)],
            capsize=3,
        )
    axis.set_yticks(range(len(keys)), [key.replace(TOGETHER, " + ") for key in keys], fontsize=8)
    axis.invert_yaxis()
    axis.set_title("present in all clips", fontsize=11)
    axis.set_xlabel(metric)
    axis.grid(alpha=0.3)


def _title(metric: str) -> str:
    return f"{metric} ({'lower' if metric in LOWER_IS_BETTER else 'higher'} is better)"


def _plain(found: Spread) -> dict[str, dict[str, float]]:
    return {"mean": dict(found.mean), "standard_deviation": dict(found.deviation)}
