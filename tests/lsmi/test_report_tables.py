"""The tables of the report in plain text: their numbers are those of the analysis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from made_up import PAIRS, SIZES, analysis
from report_reading import CELL, every, same, unclear

from lsmi.report import measures_table, readings, scales_table, summary_table
from lsmi.report.tables import measure_notes
from lsmi.results import ATOMS, INFORMATION, Quantity


def test_summary_table_has_the_numbers_of_the_analysis(made):
    blocks = summary_table(made).split("\n\n")
    assert [block.splitlines()[0] for block in blocks[1:-1]] == [
        *("text (1) and audio (2)", "text (1) and video (2)")
    ]
    assert "~ not distinguishable from shuffled labels" in blocks[-1]
    assert "the shift, which R and S gain and U1 and U2 lose" in blocks[-1]
    assert max(map(len, summary_table(made).splitlines())) <= 128  # four totals with intervals
    assert {unclear(found) for _, _, one in every(made) for found in one.quantities.values()} == {
        *(True, False)
    }
    for block, pair in zip(blocks[1:-1], made.pairs.values(), strict=True):
        lines = iter(block.splitlines()[3:])
        for split, one in pair.splits.items():
            line = next(lines)
            assert line.split()[:3] == [split, "N", str(SIZES[split])]
            *cells, entropy = CELL.findall(line)
            same(cells, [one.quantities[name] for name in INFORMATION])
            assert float(entropy[0]) == pytest.approx(np.log(2), abs=5.1e-4)
            for kind in readings.distinct_kinds(one):
                line = next(lines)
                assert line.split()[0] == kind
                shift = "" if kind == "raw" else line.split()[1]
                same(CELL.findall(line.replace(shift, "", 1) if shift else line),
                     list(readings.quantities(one, kind).values()))  # fmt: skip
                if shift:
                    assert float(shift) == pytest.approx(readings.shift_of(one, kind), abs=5.1e-4)
            if one.decomposition.feasible is None:
                assert "feasible: none" in next(lines)
        assert list(lines) == []


def test_marks_need_a_control_and_intervals_need_draws():
    plain = analysis(control=None)
    assert "~" not in summary_table(plain)
    assert "no control with shuffled labels" in summary_table(plain)
    one = plain.pairs[PAIRS[0]].splits["test"]
    values = {name: Quantity(found.value, found.value, found.value)
              for name, found in one.quantities.items()}  # fmt: skip
    pair = replace(plain.pairs[PAIRS[0]], splits={"test": replace(one, quantities=values)})
    text = summary_table(replace(plain, pairs={PAIRS[0]: pair}))
    assert text.count("[") == 1  # only in the legend


def test_tables_of_scales_and_measures(made):
    lines = scales_table(made).splitlines()
    first = made.pairs[PAIRS[0]].splits["train"]
    row = next(line for line in lines if line.startswith("own")).split()
    expected = [-60, *first.scales["own"].raw, *first.scales["own"].adjusted]
    assert [float(cell) for cell in row[1:]] == pytest.approx(expected, abs=5.1e-4)
    text = measures_table(made)
    assert text.count("MMI: four bins each") == len(PAIRS) * len(SIZES)
    row = next(line for line in text.splitlines() if line.startswith("LSMI raw")).split()[2:]
    values = [first.quantities[name].value for name in (*ATOMS, *INFORMATION)]
    assert [float(cell) for cell in row] == pytest.approx(values, abs=5.1e-4)
    row = next(line for line in text.splitlines() if line.startswith("MMI")).split()[1:]
    assert [float(cell) for cell in row[4:]] == [0.11, 0.22, 0.33]


def test_notes_on_measures_name_splits_only_where_they_differ(made):
    splits = made.pairs[PAIRS[0]].splits
    (first,) = splits["train"].measures
    twice = replace(splits["train"], measures=(first, replace(first, name="BROJA")))
    assert measure_notes({"train": twice}) == ["MMI, BROJA: four bins each"]
    other = replace(splits["test"], measures=(replace(first, note="three bins"),))
    assert measure_notes({"train": splits["train"], "test": other}) == [
        *("MMI (train): four bins each", "MMI (test): three bins")
    ]
