# SPDX-License-Identifier: Apache-2.0
"""Decoding: stored words in the rings become operands of the tensor cores, and weights are scaled on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import scale_value, zero_point
from bitquant.formats import NumberFormat
from bitquant.formats.words import MINUS_ZERO_PAIR, place
from bitquant.intrin.mma import CHUNK_BYTES, UNIT, Tile, fma_pair, load_words, rounded_pair, store_local
from bitquant.schedule.rules.mma.emit.context import Context

__all__ = ["Decoding"]

Expr = Any


def _byte_perm(word: Expr, selector: int) -> Expr:
    """Return PRMT of (word, 0)."""
    return T.call_pure_extern("uint32", "__byte_perm", word, T.uint32(0), T.uint32(selector))


@dataclass(frozen=True)
class _Operand:
    """An operand that is decoded: its format, its ring of stored words, where it goes, and whether it is scaled."""

    fmt: NumberFormat
    ring: Tile
    target: Tile
    is_scaled: bool


class Decoding:
    """The decoding of A, of W, or of both. A *unit* is 32 neighbours of a row, of which a thread decodes several.

    Parameters
    ----------
    context
        Of the kernel. The registers of scales and zero points, and the table of a codebook, are made at once.
    """

    def __init__(self, context: Context) -> None:
        self._context, self._g, self._config, self._hint = context, context.g, context.config, context.hint
        g = context.g
        if g.scales_weights:
            # In float32: scale, zero point. In pairs: scale, what is added before it, what is added after it.
            count = g.units * (UNIT // g.run)
            kinds = 3 if g.scales_packed else 2
            dtype = "uint32" if g.scales_packed else "float32"
            self._factors = [T.alloc_local((count,), dtype) for _ in range(kinds)]
        if g.has_table:
            for i, value in enumerate(context.config.W_format.codebook or ()):
                with T.If(context.thread == i), T.Then():
                    target = context.arena.ptr_to([g.table_offset + 4 * i])
                    T.evaluate(T.ptx["st.shared.f32"](target, T.float32(value)))

    def _unit(self, c: int, rows: int) -> tuple[Expr, Expr]:
        """Return (row, index in the row) of the c-th unit of this thread: neighbours take neighbouring rows."""
        index = self._context.thread + c * self._g.threads
        return index % rows, index // rows

    def _spread(self, low: Expr, high: Expr | None = None) -> Expr:
        """Return two float32 numbers (or one twice) as a pair of the operand's type."""
        if high is None:
            return tirx.reinterpret("uint16", low.astype(self._g.operand)).astype("uint32") * T.uint32(0x10001)
        return rounded_pair(low, high, self._g.operand)

    def load_scales(self, tile: Expr) -> None:
        """Emit the loads of the scales and zero points with which this thread will decode tile `tile`."""
        if not self._g.scales_weights:
            return
        c, runs = self._config, UNIT // self._g.run
        for unit in range(self._g.units):
            row, column = self._unit(unit, self._g.w_rows)
            n = self._context.column(row)
            if self._g.units * self._g.threads > self._g.w_rows * self._g.w_columns // UNIT:
                n = T.min(n, c.N - 1)  # Threads without a unit would read beyond the tile.
            for j in range(runs):
                k = tile * self._hint.block_k + column * UNIT + j * self._g.run
                g = T.min(k // c.group, c.num_groups - 1) if c.num_groups > 1 else 0
                scale = scale_value(c, self._context.operands.Scale, n, g, "float32") if c.with_scaling else None
                zero = zero_point(c, self._context.operands.Zeros, n, g).astype("float32") if c.with_zeros else None
                self._store_factors(unit * runs + j, scale, zero)

    def _store_factors(self, index: int, scale: Expr | None, zero: Expr | None) -> None:
        """Emit what decoding needs of a scale and a zero point in float32, into registers `index`."""
        c = self._config
        if not self._g.scales_packed:
            for register, value in zip(self._factors, (scale, zero), strict=True):
                if value is not None:
                    store_local(register, index, value)
            return
        if scale is not None:
            store_local(self._factors[0], index, self._spread(scale))
        if zero is None or c.zeros_mode == "rescale":
            if zero is not None:
                store_local(
                    self._factors[2], index, self._spread(apply_scale_and_zero(T.float32(0), None, zero, "rescale"))
                )
            return
        near = T.alloc_local((2,), "float32")
        store_local(near, 1, zero)
        # Within these bounds the pair's offset and its difference with the code stay integers that the type holds.
        bound = 512.0 if self._g.operand == "float16" else 64.0
        nearest = near[1] if c.has_packed_zeros else tirx.nearbyint(near[1])
        store_local(
            near, 0, nearest if c.has_packed_zeros else T.max(T.min(nearest, T.float32(bound)), T.float32(-bound))
        )
        low, high = c.W_format.pair_offsets(self._g.operand)
        store_local(self._factors[1], index, self._spread(T.float32(low) - near[0], T.float32(high) - near[0]))
        if not c.has_packed_zeros:
            rest = apply_scale_and_zero(near[0], scale, near[1], c.zeros_mode)
            store_local(self._factors[2], index, self._spread(T.Select(near[0] == near[1], T.float32(0), rest)))

    # Decoding.

    def decode(self, tile: Expr) -> None:
        """Emit the decoding of tile `tile` from the rings to the operand tiles, and the next tile's scale loads."""
        if not self._g.decodes:
            return
        if self._g.decodes_a:
            self._decode_tile(tile, _Operand(self._config.A_format, self._g.a_ring, self._g.a_tile, False))
        if self._g.decodes_w:
            is_scaled = self._g.scales_weights
            self._decode_tile(tile, _Operand(self._config.W_format, self._g.w_ring, self._g.w_tile, is_scaled))
            if self._config.num_groups > 1:
                self.load_scales(tile + 1)

    def _decode_tile(self, tile: Expr, operand: _Operand) -> None:
        rows = operand.ring.rows
        total = rows * (operand.target.row_bytes // self._g.operand_bytes) // UNIT
        for unit in range(ceil_div(total, self._g.threads)):
            row, column = self._unit(unit, rows)
            if total % self._g.threads:
                with T.If(unit * self._g.threads + self._context.thread < total), T.Then():
                    self._decode_unit(tile, operand, row, column, unit)
            else:
                self._decode_unit(tile, operand, row, column, unit)

    def _decode_unit(self, tile: Expr, operand: _Operand, row: Expr, column: Expr, unit: int) -> None:
        """Emit one unit: `fmt.bits` words in, 32 operands out, a chunk at a time."""
        fmt: Any = operand.fmt  # Integers alone have `unit_bytes`.
        scaled = unit if operand.is_scaled else None
        unit_bytes = UNIT * fmt.bits // 8
        source = operand.ring.offset(tile % self._hint.stages, row, column * unit_bytes)
        buffer = load_words(self._context.arena, source, fmt.bits, math.gcd(unit_bytes, CHUNK_BYTES))
        words = [buffer[i] for i in range(fmt.bits)]
        per_chunk = CHUNK_BYTES // self._g.operand_bytes
        left = self._config.K - tile * self._hint.block_k - column * UNIT
        for chunk in range(UNIT // per_chunk):
            out = T.alloc_local((4,), "uint32")
            for i in range(4):
                word = chunk * 4 + i
                if self._g.is_integer:
                    store_local(out, i, fmt.unit_bytes(words, word))
                else:
                    value = self._decoded_pair(words, word, fmt, scaled)
                    if scaled is not None and self._g.has_ragged_k:
                        # Behind K the scale may be anything, and zero times infinity is no zero.
                        one = T.Select(2 * word < left, value & T.uint32(0xFFFF), T.uint32(0))
                        value = T.Select(2 * word + 1 < left, value, one)
                    store_local(out, i, value)
            place_at = operand.target.chunk_offset(tile % 2, row, column * (UNIT // per_chunk) + chunk)
            address = self._context.arena.ptr_to([place_at])
            T.evaluate(T.ptx["st.shared.v4.u32"](address, *[out[i] for i in range(4)]))

    def _decoded_pair(self, words: Sequence[Expr], pair: int, fmt: NumberFormat, unit: int | None) -> Expr:
        """Return elements 2 * pair and 2 * pair + 1 of a unit in the operand's type, scaled where `unit` is given."""
        if fmt == self._config.W_format and self._g.has_table:
            values = [self._table_value(words, 2 * pair + i) for i in range(2)]
            return self._scaled_pair(values, pair, unit)
        dtype = self._g.pair_dtype if fmt == self._config.W_format else "float16"
        packed = fmt.unit_pair(words, pair, dtype, _byte_perm)
        add = packed.add
        is_packed = unit is not None and self._g.scales_packed
        index = 0 if unit is None else unit * (UNIT // self._g.run) + 2 * pair // self._g.run
        if is_packed and self._config.with_zeros and self._config.zeros_mode != "rescale":
            add = self._factors[1][index]
        bits = packed.x
        if packed.mul is not None:
            bits = fma_pair(bits, T.uint32(packed.mul), T.uint32(add) if isinstance(add, int) else add, dtype)
        if is_packed:
            has_rest = self._config.with_zeros and not self._config.has_packed_zeros
            rest = self._factors[2][index] if has_rest else T.uint32(MINUS_ZERO_PAIR)
            one = T.uint32(0x3C003C00 if self._g.operand == "float16" else 0x3F803F80)
            return fma_pair(bits, self._factors[0][index] if self._config.with_scaling else one, rest, dtype)
        if unit is None and dtype == self._g.operand:
            return bits
        if dtype == "bfloat16":
            halves = [bits << 16, bits & T.uint32(0xFFFF0000)]
            values = [tirx.reinterpret("float32", x) for x in halves]
        else:
            halves = [bits & T.uint32(0xFFFF), bits >> 16]
            values = [tirx.reinterpret("float16", x.astype("uint16")).astype("float32") for x in halves]
        return self._scaled_pair(values, pair, unit)

    def _table_value(self, words: Sequence[Expr], element: int) -> Expr:
        """Return codebook[code]: 16 words in 16 banks, so that no two lanes collide."""
        value = T.alloc_local((1,), "float32")
        offset = (place(words, element, 4, 2) & T.uint32(0x3C)).astype("int32")
        T.evaluate(T.ptx["ld.shared.f32"](value[0], self._context.arena.ptr_to([self._g.table_offset + offset])))
        return value[0]

    def _scaled_pair(self, values: Sequence[Expr], pair: int, unit: int | None) -> Expr:
        """Return two float32 numbers, scaled in float32, rounded once to the operand's type, in one register."""
        if unit is not None:
            scaled = []
            for i, value in enumerate(values):
                index = unit * (UNIT // self._g.run) + (2 * pair + i) // self._g.run
                scale = self._factors[0][index] if self._config.with_scaling else None
                zero = self._factors[1][index] if self._config.with_zeros else None
                scaled.append(apply_scale_and_zero(value, scale, zero, self._config.zeros_mode))
            values = scaled
        if self._g.gpu.has_mma_m16n8k16:
            result = T.alloc_local((1,), "uint32")
            name = "cvt.rn.f16x2.f32" if self._g.operand == "float16" else "cvt.rn.bf16x2.f32"
            T.evaluate(T.ptx[name](result[0], values[1], values[0]))
            return result[0]
        return rounded_pair(values[0], values[1], self._g.operand)
