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
    both = torch.stack([x, _Reversed.apply(x, order)])
    weight_ih, weight_hh, bias_ih, bias_hh = map(torch.stack, zip(forward, backward, strict=True))
    inputs = torch.baddbmm(bias_ih[:, None], both.flatten(1, 2), weight_ih.transpose(1, 2))
    states = _Gru.apply(inputs.view(2, *x.shape[:2], -1), weight_hh, bias_hh)
    return torch.cat([states[0], _Reversed.apply(states[1], order)], dim=-1)


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
    """States ``(G, T, B, D)`` of ``G`` GRUs side by side, starting from zeros.

    With ``a = inputs[:, t]`` and ``c = W h + b`` in thirds r, z, n (the order of ``nn.GRU``):
    ``r = sigmoid(a_r + c_r)``, ``z = sigmoid(a_z + c_z)``, ``n = tanh(a_n + r c_n)``,
    ``h' = n + z (h - n)``. In float32 under autocast: a rounding error made at one step is carried
    through all later ones.

    A step is so small that calling an operation costs as much as computing it: all that does not
    depend on the step before is done for all steps at once, and views are made beforehand.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        groups, count, rows, width = inputs.shape
        width //= 3
        states = inputs.new_zeros(groups, count + 1, rows, width)
        new = inputs.new_empty(groups, count, rows, width)
        hidden = inputs + bias[:, None, None]  # becomes r, z and c_n
        hidden[..., 2 * width :] = bias[:, None, None, 2 * width :]
        matrix = weight.transpose(1, 2).contiguous()
        gates = hidden[..., : 2 * width].unbind(1)
        reset, update, carried = (part.unbind(1) for part in hidden.chunk(3, dim=-1))
        of_input, steps = inputs[..., 2 * width :].unbind(1), hidden.unbind(1)
        before, candidates = states.unbind(1), new.unbind(1)
        for t in range(count):
            torch.baddbmm(steps[t], before[t], matrix, out=steps[t])
            gates[t].sigmoid_()
            torch.addcmul(of_input[t], reset[t], carried[t], out=candidates[t])
            candidates[t].mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh, whose own kernel is slower
            torch.lerp(candidates[t], before[t], update[t], out=before[t + 1])
        ctx.save_for_backward(weight, hidden, new, states)
        return states[:, 1:]

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(  # type: ignore[override]
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        weight, hidden, new, states = ctx.saved_tensors
        groups, count, rows, width = gradient.shape
        reset, update, carried = hidden.chunk(3, dim=-1)
        to_new = (1 - update) * (1 - new * new)
        slopes = hidden.new_empty(groups, count, rows, 3, width)  # of the state against W h + b
        torch.mul(to_new * carried, reset * (1 - reset), out=slopes[..., 0, :])
        torch.mul(states[:, :-1] - new, update * (1 - update), out=slopes[..., 1, :])
        torch.mul(to_new, reset, out=slopes[..., 2, :])
        state = gradient.clone(memory_format=torch.contiguous_format)  # complete from the last back
        wide, kept = state.unsqueeze(3).unbind(1), state.unbind(1)
        slope, passed = slopes.unbind(1), update.unbind(1)
        of_hidden = slopes.flatten(3)
        products = of_hidden.unbind(1)
        for t in range(count - 1, 0, -1):
            slope[t].mul_(wide[t])
            kept[t - 1].addcmul_(kept[t], passed[t])
            torch.baddbmm(kept[t - 1], products[t], weight, out=kept[t - 1])
        slope[0].mul_(wide[0])
        of_inputs = torch.cat([of_hidden[..., : 2 * width], state * to_new], dim=-1)
        flat = of_hidden.flatten(1, 2)
        before = states[:, :-1].flatten(1, 2)
        return of_inputs, flat.transpose(1, 2) @ before, flat.sum(dim=1)
