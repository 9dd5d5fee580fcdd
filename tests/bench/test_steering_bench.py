"""The measurement of steering: every study runs, goes on where it was, and reports its lines."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bench.steering import default, dose, honesty, instrument, lines, paired, study
from bench.steering.__main__ import STUDIES, main
from bench.steering.cells import Cell, identity, rounded
from bench.steering.options import QUANTITIES, Options, interval
from mimrl.datasets.ceilings import ceilings
from mimrl.datasets.planted import truth
from mimrl.settings import load
from mimrl.terms import terms
from mimrl.training.inference import Features

MODALITIES = ("text", "audio", "video")


@pytest.fixture(autouse=True)
def threads():
    """A training sets PyTorch's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run(name, folder, *more):
    assert main([name, "--quick", "--out", str(folder), *more]) == 0
    return lines.read(folder / f"{name}.jsonl")


@pytest.mark.parametrize("name", STUDIES)
def test_study_runs_goes_on_and_reports(name, tmp_path, capsys, monkeypatch):
    wanted = STUDIES[name].cells(Options(quick=True))
    found = run(name, tmp_path)
    assert {identity(line["cell"]) for line in found} == {cell.identity for cell in wanted}
    printed = capsys.readouterr().out
    assert STUDIES[name].TITLE in printed
    assert printed.count("\n|") > 2
    assert not list((tmp_path / "trainings" / name).iterdir())  # nothing but lines is left

    file = tmp_path / f"{name}.jsonl"
    first, *others = file.read_text().splitlines()
    file.write_text("\n".join([*others, first[:20]]))  # an interruption cut one short
    trained = []
    work = lines.Work.__call__
    monkeypatch.setattr(
        lines.Work, "__call__", lambda self, cell: trained.append(cell) or work(self, cell)
    )
    again = run(name, tmp_path)
    assert [identity(cell.key) for cell in trained] == [identity(json.loads(first)["cell"])]
    del trained[:]
    capsys.readouterr()
    assert run(name, tmp_path, "--report") == again
    assert not trained
    assert capsys.readouterr().out == printed


def test_former_critics_stand_beside_the_present_ones(tmp_path, capsys):
    now, before = (run("honesty", tmp_path, *more) for more in ((), ("--before",)))
    assert len(before) == 2 * len(now)
    printed = capsys.readouterr().out
    assert "### before, classes" in printed
    assert "### now, ratings" in printed


@pytest.mark.slow
def test_processes_beside_each_other_give_the_same_lines(tmp_path):
    alone, beside = (
        sorted(run("dose", tmp_path / jobs, "--jobs", jobs), key=lambda line: str(line["cell"]))
        for jobs in ("1", "2")
    )
    for line in (*alone, *beside):
        del line["cpu_seconds"]
    assert alone == beside


def test_a_training_that_fails_stops_no_other(tmp_path, capsys):
    good = dose.cells(Options(quick=True))[0]
    bad = Cell({"seed": 1}, good.config, (*good.overrides, "data.planted.width=2"), 1)
    work = lines.Work(dose.measure, tmp_path / "trainings")
    file = tmp_path / "dose.jsonl"
    assert lines.run(file, [bad, good], work, jobs=1) == 1
    assert [line["cell"] for line in lines.read(file)] == [good.key]
    assert "failed: data.planted.width" in capsys.readouterr().err


def test_grids_have_all_cells_once():
    sizes = {honesty: 8 * 4 * 2 * 3, dose: (8 * 10 + 1) * 5, default: 2 * 2 * 10, study: 6 * 9 * 10}
    for module, size in sizes.items():
        found = module.cells(Options())
        assert len({cell.identity for cell in found}) == len(found) == size
        assert len({cell.folder for cell in found}) == size
    few = study.cells(Options(cells=("128/0.2",), only=("unsteered", "default"), seeds=(3,)))
    assert [cell.key["setting"] for cell in few] == ["unsteered", "default"]
    assert {(cell.key["clips"], cell.key["flips"], cell.seed) for cell in few} == {(128, 0.2, 3)}
    assert {cell.key["dose"] for cell in dose.cells(Options(values=(-1.0, 1.0)))} == {-1, 0, 1}


@pytest.mark.parametrize("module", [honesty, dose, default, study], ids=lambda m: m.NAME)
def test_settings_of_every_cell_are_valid(module, tmp_path):
    for cell in module.cells(Options(seeds=(1,))):
        found = cell.settings(tmp_path)
        assert found.seed == found.data.planted.seed == 1
        assert found.training.keep_epochs == (found.training.epochs,)


def features_of(settings):
    """Features that hold the latent vectors, nothing added, nothing lost."""
    known = truth(settings.data.planted, settings.task)
    generator = np.random.default_rng(0)
    mix = {name: generator.standard_normal((4, 16)) for name in MODALITIES}
    found = {}
    for split, draw in known.draws.items():
        own = {n: torch.from_numpy(draw.latents[n] @ mix[n]).float() for n in MODALITIES}
        labels = torch.from_numpy(draw.labels).long()
        found[split] = Features(torch.zeros(len(labels), 2), own["text"] * 0 + 1, own, labels)
    return found, known


