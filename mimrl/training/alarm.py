"""How several processes end together: one error, one message, and nobody left waiting.

A process that fails leaves the others inside a collective operation, which no exception can reach.
So each process has a thread that looks every half second whether another one has raised the alarm
in the store through which the processes found each other, and then ends its own. Who raises it
first also says why; most errors (settings, a loss that became NaN, Ctrl-C) happen to all at once,
and get some seconds to do so: a process that fails by itself keeps its own error, also where it
has heard of another one's by then. The command ends all processes; called from Python, a training
raises.
"""

from __future__ import annotations

import _thread
import itertools
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import torch.distributed as dist

from mimrl.errors import ConfigError, MimrlError, MimrlWarning, ProcessError
from mimrl.exits import INTERRUPTED, OK, UNUSABLE, plain_warnings
from mimrl.launch import first_process, launched, require_launcher

EVERY = 0.5  # seconds between two looks
SAME = 3.0  # seconds in which a process may find by itself what another one has found
GRACE = 5.0  # seconds in which a process may end by itself
CRASHED = 1
KEY = "mimrl/alarm"
ELSEWHERE = "another process of this training failed; its own message says why"


class Alarm:
    """The alarm of all processes of one launch, seen from one of them.

    One at a time; the n-th of each process belong together.

    Args:
        farewell: written on standard error where this process hears the alarm, but has to be
            ended: it is inside an operation that nothing can interrupt, or ignores SIGINT, as
            what a script starts in the background does.

    Attributes:
        interrupted: whether the alarm has interrupted this process's main thread.

    Raises:
        ConfigError: the launcher's variables are incomplete, or its address cannot be reached.
    """

    active: ClassVar[bool] = False
    _numbers: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self, farewell: str = "") -> None:
        require_launcher()
        try:
            # A connection of its own: another thread's waiting would block it.
            self._store = next(iter(dist.rendezvous("env://")))[0]
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"the processes cannot meet at {os.environ['MASTER_ADDR']}:"
                f"{os.environ['MASTER_PORT']} ({error}); see docs/cluster.md"
            ) from error
        self._key = f"{KEY}/{next(Alarm._numbers)}"
        self._farewell = farewell
        self._over, self._turn = threading.Event(), threading.Lock()
        self.interrupted = False
        Alarm.active = True
        threading.Thread(target=self._listen, daemon=True).start()

    def ring(self) -> bool:
        """Tells all processes to end. Whether this one is the first to do so."""
        try:
            return bool(self._store.add(self._key, 1) == 1)
        except RuntimeError:  # the process that held the store has ended: it rang first
            return False

    def silence(self) -> None:
        """How this process ends is known; after this call the alarm interrupts nothing."""
        with self._turn:
            self._over.set()
        Alarm.active = False

    def _listen(self) -> None:
        while not self._over.wait(EVERY):
            try:
                heard = bool(self._store.check([self._key]))
            except RuntimeError:
                heard = True
            if heard:
                self._end()
                return

    def _end(self) -> None:
        if self._over.wait(SAME):
            return
        with self._turn:
            if self._over.is_set():
                return
            self.interrupted = True
            _thread.interrupt_main()
        if not self._over.wait(GRACE):
            sys.stderr.write(self._farewell)
            sys.stderr.flush()
            os._exit(UNUSABLE)


@contextmanager
def alarmed() -> Iterator[None]:
    """Whatever is raised inside, in one of several processes, ends the others' waiting for it.

    They raise ProcessError where they can be interrupted; a process that cannot be (it is inside a
    collective operation) ends, with a line on standard error. Nothing where this process trains
    alone, or inside another alarm.

    Raises:
        ConfigError: the processes cannot meet.
        ProcessError: another process has failed.
    """
    if not launched() or Alarm.active:
        yield
        return
    alarm = Alarm(f"error: {ELSEWHERE}\n")
    try:
        try:
            yield
        finally:
            alarm.silence()
    except KeyboardInterrupt:
        alarm.silence()
        if alarm.interrupted:
            raise ProcessError(ELSEWHERE) from None
        alarm.ring()
        raise
    except BaseException:
        alarm.ring()
        raise


def guarded_together(work: Callable[[], object], interrupted: str) -> int:
    """:func:`mimrl.exits.guarded` for a process that trains with others.

    Where anything went wrong it does not return: operations that the others will never take part
    in would keep the interpreter from ending.

    Args:
        work: what the command does.
        interrupted: what to say after Ctrl-C.
    """
    try:
        alarm = Alarm()
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return UNUSABLE
    try:
        ended = _outcome(work, interrupted)
        alarm.silence()
    except KeyboardInterrupt:  # the alarm, while an error of this process was on its way here
        alarm.silence()
        ended = f"{interrupted}\n", INTERRUPTED
    message, code = ended
    if code != OK:
        _end(alarm, message, code)
    return OK


def _outcome(work: Callable[[], object], interrupted: str) -> tuple[str, int]:
    """Runs ``work``; what to say in the end, and the exit code."""
    try:
        with plain_warnings():
            if not first_process():
                warnings.simplefilter("ignore", MimrlWarning)
            work()
            _leave_together()
    except (MimrlError, OSError) as error:
        return f"error: {error}\n", UNUSABLE
    except KeyboardInterrupt:
        return f"{interrupted}\n", INTERRUPTED
    except Exception:
        return traceback.format_exc(), CRASHED
    return "", OK


def _leave_together() -> None:
    if dist.is_initialized():
        dist.barrier()  # the store may live in the first process
        dist.destroy_process_group()


def _end(alarm: Alarm, message: str, code: int) -> None:
    if alarm.ring():
        sys.stderr.write(message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(UNUSABLE if alarm.interrupted else code)
