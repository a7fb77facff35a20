# SPDX-License-Identifier: Apache-2.0
"""Hints of the decode rule for experts: units, and for these the shapes that products of a matrix have (`space`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from bitquant.problem import Problem
from bitquant.schedule.rules.decode import space
from bitquant.schedule.rules.decode.grouped.geometry import GroupedDecodeGeometry
from bitquant.schedule.rules.decode.grouped.hint import GroupedDecodeHint
from bitquant.schedule.rules.routing import expected_experts

__all__ = ["population", "shapes", "unit_hints"]

#: Rows are collected where they are so many times as many as the experts that they meet.
_SHARED_FROM = 1.15


def unit_hints(problem: Problem) -> list[GroupedDecodeHint]:
    """Return a hint for each sensible kind of units, the likely one first; the other fields are varied."""
    config = problem.config
    rows = problem.rung * config.rows_per_m
    each = rows / expected_experts(rows, config.num_experts)
    # Few experts have more than one and a half standard deviations beyond the mean.
    wanted = each + 1.5 * math.sqrt(each)
    block_m = next((size for size in (8, 16, 32) if size >= wanted), 64)
    hints = [GroupedDecodeHint(block_m=block_m, units="experts")]
    if not config.is_sorted:
        alone = [GroupedDecodeHint(block_m=8, units="rows")]
        top_k = config.rows_per_m
        if config.reduces_slots and top_k in (2, 4, 8) and problem.gpu.has_clusters:
            alone.append(dataclasses.replace(alone[0], cluster_slots=top_k))
        hints = [*alone, *hints] if each < _SHARED_FROM else [*hints, *alone]
    return hints


def shapes(problem: Problem) -> Iterator[GroupedDecodeHint]:
    """Yield hints that fit: those of the likely units first, in the order of their predicted times."""
    for hint in unit_hints(problem):
        yield from space.fitting(GroupedDecodeGeometry(problem, hint))  # type: ignore[misc]


def population(problem: Problem) -> Iterator[GroupedDecodeHint]:
    """Yield the hints that `shapes` puts in order."""
    for hint in unit_hints(problem):
        yield from space.population_of(GroupedDecodeGeometry(problem, hint))  # type: ignore[misc]
