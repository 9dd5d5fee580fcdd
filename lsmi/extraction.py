"""One pass of a torch model over a data loader, to named features and labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lsmi.adapters import Adapter, BatchFeatures, default_adapter, described
from lsmi.samples import NamedFeatures
from mimrl.errors import ConfigError, EstimationError, ShapeError


def extract(
    model: Any,
    loader: Iterable[Any],
    *,
    adapter: Adapter = default_adapter,
    modalities: Sequence[str] | None = None,
    device: str | torch.device | None = None,
    name: str = "loader",
) -> NamedFeatures:
    """One pass over a loader: the features of every sample, from the model in evaluation mode.

    Mode and device of the model and the global random state are afterwards as they were.

    Args:
        model: anything an adapter can use; usually an ``nn.Module``.
        loader: gives batches; one pass is made.
        adapter: ``(model, batch)`` -> features and labels, with the batch on the device.
        modalities: features to keep; None: the first two of the first batch.
        device: where the model runs; None: where it is.
        name: names the loader in messages.

    Returns:
        Samples in the order of that pass, in float64 on the CPU.

    Raises:
        EstimationError: no batches; labels that are no classes; a batch without the features.
        ShapeError: features that are not one vector a sample.
        ConfigError: the device cannot be used.
    """
    parts: list[NamedFeatures] = []
    place = place_of(model, device)
    # A loader draws from the global generator, if only a seed for its workers.
    with torch.random.fork_rng(devices=[]), _evaluating(model, place), torch.no_grad():
        for number, batch in enumerate(loader):
            found = adapter(model, moved(batch, place))
            where = f"batch {number} of {name}"
            if not isinstance(found, BatchFeatures):
                raise EstimationError(
                    f"{where}: the adapter gave {described(found)}, expected BatchFeatures"
                )
            modalities = modalities or tuple(found.features)[:2]
            parts.append(_checked(found, modalities, where))
    if not parts:
        raise EstimationError(f"{name} gives no batches; expected at least one")
    return _joined(parts, name)


def moved(value: Any, device: torch.device) -> Any:
    """``value`` with its tensors on ``device``: tensors, containers, objects with ``to``."""
    if hasattr(value, "to"):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, device) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(moved(item, device) for item in value)
    return value


def _homes(model: Any) -> set[torch.device]:
    """Devices of the model's tensors."""
    if not isinstance(model, nn.Module):
        return set()
    return {tensor.device for tensor in (*model.parameters(), *model.buffers())}


def place_of(model: Any, device: str | torch.device | None) -> torch.device:
    """``device``, or where the model is; the CPU for a model without tensors.

    Raises:
        ConfigError: there is no such device here, or it would pull a spread model together.
    """
    homes = _homes(model)
    if device is None:
        return next(iter(homes), torch.device("cpu"))
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"device is {device!r}, expected cpu, cuda or cuda:<number>") from error
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device={device}, but PyTorch finds no such GPU here; use device='cpu'")
    if len(homes) > 1:
        raise ConfigError(
            f"the model lies on {', '.join(sorted(map(str, homes)))}, device asks for {device}; "
            "leave device out to use the model where it is"
        )
    return place


@contextmanager
def _evaluating(model: Any, place: torch.device) -> Iterator[None]:
    """``model`` in evaluation mode on ``place``; then every module's mode and device as before."""
    if not isinstance(model, nn.Module):
        yield
        return
    homes = _homes(model)
    moves = len(homes) == 1 and homes != {place}
    modes = {module: module.training for module in model.modules()}
    try:
        if moves:
            model.to(place)
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        if moves:
            model.to(homes.pop())


def _checked(found: BatchFeatures, modalities: Sequence[str], where: str) -> NamedFeatures:
    """One batch as arrays."""
    labels = _classes(found.labels, where)
    lacking = [name for name in modalities if name not in found.features]
    if lacking:
        raise EstimationError(
            f"{where} has no features {', '.join(lacking)}, only "
            f"{', '.join(found.features) or 'none'}; name two of them in modalities"
        )
    features = {}
    for name in modalities:
        values = found.features[name]
        if not isinstance(values, Tensor) or values.ndim != 2 or len(values) != len(labels):
            shape = tuple(values.shape) if isinstance(values, Tensor) else described(values)
            raise ShapeError(
                f"{where}: {name} is {shape}, expected ({len(labels)}, D), one vector a sample; "
                "an adapter can take the mean over time"
            )
        features[name] = values.detach().double().cpu().numpy()
    return NamedFeatures(
        features=features,
        labels=labels,
        ids=None if found.ids is None else [str(name) for name in found.ids],
        groups=None if found.groups is None else [str(name) for name in found.groups],
    )


def _classes(labels: Any, where: str) -> npt.NDArray[np.int64]:
    """``(B,)`` int64."""
    if not isinstance(labels, Tensor) or labels.ndim not in (1, 2) or labels[:1].numel() > 1:
        found = tuple(labels.shape) if isinstance(labels, Tensor) else described(labels)
        raise ShapeError(f"{where}: labels are {found}, expected (B,), one class a sample")
    values = labels.detach().cpu().reshape(-1)
    whole = values.long()
    if values.is_complex() or not bool((whole == values).all()):
        odd = values[whole != values][0].item()
        raise EstimationError(
            f"{where} has label {odd:g}, expected whole numbers; an adapter can cut ratings into "
            "classes, such as labels=(batch[-1] >= 0).long()"
        )
    return np.asarray(whole.numpy(), dtype=np.int64)


def _joined(parts: Sequence[NamedFeatures], name: str) -> NamedFeatures:
    """Batches end to end."""

    def names(which: str) -> list[str] | None:
        given = [getattr(part, which) for part in parts]
        if all(value is None for value in given):
            return None
        if any(len(v or ()) != len(part) for v, part in zip(given, parts, strict=True)):
            raise EstimationError(f"{name}: {which} of some samples are missing; give all or none")
        return [item for value in given for item in value]

    widths = {key: {p.features[key].shape[1] for p in parts} for key in parts[0].features}
    for key, found in widths.items():
        if len(found) > 1:
            raise ShapeError(f"{name}: {key} has widths {sorted(found)} by batch; expected one")
    return NamedFeatures(
        features={k: np.concatenate([p.features[k] for p in parts]) for k in parts[0].features},
        labels=np.concatenate([part.labels for part in parts]),
        ids=names("ids"),
        groups=names("groups"),
    )
