# SPDX-License-Identifier: Apache-2.0
"""Worker processes that build archives: what Python's interpreter does of a kernel then runs on several CPUs.

A worker is a fresh interpreter that is told what to build in one line of JSON at a time, and no child of
`multiprocessing`: that would import the user's script again, and where it lacks a ``__main__`` guard run it. It sees no
GPU, and so has no CUDA context. What it has built it leaves in a file; caches and locks are matters of the process that
asked.

Tuning builds its candidates in workers (`bitquant.tune.compile`), `prepare_model` and `load_model` the kernels of a
model (`Crew`).
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import IO, Any, cast

from bitquant import cache
from bitquant.archive import Archive
from bitquant.build import watched
from bitquant.errors import BuildError
from bitquant.files import scratch_folder
from bitquant.parallel import NAP_S, in_threads

__all__ = ["BuildWarning", "Crew", "Outcome", "Worker", "current_crew", "describe", "serve"]

#: Longest time for one request; the slowest candidates of tuning take some 20 s.
_TIMEOUT_S = 300.0
#: Longest time until a thread has given back a worker that was killed.
_GIVE_BACK_S = 10.0
#: A module in `sys.modules` as None cannot be imported. The collector has nothing to find among imports.
_START = (
    "import gc, importlib, json, sys; gc.disable(); sys.path[:] = json.loads(sys.argv[1]); "
    "sys.modules.update(dict.fromkeys(sys.argv[3:])); main = importlib.import_module(sys.argv[2]).main; "
    "gc.freeze(); gc.enable(); main()"
)

#: What was built, or why it could not be.
Outcome = Archive | str


class BuildWarning(UserWarning):
    """Kernels are built more slowly than they could be. They are right all the same."""


def describe(error: BaseException) -> str:
    """Return an exception as the report shows it; never empty."""
    return str(error) or type(error).__name__


def serve(build: Callable[[dict[str, Any]], Archive]) -> None:
    """Build what is requested, a line of JSON on standard input each, until it ends; the ``main`` of a worker.

    Parameters
    ----------
    build
        Makes an archive of a request. Its exceptions are answers.
    """
    # Compilers may print; answers have standard output for themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    for line in sys.stdin:
        request = json.loads(line)
        error = None
        try:
            with in_threads(request.get("threads", 1)), watched(lambda done: answer(done=done)):
                build(request).save(Path(request["path"]))
        except Exception as failure:  # noqa: BLE001 - a rule may fail in any way; the parent reports it.
            error = describe(failure)
        answer(error=error)


class Worker:
    """A process that builds, started when it is first needed and anew after it has died.

    Parameters
    ----------
    command
        What to run: `for_module`, but for tests.
    timeout_s
        Longest time for one request, in seconds.
    is_apart
        Whether Ctrl-C on a terminal does not reach it, for whoever kills it then.
    """

    def __init__(self, command: Sequence[str], timeout_s: float = _TIMEOUT_S, *, is_apart: bool = False) -> None:
        self._command, self._timeout_s, self._is_apart = list(command), timeout_s, is_apart
        self._process: subprocess.Popen[bytes] | None = None
        #: What it has printed beyond the last line that was taken.
        self._read = b""
        self._errors: IO[bytes] | None = None

    @staticmethod
    def for_module(module: str, without: Sequence[str] = ()) -> list[str]:
        """Return the command that runs the ``main`` of a module in this interpreter, with its module path.

        Modules of `without` cannot be imported there: packages that would like to have them do without.
        """
        return [sys.executable, "-c", _START, json.dumps(sys.path), module, *without]

    @property
    def pid(self) -> int | None:
        """The number of the process; None where none runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process where none runs, and do not wait until it is ready.

        Raises
        ------
        OSError
            If the system cannot.
        """
        if self._process is not None:
            return
        settings = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        settings["CUDA_VISIBLE_DEVICES"] = ""
        self._read = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `stop`
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env={**os.environ, **settings}, start_new_session=self._is_apart,
        )  # fmt: skip

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
            As `bitquant.build.watched` calls it.
        """
        try:
            self.start()
        except OSError as error:
            return f"the compiling process cannot start ({error})"
        process = cast("subprocess.Popen[bytes]", self._process)
        requests = cast("IO[bytes]", process.stdin)
        has_expired = threading.Event()

        def expire() -> None:
            has_expired.set()
            self.kill()

        timer = threading.Timer(self._timeout_s, expire)
        timer.daemon = True
        timer.start()
        try:
            requests.write(json.dumps({**request, "path": str(path)}).encode() + b"\n")
            requests.flush()
            while (text := self._read_line(process)) and "done" in (answer := json.loads(text)):
                on_progress(answer["done"])
        except (OSError, ValueError):  # It is dead, or printed what is no answer.
            text = b""
        finally:
            timer.cancel()
        if not text:
            last_words = self._last_words()
            self.stop()
            if has_expired.is_set():
                return f"not built within {self._timeout_s:g} s"
            return f"the compiling process died (exit code {process.returncode}{last_words})"
        if answer["error"] is not None:
            return str(answer["error"])
        try:
            return Archive.load(path)
        except BuildError as failure:
            return describe(failure)

    def _read_line(self, process: subprocess.Popen[bytes]) -> bytes:
        """Return the next line that the process prints; what is left where it ends."""
        descriptor = cast("IO[bytes]", process.stdout).fileno()
        while b"\n" not in self._read:
            while not select.select([descriptor], [], [], NAP_S)[0]:
                pass
            piece = os.read(descriptor, 1 << 16)
            if not piece:
                break
            self._read += piece
        line, end, self._read = self._read.partition(b"\n")
        return line + end

    def _last_words(self) -> str:
        """Return the end of what the process printed to standard error, where it ended by an exception."""
        if self._errors is None:
            return ""
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - 4096))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        is_exception = any(line.startswith("Traceback ") for line in lines)
        return f": {lines[-1][:300]}" if is_exception else ""

    def kill(self) -> None:
        """End the process now, with the compilers that it has started."""
        if (process := self._process) is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if self._is_apart:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()

    def stop(self) -> None:
        """End the process when it has answered."""
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()
            try:
                process.wait(timeout=5)  # It ends when it has read all of its input.
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._errors is not None:
            self._errors.close()
            self._errors = None


