"""The scale that critics put their variables on; all terms together against each by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch

from mimrl import mi
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


MODALITIES = ("text", "audio", "video")
FULL = {"text": 6, "audio": 6, "video": 6, "fused": 8, "label": 1}


def three_modalities(**settings: object) -> Critics:
    form = CriticSettings.model_validate({"hidden": 16, "embedding": 4, **settings})
    return Critics(form, MODALITIES, FULL, discrete_label=False)


def full_bank(critics: Critics, rows: int = 64, **options: object) -> mi.Bank:
    variables = {name: torch.randn(rows, width) for name, width in FULL.items()}
    critics.set_scale(variables)
    return critics.bank(critics.standardise(variables), **options)


def one_by_one(critics: Critics) -> Sequence[torch.nn.Module]:
    """Estimators as they were built before they were stacked, in the order of the table."""
    settings, inner = critics.settings, critics.settings.conditional
    found: list[torch.nn.Module] = []
    for term in critics.table:
        x, y = FULL[term.x], FULL[term.y]
        if term.given is None:
            critic = mi.SeparableCritic(x, y, embedding=settings.embedding, hidden=settings.hidden)
            found.append(mi.VariationalMI(critic, mi.InfoNce()))
        else:
            found.append(
                mi.ConditionalMI(x, y, FULL[term.given], estimator="dv", hidden=inner.hidden)
            )
    return found


def test_a_seed_gives_the_weights_that_terms_one_by_one_have():
    state = torch.get_rng_state()
    critics = three_modalities()
    torch.set_rng_state(state)
    for term, plain in zip(critics.table, one_by_one(critics), strict=True):
        mine = critics.estimator(term)
        assert [*mine.state_dict()] == [*plain.state_dict()]
        for name, value in plain.state_dict().items():
            assert torch.equal(mine.state_dict()[name], value), (term.name, name)


def test_losses_and_values_are_those_of_each_term_by_itself():
    """To 1e-5: rounding of float32."""
    critics = three_modalities()
    bank = full_bank(critics)
    rows = bank.rows(torch.arange(20))
    samples = critics.samples(rows, bank, torch.Generator().manual_seed(0))
    losses, values = critics.losses_of(samples), critics.values_of(samples)
    assert [*losses] == [*values] == [term.name for term in critics.table]
    again = critics.losses(rows, bank, torch.Generator().manual_seed(0))
    assert all(torch.equal(again[name], loss) for name, loss in losses.items())
    for term in critics.table:
        plain = critics.estimator(term)
        if isinstance(plain, mi.VariationalMI):
            inputs = samples.pairs[term.name].x, samples.pairs[term.name].y
        else:
            contrast = samples.contrasts[term.name]
            inputs = contrast.joint, contrast.product
        torch.testing.assert_close(losses[term.name], plain.loss(*inputs), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(values[term.name], plain(*inputs), rtol=1e-5, atol=1e-6)


def test_only_wanted_terms_are_computed():
    critics = three_modalities()
    bank = full_bank(critics)
    rows = {n: v.requires_grad_() for n, v in bank.rows(torch.arange(20)).items()}
    wanted = {"fused_video", "text_video_given_label"}
    values = critics.values(rows, bank, torch.Generator().manual_seed(0), wanted)
    assert set(values) == wanted
    torch.stack(list(values.values())).sum().backward()
    assert rows["audio"].grad is None
    assert rows["text"].grad is not None


def test_a_term_can_be_taken_out_and_put_back():
    critics, other = three_modalities(), three_modalities()
    bank = full_bank(critics)
    rows = bank.rows(torch.arange(20))
    term = critics.table[-1]
    before = critics.values(rows, bank, torch.Generator().manual_seed(0))
    critics.load(term, other.estimator(term))
    after = critics.values(rows, bank, torch.Generator().manual_seed(0))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {term.name}


def test_biases_do_not_decay_and_matrices_do():
    """Optimisers tell them by their axes."""
    for name, parameter in three_modalities().named_parameters():
        assert (parameter.ndim == 1) == ("bias" in name), name


def test_readings_of_independent_variables_are_those_of_silent_critics():
    """Critics whose last layers are zero score nothing: InfoNCE reads 0, the classifiers 0."""
    critics = three_modalities()
    for term in critics.table:
        estimator = critics.estimator(term)
        last = (
            estimator.critic.x_network[-1]
            if isinstance(estimator, mi.VariationalMI)
            else estimator.network[-1]
        )
        torch.nn.init.zeros_(last.weight)
        critics.load(term, estimator)
    variables = {name: torch.randn(50, width) for name, width in FULL.items()}
    critics.set_scale(variables)
    found = critics.readings(variables, 16, torch.Generator().manual_seed(0))
    assert [*found] == [term.name for term in critics.table]
    assert all(math.isclose(value, 0.0, abs_tol=1e-6) for value in found.values())


def test_narrow_precision_gives_losses_in_float32():
    """bfloat16 rounds by at most 2^-9; 4 layers round 8 times numbers of about 1."""
    critics = three_modalities()
    bank = full_bank(critics)
    samples = critics.samples(bank.rows(torch.arange(32)), bank, torch.Generator().manual_seed(0))
    exact = critics.losses_of(samples)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = critics.losses_of(samples)
        drawn = critics.samples(bank.rows(torch.arange(32)), bank, torch.Generator().manual_seed(0))
    for name, loss in narrow.items():
        assert loss.dtype == torch.float32
        assert abs(float((loss - exact[name]).detach())) < 8 * 2**-9
    for name, contrast in drawn.contrasts.items():  # searches are exact under autocast too
        assert torch.equal(contrast.product.x, samples.contrasts[name].product.x)
