"""The classifier's read-outs, and estimates of Gaussian conditional information from samples."""

import math

import numpy as np
import pytest
import torch

from mimrl import mi
from mimrl.errors import EstimationError, NonFiniteError, ShapeError

# Columns: text 0-1, audio 2-3, video 4-5, label 6; factors behind them, and independent noise.
LOADINGS = np.array(
    [
        [1.0, 0.6, 0.0, 0.0, 0.0],
        [0.3, 0.0, 0.8, 0.7, 0.0],
        [0.8, 0.7, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.9],
        [0.5, 0.0, 0.6, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, -0.5],
        [0.9, 0.0, 0.0, 0.6, 0.8],
    ]
)
MIXED = LOADINGS @ LOADINGS.T + np.diag([0.5] * 6 + [0.4])
COMMON_CAUSE = np.outer(*[[1.0, 0.5, 0.8, -0.6, 0.4, 0.4, 1.0]] * 2) + np.diag([0.6] * 6 + [1e-9])
COLUMNS = {"text": [0, 1], "audio": [2, 3], "video": [4, 5], "label": [6]}
CONDITIONAL = [
    ("audio", "label", "text"),
    ("text", "audio", "label"),
    ("video", "label", "text"),
    ("text", "video", "label"),
    ("text", "label", "audio"),
    ("text", "label", "video"),
]


def samples(covariance: np.ndarray, seed: int, train: int, held_out: int):
    factor = np.linalg.cholesky(covariance)
    noise = np.random.default_rng(seed).normal(size=(train + held_out, len(covariance)))
    rows = torch.from_numpy(noise @ factor.T).float()
    return rows[:train], rows[train:]


def triples(rows: torch.Tensor, names: tuple[str, str, str]) -> mi.Triples:
    return mi.Triples(*(rows[:, COLUMNS[name]] for name in names))


def test_read_outs_of_equal_ratios():
    """A classifier that sees ratio r on joint rows, and mean ratio 1 on product rows."""
    joint = torch.full((5,), math.log(3.0))
    product = torch.tensor([0.5, 1.5]).log()
    for estimator in ("ldr", "dv", "nwj"):
        assert mi.read_out(joint, product, estimator).item() == pytest.approx(math.log(3))
    shifted = product + math.log(2.0)
    assert mi.read_out(joint, shifted, "dv").item() == pytest.approx(math.log(1.5))
    assert mi.read_out(joint, shifted, "nwj").item() == pytest.approx(math.log(3) - 1)


def test_read_outs_agree_at_the_exact_ratio_and_nwj_is_below_dv():
    rng = np.random.default_rng(0)
    joint, product = torch.from_numpy(rng.normal(0.3, 1, 50)), torch.from_numpy(rng.normal(size=40))
    assert mi.read_out(joint, product, "nwj") <= mi.read_out(joint, product, "dv")
    with pytest.raises(EstimationError, match="none"):
        mi.read_out(joint, product[:0], "dv")
    with pytest.raises(EstimationError, match="estimator"):
        mi.read_out(joint, product, "mine")


@pytest.fixture
def rows():
    values, _ = samples(MIXED, 0, 64, 0)
    return triples(values, CONDITIONAL[0])


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("estimator", ["ldr", "dv", "nwj"])
def test_value_is_differentiable_in_the_rows(rows, estimator):
    model = mi.ConditionalMI(2, 1, 2, estimator=estimator, hidden=8).eval().requires_grad_(False)
    product = mi.product_samples(rows.x, rows.y, rows.z, 64, 3, torch.Generator().manual_seed(0))
    live = mi.Triples(*(v.clone().requires_grad_() for v in (rows.x, rows.y, rows.z)))
    value = model(live, product)
    value.backward()
    assert value.shape == ()
    assert all(v.grad.abs().sum() > 0 for v in (live.x, live.y, live.z))
    logits = [model.logits(part) for part in (rows, product)]
    torch.testing.assert_close(value, mi.read_out(*logits, estimator))


