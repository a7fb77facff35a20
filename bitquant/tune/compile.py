# SPDX-License-Identifier: Apache-2.0
"""Building candidates, several at a time.

They are built by processes (`bitquant.workers`), and not by threads as an operator's kernels are (`bitquant.parallel`).
There are enough of them to pay for the start of a process, and a hint that nobody has tried yet may break a compiler:
one that crashes or hangs costs its own candidate only.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm.ir import IRModule
from tvm.target import Target

from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute.matmul import matmul_dequantize_b, symbol
from bitquant.config import MatmulConfig
from bitquant.files import scratch_folder
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.tuned import read_hint
from bitquant.tune.candidates import Candidate
from bitquant.workers import Outcome, Worker, describe

__all__ = ["build_all", "build_candidate", "build_request"]

#: What serves requests of `request_for`.
_WORKER = "bitquant.tune.worker"


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
            worker = Worker(Worker.for_module(_WORKER))
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
