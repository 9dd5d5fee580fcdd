"""Estimators of mutual information behind one interface.

:data:`ESTIMATORS` has them by name with default settings, each an instance::

    from mimrl.mi.estimators import ESTIMATORS, Ksg

    ESTIMATORS["auto"].estimate(x, y)            # nats
    Ksg(neighbours=3).estimate_with_info(x, y)   # with standard error, pointwise values, doubts
"""

from mimrl.mi.estimators.auto import Auto
from mimrl.mi.estimators.conditional import ConditionalKsg, MutualDifference
from mimrl.mi.estimators.conditional_classifier import ConditionalClassifier
from mimrl.mi.estimators.copula_critic import CopulaCritic
from mimrl.mi.estimators.crossfitting import Fitted, TrainedEstimator
from mimrl.mi.estimators.flow import Flow
from mimrl.mi.estimators.gaussian import ConditionalGaussian, Gaussian
from mimrl.mi.estimators.histogram import Histogram
from mimrl.mi.estimators.infonet import InfoNet
from mimrl.mi.estimators.interface import (
    ConditionalEstimator,
    CurvePoint,
    EstimateResult,
    Estimator,
)
from mimrl.mi.estimators.knife import Knife
from mimrl.mi.estimators.ksg import Ksg
from mimrl.mi.estimators.mine import Mine
from mimrl.mi.estimators.mmg import Mmg
from mimrl.mi.estimators.sliced import Sliced
from mimrl.mi.estimators.table import (
    CONDITIONAL_ESTIMATORS,
    ESTIMATORS,
    conditional_estimator_named,
    estimator_named,
)
from mimrl.mi.estimators.variational import Variational

__all__ = [
    "CONDITIONAL_ESTIMATORS",
    "ESTIMATORS",
    "Auto",
    "ConditionalClassifier",
    "ConditionalEstimator",
    "ConditionalGaussian",
    "ConditionalKsg",
    "CopulaCritic",
    "CurvePoint",
    "EstimateResult",
    "Estimator",
    "Fitted",
    "Flow",
    "Gaussian",
    "Histogram",
    "InfoNet",
    "Knife",
    "Ksg",
    "Mine",
    "Mmg",
    "MutualDifference",
    "Sliced",
    "TrainedEstimator",
    "Variational",
    "conditional_estimator_named",
    "estimator_named",
]
