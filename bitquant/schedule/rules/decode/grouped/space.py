# SPDX-License-Identifier: Apache-2.0
"""Hints of the decode rule for experts: units, and for these the shapes that products of a matrix have (`space`)."""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Iterator

from bitquant.grouped_config import expected_experts
from bitquant.layouts import fragment_layout
from bitquant.problem import Problem
from bitquant.schedule.rules.decode import space
from bitquant.schedule.rules.decode.cost import cost_us
from bitquant.schedule.rules.decode.grouped.geometry import GroupedDecodeGeometry
from bitquant.schedule.rules.decode.grouped.hint import GroupedDecodeHint

__all__ = ["population", "shapes", "unit_hints"]

#: Rows of an expert from which on they are never multiplied alone.
_MAX_EACH = 3.0
#: Rows of a unit where few experts have more: half of the columns of an instruction, and half of A in shared memory.
_FEW_ROWS = 4


def unit_hints(problem: Problem) -> list[GroupedDecodeHint]:
    """Return a hint for each sensible kind of units; the other fields are varied."""
    config = problem.config
    rows = problem.rung * config.rows_per_m
    each = rows / expected_experts(rows, config.num_experts)
    # Few experts have more than one and a half standard deviations beyond the mean.
    wanted = each + 1.5 * math.sqrt(each)
    # Where values are looked up, moves between registers cost more than what is less in flight.
    late = fragment_layout(config.matmul).is_adjacent
    hints = []
    if problem.rung > 1 or config.is_sorted:  # The experts of a token differ.
        block_m = next((size for size in (8, 16, 32) if size >= wanted), 64)
        # Kernels that look values up gain nothing by less shared memory: their table takes most of it.
        unit_rows = _FEW_ROWS if wanted <= _FEW_ROWS and not late else 0
        hints.append(GroupedDecodeHint(block_m=block_m, units="experts", unit_rows=unit_rows, loads_late=late))
    if not config.is_sorted and each < _MAX_EACH:
        alone = GroupedDecodeHint(block_m=8, units="rows", loads_late=late)
        top_k = config.rows_per_m
        if config.reduces_slots and top_k in (2, 4, 8) and problem.gpu.has_clusters:
            hints.append(dataclasses.replace(alone, cluster_slots=top_k))
        hints.append(alone)
    return hints


def shapes(problem: Problem) -> Iterator[GroupedDecodeHint]:
    """Yield hints that fit, in the order of their predicted times, whatever their units."""

    def by_cost(hint: GroupedDecodeHint) -> Iterator[tuple[float, int, GroupedDecodeHint]]:
        first = GroupedDecodeGeometry(problem, hint)
        for place, found in enumerate(space.fitting(first)):
            assert isinstance(found, GroupedDecodeHint)
            yield cost_us(first.with_hint(found)), place, found

    found = heapq.merge(*map(by_cost, unit_hints(problem)), key=lambda item: item[0])
    yield from (hint for _, _, hint in found)


def population(problem: Problem) -> Iterator[GroupedDecodeHint]:
    """Yield the hints that `shapes` puts in order."""
    for hint in unit_hints(problem):
        yield from space.population_of(GroupedDecodeGeometry(problem, hint))  # type: ignore[misc]  # hints have the type of `hint`
