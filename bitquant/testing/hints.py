# SPDX-License-Identifier: Apache-2.0
"""Random hints of a rule: from the whole of what its fields may be, and from what they may not."""

from __future__ import annotations

import dataclasses
from random import Random
from typing import Any

from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Rule

__all__ = ["WILD", "legal_values", "random_hint", "wild_hint"]

#: What a stranger may write into a field.
WILD: tuple[Any, ...] = (
    -(2**63), -(2**31), -64, -1, 0, 3, 2**15 + 1, 2**31 - 1, 2**31, 2**63, 10**30, True, None, 1.5, 8.0, float("nan"),
    float("inf"), "8", "", "registers", b"1", [1], {}, (8,),
)  # fmt: skip

#: Sizes that fit each other by chance: powers of two and small multiples of them.
_SIZES = sorted({odd << shift for odd in (1, 3, 5, 7) for shift in range(21)})


def legal_values(field: dataclasses.Field[Any]) -> tuple[Any, ...]:
    """Return values that a field of a hint may have: all, or of a range of ints its ends and the sizes between."""
    rules = field.metadata
    if "values" in rules:
        return tuple(rules["values"])
    if "least" in rules:
        least, most = rules["least"], rules["most"]
        return tuple(dict.fromkeys((least, *(size for size in _SIZES if least < size < most), most)))
    return (False, True)


def random_hint(rule: Rule, problem: Problem, random: Random, tries: int = 50) -> Hint:
    """Return a hint that `Rule.checked` lets pass: the default with some or all fields drawn anew.

    Parameters
    ----------
    rule, problem
        For what; the rule does not refuse it.
    random
        Where chance comes from.
    tries
        Draws that may fail before the default is returned.
    """
    default = rule.default_hint(problem)
    fields = dataclasses.fields(default)
    for _ in range(tries):
        count = random.choice((1, 2, 3, len(fields)))
        drawn = random.sample(fields, min(count, len(fields)))
        hint = dataclasses.replace(default, **{f.name: random.choice(legal_values(f)) for f in drawn})
        if hint != default and hint.fault() is None and rule.fault(problem, hint) is None:
            return hint
    return default


def wild_hint(rule: Rule, problem: Problem, random: Random) -> Hint:
    """Return a hint of which any field may hold anything; most often one that `Rule.checked` refuses."""
    default = rule.default_hint(problem)
    fields = dataclasses.fields(default)
    drawn = random.sample(fields, random.randint(1, len(fields)))
    return dataclasses.replace(
        default, **{f.name: random.choice(WILD if random.random() < 0.5 else legal_values(f)) for f in drawn}
    )
