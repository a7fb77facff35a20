# SPDX-License-Identifier: Apache-2.0
"""The candidates of a search: the hints of all rules that apply, the most promising first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bitquant.problem import Problem
from bitquant.schedule import ranking
from bitquant.schedule.hint import Hint
from bitquant.schedule.ranking import order
from bitquant.schedule.rules.contract import Rule, applying

__all__ = ["Candidate", "candidates", "default_candidate"]

#: Most hints of one rule that are considered: more than any rule's space has, so that one of one's own may be endless.
MAX_OF_A_RULE = 2000


@dataclass(frozen=True)
class Candidate:
    """One way to serve one rung."""

    rung: int
    rule: Rule
    hint: Hint

    @property
    def key(self) -> tuple[int, str, Hint]:
        """What tells candidates apart; rules are equal by name."""
        return self.rung, self.rule.name, self.hint

    def __str__(self) -> str:
        return f"m <= {self.rung}: {self.rule.name} ({self.hint})"


def default_candidate(problem: Problem, rules: Sequence[Rule]) -> Candidate | None:
    """Return what serves a rung without a record; None where no rule takes it."""
    found = ranking.first(problem, rules)
    return None if found is None else Candidate(problem.rung, *found)


def candidates(
    problem: Problem,
    rules: Sequence[Rule],
    predict_us: Callable[[Problem, Sequence[Candidate]], np.ndarray],
    current: Candidate | None = None,
) -> list[Candidate]:
    """Return all candidates for a problem, in the order in which they are worth a try.

    First comes `current`, so that tuning never makes a kernel slower; then the default of each rule that applies, in
    order of preference, so that a model that knows nothing of a rule does not leave it out; then all others by
    predicted time. Those of rules without a model keep the order of their `Rule.space`, and come last.

    Parameters
    ----------
    problem
        The function.
    rules
        In order of preference.
    predict_us
        As of a `Predictor`.
    current
        What is used now.
    """
    taking = applying(problem, rules)
    spaces = [[Candidate(problem.rung, rule, hint) for hint in _space(rule, problem)] for rule in taking]
    everything = [candidate for space in spaces for candidate in space]
    times = iter(predict_us(problem, everything))
    timed: list[tuple[float, Candidate]] = []
    queues: list[list[Candidate]] = []
    for space in spaces:
        predictions = list(zip(space, itertools.islice(times, len(space)), strict=True))
        timed += [(us, candidate) for candidate, us in predictions if np.isfinite(us)]
        queues.append([candidate for candidate, us in predictions if not np.isfinite(us)])
    predicted = [candidate for _, candidate in sorted(timed, key=lambda pair: pair[0])]
    ordered = [*([current] if current is not None else []), *(space[0] for space in spaces if space)]
    return list({candidate.key: candidate for candidate in [*ordered, *predicted, *order.interleaved(queues)]}.values())


def _space(rule: Rule, problem: Problem) -> Iterator[Hint]:
    return itertools.islice(rule.space(problem), MAX_OF_A_RULE)
