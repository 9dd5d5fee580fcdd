"""The measurement on a GPU, with tiny shapes on the CPU and on a stand-in for a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.stand_in import GPU, StandIn

from bench.speed import breakdown, gpu, shapes

pytestmark = [
    pytest.mark.usefixtures("seeded"),
    pytest.mark.filterwarnings("ignore:PyTorch was compiled without cuDNN"),
]
TINY = replace(shapes.TINY, clips=16, batch=4, steps=(3, 3), passes=1)
POOL = 32  # clips of a pool of batches


def test_operations_are_those_of_all_layers():
    """Linear in the layers; with a pool of batches as the whole epoch it is an exact count."""
    few = replace(TINY, clips=POOL, layers=3)
    found = gpu.operations(few)
    settings = shapes.settings_for(few, Path("unused"))
    parts = breakdown.parts(few.text_config, settings, shapes.generated(few))
    assert found == pytest.approx(sum(part.flops for part in parts), rel=1e-9)


def test_operations_grow_with_the_clips_and_the_bank():
    """Twice the clips: twice all of it, and four times the search for neighbours."""
    once, twice = (gpu._counted(replace(TINY, clips=clips)) for clips in (POOL, 2 * POOL))
    assert 2 * once < twice < 2.5 * once


def test_the_first_epoch_does_not_count(monkeypatch):
    seconds = [(100.0, 100.0, 100.0), (1.0, 2.0, 3.0), (2.0, 2.0, 3.0), (5.0, 2.0, 3.0)]
    log = [
        {"seconds": {"bank": bank, "stage1": one, "stage2": two, "valid": 50.0}}
        for bank, one, two in seconds
    ]
    monkeypatch.setattr(gpu.Trainer, "fit", lambda self, progress: None)
    monkeypatch.setattr(gpu, "read_log", lambda folder: log)
    found = gpu.epochs(TINY, shapes.generated(TINY), "float32", "cpu", count=4)
    assert found.seconds == 7.0
    assert found.stages == {"bank": 2.0, "stage1": 2.0, "stage2": 3.0}
    assert found.spread == 4.0


def test_all_of_it_runs_where_there_is_a_gpu(monkeypatch):
    """Told nothing, it takes the GPU; memory is what the GPU says, the epochs ran there."""
    places = []
    fit = gpu.Trainer.fit

    def seen(trainer, **options):
        places.append({p.device for p in trainer.model.parameters()})
        return fit(trainer, **options)

    monkeypatch.setattr(gpu.Trainer, "fit", seen)
    monkeypatch.setattr(shapes, "TINY", TINY)
    monkeypatch.setattr(gpu, "operations", lambda shape: 1e9)  # has tests of its own
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * gpu.GIB)
    with StandIn().here(monkeypatch):
        found = gpu.measure(quick=True)
    assert places == [{GPU}, {GPU}]
    assert all(row.ours and "utilisation" in row.note for row in found.rows)
    (table,) = found.tables
    assert [line[-1] for line in table.rows] == ["3", "3"]
    assert all(len(line) == len(table.header) for line in table.rows)
