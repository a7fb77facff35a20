# SPDX-License-Identifier: Apache-2.0
"""What a worker does: one rung of one problem, told in JSON and answered by the lines of a journal.

The same function runs in a thread beside others, and on another machine (`bitquant.tune.cluster`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from tvm.target import Target

from bitquant.arch import resolve_target
from bitquant.grouped_config import config_from_problem
from bitquant.problem import Problem
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.tuned import read_hint
from bitquant.tune.candidates import Candidate, candidates
from bitquant.tune.compile import Builder
from bitquant.tune.measurer import BENCHES, Measurer
from bitquant.tune.predictor import Predictor, Remembered
from bitquant.tune.search import Finished, Space, search
from bitquant.tune.trial import Trial

__all__ = ["Bench", "LocalSlot", "Slot", "SlotLostError", "job_of", "slots_of", "work"]

#: Rungs that share a GPU, at least: one is compiled while another is measured.
_MIN_SLOTS = 2
#: Rungs that are searched at the same time for each compiler. A round builds four candidates, and waits until they are
#: timed, behind those of other rungs; so does the end of a search.
_SLOTS_A_COMPILER = 0.75


class SlotLostError(Exception):
    """Where a job was done is gone; another slot may go on with it."""


@dataclass(frozen=True)
class Bench:
    """What a worker works with."""

    builder: Builder
    measurer: Measurer
    rules: Sequence[Rule]
    predictor: Predictor


def slots_of(device_type: str, compilers: int) -> int:
    """Return how many rungs share a device that has so many compilers: on a GPU, enough of them to keep all busy."""
    if device_type != "cuda":
        return 1  # Compilers would compete with the kernels.
    return max(_MIN_SLOTS, min(BENCHES, int(compilers * _SLOTS_A_COMPILER)))


def job_of(
    problem: Problem,
    topk: int,
    current: Candidate | None = None,
    known: Sequence[Trial] = (),
    limit_s: float | None = None,
) -> dict[str, Any]:
    """Return what a worker is told, ready for JSON.

    Parameters
    ----------
    problem
        The function.
    topk
        The most trials.
    current
        What is used now.
    known
        Trials of before.
    limit_s
        Seconds after which no trial is begun.
    """
    return {
        "problem": problem.config.problem(),
        "rung": problem.rung,
        "target": str(problem.target),
        "layout": problem.weight_layout,
        "topk": topk,
        "current": None if current is None else {"rule": current.rule.name, "hint": current.hint.to_dict()},
        "known": [trial.to_dict() for trial in known],
        "limit_s": limit_s,
    }


def work(job: Mapping[str, Any], bench: Bench) -> Iterator[dict[str, Any]]:
    """Search one rung, and yield a line for each trial when it is done, and one at the end.

    Parameters
    ----------
    job
        Of `job_of`.
    bench
        What to work with.
    """
    deadline = None if job["limit_s"] is None else time.monotonic() + job["limit_s"]
    target = resolve_target(Target(job["target"]))
    problem = Problem(config_from_problem(job["problem"]), job["rung"], target, job["layout"])
    current = None
    if (now := job["current"]) is not None:
        rule = next(rule for rule in bench.rules if rule.name == now["rule"])
        current = Candidate(problem.rung, rule, read_hint(rule, now["hint"]))
    predictor = Remembered(bench.predictor)
    ordered = candidates(problem, bench.rules, predictor.predict_us, current)
    known = [Trial.from_dict(fields, bench.rules) for fields in job["known"]]
    space = Space(problem, ordered, predictor)
    for event in search(space, job["topk"], bench.builder, bench.measurer, known, deadline):
        yield asdict(event) if isinstance(event, Finished) else event.to_dict()


class Slot(Protocol):
    """Where one job at a time is done."""

    @property
    def device(self) -> str:
        """Where its kernels run, by name."""

    def run(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the lines of a job (`work`).

        Raises
        ------
        SlotLostError
            If the slot is gone.
        """

    def stop(self) -> None:
        """End what is under way: whoever waits for a line gets an exception."""


class LocalSlot:
    """A slot of this process; several may share a bench, so that one compiles while another measures."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    @property
    def device(self) -> str:
        """Where its kernels run, by name."""
        return self._bench.measurer.device

    def run(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the lines of a job."""
        return work(job, self._bench)

    def stop(self) -> None:
        """End what is under way."""
        self._bench.builder.stop()
        self._bench.measurer.stop()
