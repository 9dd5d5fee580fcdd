"""The variational family: readings equal their bounds, starts, doubts, known information."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from mimrl import mi
from mimrl.errors import (
    CeilingWarning,
    ConfigError,
    EstimationError,
    EstimationWarning,
    UndertrainedWarning,
    VarianceWarning,
)
from mimrl.mi.early_stopping import FitSettings, fit_with_early_stopping
from mimrl.mi.estimators import critic_reading
from mimrl.mi.estimators.canonical import gaussian_log_ratio
from mimrl.mi.estimators.ceilings import ceiling, ceiling_doubt
from mimrl.mi.estimators.critic_reading import groups, product_mean, read_pointwise
from mimrl.mi.estimators.curves import training_doubts
from mimrl.mi.estimators.interface import CurvePoint
from mimrl.mi.estimators.samples import Pair
from mimrl.mi.estimators.started import StartedCritic, silence
from mimrl.mi.estimators.variational import Variational

pytestmark = pytest.mark.usefixtures("seeded")

BOUNDS = {
    "dv": mi.Dv,
    "nwj": mi.Nwj,
    "tuba": lambda: mi.Tuba(mi.LearnedBaseline(2, hidden=8)),
    "infonce": mi.InfoNce,
    "js": mi.Js,
    "smile": lambda: mi.Smile(0.1),
    "interpolated": lambda: mi.Interpolated(0.4, mi.LearnedBaseline(2, hidden=8)),
    "mine": mi.Mine,
}
CRITICS = {
    "separable": lambda: mi.SeparableCritic(3, 2, hidden=16, embedding=8),
    "concatenated": lambda: mi.ConcatenatedCritic(3, 2, hidden=16),
    "bilinear": lambda: mi.BilinearCritic(3, 2),
}
FEW = {"steps": 60, "folds": 2}


def gaussian(rho: float, rows: int, seed: int = 0):
    z = np.random.default_rng(seed).normal(size=(rows, 2))
    return z[:, :1], rho * z[:, :1] + math.sqrt(1 - rho**2) * z[:, 1:]


# readings


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("bound", BOUNDS)
def test_mean_of_the_pointwise_values_is_the_bound(bound, critic):
    """With 30 rows the shifts of a concatenated critic are all combinations, as for the others."""
    model = mi.VariationalMI(CRITICS[critic](), BOUNDS[bound]()).double()
    x, y = torch.randn(30, 3).double(), torch.randn(30, 2).double()
    values = read_pointwise(model, x, y, group=30)
    assert values.shape == (30,)
    with torch.no_grad():
        torch.testing.assert_close(values.mean(), model(x, y))


@pytest.mark.parametrize("bound", BOUNDS)
def test_more_rows_are_read_in_groups(bound, monkeypatch):
    monkeypatch.setattr(critic_reading, "GROUP", 20)
    model = mi.VariationalMI(CRITICS["separable"](), BOUNDS[bound]()).double()
    x, y = torch.randn(61, 3).double(), torch.randn(61, 2).double()
    values = read_pointwise(model, x, y, group=20)
    parts = groups(61, 20)
    assert [len(part) for part in parts] == [16, 15, 15, 15]
    assert sorted(torch.cat(parts).tolist()) == list(range(61))
    with torch.no_grad():
        expected = [model(x[part], y[part]) for part in parts]
    if bound in ("infonce", "interpolated"):
        for part, value in zip(parts, expected, strict=True):
            torch.testing.assert_close(values[part].mean(), value)
    else:  # one normaliser for all groups: the values differ by how the groups' differ
        spread = max(expected) - min(expected)
        assert abs(values.mean() - torch.stack(expected).mean()) <= spread


@pytest.mark.parametrize("critic", CRITICS)
def test_pairs_are_the_diagonal(critic):
    network, x, y = CRITICS[critic](), torch.randn(6, 3), torch.randn(6, 2)
    with torch.no_grad():
        torch.testing.assert_close(network.paired(x, y), network(x, y).diagonal())


def test_relative_error_of_the_product_mean():
    """Scores that depend on x alone have a mean of e^score known from N numbers."""

    class OfX(mi.Critic):
        def scores(self, x, y):
            return x.expand(len(x), len(y))

        def paired(self, x, y):
            return x[:, 0]

    x = torch.randn(400, 1)
    found = product_mean(mi.VariationalMI(OfX(1, 1), mi.Dv()), x, x)
    numbers = x[:, 0].double().exp()
    torch.testing.assert_close(found.log_mean, numbers.mean().log())
    expected = numbers.std(correction=0) / numbers.mean() / 20
    assert found.relative_error == pytest.approx(float(expected))


def test_one_row_cannot_be_read():
    model = mi.VariationalMI(CRITICS["bilinear"](), mi.Dv())
    with pytest.raises(EstimationError, match="two or more rows, got 1"):
        read_pointwise(model, torch.ones(1, 3), torch.ones(1, 2), 10)


# the start


@pytest.mark.parametrize("critic", CRITICS)
def test_start_is_the_gaussian_log_ratio(critic):
    inner = CRITICS[critic]()
    silence(inner)
    rho = np.array([0.8, 0.3])
    started = StartedCritic(inner, rho, limit=3.0, offset=1.0).double()
    rng = np.random.default_rng(0)
    pair = Pair(rng.normal(size=(5, 3)), rng.normal(size=(5, 2)))
    x, y = torch.from_numpy(pair.x), torch.from_numpy(pair.y)
    with torch.no_grad():
        scores = started(x, y)
        torch.testing.assert_close(started.paired(x, y), scores.diagonal())
    np.testing.assert_allclose(scores.diagonal(), gaussian_log_ratio(pair, rho) + 1, atol=1e-6)
    other = gaussian_log_ratio(Pair(pair.x[[1]], pair.y[[3]]), rho) + 1
    assert scores[1, 3].item() == pytest.approx(other.item(), abs=1e-6)
    (-started(x, y).diagonal().sum()).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in inner.parameters())


def test_the_network_s_part_is_bounded():
    critic = mi.BilinearCritic(1, 1)
    nn.init.constant_(critic.weight, 100.0)
    started = StartedCritic(critic, limit=2.0)
    x = torch.tensor([[3.0], [-3.0], [1e-3]])
    with torch.no_grad():
        scores = started(x, x)
    assert scores.abs().max() <= 2
    assert scores[2, 2].item() == pytest.approx(1e-4, rel=1e-3)


# training


def test_curve_and_start_of_a_training():
    model, looks = nn.Linear(1, 1, bias=False), []
    nn.init.constant_(model.weight, 1.0)
    settings = FitSettings(steps=40, check_every=10, patience=100, rate=0.1, averaging=0.0)
    before = copy.deepcopy(model.state_dict())

    def away(model):
        return -model.weight.square().sum()

    chosen = fit_with_early_stopping(
        model,
        away,
        lambda m: m.weight.square().sum(),
        settings,
        start=True,
        look=lambda step, kept, loss: looks.append((step, loss)),
    )
    assert chosen == 0  # every step made it worse
    assert model.state_dict()["weight"] == before["weight"]
    assert [step for step, _ in looks] == [0, 10, 20, 30, 40]
    assert looks[0][1] == 1
    assert [loss for _, loss in looks] == sorted(loss for _, loss in looks)


def test_doubts_of_a_curve():
    def curve(*values):
        return [CurvePoint(0, 10 * i, value, value) for i, value in enumerate(values)]

    assert training_doubts(curve(0, 0.3, 0.2), 10, 20) == ()
    (last,) = training_doubts(curve(0, 0.3, 0.4), 20, 20)
    assert isinstance(last, UndertrainedWarning)
    assert "last, 20" in str(last)
    (never,) = training_doubts(curve(0, -0.1, -0.2), 0, 20)
    assert "never rose above 0" in str(never)


def test_points_of_the_curve():
    x, y = gaussian(0.8, 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        found = Variational(**FEW, check_every=20).estimate_with_info(x, y)
    first = [point for point in found.curve if point.fold == 0]
    assert [point.step for point in first][:2] == [0, 20]
    assert {point.fold for point in found.curve} == {0, 1}
    assert first[0].validation == pytest.approx(0.51, abs=0.35)  # 15 rows, and in nats
    assert found.additional_information["step"]


# known information


@pytest.mark.parametrize("critic", CRITICS)
@pytest.mark.parametrize("bound", BOUNDS)
def test_gaussian_pair(bound, critic):
    """400 rows: standard error .035, and the correlation itself is uncertain by .02."""
    x, y = gaussian(0.8, 400)
    estimator = Variational(bound=bound, critic=critic, folds=2, steps=10, batch_size=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndertrainedWarning)
        found = estimator.estimate_with_info(x, y)
    assert found.mi_estimate == pytest.approx(-0.5 * math.log(1 - 0.64), abs=0.12)
    assert 0.02 < found.standard_error < 0.07


def elliptical(rows: int):
    """Student's t with one degree of freedom, uncorrelated: 0.2242 nats, none of them Gaussian."""
    rng = np.random.default_rng(5)
    length = np.sqrt(rng.chisquare(1, size=(rows, 1)))
    return rng.normal(size=(rows, 1)) / length, rng.normal(size=(rows, 1)) / length


