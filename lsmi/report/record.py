"""An analysis as JSON holds it: everything but the arrays of the samples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from lsmi.decomposition import Totals
from lsmi.report.readings import balance, leading_shares
from lsmi.report.verdicts import adjustments
from lsmi.results import INFORMATION, Analysis, PairReading, Quantity, Reliability, SplitReading

LIBRARIES = ("mimrl", "torch", "numpy", "scikit-learn")


def record(analysis: Analysis, origin: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All totals with intervals and controls, and what they come from; nats throughout.

    Args:
        analysis: the result.
        origin: checkpoint, data and whatever else belongs to the numbers.

    Returns:
        Dicts, lists, texts and numbers; what is not finite is None.
    """
    return plain(
        {
            "unit": "nats",
            "origin": dict(origin or {}),
            "pairs": [pair_record(pair) for pair in analysis.pairs.values()],
            "classes": analysis.classes,
            "prior": analysis.prior,
            "settings": settings_record(analysis),
            "versions": versions(),
        }
    )


def pair_record(pair: PairReading) -> dict[str, Any]:
    """One pair; its splits by name."""
    return {
        "first": pair.names[0],
        "second": pair.names[1],
        "components": pair.components,
        "splits": {name: split_record(reading) for name, reading in pair.splits.items()},
        "choices": pair.choices,
    }


def split_record(reading: SplitReading) -> dict[str, Any]:
    """One split of one pair."""
    known = reading.decomposition
    labels = [int(label) for label in np.unique(reading.labels)]
    return {
        "samples": len(reading.ids),
        "label_entropy": reading.label_entropy,
        "quantities": {name: _quantity(found) for name, found in reading.quantities.items()},
        "h1": float(known.information.h1.mean()),
        "h2": float(known.information.h2.mean()),
        "balance": asdict(balance(reading)),
        "published_shift": known.shift,
        "feasible_shift": known.feasible_shift,
        "adjustments": adjustments(reading),
        "scales": {
            name: {
                "offset": one.offset,
                "raw": asdict(one.raw),
                "adjusted": asdict(one.adjusted),
            }
            for name, one in reading.scales.items()
        },
        "measures": [
            {
                "name": one.name,
                **asdict(one.totals),
                **dict(zip(INFORMATION, one.information, strict=True)),
                "note": one.note,
            }
            for one in reading.measures
        ],
        "reliability": {name: _reliability(one) for name, one in reading.reliability.items()},
        "leading": leading_shares(reading),
        "leading_by_label": {str(label): leading_shares(reading, label) for label in labels},
        "largest_identity_residual": known.residual(),
        "remarks": reading.remarks,
    }


def _quantity(found: Quantity) -> dict[str, Any]:
    return {**asdict(found), "distinguishable": found.distinguishable}


def _reliability(found: Reliability) -> dict[str, Any]:
    return {
        "confidence": found.confidence,
        "accuracy": found.accuracy,
        "count": found.count,
        "error": found.error,
    }


def settings_record(analysis: Analysis) -> dict[str, Any]:
    """What the analysis was computed with."""
    return analysis.settings.in_force()


def versions() -> dict[str, str]:
    """Of the libraries that the numbers depend on."""
    return {name: version(name) for name in LIBRARIES}


def plain(value: Any) -> Any:
    """``value`` of types that JSON knows; None where a number is not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, (type, Totals)):
        return plain(asdict(value))
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
