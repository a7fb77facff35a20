# SPDX-License-Identifier: Apache-2.0
"""The search: build the candidates, check and time each, time the best again, keep the best."""

from __future__ import annotations

import datetime as dt
import os
import statistics
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from bitquant import cache
from bitquant.arch import detected_cuda_arch, driver_version, target_gpu
from bitquant.archive import Archive
from bitquant.compiler import cuda_compiler
from bitquant.errors import BuildError, CallError, UnsupportedError
from bitquant.markup import html_table
from bitquant.operator.report import floor_us
from bitquant.problem import Problem
from bitquant.schedule.records import NOISE, Record, save_records
from bitquant.schedule.rules import default_rules
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.tuned import Plan, Planned, read_hint
from bitquant.tune.candidates import Candidate, candidates
from bitquant.tune.compile import build_all
from bitquant.tune.measure import Clock, Workbench, clock_for
from bitquant.workers import describe

if TYPE_CHECKING:
    from bitquant.operator import Operator

__all__ = ["Trial", "TuningResult", "TuningWarning", "tune"]

#: Candidates that are timed again: at most so many, and within this factor of the fastest.
FINALISTS = 4
FINAL_FACTOR = 1.15
#: Turns in which the finalists are timed; each one's latency is the median.
ROUNDS = 5


class TuningWarning(UserWarning):
    """A candidate gave a wrong result, or could not be built or run. It is never chosen, but it should not happen."""


@dataclass(frozen=True)
class Trial:
    """What became of a candidate.

    Attributes
    ----------
    candidate
        Rung, rule and hint.
    status
        "measured"; "wrong": its result is; "failed": it could not be built or run.
    latency_us
        Median time of a call with as many rows as the rung has, in microseconds; None where it was not measured.
    is_final
        Whether the latency is that of the second, precise pass.
    note
        The complaint or error.
    """

    candidate: Candidate
    status: Literal["measured", "wrong", "failed"]
    latency_us: float | None = None
    is_final: bool = False
    note: str = ""


@dataclass(frozen=True)
class TuningResult:
    """All trials of a search, and what follows from them.

    Attributes
    ----------
    operator
        What was tuned.
    device
        Where, by name.
    trials
        In the order in which candidates are worth a try; the first of a rung is what the operator used before.
    best
        The trial that won, by rung; a rung is missing where no candidate works.
    provenance
        As in `Record`.
    """

    operator: Operator = field(repr=False)
    device: str
    trials: tuple[Trial, ...]
    best: dict[int, Trial]
    provenance: dict[str, Any]

    @property
    def complaints(self) -> tuple[Trial, ...]:
        """The trials that are wrong or failed."""
        return tuple(t for t in self.trials if t.status != "measured")

    def warn(self) -> None:
        """Give a `TuningWarning` for each candidate that is wrong or failed."""
        for trial in self.complaints:
            warnings.warn(f"{trial.status}: {trial.candidate}: {trial.note}", TuningWarning, stacklevel=3)

    def of_rung(self, rung: int) -> list[Trial]:
        """Return the trials of a rung, the fastest first and those without a latency last."""
        mine = [t for t in self.trials if t.candidate.rung == rung]
        return sorted(mine, key=lambda t: (t.latency_us is None, not t.is_final, t.latency_us or 0.0))

    def before(self, rung: int) -> Trial:
        """Return the trial of what the operator used before."""
        return next(t for t in self.trials if t.candidate.rung == rung)

    def floor_us(self, rung: int) -> float:
        """Return the time in microseconds that memory alone takes for a call, at the bandwidth of the architecture."""
        return floor_us(self.operator.config, rung, target_gpu(self.operator.target))

    def _repr_html_(self) -> str:
        """Return the trials as a table, by rung, the fastest first: what a notebook shows."""
        headers = ["m", "rule", "hint", "us", "of the floor", "status", "note"]
        rows = []
        for rung in dict.fromkeys(t.candidate.rung for t in self.trials):
            for trial in self.of_rung(rung):
                time_us = trial.latency_us
                status = "best" if trial is self.best.get(rung) else trial.status
                rows.append([
                    rung, trial.candidate.rule.name, trial.candidate.hint,
                    "" if time_us is None else f"{time_us:.2f}",
                    "" if time_us is None else f"{time_us / self.floor_us(rung):.2f}", status, trial.note,
                ])  # fmt: skip
        return html_table(headers, rows, f"{self.operator.config} on {self.device}", ["m", "us", "of the floor"])

    def plan(self) -> Plan:
        """Return the plan that schedules each tuned rung with its best candidate.

        Raises
        ------
        BuildError
            If no candidate of a rung works. The message lists what each said.
        """
        for rung in dict.fromkeys(t.candidate.rung for t in self.trials):
            if rung not in self.best:
                reasons = "".join(f"\n  {t.candidate}: {t.status}, {t.note}" for t in self.of_rung(rung))
                raise BuildError(f"no candidate works for m <= {rung} of {self.operator.config}{reasons}")
        chosen = {rung: t.candidate for rung, t in self.best.items()}
        return Plan({rung: Planned(c.rule.name, c.hint.to_dict(), "tuned") for rung, c in chosen.items()})

    def records(self) -> list[Record]:
        """Return a record of the best candidate of each rung.

        Raises
        ------
        UnsupportedError
            If the target is a CPU: records are of GPUs.
        """
        operator = self.operator
        if not operator.is_cuda:
            raise UnsupportedError(f"records are of CUDA GPUs (got target {operator.arch})")
        problem = {k: v for k, v in operator.config.problem().items() if k != "M"}
        return [
            Record(
                problem=problem,
                rung=rung,
                arch=operator.arch,
                device=self.device,
                rule=trial.candidate.rule.name,
                hint=trial.candidate.hint.to_dict(),
                latency_us=round(trial.latency_us or 0.0, 3),
                floor_us=round(self.floor_us(rung), 3),
                provenance={**self.provenance, "candidates": len(self.of_rung(rung))},
            )
            for rung, trial in sorted(self.best.items())
        ]

    def write_record(self, directory: str | Path = "schedules", replace: bool = False) -> list[Path]:
        """Merge the records into a folder, and return the files that have changed.

        Parameters
        ----------
        directory
            The folder; see `bitquant.schedule.records.save_records`.
        replace
            Whether they replace records that are as fast.

        Raises
        ------
        UnsupportedError
            If the target is a CPU.
        RecordError
            If a file that is there is malformed.
        """
        return save_records(self.records(), directory, replace)


