# SPDX-License-Identifier: Apache-2.0
"""The rules of the SIMD kernel: one for each type of products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from tvm.tirx import PrimFunc

from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.rules.simd.emit import emit
from bitquant.schedule.rules.simd.geometry import SimdGeometry
from bitquant.schedule.rules.simd.hint import SimdHint
from bitquant.schedule.rules.simd.products import BFLOAT16, FLOAT32, INT8, Product

__all__ = ["Bfloat16Rule", "Float32Rule", "Int8Rule", "SimdRule"]


class SimdRule(Rule):
    """Dot products of decoded words by rows of A."""

    pipeline = "s_tir"
    hint_type = SimdHint
    product: ClassVar[Product]

    def shapes(self, problem: Problem) -> Iterator[SimdHint]:
        yield SimdHint()

    def geometry(self, problem: Problem, hint: Hint) -> SimdGeometry:
        """Return how the kernel cuts the problem."""
        return SimdGeometry(problem, hint, self.product)

    def emit(self, geometry: SimdGeometry) -> PrimFunc:
        """Write the kernel."""
        return emit(geometry)

    def refuses(self, problem: Problem) -> str | None:
        return None


class Float32Rule(SimdRule):
    name = "cpu_float32"
    product = FLOAT32


class Bfloat16Rule(SimdRule):
    name = "cpu_bfloat16"
    product = BFLOAT16


class Int8Rule(SimdRule):
    name = "cpu_int8"
    product = INT8
