"""The body of the mma.sync kernel: what `mma.MmaRule` writes, piece by piece."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.arch import GpuArch
from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import output_value, zero_point
from bitquant.config import MatmulConfig
from bitquant.formats.words import MINUS_ZERO_PAIR, place
from bitquant.intrin.mma import (
    CHUNK_BYTES,
    UNIT,
    MmaOp,
    Tile,
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
from bitquant.schedule.rules.base import Epilogue, operands, row_index

if TYPE_CHECKING:
    from bitquant.schedule.rules.mma import MmaHint

__all__ = ["Kernel", "scales_sums"]

Expr = Any

#: Tiles of m that are walked before n advances, so that blocks that run together share rows of A and of W in L2.
RASTER_ROWS = 8


def scales_sums(config: MatmulConfig) -> bool:
    """Whether a group's sums are scaled, rather than the weights: products of 8-bit numbers stay exact that way."""
    return config.A_format.bits == 8 and (config.with_scaling or config.with_zeros)


def _byte_perm(word: Expr, selector: int) -> Expr:
    """Return PRMT of (word, 0)."""
    return T.call_pure_extern("uint32", "__byte_perm", word, T.uint32(0), T.uint32(selector))


class Kernel:
    """One kernel: what is known before its body is written, and the pieces of the body.

    Methods emit TIRx statements; `build` strings them together.
    """

    def __init__(self, config: MatmulConfig, rung: int, arch: GpuArch, hint: MmaHint) -> None:
        self.config, self.rung, self.hint, self.arch = config, rung, hint, arch
        a, w = config.A_format, config.W_format
        self.is_integer = a.is_integer
        #: Type of both operands in shared memory.
        self.operand = "int8" if a.is_integer else "bfloat16" if a.name == "bfloat16" else "float16"
        self.operand_bytes = 1 if a.is_integer else 2
        self.scales_sums = scales_sums(config)
        self.scales_weights = (config.with_scaling or config.with_zeros) and not self.scales_sums
        self.decodes_a = a.name != self.operand
        stored_as_operand = w.name == self.operand or (a.is_integer and w.name == "uint8")
        self.decodes_w = self.scales_weights or not stored_as_operand
        left = {"int8": "s8", "float16": "f16", "bfloat16": "bf16"}[self.operand]
        self.mma = MmaOp(left, "u8" if a.is_integer and w.name == "uint8" else left, arch.has_mma_m16n8k16)
        #: Registers of the sums; TVM's table of instructions has integer mma with unsigned ones.
        self.sum_dtype = "uint32" if a.is_integer else "float32"
        self.is_transposed = config.layout == "nn"

        h = hint
        self.threads = 32 * h.warps_m * h.warps_n * h.warps_k
        self.tiles = -(-config.K // h.block_k)
        self.m_tiles = h.block_m // h.warps_m // 16
        self.n_tiles = h.block_n // h.warps_n // 8
        self.steps = h.block_k * self.operand_bytes // 32 // h.warps_k
        self.has_ragged_k = config.K % h.block_k != 0
        self.has_ragged_n = config.N % h.block_n != 0
        #: Elements of k within a unit that share a scale.
        self.run = math.gcd(config.group, UNIT)
        self.units = -(-h.block_n * h.block_k // UNIT // self.threads)
        self._lay_out()

    def _lay_out(self) -> None:
        """Place the tiles in shared memory, and choose the widths of the copies."""
        c, h = self.config, self.hint
        a_bytes, w_bits = c.A_format.bits // 8, c.W_format.bits
        # Rows of a tile of W, and elements a row: n by k, or k by n.
        self.w_rows, self.w_columns = (h.block_k, h.block_n) if self.is_transposed else (h.block_n, h.block_k)
        stored_columns = c.N if self.is_transposed else c.K
        end = 0

        def ring(rows: int, row_bytes: int, is_decoded: bool) -> Tile:
            nonlocal end
            tile = Tile(end, rows, row_bytes, h.stages, swizzled=not is_decoded)
            end = tile.end
            return tile

        def operand_tile(rows: int, columns: int) -> Tile:
            nonlocal end
            tile = Tile(end, rows, columns * self.operand_bytes, 2, swizzled=True)
            end = tile.end
            return tile

        self.a_ring = ring(h.block_m, h.block_k * a_bytes, self.decodes_a)
        self.w_ring = ring(self.w_rows, self.w_columns * w_bits // 8, self.decodes_w)
        self.a_tile = operand_tile(h.block_m, h.block_k) if self.decodes_a else self.a_ring
        self.w_tile = operand_tile(self.w_rows, self.w_columns) if self.decodes_w else self.w_ring
        self.table_offset = end
        self.has_table = c.W_format.needs_table
        end += 64 if self.has_table else 0
        registers = self.m_tiles * self.n_tiles * 4
        reduction = (h.warps_k - 1) * h.warps_m * h.warps_n * 32 * 4 * registers
        self.smem_bytes = max(end, reduction)
        self.a_width = math.gcd(c.K * a_bytes, self.a_ring.row_bytes, CHUNK_BYTES)
        self.w_width = math.gcd(stored_columns * w_bits // 8, self.w_ring.row_bytes, CHUNK_BYTES)

    # Emitters. `bind` gives them the buffers and indices of the function that is being written.

    def bind(self, A: Any, B: Any, Scale: Any, Zeros: Any, m: Expr, block: Expr, thread: Expr, arena: Any) -> None:
        """Take the function's operands, and compute where this block and thread stand."""
        self.A, self.B, self.Scale, self.Zeros = A, B, Scale, Zeros
        self.m, self.thread, self.arena = m, thread, arena
        h, N = self.hint, self.config.N
        n_blocks = -(-N // h.block_n)
        m_blocks = (m + (h.block_m - 1)) // h.block_m
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
        self.acc = T.alloc_local((self.m_tiles * self.n_tiles * 4,), self.sum_dtype)
        zero_local(self.acc)
        if self.scales_sums:
            self.total = T.alloc_local((self.m_tiles * self.n_tiles * 4,), self.config.reduce_dtype)
            zero_local(self.total)
            self.a_sum = T.alloc_local((self.m_tiles * 4,), self.sum_dtype)
            if self.config.with_zeros:
                zero_local(self.a_sum)
        else:
            self.total = self.acc
        if self.scales_weights:
            # In float32: scale, zero point. In pairs: scale, what is added before it, what is added after it.
            count = self.units * (UNIT // self.run)
            kinds = 3 if self.scales_packed else 2
            dtype = "uint32" if self.scales_packed else "float32"
            self.factors = [T.alloc_local((count,), dtype) for _ in range(kinds)]
        if self.has_table:
            for i, value in enumerate(self.config.W_format.codebook or ()):
                with T.If(thread == i), T.Then():
                    target = arena.ptr_to([self.table_offset + 4 * i])
                    T.evaluate(T.ptx["st.shared.f32"](target, T.float32(value)))

    def _column(self, column: Expr) -> Expr:
        """Return a column of D, the last one for those beyond it."""
        return T.min(self.n0 + column, self.config.N - 1) if self.has_ragged_n else self.n0 + column

    def load(self, tile: Expr) -> None:
        """Emit the copies of tile `tile` of A and of the stored W into their rings."""
        c, h = self.config, self.hint
        slot, k0 = tile % h.stages, tile * h.block_k
        a_bytes, w_bytes = c.A_format.bits // 8, max(1, c.W_format.bits // 8)
        whole_rows = c.has_fixed_rows(self.rung) and self.rung % h.block_m == 0
        copy_tile(
            self.arena, self.a_ring, slot,
            lambda row, byte: self.A.ptr_to([row_index(c, self.rung, self.m0 + row), k0 + byte // a_bytes]),
            self.thread, self.threads, self.a_width,
            None if whole_rows else self.m - self.m0,
            (c.K - k0) * a_bytes if self.has_ragged_k else None,
            self.arch.has_cp_async and self.a_width >= 4,
        )  # fmt: skip
        n_left = c.N - self.n0 if self.has_ragged_n else None
        k_left = c.K - k0 if self.has_ragged_k else None
        if self.is_transposed:
            row0, column0 = k0, self.n0
            rows_left, bytes_left = k_left, None if n_left is None else n_left * w_bytes
        else:
            row0, column0 = self.n0, tile * self.w_ring.row_bytes // w_bytes
            stored = c.W_shape[1] * w_bytes
            rows_left, bytes_left = n_left, None if k_left is None else stored - tile * self.w_ring.row_bytes
        copy_tile(
            self.arena, self.w_ring, slot,
            lambda row, byte: self.B.ptr_to([row0 + row, column0 + byte // w_bytes]),
            self.thread, self.threads, self.w_width, rows_left, bytes_left,
            self.arch.has_cp_async and self.w_width >= 4,
        )  # fmt: skip

    def commit(self) -> None:
        """Close the group of copies issued since the last commit."""
        if self.arch.has_cp_async:
            T.evaluate(T.ptx["cp.async.commit_group"]())

    def wait(self, pending: int) -> None:
        """Wait until all but `pending` groups of this thread have arrived, then for the whole block."""
        if self.arch.has_cp_async:
            T.evaluate(T.ptx["cp.async.wait_group"](pending))
        T.evaluate(T.cuda.cta_sync())

    # Scale and zero point of the weights.

    @property
    def decodes(self) -> bool:
        """Whether A or W passes through registers on its way to the operand tiles."""
        return self.decodes_a or self.decodes_w

    @property
    def pair_dtype(self) -> str:
        """The 16-bit type in which two stored weights are decoded at once, exactly."""
        w = self.config.W_format
        fits = w.name == "bfloat16" or (w.is_integer and w.bits <= 7)
        return "bfloat16" if self.operand == "bfloat16" and fits else "float16"

    @property
    def scales_packed(self) -> bool:
        """Whether pairs are scaled in the operand's type.

        A product of a stored weight and a scale of that type is rounded once, as in float32. Where there are zero
        points, decode(w) = (w - i) s + decode(i) with an integer i near the zero point: w - i is exact, the first
        product too, and so decode(w) is rounded once where decode(i) is exact, as it is for integer zero points and
        in zeros_mode "rescale"; elsewhere it is off by at most one unit in the last place.
        """
        c = self.config
        in_type = self.pair_dtype == self.operand == c.scale_format.tvm_dtype and not self.has_table
        return in_type and self.run % 2 == 0 and (c.W_format.is_integer or not c.with_zeros)

    def _unit(self, c: int, rows: int) -> tuple[Expr, Expr]:
        """Return (row, index in the row) of the c-th unit of this thread: neighbours take neighbouring rows."""
        index = self.thread + c * self.threads
        return index % rows, index // rows

    def _spread(self, low: Expr, high: Expr | None = None) -> Expr:
        """Return two float32 numbers (or one twice) as a pair of the operand's type."""
        if high is None:
            return tirx.reinterpret("uint16", low.astype(self.operand)).astype("uint32") * T.uint32(0x10001)
        return rounded_pair(low, high, self.operand)

    def load_scales(self, tile: Expr) -> None:
        """Emit the loads of the scales and zero points with which this thread will decode tile `tile`."""
        if not self.scales_weights:
            return
        c, runs = self.config, UNIT // self.run
        for unit in range(self.units):
            row, column = self._unit(unit, self.w_rows)
            n = self._column(row)
            if self.units * self.threads > self.w_rows * self.w_columns // UNIT:
                n = T.min(n, c.N - 1)  # Threads without a unit stand beside the tile.
            for j in range(runs):
                k = tile * self.hint.block_k + column * UNIT + j * self.run
                g = T.min(k // c.group, c.num_groups - 1) if c.num_groups > 1 else 0
                scale = self.Scale[n, g].astype("float32") if c.with_scaling else None
                zero = zero_point(c, self.Zeros, n, g).astype("float32") if c.with_zeros else None
                self._store_factors(unit * runs + j, scale, zero)

    def _store_factors(self, index: int, scale: Expr | None, zero: Expr | None) -> None:
        """Emit what decoding needs of a scale and a zero point in float32, into registers `index`."""
        c = self.config
        if not self.scales_packed:
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
        bound = 512.0 if self.operand == "float16" else 64.0
        nearest = near[1] if c.has_packed_zeros else tirx.nearbyint(near[1])
        store_local(
            near, 0, nearest if c.has_packed_zeros else T.max(T.min(nearest, T.float32(bound)), T.float32(-bound))
        )
        low, high = c.W_format.pair_offsets(self.operand)
        store_local(self.factors[1], index, self._spread(T.float32(low) - near[0], T.float32(high) - near[0]))
        if not c.has_packed_zeros:
            rest = apply_scale_and_zero(near[0], scale, near[1], c.zeros_mode)
            store_local(self.factors[2], index, self._spread(T.Select(near[0] == near[1], T.float32(0), rest)))

    # Decoding.

    def decode(self, tile: Expr) -> None:
        """Emit the decoding of tile `tile` from the rings to the operand tiles, and the next tile's scale loads."""
        if not self.decodes:
            return
        if self.decodes_a:
            self._decode_tile(tile, self.config.A_format, self.a_ring, self.a_tile, False)
        if self.decodes_w:
            self._decode_tile(tile, self.config.W_format, self.w_ring, self.w_tile, self.scales_weights)
            if self.config.num_groups > 1:
                self.load_scales(tile + 1)

    def _decode_tile(self, tile: Expr, fmt: Any, ring: Tile, target: Tile, is_scaled: bool) -> None:
        total = ring.rows * (target.row_bytes // self.operand_bytes) // UNIT
        for unit in range(-(-total // self.threads)):
            row, column = self._unit(unit, ring.rows)
            if total % self.threads:
                with T.If(unit * self.threads + self.thread < total), T.Then():
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
        per_chunk = CHUNK_BYTES // self.operand_bytes
        left = self.config.K - tile * self.hint.block_k - column * UNIT
        for chunk in range(UNIT // per_chunk):
            out = T.alloc_local((4,), "uint32")
            for i in range(4):
                word = chunk * 4 + i
                if self.is_integer:
                    store_local(out, i, fmt.unit_bytes(words, word))
                else:
                    value = self._decoded_pair(words, word, fmt, unit)
                    if unit is not None and self.has_ragged_k:
                        # Behind K the scale may be anything, and zero times infinity is no zero.
                        one = T.Select(2 * word < left, value & T.uint32(0xFFFF), T.uint32(0))
                        value = T.Select(2 * word + 1 < left, value, one)
                    store_local(out, i, value)
            place_at = target.chunk_offset(tile % 2, row, column * (UNIT // per_chunk) + chunk)
            T.evaluate(T.ptx["st.shared.v4.u32"](self.arena.ptr_to([place_at]), *[out[i] for i in range(4)]))

    def _decoded_pair(self, words: Sequence[Expr], pair: int, fmt: Any, unit: int | None) -> Expr:
        """Return elements 2 * pair and 2 * pair + 1 of a unit in the operand's type, scaled where `unit` is given."""
        if fmt == self.config.W_format and self.has_table:
            values = [self._table_value(words, 2 * pair + i) for i in range(2)]
            return self._scaled_pair(values, pair, unit)
        dtype = self.pair_dtype if fmt == self.config.W_format else "float16"
        packed = fmt.unit_pair(words, pair, dtype, _byte_perm)
        add = packed.add
        is_packed = unit is not None and self.scales_packed
        index = 0 if unit is None else unit * (UNIT // self.run) + 2 * pair // self.run
        if is_packed and self.config.with_zeros and self.config.zeros_mode != "rescale":
            add = self.factors[1][index]
        bits = packed.x
        if packed.mul is not None:
            bits = fma_pair(bits, T.uint32(packed.mul), T.uint32(add) if isinstance(add, int) else add, dtype)
        if is_packed:
            has_rest = self.config.with_zeros and not self.config.has_packed_zeros
            rest = self.factors[2][index] if has_rest else T.uint32(MINUS_ZERO_PAIR)
            one = T.uint32(0x3C003C00 if self.operand == "float16" else 0x3F803F80)
            return fma_pair(bits, self.factors[0][index] if self.config.with_scaling else one, rest, dtype)
        if unit is None and dtype == self.operand:
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
        T.evaluate(T.ptx["ld.shared.f32"](value[0], self.arena.ptr_to([self.table_offset + offset])))
        return value[0]

    def _scaled_pair(self, values: Sequence[Expr], pair: int, unit: int | None) -> Expr:
        """Return two float32 numbers, scaled in float32, rounded once to the operand's type, in one register."""
        if unit is not None:
            scaled = []
            for i, value in enumerate(values):
                index = unit * (UNIT // self.run) + (2 * pair + i) // self.run
                scale = self.factors[0][index] if self.config.with_scaling else None
                zero = self.factors[1][index] if self.config.with_zeros else None
                scaled.append(apply_scale_and_zero(value, scale, zero, self.config.zeros_mode))
            values = scaled
        if self.arch.has_mma_m16n8k16:
            result = T.alloc_local((1,), "uint32")
            name = "cvt.rn.f16x2.f32" if self.operand == "float16" else "cvt.rn.bf16x2.f32"
            T.evaluate(T.ptx[name](result[0], values[1], values[0]))
            return result[0]
        return rounded_pair(values[0], values[1], self.operand)

    # The product.

    def multiply(self, tile: Expr) -> None:
        """Emit the products of tile `tile`, and the scaling of sums where a group ends."""
        a_slot = tile % (2 if self.decodes_a else self.hint.stages)
        w_slot = tile % (2 if self.decodes_w else self.hint.stages)
        for step in range(self.steps):
            a = self._left_fragments(a_slot, step)
            b = self._right_fragments(w_slot, step)
            for i in range(self.m_tiles):
                left = [a[4 * i + r] for r in range(4)]
                for j in range(self.n_tiles):
                    first = (i * self.n_tiles + j) * 4
                    self.mma.emit([self.acc[first + r] for r in range(4)], left, [b[2 * j], b[2 * j + 1]])
                if self.scales_sums and self.config.with_zeros:
                    ones = T.uint32(0x01010101 if self.is_integer else 0x3C003C00)
                    self.mma.emit([self.a_sum[4 * i + r] for r in range(4)], left, [ones, ones])
            if self.scales_sums:
                self._end_group_after(tile, step)

    def _left_fragments(self, slot: Expr, step: int) -> Any:
        registers = T.alloc_local((4 * self.m_tiles,), "uint32")
        row, chunk = fragment_row_chunk(self.lane, is_left=True)
        chunk = chunk + 2 * (self.warp_k * self.steps + step)
        for i in range(self.m_tiles):
            origin = (self.warp_m * self.m_tiles + i) * 16
            offset = self.a_tile.chunk_offset(slot, row + origin, chunk)
            load_fragments(self.arena, offset, [registers[4 * i + r] for r in range(4)])
        return registers

    def _right_fragments(self, slot: Expr, step: int) -> Any:
        registers = T.alloc_local((2 * self.n_tiles,), "uint32")
        k_step = self.warp_k * self.steps + step
        for j in range(0, self.n_tiles, 2):
            count = min(2, self.n_tiles - j)
            # An x2 load takes the rows that the first 16 lanes name; the others must still name rows of the tile.
            lane = self.lane if count == 2 else self.lane % 16
            if self.is_transposed:
                row, chunk = transposed_fragment_row_chunk(lane)
                offset = self.w_tile.chunk_offset(slot, row + k_step * 16, chunk + self.warp_n * self.n_tiles + j)
            else:
                row, chunk = fragment_row_chunk(lane, is_left=False)
                offset = self.w_tile.chunk_offset(slot, row + (self.warp_n * self.n_tiles + j) * 8, chunk + 2 * k_step)
            out = [registers[2 * j + r] for r in range(2 * count)]
            load_fragments(self.arena, offset, out, transpose=self.is_transposed)
        return registers

    # The scaling of sums.

    def _end_group_after(self, tile: Expr, step: int) -> None:
        """Emit the scaling of the sums where this warp's step is its last one, here, of a group."""
        c, h = self.config, self.hint
        step_k = 32 // self.operand_bytes
        done = (step + 1) * step_k
        is_last_step = step == self.steps - 1
        if c.num_groups == 1:
            if is_last_step:
                with T.If(tile == self.tiles - 1), T.Then():
                    self._scale_sums(0)
        elif c.group % h.block_k == 0:
            if is_last_step:
                with T.If(((tile + 1) * h.block_k) % c.group == 0), T.Then():
                    self._scale_sums(tile * h.block_k // c.group)
        elif done % c.group == 0:
            k = tile * h.block_k + self.warp_k * (h.block_k // h.warps_k) + done - step_k
            if self.has_ragged_k:
                with T.If(k < c.K), T.Then():
                    self._scale_sums(k // c.group)
            else:
                self._scale_sums(k // c.group)

    def _scale_sums(self, g: Expr) -> None:
        """Emit total += decode(sums of group g), and clear the sums."""
        c, dtype = self.config, self.config.reduce_dtype
        for j in range(self.n_tiles):
            scales, zeros = T.alloc_local((2,), dtype), T.alloc_local((2,), dtype)
            for i in range(2):
                column = accumulator_row_col(self.lane, i)[1] + (self.warp_n * self.n_tiles + j) * 8
                n = self._column(column)
                if c.with_scaling:
                    store_local(scales, i, self.Scale[n, g].astype(dtype))
                if c.with_zeros:
                    store_local(zeros, i, zero_point(c, self.Zeros, n, g).astype(dtype))
            for i in range(self.m_tiles):
                for r in range(4):
                    at = (i * self.n_tiles + j) * 4 + r
                    scale = scales[r % 2] if c.with_scaling else None
                    zero = zeros[r % 2] * sum_value(self.a_sum[4 * i + r]).astype(dtype) if c.with_zeros else None
                    value = apply_scale_and_zero(sum_value(self.acc[at]).astype(dtype), scale, zero, c.zeros_mode)
                    store_local(self.total, at, self.total[at] + value)
        zero_local(self.acc)
        if c.with_zeros:
            zero_local(self.a_sum)

    # The end.

    def reduce_warps(self) -> None:
        """Emit the sum over the warps that share k; the first of them holds it afterwards."""
        h = self.hint
        if h.warps_k == 1:
            return
        count = self.m_tiles * self.n_tiles * 4
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

    def store(self, epilogue: Epilogue) -> None:
        """Emit the stores of this warp's part of D, two columns at a time where rows keep them aligned."""
        with T.If(self.warp_k == 0), T.Then():
            for i in range(self.m_tiles):
                for half in range(2):
                    row = self.m0 + (self.warp_m * self.m_tiles + i) * 16 + accumulator_row_col(self.lane, 2 * half)[0]
                    with T.If(row < self.m), T.Then():
                        for j in range(self.n_tiles):
                            column = accumulator_row_col(self.lane, 0)[1] + (self.warp_n * self.n_tiles + j) * 8
                            first = (i * self.n_tiles + j) * 4 + 2 * half
                            sums = [self.total[first], self.total[first + 1]]
                            self._store_pair(epilogue, row, self.n0 + column, sums)

    def _store_pair(self, epilogue: Epilogue, row: Expr, column: Expr, sums: Sequence[Expr]) -> None:
        c, D = self.config, epilogue.D
        wide_row = row_index(c, self.rung, row)

        def output(i: int) -> Expr:
            bias, channel_scale = epilogue.Bias[column + i], epilogue.ChannelScale[column + i]
            return output_value(c, sum_value(sums[i]), bias, epilogue.ActivationScale[row], channel_scale)

        if c.N % 2:
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
        spec = operands(self.config, self.rung)
        h, N, K = self.hint, self.config.N, self.config.K
        threads, smem_bytes, tiles, ahead = self.threads, self.smem_bytes, self.tiles, h.stages - 1
        # Decoding works one tile ahead of the product, and so must the copies.
        pending = h.stages - (3 if self.decodes else 2)
        kernel = self

        @T.prim_func(check_well_formed=False)
        def mma(
            A_handle: T.handle, B_handle: T.handle, Scale_handle: T.handle, Zeros_handle: T.handle,
            Bias_handle: T.handle, ActivationScale_handle: T.handle, ChannelScale_handle: T.handle, D_handle: T.handle,
        ):  # fmt: skip
            m = T.meta_var(spec.rows(T.int32()))
            A = T.match_buffer(A_handle, (m, K), spec.A)
            B = T.match_buffer(B_handle, spec.B_shape, spec.B)
            Scale = T.match_buffer(Scale_handle, spec.Scale_shape, spec.Scale)
            Zeros = T.match_buffer(Zeros_handle, spec.Zeros_shape, spec.Zeros)
            Bias = T.match_buffer(Bias_handle, (N,), spec.D)
            ActivationScale = T.match_buffer(ActivationScale_handle, (m,), "float32")
            ChannelScale = T.match_buffer(ChannelScale_handle, (N,), "float32")
            D = T.match_buffer(D_handle, (m, N), spec.D)
            T.device_entry()
            block = T.cta_id([T.ceildiv(m, h.block_m) * T.ceildiv(N, h.block_n)])
            thread = T.thread_id([threads])
            arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=128)
            kernel.bind(A, B, Scale, Zeros, m, block, thread, arena)
            for t in T.unroll(ahead):
                if t < tiles:
                    kernel.load(t)
                kernel.commit()
            if kernel.decodes:
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
            kernel.store(Epilogue(Bias, ActivationScale, ChannelScale, D))

        return spec.bind(mma)
