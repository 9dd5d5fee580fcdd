"""A stand-in for a GPU on a machine without one: it computes on the CPU and keeps a GPU's rules.

Tensors that are sent to ``cuda`` stay in the CPU's memory, but are marked: they say that their
device is ``cuda:0``, and operations that CUDA refuses are refused (tensors of two devices, a CPU
generator for numbers drawn on the GPU, NumPy's view of GPU memory). So code that asks where a
tensor is takes the GPU's way, with true numbers that can be compared with the CPU's.

Seen: every operation of PyTorch below autograd, forward and backward, and every call of PyTorch
from Python. Inside :meth:`StandIn.no_waiting`, in addition, everything that makes the host wait for
the device: reading values, results whose shape depends on values, copies from the device, copies
to it that block, and copies to it from pageable memory beyond 64 KB, which CUDA stages and "may
synchronize with the stream" for (CUDA runtime API, "API synchronization behavior").

Not seen: the GPU's own kernels (cuDNN's recurrences, fused attention, their rounding and what they
refuse), CUDA's autocast lists (the CPU's are used instead), streams, memory, gradients that cross
devices, and tensors that C++ code makes without another tensor at hand: these fit any device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training.no_sync import MASKABLE, NoSync, WaitingError

GPU = torch.device("cuda", 0)
HOST = torch.device("cpu")
SMALL_COPY = 64 * 2**10  # bytes that go along with the command itself
COPIES = ("copy_", "_to_copy", "_foreach_copy_", "set_")
PACKED = ("_pack_padded_sequence", "_pad_packed_sequence", "_pack_padded_sequence_backward")
READS = ("tolist", "item", "__float__", "__int__", "__bool__", "__index__", "__contains__")


class DeviceError(AssertionError):
    """What CUDA would refuse."""


class Places:
    """Which device the storages of tensors stand for; unknown ones fit any."""

    def __init__(self) -> None:
        # A weak reference keeps the address from being used again.
        self._known: dict[int, tuple[StorageWeakRef, torch.device]] = {}
        self._pinned: dict[int, StorageWeakRef] = {}

    def of(self, tensor: Tensor) -> torch.device | None:
        found = self._known.get(_storage(tensor)._cdata)
        return None if found is None else found[1]

    def put(self, tensor: Tensor, place: torch.device) -> None:
        storage = _storage(tensor)
        self._known[storage._cdata] = StorageWeakRef(storage), place

    def pin(self, tensor: Tensor) -> None:
        storage = _storage(tensor)
        self._pinned[storage._cdata] = StorageWeakRef(storage)

    def pinned(self, tensor: Tensor) -> bool:
        return _storage(tensor)._cdata in self._pinned


def _storage(tensor: Tensor) -> Any:
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor.untyped_storage()


def _tensors(*trees: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(trees) if isinstance(leaf, Tensor)]


class StandIn:
    """The stand-in; :meth:`here` puts it in place."""

    def __init__(self) -> None:
        self.places = Places()
        self.strict = False
        self.copied: list[tuple[str, int]] = []  # direction, bytes

    @contextlib.contextmanager
    def here(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        """Code inside finds a GPU; skips the test where PyTorch was built for a real one."""
        if torch.version.cuda or torch.version.hip:
            pytest.skip("this build of PyTorch looks for a real GPU; see test_on_a_gpu.py")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated=True: True)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
        monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        monkeypatch.setattr(torch, "autocast", _Autocast)
        for holder in (torch.optim.Optimizer, torch.nn.utils.clip_grad):
            name = "_group_tensors_by_device_and_dtype"
            monkeypatch.setattr(holder, name, self._grouped(getattr(holder, name)))
        with _Operations(self), _Calls(self):
            yield self

    @contextlib.contextmanager
    def no_waiting(self) -> Iterator[None]:
        """Inside, nothing may make the host wait for the device."""
        self.strict = True
        try:
            yield
        finally:
            self.strict = False

    def copy(self, source: Tensor, place: torch.device, *, non_blocking: bool) -> None:
        """A copy between devices is about to be made."""
        before = self.places.of(source)
        if before is None or before == place:
            return
        size = source.numel() * source.element_size()
        self.copied.append((f"{before.type} to {place.type}", size))
        if not self.strict:
            return
        if place == HOST:
            raise WaitingError("a copy from the device waits for it")
        if not non_blocking:
            raise WaitingError(f"a blocking copy of {size} bytes waits for the device")
        if size > SMALL_COPY and not self.places.pinned(source):
            raise WaitingError(f"a copy of {size} bytes from pageable memory may wait")

    def _grouped(self, group: Callable[..., Any]) -> Any:
        def grouped(tensors: Any, *args: Any, **kwargs: Any) -> Any:
            found = group(tensors, *args, **kwargs)
            device = next((t.device for t in _tensors(tensors)), HOST)
            return {(device, dtype): value for (_, dtype), value in found.items()}

        return staticmethod(grouped) if isinstance(group, staticmethod) else grouped


class _Autocast(torch.amp.autocast_mode.autocast):
    """Of the CPU where that of a GPU is asked for."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


