# SPDX-License-Identifier: Apache-2.0
"""The columns of the ranking's model: of the problem, of the kernel, and of the kernel among the others.

No column has a unit that tells one GPU from another: times and bytes are compared with each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.ranking.trees import Trees
from bitquant.schedule.rules.contract import Geometry, Rule

__all__ = ["Candidate", "geometries", "problem_features", "samples", "slowness"]

#: A rule, what a hint of it makes of the problem, and its features.
Candidate = tuple[Rule, Geometry, dict[str, float]]


def geometries(problem: Problem, hints: Iterable[tuple[Rule, Hint]]) -> Iterator[Geometry]:
    """Yield what each hint makes of a problem; those of a rule share what no hint changes."""
    firsts: dict[str, Geometry] = {}
    for rule, hint in hints:
        first = firsts.get(rule.name)
        geometry = rule.geometry(problem, hint) if first is None else first.with_hint(hint)
        firsts.setdefault(rule.name, geometry)
        yield geometry


def problem_features(problem: Problem) -> dict[str, float]:
    """Return what is the same for all hints of a problem."""
    c = problem.config
    return {
        "rows": math.log2(problem.rung),
        "w_bits": c.W_format.bits,
        "a_bits": c.A_format.bits,
        "a_is_integer": c.A_format.is_integer,
        "a_is_bfloat16": c.A_format.name == "bfloat16",
        "group": math.log2(c.group),
        "with_scaling": c.with_scaling,
        "with_zeros": c.with_zeros,
        "w_needs_table": c.W_format.needs_table,
        "w_is_integer": c.W_format.is_integer,
    }


def samples(problem: Problem, candidates: Sequence[Candidate], names: Sequence[str]) -> np.ndarray:
    """Return the features of each candidate in columns of these names, float32; NaN where a rule has none of a name.

    Parameters
    ----------
    problem
        The problem of all.
    candidates
        All that are compared, not only the likely ones: some columns are relative to the best predicted time of all,
        and of the rule's.
    names
        The columns.
    """
    logs = [own["log_cost"] for _, _, own in candidates]
    least = min(logs)
    least_of_rule: dict[str, float] = {}
    for (rule, _, _), log in zip(candidates, logs, strict=True):
        least_of_rule[rule.name] = min(log, least_of_rule.get(rule.name, math.inf))
    common = problem_features(problem)
    column = {name: j for j, name in enumerate(names)}
    result = np.full((len(candidates), len(names)), np.nan, np.float32)
    for i, ((rule, _, own), log) in enumerate(zip(candidates, logs, strict=True)):
        relative: dict[str, Any] = {
            "is_wgmma": rule.name == "wgmma",
            "above_best": log - least,
            "above_best_of_rule": log - least_of_rule[rule.name],
        }
        for name, value in (*common.items(), *own.items(), *relative.items()):
            if name in column:
                result[i, column[name]] = value
    return result


def slowness(trees: Trees, problem: Problem, candidates: Sequence[Candidate]) -> np.ndarray:
    """Return what a model predicts of each candidate: how much slower it is than the best one, as a logarithm."""
    return trees.predict(samples(problem, candidates, [str(name) for name in trees.names]))
