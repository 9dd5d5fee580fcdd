"""Narrow numbers and compilation change results by their rounding only; steps do not wait."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from training.no_sync import NoSync
from training.small import small_settings
from training.worker import recorded

from mimrl.datasets.catalogue import open_corpus
from mimrl.datasets.prepare import prepare
from mimrl.errors import ConfigError, NonFiniteError
from mimrl.settings import dump
from mimrl.settings.performance import PerformanceSettings
from mimrl.training import run
from mimrl.training.checkpoint import load_model
from mimrl.training.measures import LOOK_EVERY, Losses
from mimrl.training.precision import Precision, require_usable
from mimrl.training.run import build_trainer, train
from mimrl.training.tracking import Progress

CPU = torch.device("cpu")
SCRIPT = Path(__file__).parents[2] / "train.py"
FEW = (
    "data.target=regression",
    "training.loss=mae",
    "training.epochs=2",
    "training.controls=0",
    "training.optimizer=sgd",
    "training.optimizer.rate=0.003",
    *(f"model.encoders.{name}.dropout=0" for name in ("text", "audio", "video")),
)


def made(folder, *overrides):
    settings = small_settings(folder, *overrides)
    return build_trainer(settings, prepare(open_corpus(settings.data), settings), folder, CPU)


class TestNarrowNumbers:
    def test_losses_differ_by_rounding_only(self, tmp_path):
        """Inputs of a product keep 8 bits: 2^-8 of it for two of them, at most.

        From features to a term there are about ten products in a row, and the losses are of order
        one: 10 * 2^-8 = 0.04. The rates are small, so trainings stay together.
        """
        more = (*FEW, "model.encoders.audio.kind=gru", "model.encoders.video.kind=lstm")
        exact, narrow = (
            recorded(small_settings(tmp_path, *more, f"name={name}", f"performance.precision={p}"))
            for name, p in (("exact", "float32"), ("narrow", "bf16"))
        )
        assert len(exact["losses"]) == 2 * 3 + 2 * 3
        assert narrow["losses"] == pytest.approx(exact["losses"], abs=0.04, rel=0.01)
        assert narrow["losses"] != pytest.approx(exact["losses"], abs=1e-6)

    def test_terms_losses_and_bank_are_float32(self, tmp_path):
        trainer = made(tmp_path, *FEW, "performance.precision=bf16")
        bank = trainer._bank(trainer.critics, 2)
        assert {value.dtype for value in bank.variables.values()} == {torch.float32}
        batch = next(iter(_batches(trainer)))
        steering = trainer._steering(trainer.critics, bank, torch.Generator())
        parts, stopped = trainer._losses(batch, trainer._rows(batch), steering)
        assert len(parts) == 2 + 11
        assert len(stopped) == 11
        assert {v.dtype for v in (*parts.values(), *stopped.values())} == {torch.float32}
        assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}

    def test_fp16_needs_a_gpu(self, tmp_path):
        with pytest.raises(ConfigError, match=r"precision fp16 needs a GPU, got device cpu"):
            train(small_settings(tmp_path, "performance.precision=fp16"), progress=False)
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("asked", ["precision=fp16", "compile=true"])
    def test_what_cannot_be_had_is_refused_before_data_are_read(self, tmp_path, monkeypatch, asked):
        """Encoding a corpus with a frozen text encoder may take hours."""
        monkeypatch.setattr(shutil, "which", lambda name: None)
        monkeypatch.setattr(run, "open_corpus", lambda settings: pytest.fail("data were read"))
        settings = small_settings(tmp_path, f"performance.{asked}")
        with pytest.raises(ConfigError, match=asked.split("=")[0]):
            train(settings, progress=False)

    def test_emulated_bf16_is_refused(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated=True: emulated)
        with pytest.raises(ConfigError, match=r"no bf16; set performance\.precision to fp16"):
            Precision("bf16", torch.device("cuda"))

    def test_only_fp16_scales_gradients(self):
        assert Precision("bf16", CPU).scaler() is None
        assert Precision("float32", CPU).scaler() is None


class TestCompilation:
    @pytest.mark.slow
    def test_losses_are_the_same(self, tmp_path):
        """Fused operations round at other places: float32 sums differ by some 1e-7 a step."""
        more = (*FEW, "model.encoders.audio.kind=gru", "training.epochs=1")
        plain = recorded(small_settings(tmp_path, *more, "name=plain"))
        before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        fast = recorded(small_settings(tmp_path, *more, "name=fast", "performance.compile=true"))
        first_try = 1
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > before + first_try
        assert fast["losses"] == pytest.approx(plain["losses"], abs=1e-5)
        names = [
            load_model(tmp_path / name / "seed0").model.state_dict().keys()
            for name in ("plain", "fast")
        ]
        assert names[0] == names[1]

    def test_without_a_compiler(self, tmp_path, monkeypatch):
        monkeypatch.setattr(shutil, "which", lambda name: None)
        with pytest.raises(ConfigError, match=r"needs a C\+\+ compiler.*compile=false"):
            train(small_settings(tmp_path, "performance.compile=true"), progress=False)
        assert not (tmp_path / "run").exists()

    @pytest.mark.slow
    def test_a_compiler_that_does_not_work_is_refused_before_data_are_read(self, tmp_path):
        compiler = tmp_path / "broken"
        compiler.write_text("#!/bin/sh\necho no Python.h >&2\nexit 1\n")
        compiler.chmod(0o755)
        settings = small_settings(tmp_path / "runs", "performance.compile=true")
        (tmp_path / "settings.yaml").write_text(dump(settings))
        places = {"CXX": str(compiler), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
        ended = subprocess.run(
            [sys.executable, str(SCRIPT), "--config", str(tmp_path / "settings.yaml")],
            capture_output=True,
            text=True,
            env={**os.environ, **places},
            check=False,
        )
        said = [line for line in ended.stderr.splitlines() if line != "no Python.h"]
        assert len(said) == 1
        assert said[0].startswith("error: performance.compile: a first try of torch.compile failed")
        assert ended.returncode == 2
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        ("found", "capability", "message"),
        [
            (None, (9, 0), "needs Triton, and it is not"),
            (True, (6, 1), r"7\.0 or higher"),
        ],
    )
    def test_a_gpu_needs_triton(self, monkeypatch, found, capability, message):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        settings = PerformanceSettings(compile=True)
        with pytest.raises(ConfigError, match=message):
            require_usable(settings, torch.device("cuda"))


class TestNothingWaits:
    @pytest.mark.parametrize(
        "more",
        [
            (),
            (*FEW, "model.encoders.audio.kind=gru", "training.clip=norm"),
            (
                "critics.update=epoch",
                "critics.conditional.anchors=batch",
                "model.fusion=crossmodal",
                "model.width=16",
            ),
            ("training.stage1_batch_size=48", "steering.default=-0.1"),
            ("training.optimizer=adamw", "training.loss=focal", "model.fusion.length_scaling=true"),
        ],
        ids=["classes", "ratings", "crossmodal", "window", "adamw"],
    )
    def test_whole_stages_read_nothing_back(self, tmp_path, monkeypatch, more):
        kept = [o for o in more if not o.startswith("model.fusion=")]
        other = [o for o in more if o.startswith("model.fusion=")]
        trainer = made_with_fusion(tmp_path, kept, other)
        bank = trainer._bank(trainer.critics, 2)
        monkeypatch.setattr(Losses, "means", lambda self: defaultdict(float))
        bar = Progress(0, 0, "", shown=False)
        before = [p.detach().clone() for p in trainer.model.parameters()]
        with NoSync():
            trainer._fit_critics(trainer.critics, bank, 2, bar)
            trainer._fit_model(trainer.critics, bank, 2, bar)
        moved = zip(before, trainer.model.parameters(), strict=True)
        assert any(not torch.equal(old, new) for old, new in moved)

    def test_a_loss_that_ceased_to_be_finite_is_named_with_its_step(self):
        losses = Losses("stage 1 of epoch 4")
        for step in range(1, LOOK_EVERY):
            bad = float("nan") if step >= 7 else 1.0
            losses.add({"a": torch.tensor(1.0), "b": torch.tensor(bad)}, rows=2)
        with pytest.raises(NonFiniteError, match=r"stage 1 of epoch 4: b became .* at step 7"):
            losses.add({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, rows=2)
        with pytest.raises(NonFiniteError, match="at step 7"):
            losses.means()

    def test_means_are_weighted_by_rows(self):
        losses = Losses("")
        losses.add({"a": torch.tensor(1.0)}, rows=1)
        losses.add({"a": torch.tensor(4.0)}, rows=2)
        assert losses.means() == {"a": 3.0}


def made_with_fusion(folder, kept, other):
    if not other:
        return made(folder, *kept)
    from training.small import SMALL

    from mimrl.settings import load

    plain = [o for o in SMALL if not o.startswith("model.fusion")]
    settings = load(None, (*plain, f"output={folder}", "device=cpu", *other, *kept))
    return build_trainer(settings, prepare(open_corpus(settings.data), settings), folder, CPU)


def _batches(trainer):
    from mimrl.datasets.loading import iterate

    return iterate(trainer.data.splits["train"], 32)
