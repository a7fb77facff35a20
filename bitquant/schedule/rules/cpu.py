"""Any legal problem on a CPU: dot products in SIMD lanes that run along k, decoded on the way or a tile at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx
from tvm.script import tirx as T
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.compute.decode import apply_scale_and_zero, code_to_value, unpack_code
from bitquant.compute.matmul import output_value
from bitquant.config import MatmulConfig
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.base import Rule, operands

__all__ = ["CpuHint", "CpuRule"]

Expr = Any


@dataclass(frozen=True)
class CpuHint(Hint):
    """Shape of the CPU kernel. A *vector* is `lanes` consecutive k.

    Attributes
    ----------
    lanes
        32-bit lanes of a SIMD register.
    rows, cols
        Rows of A and of W whose dot products are accumulated in registers at the same time.
    row_tile, col_tile
        Rows and columns of D that a thread computes in one go; multiples of `rows` and `cols`.
    chunk
        Vectors of k that are multiplied before the sums leave the registers.
    buffered
        Whether (col_tile, chunk) weights are decoded into a buffer that all rows of A reuse; otherwise a weight is
        decoded in registers, each time it is met.
    scale_sums
        Whether scale and zero point are applied to the sums of a chunk, which then is one group:
        sum a (w - z) s = (sum a w - z sum a) s. Otherwise they are applied to each weight.
    """

    lanes: int = 8
    rows: int = 4
    cols: int = 2
    row_tile: int = 128
    col_tile: int = 16
    chunk: int = 64
    buffered: bool = True
    scale_sums: bool = False


def _simd_lanes(target: Target) -> int:
    """Return the number of 32-bit lanes of the target's SIMD registers: 512, 256 or, everywhere else, 128 bits."""
    has_feature = tvm.get_global_func("target.target_has_feature")
    return 16 if has_feature("avx512f", target) else 8 if has_feature("avx2", target) else 4


def _vectors_a_group(config: MatmulConfig, lanes: int) -> int | None:
    """Return the whole vectors of a group, or None where a vector may reach into another group."""
    if config.num_groups == 1:
        return math.ceil(config.K / lanes)
    return None if config.group % lanes else config.group // lanes


