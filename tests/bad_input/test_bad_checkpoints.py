"""Bad checkpoints and readings of them: exit code 2, one message that helps, nothing written."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
import yaml
from bad_input.commands import READ, TRAIN, resettled, rewrite, write_clips
from safetensors.torch import save_file
from training.small import SMALL

from mimrl.training.checkpoint import BEST, HEADER, LAST

DAMAGES = [
    (lambda p: rewrite(p, format=99), ["format 99", "reads format 2", "train again"]),
    (lambda p: rewrite(p, format=None), ["format None", "reads format 2"]),
    (lambda p: resettled(p, colour="red"), ["settings in", "colour: unknown key"]),
    (lambda p: rewrite(p, settings=None), ["settings", "does not fit"]),
    (lambda p: p.write_bytes(p.read_bytes()[:1000]), ["not a readable safetensors file"]),
    (lambda p: p.write_bytes(p.read_bytes()[:-1]), ["not a readable safetensors file"]),
    (lambda p: p.write_bytes(b""), ["not a readable safetensors file", "train again"]),
    (lambda p: p.write_text("epoch 3: 0.71\n"), ["not a readable safetensors file"]),
    (lambda p: p.write_bytes(pickle.dumps({"a": 1})), ["not a readable safetensors file"]),
    (lambda p: save_file({"a": torch.ones(1)}, p), ["not one that mimrl wrote"]),
    (lambda p: save_file({"a": torch.ones(1)}, p, {HEADER: "{"}), ["header", "damaged"]),
]
NAMES = ["version", "no version", "unknown key", "no settings", "start", "last byte", "empty",
         "text", "pickle", "foreign", "header"]  # fmt: skip


class TestCheckpoints:
    @pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=NAMES)
    @pytest.mark.parametrize("as_folder", [False, True])
    def test_reading(self, refused, run_folder, damage, message, as_folder):
        damage(run_folder / BEST)
        path = run_folder if as_folder else run_folder / BEST
        text = refused(READ, ["--ckpt_path", str(path), "--save_path", "out/reading"])
        assert BEST in text
        assert all(part in text for part in message), text

    @pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=NAMES)
    def test_resuming(self, refused, run_folder, damage, message):
        damage(run_folder / LAST)
        (run_folder / "metrics.json").unlink()
        text = refused(TRAIN, [*SMALL, "training.epochs=1", "device=cpu", "--resume"])
        assert LAST in text
        assert all(part in text for part in message), text

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"valid": 1}'])
    def test_results_that_are_no_results(self, refused, run_folder, content):
        (run_folder / "metrics.json").write_text(content)
        text = refused(TRAIN, [*SMALL, "training.epochs=1", "device=cpu", "--resume"])
        assert "metrics.json" in text
        assert "remove it" in text

    def test_the_settings_of_a_run_with_an_unknown_key(self, refused, run_folder):
        tree = yaml.safe_load((run_folder / "settings.yaml").read_text())
        (run_folder / "settings.yaml").write_text(yaml.safe_dump(tree | {"colour": "red"}))
        text = refused(TRAIN, ["--config", str(run_folder / "settings.yaml")])
        assert "settings.yaml: 1 problem:" in text
        assert "colour: unknown key" in text

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("nowhere.safetensors", "nowhere.safetensors does not exist"),
            ("empty", f"empty holds no {BEST}; expected a run folder"),
        ],
    )
    def test_missing(self, refused, path, message):
        Path("empty").mkdir()
        assert message in refused(READ, ["--ckpt_path", path])

    def test_an_existing_run_is_kept(self, refused, run_folder):
        text = refused(TRAIN, [*SMALL, "device=cpu"])
        assert "already holds a run" in text
        assert "--resume" in text
        assert "--overwrite" in text


class TestReading:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--modalities", "text", "smell"], "two different ones of text, audio"),
            (["--modalities", "text", "text"], "names text twice; expected two features"),
            (["--labels", "seven"], "--labels seven"),
            (["--data", "nowhere.pkl"], "data file nowhere.pkl does not exist"),
            (["--folds", "1"], "folds is 1, expected at least 2"),
            (["--batch_size", "0", "--folds", "0"], "folds is 0"),
            (["--components", "3", "--scaling", "none"], "components has no effect"),
        ],
    )
    def test_arguments(self, refused, run_folder, arguments, message):
        text = refused(READ, ["--ckpt_path", str(run_folder), *arguments])
        assert message in text

    def test_data_of_another_kind(self, refused, run_folder):
        text = refused(READ, ["--ckpt_path", str(run_folder), "--data", write_clips()])
        assert "clips.pkl" in text

    def test_data_that_are_not_found(self, refused, run_folder):
        tree = yaml.safe_load((run_folder / "settings.yaml").read_text())
        del tree["data"]["planted"]
        resettled(run_folder / BEST, data=tree["data"] | {"layout": "mmsa", "path": "gone.pkl"})
        text = refused(READ, ["--ckpt_path", str(run_folder)])
        assert "gone.pkl does not exist" in text
        assert "--data" in text
        text = refused(READ, ["--ckpt_path", str(run_folder), "--dataset", "gone"])
        assert f"settings file {Path('configs/gone.yaml')} does not exist" in text

    def test_place_that_cannot_be_written(self, refused, run_folder):
        Path("taken").write_text("a file")
        stem = str(Path("taken") / "reading")
        quick = ["--discriminator_epochs", "1", "--entropy_epochs", "1", "--folds", "2"]
        text = refused(READ, ["--ckpt_path", str(run_folder), "--save_path", stem, *quick])
        assert "taken" in text
