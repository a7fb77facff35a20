# SPDX-License-Identifier: Apache-2.0
"""One row of A: a dot product a warp and row of W, on the plain layout, with wide loads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import scale_value, tag, zero_point
from bitquant.config import MatmulConfig
from bitquant.intrin.words import load_width_bytes, load_words, word_value
from bitquant.problem import Problem
from bitquant.schedule import parsing
from bitquant.schedule.hint import Hint, size
from bitquant.schedule.rules.contract import Geometry, Rule
from bitquant.schedule.rules.operands import declare

__all__ = ["GemvGeometry", "GemvHint", "GemvRule", "chunk_elements", "gemv_hints"]


@dataclass(frozen=True)
class GemvHint(Hint):
    """Shape of the matrix-vector kernel.

    Attributes
    ----------
    warps
        Warps a block.
    n_per_warp
        Rows of W that a warp reads at a time, so that one load of A serves them all. Even with an activation, whose
        gate and up a warp has together.
    """

    former_names: ClassVar[Mapping[str, str]] = {"rows": "n_per_warp"}

    warps: int = size(4, 1, 32)
    n_per_warp: int = size(2, 1, 8)


class GemvGeometry(Geometry):
    """Whether a warp has whole columns of D; there are no other sizes than those of the hint."""

    hint: GemvHint

    def _hint_fault(self) -> str | None:
        if self.hint.n_per_warp % self.config.rows_per_column:
            return f"needs n_per_warp % {self.config.rows_per_column} == 0 with an activation"
        return None


def gemv_hints(config: Any, first: GemvHint) -> Iterator[GemvHint]:
    """Yield a hint with whole columns of D a warp, and then the others worth measuring."""
    least = config.rows_per_column
    first = replace(first, n_per_warp=max(least, first.n_per_warp))
    yield first
    for rows in (1, 2, 4):
        if rows >= least:
            yield from (hint for warps in (2, 4, 8) if (hint := GemvHint(warps, rows)) != first)


def chunk_elements(config: MatmulConfig) -> int:
    """Elements of a row of W that a lane takes at a time: 32 packed ones (4 to 28 bytes), else 16 bytes."""
    return 32 if config.W_format.is_packed else 128 // config.W_format.bits


class GemvRule(Rule):
    """Lanes stride over chunks of k; scale and zero point are applied to the sums of a chunk.

    For a chunk inside one group, sum a (w - z) s = (sum a w - z sum a) s, so that decoding costs a shift, a mask, a
    conversion and a fused multiply-add a weight.
    """

    name = "gemv"
    pipeline = "tirx"
    hint_type = GemvHint

    def refuses(self, problem: Problem) -> str | None:
        """Refuse other rungs than 1, W stored (K, N), and chunks that K or a group does not hold."""
        config, rung = problem.config, problem.rung
        chunk = chunk_elements(config)
        if not problem.is_cuda:
            return f"needs a CUDA target (got {problem.device_name})"
        if rung != 1:
            return f"needs M == 1 (got {rung})"
        if not config.has_fixed_rows(rung):
            return "needs M == 1 (got 1 as the last rung, which serves more rows, too)"
        if config.layout != "nt":
            return f"needs layout nt (got {config.layout})"
        if config.K % chunk:
            return f"needs K % {chunk} == 0 (got K % {chunk} == {config.K % chunk})"
        if config.num_groups > 1 and config.group % chunk:
            return f"needs group_size % {chunk} == 0 (got {config.group})"
        return None

    def shapes(self, problem: Problem) -> Iterator[GemvHint]:
        """Yield two rows a warp where that still leaves every multiprocessor 16 warps, else one; then the others."""
        first = GemvHint(n_per_warp=2 if 2 * 16 * problem.gpu.sm_count <= problem.config.N else 1)
        yield from gemv_hints(problem.config, first)

    def geometry(self, problem: Problem, hint: Hint) -> GemvGeometry:
        """Return the hint and the problem: the kernel has no other sizes."""
        return GemvGeometry(problem, hint)

    def emit(self, geometry: Geometry) -> PrimFunc:
        """Write the kernel for this problem."""
        config, rung, hint = geometry.config, geometry.rung, geometry.hint
        WARPS, ROWS = hint.warps, hint.n_per_warp
        N, K, CHUNK = config.N, config.K, chunk_elements(config)
        w_format, a_format = config.W_format, config.A_format
        w_bytes, a_bytes = CHUNK * w_format.bits // 8, CHUNK * a_format.bits // 8
        w_width, a_width = load_width_bytes(w_bytes), load_width_bytes(a_bytes)
        w_words, a_words = w_bytes // 4, a_bytes // 4
        columns = config.W_shape[1]  # Stored elements a row; `per_chunk` of them hold one chunk.
        per_chunk = columns * CHUNK // K
        element_bytes = max(8, w_format.bits) // 8
        # The sums of a chunk: integers where A and the codes are, else float32. Then scale and zero point.
        dtype = "int32" if a_format.is_integer else "float32"
        total_dtype = config.reduce_dtype
        needs_sum_of_a = config.with_zeros
        W_ROWS = config.rows_per_column

        def output(operands, n, total, r):
            return operands.output(0, n, [total[r + i] for i in range(W_ROWS)])

        def scaled(dot, sum_of_a, operands, n, g):
            """The chunk's part of the total, by linearity of decode in w."""
            scale = scale_value(config, operands.Scale, n, g, total_dtype) if config.with_scaling else None
            zero = None
            if config.with_zeros:
                zero = zero_point(config, operands.Zeros, n, g).astype(total_dtype) * sum_of_a.astype(total_dtype)
            return apply_scale_and_zero(dot.astype(total_dtype), scale, zero, config.zeros_mode)

        @parsing.prim_func
        def kernel():
            operands = T.meta_var(declare(geometry.problem, T.int32()))
            A, B, D = T.meta_var((operands.A, operands.B, operands.D))
            T.device_entry()
            block = T.cta_id([T.ceildiv(N, WARPS * ROWS)])
            thread = T.thread_id([WARPS * 32])
            first = T.meta_var((block * WARPS + thread // 32) * ROWS)
            total = T.alloc_local((ROWS,), total_dtype)
            w = T.alloc_local((ROWS * w_words,), "uint32")
            a = T.alloc_local((a_words,), "uint32")
            dot = T.alloc_local((ROWS,), dtype)
            sum_of_a = T.alloc_local((1,), dtype)
            for r in T.unroll(ROWS):
                total[r] = T.cast(0, total_dtype)
            for step in T.serial(T.ceildiv(K // CHUNK, 32)):
                chunk = T.meta_var(step * 32 + thread % 32)
                if chunk < K // CHUNK:
                    for r in T.unroll(ROWS):
                        # Rows beyond N read the last one and are not stored.
                        row = T.meta_var(T.min(first + r, N - 1))
                        load_words(
                            w, r * w_words,
                            lambda offset: B.ptr_to([row, chunk * per_chunk + offset // element_bytes]),
                            w_bytes, w_width,
                        )  # fmt: skip
                    load_words(
                        a,
                        0,
                        lambda offset: A.ptr_to([0, chunk * CHUNK + offset * 8 // a_format.bits]),
                        a_bytes,
                        a_width,
                    )
                    for r in T.unroll(ROWS):
                        dot[r] = T.cast(0, dtype)
                    sum_of_a[0] = T.cast(0, dtype)
                    for i in T.unroll(CHUNK):
                        if needs_sum_of_a:
                            sum_of_a[0] = sum_of_a[0] + word_value(a, 0, i, a_format, dtype)
                        for r in T.unroll(ROWS):
                            dot[r] = dot[r] + word_value(a, 0, i, a_format, dtype) * word_value(
                                w, r * w_words, i, w_format, dtype
                            )
                    for r in T.unroll(ROWS):
                        row = T.meta_var(T.min(first + r, N - 1))
                        g = T.meta_var(chunk * CHUNK // config.group)
                        total[r] = total[r] + scaled(dot[r], sum_of_a[0], operands, row, g)
            for r in T.unroll(ROWS):
                for s in T.unroll(5):
                    total[r] = total[r] + T.tvm_warp_shuffle_xor(T.uint32(0xFFFFFFFF), total[r], 16 >> s, 32, 32)
            for r in T.unroll(ROWS // W_ROWS):
                if thread % 32 == 0 and first + W_ROWS * r < N:
                    D[0, T.truncdiv(first, W_ROWS) + r] = output(operands, first + W_ROWS * r, total, W_ROWS * r)

        return tag(kernel, config, rung, geometry.problem.weight_layout)
