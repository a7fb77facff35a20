# SPDX-License-Identifier: Apache-2.0
"""Few rows of A for each expert: the time to read the weights of the experts that they meet.

The kernel is that of `bitquant.schedule.rules.decode.rule`, for a unit: a row of A, or the rows that have the same
expert. A block finds its unit on the device, and then loads the weight of that expert. Where D has the sums over the
slots of a token, the block that has the last of them adds them up.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from tvm.tirx import PrimFunc

from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WeightLayout
from bitquant.problem import Problem
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.rules.decode import cost
from bitquant.schedule.rules.decode.emit.grouped import grouped_decode_function
from bitquant.schedule.rules.decode.grouped import space
from bitquant.schedule.rules.decode.grouped.geometry import GroupedDecodeGeometry
from bitquant.schedule.rules.decode.grouped.hint import GroupedDecodeHint
from bitquant.schedule.rules.decode.rule import DecodeRule

__all__ = ["GroupedDecodeRule"]


class GroupedDecodeRule(Rule):
    """Few rows of A for each expert, on the fragment layout (see the module)."""

    name = "grouped_decode"
    operation = GroupedMatmulConfig.operation
    pipeline = "tirx"
    hint_type = GroupedDecodeHint
    weight_layouts: ClassVar[tuple[WeightLayout, ...]] = ("fragment",)

    def refuses(self, problem: Problem) -> str | None:
        """Refuse what the decode rule refuses of an expert's product."""
        return DecodeRule().refuses(dataclasses.replace(problem, config=problem.config.matmul))

    def shapes(self, problem: Problem) -> Iterator[GroupedDecodeHint]:
        """Yield hints in the order of the time that the model predicts (`space`)."""
        return space.shapes(problem)

    def population(self, problem: Problem) -> Iterator[GroupedDecodeHint]:
        """Yield the hints that `shapes` puts in order."""
        return space.population(problem)

    def geometry(self, problem: Problem, hint: GroupedDecodeHint) -> GroupedDecodeGeometry:
        """Return how the kernel cuts the problem."""
        return GroupedDecodeGeometry(problem, hint)

    def cost_us(self, geometry: GroupedDecodeGeometry) -> float:
        """Return the time that `cost` predicts, where all experts are equally likely."""
        return cost.cost_us(geometry)

    def emit(self, geometry: GroupedDecodeGeometry) -> PrimFunc:
        """Write the kernel for this problem."""
        return grouped_decode_function(geometry)
