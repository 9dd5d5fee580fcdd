"""What only a GPU can show: its kernels, its types, and that PyTorch sees no waiting either."""

from __future__ import annotations

import contextlib

import pytest
import torch
from training.test_stand_in import (
    CPU,
    CUDA,
    RATINGS,
    RECURRENT,
    TRAININGS,
    bert_trainer,
    stages,
    trainer_of,
)

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]
NO_DROPOUT = (  # a GPU draws other numbers
    *(f"model.encoders.{name}.dropout=0" for name in ("text", "audio", "video")),
    "model.fusion.dropout=[0,0,0]",
    "model.head_dropout=0",
)


class Watched:
    """Has PyTorch raise where the host would wait for the GPU, as far as it looks for it."""

    @contextlib.contextmanager
    def no_waiting(self):
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", TRAININGS)
def test_no_stage_waits(name, tmp_path, monkeypatch):
    losses = stages(trainer_of(tmp_path, CUDA, *TRAININGS[name]), monkeypatch, Watched())
    assert losses.isfinite().all()


@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
def test_no_stage_waits_for_a_text_encoder(tmp_path, monkeypatch, frozen):
    losses = stages(bert_trainer(tmp_path, CUDA, frozen=frozen), monkeypatch, Watched())
    assert losses.isfinite().all()


@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [
        ("float32", 1e-4),  # sums in another order, carried on by a few steps of Adam
        ("fp16", 0.02),  # ten products in a row lose 10 * 2^-11 of losses of order one
        ("bf16", 0.1),  # 10 * 2^-8, and as much again by what the steps make of it
    ],
)
def test_losses_are_those_of_the_cpu(tmp_path, monkeypatch, precision, tolerance):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    more = (*RATINGS, *RECURRENT, *NO_DROPOUT)
    plain = stages(trainer_of(tmp_path, CPU, *more), monkeypatch)
    trainer = trainer_of(tmp_path, CUDA, *more, f"performance.precision={precision}")
    found = stages(trainer, monkeypatch, Watched())
    torch.testing.assert_close(found, plain, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_compiled_losses_are_those_of_the_cpu(tmp_path, monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    more = (*RATINGS, *RECURRENT, *NO_DROPOUT)
    plain = stages(trainer_of(tmp_path, CPU, *more), monkeypatch)
    trainer = trainer_of(tmp_path, CUDA, *more, "performance.compile=true")
    torch.testing.assert_close(stages(trainer, monkeypatch), plain, rtol=0, atol=1e-4)
