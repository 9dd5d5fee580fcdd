"""Models kept at chosen epochs: the right weights, whatever interrupts, and nothing else moves."""

from __future__ import annotations

import pytest
import torch
from training.small import small_settings

from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import prepare
from mimrl.errors import CheckpointError, ConfigError
from mimrl.training import checkpoint
from mimrl.training.checkpoint import load_model
from mimrl.training.inference import encode
from mimrl.training.randomness import Place, seeded
from mimrl.training.run import build_model, train
from mimrl.training.scoring import score
from mimrl.training.tracking import read_log
from mimrl.training.trainer import Trainer

KEPT = ("training.keep_epochs=[0,2,3]", "training.controls=0")


def kept(folder):
    """Names of the kept models in a run folder, in order."""
    return sorted(path.name for path in folder.glob("*epoch*"))


def assert_same_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One complete run of three epochs that keeps its start, the second and the last."""
    settings = small_settings(tmp_path_factory.mktemp("kept"), *KEPT)
    return settings, train(settings, progress=False).folder


def test_epoch_0_has_the_weights_that_training_began_with(finished):
    settings, folder = finished
    data = prepare(open_corpus(settings.data), settings)
    with seeded(settings.seed, Place.INITIALISATION, 0):
        fresh = build_model(settings, data)
    loaded = load_model(folder / "epoch0.safetensors")
    assert loaded.epoch == 0
    assert_same_weights(loaded.model.state_dict(), fresh.state_dict())


def test_a_kept_model_has_the_validation_scores_of_its_epoch(finished):
    settings, folder = finished
    assert kept(folder) == ["epoch0.safetensors", "epoch2.safetensors", "epoch3.safetensors"]
    log = read_log(folder)
    for epoch in (2, 3):
        loaded = load_model(folder / f"epoch{epoch}.safetensors")
        assert loaded.epoch == epoch
        data = prepare(open_corpus(settings.data), settings, scalers=loaded.scalers)
        size = settings.training.batch_size
        features = encode(loaded.model, data.splits["valid"], batch_size=size)
        assert score(settings, features) == log[epoch - 1]["valid"]["metrics"]
    state = checkpoint.take(checkpoint.read(folder / "last.safetensors", "state")[0], "model")
    last = load_model(folder / "epoch3.safetensors").model.state_dict()
    assert_same_weights(last, state)


def test_keeping_changes_no_number_of_the_run(finished, tmp_path):
    _, folder = finished
    plain = train(small_settings(tmp_path, "training.controls=0"), progress=False).folder
    assert kept(plain) == []

    def lines(path):
        return [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(path)]

    assert lines(plain) == lines(folder)
    assert_same_weights(load_model(plain).model.state_dict(), load_model(folder).model.state_dict())


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_run_ended_between_model_and_state_resumes_to_the_same_files(
    finished, tmp_path, monkeypatch, epoch
):
    original = Trainer._save_state

    def ended(self):
        if self.epoch == epoch:
            raise KeyboardInterrupt
        original(self)

    settings = small_settings(tmp_path, *KEPT)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save_state", ended)
        with pytest.raises(KeyboardInterrupt):
            train(settings, progress=False)
    folder = train(settings, resume=True, progress=False).folder
    assert kept(folder) == kept(finished[1])
    for name in kept(folder):
        one, other = (load_model(where / name) for where in (folder, finished[1]))
        assert one.epoch == other.epoch
        assert_same_weights(one.model.state_dict(), other.model.state_dict())
        assert_same_weights(one.critics.state_dict(), other.critics.state_dict())


def test_a_model_is_kept_whole_or_not_at_all(tmp_path, monkeypatch):
    original = checkpoint.save_file

    def half(tensors, path, **more):
        original(tensors, path, **more)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        raise OSError("no space left")

    settings = small_settings(tmp_path, *KEPT)
    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(OSError, match="no space"):
        train(settings, progress=False)
    assert kept(tmp_path / "run" / "seed0") == []


def test_overwrite_removes_models_of_the_old_run(tmp_path):
    one_epoch = ("training.epochs=1", "training.controls=0")
    train(small_settings(tmp_path, *one_epoch, "training.keep_epochs=[0,1]"), progress=False)
    last = small_settings(tmp_path, *one_epoch, "training.keep_epochs=[1]")
    with pytest.raises(CheckpointError, match=r"training\.keep_epochs"):
        train(last, resume=True, progress=False)
    assert kept(train(last, overwrite=True, progress=False).folder) == ["epoch1.safetensors"]


@pytest.mark.parametrize(
    ("epochs", "message"),
    [
        ("[1,4,9]", r"keep_epochs names \[4, 9\], later than .*\(now 3\)"),
        ("[-1]", r"training\.keep_epochs\.0: expected .*or equal to 0, got -1"),
        ("[2,2]", r"keep_epochs names an epoch twice"),
    ],
)
def test_epochs_that_cannot_be_kept_are_refused(tmp_path, epochs, message):
    with pytest.raises(ConfigError, match=message):
        small_settings(tmp_path, f"training.keep_epochs={epochs}")
