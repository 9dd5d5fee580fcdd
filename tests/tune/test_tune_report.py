"""Reports of made-up studies: importance, the account of outcomes, pictures."""

import csv

import pytest
from optuna.storages import InMemoryStorage
from tune.made_up_search import Formula, worker

from mimrl.tune.ledger import DIVERGED, best, read
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
    assert "386 of 2800 epochs were trained (14%)" in page  # 38 * 10 + 2 * 3, of 40 * 70
    assert "| 5 | diverged | stage 2 of epoch 3 / task became NaN |" in page
    assert "hint at most" in page


def test_nothing_complete(tmp_path):
    none = worker(InMemoryStorage(), tmp_path, 1)
    text = write_reports(none.study, none.plan, "none", tmp_path)
    assert "no trial is complete" in text
    assert not (tmp_path / "best.yaml").exists()
    assert "No trial is complete yet" in (tmp_path / "report.md").read_text()
