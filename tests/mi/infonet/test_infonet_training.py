"""Training: the same numbers after a stop, a loss that falls, files that say what they hold."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from mimrl.errors import CheckpointError, ConfigError, MissingFileError
from mimrl.mi.infonet.drawing import Source
from mimrl.mi.infonet.network import GridNetwork, NetworkConfig
from mimrl.mi.infonet.pairs import Pairs, draw_pairs
from mimrl.mi.infonet.ranks import ranks
from mimrl.mi.infonet.running import LOG, STATE, WEIGHTS, Run, RunSettings
from mimrl.mi.infonet.storage import load_state, load_weights, save_state, save_weights
from mimrl.mi.infonet.training import Trainer, TrainingSettings, judge, learning_rate

SIZES = NetworkConfig(grid=16, fields=(1, 1, 2, 2), width=8)
SETTINGS = TrainingSettings(
    steps=8, batch=4, fresh=200, least=150, most=300, warm_up=2, low_precision=False
)
SMALL = {"grid": 16, "fields": (1, 1, 2, 2), "up": (1, 1, 1, 0), "width": 8}
SHORT = {
    "steps": 8,
    "batch": 4,
    "fresh": 200,
    "most": 300,
    "warm_up": 2,
    "low_precision": False,
}


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_going_on_gives_the_numbers_of_never_having_stopped(tmp_path):
    whole = Trainer(SIZES, SETTINGS)
    losses = [whole.advance().total.item() for _ in range(8)]
    part = Trainer(SIZES, SETTINGS)
    for _ in range(3):
        part.advance()
    save_state(tmp_path / STATE, part, {"seconds": 1.0})
    again, content = load_state(tmp_path / STATE, {})
    assert content["seconds"] == 1.0
    assert [again.advance().total.item() for _ in range(5)] == losses[3:]
    assert torch.equal(weights(again.network), weights(whole.network))
    assert torch.equal(weights(again.average), weights(whole.average))
    assert not torch.equal(weights(whole.average), weights(whole.network))


def test_the_seed_decides_the_weights_and_the_pairs():
    first, same = Trainer(SIZES, SETTINGS), Trainer(SIZES, SETTINGS)
    other = Trainer(SIZES, replace(SETTINGS, seed=1))
    assert torch.equal(weights(first.network), weights(same.network))
    assert not torch.equal(weights(first.network), weights(other.network))
    a, b, c = (t.advance().gap.item() for t in (first, same, other))
    assert a == b != c


def test_training_learns():
    """The gap and the error fall well below where they began."""
    settings = replace(SETTINGS, steps=50, batch=8, warm_up=5, learning_rate=1e-2, decay=0.0)
    trainer = Trainer(replace(SIZES, fields=(2, 2, 2, 2)), settings)
    source = Source(7)
    pairs = draw_pairs(40, 500, source)
    before = judge(trainer.network, pairs, 300, 2.0)
    for _ in range(50):
        trainer.advance()
    after = judge(trainer.network, pairs, 300, 2.0)
    assert after.gap < 0.7 * before.gap
    assert after.error < 0.5 * before.error


def test_losses_are_what_they_say():
    """A table of ones misses all information; a perfect estimate costs nothing."""
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 4, 500, generator=generator)
    rho = 0.8
    y = rho * x + math.sqrt(1 - rho**2) * noise
    square = (rho**2 * (x**2 + y**2) - 2 * rho * x * y) / (1 - rho**2)
    pairs = Pairs(x, y, -0.5 * (math.log(1 - rho**2) + square))
    truth = pairs.log_ratio[:, 300:].mean(dim=1)

    class Known(GridNetwork):
        def forward(self, u, v):
            assert torch.equal(u, ranks(x[:, :300]))  # reads the first samples only
            reading = super().forward(u, v)
            return replace(reading, table=torch.ones(4, 16, 16), information=truth + self.off)

    with torch.random.fork_rng():
        network = Known(SIZES)
    network.off = 0.0
    exact = judge(network, pairs, 300, 2.0)
    assert exact.gap.item() == pytest.approx(truth.mean().item(), abs=1e-6)
    assert exact.error.item() == pytest.approx(0, abs=1e-6)
    assert exact.total.item() == pytest.approx((truth / (0.3 + truth)).mean().item(), abs=1e-5)
    network.off = 0.5
    wrong = judge(network, pairs, 300, 2.0)
    assert wrong.error.item() == pytest.approx(0.5, abs=1e-6)
    # Huber's loss over its threshold: the error less half the threshold
    more = 2.0 * (0.5 - 0.01) * (1 / (0.3 + truth)).mean().item()
    assert wrong.total.item() - exact.total.item() == pytest.approx(more, rel=1e-4)


def test_learning_rate_rises_stays_and_falls():
    settings = replace(SETTINGS, steps=100, warm_up=10, decay=0.4, learning_rate=1.0)
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:60] == [1.0] * 50
    assert all(b < a for a, b in pairwise(rates[61:]))
    assert rates[80] == pytest.approx(0.5)
    assert rates[-1] < 0.01


@pytest.fixture
def _few_checks(monkeypatch):
    monkeypatch.setattr("mimrl.mi.infonet.running.CHECK_PAIRS", 1)
    monkeypatch.setattr("mimrl.mi.infonet.validation.TRUTH_SAMPLES", 500)


@pytest.mark.usefixtures("_few_checks")
def test_run_writes_its_files_and_goes_on(tmp_path):
    folder = tmp_path / "run"
    Run(folder, SMALL, {**SHORT, "steps": 4}, "cpu").train(RunSettings(2, 4))
    rows = [json.loads(row) for row in (folder / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4]
    assert "checked" in rows[1]
    assert "checked" not in rows[0]
    about = json.loads((folder / WEIGHTS).with_suffix(".json").read_text())
    assert (about["step"], about["pairs"]) == (4, 16)
    assert about["settings"]["fresh"] == 200
    assert about["config"]["grid"] == 16

    # rows of steps after the state was saved, as after a kill
    with (folder / LOG).open("a") as log:
        log.write('{"step": 5, "loss": 1.0}\n{"step": 6, "lo')
    run = Run(folder, {}, {"steps": 6}, "cpu")
    assert run.trainer.settings.fresh == 200
    run.train(RunSettings(2, 100))
    rows = [json.loads(row) for row in (folder / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    about = json.loads((folder / WEIGHTS).with_suffix(".json").read_text())
    assert (about["step"], about["pairs"]) == (6, 24)
    network = load_weights(folder / WEIGHTS)
    assert torch.equal(weights(network), weights(run.trainer.average))
    assert torch.equal(weights(load_weights(folder / STATE)), weights(network))


@pytest.mark.usefixtures("_few_checks")
def test_run_refuses_changes_that_would_not_take_effect(tmp_path):
    Run(tmp_path, SMALL, {**SHORT, "steps": 1}, "cpu").train(RunSettings(1, 100))
    with pytest.raises(ConfigError, match="another seed"):
        Run(tmp_path, {}, {"seed": 5}, "cpu")
    with pytest.raises(ConfigError, match="another grid, width"):
        Run(tmp_path, {"grid": 32, "width": 9}, {}, "cpu")
    Run(tmp_path, SMALL, {"seed": 0}, "cpu")  # the same values are no change


@pytest.mark.usefixtures("_few_checks")
def test_run_begins_from_given_weights(tmp_path):
    first = Run(tmp_path / "a", SMALL, {**SHORT, "steps": 2}, "cpu")
    first.train(RunSettings(2, 100))
    start = tmp_path / "a" / WEIGHTS
    run = Run(tmp_path / "b", {}, {**SHORT, "seed": 4}, "cpu", start)
    assert run.trainer.step == 0
    assert run.trainer.network.config == first.trainer.network.config
    for network in (run.trainer.network, run.trainer.average):
        assert torch.equal(weights(network), weights(first.trainer.average))
    with pytest.raises(ConfigError, match="another grid"):
        Run(tmp_path / "c", {"grid": 32}, {}, "cpu", start)
    with pytest.raises(ConfigError, match="is gone on with"):
        Run(tmp_path / "a", {}, {}, "cpu", start)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 0},
        {"batch": 6},
        {"fresh": 1},
        {"least": 5},
        {"most": 10},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"decay": 1.5},
        {"clip": 0.0},
        {"averaging": 1.0},
        {"estimate_weight": -1.0},
        {"seed": -1},
        {"warm_up": 0},
    ],
)
def test_settings_out_of_range(tmp_path, change):
    name = next(iter(change)).replace("_", "-")
    if change == {"most": 10}:
        name = "most"
    with pytest.raises(ConfigError, match=name):
        Run(tmp_path, SMALL, change, "cpu")


@pytest.mark.parametrize("sizes", [{"grid": 20}, {"grid": 0}, {"width": 0}, {"up": (1, 1, 1, -1)}])
def test_sizes_out_of_range(tmp_path, sizes):
    with pytest.raises(ConfigError):
        Run(tmp_path, sizes, {}, "cpu")


def test_files_that_are_not_ours(tmp_path):
    with pytest.raises(MissingFileError):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"12345678 no")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(tmp_path / "bad.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="layout"):
        load_weights(tmp_path / "other.safetensors")
    trainer = Trainer(SIZES, SETTINGS)
    save_weights(tmp_path / "w.safetensors", trainer.average, {})
    with pytest.raises(CheckpointError, match="weights alone"):
        load_state(tmp_path / "w.safetensors", {})


def test_no_half_written_file_is_left_behind(tmp_path, monkeypatch):
    trainer = Trainer(SIZES, SETTINGS)
    save_state(tmp_path / STATE, trainer, {"seconds": 1.0})
    before = (tmp_path / STATE).read_bytes()

    def fails(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("mimrl.mi.infonet.storage.save_file", fails)
    with pytest.raises(OSError, match="disk full"):
        save_state(tmp_path / STATE, trainer, {"seconds": 2.0})
    assert (tmp_path / STATE).read_bytes() == before
    assert load_state(tmp_path / STATE, {})[1]["seconds"] == 1.0
