"""Bounds: closed forms, then laws on Gaussian pairs whose log ratio is known, then references."""

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mimrl.errors import EstimationError, ShapeError
from mimrl.mi import bounds, gaussian_information, gaussian_pointwise

RHO = 0.8
COVARIANCE = np.array([[1.0, RHO], [RHO, 1.0]])
TRUTH = -0.5 * math.log(1 - RHO**2)
BATCH = 600

PLAIN = {
    "dv": bounds.dv,
    "nwj": bounds.nwj,
    "tuba": lambda s: bounds.tuba(s, torch.zeros(len(s), dtype=s.dtype)),
    "infonce": bounds.infonce,
    "js": bounds.js,
    "js_fgan": bounds.js_fgan,
    "smile": lambda s: bounds.smile(s, 5.0),
    "interpolated": lambda s: bounds.interpolated(s, torch.zeros(len(s), dtype=s.dtype), 0.3),
}


@functools.cache
def log_ratios(seed: int = 0) -> torch.Tensor:
    """``scores[i, j] = log p(x_i, y_j) / (p(x_i) p(y_j))`` of a Gaussian pair, float64."""
    pairs = np.random.default_rng(seed).multivariate_normal([0, 0], COVARIANCE, size=BATCH)
    x, y = torch.from_numpy(pairs[:, :1]), torch.from_numpy(pairs[:, 1])
    return TRUTH - (RHO**2 * (x**2 + y**2) - 2 * RHO * x * y) / (2 * (1 - RHO**2))


def random_scores(size: int = 7, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(size, size, generator=generator, dtype=torch.float64)


# closed forms


@pytest.mark.parametrize("size", [2, 3, 10])
@pytest.mark.parametrize("level", [-2.0, 0.0, 3.5])
def test_equal_scores_have_closed_forms(size, level):
    scores = torch.full((size, size), level, dtype=torch.float64)
    assert bounds.dv(scores).item() == pytest.approx(0, abs=1e-12)
    assert bounds.infonce(scores).item() == pytest.approx(0, abs=1e-12)
    assert bounds.nwj(scores).item() == pytest.approx(level - math.exp(level - 1))
    assert bounds.js(scores).item() == pytest.approx(1 + level - math.exp(level))
    baseline = torch.full((size,), level, dtype=torch.float64)
    assert bounds.tuba(scores, baseline).item() == pytest.approx(0, abs=1e-12)
    assert bounds.interpolated(scores, baseline, 0.2).item() == pytest.approx(0, abs=1e-12)


def test_every_bound_equals_its_sum_written_out():
    s, a, alpha, clip = random_scores(6), random_scores(6, 1)[0], 0.35, 0.7
    size = len(s)
    others = [(i, j) for i in range(size) for j in range(size) if i != j]
    pair = sum(s[i, i] for i in range(size)) / size

    def off(f):
        return sum(f(i, j) for i, j in others) / len(others)

    assert bounds.dv(s).item() == pytest.approx(
        (pair - torch.log(off(lambda i, j: s[i, j].exp()))).item()
    )
    assert bounds.nwj(s).item() == pytest.approx(
        (pair - off(lambda i, j: (s[i, j] - 1).exp())).item()
    )
    assert bounds.tuba(s, a).item() == pytest.approx(
        (1 + pair - a.mean() - off(lambda i, j: (s[i, j] - a[j]).exp())).item()
    )
    assert bounds.smile(s, clip).item() == pytest.approx(
        (pair - torch.log(off(lambda i, j: s[i, j].clamp(-clip, clip).exp()))).item()
    )

    def mixture(left_out, j):
        """Baseline of y_j: InfoNCE's over all rows but ``left_out``, and the learned one."""
        rows = [k for k in range(size) if k != left_out]
        nce = sum(s[k, j].exp() for k in rows) / len(rows)
        return alpha * nce + (1 - alpha) * a[j].exp()

    joint = off(lambda i, j: s[j, j] - torch.log(mixture(i, j)))
    product = off(lambda i, j: s[i, j].exp() / mixture(j, j))
    assert bounds.interpolated(s, a, alpha).item() == pytest.approx((1 + joint - product).item())


# laws


def test_at_the_exact_log_ratio_every_bound_is_the_information():
    scores = log_ratios()
    # The log ratio's standard deviation is RHO; the product term's error is smaller.
    tolerance = 4 * RHO / math.sqrt(BATCH)
    assert bounds.dv(scores).item() == pytest.approx(TRUTH, abs=tolerance)
    assert bounds.nwj(scores + 1).item() == pytest.approx(TRUTH, abs=tolerance)
    assert bounds.js(scores).item() == pytest.approx(TRUTH, abs=tolerance)
    assert bounds.tuba(scores, torch.zeros(BATCH)).item() == pytest.approx(TRUTH, abs=tolerance)
    assert bounds.infonce(scores).item() == pytest.approx(TRUTH, abs=tolerance)
    assert bounds.smile(scores, 20.0).item() == pytest.approx(TRUTH, abs=tolerance)
    for alpha in (0.01, 0.5, 0.99):
        value = bounds.interpolated(scores, torch.zeros(BATCH), alpha).item()
        assert value == pytest.approx(TRUTH, abs=tolerance)


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.4])
def test_a_wrong_critic_reads_less(scale):
    scores = log_ratios() * scale
    best = bounds.dv(log_ratios()).item()
    for value in (bounds.dv(scores), bounds.nwj(scores + 1), bounds.infonce(scores)):
        assert value.item() < best + 0.01


