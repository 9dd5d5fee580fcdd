"""Where a study is kept: sqlite for one host, a journal file for many, or any SQL server."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, OperationalError, SQLAlchemyError

from mimrl.errors import ConfigError, MimrlError, MissingFileError

JOURNAL, SQLITE = "journal:///", "sqlite:///"
BUSY = 100.0
ATTEMPTS = 8
BLOCK = 4096
ENTRY = b'{"op_code":'
"""What every line of a journal begins with."""
FORMS = (
    "expected sqlite:///runs/tune.db (one host), journal:///shared/tune.log (several hosts with a "
    "common folder), or the URL of a server such as postgresql://user:password@host/database; "
    "three slashes start a relative path, four an absolute one"
)


class StorageError(MimrlError, OSError):
    """The storage of a study broke down while it was used."""


def open_storage(url: str, *, create: bool = True) -> BaseStorage:
    """The storage behind a URL.

    Args:
        url: ``journal:///FILE`` or a URL of SQLAlchemy.
        create: make the file where there is none.

    Raises:
        ConfigError: no such kind of storage, no access, another file in its place, a damaged
            journal, or its driver is not installed.
        MissingFileError: there is no such file, and none is to be made.
    """
    if not url:
        raise ConfigError(f"--storage is empty (an unset variable?); {FORMS}")
    if url.startswith("sqlite:") and url.removeprefix(SQLITE) in (url, "", ":memory:"):
        raise ConfigError(f"--storage {url} names no file; {FORMS}")
    for prefix in (JOURNAL, SQLITE):
        if url.startswith(prefix) and url != prefix:
            _file(Path(url.removeprefix(prefix)), url, create)
    if url.startswith(JOURNAL) and url != JOURNAL:
        return _journal(url.removeprefix(JOURNAL), url)
    try:
        return _database(url)
    except ArgumentError as error:
        raise ConfigError(f"--storage {shown(url)} names no storage; {FORMS}") from error
    except ImportError as error:
        raise ConfigError(
            f"--storage {shown(url)}: the driver of this database is not installed "
            f"({_reason(error)})"
        ) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        raise ConfigError(f"--storage {shown(url)} cannot be opened: {_reason(error)}") from error


def shown(url: str) -> str:
    """The URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


@contextmanager
def guarded_storage(url: str) -> Iterator[None]:
    """Turns what a broken storage raises into one message.

    Raises:
        StorageError: the storage did not answer, or not as it should.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise StorageError(
            f"the storage {shown(url)} failed: {_reason(error)}; the same command goes on when it "
            "is back"
        ) from error


def _journal(file: str, url: str) -> JournalStorage:
    _check_journal(Path(file), url)
    try:
        return JournalStorage(JournalFileBackend(file, lock_obj=_Mending(file)))
    except OSError as error:
        raise ConfigError(f"--storage {url} cannot be opened: {error}") from error


def _database(url: str) -> RDBStorage:
    """Several workers that start at once may all try to make the tables: losers look again."""
    sqlite = url.startswith("sqlite:")
    options = {"connect_args": {"timeout": BUSY}} if sqlite else {"pool_pre_ping": True}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except (OperationalError, IntegrityError) as error:
            if attempt == ATTEMPTS or not any(
                sign in str(error) for sign in ("already exists", "UNIQUE", "locked", "duplicate")
            ):
                raise
        time.sleep(random.Random().uniform(0.05, 0.3) * attempt)
    raise ConfigError(f"--storage {shown(url)} cannot be opened")


def _file(path: Path, url: str, create: bool) -> None:
    if not create and not path.is_file():
        raise MissingFileError(
            f"{path}, named by --storage {url}, does not exist; there is no study"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--storage {url}: its folder cannot be made ({error})") from error


class _Mending(JournalFileSymlinkLock):
    """The lock of a journal; who takes it removes what a killed worker left of its last line.

    The next entry would else be appended to that piece, and no worker could read the journal any
    more. Nobody writes but who holds the lock, and nobody has read a line without its end: so the
    piece belongs to a worker that has ended, and its entry has never happened.
    """

    def __init__(self, journal: str) -> None:
        super().__init__(journal)
        self._journal = Path(journal)

    def acquire(self) -> bool:
        """As of any lock; afterwards the journal ends with a whole line."""
        taken = super().acquire()
        try:
            _drop_piece(self._journal)
        except BaseException:
            self.release()
            raise
        return taken


def _drop_piece(journal: Path) -> None:
    """Cuts off a last line without an end; one that begins no entry is somebody else's."""
    with journal.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        piece = b""
        while end > 0 and b"\n" not in piece:
            start = max(0, end - BLOCK)
            file.seek(start)
            piece = file.read(end - start) + piece
            end = start
        piece = piece.rpartition(b"\n")[2]
        if piece and _begins_entry(piece):
            file.seek(-len(piece), os.SEEK_END)
            file.truncate()


def _check_journal(path: Path, url: str) -> None:
    """Optuna appends to whatever it is given, and trips over a damaged line."""
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not (_is_entry(line) if line.endswith(b"\n") else _begins_entry(line)):
                    raise ConfigError(
                        f"--storage {url}: line {number} of {path} is no entry of a journal; if it "
                        "is one, stop all workers, keep a copy and remove that line, else name "
                        "another file"
                    )
    except OSError as error:
        raise ConfigError(f"--storage {url} cannot be read: {error}") from error


def _is_entry(line: bytes) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and isinstance(entry.get("op_code"), int)


def _begins_entry(line: bytes) -> bool:
    """Whether more may follow, or would have followed: it is being written, or never was."""
    return line.startswith(ENTRY) or ENTRY.startswith(line)


def _reason(error: Exception) -> str:
    return str(error.__cause__ or error).strip().split("\n")[0]
