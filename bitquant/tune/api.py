# SPDX-License-Identifier: Apache-2.0
"""Tuning an operator, and many problems without one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bitquant.arch import detected_cuda_arch
from bitquant.errors import CallError, RecordError, UnsupportedError
from bitquant.schedule.rules import all_rules
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.tuned import plan, read_hint
from bitquant.tune.candidates import Candidate
from bitquant.tune.fleet import Fleet, Rung, slots_here, visible_gpus
from bitquant.tune.measure import Clock
from bitquant.tune.measurer import LocalMeasurer
from bitquant.tune.result import Subject, TuningResult

if TYPE_CHECKING:
    from bitquant.operator import Operator

__all__ = ["check_gpu", "check_topk", "rungs_of", "tune"]


def tune(
    operator: Operator,
    topk: int = 20,
    rungs: Iterable[int] | None = None,
    workers: int | None = None,
    rules: Sequence[Rule] | None = None,
    clock: Clock | None = None,
    progress: Callable[[str], object] = lambda _: None,
    journal: str | Path | None = None,
) -> TuningResult:
    """Measure the likely kernels of a problem and return the best of each rung. The operator is not changed.

    Candidates are built and measured in rounds (`bitquant.tune.search`). Each is checked against a float64 product for
    `rung` rows, for fewer where m is symbolic, and for more at the last rung. The right ones are timed shortly; the
    best few again, in turns, so that a change of the clock meets all of them. Of candidates within 1 % of the fastest
    the first is taken, so that noise does not choose.

    Kernels run in a process of their own. One that hangs, crashes or breaks the GPU's context has failed; the process
    is replaced, and the search goes on.

    Parameters
    ----------
    operator
        The problem, target and weight layout, and what serves it now.
    topk
        The most candidates a rung.
    rungs
        The rungs to tune; default: the whole ladder.
    workers
        Processes that compile; default: as many as there are CPUs. 0: compile in this process.
    rules
        The rules whose spaces are searched, in order of preference; default: all of bitquant's. Others than those are
        not known to other processes, and compiled in this one.
    clock
        What takes the time of a candidate's calls, which then run in this process; default: the protocol of
        `bitquant.profiling`.
    progress
        Called with a line of text now and then.
    journal
        A folder in which trials are kept as they are done (`bitquant.tune.journal`): those of before an interrupt are
        not done again. None: nothing is kept.

    Raises
    ------
    UnsupportedError
        If the operator's GPU is not here, a rule is one of TVM's dlight, or operands do not fit the GPU.
    CallError
        If an argument is out of range.
    RecordError
        If the journal cannot be used.
    """
    check_topk(topk)
    if foreign := [type(rule).__name__ for rule in rules or () if not isinstance(rule, Rule)]:
        raise UnsupportedError(f"'rules' must be bitquant's to tune them (got {foreign[0]}, which takes no hint)")
    workers = 0 if rules is not None else workers if workers is not None else os.cpu_count() or 1
    rules = all_rules() if rules is None else rules
    wanted = []
    for rung in _checked_rungs(operator.config.ladder, rungs):
        choice = operator.choices[rung]
        rule = next((rule for rule in rules if rule.name == choice.rule), None)
        current = None if rule is None else Candidate(rung, rule, read_hint(rule, choice.hint))
        wanted.append(Rung(operator, rung, current))
    place = _device_of(operator)
    gpus = [] if place.index is None else visible_gpus()[place.index : place.index + 1]
    measurers = [] if clock is None else [LocalMeasurer(place, clock)]

    def tell(rung: Rung) -> None:
        done = sum(len(r.trials) for r in wanted)
        progress(f"m <= {rung.rung}: {len(rung.trials)} of {topk} candidates, {done} of all rungs")

    with slots_here(place.type, gpus, workers, rules, measurers) as here:
        (result,) = Fleet(here.slots, rules, topk, journal, tell).tune(wanted)
    if failed := next((r for r in wanted if r.failure), None):
        raise UnsupportedError(failed.failure)
    return result


def rungs_of(
    subject: Subject,
    rungs: Iterable[int] | None = None,
    rules: Sequence[Rule] | None = None,
    warn: Callable[[str], object] = lambda _: None,
) -> list[Rung]:
    """Return what to search of a problem that has no operator: each rung, with the record that serves it now.

    Parameters
    ----------
    subject
        The problem.
    rungs
        Default: the whole ladder.
    rules
        Default: all of bitquant's.
    warn
        Called with the error where a record of the user's own no longer fits; the default begins then.

    Raises
    ------
    CallError
        If a rung is not of the ladder.
    """
    rules = all_rules() if rules is None else rules
    wanted = _checked_rungs(subject.config.ladder, rungs)
    try:
        planned = plan(subject.config, subject.target, subject.weight_layout, rules=rules, rungs=wanted).planned
    except RecordError as error:  # It says: tune it again.
        warn(str(error))
        planned = {}
    found = []
    for rung in wanted:
        if (now := planned.get(rung)) is not None:
            rule = next(rule for rule in rules if rule.name == now.rule)
            found.append(Rung(subject, rung, Candidate(rung, rule, read_hint(rule, now.hint)), has_record=True))
        else:
            found.append(Rung(subject, rung, None))
    return found


def check_topk(topk: object) -> None:
    """Check the number of candidates.

    Raises
    ------
    CallError
        If it is none.
    """
    if isinstance(topk, bool) or not isinstance(topk, int) or topk < 1:
        raise CallError(f"'topk' must be an int, at least 1 (got {topk!r:.80})", topk=topk)


def _checked_rungs(ladder: Sequence[int], rungs: Iterable[int] | None) -> tuple[int, ...]:
    wanted = tuple(ladder) if rungs is None else tuple(rungs)
    if unknown := [rung for rung in wanted if rung not in ladder]:
        raise CallError(
            f"'rungs' must be numbers of rows of the config's ladder, {', '.join(map(str, ladder))} (got {unknown[0]})",
            rungs=wanted,
        )
    return wanted


def _device_of(operator: Operator) -> torch.device:
    """Return where the operator runs, and check that it is here."""
    if not operator.is_cuda:
        return torch.device("cpu")
    check_gpu(operator.arch)
    return torch.device("cuda", torch.cuda.current_device())


def check_gpu(arch: str) -> None:
    """Check that the current GPU is of an architecture.

    Raises
    ------
    UnsupportedError
        If it is not.
    """
    if not torch.cuda.is_available() or detected_cuda_arch(torch.cuda.current_device()) != arch:
        raise UnsupportedError(
            f"tuning measures kernels and needs the GPU they are for, {arch}, and none is visible; "
            "tune on a machine with one, and take the records that it writes"
        )
