# SPDX-License-Identifier: Apache-2.0
"""Any legal grouped problem on any CUDA GPU, guarded everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.arithmetic import ceil_div
from bitquant.compute.grouped import of_expert, rounded_output
from bitquant.compute.matmul import decode_weight, tag
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.intrin.mma import local, store_local
from bitquant.layouts import WEIGHT_LAYOUTS, WeightLayout
from bitquant.problem import Problem
from bitquant.schedule import parsing
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Geometry, Rule
from bitquant.schedule.rules.fallback import FallbackHint
from bitquant.schedule.rules.operands import GroupedOperands, declare

__all__ = ["GroupedFallbackRule", "add_lanes", "indexed_kernel"]

Expr = Any

_ALL_LANES = 0xFFFFFFFF


class GroupedFallbackRule(Rule):
    """One warp a column of D: its lanes stride over k, decode in registers, and add up by shuffles.

    A column is one row of W, or the two of an activation. Sorted: a warp takes `m_per_warp` rows, and decodes the
    weight of each expert that they have once. Lane i looks for the expert of row i among the offsets. Indexed: a warp
    takes a slot, or the slots of a token one after the other where they are summed; `m_per_warp` is 1.
    """

    name = "grouped_fallback"
    operation = GroupedMatmulConfig.operation
    pipeline = "tirx"
    hint_type = FallbackHint
    weight_layouts: ClassVar[tuple[WeightLayout, ...]] = WEIGHT_LAYOUTS

    def refuses(self, problem: Problem) -> str | None:
        """Refuse nothing but other kinds of target."""
        return None if problem.is_cuda else f"needs a CUDA target (got {problem.device_name})"

    def shapes(self, problem: Problem) -> Iterator[FallbackHint]:
        """Share a decoded weight among up to eight rows where they are sorted. Then the others."""
        most = 1 if problem.config.is_indexed else min(16, 1 << (problem.rung - 1).bit_length())
        first = FallbackHint(m_per_warp=min(8, most))
        yield first
        rows = [rows for rows in (16, 8, 4, 2, 1) if rows <= most]
        yield from (hint for r in rows for warps in (4, 8, 2) if (hint := FallbackHint(warps, r)) != first)

    def geometry(self, problem: Problem, hint: Hint) -> Geometry:
        """Return the hint and the problem: the kernel has no other sizes."""
        return _FallbackGeometry(problem, hint)

    def emit(self, geometry: Geometry) -> PrimFunc:
        """Write the kernel for this problem."""
        config, rung, layout = geometry.config, geometry.rung, geometry.problem.weight_layout
        kernel = _indexed(geometry) if config.is_indexed else _sorted(geometry)
        return tag(kernel, config, rung, layout)


class _FallbackGeometry(Geometry):
    hint: FallbackHint

    def _hint_fault(self) -> str | None:
        if self.config.is_indexed and self.hint.m_per_warp != 1:
            return "needs m_per_warp == 1 where rows are indexed"
        return None


def _weight(
    config: GroupedMatmulConfig, operands: GroupedOperands, e: Expr, n: Expr, k: Expr, layout: WeightLayout
) -> Expr:
    """Return decode(W)[e, n, k] in the type of the sums."""
    stored, scale, zeros = (of_expert(operand, e) for operand in (operands.B, operands.Scale, operands.Zeros))
    return decode_weight(config.matmul, stored, scale, zeros, n, k, config.matmul.reduce_dtype, layout)


def _zero(dtype: str) -> Expr:
    return tirx.const(0, dtype)


def add_lanes(total: Any, index: int) -> None:
    """Emit the sum over the lanes of a warp; each has it afterwards."""
    for step in range(5):
        other = T.tvm_warp_shuffle_xor(T.uint32(_ALL_LANES), total[index], 16 >> step, 32, 32)
        store_local(total, index, total[index] + other)


def _expert_of_row(offsets: Any, row: Expr, num_experts: int) -> Expr:
    """Emit the search for the number of offsets that are at most `row`; they rise."""
    low, high = T.alloc_local((1,), "int32"), T.alloc_local((1,), "int32")
    store_local(low, 0, T.int32(0))
    store_local(high, 0, T.int32(num_experts))
    for _ in range(num_experts.bit_length()):
        middle = local("int32", tirx.truncdiv(low[0] + high[0], 2))
        is_before = offsets[T.min(middle, num_experts - 1)] <= row
        with T.If(low[0] < high[0]), T.Then(), T.If(is_before):
            with T.Then():
                store_local(low, 0, middle + 1)
            with T.Else():
                store_local(high, 0, middle)
    return low[0]


def _sorted(geometry: Geometry) -> PrimFunc:
    config, hint, layout = geometry.config, geometry.hint, geometry.problem.weight_layout
    one, WARPS, ROWS = config.matmul, hint.warps, hint.m_per_warp
    E, K, dtype = config.num_experts, config.K, config.matmul.reduce_dtype
    COLUMNS, W_ROWS = config.columns, config.rows_per_column

    def emit(operands: GroupedOperands, block: Expr, thread: Expr, row_blocks: Expr) -> None:
        rows_of_A, lane = operands.rows, thread % 32
        n = local("int32", tirx.truncdiv(block, row_blocks) * WARPS + thread // 32)
        first_row = local("int32", tirx.truncmod(block, row_blocks) * ROWS)
        total = T.alloc_local((ROWS * W_ROWS,), dtype)
        for r in range(ROWS * W_ROWS):
            store_local(total, r, _zero(dtype))
        # Lanes beyond the rows of the warp look for rows that nobody asks for.
        mine = local("int32", _expert_of_row(operands.Offsets, first_row + lane, E))

        def expert_of(r: Expr) -> Expr:
            return local("int32", T.tvm_warp_shuffle(T.uint32(_ALL_LANES), mine, r, 32, 32))

        experts = [expert_of(r) for r in range(ROWS)]
        with T.If(n < COLUMNS), T.Then():
            with T.serial(ROWS) as start:
                e = expert_of(start)
                before = expert_of(T.max(start - 1, 0))
                is_first = tirx.any(start == 0, e != before)
                is_here = tirx.all(is_first, e < E, first_row + start < rows_of_A)
                with T.If(is_here), T.Then(), T.serial(ceil_div(K, 32)) as step:
                    k = step * 32 + lane
                    with T.If(k < K), T.Then():
                        w = T.alloc_local((W_ROWS,), dtype)
                        for i in range(W_ROWS):
                            store_local(w, i, _weight(config, operands, e, n * W_ROWS + i, k, layout))
                        for r in range(ROWS):
                            inside = tirx.all(experts[r] == e, first_row + r < rows_of_A)
                            with T.If(inside), T.Then():
                                a = one.A_format.value(operands.A[first_row + r, k], dtype)
                                for at in range(r * W_ROWS, (r + 1) * W_ROWS):
                                    store_local(total, at, total[at] + a * w[at % W_ROWS])
            for r in range(ROWS * W_ROWS):
                add_lanes(total, r)
            with T.If(lane == 0), T.Then():
                for r in range(ROWS):
                    row = first_row + r
                    with T.If(tirx.all(experts[r] < E, row < rows_of_A)), T.Then():
                        sums = [total[r * W_ROWS + i] for i in range(W_ROWS)]
                        value, value_dtype = operands.slot_value(
                            (row,), experts[r].astype("int64"), n * W_ROWS, sums, None
                        )
                        T.buffer_store(operands.D, rounded_output(config, value, value_dtype), [row, n])

    @parsing.prim_func
    def kernel() -> None:
        m = T.int32()
        operands = T.meta_var(declare(geometry.problem, m))
        T.device_entry()
        row_blocks = T.meta_var(T.truncdiv(operands.rows + (ROWS - 1), ROWS))
        block = T.cta_id([T.ceildiv(COLUMNS, WARPS) * row_blocks])
        thread = T.thread_id([WARPS * 32])
        emit(operands, block, thread, row_blocks)

    return kernel


def _indexed(geometry: Geometry) -> PrimFunc:
    config, hint, layout = geometry.config, geometry.hint, geometry.problem.weight_layout
    one, WARPS, TOP_K = config.matmul, hint.warps, config.top_k
    E, K, dtype = config.num_experts, config.K, config.matmul.reduce_dtype
    COLUMNS, W_ROWS = config.columns, config.rows_per_column
    n_blocks = ceil_div(COLUMNS, WARPS)
    per_token = 1 if config.reduces_slots else TOP_K  # Blocks along m for a token.
    A_has_slots = config.A_rows == "slots"

    def emit(operands: GroupedOperands, block: Expr, thread: Expr) -> None:
        lane = thread % 32
        n = local("int32", tirx.truncmod(block, n_blocks) * WARPS + thread // 32)
        unit = local("int32", tirx.truncdiv(block, n_blocks))
        t = local("int32", tirx.truncdiv(unit, per_token))
        total = T.alloc_local((W_ROWS,), dtype)
        result = T.alloc_local((1,), "float32")
        store_local(result, 0, T.float32(0))

        def slot(j: Expr) -> None:
            e = local("int32", operands.ExpertIds[t, j])
            in_A: tuple[Expr, ...] = (t, j) if A_has_slots else (t,)
            with T.If(tirx.all(e >= 0, e < E)):
                with T.Then():
                    for i in range(W_ROWS):
                        store_local(total, i, _zero(dtype))
                    with T.serial(ceil_div(K, 32)) as step:
                        k = step * 32 + lane
                        with T.If(k < K), T.Then():
                            place = (*in_A, k)
                            a = one.A_format.value(operands.A[place], dtype)
                            for i in range(W_ROWS):
                                w = _weight(config, operands, e, n * W_ROWS + i, k, layout)
                                store_local(total, i, total[i] + a * w)
                    for i in range(W_ROWS):
                        add_lanes(total, i)
                    weight = operands.RoutingWeights[t, j] if config.with_routing_weights else None
                    sums = [total[i] for i in range(W_ROWS)]
                    value, value_dtype = operands.slot_value(in_A, e.astype("int64"), n * W_ROWS, sums, weight)
                    if config.reduces_slots:
                        store_local(result, 0, result[0] + value)
                    else:
                        with T.If(lane == 0), T.Then():
                            T.buffer_store(operands.D, rounded_output(config, value, value_dtype), [t, j, n])
                with T.Else():
                    if not config.reduces_slots:
                        with T.If(lane == 0), T.Then():
                            T.buffer_store(operands.D, _zero(config.out_format.tvm_dtype), [t, j, n])
                    else:
                        T.evaluate(0)

        with T.If(n < COLUMNS), T.Then():
            if not config.reduces_slots:
                slot(local("int32", tirx.truncmod(unit, TOP_K)))
            else:
                with T.serial(TOP_K) as j:
                    slot(j)
                with T.If(lane == 0), T.Then():
                    T.buffer_store(operands.D, rounded_output(config, result[0], "float32"), [t, n])

    return indexed_kernel(geometry.problem, per_token * n_blocks, WARPS * 32, emit)


def indexed_kernel(
    problem: Problem, blocks_per_token: int, threads: int, emit: Callable[[GroupedOperands, Expr, Expr], None]
) -> PrimFunc:
    """Return a kernel for indexed rows, with as many blocks for each token; `emit` writes what a thread does."""

    @parsing.prim_func
    def kernel() -> None:
        m = T.int32()
        operands = T.meta_var(declare(problem, m))
        T.device_entry()
        block = T.cta_id([operands.rows * blocks_per_token])
        thread = T.thread_id([threads])
        emit(operands, block, thread)

    return kernel
