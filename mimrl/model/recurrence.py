"""Bidirectional recurrences on the CPU, over padded sequences, forward and backward in linear time.

PyTorch runs packed sequences on the CPU by slicing their steps out of one tensor, and the gradient
of every slice is a tensor of the whole size filled with zeros: quadratic in the number of steps,
more than half of a training step at 100 of them. Here sequences stay padded. Padding comes after
the valid steps, so the forward direction never sees it before them; the other direction runs over
each sample reversed within its own length.

The GRU's gradient is written out: the two directions run as one batched product a step, and the
gradient of the weights is one product over all steps instead of a sum of one a step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@torch.compiler.disable  # its loop over the steps would be unrolled
def run_padded(network: nn.GRU | nn.LSTM, values: Tensor, lengths: Tensor) -> Tensor:
    """What ``network`` gives for packed sequences, at the valid steps.

    Args:
        network: bidirectional, with biases, without dropout.
        values: ``(B, T, d)`` on the CPU.
        lengths: ``(B,)`` valid steps, from 1 to ``T``, on the CPU.

    Returns:
        ``(B, T, 2 D)``: forward states, then backward states; undefined at padded steps.
    """
    steps = values.transpose(0, 1).contiguous()
    order = _reversed_rows(lengths, len(steps))
    for layer in range(network.num_layers):
        forward, backward = (
            [getattr(network, f"{kind}_l{layer}{end}") for kind in WEIGHTS]
            for end in ("", "_reverse")
        )
        run = _gru_layer if isinstance(network, nn.GRU) else _lstm_layer
        steps = run(steps, order, forward, backward)
    return steps.transpose(0, 1)


def _reversed_rows(lengths: Tensor, steps: int) -> Tensor:
    """``(T B,)`` rows of a flat ``(T, B)`` sequence that reverse each sample within its length."""
    time = torch.arange(steps)[:, None]
    mirrored = torch.where(time < lengths, lengths - 1 - time, time)
    return (mirrored * len(lengths) + torch.arange(len(lengths))).flatten()


def _gru_layer(x: Tensor, order: Tensor, forward: list[Tensor], backward: list[Tensor]) -> Tensor:
    inputs = [
        linear(x, forward[0], forward[2]),
        _Reversed.apply(linear(x, backward[0], backward[2]), order),
    ]
    weight, bias = (torch.stack([forward[k], backward[k]]) for k in (1, 3))
    states = _Gru.apply(torch.stack(inputs, dim=1), weight, bias)
    return torch.cat([states[:, 0], _Reversed.apply(states[:, 1].contiguous(), order)], dim=-1)


def _lstm_layer(x: Tensor, order: Tensor, forward: list[Tensor], backward: list[Tensor]) -> Tensor:
    start = x.new_zeros(1, x.shape[1], forward[1].shape[1])

    def run(inputs: Tensor, weights: list[Tensor]) -> Tensor:
        plain: Any = torch.lstm  # (input, states, weights, biases, layers, dropout, train, ...)
        states: Tensor = plain(inputs, (start, start), weights, True, 1, 0.0, True, False, False)[0]
        return states

    other = run(_Reversed.apply(x, order), backward)
    return torch.cat([run(x, forward), _Reversed.apply(other, order)], dim=-1)


class _Reversed(torch.autograd.Function):
    """Rows of ``(T, B, d)`` in an order that is its own inverse, so its adjoint is itself."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, order: Tensor) -> Tensor:
        ctx.save_for_backward(order)
        return values.flatten(0, 1).index_select(0, order).view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (order,) = ctx.saved_tensors
        return gradient.flatten(0, 1).index_select(0, order).view_as(gradient), None


class _Gru(torch.autograd.Function):
    """States ``(T, G, B, D)`` of ``G`` GRUs side by side, starting from zeros.

    With ``a = inputs[t]`` and ``c = W h + b`` in thirds r, z, n (the order of ``nn.GRU``):
    ``r = sigmoid(a_r + c_r)``, ``z = sigmoid(a_z + c_z)``, ``n = tanh(a_n + r c_n)``,
    ``h' = n + z (h - n)``. In float32 under autocast: a rounding error made at one step is carried
    through all later ones.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        count, groups, rows, width = inputs.shape
        width //= 3
        states = inputs.new_zeros(count + 1, groups, rows, width)
        gates = inputs.new_empty(count, groups, rows, 2 * width)
        new, carried = (inputs.new_empty(count, groups, rows, width) for _ in range(2))
        matrix, offset = weight.transpose(1, 2).contiguous(), bias[:, None]
        for t in range(count):
            hidden = torch.baddbmm(offset, states[t], matrix)
            torch.add(hidden[..., : 2 * width], inputs[t, ..., : 2 * width], out=gates[t])
            gates[t].sigmoid_()
            reset, update = gates[t].chunk(2, dim=-1)
            carried[t] = hidden[..., 2 * width :]
            torch.addcmul(inputs[t, ..., 2 * width :], reset, carried[t], out=new[t])
            torch.lerp(new[t].tanh_(), states[t], update, out=states[t + 1])
        ctx.save_for_backward(weight, gates, new, carried, states)
        return states[1:]

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(  # type: ignore[override]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        weight, gates, new, carried, states = ctx.saved_tensors
        count, groups, rows, width = gradient.shape
        reset, update = gates.chunk(2, dim=-1)
        to_update = (states[:-1] - new) * update * (1 - update)
        to_new = (1 - update) * (1 - new * new)
        to_reset = carried * reset * (1 - reset)
        of_inputs, of_hidden = (gates.new_empty(count, groups, rows, 3 * width) for _ in range(2))
        state = gates.new_zeros(groups, rows, width)
        for t in reversed(range(count)):
            state = state + gradient[t]
            r, z, n = of_hidden[t].chunk(3, dim=-1)
            of_new = torch.mul(state, to_new[t], out=of_inputs[t, ..., 2 * width :])
            torch.mul(of_new, to_reset[t], out=r)
            torch.mul(state, to_update[t], out=z)
            torch.mul(of_new, reset[t], out=n)
            state = torch.baddbmm(state * update[t], of_hidden[t], weight)
        of_inputs[..., : 2 * width] = of_hidden[..., : 2 * width]
        flat = of_hidden.transpose(0, 1).flatten(1, 2)
        before = states[:-1].transpose(0, 1).flatten(1, 2)
        return of_inputs, flat.transpose(1, 2) @ before, flat.sum(dim=1)
