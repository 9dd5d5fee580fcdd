"""How the commands end: exit codes, one message where they failed, warnings as single lines.

Exit codes: 0 done; 2 the command, the settings or the data cannot be used (one message on standard
error); 130 interrupted; 141 nobody reads the output any more (``| head``). The last two are what a
shell reports of a program that the signal ended.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mimrl.errors import MimrlError, MimrlWarning
from mimrl.launch import works_alone

OK, UNUSABLE, INTERRUPTED, UNREAD = 0, 2, 130, 141


def run_command(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    work: Callable[[argparse.Namespace], object],
    interrupted: str,
    *,
    misuse: Callable[[argparse.Namespace], str | None] = lambda _: None,
    intermixed: bool = False,
    alone: str | None = None,
) -> int:
    """Reads the arguments of a command and does what they ask for.

    Args:
        parser: of the command.
        argv: arguments without the program's name; None takes those of the process.
        work: does it; gets the arguments.
        interrupted: what to say after Ctrl-C.
        misuse: what is wrong with arguments that are all right one by one; None: nothing.
        intermixed: positional arguments may stand between options.
        alone: see :func:`guarded`.

    Returns:
        The exit code.

    Raises:
        SystemExit: the arguments are wrong (code 2), or ask for the help (code 0).
    """
    read = parser.parse_intermixed_args if intermixed else parser.parse_args
    arguments = read(argv)
    problem = misuse(arguments)
    if problem is not None:
        parser.error(problem)
    return guarded(lambda: work(arguments), interrupted, alone=alone)


def guarded(work: Callable[[], object], interrupted: str, *, alone: str | None = None) -> int:
    """Runs ``work`` and turns how it ended into an exit code, with one message where it failed.

    Args:
        work: what the command does.
        interrupted: what to say after Ctrl-C.
        alone: of a command that is for one process, what to do instead of starting several, which
            would each do all of it; None: several are all right.
    """
    try:
        with plain_warnings():
            if alone is None or works_alone(alone):
                work()
            sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer would fail again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD
    except (MimrlError, OSError) as error:  # OSError: a full disk, a folder without permission
        sys.stderr.write(f"error: {error}\n")
        return UNUSABLE
    except KeyboardInterrupt:
        sys.stderr.write(f"{interrupted}\n")
        return INTERRUPTED
    return OK


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Shows a :class:`MimrlWarning` as one line on standard error, once a text."""
    original = warnings.showwarning
    shown: set[str] = set()  # Python forgets what it showed whenever a filter changes

    def show(message, category, *place, **more):  # type: ignore[no-untyped-def]
        if issubclass(category, MimrlWarning):
            if str(message) not in shown:
                sys.stderr.write(f"warning: {message}\n")
            shown.add(str(message))
        else:
            original(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("default", MimrlWarning)
        warnings.showwarning = show
        yield