@pytest.mark.parametrize("bound", ["infonce", "nwj"])
def test_what_no_gaussian_has_is_learned(bound):
    x, y = elliptical(1000)
    estimator = Variational(bound=bound, folds=2, steps=120, batch_size=128, check_every=40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndertrainedWarning)
        found = estimator.estimate(x, y)
    assert 0.12 < found < 0.2242 + 3 * 0.02


def test_a_training_from_zero_learns_a_gaussian():
    x, y = gaussian(0.8, 800)
    estimator = Variational(bound="infonce", gaussian=False, folds=2, steps=80, rate=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndertrainedWarning)
        assert estimator.estimate(x, y) == pytest.approx(0.51, abs=0.12)


def test_shuffled_pairs_have_no_information():
    x, y = gaussian(0.8, 900)
    y = y[np.random.default_rng(0).permutation(900)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndertrainedWarning)
        assert abs(Variational(folds=2, steps=60).estimate(x, y)) < 0.03


# doubts and options


def test_infonce_s_ceiling_is_warned_of():
    x, y = gaussian(0.9999, 300)  # 4.3 nats
    with pytest.warns(CeilingWarning, match=r"from 8 rows .* log B = 2\.08"):
        found = Variational(reading=8, **FEW).estimate(x, y)
    assert 0.9 * math.log(8) < found <= math.log(8)


