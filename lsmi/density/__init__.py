"""Density models p(x) and p(x|y), all fits at a time, behind one call."""

from lsmi.density.classes import ClassConditional
from lsmi.density.families import default_families, log_densities
from lsmi.density.family import (
    Densities,
    DensityFamily,
    choose,
    estimate,
    restrict,
)
from lsmi.density.flow import Flow
from lsmi.density.knife import Knife, knife_log_density
from lsmi.density.mixture import Mixture

__all__ = [
    "ClassConditional",
    "Densities",
    "DensityFamily",
    "Flow",
    "Knife",
    "Mixture",
    "choose",
    "default_families",
    "estimate",
    "knife_log_density",
    "log_densities",
    "restrict",
]