class _Calls(TorchFunctionMode):
    """What Python asks of PyTorch: where tensors are, copies, new tensors."""

    def __init__(self, device: StandIn) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs, places = dict(kwargs or {}), self.device.places
        getter = getattr(func, "__self__", None)
        if getter is torch.Tensor.device:
            return places.of(args[0]) or func(*args)
        if getter is torch.Tensor.is_cuda or getter is torch.Tensor.is_cpu:
            return (places.of(args[0]) == GPU) == (getter is torch.Tensor.is_cuda)
        name = getattr(func, "__name__", "")
        if name in ("to", "cpu", "cuda") and isinstance(args[0], Tensor):
            return self._sent(func, name, args, kwargs)
        if name == "pin_memory":
            return self._pinned(args[0])
        if name == "is_pinned":
            return places.pinned(args[0])
        if name in READS or name == "numpy":
            self._read(name, args[0])
        if kwargs.get("device") is not None:
            return self._made(func, name, args, kwargs)
        found = func(*args, **kwargs)
        if not _tensors(args, kwargs):
            for tensor in _tensors(found):
                places.put(tensor, HOST)
        return found

    def _sent(self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        source, *rest = args
        if rest and isinstance(rest[0], Tensor):
            kwargs |= {"dtype": rest[0].dtype, "device": self.device.places.of(rest[0])}
            rest = rest[1:]
        copy = bool(kwargs.pop("copy", False))
        if name == "to":
            device, dtype, non_blocking, layout = torch._C._nn._parse_to(*rest, **kwargs)
        else:
            device, dtype, layout = torch.device(name), None, kwargs.get("memory_format")
            non_blocking = bool(kwargs.get("non_blocking", False))
        place = None if device is None else GPU if device.type == "cuda" else HOST
        moves = place is not None and place != self.device.places.of(source)
        if moves and place is not None:
            self.device.copy(source, place, non_blocking=non_blocking)
        options = {} if layout is None else {"memory_format": layout}
        found = source.to(dtype=dtype or source.dtype, copy=copy or moves, **options)
        if moves and place is not None:
            self.device.places.put(found, place)
        return found

    def _pinned(self, source: Tensor) -> Tensor:
        if self.device.places.of(source) == GPU:
            raise DeviceError("only memory of the host can be pinned")
        found = source.clone()
        self.device.places.put(found, HOST)
        self.device.places.pin(found)
        return found

    def _read(self, name: str, source: Any) -> None:
        if not isinstance(source, Tensor) or self.device.places.of(source) != GPU:
            return
        if name == "numpy":
            raise DeviceError("NumPy cannot see the memory of a GPU")
        if self.device.strict:
            raise WaitingError(f"{name} reads values of the device")

    def _made(self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        place = GPU if torch.device(kwargs["device"]).type == "cuda" else HOST
        generator = kwargs.get("generator")
        if generator is not None and place == GPU:
            raise DeviceError(f"{name} on a GPU with a generator of the CPU")
        if name in ("tensor", "as_tensor") and place == GPU and self.device.strict:
            raise WaitingError(f"{name} of numbers of the host waits for the device")
        found = func(*args, **{**kwargs, "device": HOST})
        for tensor in _tensors(found):
            self.device.places.put(tensor, place)
        return found


class _Operations(TorchDispatchMode):
    """What is computed: of tensors of one device, and where the results are."""

    def __init__(self, device: StandIn) -> None:
        super().__init__()
        self.device = device
        self.guard = NoSync()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs, places = dict(kwargs or {}), self.device.places
        name = func.overloadpacket.__name__
        inputs = [(tensor, places.of(tensor)) for tensor in _tensors(args, kwargs)]
        on_gpu = any(place == GPU for _, place in inputs)
        if on_gpu:
            self._check(name, args, kwargs, inputs)
        if self.device.strict and on_gpu:
            found = self.guard.__torch_dispatch__(func, types, args, kwargs)
        else:
            found = func(*args, **kwargs)
        self._place(name, inputs, found, on_gpu=on_gpu)
        return found

    def _check(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        inputs: Sequence[tuple[Tensor, torch.device | None]],
    ) -> None:
        of_host = [tensor for tensor, place in inputs if place == HOST]
        if kwargs.get("generator") is not None:
            raise DeviceError(f"{name} on a GPU with a generator of the CPU")
        if name in COPIES:
            if name == "copy_" and self.device.places.of(args[0]) is not None:
                asked = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
                target = self.device.places.of(args[0]) or GPU
                self.device.copy(args[1], target, non_blocking=asked)
            return
        if name in PACKED or not any(tensor.ndim for tensor in of_host):
            return
        if name in MASKABLE and self.device.places.of(args[0]) == GPU:
            if self.device.strict:
                raise WaitingError(f"{name} sends indices of the host to the device, and waits")
            return
        shapes = [(tuple(tensor.shape), str(place)) for tensor, place in inputs]
        raise DeviceError(f"{name} of tensors on different devices: {shapes}")

    def _place(
        self,
        name: str,
        inputs: Sequence[tuple[Tensor, torch.device | None]],
        found: Any,
        *,
        on_gpu: bool,
    ) -> None:
        places = self.device.places
        whole = [place for tensor, place in inputs if tensor.ndim and place is not None]
        if not on_gpu and not whole:
            return
        place = GPU if on_gpu else HOST
        for tensor, before in inputs:
            if before is None and tensor.ndim:
                places.put(tensor, place)
        for index, tensor in enumerate(_tensors(found)):
            if places.of(tensor) is None:
                places.put(tensor, HOST if name in PACKED and index else place)
