"""The table of a benchmark as text: a row for each task, a column for each estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mimrl.mi.benchmark.result import CLOSE, BenchmarkResult, Cell, Totals

GAP = "  "
FAILED, WARNED = "failed", "*"

FOOT: Mapping[str, Callable[[Totals], str]] = {
    "mean absolute error": lambda totals: _number(totals.mean_absolute_error, ".3f"),
    "mean error": lambda totals: _number(totals.mean_error, "+.3f"),
    f"tasks within {CLOSE:g}": lambda totals: f"{totals.within} of {totals.tasks}",
    "tasks that failed": lambda totals: str(totals.failed),
    "mean CPU seconds": lambda totals: f"{totals.cpu_seconds:.2g}",
}


def text_table(result: BenchmarkResult, width: int | None = None) -> str:
    """Estimates with their errors, and below them the totals of each estimator.

    Args:
        result: what was found.
        width: characters a line may have, or None; where the estimators need more, the table is
            given in several parts below each other.

    Returns:
        Lines, the last without an end. A star marks estimates that came with a warning.
    """
    heads = ["task", *result.tasks, "", *FOOT]
    truths = ["truth", *(f"{truth:.3f}" for truth in result.tasks.values())]
    left = _aligned([heads, truths + [""] * (len(heads) - len(truths))])
    columns = {name: _column(result, name) for name in result.estimators}
    parts = [_beside([left, *part]) for part in _parts(left, list(columns.values()), width)]
    return "\n\n".join([*parts, _explanation(result)])


def _column(result: BenchmarkResult, name: str) -> list[str]:
    cells = [_cell_text(result.cells.get((task, name))) for task in result.tasks]
    foot = [read(result.totals[name]) for read in FOOT.values()]
    lines = [name, *cells, "", *foot]
    width = max(map(len, lines))
    return [line.rjust(width) for line in lines]


def _cell_text(cell: Cell | None) -> str:
    if cell is None:
        return "-" + " "
    if cell.estimate is None or cell.error is None:
        return FAILED + " "
    mark = WARNED if cell.warnings or cell.failures else " "
    return f"{cell.estimate:z.3f} {cell.error:+z.3f}{mark}"


def _explanation(result: BenchmarkResult) -> str:
    seeds = max(cell.seeds for cell in result.cells.values())
    means = f", means over {seeds} seeds" if seeds > 1 else ""
    lines = [f"estimate and error (estimate - truth) in nats{means}; {WARNED} with a warning"]
    for (task, name), cell in result.cells.items():
        lines += [f"{name} failed on {task}: {failure}" for failure in cell.failures]
    return "\n".join(lines)


def _parts(
    left: Sequence[str], columns: Sequence[list[str]], width: int | None
) -> list[list[list[str]]]:
    """Columns in groups that fit beside the left part; at least one a group."""
    if width is None:
        return [list(columns)]
    parts: list[list[list[str]]] = []
    room = 0
    for column in columns:
        needed = len(GAP) + len(column[0])
        if not parts or needed > room:
            parts.append([])
            room = width - len(left[0])
        parts[-1].append(column)
        room -= needed
    return parts


def _aligned(columns: Sequence[Sequence[str]]) -> list[str]:
    """Names to the left, numbers to the right, as lines of equal length."""
    names, numbers = columns
    wide, narrow = max(map(len, names)), max(map(len, numbers))
    pairs = zip(names, numbers, strict=True)
    return [f"{name:{wide}}{GAP}{number:>{narrow}}" for name, number in pairs]


def _beside(columns: Sequence[Sequence[str]]) -> str:
    return "\n".join(GAP.join(line).rstrip() for line in zip(*columns, strict=True))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
