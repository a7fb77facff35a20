# SPDX-License-Identifier: Apache-2.0
"""Worker processes that build archives: what Python's interpreter does of a kernel then runs on several CPUs.

A worker (`bitquant.child`) sees no GPU, and so has no CUDA context. What it has built it leaves in a file; caches and
locks are matters of the process that asked.

Tuning builds its candidates in workers (`bitquant.tune.compile`), `prepare_model` and `load_model` the kernels of a
model (`WorkerPool`).
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from bitquant.archive import Archive
from bitquant.build import progress_reported
from bitquant.child import Child, ChildError, Late, answering
from bitquant.errors import BuildError
from bitquant.files import scratch_folder
from bitquant.parallel import MAX_WAIT_S, in_threads
from bitquant.versions import versions

__all__ = ["BuildWarning", "Outcome", "Worker", "WorkerPool", "current_pool", "describe", "serve"]

#: Longest time for one request; the slowest candidates of tuning take some 20 s.
_TIMEOUT_S = 300.0
#: Longest time until a thread has given back a worker that was killed.
_GIVE_BACK_S = 10.0
#: What was built, or why it could not be.
Outcome = Archive | str


class BuildWarning(UserWarning):
    """Kernels are built more slowly than they could be. They are right all the same."""


def describe(error: BaseException) -> str:
    """Return an exception as the report shows it; never empty."""
    return str(error) or type(error).__name__


def serve(build: Callable[[dict[str, Any]], Archive]) -> None:
    """Build what is requested (`bitquant.child.answering`); the ``main`` of a worker.

    Parameters
    ----------
    build
        Makes an archive of a request. Its exceptions are answers.
    """

    def answer(request: dict[str, Any], say: Callable[..., None]) -> dict[str, Any]:
        try:
            with in_threads(request.get("threads", 1)), progress_reported(lambda done: say(done=done)):
                build(request).save(Path(request["path"]))
        except Exception as failure:  # noqa: BLE001 - a rule may fail in any way; the parent reports it.
            return {"error": describe(failure)}
        return {"error": None}

    answering(answer)


class Worker(Child):
    """A process that builds.

    Parameters
    ----------
    command
        What to run: `for_module`, but for tests.
    timeout_s
        Longest time without a line from it, in seconds.
    is_isolated
        Whether Ctrl-C on a terminal does not reach it, for whoever kills it then.
    """

    def __init__(self, command: Sequence[str], timeout_s: float = _TIMEOUT_S, *, is_isolated: bool = False) -> None:
        settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = {**settings, "CUDA_VISIBLE_DEVICES": ""}
        super().__init__(command, timeout_s, is_isolated=is_isolated, environment=environment)

    def build(
        self, request: dict[str, Any], path: Path, on_progress: Callable[[int], object] = lambda _done: None
    ) -> Outcome:
        """Return the archive that the process made of a request, or why there is none.

        Parameters
        ----------
        request
            What to build, ready for JSON.
        path
            The file in which the worker leaves it.
        on_progress
            As `bitquant.build.progress_reported` calls it.
        """

        def report(line: dict[str, Any]) -> None:
            on_progress(line["done"])

        try:
            answer = self.ask({**request, "path": str(path)}, report)
        except Late:
            return f"not built within {self._timeout_s:g} s"
        except ChildError as error:
            return f"the compiling process {error}"
        if answer["error"] is not None:
            return str(answer["error"])
        try:
            return Archive.load(path)
        except BuildError as failure:
            return describe(failure)


class WorkerPool:
    """Worker processes that build for the threads of one `run_all`, which find the pool by `current_pool`.

    All of them start at once, and need a second or more to import TVM.

    Parameters
    ----------
    workers
        How many.
    threads
        In how many threads each of them compiles.
    command
        As for `Worker`.
    """

    def __init__(self, workers: int, threads: int, command: Sequence[str]) -> None:
        self._threads, self._is_stopped = threads, False
        self.members = [Worker(command, is_isolated=True) for _ in range(workers)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self.members:
            with contextlib.suppress(OSError):  # `build` says it.
                worker.start()
            self._idle.put(worker)

    def build(self, request: dict[str, Any], on_progress: Callable[[int], object]) -> Outcome:
        """Return the archive that a worker made of a request, or why there is none; wait until one is free.

        Raises
        ------
        CancelledError
            If the pool was stopped.
        """
        worker = self._next_idle()
        try:
            self._check()
            with scratch_folder() as folder:
                fields = {**request, "threads": self._threads}
                outcome = worker.build(fields, folder / "built.bqk", on_progress)
            self._check()
        finally:
            self._idle.put(worker)
        if isinstance(outcome, Archive) and outcome.manifest["versions"] != versions():
            return "the compiling process has read other sources of bitquant than this one"
        return outcome

    def _next_idle(self) -> Worker:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._idle.get(timeout=MAX_WAIT_S)

    def _check(self) -> None:
        if self._is_stopped:
            raise CancelledError("the build was stopped")

    def stop(self) -> None:
        """End all workers, whatever they do; threads that wait for them get a CancelledError."""
        self._is_stopped = True
        for worker in self.members:
            worker.kill()

    @contextlib.contextmanager
    def activated(self) -> Iterator[None]:
        """Make this pool the one that `current_pool` returns within the block; its workers end with the block."""
        token = _pool.set(self)
        try:
            yield
        finally:
            _pool.reset(token)
            self.stop()
            idle: list[Worker] = []
            with contextlib.suppress(queue.Empty):  # Ctrl-C may have come before a worker was given back.
                idle.extend(self._idle.get(timeout=_GIVE_BACK_S) for _ in self.members)
            for worker in idle:
                worker.stop()
                self._idle.put(worker)  # Who has waited for one is told.


_pool: contextvars.ContextVar[WorkerPool | None] = contextvars.ContextVar("pool", default=None)


def current_pool() -> WorkerPool | None:
    """Return the pool of workers that build for this thread, or None."""
    return _pool.get()