@settings(max_examples=50)
@given(st.integers(2, 20), st.integers(0, 1000), st.floats(0.1, 50))
def test_infonce_never_exceeds_log_b(size, seed, scale):
    assert bounds.infonce(random_scores(size, seed, scale)).item() <= math.log(size) + 1e-9


@settings(max_examples=30)
@given(st.integers(2, 12), st.integers(0, 1000))
def test_order_of_the_bounds(size, seed):
    scores = random_scores(size, seed, 2.0)
    assert bounds.nwj(scores) <= bounds.dv(scores) + 1e-9  # log t <= t / e
    assert bounds.js_fgan(scores) <= 0


@pytest.mark.parametrize("name", PLAIN)
def test_the_order_of_the_pairs_does_not_matter(name):
    scores = random_scores(8)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(3))
    changed = PLAIN[name](scores[order][:, order])
    torch.testing.assert_close(changed, PLAIN[name](scores))


def test_what_each_bound_is_blind_to():
    scores, shift = random_scores(8), random_scores(8, 5)[0]
    torch.testing.assert_close(bounds.dv(scores + 4), bounds.dv(scores))
    torch.testing.assert_close(bounds.infonce(scores + shift[:, None]), bounds.infonce(scores))
    torch.testing.assert_close(bounds.tuba(scores + shift, shift), bounds.tuba(scores, 0 * shift))
    torch.testing.assert_close(
        bounds.interpolated(scores + shift, shift, 0.4),
        bounds.interpolated(scores, 0 * shift, 0.4),
    )


def test_swapped_axes_are_noticed():
    """Rows belong to x, columns to y: of these a transpose must not go unseen."""
    scores, baseline = random_scores(8), random_scores(8, 5)[0]
    for bound in (
        bounds.infonce,
        lambda s: bounds.tuba(s, baseline),
        lambda s: bounds.interpolated(s, baseline, 0.4),
    ):
        assert abs(bound(scores) - bound(scores.T)) > 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["dv", "infonce", "js_fgan", "smile"])
def test_scores_of_any_size_are_safe(name, dtype):
    scores = (random_scores(16, scale=1e4)).to(dtype).requires_grad_()
    value = PLAIN[name](scores)
    value.backward()
    assert value.isfinite()
    assert scores.grad.isfinite().all()


def test_leave_one_out_mean_keeps_its_digits_where_one_score_dominates():
    scores = torch.zeros(5, 5, dtype=torch.float64)
    scores[2, :] = 800.0
    scores.requires_grad_()
    found = bounds._log_leave_one_out_mean(scores)
    assert found[2].tolist() == pytest.approx([0.0] * 5, abs=1e-12)
    assert found[0].tolist() == pytest.approx([800 - math.log(4)] * 5)
    found.sum().backward()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("name", PLAIN)
def test_gradients(name):
    scores = random_scores(4).requires_grad_()
    assert torch.autograd.gradcheck(PLAIN[name], (scores,))


@pytest.mark.parametrize("name", PLAIN)
def test_scores_that_cannot_be_read(name):
    with pytest.raises(ShapeError, match=r"f\(x_i, y_j\)"):
        PLAIN[name](torch.zeros(3, 4))
    with pytest.raises(EstimationError, match="two or more pairs"):
        PLAIN[name](torch.zeros(1, 1))


def test_baselines_and_shares_that_do_not_fit():
    for shape in ((3, 1), (2,), ()):
        with pytest.raises(ShapeError, match="one number a column"):
            bounds.tuba(torch.zeros(3, 3), torch.zeros(shape))
    for alpha in (0.0, 1.0, -0.5, math.nan):
        with pytest.raises(EstimationError, match="alpha"):
            bounds.interpolated(torch.zeros(3, 3), torch.zeros(3), alpha)


# an independent implementation


@pytest.mark.parametrize("case", [f"B{b}_{s}" for b in (2, 5, 32) for s in ("small", "large")])
def test_values_of_the_published_code(reference_root, case):
    """Its matrices are ``[j, i] = f(x_i, y_j)``; log B in float32 costs up to 1e-7."""
    with np.load(reference_root / "mimrl_bounds.npz") as file:
        stored = {k.removeprefix(f"{case}_"): file[k] for k in file if k.startswith(f"{case}_")}
    scores = torch.from_numpy(stored["scores"]).T
    baseline = torch.from_numpy(stored["log_baseline"])[:, 0]
    ours = {
        "dv": bounds.dv(scores),
        "nwj": bounds.nwj(scores),
        "tuba": bounds.tuba(scores, baseline),
        "js": bounds.js(scores - 1),  # it leaves out the 1
        "js_fgan": bounds.js_fgan(scores),
        "smile_clip1": bounds.smile(scores, 1.0),
        # It seeks the paired x among all x for each y; ours the paired y, as in van den Oord et al.
        "infonce": bounds.infonce(scores.T),
    }
    for name, value in ours.items():
        assert value.item() == pytest.approx(stored[name].item(), rel=1e-6), name


def test_the_gaussian_pair_is_what_it_is_said_to_be():
    assert gaussian_information(COVARIANCE, [0], [1]) == pytest.approx(TRUTH)
    values = np.array([[0.3, -1.2]])
    x, y = values[0]
    expected = TRUTH - (RHO**2 * (x**2 + y**2) - 2 * RHO * x * y) / (2 * (1 - RHO**2))
    assert gaussian_pointwise(values, COVARIANCE, [0], [1])[0] == pytest.approx(expected)
