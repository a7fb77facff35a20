# SPDX-License-Identifier: Apache-2.0
"""Work over several threads. What is built spends most of its time in compilers, which let other threads run.

A thread begins at once. A process that can build (`bitquant.workers`) has imported torch and TVM first, which takes as
long as several kernels (docs/architecture.md, "What a start costs").
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

__all__ = ["MAX_WAIT_S", "CooperativeLock", "in_threads", "run_all", "thread_count"]

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How often a thread that waits for a `CooperativeLock` tries to take it, in seconds.
_LOCK_POLL_S = 0.02
#: Longest wait at a time, in seconds. The system may give Ctrl-C to any thread, and the main one, which is to raise it,
#: then wakes no earlier.
MAX_WAIT_S = 0.5


def thread_count() -> int:
    """Return how many threads work at once: as many as there are CPUs that this process may run on."""
    return len(os.sched_getaffinity(0))


def run_all(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    is_leaf: bool = False,
    on_interrupt: Callable[[], object] = lambda: None,
) -> list[Result]:
    """Return function(item) of each item, in their order, computed by several threads, the caller's among them.

    Calls may be nested: all of them together run on `thread_count` threads. Items see the caller's context variables.
    The threads end before the outermost call returns, so that a program that forks later has none of them.

    Parameters
    ----------
    function, items
        What to compute, and of what.
    is_leaf
        Whether `function` waits for no lock and calls no `run_all`. A thread that waits computes such items of others
        meanwhile.
    on_interrupt
        Called where the caller's thread is interrupted, before items under way are waited for: it may end them.

    Raises
    ------
    Exception
        What `function` raised for the first item that failed. No further items are begun then, those of nested calls
        included, and those under way are waited for. So it is with Ctrl-C.
    """
    items = list(items)
    pool = _pool.get()
    if pool is not None:
        return pool.run(_Batch(function, items, _batch.get(), is_leaf, on_interrupt))
    if len(items) < 2:  # No work for several threads; what it calls may be.
        return [function(item) for item in items]
    with _new_pool(thread_count()) as pool:
        return pool.run(_Batch(function, items, None, is_leaf, on_interrupt))


@contextlib.contextmanager
def in_threads(count: int) -> Iterator[None]:
    """Let `run_all` compute in so many threads, the caller's among them, for a process that is one of many."""
    with _new_pool(count):
        yield


class CooperativeLock:
    """A lock for work that one thread at a time had better do. A thread that waits for it computes leaves meanwhile.

    Leaves are items of `run_all` with `is_leaf`, which wait for no lock themselves.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        pool = _pool.get()
        if pool is None:
            self._lock.acquire()
        else:
            pool.work(lambda: self._lock.acquire(blocking=False), _LOCK_POLL_S)

    def __exit__(self, *_error: object) -> None:
        self._lock.release()


class _Batch:
    """The items of one `run_all`, from which threads take until there are none. The pool's condition guards it."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        items: list[Any],
        parent: _Batch | None,
        is_leaf: bool,
        on_interrupt: Callable[[], object],
    ) -> None:
        self.is_leaf, self._on_interrupt = is_leaf, on_interrupt
        self._function, self._items, self._parent = function, items, parent
        self._context = contextvars.copy_context()
        self._begun = 0
        #: The items that are computed now, each with the thread that does.
        self._under_way: set[tuple[int, int]] = set()
        self._is_stopped = False
        self._results: dict[int, Any] = {}
        self._errors: dict[int, Exception] = {}

    @property
    def is_stopped(self) -> bool:
        """Whether no more items are begun, because one of this batch or of one around it has failed."""
        return self._is_stopped or (self._parent is not None and self._parent.is_stopped)

    @property
    def is_open(self) -> bool:
        """Whether there is an item to begin."""
        return self._begun < len(self._items) and not self.is_stopped

    @property
    def is_over(self) -> bool:
        """Whether none will begin, and none is under way."""
        return not self.is_open and not self._under_way

    def take(self) -> int:
        """Return the next item's index, which the caller computes."""
        index = self._begun
        self._under_way.add((threading.get_ident(), index))
        self._begun += 1
        return index

    def compute(self, index: int) -> None:
        """Compute an item and keep its result or its error."""
        try:
            self._results[index] = self._context.copy().run(self._call, self._items[index])
        except Exception as error:  # noqa: BLE001 - the caller of `run_all` gets it.
            self._errors[index] = error
            self._is_stopped = True
        except BaseException:
            self._is_stopped = True
            raise

    def _call(self, item: Any) -> Any:
        _batch.set(self)
        return self._function(item)

    def end(self, index: int) -> None:
        """Note that an item is not under way any longer."""
        self._under_way.discard((threading.get_ident(), index))

    def forget(self) -> None:
        """Note that this thread computes no item: Ctrl-C may have come after it took one."""
        self._under_way = {entry for entry in self._under_way if entry[0] != threading.get_ident()}

    def stop(self) -> None:
        """Begin no more items."""
        self._is_stopped = True

    def interrupt(self) -> None:
        """End items that are under way, of this batch and of those around it, which other threads compute as well."""
        self._on_interrupt()
        if self._parent is not None:
            self._parent.interrupt()

    def outcome(self) -> list[Any]:
        """Return the results in the order of the items.

        Raises
        ------
        Exception
            The error of the first item that has one.
        CancelledError
            If a batch around this one was stopped before all items were begun.
        """
        # What was cancelled below an item is no error of its own.
        own = {i: error for i, error in self._errors.items() if not isinstance(error, CancelledError)}
        if errors := own or self._errors:
            raise errors[min(errors)]
        if len(self._results) < len(self._items):
            raise CancelledError("another part of the work failed")
        return [self._results[i] for i in range(len(self._items))]


