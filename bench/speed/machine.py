"""The machine that times are measured on: what it is, and what it can do at most."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

SIZE = 2048  # of the square matrices: 48 MiB in float32, beyond the caches of a few cores
SWEEP = 2**26  # numbers an array: 256 MiB in float32
TRIES = 5


@dataclass(frozen=True)
class Peak:
    """What the machine does at most, measured.

    Attributes:
        flops: multiplications and additions a second in a large matrix product.
        bandwidth: bytes a second read and written by ``a = b + c`` on large arrays.
    """

    flops: float
    bandwidth: float


def measure_peak(
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    size: int = SIZE,
    sweep: int = SWEEP,
) -> Peak:
    """The best of a few matrix products and of a few sweeps over memory."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    product = best(lambda: torch.matmul(a, b, out=out), device)
    x, y, z = (torch.ones(sweep, device=device, dtype=torch.float32) for _ in range(3))
    sweep_seconds = best(lambda: torch.add(x, y, out=z), device)
    return Peak(flops=2 * size**3 / product, bandwidth=3 * 4 * sweep / sweep_seconds)


def counted(call: Callable[[], object]) -> float:
    """Multiplications and additions of the matrix products in one call."""
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def best(call: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """The shortest of a few calls, in seconds, after one that does not count."""
    call()
    return min(timed(call, device) for _ in range(TRIES))


def timed(call: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Seconds of one call, until the device has done it."""
    wait(device)
    started = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - started


def wait(device: torch.device | str) -> None:
    """Until the device has done all that was asked of it."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def peak_resident() -> float:
    """The most memory this process has held so far, in MiB.

    Linux keeps it beside the address space; ``getrusage`` there also counts what the parent
    process held before it started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return float(fields["VmHWM"].split()[0]) / 1024
    unit = 2**20 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def describe() -> dict[str, str]:
    """Processor, cores, memory, versions and date; nothing that tells whose machine it is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads of PyTorch": str(torch.get_num_threads()),
        "memory": f"{memory:.0f} GiB",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "transformers": transformers.__version__,
        "NumPy": np.__version__,
    }
    return found


def _processor() -> str:
    """The model's name, and the widest vectors it has, where the system tells."""
    info = Path("/proc/cpuinfo")
    fields: dict[str, str] = {}
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine()
    flags = fields.get("flags", "").split()
    widest = next((flag for flag in ("avx512f", "avx2") if flag in flags), "")
    return f"{platform.machine()}, {name}" + (f", {widest}" if widest else "")
