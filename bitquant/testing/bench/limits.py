# SPDX-License-Identifier: Apache-2.0
"""Bounds on the time that a block of code may take, in Python and below."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator

__all__ = ["GRACE_S", "TimeIsUpError", "time_bound"]

#: Seconds between the exception and the end of the process: a library joins its compilers before it lets go.
GRACE_S = 60.0


class TimeIsUpError(BaseException):
    """A block took longer than its bound.

    Not an `Exception`, which a library that is interrupted may take for a fault of its own and pass over.
    """


@contextlib.contextmanager
def time_bound(seconds: float | None) -> Iterator[None]:
    """Raise `TimeIsUpError` in the block when `seconds` are over; None: no bound. Bounds do not nest.

    An alarm raises it in Python code, and where Python waits for locks or other processes. Code that never returns to
    Python, a kernel that hangs say, cannot be interrupted: `GRACE_S` later the stack goes to standard error and the
    process ends. Outside the main thread, and where there are no alarms, only that remains.
    """
    if seconds is None:
        yield
        return
    watched = _descriptor()
    if watched is not None:
        faulthandler.dump_traceback_later(max(seconds, 0.0) + GRACE_S, exit=True, file=watched)
    try:
        with _alarm(seconds):
            yield
    finally:
        if watched is not None:
            faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _ring(_number: int, _frame: object) -> None:
    raise TimeIsUpError


def _descriptor() -> int | None:
    """Return the file descriptor of the process's own standard error, or None where it has none."""
    try:
        return sys.__stderr__.fileno() if sys.__stderr__ is not None else None
    except (OSError, ValueError):
        return None
