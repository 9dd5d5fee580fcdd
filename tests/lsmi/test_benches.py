"""The measurements of LSMI run on small data, and their verdicts follow from their numbers."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from lsmi.results import Quantity

BENCH = Path(__file__).parents[2] / "bench"
SMALL = {
    "lsmi_mixtures": ["--seeds", "1", "--cases", "2:.5", "--train", "80", "--test", "30"],
    "lsmi_gates": ["--seeds", "1", "--gates", "xor,unique", "--samples", "80", "--draws", "500"],
    "lsmi_chance": ["--seeds", "1", "--samples", "80", "--width", "3"],
    "lsmi_coverage": ["--sets", "2", "--samples", "80", "--draws", "500"],
    "lsmi_invariance": ["--seeds", "1", "--samples", "90"],
}


@pytest.fixture
def bench(monkeypatch):
    """Loads a script the way running it does, with its folder in front."""
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name in SMALL or name == "reporting":
            del sys.modules[name]


@pytest.mark.parametrize("name", SMALL)
def test_script_runs_and_writes_what_it_prints(name, bench, tmp_path, capsys):
    out = tmp_path / "out.json"
    code = bench(name).main([*SMALL[name], "--quick", "--json", str(out)])
    printed = capsys.readouterr().out
    report = json.loads(out.read_text())
    assert code == (0 if report["wanted_holds"] else 1)
    assert report["bench"] == name
    assert report["rows"]
    assert "|---|" in printed


@pytest.mark.parametrize("name", SMALL)
def test_help_names_what_is_wanted(name, bench, capsys):
    with pytest.raises(SystemExit) as ended:
        bench(name).main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "Wanted" in printed
    assert "--json" in printed


def test_seeds_are_a_number_or_a_list(bench):
    reporting = bench("reporting")
    assert reporting.seeds("3") == [0, 1, 2]
    assert reporting.seeds("4,7") == [4, 7]
    assert reporting.seeds("5,") == [5]
    assert reporting.spread([1.0, 2.0, 3.0]) == "2.000 ± 1.000"


@pytest.mark.parametrize(("missed", "good"), [(0, False), (5, True), (10, True), (11, False)])
def test_coverage_is_the_share_of_intervals_that_hold_the_truth(missed, good, bench, capsys):
    coverage = bench("lsmi_coverage")
    known = dict.fromkeys(coverage.RAW, 0.0)
    ends = [0.05 if k < missed else -1.0 for k in range(100)]
    rows = [
        coverage.Row(k, dict.fromkeys(coverage.RAW, Quantity(0.1, low, 1.0)), known)
        for k, low in enumerate(ends)
    ]
    assert coverage.report(rows, known) is good
    assert f"| r | {100 - missed}% | 0.000 | 0.100 |" in capsys.readouterr().out


def test_mixtures_are_judged_by_error_and_time(bench, capsys):
    mixtures = bench("lsmi_mixtures")

    def verdict(r, cpu):
        ours = mixtures.Reading(r=r, h1=0.1, i1=0.1, i12=0.1, wall=9.0, cpu=cpu)
        other = mixtures.Reading(r=0.16, h1=0.5, i1=0.1, i12=0.1, wall=9.0, cpu=6.0)
        return mixtures.report([mixtures.Row(2, 0.5, seed, ours, other) for seed in range(3)], 0.6)

    assert verdict(0.07, 1.9) is True
    assert verdict(0.09, 1.9) is False  # more than half
    assert verdict(0.07, 2.1) is False  # more than a third of the time
    printed = capsys.readouterr().out
    assert "ours / published over cases: 0.44" in printed
    assert "0.32 with batches from arrays, 0.29 with" in printed


def test_chance_is_not_found_only_if_every_interval_holds_zero(bench):
    chance = bench("lsmi_chance")
    around, above = Quantity(0.0, -0.01, 0.01), Quantity(0.02, 0.01, 0.03)
    ours = dict.fromkeys((*chance.ATOMS, "i12"), around)
    assert chance.Row(0, ours, {}).good
    assert not chance.Row(0, ours | {"s": above}, {}).good
    assert not chance.Row(0, ours | {"i12": Quantity(0.02, -1, 1)}, {}).good
