import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from training.small import SMALL, small_settings

from mimrl.datasets import loading
from mimrl.datasets.ahead import by_processes
from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import prepare
from mimrl.errors import CheckpointError, ConfigError, MissingFileError, NonFiniteError
from mimrl.settings import load
from mimrl.terms import quantities, terms
from mimrl.training import checkpoint, trainer
from mimrl.training.inference import encode
from mimrl.training.run import train, train_seeds
from mimrl.training.scoring import score
from mimrl.training.tracking import read_log


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One small complete run, shared by the tests that only read it."""
    settings = small_settings(tmp_path_factory.mktemp("run"))
    return settings, train(settings, progress=False)


def test_folder_holds_what_the_readme_says(finished):
    settings, result = finished
    assert result.folder.parts[-2:] == ("run", "seed0")
    names = {path.name for path in result.folder.iterdir()}
    assert names == {
        "settings.yaml",
        "log.jsonl",
        "metrics.json",
        "predictions.csv",
        "curves.png",
        "best.safetensors",
        "last.safetensors",
        "tensorboard",
    }
    assert load(result.folder / "settings.yaml") == settings


def test_log_has_every_term_and_quantity(finished):
    settings, result = finished
    log = read_log(result.folder)
    assert [record["epoch"] for record in log] == [1, 2, 3]
    assert "stage1" not in log[0], "the warm-up epoch has no critics"
    names = {term.name for term in terms(settings.data.modalities)}
    wanted = {quantity.name for quantity in quantities(settings.data.modalities)}
    assert set(log[1]["stage1"]) == set(log[1]["valid"]["terms"]) == names
    assert set(log[1]["stage2"]["quantities"]) == set(log[1]["valid"]["quantities"]) == wanted
    assert set(log[1]["seconds"]) == {"bank", "stage1", "stage2", "valid"}
    assert log[1]["stage2"]["total"] < log[1]["stage2"]["task"] + 1


def test_all_metrics_are_of_the_epoch_that_validation_chose(finished):
    _, result = finished
    log = read_log(result.folder)
    report = json.loads((result.folder / "metrics.json").read_text())
    accuracies = [record["valid"]["metrics"]["accuracy"] for record in log]
    assert report["epoch"] == int(np.argmax(accuracies)) + 1
    assert report["valid"]["accuracy"] == accuracies[report["epoch"] - 1]
    assert report["valid"] == log[report["epoch"] - 1]["valid"]["metrics"]


def test_checkpoint_reproduces_predictions_without_the_run(finished):
    settings, result = finished
    loaded = checkpoint.load_model(result.folder)
    assert loaded.settings == settings
    rows = list(csv.DictReader((result.folder / "predictions.csv").open()))
    assert {row["split"] for row in rows} == {"valid", "test"}
    assert len(rows) == 64
    data = prepare(open_corpus(settings.data), settings, scalers=loaded.scalers)
    features = encode(loaded.model, data.splits["test"], batch_size=7)
    assert score(settings, features) == pytest.approx(dict(result.metrics["test"]))
    predicted = [data.class_names[i] for i in features.prediction.argmax(1).tolist()]
    assert [row["prediction"] for row in rows if row["split"] == "test"] == predicted
    assert [row["id"] for row in rows if row["split"] == "test"] == list(data.splits["test"].ids)


def test_same_seed_same_numbers_other_seed_other_numbers(finished, tmp_path):
    settings, result = finished
    again = train(settings.model_copy(update={"output": str(tmp_path)}), progress=False)
    other = train(settings.model_copy(update={"output": str(tmp_path), "seed": 1}), progress=False)

    def log(folder):
        lines = read_log(folder)
        return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]

    assert log(again.folder) == log(result.folder)
    assert log(other.folder) != log(result.folder)


def test_workers_read_every_pass_and_change_no_number(finished, tmp_path, monkeypatch):
    """Two banks and three stages 2, three validations, three splits in the end."""
    settings, result = finished
    passes = []

    def counted(make, batches, workers, *, pin):
        passes.append(len(batches))
        return by_processes(make, batches, workers, pin=pin)

    monkeypatch.setattr(loading, "by_processes", counted)
    performance = settings.performance.model_copy(update={"loader_workers": 2})
    more = {"output": str(tmp_path), "performance": performance}
    again = train(settings.model_copy(update=more), progress=False)
    assert sorted(passes) == [1] * (2 + 3 + 3) + [3] * 3  # 128 are encoded at a time
    assert again.metrics == result.metrics
    predictions = [run.folder / "predictions.csv" for run in (result, again)]
    assert predictions[0].read_bytes() == predictions[1].read_bytes()


def test_an_existing_run_is_not_lost(finished):
    settings, result = finished
    before = (result.folder / "metrics.json").stat().st_mtime_ns
    with pytest.raises(ConfigError, match=r"--resume.*--overwrite"):
        train(settings, progress=False)
    assert train(settings, resume=True, progress=False).metrics == result.metrics
    assert (result.folder / "metrics.json").stat().st_mtime_ns == before


def test_overwrite_keeps_the_old_run_when_the_new_one_cannot_start(finished):
    settings, result = finished
    broken = settings.model_copy(
        update={"data": settings.data.model_copy(update={"layout": "mmsa", "path": "absent.pkl"})}
    )
    with pytest.raises(MissingFileError):
        train(broken, overwrite=True, progress=False)
    assert train(settings, resume=True, progress=False).metrics == result.metrics


def test_resume_accepts_what_does_not_change_results(finished, tmp_path):
    settings, result = finished
    speed = {"loader_workers": 1, "cache": str(tmp_path)}
    performance = settings.performance.model_copy(update=speed)
    other = settings.model_copy(update={"performance": performance})
    assert train(other, resume=True, progress=False).metrics == result.metrics


def test_resume_refuses_other_settings(finished):
    settings, _ = finished
    other = small_settings(Path(settings.output), "training.batch_size=16")
    with pytest.raises(CheckpointError, match=r"training\.batch_size"):
        train(other, resume=True, progress=False)


def test_overwrite_leaves_foreign_folders_alone(tmp_path):
    settings = small_settings(tmp_path)
    foreign = tmp_path / "run" / "seed0"
    foreign.mkdir(parents=True)
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="left alone"):
        train(settings, overwrite=True, progress=False)
    assert (foreign / "thesis.txt").exists()


def test_summary_over_seeds(tmp_path):
    settings = small_settings(tmp_path, "training.epochs=1", "training.controls=0")
    summary = train_seeds(settings, [0, 1], progress=False)
    stored = json.loads((tmp_path / "run" / "summary.json").read_text())
    values = [summary.seeds[seed]["test"]["accuracy"] for seed in (0, 1)]
    assert stored["mean"]["test"]["accuracy"] == pytest.approx(np.mean(values))
    assert stored["standard_deviation"]["test"]["accuracy"] == pytest.approx(np.std(values, ddof=1))
    assert "accuracy" in summary.table()
    with pytest.raises(ConfigError, match="seeds"):
        train_seeds(settings, [0, 0], progress=False)


def test_each_seed_says_what_it_cost_and_complete_ones_are_free(tmp_path):
    settings = small_settings(tmp_path, "training.epochs=1", "training.controls=0")
    first = train_seeds(settings, [0], progress=False)
    assert "training took" in first.table()
    said = []
    summary = train_seeds(settings, [0, 1], resume=True, progress=False, say=said.append)
    number = r"(\d+\.\d s|\d+ s)"
    value = r"valid accuracy \d\.\d{4}"
    before = rf"seed 0: complete before, {value}; 1 of 2 left, about {number}"
    assert re.fullmatch(before, said[0])
    assert re.fullmatch(rf"seed 1: {number}, {value}; 0 of 2 left", said[1])
    assert len(said) == 2
    log = read_log(tmp_path / "run" / "seed0")
    assert summary.seconds[0] == pytest.approx(sum(log[0]["seconds"].values()))
    assert summary.seconds[1] > 0
    assert "a seed)" in summary.table()


@pytest.mark.parametrize(
    "overrides",
    [
        ("data.target=regression", "training.loss=mae"),
        ("data.target=regression", "training.loss=ccc", "training.select_by=ccc"),
        ("data.modalities=[text,audio]", "model.fusion.sizes=[[4,2,16]]"),
        ("data.modalities=[text]", "model.fusion=concat", "model.fusion.width=16"),
        ("critics.kind=concatenated", "critics.bound=smile"),
        ("critics.kind=bilinear", "critics.bound=tuba"),
        ("critics.bound=mine", "critics.conditional.estimator=nwj"),
        (
            "critics.bound=interpolated",
            "critics.update=epoch",
            "critics.conditional.anchors=batch",
        ),
        ("training.loss=bce", "training.optimizer=sgd", "training.clip=norm"),
        ("training.loss=focal", "training.schedule=plateau", "training.optimizer=adamw"),
        ("training.stage1_passes=0", "steering.default=0", "training.schedule=cosine"),
        ("model.fusion=lmf", "model.fusion.width=16", "training.stage1_batch_size=16"),
    ],
    ids=lambda overrides: ",".join(overrides),
)
def test_every_kind_of_run_ends_with_finite_results(tmp_path, overrides):
    base = (f"output={tmp_path}", "device=cpu", "training.epochs=2", "training.controls=0")
    settings = load(None, (*_kept(overrides), *base, *overrides))
    result = train(settings, progress=False)
    assert all(np.isfinite(v) for v in result.metrics["valid"].values())
    assert np.isfinite(read_log(result.folder)[-1]["stage2"]["total"])


def _kept(overrides):
    """The small settings that go together with ``overrides``."""
    fusion = any(o.startswith("model.fusion=") for o in overrides)
    chosen = [o for o in overrides if o.startswith("data.modalities")]
    absent = [m for m in ("audio", "video") if chosen and m not in chosen[0]]
    return [
        o
        for o in SMALL
        if not (fusion and o.startswith("model.fusion"))
        and not any(o.startswith(f"model.encoders.{m}") for m in absent)
    ]


def test_steering_moves_what_it_names(tmp_path):
    """A strong positive weight leaves a higher fused-audio information than a negative one."""
    found = {}
    for name, weight in (("up", 1.0), ("down", -1.0)):
        settings = small_settings(
            tmp_path,
            f"name={name}",
            "steering.default=0",
            f"steering.weights.fusion_audio={weight}",
            "training.epochs=6",
            "training.controls=0",
        )
        log = read_log(train(settings, progress=False).folder)
        found[name] = log[-1]["valid"]["quantities"]["fusion_audio"]
    assert found["up"] > found["down"] + 0.1


@pytest.mark.parametrize("update", ["follow", "epoch"])
def test_only_the_stage_s_own_parameters_move(tmp_path, monkeypatch, update):
    """Critics that follow move in stage 2 of epochs that are steered, and only there."""
    moved = []

    def watch(name, owner):
        original = getattr(trainer.Trainer, name)

        def wrapped(self, *args, **kwargs):
            before = {
                "model": [p.detach().clone() for p in self.model.parameters()],
                "critics": [p.detach().clone() for p in self.critics.parameters()],
            }
            result = original(self, *args, **kwargs)
            for part, old in before.items():
                now = getattr(self, part).parameters()
                changed = any(not torch.equal(a, b) for a, b in zip(old, now, strict=True))
                follows = update == "follow" and part == "critics" and name == "_fit_model"
                steered = args[0] is not None
                moved.append((name, part, changed, part == owner or (follows and steered)))
            return result

        monkeypatch.setattr(trainer.Trainer, name, wrapped)

    watch("_fit_critics", "critics")
    watch("_fit_model", "model")
    train(small_settings(tmp_path, "training.epochs=2", f"critics.update={update}"), progress=False)
    assert {(name, part) for name, part, _, _ in moved} >= {
        ("_fit_critics", "model"),
        ("_fit_model", "critics"),
    }
    assert all(changed == expected for _, _, changed, expected in moved)


def test_stage_1_trains_on_joint_and_product_rows_of_one_snapshot(tmp_path, monkeypatch):
    """The bank is the evaluation-mode features of the model as stage 1 finds it."""
    seen = []
    original = trainer.Trainer._fit_critics

    def wrapped(self, critics, bank, epoch, bar):
        features = encode(self.model, self.data.splits["train"], batch_size=11)
        expected = critics.standardise(features.variables(self.data.num_classes))
        for name, values in bank.variables.items():
            torch.testing.assert_close(values, expected[name], atol=1e-4, rtol=1e-4)
            assert not values.requires_grad
        seen.append(epoch)
        return original(self, critics, bank, epoch, bar)

    monkeypatch.setattr(trainer.Trainer, "_fit_critics", wrapped)
    train(small_settings(tmp_path), progress=False)
    assert seen == [2, 3]


def test_non_finite_loss_names_term_stage_and_epoch(tmp_path, monkeypatch):
    original = trainer.Trainer._losses

    def broken(self, batch, rows, steering):
        parts, stopped = original(self, batch, rows, steering)
        if "text_audio" in parts:
            nan = parts["text_audio"] * float("nan")
            parts |= {"text_audio": nan, "total": parts["total"] + nan}
        return parts, stopped

    monkeypatch.setattr(trainer.Trainer, "_losses", broken)
    with pytest.raises(NonFiniteError, match=r"stage 2 of epoch 2: .*text_audio"):
        train(small_settings(tmp_path), progress=False)


def test_early_stopping(tmp_path):
    settings = small_settings(
        tmp_path,
        "training.epochs=40",
        "training.patience=1",
        "training.controls=0",
        "training.stage1_passes=0",
        "steering.default=0",
    )
    result = train(settings, progress=False)
    log = read_log(result.folder)
    assert len(log) < 40
    assert len(log) == result.epoch + 1


def test_learned_planted_label(tmp_path):
    settings = small_settings(
        tmp_path, "data.planted.train_size=512", "training.epochs=8", "training.controls=0"
    )
    assert train(settings, progress=False).metrics["test"]["accuracy"] > 0.85
