"""Freed memory that stays with the process, so that the next step need not ask for it again."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Has the C library keep large blocks when they are freed, where it is glibc.

    A training step on a CPU makes and frees the same large tensors each time: the gradient of an
    embedding of 30,522 words alone has 94 MB. glibc gives blocks of that size back to the system at
    once, and the system hands them out page by page, zeroed, at the next step: several times what
    computing the gradient takes. The process then stays as large as it was at its largest, until
    :func:`freed_memory_given_back`.

    Returns:
        Whether the library accepted it.
    """
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MOST)) and bool(mallopt(_TRIM_THRESHOLD, _MOST))


@contextmanager
def freed_memory_given_back() -> Iterator[None]:
    """Gives the system all that is free in the end, where the C library is glibc.

    A notebook goes on after a training.
    """
    try:
        yield
    finally:
        trim = _of_glibc("malloc_trim")
        if trim is not None:
            trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library; None where it is not glibc."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):  # another C library
        return None
    return found