@pytest.mark.usefixtures("seeded")
def test_the_stage_two_gradient_is_the_same_for_every_read_out(rows):
    """Product rows from a detached bank: only the joint rows carry gradient."""
    product = mi.product_samples(rows.x, rows.y, rows.z, 64, 3, torch.Generator().manual_seed(0))
    gradients = []
    for estimator in ("ldr", "dv", "nwj"):
        torch.manual_seed(0)
        model = mi.ConditionalMI(2, 1, 2, estimator=estimator, hidden=8)
        x = rows.x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(model(mi.Triples(x, rows.y, rows.z), product), x)[0])
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[0], gradients[2])


@pytest.mark.usefixtures("seeded")
def test_the_loss_is_a_balanced_cross_entropy_and_the_value_is_clipped(rows):
    model = mi.ConditionalMI(2, 1, 2, hidden=8, logit_clip=0.01)
    half = rows.select(torch.arange(16))
    joint, product = model.logits(rows).sigmoid(), model.logits(half).sigmoid()
    wanted = -0.5 * (joint.log().mean() + (1 - product).log().mean())
    torch.testing.assert_close(model.loss(rows, half), wanted)
    assert model(rows, half).abs() <= 0.01


@pytest.mark.usefixtures("seeded")
def test_widths_and_clips_that_do_not_fit(rows):
    with pytest.raises(ShapeError, match="widths"):
        mi.ConditionalMI(2, 2, 2, hidden=8).logits(rows)
    with pytest.raises(EstimationError, match="logit_clip"):
        mi.ConditionalMI(2, 1, 2, logit_clip=0.0)


# Estimates. On 1,000 training rows the bias is below 0.03 and one seed's error below 0.04.
SMALL = mi.FitSettings(hidden=32, steps=400)


@pytest.mark.parametrize("names", [CONDITIONAL[1], CONDITIONAL[4]], ids="_".join)
def test_conditional_information_of_gaussian_features(names):
    truth = mi.gaussian_information(MIXED, *(COLUMNS[name] for name in names))
    train, held_out = samples(MIXED, 0, 1000, 2000)
    found = mi.fit_conditional(triples(train, names), 0, SMALL).estimate(
        triples(held_out, names), 0
    )
    for value in (found.ldr, found.dv, found.nwj):
        assert value == pytest.approx(truth, abs=0.07)
    assert found.ldr > 3 * found.standard_error  # and it is seen to be there


def test_independence_given_the_label_is_found():
    """Text and audio share 0.27 nats, all of them through the label."""
    names = CONDITIONAL[1]
    train, held_out = samples(COMMON_CAUSE, 0, 1000, 2000)
    found = mi.fit_conditional(triples(train, names), 0, SMALL).estimate(
        triples(held_out, names), 0
    )
    assert found.ldr == pytest.approx(0, abs=0.03)
    fitted = mi.fit_mutual(train[:, :2], train[:, 2:4], 0, SMALL)
    assert fitted.estimate(held_out[:, :2], held_out[:, 2:4], 0).value > 0.15


def test_a_class_as_condition():
    """x and y share a bit given one class and nothing given the other: half of log 2."""
    generator = torch.Generator().manual_seed(0)
    bits = torch.randint(0, 2, (3000, 3), generator=generator).float()
    x, z = bits[:, :1], bits[:, 2:]
    y = torch.where(z == 1, x, bits[:, 1:2])
    rows = mi.Triples(x, y, z)
    split = torch.arange(3000) < 1000
    fitted = mi.fit_conditional(rows.select(split), 0, SMALL, discrete=True)
    found = fitted.estimate(rows.select(~split), 0)
    assert found.nwj == pytest.approx(0.5 * math.log(2), abs=0.04)


