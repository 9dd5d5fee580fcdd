"""What every group of settings shares: frozen, unknown keys refused, a default kind for unions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class RulesError(ValueError):
    """What the rules of one group found, a sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def refuse(problems: Sequence[str]) -> None:
    """Raises :class:`RulesError` when there are any; for the rules of a group."""
    if problems:
        raise RulesError(problems)


class Group(BaseModel):
    """A frozen group of settings; an unknown key or a wrong type is an error.

    A field that is one of several kinds (``fusion``, ``optimizer``...) may be given without its
    ``kind``: the default kind of that field is then meant, so that
    ``training.optimizer.rate=1e-3`` works by itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _default_kinds(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        for name, field in cls.model_fields.items():
            given = filled.get(name)
            if field.discriminator and isinstance(given, dict) and "kind" not in given:
                kind = field.get_default(call_default_factory=True, validated_data={}).kind
                filled[name] = {"kind": kind, **given}
            elif field.discriminator and isinstance(given, str):
                filled[name] = {"kind": given}
        return filled
