"""The command with a small real training: what it finds, writes, keeps, refuses and never reads."""

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from training.small import SMALL

import mimrl.command
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.features import TEST, VALID
from mimrl.datasets.prepare import prepare
from mimrl.errors import DataError
from mimrl.settings import load
from mimrl.training.tracking import read_log
from mimrl.tune import trials as trials_module
from mimrl.tune.command import main
from mimrl.tune.space import build_space
from mimrl.tune.study import Plan
from mimrl.tune.trials import Trials, prepare_without_test, with_cache

FEW = (*SMALL, "training.epochs=2", "training.warmup_epochs=0", "training.controls=0", "device=cpu")
ROOT = Path(__file__).parents[2]
SEARCH = """\
training.optimizer.rate: {low: 1e-4, high: 1e-2, log: true}
training.batch_size: [16, 32]
training.stage1_passes: [0, 1]
"""
# stage1_passes=0 is refused: steering needs critics; the seed is one that draws both.


class Untouchable:
    """A split that cannot be looked at."""

    def __getattribute__(self, name):
        raise AssertionError(f"test was read: {name}")

    def __len__(self):
        raise AssertionError("test was read: its length")


@pytest.fixture
def poisoned(monkeypatch):
    """From here on, no code of the search can look at the test split."""

    def opened(settings):
        corpus = open_corpus(settings)
        object.__setattr__(corpus, "splits", {**corpus.splits, TEST: Untouchable()})
        return corpus

    monkeypatch.setattr(trials_module, "open_corpus", opened)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search of 5 trials, one seed each, started with 3 and gone on with."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "search.yaml").write_text(SEARCH)
    arguments = [*FEW, f"output={folder}", "--search", str(folder / "search.yaml"), "--name", "s"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", sys.stderr)
        for total in ("3", "5"):
            assert main([*arguments, "--trials", total, "--pruner", "none"]) == 0
    return folder, arguments


def table(folder):
    with (folder / "s" / "tune" / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_count_goes_on_and_refused_trials_are_recorded(found):
    rows = table(found[0])
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row["outcome"] for row in rows} == {"complete", "refused"}
    for row in rows:
        refused = row["training.stage1_passes"] == "0"
        assert (row["outcome"] == "refused") == refused
        assert ("stage1_passes=0 leaves the critics untrained" in row["reason"]) == refused
        assert (row["epochs"] == "2") != refused


def test_the_best_settings_reproduce_the_best_value_bit_for_bit(found):
    folder, _ = found
    rows = [row for row in table(folder) if row["outcome"] == "complete"]
    best = max(rows, key=lambda row: float(row["value"]))  # the first of equals
    file = folder / "s" / "tune" / "best.yaml"
    assert mimrl.command.main(["--config", str(file)]) == 0
    run = folder / "s-best" / "seed0"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["valid"]["accuracy"] == float(best["value"])
    assert metrics["epoch"] == json.loads(best["best_epochs"])["0"]
    kept = read_log(Path(best["folder"]) / "seed0")
    for epoch, (mine, theirs) in enumerate(zip(read_log(run), kept, strict=True)):
        assert mine["valid"] == theirs["valid"], epoch
        assert mine["stage2"] == theirs["stage2"], epoch
    shutil.rmtree(folder / "s-best")


def test_key_value_of_the_report_are_the_best_settings(found):
    folder, _ = found
    page = (folder / "s" / "tune" / "report.md").read_text()
    overrides = re.search(r"```\n(training\.\S+=[^`]*)\n```", page).group(1).splitlines()
    best = load(folder / "s" / "tune" / "best.yaml")
    assert best.seed == 0
    assert load(None, [*FEW, f"output={folder}", "name=s-best", *overrides]) == best


def test_files_and_what_they_say(found):
    folder = found[0] / "s" / "tune"
    names = {"trials.csv", "best.yaml", "report.md", "history.png", "trials", "study.db"}
    present = {path.name for path in folder.iterdir()}
    complete = sum(row["outcome"] == "complete" for row in table(found[0]))
    values = {row["value"] for row in table(found[0]) if row["outcome"] == "complete"}
    importance = {"importance.png"} if complete >= 4 and len(values) > 1 else set()
    assert present == names | importance
    assert (folder / "history.png").read_bytes()[:4] == b"\x89PNG"
    page = (folder / "report.md").read_text()
    assert "The test split was not read." in page
    assert f"**This value is optimistic:** it is the best of {complete} trials" in page
    assert f"{complete} complete" in page
    assert "--seeds 0,1,2,3,4" in page


def test_checkpoints_of_losing_trials_are_removed(found):
    folder = found[0] / "s" / "tune"
    page = (folder / "report.md").read_text()
    number = int(re.search(r"## Best: trial (\d+)", page).group(1))
    for trial in (folder / "trials").iterdir():
        names = {path.name for path in (trial / "seed0").iterdir()}
        best = trial.name == f"trial{number:04d}"
        assert names >= {"log.jsonl", "settings.yaml"}
        assert ({"best.safetensors", "last.safetensors"} <= names) == best
        assert ("tensorboard" in names) == best


def test_the_report_alone(found, capsys):
    folder, arguments = found
    target = folder / "s" / "tune"
    before = (target / "trials.csv").read_bytes(), (target / "best.yaml").read_bytes()
    (target / "trials.csv").unlink()
    (target / "best.yaml").unlink()
    assert main(["--report", "--name", "s", f"output={folder}"]) == 0
    assert ((target / "trials.csv").read_bytes(), (target / "best.yaml").read_bytes()) == before
    said = capsys.readouterr().out
    assert "final training and test: python train.py --config" in said
    assert main(["--report", *arguments]) == 0
    assert main(["--report", *arguments, "training.epochs=3"]) == 2
    assert "settings.training.epochs: 2 then, 3 now" in capsys.readouterr().err
    assert main(["--report", "--name", "absent", f"output={folder}"]) == 2
    assert "does not exist; there is no study" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--report", "--trials", "3", "--device", "cpu"])
    assert "leave out --trials, --device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "best"),
    [
        (("training.select_by=accuracy",), max),
        (("data.target=regression", "training.loss=mae"), min),
    ],
    ids=["accuracy", "mae"],
)
def test_direction_seeds_and_a_test_split_that_is_never_read(tmp_path, poisoned, overrides, best):
    """The value of a trial is the mean over seeds of the best epoch's value; test is poison."""
    search = tmp_path / "search.yaml"
    search.write_text("training.optimizer.rate: {low: 1e-4, high: 1e-2, log: true}\n")
    settings = [*FEW, f"output={tmp_path}", *overrides, "name=s"]
    code = main([*settings, "--search", str(search), "--trials", "2", "--seeds", "3,4"])
    assert code == 0
    rows = table(tmp_path)
    metric = "mae" if best is min else "accuracy"
    for row in rows:
        logs = [read_log(Path(row["folder"]) / f"seed{seed}") for seed in (3, 4)]
        each = [best(line["valid"]["metrics"][metric] for line in log) for log in logs]
        assert float(row["value"]) == pytest.approx(sum(each) / 2, rel=1e-15)
        assert row["epochs"] == "4"
    values = [float(row["value"]) for row in rows]
    page = (tmp_path / "s" / "tune" / "report.md").read_text()
    assert f"## Best: trial {values.index(best(values))}, valid {metric}" in page
    assert yaml.safe_load((tmp_path / "s" / "tune" / "best.yaml").read_text())["seed"] == 3


