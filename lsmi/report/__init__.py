"""The report of an analysis: tables for a terminal, files, pictures and a page."""

from lsmi.report.comparison import comparison_table, save_comparison
from lsmi.report.files import COLUMNS, csv_text, save
from lsmi.report.tables import measures_table, scales_table, summary_table

__all__ = [
    "COLUMNS",
    "comparison_table",
    "csv_text",
    "measures_table",
    "save",
    "save_comparison",
    "scales_table",
    "summary_table",
]
