# SPDX-License-Identifier: Apache-2.0
"""What is tried: the spaces of all rules that apply, interleaved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bitquant.problem import Problem
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

    First comes `current`, so that tuning never makes a kernel slower. Then, of each rule that applies to the function,
    in order of preference, the first hint of its `Rule.space`, which is its default; then the second of each; and so
    on. So the first of a rule is that which `ApplyDefaultSchedule` would take, and no rule crowds out another.

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
    spaces = [(rule, rule.space(problem)) for rule in rules if rule.refusal(problem) is None]
    found = {current.key: current} if current is not None else {}
    for candidate in _interleave(problem.rung, spaces):
        if len(found) >= topk:
            break
        found.setdefault(candidate.key, candidate)
    return list(found.values())


def _interleave(rung: int, spaces: list[tuple[Rule, Iterator[Hint]]]) -> Iterator[Candidate]:
    while spaces:
        left = []
        for rule, space in spaces:
            hint = next(space, None)
            if hint is not None:
                left.append((rule, space))
                yield Candidate(rung, rule, hint)
        spaces = left
