# SPDX-License-Identifier: Apache-2.0
"""The search for one rung: build and measure a batch, learn from it, pick the next one; then time the best again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bitquant.archive import Archive
from bitquant.problem import Problem
from bitquant.schedule.records import NOISE
from bitquant.tune import surrogate
from bitquant.tune.candidates import Candidate
from bitquant.tune.compile import Builder
from bitquant.tune.measurer import Measurer
from bitquant.tune.predictor import Predictor
from bitquant.tune.trial import Trial
from bitquant.workers import Outcome

__all__ = ["FINALISTS", "TIME_LIMIT", "Finished", "Space", "best_of", "search"]

#: Candidates that are timed again: at most so many, and within this factor of the fastest; and what is used now.
FINALISTS, FINAL_FACTOR = 4, 1.15
#: Why a search ended that may go on.
TIME_LIMIT = "time limit"
#: Trials before the first fit, at least and as a share of the most, and in each round after it.
_FIRST, _FIRST_SHARE, _ROUND = 8, 0.25, 4
#: Expected improvement below which a trial does not pay. It is a mean over mostly none: a fifth of the noise of a
#: measurement is, say, 1 chance in 15 of 3 %.
_MIN_GAIN = NOISE / 5
#: Candidates that begin beside the first in order are predicted to take at most this times the least.
_SPREAD_FACTOR = 1.5


@dataclass(frozen=True)
class Finished:
    """The end of a search.

    Attributes
    ----------
    rung
        Whose.
    topk
        The most trials that it was allowed.
    reason
        Why it ended.
    """

    rung: int
    topk: int
    reason: str


@dataclass(frozen=True)
class Space:
    """What is searched.

    Attributes
    ----------
    problem
        The function.
    candidates
        In the order in which they are worth a try; the first is what is used now.
    predictor
        What is expected of them.
    """

    problem: Problem
    candidates: Sequence[Candidate]
    predictor: Predictor


def search(
    space: Space,
    topk: int,
    builder: Builder,
    measurer: Measurer,
    known: Sequence[Trial] = (),
    deadline: float | None = None,
) -> Iterator[Trial | Finished]:
    """Yield each trial when it is done, a finalist's again with its precise time, and the end.

    A first batch is the first candidates in order, and a quarter of it spread over those that are predicted well. Then
    each round fits a `Surrogate` to the trials so far, and takes the candidates with the greatest expected improvement.
    It ends with `topk` trials, when no improvement that pays is expected, or at the deadline: then it counts as one
    that was allowed the trials that it has had, so that a later one goes on from there.

    Parameters
    ----------
    space
        What is searched.
    topk
        The most trials, `known` ones included.
    builder, measurer
        Who builds, and who checks and times.
    known
        Trials of before, which are not done again.
    deadline
        Time of `time.monotonic` after which no round begins; the best so far are timed again all the same.

    Raises
    ------
    BrokenContextError, UnsupportedError
        As the measurer does.
    """
    run = _Search(space, topk, builder, measurer, known, deadline)
    yield from run.rounds()
    yield from run.finals()
    yield Finished(space.problem.rung, run.allowed, run.reason)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the first trial of the second pass that is within the noise of the fastest; None where there is none."""
    finals = [t for t in trials if t.is_final and t.latency_us is not None]
    if not finals:
        return None
    fastest = min(t.latency_us or 0.0 for t in finals)
    return next(t for t in finals if (t.latency_us or 0.0) * (1 - NOISE) <= fastest)