def tune(
    operator: Operator,
    topk: int = 20,
    rungs: Iterable[int] | None = None,
    workers: int | None = None,
    rules: Sequence[Rule] | None = None,
    clock: Clock | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> TuningResult:
    """Measure the likely kernels of a problem and return the best of each rung. The operator is not changed.

    Every candidate is built, and checked against a float64 product for `rung` rows, for fewer where m is symbolic, and
    for more at the last rung. The right ones are timed shortly; the best few again, in turns, so that a change of the
    clock meets all of them. Of candidates within 1 % of the fastest the first is taken, so that noise does not choose.

    Parameters
    ----------
    operator
        The problem, target and weight layout, and what serves it now.
    topk
        Candidates a rung.
    rungs
        The rungs to tune; default: the whole ladder.
    workers
        Processes that compile; default: as many as there are CPUs. 0: compile in this process.
    rules
        The rules whose spaces are searched, in order of preference; default: all of bitquant's. Others than those are
        not known to other processes, and compiled in this one.
    clock
        What takes the time of a candidate's calls; default: the protocol of `bitquant.profiling`.
    progress
        Called with a line of text now and then.

    Raises
    ------
    UnsupportedError
        If the operator's GPU is not here, or a rule is one of TVM's dlight.
    CallError
        If an argument is out of range.
    BuildError
        If a kernel breaks the GPU for this process; the message names it.
    """
    config = operator.config
    rungs = config.ladder if rungs is None else tuple(rungs)
    if isinstance(topk, bool) or not isinstance(topk, int) or topk < 1:
        raise CallError(f"'topk' must be an int, at least 1 (got {topk!r:.80})", topk=topk)
    if unknown := [rung for rung in rungs if rung not in config.ladder]:
        raise CallError(
            f"'rungs' must be of the config's ladder, {', '.join(map(str, config.ladder))} (got {unknown[0]})",
            rungs=rungs,
        )
    if foreign := [type(rule).__name__ for rule in rules or () if not isinstance(rule, Rule)]:
        raise UnsupportedError(f"'rules' must be bitquant's to tune them (got {foreign[0]}, which takes no hint)")
    device = _device_of(operator)
    workers = 0 if rules is not None else workers if workers is not None else os.cpu_count() or 1
    rules = default_rules() if rules is None else rules
    tried = [
        c
        for rung in rungs
        for c in candidates(
            Problem(config, rung, operator.target, operator.weight_layout), rules, topk, _current(operator, rung, rules)
        )
    ]
    outcomes = build_all(
        config, operator.weight_layout, operator.target, tried, workers,
        lambda count: progress(f"compiled {count} of {len(tried)} candidates"),
    )  # fmt: skip
    clock = clock or clock_for(device)
    trials: list[Trial] = []
    best = {}
    for rung in rungs:
        mine = [(c, o) for c, o in zip(tried, outcomes, strict=True) if c.rung == rung]
        progress(f"measuring {len(mine)} candidates for m <= {rung}")
        results = _measure_rung(operator, rung, mine, device, clock)
        trials += results
        finals = [t for t in results if t.is_final]
        if finals:
            fastest = min(t.latency_us or 0.0 for t in finals)
            best[rung] = next(t for t in finals if (t.latency_us or 0.0) * (1 - NOISE) <= fastest)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return TuningResult(operator, name, tuple(trials), best, _provenance(operator))


def _device_of(operator: Operator) -> torch.device:
    """Return where the operator runs, and check that it is here."""
    if not operator.is_cuda:
        return torch.device("cpu")
    if not torch.cuda.is_available() or detected_cuda_arch(torch.cuda.current_device()) != operator.arch:
        raise UnsupportedError(
            f"tuning measures kernels and needs the GPU they are for, {operator.arch}, and none is visible; "
            "tune on a machine with one, and take the records that it writes"
        )
    return torch.device("cuda", torch.cuda.current_device())


def _current(operator: Operator, rung: int, rules: Sequence[Rule]) -> Candidate | None:
    """Return what serves a rung now, unless it is by a rule that is none of `rules`."""
    choice = operator.choices[rung]
    rule = next((rule for rule in rules if rule.name == choice.rule), None)
    return Candidate(rung, rule, read_hint(rule, choice.hint)) if rule is not None else None


def _measure_rung(
    operator: Operator,
    rung: int,
    built: Sequence[tuple[Candidate, Archive | str]],
    device: torch.device,
    clock: Clock,
) -> list[Trial]:
    bench = Workbench(operator.config, operator.weight_layout, rung, device)
    kernels: dict[int, Callable[..., object]] = {}
    trials = []
    for i, (candidate, outcome) in enumerate(built):
        if isinstance(outcome, str):
            trials.append(Trial(candidate, "failed", note=outcome))
            continue
        try:
            kernel = outcome.runtime_module()[outcome.symbols[rung]]
            complaint = bench.check(kernel)
            if complaint:
                trials.append(Trial(candidate, "wrong", note=complaint))
                continue
            latency_us = bench.latency_us(candidate, kernel, clock, precise=False)
        except Exception as error:  # noqa: BLE001 - a kernel may fail in any way; what it said is reported.
            _check_gpu(device, candidate, error)
            trials.append(Trial(candidate, "failed", note=describe(error)))
            continue
        kernels[i] = kernel
        trials.append(Trial(candidate, "measured", latency_us))
    order = sorted(kernels, key=lambda i: trials[i].latency_us or 0.0)
    finalists = [
        i
        for i in order[:FINALISTS]
        if (trials[i].latency_us or 0.0) <= FINAL_FACTOR * (trials[order[0]].latency_us or 0.0)
    ]
    times: dict[int, list[float]] = {i: [] for i in finalists}
    for _ in range(ROUNDS):
        for i in finalists:
            times[i].append(bench.latency_us(trials[i].candidate, kernels[i], clock, precise=True))
    for i in finalists:
        trials[i] = replace(trials[i], latency_us=statistics.median(times[i]), is_final=True)
        # Once more, after thousands of calls in a row: a race shows then.
        if complaint := bench.check(kernels[i]):
            trials[i] = Trial(trials[i].candidate, "wrong", note=f"after many calls, {complaint}")
    return trials


def _check_gpu(device: torch.device, candidate: Candidate, error: Exception) -> None:
    """Raise where a kernel has left the GPU unusable for this process, as an access out of bounds does."""
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except Exception:  # noqa: BLE001 - whatever it raises, the error to tell is the first one
        raise BuildError(
            f"{candidate} broke the GPU's context, and nothing runs on it in this process any more: {describe(error)}"
        ) from error


def _provenance(operator: Operator) -> dict[str, Any]:
    versions = {k: v for k, v in cache.versions().items() if k not in ("bitquant_source", "machine", "os")}
    versions["torch"] = torch.__version__
    if operator.is_cuda:
        versions["compiler"] = cuda_compiler().key
        versions["driver"] = driver_version() or "unknown"
    return {
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "versions": versions,
        "protocol": {"rounds": ROUNDS, "finalists": FINALISTS, "clock": "bitquant.profiling"},
    }
