"""Pickles of tensors, read without running anything they ask for.

``pickle.dump`` writes a tensor as a call of torch that rebuilds it from a storage, whose own bytes
are a file of ``torch.save``. As in :mod:`mimrl.datasets.pickles`, each name that may be asked for
stands for a function of ours that builds plain data; the storages are read with ``weights_only``.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import torch

from mimrl.datasets.pickles import read_pickle
from mimrl.errors import DataError, UnsafePickleError


class _Maker:
    """What a name in a pickle of tensors stands for; may be called, but not changed."""

    __slots__ = ()

    def __setstate__(self, state: object) -> NoReturn:
        raise UnsafePickleError("attributes of functions are not admitted")


class _Storage(_Maker):
    """``torch.storage._load_from_bytes``, whose own reading would unpickle anything."""

    def __call__(self, content: object) -> object:
        if not isinstance(content, bytes):
            raise ValueError(f"a storage is {type(content).__name__}")
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")


class _Tensor(_Maker):
    """``torch._utils._rebuild_tensor_v2``: a view of a storage."""

    def __call__(
        self, storage: object, offset: object, size: object, stride: object, *_flags: object
    ) -> torch.Tensor:
        if not isinstance(storage, torch.storage.TypedStorage):
            raise ValueError(f"a tensor of {type(storage).__name__}")
        lengths, steps = _whole_numbers(size), _whole_numbers(stride)
        (first,) = _whole_numbers((offset,))
        flat = torch.empty(0, dtype=storage.dtype).set_(storage)
        if math.prod(lengths) > len(flat):
            raise ValueError(f"a tensor of size {lengths} from {len(flat)} values")
        return flat.as_strided(lengths, steps, first).clone()


class _Hooks(_Maker):
    """``collections.OrderedDict``, in which a tensor keeps its hooks: none are admitted."""

    def __call__(self, *items: object) -> dict[object, object]:
        if items and items != ((),) and items != ([],):
            raise UnsafePickleError("a tensor has hooks")
        return {}


ADMITTED: Mapping[tuple[str, str], _Maker] = MappingProxyType(
    {
        ("torch.storage", "_load_from_bytes"): _Storage(),
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor(),
        ("collections", "OrderedDict"): _Hooks(),
    }
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """What an admitted name stands for; anything else is refused, dotted names included."""
        if (module, name) not in ADMITTED:
            raise UnsafePickleError(f"it asks for {module}.{name}")
        return ADMITTED[module, name]


def read_tensors(source: Path) -> object:
    """The data in a pickle: containers of tensors, or, where somebody made them plain, of arrays.

    Args:
        source: a file written by ``pickle.dump``.

    Raises:
        MissingFileError: no such file.
        UnsafePickleError: the pickle asks for anything else; the message names it.
        DataError: the file is truncated, damaged, empty, or not a pickle.
    """
    try:
        return read_pickle(source)
    except UnsafePickleError as refused:
        if not _asks_for_tensors(refused):
            raise
    try:
        with source.open("rb") as file:
            return _Unpickler(file).load()
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f"{source}: refused, because {error}; only tensors, numbers and containers are read "
            "from saved features. If you trust the file, load it yourself and save the tensors "
            "alone"
        ) from error
    except Exception as error:  # a damaged pickle can fail in every way Python can
        raise DataError(
            f"{source}: expected a whole pickle of tensors, but it is truncated or damaged "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); copy it again"
        ) from error


def _asks_for_tensors(refused: UnsafePickleError) -> bool:
    return any(f"{module}.{name}" in str(refused) for module, name in ADMITTED)


def _whole_numbers(values: object) -> Sequence[int]:
    if not isinstance(values, tuple) or not all(type(n) is int and n >= 0 for n in values):
        raise ValueError(f"size, stride or offset {values!r} of a tensor")
    return values
