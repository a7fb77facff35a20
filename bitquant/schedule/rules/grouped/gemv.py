# SPDX-License-Identifier: Apache-2.0
"""Indexed rows, on the plain layout, with wide loads: a dot product a warp, slot and row of W."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.arithmetic import ceil_div
from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.grouped import of_expert, rounded_output
from bitquant.compute.matmul import scale_value, tag, zero_point
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.intrin.mma import local, store_local
from bitquant.intrin.words import load_width_bytes, word_value
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Geometry, Rule
from bitquant.schedule.rules.gemv import GemvGeometry, GemvHint, chunk_elements, gemv_hints
from bitquant.schedule.rules.grouped.fallback import add_lanes, indexed_kernel
from bitquant.schedule.rules.operands import GroupedOperands

__all__ = ["GroupedGemvRule"]

Expr = Any


class GroupedGemvRule(Rule):
    """Lanes stride over chunks of k; scale and zero point are applied to the sums of a chunk, as in `gemv`.

    A warp takes a slot, or the slots of a token one after the other where they are summed.
    """

    name = "grouped_gemv"
    operation = GroupedMatmulConfig.operation
    pipeline = "tirx"
    hint_type = GemvHint

    def refuses(self, problem: Problem) -> str | None:
        """Refuse sorted rows, and chunks that K or a group does not hold."""
        config = problem.config
        one, chunk = config.matmul, chunk_elements(config.matmul)
        if not problem.is_cuda:
            return f"needs a CUDA target (got {problem.device_name})"
        if not config.is_indexed:
            return f"needs routing indexed (got {config.routing})"
        if one.K % chunk:
            return f"needs K % {chunk} == 0 (got K % {chunk} == {one.K % chunk})"
        if one.num_groups > 1 and one.group % chunk:
            return f"needs group_size % {chunk} == 0 (got {one.group})"
        return None

    def shapes(self, problem: Problem) -> Iterator[GemvHint]:
        """Yield two rows of W a warp where that leaves every multiprocessor 16 warps, else one; then the others."""
        config = problem.config
        units = problem.rung * (1 if config.reduces_slots else config.top_k)
        first = GemvHint(n_per_warp=2 if 2 * 16 * problem.gpu.sm_count <= config.N * units else 1)
        yield from gemv_hints(config, first)

    def geometry(self, problem: Problem, hint: Hint) -> GemvGeometry:
        """Return the hint and the problem: the kernel has no other sizes."""
        return GemvGeometry(problem, hint)

    def emit(self, geometry: Geometry) -> PrimFunc:
        """Write the kernel for this problem."""
        return tag(_Kernel(geometry).function(), geometry.config, geometry.rung, geometry.problem.weight_layout)


def _load(words: Any, first: int, pointer_to: Callable[[int], Expr], chunk_bytes: int) -> None:
    """Emit the loads of a chunk into words[first:], as wide as it allows; `pointer_to` maps a byte of it."""
    width = load_width_bytes(chunk_bytes)
    kind = {16: "v4.u32", 8: "v2.u32", 4: "u32"}[width]
    for part in range(chunk_bytes // width):
        registers = [words[first + part * (width // 4) + i] for i in range(width // 4)]
        T.evaluate(T.ptx[f"ld.global.nc.{kind}"](*registers, pointer_to(part * width)))


class _Kernel:
    """Writes the kernel of a geometry: what a warp does for a slot, or for the slots of a token.

    Rows are of W, `rows` of a warp from `first` on, and `c` are columns of D: as many, or half with an activation.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.problem, self.config, hint = geometry.problem, geometry.config, geometry.hint
        config = self.config
        self.one, self.warps, self.rows = config.matmul, hint.warps, hint.n_per_warp
        one = self.one
        self.chunk = chunk_elements(one)
        self.w_bytes, self.a_bytes = self.chunk * one.W_format.bits // 8, self.chunk * one.A_format.bits // 8
        # The sums of a chunk: integers where A and the codes are, else float32. Then scale and zero point.
        self.dot_dtype, self.dtype = "int32" if one.A_format.is_integer else "float32", one.reduce_dtype
        self.n_blocks = ceil_div(config.N, self.warps * self.rows)
        self.per_token = 1 if config.reduces_slots else config.top_k  # Blocks along m for a token.
        self.columns = self.rows // config.rows_per_column

    def function(self) -> PrimFunc:
        """Return the kernel."""
        return indexed_kernel(self.problem, self.per_token * self.n_blocks, self.warps * 32, self.emit)

    def emit(self, operands: GroupedOperands, block: Expr, thread: Expr) -> None:
        """Emit what a thread does."""
        config = self.config
        first = local("int32", (tirx.truncmod(block, self.n_blocks) * self.warps + thread // 32) * self.rows)
        unit = local("int32", tirx.truncdiv(block, self.n_blocks))
        t = local("int32", tirx.truncdiv(unit, self.per_token))
        warp = _Warp(self, operands, thread % 32, first, t)
        if config.reduces_slots:
            with T.serial(config.top_k) as j:
                warp.slot(j)
            for c in range(self.columns):
                warp.store(c, (t,), rounded_output(config, warp.result[c], "float32"))
        else:
            warp.slot(local("int32", tirx.truncmod(unit, config.top_k)))


class _Warp:
    """Emits what a warp does with its rows of W and the token `t`."""

    def __init__(self, kernel: _Kernel, operands: GroupedOperands, lane: Expr, first: Expr, t: Expr) -> None:
        self.kernel, self.config, self.operands = kernel, kernel.config, operands
        self.lane, self.first, self.t = lane, first, t
        self.total = T.alloc_local((kernel.rows,), kernel.dtype)
        self.result = T.alloc_local((kernel.columns,), "float32")
        for c in range(kernel.columns):
            store_local(self.result, c, T.float32(0))

    def store(self, c: int, place: tuple[Expr, ...], value: Expr) -> None:
        """Emit the store of column `c` of the warp."""
        per_column = self.config.rows_per_column
        with T.If(tirx.all(self.lane == 0, self.first + c * per_column < self.config.N)), T.Then():
            T.buffer_store(self.operands.D, value, [*place, tirx.truncdiv(self.first, per_column) + c])

    def slot(self, j: Expr) -> None:
        """Emit the products of slot `j`, and the stores, or the addition to the result, of its columns."""
        kernel, config, t = self.kernel, self.config, self.t
        e = local("int32", self.operands.ExpertIds[t, j])
        in_A: tuple[Expr, ...] = (t, j) if config.A_rows == "slots" else (t,)
        is_there = tirx.all(e >= 0, e < config.num_experts)
        with T.If(is_there), T.Then():
            for r in range(kernel.rows):
                store_local(self.total, r, tirx.const(0, kernel.dtype))
            self.multiply(e, in_A)
            for c in range(kernel.columns):
                self.finish(c, j, e, in_A)
        if not config.reduces_slots:
            with T.If(tirx.Not(is_there)), T.Then():
                for c in range(kernel.columns):
                    self.store(c, (t, j), tirx.const(0, config.out_format.tvm_dtype))

    def finish(self, c: int, j: Expr, e: Expr, in_A: tuple[Expr, ...]) -> None:
        """Emit the epilogue of column `c` of slot `j`."""
        config, operands, per_column = self.config, self.operands, self.config.rows_per_column
        rows = range(c * per_column, (c + 1) * per_column)
        for r in rows:
            add_lanes(self.total, r)
        weight = operands.RoutingWeights[self.t, j] if config.with_routing_weights else None
        row_of_w, sums = T.min(self.first + c * per_column, config.N - per_column), [self.total[r] for r in rows]
        value, value_dtype = operands.slot_value(in_A, e.astype("int64"), row_of_w, sums, weight)
        if config.reduces_slots:
            store_local(self.result, c, self.result[c] + value)
        else:
            self.store(c, (self.t, j), rounded_output(config, value, value_dtype))

    def multiply(self, e: Expr, in_A: tuple[Expr, ...]) -> None:
        """Emit the dot products of a row of A with the rows of an expert, each lane's part of them."""
        kernel = self.kernel
        chunks = self.config.K // kernel.chunk
        w = T.alloc_local((kernel.rows * kernel.w_bytes // 4,), "uint32")
        a = T.alloc_local((kernel.a_bytes // 4,), "uint32")
        dot, sum_of_a = T.alloc_local((kernel.rows,), kernel.dot_dtype), T.alloc_local((1,), kernel.dot_dtype)
        # Rows beyond N read the last one and are not stored.
        rows = [T.min(self.first + r, self.config.N - 1) for r in range(kernel.rows)]
        with T.serial(ceil_div(chunks, 32)) as step:
            chunk = step * 32 + self.lane
            with T.If(chunk < chunks), T.Then():
                self.load(w, a, e, rows, in_A, chunk)
                self.multiply_chunk(w, a, dot, sum_of_a)
                self.add_scaled(dot, sum_of_a, e, rows, chunk)

    def load(self, w: Any, a: Any, e: Expr, rows: Sequence[Expr], in_A: tuple[Expr, ...], chunk: Expr) -> None:
        """Emit the loads of a chunk of the rows of W and of A."""
        kernel, one, operands = self.kernel, self.kernel.one, self.operands
        expert, element_bytes = e.astype("int64"), max(8, one.W_format.bits) // 8
        column = chunk * (one.W_shape[1] * kernel.chunk // one.K)  # Of stored elements.

        def at_W(row: Expr) -> Callable[[int], Expr]:
            return lambda byte: operands.B.ptr_to([expert, row, column + byte // element_bytes])

        def at_A(byte: int) -> Expr:
            return operands.A.ptr_to([*in_A, chunk * kernel.chunk + byte * 8 // one.A_format.bits])

        for r, row in enumerate(rows):
            _load(w, r * kernel.w_bytes // 4, at_W(row), kernel.w_bytes)
        _load(a, 0, at_A, kernel.a_bytes)

    def multiply_chunk(self, w: Any, a: Any, dot: Any, sum_of_a: Any) -> None:
        """Emit the dot products of a chunk, and its sum of A where there are zero points."""
        kernel, one, dtype = self.kernel, self.kernel.one, self.kernel.dot_dtype
        store_local(sum_of_a, 0, tirx.const(0, dtype))
        for r in range(kernel.rows):
            store_local(dot, r, tirx.const(0, dtype))
        for i in range(kernel.chunk):
            a_value = local(dtype, word_value(a, 0, T.int32(i), one.A_format, dtype))
            if one.with_zeros:
                store_local(sum_of_a, 0, sum_of_a[0] + a_value)
            for r in range(kernel.rows):
                w_value = word_value(w, r * kernel.w_bytes // 4, T.int32(i), one.W_format, dtype)
                store_local(dot, r, dot[r] + a_value * w_value)

    def add_scaled(self, dot: Any, sum_of_a: Any, e: Expr, rows: Sequence[Expr], chunk: Expr) -> None:
        """Emit the addition of a chunk's dot products to the totals, with scale and zero point."""
        kernel, one, dtype = self.kernel, self.kernel.one, self.kernel.dtype
        Scale, Zeros = of_expert(self.operands.Scale, e), of_expert(self.operands.Zeros, e)
        for r, row in enumerate(rows):
            g = tirx.truncdiv(chunk * kernel.chunk, one.group) if one.num_groups > 1 else T.int32(0)
            scale = scale_value(one, Scale, row, g, dtype) if one.with_scaling else None
            zero = None
            if one.with_zeros:
                zero = zero_point(one, Zeros, row, g).astype(dtype) * sum_of_a[0].astype(dtype)
            part = apply_scale_and_zero(dot[r].astype(dtype), scale, zero, one.zeros_mode)
            store_local(self.total, r, self.total[r] + part)
