"""What a batch and a model say: named features and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from mimrl.errors import EstimationError

LABEL_NAMES = ("labels", "label", "targets", "target", "y")
EXAMPLE = """\
give adapter=..., a function such as

    def adapter(model, batch):
        text = model.text_encoder(batch["text"])     # (B, D1)
        audio = model.audio_encoder(batch["audio"])  # (B, D2)
        return BatchFeatures({"text": text, "audio": audio}, labels=batch["label"])"""


@dataclass(frozen=True)
class BatchFeatures:
    """What an adapter gives for one batch.

    Attributes:
        features: name -> ``(B, D)``, one vector a sample; the first two are the default pair.
        labels: ``(B,)`` or ``(B, 1)`` classes, whole numbers.
        ids: ``B`` names, or None.
        groups: ``B`` names of what folds must not tear apart (video, speaker), or None.
    """

    features: Mapping[str, Tensor]
    labels: Tensor
    ids: Sequence[str] | None = None
    groups: Sequence[str] | None = None


Adapter = Callable[[Any, Any], BatchFeatures]


def default_adapter(model: Any, batch: Any) -> BatchFeatures:
    """Features and labels where model and batch make them plain.

    Labels are the last entry of a tuple or list, or what a mapping or object calls by one of
    :data:`LABEL_NAMES`. Features come from ``model.encode(batch)`` where the model has it, else
    from ``model(*batch[:-1])`` for a tuple or list and ``model(batch)`` for anything else: a
    mapping of tensors by name, or an object with such a mapping as ``unimodal`` (and, if it has
    it, ``fused``).

    Raises:
        EstimationError: it is not as plain as that; the message shows an adapter.
    """
    labels = _labels_of(batch)
    if not isinstance(labels, Tensor):
        _refuse(f"no tensor of labels in a batch that is {described(batch)}")
    output = _output_of(model, batch)
    unimodal = getattr(output, "unimodal", None)
    if isinstance(unimodal, Mapping):
        fused = getattr(output, "fused", None)
        output = {**unimodal, **({} if fused is None else {"fused": fused})}
    if not isinstance(output, Mapping):
        _refuse(f"the model gives {described(output)}, not a mapping of features by name")
    features = {str(name): value for name, value in output.items() if isinstance(value, Tensor)}
    return BatchFeatures(features, labels)


def _labels_of(batch: Any) -> Any:
    if isinstance(batch, (tuple, list)):
        return batch[-1] if len(batch) > 1 else None
    if isinstance(batch, Mapping):
        return next((batch[name] for name in LABEL_NAMES if name in batch), None)
    return next((getattr(batch, name) for name in LABEL_NAMES if hasattr(batch, name)), None)


def _output_of(model: Any, batch: Any) -> Any:
    if callable(getattr(model, "encode", None)):
        call, arguments, said = model.encode, (batch,), "model.encode(batch)"
    elif isinstance(batch, (tuple, list)):
        call, arguments, said = model, tuple(batch[:-1]), "model(*batch[:-1])"
    else:
        call, arguments, said = model, (batch,), "model(batch)"
    try:
        return call(*arguments)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, AttributeError, LookupError, RuntimeError) as error:
        raise EstimationError(
            f"{said} failed: {type(error).__name__}: {error}. If the model is called otherwise, "
            f"{EXAMPLE}"
        ) from error


def _refuse(why: str) -> NoReturn:
    raise EstimationError(f"features and labels cannot be told: {why}; {EXAMPLE}")


def described(value: Any) -> str:
    """What a value is, for messages."""
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {', '.join(type(v).__name__ for v in value)}"
    return f"a {type(value).__name__}"
