"""A guard for code that must not wait for the device, checked on a processor.

Reading a value of a tensor on the host, and every operation whose result's shape depends on values
(nonzero, masks as indices, unique), makes a GPU finish all its work first. On a processor nothing
waits, but the same operations run and can be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = (
    "_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "nonzero_numpy", "argwhere",
    "masked_select", "unique", "_unique", "_unique2", "unique_dim", "unique_consecutive",
    "bincount", "histc", "_linalg_check_errors", "linalg_solve", "_linalg_solve_ex",
)  # fmt: skip
MASKABLE = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


class WaitingError(AssertionError):
    """An operation that makes the host wait for the device."""


class NoSync(TorchDispatchMode):
    """Raises :class:`WaitingError` at operations that would make a GPU and its host wait.

    Seen are all operations below autograd in the same thread, forward and backward; not seen are
    tensors made of Python numbers and blocking copies between devices.
    """

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__  # type: ignore[attr-defined]
        if name in WAITING:
            raise WaitingError(f"{func} reads values of the device")
        if name == "repeat_interleave" and isinstance(args[-1], torch.Tensor):
            raise WaitingError(
                f"{func} with repeats on the device has a shape that depends on them"
            )
        if name in MASKABLE:
            indices = [index for index in args[1] if index is not None]
            if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
                raise WaitingError(f"{func} with a mask looks for its true entries")
        return func(*args, **(kwargs or {}))
