"""Scalers: closed forms, extreme numbers, streaming, storage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimrl.datasets import rows, scaling
from mimrl.datasets.features import Ragged
from mimrl.datasets.scaling import Scaler
from mimrl.errors import DataError, ShapeError

KINDS = ("none", "standard", "minmax", "log")


def ragged(values: np.ndarray, pieces: int = 4) -> Ragged:
    return Ragged.from_list(np.array_split(values.astype(np.float32), pieces))


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).normal([0, 5, -300], [1, 0.1, 40], size=(501, 3))


def test_standard_gives_mean_0_and_deviation_1(values: np.ndarray) -> None:
    scaled = scaling.fit(ragged(values), "standard").apply(values.astype(np.float32))
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-6)


def test_minmax_reaches_exactly_minus_1_and_1(values: np.ndarray) -> None:
    scaled = scaling.fit(ragged(values), "minmax").apply(values.astype(np.float32))
    np.testing.assert_allclose(scaled.min(axis=0), -1, atol=1e-6)
    np.testing.assert_allclose(scaled.max(axis=0), 1, atol=1e-6)


def test_log_is_the_published_formula_then_standard(values: np.ndarray) -> None:
    x = values.astype(np.float32).astype(np.float64)
    logged = np.log(x - x.min(axis=0) + 1 + 1e-6)
    expected = (logged - logged.mean(axis=0)) / logged.std(axis=0)
    scaler = scaling.fit(ragged(values), "log")
    np.testing.assert_allclose(scaler.apply(x), expected, rtol=1e-5, atol=1e-5)
    below = scaler.apply(x.min(axis=0)[None] - 1000)
    np.testing.assert_array_equal(below, scaler.apply(x.min(axis=0)[None]))


@pytest.mark.parametrize("kind", ["standard", "minmax", "log"])
def test_constant_features_become_0(kind: str) -> None:
    values = np.column_stack([np.full(9, 0.1), np.arange(9)]).astype(np.float32)
    scaler = scaling.fit(ragged(values), kind)
    assert scaler.scale[0] == 1
    assert np.abs(scaler.apply(values)[:, 0]).max() < 1e-6


def test_large_offsets_and_magnitudes_do_not_cancel() -> None:
    """Sums of squares would lose all digits here; deviations from a running mean do not."""
    step = np.tile([0.0, 1.0], 5000)
    values = np.column_stack([step + 1e6, step * 3e38]).astype(np.float32)
    scaler = scaling.fit(ragged(values), "standard")
    np.testing.assert_allclose(scaler.scale[0], 0.5, rtol=1e-9)
    assert np.all(np.isfinite(scaler.apply(values)))


@given(
    st.lists(st.integers(0, 7), min_size=1, max_size=12),
    st.integers(1, 40),
    st.sampled_from(KINDS),
)
def test_statistics_do_not_depend_on_the_size_of_blocks(
    lengths: list[int], block: int, kind: str
) -> None:
    generator = np.random.default_rng(sum(lengths) + block)
    steps = generator.normal(3, 2, size=(sum(lengths) + 1, 2)).astype(np.float32)
    one = Ragged(steps, np.array([0, *np.cumsum(lengths), len(steps)]))
    whole = scaling.fit(one, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "BLOCK_VALUES", block)
        blocked = scaling.fit(one, kind)
    for name, array in whole.state().items():
        np.testing.assert_allclose(blocked.state()[name], array, rtol=1e-9, atol=1e-12)


def test_clipping_comes_last(values: np.ndarray) -> None:
    scaler = scaling.fit(ragged(values), "standard", clip=1.5)
    assert np.abs(scaler.apply(values * 100)).max() == 1.5
    raw = scaling.fit(ragged(values), "none", clip=2.0)
    assert raw.apply([[1.0, -7.0, 7.0]]).tolist() == [[1.0, -2.0, 2.0]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clip", [None, 3.0])
def test_a_stored_scaler_is_the_same_scaler(
    values: np.ndarray, kind: str, clip: float | None
) -> None:
    scaler = scaling.fit(ragged(values), kind, clip=clip)
    again = Scaler.from_state(kind, scaler.state())
    assert (again.kind, again.clip, again.width) == (kind, clip, 3)
    np.testing.assert_array_equal(again.apply(values), scaler.apply(values))


def test_stored_scalers_that_do_not_fit_are_refused() -> None:
    arrays = {"center": np.zeros(2), "scale": np.ones(2)}
    with pytest.raises(DataError, match="minimum"):
        Scaler.from_state("log", arrays)
    with pytest.raises(DataError, match="robust"):
        Scaler.from_state("robust", arrays)
    with pytest.raises(DataError, match="shapes"):
        Scaler.from_state("standard", {**arrays, "scale": np.ones(3)})


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(DataError, match=r"audio: features \[1\] hold NaN"):
        scaling.fit(ragged(np.array([[1, np.nan], [2, 3]]), 1), "standard", name="audio")
    with pytest.raises(DataError, match="no steps"):
        scaling.fit(Ragged.from_list([[]], width=2), "standard")
    with pytest.raises(ShapeError, match="fitted on 2 features"):
        scaling.fit(ragged(np.ones((3, 2)), 1), "none").apply(np.ones((3, 4)))


def test_scaling_leaves_its_input_alone(values: np.ndarray) -> None:
    given_values = values.astype(np.float32)
    before = given_values.copy()
    for kind in KINDS:
        scaled = scaling.fit(ragged(values), kind).apply(given_values)
        scaled += 1
        np.testing.assert_array_equal(given_values, before)
