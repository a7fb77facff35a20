# SPDX-License-Identifier: Apache-2.0
"""The body of the mma.sync kernel: what `mma.MmaRule` writes, piece by piece."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import scale_value, tag, zero_point
from bitquant.formats.words import MINUS_ZERO_PAIR, place
from bitquant.intrin.mma import (
    CHUNK_BYTES,
    UNIT,
    accumulator_row_col,
    copy_tile,
    fma_pair,
    fragment_row_chunk,
    load_fragments,
    load_words,
    rounded_pair,
    store_local,
    sum_value,
    transposed_fragment_row_chunk,
    zero_local,
)
from bitquant.schedule.rules.mma.geometry import MmaGeometry
from bitquant.schedule.rules.operands import Operands, declare, row_index

__all__ = ["Kernel"]

Expr = Any

#: Tiles of m that are visited before n advances, so that concurrent blocks share rows of A and of W in L2.
RASTER_ROWS = 8


def _byte_perm(word: Expr, selector: int) -> Expr:
    """Return PRMT of (word, 0)."""
    return T.call_pure_extern("uint32", "__byte_perm", word, T.uint32(0), T.uint32(selector))


class Kernel:
    """Writes the body of one kernel, piece by piece.

    Methods emit TIRx statements; `build` strings them together.
    """

    def __init__(self, geometry: MmaGeometry) -> None:
        self.g = geometry
        self.config, self.hint = geometry.config, geometry.hint

    # Emitters. `bind` gives them the buffers and indices of the function that is being written.

    def bind(self, operands: Operands, block: Expr, thread: Expr, arena: Any) -> None:
        """Take the function's operands, and compute the indices of this block and thread."""
        self.operands, self.m, self.thread, self.arena = operands, operands.rows, thread, arena
        h, N = self.hint, self.config.N
        n_blocks = -(-N // h.block_n)
        m_blocks = (self.m + (h.block_m - 1)) // h.block_m
        per_band = RASTER_ROWS * n_blocks
        band = block // per_band
        rows = T.min(m_blocks - band * RASTER_ROWS, RASTER_ROWS)
        origin = T.alloc_local((2,), "int32")
        store_local(origin, 0, (band * RASTER_ROWS + block % per_band % rows) * h.block_m)
        store_local(origin, 1, block % per_band // rows * h.block_n)
        self.m0, self.n0 = origin[0], origin[1]
        self.lane = thread % 32
        warp = thread // 32
        self.warp_m = warp % h.warps_m
        self.warp_n = warp // h.warps_m % h.warps_n
        self.warp_k = warp // (h.warps_m * h.warps_n)
        self.acc = T.alloc_local((self.g.m_tiles * self.g.n_tiles * 4,), self.g.sum_dtype)
        zero_local(self.acc)
        if self.g.scales_sums:
            self.total = T.alloc_local((self.g.m_tiles * self.g.n_tiles * 4,), self.config.reduce_dtype)
            zero_local(self.total)
            self.a_sum = T.alloc_local((self.g.m_tiles * 4,), self.g.sum_dtype)
            if self.config.with_zeros:
                zero_local(self.a_sum)
        else:
            self.total = self.acc
        if self.g.scales_weights:
            # In float32: scale, zero point. In pairs: scale, what is added before it, what is added after it.
            count = self.g.units * (UNIT // self.g.run)
            kinds = 3 if self.g.scales_packed else 2
            dtype = "uint32" if self.g.scales_packed else "float32"
            self.factors = [T.alloc_local((count,), dtype) for _ in range(kinds)]
        if self.g.has_table:
            for i, value in enumerate(self.config.W_format.codebook or ()):
                with T.If(thread == i), T.Then():
                    target = arena.ptr_to([self.g.table_offset + 4 * i])
                    T.evaluate(T.ptx["st.shared.f32"](target, T.float32(value)))

    def _column(self, column: Expr) -> Expr:
        """Return a column of D, the last one for those beyond it."""
        return T.min(self.n0 + column, self.config.N - 1) if self.g.has_ragged_n else self.n0 + column

    def load(self, tile: Expr) -> None:
        """Emit the copies of tile `tile` of A and of the stored W into their rings."""
        c, h = self.config, self.hint
        slot, k0 = tile % h.stages, tile * h.block_k
        a_bytes, w_bytes = c.A_format.bits // 8, max(1, c.W_format.bits // 8)
        whole_rows = c.has_fixed_rows(self.g.rung) and self.g.rung % h.block_m == 0
        copy_tile(
            self.arena, self.g.a_ring, slot,
            lambda row, byte: self.operands.A.ptr_to([row_index(c, self.g.rung, self.m0 + row), k0 + byte // a_bytes]),
            self.thread, self.g.threads, self.g.a_width,
            None if whole_rows else self.m - self.m0,
            (c.K - k0) * a_bytes if self.g.has_ragged_k else None,
            self.g.gpu.has_cp_async and self.g.a_width >= 4,
        )  # fmt: skip
        n_left = c.N - self.n0 if self.g.has_ragged_n else None
        k_left = c.K - k0 if self.g.has_ragged_k else None
        if self.g.is_transposed:
            row0, column0 = k0, self.n0
            rows_left, bytes_left = k_left, None if n_left is None else n_left * w_bytes
        else:
            row0, column0 = self.n0, tile * self.g.w_ring.row_bytes // w_bytes
            stored = c.W_shape[1] * w_bytes
            rows_left, bytes_left = n_left, None if k_left is None else stored - tile * self.g.w_ring.row_bytes
        copy_tile(
            self.arena, self.g.w_ring, slot,
            lambda row, byte: self.operands.B.ptr_to([row0 + row, column0 + byte // w_bytes]),
            self.thread, self.g.threads, self.g.w_width, rows_left, bytes_left,
            self.g.gpu.has_cp_async and self.g.w_width >= 4,
        )  # fmt: skip

    def commit(self) -> None:
        """Close the group of copies issued since the last commit."""
        if self.g.gpu.has_cp_async:
            T.evaluate(T.ptx["cp.async.commit_group"]())

    def wait(self, pending: int) -> None:
        """Wait until all but `pending` groups of this thread have arrived, then for the whole block."""
        if self.g.gpu.has_cp_async:
            T.evaluate(T.ptx["cp.async.wait_group"](pending))
        T.evaluate(T.cuda.cta_sync())

    # Scale and zero point of the weights.

    def _unit(self, c: int, rows: int) -> tuple[Expr, Expr]:
        """Return (row, index in the row) of the c-th unit of this thread: neighbours take neighbouring rows."""
        index = self.thread + c * self.g.threads
        return index % rows, index // rows

    def _spread(self, low: Expr, high: Expr | None = None) -> Expr:
        """Return two float32 numbers (or one twice) as a pair of the operand's type."""
        if high is None:
            return tirx.reinterpret("uint16", low.astype(self.g.operand)).astype("uint32") * T.uint32(0x10001)
        return rounded_pair(low, high, self.g.operand)

    def load_scales(self, tile: Expr) -> None:
        """Emit the loads of the scales and zero points with which this thread will decode tile `tile`."""
        if not self.g.scales_weights:
            return
        c, runs = self.config, UNIT // self.g.run
        for unit in range(self.g.units):
            row, column = self._unit(unit, self.g.w_rows)
            n = self._column(row)
            if self.g.units * self.g.threads > self.g.w_rows * self.g.w_columns // UNIT:
                n = T.min(n, c.N - 1)  # Threads without a unit would read beyond the tile.
            for j in range(runs):
                k = tile * self.hint.block_k + column * UNIT + j * self.g.run
                g = T.min(k // c.group, c.num_groups - 1) if c.num_groups > 1 else 0
                scale = scale_value(c, self.operands.Scale, n, g, "float32") if c.with_scaling else None
                zero = zero_point(c, self.operands.Zeros, n, g).astype("float32") if c.with_zeros else None
                self._store_factors(unit * runs + j, scale, zero)

    def _store_factors(self, index: int, scale: Expr | None, zero: Expr | None) -> None:
        """Emit what decoding needs of a scale and a zero point in float32, into registers `index`."""
        c = self.config
        if not self.g.scales_packed:
            for register, value in zip(self.factors, (scale, zero), strict=True):
                if value is not None:
                    store_local(register, index, value)
            return
        if scale is not None:
            store_local(self.factors[0], index, self._spread(scale))
        if zero is None or c.zeros_mode == "rescale":
            if zero is not None:
                store_local(
                    self.factors[2], index, self._spread(apply_scale_and_zero(T.float32(0), None, zero, "rescale"))
                )
            return
        near = T.alloc_local((2,), "float32")
        store_local(near, 1, zero)
        # Within these bounds the pair's offset and its difference with the code stay integers that the type holds.
        bound = 512.0 if self.g.operand == "float16" else 64.0
        nearest = near[1] if c.has_packed_zeros else tirx.nearbyint(near[1])
        store_local(
            near, 0, nearest if c.has_packed_zeros else T.max(T.min(nearest, T.float32(bound)), T.float32(-bound))
        )
        low, high = c.W_format.pair_offsets(self.g.operand)
        store_local(self.factors[1], index, self._spread(T.float32(low) - near[0], T.float32(high) - near[0]))
        if not c.has_packed_zeros:
            rest = apply_scale_and_zero(near[0], scale, near[1], c.zeros_mode)
            store_local(self.factors[2], index, self._spread(T.Select(near[0] == near[1], T.float32(0), rest)))

    # Decoding.

    def decode(self, tile: Expr) -> None:
        """Emit the decoding of tile `tile` from the rings to the operand tiles, and the next tile's scale loads."""
        if not self.g.decodes:
            return
        if self.g.decodes_a:
            self._decode_tile(tile, self.config.A_format, self.g.a_ring, self.g.a_tile, False)
        if self.g.decodes_w:
            self._decode_tile(tile, self.config.W_format, self.g.w_ring, self.g.w_tile, self.g.scales_weights)
            if self.config.num_groups > 1:
                self.load_scales(tile + 1)

    def _decode_tile(self, tile: Expr, fmt: Any, ring: Tile, target: Tile, is_scaled: bool) -> None:
        total = ring.rows * (target.row_bytes // self.g.operand_bytes) // UNIT
        for unit in range(-(-total // self.g.threads)):
            row, column = self._unit(unit, ring.rows)
            if total % self.g.threads:
                with T.If(unit * self.g.threads + self.thread < total), T.Then():
                    self._decode_unit(tile, fmt, ring, target, row, column, unit if is_scaled else None)
            else:
                self._decode_unit(tile, fmt, ring, target, row, column, unit if is_scaled else None)

    def _decode_unit(
        self, tile: Expr, fmt: Any, ring: Tile, target: Tile, row: Expr, column: Expr, unit: int | None
    ) -> None:
        """Emit one unit: `fmt.bits` words in, 32 operands out, a chunk at a time."""
        unit_bytes = UNIT * fmt.bits // 8
        source = ring.offset(tile % self.hint.stages, row, column * unit_bytes)
        buffer = load_words(self.arena, source, fmt.bits, math.gcd(unit_bytes, CHUNK_BYTES))
        words = [buffer[i] for i in range(fmt.bits)]
        per_chunk = CHUNK_BYTES // self.g.operand_bytes
        left = self.config.K - tile * self.hint.block_k - column * UNIT
        for chunk in range(UNIT // per_chunk):
            out = T.alloc_local((4,), "uint32")
            for i in range(4):
                word = chunk * 4 + i
                if self.g.is_integer:
                    store_local(out, i, fmt.unit_bytes(words, word))
                else:
                    value = self._decoded_pair(words, word, fmt, unit)
                    if unit is not None and self.g.has_ragged_k:
                        # Behind K the scale may be anything, and zero times infinity is no zero.
                        one = T.Select(2 * word < left, value & T.uint32(0xFFFF), T.uint32(0))
                        value = T.Select(2 * word + 1 < left, value, one)
                    store_local(out, i, value)
            place_at = target.chunk_offset(tile % 2, row, column * (UNIT // per_chunk) + chunk)
            T.evaluate(T.ptx["st.shared.v4.u32"](self.arena.ptr_to([place_at]), *[out[i] for i in range(4)]))

    def _decoded_pair(self, words: Sequence[Expr], pair: int, fmt: Any, unit: int | None) -> Expr:
        """Return elements 2 * pair and 2 * pair + 1 of a unit in the operand's type, scaled where `unit` is given."""
        if fmt == self.config.W_format and self.g.has_table:
            values = [self._table_value(words, 2 * pair + i) for i in range(2)]
            return self._scaled_pair(values, pair, unit)
        dtype = self.g.pair_dtype if fmt == self.config.W_format else "float16"
        packed = fmt.unit_pair(words, pair, dtype, _byte_perm)
        add = packed.add
        is_packed = unit is not None and self.g.scales_packed
        index = 0 if unit is None else unit * (UNIT // self.g.run) + 2 * pair // self.g.run
        if is_packed and self.config.with_zeros and self.config.zeros_mode != "rescale":
            add = self.factors[1][index]
        bits = packed.x
        if packed.mul is not None:
            bits = fma_pair(bits, T.uint32(packed.mul), T.uint32(add) if isinstance(add, int) else add, dtype)
        if is_packed:
            has_rest = self.config.with_zeros and not self.config.has_packed_zeros
            rest = self.factors[2][index] if has_rest else T.uint32(MINUS_ZERO_PAIR)
            one = T.uint32(0x3C003C00 if self.g.operand == "float16" else 0x3F803F80)
            return fma_pair(bits, self.factors[0][index] if self.config.with_scaling else one, rest, dtype)
        if unit is None and dtype == self.g.operand:
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
        T.evaluate(T.ptx["ld.shared.f32"](value[0], self.arena.ptr_to([self.g.table_offset + offset])))
        return value[0]

    def _scaled_pair(self, values: Sequence[Expr], pair: int, unit: int | None) -> Expr:
        """Return two float32 numbers, scaled in float32, rounded once to the operand's type, in one register."""
        if unit is not None:
            scaled = []
            for i, value in enumerate(values):
                index = unit * (UNIT // self.g.run) + (2 * pair + i) // self.g.run
                scale = self.factors[0][index] if self.config.with_scaling else None
                zero = self.factors[1][index] if self.config.with_zeros else None
                scaled.append(apply_scale_and_zero(value, scale, zero, self.config.zeros_mode))
            values = scaled
        if self.g.gpu.has_mma_m16n8k16:
            result = T.alloc_local((1,), "uint32")
            name = "cvt.rn.f16x2.f32" if self.g.operand == "float16" else "cvt.rn.bf16x2.f32"
            T.evaluate(T.ptx[name](result[0], values[1], values[0]))
            return result[0]
        return rounded_pair(values[0], values[1], self.g.operand)

    # The product.

    def multiply(self, tile: Expr) -> None:
        """Emit the products of tile `tile`, and the scaling of sums where a group ends."""
        a_slot = tile % (2 if self.g.decodes_a else self.hint.stages)
        w_slot = tile % (2 if self.g.decodes_w else self.hint.stages)
        for step in range(self.g.steps):
            a = self._left_fragments(a_slot, step)
            b = self._right_fragments(w_slot, step)
            for i in range(self.g.m_tiles):
                left = [a[4 * i + r] for r in range(4)]
                for j in range(self.g.n_tiles):
                    first = (i * self.g.n_tiles + j) * 4
                    self.g.mma.emit([self.acc[first + r] for r in range(4)], left, [b[2 * j], b[2 * j + 1]])
                if self.g.scales_sums and self.config.with_zeros:
                    ones = T.uint32(0x01010101 if self.g.is_integer else 0x3C003C00)
                    self.g.mma.emit([self.a_sum[4 * i + r] for r in range(4)], left, [ones, ones])
            if self.g.scales_sums:
                self._end_group_after(tile, step)

    def _left_fragments(self, slot: Expr, step: int) -> Any:
        registers = T.alloc_local((4 * self.g.m_tiles,), "uint32")
        row, chunk = fragment_row_chunk(self.lane, is_left=True)
        chunk = chunk + 2 * (self.warp_k * self.g.steps + step)
        for i in range(self.g.m_tiles):
            origin = (self.warp_m * self.g.m_tiles + i) * 16
            offset = self.g.a_tile.chunk_offset(slot, row + origin, chunk)
            load_fragments(self.arena, offset, [registers[4 * i + r] for r in range(4)])
        return registers

    def _right_fragments(self, slot: Expr, step: int) -> Any:
        registers = T.alloc_local((2 * self.g.n_tiles,), "uint32")
        k_step = self.warp_k * self.g.steps + step
        for j in range(0, self.g.n_tiles, 2):
            count = min(2, self.g.n_tiles - j)
            # An x2 load takes the rows that the first 16 lanes name; the others must still name rows of the tile.
            lane = self.lane if count == 2 else self.lane % 16
            if self.g.is_transposed:
                row, chunk = transposed_fragment_row_chunk(lane)
                offset = self.g.w_tile.chunk_offset(slot, row + k_step * 16, chunk + self.warp_n * self.g.n_tiles + j)
            else:
                row, chunk = fragment_row_chunk(lane, is_left=False)
                offset = self.g.w_tile.chunk_offset(
                    slot, row + (self.warp_n * self.g.n_tiles + j) * 8, chunk + 2 * k_step
                )
            out = [registers[2 * j + r] for r in range(2 * count)]
            load_fragments(self.arena, offset, out, transpose=self.g.is_transposed)
        return registers

    # The scaling of sums.

    def _end_group_after(self, tile: Expr, step: int) -> None:
        """Emit the scaling of the sums where this warp's step is its last one, here, of a group."""
        c, h = self.config, self.hint
        step_k = 32 // self.g.operand_bytes
        done = (step + 1) * step_k
        is_last_step = step == self.g.steps - 1
        if c.num_groups == 1:
            if is_last_step:
                with T.If(tile == self.g.tiles - 1), T.Then():
                    self._scale_sums(0)
        elif c.group % h.block_k == 0:
            if is_last_step:
                with T.If(((tile + 1) * h.block_k) % c.group == 0), T.Then():
                    self._scale_sums(tile * h.block_k // c.group)
        elif done % c.group == 0:
            k = tile * h.block_k + self.warp_k * (h.block_k // h.warps_k) + done - step_k
            if self.g.has_ragged_k:
                with T.If(k < c.K), T.Then():
                    self._scale_sums(k // c.group)
            else:
                self._scale_sums(k // c.group)

    def _scale_sums(self, g: Expr) -> None:
        """Emit total += decode(sums of group g), and clear the sums."""
        c, dtype = self.config, self.config.reduce_dtype
        for j in range(self.g.n_tiles):
            scales, zeros = T.alloc_local((2,), dtype), T.alloc_local((2,), dtype)
            for i in range(2):
                column = accumulator_row_col(self.lane, i)[1] + (self.warp_n * self.g.n_tiles + j) * 8
                n = self._column(column)
                if c.with_scaling:
                    store_local(scales, i, scale_value(c, self.operands.Scale, n, g, dtype))
                if c.with_zeros:
                    store_local(zeros, i, zero_point(c, self.operands.Zeros, n, g).astype(dtype))
            for i in range(self.g.m_tiles):
                for r in range(4):
                    at = (i * self.g.n_tiles + j) * 4 + r
                    scale = scales[r % 2] if c.with_scaling else None
                    zero = zeros[r % 2] * sum_value(self.a_sum[4 * i + r]).astype(dtype) if c.with_zeros else None
                    value = apply_scale_and_zero(sum_value(self.acc[at]).astype(dtype), scale, zero, c.zeros_mode)
                    store_local(self.total, at, self.total[at] + value)
        zero_local(self.acc)
        if c.with_zeros:
            zero_local(self.a_sum)

    # The epilogue.

    def reduce_warps(self) -> None:
        """Emit the sum over the warps that share k; the first of them holds it afterwards."""
        h = self.hint
        if h.warps_k == 1:
            return
        count = self.g.m_tiles * self.g.n_tiles * 4
        others = h.warps_m * h.warps_n * 32
        kind = {"int32": "s32", "uint32": "u32", "float32": "f32"}[str(self.total.dtype)]
        index = self.thread % others

        def at(part: Expr, r: int) -> Expr:
            return self.arena.ptr_to([((part * count + r) * others + index) * 4])

        T.evaluate(T.cuda.cta_sync())
        with T.If(self.warp_k > 0), T.Then():
            for r in range(count):
                T.evaluate(T.ptx[f"st.shared.{kind}"](at(self.warp_k - 1, r), self.total[r]))
        T.evaluate(T.cuda.cta_sync())
        with T.If(self.warp_k == 0), T.Then():
            part_sum = T.alloc_local((1,), self.total.dtype)
            for part in range(h.warps_k - 1):
                for r in range(count):
                    T.evaluate(T.ptx[f"ld.shared.{kind}"](part_sum[0], at(part, r)))
                    store_local(self.total, r, self.total[r] + part_sum[0])

    def store(self) -> None:
        """Emit the stores of this warp's part of D, two columns at a time where rows keep them aligned."""
        with T.If(self.warp_k == 0), T.Then():
            for i in range(self.g.m_tiles):
                for half in range(2):
                    row = (
                        self.m0 + (self.warp_m * self.g.m_tiles + i) * 16 + accumulator_row_col(self.lane, 2 * half)[0]
                    )
                    with T.If(row < self.m), T.Then():
                        for j in range(self.g.n_tiles):
                            column = accumulator_row_col(self.lane, 0)[1] + (self.warp_n * self.g.n_tiles + j) * 8
                            first = (i * self.g.n_tiles + j) * 4 + 2 * half
                            sums = [self.total[first], self.total[first + 1]]
                            self._store_pair(row, self.n0 + column, sums)

    def _store_pair(self, row: Expr, column: Expr, sums: Sequence[Expr]) -> None:
        c, D = self.config, self.operands.D
        wide_row = row_index(c, self.g.rung, row)
        if c.activation is not None:
            # A pair is gate and up. Four lanes store neighbours.
            with T.If(column < c.N), T.Then():
                value = self.operands.output(row, column, [sum_value(x) for x in sums])
                T.buffer_store(D, value, [wide_row, T.truncdiv(column, 2)])
            return

        def output(i: int) -> Expr:
            return self.operands.output(row, column + i, [sum_value(sums[i])])

        # Where a GPU has no bfloat16 TVM computes it in float32, whose bits are no pair of outputs.
        if c.N % 2 or (c.out_format.name == "bfloat16" and not self.g.gpu.has_bfloat16):
            for i in range(2):
                with T.If(column + i < c.N), T.Then():
                    T.buffer_store(D, output(i), [wide_row, column + i])
            return
        bits = c.out_format.bits
        values = T.alloc_local((2,), f"uint{bits}")
        with T.If(column < c.N), T.Then():
            for i in range(2):
                store_local(values, i, tirx.reinterpret(f"uint{bits}", output(i)))
            target = D.ptr_to([wide_row, column])
            if bits == 32:
                T.evaluate(T.ptx["st.global.v2.u32"](target, values[0], values[1]))
            else:
                both = f"uint{2 * bits}"
                word = values[0].astype(both) | (values[1].astype(both) << tirx.const(bits, both))
                T.evaluate(T.ptx[f"st.global.b{2 * bits}"](target, word))

    def build(self) -> PrimFunc:
        """Return the kernel."""
        h, problem = self.hint, self.g.problem
        threads, smem_bytes, tiles, ahead = self.g.threads, self.g.smem_bytes, self.g.tiles, h.stages - 1
        # Decoding works one tile ahead of the product, and so must the copies.
        pending = h.stages - (3 if self.g.decodes else 2)
        kernel = self

        @T.prim_func
        def mma():
            operands = T.meta_var(declare(problem, T.int32()))
            T.device_entry()
            block = T.cta_id([T.ceildiv(operands.rows, h.block_m) * T.ceildiv(problem.config.N, h.block_n)])
            thread = T.thread_id([threads])
            arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=128)
            kernel.bind(operands, block, thread, arena)
            for t in T.unroll(ahead):
                if t < tiles:
                    kernel.load(t)
                kernel.commit()
            if kernel.g.decodes:
                kernel.load_scales(0)
                kernel.wait(ahead - 1)
                kernel.decode(0)
            for t in T.serial(tiles):
                kernel.wait(pending)
                if t + ahead < tiles:
                    kernel.load(t + ahead)
                kernel.commit()
                if t + 1 < tiles:
                    kernel.decode(t + 1)
                kernel.multiply(t)
            kernel.reduce_warps()
            kernel.store()

        return tag(mma, problem.config, problem.rung, problem.weight_layout)
