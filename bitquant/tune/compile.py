# SPDX-License-Identifier: Apache-2.0
"""Building candidates, several at a time.

They are built by processes (`bitquant.workers`), and not by threads as an operator's kernels are (`bitquant.parallel`).
There are enough of them to pay for the start of a process, and a hint that nobody has tried yet may break a compiler:
one that crashes or hangs costs its own candidate only.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any

import tvm
from tvm.ir import IRModule
from tvm.target import Target

from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute import select_implementation
from bitquant.config import MatmulConfig
from bitquant.files import scratch_folder
from bitquant.grouped_config import GroupedMatmulConfig, config_from_problem
from bitquant.problem import Problem
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.tuned import read_hint
from bitquant.tune.candidates import Candidate
from bitquant.workers import Outcome, Worker, describe

__all__ = ["Builder", "build_candidate", "build_request", "request_for"]

#: What serves requests of `request_for`.
_WORKER = "bitquant.tune.worker"


def build_candidate(
    config: MatmulConfig | GroupedMatmulConfig, layout: Any, target: Target, candidate: Candidate
) -> Archive:
    """Return one candidate, built: an archive that holds the function of its rung alone.

    Raises
    ------
    ScheduleError, BuildError, UnsupportedError
        As scheduling and building do.
    """
    with tvm.transform.PassContext():
        meaning = select_implementation(config, layout, [candidate.rung])
        scheduled = {
            name: schedule_with(func, candidate.rule, candidate.hint, target, "tuned")
            for name, func in meaning.functions_items()
        }
        return build(IRModule(scheduled), target, config.problem())


def request_for(
    config: MatmulConfig | GroupedMatmulConfig, layout: str, target: Target, candidate: Candidate
) -> dict[str, Any]:
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
    config = config_from_problem(request["problem"])
    return build_candidate(config, request["layout"], resolve_target(Target(request["target"])), candidate)


class Builder:
    """Builds candidates, several at a time.

    Parameters
    ----------
    workers
        Processes to build in; they know bitquant's own rules. 0: this one.
    """

    def __init__(self, workers: int) -> None:
        # TVM imports torch where it is there, which takes longer than TVM itself.
        command = Worker.for_module(_WORKER, without=("torch",))
        self._processes = [Worker(command, is_isolated=True) for _ in range(workers)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        try:
            for process in self._processes:
                with contextlib.suppress(OSError):  # Building says it.
                    process.start()
                self._idle.put(process)
        except BaseException:  # Ctrl-C does not reach them.
            self._end_processes()
            raise
        self._pool = ThreadPoolExecutor(max(1, workers), "bitquant-tune")
        self._is_stopped = False
        #: Seconds that all processes together have built for, and until the first kernel was built.
        self.busy_s, self.first_s = 0.0, 0.0
        self._begin = time.monotonic()

    def submit(self, problem: Problem, candidate: Candidate) -> Future[Outcome]:
        """Begin to build a candidate. An error of it is its outcome."""
        act = self._build_apart if self._processes else self._build_here
        return self._pool.submit(act, problem, candidate)

    def _build_here(self, problem: Problem, candidate: Candidate) -> Outcome:
        begin = time.monotonic()
        try:
            return build_candidate(problem.config, problem.weight_layout, problem.target, candidate)
        except Exception as error:  # noqa: BLE001 - a rule may fail in any way; what it said is reported.
            return describe(error)
        finally:
            self._count(begin)

    def _build_apart(self, problem: Problem, candidate: Candidate) -> Outcome:
        process, begin = self._idle.get(), time.monotonic()
        try:
            if self._is_stopped:
                raise CancelledError
            with scratch_folder() as folder:
                request = request_for(problem.config, problem.weight_layout, problem.target, candidate)
                outcome = process.build(request, folder / "built.bqk")
            if self._is_stopped:
                raise CancelledError
            return outcome
        finally:
            self._count(begin)
            self._idle.put(process)

    def _count(self, begin: float) -> None:
        """Count the time of a candidate that was built from `begin` on."""
        now = time.monotonic()
        self.busy_s += now - begin
        self.first_s = self.first_s or now - self._begin

    def stop(self) -> None:
        """End all processes, whatever they build; outcomes that are waited for are cancelled."""
        self._is_stopped = True
        for process in self._processes:
            process.kill()
        self._pool.shutdown(cancel_futures=True)
        self._end_processes()

    def _end_processes(self) -> None:
        for process in self._processes:
            process.kill()
            process.stop()
