"""One contract for every fusion, and closed forms of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mimrl.errors import ConfigError
from mimrl.model import fusion as table
from mimrl.model.base import Fusion
from mimrl.model.crossmodal import CrossModalTransformer, sinusoids
from mimrl.model.cubemlp import CubeMlp
from mimrl.model.fusion import FUSIONS, build_fusion
from mimrl.model.masks import masked_mean, zero_padding
from mimrl.model.model import MIMRL
from mimrl.model.pooled import ConcatFusion, LowRankFusion, TensorFusion
from mimrl.settings.model import (
    ConcatFusionSettings,
    CrossModalSettings,
    CubeMlpSettings,
    LowRankFusionSettings,
    ModelSettings,
    TensorFusionSettings,
)

pytestmark = pytest.mark.usefixtures("seeded")

D = 8
GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-fusion.md"
SETTINGS: dict[str, Any] = {
    "cubemlp": CubeMlpSettings(time_len=9, sizes=((5, 3, 6),), ln_first=True),
    "tfn": TensorFusionSettings(factor_width=3, width=10, dropout=0.2),
    "lmf": LowRankFusionSettings(rank=2, width=10, dropout=0.2),
    "concat": ConcatFusionSettings(width=10, dropout=0.2),
    "crossmodal": CrossModalSettings(heads=2, layers=1, width=10, dropout=0.2),
}


def guide_blocks() -> dict[str, Any]:
    """The names that the guide's Python blocks define."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL))
    # dont_inherit: this file's "annotations" import would hide the guide's types from pydantic.
    names: dict[str, Any] = {"__name__": "guide"}
    exec(compile(code, str(GUIDE), "exec", dont_inherit=True), names)
    return names


def build(kind: str, count: int) -> Fusion:
    if kind == "guide":
        names = guide_blocks()
        return names["GatedFusion"](names["GatedFusionSettings"](), count, D).double()
    return build_fusion(SETTINGS[kind], count, D).double()


def batch(count: int, size: int = 4) -> tuple[list[Tensor], list[Tensor]]:
    """Sequences of unlike lengths; one modality has single steps, one is beyond ``time_len``."""
    longest = [7, 1, 13, 5][:count]
    sequences, lengths = [], []
    for most in longest:
        n = torch.randint(1, most + 1, (size,))
        n[0] = most
        x = torch.randn(size, most, D, dtype=torch.float64)
        sequences.append(zero_padding(x, n))
        lengths.append(n)
    return sequences, lengths


def test_every_row_of_the_table_is_tested() -> None:
    assert set(SETTINGS) == set(FUSIONS)
    assert all(settings.kind == kind for kind, settings in SETTINGS.items())


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("kind", [*FUSIONS, "guide"])
class TestContract:
    def test_shape(self, kind: str, count: int) -> None:
        fusion = build(kind, count)
        fused = fusion(*batch(count))
        assert fused.shape == (4, fusion.width)
        assert bool(fused.isfinite().all())

    def test_padding_changes_nothing(self, kind: str, count: int) -> None:
        fusion = build(kind, count).eval()
        sequences, lengths = batch(count)
        longer = [torch.cat([s, s.new_zeros(4, 6, D)], dim=1) for s in sequences]
        expected = fusion(sequences, lengths)
        torch.testing.assert_close(fusion(longer, lengths), expected, rtol=0, atol=1e-12)

    def test_a_sample_does_not_see_its_batch(self, kind: str, count: int) -> None:
        fusion = build(kind, count).eval()
        sequences, lengths = batch(count)
        order = torch.tensor([2, 0, 3])
        chosen = fusion([s[order] for s in sequences], [n[order] for n in lengths])
        expected = fusion(sequences, lengths)[order]
        torch.testing.assert_close(chosen, expected, rtol=0, atol=1e-12)

    def test_every_parameter_learns(self, kind: str, count: int) -> None:
        fusion = build(kind, count).eval()
        fusion(*batch(count, size=64)).square().sum().backward()
        still = [n for n, p in fusion.named_parameters() if p.grad is None or not p.grad.any()]
        assert still == []

    def test_every_modality_matters(self, kind: str, count: int) -> None:
        fusion = build(kind, count).eval()
        sequences, lengths = batch(count, size=16)
        inputs = [s.requires_grad_() for s in sequences]
        fusion(inputs, lengths).square().sum().backward()
        assert all(bool(s.grad.any()) for s in inputs)

    def test_evaluation_is_deterministic(self, kind: str, count: int) -> None:
        fusion = build(kind, count).eval()
        sequences, lengths = batch(count)
        assert torch.equal(fusion(sequences, lengths), fusion(sequences, lengths))


@pytest.mark.parametrize("kind", ["tfn", "lmf", "concat", "crossmodal", "guide"])
def test_dropout_acts_in_training(kind: str) -> None:
    fusion = build(kind, 2).train()
    sequences, lengths = batch(2)
    assert not torch.equal(fusion(sequences, lengths), fusion(sequences, lengths))


