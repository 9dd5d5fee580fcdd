"""An estimate from a file as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimrl.mi.estimation.control import Control
from mimrl.mi.estimation.variables import Variables
from mimrl.mi.estimators.interface import EstimateResult
from mimrl.mi.estimators.options import AnyEstimator, option_rows, settings_of, summary_line

COLUMNS_SHOWN = 8
CHOSEN, WHY, READINGS = "chosen", "why", "values"
"""Entries of ``additional_information`` in which an estimator that chooses among others says so."""
UNLIKELY = 0.05


@dataclass(frozen=True)
class Report:
    """What was asked for and found.

    Attributes:
        path: of the file.
        variables: as read from it.
        name: of the estimator.
        estimator: with all its options.
        result: what it gave.
    """

    path: Path
    variables: Variables
    name: str
    estimator: AnyEstimator
    result: EstimateResult

    @property
    def quantity(self) -> str:
        """What was estimated."""
        return "I(X; Y | Z)" if "z" in self.variables.arrays else "I(X; Y)"

    def text(self) -> str:
        """The estimate, where it comes from and what is to be doubted, as lines."""
        rows = {
            "samples": _samples(self.path, self.variables),
            **{name: _shown(labels) for name, labels in self.variables.columns.items()},
            "estimator": f"{self.name}: {summary_line(self.estimator)}",
            "options": _options(settings_of(self.estimator)),
        }
        rows |= _choice(self.result.additional_information)
        doubts = [f"{type(doubt).__name__}: {doubt}" for doubt in self.result.warnings]
        rows["warnings"] = f"\n{' ' * 11}".join(doubts) or "none"
        lines = [f"{name:9}  {text}" for name, text in rows.items()]
        return "\n".join([f"{self.quantity} = {_value(self.result)}", *lines])

    def as_json(self, control: Control | None) -> dict[str, Any]:
        """Everything, JSON types only; nats unless a name says bits."""
        value, error = self.result.mi_estimate, self.result.standard_error
        return {
            "quantity": self.quantity,
            "mi_estimate": value,
            "mi_estimate_bits": value / math.log(2),
            "standard_error": error if math.isfinite(error) else None,
            "estimator": self.name,
            "settings": settings_of(self.estimator),
            "additional_information": dict(self.result.additional_information),
            "warnings": [
                {"category": type(doubt).__name__, "text": str(doubt)}
                for doubt in self.result.warnings
            ],
            "file": str(self.path),
            "rows": self.variables.rows,
            "rows_left_out": self.variables.left_out,
            "columns": {name: list(found) for name, found in self.variables.columns.items()},
            "seconds": self.result.time_in_seconds,
            "shuffled": None if control is None else control_json(control),
        }


def control_text(control: Control, *, conditional: bool) -> str:
    """A permutation control as lines."""
    where = "among neighbours in z" if conditional else "in a random order"
    times = len(control.values)
    as_large = sum(value >= control.estimate for value in control.values)
    lines = [
        f"{'shuffled':9}  {times} times, y {where}: mean {control.mean:z.4f} nats, largest "
        f"{control.largest:z.4f}; {as_large} as large as the estimate (p = {control.p_value:.2g})"
    ]
    if as_large and control.p_value > UNLIKELY:
        lines.append(f"{'':9}  samples without dependence read as much: no evidence of dependence")
    return "\n".join(lines)


def control_json(control: Control) -> dict[str, Any]:
    """A permutation control, JSON types only; nats."""
    return {
        "values": list(control.values),
        "mean": control.mean,
        "largest": control.largest,
        "p_value": control.p_value,
    }


def listing(tables: Mapping[str, Mapping[str, AnyEstimator]]) -> str:
    """Estimators with what they are and their options, rows of one class together.

    Args:
        tables: heading -> name -> estimator.
    """
    lines = []
    for heading, table in tables.items():
        lines += [heading, ""]
        for kind in dict.fromkeys(type(estimator) for estimator in table.values()):
            rows = {name: one for name, one in table.items() if type(one) is kind}
            lines += [f"  {name:16}  {_given(one)}".rstrip() for name, one in rows.items()]
            lines.append(f"    {summary_line(next(iter(rows.values())))}")
            lines += [_option_line(row) for row in option_rows(kind())]
            lines.append("")
    return "\n".join(lines).rstrip()


def listing_json(tables: Mapping[str, Mapping[str, AnyEstimator]]) -> dict[str, Any]:
    """As :func:`listing`, JSON types only."""
    return {
        heading: {
            name: {"description": summary_line(one), "options": option_rows(one)}
            for name, one in table.items()
        }
        for heading, table in tables.items()
    }


def _given(estimator: AnyEstimator) -> str:
    """The options in which a row differs from the class's defaults."""
    own, plain = settings_of(estimator), settings_of(type(estimator)())
    changed = {name: value for name, value in own.items() if plain.get(name) != value}
    return ", ".join(f"{name}={_written(value)}" for name, value in changed.items())


def _choice(information: Mapping[str, Any]) -> dict[str, str]:
    """What an estimator that chooses among others chose, and why; nothing from the others."""
    if WHY not in information:
        return {}
    rows = {"why": f"{information[CHOSEN]}: {information[WHY]}"}
    readings = information.get(READINGS, {})
    if readings:
        rows["readings"] = ", ".join(f"{name} {value:z.4f}" for name, value in readings.items())
    return rows


def _option_line(row: Mapping[str, Any]) -> str:
    default = row["default"]
    given = f"{row['option']}={_written(default)}"
    return f"      {given:28}  {row['description']} ({row['type']})"


def _value(result: EstimateResult) -> str:
    bits = result.mi_estimate / math.log(2)
    known = math.isfinite(result.standard_error)
    error = f"{result.standard_error:.4f} nats" if known else "not known to this method"
    return f"{result.mi_estimate:z.4f} nats ({bits:z.4f} bits), standard error {error}"


def _samples(path: Path, variables: Variables) -> str:
    left_out = f", {variables.left_out} left out for missing values" * bool(variables.left_out)
    return f"{variables.rows:,} rows of {path}{left_out}"


def _shown(labels: Sequence[str]) -> str:
    if len(labels) <= COLUMNS_SHOWN:
        return ", ".join(labels)
    return f"{', '.join(labels[: COLUMNS_SHOWN - 1])}, ... {labels[-1]} ({len(labels)} columns)"


def _options(settings: Mapping[str, Any]) -> str:
    given = [
        f"{name}={_written(value)}"
        for name, value in settings.items()
        if name != "class" and value is not None
    ]
    return ", ".join(given) or "none"


def _written(value: Any) -> str:
    """An option's value as ``--set`` takes it; an estimator inside by its class."""
    if isinstance(value, Mapping):
        return str(value.get("class", dict(value)))
    return value if isinstance(value, str) else json.dumps(value)
