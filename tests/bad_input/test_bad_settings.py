"""Bad settings through the commands: exit code 2, one message that helps, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bad_input.commands import READ, TRAIN, on_clips, write_clips
from training.small import SMALL


class TestSettings:
    def test_several_problems_are_one_message(self, refused):
        Path("mine.yaml").write_text(
            "modle: {width: 8}\ntraining: {epochs: many, batch_size: 1, patiance: 3}\n"
        )
        text = refused(TRAIN, ["--config", "mine.yaml", "data.target=class", "critics.k=2"])
        assert text.startswith("mine.yaml: 6 problems:\n")
        for part in (
            "modle: unknown key; did you mean model?",
            "training.epochs: expected an integer",
            'got "many"',
            "training.batch_size: ",
            "training.patiance: unknown key; did you mean patience?",
            "critics.k: unknown key",
            "training.loss mae does not fit data.target class",
            "--help",
        ):
            assert part in text, text

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("training.loss=ce", "training.loss ce does not fit data.target regression"),
            ("training.stage1_passes=0", "steering.default=0"),
            ("data.layout=mmsa", "needs a file or folder"),
            ("model.encoders.smell=gru", "smell"),
            ("training.epochs", "expected group.key=value"),
            ("training.epochs=[1", "not YAML"),
            ("name=../up", "name"),
        ],
    )
    def test_impossible(self, refused, override, message):
        assert message in refused(TRAIN, [override])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "mine.yaml does not exist; configs/ holds one"),
            (b"name: [1", "mine.yaml is not YAML"),
            (b"\xff\xfe\x00", "mine.yaml is not YAML"),
            (b"- a\n- b\n", "expected a mapping of settings, got list"),
            (b"seed: 1\nseed: 2\n", "twice"),
        ],
    )
    def test_file(self, refused, content, message):
        if content is not None:
            Path("mine.yaml").write_bytes(content)
        assert message in refused(TRAIN, ["--config", "mine.yaml"])

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_no_gpu(self, refused, run_folder):
        assert "no GPU" in refused(TRAIN, [*SMALL, "name=other", "--device", "cuda"])
        reading = ["--ckpt_path", str(run_folder), "--device", "cuda"]
        assert "device cuda cannot be used here" in refused(READ, reading)

    def test_output_that_is_a_file(self, refused):
        Path("runs").write_text("a list of morning runs")
        text = refused(TRAIN, [*SMALL, "device=cpu"])
        assert "runs" in text
        assert "folder" in text


class TestTextEncoder:
    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("./encoder", ["'./encoder'", "no such folder", "config.json"]),
            ("package:no_such_package/model", ["no package 'no_such_package' is installed"]),
            ("package:mimrl/no_such_folder", ["'mimrl' has no folder 'no_such_folder'"]),
            ("package:mimrl", ["expected package:<import name>/<folder>"]),
            ("./empty", ["./empty", "cannot be loaded", "model.encoders.text.source"]),
        ],
    )
    def test_missing(self, refused, source, message):
        write_clips()
        Path("empty").mkdir()
        argv = [item for item in on_clips() if "encoders.text" not in item]
        text = refused(TRAIN, [*argv, f"model.encoders.text.source={source}"])
        assert all(part in text for part in message), text
