# SPDX-License-Identifier: Apache-2.0
"""Many rungs of many problems over the slots that there are, with a journal for each problem."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bitquant.arch import driver_version
from bitquant.compiler import cuda_compiler
from bitquant.errors import BitquantError, UnsupportedError
from bitquant.parallel import MAX_WAIT_S
from bitquant.problem import Problem
from bitquant.schedule.rules.contract import Rule
from bitquant.tune.benefit import expected_gain
from bitquant.tune.candidates import Candidate, default_candidate
from bitquant.tune.compile import Builder
from bitquant.tune.isolated import ProcessMeasurer
from bitquant.tune.journal import Journal
from bitquant.tune.measurer import ROUNDS, Measurer
from bitquant.tune.predictor import default_predictor
from bitquant.tune.result import Tuned, TuningResult
from bitquant.tune.search import FINALISTS, TIME_LIMIT, Finished, best_of
from bitquant.tune.trial import Trial
from bitquant.tune.work import Bench, LocalSlot, Slot, SlotLostError, job_of, slots_of
from bitquant.versions import versions

__all__ = ["Fleet", "Here", "Rung", "provenance_of", "slots_here", "start_measurers", "visible_gpus"]


@dataclass
class Rung:
    """One rung of a problem, and how far its search is.

    Attributes
    ----------
    subject
        What is tuned.
    rung
        Which of its rungs.
    current
        What serves it now; None: the default, which is found when the search begins.
    has_record
        Whether that is by a record: those that have none are searched first.
    trials
        What was done, by candidate, in the order in which it was first done.
    kept
        How many of them a journal of before had.
    finished
        How the search has ended; None while it has not.
    failure
        Why it cannot be searched; "" where it can.
    """

    subject: Tuned
    rung: int
    current: Candidate | None
    trials: dict[Any, Trial] = field(default_factory=dict)
    kept: int = 0
    finished: Finished | None = None
    failure: str = ""
    has_record: bool = False

    @property
    def problem(self) -> Problem:
        """The function that is searched."""
        s = self.subject
        return Problem(s.config, self.rung, s.target, s.weight_layout)

    @property
    def is_left(self) -> bool:
        """Whether there is something to search yet: it has not begun, or was broken off, as at a time limit."""
        return not self.failure and (self.finished is None or self.finished.reason == TIME_LIMIT)

    @property
    def ordered(self) -> list[Trial]:
        """The trials, that of what serves it now first."""
        first = self.current.key if self.current is not None else None
        return sorted(self.trials.values(), key=lambda trial: trial.candidate.key != first)

    def best_us(self) -> float | None:
        """Return the least latency so far, in microseconds."""
        finals = [t.latency_us for t in self.trials.values() if t.is_final and t.latency_us]
        return min(finals or [t.latency_us for t in self.trials.values() if t.latency_us], default=None)


class Fleet:
    """Searches rungs, each in one slot at a time.

    Parameters
    ----------
    slots
        Where; all on equal devices.
    rules
        The rules whose spaces are searched.
    topk
        The most trials of a rung.
    journal
        The folder of journals; None: nothing is kept.
    tell
        Called whenever something of a rung has changed, one call at a time.

    Raises
    ------
    UnsupportedError
        If the slots are on different devices.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        rules: Sequence[Rule],
        topk: int,
        journal: str | Path | None = None,
        tell: Callable[[Rung], object] = lambda _: None,
    ) -> None:
        devices = sorted({slot.device for slot in slots})
        if len(devices) != 1:
            raise UnsupportedError(
                f"tuning needs GPUs of one product (got {', '.join(devices)}); tune on each by itself"
            )
        self.device, self._slots = devices[0], slots
        self._rules, self._topk, self._folder, self._tell = rules, topk, journal, tell
        self._lock = threading.Lock()
        self._journals: dict[str, Journal] = {}
        self._errors: list[BaseException] = []
        self._deadline: float | None = None

    def tune(self, rungs: Sequence[Rung], *, again: bool = False, deadline: float | None = None) -> list[TuningResult]:
        """Search all rungs, and return a result for each subject, in their order.

        Those that have no record begin, and of them those of which most is expected (`bitquant.tune.benefit`).

        Parameters
        ----------
        rungs
            Those of one subject in a row.
        again
            Whether to leave out what journals have from before.
        deadline
            Time of `time.monotonic` after which no trial begins: what was begun ends with its best so far.

        Raises
        ------
        KeyboardInterrupt
            Where Ctrl-C was pressed. Everything that was started has ended, and journals have every trial.
        BitquantError
            If a journal cannot be used.
        """
        provenance = {id(r.subject): provenance_of(r.subject) for r in rungs}
        waiting: queue.SimpleQueue[Rung] = queue.SimpleQueue()
        self._deadline = deadline
        for rung in rungs:
            self._recall(rung, provenance[id(rung.subject)], again)
            self._tell(rung)
        new = [r for r in rungs if r.finished is None]
        for rung in sorted(new, key=lambda r: (r.has_record, -expected_gain(r.problem))):
            waiting.put(rung)
        left = list(self._slots)
        while not waiting.empty() and not self._is_late():  # Once, unless slots are lost.
            if not left:
                raise UnsupportedError("all machines that tuned are gone; run the same command again to go on")
            left = self._run(left, waiting)
        return self.results(rungs)

    def results(self, rungs: Sequence[Rung]) -> list[TuningResult]:
        """Return what is known of the subjects of rungs so far, in their order."""
        mine: dict[int, list[Rung]] = {}
        for rung in rungs:
            mine.setdefault(id(rung.subject), []).append(rung)
        results = []
        for of_subject in mine.values():
            best = {r.rung: won for r in of_subject if (won := best_of(r.ordered)) is not None}
            trials = tuple(trial for r in of_subject for trial in r.ordered)
            subject = of_subject[0].subject
            results.append(TuningResult(subject, self.device, trials, best, provenance_of(subject)))
        return results

    def _run(self, slots: Sequence[Slot], waiting: queue.SimpleQueue[Rung]) -> list[Slot]:
        """Serve what waits; the threads end before this returns the slots that are left, or raises."""
        ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        left: list[Slot] = []

        def serve(slot: Slot) -> None:
            try:
                if self._serve(slot, waiting):
                    left.append(slot)
            finally:
                ended.put(None)

        threads = [threading.Thread(target=serve, args=(slot,), daemon=True) for slot in slots]
        running = len(threads)
        try:
            for thread in threads:
                thread.start()
            # Not by `join` with a timeout: Ctrl-C within it makes Python take the thread for ended (bpo-45274).
            while running and not self._errors:
                with contextlib.suppress(queue.Empty):
                    ended.get(timeout=MAX_WAIT_S)
                    running -= 1
        finally:
            if running:
                self._errors.append(KeyboardInterrupt())
                for slot in self._slots:
                    slot.stop()
            for thread in threads:
                with contextlib.suppress(RuntimeError):  # It was not started.
                    thread.join()
        if self._errors:
            raise self._errors[0]
        return left

    @property
    def journals(self) -> list[Path]:
        """The files that keep the trials."""
        return [journal.path for journal in self._journals.values()]

    def _recall(self, rung: Rung, provenance: Mapping[str, Any], again: bool) -> None:
        """Take what the journal has of a rung."""
        if self._folder is None:
            return
        s = rung.subject
        if s.config.key() not in self._journals:
            made_by = {"layout": s.weight_layout, "target": str(s.target), "device": self.device, **provenance}
            made_by.pop("date")
            made_by["versions"] = {**made_by["versions"], "bitquant_source": versions()["bitquant_source"]}
            self._journals[s.config.key()] = Journal(self._folder, s.config, made_by)
        journal = self._journals[s.config.key()]
        if not again:
            known = journal.trials(rung.rung, self._rules)
            rung.trials = {trial.candidate.key: trial for trial in known}
            rung.kept = len(known)
            rung.finished = journal.finished(rung.rung, self._topk)
            if rung.finished is not None and best_of(known) is None and any(t.latency_us for t in known):
                rung.finished = None  # A longer search was begun after it, and its best were not timed again.

    def _serve(self, slot: Slot, waiting: queue.SimpleQueue[Rung]) -> bool:
        """Search what waits until nothing does; return whether the slot is of use after it."""
        while not self._errors and not self._is_late():
            try:
                rung = waiting.get_nowait()
            except queue.Empty:
                return True
            try:
                self._search(slot, rung)
            except SlotLostError:
                waiting.put(rung)
                return False
            except BitquantError as error:
                rung.failure = str(error)
                with self._lock:
                    self._tell(rung)
            except BaseException as error:  # noqa: BLE001 - the caller's thread raises it.
                self._errors.append(error)
        return True

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _search(self, slot: Slot, rung: Rung) -> None:
        known = list(rung.trials.values())
        if rung.current is None:
            rung.current = default_candidate(rung.problem, self._rules)
        limit_s = None if self._deadline is None else self._deadline - time.monotonic()
        for line in slot.run(job_of(rung.problem, self._topk, rung.current, known, limit_s)):
            # Finalists that were timed in turn count together: the best of some of them may not be the best.
            if self._errors and not line.get("is_final"):
                return
            with self._lock:
                if (journal := self._journals.get(rung.subject.config.key())) is not None:
                    journal.add(line)
                if "reason" in line:
                    rung.finished = Finished(**line)
                else:
                    trial = Trial.from_dict(line, self._rules)
                    rung.trials[trial.candidate.key] = trial
                self._tell(rung)


