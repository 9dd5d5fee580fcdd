"""MINE with its users' calls: losses and gradients written out, then information that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from mimrl.errors import ConfigError, EstimationError, NonFiniteError, ShapeError
from mimrl.mi.mine import MINE

pytestmark = pytest.mark.usefixtures("seeded")

TRUTH = -0.5 * math.log(1 - 0.64)


def network(inputs: int = 2, hidden: int = 32) -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(inputs, hidden), nn.SiLU()),
        *(nn.Linear(hidden, hidden), nn.SiLU()),
        nn.Linear(hidden, 1),
    )


def gaussian(rows: int, seed: int = 0):
    z = np.random.default_rng(seed).normal(size=(rows, 2))
    return z[:, 0], 0.8 * z[:, 0] + 0.6 * z[:, 1]


class Given(nn.Module):
    """T(x, y) = x y, times a weight."""

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x, y):
        return self.weight * x * y


@pytest.fixture
def rows():
    return tuple(torch.randn(3, 8, 1).unbind())


@pytest.mark.parametrize(
    ("loss", "product"),
    [
        ("mine", lambda t: t.exp().mean().log()),
        ("mine_biased", lambda t: t.exp().mean().log()),
        ("fdiv", lambda t: (t - 1).exp().mean()),
    ],
)
def test_loss_is_minus_its_bound(loss, product, rows):
    x, y, other = rows
    found = MINE(Given(), loss, method=None)(x, y, other)
    torch.testing.assert_close(found, product(x * other) - (x * y).mean())


def gradient(mine, *rows):
    mine.zero_grad()
    mine(*rows).backward()
    return mine.T.weight.grad.clone()


def test_gradient_of_mine_is_divided_by_the_moving_average(rows):
    x, y, other = rows
    mine = MINE(Given(), "mine", method=None, alpha=0.25)
    first = gradient(mine, x, y, other)
    means = [(x * other).exp().mean(), (x * 2 * other).exp().mean()]
    exact = (x * other * (x * other).exp()).mean() / means[0] - (x * y).mean()
    torch.testing.assert_close(first, exact)  # the first batch is its own average
    second = gradient(mine, x, y, 2 * other)
    average = 0.75 * means[0] + 0.25 * means[1]
    expected = (2 * x * other * (2 * x * other).exp()).mean() / average - (x * y).mean()
    torch.testing.assert_close(second, expected)
    torch.testing.assert_close(mine.log_average.exp(), average)


def test_gradient_of_the_biased_one_is_the_batch_s_own(rows):
    found = gradient(MINE(Given(), "mine_biased", method=None), *rows)
    mine = MINE(Given(), "mine", method=None, alpha=1.0)
    gradient(mine, rows[0], rows[1], 3 * rows[2])
    torch.testing.assert_close(gradient(mine, *rows), found)


def test_average_is_saved_and_reading_changes_nothing(rows):
    x, y, other = rows
    mine = MINE(Given(), method=None)
    assert mine.log_average == -math.inf
    mine(x, y, other)
    kept = {name: value.clone() for name, value in mine.state_dict().items()}
    assert "log_average" in kept
    mine.mi(3 * x, 3 * y)
    assert mine.training
    mine.eval()(3 * x, y, other)
    for name, value in mine.state_dict().items():
        torch.testing.assert_close(value, kept[name])
    restored = MINE(Given(), method=None)
    restored.load_state_dict(kept)
    torch.testing.assert_close(restored.log_average, mine.log_average)


def test_large_statistics_do_not_overflow():
    mine = MINE(Given(1000.0), method=None)
    x = torch.linspace(0.1, 1, 10)[:, None]
    loss = mine(x, x)
    loss.backward()
    assert loss.isfinite()
    assert mine.T.weight.grad.isfinite()
    assert math.isfinite(mine.mi(x, x))


def test_gradient_reaches_x_and_y():
    x, y = torch.randn(2, 8, 2, requires_grad=True).unbind()
    mine = MINE(network(4))
    for gradient in torch.autograd.grad(mine(x, y), (x, y)):
        assert gradient.abs().sum() > 0


def test_reading_is_the_bound_over_shifts_and_takes_arrays():
    x, y = gaussian(9)
    mine = MINE(Given(), method=None)
    rows = np.arange(9)
    product = np.concatenate([x * y[(rows + shift) % 9] for shift in range(1, 9)])
    others = [x[i] * y[j] for i in rows for j in rows if i != j]
    assert sorted(product) == pytest.approx(sorted(others))  # nine rows: all combinations
    expected = (x * y).mean() - math.log(np.exp(others).mean())
    assert mine.mi(x, y) == pytest.approx(expected, abs=1e-5)
    assert mine.mi(torch.from_numpy(x)[:, None], y.tolist()) == pytest.approx(expected, abs=1e-5)
    fdiv = MINE(Given(), "fdiv", method=None)
    assert fdiv.mi(x, y) == pytest.approx((x * y).mean() - np.exp(np.array(others) - 1).mean())


@pytest.mark.parametrize("loss", ["mine", "mine_biased", "fdiv"])
def test_gaussian_pair(loss):
    """1,000 rows in training, 4,000 others: standard error .013, and what the network misses."""
    mine = MINE(network(), loss=loss)
    fast = torch.optim.Adam(mine.parameters(), lr=5e-3)
    found = mine.optimize(*gaussian(1000), iters=12, batch_size=100, opt=fast)
    assert isinstance(found, float)
    assert found == pytest.approx(TRUTH, abs=0.12)
    assert mine.mi(*gaussian(4000, seed=1)) == pytest.approx(TRUTH, abs=0.08)


def test_same_seed_same_numbers():
    x, y = gaussian(64)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(0)
        found.append(MINE(network()).optimize(x, y, iters=2, batch_size=32, seed=seed))
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("iters", [1, 2])
@pytest.mark.parametrize("rows", [2, 3, 7])
def test_short_trainings_and_small_batches(iters, rows):
    x, y = gaussian(rows)
    assert math.isfinite(MINE(network()).optimize(x, y, iters=iters, batch_size=2))


def test_calls_that_cannot_be():
    x, y = gaussian(10)
    for options, words in (
        ({"loss": "dv"}, "loss 'dv'; expected one of: mine, mine_biased, fdiv"),
        ({"method": "add"}, "method 'add'"),
        ({"alpha": 0.0}, "alpha 0.0"),
    ):
        with pytest.raises(ConfigError, match=words):
            MINE(network(), **options)
    mine = MINE(network())
    with pytest.raises(ConfigError, match="iters 0"):
        mine.optimize(x, y, iters=0)
    with pytest.raises(ConfigError, match="two rows a batch"):
        mine.optimize(x, y, batch_size=1)
    with pytest.raises(ShapeError, match=r"got \[9, 10\] rows"):
        mine.mi(x, y[1:])
    with pytest.raises(EstimationError, match="two or more rows, got 1"):
        mine.optimize(x[:1], y[:1])
    with pytest.raises(ShapeError, match="one number a row"):
        MINE(nn.Linear(2, 3)).mi(x, y)
    with pytest.raises(NonFiniteError, match="pass 1"):
        mine.optimize(x, np.where(y > 0, np.nan, y), iters=1, batch_size=10)
