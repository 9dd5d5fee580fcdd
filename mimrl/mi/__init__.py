"""The mutual-information toolbox; imports only mimrl.errors and is usable on its own.

``scores[i, j] = f(x_i, y_j)`` everywhere, and everything is in nats.
"""

from mimrl.mi.bank import Bank, Given, Product
from mimrl.mi.conditional import ConditionalMI, read_out
from mimrl.mi.critics import BilinearCritic, ConcatenatedCritic, Critic, SeparableCritic
from mimrl.mi.early_stopping import FitSettings
from mimrl.mi.fitting import (
    ConditionalEstimate,
    Estimate,
    FittedConditional,
    FittedMutual,
    fit_conditional,
    fit_mutual,
)
from mimrl.mi.gaussian import gaussian_information, gaussian_pointwise
from mimrl.mi.grouped import Contrast, GroupedConditional, GroupedMutual
from mimrl.mi.mine import MINE
from mimrl.mi.neighbours import (
    Anchors,
    ProductSamples,
    Triples,
    product_samples,
    regression_slopes,
)
from mimrl.mi.objectives import (
    Baseline,
    Bound,
    ConstantBaseline,
    Dv,
    GaussianBaseline,
    InfoNce,
    Interpolated,
    Js,
    LearnedBaseline,
    Mine,
    Nwj,
    Smile,
    Tuba,
)
from mimrl.mi.partners import partners_near, partners_within
from mimrl.mi.stacked import Spread
from mimrl.mi.stacked_critics import Pairs
from mimrl.mi.variational import VariationalMI

__all__ = [
    "MINE",
    "Anchors",
    "Bank",
    "Baseline",
    "BilinearCritic",
    "Bound",
    "ConcatenatedCritic",
    "ConditionalEstimate",
    "ConditionalMI",
    "ConstantBaseline",
    "Contrast",
    "Critic",
    "Dv",
    "Estimate",
    "FitSettings",
    "FittedConditional",
    "FittedMutual",
    "GaussianBaseline",
    "Given",
    "GroupedConditional",
    "GroupedMutual",
    "InfoNce",
    "Interpolated",
    "Js",
    "LearnedBaseline",
    "Mine",
    "Nwj",
    "Pairs",
    "Product",
    "ProductSamples",
    "SeparableCritic",
    "Smile",
    "Spread",
    "Triples",
    "Tuba",
    "VariationalMI",
    "fit_conditional",
    "fit_mutual",
    "gaussian_information",
    "gaussian_pointwise",
    "partners_near",
    "partners_within",
    "product_samples",
    "read_out",
    "regression_slopes",
]