class _Search:
    def __init__(
        self,
        space: Space,
        topk: int,
        builder: Builder,
        measurer: Measurer,
        known: Sequence[Trial],
        deadline: float | None,
    ) -> None:
        self._problem, self._topk, self._deadline = space.problem, topk, deadline
        self._builder, self._measurer = builder, measurer
        # What was tried before may have left the space; it is a candidate all the same.
        self._candidates = list({c.key: c for c in [*space.candidates, *(t.candidate for t in known)]}.values())
        self._place = {c.key: i for i, c in enumerate(self._candidates)}
        # Precise times are of one sitting: those of before are samples now.
        self._trials = {self._place[t.candidate.key]: replace(t, is_final=False) for t in known}
        self._archives: dict[int, Archive] = {}
        self._predictor = space.predictor
        self.reason = ""
        #: The most trials, unless the deadline came first.
        self.allowed = topk

    def rounds(self) -> Iterator[Trial]:
        while picked := self._pick():
            pending = [self._builder.submit(self._problem, self._candidates[i]) for i in picked]
            if not self._problem.is_cuda:  # Compilers would compete with the kernels for the CPU.
                for future in pending:
                    self._wait(future, pending)
            for i, future in zip(picked, pending, strict=True):
                if self._wait(future, pending):
                    yield self._note(i, self._measure(i, future.result()))

    def _wait(self, future: Future[Outcome], pending: Sequence[Future[Outcome]]) -> bool:
        """Wait for a candidate, and return whether it is built; what no compiler has begun at the deadline is not.

        Raises
        ------
        CancelledError
            If the builder was stopped. (`concurrent.futures.wait` would not see it.)
        """
        if self._deadline is not None:
            if not self._is_late():
                with contextlib.suppress(FutureTimeoutError):
                    future.exception(max(0.0, self._deadline - time.monotonic()))
            if self._is_late():
                for other in pending:
                    other.cancel()
                if future.cancelled():
                    return False
        future.exception()
        return True

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() > self._deadline

    def _note(self, i: int, trial: Trial) -> Trial:
        self._trials[i] = trial
        return trial

    def _measure(self, i: int, outcome: Archive | str) -> Trial:
        candidate = self._candidates[i]
        if isinstance(outcome, str):
            return Trial(candidate, "failed", note=outcome)
        spilled = max((r.spill_bytes for r in outcome.resources.values()), default=0)
        if spilled and i > 0:  # What is used now is measured whatever it is.
            return Trial(candidate, "failed", note=f"spills registers to memory, {spilled} bytes a thread")
        trial = Trial.of(candidate, self._measurer.sample(self._problem, candidate, outcome))
        if trial.status == "measured":
            self._archives[i] = outcome
        return trial

    def _pick(self) -> list[int]:
        """Return the candidates of the next round; none at the end, with `reason`."""
        left = [i for i in range(len(self._candidates)) if i not in self._trials]
        room = self._topk - len(self._trials)
        if room <= 0 or not left:
            self.reason = f"{self._topk} trials" if left else "all hints tried"
            return []
        if self._is_late():
            self.reason, self.allowed = TIME_LIMIT, len(self._trials)
            return []
        first = min(self._topk, max(_FIRST, round(_FIRST_SHARE * self._topk)))
        if len(self._trials) < first:
            return self._spread(left, first - len(self._trials))
        timed = {i: t.latency_us for i, t in self._trials.items() if t.latency_us}
        if not timed:
            return left[: min(_ROUND, room)]
        picked = self._likely(left, timed, min(_ROUND, room))
        if not picked:
            self.reason = "no better one is likely"
        return picked

    def _spread(self, left: Sequence[int], count: int) -> list[int]:
        """Return candidates, most of them in their order, a quarter spread over those that are predicted well.

        The first in order are alike; what is learned from them alone says nothing of the others.
        """
        ordered = list(left[: count - count // 4])
        predicted = self._predicted_us
        known = np.isfinite(predicted)
        is_near = predicted <= _SPREAD_FACTOR * np.nanmin(predicted) if known.any() else ~known
        others = [i for i in left if i not in ordered and is_near[i]]
        return ordered + self._surrogate.spread(others, [*self._trials, *ordered], count - len(ordered))

    def _likely(self, left: Sequence[int], timed: dict[int, float], count: int) -> list[int]:
        """Return the candidates with the greatest expected improvement, as far as it pays.

        Each is chosen as if those before it took what is expected of them, so that they are not all alike.
        """
        seen, best = dict(timed), float(np.log(min(timed.values())))
        picked: list[int] = []
        for _ in range(min(count, len(left))):
            mean, deviation = self._surrogate.predict(list(seen), list(seen.values()))
            gain = surrogate.expected_improvement(mean, deviation, best)
            likeliest = max((i for i in left if i not in seen), key=lambda i: gain[i])
            if gain[likeliest] < _MIN_GAIN:
                break
            picked.append(likeliest)
            seen[likeliest] = float(np.exp(mean[likeliest]))
        return picked

    @cached_property
    def _predicted_us(self) -> np.ndarray:
        return self._predictor.predict_us(self._problem, self._candidates)

    @cached_property
    def _surrogate(self) -> surrogate.Surrogate:
        return surrogate.Surrogate(self._predictor.features(self._problem, self._candidates), self._predicted_us)

    def finals(self) -> Iterator[Trial]:
        while not any(t.is_final for t in self._trials.values()):
            if self.reason == TIME_LIMIT and 0 not in self._trials:
                return  # A gain is one over what is used now.
            timed = {i: t.latency_us for i, t in self._trials.items() if t.latency_us}
            if not timed:
                return
            order = sorted(timed, key=lambda i: timed[i])
            finalists = [i for i in order[:FINALISTS] if timed[i] <= FINAL_FACTOR * timed[order[0]]]
            # What is used now always: a short sample is not to lose it, and a gain is of one sitting.
            yield from self._compare([*finalists, *({0} & set(timed) - set(finalists))])
        self._archives.clear()

    def _compare(self, finalists: Sequence[int]) -> Iterator[Trial]:
        """Time candidates again; each is final after it, or has no latency any more."""
        pending = {
            i: self._builder.submit(self._problem, self._candidates[i]) for i in finalists if i not in self._archives
        }  # Those of before an interrupt.
        for i, future in pending.items():
            outcome = future.result()
            if isinstance(outcome, str):
                yield self._note(i, Trial(self._candidates[i], "failed", note=outcome))
            else:
                self._archives[i] = outcome
        ready = [i for i in finalists if i in self._archives]
        verdicts = self._measurer.compare(self._problem, [(self._candidates[i], self._archives[i]) for i in ready])
        for i, verdict in zip(ready, verdicts, strict=True):
            yield self._note(i, Trial.of(self._candidates[i], verdict, is_final=True))
