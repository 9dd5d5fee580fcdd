"""Metrics as pure functions of predictions and labels.

Ratings follow the rules of MMSA (Mao et al., ACL 2022, ``metricsTop``), because that is what the
tables of the field contain: for the class accuracies predictions and labels are clipped, then
rounded half to even (``numpy.round``); "has-0" calls a rating of 0 non-negative, "non-0" leaves
ratings of 0 out. All accuracies and F1 scores are fractions, nothing is rounded.

A metric that the data do not define (a correlation with a constant, a non-0 accuracy without
non-zero labels) is ``nan``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
from sklearn.metrics import f1_score, roc_auc_score

from mimrl.errors import DataError, ShapeError

Values = npt.NDArray[np.floating]
Metrics = dict[str, float]

LOWER_IS_BETTER = frozenset({"mae", "rmse"})
SIMS_BINS: Mapping[int, tuple[float, ...]] = MappingProxyType(
    {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}
)


def mae(prediction: Values, label: Values) -> float:
    """Mean absolute error, in units of the label.

    >>> mae(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.0
    """
    return float(np.mean(np.abs(prediction - label)))


def rmse(prediction: Values, label: Values) -> float:
    """Root of the mean squared error, in units of the label."""
    return float(np.sqrt(np.mean((prediction - label) ** 2)))


def corr(prediction: Values, label: Values) -> float:
    """Pearson's correlation; ``nan`` when either side is constant or has one value."""
    if len(label) < 2 or np.ptp(prediction) == 0 or np.ptp(label) == 0:
        return float("nan")
    return float(np.corrcoef(prediction, label)[0, 1])


def ccc(prediction: Values, label: Values) -> float:
    """Concordance correlation coefficient (Lin, Biometrics 1989), population moments.

    ``nan`` when both sides are the same constant.
    """
    covariance = np.mean((prediction - prediction.mean()) * (label - label.mean()))
    spread = prediction.var() + label.var() + (prediction.mean() - label.mean()) ** 2
    return float("nan") if spread == 0 else float(2 * covariance / spread)


def class_accuracy(prediction: Values, label: Values, limit: int) -> float:
    """Share of equal classes after clipping to [-limit, limit] and rounding half to even.

    ``limit`` 1, 2, 3 gives Acc3, Acc5, Acc7.
    """
    predicted = np.round(np.clip(prediction, -limit, limit))
    return float(np.mean(predicted == np.round(np.clip(label, -limit, limit))))


def sign_metrics(prediction: Values, label: Values, *, with_zero: bool) -> tuple[float, float]:
    """Accuracy and weighted F1 of the sign: has-0 (``>= 0``) or non-0 (``> 0``, zeros left out)."""
    if with_zero:
        predicted, true = prediction >= 0, label >= 0
    else:
        kept = label != 0
        predicted, true = prediction[kept] > 0, label[kept] > 0
    return _accuracy_and_f1(predicted, true)


def sentiment_metrics(prediction: Values, label: Values) -> Metrics:
    """Ratings in [-3, 3] by the MOSI / MOSEI rules.

    Args:
        prediction: ``(N,)`` ratings.
        label: ``(N,)`` ratings.

    Returns:
        ``mae, rmse, corr, ccc, acc2_has0, f1_has0, acc2_non0, f1_non0, acc3, acc5, acc7``.

    Raises:
        ShapeError: the two differ in shape or are not vectors.
        DataError: there is no sample.
    """
    found = rating_metrics(prediction, label)
    found["acc2_has0"], found["f1_has0"] = sign_metrics(prediction, label, with_zero=True)
    found["acc2_non0"], found["f1_non0"] = sign_metrics(prediction, label, with_zero=False)
    for classes, limit in ((3, 1), (5, 2), (7, 3)):
        found[f"acc{classes}"] = class_accuracy(prediction, label, limit)
    return found


def sims_metrics(prediction: Values, label: Values) -> Metrics:
    """Ratings in [-1, 1] by the rules of CH-SIMS: all clipped to [-1, 1] first, bins ``(a, b]``.

    A rating of 0 is negative here, unlike in the has-0 rule of MOSI. Compared in float32, because
    labels such as 0.1 lie on the edges of the bins.

    Returns:
        ``mae, rmse, corr, ccc, acc2, f1, acc3, acc5``.

    Raises:
        ShapeError: the two differ in shape or are not vectors.
        DataError: there is no sample.
    """
    _check(prediction, label)
    clipped = [np.clip(values.astype(np.float32), -1, 1) for values in (prediction, label)]
    found = rating_metrics(*clipped)
    for classes, edges in SIMS_BINS.items():
        bins = [np.digitize(v, np.asarray(edges, np.float32), right=True) for v in clipped]
        found[f"acc{classes}"], f1 = _accuracy_and_f1(*bins)
        if classes == 2:
            found["f1"] = f1
    return found


def rating_metrics(prediction: Values, label: Values) -> Metrics:
    """``mae, rmse, corr, ccc`` of any real label.

    Raises:
        ShapeError: the two differ in shape or are not vectors.
        DataError: there is no sample.
    """
    _check(prediction, label)
    return {
        "mae": mae(prediction, label),
        "rmse": rmse(prediction, label),
        "corr": corr(prediction, label),
        "ccc": ccc(prediction, label),
    }


def classification_metrics(probability: Values, label: npt.NDArray[np.int64]) -> Metrics:
    """Accuracy, weighted F1 and area under the ROC curve.

    Args:
        probability: ``(N, C)`` class probabilities.
        label: ``(N,)`` classes in ``0..C-1``.

    Returns:
        ``accuracy, f1, auc``; with more than two classes ``auc`` is the mean over one-against-rest
        curves. ``auc`` is ``nan`` when a class has no sample.

    Raises:
        ShapeError: shapes do not fit.
        DataError: there is no sample.
    """
    if probability.ndim != 2 or label.shape != probability.shape[:1]:
        raise ShapeError(
            f"expected probabilities (N, C) and labels (N,), got {probability.shape} and "
            f"{label.shape}"
        )
    if not len(label):
        raise DataError("metrics of an empty split are not defined")
    accuracy, f1 = _accuracy_and_f1(probability.argmax(axis=1), label)
    classes = probability.shape[1]
    if len(np.unique(label)) < classes:
        auc = float("nan")
    elif classes == 2:
        auc = float(roc_auc_score(label, probability[:, 1]))
    else:
        total = probability.sum(axis=1, keepdims=True)
        auc = float(roc_auc_score(label, probability / total, multi_class="ovr"))
    return {"accuracy": accuracy, "f1": f1, "auc": auc}


RATING_RULES: Mapping[str, Callable[[Values, Values], Metrics]] = MappingProxyType(
    {"sentiment": sentiment_metrics, "sims": sims_metrics, "plain": rating_metrics}
)


def better(name: str, new: float, old: float | None) -> bool:
    """Whether ``new`` is a better value of metric ``name`` than ``old`` (None: nothing yet).

    ``nan`` is never better.
    """
    if np.isnan(new):
        return False
    if old is None or np.isnan(old):
        return True
    return new < old if name in LOWER_IS_BETTER else new > old


def _accuracy_and_f1(
    predicted: npt.NDArray[np.generic], true: npt.NDArray[np.generic]
) -> tuple[float, float]:
    if not len(true):
        return float("nan"), float("nan")
    f1 = f1_score(true, predicted, average="weighted", zero_division=0)
    return float(np.mean(predicted == true)), float(f1)


def _check(prediction: Values, label: Values) -> None:
    if prediction.ndim != 1 or prediction.shape != label.shape:
        raise ShapeError(
            f"expected two vectors of one length, got {prediction.shape} and {label.shape}"
        )
    if not len(label):
        raise DataError("metrics of an empty split are not defined")
