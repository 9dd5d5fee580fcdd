"""Pictures of a search: its history, and which settings mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.importance import FanovaImportanceEvaluator
from optuna.study import Study
from optuna.trial import TrialState

from mimrl.mi.writing import written_whole
from mimrl.tune.ledger import COMPLETE, PRUNED, Row

LEAST = 4


def importances(study: Study) -> dict[str, float]:
    """Share of the variance of the value that each setting explains (fANOVA).

    Returns:
        Key -> share, largest first, adding up to 1; empty with fewer than ``LEAST`` complete
        trials, or where all have the same value. Settings that only some complete trials have
        (those of a kind) are left out.

    Note:
        Hutter, Hoos and Leyton-Brown, ICML 2014, as Optuna has it: a random forest is fitted to
        the complete trials, and its variance taken apart.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < LEAST or len({trial.value for trial in done}) < 2:
        return {}
    found = optuna.importance.get_param_importances(
        study, evaluator=FanovaImportanceEvaluator(seed=0)
    )
    return {key: float(value) for key, value in found.items()}


def draw_importances(shares: Mapping[str, float], trials: int, path: Path) -> None:
    """One bar a setting, the most important on top."""
    figure = _figure(8, 1.6 + 0.32 * max(len(shares), 1))
    axis = figure.subplots()
    names = [*shares][::-1]
    axis.barh(names, [shares[name] for name in names], color="tab:blue")
    for place, name in enumerate(names):
        axis.text(shares[name], place, f" {shares[name]:.2f}", va="center", fontsize=8)
    axis.set_xlim(0, 1.08 * max(shares.values(), default=1.0) + 0.02)
    axis.set_xlabel("share of the variance of the validation value (fANOVA)")
    axis.set_title(f"Importance of settings, from {trials} complete trials", fontsize=11)
    axis.tick_params(labelsize=8)
    _save(figure, path)


def draw_history(rows: Sequence[Row], metric: str, lower: bool, path: Path) -> None:
    """Every trial's value, pruned ones apart, and the best so far; one trial at least has one."""
    figure = _figure(9, 4.5)
    axis = figure.subplots()
    for outcome, colour, marker in ((COMPLETE, "tab:blue", "o"), (PRUNED, "0.65", "x")):
        chosen = [row for row in rows if row.outcome == outcome and row.value is not None]
        values = [row.value or 0.0 for row in chosen]
        numbers = [row.number for row in chosen]
        if chosen:
            axis.scatter(numbers, values, s=22, c=colour, marker=marker, label=outcome, zorder=3)
    done = [row for row in rows if row.outcome == COMPLETE and row.value is not None]
    so_far: list[float] = []
    for row in done:
        so_far.append((min if lower else max)([*so_far[-1:], row.value or 0.0]))
    if done:  # up to the last trial, which may have been pruned
        numbers = [*(row.number for row in done), max(row.number for row in rows)]
        line = [*so_far, so_far[-1]]
        axis.step(numbers, line, where="post", color="tab:red", label="best complete so far")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("trial")
    axis.set_ylabel(f"valid {metric}")
    axis.set_title("Best validation value of each trial", fontsize=11)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)  # beside the points
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=110, format="png")