@pytest.mark.parametrize(
    ("bound", "rows", "top"),
    [
        (mi.InfoNce(), 64, math.log(64)),
        (mi.Interpolated(0.5, mi.ConstantBaseline()), 65, 1 + math.log(128)),
        (mi.Dv(), 100, math.log(100)),
    ],
)
def test_ceilings(bound, rows, top):
    assert ceiling(bound, rows)[1] == pytest.approx(top)
    assert ceiling_doubt(bound, rows, 0.8 * top) == ()
    (doubt,) = ceiling_doubt(bound, rows, 0.95 * top)
    above = isinstance(bound, mi.Dv)  # DV is no bound of a sample: it can overshoot
    assert ("far too high or too low" in str(doubt)) is above
    assert ceiling_doubt(bound, rows, 0.89 * top) == ()
    (doubt,) = ceiling_doubt(bound, rows, 0.91 * top)
    assert f"{top:.3g}" in str(doubt)


def test_the_interpolated_bound_comes_close_to_its_ceiling_and_stays_below():
    baseline = torch.full((65,), -1e3)
    top = ceiling(mi.Interpolated(0.5, mi.ConstantBaseline()), 65)[1]
    found = [mi.bounds.interpolated(s * torch.eye(65), baseline, 0.5).item() for s in (8.0, 50.0)]
    assert found[0] < found[1] <= top + 1e-5
    assert found[1] > top - 2.1  # the product term is 2 where all its scores are alike


def test_an_uncertain_product_mean_is_warned_of():
    x, y = gaussian(0.9999, 300)
    with pytest.warns(VarianceWarning, match="product samples"):
        Variational(bound="nwj", limit=30.0, **FEW).estimate(x, y)


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        ({"bound": "dv", "tau": 2.0}, "tau"),
        ({"bound": "infonce", "alpha": 0.5}, "alpha"),
        ({"bound": "nwj", "baseline": "learned"}, "baseline"),
        ({"bound": "dv", "decay": 0.1}, "decay"),
        ({"bound": "js", "reading": 64}, "reading"),
        ({"critic": "bilinear", "hidden": 32, "layers": 1}, "hidden, layers"),
    ],
)
def test_options_without_effect_are_refused(options, idle):
    with pytest.raises(ConfigError, match=f"{idle} has no effect with bound"):
        Variational(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"bound": "smile", "tau": 0.2},
        {"bound": "interpolated", "alpha": 0.01},
        {"bound": "tuba", "baseline": "learned"},
        {"bound": "mine", "decay": 1.0},
        {"bound": "infonce", "reading": 10},
        {"bound": "infonce", "limit": 0.05},
    ],
)
def test_options_with_effect_change_the_estimate(options):
    x, y = elliptical(120)
    common = {"bound": options["bound"], "folds": 2, "steps": 10, "check_every": 10}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        plain = Variational(**common).estimate_with_info(x, y)
        changed = Variational(**common | options).estimate_with_info(x, y)
    found, other = ((run.curve[-1], run.mi_estimate) for run in (plain, changed))
    assert found != other