def test_one_modality_is_a_baseline_except_where_modalities_attend_to_each_other() -> None:
    for kind in ("concat", "tfn", "lmf"):
        assert build(kind, 1)(*batch(1)).shape == (len(batch(1)[1][0]), build(kind, 1).width)
    with pytest.raises(ConfigError, match="two or more"):
        build_fusion(CrossModalSettings(), 1, D)
    with pytest.raises(ConfigError, match="at least one"):
        build_fusion(ConcatFusionSettings(), 0, D)


def means(sequences: Sequence[Tensor], lengths: Sequence[Tensor]) -> list[Tensor]:
    return [masked_mean(s, n) for s, n in zip(sequences, lengths, strict=True)]


def test_concat_by_hand() -> None:
    fusion = ConcatFusion(ConcatFusionSettings(width=10), 3, D).double().eval()
    sequences, lengths = batch(3)
    joined = torch.cat(means(sequences, lengths), dim=1)
    expected = (joined @ fusion.hidden.weight.T + fusion.hidden.bias).relu()
    torch.testing.assert_close(fusion(sequences, lengths), expected)


def test_tensor_fusion_is_an_outer_product() -> None:
    fusion = TensorFusion(SETTINGS["tfn"], 3, D).double().eval()
    sequences, lengths = batch(3)
    rows = []
    for row in range(4):
        factors = [
            np.append(1.0, f(m[row]).relu().detach().numpy())
            for f, m in zip(fusion.factors, means(sequences, lengths), strict=True)
        ]
        rows.append(reduce(np.kron, factors))
    product = torch.from_numpy(np.stack(rows))
    expected = (product @ fusion.hidden.weight.T + fusion.hidden.bias).relu()
    torch.testing.assert_close(fusion(sequences, lengths), expected)


def test_tensor_fusion_refuses_an_explosion() -> None:
    with pytest.raises(ConfigError, match="factor_width 64 with 4 modalities"):
        TensorFusion(TensorFusionSettings(factor_width=64), 4, D)
    with pytest.raises(ConfigError, match="more than"):
        TensorFusion(TensorFusionSettings(factor_width=256, width=128), 3, D)


def test_low_rank_fusion_is_a_tensor_fusion_of_low_rank() -> None:
    fusion = LowRankFusion(SETTINGS["lmf"], 3, D).double().eval()
    torch.nn.init.normal_(fusion.rank_weights)
    torch.nn.init.normal_(fusion.bias)
    weight = torch.einsum("r,rio,rjo,rko->ijko", fusion.rank_weights, *fusion.factors)
    sequences, lengths = batch(3)
    extended = [torch.cat([m.new_ones(4, 1), m], 1) for m in means(sequences, lengths)]
    expected = torch.einsum("bi,bj,bk,ijko->bo", *extended, weight) + fusion.bias
    torch.testing.assert_close(fusion(sequences, lengths), expected)


def test_sinusoids_are_sines_and_cosines() -> None:
    codes = sinusoids(4, 6, torch.zeros((), dtype=torch.float64))
    for t in range(4):
        for pair in range(3):
            angle = t / 10000 ** (2 * pair / 6)
            assert float(codes[t, 2 * pair]) == pytest.approx(np.sin(angle), abs=1e-12)
            assert float(codes[t, 2 * pair + 1]) == pytest.approx(np.cos(angle), abs=1e-12)


def test_crossmodal_knows_the_order_of_steps() -> None:
    fusion = CrossModalTransformer(SETTINGS["crossmodal"], 2, D).double().eval()
    sequences, _ = batch(2)
    backwards = [sequences[0].flip(1), sequences[1]]
    full = [torch.full((4,), s.shape[1]) for s in sequences]
    assert not torch.allclose(fusion(backwards, full), fusion(sequences, full))


def test_crossmodal_layers_and_heads() -> None:
    fusion = CrossModalTransformer(CrossModalSettings(heads=4, layers=3), 3, D)
    assert fusion.pairs == ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
    assert [len(layers) for layers in fusion.cross] == [3] * 6
    assert fusion.cross[0][0].attention.num_heads == 4
    with pytest.raises(ConfigError, match="heads 3 does not divide"):
        CrossModalTransformer(CrossModalSettings(heads=3), 3, D)


def test_the_guide_trains_inside_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    names = guide_blocks()
    assert names["fused"].shape == (4, 32)
    monkeypatch.setattr(table, "FUSIONS", {**FUSIONS, "gated": names["GatedFusion"]})
    settings = ModelSettings(width=D).model_copy(
        update={"fusion": names["GatedFusionSettings"](width=12)}
    )
    network = MIMRL(settings, ("audio", "video"), {"audio": D, "video": D}, 1)
    assert network.fused_width == 12
    assert isinstance(network.fusion, names["GatedFusion"])


def test_the_guide_counts_parameters_right() -> None:
    text = GUIDE.read_text()
    for settings in (
        CubeMlpSettings(),
        ConcatFusionSettings(),
        TensorFusionSettings(),
        LowRankFusionSettings(),
        CrossModalSettings(),
    ):
        fusion = build_fusion(settings, 3, 128)
        size = sum(p.numel() for p in fusion.parameters())
        row = next(line for line in text.splitlines() if line.startswith(f"| `{settings.kind}`"))
        assert f"| {size:,} |" in row


def test_cubemlp_is_the_default() -> None:
    assert isinstance(build_fusion(ModelSettings().fusion, 3, 128), CubeMlp)
