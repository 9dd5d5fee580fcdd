"""The result of a benchmark as Markdown, for a page or a paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mimrl.mi.benchmark.result import CLOSE, BenchmarkResult, Totals

COLUMNS: Mapping[str, Callable[[Totals], str]] = {
    "mean absolute error": lambda totals: _number(totals.mean_absolute_error, ".3f"),
    "mean error": lambda totals: _number(totals.mean_error, "+z.3f"),
    "largest error": lambda totals: _number(totals.largest_error, ".3f"),
    f"tasks within {CLOSE:g}": lambda totals: f"{totals.within} of {totals.tasks}",
    "tasks failed": lambda totals: str(totals.failed),
    "tasks warned": lambda totals: str(totals.warned),
    "CPU seconds": lambda totals: f"{totals.cpu_seconds:.2g}",
    "seconds, slowest": lambda totals: f"{totals.most_wall_seconds:.2g}",
}


def totals_markdown(result: BenchmarkResult) -> str:
    """A row for each estimator, those with the smallest mean absolute error first."""
    ranked = sorted(
        result.totals.items(),
        key=lambda item: (item[1].mean_absolute_error is None, item[1].mean_absolute_error or 0.0),
    )
    rows = [[name, *(read(totals) for read in COLUMNS.values())] for name, totals in ranked]
    return _table(["estimator", *COLUMNS], rows)


def cells_markdown(result: BenchmarkResult) -> str:
    """A row for each task: its truth and the estimates in nats."""
    rows = [
        [task, f"{truth:.3f}", *(_cell(result, task, name) for name in result.estimators)]
        for task, truth in result.tasks.items()
    ]
    return _table(["task", "truth", *result.estimators], rows)


def _cell(result: BenchmarkResult, task: str, name: str) -> str:
    cell = result.cells.get((task, name))
    if cell is None:
        return ""
    return "failed" if cell.estimate is None else f"{cell.estimate:z.3f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
