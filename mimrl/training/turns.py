"""Who makes a file that several processes want: one of them, while the others wait for it.

A lock file beside it says who is at work, and its holder touches it every few seconds. It is made
by an exclusive ``open``, which holds on network file systems too (NFS from version 3 on), where
``flock`` often does not. A lock whose holder has died is broken: at once on the holder's own host,
after two minutes without a touch from elsewhere, measured by the clock of who waits.

Note:
    The file itself must appear by a rename, so that a lock that is lost or broken in error costs
    work done twice and nothing else.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

POLL = 0.5  # seconds between two looks
TOUCH = 10.0  # seconds between two signs of life
SILENCE = 120.0  # seconds without one: beyond what a network file system keeps in its caches


def process_name() -> str:
    """``host:process``; containers of one host that number processes apart are told apart."""
    return f"{_host()}:{os.getpid()}"


def has_ended(name: str) -> bool:
    """Whether the process with this :func:`process_name` is gone; False where it ran elsewhere."""
    host, _, process = name.rpartition(":")
    return host == _host() and process.isdecimal() and not _alive(int(process))


@contextmanager
def turn(path: Path, ready: Callable[[], bool], waiting: Callable[[str], object]) -> Iterator[bool]:
    """Waits until no other process makes ``path``, or until it is there.

    Args:
        path: what is to be made; the lock lies beside it.
        ready: whether another process has made it.
        waiting: gets the name of the process that is waited for, once.

    Yields:
        True: make it; the lock is held until the end of the block, or no lock could be made in
        this folder. False: it is ready.
    """
    lock = path.with_name(f".{path.name}.lock")
    mine = f"{process_name()} {uuid.uuid4().hex}"
    held, wanted = False, True
    with suppress(OSError):  # whoever writes the file will say what is wrong with the folder
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = wanted = _take(lock, mine) or _awaited(lock, mine, ready, waiting)
    if not held:
        yield wanted
        return
    over = threading.Event()
    thread = threading.Thread(target=_touch, args=(lock, over), daemon=True)
    thread.start()
    try:
        yield True
    finally:
        over.set()
        thread.join()
        with suppress(OSError):
            if lock.read_text() == mine:  # else it was broken, and is another's
                lock.unlink()


def _awaited(
    lock: Path, mine: str, ready: Callable[[], bool], waiting: Callable[[str], object]
) -> bool:
    """Whether the lock was taken in the end; False: there is nothing left to do."""
    seen, since, told = None, time.monotonic(), False
    while not ready():
        found = _look(lock)
        if found is None:
            if _take(lock, mine):
                return True
            continue
        if found != seen:
            seen, since = found, time.monotonic()
        holder = found[0].partition(" ")[0]
        if has_ended(holder) or time.monotonic() - since > SILENCE:
            _break(lock, found[0])
            continue
        if not told and holder:
            waiting(holder)
            told = True
        time.sleep(POLL)
    return False


def _take(lock: Path, mine: str) -> bool:
    try:
        file = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    try:
        os.write(file, mine.encode())
    except OSError:
        lock.unlink()
        raise
    finally:
        os.close(file)
    return True


def _look(lock: Path) -> tuple[str, int] | None:
    """Who holds the lock, and when it was last touched; None where there is none.

    It is opened, since that has a network file system ask its server.
    """
    try:
        with lock.open() as file:
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _break(lock: Path, holder: str) -> None:
    """Removes a dead process's lock; a rename, of which only one of many succeeds."""
    aside = lock.with_name(f"{lock.name}.{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        lock.rename(aside)
        if aside.read_text() != holder:  # someone else was faster, and has taken it since
            with suppress(FileExistsError):
                os.link(aside, lock)
        aside.unlink()


def _touch(lock: Path, over: threading.Event) -> None:
    while not over.wait(TOUCH):
        with suppress(OSError):  # it may have been broken
            os.utime(lock)


def _host() -> str:
    space = Path("/proc/self/ns/pid")
    try:
        return f"{socket.gethostname()}/{space.stat().st_ino}"
    except OSError:  # no Linux
        return socket.gethostname()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # someone else's, but there
        return True
    return True
