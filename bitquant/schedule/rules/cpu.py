# SPDX-License-Identifier: Apache-2.0
"""Any legal problem on a CPU: dot products in SIMD registers, decoded on the way or a tile at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import tvm
from tvm import tirx
from tvm.script import tirx as T
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.arithmetic import balanced_chunk, ceil_div
from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import scale_value, tag, zero_point
from bitquant.config import MatmulConfig
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint, one_of, size
from bitquant.schedule.rules.contract import Geometry, Rule
from bitquant.schedule.rules.operands import declare

__all__ = ["CpuHint", "CpuRule", "lane_codes"]

Expr = Any

#: Vectors that are summed in registers at the same time: as many as AVX-512 has. More would be spilled.
_MAX_SUMS = 32
#: Most bytes of the buffers of a thread: its sums, and the weights that it has decoded.
_MAX_BUFFER_BYTES = 16 << 20
#: Vectors of a chunk that may lie beyond K.
_MAX_PADDING = 1024


@dataclass(frozen=True)
class CpuHint(Hint):
    """Shape of the CPU kernel.

    A *vector* is what fills a SIMD register: `lanes` consecutive weights in memory, so of one n for layout nt, and of
    one k for layout nn.

    Attributes
    ----------
    lanes
        32-bit lanes of a vector, 8 or 16. Where registers are narrower, a vector takes two.
    rows, cols
        Rows of A, and vectors of W side by side along n, whose products are summed in registers at the same time.
    row_tile, col_tile
        The same for the tile of D that a thread computes in one go; multiples of `rows` and `cols`.
    chunk
        Vectors along k that are multiplied before the sums leave the registers.
    buffered
        Whether (col_tile, chunk) vectors are decoded into a buffer that all rows of A reuse; otherwise a weight is
        decoded in registers, each time it is met.
    scale_sums
        Whether scale and zero point are applied to the sums of a chunk, which then is one group:
        sum a (w - z) s = (sum a w - z sum a) s. Otherwise they are applied to each weight.
    simd_lookup
        Whether 4-bit codes are looked up by x86's permutations of SIMD lanes (needs AVX2, or AVX-512 for 16 lanes).
    """

    lanes: int = one_of(8, 16)
    rows: int = size(4, 1, 16)
    cols: int = size(2, 1, 16)
    row_tile: int = size(128, 1, 1024)
    col_tile: int = size(16, 1, 1024)
    chunk: int = size(64, 1, 1 << 28)
    buffered: bool = True
    scale_sums: bool = False
    simd_lookup: bool = False


def _k_lanes(config: MatmulConfig, lanes: int) -> int:
    """Return how many k a vector spans."""
    return lanes if config.layout == "nt" else 1


def _vectors_a_group(config: MatmulConfig, lanes: int) -> int | None:
    """Return the vectors along k of a group, or None where a vector may reach into another group."""
    k_lanes = _k_lanes(config, lanes)
    if config.num_groups == 1:
        return ceil_div(config.K, k_lanes)
    return None if config.group % k_lanes else config.group // k_lanes


def _has_feature(target: Target, name: str) -> bool:
    return bool(tvm.get_global_func("target.target_has_feature")(name, target))


def _chunk_size(vectors: int, step: int, most: int) -> int:
    """Return a chunk of at most `most` vectors: a divisor of `vectors`, and of whole `step` vectors if there is one."""
    for unit in (math.gcd(step, most), 1):
        for chunk in range(most // unit * unit, most // 4, -unit):
            if vectors % chunk == 0:
                return chunk
    return balanced_chunk(vectors, most)  # The last chunk is filled up with zeros.


def lane_codes(row: Callable[[Expr], Expr], row_bytes: int, vector: Expr, lane: Expr, lanes: int, bits: int) -> Expr:
    """Return the code of one lane of a vector of packed elements, as int32. `unpack_code` defines the bit order.

    The lanes of a run share one word of up to 32 bits, a scalar load, and shift it by a constant of their own. So the
    expression vectorises in `lane`, which the byte-wise `unpack_code` does not.

    Parameters
    ----------
    row
        Maps the index of a byte in the row to its value, and a `Ramp` of indices to several.
    row_bytes
        Bytes of a row. If they end within the vector, lanes beyond have any value.
    vector, lane
        Index of the vector in the row and of the element in the vector.
    lanes, bits
        Elements of a vector, a multiple of 8, and bits of an element.
    """
    vector_bytes = lanes * bits // 8
    word_bytes = min(4, vector_bytes, row_bytes)
    run = min(lanes, next(r for r in (32, 16, 8, 4) if r * bits + r * bits % 8 <= 32))
    # Words stay inside the vector's own bytes: behind the last row there are no others.
    starts = [min(first * bits // 8, vector_bytes - word_bytes) for first in range(0, lanes, run)]

    def word(start: int) -> tuple[Expr, Expr]:
        """Word, and how many bits it begins before the run does."""
        begin = vector * vector_bytes + start
        inside = tirx.min(begin, row_bytes - word_bytes) if row_bytes % vector_bytes else begin
        result, done = None, 0
        while done < word_bytes:
            size = next(s for s in (4, 2, 1) if s <= word_bytes - done)
            piece = row(inside + done if size == 1 else tirx.Ramp(inside + done, 1, size))
            piece = tirx.reinterpret(f"uint{8 * size}", piece).astype("int32")
            piece = tirx.shift_left(piece, tirx.const(8 * done, "int32")) if done else piece
            result = piece if result is None else tirx.bitwise_or(result, piece)
            done += size
        return result, (begin - inside) * 8

    code, skipped = word(starts[0])
    for i, start in enumerate(starts[1:], 1):
        next_word, moved = word(start)
        code = tirx.Select(lane < i * run, code, next_word)
        skipped = tirx.Select(lane < i * run, skipped, moved + (i * run * bits - 8 * start))
    shift = lane % run * bits + skipped
    if row_bytes % vector_bytes:
        shift = tirx.bitwise_and(shift, tirx.const(31, "int32"))  # Shifts by more have no defined result in any lane.
    return tirx.bitwise_and(tirx.shift_right(code, shift), tirx.const((1 << bits) - 1, "int32"))


def _look_up(table: Expr, code: Expr, lane: Expr, lanes: int) -> Expr:
    """Return table[code] for a table of 16 float32, by the permutations that AVX2 and AVX-512 have.

    In a loop over `lane` that is vectorised, table[lane] is a register full of entries, and each lane picks one.
    """
    if lanes == 16:
        return tirx.call_llvm_pure_intrin("float32", "llvm.x86.avx512.permvar.sf.512", table[lane], code)
    # AVX2 regards the low three bits of an index.
    low = tirx.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", table[lane], code)
    high = tirx.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", table[lane + 8], code)
    return tirx.Select(code < 8, low, high)


class CpuGeometry(Geometry):
    """Which vectors share a scale, and whether tiles fit each other, K and the CPU."""

    hint: CpuHint

    def _hint_fault(self) -> str | None:
        config, hint = self.config, self.hint
        group = _vectors_a_group(config, hint.lanes)
        vectors = ceil_div(config.K, _k_lanes(config, hint.lanes))
        if hint.rows * hint.cols > _MAX_SUMS:
            return f"needs rows * cols <= {_MAX_SUMS}, the sums in registers"
        if hint.row_tile % hint.rows:
            return "needs row_tile % rows == 0"
        if hint.col_tile % hint.cols:
            return "needs col_tile % cols == 0"
        if config.layout == "nt" and hint.col_tile % config.rows_per_column:
            return "needs an even col_tile with an activation"
        if hint.chunk > max(vectors, _MAX_PADDING):
            return f"needs chunk <= {max(vectors, _MAX_PADDING)}, the vectors of K"
        if hint.scale_sums and hint.chunk != group:
            return f"needs a chunk of one group, {group} vectors, with scale_sums"
        if hint.simd_lookup and config.W_format.codebook is None:
            return f"needs 4-bit codes for simd_lookup, and W is {config.W_format.name}"
        if hint.simd_lookup and not _has_feature(
            self.problem.target, feature := "avx512f" if hint.lanes == 16 else "avx2"
        ):
            return f"needs a CPU with {feature} for simd_lookup with {hint.lanes} lanes"
        buffer_bytes = 4 * hint.lanes * hint.col_tile * max(hint.row_tile, hint.chunk if hint.buffered else 0)
        if buffer_bytes > _MAX_BUFFER_BYTES:
            return f"needs tiles of at most {_MAX_BUFFER_BYTES} bytes, and these have {buffer_bytes}"
        return None


class CpuRule(Rule):
    """Vectors along k (layout nt) or n (nn), a block of rows of A and of vectors of W in registers, threads over tiles.

    A is first brought into the type of the products and into blocks of rows, with zeros beyond K up to a whole number
    of chunks; rows beyond m and columns beyond N repeat the last one and are not stored. So the inner loops have no
    guard, whatever N, K and m are. No weight is decoded into memory but for a tile as large as the first-level cache.
    """

    name = "cpu"
    pipeline = "s_tir"
    hint_type = CpuHint
    is_for_cpu = True

    def refuses(self, problem: Problem) -> str | None:
        """Refuse nothing but other kinds of target."""
        return None if problem.target.kind.name == "llvm" else f"needs a CPU target (got {problem.target.kind.name})"

    def shapes(self, problem: Problem) -> Iterator[CpuHint]:
        """Yield the hint of `_wanted_hint`, then its neighbours: other blocks of sums, tiles and chunks."""
        first = _wanted_hint(problem)
        yield first
        seen = {first}
        for rows, cols in ((first.rows, first.cols), (4, 2), (4, 4), (2, 4), (1, 8), (1, 4), (8, 2)):
            for tiles in ((1, 1), (1, 2), (2, 1), (2, 2)):
                for chunk in (first.chunk, max(1, first.chunk // 2), 2 * first.chunk):
                    row_tile = max(rows, first.row_tile * tiles[0] // rows * rows)
                    col_tile = max(cols, first.col_tile * tiles[1] // cols * cols)
                    if rows > max(4, problem.rung) or row_tile >= 2 * max(rows, problem.rung):
                        continue
                    hint = replace(first, rows=rows, cols=cols, row_tile=row_tile, col_tile=col_tile, chunk=chunk)
                    if hint not in seen and hint.fault() is None:
                        seen.add(hint)
                        yield hint

    def geometry(self, problem: Problem, hint: Hint) -> CpuGeometry:
        """Return how the kernel cuts the problem."""
        return CpuGeometry(problem, hint)

    def emit(self, geometry: CpuGeometry) -> PrimFunc:
        """Write the kernel for this problem."""
        return _Kernel(geometry).function()


class _Kernel:
    """Writes the kernel of a geometry: sizes, the expressions of its elements, and the loops over them.

    Indices are named by what they count: `v` vectors along k, `u` vectors along n, `l` lanes of a vector, `g` groups,
    `ib` and `jb` blocks of rows and of vectors along n, `r` and `q` rows and vectors of a block.
    """

    def __init__(self, geometry: CpuGeometry) -> None:
        self.geometry = geometry
        self.config, self.rung, self.hint = geometry.config, geometry.rung, geometry.hint
        config, hint = self.config, self.hint
        self.k_lanes = _k_lanes(config, hint.lanes)
        self.n_lanes = hint.lanes // self.k_lanes
        #: Chunks of K, the last of which may reach beyond it.
        self.chunks = ceil_div(config.K, self.k_lanes * hint.chunk)
        self.is_ragged = config.K % self.k_lanes > 0  # The last vector is not whole.
        self.is_padded = self.chunks * hint.chunk * self.k_lanes > config.K  # There are vectors beyond K.
        self.group = _vectors_a_group(config, hint.lanes)
        self.dtype = config.reduce_dtype
        # 16 bits hold what int32 sums add up, and x86 multiplies such pairs in one instruction.
        self.lane_dtype = "int16" if self.dtype == "int32" else "float32"
        # A weight that stays in registers saves the way there and back.
        self.weight_dtype = self.dtype if self.dtype == "int32" and not hint.buffered else self.lane_dtype

    # Indices.

    def vector_at(self, v: Expr) -> Expr:
        """Return the index of a vector that is there; a last one that is not whole counts."""
        return tirx.min(v, self.config.K // self.k_lanes - 1) if self.is_padded and not self.is_ragged else v

    def k_at(self, v: Expr, l: Expr) -> Expr:
        """Return the index k of lane `l` of the vector `v`, the last one for those beyond K."""
        k = self.vector_at(v) * self.k_lanes + l if self.k_lanes > 1 else self.vector_at(v)
        return tirx.min(k, self.config.K - 1) if self.is_ragged else k

    def n_at(self, u: Expr, l: Expr) -> Expr:
        """Return the column of lane `l` of the vector `u`, the last one for those beyond N."""
        N, n_lanes = self.config.N, self.n_lanes
        if N % (n_lanes * self.hint.col_tile) == 0:
            return u * n_lanes + l if n_lanes > 1 else u
        if N % n_lanes == 0:
            u = tirx.min(u, N // n_lanes - 1)
            return u * n_lanes + l if n_lanes > 1 else u
        return tirx.min(u * n_lanes + l, N - 1)

    def wide(self, index: Expr) -> Expr:
        """Return the index of a block of rows, in 64 bits: A in lanes, padded along K, may have 2^31 elements."""
        return index if self.config.has_fixed_rows(self.rung) else T.cast(index, "int64")

    # Elements.

    def zero_beyond_K(self, value: Expr, v: Expr, l: Expr, dtype: str) -> Expr:
        """Return `value`, or 0 beyond K."""
        if not self.is_padded:
            return value
        K, K_LANES = self.config.K, self.k_lanes
        # A mask: from a Select's condition TVM would conclude that the index inside needs no clamp, and load it.
        beyond = v * K_LANES + l - K if self.is_ragged else v - K // K_LANES
        mask = tirx.shift_right(beyond, tirx.const(31, "int32"))
        if dtype != "float32":
            return tirx.bitwise_and(value, mask.astype(dtype))
        return tirx.reinterpret(dtype, tirx.bitwise_and(tirx.reinterpret("int32", value), mask))

    def scale_and_zero(self, operands: Any, n: Expr, v: Expr, l: Expr, dtype: str) -> tuple[Expr | None, Expr | None]:
        """Return scale and zero point of row n of W at lane `l` of the vector `v`; None for what the problem lacks."""
        config, g = self.config, 0
        if config.num_groups > 1:
            g = v // self.group if self.group else self.k_at(v, l) // config.group
            g = tirx.min(g, config.num_groups - 1) if self.is_padded else g
        scale = scale_value(config, operands.Scale, n, g, dtype) if config.with_scaling else None
        return scale, zero_point(config, operands.Zeros, n, g).astype(dtype) if config.with_zeros else None

    def element_of_A(self, A: Any, row: Expr, v: Expr, l: Expr) -> Expr:
        """Return lane `l` of the vector `v` of a row of A, or 0 beyond K."""
        a = self.config.A_format.value(A[row, self.k_at(v, l)], self.lane_dtype)
        return self.zero_beyond_K(a, v, l, self.lane_dtype)

    def weight(self, operands: Any, table: Any, u: Expr, run_start: Expr, v: Expr, l: Expr) -> Expr:
        """Return decode(W) of lane `l` of vector (u, run_start + v), or the value of its code if sums are scaled."""
        config, hint, w_format, dtype = self.config, self.hint, self.config.W_format, self.weight_dtype
        B, n = operands.B, self.n_at(u, l)
        v = run_start + v
        if w_format.is_packed:
            row_bytes = config.W_shape[1]
            code = lane_codes(lambda b: B[n, b], row_bytes, self.vector_at(v), l, hint.lanes, w_format.bits)
        else:
            code = B[n, self.k_at(v, l)] if config.layout == "nt" else B[self.k_at(v, l), n]
        if hint.simd_lookup:
            w = _look_up(table, code, l, hint.lanes)
        else:
            w = w_format.value(code.astype("uint8") if w_format.levels else code, dtype)
        if not hint.scale_sums:
            scale, zero = self.scale_and_zero(operands, n, run_start, l, dtype)
            w = apply_scale_and_zero(w, scale, zero, config.zeros_mode)
        return self.zero_beyond_K(w, v, l, dtype)

    # Sums.

    def scaled_sum(self, total: Expr, sum_of_A: Expr, operands: Any, u: Expr, c: Expr, l: Expr) -> Expr:
        """Return the sum of a chunk, scaled and shifted here where its weights were not: decode is linear in w."""
        if not self.hint.scale_sums:
            return total
        scale, zero = self.scale_and_zero(operands, self.n_at(u, l), c * self.hint.chunk, 0, self.dtype)
        return apply_scale_and_zero(total, scale, None if zero is None else zero * sum_of_A, self.config.zeros_mode)

    def sum_over_k(self, load: Callable[[Expr], Expr], l: Expr) -> Expr:
        """Return the sum of the lanes that belong to one n."""
        terms = [load(l + i) for i in range(self.k_lanes)]
        while len(terms) > 1:
            half = len(terms) // 2
            terms = [x + y for x, y in zip(terms[:half], terms[half:], strict=True)]
        return terms[0]

    def pair_of_sums(self, C: Any, ib: Expr, r: Expr, p: Expr) -> list[Expr]:
        """Return the sums of columns 2 p and 2 p + 1 of a tile."""
        n_lanes, cols = self.n_lanes, self.hint.cols
        places = [(tirx.floordiv(2 * p + i, n_lanes), tirx.floormod(2 * p + i, n_lanes)) for i in range(2)]
        return [self.sum_over_k(lambda lane, j=j: C[ib, j // cols, r, j % cols, lane], l) for j, l in places]

    # The loops.

    def function(self) -> PrimFunc:
        """Return the kernel."""
        config, rung, hint, geometry = self.config, self.rung, self.hint, self.geometry
        N, LANES, ROWS, COLS, CHUNK = config.N, hint.lanes, hint.rows, hint.cols, hint.chunk
        K_LANES, N_LANES, chunks = self.k_lanes, self.n_lanes, self.chunks
        ROW_BLOCKS, COL_BLOCKS = hint.row_tile // ROWS, hint.col_tile // COLS
        col_tiles = ceil_div(N, N_LANES * hint.col_tile)
        # Vectors that surely share a scale: loops over them are inner ones, so that it is loaded before.
        run = math.gcd(CHUNK, self.group) if self.group else 1
        dot_run = CHUNK if hint.buffered else run
        dtype, lane_dtype, wide = self.dtype, self.lane_dtype, self.wide
        cols_inside = 1 if config.layout == "nt" else hint.col_tile
        needs_sum_of_A = hint.scale_sums and config.with_zeros
        # One block of rows is not worth waking the threads for.
        is_one_block = config.has_fixed_rows(rung) and rung <= ROWS
        over_row_blocks = T.serial if is_one_block else T.parallel

        @T.prim_func(s_tir=True)
        def kernel():
            T.func_attr({"tirx.noalias": True})
            # Operands may be views that begin anywhere: LLVM must not take them for aligned.
            m = T.int32()
            operands = T.meta_var(declare(geometry.problem, m, align=1))
            A, D, rows = T.meta_var((operands.A, operands.D, operands.rows))
            row_blocks = T.meta_var((rows + ROWS - 1) // ROWS)
            row_tiles = T.meta_var((row_blocks + ROW_BLOCKS - 1) // ROW_BLOCKS)

            A_lanes = T.alloc_buffer((wide(row_blocks), chunks * CHUNK, ROWS, K_LANES), lane_dtype)
            A_sum = T.alloc_buffer((wide(row_blocks), chunks if needs_sum_of_A else 1, ROWS, K_LANES), dtype)
            for ib in over_row_blocks(row_blocks):
                for r in T.serial(ROWS):
                    for v in T.serial(chunks * CHUNK):
                        for l in T.vectorized(K_LANES):
                            A_lanes[wide(ib), v, r, l] = self.element_of_A(A, T.min(ib * ROWS + r, rows - 1), v, l)
                    if needs_sum_of_A:
                        for c in T.serial(chunks):
                            for l in T.vectorized(K_LANES):
                                A_sum[wide(ib), c, r, l] = T.cast(0, dtype)
                            for v in T.serial(CHUNK):
                                for l in T.vectorized(K_LANES):
                                    a = T.meta_var(A_lanes[wide(ib), c * CHUNK + v, r, l])
                                    A_sum[wide(ib), c, r, l] = A_sum[wide(ib), c, r, l] + a.astype(dtype)

            for tile in T.parallel(col_tiles * row_tiles):
                first_row = T.meta_var(tile % row_tiles * ROW_BLOCKS)
                first_col = T.meta_var(tile // row_tiles * hint.col_tile)
                blocks = T.meta_var(T.min(ROW_BLOCKS, row_blocks - first_row))
                table = T.alloc_buffer((16 if hint.simd_lookup else 1,), "float32")
                if hint.simd_lookup:
                    for code in T.unroll(16):
                        table[code] = config.W_format.value(code.astype("uint8"), "float32")
                C = T.alloc_buffer((ROW_BLOCKS, COL_BLOCKS, ROWS, COLS, LANES), dtype)
                for ib, jb in T.grid(blocks, COL_BLOCKS):
                    for r in T.unroll(ROWS):
                        for q in T.unroll(COLS):
                            for l in T.vectorized(LANES):
                                C[ib, jb, r, q, l] = T.cast(0, dtype)
                for c in T.serial(chunks):
                    if hint.buffered:
                        B_decode = T.alloc_buffer((COL_BLOCKS, CHUNK, COLS, LANES), lane_dtype)
                        # In the order of memory: all k of an n, or all n of a k.
                        for j, s, v, t in T.grid(hint.col_tile // cols_inside, CHUNK // run, run, cols_inside):
                            for l in T.vectorized(LANES):
                                u = T.meta_var(j * cols_inside + t)
                                B_decode[u // COLS, s * run + v, u % COLS, l] = self.weight(
                                    operands, table, first_col + u, c * CHUNK + s * run, v, l
                                )
                    for ib, jb in T.grid(blocks, COL_BLOCKS):
                        dot = T.alloc_buffer((ROWS, COLS, LANES), dtype)
                        for r in T.unroll(ROWS):
                            for q in T.unroll(COLS):
                                for l in T.vectorized(LANES):
                                    dot[r, q, l] = T.cast(0, dtype)
                        for s, v in T.grid(CHUNK // dot_run, dot_run):
                            for q in T.unroll(COLS):
                                for r in T.unroll(ROWS):
                                    for l in T.vectorized(LANES):
                                        run_start = T.meta_var(c * CHUNK + s * dot_run)
                                        a = T.meta_var(A_lanes[wide(first_row + ib), run_start + v, r, l % K_LANES])
                                        u = T.meta_var(first_col + jb * COLS + q)
                                        w = T.meta_var(
                                            B_decode[jb, s * dot_run + v, q, l]
                                            if hint.buffered
                                            else self.weight(operands, table, u, run_start, v, l)
                                        )
                                        dot[r, q, l] = dot[r, q, l] + a.astype(dtype) * w.astype(dtype)
                        for r in T.unroll(ROWS):
                            for q in T.unroll(COLS):
                                for l in T.vectorized(LANES):
                                    u = T.meta_var(first_col + jb * COLS + q)
                                    sum_of_A = T.meta_var(A_sum[wide(first_row + ib), c, r, l % K_LANES])
                                    C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + self.scaled_sum(
                                        dot[r, q, l], sum_of_A, operands, u, c, l
                                    )
                if config.activation is None:
                    for ib, r, j, l in T.grid(blocks, ROWS, hint.col_tile, N_LANES):
                        i = T.meta_var((first_row + ib) * ROWS + r)
                        n = T.meta_var((first_col + j) * N_LANES + l)
                        if i < rows and n < N:
                            c = T.meta_var(self.sum_over_k(lambda lane: C[ib, j // COLS, r, j % COLS, lane], l))
                            D[i, n] = operands.output(i, n, [c])
                else:
                    for ib, r, p in T.grid(blocks, ROWS, hint.col_tile * N_LANES // 2):
                        i = T.meta_var((first_row + ib) * ROWS + r)
                        n = T.meta_var(first_col * N_LANES + 2 * p)
                        if i < rows and n < N:
                            D[i, n // 2] = operands.output(i, n, self.pair_of_sums(C, ib, r, p), is_for_cpu=True)

        return tag(kernel, config, rung, geometry.problem.weight_layout)


def _wanted_hint(problem: Problem) -> CpuHint:
    """Return the hint that decodes in registers where one block of rows holds all of A, else a tile at a time.

    4 x 2 sums and 6 operands fit the 16 registers of AVX2, and hide a latency of 4 cycles at 2 multiply-adds a cycle.
    Sizes of tiles, and the 4 vectors from which sums are worth scaling, were measured on a Zen 3.
    """
    config, rung, target = problem.config, problem.rung, problem.target
    lanes = 16 if _has_feature(target, "avx512f") else 8
    simd_lookup = config.W_format.codebook is not None and _has_feature(target, "avx2")
    vectors = ceil_div(config.K, _k_lanes(config, lanes))
    group = _vectors_a_group(config, lanes)
    if rung > 4 or not (config.is_static or rung == 1):
        # A tile of 16 x 64 vectors; nn reads it by rows of k, the longer the better.
        most, col_tile = (64, 16) if config.layout == "nt" else (128, 8)
        chunk = _chunk_size(vectors, group or 1, most)
        return CpuHint(lanes, col_tile=col_tile, chunk=chunk, simd_lookup=simd_lookup)
    has_scale = config.with_scaling or config.with_zeros
    # Sums of what is not scaled yet must not leave float32, or results would depend on the number of rows.
    has_room = config.A_format.bits == 8 or config.A_format.name == "float16"
    scale_sums = has_scale and has_room and group is not None and group >= 4
    if config.layout == "nt":
        cols, col_tile, chunk = 4, 4, vectors
    else:
        cols, col_tile, chunk = 8, 32, _chunk_size(vectors, 1, 16)
    chunk = group if scale_sums else chunk
    return CpuHint(lanes, rung, cols, rung, col_tile, chunk, False, scale_sums, simd_lookup)
