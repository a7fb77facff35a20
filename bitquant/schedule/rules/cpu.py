# SPDX-License-Identifier: Apache-2.0
"""Any legal problem on a CPU: dot products in SIMD registers, decoded on the way or a tile at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from bitquant.schedule import parsing
from bitquant.schedule.hint import Hint, one_of, size
from bitquant.schedule.rules.contract import Geometry, Rule
from bitquant.schedule.rules.operands import Operands, declare
from bitquant.schedule.rules.statements import loop, loops, named_buffer, store

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
        self.row_blocks, self.col_blocks = hint.row_tile // hint.rows, hint.col_tile // hint.cols
        #: Vectors that surely share a scale: loops over them are inner ones, so that it is loaded before.
        self.run = math.gcd(hint.chunk, self.group) if self.group else 1
        self.dot_run = hint.chunk if hint.buffered else self.run
        #: Vectors along n that are decoded for a k before the next k.
        self.cols_inside = 1 if config.layout == "nt" else hint.col_tile
        self.needs_sum_of_A = hint.scale_sums and config.with_zeros
        # One block of rows is not worth waking the threads for.
        is_one_block = config.has_fixed_rows(self.rung) and self.rung <= hint.rows
        self.over_row_blocks = T.serial if is_one_block else T.parallel

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

    def sum_of_column(self, C: Any, ib: Expr, r: Expr, j: Expr, l: Expr) -> Expr:
        """Return the sum of the column that is lane `l` of the vector `j` along n of a tile."""
        return self.sum_over_k(lambda lane: C[ib, j // self.hint.cols, r, j % self.hint.cols, lane], l)

    def pair_of_sums(self, C: Any, ib: Expr, r: Expr, p: Expr) -> list[Expr]:
        """Return the sums of columns 2 p and 2 p + 1 of a tile."""
        return [
            self.sum_of_column(C, ib, r, tirx.floordiv(2 * p + i, self.n_lanes), tirx.floormod(2 * p + i, self.n_lanes))
            for i in range(2)
        ]

    # The loops.

    def function(self) -> PrimFunc:
        """Return the kernel."""

        @parsing.prim_func(s_tir=True)
        def kernel():
            T.func_attr({"tirx.noalias": True})
            # Operands may be views that begin anywhere: LLVM must not take them for aligned.
            m = T.int32()
            operands = T.meta_var(declare(self.geometry.problem, m, align=1))
            self.emit(operands)

        return tag(kernel, self.config, self.rung, self.geometry.problem.weight_layout)

    def emit(self, operands: Operands) -> None:
        """Emit the whole kernel: A in lanes, then the tiles of D."""
        hint, k_lanes = self.hint, self.k_lanes
        row_blocks = (operands.rows + hint.rows - 1) // hint.rows
        row_tiles = (row_blocks + self.row_blocks - 1) // self.row_blocks
        col_tiles = ceil_div(self.config.N, self.n_lanes * hint.col_tile)
        blocks = self.wide(row_blocks)
        A_lanes = named_buffer("A_lanes", (blocks, self.chunks * hint.chunk, hint.rows, k_lanes), self.lane_dtype)
        sums = self.chunks if self.needs_sum_of_A else 1
        A_sum = named_buffer("A_sum", (blocks, sums, hint.rows, k_lanes), self.dtype)
        with loop("ib", self.over_row_blocks(row_blocks)) as ib, loop("r", T.serial(hint.rows)) as r:
            self.convert_A(operands, A_lanes, ib, r)
            if self.needs_sum_of_A:
                self.sum_A(A_lanes, A_sum, ib, r)
        with loop("tile", T.parallel(col_tiles * row_tiles)) as tile:
            first_row = tile % row_tiles * self.row_blocks
            blocks = T.min(self.row_blocks, row_blocks - first_row)
            self.tile_of_D(operands, A_lanes, A_sum, first_row, blocks, tile // row_tiles * hint.col_tile)

    def convert_A(self, operands: Operands, A_lanes: Any, ib: Expr, r: Expr) -> None:
        """Emit the conversion of a row of A."""
        row = T.min(ib * self.hint.rows + r, operands.rows - 1)
        with loop("v", T.serial(self.chunks * self.hint.chunk)) as v, loop("l", T.vectorized(self.k_lanes)) as l:
            store(A_lanes, (self.wide(ib), v, r, l), self.element_of_A(operands.A, row, v, l))

    def sum_A(self, A_lanes: Any, A_sum: Any, ib: Expr, r: Expr) -> None:
        """Emit the sums of a row of A over chunks."""
        with loop("c", T.serial(self.chunks)) as c:
            with loop("l", T.vectorized(self.k_lanes)) as l:
                store(A_sum, (self.wide(ib), c, r, l), T.cast(0, self.dtype))
            with loop("v", T.serial(self.hint.chunk)) as v, loop("l", T.vectorized(self.k_lanes)) as l:
                a = A_lanes[self.wide(ib), c * self.hint.chunk + v, r, l]
                store(A_sum, (self.wide(ib), c, r, l), A_sum[self.wide(ib), c, r, l] + a.astype(self.dtype))

    @contextmanager
    def over_sums(self) -> Iterator[tuple[Expr, Expr, Expr]]:
        """Emit the loops over the rows, vectors and lanes of a block of sums."""
        hint = self.hint
        with (
            loop("r", T.unroll(hint.rows)) as r,
            loop("q", T.unroll(hint.cols)) as q,
            loop("l", T.vectorized(hint.lanes)) as l,
        ):
            yield r, q, l

    def tile_of_D(
        self, operands: Operands, A_lanes: Any, A_sum: Any, first_row: Expr, blocks: Expr, first_col: Expr
    ) -> None:
        """Emit what a thread does: a tile of D, of `blocks` blocks of rows."""
        hint, block = self.hint, (self.hint.rows, self.hint.cols, self.hint.lanes)
        table = named_buffer("table", (16 if hint.simd_lookup else 1,), "float32")
        if hint.simd_lookup:
            with loop("code", T.unroll(16)) as code:
                store(table, (code,), self.config.W_format.value(code.astype("uint8"), "float32"))
        C = named_buffer("C", (self.row_blocks, self.col_blocks, *block), self.dtype)
        with loops("ib jb", T.grid(blocks, self.col_blocks)) as block_at, self.over_sums() as at:
            store(C, (*block_at, *at), T.cast(0, self.dtype))
        with loop("c", T.serial(self.chunks)) as c:
            B_decode = self.decoded(operands, table, first_col, c) if hint.buffered else None
            with loops("ib jb", T.grid(blocks, self.col_blocks)) as (ib, jb):
                dot = named_buffer("dot", block, self.dtype)
                self.multiply(operands, table, A_lanes, B_decode, dot, first_row + ib, first_col, jb, c)
                with self.over_sums() as (r, q, l):
                    u = first_col + jb * hint.cols + q
                    sum_of_A = A_sum[self.wide(first_row + ib), c, r, l % self.k_lanes]
                    total = self.scaled_sum(dot[r, q, l], sum_of_A, operands, u, c, l)
                    store(C, (ib, jb, r, q, l), C[ib, jb, r, q, l] + total)
        self.store_tile(operands, C, first_row, blocks, first_col)

    def decoded(self, operands: Operands, table: Any, first_col: Expr, c: Expr) -> Any:
        """Emit the decoding of a chunk of a tile's columns, in the order of memory; return the buffer."""
        hint, run, inside = self.hint, self.run, self.cols_inside
        B_decode = named_buffer("B_decode", (self.col_blocks, hint.chunk, hint.cols, hint.lanes), self.lane_dtype)
        over_vectors = T.grid(hint.col_tile // inside, hint.chunk // run, run, inside)
        with loops("j s v t", over_vectors) as (j, s, v, t), loop("l", T.vectorized(hint.lanes)) as l:
            u = j * inside + t
            w = self.weight(operands, table, first_col + u, c * hint.chunk + s * run, v, l)
            store(B_decode, (u // hint.cols, s * run + v, u % hint.cols, l), w)
        return B_decode

    def multiply(
        self, operands: Operands, table: Any, A_lanes: Any, B_decode: Any | None, dot: Any, row_block: Expr,
        first_col: Expr, jb: Expr, c: Expr,
    ) -> None:  # fmt: skip
        """Emit the dot products of a block of rows and a block of columns over a chunk."""
        hint, dot_run = self.hint, self.dot_run
        with self.over_sums() as at:
            store(dot, at, T.cast(0, self.dtype))
        with (
            loops("s v", T.grid(hint.chunk // dot_run, dot_run)) as (s, v),
            loop("q", T.unroll(hint.cols)) as q,
            loop("r", T.unroll(hint.rows)) as r,
            loop("l", T.vectorized(hint.lanes)) as l,
        ):
            run_start = c * hint.chunk + s * dot_run
            a = A_lanes[self.wide(row_block), run_start + v, r, l % self.k_lanes]
            if B_decode is None:
                w = self.weight(operands, table, first_col + jb * hint.cols + q, run_start, v, l)
            else:
                w = B_decode[jb, s * dot_run + v, q, l]
            store(dot, (r, q, l), dot[r, q, l] + a.astype(self.dtype) * w.astype(self.dtype))

    def store_tile(self, operands: Operands, C: Any, first_row: Expr, blocks: Expr, first_col: Expr) -> None:
        """Emit the stores of a tile to D."""
        hint, n_lanes, N, D = self.hint, self.n_lanes, self.config.N, operands.D
        if self.config.activation is None:
            with loops("ib r j l", T.grid(blocks, hint.rows, hint.col_tile, n_lanes)) as (ib, r, j, l):
                i, n = (first_row + ib) * hint.rows + r, (first_col + j) * n_lanes + l
                with T.If(tirx.And(i < operands.rows, n < N)), T.Then():
                    store(D, (i, n), operands.output(i, n, [self.sum_of_column(C, ib, r, j, l)]))
        else:
            with loops("ib r p", T.grid(blocks, hint.rows, hint.col_tile * n_lanes // 2)) as (ib, r, p):
                i, n = (first_row + ib) * hint.rows + r, first_col * n_lanes + 2 * p
                with T.If(tirx.And(i < operands.rows, n < N)), T.Then():
                    sums = self.pair_of_sums(C, ib, r, p)
                    store(D, (i, n // 2), operands.output(i, n, sums, is_for_cpu=True))


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
