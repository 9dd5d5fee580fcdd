"""The 40 tasks of the benchmark "Beyond Normal", under its names and in its order.

P. Czyz, F. Grabowski, J. E. Vogt, N. Beerenwinkel, A. Marx, "Beyond Normal: On the Evaluation of
Mutual Information Estimators", NeurIPS 2023; package benchmark-mi.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from mimrl.mi.tasks.additive import AdditiveUniform
from mimrl.mi.tasks.law import Law
from mimrl.mi.tasks.normal import (
    CoupledPairs,
    Gaussian,
    equicorrelated,
    unexplained_at_strength,
    unexplained_by_correlation,
)
from mimrl.mi.tasks.student import Student
from mimrl.mi.tasks.task import Task, by_name
from mimrl.mi.tasks.transformed import (
    Transformed,
    half_cubed,
    shortened_tails,
    spiralled,
    uniform_margins,
)
from mimrl.mi.tasks.transforms import WIGGLY_X, WIGGLY_Y, MixtureQuantile, SwissRoll

_SOURCE = "Czyz et al., Beyond Normal, NeurIPS 2023"
_BIMODAL_X = MixtureQuantile((0.3, 0.7), (0.0, 5.0))
_BIMODAL_Y = MixtureQuantile((0.5, 0.5), (-1.0, 3.0))


def two_pairs(dim: int, strength: float = 2.0) -> CoupledPairs:
    """Two coupled pairs among ``dim`` coordinates of X and of Y.

    Args:
        dim: width of X and of Y, 2 or more.
        strength: s; the correlation is s^2 / (1 + s^2).

    Returns:
        A law of -log(1 - (s^2 / (1 + s^2))^2) nats: 1.0217 at s = 2.

    Raises:
        ConfigError: too narrow, or a strength that is negative or beyond float64.
    """
    return CoupledPairs(dim, dim, (unexplained_at_strength(strength),) * 2)


def _dense(dim: int) -> Gaussian:
    return Gaussian(equicorrelated(2 * dim, 0.5), dim)


def _student(dim: int, freedom: int) -> Student:
    return Student(np.eye(2 * dim), dim, freedom)


_NORMAL = CoupledPairs(1, 1, (unexplained_by_correlation(0.75),))
_UNIFORM = uniform_margins(_NORMAL)


def _task(name: str, law: Law, description: str) -> Task:
    return Task(name, law, description, _SOURCE)


_ROWS = (
    _task("1v1-normal-0.75", _NORMAL, "two normal variables of correlation 0.75"),
    _task("normal_cdf-1v1-normal-0.75", _UNIFORM, "the same with uniform margins"),
    _task("1v1-additive-0.1", AdditiveUniform(0.1), "uniform plus narrow uniform noise"),
    _task("1v1-additive-0.75", AdditiveUniform(0.75), "uniform plus wide uniform noise"),
    _task(
        "1v1-bimodal-0.75",
        Transformed(_UNIFORM, _BIMODAL_X, _BIMODAL_Y),
        "correlation 0.75 behind two-peaked margins",
    ),
    _task(
        "wiggly-1v1-normal-0.75",
        Transformed(_NORMAL, WIGGLY_X, WIGGLY_Y),
        "correlation 0.75 behind stretched and squeezed axes",
    ),
    _task("half_cube-1v1-normal-0.75", half_cubed(_NORMAL), "correlation 0.75, longer tails"),
    _task("student-identity-1-1-1", _student(1, 1), "uncorrelated Cauchy, one common scale"),
    _task(
        "asinh-student-identity-1-1-1",
        shortened_tails(_student(1, 1)),
        "uncorrelated Cauchy with its tails brought in",
    ),
    _task(
        "swissroll_x-normal_cdf-1v1-normal-0.75",
        Transformed(_UNIFORM, SwissRoll()),
        "X on a curve in the plane",
    ),
    _task("multinormal-dense-2-2-0.5", _dense(2), "all correlations 0.5"),
    _task("multinormal-dense-3-3-0.5", _dense(3), "all correlations 0.5"),
    _task("multinormal-dense-5-5-0.5", _dense(5), "all correlations 0.5"),
    _task("multinormal-dense-25-25-0.5", _dense(25), "all correlations 0.5, wide"),
    _task("multinormal-dense-50-50-0.5", _dense(50), "all correlations 0.5, wider"),
    _task("multinormal-sparse-2-2-2-2.0", two_pairs(2), "two coupled pairs"),
    _task("multinormal-sparse-3-3-2-2.0", two_pairs(3), "two coupled pairs, one idle"),
    _task("multinormal-sparse-5-5-2-2.0", two_pairs(5), "two coupled pairs, three idle"),
    _task("multinormal-sparse-25-25-2-2.0", two_pairs(25), "two coupled pairs, 23 idle"),
    _task("student-identity-2-2-1", _student(2, 1), "uncorrelated, tails of one degree"),
    _task("student-identity-2-2-2", _student(2, 2), "uncorrelated, tails of two degrees"),
    _task("student-identity-3-3-2", _student(3, 2), "uncorrelated, tails of two degrees"),
    _task("student-identity-3-3-3", _student(3, 3), "uncorrelated, tails of three degrees"),
    _task("student-identity-5-5-2", _student(5, 2), "uncorrelated, tails of two degrees"),
    _task("student-identity-5-5-3", _student(5, 3), "uncorrelated, tails of three degrees"),
    _task(
        "normal_cdf-multinormal-sparse-3-3-2-2.0",
        uniform_margins(two_pairs(3)),
        "two coupled pairs, uniform margins",
    ),
    _task(
        "normal_cdf-multinormal-sparse-5-5-2-2.0",
        uniform_margins(two_pairs(5)),
        "two coupled pairs, uniform margins",
    ),
    _task(
        "normal_cdf-multinormal-sparse-25-25-2-2.0",
        uniform_margins(two_pairs(25)),
        "two coupled pairs, uniform margins, wide",
    ),
    _task(
        "half_cube-multinormal-sparse-3-3-2-2.0",
        half_cubed(two_pairs(3)),
        "two coupled pairs, longer tails",
    ),
    _task(
        "half_cube-multinormal-sparse-5-5-2-2.0",
        half_cubed(two_pairs(5)),
        "two coupled pairs, longer tails",
    ),
    _task(
        "half_cube-multinormal-sparse-25-25-2-2.0",
        half_cubed(two_pairs(25)),
        "two coupled pairs, longer tails, wide",
    ),
    _task(
        "spiral-multinormal-sparse-3-3-2-2.0",
        spiralled(two_pairs(3)),
        "two coupled pairs, wound up",
    ),
    _task(
        "spiral-multinormal-sparse-5-5-2-2.0",
        spiralled(two_pairs(5)),
        "two coupled pairs, wound up",
    ),
    _task(
        "spiral-multinormal-sparse-25-25-2-2.0",
        spiralled(two_pairs(25)),
        "two coupled pairs, wound up, wide",
    ),
    _task(
        "spiral-normal_cdf-multinormal-sparse-3-3-2-2.0",
        spiralled(uniform_margins(two_pairs(3))),
        "two coupled pairs, uniform, then wound up",
    ),
    _task(
        "spiral-normal_cdf-multinormal-sparse-5-5-2-2.0",
        spiralled(uniform_margins(two_pairs(5))),
        "two coupled pairs, uniform, then wound up",
    ),
    _task(
        "spiral-normal_cdf-multinormal-sparse-25-25-2-2.0",
        spiralled(uniform_margins(two_pairs(25))),
        "two coupled pairs, uniform, then wound up, wide",
    ),
    _task(
        "asinh-student-identity-2-2-1",
        shortened_tails(_student(2, 1)),
        "uncorrelated, one common scale, tails brought in",
    ),
    _task(
        "asinh-student-identity-3-3-2",
        shortened_tails(_student(3, 2)),
        "uncorrelated, one common scale, tails brought in",
    ),
    _task(
        "asinh-student-identity-5-5-2",
        shortened_tails(_student(5, 2)),
        "uncorrelated, one common scale, tails brought in",
    ),
)

BMI_TASKS: Mapping[str, Task] = MappingProxyType(by_name(_ROWS))
"""Name -> task."""
