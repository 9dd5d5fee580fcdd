"""Freed memory: kept while a training runs, the system's again after it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import ctypes, os
from mimrl.training.memory import freed_memory_given_back, keep_freed_memory

def resident():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
accepted = keep_freed_memory()
before = resident()
with freed_memory_given_back():
    block = library.malloc(200 * 2**20)
    ctypes.memset(block, 1, 200 * 2**20)
    library.free(block)
    inside = resident()
print(accepted, inside - before, resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_a_freed_block_stays_until_the_training_ends():
    """In a process of its own: how malloc works is a setting of the whole process."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    accepted, inside, after = ended.stdout.split()
    if accepted == "False":
        pytest.skip("another C library")
    assert float(inside) > 190  # MiB, of 200
    assert float(after) < 10