def test_data_are_prepared_as_for_a_training_but_without_test():
    settings = load(None, FEW)
    whole, mine = prepare(open_corpus(settings.data), settings), prepare_without_test(settings)
    assert set(mine.splits) == {"train", VALID}
    assert (mine.widths, mine.num_classes) == (whole.widths, whole.num_classes)
    for name, scaler in whole.scalers.items():
        assert np.array_equal(mine.scalers[name].center, scaler.center)
    for name, samples in mine.splits.items():
        assert samples.ids == whole.splits[name].ids
        assert samples.labels.tolist() == whole.splits[name].labels.tolist()


def test_data_are_prepared_once_while_their_settings_are_the_same(tmp_path, monkeypatch):
    opened = []

    def counted(settings):
        opened.append(settings)
        return open_corpus(settings)

    monkeypatch.setattr(trials_module, "open_corpus", counted)
    base = load(None, FEW)
    space = build_space({"data.max_steps": [3, 4], "training.batch_size": [16, 32]}, base)
    trials = Trials(Plan(space, (0,)), tmp_path)
    for steps, size in ((3, 16), (3, 32), (4, 32), (4, 16)):
        values = {"data.max_steps": steps, "training.batch_size": size}
        data = trials._prepared(space.settings(lambda item, v=values: v[item.key]))
        assert int(data.splits["train"].inputs["text"].lengths.max()) == steps
    assert [settings.max_steps for settings in opened] == [3, 4]


def test_a_frozen_text_encoder_encodes_for_all_trials(tmp_path):
    mosi = ROOT / "configs" / "mosi.yaml"
    frozen = load(mosi, ["model.encoders.text.train=none"])
    cached = with_cache(frozen, tmp_path)
    assert cached.performance.cache == str(tmp_path)
    assert with_cache(cached, tmp_path / "other") == cached
    assert with_cache(load(mosi), tmp_path) == load(mosi)


