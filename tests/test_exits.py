"""How commands end where what reads their output has ended before them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PRINTING = """
import sys
from mimrl.exits import guarded
sys.exit(guarded(lambda: print("x" * {length}), "interrupted"))
"""


@pytest.mark.parametrize("length", [1, 10**6], ids=["in the buffer", "beyond the buffer"])
def test_output_that_nobody_reads_is_no_error(length):
    """As in ``... | head``, but sure to be closed before the first byte."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing) as out:
        ended = subprocess.run(
            [sys.executable, "-c", PRINTING.format(length=length)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (141, "")
