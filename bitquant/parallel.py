"""Work over several threads. What is built spends its time in compilers, which let other threads run.

Threads, and not processes: a process that can build has imported torch and TVM, which takes longer than ten kernels,
and each thread of this process begins at once. Python's lock is held for an eighth of a build (docs/architecture.md,
"What a start costs").
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["in_one_thread", "run_all", "thread_count"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class _Team:
    """The threads that share the work of one outermost `run_all`: its caller, and those of an executor."""

    size: int
    helpers: ThreadPoolExecutor | None


_team: contextvars.ContextVar[_Team | None] = contextvars.ContextVar("team", default=None)
_batch: contextvars.ContextVar[_Batch | None] = contextvars.ContextVar("batch", default=None)


def thread_count() -> int:
    """Return how many threads work at once: as many as there are CPUs that this process may run on."""
    return len(os.sched_getaffinity(0))


def run_all(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return function(item) of each item, in their order, computed by several threads, the caller's among them.

    Calls may be nested: all of them together run on `thread_count` threads. Helpers see the caller's context variables.
    The threads end before the outermost call returns, so that a program that forks later has none of them.

    Raises
    ------
    Exception
        What `function` raised for the first item that failed. No further items are begun then, those of nested calls
        included, and those under way are waited for. So it is with Ctrl-C.
    """
    items = list(items)
    team = _team.get()
    if team is None and len(items) > 1:
        with _assembled(thread_count()):
            return run_all(function, items)
    batch = _Batch(function, items, _batch.get())
    helpers: list[Future[None]] = []
    if team is not None and team.helpers is not None:
        count = min(team.size, len(items)) - 1
        helpers = [team.helpers.submit(contextvars.copy_context().run, batch.work) for _ in range(count)]
    try:
        batch.work()
    finally:  # After an exception that is no Exception, too.
        wait([helper for helper in helpers if not helper.cancel()])
    return batch.outcome()


@contextlib.contextmanager
def in_one_thread() -> Iterator[None]:
    """Let `run_all` compute in the caller's thread alone, for a process that is one of many."""
    with _assembled(1):
        yield


@contextlib.contextmanager
def _assembled(size: int) -> Iterator[None]:
    helpers = ThreadPoolExecutor(size - 1, thread_name_prefix="bitquant") if size > 1 else None
    token = _team.set(_Team(size, helpers))
    try:
        yield
    finally:
        _team.reset(token)
        if helpers is not None:
            helpers.shutdown()


class _Batch:
    """The items of one `run_all`, from which threads take until there are none."""

    def __init__(self, function: Callable[[Any], Any], items: list[Any], parent: _Batch | None) -> None:
        self._function, self._items, self._parent = function, items, parent
        self._lock = threading.Lock()
        self._begun = 0
        self._is_stopped = False
        self._results: dict[int, Any] = {}
        self._errors: dict[int, Exception] = {}

    def work(self) -> None:
        """Take items and compute them until there are none, or one has failed."""
        token = _batch.set(self)
        try:
            while (index := self._take()) is not None:
                self._compute(index)
        except BaseException:
            self._is_stopped = True
            raise
        finally:
            _batch.reset(token)

    def _take(self) -> int | None:
        with self._lock:
            if self.is_stopped or self._begun == len(self._items):
                return None
            self._begun += 1
            return self._begun - 1

    def _compute(self, index: int) -> None:
        try:
            self._results[index] = self._function(self._items[index])
        except Exception as error:  # noqa: BLE001 - the caller of `run_all` gets it.
            self._errors[index] = error
            self._is_stopped = True

    @property
    def is_stopped(self) -> bool:
        """Whether no more items are begun, because one of this batch or of one around it has failed."""
        return self._is_stopped or (self._parent is not None and self._parent.is_stopped)

    def outcome(self) -> list[Any]:
        """Return the results in the order of the items.

        Raises
        ------
        Exception
            The error of the first item that has one.
        CancelledError
            If an outer batch was stopped before all items were begun.
        """
        # What was cancelled below an item is no error of its own.
        own = {i: error for i, error in self._errors.items() if not isinstance(error, CancelledError)}
        if errors := own or self._errors:
            raise errors[min(errors)]
        if len(self._results) < len(self._items):
            raise CancelledError("another part of the work failed")
        return [self._results[i] for i in range(len(self._items))]