def test_ctrl_c_ends_with_what_is_there(tmp_path, monkeypatch, capsys):
    search = tmp_path / "search.yaml"
    search.write_text("training.batch_size: [16, 32, 48]\n")
    arguments = [*FEW, f"output={tmp_path}", "name=s", "--search", str(search), "--trials", "3"]
    whole = Trials._train

    def stopped(self, settings, data, trial, epochs):
        whole(self, settings, data, trial, epochs)
        if trial.number == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trials, "_train", stopped)
    assert main(arguments) == 130
    ended = capsys.readouterr()
    assert ended.err == "interrupted; the same command goes on\n"
    assert [row["outcome"] for row in table(tmp_path)] == ["complete", "interrupted", "waiting"]
    assert (tmp_path / "s" / "tune" / "best.yaml").is_file()


class TestRefusals:
    def test_a_space_that_does_not_fit(self, tmp_path, capsys):
        search = tmp_path / "search.yaml"
        search.write_text("training.optimizer.rat: [1]\ntraining.batch_size: {low: 9, high: 3}\n")
        assert main([*FEW, f"output={tmp_path}/o", "--search", str(search)]) == 2
        captured = capsys.readouterr()
        assert "2 problems" in captured.err
        assert "did you mean rate?" in captured.err
        assert captured.out == ""
        assert not (tmp_path / "o").exists()

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("nonsense", "names no storage"),
            ("", "--storage is empty"),
            ("journal:////proc/none.log", "--storage journal:////proc/none.log cannot be opened"),
            ("postgresql+pg8000://u:secret@nowhere/x", "(No module named 'pg8000')"),
            ("sqlite://", "names no file"),
            ("sqlite:///:memory:", "names no file"),
            ("journal:///", "names no storage"),
            ("postgresql://user:secret@nowhere/x", "driver of this database is not installed"),
            ("sqlite:////dev/null/x.db", "cannot be made"),
        ],
    )
    def test_bad_storages(self, tmp_path, capsys, url, message):
        assert main([*FEW, f"output={tmp_path}", "--trials", "1", "--storage", url]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "secret" not in error

    @pytest.mark.parametrize("content", ["notes\n", "{}\n", "[1]\n", "\xff\n"])
    def test_a_file_that_is_no_journal_is_left_alone(self, tmp_path, capsys, content):
        file = tmp_path / "notes.txt"
        file.write_text(content, encoding="latin-1")
        storage = ["--storage", f"journal:///{file}"]
        for arguments in (["--trials", "1", *FEW, f"output={tmp_path}"], ["--report"]):
            assert main([*arguments, *storage]) == 2
            assert f"line 1 of {file} is no entry of a journal" in capsys.readouterr().err
            assert file.read_text(encoding="latin-1") == content
        assert main(["--trials", "1", *FEW, "--storage", f"journal:///{tmp_path}"]) == 2
        assert "cannot be read" in capsys.readouterr().err

    def test_data_that_cannot_be_used_are_named_before_a_study_is_made(self, tmp_path, capsys):
        code = main(["data.path=absent.pkl", f"output={tmp_path}/o", "device=cpu"])
        assert code == 2
        assert "absent.pkl" in capsys.readouterr().err
        assert not (tmp_path / "o").exists()

    @pytest.mark.parametrize("name", ["a/b", "../a", ""])
    def test_a_name_that_is_no_folder_of_a_run(self, tmp_path, capsys, name):
        code = main([*FEW, f"output={tmp_path}/o", "--name", name, "--trials", "1"])
        assert code == 2
        assert "name: " in capsys.readouterr().err
        assert [*tmp_path.iterdir()] == []

    def test_data_that_cannot_be_read_any_more_end_the_search(self, tmp_path, capsys, monkeypatch):
        def gone(self, settings, data, trial, epochs):
            raise DataError("corpus.h5 changed while it was in use")

        monkeypatch.setattr(Trials, "_train", gone)
        assert main([*FEW, f"output={tmp_path}", "--name", "s", "--trials", "3"]) == 2
        assert "corpus.h5 changed" in capsys.readouterr().err
        assert [row["outcome"] for row in table(tmp_path)] == ["crashed"]

    def test_without_optuna(self, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "optuna", None)
        assert main(["--trials", "1"]) == 2
        assert 'pip install "optuna>=5.0"' in capsys.readouterr().err

    def test_torchrun(self, monkeypatch, capsys):
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert main(["--trials", "1"]) == 2
        assert "start 'python -m mimrl.tune' itself" in capsys.readouterr().err
        monkeypatch.setenv("RANK", "1")
        assert main(["--trials", "1"]) == 0
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize(
        "arguments", [["--trials", "0"], ["--trials", "x"], ["--timeout", "-1"], ["--seeds", "1,1"]]
    )
    def test_arguments(self, arguments):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2


def test_help_fits_the_screen(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert all(option in text for option in ("--storage", "--report", "--pruner", "journal:///"))
