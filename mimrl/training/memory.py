"""Freed memory that stays with the process, so that the next step need not ask for it again."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Has the C library keep large blocks when they are freed, where it is glibc.

    A training step on a CPU makes and frees the same large tensors each time: the gradient of an
    embedding of 30,522 words alone has 94 MB. glibc gives blocks of that size back to the system at
    once, and the system hands them out page by page, zeroed, at the next step: several times what
    computing the gradient takes. The process then stays as large as it was at its largest.

    Returns:
        Whether the library accepted it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MOST)) and bool(mallopt(_TRIM_THRESHOLD, _MOST))
