"""Critics of the copula critic: their start, their orientation, what they can express."""

import numpy as np
import pytest
import torch

from mimrl.mi.estimators.staged_critics import (
    ChannelCritic,
    LeadingCritic,
    MeanCritic,
    WithQuadratic,
    spread_biases,
)

SHAPE = {"hidden": 16, "layers": 1}


def channel():
    return ChannelCritic(3, 2, **SHAPE, embedding=4, channels=3)


def leading():
    return LeadingCritic((3, 2), ([0, 2], [1]), **SHAPE)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def rows():
    return torch.randn(7, 3), torch.randn(7, 2)


def stirred(critic):
    """The critic somewhere else than at its start."""
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return critic


@pytest.mark.parametrize("make", [channel, leading])
class TestEach:
    def test_it_is_zero_at_the_start_and_can_leave_it(self, make, rows):
        critic = make()
        scores = critic(*rows)
        assert (scores == 0).all()
        scores.diagonal().sum().backward()
        assert any((p.grad != 0).any() for p in critic.parameters() if p.grad is not None)

    def test_scores_are_those_of_the_combinations(self, make, rows):
        critic = stirred(make())
        x, y = rows
        scores = critic.scores(x, y[:5])
        assert scores.shape == (7, 5)
        assert scores.std() > 0.1
        torch.testing.assert_close(critic.paired(x, y), critic.scores(x, y).diagonal())
        torch.testing.assert_close(critic.paired(x[[3]], y[[1]])[0], scores[3, 1])


def test_the_mean_critic_is_the_mean(rows):
    parts = [stirred(channel()), stirred(leading())]
    both = MeanCritic(parts)
    expected = (parts[0].scores(*rows) + parts[1].scores(*rows)) / 2
    torch.testing.assert_close(both(*rows), expected)
    torch.testing.assert_close(both.paired(*rows), expected.diagonal())
    assert len(list(both.parameters())) == sum(len(list(part.parameters())) for part in parts)


def test_the_leading_critic_sees_its_columns_and_the_length_only(rows):
    critic, (x, y) = stirred(leading()), rows
    turned = x.clone()
    with torch.no_grad():
        critic.seen_x.weights.fill_(0.4)
        critic.seen_x.centre.zero_()
    turned[:, 1] = -x[:, 1]
    torch.testing.assert_close(critic.scores(turned, y), critic.scores(x, y))
    turned[:, 1] = 3 + x[:, 1]
    assert (critic.scores(turned, y) - critic.scores(x, y)).abs().max() > 1e-3


def test_the_quadratic_form_starts_as_the_standardised_squared_length():
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(40_000, 6))).float()
    form = WithQuadratic(6, [0])(values)[:, 1].detach()
    expected = (values.square().sum(dim=1) - 6) / np.sqrt(12)
    torch.testing.assert_close(form, expected, atol=1e-5, rtol=1e-5)
    assert abs(float(form.mean())) < 4 / np.sqrt(40_000)


def test_biases_are_spread_by_the_number_of_inputs():
    layer = torch.nn.Linear(4, 5000)
    torch.nn.init.zeros_(layer.bias)
    spread_biases(torch.nn.Sequential(layer))
    assert layer.bias.abs().max() <= 0.5
    assert layer.bias.detach().std().item() == pytest.approx(
        0.5 / np.sqrt(3), rel=0.05
    )  # uniform on +-1/2
