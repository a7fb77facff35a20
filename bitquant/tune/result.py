# SPDX-License-Identifier: Apache-2.0
"""What follows from the trials of a problem: the best of each rung, a plan, records."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tvm.target import Target

from bitquant.arch import target_gpu
from bitquant.config import MatmulConfig
from bitquant.errors import BuildError, UnsupportedError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WeightLayout
from bitquant.markup import html_table
from bitquant.operator.report import floor_us
from bitquant.profiling import Described
from bitquant.schedule.records import Record, problem_without_rows, save_records
from bitquant.schedule.tuned import Plan, Planned
from bitquant.tune.trial import Trial, TuningWarning

__all__ = ["Subject", "Tuned", "TuningResult"]


class Tuned(Described, Protocol):
    """What was tuned: an `Operator`, or a problem that has none."""

    @property
    def target(self) -> Target:
        """What it is compiled for."""


@dataclass(frozen=True)
class Subject:
    """A problem that is tuned without an operator of it."""

    config: MatmulConfig | GroupedMatmulConfig
    target: Target
    weight_layout: WeightLayout

    @property
    def is_cuda(self) -> bool:
        """Whether it is for a GPU."""
        return bool(self.target.kind.name == "cuda")

    @property
    def arch(self) -> str:
        """Architecture of a CUDA target; else the kind of the target."""
        return str(self.target.arch) if self.is_cuda else str(self.target.kind.name)


@dataclass(frozen=True)
class TuningResult:
    """All trials of a search, and what follows from them.

    Attributes
    ----------
    operator
        What was tuned: an `Operator`, or a `Subject`.
    device
        Where, by name.
    trials
        In the order in which they were done; the first of a rung is what was used before.
    best
        The trial that won, by rung; a rung is missing where no candidate works.
    provenance
        As in `Record`.
    """

    operator: Tuned = field(repr=False)
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
        return sorted(mine, key=lambda t: (t.latency_us is None, t.latency_us or 0.0))

    def before(self, rung: int) -> Trial:
        """Return the trial of what was used before."""
        return next(t for t in self.trials if t.candidate.rung == rung)

    def gain(self, rung: int) -> float:
        """Return the share by which the best of a rung is faster than what was used before; infinite if that failed."""
        before_us = self.before(rung).latency_us
        return math.inf if before_us is None else before_us / (self.best[rung].latency_us or math.inf) - 1.0

    def floor_us(self, rung: int) -> float:
        """Return the time in microseconds that memory alone takes for a call, at the bandwidth of the architecture.

        Of a grouped call that is with the experts that rows meet on average in the calls that were timed.
        """
        return floor_us(self.operator.config, rung, target_gpu(self.operator.target), is_uniform=True)

    def __str__(self) -> str:
        """Return what was tuned, and two lines a rung: the best time beside the one before, and its rule and hint."""
        lines = [f"{self.operator.config} on {self.device}"]
        for rung in dict.fromkeys(t.candidate.rung for t in self.trials):
            trials = self.of_rung(rung)
            failed = sum(t.status != "measured" for t in trials)
            count = f"{len(trials)} trial{'s'[: len(trials) != 1]}" + (f", {failed} without a time" if failed else "")
            if (best := self.best.get(rung)) is None or best.latency_us is None:
                lines.append(f"m={rung}: no candidate works; {count}")
                continue
            before_us = self.before(rung).latency_us
            former = "the kernel before failed" if before_us is None else f"{before_us:.2f} us before"
            floor = f"{best.latency_us / self.floor_us(rung):.2f} of the floor"
            lines.append(f"m={rung}: {best.latency_us:.2f} us, {floor}; {former}; {count}")
            lines.append(f"    {best.candidate.rule.name}: {best.candidate.hint}")
        return "\n".join(lines)

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

    def records(self, least_gain: float = 0.0) -> list[Record]:
        """Return a record of the best candidate of each rung.

        Parameters
        ----------
        least_gain
            A rung has a record only if its best is faster than what was used before by more than this share, both
            timed in turn; 0: each rung.

        Raises
        ------
        UnsupportedError
            If the target is a CPU: records are of GPUs.
        """
        operator = self.operator
        if not operator.is_cuda:
            raise UnsupportedError(f"records are of CUDA GPUs (got target {operator.arch})")
        problem = problem_without_rows(operator.config)
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
            if not least_gain or self.gain(rung) > least_gain
        ]

    def write_record(
        self, directory: str | Path = "schedules", replace: bool = False, least_gain: float = 0.0
    ) -> list[Path]:
        """Merge the records into a folder, and return the files that have changed.

        Parameters
        ----------
        directory
            The folder; see `bitquant.schedule.records.save_records`.
        replace
            Whether they replace records that are as fast.
        least_gain
            As of `records`.

        Raises
        ------
        UnsupportedError
            If the target is a CPU.
        RecordError
            If a file that is there is malformed.
        """
        return save_records(self.records(least_gain), directory, replace)
