# SPDX-License-Identifier: Apache-2.0
"""A process that answers requests, and whose death or silence costs one of them.

It is a fresh interpreter that is told what to do in one line of JSON at a time, and no child of `multiprocessing`: that
would import the user's script again, and where it lacks a ``__main__`` guard run it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, cast

from bitquant.parallel import MAX_WAIT_S

__all__ = ["Child", "ChildError", "Late", "answering"]

#: A module in `sys.modules` as None cannot be imported. The collector has nothing to find among imports.
_START = (
    "import gc, importlib, json, sys; gc.disable(); sys.path[:] = json.loads(sys.argv[1]); "
    "sys.modules.update(dict.fromkeys(sys.argv[3:])); main = importlib.import_module(sys.argv[2]).main; "
    "gc.freeze(); gc.enable(); main()"
)


class ChildError(Exception):
    """A process gave no answer; the message ends a sentence that begins with what it is: "died (...)"."""


class Late(ChildError):  # noqa: N818  what it is, not a mistake of the caller
    """It said nothing for too long, and was killed."""


class Child:
    """A process that answers, started when it is first needed and anew after it has died.

    Parameters
    ----------
    command
        What to run: `for_module`, but for tests.
    timeout_s
        Longest time without a line from it, in seconds.
    is_isolated
        Whether Ctrl-C on a terminal does not reach it, for whoever kills it then.
    environment
        What it finds in its environment besides what this process has.
    """

    def __init__(
        self,
        command: Sequence[str],
        timeout_s: float,
        *,
        is_isolated: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command, self._timeout_s, self._is_apart = list(command), timeout_s, is_isolated
        self._environment = dict(environment or {})
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
        self._read = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `stop`
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            env={**os.environ, **self._environment}, start_new_session=self._is_apart,
        )  # fmt: skip

    def ask(
        self, request: Mapping[str, Any], on_progress: Callable[[dict[str, Any]], float | None] = lambda _: None
    ) -> dict[str, Any]:
        """Return the answer to a request.

        Parameters
        ----------
        request
            Ready for JSON.
        on_progress
            Called with each line before the answer, which has a field "done"; may return the longest time until the
            next line, in seconds.

        Raises
        ------
        ChildError
            If there is none: the process cannot start, dies, says what is no JSON, or, `Late`, nothing in time. Where
            one has run it has ended, and the next request starts another.
        """
        try:
            self.start()
        except OSError as error:
            raise ChildError(f"cannot start ({error})") from error
        process = cast("subprocess.Popen[bytes]", self._process)
        requests, limit_s = cast("IO[bytes]", process.stdin), self._timeout_s
        try:
            requests.write(json.dumps(request).encode() + b"\n")
            requests.flush()
            while text := self._read_line(process, limit_s):
                answer: dict[str, Any] = json.loads(text)
                if "done" not in answer:
                    return answer
                limit_s = on_progress(answer) or limit_s
        except Late:
            self.kill()
            self.stop()
            raise
        except (OSError, ValueError):  # It is dead, or printed what is no answer.
            pass
        last_words = self._last_words()
        self.stop()
        raise ChildError(f"died ({_cause(process.returncode)}{last_words})")

    def _read_line(self, process: subprocess.Popen[bytes], limit_s: float) -> bytes:
        """Return the next line that the process prints; what is left where it ends."""
        descriptor = cast("IO[bytes]", process.stdout).fileno()
        deadline = time.monotonic() + limit_s
        while b"\n" not in self._read:
            while not select.select([descriptor], [], [], max(0.0, min(MAX_WAIT_S, deadline - time.monotonic())))[0]:
                if time.monotonic() >= deadline:
                    raise Late(f"said nothing for {limit_s:g} s")
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


def _cause(code: int) -> str:
    """Return how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def answering(answer_to: Callable[[dict[str, Any], Callable[..., None]], dict[str, Any]]) -> None:
    """Answer what is requested, a line of JSON on standard input each, until it ends; the ``main`` of a child.

    A thread of its own reads: when the input ends, because the parent has died, say, so does the process, whatever it
    does at that time.

    Parameters
    ----------
    answer_to
        Makes an answer of a request; it may call its second argument with the fields of a line of progress.
    """
    # Libraries may print; answers have standard output for themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    waiting: list[str] = []
    has_some = threading.Condition()

    def read() -> None:
        for line in sys.stdin:
            with has_some:
                waiting.append(line)
                has_some.notify()
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        with has_some:
            while not waiting:
                has_some.wait()
            request = json.loads(waiting.pop(0))
        say(**answer_to(request, say))
