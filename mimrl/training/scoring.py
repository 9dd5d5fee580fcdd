"""From a model's outputs to metrics, by the task of the settings."""

from __future__ import annotations

from mimrl.settings import Settings
from mimrl.training.inference import Features
from mimrl.training.measures import not_finite
from mimrl.training.metrics import RATING_RULES, Metrics, classification_metrics
from mimrl.training.objectives import probabilities


def score(settings: Settings, features: Features, where: str = "evaluation") -> Metrics:
    """All metrics of the task, from one set of predictions.

    Args:
        settings: of the run.
        features: of a split.
        where: what is scored, for the message.

    Raises:
        NonFiniteError: predictions are NaN or infinite. A metric may be NaN all the same: one that
            the labels do not define.
    """
    finite = features.prediction.isfinite().all(dim=1)
    if not finite.all():
        raise not_finite(where, [f"{int((~finite).sum())} of {len(finite)} predictions"])
    if settings.task == "classification":
        chance = probabilities(features.prediction).cpu().double().numpy()
        return classification_metrics(chance, features.labels.cpu().numpy())
    prediction = features.prediction[:, 0].cpu().numpy()
    return RATING_RULES[settings.training.metric_rules](prediction, features.labels.cpu().numpy())


def selection_metric(settings: Settings) -> str:
    """The validation metric that chooses the epoch."""
    chosen = settings.training.select_by
    if chosen != "auto":
        return chosen
    return "mae" if settings.task == "regression" else "accuracy"
