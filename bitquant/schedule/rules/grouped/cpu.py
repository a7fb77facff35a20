# SPDX-License-Identifier: Apache-2.0
"""Any legal grouped problem on a CPU: experts, or tokens, by n among threads; dot products in SIMD registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.arithmetic import ceil_div
from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.grouped import OfExpert, activated_slot_value, rounded_output, slot_value
from bitquant.compute.matmul import epilogue_value, scale_value, tag, zero_point
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.operands import GROUPED_OPERANDS
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint, one_of, size
from bitquant.schedule.rules.contract import Geometry, Rule
from bitquant.schedule.rules.cpu import lane_codes
from bitquant.schedule.rules.operands import held_on_cpu

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
        config = geometry.config
        kernel = _kernel(geometry)
        operands = GROUPED_OPERANDS
        params = [p for p, o in zip(kernel.params, operands, strict=True) if o.is_present(config)]
        bound = PrimFunc(params, kernel.body, kernel.ret_type, kernel.attrs)
        return tag(bound, config, geometry.rung, geometry.problem.weight_layout)


def _kernel(geometry: _CpuGeometry) -> PrimFunc:
    """Write the kernel with all operands as parameters; absent ones have any shape and are never read."""
    config, hint, vectors = geometry.config, geometry.hint, geometry.vectors
    one, w_format = config.matmul, config.W_format
    E, N, K, LANES, COLS = config.num_experts, config.N, config.K, hint.lanes, hint.cols
    dtype = one.reduce_dtype
    n_blocks = ceil_div(N, COLS)
    is_ragged, is_activated, W_ROWS = K % LANES > 0, config.activation is not None, config.rows_per_column
    top_k = config.top_k or 1
    A_has_slots = config.is_indexed and config.A_rows == "slots"
    D_has_slots = config.is_indexed and config.D_rows == "slots"
    per_row = top_k if A_has_slots else 1
    declared = dict(zip((o.name for o in GROUPED_OPERANDS), GROUPED_OPERANDS, strict=True))

    def shape(name: str, rows: Any) -> tuple[Any, ...]:
        operand = declared[name]
        return operand.shape(config, rows, "plain") if operand.is_present(config) else (1,)

    def dtype_of(name: str) -> str:
        return declared[name].dtype(config, "plain")

    def k_at(v: Expr, l: Expr) -> Expr:
        return tirx.min(v * LANES + l, K - 1) if is_ragged else v * LANES + l

    def weight(B: Any, Scale: Any, Zeros: Any, e: Expr, n: Expr, v: Expr, l: Expr) -> Expr:
        """Return decode(W)[e, n] of lane `l` of vector `v` in the type of the sums; 0 beyond K."""
        B, Scale, Zeros = (OfExpert(operand, e) for operand in (B, Scale, Zeros))
        if w_format.is_packed:
            row_bytes = K * w_format.bits // 8
            code = lane_codes(lambda b: B[n, b], row_bytes, v, l, LANES, w_format.bits)
            code = code.astype("uint8") if w_format.levels else code
        else:
            code = B[n, k_at(v, l)]
        w = w_format.value(code, dtype)
        g = k_at(v, l) // one.group if one.num_groups > 1 else 0
        scale = scale_value(one, Scale, n, g, dtype) if one.with_scaling else None
        zero = zero_point(one, Zeros, n, g).astype(dtype) if one.with_zeros else None
        return zero_beyond_K(apply_scale_and_zero(w, scale, zero, one.zeros_mode), v, l)

    def zero_beyond_K(value: Expr, v: Expr, l: Expr) -> Expr:
        if not is_ragged:
            return value
        # A mask: from a Select's condition TVM would conclude that the index inside needs no clamp, and load it.
        mask = tirx.shift_right(v * LANES + l - K, tirx.const(31, "int32"))
        if dtype == "int32":
            return tirx.bitwise_and(value, mask)
        return tirx.reinterpret(dtype, tirx.bitwise_and(tirx.reinterpret("int32", value), mask))

    def element_of_A(A: Any, place: tuple[Expr, ...], v: Expr, l: Expr) -> Expr:
        index = (*place, k_at(v, l))
        return zero_beyond_K(one.A_format.value(A[index], dtype), v, l)

    def epilogue(buffers: tuple[Any, ...], place: Any, e: Expr, n: Expr) -> dict[str, Expr]:
        Bias, ActivationScale, ChannelScale = buffers
        values: dict[str, Expr] = {}
        if one.with_bias:
            values["bias"] = Bias[e, n]
        if one.with_activation_scale:
            values["activation_scale"] = ActivationScale[place]
        if one.with_channel_scale:
            values["channel_scale"] = ChannelScale[e, n]
        return values

    def out_value(c: Expr, weight: Expr | None, values: dict[str, Expr]) -> Expr:
        value, value_dtype = slot_value(config, c, weight, **values)
        return rounded_output(config, value, value_dtype)

    def partial(c: Expr, weight: Expr | None, values: dict[str, Expr]) -> Expr:
        return slot_value(config, c, weight, **values)[0]

    def activated_partial(
        total: Any, j: Expr, weight: Expr | None, values_of: Callable[[Expr], dict[str, Expr]]
    ) -> Expr:
        """Return what a slot adds to column `j` of a block, from the sums of its rows 2 j and 2 j + 1."""
        gate, up = (held_on_cpu(epilogue_value(one, total[2 * j + i], **values_of(2 * j + i))[0]) for i in range(2))
        return activated_slot_value(config, gate, up, weight)[0]

    zero_output = tirx.const(0, config.out_format.tvm_dtype)

    @T.prim_func(s_tir=True)
    def kernel(
        A_handle: T.handle, B_handle: T.handle, Scale_handle: T.handle, Zeros_handle: T.handle, Bias_handle: T.handle,
        ActivationScale_handle: T.handle, ChannelScale_handle: T.handle, Offsets_handle: T.handle,
        ExpertIds_handle: T.handle, RoutingWeights_handle: T.handle, D_handle: T.handle,
    ) -> None:  # fmt: skip
        T.func_attr({"tirx.noalias": True})
        m = T.int32()
        rows = T.meta_var(geometry.rung if config.has_fixed_rows(geometry.rung) else m)
        # Operands may be views that begin anywhere: LLVM must not take them for aligned.
        A = T.match_buffer(A_handle, shape("A", rows), dtype_of("A"), align=1)
        B = T.match_buffer(B_handle, shape("B", rows), dtype_of("B"), align=1)
        Scale = T.match_buffer(Scale_handle, shape("Scale", rows), dtype_of("Scale"), align=1)
        Zeros = T.match_buffer(Zeros_handle, shape("Zeros", rows), dtype_of("Zeros"), align=1)
        Bias = T.match_buffer(Bias_handle, shape("Bias", rows), dtype_of("Bias"), align=1)
        ActivationScale = T.match_buffer(ActivationScale_handle, shape("ActivationScale", rows), "float32", align=1)
        ChannelScale = T.match_buffer(ChannelScale_handle, shape("ChannelScale", rows), "float32", align=1)
        Offsets = T.match_buffer(Offsets_handle, shape("Offsets", rows), "int32", align=1)
        ExpertIds = T.match_buffer(ExpertIds_handle, shape("ExpertIds", rows), "int32", align=1)
        RoutingWeights = T.match_buffer(RoutingWeights_handle, shape("RoutingWeights", rows), "float32", align=1)
        D = T.match_buffer(D_handle, shape("D", rows), dtype_of("D"), align=1)
        of_epilogue = T.meta_var((Bias, ActivationScale, ChannelScale))

        A_lanes = T.alloc_buffer((rows * per_row, vectors, LANES), dtype)
        for i in T.parallel(rows * per_row):
            for v in T.serial(vectors):
                for l in T.vectorized(LANES):
                    place = T.meta_var((i // per_row, i % per_row) if A_has_slots else (i,))
                    A_lanes[i, v, l] = element_of_A(A, place, v, l)

        if config.is_sorted:
            for tile in T.parallel(E * n_blocks):
                e = T.meta_var(tile // n_blocks)
                n0 = T.meta_var(tile % n_blocks * COLS)
                bounds = T.alloc_buffer((2,), "int32")
                bounds[0] = T.int32(0)
                if e > 0:
                    bounds[0] = T.max(Offsets[e - 1], 0)
                bounds[1] = T.min(Offsets[e], rows)
                if bounds[0] < bounds[1]:
                    B_decode = T.alloc_buffer((COLS, vectors, LANES), dtype)
                    dot = T.alloc_buffer((COLS, LANES), dtype)
                    total = T.alloc_buffer((COLS,), dtype)
                    for j in T.serial(COLS):
                        for v in T.serial(vectors):
                            for l in T.vectorized(LANES):
                                n = T.meta_var(T.min(n0 + j, N - 1))
                                B_decode[j, v, l] = weight(B, Scale, Zeros, T.cast(e, "int64"), n, v, l)
                    for i in T.serial(bounds[1] - bounds[0]):
                        row = T.meta_var(bounds[0] + i)
                        for j in T.unroll(COLS):
                            for l in T.vectorized(LANES):
                                dot[j, l] = T.cast(0, dtype)
                        for v in T.serial(vectors):
                            for j in T.unroll(COLS):
                                for l in T.vectorized(LANES):
                                    dot[j, l] = dot[j, l] + A_lanes[row, v, l] * B_decode[j, v, l]
                        for j in T.serial(COLS):
                            total[j] = T.cast(0, dtype)
                            for l in T.serial(LANES):
                                total[j] = total[j] + dot[j, l]
                            if not is_activated:  # noqa: SIM102 - known when the kernel is written
                                if n0 + j < N:
                                    values = T.meta_var(epilogue(of_epilogue, (row,), e, n0 + j))
                                    D[row, n0 + j] = out_value(total[j], None, values)
                        if is_activated:
                            for j in T.serial(COLS // 2):
                                if n0 + 2 * j < N:
                                    values_of = T.meta_var(lambda k: epilogue(of_epilogue, (row,), e, n0 + k))
                                    value = T.meta_var(activated_partial(total, j, None, values_of))
                                    D[row, n0 // 2 + j] = rounded_output(config, value, "float32")
        else:
            for tile in T.parallel(rows * n_blocks):
                t = T.meta_var(tile // n_blocks)
                n0 = T.meta_var(tile % n_blocks * COLS)
                dot = T.alloc_buffer((COLS, LANES), dtype)
                total = T.alloc_buffer((COLS,), dtype)
                result = T.alloc_buffer((COLS,), "float32")
                for j in T.serial(COLS):
                    result[j] = T.float32(0)
                for s in T.serial(top_k):
                    e = T.meta_var(ExpertIds[t, s])
                    place = T.meta_var((t, s) if A_has_slots else (t,))
                    i = T.meta_var(t * top_k + s if A_has_slots else t)
                    routing = T.meta_var(RoutingWeights[t, s] if config.with_routing_weights else None)
                    if e >= 0 and e < E:
                        for j in T.serial(COLS):
                            for l in T.vectorized(LANES):
                                dot[j, l] = T.cast(0, dtype)
                            for v in T.serial(vectors):
                                for l in T.vectorized(LANES):
                                    n = T.meta_var(T.min(n0 + j, N - 1))
                                    w = T.meta_var(weight(B, Scale, Zeros, T.cast(e, "int64"), n, v, l))
                                    dot[j, l] = dot[j, l] + A_lanes[i, v, l] * w
                            total[j] = T.cast(0, dtype)
                            for l in T.serial(LANES):
                                total[j] = total[j] + dot[j, l]
                            if not is_activated:  # noqa: SIM102 - known when the kernel is written
                                if n0 + j < N:
                                    values = T.meta_var(epilogue(of_epilogue, place, e, n0 + j))
                                    if D_has_slots:
                                        D[t, s, n0 + j] = out_value(total[j], routing, values)
                                    else:
                                        result[j] = result[j] + partial(total[j], routing, values)
                        if is_activated:
                            for j in T.serial(COLS // 2):
                                if n0 + 2 * j < N:
                                    values_of = T.meta_var(lambda k: epilogue(of_epilogue, place, e, n0 + k))
                                    value = T.meta_var(activated_partial(total, j, routing, values_of))
                                    if D_has_slots:
                                        D[t, s, n0 // 2 + j] = rounded_output(config, value, "float32")
                                    else:
                                        result[j] = result[j] + value
                    elif D_has_slots:
                        for j in T.serial(COLS // W_ROWS):
                            if n0 + W_ROWS * j < N:
                                D[t, s, n0 // W_ROWS + j] = zero_output
                if not D_has_slots:
                    for j in T.serial(COLS // W_ROWS):
                        if n0 + W_ROWS * j < N:
                            D[t, n0 // W_ROWS + j] = rounded_output(config, result[j], "float32")

    return kernel
