import json

import numpy as np
import pytest
import torch
from training.small import small_settings

from mimrl.errors import DataError, NonFiniteError, ShapeError
from mimrl.training import metrics
from mimrl.training.inference import Features
from mimrl.training.scoring import score

SENTIMENT_NAMES = {
    "Has0_acc_2": "acc2_has0",
    "Has0_F1_score": "f1_has0",
    "Non0_acc_2": "acc2_non0",
    "Non0_F1_score": "f1_non0",
    "Mult_acc_5": "acc5",
    "Mult_acc_7": "acc7",
    "MAE": "mae",
    "Corr": "corr",
}
SIMS_NAMES = {
    "Mult_acc_2": "acc2",
    "Mult_acc_3": "acc3",
    "Mult_acc_5": "acc5",
    "F1_score": "f1",
    "MAE": "mae",
    "Corr": "corr",
}


@pytest.mark.parametrize(
    "case", ["mosi_plain", "mosei_half_integers_and_zeros", "mosi_out_of_range", "sims_plain"]
)
def test_equals_mmsa_as_rounded(reference_root, case):
    expected = json.loads((reference_root / "metrics.json").read_text())[case]
    arrays = np.load(reference_root / "metrics.npz", allow_pickle=False)
    sims = expected["dataset"] == "SIMS"
    rules, names = (
        (metrics.sims_metrics, SIMS_NAMES) if sims else (metrics.sentiment_metrics, SENTIMENT_NAMES)
    )
    found = rules(arrays[f"{case}/prediction"], arrays[f"{case}/label"])
    for theirs, ours in names.items():
        assert round(found[ours], 4) == expected[theirs], theirs


def test_rounding_is_half_to_even():
    prediction = np.array([0.5, 1.5, 2.5, -2.5])
    assert metrics.class_accuracy(prediction, np.array([0.0, 2.0, 2.0, -2.0]), 3) == 1.0


def test_zero_is_non_negative_or_left_out():
    prediction, label = np.array([-1.0, 1.0, 1.0]), np.array([0.0, 0.0, 2.0])
    assert metrics.sign_metrics(prediction, label, with_zero=True)[0] == pytest.approx(2 / 3)
    assert metrics.sign_metrics(prediction, label, with_zero=False)[0] == 1.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("task", ["class", "regression"])
def test_predictions_that_are_no_numbers_are_an_error(tmp_path, task, bad):
    """Unlike a metric that the labels do not define: it would be written as one of those."""
    rating = task == "regression"
    loss = "training.loss=mae" if rating else "training.loss=ce"
    settings = small_settings(tmp_path, f"data.target={task}", loss)
    prediction = torch.zeros(8, 1 if rating else 2)
    labels = torch.arange(8) % 2
    features = Features(prediction, prediction, {}, labels.float() if rating else labels)
    assert score(settings, features)
    prediction[3, 0] = bad
    with pytest.raises(
        NonFiniteError, match="split test: 1 of 8 predictions became NaN or infinite"
    ):
        score(settings, features, "split test")


def test_undefined_metrics_are_nan_not_a_crash():
    found = metrics.sentiment_metrics(np.ones(4), np.zeros(4))
    assert np.isnan(found["corr"])
    assert np.isnan(found["acc2_non0"])
    assert found["mae"] == 1.0


def test_ccc_closed_form():
    label = np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.ccc(label, label) == pytest.approx(1.0)
    shift = 2 * label.var() / (2 * label.var() + 1)
    assert metrics.ccc(label + 1, label) == pytest.approx(shift)
    assert metrics.ccc(-label, label) < 0


def test_classification_closed_form():
    probability = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.4], [0.2, 0.8]])
    found = metrics.classification_metrics(probability, np.array([0, 0, 1, 1]))
    assert found["accuracy"] == 0.5
    assert found["auc"] == 0.75
    assert found["f1"] == pytest.approx(0.5)


def test_three_classes_and_a_missing_one():
    probability = np.eye(3)[[0, 1, 2, 2]] * 0.8 + 0.1
    probability /= probability.sum(1, keepdims=True)
    assert metrics.classification_metrics(probability, np.array([0, 1, 2, 2]))["auc"] == 1.0
    assert np.isnan(metrics.classification_metrics(probability, np.array([0, 1, 1, 1]))["auc"])


def test_direction_of_better():
    assert metrics.better("mae", 0.5, 0.6)
    assert not metrics.better("corr", 0.5, 0.6)
    assert metrics.better("corr", 0.5, None)
    assert not metrics.better("corr", float("nan"), None)
    assert metrics.better("mae", 0.5, float("nan"))


def test_bad_input_is_named():
    with pytest.raises(ShapeError):
        metrics.sentiment_metrics(np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(DataError):
        metrics.rating_metrics(np.zeros(0), np.zeros(0))
    with pytest.raises(ShapeError):
        metrics.classification_metrics(np.zeros((3, 2)), np.zeros(4, dtype=np.int64))
