"""How several processes end together: one error, one message, and nobody left waiting.

A process that fails leaves the others inside a collective operation, which no exception can reach.
So each process has a thread that looks every half second whether another one has raised the alarm
in the store through which the processes found each other, and then ends its own. Who raises it
first also says why; most errors (settings, a loss that became NaN) happen to all at once.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable

import torch.distributed as dist

from mimrl.errors import ConfigError, MimrlError, MimrlWarning
from mimrl.exits import INTERRUPTED, OK, UNUSABLE, plain_warnings
from mimrl.launch import first_process, require_launcher

EVERY = 0.5  # seconds between two looks
GRACE = 5.0  # seconds in which a process may end by itself
CRASHED = 1
KEY = "mimrl/alarm"


class Alarm:
    """The alarm of all processes of one launch, seen from one of them.

    Raises:
        ConfigError: the launcher's variables are incomplete, or its address cannot be reached.
    """

    def __init__(self) -> None:
        require_launcher()
        try:
            # A connection of its own: another thread's waiting would block it.
            self._store = next(iter(dist.rendezvous("env://")))[0]
        except (RuntimeError, ValueError) as error:
            raise ConfigError(
                f"the processes cannot meet at {os.environ['MASTER_ADDR']}:"
                f"{os.environ['MASTER_PORT']} ({error}); see docs/cluster.md"
            ) from error
        self._over = threading.Event()
        self.heard = False
        threading.Thread(target=self._listen, daemon=True).start()

    def ring(self) -> bool:
        """Tells all processes to end. Whether this one is the first to do so."""
        self._over.set()
        try:
            return bool(self._store.add(KEY, 1) == 1)
        except RuntimeError:  # the process that held the store has ended: it rang first
            return False

    def silence(self) -> None:
        """All has gone well here; the alarm is not listened to any more."""
        self._over.set()

    def _listen(self) -> None:
        while not self._over.wait(EVERY):
            try:
                self.heard = bool(self._store.check([KEY]))
            except RuntimeError:
                self.heard = True
            if self.heard:
                _thread.interrupt_main()
                if not self._over.wait(GRACE):
                    os._exit(UNUSABLE)


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
        with plain_warnings():
            if not first_process():
                warnings.simplefilter("ignore", MimrlWarning)
            work()
            _leave_together()
    except (MimrlError, OSError) as error:
        _end(alarm, f"error: {error}\n", UNUSABLE)
    except KeyboardInterrupt:
        _end(alarm, f"{interrupted}\n", INTERRUPTED)
    except Exception:
        _end(alarm, traceback.format_exc(), CRASHED)
    alarm.silence()
    return OK


def _leave_together() -> None:
    if dist.is_initialized():
        dist.barrier()  # the store may live in the first process
        dist.destroy_process_group()


def _end(alarm: Alarm, message: str, code: int) -> None:
    heard = alarm.heard
    if alarm.ring() and not heard:
        sys.stderr.write(message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(UNUSABLE if heard else code)
