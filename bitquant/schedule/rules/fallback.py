# SPDX-License-Identifier: Apache-2.0
"""Any legal problem on any CUDA GPU, guarded everywhere: what runs where no fast rule does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import decode_weight, tag
from bitquant.intrin.mma import store_local
from bitquant.layouts import WEIGHT_LAYOUTS, WeightLayout
from bitquant.problem import Problem
from bitquant.schedule import parsing
from bitquant.schedule.hint import Hint, size
from bitquant.schedule.rules.contract import Geometry, Rule
from bitquant.schedule.rules.operands import declare

__all__ = ["FallbackHint", "FallbackRule"]


@dataclass(frozen=True)
class FallbackHint(Hint):
    """Shape of a thread block of the fallback kernel.

    Attributes
    ----------
    warps
        Warps a block; each computes one column of D.
    m_per_warp
        Rows of A that a warp multiplies with one decoded weight.
    """

    former_names: ClassVar[Mapping[str, str]] = {"rows": "m_per_warp"}

    warps: int = size(4, 1, 32)
    m_per_warp: int = size(1, 1, 32)


class FallbackRule(Rule):
    """One warp a column of D: its lanes stride over k, decode in registers, and add up by shuffles.

    A column is one row of W, or the two of an activation. Neighbouring lanes read neighbouring weights and activations,
    so loads are coalesced whatever N, K and m are; every access is guarded. float32 arithmetic, or int32 for integers.
    """

    name = "fallback"
    pipeline = "tirx"
    hint_type = FallbackHint
    weight_layouts: ClassVar[tuple[WeightLayout, ...]] = WEIGHT_LAYOUTS

    def refuses(self, problem: Problem) -> str | None:
        """Refuse nothing but other kinds of target."""
        return None if problem.is_cuda else f"needs a CUDA target (got {problem.device_name})"

    def shapes(self, problem: Problem) -> Iterator[FallbackHint]:
        """Share a decoded weight among up to eight rows: more would spill, fewer decode more often. Then the others."""
        first = FallbackHint(m_per_warp=min(8, 1 << (problem.rung - 1).bit_length()))
        yield first
        most = 1 << (min(problem.rung, 16) - 1).bit_length()
        rows = [rows for rows in (16, 8, 4, 2, 1) if rows <= most]
        yield from (hint for r in rows for warps in (4, 8, 2) if (hint := FallbackHint(warps, r)) != first)

    def geometry(self, problem: Problem, hint: Hint) -> Geometry:
        """Return the hint and the problem: the kernel has no other sizes."""
        return Geometry(problem, hint)

    def emit(self, geometry: Geometry) -> PrimFunc:
        """Give every (rows of m) x (column) to a warp, with the weight in the layout of the problem."""
        config, rung, hint, layout = geometry.config, geometry.rung, geometry.hint, geometry.problem.weight_layout
        WARPS, ROWS = hint.warps, hint.m_per_warp
        COLUMNS, K, W_ROWS = config.columns, config.K, config.rows_per_column
        dtype = config.reduce_dtype
        zero = T.int32(0) if dtype == "int32" else T.float32(0)

        def decode(operands, w, n, k):
            """Emit w = decode(W)[:, k] of the rows of column n."""
            for i in range(W_ROWS):
                value = decode_weight(
                    config, operands.B, operands.Scale, operands.Zeros, W_ROWS * n + i, k, dtype, layout
                )
                store_local(w, i, value)

        def multiply(total, r, a, w):
            """Emit the products of a number of row `r` of A."""
            for i in range(W_ROWS):
                store_local(total, i * ROWS + r, total[i * ROWS + r] + a * w[i])

        def output(operands, row, n, total, r):
            return operands.output(row, W_ROWS * n, [total[i * ROWS + r] for i in range(W_ROWS)])

        @parsing.prim_func
        def kernel():
            m = T.int32()
            operands = T.meta_var(declare(geometry.problem, m))
            A, D, rows_of_A = T.meta_var((operands.A, operands.D, operands.rows))
            T.device_entry()
            # One grid axis: x alone holds more than 65535 blocks. Nothing is negative, so division may truncate.
            row_blocks = T.meta_var(T.truncdiv(rows_of_A + (ROWS - 1), ROWS))
            block = T.cta_id([T.ceildiv(COLUMNS, WARPS) * row_blocks])
            thread = T.thread_id([WARPS * 32])
            n = T.meta_var(T.truncdiv(block, row_blocks) * WARPS + thread // 32)
            first_row = T.meta_var(T.truncmod(block, row_blocks) * ROWS)
            total = T.alloc_local((W_ROWS * ROWS,), dtype)
            for r in T.unroll(W_ROWS * ROWS):
                total[r] = zero
            if n < COLUMNS:
                for step in T.serial(T.ceildiv(K, 32)):
                    k = T.meta_var(step * 32 + thread % 32)
                    if k < K:
                        w = T.alloc_local((W_ROWS,), dtype)
                        decode(operands, w, n, k)
                        for r in T.unroll(ROWS):
                            if first_row + r < rows_of_A:
                                multiply(total, r, config.A_format.value(A[first_row + r, k], dtype), w)
            for r in T.unroll(W_ROWS * ROWS):
                for s in T.unroll(5):
                    total[r] = total[r] + T.tvm_warp_shuffle_xor(T.uint32(0xFFFFFFFF), total[r], 16 >> s, 32, 32)
            if thread % 32 == 0 and n < COLUMNS:
                for r in T.unroll(ROWS):
                    if first_row + r < rows_of_A:
                        D[first_row + r, n] = output(operands, first_row + r, n, total, r)

        return tag(kernel, config, rung, layout)