@pytest.mark.filterwarnings("ignore::mimrl.errors.SampleSizeWarning")
def test_second_instrument_reads_exact_values():
    """Latent vectors of 1,024 test rows: standard errors are about 0.03, of label terms 0.015."""
    found, known = features_of(load("configs/steering.yaml"))
    exact = ceilings(known.model).terms
    table = terms(MODALITIES)
    values = instrument.read_terms(found, table)
    for term in table:
        if exact[term.name] is None:
            assert values[term.name] == 0  # the fused features are constant here
        else:
            assert values[term.name] == pytest.approx(exact[term.name].value, abs=0.08)


def honest(believed, read, fresh, **cell):
    terms = {"believed": believed, "read": read, "stopped": [0.0], "fresh": {"valid": fresh}}
    key = {"version": "now", "task": "classes", "quantity": "fusion_text", "weight": 0.1}
    return {"cell": {**key, **cell}, "terms": {"fused_text": terms}}


def test_honesty_says_what_is_met(tmp_path):
    good = honest([1.0] * 10, [1.0] * 9 + [1.5], 1.25, seed=0)
    assert "| fusion_text | +0.1 | 1 | 90% | 1.00 | -0.25 | yes |" in honesty.report(
        [good], tmp_path
    )
    far = honest([1.0] * 10, [1.5] * 10, 1.5, seed=1)
    assert "| fusion_text | +0.1 | 2 | 45% | 1.00 | -0.25 | NO |" in honesty.report(
        [good, far], tmp_path
    )
    low = honest([-0.2] * 10, [0.0] * 10, 0.0, seed=0, weight=-0.01)
    assert "| 100% | -0.20 | +0.00 | NO |" in honesty.report([low], tmp_path)
    apart = honest([0.0] * 10, [0.0] * 10, 0.4, seed=0, weight=-0.01)
    assert "| 100% | 0.00 | +0.40 | NO |" in honesty.report([apart], tmp_path)


def read_line(quantity, value, amount, seed):
    every = [term.name for term in terms(MODALITIES)]
    reading = {name: {"critics": 0.0, "controls": [0.0], "second": 0.0} for name in every}
    for name in QUANTITIES["invariant"].parts:
        reading[name] = {"critics": value, "controls": [0.0], "second": -value}
    scores = {"test": {"accuracy": 0.9, "clean": 0.95}}
    return {
        "cell": {"quantity": quantity, "dose": amount, "seed": seed},
        "terms": reading,
        "metrics": {"chosen": scores, "last": scores},
    }


def test_dose_reports_both_instruments_and_draws(tmp_path):
    doses = (-1.0, -0.1, 0.1, 1.0)
    stored = [read_line("none", 0.5, 0.0, seed) for seed in (0, 1)]
    stored += [read_line("invariant", 0.5 + d / 4, d, seed) for d in doses for seed in (0, 1)]
    text = dose.report(stored, tmp_path)
    assert "| invariant | -1: 0.50 (0.00) | 1.00 (0.00) | +1: 1.50 (0.00) |" in text
    assert "| +1.00 | -1.00 |" in text  # both rank correlations
    assert text.count("\n| -0.1 |") == 1
    assert (tmp_path / "dose.png").stat().st_size > 10_000
    bounds = dose.limits()
    assert bounds["fusion_text"].high == pytest.approx(np.log(64))
    assert bounds["invariant"].high == pytest.approx(2.3156, abs=1e-3)


def test_differences_are_paired_by_seed():
    _, half = interval([1.0, 2.0, 3.0])
    assert half == pytest.approx(4.302653 / np.sqrt(3))
    without = {0: 0.5, 1: 0.7, 2: 0.9, 3: 0.1}
    with_it = {0: 0.6, 1: 0.8, 2: 1.0}
    assert paired.row(with_it, without)[0] == "3"
    assert paired.row(with_it, without)[3:] == ["+0.1000 [+0.1000, +0.1000]", "+"]
    assert paired.row({}, without)[0] == "0"


def test_missing_modalities_are_scored_on_clean_labels(tmp_path):
    few = study.cells(Options(quick=True))[0]
    flipped = Cell(few.key, few.config, (*few.overrides, "data.planted.label_flips=0.4"), 0)
    (line,) = (lines.Work(study.measure, tmp_path)(flipped),)
    extra, scores = line["extra"], line["metrics"]["chosen"]["test"]
    assert extra["rates"][0] == scores["clean"] != scores["accuracy"]
    assert extra["missing"]["mean over rates"] == pytest.approx(np.mean(extra["rates"]), abs=1e-4)
    assert extra["missing"]["rate 0.9"] == extra["rates"][9]
    assert set(extra["missing"]) >= {f"{name} alone" for name in MODALITIES}


def test_further_readings_get_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "EXTRAS", (lambda run: {"missing": {"0.5": run.best.epoch / 10}},))
    found = run("study", tmp_path)
    assert all(line["extra"]["missing"]["0.5"] > 0 for line in found)
    assert "### missing.0.5" in capsys.readouterr().out


def test_numbers_are_short_and_json():
    assert rounded({"a": [1.23456, float("nan")], "b": (1, "x")}) == {
        "a": [1.2346, None],
        "b": [1, "x"],
    }
