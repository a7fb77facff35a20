# SPDX-License-Identifier: Apache-2.0
"""The sums of a thread of the decode kernel: of a run, in chains, and the totals that they are scaled and added to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.decode import apply_scale_and_zero
from bitquant.intrin.mma import store_local, zero_local
from bitquant.schedule.rules.decode.emit.context import Context, Cursor
from bitquant.schedule.rules.decode.emit.factors import Factors

__all__ = ["Products", "Sums", "Total"]

Expr = Any


class Total(NamedTuple):
    """A finished total: its value, where in the block it belongs, and whether this thread stores it (None: always)."""

    m: Expr
    n: Expr
    value: Expr
    is_stored: Expr | None


class Products(Protocol):
    """How W and A are multiplied: A as values, or as digits."""

    def multiply_tile(self, words: Any, at: Cursor, tile: int) -> None:
        """Emit the products of tile `tile` of a body, whose codes are in `words`, and the ends of runs."""

    def finished(self) -> Iterator[Total]:
        """Emit what remains to be done with this thread's totals, and yield them."""


class Sums:
    """Accumulators of a run, and totals.

    Products of a class rotate over independent accumulators (chains), since one chain of dependent mma instructions
    would be bound by their latency; sums of A have chains of their own.

    Attributes
    ----------
    acc
        Four registers for each chain of each class, row of tiles of W, and 8 rows of A, in that order.
    a_sum
        Four registers for each chain of sums of A, and 8 rows of A.
    total
        Totals over the runs, scaled.
    counts
        Products of each class in this run so far.
    """

    def __init__(self, context: Context) -> None:
        g, h = context.g, context.hint
        self.g, self.config = g, context.config
        self.total = T.alloc_local((g.totals,), self.config.reduce_dtype)
        self.acc = T.alloc_local((g.sums * h.n_tiles_per_warp * g.m_tiles * 4,), g.sum_dtype)
        self.a_sum = T.alloc_local((g.a_chains * g.m_tiles * 4,), g.sum_dtype)
        self.counts: list[int] = []

    def begin_run(self) -> None:
        """Emit zeros for a run."""
        zero_local(self.acc)
        if self.g.needs_sum_of_a:
            zero_local(self.a_sum)
        self.counts = [0] * self.g.classes_count

    def accumulators(self, sum_class: int, r: int, j: int = 0) -> list[Expr]:
        """Return the registers of the next product of a class, for a row of tiles of W and 8 rows of A."""
        chain = sum_class * self.g.chains + self.counts[sum_class] % self.g.chains
        first = ((chain * self.g.hint.n_tiles_per_warp + r) * self.g.m_tiles + j) * 4
        return [self.acc[first + i] for i in range(4)]

    def a_accumulators(self, count: int, j: int = 0) -> list[Expr]:
        """Return the registers of the sum of A that comes after `count` others in this run, for 8 rows of A."""
        first = (count % self.g.a_chains * self.g.m_tiles + j) * 4
        return [self.a_sum[first + i] for i in range(4)]

    def add_run(self, factors: Factors, index: int, dot: Expr, sum_of_a: Expr, row: int, run: int) -> None:
        """Emit total[index] += decode(sum of products), for a row of W of this lane and a run."""
        c = self.config
        # Where zero points are subtracted before scaling they contain the offset.
        offset = 0.0 if c.with_zeros and c.zeros_mode != "rescale" else self.g.decoder.value_offset
        if offset:
            dot = dot - sum_of_a * tirx.const(offset, c.reduce_dtype)
        at = row * self.g.runs + run
        scale = factors.scale[at] if c.with_scaling else None
        zero = factors.zero[at] * sum_of_a if c.with_zeros else None
        store_local(self.total, index, self.total[index] + apply_scale_and_zero(dot, scale, zero, c.zeros_mode))
