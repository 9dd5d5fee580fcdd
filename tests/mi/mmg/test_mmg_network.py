import numpy as np
import pytest
import torch
from torch import nn

from mimrl.errors import ConfigError
from mimrl.mi.mmg import LogisticLaw, TrainingSettings, exact_denoisers
from mimrl.mi.mmg.bases import LinearBase, NoBase
from mimrl.mi.mmg.denoisers import NetworkDenoisers
from mimrl.mi.mmg.network import Denoiser, Experts, RunningAverage
from mimrl.mi.mmg.training import initial, rate

LAW = LogisticLaw()
pytestmark = pytest.mark.usefixtures("seeded")


def denoiser(model_dim: int = 16, *, trained: bool = True) -> Denoiser:
    found = Denoiser(5, 3, model_dim, LAW)
    if trained:
        nn.init.normal_(found.last[-1].weight)
    return found


def batch(count: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(count, 5), 4 * torch.randn(count, 1) + 2


def test_model_dim_is_the_width():
    sizes = [sum(p.numel() for p in denoiser(width).parameters()) for width in (8, 16, 24)]
    assert sizes[0] < sizes[1] < sizes[2]
    assert denoiser(24).project.out_features == 24


def test_an_untrained_network_adds_nothing_and_a_trained_one_sees_everything():
    features, logsnr = batch()
    assert not denoiser(trained=False)(features, logsnr).any()
    network = denoiser()
    found = network(features, logsnr)
    assert found.shape == (7, 3)
    assert (network(features, logsnr + 1) - found).abs().min() > 1e-4
    for column in range(5):
        moved = features.clone()
        moved[:, column] += 1
        assert (network(moved, logsnr) - found).abs().max() > 1e-4


def test_a_single_row_is_what_it_is_among_others():
    network = denoiser()
    features, logsnr = batch()
    alone = torch.cat([network(features[i : i + 1], logsnr[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(alone, network(features, logsnr))


def test_experts_are_routed_by_the_log_snr():
    low, high = denoiser(), denoiser()
    experts = Experts([low, high], threshold=5.0)
    features = torch.randn(6, 5)
    logsnr = torch.tensor([[4.9], [5.0], [-3.0], [13.0], [5.1], [0.0]])
    found = experts(features, logsnr)
    is_high = logsnr >= 5
    torch.testing.assert_close(
        found, torch.where(is_high, high(features, logsnr), low(features, logsnr))
    )
    only_low = experts(features[:1], logsnr[:1])  # no row for the other expert
    torch.testing.assert_close(only_low, found[:1])
    with pytest.raises(ConfigError, match="threshold"):
        Experts([low, high], None)


def test_nothing_is_not_the_same_as_a_y_of_zero():
    linear = exact_denoisers(np.eye(4), 2)
    for base in (NoBase(2, 2), LinearBase(linear)):
        rows = base.rows(np.ones((3, 2)), np.zeros((3, 2))).to("cpu", torch.float32)
        noise, logsnr = torch.randn(3, 2), torch.zeros(3, 1)
        shown = torch.ones(3, 1, dtype=torch.bool)
        free = base.prepare(rows, noise, logsnr, ~shown).features
        given = base.prepare(rows, noise, logsnr, shown).features
        assert free.shape == (3, base.width)
        assert (free[:, -1] == 0).all()
        assert (given[:, -1] == 1).all()


def test_branches_in_training_are_the_branches_in_reading():
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    linear = exact_denoisers(matrix @ matrix.T + np.eye(5), 3)
    x, y = (
        np.random.default_rng(1).normal(size=(8, 3)),
        np.random.default_rng(2).normal(size=(8, 2)),
    )
    for base in (NoBase(3, 2), LinearBase(linear)):
        settings = TrainingSettings(law=LAW, model_dim=16, snr_threshold=5.0)
        experts = initial(base.width, 3, settings, seed=0)
        for member in experts.members:
            nn.init.normal_(member.last[-1].weight)
        denoisers = NetworkDenoisers(base, experts)
        rows = base.rows(x, y).to("cpu", torch.float32)
        noise, logsnr = torch.randn(8, 3), 4 * torch.randn(8, 1) + 2
        both = denoisers.errors(rows, noise, logsnr)
        for shown, own, plain in (
            (False, both.own.free, both.base.free),
            (True, both.own.given, both.base.given),
        ):
            flags = torch.full((8, 1), shown)
            one = denoisers.branch_errors(rows, noise, logsnr, flags)
            torch.testing.assert_close(one.own, own.square().sum(1), rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(one.base, plain.square().sum(1), rtol=1e-4, atol=1e-4)
        assert (both.own.free - both.base.free).abs().max() > 1e-3


def test_the_linear_base_is_the_linear_denoiser():
    matrix = np.random.default_rng(0).normal(size=(5, 5))
    linear = exact_denoisers(matrix @ matrix.T + np.eye(5), 3)
    base = LinearBase(linear)
    x, y = (
        np.random.default_rng(1).normal(size=(8, 3)),
        np.random.default_rng(2).normal(size=(8, 2)),
    )
    rows = base.rows(x, y)
    noise = torch.randn(8, 3, dtype=torch.float64)
    logsnr = 4 * torch.randn(8, 1, dtype=torch.float64) + 2
    expected = linear.errors(rows, noise, logsnr).own
    for shown, errors in ((False, expected.free), (True, expected.given @ linear_turn(linear))):
        found = base.prepare(rows, noise, logsnr, torch.full((8, 1), shown))
        torch.testing.assert_close(found.error, errors)


def linear_turn(linear) -> torch.Tensor:
    return torch.from_numpy(linear.turn)


def test_running_average_warms_up_and_then_decays_as_asked():
    source = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(source.weight)
    average = RunningAverage(source, decay=0.5)
    nn.init.ones_(source.weight)
    expected = 0.0
    for update in range(30):
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay)
        assert float(average.module.weight) == pytest.approx(expected, rel=1e-5)
    assert not average.module.weight.requires_grad


def test_learning_rate_warms_up_and_falls():
    rates = [rate(step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01, rel=0.01)
    assert max(rates) == pytest.approx(rates[100], rel=0.02)
    assert rates[-1] == pytest.approx(0.02, rel=0.01)


def test_settings_that_cannot_be_used():
    for bad in (
        {"batch_size": 1},
        {"ema_decay": 1.0},
        {"snr_threshold": 14.0},
        {"learning_rate": 0.0},
        {"model_dim": 0},
        {"passes": 0},
    ):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            TrainingSettings(law=LAW, **bad)