def _chunk_size(vectors: int, step: int, most: int) -> int:
    """Return a chunk of at most `most` vectors: a divisor of `vectors`, of whole `step` vectors if there is such one."""
    for unit in (math.gcd(step, most), 1):
        for size in range(most // unit * unit, most // 4, -unit):
            if vectors % size == 0:
                return size
    return math.ceil(vectors / math.ceil(vectors / most))  # The last chunk is filled up with zeros.


def _lane_codes(load: Callable[[Expr], Expr], vector: Expr, lane: Expr, lanes: int, bits: int) -> Expr:
    """Return the code of lane `lane` of a vector of packed elements, as int32; `bitquant.packing` has the bit order.

    A run of elements that ends within 32 bits of a byte boundary is read as one word, the same for all its lanes: a
    scalar load. Each lane shifts that word by its own constant, so that the whole expression vectorises, which the
    byte-wise `unpack_code` does not.
    """
    run = min(lanes, next(r for r in (32, 16, 8, 4) if (r * bits) % 8 + r * bits <= 32))

    def word(part: int) -> Expr:
        first_bit = part * run * bits
        result = None
        for byte in range((first_bit % 8 + run * bits + 7) // 8):
            x = load(vector * (lanes * bits) // 8 + (first_bit // 8 + byte)).astype("uint8").astype("uint32")
            x = tirx.shift_left(x, tirx.const(8 * byte, "uint32")) if byte else x
            result = x if result is None else tirx.bitwise_or(result, x)
        return result

    selected = word(0)
    for part in range(1, lanes // run):
        selected = tirx.Select(lane < part * run, selected, word(part))
    shift = lane // run * (run * bits) % 8 + lane % run * bits
    mask = tirx.const((1 << bits) - 1, "uint32")
    return tirx.bitwise_and(tirx.shift_right(selected, shift.astype("uint32")), mask).astype("int32")


class CpuRule(Rule):
    """Lanes run along k, rows of A and of W are blocked in registers, and threads share the tiles of D.

    A is first brought into the type of the products and into blocks of `rows` rows, filled up with zeros to whole
    vectors and chunks; rows beyond m and columns beyond N repeat the last one and are not stored. So the inner loops
    have no guard, whatever N, K and m are. No weight is decoded into memory but for a tile in the first-level cache.
    """

    name = "cpu"
    pipeline = "s_tir"
    hint_type = CpuHint

    def refuses(self, config: MatmulConfig, rung: int, target: Target) -> str | None:
        """Refuse nothing but other kinds of target."""
        return None if target.kind.name == "llvm" else f"needs a CPU target (got {target.kind.name})"

    def default_hint(self, config: MatmulConfig, rung: int, target: Target) -> CpuHint:
        """Decode in registers where one block of rows holds all of A, else a tile at a time."""
        lanes = _simd_lanes(target)
        vectors = math.ceil(config.K / lanes)
        group = _vectors_a_group(config, lanes)
        rows, cols = 4, 2
        if config.has_fixed_rows(rung) and rung <= rows and config.layout == "nt":
            has_scale = config.with_scaling or config.with_zeros
            scale_sums = has_scale and group is not None and group >= 8
            chunk = group if scale_sums else vectors
            return CpuHint(lanes, rung, 4, rung, 4, chunk, False, scale_sums)
        chunk = _chunk_size(vectors, group or 1, 64)
        return CpuHint(lanes, rows, cols, 128, 16, chunk, True, False)

    def schedule(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> PrimFunc:
        """Write the kernel for this problem."""
        assert isinstance(hint, CpuHint)
        LANES, ROWS, COLS, CHUNK = hint.lanes, hint.rows, hint.cols, hint.chunk
        N, K = config.N, config.K
        vectors = K // LANES  # whole ones
        chunks = math.ceil(K / (LANES * CHUNK))
        row_blocks_a_tile, col_blocks_a_tile = hint.row_tile // ROWS, hint.col_tile // COLS
        col_tiles = math.ceil(N / hint.col_tile)
        group = _vectors_a_group(config, LANES)
        # Vectors that surely share a scale; an inner loop over them, for the compiler to keep it in a register.
        run = math.gcd(CHUNK, group) if group else 1
        dot_run = CHUNK if hint.buffered or hint.scale_sums else run
        a_format, w_format = config.A_format, config.W_format
        dtype = config.reduce_dtype
        # 16 bits hold what int32 sums add up, and x86 multiplies such pairs in one instruction.
        lane_dtype = "int16" if dtype == "int32" else "float32"
        is_ragged = K % LANES > 0
        is_padded = chunks * CHUNK * LANES > K
        spec = operands(config, rung)
        is_single_block = isinstance(spec.rows(None), int) and rung <= ROWS
        over_row_blocks = T.serial if is_single_block else T.parallel

        def column(n):
            return tirx.min(n, N - 1) if N % hint.col_tile else n

        def is_inside(v, l):
            return v * LANES + l < K if is_ragged else v < vectors

        def element_of_A(A, row, v, l):
            k = v * LANES + l
            value = code_to_value(A[row, tirx.min(k, K - 1) if is_padded else k], a_format, lane_dtype)
            return tirx.Select(is_inside(v, l), value, tirx.const(0, lane_dtype)) if is_padded else value

        def scale_and_zero(Scale, Zeros, n, g, dtype):
            scale = Scale[n, g].astype(dtype) if config.with_scaling else None
            if not config.with_zeros:
                return scale, None
            if not config.has_packed_zeros:
                return scale, Zeros[n, g].astype(dtype)
            zero = unpack_code(lambda b: Zeros[g, b], n, w_format.bits) if w_format.is_packed else Zeros[g, n].astype("uint8")
            return scale, zero.astype(dtype)

        def group_of(v, l):
            """Group of an element; `v` may be any vector of its run."""
            if config.num_groups == 1:
                return 0
            g = v // group if group else (v * LANES + l) // config.group
            return tirx.min(g, config.num_groups - 1) if is_padded else g

        def weight(B, Scale, Zeros, n, first_v, v, l):
            """decode(W) of a lane, or its code's value where scales are left to the sums; 0 beyond K."""
            v_read = tirx.min(first_v + v, vectors - 1) if is_padded and not is_ragged else first_v + v
            if w_format.is_packed:
                row_bytes = spec.B_shape[1]
                load = lambda b: B[n, tirx.min(b, row_bytes - 1) if is_ragged else b]  # noqa: E731
                code = _lane_codes(load, v_read, l, LANES, w_format.bits)
                if w_format.name == "nf4":
                    code = code.astype("uint8")
            else:
                k = v_read * LANES + l
                k = tirx.min(k, K - 1) if is_ragged else k
                code = B[n, k] if config.layout == "nt" else B[k, n]
            w = code_to_value(code, w_format, lane_dtype)
            if not hint.scale_sums:
                scale, zero = scale_and_zero(Scale, Zeros, n, group_of(first_v, l), lane_dtype)
                w = apply_scale_and_zero(w, scale, zero, config.zeros_mode)
            return tirx.Select(is_inside(first_v + v, l), w, tirx.const(0, lane_dtype)) if is_padded else w

        def scaled_sum(total, sum_of_A, Scale, Zeros, n, c):
            """Sum of a chunk: scale and zero point applied, by linearity of decode in w, where that was left to it."""
            if not hint.scale_sums:
                return total
            scale, zero = scale_and_zero(Scale, Zeros, n, group_of(c * CHUNK, 0), dtype)
            return apply_scale_and_zero(total, scale, None if zero is None else zero * sum_of_A, config.zeros_mode)

        def sum_of_lanes(load):
            terms = [load(l) for l in range(LANES)]
            while len(terms) > 1:
                half = len(terms) // 2
                terms = [x + y for x, y in zip(terms[:half], terms[half:], strict=True)]
            return terms[0]

        needs_sum_of_A = hint.scale_sums and config.with_zeros
        sum_chunks = chunks if needs_sum_of_A else 1
        decode_by_column = config.layout == "nn"

        @T.prim_func(s_tir=True, check_well_formed=False)
        def kernel(
            A_handle: T.handle, B_handle: T.handle, Scale_handle: T.handle, Zeros_handle: T.handle,
            Bias_handle: T.handle, D_handle: T.handle,
        ):  # fmt: skip
            T.func_attr({"tirx.noalias": True})
            m = T.int32()
            rows = T.meta_var(spec.rows(m))
            A = T.match_buffer(A_handle, (rows, K), spec.A)
            B = T.match_buffer(B_handle, spec.B_shape, spec.B)
            Scale = T.match_buffer(Scale_handle, spec.Scale_shape, spec.Scale)
            Zeros = T.match_buffer(Zeros_handle, spec.Zeros_shape, spec.Zeros)
            Bias = T.match_buffer(Bias_handle, (N,), spec.D)
            D = T.match_buffer(D_handle, (rows, N), spec.D)
            row_blocks = T.meta_var((rows + ROWS - 1) // ROWS)
            row_tiles = T.meta_var((row_blocks + row_blocks_a_tile - 1) // row_blocks_a_tile)

            A_lanes = T.alloc_buffer((row_blocks, chunks * CHUNK, ROWS, LANES), lane_dtype)
            A_sum = T.alloc_buffer((row_blocks, sum_chunks, ROWS, LANES), dtype)
            for ib in over_row_blocks(row_blocks):
                for r in T.serial(ROWS):
                    row = T.meta_var(T.min(ib * ROWS + r, rows - 1))
                    for v in T.serial(chunks * CHUNK):
                        for l in T.vectorized(LANES):
                            A_lanes[ib, v, r, l] = element_of_A(A, row, v, l)
                    if needs_sum_of_A:
                        for c in T.serial(chunks):
                            for l in T.vectorized(LANES):
                                A_sum[ib, c, r, l] = T.cast(0, dtype)
                            for v in T.serial(CHUNK):
                                for l in T.vectorized(LANES):
                                    A_sum[ib, c, r, l] = A_sum[ib, c, r, l] + A_lanes[ib, c * CHUNK + v, r, l].astype(dtype)

            for tile in T.parallel(col_tiles * row_tiles):
                first_block = T.meta_var(tile % row_tiles * row_blocks_a_tile)
                first_col = T.meta_var(tile // row_tiles * hint.col_tile)
                blocks = T.meta_var(T.min(row_blocks_a_tile, row_blocks - first_block))
                C = T.alloc_buffer((row_blocks_a_tile, col_blocks_a_tile, ROWS, COLS, LANES), dtype)
                for ib in T.serial(blocks):
                    for jb in T.serial(col_blocks_a_tile):
                        for r in T.unroll(ROWS):
                            for q in T.unroll(COLS):
                                for l in T.vectorized(LANES):
                                    C[ib, jb, r, q, l] = T.cast(0, dtype)
                for c in T.serial(chunks):
                    if hint.buffered:
                        B_decode = T.alloc_buffer((col_blocks_a_tile, CHUNK, COLS, LANES), lane_dtype)
                        if decode_by_column:
                            for v in T.serial(CHUNK):
                                for l in T.serial(LANES):
                                    for j in T.serial(hint.col_tile):
                                        n = T.meta_var(column(first_col + j))
                                        B_decode[j // COLS, v, j % COLS, l] = weight(B, Scale, Zeros, n, c * CHUNK + v, 0, l)
                        else:
                            for j in T.serial(hint.col_tile):
                                n = T.meta_var(column(first_col + j))
                                for g in T.serial(CHUNK // run):
                                    for v in T.serial(run):
                                        for l in T.vectorized(LANES):
                                            B_decode[j // COLS, g * run + v, j % COLS, l] = weight(
                                                B, Scale, Zeros, n, c * CHUNK + g * run, v, l
                                            )
                    for ib in T.serial(blocks):
                        for jb in T.serial(col_blocks_a_tile):
                            dot = T.alloc_buffer((ROWS, COLS, LANES), dtype)
                            for r in T.unroll(ROWS):
                                for q in T.unroll(COLS):
                                    for l in T.vectorized(LANES):
                                        dot[r, q, l] = T.cast(0, dtype)
                            for g in T.serial(CHUNK // dot_run):
                                for v in T.serial(dot_run):
                                    for q in T.unroll(COLS):
                                        n = T.meta_var(column(first_col + jb * COLS + q))
                                        for r in T.unroll(ROWS):
                                            for l in T.vectorized(LANES):
                                                a = T.meta_var(A_lanes[first_block + ib, c * CHUNK + g * dot_run + v, r, l])
                                                w = T.meta_var(
                                                    B_decode[jb, g * dot_run + v, q, l]
                                                    if hint.buffered
                                                    else weight(B, Scale, Zeros, n, c * CHUNK + g * dot_run, v, l)
                                                )
                                                dot[r, q, l] = dot[r, q, l] + a.astype(dtype) * w.astype(dtype)
                            for r in T.unroll(ROWS):
                                for q in T.unroll(COLS):
                                    n = T.meta_var(column(first_col + jb * COLS + q))
                                    for l in T.vectorized(LANES):
                                        sum_of_A = T.meta_var(A_sum[first_block + ib, c, r, l])
                                        C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + scaled_sum(
                                            dot[r, q, l], sum_of_A, Scale, Zeros, n, c
                                        )
                for ib in T.serial(blocks):
                    for r in T.serial(ROWS):
                        for j in T.serial(hint.col_tile):
                            i = T.meta_var((first_block + ib) * ROWS + r)
                            n = T.meta_var(first_col + j)
                            if i < rows and n < N:
                                D[i, n] = output_value(
                                    config, sum_of_lanes(lambda l: C[ib, j // COLS, r, j % COLS, l]), Bias[n]
                                )

        return spec.bind(kernel)
