# SPDX-License-Identifier: Apache-2.0
"""Whether records still give kernels: each is compiled for its architecture, without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from bitquant.arch import cuda_target
from bitquant.errors import RecordError
from bitquant.problem import Problem
from bitquant.schedule.apply import preferred_layout
from bitquant.schedule.records import Record
from bitquant.schedule.rules import all_rules
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.tuned import read_hint
from bitquant.tune.candidates import Candidate
from bitquant.tune.compile import Builder
from bitquant.workers import Outcome

__all__ = ["Verified", "verify"]


@dataclass(frozen=True)
class Verified:
    """What became of a record.

    Attributes
    ----------
    record
        The record.
    complaint
        Why it gives no kernel; "" where it gives one.
    spill_bytes
        Bytes of registers that a thread of the kernel spills to memory.
    """

    record: Record
    complaint: str
    spill_bytes: int = 0


def verify(
    records: Iterable[Record], workers: int, tell: Callable[[Verified], object] = lambda _: None
) -> list[Verified]:
    """Compile the kernel of each record, and return what became of it.

    Parameters
    ----------
    records
        In the order of what is returned.
    workers
        Processes that compile; 0: this one.
    tell
        Called with each when it is done.
    """
    rules = all_rules()
    builder = Builder(workers)
    try:
        pending: list[tuple[Record, Future[Outcome] | str]] = []
        for record in records:
            function = _function_of(record, rules)
            pending.append((record, function if isinstance(function, str) else builder.submit(*function)))
        found = []
        for record, future in pending:
            outcome = future if isinstance(future, str) else future.result()
            if isinstance(outcome, str):
                found.append(Verified(record, outcome))
            else:
                spilled = max((r.spill_bytes for r in outcome.resources.values()), default=0)
                found.append(Verified(record, "", spilled))
            tell(found[-1])
        return found
    finally:
        builder.stop()


def _function_of(record: Record, rules: Sequence[Rule]) -> tuple[Problem, Candidate] | str:
    """Return the function that a record schedules, for exactly its rows or for up to as many, and how; or why none."""
    rule = next((rule for rule in rules if rule.name == record.rule), None)
    if rule is None:
        return f"there is no rule {record.rule!r}; there are {', '.join(r.name for r in rules)}"
    try:
        candidate = Candidate(record.rung, rule, read_hint(rule, record.hint))
    except RecordError as error:
        return str(error)
    complaints = []
    for problem in _forms(record, rules):
        complaint = rule.refusal(problem) or rule.fault(problem, candidate.hint)
        if complaint is None:
            return problem, candidate
        complaints.append(complaint)
    return f"rule {rule.name} refuses: {complaints[0]}"


def _forms(record: Record, rules: Sequence[Rule]) -> Iterator[Problem]:
    target = cuda_target(record.arch)
    for config in (record.config, record.config.with_M((record.rung,))):
        yield Problem(config, record.rung, target, preferred_layout(config, target, rules))
