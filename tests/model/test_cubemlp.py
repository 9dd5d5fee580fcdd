"""CubeMLP: the published numbers, closed forms of its parts, and what each setting does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from mimrl.errors import ConfigError
from mimrl.model.cubemlp import ACTIVATIONS, AxisMlp, CubeMlp, area_pooling
from mimrl.model.masks import masked_mean, zero_padding
from mimrl.settings.model import CubeMlpSettings

pytestmark = pytest.mark.usefixtures("seeded")

AXES = {"l": "time", "k": "modality", "d": "feature"}


def cube_mlp(count: int = 3, width: int = 8, **changes: Any) -> CubeMlp:
    fields = {"time_len": 12, "sizes": ((6, 3, 8), (3, 3, 8)), **changes}
    return CubeMlp(CubeMlpSettings.model_validate(fields), count, width).double()


def random_batch(lengths: tuple[tuple[int, ...], ...], width: int = 8) -> tuple[list[Tensor], ...]:
    valid = [torch.tensor(n) for n in lengths]
    x = [torch.randn(len(n), int(n.max()), width, dtype=torch.float64) for n in valid]
    return [zero_padding(s, n) for s, n in zip(x, valid, strict=True)], valid


LENGTHS = ((12, 5), (7, 9), (1, 20))


# --- published numbers --------------------------------------------------------------------------


def our_name(name: str) -> str:
    _, block, part, *rest = name.split(".")
    kind, axis = part.rsplit("_", 1)
    inner = {"mlp": "", "ln": "norm.", "res_projection": "residual."}[kind]
    return f"{block}.{AXES[axis]}.{inner}{'.'.join(rest)}"


@pytest.mark.parametrize(
    ("case", "tolerance"),
    [
        # Ends in a LayerNorm over two values, which amplifies the reference's float32 rounding.
        (0, 1e-4),
        (1, 1e-5),
    ],
)
def test_the_published_stack(case: int, tolerance: float, reference_root: Path) -> None:
    """Ours in float64: then the rounding is the reference's alone."""
    with np.load(reference_root / "cubemlp.npz") as file:
        config = json.loads(str(file[f"case{case}/config"]))
        start = f"case{case}/weights/"
        weights = {
            our_name(key.removeprefix(start)): torch.from_numpy(file[key])
            for key in file.files
            if key.startswith(start)
        }
        given_cube, expected = (
            torch.from_numpy(file[f"case{case}/{name}"]) for name in ("input", "output")
        )
    time_len, count, width = config["d_in"]
    settings = CubeMlpSettings(
        time_len=time_len,
        sizes=config["d_outs"],
        hidden=config["d_hiddens"],
        activation=config["activate"],
        bias=config["bias"],
        ln_first=config["ln_first"],
    )
    fusion = CubeMlp(settings, count, width, project=config["res_project"])
    fusion.blocks.load_state_dict(weights)
    output = fusion.double().blocks(given_cube.double())
    torch.testing.assert_close(output, expected.double(), rtol=0, atol=tolerance)


# --- parts --------------------------------------------------------------------------------------


def test_area_pooling_by_hand() -> None:
    assert area_pooling(2, 4).tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
    assert area_pooling(3, 2).tolist() == [[1, 0], [0.5, 0.5], [0, 1]]


@given(st.integers(1, 60), st.integers(1, 60))
def test_area_pooling_keeps_constants_and_means(outputs: int, inputs: int) -> None:
    weights = area_pooling(outputs, inputs)
    assert float(weights.min()) >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(outputs))
    torch.testing.assert_close(weights.sum(0), torch.full((inputs,), outputs / inputs))


@given(st.integers(1, 60))
def test_area_pooling_between_equal_sizes_is_the_identity(size: int) -> None:
    # Exact: all numbers are whole, so no rounding.
    assert torch.equal(area_pooling(size, size), torch.eye(size))


@pytest.mark.parametrize("axis", [1, 2, 3])
@pytest.mark.parametrize("ln_first", [False, True])
def test_one_axis_against_its_formula(axis: int, ln_first: bool) -> None:
    settings = CubeMlpSettings(ln_first=ln_first)
    mlp = AxisMlp(axis, 4, 5, 3, settings, project=True).double()
    shape = [2, 6, 7, 9]
    shape[axis] = 4
    x = torch.randn(shape, dtype=torch.float64)

    def norm(v: Tensor) -> Tensor:
        centred = v - v.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return centred / scale * mlp.norm.weight + mlp.norm.bias

    last = x.movedim(axis, -1)
    hidden = torch.nn.functional.gelu(
        (norm(last) if ln_first else last) @ mlp.fc1.weight.T + mlp.fc1.bias
    )
    y = hidden @ mlp.fc2.weight.T + mlp.fc2.bias + last @ mlp.residual.weight.T
    expected = (y if ln_first else norm(y)).movedim(-1, axis)
    torch.testing.assert_close(mlp(x), expected, rtol=0, atol=1e-12)


def test_a_norm_over_two_modalities_leaves_a_sign() -> None:
    fusion = cube_mlp(sizes=((6, 3, 8), (3, 2, 8)))
    last = fusion.blocks[-1]
    sequences, lengths = random_batch(LENGTHS)
    signs = last.modality(last.time(fusion.blocks[0](fusion.cube(sequences, lengths))))
    # Off by eps / variance, so only where the two values nearly agree.
    assert float((signs.detach().abs() - 1).abs().median()) < 1e-3


