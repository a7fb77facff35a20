# SPDX-License-Identifier: Apache-2.0
"""Where the left operands of the wgmma kernel come from: codes that are decoded, or W as it is in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.decode import apply_scale_and_zero
from bitquant.formats.words import MINUS_ZERO_PAIR
from bitquant.intrin.mma import fma_pair, local, rounded_pair, store_local
from bitquant.intrin.operations import PairTable
from bitquant.intrin.wgmma import SWIZZLE_BYTES, Cursor, load_box, row_descriptor, tensor_map
from bitquant.layouts import TILE_N, FragmentLayout
from bitquant.schedule.rules.hopper.emit.context import Context, OperandCoord, WorkTile
from bitquant.schedule.rules.hopper.emit.decode import (
    MAX_EXACT,
    SCALE_EXPONENT,
    ExactOps,
    MasksInRegisters,
    ScaledOps,
    Words,
    constant_pair,
    pair_of_powers,
    spread,
    subnormal_exponent,
    trace_decoding,
)
from bitquant.schedule.rules.hopper.emit.factors import QUAD, GroupCursor, unpacked
from bitquant.schedule.rules.hopper.emit.sums_of_a import SumsOfA
from bitquant.schedule.rules.hopper.geometry import CHUNK_BYTES, MAX_MASKS, WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import ROWS

__all__ = ["DenseSource", "FragmentOperand", "FragmentSource"]

Expr = Any

#: The name of a pair of the operand's type in PTX.
_PAIR = {"float16": "f16x2", "bfloat16": "bf16x2"}
#: Bytes of 64 rows of a dense W in a step, those of the left operand.
_BLOCK = ROWS * SWIZZLE_BYTES


class DenseSource:
    """A W of A's type, as it lies in memory: wgmma reads it from shared memory by descriptor.

    W is fetched after the kernel before this one has ended, as A is: where nothing is quantized, W may be that kernel's
    result as well.
    """

    is_fetched_early: ClassVar[bool] = False

    def __init__(self, geometry: WgmmaGeometry) -> None:
        self.g = geometry

    def weight_map(self) -> tuple[str, int, list[Expr]]:
        """Return type, dimensions and further arguments of the tensor map of W."""
        c, box = self.g.config, self.g.weight.box
        extents, row_bytes = [c.K, (self.g.num_experts or 1) * c.N], c.K * c.W_format.bits // 8
        return c.W_format.tvm_dtype, 2, tensor_map(extents, [row_bytes], box, True)

    def load(self, context: Context, work_tile: WorkTile, stage: Expr, cursor: Cursor) -> None:
        """Emit the copies of a slot's rows of W."""
        g, weight = self.g, self.g.weight
        for part in range(g.hint.consumers_k):
            for step in range(g.steps):
                offset = g.memory.a_bytes + part * weight.part_bytes + step * weight.box_bytes
                k = context.first_k(work_tile, part, stage) + step * g.step_k
                target = context.slot(cursor) + T.uint32(offset)
                row = work_tile.row_of_weights(work_tile.n0, g.config.N)
                load_box(target, context.inputs.w_map, [k, row], context.ring.full(cursor.offset))

    def descriptor(self, context: Context, cursor: Cursor) -> Expr:
        """Emit the descriptor of this consumer's rows of W in a slot; return it."""
        g = self.g
        part = g.memory.a_bytes + context.part_k * g.weight.part_bytes
        first = context.base + (part + context.part_n * (g.hint.n_tiles_per_consumer * _BLOCK)).astype("uint32")
        return local("uint64", row_descriptor(first, cursor.distance(g.memory.slot_bytes // 16)))

    def left(self, descriptor: Expr, step: int, j: int, row: int) -> Expr:
        """Return the descriptor of the operand of instruction j of a step. Descriptors count 16 bytes."""
        return descriptor + T.uint64((step * self.g.weight.box_bytes + row * _BLOCK) // 16 + 2 * j)


class FragmentSource:
    """Codes in the `fragment` layout, which consumers take to registers and decode there.

    They may be fetched before the kernel before this one has ended, which must not have written them then.
    """

    is_fetched_early: ClassVar[bool] = True

    def __init__(self, geometry: WgmmaGeometry) -> None:
        assert geometry.decoder is not None
        self.g, self.decoder = geometry, geometry.decoder
        self.fragment_layout: FragmentLayout = geometry.decoder.fragment_layout
        halves = range(2 if geometry.scales_operand or geometry.is_narrow or self.decoder.permutes else 0)
        self.masks = sorted({mask for half in halves for mask in trace_decoding(self.decoder, half).masks_found})
        assert len(self.masks) <= MAX_MASKS
        self.table: PairTable | None = None

    def weight_map(self) -> tuple[str, int, list[Expr]]:
        """Return type, dimensions and further arguments of the tensor map of W: words, chunks and rows of tiles."""
        c, layout = self.g.config, self.fragment_layout
        chunks = layout.tiles_k(c.K) * layout.tile_bytes // CHUNK_BYTES
        extents = [CHUNK_BYTES // 8, chunks, (self.g.num_experts or 1) * layout.tiles_n(c.N)]
        return "uint64", 3, tensor_map(extents, [CHUNK_BYTES, chunks * CHUNK_BYTES], self.g.weight.box, False)

    def initialize(self, context: Context, thread: Expr, arena: Any, sums_of_a: SumsOfA | None) -> None:
        """Emit the stores of tables and masks, and the barriers of the sums of A."""
        g, memory = self.g, self.g.memory
        if self.decoder.has_table:
            self.table = PairTable(arena, memory.table_offset, context.lane)
            self.decoder.fill_table(arena, memory.table_offset, thread, g.threads)
        with T.If(thread == 0), T.Then():
            if sums_of_a is not None:
                sums_of_a.initialize()
            for i, mask in enumerate(self.masks):
                T.evaluate(T.ptx["st.shared.u32"](context.base + T.uint32(memory.mask_offset + 4 * i), T.uint32(mask)))

    def load(self, context: Context, work_tile: WorkTile, stage: Expr, cursor: Cursor) -> None:
        """Emit the copies of a slot's boxes of the weight."""
        g, layout = self.g, self.fragment_layout
        for part in range(g.hint.consumers_k):
            target = context.slot(cursor) + T.uint32(g.memory.a_bytes + part * g.weight.part_bytes)
            chunk = context.first_k(work_tile, part, stage) // layout.tile_k * (layout.tile_bytes // CHUNK_BYTES)
            box = [0, chunk, work_tile.row_of_weights(work_tile.n0 // TILE_N, layout.tiles_n(g.config.N))]
            load_box(target, context.inputs.w_map, box, context.ring.full(cursor.offset))


class FragmentOperand:
    """A consumer's left operands: two sets of registers that alternate, and the codes that they are decoded from.

    Parameters
    ----------
    context, source
        Geometry, operands and indices of this thread, and where the codes come from.

    Attributes
    ----------
    left
        The two sets.
    """

    def __init__(self, context: Context, source: FragmentSource) -> None:
        self.context, self.source = context, source
        products = context.g.products
        self.left = [T.alloc_local((16,), "uint32") for _ in range(2)]
        self.words = [T.alloc_local((products.unit_words,), "uint32") for _ in range(context.hint.n_tiles_per_consumer)]
        self.factors: list[_Factors] = []
        self.masks: dict[int, Expr] = {}

    def begin(self) -> None:
        """Emit the variables that decoding and scaling need."""
        context, source = self.context, self.source
        if context.g.scales_operand:
            self.factors = [
                _Factors(context, source, row, self.masks) for row in range(context.hint.n_tiles_per_consumer)
            ]
        # From shared memory, or the compiler would load each constant anew for each use.
        for i, mask in enumerate(source.masks):
            register = T.alloc_local((1,), "uint32")
            address = context.base + T.uint32(context.g.memory.mask_offset + 4 * i)
            T.evaluate(T.ptx["ld.shared.u32"](register[0], address))
            self.masks[mask] = register[0]

    def load_first(self, work_tile: WorkTile) -> None:
        """Emit the loads of the first scales of a block's first tile, where those of others are loaded ahead."""
        for factors in self.factors:
            factors.cursor.loads.load_first(work_tile)

    def begin_tile(self, work_tile: WorkTile, first_step: Expr) -> None:
        """Emit the loads of the first scales of a tile, for a part of K that begins at a step."""
        self.first_step = first_step
        for factors in self.factors:
            factors.cursor.begin_tile(work_tile, first_step)

    def begin_part(self, slot: Expr) -> None:
        """Emit the loads of the first codes of this consumer's part of K, from a slot, and take the first scales."""
        for row in range(self.context.hint.n_tiles_per_consumer):
            self.load_words(slot, 0, row)
            if self.factors:
                self.factors[row].begin_part()

    def load_words(self, slot: Expr, unit: int, row: int) -> None:
        """Emit the loads of this lane's codes of a unit of a slot, by the slot's address."""
        context, g = self.context, self.context.g
        unit_chunks = g.products.unit_words // 4
        tile_row = (context.part_n * g.hint.n_tiles_per_consumer + row) * 4 + context.warp
        chunk = (tile_row * g.units + unit) * unit_chunks
        offset = g.memory.a_bytes + context.part_k * g.weight.part_bytes + chunk * CHUNK_BYTES + context.lane * 16
        address = local("uint32", slot + offset.astype("uint32"))
        words = self.words[row]
        for i in range(unit_chunks):
            registers = [words[4 * i + j] for j in range(4)]
            T.evaluate(T.ptx["ld.shared.v4.u32"](*registers, address + T.uint32(i * CHUNK_BYTES)))

    def decode(self, coord: OperandCoord, left: Any, body: Expr) -> None:
        """Emit the registers of a left operand of a body."""
        g = self.context.g
        absolute = self.first_step + body * (g.loop.body_stages * g.steps) + coord.body_step
        for r in range(16):
            if self.factors and r % 4 == 0:
                self.factors[coord.row].enter(absolute, coord.body_step, r // 4)
            value = self._register(coord, r)
            if g.has_ragged_k:
                k = absolute * g.step_k + r // 4 * g.op.step_k + r % 4 // 2 * (g.op.step_k // 2)
                value = T.Select(k < g.config.K, value, T.uint32(0))
            store_local(left, r, value)

    def _register(self, coord: OperandCoord, r: int) -> Expr:
        """Return register r of a step's left operand, scaled."""
        layout, decoder = self.source.fragment_layout, self.source.decoder
        tile, register = divmod(coord.step * 16 + r, layout.registers)
        words = self.words[coord.row]
        first = tile * (layout.tile_bytes // (CHUNK_BYTES // 4))
        planes = [Words(words, first + plane.byte_offset // (CHUNK_BYTES // 4)) for plane in layout.planes]
        if self.factors:
            return self.factors[coord.row].decode(planes, register)
        return decoder.decode(planes, register, self.source.table, MasksInRegisters(self.masks))[0]


class _Factors:
    """Scales and zero points of one block of 64 rows, as a thread applies them to its two rows (g and g + 8).

    decode(w) = (w - i) s + decode(i) with an integer i near the zero point: w - i is exact and the product is added to
    decode(i) with one rounding. decode(i) is zero for integer zero points, and rounded once for others.
    """

    def __init__(self, context: Context, source: FragmentSource, row: int, masks: dict[int, Expr]) -> None:
        self.context, self.source, self.masks = context, source, masks
        c, g = context.config, context.g
        self.operand, self.decoder = g.products.operand, source.decoder
        self.has_rest = c.with_zeros and not c.has_packed_zeros
        self.subtracts = c.with_zeros and c.zeros_mode != "rescale"
        self.cursor = GroupCursor(context, row, g.step_k, g.loop.body_stages * g.steps, self._hold)
        #: What a lane holds for its own group: pairs, of rows g and g + 8.
        kinds = ("scale", "near", "rest")
        self.held = {kind: T.alloc_local((1,), "uint32") for kind in kinds}
        self.current = {kind: T.alloc_local((2,), "uint32") for kind in kinds}
        #: For either row: what decoding adds, less the zero point.
        self.offsets: list[dict[float, Expr]] = [{}, {}]
        for half in range(2) if self.subtracts else ():
            constants = sorted(trace_decoding(self.decoder, half).constants)
            registers = T.alloc_local((max(1, len(constants)),), "uint32")
            self.offsets[half] = {constant: registers[i] for i, constant in enumerate(constants)}

    def _hold(self, first: Expr) -> None:
        """Emit the factors of this lane's group of four from `first` on, and the loads that follow."""
        c = self.context.config
        first = local("int32", first)
        scale, zero = self.cursor.loads.distribute(first)
        if scale is not None:
            if self.context.g.scales_subnormals:
                scale = [self._multiplied(scale[0], 2.0**SCALE_EXPONENT, 2.0**SCALE_EXPONENT)]
            store_local(self.held["scale"], 0, scale[0])
        if zero is not None:
            self._hold_zeros([None, None] if scale is None else unpacked(scale, c), unpacked(zero, c, is_zero=True))
        self.cursor.loads.load_next(first)

    def _hold_zeros(self, scale: Sequence[Expr | None], zero: Sequence[Expr]) -> None:
        """Emit what this lane's group has of zero points, from scales and zero points of both rows in float32."""
        c, operand = self.context.config, self.operand
        near = [T.float32(0), T.float32(0)]
        if self.subtracts:
            near = list(zero)
            if self.has_rest:
                low, high = (T.float32(bound) for bound in self._bounds())
                near = [T.max(T.min(tirx.nearbyint(z), high), low) for z in zero]
            store_local(self.held["near"], 0, rounded_pair(near[0], near[1], operand))
        if self.has_rest:
            rest = [apply_scale_and_zero(i, s, z, c.zeros_mode) for i, s, z in zip(near, scale, zero, strict=True)]
            store_local(self.held["rest"], 0, rounded_pair(rest[0], rest[1], operand))

    def _multiplied(self, pair: Expr, low: float, high: float) -> Expr:
        """Emit a pair of numbers of bfloat16 times two powers of two."""
        return fma_pair(pair, T.uint32(pair_of_powers(low, high)), T.uint32(MINUS_ZERO_PAIR), self.operand)

    def _bounds(self) -> tuple[float, float]:
        """Return the least and the greatest i: w - i and what `offsets` hold are integers that the type has."""
        fmt, most = self.decoder.fmt, MAX_EXACT[self.operand]
        constants = [0.0, *self.offsets[0], *self.offsets[1]]
        return fmt.max_value - most, min(fmt.min_value, *constants) + most

    def begin_part(self) -> None:
        """Emit the change to the group in which this consumer's part of K begins."""
        self._take(self.cursor.begin_part())

    def enter(self, step: Expr, body_step: int, j: int) -> None:
        """Emit the change to the group of mma step j of step `step`, where that is the first of its group.

        `body_step` is the step's index in the body of the loop.
        """
        cursor, k = self.cursor, j * self.context.g.op.step_k
        if not cursor.may_begin_group(body_step, k):
            return
        conditions = cursor.begins_group(step, body_step, k)
        if conditions:
            with T.If(tirx.all(*conditions)), T.Then():
                self._advance(cursor.group(step, k))
        else:
            self._advance(cursor.group(step, k))

    def _advance(self, group: Expr) -> None:
        if self.context.config.num_groups > QUAD:
            with T.If(self.cursor.begins_quad(group)), T.Then():
                self._hold(group)
        self._take(group)

    def _take(self, group: Expr) -> None:
        """Emit the passing of a group's factors to all lanes, each as pairs of equal numbers for both rows."""
        c, operand = self.context.config, self.operand
        kinds = [("scale", c.with_scaling), ("near", self.subtracts), ("rest", self.has_rest)]
        for kind, is_there in kinds:
            if not is_there:
                continue
            both = self.held[kind][0]
            if c.num_groups > 1:
                both = local("uint32", self.cursor.shuffled(both, group))
            if self.context.g.scales_subnormals:
                self._take_subnormal(both)
                continue
            for half in range(2):
                selector = T.uint32(0x1010 if half == 0 else 0x3232)
                value = T.call_pure_extern("uint32", "__byte_perm", both, T.uint32(0), selector)
                store_local(self.current[kind], half, value)
        for half, offsets in enumerate(self.offsets):
            for constant, register in offsets.items():
                name = f"sub.{_PAIR[operand]}"
                T.evaluate(T.ptx[name](register, constant_pair(constant, operand), self.current["near"][half]))
        if self.subtracts:
            # Where the subtraction is not part of decoding it is one of the number less the pair.
            for half in range(2):
                store_local(self.current["near"], half, self.current["near"][half] ^ T.uint32(MINUS_ZERO_PAIR))

    def _take_subnormal(self, both: Expr) -> None:
        """Emit what codes as they stand are multiplied by, for both rows in one register, and what is added."""
        store_local(self.current["scale"], 0, both)
        if offset := self.decoder.fmt.offset:
            low, high = (offset * 2.0 ** subnormal_exponent(half) for half in range(2))
            store_local(self.current["near"], 0, self._multiplied(both, low, high))

    def decode(self, planes: Sequence[Any], register: int) -> Expr:
        """Return a register of a tile, scaled."""
        c, decoder, dtype = self.context.config, self.decoder, self.operand
        half = register % 2
        if self.context.g.scales_subnormals:
            offset = spread(self.current["near"][0], half) if decoder.fmt.offset else T.uint32(MINUS_ZERO_PAIR)
            scaled = ScaledOps(self.masks, spread(self.current["scale"][0], half), offset)
            return decoder.decode(planes, register, self.source.table, scaled)[0]
        ops = ExactOps(decoder, self.offsets[half] if self.subtracts else {}, self.masks)
        value = decoder.decode(planes, register, self.source.table, ops)[0]
        if not ops.is_exact and (self.subtracts or decoder.value_scale != 1.0):
            # Adding -0 keeps a zero's sign.
            less = self.current["near"][half] if self.subtracts else T.uint32(MINUS_ZERO_PAIR)
            value = fma_pair(value, constant_pair(decoder.value_scale, dtype), less, dtype)
        if not c.with_scaling and not self.has_rest:
            return value
        scale = self.current["scale"][half] if c.with_scaling else constant_pair(1.0, dtype)
        rest = self.current["rest"][half] if self.has_rest else T.uint32(MINUS_ZERO_PAIR)
        return fma_pair(value, scale, rest, dtype)
