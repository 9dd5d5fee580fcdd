"""The scale that critics put their variables on."""

from __future__ import annotations

import pytest
import torch

from mimrl.settings.information import CriticSettings
from mimrl.training.critics import Critics

WIDTHS = {"text": 4, "audio": 3, "fused": 5, "label": 1}

pytestmark = pytest.mark.usefixtures("seeded")


def critics_and_bank(rows: int = 64) -> tuple[Critics, dict[str, torch.Tensor]]:
    critics = Critics(CriticSettings(), ("text", "audio"), WIDTHS, discrete_label=False)
    return critics, {name: 3 + 7 * torch.randn(rows, width) for name, width in WIDTHS.items()}


def test_variables_have_mean_0_and_deviation_1():
    critics, bank = critics_and_bank()
    critics.set_scale(bank)
    for values in critics.standardise(bank).values():
        torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1]), atol=1e-5, rtol=0)
        torch.testing.assert_close(values.std(0, correction=0), torch.ones(values.shape[1]))


def test_rounding_noise_of_a_dead_dimension_stays_small():
    critics, bank = critics_and_bank()
    bank["text"][:, 2] = 5 + 1e-6 * torch.randn(64)
    critics.set_scale(bank)
    scaled = critics.standardise(bank)["text"]
    assert float(scaled[:, 2].std()) < 1e-3
    torch.testing.assert_close(scaled[:, 0].std(correction=0), torch.tensor(1.0))


def test_a_variable_that_only_dropout_moves_is_not_blown_up():
    """Features of mean 0 over each clip, projected and averaged over time, are 0 up to rounding."""
    critics, bank = critics_and_bank()
    bank["audio"] = 1e-7 * torch.randn(64, 3)
    critics.set_scale(bank)
    in_training = {**bank, "audio": 0.05 * torch.randn(64, 3)}
    assert float(critics.standardise(in_training)["audio"].abs().max()) < 1
