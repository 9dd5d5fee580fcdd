"""Densities p(v) and p(v | u) that are trained by likelihood, on whitened variables."""

from mimrl.mi.densities.density import Density
from mimrl.mi.densities.flow import SplineFlow
from mimrl.mi.densities.kernels import KernelMixture
from mimrl.mi.densities.spline import numbers_a_spline, rational_quadratic

__all__ = ["Density", "KernelMixture", "SplineFlow", "numbers_a_spline", "rational_quadratic"]
