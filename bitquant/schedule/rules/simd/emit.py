# SPDX-License-Identifier: Apache-2.0
"""The SIMD kernel, for every type of products.

Rows of A are first brought into the order in which decoded weights lie in registers, and into the type of the products.
Then threads take tiles of columns; a tile's weights are decoded into a buffer that fits a cache, or in registers.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.arithmetic import ceil_div
from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import tag
from bitquant.schedule import parsing
from bitquant.schedule.rules.operands import declare, when
from bitquant.schedule.rules.simd import instructions
from bitquant.schedule.rules.simd.geometry import SimdGeometry
from bitquant.schedule.rules.simd.products import BFLOAT16, FLOAT32, byte_instruction
from bitquant.schedule.rules.simd.weights import WeightEmitter, allocate, set_vector, vector

__all__ = ["emit"]

Expr = Any

#: Attribute whose text TVM links into the module (`instructions.functions`).
_LINKED = "pragma_import_llvm"


def emit(geometry: SimdGeometry) -> PrimFunc:
    """Return the kernel of a geometry without a fault."""
    problem = geometry.problem
    text = instructions.functions(geometry.hint.lanes, geometry.product is BFLOAT16)

    @parsing.prim_func(s_tir=True)
    def kernel():  # type: ignore[no-untyped-def]  # TVM parses it
        T.func_attr({"tirx.noalias": True})
        # Operands may be views that begin anywhere: LLVM must not take them for aligned.
        m = T.int32()
        operands = T.meta_var(declare(problem, m, align=1))
        with T.attr(T.int32(0), _LINKED, text):
            _Emitter(geometry, operands).emit()

    return tag(kernel, geometry.config, geometry.rung, problem.weight_layout)


class _Emitter(WeightEmitter):
    """Writes the statements of a kernel; each method writes one part of it."""

    # Outline.

    def emit(self) -> None:
        """Write the kernel."""
        g, hint, config = self.g, self.hint, self.config
        rows_of_A = self.operands.rows
        row_blocks_a_tile = hint.row_tile // hint.rows
        col_tiles = ceil_div(config.N, hint.col_tile)
        self.A_units = allocate(
            "A_units", (row_blocks_a_tile, g.blocks, g.steps, hint.rows, g.unit_lanes), self.product.unit_dtype
        )
        self.runs = ceil_div(g.blocks, self.run)
        self.A_sum = allocate(
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
                    set_vector(self.A_sum, self._zeros("int32"), ib, s, r, 0, lanes=hint.lanes)
                    with T.serial(tirx.min(self.run, g.blocks - s * self.run)) as v:
                        for j in range(g.steps):
                            total = vector(self.A_sum, ib, s, r, 0, lanes=hint.lanes)
                            a = self._a_words(ib, s * self.run + v, j, r)
                            total = self._dot_bytes(total, ones, a)
                            set_vector(self.A_sum, total, ib, s, r, 0, lanes=hint.lanes)

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
            B_decode = allocate("B_decode", decoded, self.product.unit_dtype)
        shape = (hint.row_tile // hint.rows, col_blocks, hint.rows, hint.cols, hint.lanes)
        C = allocate("C", shape, self.total_dtype) if has_chunks else None
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

    # Products.

    def _zeros(self, dtype: str) -> Expr:
        return tirx.Broadcast(tirx.const(0, dtype), self.hint.lanes)

    def _a_words(self, ib: Expr, b: Expr, j: int, r: Expr) -> Expr:
        """Return a vector of factors of A: float32, or int32 lanes."""
        a = vector(self.A_units, ib, b, j, r, 0, lanes=self.g.unit_lanes)
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
        totals = [allocate("total", (hint.cols, lanes), self.total_dtype) for _ in rows]
        sums = totals
        for r in rows:
            for q in cols:
                set_vector(totals[r], self._zeros(self.total_dtype), q, 0, lanes=lanes)
        if self.scales_sums:
            sums = [allocate("dot", (hint.cols, lanes), "int32") for _ in rows]
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
                        set_vector(sums[r], self._zeros("int32"), q, 0, lanes=lanes)
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
                            w = vector(B_decode, jb, b, j, q, 0, lanes=g.unit_lanes)
                            w = w if self.product is FLOAT32 else tirx.reinterpret(f"int32x{lanes}", w)
                        ws.append(self._held(w))
                    for r in rows:
                        a = self._a_words(ib, first_block + b, j, r)
                        for q in cols:
                            total = vector(sums[r], q, 0, lanes=lanes)
                            set_vector(sums[r], self._dot(total, a, ws[q]), q, 0, lanes=lanes)
            if self.scales_sums:
                self._scale_sums(sums, totals, ib, first_u, first_block + run_start, count)
        self._finish(first_row, first_col, ib, jb, totals, C, c)

    def _held(self, w: Expr) -> Expr:
        """Return a vector that is computed once, of float32 or int32 lanes."""
        lanes = self.hint.lanes
        dtype = "float32" if self.product is FLOAT32 else "int32"
        held = allocate("B_decode", (lanes,), dtype)
        if str(w.dtype if hasattr(w, "dtype") else w.ty.dtype) != f"{dtype}x{lanes}":
            w = tirx.reinterpret(f"{dtype}x{lanes}", w)
        set_vector(held, w, 0, lanes=lanes)
        return vector(held, 0, lanes=lanes)

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
        reduced = allocate("C_sum", (hint.rows, hint.cols), self.total_dtype)

        def store_D() -> None:
            for r in range(hint.rows):
                for q in range(hint.cols):
                    value = instructions.sum_of_lanes(vector(totals[r], q, 0, lanes=lanes), self.total_dtype, lanes)
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
                    total = vector(totals[r], q, 0, lanes=lanes)
                    if not is_first:
                        total = total + vector(C, ib, jb, r, q, 0, lanes=lanes)
                    if keeps:
                        set_vector(C, total, ib, jb, r, q, 0, lanes=lanes)
                    else:
                        set_vector(totals[r], total, q, 0, lanes=lanes)

        when(c == 0, lambda: add(is_first=True, keeps=True))
        when(tirx.all(c > 0, c < g.chunks - 1), lambda: add(is_first=False, keeps=True))

        def last() -> None:
            add(is_first=False, keeps=False)
            store_D()

        when(c == g.chunks - 1, last)
