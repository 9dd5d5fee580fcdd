"""Samples recorded from the package benchmark-mi: the same truths and the same laws as ours."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from two_samples import p_values

from mimrl.errors import DataError, EstimationError, MissingFileError
from mimrl.mi.tasks import (
    BMI_TASKS,
    AdditiveUniform,
    CoupledPairs,
    Gaussian,
    MixtureQuantile,
    Spiral,
    Student,
    Transformed,
    equicorrelated,
    half_cubed,
    recorded_samples,
    shortened_tails,
    spiralled,
    task_named,
    two_pairs,
    unexplained_by_correlation,
    uniform_margins,
)
from mimrl.mi.tasks.transforms import WIGGLY_X, WIGGLY_Y

LEVEL = 0.01 / (40 * 6)
"""Of each of six tests of 40 tasks, so that all of them pass with a probability of 0.99."""


@pytest.fixture(scope="session")
def recordings(data_root):
    return data_root / "bmi"


@cache
def ours(name):
    return BMI_TASKS[name].sample(10_000, seed=2)


def test_names_widths_and_truths_are_those_of_the_benchmark(recordings):
    published = json.loads((recordings / "tasks.json").read_text())
    assert list(BMI_TASKS) == list(published)
    for name, row in published.items():
        task = BMI_TASKS[name]
        assert task.name == name
        assert (task.dim_x, task.dim_y) == (row["dim_x"], row["dim_y"])
        # benchmark-mi computes in float32 here and there: 5e-8 apart on 1v1-additive-0.1.
        assert task.mutual_information == pytest.approx(row["mutual_information"], abs=1e-6)


@pytest.mark.parametrize("name", BMI_TASKS)
def test_recorded_samples_follow_our_law(recordings, name):
    found = p_values(recorded_samples(recordings, name), ours(name), BMI_TASKS[name].log_ratio)
    assert min(found.values()) > LEVEL, found


@pytest.mark.parametrize("name", BMI_TASKS)
def test_exact_log_ratio_of_recorded_samples_averages_to_the_truth(recordings, name):
    task = BMI_TASKS[name]
    ratios = task.log_ratio(*recorded_samples(recordings, name))
    error = ratios.std() / np.sqrt(len(ratios))
    # 4.4 standard errors: 1e-5 a task
    assert ratios.mean() == pytest.approx(task.mutual_information, abs=4.4 * error)


def normal(correlation):
    return CoupledPairs(1, 1, (unexplained_by_correlation(correlation),))


def turned_back(dim):
    speed = 1 / dim
    return Transformed(two_pairs(dim), Spiral(0, 1, -speed), Spiral(1, 2, -speed))


WRONG = {
    "weaker correlation": ("1v1-normal-0.75", normal(0.68)),
    "margins not uniform": ("normal_cdf-1v1-normal-0.75", normal(0.75)),
    "wider noise": ("1v1-additive-0.1", AdditiveUniform(0.11)),
    "narrower noise": ("1v1-additive-0.75", AdditiveUniform(0.65)),
    "peaks of other weights": (
        "1v1-bimodal-0.75",
        Transformed(
            uniform_margins(normal(0.75)),
            MixtureQuantile((0.35, 0.65), (0.0, 5.0)),
            MixtureQuantile((0.5, 0.5), (-1.0, 3.0)),
        ),
    ),
    "waves of x on y": ("wiggly-1v1-normal-0.75", Transformed(normal(0.75), WIGGLY_Y, WIGGLY_X)),
    "no power": ("half_cube-1v1-normal-0.75", normal(0.75)),
    "more degrees of freedom": ("student-identity-2-2-1", Student(np.eye(4), 2, 2)),
    "tails left long": ("asinh-student-identity-5-5-2", Student(np.eye(10), 5, 2)),
    "less freedom": ("asinh-student-identity-3-3-2", shortened_tails(Student(np.eye(6), 3, 1.5))),
    "correlations 0.45": ("multinormal-dense-50-50-0.5", Gaussian(equicorrelated(100, 0.45), 50)),
    "weaker pairs": ("multinormal-sparse-25-25-2-2.0", two_pairs(25, 1.8)),
    "one pair": (
        "half_cube-multinormal-sparse-25-25-2-2.0",
        half_cubed(replace(two_pairs(25), unexplained=two_pairs(25).unexplained[:1])),
    ),
    "turned the other way": ("spiral-multinormal-sparse-3-3-2-2.0", turned_back(3)),
    "turned the other way, wide": ("spiral-multinormal-sparse-25-25-2-2.0", turned_back(25)),
    "turned faster": ("spiral-multinormal-sparse-5-5-2-2.0", spiralled(two_pairs(5), 1.3)),
    "turned before made uniform": (
        "spiral-normal_cdf-multinormal-sparse-5-5-2-2.0",
        uniform_margins(spiralled(two_pairs(5))),
    ),
    "wound slower, wide": (
        "spiral-normal_cdf-multinormal-sparse-25-25-2-2.0",
        spiralled(uniform_margins(two_pairs(25)), 0.8),
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_law_is_noticed(recordings, mistake):
    """The same tests at the same level and sizes."""
    name, law = WRONG[mistake]
    recorded, wrong = recorded_samples(recordings, name), law.sample(10_000, 2)
    ratio = task_named(name).log_ratio
    try:
        ratio(*wrong)
    except EstimationError:  # samples out of range: the other tests must notice it too
        ratio = None
    found = p_values(recorded, wrong, ratio)
    assert min(found.values()) < LEVEL, found


def test_reader(tmp_path):
    x, y = np.arange(6, dtype=np.float32).reshape(3, 2), np.ones((3, 1), dtype=np.int64)
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    read = recorded_samples(tmp_path, "mine")
    np.testing.assert_array_equal(read[0], x)
    np.testing.assert_array_equal(read[1], y)
    assert {part.dtype for part in read} == {np.dtype(np.float64)}
    with pytest.raises(MissingFileError, match="did you mean mine"):
        recorded_samples(tmp_path, "mime")
    with pytest.raises(MissingFileError, match="among the 1 npz files"):
        recorded_samples(tmp_path, "1v1-normal-0.75")
    with pytest.raises(MissingFileError, match="not a folder"):
        recorded_samples(tmp_path / "absent", "mine")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 1)), "z": np.ones((3, 1))}, "arrays x and y, got x, z"),
        ({"x": np.ones((3, 1)), "y": np.ones((4, 1))}, "as many rows, got 3 and 4"),
        ({"x": np.ones(3), "y": np.ones((3, 1))}, r"x must be \(N, d\).*got \(3,\)"),
        ({"x": np.ones((0, 1)), "y": np.ones((0, 1))}, r"N and d >= 1, got \(0, 1\)"),
        ({"x": np.ones((3, 1)), "y": np.array([[1.0], [np.nan], [np.inf]])}, "2 of 3 .*in row 1"),
        ({"x": np.ones((3, 1)), "y": np.array([["a"], ["b"], ["c"]])}, "real numbers"),
        ({"x": np.ones((3, 1)), "y": np.array([[{}], [1], [2]], dtype=object)}, "cannot be read"),
    ],
)
def test_reader_refuses(tmp_path, arrays, message):
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(DataError, match=message):
        recorded_samples(tmp_path, "mine")


def test_reader_refuses_other_files(tmp_path):
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "single.npy", np.ones((3, 1)))
    (tmp_path / "single.npy").rename(tmp_path / "single.npz")
    for name in ("text", "empty", "single"):
        with pytest.raises(DataError, match=f"{name}.npz cannot be read"):
            recorded_samples(tmp_path, name)
    np.savez(tmp_path / "1v1-normal-0.75.npz", x=np.ones((3, 2)), y=np.ones((3, 1)))
    with pytest.raises(DataError, match=r"widths 1 and 1, got x \(3, 2\)"):
        recorded_samples(tmp_path, "1v1-normal-0.75")
