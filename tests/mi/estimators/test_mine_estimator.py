"""MINE that holds rows out."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from mimrl.errors import CeilingWarning, ConfigError, EstimationWarning
from mimrl.mi.estimators.mine import Mine

FEW = {"folds": 2, "hidden": 32, "batch_size": 128}


def gaussian(rho: float, rows: int):
    z = np.random.default_rng(0).normal(size=(rows, 2))
    return z[:, :1], rho * z[:, :1] + math.sqrt(1 - rho**2) * z[:, 1:]


@pytest.mark.parametrize("loss", ["mine", "mine_biased", "fdiv"])
def test_gaussian_pair(loss):
    """800 rows: standard error .025; a network from nothing misses some of the rest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        found = Mine(loss=loss, steps=200, rate=5e-3, **FEW).estimate_with_info(*gaussian(0.8, 800))
    assert found.mi_estimate == pytest.approx(-0.5 * math.log(1 - 0.64), abs=0.12)
    steps = found.additional_information["step"]
    assert len(steps) == 2
    assert {point.step for point in found.curve} >= set(steps)
    best = [max(p.validation for p in found.curve if p.fold == fold) for fold in (0, 1)]
    chosen = [
        next(p.validation for p in found.curve if (p.fold, p.step) == (fold, step))
        for fold, step in enumerate(steps)
    ]
    assert chosen == best


def test_start_reads_nothing():
    """At step 0 every bound is 0: no information is claimed before it is found."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        for loss in ("mine", "fdiv"):
            found = Mine(loss=loss, steps=1, **FEW).estimate_with_info(*gaussian(0.8, 100))
            assert found.curve[0].validation == pytest.approx(0, abs=1e-6)


def test_reading_near_log_n_is_warned_of():
    (doubt,) = Mine().doubts(np.full(50, 0.95 * math.log(50)), 50)
    assert isinstance(doubt, CeilingWarning)
    assert Mine().doubts(np.full(50, 0.85 * math.log(50)), 50) == ()


def test_alpha_has_an_effect_on_mine_only():
    with pytest.raises(ConfigError, match="alpha has no effect with loss 'fdiv'"):
        Mine(loss="fdiv", alpha=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        pair = gaussian(0.8, 120)
        found = [
            Mine(alpha=alpha, steps=30, check_every=30, **FEW).estimate_with_info(*pair).curve[-1]
            for alpha in (None, 0.01, 1.0)
        ]
    assert found[0] == found[1] != found[2]


def test_a_row_far_outside_does_not_decide_the_mean():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EstimationWarning)
        fitted = Mine(steps=60, **FEW).fit(*gaussian(0.8, 200))
    x, y = gaussian(0.8, 400)
    x, y = x[200:].copy(), y[200:].copy()
    before = fitted.pointwise(x, y)
    x[0] = 1e6
    after = fitted.pointwise(x, y)
    assert np.abs(after[1:] - before[1:]).max() < 0.3
