# SPDX-License-Identifier: Apache-2.0
"""The hints of all rules that apply to a problem, in one order.

Rules are asked in the order of preference. Where the learned model knows the GPU and has features of the rules, their
likely hints, by the analytical model of each, are put in the order of the time that the learned one predicts, whichever
rule they are of. Everything else keeps the order of its rule: GPUs without trials, CPUs, and rules without features.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from bitquant.config import MatmulConfig
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.ranking.features import Candidate, geometries, slowness
from bitquant.schedule.ranking.trees import Trees
from bitquant.schedule.rules.contract import Rule, applying

__all__ = ["ENVIRONMENT", "MAX_ROWS", "MODEL", "RANGE", "RANGE_MODEL", "first", "interleaved", "ordered"]

_Item = TypeVar("_Item")

#: The shipped models (`bitquant trials train`): that of most numbers of rows, and that of a range, which knows more
#: features and 1600 kernels more. The range is that in which it was ahead on the layers of the set "held-out".
MODEL, RANGE_MODEL = (Path(__file__).parent / name for name in ("trees.npz", "trees-5-16.npz"))
RANGE = range(5, 17)
#: "off": hints are put in order by the analytical models alone.
ENVIRONMENT = "BITQUANT_RANKING"
#: Most rows of A for which hints are ranked: above, the analytical model is as good on shapes that neither has seen.
MAX_ROWS = 64
#: Of a rule, the hints that are compared: within this factor of the best predicted time, and at most so many.
LIKELY_FACTOR, LIKELY_COUNT = 1.3, 96


@functools.cache
def _trees(path: Path) -> Trees | None:
    """Return a shipped model; None where there is none."""
    return Trees.load(path) if path.exists() else None


def model_for(problem: Problem) -> Trees | None:
    """Return the model that ranks a problem's hints; None where it is off, and where its trials are of something else.

    Trials are of products with one weight, on some GPUs.
    Kernels of trials serve their number of rows. One that serves any number beyond as well is not chosen by that alone.
    """
    if not problem.is_cuda or problem.operation != MatmulConfig.operation:
        return None
    if problem.rung > MAX_ROWS or not problem.config.has_most_rows(problem.rung):
        return None
    if os.environ.get(ENVIRONMENT, "").lower() == "off":
        return None
    trees = _trees(RANGE_MODEL if problem.rung in RANGE else MODEL)
    return trees if trees is not None and problem.gpu.example in trees.devices else None


def ordered(problem: Problem, rules: Sequence[Rule]) -> Iterator[tuple[Rule, Hint]]:
    """Yield the hints of the rules that do not refuse a problem, the one that is likely to be the fastest first.

    Where hints are not ranked the first hints of all rules come first, then their second, and so on, so that no rule
    crowds out another.

    Parameters
    ----------
    problem
        The problem.
    rules
        In order of preference.
    """
    taking = applying(problem, rules)
    if (ranked := _ranked(problem, taking)) is None:
        yield from _interleaved(problem, taking)
        return
    seen = set()
    for rule, hint in itertools.chain(ranked, _interleaved(problem, taking)):
        if (rule.name, hint) not in seen:
            seen.add((rule.name, hint))
            yield rule, hint


def first(problem: Problem, rules: Sequence[Rule]) -> tuple[Rule, Hint] | None:
    """Return the first of `ordered`, or None where all rules refuse."""
    return next(ordered(problem, rules), None)


def _ranked(problem: Problem, taking: Sequence[Rule]) -> list[tuple[Rule, Hint]] | None:
    """Return the likely hints of the rules with features in the order of the learned model; None without one.

    A rule that is preferred to all of those, and has no features, keeps its place: nothing is ranked.
    """
    trees = model_for(problem)
    if trees is None or not taking:
        return None
    known = [rule for rule in taking if compares(trees, problem, rule)]
    candidates = [candidate for rule in known for candidate in likely(problem, rule)]
    if not candidates or candidates[0][0] is not taking[0]:
        return None
    order = np.argsort(slowness(trees, problem, candidates), kind="stable")
    return [(candidates[i][0], candidates[i][1].hint) for i in order]


def compares(trees: Trees, problem: Problem, rule: Rule) -> bool:
    """Return whether a model ranks a rule's hints: where the rule is not preferred, only if it was trained on such."""
    return rule.is_preferred(problem) or trees.covers(rule.name, problem.rung)


def likely(problem: Problem, rule: Rule) -> Iterator[Candidate]:
    """Yield the hints of a rule whose predicted times are near the best, with features; nothing if it has none."""
    limit = math.inf
    for geometry in geometries(problem, ((rule, hint) for hint in itertools.islice(rule.space(problem), LIKELY_COUNT))):
        own = rule.features(geometry)
        if own is None or own["log_cost"] > limit:
            return
        limit = min(limit, own["log_cost"] + math.log(LIKELY_FACTOR))
        yield rule, geometry, own


def _interleaved(problem: Problem, taking: Sequence[Rule]) -> Iterator[tuple[Rule, Hint]]:
    return interleaved(zip(itertools.repeat(rule), rule.space(problem)) for rule in taking)


def interleaved(spaces: Iterable[Iterable[_Item]]) -> Iterator[_Item]:
    """Yield the first item of each space, then the second of each that has one, and so on, when it is asked for."""
    left = [iter(space) for space in spaces]
    while left:
        going = []
        for space in left:
            for item in itertools.islice(space, 1):
                going.append(space)
                yield item
        left = going
