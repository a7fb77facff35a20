"""Building candidates, several at a time.

They are built by processes, and not by threads as an operator's kernels are (`bitquant.parallel`). There are enough of
them to pay for the start of a process, and a hint that nobody has tried yet may break a compiler: one that crashes or
hangs costs its own candidate only. The processes are fresh interpreters that are told what to build in one line of JSON
at a time, and no children of `multiprocessing`: those would import the user's script again, and where it lacks a
`__main__` guard start tuning there. They see no GPU.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

import tvm
from tvm.ir import IRModule
from tvm.target import Target

from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute.matmul import matmul_dequantize_b, symbol
from bitquant.config import MatmulConfig
from bitquant.errors import BuildError
from bitquant.files import scratch_folder
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.tuned import read_hint
from bitquant.tune.candidates import Candidate

__all__ = ["Outcome", "build_all", "build_candidate"]

#: Longest time for one candidate; the slowest take some 20 s.
_TIMEOUT_S = 300.0
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from bitquant.tune.worker import main; main()"

#: A built candidate, or why it could not be built.
Outcome = Archive | str


def build_candidate(config: MatmulConfig, layout: Any, target: Target, candidate: Candidate) -> Archive:
    """Return one candidate, built: an archive that holds the function of its rung alone.

    Raises
    ------
    ScheduleError, BuildError, UnsupportedError
        As scheduling and building do.
    """
    with tvm.transform.PassContext():
        func = matmul_dequantize_b(config, candidate.rung, layout=layout)
        scheduled = schedule_with(func, candidate.rule, candidate.hint, target, "tuned")
        return build(IRModule({symbol(candidate.rung): scheduled}), target, config.problem())


def request_for(config: MatmulConfig, layout: str, target: Target, candidate: Candidate) -> dict[str, Any]:
    """Return what a worker is told of a candidate."""
    return {
        "problem": config.problem(),
        "layout": layout,
        "target": str(target),
        "rung": candidate.rung,
        "rule": candidate.rule.name,
        "hint": candidate.hint.to_dict(),
    }


def build_request(request: dict[str, Any], rules: Sequence[Rule]) -> Archive:
    """Build what `request_for` describes."""
    from bitquant.arch import resolve_target

    rule = next(rule for rule in rules if rule.name == request["rule"])
    candidate = Candidate(request["rung"], rule, read_hint(rule, request["hint"]))
    config = MatmulConfig.from_problem(request["problem"])
    return build_candidate(config, request["layout"], resolve_target(Target(request["target"])), candidate)


def build_all(
    config: MatmulConfig,
    layout: str,
    target: Target,
    tried: Sequence[Candidate],
    workers: int,
    progress: Callable[[int], object] = lambda _: None,
) -> list[Outcome]:
    """Build candidates and return each one's outcome, in their order. An error of one is its outcome.

    Parameters
    ----------
    config, layout, target
        The problem.
    tried
        The candidates.
    workers
        Processes to build in; they know bitquant's own rules. 0: this one.
    progress
        Called with the number of candidates that are done, whenever one is.
    """
    outcomes: list[Outcome] = [""] * len(tried)
    if workers == 0:
        for i, candidate in enumerate(tried):
            try:
                outcomes[i] = build_candidate(config, layout, target, candidate)
            except Exception as error:  # noqa: BLE001 - a rule may fail in any way; what it said is reported.
                outcomes[i] = describe(error)
            progress(i + 1)
        return outcomes

    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for i in range(len(tried)):
        waiting.put(i)
    done = threading.Semaphore(0)
    with scratch_folder() as folder:

        def serve() -> None:
            worker = Worker()
            try:
                while True:
                    try:
                        i = waiting.get_nowait()
                    except queue.Empty:
                        return
                    path = folder / f"{i}.bqk"
                    outcomes[i] = worker.build(request_for(config, layout, target, tried[i]), path)
                    done.release()
            finally:
                worker.stop()

        threads = [threading.Thread(target=serve, daemon=True) for _ in range(min(workers, len(tried)))]
        for thread in threads:
            thread.start()
        for count in range(len(tried)):
            while not done.acquire(timeout=1.0):
                if not any(thread.is_alive() for thread in threads):
                    raise RuntimeError("the threads that build candidates have died")
            progress(count + 1)
        for thread in threads:
            thread.join()
    return outcomes


def describe(error: BaseException) -> str:
    """Return an exception as the report shows it; never empty."""
    return str(error) or type(error).__name__


class Worker:
    """A process that builds candidates, started when it is first needed and anew after it has died.

    Parameters
    ----------
    command
        What to run; default: `bitquant.tune.worker` in this interpreter, with its module path.
    timeout_s
        Longest time for one candidate, in seconds.
    """

    def __init__(self, command: Sequence[str] | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        self._command = list(command or (sys.executable, "-c", _START, json.dumps(sys.path)))
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None

    def build(self, request: dict[str, Any], path: Path) -> Outcome:
        """Return the archive that the process made of a request, or why there is none."""
        if self._process is None:
            environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env=environment,
            )  # fmt: skip
        process = self._process
        requests, answers = cast("TextIO", process.stdin), cast("TextIO", process.stdout)
        has_expired = threading.Event()

        def expire() -> None:
            has_expired.set()
            process.kill()

        timer = threading.Timer(self._timeout_s, expire)
        timer.start()
        try:
            requests.write(json.dumps({**request, "path": str(path)}) + "\n")
            requests.flush()
            answer = answers.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if not answer:
            self.stop()
            if has_expired.is_set():
                return f"not built within {self._timeout_s:g} s"
            return f"the compiling process died (exit code {process.returncode})"
        error = json.loads(answer)["error"]
        if error is not None:
            return str(error)
        try:
            return Archive.load(path)
        except BuildError as failure:
            return describe(failure)

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
            try:
                self._process.wait(timeout=5)  # It ends when it has read all of its input.
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
