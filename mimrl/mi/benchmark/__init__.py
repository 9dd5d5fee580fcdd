"""Estimators measured on tasks whose information is known: run, kept, tabulated and drawn.

:func:`run_benchmark` measures what is asked for and gives a :class:`BenchmarkResult`; each
measurement is a :class:`Record`, and is written the moment it is done.
"""

from mimrl.mi.benchmark.heatmap import draw_heatmap
from mimrl.mi.benchmark.measurement import Measurement, Record, measure
from mimrl.mi.benchmark.result import BenchmarkResult, Cell, Totals
from mimrl.mi.benchmark.running import run_benchmark
from mimrl.mi.benchmark.table import text_table

__all__ = [
    "BenchmarkResult",
    "Cell",
    "Measurement",
    "Record",
    "Totals",
    "draw_heatmap",
    "measure",
    "run_benchmark",
    "text_table",
]
