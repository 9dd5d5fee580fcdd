"""Narrow number types in training, and compilation: the same mathematics, other rounding.

Autocast runs matrix products in the narrow type and keeps weights, their gradients and what sums
many numbers in float32; recurrences on a GPU stay in float32 as a whole. Everything that leaves the
network is made float32 again, so losses, bounds and metrics are computed as ever.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from mimrl.errors import ConfigError
from mimrl.model.encoders import RecurrentEncoder, TextEncoder
from mimrl.model.model import MIMRL
from mimrl.model.output import Output
from mimrl.settings.performance import PerformanceSettings

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
OLDEST_OF_TRITON = (7, 0)  # compute capability


def require_usable(settings: PerformanceSettings, device: torch.device) -> None:
    """Raises before data are read and texts encoded where a training would be refused after it.

    Raises:
        ConfigError: a type that the device cannot use, or compilation without a compiler that
            works.
    """
    _require_type(settings.precision, device)
    if settings.compile:
        _require_compiler(device)
        _try_compiler(device)


class Precision:
    """The number type of the matrix products of a training.

    Args:
        name: ``float32``, ``bf16`` or ``fp16``.
        device: where the training computes.

    Raises:
        ConfigError: a type the device cannot use.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        _require_type(name, device)
        self._type = TYPES.get(name)
        self._device = device
        self.scaled = name == "fp16"

    def __call__(self) -> AbstractContextManager[object]:
        """Inside, matrix products are of this type."""
        if self._type is None:
            return nullcontext()
        return torch.autocast(self._device.type, self._type)

    def scaler(self) -> torch.amp.GradScaler | None:
        """Keeps small gradients of fp16 above its smallest numbers; None where not needed."""
        return torch.amp.GradScaler(self._device.type) if self.scaled else None


def in_float32(output: Output) -> Output:
    """What the network gave, with narrow numbers made float32."""

    def wide(values: Tensor) -> Tensor:
        return values.float() if values.dtype in TYPES.values() else values

    return Output(
        prediction=wide(output.prediction),
        fused=wide(output.fused),
        unimodal={name: wide(value) for name, value in output.unimodal.items()},
    )


def compile_network(model: MIMRL, settings: PerformanceSettings, device: torch.device) -> None:
    """Has ``torch.compile`` translate the network's parts, in place, where the settings ask for it.

    Shapes are dynamic, since every batch has lengths of its own. Recurrences have no part in it:
    a GPU has kernels for whole recurrences, and a loop over the steps would be unrolled. Weights
    keep their names.

    Raises:
        ConfigError: there is no C++ compiler, or for a GPU no Triton.
    """
    if not settings.compile:
        return
    _require_compiler(device)
    for part in _parts(model):
        part.compile(dynamic=True)


def _require_type(name: str, device: torch.device) -> None:
    if name == "fp16" and device.type != "cuda":
        raise ConfigError(
            f"performance.precision fp16 needs a GPU, got device {device.type}; its gradients "
            "are scaled for that. On a CPU use bf16 (faster only where the processor has it) "
            "or float32"
        )
    # PyTorch emulates bf16 where a GPU has none, slower than float32.
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(False):
        raise ConfigError("this GPU has no bf16; set performance.precision to fp16 or float32")


def _require_compiler(device: torch.device) -> None:
    if device.type == "cuda":
        _require_triton(device)
    wanted = os.environ.get("CXX", "g++")
    if shutil.which(wanted) is None and shutil.which("clang++") is None:
        raise ConfigError(
            f"performance.compile needs a C++ compiler, and neither {wanted} nor clang++ is on "
            "the path; install one (Debian: apt install g++), name it in CXX, or set "
            "performance.compile=false"
        )


def _try_compiler(device: torch.device) -> None:
    """Compiles something small: a compiler may be there without Python's headers, or its own."""
    try:
        torch.compile(_line, dynamic=True)(torch.ones(3, device=device))
    except RuntimeError as error:  # of which torch.compile's own errors are kinds
        said = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"performance.compile: a first try of torch.compile failed ({said}); where a compiler "
            "is there, it most often lacks Python's headers (Debian: apt install python3-dev); "
            "install them, or set performance.compile=false"
        ) from error


def _line(values: Tensor) -> Tensor:
    return 2 * values + 1


def _require_triton(device: torch.device) -> None:
    if importlib.util.find_spec("triton") is None:
        raise ConfigError(
            "performance.compile on a GPU needs Triton, and it is not installed; install the one "
            "that belongs to this PyTorch (pip install triton), or set performance.compile=false"
        )
    if torch.cuda.get_device_capability(device) < OLDEST_OF_TRITON:
        raise ConfigError(
            "performance.compile needs a GPU of compute capability 7.0 or higher, for Triton; set "
            "performance.compile=false"
        )


def _parts(model: MIMRL) -> list[nn.Module]:
    encoders = [
        encoder.transformer if isinstance(encoder, TextEncoder) else encoder
        for encoder in model.encoders.values()
        if not isinstance(encoder, RecurrentEncoder)
    ]
    return [*encoders, model.fusion, model.head]
