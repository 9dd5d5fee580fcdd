"""The comparison of checkpoints: what changed, with what certainty, in all its files."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from made_up import PAIRS, analysis, reading
from report_reading import Page

from lsmi.decomposition import PointwiseInformation
from lsmi.report import comparison_table, save_comparison
from lsmi.report.changes import Estimate, answers, courses, difference, direction
from lsmi.report.comparison import COMPARED
from lsmi.report.readings import balance
from lsmi.results import Quantity
from mimrl.errors import ConfigError

SMALL = {"valid": 40, "test": 50}


@pytest.fixture(scope="module")
def analyses():
    last = analysis(seed=3, sizes=SMALL, means=(0.6, 0.5, 0.8))
    only = {PAIRS[0]: last.pairs[PAIRS[0]]}  # a later checkpoint may lack a pair
    return {
        "before <training>": analysis(seed=1, sizes=SMALL, means=(0.0, 0.0, 0.0)),
        "epoch 1": analysis(seed=2, sizes=SMALL, means=(0.3, 0.1, 0.5)),
        "best": replace(last, pairs=only),
    }


def test_a_change_has_the_interval_of_a_difference_of_independent_means():
    first = Quantity(0.1, 0.1 - 0.03, 0.1 + 0.03)
    last = Quantity(0.5, 0.5 - 0.04, 0.5 + 0.04)
    change = difference(first, last)
    assert change.value == pytest.approx(0.4)
    assert (change.low, change.high) == pytest.approx((0.35, 0.45))  # 3, 4, 5
    lopsided = difference(Quantity(0.0, 0.0, 0.3), Quantity(1.0, 0.6, 1.0))
    assert lopsided.low == pytest.approx(1 - math.hypot(0.4, 0.3))
    assert lopsided.high == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.2, "raised"), (-0.2, -0.1, "lowered"), (-0.1, 0.2, "no clear change")],
)
def test_a_change_counts_where_its_interval_leaves_out_zero(low, high, word):
    assert direction(Estimate((low + high) / 2, low, high)) == word


def test_balance_is_the_distance_of_i1_and_i2_at_any_shift(analyses):
    for course in courses(analyses):
        for one in course.readings.values():
            known, parts = one.decomposition.information, one.decomposition
            found = balance(one)
            assert found.value == pytest.approx(abs(known.i1.mean() - known.i2.mean()))
            for atoms in (parts.raw.totals, parts.adjusted.totals):
                assert found.value == pytest.approx(abs(atoms.u1 - atoms.u2))
            assert 0 <= found.low <= found.value <= found.high


def test_balance_has_the_interval_of_a_mean_and_widens_with_those_of_i1_and_i2():
    i1 = np.array([0.9, 0.7, 0.9, 0.7])
    known = PointwiseInformation(i1, np.zeros(4), i1, np.zeros(4), np.zeros(4))
    one = reading(known, np.arange(4) % 2)
    half = 1.96 * 0.1 / 2
    assert (balance(one).low, balance(one).high) == pytest.approx((0.8 - half, 0.8 + half))
    wide = Quantity(0.8, 0.8 - 3 * half, 0.8 + 3 * half)
    grouped = replace(one, quantities={**one.quantities, "i1": wide})
    assert balance(grouped).high == pytest.approx(0.8 + 3 * half)
    none = {name: Quantity(one.value, one.value, one.value) for name, one in one.quantities.items()}
    undrawn = balance(replace(one, quantities=none))
    assert (undrawn.low, undrawn.high) == pytest.approx((0.8, 0.8))
    even = reading(replace(known, i2=i1[::-1]), np.arange(4) % 2)
    assert balance(even).value == pytest.approx(0)
    assert balance(even).low == 0


def test_what_training_did_is_said_by_the_raw_totals(analyses):
    said = {(course.pair, course.split): answers(course) for course in courses(analyses)}
    first = said[PAIRS[0], "test"]
    assert list(first) == ["R raised?", "U1 and U2 balanced?", "S kept?"]
    assert first["R raised?"].startswith("yes: raised")
    course = next(iter(courses(analyses)))
    change = course.change("raw")["r"]
    assert f"({change.value:+.3f} [" in answers(course)["R raised?"]
    alone = next(iter(courses({"one": analyses["best"]})))
    assert answers(alone) == {}


def test_the_table_has_a_line_for_each_checkpoint(analyses):
    text = comparison_table(analyses)
    blocks = text.split("\n\n")
    assert len(blocks) == len(PAIRS) * len(SMALL) + 1
    lines = blocks[0].splitlines()
    assert lines[0] == "text (1) and audio (2), valid"
    assert [line[10:].split("  ")[0] for line in lines[2:6]] == [*analyses, "change"]
    best = analyses["best"].pairs[PAIRS[0]].splits["valid"]
    found = best.quantities["r"]
    assert f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]" in lines[4]
    assert f"{balance(best).value:.3f} [" in lines[4]
    assert "best" not in blocks[2]  # this pair is not in that analysis


def test_the_files_of_a_comparison(analyses, tmp_path):
    paths = {path.name: path for path in save_comparison(analyses, tmp_path / "new" / "course")}
    assert set(paths) == {"course.html", "course.csv", "course.json", "course.png"} | {
        f"course_{a}_{b}.png" for a, b in PAIRS
    }
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(paths)
    with paths["course.csv"].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COMPARED
    for name, made in analyses.items():
        for pair, one in made.pairs.items():
            for split, found in one.splits.items():
                mine = [row for row in rows if (row["checkpoint"], row["split"]) == (name, split)]
                mine = [row for row in mine if (row["first"], row["second"]) == pair]
                assert len(mine) == len(found.quantities) + 1
                value = {(row["kind"], row["quantity"]): float(row["value"]) for row in mine}
                adjusted = found.quantities["s_adjusted"].value
                assert value["adjusted", "s"] == pytest.approx(adjusted, abs=1e-8)
                assert value["raw", "i12"] == pytest.approx(found.quantities["i12"].value)
    report = json.loads(paths["course.json"].read_text(encoding="utf-8"))
    assert report["checkpoints"] == list(analyses)
    assert len(report["pairs"]) == len(PAIRS) * len(SMALL)
    change = report["pairs"][0]["change"]["raw"]["r"]
    expected = next(iter(courses(analyses))).change("raw")["r"]
    assert change["value"] == expected.value
    assert change["direction"] == direction(expected)


def test_the_page_of_a_comparison(analyses, tmp_path):
    paths = save_comparison(analyses, tmp_path / "course")
    text = paths[0].read_text(encoding="utf-8")
    page = Page(text)
    assert "http" not in text.replace("http-equiv", "")
    assert "before <training>" in page.text
    assert "<training>" not in text
    assert {one["href"][0] for one in page.find("a")} == {"#"}
    assert all(one["src"].startswith("data:image/png") for one in page.find("img"))
    assert len(page.find("img")) == len(PAIRS) + 1
    tables = [table for table in page.tables if table[0][0].strip() == "checkpoint"]
    assert len(tables) == 2 * len(PAIRS) * len(SMALL)
    assert [row[0].strip() for row in tables[0][1:]] == [*analyses, "change"]


def test_nothing_to_compare():
    with pytest.raises(ConfigError, match="at least one analysis"):
        comparison_table({})