def visible_gpus() -> list[str]:
    """Return the GPUs of this process as CUDA_VISIBLE_DEVICES names them, in torch's order."""
    named = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return named[:count] if named else [str(i) for i in range(count)]


@dataclass(frozen=True)
class Here:
    """What this machine tunes with.

    Attributes
    ----------
    slots
        Where rungs are searched.
    builder, measurers
        Who builds, and who measures: one for each GPU.
    """

    slots: Sequence[Slot]
    builder: Builder
    measurers: Sequence[Measurer]


@contextlib.contextmanager
def slots_here(
    device_type: str,
    gpus: Sequence[str],
    workers: int,
    rules: Sequence[Rule],
    measurers: Sequence[Measurer] = (),
) -> Iterator[Here]:
    """Yield what this machine tunes with, whose processes end with the block.

    Parameters
    ----------
    device_type
        "cuda" or "cpu".
    gpus
        As of `visible_gpus`: one measuring process each.
    workers
        Processes that compile, for all of them together.
    rules
        The rules whose spaces are searched.
    measurers
        In place of processes.
    """
    builder = Builder(workers)
    made = list(measurers)
    try:
        made = made or start_measurers(device_type, gpus if device_type == "cuda" else [None])
        benches = [Bench(builder, measurer, rules, default_predictor()) for measurer in made]
        count = slots_of(device_type, workers // len(made))
        yield Here([LocalSlot(bench) for bench in benches for _ in range(count)], builder, made)
    finally:
        builder.stop()
        for measurer in made:
            measurer.stop()


def start_measurers(device_type: str, gpus: Sequence[str | None]) -> list[Measurer]:
    """Start a measuring process for each GPU, all at once.

    Raises
    ------
    UnsupportedError
        If one cannot start or cannot use its device; the others have ended then.
    """
    made: list[Measurer] = []
    is_over = threading.Event()

    def start(gpu: str | None) -> Measurer:
        measurer = ProcessMeasurer(device_type, gpu)
        made.append(measurer)
        if is_over.is_set():  # Whoever waited may not have seen it.
            measurer.stop()
        return measurer

    with ThreadPoolExecutor(max(1, len(gpus))) as pool:
        try:
            return list(pool.map(start, gpus))
        except BaseException:  # Ctrl-C does not reach the processes.
            is_over.set()
            pool.shutdown(cancel_futures=True)
            for measurer in made:
                measurer.stop()
            raise


def provenance_of(subject: Tuned) -> dict[str, Any]:
    """Return how measurements of today come about, as records say it."""
    made_by = {k: v for k, v in versions().items() if k not in ("bitquant_source", "machine", "os")}
    made_by["torch"] = torch.__version__
    if subject.is_cuda:
        made_by["compiler"] = cuda_compiler().key
        made_by["driver"] = driver_version() or "unknown"
    return {
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "versions": made_by,
        "protocol": {"rounds": ROUNDS, "finalists": FINALISTS, "clock": "bitquant.profiling"},
    }
