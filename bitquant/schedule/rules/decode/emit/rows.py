# SPDX-License-Identifier: Apache-2.0
"""The units of a matrix multiplication: consecutive rows of A, which all meet the same weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.mma import load_coherent
from bitquant.schedule.rules.decode.emit.context import Context
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.schedule.rules.operands import row_index

__all__ = ["RowsOfA"]

Expr = Any


class RowsOfA:
    """Rows of A that a block multiplies with the only weight (`bitquant.schedule.rules.decode.emit.context.Unit`)."""

    def __init__(self, context: Context, index: Expr) -> None:
        self.context, self.g, self.operands = context, context.g, context.operands
        self.first = index * context.g.rows_of_a
        self.B, self.Scale, self.Zeros = self.operands.B, self.operands.Scale, self.operands.Zeros

    @staticmethod
    def count(geometry: DecodeGeometry, m: Expr) -> Expr:
        """Return the units of m rows of A."""
        return T.truncdiv(m + (geometry.rows_of_a - 1), geometry.rows_of_a)

    @property
    def rows_left(self) -> Expr | None:
        """The rows of A from the first one on, where there may be fewer than `DecodeGeometry.rows_of_a`."""
        return None if self.g.has_whole_rows else self.context.m - self.first

    def has_row(self, m: Expr) -> list[Expr]:
        """Return the conditions, none or one, on which there is an m-th row."""
        return [] if self.g.has_whole_rows else [self.first + m < self.context.m]

    def pointer_to_A(self, m: Expr, k: Expr) -> Expr:
        """Return the pointer to element k of the m-th row."""
        return self.operands.A.ptr_to([row_index(self.g.config, self.g.rung, self.first + m), k])

    def store(self, m: Expr, n: Expr, sums: Sequence[Expr]) -> None:
        """Emit the store to D of what is made of the sum over k of row n of W, or of two."""
        config, row = self.g.config, self.first + m
        output = self.operands.output(row, n, sums, load_coherent)
        column = T.truncdiv(n, config.rows_per_column)
        T.buffer_store(self.operands.D, output, [row_index(config, self.g.rung, row), column])

    def end_block(self, n0: Expr) -> None:
        """Emit nothing: D is stored."""
