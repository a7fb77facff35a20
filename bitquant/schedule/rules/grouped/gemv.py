# SPDX-License-Identifier: Apache-2.0
"""Indexed rows, on the plain layout, with wide loads: a dot product a warp, slot and row of W."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
        return tag(_kernel(geometry), geometry.config, geometry.rung, geometry.problem.weight_layout)


def _load(words: Any, first: int, pointer_to: Callable[[int], Expr], chunk_bytes: int) -> None:
    """Emit the loads of a chunk into words[first:], as wide as it allows; `pointer_to` maps a byte of it."""
    width = load_width_bytes(chunk_bytes)
    kind = {16: "v4.u32", 8: "v2.u32", 4: "u32"}[width]
    for part in range(chunk_bytes // width):
        registers = [words[first + part * (width // 4) + i] for i in range(width // 4)]
        T.evaluate(T.ptx[f"ld.global.nc.{kind}"](*registers, pointer_to(part * width)))


def _kernel(geometry: Geometry) -> PrimFunc:
    config, hint = geometry.config, geometry.hint
    one, WARPS, ROWS, TOP_K = config.matmul, hint.warps, hint.n_per_warp, config.top_k
    E, N, K, CHUNK = config.num_experts, config.N, config.K, chunk_elements(config.matmul)
    w_format, a_format = one.W_format, one.A_format
    w_bytes, a_bytes = CHUNK * w_format.bits // 8, CHUNK * a_format.bits // 8
    per_chunk = one.W_shape[1] * CHUNK // K  # Stored elements of a chunk.
    element_bytes = max(8, w_format.bits) // 8
    # The sums of a chunk: integers where A and the codes are, else float32. Then scale and zero point.
    dtype = "int32" if a_format.is_integer else "float32"
    total_dtype = one.reduce_dtype
    n_blocks = ceil_div(N, WARPS * ROWS)
    per_token = 1 if config.reduces_slots else TOP_K  # Blocks along m for a token.
    A_has_slots, W_ROWS = config.A_rows == "slots", config.rows_per_column

    def multiply(
        operands: GroupedOperands, total: Any, e: Expr, in_A: tuple[Expr, ...], first: Expr, lane: Expr
    ) -> None:
        """Emit the dot products of a row of A with `ROWS` rows of an expert, each lane's part of them."""
        expert = e.astype("int64")
        Scale, Zeros = of_expert(operands.Scale, e), of_expert(operands.Zeros, e)
        w = T.alloc_local((ROWS * w_bytes // 4,), "uint32")
        a = T.alloc_local((a_bytes // 4,), "uint32")
        dot, sum_of_a = T.alloc_local((ROWS,), dtype), T.alloc_local((1,), dtype)
        # Rows beyond N read the last one and are not stored.
        rows = [T.min(first + r, N - 1) for r in range(ROWS)]
        with T.serial(ceil_div(K // CHUNK, 32)) as step:
            chunk = step * 32 + lane
            with T.If(chunk < K // CHUNK), T.Then():

                def at_W(r: int) -> Callable[[int], Expr]:
                    column = chunk * per_chunk
                    return lambda byte: operands.B.ptr_to([expert, rows[r], column + byte // element_bytes])

                def at_A(byte: int) -> Expr:
                    return operands.A.ptr_to([*in_A, chunk * CHUNK + byte * 8 // a_format.bits])

                for r in range(ROWS):
                    _load(w, r * w_bytes // 4, at_W(r), w_bytes)
                _load(a, 0, at_A, a_bytes)
                store_local(sum_of_a, 0, tirx.const(0, dtype))
                for r in range(ROWS):
                    store_local(dot, r, tirx.const(0, dtype))
                for i in range(CHUNK):
                    a_value = local(dtype, word_value(a, 0, T.int32(i), a_format, dtype))
                    if one.with_zeros:
                        store_local(sum_of_a, 0, sum_of_a[0] + a_value)
                    for r in range(ROWS):
                        w_value = word_value(w, r * w_bytes // 4, T.int32(i), w_format, dtype)
                        store_local(dot, r, dot[r] + a_value * w_value)
                for r in range(ROWS):
                    g = tirx.truncdiv(chunk * CHUNK, one.group) if one.num_groups > 1 else T.int32(0)
                    scale = scale_value(one, Scale, rows[r], g, total_dtype) if one.with_scaling else None
                    zero = None
                    if one.with_zeros:
                        point = zero_point(one, Zeros, rows[r], g).astype(total_dtype)
                        zero = point * sum_of_a[0].astype(total_dtype)
                    part = apply_scale_and_zero(dot[r].astype(total_dtype), scale, zero, one.zeros_mode)
                    store_local(total, r, total[r] + part)

    def emit(operands: GroupedOperands, block: Expr, thread: Expr) -> None:
        lane = thread % 32
        first = local("int32", (tirx.truncmod(block, n_blocks) * WARPS + thread // 32) * ROWS)
        unit = local("int32", tirx.truncdiv(block, n_blocks))
        t = local("int32", tirx.truncdiv(unit, per_token))
        total, result = T.alloc_local((ROWS,), total_dtype), T.alloc_local((ROWS // W_ROWS,), "float32")
        for c in range(ROWS // W_ROWS):
            store_local(result, c, T.float32(0))

        def store(c: int, place: tuple[Expr, ...], value: Expr) -> None:
            """Emit the store of column `c` of the warp."""
            with T.If(tirx.all(lane == 0, first + c * W_ROWS < N)), T.Then():
                T.buffer_store(operands.D, value, [*place, tirx.truncdiv(first, W_ROWS) + c])

        def slot(j: Expr) -> None:
            e = local("int32", operands.ExpertIds[t, j])
            in_A: tuple[Expr, ...] = (t, j) if A_has_slots else (t,)
            is_there = tirx.all(e >= 0, e < E)
            with T.If(is_there), T.Then():
                for r in range(ROWS):
                    store_local(total, r, tirx.const(0, total_dtype))
                multiply(operands, total, e, in_A, first, lane)
                for c in range(ROWS // W_ROWS):
                    rows = range(c * W_ROWS, (c + 1) * W_ROWS)
                    for r in rows:
                        add_lanes(total, r)
                    weight = operands.RoutingWeights[t, j] if config.with_routing_weights else None
                    row_of_w, sums = T.min(first + c * W_ROWS, N - W_ROWS), [total[r] for r in rows]
                    value, value_dtype = operands.slot_value(in_A, e.astype("int64"), row_of_w, sums, weight)
                    if config.reduces_slots:
                        store_local(result, c, result[c] + value)
                    else:
                        store(c, (t, j), rounded_output(config, value, value_dtype))
            if not config.reduces_slots:
                with T.If(tirx.Not(is_there)), T.Then():
                    for c in range(ROWS // W_ROWS):
                        store(c, (t, j), tirx.const(0, config.out_format.tvm_dtype))

        if config.reduces_slots:
            with T.serial(TOP_K) as j:
                slot(j)
            for c in range(ROWS // W_ROWS):
                store(c, (t,), rounded_output(config, result[c], "float32"))
        else:
            slot(local("int32", tirx.truncmod(unit, TOP_K)))

    return indexed_kernel(geometry.problem, per_token * n_blocks, WARPS * 32, emit)
