# SPDX-License-Identifier: Apache-2.0
"""Any legal grouped problem on a CPU: experts, or tokens, by n among threads; dot products in SIMD registers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.arithmetic import ceil_div
from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.grouped import OfExpert, activated_slot_value, rounded_output
from bitquant.compute.matmul import epilogue_value, scale_value, tag, zero_point
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.problem import Problem
from bitquant.schedule import parsing
from bitquant.schedule.hint import Hint, one_of, size
from bitquant.schedule.rules.contract import Geometry, Rule
from bitquant.schedule.rules.cpu import lane_codes
from bitquant.schedule.rules.operands import GroupedOperands, declare, held_on_cpu
from bitquant.schedule.rules.statements import loop, named_buffer, store

__all__ = ["GroupedCpuHint", "GroupedCpuRule"]

Expr = Any

#: Most bytes of the weights that a thread has decoded.
_MAX_BUFFER_BYTES = 16 << 20


@dataclass(frozen=True)
class GroupedCpuHint(Hint):
    """Shape of the CPU kernel.

    Attributes
    ----------
    lanes
        k that a vector spans.
    cols
        n that a thread decodes, and multiplies rows by, in one go.
    """

    lanes: int = one_of(16, 8)
    cols: int = size(4, 1, 64)


class _CpuGeometry(Geometry):
    hint: GroupedCpuHint

    @property
    def vectors(self) -> int:
        """Vectors of a row of W; the last one may not be whole."""
        return ceil_div(self.config.K, self.hint.lanes)

    def _hint_fault(self) -> str | None:
        least = self.config.rows_per_column
        if self.hint.cols % least:
            return "needs an even cols with an activation"
        used = 4 * self.hint.cols * self.vectors * self.hint.lanes
        if used > _MAX_BUFFER_BYTES and self.hint.cols > least:
            return f"needs decoded weights of at most {_MAX_BUFFER_BYTES} bytes a thread (got {used})"
        return None


class GroupedCpuRule(Rule):
    """A thread decodes rows of W of an expert once, and multiplies by them the rows of A that meet this expert.

    Sorted: threads share pairs of an expert and a block of n; experts without rows cost nothing. Indexed: they share
    pairs of a token and a block of n, and walk over the slots of the token, so that sums are in the order of j.
    """

    name = "grouped_cpu"
    operation = GroupedMatmulConfig.operation
    pipeline = "s_tir"
    is_for_cpu = True
    hint_type = GroupedCpuHint

    def refuses(self, problem: Problem) -> str | None:
        """Refuse nothing but other kinds of target."""
        return None if problem.target.kind.name == "llvm" else f"needs a CPU target (got {problem.target.kind.name})"

    def shapes(self, problem: Problem) -> Iterator[GroupedCpuHint]:
        """Yield few and more n a thread; a weight of the longest rows leaves room for one."""
        least = problem.config.rows_per_column
        yield from (GroupedCpuHint(lanes, cols) for lanes in (16, 8) for cols in (4, 8, 2, 1) if cols >= least)

    def geometry(self, problem: Problem, hint: Hint) -> _CpuGeometry:
        """Return how the kernel cuts the problem."""
        return _CpuGeometry(problem, hint)

    def emit(self, geometry: _CpuGeometry) -> PrimFunc:
        """Write the kernel for this problem."""
        return tag(_Kernel(geometry).function(), geometry.config, geometry.rung, geometry.problem.weight_layout)


class _Kernel:
    """Writes the kernel of a geometry: sizes, the expressions of its elements, and the loops over them.

    Indices are named by what they count: `v` vectors along k, `l` lanes of a vector, `e` experts, `t` and `s` tokens
    and their slots, `j` columns of a block from `n0` on.
    """

    def __init__(self, geometry: _CpuGeometry) -> None:
        self.problem, self.config, self.vectors = geometry.problem, geometry.config, geometry.vectors
        config = self.config
        self.one, self.dtype = config.matmul, config.matmul.reduce_dtype
        self.lanes, self.cols = geometry.hint.lanes, geometry.hint.cols
        self.n_blocks = ceil_div(config.N, self.cols)
        self.is_ragged = config.K % self.lanes > 0  # The last vector is not whole.
        self.is_activated, self.rows_per_column = config.activation is not None, config.rows_per_column
        self.top_k = config.top_k or 1
        self.A_has_slots = config.is_indexed and config.A_rows == "slots"
        self.D_has_slots = config.is_indexed and config.D_rows == "slots"
        #: Rows of A of a token.
        self.per_token = self.top_k if self.A_has_slots else 1

    # Elements.

    def k_at(self, v: Expr, l: Expr) -> Expr:
        """Return the index k of lane `l` of the vector `v`, the last one for those beyond K."""
        k = v * self.lanes + l
        return tirx.min(k, self.config.K - 1) if self.is_ragged else k

    def zero_beyond_K(self, value: Expr, v: Expr, l: Expr) -> Expr:
        """Return `value`, or 0 beyond K."""
        if not self.is_ragged:
            return value
        # A mask: from a Select's condition TVM would conclude that the index inside needs no clamp, and load it.
        mask = tirx.shift_right(v * self.lanes + l - self.config.K, tirx.const(31, "int32"))
        if self.dtype == "int32":
            return tirx.bitwise_and(value, mask)
        return tirx.reinterpret(self.dtype, tirx.bitwise_and(tirx.reinterpret("int32", value), mask))

    def element_of_A(self, A: Any, row: Expr, v: Expr, l: Expr) -> Expr:
        """Return lane `l` of the vector `v` of a row of A, in the type of the sums; 0 beyond K."""
        place = (row // self.per_token, row % self.per_token) if self.A_has_slots else (row,)
        index = (*place, self.k_at(v, l))
        return self.zero_beyond_K(self.one.A_format.value(A[index], self.dtype), v, l)

    def weight(self, operands: GroupedOperands, e: Expr, n0: Expr, j: Expr, v: Expr, l: Expr) -> Expr:
        """Return decode(W)[e] of column `j`, lane `l` of the vector `v`, in the type of the sums; 0 beyond K."""
        one, w_format, dtype = self.one, self.one.W_format, self.dtype
        expert = T.cast(e, "int64")
        n = tirx.min(n0 + j, self.config.N - 1)
        B, Scale, Zeros = (OfExpert(operand, expert) for operand in (operands.B, operands.Scale, operands.Zeros))
        if w_format.is_packed:
            row_bytes = one.K * w_format.bits // 8
            code = lane_codes(lambda b: B[n, b], row_bytes, v, l, self.lanes, w_format.bits)
            code = code.astype("uint8") if w_format.levels else code
        else:
            code = B[n, self.k_at(v, l)]
        w = w_format.value(code, dtype)
        g = self.k_at(v, l) // one.group if one.num_groups > 1 else 0
        scale = scale_value(one, Scale, n, g, dtype) if one.with_scaling else None
        zero = zero_point(one, Zeros, n, g).astype(dtype) if one.with_zeros else None
        return self.zero_beyond_K(apply_scale_and_zero(w, scale, zero, one.zeros_mode), v, l)

    def activated(
        self, operands: GroupedOperands, place: tuple[Expr, ...], e: Expr, n0: Expr, j: Expr, total: Any, weight: Any
    ) -> Expr:
        """Return what a slot adds to column `j` of D in a block, from the sums of its rows 2 j and 2 j + 1."""
        gate, up = (
            held_on_cpu(epilogue_value(self.one, total[k], **operands.epilogue(place, e, n0 + k))[0])
            for k in (2 * j, 2 * j + 1)
        )
        return activated_slot_value(self.config, gate, up, weight)[0]

    # The loops.

    def function(self) -> PrimFunc:
        """Return the kernel."""

        @parsing.prim_func(s_tir=True)
        def kernel() -> None:
            T.func_attr({"tirx.noalias": True})
            m = T.int32()
            # Operands may be views that begin anywhere: LLVM must not take them for aligned.
            operands = T.meta_var(declare(self.problem, m, align=1))
            self.emit(operands)

        return kernel

    def emit(self, operands: GroupedOperands) -> None:
        """Emit the whole kernel: A in the type of the sums, then the tiles of D."""
        rows_of_A = operands.rows * self.per_token
        A_lanes = named_buffer("A_lanes", (rows_of_A, self.vectors, self.lanes), self.dtype)
        with loop("i", T.parallel(rows_of_A)) as i, self.over_vectors() as v, self.over_lanes() as l:
            store(A_lanes, (i, v, l), self.element_of_A(operands.A, i, v, l))
        tile_of = self.tile_of_expert if self.config.is_sorted else self.tile_of_token
        units = self.config.num_experts if self.config.is_sorted else operands.rows
        with loop("tile", T.parallel(units * self.n_blocks)) as tile:
            tile_of(operands, A_lanes, tile // self.n_blocks, tile % self.n_blocks * self.cols)

    def over_vectors(self) -> AbstractContextManager[Expr]:
        """Emit a loop over the vectors of K."""
        return loop("v", T.serial(self.vectors))

    def over_lanes(self) -> AbstractContextManager[Expr]:
        """Emit a loop over the lanes of a vector."""
        return loop("l", T.vectorized(self.lanes))

    def tile_of_expert(self, operands: GroupedOperands, A_lanes: Any, e: Expr, n0: Expr) -> None:
        """Emit the product of the rows of an expert and a block of columns, whose weights are decoded once."""
        bounds = named_buffer("bounds", (2,), "int32")
        store(bounds, (0,), T.int32(0))
        with T.If(e > 0), T.Then():
            store(bounds, (0,), T.max(operands.Offsets[e - 1], 0))
        store(bounds, (1,), T.min(operands.Offsets[e], operands.rows))
        with T.If(bounds[0] < bounds[1]), T.Then():
            B_decode = named_buffer("B_decode", (self.cols, self.vectors, self.lanes), self.dtype)
            dot = named_buffer("dot", (self.cols, self.lanes), self.dtype)
            total = named_buffer("total", (self.cols,), self.dtype)
            with loop("j", T.serial(self.cols)) as j, self.over_vectors() as v, self.over_lanes() as l:
                store(B_decode, (j, v, l), self.weight(operands, e, n0, j, v, l))
            with loop("i", T.serial(bounds[1] - bounds[0])) as i:
                row = bounds[0] + i
                self.multiply_row(A_lanes, B_decode, dot, row)
                self.store_row(operands, dot, total, e, n0, row)

    def multiply_row(self, A_lanes: Any, B_decode: Any, dot: Any, row: Expr) -> None:
        """Emit the products of a row of A and a block of decoded columns."""
        with loop("j", T.unroll(self.cols)) as j, self.over_lanes() as l:
            store(dot, (j, l), T.cast(0, self.dtype))
        with self.over_vectors() as v, loop("j", T.unroll(self.cols)) as j, self.over_lanes() as l:
            store(dot, (j, l), dot[j, l] + A_lanes[row, v, l] * B_decode[j, v, l])

    def store_row(self, operands: GroupedOperands, dot: Any, total: Any, e: Expr, n0: Expr, row: Expr) -> None:
        """Emit the sums of a row's products, and the stores to D."""
        config, D = self.config, operands.D
        with loop("j", T.serial(self.cols)) as j:
            self.add_lanes(total, dot, j)
            if not self.is_activated:
                with T.If(n0 + j < config.N), T.Then():
                    value = operands.slot_value((row,), e, n0 + j, [total[j]], None)
                    store(D, (row, n0 + j), rounded_output(config, *value))
        if self.is_activated:
            with loop("j", T.serial(self.cols // 2)) as j, T.If(n0 + 2 * j < config.N), T.Then():
                value = self.activated(operands, (row,), e, n0, j, total, None)
                store(D, (row, n0 // 2 + j), rounded_output(config, value, "float32"))

    def tile_of_token(self, operands: GroupedOperands, A_lanes: Any, t: Expr, n0: Expr) -> None:
        """Emit the products of the slots of a token and a block of columns."""
        config, per_column = self.config, self.rows_per_column

        def columns() -> Any:
            return T.serial(self.cols // per_column)

        dot = named_buffer("dot", (self.cols, self.lanes), self.dtype)
        total = named_buffer("total", (self.cols,), self.dtype)
        result = named_buffer("result", (self.cols,), "float32")
        with loop("j", T.serial(self.cols)) as j:
            store(result, (j,), T.float32(0))
        with loop("s", T.serial(self.top_k)) as s:
            e = operands.ExpertIds[t, s]
            with T.If(tirx.And(e >= 0, e < config.num_experts)):
                with T.Then():
                    self.slot(operands, A_lanes, dot, total, result, t, s, n0)
                with T.Else():
                    if self.D_has_slots:
                        zero = tirx.const(0, config.out_format.tvm_dtype)
                        with loop("j", columns()) as j, T.If(n0 + per_column * j < config.N), T.Then():
                            store(operands.D, (t, s, n0 // per_column + j), zero)
        if not self.D_has_slots:
            with loop("j", columns()) as j, T.If(n0 + per_column * j < config.N), T.Then():
                store(operands.D, (t, n0 // per_column + j), rounded_output(config, result[j], "float32"))

    def slot(
        self, operands: GroupedOperands, A_lanes: Any, dot: Any, total: Any, result: Any, t: Expr, s: Expr, n0: Expr
    ) -> None:
        """Emit the product of slot `s` of a token and a block of columns, which goes to D or is added to `result`."""
        config, e = self.config, operands.ExpertIds[t, s]
        place = (t, s) if self.A_has_slots else (t,)
        row = t * self.top_k + s if self.A_has_slots else t
        routing = operands.RoutingWeights[t, s] if config.with_routing_weights else None

        def finish(column: Expr, j: Expr, value: Expr, dtype: str) -> None:
            if self.D_has_slots:
                store(operands.D, (t, s, column), rounded_output(config, value, dtype))
            else:
                store(result, (j,), result[j] + value)

        with loop("j", T.serial(self.cols)) as j:
            with self.over_lanes() as l:
                store(dot, (j, l), T.cast(0, self.dtype))
            with self.over_vectors() as v, self.over_lanes() as l:
                store(dot, (j, l), dot[j, l] + A_lanes[row, v, l] * self.weight(operands, e, n0, j, v, l))
            self.add_lanes(total, dot, j)
            if not self.is_activated:
                with T.If(n0 + j < config.N), T.Then():
                    finish(n0 + j, j, *operands.slot_value(place, e, n0 + j, [total[j]], routing))
        if self.is_activated:
            with loop("j", T.serial(self.cols // 2)) as j, T.If(n0 + 2 * j < config.N), T.Then():
                finish(n0 // 2 + j, j, self.activated(operands, place, e, n0, j, total, routing), "float32")

    def add_lanes(self, total: Any, dot: Any, j: Expr) -> None:
        """Emit the sum of the lanes of column `j`."""
        store(total, (j,), T.cast(0, self.dtype))
        with loop("l", T.serial(self.lanes)) as l:
            store(total, (j,), total[j] + dot[j, l])
