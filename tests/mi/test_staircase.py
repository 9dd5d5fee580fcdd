"""The staircase bench: its batches and its exact critic, and that the script runs."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import pytest
import torch

from mimrl.mi import gaussian_pointwise

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def staircase(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    before = set(sys.modules)
    yield importlib.import_module("mi_staircase")
    for name in {"mi_staircase", "reporting"} & (set(sys.modules) - before):
        del sys.modules[name]


def test_exact_critic_is_the_log_ratio(staircase):
    rho = staircase.correlation(3.0)
    assert -0.5 * 20 * math.log(1 - rho**2) == pytest.approx(3)
    x, y = staircase.batch(rho, 6, torch.Generator().manual_seed(0))
    critic = staircase.ExactCritic(1.0)
    critic.rho = rho
    covariance = torch.eye(40)
    covariance[:20, 20:] = covariance[20:, :20] = rho * torch.eye(20)
    expected = gaussian_pointwise(torch.cat([x, y], 1), covariance, range(20), range(20, 40))
    assert (critic(x, y).diagonal() - 1).tolist() == pytest.approx(expected.tolist(), abs=1e-3)


@pytest.mark.parametrize("bound", ["nwj", "js", "tuba"])
def test_bounds_without_bias_read_the_truth(staircase, bound):
    values = staircase.read_exact(bound, 64, 100, seed=0)[0]
    error = values.std() / math.sqrt(len(values))
    assert values.mean() == pytest.approx(2.0, abs=4 * error)
    assert error < 0.05


def test_script_runs_and_warns_of_the_ceiling(staircase, tmp_path, capsys):
    out, picture = tmp_path / "out.json", tmp_path / "curves.png"
    common = ["--batch", "8", "--bounds", "infonce", "nwj", "--json", str(out)]
    options = ["--critic", "exact", "--steps", "6", "--picture", str(picture)]
    assert staircase.main([*common, *options]) == 0
    printed = capsys.readouterr().out
    assert "no more than log B = 2.08" in printed
    assert picture.stat().st_size > 1000
    infonce, nwj = json.loads(out.read_text())["rows"]
    assert infonce["stairs"][-1]["warning"]
    assert infonce["stairs"][-1]["bias"] + 10 <= math.log(8) + 1e-5
    assert not any(stair["warning"] for stair in nwj["stairs"])
    assert staircase.main([*common, "--steps", "2"]) == 0
    trained = json.loads(out.read_text())["rows"][0]["stairs"]
    assert len(trained) == 5
    assert all(math.isfinite(stair["bias"]) for stair in trained)
