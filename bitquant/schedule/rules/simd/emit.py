# SPDX-License-Identifier: Apache-2.0
"""The SIMD kernel, for every type of products.

Rows of A are first brought into the order in which decoded weights lie in registers, and into the type of the products.
Then threads take tiles of columns; a tile's weights are decoded into a buffer that fits a cache, or in registers.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder
from tvm.tirx import PrimFunc

from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import scale_value, tag, zero_point
from bitquant.schedule.rules.operands import Operands, declare, when
from bitquant.schedule.rules.simd import instructions
from bitquant.schedule.rules.simd.geometry import SimdGeometry
from bitquant.schedule.rules.simd.products import BFLOAT16, FLOAT32, INT8, byte_instruction

__all__ = ["emit"]

Expr = Any

#: Attribute whose text TVM links into the module (`instructions.functions`).
_LINKED = "pragma_import_llvm"


def emit(geometry: SimdGeometry) -> PrimFunc:
    """Return the kernel of a geometry without a fault."""
    problem = geometry.problem
    text = instructions.functions(geometry.hint.lanes, geometry.product is BFLOAT16)

    @T.prim_func(s_tir=True)
    def kernel():  # type: ignore[no-untyped-def]  # TVM parses it
        T.func_attr({"tirx.noalias": True})
        # Operands may be views that begin anywhere: LLVM must not take them for aligned.
        m = T.int32()
        operands = T.meta_var(declare(problem, m, align=1))
        with T.attr(T.int32(0), _LINKED, text):
            _Emitter(geometry, operands).emit()

    return tag(kernel, geometry.config, geometry.rung, problem.weight_layout)


def _ramp(first: Expr, lanes: int) -> Expr:
    return tirx.Ramp(first, 1, lanes)


def _vector(buffer: Any, *indices: Expr, lanes: int) -> Expr:
    """Return `lanes` neighbours of a buffer, from the given indices on."""
    at = (*indices[:-1], _ramp(indices[-1], lanes))
    return buffer[at]


def _set_vector(buffer: Any, value: Expr, *indices: Expr, lanes: int) -> None:
    T.buffer_store(buffer, value, [*indices[:-1], _ramp(indices[-1], lanes)])


def _buffer(name: str, shape: tuple[int, ...], dtype: str) -> Any:
    """Allocate a buffer with a name; a small one of constant indices stays in registers."""
    return IRBuilder.name(name, T.alloc_buffer(shape, dtype))


class _Emitter:
    """Writes the statements of a kernel; each method writes one part of it."""

    def __init__(self, geometry: SimdGeometry, operands: Operands) -> None:
        self.g, self.operands = geometry, operands
        self.config, self.hint, self.product = geometry.config, geometry.hint, geometry.product
        self.fmt = self.config.W_format
        self.total_dtype = self.config.reduce_dtype
        # Sums of bytes are scaled; other products are of weights that are scaled when they are decoded.
        self.scales_sums = self.product is INT8
        self.offset = self.fmt.offset
        if self.fmt.bits == 8 and not self.fmt.is_unsigned:
            self.offset = -128  # Codes are bytes with the sign bit flipped.
        #: Whether the values of codes are scaled once for all blocks of a group.
        self.needs_table = geometry.looks_up and geometry.group_blocks > 0
        self.needs_sum_of_A = self.scales_sums and (self.config.with_zeros or self.offset != 0)
        # Buffers of a panel of rows, and of a tile.
        self.A_units: Any = None
        self.A_sum: Any = None
        self.Scale: Any = None
        self.Zeros: Any = None
        self.values: Any = None
        #: Blocks whose sums are scaled together.
        self.run = self.hint.chunk if self.config.num_groups == 1 else geometry.group_blocks or 1

    # Outline.

    def emit(self) -> None:
        """Write the kernel."""
        g, hint, config = self.g, self.hint, self.config
        rows_of_A = self.operands.rows
        row_blocks_a_tile = hint.row_tile // hint.rows
        col_tiles = -(-config.N // hint.col_tile)
        self.A_units = _buffer(
            "A_units", (row_blocks_a_tile, g.blocks, g.steps, hint.rows, g.unit_lanes), self.product.unit_dtype
        )
        self.runs = -(-g.blocks // self.run)
        self.A_sum = _buffer(
            "A_sum", (row_blocks_a_tile, self.runs if self.needs_sum_of_A else 1, hint.rows, hint.lanes), "int32"
        )
        # A panel of rows at a time, so that buffers do not grow with m.
        panels = (rows_of_A + hint.row_tile - 1) // hint.row_tile
        with T.serial(panels) as panel:
            first_row = panel * hint.row_tile
            left = tirx.min(hint.row_tile, rows_of_A - first_row)
            row_blocks = (left + hint.rows - 1) // hint.rows
            # One block of rows is not worth waking the threads for.
            is_one_block = config.has_fixed_rows(g.rung) and g.rung <= hint.rows
            over_row_blocks = T.serial if is_one_block else T.parallel
            with over_row_blocks(row_blocks) as ib:
                self._bring_A(first_row, ib)
            with T.parallel(col_tiles) as tile:
                self._tile(first_row, row_blocks, tile)

    def _bring_A(self, first_row: Expr, ib: Expr) -> None:
        """Bring a block of rows of A into the order of decoded weights; rows beyond m repeat the last one."""
        g, hint, product = self.g, self.hint, self.product
        A, rows_of_A = self.operands.A, self.operands.rows
        with T.serial(hint.rows) as r:
            row = tirx.min(first_row + ib * hint.rows + r, rows_of_A - 1)
            with T.serial(g.blocks) as b:
                for j in range(g.steps):
                    with T.vectorized(g.unit_lanes) as p:
                        a = A[row, b * g.block_k + p * g.steps + j]
                        if product is FLOAT32:
                            a = self.config.A_format.value(a, "float32")
                        elif product is BFLOAT16:
                            bits = tirx.reinterpret("uint32", a.astype("float32"))
                            a = tirx.shift_right(bits, tirx.const(16, "uint32")).astype("uint16").astype("int16")
                        T.buffer_store(self.A_units, a, [ib, b, j, r, p])
            if self.needs_sum_of_A:
                ones = tirx.Broadcast(tirx.const(0x01010101, "int32"), hint.lanes)
                with T.serial(self.runs) as s:
                    _set_vector(self.A_sum, self._zeros("int32"), ib, s, r, 0, lanes=hint.lanes)
                    with T.serial(tirx.min(self.run, g.blocks - s * self.run)) as v:
                        for j in range(g.steps):
                            total = _vector(self.A_sum, ib, s, r, 0, lanes=hint.lanes)
                            a = self._a_words(ib, s * self.run + v, j, r)
                            total = self._dot_bytes(total, ones, a)
                            _set_vector(self.A_sum, total, ib, s, r, 0, lanes=hint.lanes)

    def _tile(self, first_row: Expr, row_blocks: Expr, tile: Expr) -> None:
        """Compute the columns of a tile for a panel of rows."""
        g, hint = self.g, self.hint
        first_col = tile * hint.col_tile
        col_blocks = hint.col_tile // hint.cols
        self._load_scales(first_col)
        self._make_table()
        has_chunks = g.chunks > 1
        B_decode: Any = None
        if hint.buffered:
            decoded = (col_blocks, hint.chunk, g.steps, hint.cols, g.unit_lanes)
            B_decode = _buffer("B_decode", decoded, self.product.unit_dtype)
        shape = (hint.row_tile // hint.rows, col_blocks, hint.rows, hint.cols, hint.lanes)
        C = _buffer("C", shape, self.total_dtype) if has_chunks else None
        if not has_chunks:
            if hint.buffered:
                self._decode_tile(B_decode, first_col, 0, g.blocks)
            with T.serial(col_blocks) as jb, T.serial(row_blocks) as ib:
                self._block(first_row, first_col, ib, jb, 0, g.blocks, B_decode, None, None)
            return
        with T.serial(g.chunks) as c:
            count = hint.chunk if g.blocks % hint.chunk == 0 else tirx.min(hint.chunk, g.blocks - c * hint.chunk)
            first_block = c * hint.chunk
            if hint.buffered:
                self._decode_tile(B_decode, first_col, first_block, count)
            with T.serial(col_blocks) as jb, T.serial(row_blocks) as ib:
                self._block(first_row, first_col, ib, jb, first_block, count, B_decode, C, c)

    # Weights.

    def _column(self, n: Expr) -> Expr:
        """Columns beyond N repeat the last one and are not stored."""
        N = self.config.N
        return n if N % self.hint.col_tile == 0 else tirx.min(n, N - 1)

    def _load_scales(self, first_col: Expr) -> None:
        """Convert the tile's scales and zero points once."""
        config, dtype = self.config, self.total_dtype
        shape = (self.hint.col_tile, config.num_groups)
        self.Scale = _buffer("Scale_tile", shape, dtype) if config.with_scaling else None
        self.Zeros = _buffer("Zeros_tile", shape, dtype) if config.with_zeros else None
        if self.Scale is None and self.Zeros is None:
            return
        with T.serial(self.hint.col_tile) as u, T.serial(config.num_groups) as s:
            n = self._column(first_col + u)
            if self.Scale is not None:
                T.buffer_store(self.Scale, scale_value(config, self.operands.Scale, n, s, dtype), [u, s])
            if self.Zeros is not None:
                T.buffer_store(self.Zeros, zero_point(config, self.operands.Zeros, n, s).astype(dtype), [u, s])

    def _scaled(self, w: Expr, u: Expr, s: Expr) -> Expr:
        """Apply scale and zero point of group `s` of column `u` of the tile."""
        scale, zero = (None if of is None else of[u, s] for of in (self.Scale, self.Zeros))
        return apply_scale_and_zero(w, scale, zero, self.config.zeros_mode)

    def _of_lane(self, values: Any, u: Expr, b: Expr, l: Expr, lanes: int) -> Expr:
        """Return values[u, group of lane `l` of block `b`], where a block may lie in several groups; None for None.

        A loop over `l` that becomes vector code gets neighbours from a register for each group.
        """
        g, group = self.g, self.config.group
        if values is None or g.group_blocks:
            return None if values is None else values[u, self._group(b)]
        if g.block_k % group:
            return values[u, (b * g.block_k + l * (g.block_k // lanes)) // group]
        groups = g.block_k // group
        value = values[u, b * groups]
        for s in range(1, groups):
            value = tirx.Select(l < s * (lanes // groups), value, values[u, b * groups + s])
        return value

    def _make_table(self) -> None:
        """Write down the value of each code as often as a register holds it."""
        if not self.g.looks_up:
            return
        self.entries = {FLOAT32: max(16 if self.fmt.bits > 2 else 8, self.hint.lanes)}.get(
            self.product, 2 * self.hint.lanes
        )
        self.values = _buffer("values", (self.entries,), "float32")
        mask = (1 << self.fmt.bits) - 1
        for code in range(self.entries):
            T.buffer_store(self.values, self.fmt.value(tirx.const(code & mask, "uint8"), "float32"), [code])

    def _scaled_table(self, u: Expr, s: Expr) -> Any:
        """Return a register of decoded weights by code, for one group of one column."""
        size = self.entries
        singles = _buffer("decoded_values", (size,), "float32")
        with T.vectorized(size) as l:
            T.buffer_store(singles, self._scaled(self.values[l], u, s), [l])
        if self.product is FLOAT32:
            return singles
        halves = _buffer("decoded_halves", (size,), "int16")
        rounded = instructions.to_bfloat16(_vector(singles, 0, lanes=size), self.hint.lanes)
        _set_vector(halves, rounded, 0, lanes=size)
        return halves

    def _words(self, n: Expr, b: Expr) -> Any:
        """Return the words of a block in registers."""
        lanes = self.hint.lanes
        words = _buffer("words", (lanes,), "int32")
        stored = _vector(self.operands.B, n, b * (4 * lanes), lanes=4 * lanes)
        _set_vector(words, tirx.reinterpret(f"int32x{lanes}", stored), 0, lanes=lanes)
        return words

    def _prefetch(self, n: Expr, b: Expr) -> None:
        """Ask for the words of a block; rows beyond N repeat the last one."""
        if self.hint.prefetch:
            row = tirx.min(n, self.config.N - 1)
            T.evaluate(instructions.prefetch(tirx.address_of(self.operands.B[row, b * (4 * self.hint.lanes)])))

    def _group(self, b: Expr) -> Expr:
        """Return the group of a block where blocks lie in one group each."""
        return 0 if self.config.num_groups == 1 else b // self.g.group_blocks

    def _weight(self, words: Any, table: Any, u: Expr, b: Expr, j: int) -> Expr:
        """Return the factors of step `j` of a block as one vector."""
        if self.product is INT8:
            return self._codes(words, j)
        lanes = self.hint.lanes
        code_shift = self.fmt.bits * j
        word = _vector(words, 0, lanes=lanes)
        if table is not None and self.product is BFLOAT16:
            index = tirx.reinterpret(f"int16x{2 * lanes}", word)
            index = tirx.shift_right(index, tirx.Broadcast(tirx.const(code_shift, "int16"), 2 * lanes))
            return instructions.permute_16(_vector(table, 0, lanes=2 * lanes), index, lanes)
        if table is not None and self.entries == lanes:
            index = tirx.shift_right(word, tirx.Broadcast(tirx.const(code_shift, "int32"), lanes))
            return instructions.permute_32(_vector(table, 0, lanes=lanes), index, lanes)
        # Value by value, in loops that become vector code.
        if self.product is FLOAT32:
            return self._singles(words, table, u, b, j)
        even, odd = (self._singles(words, table, u, b, j + half * self.g.steps) for half in range(2))
        return instructions.to_bfloat16_pairs(even, odd, lanes)

    def _singles(self, words: Any, table: Any, u: Expr, b: Expr, j: int) -> Expr:
        """Return code `j` of each word of a block as a vector of float32, scaled."""
        lanes = self.hint.lanes
        singles = _buffer("decoded", (lanes,), "float32")
        with T.vectorized(lanes) as l:
            w = self._value(tirx.shift_right(words[l], tirx.const(self.fmt.bits * j, "int32")), table, l)
            if table is None:
                scale, zero = (self._of_lane(of, u, b, l, lanes) for of in (self.Scale, self.Zeros))
                w = apply_scale_and_zero(w, scale, zero, self.config.zeros_mode)
            T.buffer_store(singles, w, [l])
        return _vector(singles, 0, lanes=lanes)

    def _value(self, code: Expr, table: Any, l: Expr) -> Expr:
        """Return the value of a code that stands in the low bits of an int32, for lane `l` of a vector."""
        fmt = self.fmt
        source = self.values if table is None else table
        if self.g.looks_up:
            if self.hint.lanes == 16:
                return tirx.call_llvm_pure_intrin("float32", "llvm.x86.avx512.permvar.sf.512", source[l], code)
            low = tirx.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", source[l], code)
            if fmt.bits <= 2:
                return low
            high = tirx.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", source[l + 8], code)
            is_low = tirx.bitwise_and(code, tirx.const(8, "int32")) == 0
            return tirx.Select(is_low, low, high)
        code = tirx.bitwise_and(code, tirx.const((1 << fmt.bits) - 1, "int32"))
        if fmt.bits < 8:
            return fmt.value(code.astype("uint8") if fmt.levels else code, "float32")
        if fmt.is_integer and fmt.is_unsigned:
            return code.astype("float32")
        if fmt.is_integer:
            shifted = tirx.shift_left(code, tirx.const(24, "int32"))
            return tirx.shift_right(shifted, tirx.const(24, "int32")).astype("float32")
        return fmt.value(tirx.reinterpret(fmt.tvm_dtype, code.astype("uint8")), "float32")

    def _codes(self, words: Any, j: int) -> Expr:
        """Return the codes of step `j` of a block as unsigned bytes, in int32 lanes."""
        lanes, bits = self.hint.lanes, self.fmt.bits
        word = _vector(words, 0, lanes=lanes)

        def every(value: int) -> Expr:
            value = value - (1 << 32) if value >= 1 << 31 else value
            return tirx.Broadcast(tirx.const(value, "int32"), lanes)

        if bits == 8:
            return word if self.fmt.is_unsigned else tirx.bitwise_xor(word, every(0x80808080))
        shifted = tirx.shift_right(word, every(bits * j)) if j else word
        return tirx.bitwise_and(shifted, every(0x01010101 * ((1 << bits) - 1)))

    def _decode_tile(self, B_decode: Any, first_col: Expr, first_block: Expr, count: Expr) -> None:
        """Decode a chunk of the tile's weights into the buffer, in the order of memory."""
        g, hint = self.g, self.hint
        has_groups = self.config.num_groups > 1
        run = g.group_blocks if self.needs_table and has_groups else 1
        with T.serial(hint.col_tile) as u:
            n = self._column(first_col + u)
            hoisted = self._scaled_table(u, 0) if self.needs_table and not has_groups else None
            with T.serial(tirx.floordiv(count, run) if run > 1 else count) as s:
                table = hoisted
                if self.needs_table and has_groups:
                    table = self._scaled_table(u, self._group(first_block + s * run))
                with T.serial(run) as v:
                    b = s * run + v
                    words = self._words(n, first_block + b)
                    self._prefetch(first_col + u + hint.col_tile, first_block + b)
                    for j in range(g.steps):
                        w = self._weight(words, table, u, first_block + b, j)
                        self._store_units(B_decode, w, [u // hint.cols, b, j, u % hint.cols])

    def _store_units(self, B_decode: Any, w: Expr, at: list[Expr]) -> None:
        if self.product is INT8:
            w = tirx.reinterpret(f"int8x{self.g.unit_lanes}", w)
        _set_vector(B_decode, w, *at, 0, lanes=self.g.unit_lanes)

    # Products.

    def _zeros(self, dtype: str) -> Expr:
        return tirx.Broadcast(tirx.const(0, dtype), self.hint.lanes)

    def _a_words(self, ib: Expr, b: Expr, j: int, r: Expr) -> Expr:
        """Return a vector of factors of A: float32, or int32 lanes."""
        a = _vector(self.A_units, ib, b, j, r, 0, lanes=self.g.unit_lanes)
        return a if self.product is FLOAT32 else tirx.reinterpret(f"int32x{self.hint.lanes}", a)

    def _dot_bytes(self, total: Expr, w: Expr, a: Expr) -> Expr:
        instruction = byte_instruction(self.g.problem.target, self.hint.lanes)
        return instructions.dot_bytes(total, w, a, self.hint.lanes, instruction)

    def _dot(self, total: Expr, a: Expr, w: Expr) -> Expr:
        """Return a vector of sums with one step's products added."""
        if self.product is FLOAT32:
            return total + a * w
        if self.product is BFLOAT16:
            return instructions.dot_bfloat16(total, a, w, self.hint.lanes)
        return self._dot_bytes(total, w, a)

    def _block(
        self, first_row: Expr, first_col: Expr, ib: Expr, jb: Expr, first_block: Expr, count: Expr,
        B_decode: Any, C: Any, c: Expr,
    ) -> None:  # fmt: skip
        """Add up a chunk's products of a block of rows and columns, and store their sums."""
        g, hint = self.g, self.hint
        lanes, rows, cols = hint.lanes, range(hint.rows), range(hint.cols)
        # An array a row: TVM keeps arrays of more than 1 KiB on its heap, and LLVM none of those in registers.
        totals = [_buffer("total", (hint.cols, lanes), self.total_dtype) for _ in rows]
        sums = totals
        for r in rows:
            for q in cols:
                _set_vector(totals[r], self._zeros(self.total_dtype), q, 0, lanes=lanes)
        if self.scales_sums:
            sums = [_buffer("dot", (hint.cols, lanes), "int32") for _ in rows]
        decodes = not hint.buffered
        needs_table = decodes and self.needs_table
        # Blocks that share what is scaled: integer sums, or the values of codes.
        runs, run = 1, count
        if self.config.num_groups > 1 and (self.scales_sums or needs_table):
            run = g.group_blocks or 1
            runs = tirx.floordiv(count, run)
        first_u = jb * hint.cols
        with T.serial(runs) as s:
            run_start = s * run
            if self.scales_sums:
                for r in rows:
                    for q in cols:
                        _set_vector(sums[r], self._zeros("int32"), q, 0, lanes=lanes)
            tables = [None for _ in cols]
            if needs_table:
                group = self._group(first_block + run_start)
                tables = [self._scaled_table(first_u + q, group) for q in cols]
            with T.serial(run) as v:
                b = run_start + v
                if decodes:
                    words = [self._words(self._column(first_col + first_u + q), first_block + b) for q in cols]
                    for q in cols:
                        self._prefetch(first_col + first_u + q + hint.cols, first_block + b)
                for j in range(g.steps):
                    ws = []
                    for q in cols:
                        if decodes:
                            w = self._weight(words[q], tables[q], first_u + q, first_block + b, j)
                        else:
                            w = _vector(B_decode, jb, b, j, q, 0, lanes=g.unit_lanes)
                            w = w if self.product is FLOAT32 else tirx.reinterpret(f"int32x{lanes}", w)
                        ws.append(self._held(w))
                    for r in rows:
                        a = self._a_words(ib, first_block + b, j, r)
                        for q in cols:
                            total = _vector(sums[r], q, 0, lanes=lanes)
                            _set_vector(sums[r], self._dot(total, a, ws[q]), q, 0, lanes=lanes)
            if self.scales_sums:
                self._scale_sums(sums, totals, ib, first_u, first_block + run_start, count)
        self._finish(first_row, first_col, ib, jb, totals, C, c)

    def _held(self, w: Expr) -> Expr:
        """Return a vector that is computed once, of float32 or int32 lanes."""
        lanes = self.hint.lanes
        dtype = "float32" if self.product is FLOAT32 else "int32"
        held = _buffer("B_decode", (lanes,), dtype)
        if str(w.dtype if hasattr(w, "dtype") else w.ty.dtype) != f"{dtype}x{lanes}":
            w = tirx.reinterpret(f"{dtype}x{lanes}", w)
        _set_vector(held, w, 0, lanes=lanes)
        return _vector(held, 0, lanes=lanes)

    def _scale_sums(self, sums: Any, totals: Any, ib: Expr, first_u: Expr, first_block: Expr, count: Expr) -> None:
        """Add integer sums to the totals, scaled and shifted: decode is linear in w."""
        hint, config, dtype = self.hint, self.config, self.total_dtype
        for r in range(hint.rows):
            for q in range(hint.cols):
                with T.vectorized(hint.lanes) as l:
                    total = sums[r][q, l]
                    if self.fmt.step != 1:
                        total = total * tirx.const(self.fmt.step, "int32")
                    sum_of_A: Any = self.A_sum[ib, first_block // self.run, r, l] if self.needs_sum_of_A else None
                    if self.offset:
                        total = total + sum_of_A * tirx.const(self.offset, "int32")
                    total = total.astype(dtype)
                    u = first_u + q
                    scale, zero = (self._of_lane(of, u, first_block, l, hint.lanes) for of in (self.Scale, self.Zeros))
                    zero = None if zero is None else zero * sum_of_A.astype(dtype)
                    total = apply_scale_and_zero(total, scale, zero, config.zeros_mode)
                    T.buffer_store(totals[r], totals[r][q, l] + total, [q, l])

    def _finish(self, first_row: Expr, first_col: Expr, ib: Expr, jb: Expr, totals: Any, C: Any, c: Expr) -> None:
        """Store D, or add the sums to those of the chunks before."""
        g, hint, config, lanes = self.g, self.hint, self.config, self.hint.lanes
        reduced = _buffer("C_sum", (hint.rows, hint.cols), self.total_dtype)

        def store_D() -> None:
            for r in range(hint.rows):
                for q in range(hint.cols):
                    value = instructions.sum_of_lanes(_vector(totals[r], q, 0, lanes=lanes), self.total_dtype, lanes)
                    T.buffer_store(reduced, value, [r, q])
            of_W = config.rows_per_column
            with T.serial(hint.rows) as r, T.serial(hint.cols // of_W) as q:
                i, n = first_row + ib * hint.rows + r, first_col + jb * hint.cols + of_W * q
                inside = i < self.operands.rows
                if config.N % hint.col_tile:
                    inside = tirx.all(inside, n < config.N)
                with T.If(inside), T.Then():
                    sums = [reduced[r, of_W * q + k] for k in range(of_W)]
                    value = self.operands.output(i, n, sums, is_for_cpu=True)
                    T.buffer_store(self.operands.D, value, [i, n // of_W])

        if C is None:
            store_D()
            return

        def add(is_first: bool, keeps: bool) -> None:
            for r in range(hint.rows):
                for q in range(hint.cols):
                    total = _vector(totals[r], q, 0, lanes=lanes)
                    if not is_first:
                        total = total + _vector(C, ib, jb, r, q, 0, lanes=lanes)
                    if keeps:
                        _set_vector(C, total, ib, jb, r, q, 0, lanes=lanes)
                    else:
                        _set_vector(totals[r], total, q, 0, lanes=lanes)

        when(c == 0, lambda: add(is_first=True, keeps=True))
        when(tirx.all(c > 0, c < g.chunks - 1), lambda: add(is_first=False, keeps=True))

        def last() -> None:
            add(is_first=False, keeps=False)
            store_D()

        when(c == g.chunks - 1, last)
