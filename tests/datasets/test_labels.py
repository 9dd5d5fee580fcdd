"""Rating rules: by hand, against MMSA's numbers, and the codings of files with classes."""

import json

import numpy as np
import pytest

from mimrl.datasets import labels
from mimrl.errors import DataError


def test_halves_are_rounded_to_even_after_clipping() -> None:
    ratings = [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.4]
    assert (labels.rounded_class(ratings, 3) - 3).tolist() == [-3, -2, -2, 0, 0, 2, 2, 3]
    assert (labels.rounded_class(ratings, 2) - 2).tolist() == [-2, -2, -2, 0, 0, 2, 2, 2]
    assert (labels.rounded_class(ratings, 1) - 1).tolist() == [-1, -1, -1, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("target", labels.LABEL_RULES)
def test_every_rule_keeps_the_order_of_ratings_and_reaches_all_its_classes(target: str) -> None:
    ratings = np.linspace(-3, 3, 601).astype(np.float32)
    ratings = ratings[labels.kept_rows(ratings, target)]
    classes = labels.rating_classes(ratings, target)
    assert np.all(np.diff(classes) >= 0)
    assert set(classes.tolist()) == set(range(len(labels.LABEL_RULES[target].class_names)))


def test_neutral_is_non_negative_or_left_out() -> None:
    assert labels.rating_classes([0.0, -0.1], "binary_has0").tolist() == [1, 0]
    assert labels.kept_rows([0.0, -0.1, 2], "binary_non0").tolist() == [False, True, True]
    with pytest.raises(DataError, match="binary_non0 has no class for rating 0"):
        labels.rating_classes([0.0, 1.0], "binary_non0")


def test_accuracies_agree_with_mmsa(reference_root) -> None:
    arrays = np.load(reference_root / "metrics.npz", allow_pickle=False)
    expected = json.loads((reference_root / "metrics.json").read_text())
    for case in ("mosi_plain", "mosei_half_integers_and_zeros", "mosi_out_of_range"):
        pair = [arrays[f"{case}/{part}"] for part in ("prediction", "label")]
        for name, limit in (("Mult_acc_7", 3), ("Mult_acc_5", 2)):
            guess, real = (labels.rounded_class(values.ravel(), limit) for values in pair)
            assert round(float(np.mean(guess == real)), 4) == expected[case][name]


@pytest.mark.parametrize(
    ("given", "values", "codes"),
    [
        ([1.0, 0.0, 1.0], (0, 1), [1, 0, 1]),
        ([1.0, -1.0, 1.0], (-1, 1), [1, 0, 1]),
        ([2.0, 0.0, 1.0, 3.0], (0, 1, 2, 3), [2, 0, 1, 3]),
    ],
)
def test_classes_of_files(given: list, values: tuple, codes: list) -> None:
    coding = labels.class_coding(np.float32(given))
    assert coding.values == values
    assert coding.encode(np.float32(given)).tolist() == codes


@pytest.mark.parametrize("given", [[0.5, 1.0], [-1, 0, 1], [0, 2], [1, 2], [0, 0], [1], [-2, 2]])
def test_other_label_values_are_refused_with_what_to_do(given: list) -> None:
    with pytest.raises(DataError, match=r"target class needs.*data\.target"):
        labels.class_coding(given)


def test_a_value_outside_the_coding_is_refused() -> None:
    with pytest.raises(DataError, match="not among classes"):
        labels.class_coding([-1, 1]).encode([0.0])


def test_ratings_of_another_scale_are_refused() -> None:
    with pytest.raises(DataError, match=r"runs from 1 to 7"):
        labels.rating_classes([1.0, 7.0], "seven")
