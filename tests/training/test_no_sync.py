"""Steps of both stages read no value back from the device."""

from __future__ import annotations

import pytest
import torch
from training.no_sync import NoSync, WaitingError

from mimrl.settings.information import CriticSettings
from mimrl.training.critics import Critics, label_variable

pytestmark = pytest.mark.usefixtures("seeded")

MODALITIES = ("text", "audio", "video")
BOUNDS = ("dv", "nwj", "tuba", "infonce", "js", "smile", "interpolated", "mine")


def critics_of(classes: int, **settings: object) -> Critics:
    widths = dict.fromkeys((*MODALITIES, "fused"), 8) | {"label": classes}
    form = CriticSettings.model_validate({"hidden": 8, "layers": 1, "embedding": 4} | settings)
    return Critics(form, MODALITIES, widths, discrete_label=classes > 1)


def variables_of(classes: int, rows: int = 60) -> dict[str, torch.Tensor]:
    found = {name: torch.randn(rows, 8) for name in (*MODALITIES, "fused")}
    labels = torch.arange(rows) % classes if classes > 1 else torch.randn(rows).round()
    return found | {"label": label_variable(labels, classes)}


CASES = [
    *({"bound": {"kind": bound}} for bound in BOUNDS),
    {"kind": "concatenated"},
    {"kind": "bilinear"},
    *({"conditional": {"estimator": e, "search": "regression"}} for e in ("ldr", "nwj")),
]


@pytest.mark.parametrize("classes", [1, 3], ids=["rating", "classes"])
@pytest.mark.parametrize("settings", CASES, ids=str)
@pytest.mark.parametrize("options", [{}, {"size": 40, "dtype": torch.float16}], ids=["", "capped"])
def test_a_step_of_either_stage_does_not_wait(classes, settings, options):
    generator = torch.Generator().manual_seed(0)
    critics, variables = critics_of(classes, **settings), variables_of(classes)
    critics.set_scale(variables)
    bank = critics.bank(critics.standardise(variables), generator=generator, **options)
    chosen = torch.arange(16)
    with NoSync():
        losses = critics.train().losses(bank.rows(chosen), bank, generator)
        torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in critics.mutual.parameters())
    critics.eval().requires_grad_(False)
    for rows in (None, chosen):
        features = {name: value[:16].requires_grad_() for name, value in variables.items()}
        with NoSync():
            scaled = critics.standardise(features)
            values = critics.values(scaled, bank, generator, bank_rows=rows)
            torch.stack(list(values.values())).sum().backward()
        assert len(values) == 11
        assert float(features["text"].grad.abs().sum()) > 0


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: float(x[0]),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.unique(),
        lambda x: x.masked_select(x > 0),
        lambda x: x.clone().index_put_((x > 0,), torch.zeros(())),
        lambda x: torch.bincount(x.abs().long()),
        lambda x: x.repeat_interleave(torch.ones(5, dtype=torch.long)),
        lambda x: x.tolist() if x.sum().item() else None,
    ],
)
def test_the_guard_sees_what_waits(waits):
    x = torch.randn(5)
    waits(x)
    with pytest.raises(WaitingError), NoSync():
        waits(x)


def test_the_guard_lets_pass_what_does_not():
    x = torch.randn(5, requires_grad=True)
    with NoSync():
        torch.where(x > 0, x, 0).gather(0, x.detach().argsort()).sum().backward()
        x.detach()[torch.tensor([1, 2])]
