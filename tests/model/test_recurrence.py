"""Recurrences over padded sequences against PyTorch's over packed ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mimrl.model.masks import step_mask
from mimrl.model.recurrence import run_padded

pytestmark = pytest.mark.usefixtures("seeded")
LENGTHS = torch.tensor([7, 3, 1, 5])


def packed(network, values, lengths):
    inputs = pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
    states, _ = network(inputs)
    return pad_packed_sequence(states, batch_first=True, total_length=values.shape[1])[0]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_states_and_gradients_are_those_of_packed_sequences(kind, layers):
    """Float64; the tolerance is rounding of sums over 7 steps."""
    network = kind(5, 6, layers, batch_first=True, bidirectional=True).double()
    values = torch.randn(4, 7, 5, dtype=torch.float64, requires_grad=True)
    valid = step_mask(LENGTHS, 7)[..., None]
    weights = torch.randn(4, 7, 12, dtype=torch.float64)
    found = []
    for run in (packed, run_padded):
        states = run(network, values, LENGTHS) * valid
        inputs = [values, *network.parameters()]
        found.append([states, *torch.autograd.grad((states * weights).sum(), inputs)])
    for expected, given in zip(*found, strict=True):
        torch.testing.assert_close(given, expected, rtol=0, atol=1e-13)


def test_gradient_by_finite_differences():
    network = nn.GRU(2, 3, 1, batch_first=True, bidirectional=True).double()
    values = torch.randn(4, 7, 2, dtype=torch.float64, requires_grad=True)
    valid = step_mask(LENGTHS, 7)[..., None]
    assert torch.autograd.gradcheck(lambda x: run_padded(network, x, LENGTHS) * valid, values)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_what_stands_at_padded_steps_changes_nothing(kind):
    network = kind(5, 6, 2, batch_first=True, bidirectional=True)
    values = torch.randn(4, 7, 5)
    valid = step_mask(LENGTHS, 7)[..., None]
    other = torch.where(valid, values, 100.0)
    one, two = (run_padded(network, x, LENGTHS) * valid for x in (values, other))
    assert torch.equal(one, two)


def test_a_gru_stays_in_float32_under_autocast():
    network = nn.GRU(5, 6, 2, batch_first=True, bidirectional=True)
    values = torch.randn(4, 7, 5)
    with torch.autocast("cpu", torch.bfloat16):
        states = run_padded(network, values, LENGTHS)
        states.float().sum().backward()
    exact = run_padded(network, values, LENGTHS)
    valid = step_mask(LENGTHS, 7)[..., None]
    difference = ((states - exact) * valid).abs().max()
    assert 0 < difference < 0.03  # products of the inputs: 8 bits, sums of at most 12 terms
    assert states.dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 for p in network.parameters())
