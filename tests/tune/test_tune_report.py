"""Reports of made-up studies: importance, the account of outcomes, pictures."""

import csv
import re

import pytest
from optuna.storages import InMemoryStorage
from tune.made_up_search import Formula, plan, worker

from mimrl.settings import load
from mimrl.tune import pictures
from mimrl.tune.ledger import COMPLETE, DIVERGED, PRUNED, Row, best, read
from mimrl.tune.pictures import importances
from mimrl.tune.report import write_reports
from mimrl.tune.trials import Result


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """40 trials of the formula, drawn at random; numbers 5 and 6 diverged."""
    folder = tmp_path_factory.mktemp("made-up")
    one = worker(InMemoryStorage(), folder, 40, sampler="random")

    class Sometimes(Formula):
        def run(self, trial):
            found = super().run(trial)
            if trial.number in (5, 6):
                return Result(DIVERGED, None, 3, "stage 2 of epoch 3 | task became NaN")
            return found

    one.trials = Sometimes(one.plan, folder)
    one.run()
    write_reports(one.study, one.plan, "made-up", folder)
    return folder, one


def test_importance_finds_what_the_formula_depends_on(searched):
    """The value is (clip_at - 0.3)^2 + 0.02 text_rate: variances 0.023 and 3e-5, others none."""
    shares = importances(searched[1].study)
    assert sum(shares.values()) == pytest.approx(1)
    assert next(iter(shares)) == "training.clip_at"
    assert shares["training.clip_at"] > 0.9
    assert shares["training.batch_size"] < 0.05
    assert shares["training.clip"] < 0.05


def test_importance_needs_trials_that_differ(tmp_path):
    few = worker(InMemoryStorage(), tmp_path, 3)
    few.run()
    assert importances(few.study) == {}
    text = write_reports(few.study, few.plan, "few", tmp_path)
    assert "3 complete" in text
    assert not (tmp_path / "importance.png").exists()
    assert "at least four complete trials" in (tmp_path / "report.md").read_text()

    class Flat(Formula):
        def distance(self, settings):
            return 1.0

    flat = worker(InMemoryStorage(), tmp_path, 5)
    flat.trials = Flat(flat.plan, tmp_path)
    flat.run()
    assert importances(flat.study) == {}
    assert best(read(flat.study), lower=True).number == 0  # the first of equals


def test_pictures_and_table(searched):
    folder, one = searched
    for name in ("history.png", "importance.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 40
    winner = best(read(one.study), lower=True)
    assert min(float(row["value"]) for row in rows if row["outcome"] == "complete") == winner.value


def test_the_page_accounts_for_every_trial(searched):
    page = (searched[0] / "report.md").read_text()
    assert "38 complete, 2 diverged" in page
    assert "the best of 38 trials" in page
    assert "complete and pruned ones trained 380 of 2660 epochs (14%)" in page  # 38 * 70
    assert "; cost " in page
    assert " h (" not in page  # a time is said once
    assert "| 5 | diverged | stage 2 of epoch 3 / task became NaN |" in page
    assert "hint at most" in page


def test_nothing_complete(tmp_path):
    none = worker(InMemoryStorage(), tmp_path, 1)
    text = write_reports(none.study, none.plan, "none", tmp_path)
    assert "no trial is complete" in text
    assert not (tmp_path / "best.yaml").exists()
    page = (tmp_path / "report.md").read_text()
    assert "No trial is complete yet" in page
    assert "history" not in page
    assert not (tmp_path / "history.png").exists()


def drawn(rows, lower, monkeypatch, tmp_path):
    """The figure of a history."""
    figures = []
    monkeypatch.setattr(pictures, "_save", lambda figure, path: figures.append(figure))
    pictures.draw_history(rows, "mae", lower, tmp_path / "history.png")
    return figures[0]


def test_the_history_names_what_there_is_and_goes_on_to_the_last_trial(monkeypatch, tmp_path):
    values = (3.0, 2.0, 4.0)
    rows = [Row(n, COMPLETE, value, 1.0, 5, {}) for n, value in enumerate(values)]
    figure = drawn(rows, True, monkeypatch, tmp_path)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["complete", "best complete so far"]
    rows += [Row(3, PRUNED, 9.0, 1.0, 2, {})]
    figure = drawn(rows, True, monkeypatch, tmp_path)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["complete", "pruned", "best complete so far"]
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [0, 1, 2, 3]
    assert line.get_ydata().tolist() == [3.0, 2.0, 2.0, 2.0]
    figure = drawn(rows[3:], True, monkeypatch, tmp_path)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["pruned"]


def test_the_table_has_the_values_that_were_trained_with(tmp_path):
    """Counting in steps of 0.05 gives 0.15000000000000002; half of the trials have no rank."""
    space = {
        "model.encoders.*.dropout": {"low": 0.0, "high": 0.5, "step": 0.05},
        "model.fusion.kind": ["cubemlp", "lmf"],
        "model.fusion.rank": {"low": 2, "high": 16},
        "training.epochs": [10, 20],
    }
    one = worker(InMemoryStorage(), tmp_path, 12, plan=plan(space=space), sampler="random")
    one.run()
    write_reports(one.study, one.plan, "s", tmp_path)
    with (tmp_path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["model.fusion.kind"] for row in rows}) == 2
    for row in rows:
        assert re.fullmatch(r"0\.\d{1,2}", row["model.encoders.*.dropout"])
        kind = row["model.fusion.kind"]
        assert re.fullmatch(r"\d+" if kind == "lmf" else "", row["model.fusion.rank"])
    full = sum(int(row["training.epochs"]) for row in rows)
    assert f"trained 120 of {full} epochs" in (tmp_path / "report.md").read_text()


def test_the_best_settings_name_every_setting_that_was_searched(tmp_path):
    """Also a kind that is the configuration's own."""
    space = {"training.schedule.kind": ["multi_step"], "training.batch_size": [16]}
    one = worker(InMemoryStorage(), tmp_path, 1, plan=plan(space=space))
    one.run()
    text = write_reports(one.study, one.plan, "s", tmp_path)
    assert "  training.schedule.kind=multi_step\n" in text
    given = load(None, ["training.schedule.kind=multi_step", "training.batch_size=16"])
    assert given.training == load(None, ["training.batch_size=16"]).training


def test_logs_are_named_by_a_seed_that_there_is(tmp_path):
    one = worker(InMemoryStorage(), tmp_path, 1, plan=plan(seeds=(3, 4)))
    one.run()
    write_reports(one.study, one.plan, "s", tmp_path)
    assert "trials/trial0000/seed3/log.jsonl" in (tmp_path / "report.md").read_text()


def test_a_report_beside_workers_says_that_it_is_not_the_last(tmp_path):
    one = worker(InMemoryStorage(), tmp_path, 1)
    one.run()
    sentence = "other workers are still at it"
    assert sentence not in write_reports(one.study, one.plan, "s", tmp_path)
    one.study.ask()
    assert sentence in write_reports(one.study, one.plan, "s", tmp_path)
