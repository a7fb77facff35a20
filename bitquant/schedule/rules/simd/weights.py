# SPDX-License-Identifier: Apache-2.0
"""Weights of a SIMD kernel: words of codes become vectors of factors, in registers or in a tile's buffer."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder

from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import scale_value, zero_point
from bitquant.schedule.rules.cpu import lane_codes
from bitquant.schedule.rules.operands import Operands
from bitquant.schedule.rules.simd import instructions
from bitquant.schedule.rules.simd.geometry import SimdGeometry
from bitquant.schedule.rules.simd.products import BFLOAT16, FLOAT32, INT8

__all__ = ["WeightEmitter", "allocate", "set_vector", "vector"]

Expr = Any


def _ramp(first: Expr, lanes: int) -> Expr:
    return tirx.Ramp(first, 1, lanes)


def vector(buffer: Any, *indices: Expr, lanes: int) -> Expr:
    """Return `lanes` neighbours of a buffer, from the given indices on."""
    at = (*indices[:-1], _ramp(indices[-1], lanes))
    return buffer[at]


def set_vector(buffer: Any, value: Expr, *indices: Expr, lanes: int) -> None:
    """Store `lanes` neighbours of a buffer, from the given indices on."""
    T.buffer_store(buffer, value, [*indices[:-1], _ramp(indices[-1], lanes)])


def allocate(name: str, shape: tuple[int, ...], dtype: str) -> Any:
    """Allocate a buffer with a name; a small one of constant indices stays in registers."""
    return IRBuilder.name(name, T.alloc_buffer(shape, dtype))


class WeightEmitter:
    """Writes the statements that decode weights; each method writes one part of them."""

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

    def _column(self, n: Expr) -> Expr:
        """Columns beyond N repeat the last one and are not stored."""
        N = self.config.N
        return n if N % self.hint.col_tile == 0 else tirx.min(n, N - 1)

    def _load_scales(self, first_col: Expr) -> None:
        """Convert the tile's scales and zero points once."""
        config, dtype = self.config, self.total_dtype
        shape = (self.hint.col_tile, config.num_groups)
        self.Scale = allocate("Scale_tile", shape, dtype) if config.with_scaling else None
        self.Zeros = allocate("Zeros_tile", shape, dtype) if config.with_zeros else None
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
        self.values = allocate("values", (self.entries,), "float32")
        mask = (1 << self.fmt.bits) - 1
        for code in range(self.entries):
            T.buffer_store(self.values, self.fmt.value(tirx.const(code & mask, "uint8"), "float32"), [code])

    def _scaled_table(self, u: Expr, s: Expr) -> Any:
        """Return a register of decoded weights by code, for one group of one column."""
        size = self.entries
        singles = allocate("decoded_values", (size,), "float32")
        with T.vectorized(size) as l:
            T.buffer_store(singles, self._scaled(self.values[l], u, s), [l])
        if self.product is FLOAT32:
            return singles
        halves = allocate("decoded_halves", (size,), "int16")
        rounded = instructions.to_bfloat16(vector(singles, 0, lanes=size), self.hint.lanes)
        set_vector(halves, rounded, 0, lanes=size)
        return halves

    def _words(self, n: Expr, b: Expr) -> Any:
        """Return the words of a block in registers."""
        lanes = self.hint.lanes
        words = allocate("words", (lanes,), "int32")
        stored = vector(self.operands.B, n, b * (4 * lanes), lanes=4 * lanes)
        set_vector(words, tirx.reinterpret(f"int32x{lanes}", stored), 0, lanes=lanes)
        return words

    def _prefetch(self, n: Expr, b: Expr) -> None:
        """Ask for the words of a block; rows beyond N repeat the last one."""
        if self.hint.prefetch:
            row = tirx.min(n, self.config.N - 1)
            first_byte = b * (self.g.block_k * self.fmt.bits // 8)
            T.evaluate(instructions.prefetch(tirx.address_of(self.operands.B[row, first_byte])))

    def _group(self, b: Expr) -> Expr:
        """Return the group of a block where blocks lie in one group each."""
        return 0 if self.config.num_groups == 1 else b // self.g.group_blocks

    def _weight(self, words: Any, table: Any, u: Expr, b: Expr, j: int) -> Expr:
        """Return the factors of step `j` of a block as one vector."""
        if self.product is INT8:
            return self._codes(words, j)
        lanes = self.hint.lanes
        code_shift = self.fmt.bits * j
        word = vector(words, 0, lanes=lanes)
        if table is not None and self.product is BFLOAT16:
            index = tirx.reinterpret(f"int16x{2 * lanes}", word)
            index = tirx.shift_right(index, tirx.Broadcast(tirx.const(code_shift, "int16"), 2 * lanes))
            return instructions.permute_16(vector(table, 0, lanes=2 * lanes), index, lanes)
        if table is not None and self.entries == lanes:
            index = tirx.shift_right(word, tirx.Broadcast(tirx.const(code_shift, "int32"), lanes))
            return instructions.permute_32(vector(table, 0, lanes=lanes), index, lanes)
        # Value by value, in loops that become vector code.
        if self.product is FLOAT32:
            return self._singles(words, table, u, b, j)
        even, odd = (self._singles(words, table, u, b, j + half * self.g.steps) for half in range(2))
        return instructions.to_bfloat16_pairs(even, odd, lanes)

    def _singles(self, words: Any, table: Any, u: Expr, b: Expr, j: int) -> Expr:
        """Return code `j` of each word of a block as a vector of float32, scaled."""
        lanes = self.hint.lanes
        singles = allocate("decoded", (lanes,), "float32")
        with T.vectorized(lanes) as l:
            w = self._value(tirx.shift_right(words[l], tirx.const(self.fmt.bits * j, "int32")), table, l)
            if table is None:
                scale, zero = (self._of_lane(of, u, b, l, lanes) for of in (self.Scale, self.Zeros))
                w = apply_scale_and_zero(w, scale, zero, self.config.zeros_mode)
            T.buffer_store(singles, w, [l])
        return vector(singles, 0, lanes=lanes)

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
        word = vector(words, 0, lanes=lanes)

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
                    self._prefetch(first_col + u + hint.col_tile, first_block + b)
                    if not g.is_of_words:
                        self._decode_units(B_decode, n, u, first_block + b, [u // hint.cols, b, 0, u % hint.cols])
                    else:
                        words = self._words(n, first_block + b)
                        for j in range(g.steps):
                            w = self._weight(words, table, u, first_block + b, j)
                            self._store_units(B_decode, w, [u // hint.cols, b, j, u % hint.cols])

    def _decode_units(self, B_decode: Any, n: Expr, u: Expr, b: Expr, at: list[Expr]) -> None:
        """Decode a block of units: codes of any width, `lanes` of them at a time, in loops that become vector code."""
        fmt, lanes, units = self.fmt, self.hint.lanes, self.g.unit_lanes
        row_bytes, parts = self.config.W_shape[1], units // lanes
        singles = None if self.product is INT8 else allocate("decoded", (units,), "float32")
        for part in range(parts):
            with T.vectorized(lanes) as l:
                code = lane_codes(
                    lambda byte: self.operands.B[n, byte], row_bytes, b * parts + part, l, lanes, fmt.bits
                )
                if singles is None:
                    T.buffer_store(B_decode, code.astype("int8"), [*at, part * lanes + l])
                    continue
                w = fmt.value(code.astype("uint8") if fmt.levels else code, "float32")
                scale, zero = (self._of_lane(of, u, b, part * lanes + l, units) for of in (self.Scale, self.Zeros))
                T.buffer_store(
                    singles, apply_scale_and_zero(w, scale, zero, self.config.zeros_mode), [part * lanes + l]
                )
        if singles is not None:
            w = vector(singles, 0, lanes=units)
            w = instructions.to_bfloat16(w, lanes) if self.product is BFLOAT16 else w
            set_vector(B_decode, w, *at, 0, lanes=units)

    def _store_units(self, B_decode: Any, w: Expr, at: list[Expr]) -> None:
        if self.product is INT8:
            w = tirx.reinterpret(f"int8x{self.g.unit_lanes}", w)
        set_vector(B_decode, w, *at, 0, lanes=self.g.unit_lanes)
