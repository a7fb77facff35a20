# SPDX-License-Identifier: Apache-2.0
"""Who checks and times built candidates: in this process, which a bad kernel may take down."""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from bitquant.archive import Archive
from bitquant.errors import BuildError
from bitquant.problem import Problem
from bitquant.profiling import shuffled
from bitquant.tune.candidates import Candidate
from bitquant.tune.measure import Clock, Workbench, clock_for, clock_of_turns_for
from bitquant.tune.trial import Verdict
from bitquant.workers import describe

__all__ = ["BENCHES", "ROUNDS", "BrokenContextError", "LocalMeasurer", "Measurer"]

#: Turns in which finalists are timed; each one's latency is the median.
ROUNDS = 5
#: Problems whose operands are kept, as many as rungs may share a GPU: those of one take some 300 MB on an H200.
BENCHES = 16


class BrokenContextError(BuildError):
    """A kernel has left the GPU unusable for this process, as an access out of bounds does."""


class Measurer(Protocol):
    """What a search takes of whoever runs its kernels."""

    @property
    def device(self) -> str:
        """Where kernels run, by name."""

    def sample(self, problem: Problem, candidate: Candidate, archive: Archive) -> Verdict:
        """Check the result of a kernel, and time it shortly if it is right."""

    def compare(
        self,
        problem: Problem,
        finalists: Sequence[tuple[Candidate, Archive]],
        rounds: int = ROUNDS,
        *,
        is_precise: bool = True,
    ) -> list[Verdict]:
        """Time right kernels in turns, and check each once more: a race shows after many calls."""

    def stop(self) -> None:
        """Measure nothing more."""


class LocalMeasurer:
    """Measures in this process.

    Parameters
    ----------
    device
        Where kernels run.
    clock
        What takes the time of a candidate's calls; default: the protocol of `bitquant.profiling`.
    tell
        Called with what is done next: "operands", "check", "time", "round", and for the last one which finalist.
    """

    def __init__(
        self, device: torch.device, clock: Clock | None = None, tell: Callable[..., object] = lambda *_: None
    ) -> None:
        self._place, self._clock, self._tell = device, clock or clock_for(device), tell
        self._turns = (lambda: clock_of_turns_for(device)) if clock is None else (lambda: clock)
        self._benches: OrderedDict[str, Workbench] = OrderedDict()

    @property
    def device(self) -> str:
        """Where kernels run, by name."""
        return torch.cuda.get_device_name(self._place) if self._place.type == "cuda" else "CPU"

    def sample(self, problem: Problem, candidate: Candidate | None, archive: Archive) -> Verdict:
        """Check the result of a kernel, and time it shortly if it is right. The candidate is for the clock.

        Raises
        ------
        BrokenContextError
            If it breaks the GPU for this process.
        """
        bench = self._bench(problem)
        try:
            kernel = _kernel(problem, archive)
            self._tell("check")
            if complaint := bench.check(kernel):
                self._forget(problem)  # It may have written over the operands of the others.
                return Verdict("wrong", note=complaint)
            self._tell("time")
            return Verdict("measured", bench.latency_us(candidate, kernel, self._clock, precise=False))
        except Exception as error:  # noqa: BLE001 - a kernel may fail in any way; what it said is reported.
            self._check_gpu(error)
            return Verdict("failed", note=describe(error))

    def compare(
        self,
        problem: Problem,
        finalists: Sequence[tuple[Candidate | None, Archive]],
        rounds: int = ROUNDS,
        *,
        is_precise: bool = True,
    ) -> list[Verdict]:
        """Time right kernels in turns, and check each once more.

        Parameters
        ----------
        problem
            What they compute.
        finalists
            The kernels.
        rounds
            In how many turns; the latency of each is the median.
        is_precise
            Whether a turn is a long one, and not as short as in `sample`.

        Raises
        ------
        BrokenContextError
            As `sample` does.
        """
        verdicts: dict[int, Verdict] = {}
        kernels: dict[int, Any] = {}
        times: dict[int, list[float]] = {i: [] for i in range(len(finalists))}
        clocks = [self._turns() for _ in finalists]

        def attempt(i: int, act: Callable[[], None]) -> None:
            if i not in verdicts:
                self._tell("round", i)
                try:
                    act()
                except Exception as error:  # noqa: BLE001 - as in `sample`
                    self._check_gpu(error)
                    verdicts[i] = Verdict("failed", note=describe(error))

        def load(i: int) -> None:
            kernels[i] = _kernel(problem, finalists[i][1])

        def time(i: int) -> None:
            bench = self._bench(problem)
            times[i].append(bench.latency_us(finalists[i][0], kernels[i], clocks[i], precise=is_precise))

        def check(i: int) -> None:
            if complaint := self._bench(problem).check(kernels[i]):
                self._forget(problem)
                verdicts[i] = Verdict("wrong", note=f"after many calls, {complaint}")
            else:
                verdicts[i] = Verdict("measured", statistics.median(times[i]))

        indices = range(len(finalists))
        for act, order in ((load, indices), *((time, shuffled(indices, i)) for i in range(rounds)), (check, indices)):
            for i in order:
                attempt(i, lambda i=i, act=act: act(i))  # type: ignore[misc]  # defaults of a lambda
        return [verdicts[i] for i in range(len(finalists))]

    def stop(self) -> None:
        """Free the operands."""
        self._benches.clear()

    def _bench(self, problem: Problem) -> Workbench:
        key = _key(problem)
        if key not in self._benches:
            while len(self._benches) >= BENCHES:
                self._benches.popitem(last=False)
            self._tell("operands")
            make = functools.partial(Workbench, problem.config, problem.weight_layout, problem.rung, self._place)
            bench = None
            try:
                # Those of other problems may hold what it needs. What there is of its own goes with the error.
                with contextlib.suppress(torch.OutOfMemoryError):
                    bench = make()
                if bench is None:
                    self._benches.clear()
                    bench = make()
                self._benches[key] = bench
            except Exception as error:
                self._check_gpu(error)
                raise
        self._benches.move_to_end(key)
        return self._benches[key]

    def _forget(self, problem: Problem) -> None:
        self._benches.pop(_key(problem), None)

    def _check_gpu(self, error: Exception) -> None:
        if self._place.type != "cuda":
            return
        try:
            torch.cuda.synchronize(self._place)
        except Exception:  # noqa: BLE001 - whatever it raises, the error to tell is the first one
            raise BrokenContextError(f"broke the GPU's context: {describe(error)}") from error


def _kernel(problem: Problem, archive: Archive) -> Callable[..., object]:
    kernel: Callable[..., object] = archive.runtime_module()[archive.symbols[problem.rung]]
    return kernel


def _key(problem: Problem) -> str:
    return f"{problem.config.key()} {problem.rung} {problem.weight_layout}"