class _ThreadPool:
    """The threads that share the work of one outermost `run_all`: its caller, and helpers."""

    def __init__(self, helpers: int) -> None:
        self._condition = threading.Condition()
        self._batches: list[_Batch] = []
        self._is_shut_down = False
        self._helpers = [threading.Thread(target=self._help, name="bitquant") for _ in range(helpers)]
        for thread in self._helpers:
            thread.start()

    def run(self, batch: _Batch) -> list[Any]:
        """Have a batch computed, and return its outcome."""
        try:
            with self._condition:
                self._batches.append(batch)
                self._condition.notify_all()
            while (index := self._take_from(batch)) is not None:
                self._compute(batch, index)
            self.work(lambda: batch.is_over)
        except BaseException:
            with self._condition:
                batch.stop()
                for other in self._batches:
                    if other is batch or other.is_leaf:
                        other.forget()
                self._condition.notify_all()
            batch.interrupt()
            raise
        finally:
            with self._condition:
                while not batch.is_over:
                    self._condition.wait(MAX_WAIT_S)
                if batch in self._batches:  # Ctrl-C may have come before.
                    self._batches.remove(batch)
        return batch.outcome()

    def work(self, is_done: Callable[[], bool], poll_s: float | None = None, *, leaves_only: bool = True) -> None:
        """Compute items of any batch until a condition holds.

        Parameters
        ----------
        is_done
            The condition: asked between items, and when another one has ended.
        poll_s
            How often to ask besides, in seconds.
        leaves_only
            Whether to leave out items that may wait for what this thread holds.
        """
        while True:
            with self._condition:
                while True:
                    if is_done():
                        return
                    batch = next((b for b in self._batches if b.is_open and (b.is_leaf or not leaves_only)), None)
                    if batch is not None:
                        index = batch.take()
                        break
                    self._condition.wait(poll_s or MAX_WAIT_S)
            self._compute(batch, index)

    def shut_down(self) -> None:
        """Have the helpers end, and wait until they have."""
        with self._condition:
            self._is_shut_down = True
            self._condition.notify_all()
        for thread in self._helpers:
            thread.join()

    def _help(self) -> None:
        self.work(lambda: self._is_shut_down, leaves_only=False)

    def _take_from(self, batch: _Batch) -> int | None:
        with self._condition:
            return batch.take() if batch.is_open else None

    def _compute(self, batch: _Batch, index: int) -> None:
        try:
            batch.compute(index)
        finally:
            with self._condition:
                batch.end(index)
                self._condition.notify_all()


_pool: contextvars.ContextVar[_ThreadPool | None] = contextvars.ContextVar("pool", default=None)
_batch: contextvars.ContextVar[_Batch | None] = contextvars.ContextVar("batch", default=None)


@contextlib.contextmanager
def _new_pool(size: int) -> Iterator[_ThreadPool]:
    pool = _ThreadPool(size - 1)
    token = _pool.set(pool)
    try:
        yield pool
    finally:
        _pool.reset(token)
        pool.shut_down()