@pytest.mark.parametrize("rectified", [False, True])
def test_neighbours_by_regression_take_away_the_bias_of_a_wide_z(rectified):
    """x and y follow one of 32 directions of z and are independent given it."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2500, 32, generator=generator)
    noise = torch.randn(2500, 2, generator=generator)
    common = z.mean(dim=1, keepdim=True) * math.sqrt(32)
    x = common + 0.4 * noise[:, :1]
    rows = mi.Triples(x.clamp(min=0) if rectified else x, common + 0.4 * noise[:, 1:], z)
    train, held_out = rows.select(torch.arange(1000)), rows.select(torch.arange(1000, 2500))
    found = {}
    for regression in (False, True):
        settings = mi.FitSettings(hidden=32, steps=200, regression=regression)
        found[regression] = mi.fit_conditional(train, 0, settings).estimate(held_out, 0).ldr
    assert found[False] > 0.2
    assert found[True] == pytest.approx(0, abs=0.05)


def test_a_fit_is_reproducible_and_leaves_its_input_alone():
    train, held_out = samples(MIXED, 0, 100, 100)
    names, settings = CONDITIONAL[0], mi.FitSettings(hidden=8, steps=30, dropout=0.1)
    kept = train.clone()
    values = [
        mi.fit_conditional(triples(train, names), 3, settings).estimate(triples(held_out, names), 1)
        for _ in range(2)
    ]
    assert values[0] == values[1]
    assert torch.equal(train, kept)


def test_fits_that_cannot_be_made():
    few = mi.Triples(*(torch.zeros(10, 1),) * 3)
    with pytest.raises(EstimationError, match="20 or more rows"):
        mi.fit_conditional(few, 0)
    with pytest.raises(ShapeError, match="paired"):
        mi.fit_mutual(torch.zeros(30, 1), torch.zeros(29, 1), 0)
    infinite = torch.full((40, 1), math.nan)
    with pytest.raises(NonFiniteError, match="loss"):
        mi.fit_mutual(infinite, infinite, 0)


@pytest.mark.slow
def test_the_conditional_terms_and_identities_on_gaussian_features():
    """Two dimensions a modality, scalar label, 2,000 and 5,000 rows, mean over 5 seeds."""
    estimates = {names: [] for names in CONDITIONAL}
    pairs = [("text", "audio"), ("text", "video"), *((m, "label") for m in COLUMNS if m != "label")]
    shared = {names: [] for names in pairs}
    for seed in range(5):
        train, held_out = samples(MIXED, seed, 2000, 5000)
        for names, found in estimates.items():
            fitted = mi.fit_conditional(triples(train, names), seed)
            found.append(fitted.estimate(triples(held_out, names), seed))
        for (a, b), values in shared.items():
            fitted = mi.fit_mutual(train[:, COLUMNS[a]], train[:, COLUMNS[b]], seed)
            held = (held_out[:, COLUMNS[a]], held_out[:, COLUMNS[b]])
            values.append(fitted.estimate(*held, seed).value)
    info = {k: np.mean(v) for k, v in shared.items()}
    for read_out in ("ldr", "dv", "nwj"):
        cmi = {k: np.mean([getattr(e, read_out) for e in v]) for k, v in estimates.items()}
        for names, mean in cmi.items():
            truth = mi.gaussian_information(MIXED, *(COLUMNS[name] for name in names))
            assert mean == pytest.approx(truth, abs=0.05), (names, estimates[names])
        check_identities(cmi, info)


def check_identities(cmi, info):
    """Each specific quantity by the chain rule, and invariant + specific_text = 2 I(T;C)."""
    for other in ("audio", "video"):
        specific = cmi[other, "label", "text"] - cmi["text", other, "label"]
        by_chain_rule = info[other, "label"] - info["text", other]
        assert specific == pytest.approx(by_chain_rule, abs=0.1)
    specific_text = sum(
        cmi["text", "label", o] - cmi["text", o, "label"] for o in ("audio", "video")
    )
    invariant = info["text", "audio"] + info["text", "video"]
    assert invariant + specific_text == pytest.approx(2 * info["text", "label"], abs=0.1)


@pytest.mark.slow
def test_independent_conditional_terms_read_nothing():
    for covariance, names in ((COMMON_CAUSE, CONDITIONAL[1]), (np.eye(7), CONDITIONAL[0])):
        values = []
        for seed in range(5):
            train, held_out = samples(covariance, seed, 2000, 5000)
            fitted = mi.fit_conditional(triples(train, names), seed)
            values.append(fitted.estimate(triples(held_out, names), seed))
        for read_out in ("ldr", "dv", "nwj"):
            assert abs(np.mean([getattr(v, read_out) for v in values])) < 0.03, values
