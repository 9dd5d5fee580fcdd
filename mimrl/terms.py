"""The terms that are estimated and the quantities that steer, derived from the modalities.

The first modality is the anchor. For text, audio, video this gives the 11 terms and 8 quantities
of MIMRL (Sun et al., IEEE TAFFC 2025); any other list of modalities gives the same table by the
same rule, one modality alone only its term with the fused features. A term has one name from the
settings to the report.

>>> [term.name for term in terms(("text", "audio"))]  # doctest: +NORMALIZE_WHITESPACE
['fused_text', 'fused_audio', 'text_audio',
 'audio_label_given_text', 'text_audio_given_label', 'text_label_given_audio']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mimrl.errors import ConfigError

FUSED = "fused"
LABEL = "label"


@dataclass(frozen=True)
class Term:
    """I(x; y) or, with ``given``, I(x; y | given), between named variables, in nats."""

    x: str
    y: str
    given: str | None = None

    @property
    def name(self) -> str:
        """``x_y`` or ``x_y_given_z``."""
        return f"{self.x}_{self.y}" + ("" if self.given is None else f"_given_{self.given}")


@dataclass(frozen=True)
class Quantity:
    """A sum of terms with signs, by term name."""

    name: str
    parts: Mapping[str, float]


def terms(modalities: Sequence[str]) -> tuple[Term, ...]:
    """All terms for ``modalities``, the mutual informations first.

    Raises:
        ConfigError: no modality.
    """
    anchor, others = _split(modalities)
    mutual = [Term(FUSED, name) for name in modalities] + [Term(anchor, o) for o in others]
    conditional = [
        term
        for o in others
        for term in (Term(o, LABEL, given=anchor), Term(anchor, o, given=LABEL))
    ]
    conditional += [Term(anchor, LABEL, given=o) for o in others]
    return tuple(mutual + conditional)


def quantities(modalities: Sequence[str]) -> tuple[Quantity, ...]:
    """All quantities for ``modalities``: fusion, invariant, specific, complementary.

    By the chain rule, specific_audio = I(audio; label) - I(text; audio) and, for three modalities,
    invariant + specific_text = 2 I(text; label): raising a specific quantity lowers what text and
    that modality share, and with equal weights ``invariant`` cancels against ``specific_text``.

    Raises:
        ConfigError: no modality.
    """
    anchor, others = _split(modalities)
    fusion = tuple(Quantity(f"fusion_{m}", {Term(FUSED, m).name: 1.0}) for m in modalities)
    if not others:
        return fusion
    shared = {o: Term(anchor, o).name for o in others}
    shared_given_label = {o: Term(anchor, o, LABEL).name for o in others}
    specific_anchor = {Term(anchor, LABEL, o).name: 1.0 for o in others}
    specific_anchor |= {shared_given_label[o]: -1.0 for o in others}
    rows = [
        *fusion,
        Quantity("invariant", {shared[o]: 1.0 for o in others}),
        Quantity(f"specific_{anchor}", specific_anchor),
        *(
            Quantity(
                f"specific_{o}", {Term(o, LABEL, anchor).name: 1.0, shared_given_label[o]: -1.0}
            )
            for o in others
        ),
        Quantity("complementary", {shared_given_label[o]: 1.0 for o in others}),
    ]
    return tuple(rows)


def _split(modalities: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    if not modalities:
        raise ConfigError("terms need at least one modality, got none")
    return modalities[0], tuple(modalities[1:])