def test_a_norm_over_one_value_is_refused() -> None:
    with pytest.raises(ValidationError, match="LayerNorm over one value"):
        CubeMlpSettings(sizes=((6, 1, 8),))
    assert cube_mlp(sizes=((6, 1, 8),), ln_first=True).width == 8


def test_identity_residuals_need_equal_sizes() -> None:
    with pytest.raises(ConfigError, match="12 -> 6"):
        cube_mlp(project_residual=False)
    fusion = cube_mlp(project_residual=False, sizes=((12, 3, 8),))
    assert not any("residual" in name for name in fusion.state_dict())


# --- settings -----------------------------------------------------------------------------------


def test_sequences_are_cut_or_padded_at_the_end() -> None:
    fusion = cube_mlp()
    sequences, lengths = random_batch(LENGTHS)
    cube = fusion.cube(sequences, lengths)
    assert cube.shape == (2, 12, 3, 8)
    assert torch.equal(cube[1, :, 2], sequences[2][1, :12])
    assert torch.equal(cube[1, :9, 1], sequences[1][1])
    assert torch.count_nonzero(cube[1, 9:, 1]) == 0


def test_length_scaling_makes_means_over_the_cube_means_over_valid_steps() -> None:
    fusion = cube_mlp(length_scaling=True)
    sequences, lengths = random_batch(LENGTHS)
    means = fusion.cube(sequences, lengths).mean(1)
    for k, (sequence, valid) in enumerate(zip(sequences, lengths, strict=True)):
        kept = sequence[:, :12]
        expected = masked_mean(kept, valid.clamp(max=12))
        torch.testing.assert_close(means[:, k], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [((6, 3, 8), (3, 3, 8)), ((5, 3, 8),), ((12, 2, 8), (7, 1, 8))])
def test_a_pooling_start_gives_the_mean_of_all_valid_steps(sizes: Any) -> None:
    fusion = cube_mlp(sizes=sizes, residual_start="pooling", ln_first=True, length_scaling=True)
    sequences, lengths = random_batch(LENGTHS)
    means = [
        masked_mean(s[:, :12], n.clamp(max=12)) for s, n in zip(sequences, lengths, strict=True)
    ]
    # The pooling weights are float32: thirds and sevenths are off by 1e-8.
    torch.testing.assert_close(
        fusion(sequences, lengths), torch.stack(means).mean(0), rtol=0, atol=1e-6
    )


def test_a_pooling_start_learns_everything_after_one_step() -> None:
    fusion = cube_mlp(residual_start="pooling", ln_first=True)
    sequences, lengths = random_batch(LENGTHS)
    optimizer = torch.optim.SGD(fusion.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        fusion(sequences, lengths).square().sum().backward()
        optimizer.step()
    assert all(torch.count_nonzero(p.grad) > 0 for p in fusion.parameters())


@pytest.mark.parametrize("modalities", ["mean", "sum", "cat"])
@pytest.mark.parametrize("time", ["mean", "sum", "cat"])
def test_composes(modalities: str, time: str) -> None:
    fusion = cube_mlp(compose_modalities=modalities, compose_time=time)
    sequences, lengths = random_batch(LENGTHS)
    cube = fusion.blocks(fusion.cube(sequences, lengths))
    steps = []
    for t in range(3):
        parts = [cube[:, t, k] for k in range(3)]
        total = torch.stack(parts).sum(0)
        steps.append(
            torch.cat(parts, -1)
            if modalities == "cat"
            else total / (3 if modalities == "mean" else 1)
        )
    total = torch.stack(steps).sum(0)
    expected = torch.cat(steps, -1) if time == "cat" else total / (3 if time == "mean" else 1)
    fused = fusion(sequences, lengths)
    assert fused.shape[1] == fusion.width
    torch.testing.assert_close(fused, expected, rtol=0, atol=1e-12)


def test_activations_differ() -> None:
    sequences, lengths = random_batch(LENGTHS)
    outputs = []
    for name in ACTIVATIONS:
        torch.manual_seed(1)
        outputs.append(cube_mlp(activation=name).eval()(sequences, lengths).detach().flatten())
    pairs = torch.cdist(torch.stack(outputs), torch.stack(outputs))
    apart = pairs[~torch.eye(len(outputs), dtype=torch.bool)]
    assert float(apart.min()) > 1e-6


@pytest.mark.parametrize("axis", range(3))
def test_dropout_acts_on_its_own_axis(axis: int) -> None:
    rates = [0.0, 0.0, 0.0]
    rates[axis] = 0.5
    fusion = cube_mlp(dropout=rates)
    block = fusion.blocks[0]
    assert [m.dropout.p for m in (block.time, block.modality, block.feature)] == rates
    sequences, lengths = random_batch(LENGTHS)
    assert not torch.equal(fusion(sequences, lengths), fusion(sequences, lengths))


def test_hidden_sizes_and_biases() -> None:
    fusion = cube_mlp(hidden=((4, 5, 6), (7, 2, 3)), bias=False)
    shapes = {name: tuple(p.shape) for name, p in fusion.named_parameters()}
    assert shapes["blocks.0.time.fc1.weight"] == (4, 12)
    assert shapes["blocks.1.modality.fc2.weight"] == (3, 2)
    assert shapes["blocks.1.feature.fc1.weight"] == (3, 8)
    assert not any("fc" in name and name.endswith("bias") for name in shapes)
