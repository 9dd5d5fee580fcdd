"""The splines of the flow; they live in :mod:`mimrl.mi.densities.spline`."""

from mimrl.mi.densities.spline import numbers_a_spline, rational_quadratic

__all__ = ["numbers_a_spline", "rational_quadratic"]