class Crew:
    """Workers for the threads of one `run_all`: as a context, `current_crew` finds it in these.

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
        self.members = [Worker(command, is_apart=True) for _ in range(workers)]
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
            If the crew was stopped.
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
        if isinstance(outcome, Archive) and outcome.manifest["versions"] != cache.versions():
            return "the compiling process has read other sources of bitquant than this one"
        return outcome

    def _next_idle(self) -> Worker:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._idle.get(timeout=NAP_S)

    def _check(self) -> None:
        if self._is_stopped:
            raise CancelledError("the build was stopped")

    def stop(self) -> None:
        """End all workers, whatever they do; threads that wait for them get a CancelledError."""
        self._is_stopped = True
        for worker in self.members:
            worker.kill()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Let `current_crew` find this one in the block, at whose end the workers do."""
        token = _crew.set(self)
        try:
            yield
        finally:
            _crew.reset(token)
            self.stop()
            idle: list[Worker] = []
            with contextlib.suppress(queue.Empty):  # Ctrl-C may have come before a worker was given back.
                idle.extend(self._idle.get(timeout=_GIVE_BACK_S) for _ in self.members)
            for worker in idle:
                worker.stop()
                self._idle.put(worker)  # Who has waited for one is told.


_crew: contextvars.ContextVar[Crew | None] = contextvars.ContextVar("crew", default=None)


def current_crew() -> Crew | None:
    """Return the workers that build for this thread, where it has any."""
    return _crew.get()
