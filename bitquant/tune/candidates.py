# SPDX-License-Identifier: Apache-2.0
"""What is tried: the hints of all rules that apply, in the order of the ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitquant.problem import Problem
from bitquant.schedule import ranking
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Rule

__all__ = ["Candidate", "candidates"]


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


def candidates(problem: Problem, rules: Sequence[Rule], topk: int, current: Candidate | None = None) -> list[Candidate]:
    """Return the candidates for a problem, at most `topk`, in the order in which they are worth a try.

    First comes `current`, so that tuning never makes a kernel slower; then the hints of all rules that apply, in the
    order of `ranking.ordered`. So the first is that which `ApplyDefaultSchedule` would take.

    Parameters
    ----------
    problem
        The function.
    rules
        In order of preference.
    topk
        How many, over all rules.
    current
        What is used now.
    """
    found = {current.key: current} if current is not None else {}
    for rule, hint in ranking.ordered(problem, rules):
        if len(found) >= topk:
            break
        candidate = Candidate(problem.rung, rule, hint)
        found.setdefault(candidate.key, candidate)
    return list(found.values())
