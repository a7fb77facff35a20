"""Hopper's tensor cores by wgmma, on the fragment weight layout, from a few rows of A to many.

The weight is the left operand, D^T = W A^T: a consumer warpgroup takes the stored codes of 64 rows of W from shared
memory, decodes them in registers and multiplies them with a tile of A that stays in shared memory::

    stored W --TMA--> ring --registers--> decode --> left operand --> wgmma --> sums --> D^T, transposed --> D
    A -------TMA----> ring, 128-byte swizzle ----> right operand --^

One warpgroup produces: one thread of it starts the copies. The others consume. While the tensor cores work on one step
(128 bytes of a row of A), the registers of the next one are decoded; a ring of mbarriers tells the two sides apart.
K may be shared by the warpgroups of a block and by the blocks of a cluster; their sums meet in shared memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from tvm import tirx
from tvm.script import tirx as T
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.arch import GpuArch, gpu_arch
from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import output_value, zero_point
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.intrin.fragments import PairTable, RegisterDecoder, TirxOps
from bitquant.intrin.mma import store_local
from bitquant.intrin.wgmma import (
    SWIZZLE_BYTES,
    WARPGROUP,
    Cursor,
    Ring,
    WgmmaOp,
    begin_products,
    commit_products,
    load_box,
    named_barrier,
    pin,
    right_descriptor,
    store_transposed,
    tensor_map,
    wait_for_products,
)
from bitquant.layouts import TILE_N, Layout, fragment_layout, fragment_refusal
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.base import Rule, operands
from bitquant.schedule.rules.wgmma_tiles import (
    ROWS,
    WgmmaHint,
    likely_hints,
    needed_registers,
    predicted_us,
    registers,
    unit_k,
)

__all__ = ["WgmmaHint", "WgmmaRule"]

Expr = Any

#: Bytes of W that one lane group reads at once: 16 bytes a lane.
CHUNK_BYTES = 512
#: Masks that a format's decoding needs in registers, at most.
MAX_MASKS = 16
#: Columns of D^T that pass through shared memory at a time at the end of a tile.
SLICE_M = 64
#: Most slots of a ring that are tried, hints whose ring is sized, and hints of `space`.
MAX_STAGES, CANDIDATES, SPACE = 12, 150, 60
#: The launch tag of programmatic dependent launch [sic], and the attribute that TVM reads it from.
LAUNCH_ATTR, DEPENDENT_LAUNCH = "tirx.kernel_launch_params", "tirx.use_programtic_dependent_launch"


class WgmmaRule(Rule):
    """Tensor cores by wgmma on the fragment layout (see the module)."""

    name = "wgmma"
    pipeline = "tirx"
    hint_type = WgmmaHint
    weight_layouts: ClassVar[tuple[Layout, ...]] = ("fragment",)

    def refuses(self, config: MatmulConfig, rung: int, target: Target) -> str | None:
        """Refuse other GPUs than Hopper, and rows or groups that TMA and the steps of k do not fit."""
        if target.kind.name != "cuda" or str(target.arch) != "sm_90a":
            return f"needs sm_90a (got {getattr(target, 'arch', target.kind.name)})"
        if (reason := fragment_refusal(config)) is not None:
            return reason
        if config.A_format.name != "float16":
            return f"needs A of float16 (got {config.A_format.name})"
        if config.K * config.A_format.bits % 128:
            return f"needs rows of A of whole 16 bytes, K % {128 // config.A_format.bits} == 0 (got {config.K})"
        step_k = SWIZZLE_BYTES * 8 // config.A_format.bits
        if config.with_zeros and not config.W_format.is_integer:
            return f"needs integers where W has zero points (got {config.W_format.name})"
        if (config.with_scaling or config.with_zeros) and config.scale_format.name != config.A_format.name:
            return f"needs Scale of A's type (got {config.scale_format.name})"
        if config.num_groups > 1 and config.group % step_k and step_k % config.group:
            return f"needs a group_size that divides {step_k} or is a multiple of it (got {config.group})"
        return None

    def default_hint(self, config: MatmulConfig, rung: int, target: Target) -> WgmmaHint:
        """Return the hint of the least predicted time."""
        return next(self.space(config, rung, target))

    def space(self, config: MatmulConfig, rung: int, target: Target) -> Iterator[WgmmaHint]:
        """Yield the hints worth measuring, in the order of the time that the model predicts."""
        arch = gpu_arch(str(target.arch))

        def predicted(hint: WgmmaHint) -> float:
            return predicted_us(config, rung, arch, hint)

        likely = sorted(likely_hints(config, rung), key=predicted)[:CANDIDATES]
        fitting = [hint for hint in (_with_deepest_ring(config, arch, hint) for hint in likely) if hint is not None]
        yield from sorted(fitting, key=predicted)[:SPACE]

    def smem_bytes(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> int:
        """Return the bytes of the ring, its barriers and what the end of a tile needs."""
        assert isinstance(hint, WgmmaHint)
        return _Kernel(config, rung, gpu_arch(str(target.arch)), hint).smem_bytes

    def schedule(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> PrimFunc:
        """Write the kernel for this problem.

        Raises
        ------
        ScheduleError
            If the hint's sizes do not fit each other, the layout or the GPU.
        """
        assert isinstance(hint, WgmmaHint)
        arch = gpu_arch(str(target.arch))
        if (problem := hint_problem(config, arch, hint)) is not None:
            raise ScheduleError(f"wgmma: {problem} (got {hint})", hint=hint)
        return _Kernel(config, rung, arch, hint).build()


def hint_problem(config: MatmulConfig, arch: GpuArch, hint: WgmmaHint) -> str | None:
    """Return the rule that a hint breaks, or None."""
    least_k = unit_k(config)
    if hint.block_m % 8 or not 8 <= hint.block_m <= 256:
        return "needs block_m of 8, 16 ... 256"
    if hint.block_k % least_k or hint.block_k < least_k:
        return f"needs block_k % {least_k} == 0"
    if not 1 <= hint.consumers_n * hint.consumers_k <= 4:
        return "needs 1 to 4 consumers"
    if hint.split_k not in (1, 2, 4, 8):
        return "needs split_k of 1, 2, 4 or 8"
    if hint.blocks_per_sm not in (1, 2) or min(hint.rows, hint.raster) < 1:
        return "needs blocks_per_sm of 1 or 2, and rows and raster of 1 or more"
    kernel = _Kernel(config, 1, arch, hint)
    available = registers(kernel.consumers, hint.blocks_per_sm)[1]
    if (needed := needed_registers(config, hint)) > available:
        return f"needs {needed} registers a consumer thread, and there are {available}"
    least = 2 if kernel.steps > 1 else 3
    if hint.stages < least:
        return f"needs {least} stages or more"
    if kernel.smem_bytes > (limit := _smem_limit(arch, hint)):
        return f"needs {kernel.smem_bytes} bytes of shared memory, and a block has {limit}"
    return None


def _smem_limit(arch: GpuArch, hint: WgmmaHint) -> int:
    """Return the shared memory that a block may have; the system takes 1 KiB of each block's."""
    return min(arch.smem_per_block_bytes, arch.smem_per_sm_bytes // hint.blocks_per_sm - 1024)


def _with_deepest_ring(config: MatmulConfig, arch: GpuArch, hint: WgmmaHint) -> WgmmaHint | None:
    """Return the hint with as many slots as shared memory holds, or None where they are too few."""
    kernel = _Kernel(config, 1, arch, replace(hint, stages=1))
    tail = kernel.smem_bytes - kernel.out_offset - 16
    stages = min(MAX_STAGES, (_smem_limit(arch, hint) - tail) // (kernel.slot_bytes + 16))
    fitted = replace(hint, stages=stages)
    return fitted if stages >= 1 and hint_problem(config, arch, fitted) is None else None


@dataclass(frozen=True)
class _Place:
    """Where one left operand stands in the body of the loop: stage, unit of the stage, step of the unit, row block."""

    stage: int
    unit: int
    step: int
    row: int


class _Kernel:
    """One kernel: what is known before its body is written, and the pieces of the body.

    Methods emit TIRx statements; `build` strings them together. A *step* is 128 bytes of k, a *unit* the steps of one
    tile of the weight's layout (or one step, if that is longer), a *part* the share of K of one consumer along k.
    """

    def __init__(self, config: MatmulConfig, rung: int, arch: GpuArch, hint: WgmmaHint) -> None:
        self.config, self.rung, self.hint, self.arch = config, rung, hint, arch
        c, h = config, hint
        a = c.A_format
        self.layout = fragment_layout(c)
        self.operand = a.tvm_dtype
        ptx = {"float16": "f16", "bfloat16": "bf16"}[a.name]
        self.op = WgmmaOp(h.block_m, ptx, ptx)
        self.sum_dtype = "uint32" if self.op.is_integer else "float32"
        self.decoder = RegisterDecoder(c.W_format, self.layout, self.operand, arch.capability)
        self.scales = c.with_scaling or c.with_zeros
        self.table: PairTable | None = None

        self.consumers = h.consumers
        self.threads = (self.consumers + 1) * WARPGROUP
        self.block_n = h.block_n
        self.step_k = SWIZZLE_BYTES * 8 // a.bits
        self.unit_k = unit_k(c)
        self.unit_steps = self.unit_k // self.step_k
        self.units = h.block_k // self.unit_k
        #: Steps of a consumer in a slot.
        self.steps = self.units * self.unit_steps
        #: Slots in the body of the loop: an even number of left operands, because two sets of registers alternate.
        self.body_stages = 1 if self.steps * h.rows % 2 == 0 else 2
        self.parts = h.parts
        bodies = -(-c.K // (h.block_k * self.parts * self.body_stages))
        #: Slots that each part reads, and rounds of the loop.
        self.part_stages, self.bodies = bodies * self.body_stages, bodies
        self.part_k = self.part_stages * h.block_k
        self.has_ragged_k = self.part_k * self.parts != c.K
        self.has_ragged_n = c.N % self.block_n != 0
        #: Words of a lane, and chunks of its warp, in a unit.
        self.unit_words = self.unit_k * self.layout.bits // 64
        self.unit_chunks = self.unit_words // 4
        self.tile_words = self.layout.tile_bytes // (CHUNK_BYTES // 4)
        self.sums = h.block_m // 2
        self._lay_out()

    def _lay_out(self) -> None:
        """Place slots, barriers and the end of a tile in shared memory."""
        c, h = self.config, self.hint
        self.a_box_bytes = h.block_m * SWIZZLE_BYTES
        self.a_bytes = h.consumers_k * self.steps * self.a_box_bytes
        self.w_part_bytes = self.block_n // TILE_N * self.units * self.unit_chunks * CHUNK_BYTES
        self.slot_bytes = self.a_bytes + h.consumers_k * self.w_part_bytes
        out_bytes = c.out_format.bits // 8
        #: Rows of the tile that leaves are padded by a chunk, so that neither lanes of a row nor of a column collide.
        self.out_stride = ROWS * out_bytes + 16
        self.slice_m = min(SLICE_M, h.block_m)
        ring = h.stages * self.slot_bytes
        partials = self.consumers * h.rows * self.sums * WARPGROUP * 4 if self.parts > 1 else 0
        self.out_offset = -(-max(ring, partials) // 1024) * 1024
        self.barrier_offset = self.out_offset + self.consumers * self.slice_m * self.out_stride
        self.mask_offset = self.barrier_offset + 16 * h.stages
        self.table_offset = self.mask_offset + 4 * MAX_MASKS
        self.smem_bytes = self.table_offset + self.decoder.table_bytes
        #: Bytes that a thread stores at a time: rows of D start at multiples of it.
        self.store_bytes = math.gcd(16, c.N * out_bytes)

    # Set up.

    def bind(
        self, Scale: Any, Zeros: Any, Bias: Any, D: Any, m: Expr, maps: Sequence[Expr], block: Expr, rank: Expr,
        thread: Expr, arena: Any,
    ) -> None:  # fmt: skip
        """Take the function's operands, and compute where this block and thread stand."""
        h = self.hint
        self.Scale, self.Zeros, self.Bias, self.D, self.m = Scale, Zeros, Bias, D, m
        self.a_map, self.w_map = maps
        self.block, self.rank = block, rank
        self.base = self.local("uint32", T.cuda.cvta_generic_to_shared(arena.ptr_to([0])))
        self.lane, self.warp = thread % 32, thread // 32 % 4
        self.thread = thread % WARPGROUP
        # A shuffle tells the compiler that all lanes have the same warpgroup, so that branches on it are uniform.
        self.group = self.local("int32", self._uniform(thread // WARPGROUP))
        self.part_n = self.group // h.consumers_k
        self.part_k_index = self.group % h.consumers_k
        self.ring = Ring(self.base + T.uint32(self.barrier_offset), h.stages, 4 * self.consumers)
        self.n_blocks = -(-self.config.N // self.block_n)
        self.m_blocks = (m + (h.block_m - 1)) // h.block_m

    @staticmethod
    def local(dtype: str, value: Expr) -> Expr:
        """Emit a variable of this thread that begins as `value`; return it."""
        buffer = T.alloc_local((1,), dtype)
        store_local(buffer, 0, value)
        return buffer[0]

    @staticmethod
    def _uniform(value: Expr) -> Expr:
        """Return a value as that of the warp's first lane."""
        return T.tvm_warp_shuffle(T.uint32(0xFFFFFFFF), value, 0, 32, 32)

    def is_producer(self) -> Expr:
        """Return whether this thread belongs to the producing warpgroup."""
        return self.group == self.consumers

    def initialize(self, thread: Expr, arena: Any) -> None:
        """Emit the initialization of the barriers and of the decoder's masks."""
        self.mask_constants = sorted({mask for half in range(2) for mask in self.recorded(half).found_masks})
        assert len(self.mask_constants) <= MAX_MASKS
        if self.decoder.has_table:
            self.table = PairTable(arena, self.table_offset, self.lane)
            self.decoder.fill_table(arena, self.table_offset, thread, self.threads)
        with T.If(thread == 0), T.Then():
            self.ring.initialize()
            for i, mask in enumerate(self.mask_constants):
                T.evaluate(T.ptx["st.shared.u32"](self.base + T.uint32(self.mask_offset + 4 * i), T.uint32(mask)))
        T.evaluate(T.cuda.cta_sync())

    def set_registers(self, is_producer: bool) -> None:
        """Emit the move of registers from the producer to the consumers."""
        producer, consumer = registers(self.consumers, self.hint.blocks_per_sm)
        if producer < consumer:
            action, count = ("dec", producer) if is_producer else ("inc", consumer)
            T.evaluate(T.ptx[f"setmaxnreg.{action}.sync.aligned.u32"](count))

    def tile_origin(self, tile: Expr) -> tuple[Expr, Expr]:
        """Emit the coordinates of a tile; return its first row of A and its first row of W."""
        raster = self.hint.raster
        per_band = raster * self.n_blocks
        band, place = T.truncdiv(tile, per_band), T.truncmod(tile, per_band)
        rows = self.local("int32", T.min(self.m_blocks - band * raster, raster))
        m0 = self.local("int32", (band * raster + T.truncmod(place, rows)) * self.hint.block_m)
        n0 = self.local("int32", T.truncdiv(place, rows) * self.block_n)
        return m0, n0

    # The producer.

    def produce(self, tiles: Expr, tile: Any, stride: Expr) -> None:
        """Emit all copies of a block, by one thread: those of tiles `tile`, `tile` + `stride`, ... below `tiles`.

        The first slots get their part of the weight before the kernel before this one has ended; A may be its result.
        Only then is the next kernel let in, so that no kernel starts before the last but one has ended.
        """
        first = min(self.hint.stages, self.part_stages)
        for_w, for_both = Cursor(self.hint.stages), Cursor(self.hint.stages)
        origin = self.tile_origin(tile[0])
        with T.serial(first) as stage:
            self.ring.expect(for_w, self.slot_bytes)
            self._load_w(origin, stage, for_w)
            for_w.advance()
        T.evaluate(T.ptx["griddepcontrol.wait"]())
        T.evaluate(T.ptx["griddepcontrol.launch_dependents"]())
        with T.serial(first) as stage:
            self._load_a(origin, stage, for_both)
            for_both.advance()
        done = T.alloc_local((1,), "int32")
        store_local(done, 0, T.int32(first))
        with T.While(tile[0] < tiles):
            origin = self.tile_origin(tile[0])
            with T.serial(self.part_stages - done[0]) as later:
                self.ring.wait_empty(for_both)
                self.ring.expect(for_both, self.slot_bytes)
                self._load_a(origin, done[0] + later, for_both)
                self._load_w(origin, done[0] + later, for_both)
                for_both.advance()
            store_local(done, 0, T.int32(0))
            store_local(tile, 0, tile[0] + stride)

    def _slot(self, cursor: Cursor) -> Expr:
        """Return the address of a slot."""
        return self.base + (cursor.slot * self.slot_bytes).astype("uint32")

    def _first_k(self, part: int, stage: Expr) -> Expr:
        """Return where a slot's share of K begins, for one of the block's parts."""
        return (self.rank * self.hint.consumers_k + part) * self.part_k + stage * self.hint.block_k

    def _load_a(self, origin: tuple[Expr, Expr], stage: Expr, cursor: Cursor) -> None:
        """Emit the copies of a slot's boxes of A."""
        for part in range(self.hint.consumers_k):
            for step in range(self.steps):
                target = self._slot(cursor) + T.uint32((part * self.steps + step) * self.a_box_bytes)
                k = self._first_k(part, stage) + step * self.step_k
                load_box(target, self.a_map, [k, origin[0]], self.ring.full(cursor.slot))

    def _load_w(self, origin: tuple[Expr, Expr], stage: Expr, cursor: Cursor) -> None:
        """Emit the copies of a slot's boxes of the weight."""
        layout = self.layout
        for part in range(self.hint.consumers_k):
            target = self._slot(cursor) + T.uint32(self.a_bytes + part * self.w_part_bytes)
            chunk = self._first_k(part, stage) // layout.tile_k * (layout.tile_bytes // CHUNK_BYTES)
            load_box(target, self.w_map, [0, chunk, origin[1] // TILE_N], self.ring.full(cursor.slot))

    # The consumers.

    def begin_consumer(self) -> None:
        """Emit the variables of a consumer."""
        h = self.hint
        self.acc = [T.alloc_local((self.sums,), self.sum_dtype) for _ in range(h.rows)]
        self.left = [T.alloc_local((16,), "uint32") for _ in range(2)]
        self.words = [T.alloc_local((self.unit_words,), "uint32") for _ in range(h.rows)]
        #: Slots that are read next, multiplied now, and released next.
        self.reading, self.multiplying, self.releasing = (Cursor(h.stages) for _ in range(3))
        if self.scales:
            self.factors = [_Factors(self, row) for row in range(h.rows)]
            # From shared memory, or the compiler would load each constant anew for each use.
            self.masks = {}
            for i, mask in enumerate(self.mask_constants):
                register = T.alloc_local((1,), "uint32")
                T.evaluate(T.ptx["ld.shared.u32"](register[0], self.base + T.uint32(self.mask_offset + 4 * i)))
                self.masks[mask] = register[0]

    def consume_tile(self, tile: Expr) -> None:
        """Emit the products of one tile, and their way to D."""
        h = self.hint
        m0, n0 = self.tile_origin(tile)
        self.n0 = n0
        #: First step of this part.
        self.first_step = self.local(
            "int32", (self.rank * h.consumers_k + self.part_k_index) * (self.part_stages * self.steps)
        )
        places = [
            _Place(stage, unit, step, row)
            for stage in range(self.body_stages)
            for unit in range(self.units)
            for step in range(self.unit_steps)
            for row in range(h.rows)
        ]
        for acc in self.acc:
            with T.unroll(self.sums) as i:
                store_local(acc, i, tirx.const(0, self.sum_dtype))
        if self.scales:
            for factors in self.factors:
                factors.begin_tile()
        self.ring.wait_full(self.reading)
        for row in range(h.rows):
            self._load_words(0, row)
        self._decode(places, 0, T.int32(0), is_first=True)
        with T.serial(self.bodies) as body:
            for i, place in enumerate(places):
                self._multiply(place, self.left[i % 2])
                wait_for_products(1)
                self._release_before(places, i, body)
                if i + 1 < len(places):
                    self._decode(places, i + 1, body)
                else:
                    with T.If(body + 1 < self.bodies), T.Then():
                        self._decode(places, 0, body + 1)
        wait_for_products(0)
        for acc in self.acc:
            pin(acc)
        self._release()
        self.reading.advance()
        self._store_tile(m0, n0)

    def _release(self) -> None:
        """Emit that this warp has done with a slot."""
        with T.If(self.lane == 0), T.Then():
            self.ring.release(self.releasing)
        self.releasing.advance()

    def _release_before(self, places: Sequence[_Place], i: int, body: Expr) -> None:
        """Emit the release of the slot that the left operand before the i-th was the last to use, if it was."""
        if i and places[i].stage != places[i - 1].stage:
            self._release()
        elif i == 0:
            with T.If(body > 0), T.Then():
                self._release()

    def _multiply(self, place: _Place, left: Any) -> None:
        """Emit the products of one left operand with its step of A."""
        h = self.hint
        step = place.unit * self.unit_steps + place.step
        box = self.part_k_index * self.steps + step
        address = self.base + (self.multiplying.slot * self.slot_bytes + box * self.a_box_bytes).astype("uint32")
        descriptor = T.alloc_local((1,), "uint64")
        store_local(descriptor, 0, right_descriptor(address))
        begin_products()
        acc = self.acc[place.row]
        for j in range(4):
            # 32 bytes of k further, in units of 16 bytes.
            at = descriptor[0] + T.uint64(2 * j)
            self.op.emit([acc[r] for r in range(self.sums)], [left[4 * j + p] for p in range(4)], at)
        commit_products()
        if place.row == h.rows - 1 and step == self.steps - 1:
            self.multiplying.advance()

    def _load_words(self, unit: int, row: int) -> None:
        """Emit the loads of this lane's codes of a unit of the slot that is being read."""
        h = self.hint
        tile_row = (self.part_n * h.rows + row) * 4 + self.warp
        chunk = (tile_row * self.units + unit) * self.unit_chunks
        offset = self.a_bytes + self.part_k_index * self.w_part_bytes + chunk * CHUNK_BYTES + self.lane * 16
        address = self.local("uint32", self.base + (self.reading.slot * self.slot_bytes + offset).astype("uint32"))
        words = self.words[row]
        for i in range(self.unit_chunks):
            registers = [words[4 * i + j] for j in range(4)]
            T.evaluate(T.ptx["ld.shared.v4.u32"](*registers, address + T.uint32(i * CHUNK_BYTES)))

    def _decode(self, places: Sequence[_Place], i: int, body: Expr, is_first: bool = False) -> None:
        """Emit the i-th left operand of a body, and then the loads of the codes that take the place of its own."""
        place = places[i]
        left = self.left[i % 2]
        step = (place.stage * self.units + place.unit) * self.unit_steps + place.step
        absolute = self.first_step + body * (self.body_stages * self.steps) + step
        for r in range(16):
            if self.scales and r % 4 == 0:
                self.factors[place.row].enter(absolute, step, r // 4, is_first)
            value = self._operand(place, r)
            if self.has_ragged_k:
                k = absolute * self.step_k + r // 4 * self.op.step_k + r % 4 // 2 * (self.op.step_k // 2)
                value = T.Select(k < self.config.K, value, T.uint32(0))
            store_local(left, r, value)
        if place.step < self.unit_steps - 1:
            return
        # The codes are used up: load those of the next unit for the same rows.
        if place.unit + 1 < self.units:
            self._load_words(place.unit + 1, place.row)
        elif place.stage + 1 < self.body_stages:
            self._load_next_stage(place.row)
        else:
            with T.If(body + 1 < self.bodies), T.Then():
                self._load_next_stage(place.row)

    def _load_next_stage(self, row: int) -> None:
        if row == 0:
            self.reading.advance()
            self.ring.wait_full(self.reading)
        self._load_words(0, row)

    def _operand(self, place: _Place, r: int) -> Expr:
        """Return register r of a step's left operand, scaled."""
        tile, register = divmod(place.step * 16 + r, self.layout.registers)
        words = self.words[place.row]
        first = tile * self.tile_words
        planes = [_Words(words, first + plane.byte_offset // (CHUNK_BYTES // 4)) for plane in self.layout.planes]
        if self.scales:
            return self.factors[place.row].decode(planes, register)
        return self.decoder.decode(planes, register, self.table)[0]

    def recorded(self, half: int) -> _Recorder:
        """Return what decoding adds to, and masks of, the registers of row g + 8 * half."""
        recorder = _Recorder(self.decoder)
        for register in range(half, self.layout.registers, 2) if self.decoder.fmt.is_integer else ():
            words = [lambda _: tirx.Var("word", "uint32") for _ in self.layout.planes]
            self.decoder.decode(words, register, None, recorder)
        return recorder

    # The end of a tile.

    def _store_tile(self, m0: Expr, n0: Expr) -> None:
        """Emit the sums' way to D: over K's parts, through shared memory to rows of D."""
        h = self.hint
        columns = h.block_m // 8
        first_column: Expr = T.int32(0)
        if self.parts > 1:
            self._exchange_sums()
            columns = -(-columns // self.parts)
            first_column = self.local("int32", (self.rank * h.consumers_k + self.part_k_index) * columns)
        per_slice = self.slice_m // 8
        for row in range(h.rows):
            n = self.local("int32", n0 + (self.part_n * h.rows + row) * ROWS)
            bias = self._load_bias(n)
            for first in range(0, columns, per_slice):
                count = min(per_slice, columns - first)
                self._stage_slice(row, first_column + first, count, bias)
                named_barrier(self.group + 1, WARPGROUP)
                self._store_slice(m0, (first_column + first) * 8, n, count * 8)
                named_barrier(self.group + 1, WARPGROUP)

    def _load_bias(self, n: Expr) -> Any:
        """Emit the loads of the two biases of this thread."""
        if not self.config.with_bias:
            return None
        bias = T.alloc_local((2,), self.config.out_format.tvm_dtype)
        for half in range(2):
            at = n + self.warp * 16 + self.lane // 4 + 8 * half
            store_local(bias, half, self.Bias[T.min(at, self.config.N - 1) if self.has_ragged_n else at])
        return bias

    def _sum(self, row: int, column: Expr, i: int) -> Expr:
        """Return sum i (0 to 3) of a block of 8 columns as the number that it is."""
        if self.parts == 1:
            value = self.acc[row][column * 4 + i]
        else:
            kind = "u32" if self.op.is_integer else "f32"
            total = T.alloc_local((2,), self.sum_dtype)
            h = self.hint
            for part in range(self.parts):
                rank, ck = part // h.consumers_k, part % h.consumers_k
                index = ((self.part_n * h.consumers_k + ck) * h.rows + row) * self.sums + column * 4 + i
                address = self.base + ((index * WARPGROUP + self.thread) * 4).astype("uint32")
                if h.split_k > 1:
                    remote = T.alloc_local((1,), "uint32")
                    T.evaluate(T.ptx["mapa.shared::cluster.u32"](remote[0], address, T.uint32(rank)))
                    T.evaluate(T.ptx[f"ld.shared::cluster.{kind}"](total[1], remote[0]))
                else:
                    T.evaluate(T.ptx[f"ld.shared.{kind}"](total[1], address))
                store_local(total, 0, total[0] + total[1] if part else total[1])
            value = total[0]
        if self.op.is_integer:
            return tirx.reinterpret("int32", value)
        unit = self.decoder.value_scale
        return value if self.scales or unit == 1.0 else value * T.float32(unit)

    def _exchange_sums(self) -> None:
        """Emit the stores of this consumer's sums to shared memory, and the wait for everybody else's."""
        h = self.hint
        kind = "u32" if self.op.is_integer else "f32"
        # The ring is used up by all consumers before it is overwritten.
        named_barrier(T.int32(self.consumers + 1), self.consumers * WARPGROUP)
        for row in range(h.rows):
            first = (self.group * h.rows + row) * self.sums
            address = self.local("uint32", self.base + ((first * WARPGROUP + self.thread) * 4).astype("uint32"))
            for i in range(self.sums):
                at = address + T.uint32(i * WARPGROUP * 4)
                T.evaluate(T.ptx[f"st.shared.{kind}"](at, self.acc[row][i]))
        if h.split_k > 1:
            self.sync_cluster()
        else:
            named_barrier(T.int32(self.consumers + 1), self.consumers * WARPGROUP)

    def sync_cluster(self) -> None:
        """Emit a barrier of all threads of the cluster."""
        if self.hint.split_k > 1:
            T.evaluate(T.ptx["barrier.cluster.arrive.release"]())
            T.evaluate(T.ptx["barrier.cluster.wait.acquire"]())

    def _stage_slice(self, row: int, first: Expr, count: int, bias: Any) -> None:
        """Emit the stores of `count` blocks of 8 columns of D^T, transposed, to this consumer's shared memory."""
        c = self.config
        bits = c.out_format.bits
        base = self.base + (self.out_offset + self.group * (self.slice_m * self.out_stride)).astype("uint32")

        def output(column: int, i: int) -> Expr:
            value = output_value(c, self._sum(row, first + column, i), None if bias is None else bias[i // 2])
            return tirx.reinterpret(f"uint{bits}", value)

        if bits == 16:
            matrix, line = self.lane // 8, self.lane % 8
            for j in range(0, count, 2):
                blocks = min(2, count - j)
                words = T.alloc_local((2 * blocks,), "uint32")
                for i in range(2 * blocks):
                    pair = [output(j + i // 2, i % 2 * 2 + e).astype("uint32") for e in range(2)]
                    store_local(words, i, pair[0] | (pair[1] << T.uint32(16)))
                # Lanes 16 to 31 name rows of the second block, where there is one.
                block = matrix // 2 if blocks == 2 else 0
                offset = ((j + block) * 8 + line) * self.out_stride + (self.warp * 2 + matrix % 2) * 16
                store_transposed(base + offset.astype("uint32"), [words[i] for i in range(2 * blocks)])
            return
        kind = f"b{bits}" if bits > 8 else "u8"
        for j in range(count):
            for i in range(4):
                m, n = j * 8 + self.lane % 4 * 2 + i % 2, self.warp * 16 + self.lane // 4 + i // 2 * 8
                address = base + (m * self.out_stride + n * (bits // 8)).astype("uint32")
                value = output(j, i)
                T.evaluate(T.ptx[f"st.shared.{kind}"](address, value.astype("uint16") if bits == 8 else value))

    def _store_slice(self, m0: Expr, first: Expr, n_first: Expr, count: int) -> None:
        """Emit the stores of `count` rows of 64 outputs from shared memory to D, from row `first` of the tile on."""
        c = self.config
        out_bytes = c.out_format.bits // 8
        width = self.store_bytes
        per_row = ROWS * out_bytes // width
        base = self.base + (self.out_offset + self.group * (self.slice_m * self.out_stride)).astype("uint32")
        # The last of K's parts may get rows beyond the tile.
        m_last = T.min(self.m, m0 + self.hint.block_m) if self.parts > 1 else self.m
        words = max(1, width // 4)
        kind = {16: "v4.u32", 8: "v2.u32", 4: "u32", 2: "u16", 1: "u8"}[width]
        is_static = c.has_fixed_rows(self.rung) and self.rung * c.N < 1 << 31

        def piece(index: Expr) -> None:
            row, column = index // per_row, index % per_row * width
            m = m0 + first + row
            inside = m < m_last
            n = n_first + column // out_bytes
            if self.has_ragged_n:
                inside = tirx.all(inside, n < c.N)
            with T.If(inside), T.Then():
                value = T.alloc_local((words,), "uint32" if width >= 4 else "uint16")
                registers = [value[i] for i in range(words)]
                address = base + (row * self.out_stride + column).astype("uint32")
                T.evaluate(T.ptx[f"ld.shared.{kind}"](*registers, address))
                target = self.D.ptr_to([m if is_static else T.cast(m, "int64"), n])
                T.evaluate(T.ptx[f"st.global.{kind}"](target, *registers))

        total = count * per_row
        for i in range(total // WARPGROUP):
            piece(i * WARPGROUP + self.thread)
        if total % WARPGROUP:
            with T.If(self.thread < total % WARPGROUP), T.Then():
                piece(total // WARPGROUP * WARPGROUP + self.thread)

    def build(self) -> PrimFunc:
        """Return the kernel."""
        c, h, layout = self.config, self.hint, self.layout
        spec = operands(c, self.rung, "fragment")
        N, K = c.N, c.K
        threads, smem_bytes, split_k = self.threads, self.smem_bytes, h.split_k
        n_blocks = -(-N // self.block_n)
        # Where K is shared a block computes one tile, because the partial sums take the place of the ring.
        is_persistent = self.parts == 1
        row_chunks = layout.tiles_k(K) * layout.tile_bytes // CHUNK_BYTES
        a_bytes = c.A_format.bits // 8
        w_words = CHUNK_BYTES // 8
        w_extents = [w_words, row_chunks, layout.tiles_n(N)]
        w_strides = [CHUNK_BYTES, row_chunks * CHUNK_BYTES]
        w_box = [w_words, self.units * self.unit_chunks, self.block_n // TILE_N]
        most_blocks, blocks_per_sm = self.arch.sm_count * h.blocks_per_sm, h.blocks_per_sm
        kernel = self

        @T.prim_func(check_well_formed=False)
        def wgmma(
            A_handle: T.handle, B_handle: T.handle, Scale_handle: T.handle, Zeros_handle: T.handle,
            Bias_handle: T.handle, D_handle: T.handle,
        ):  # fmt: skip
            m = T.meta_var(spec.rows(T.int32()))
            A = T.match_buffer(A_handle, (m, K), spec.A)
            B = T.match_buffer(B_handle, spec.B_shape, spec.B)
            Scale = T.match_buffer(Scale_handle, spec.Scale_shape, spec.Scale)
            Zeros = T.match_buffer(Zeros_handle, spec.Zeros_shape, spec.Zeros)
            Bias = T.match_buffer(Bias_handle, (N,), spec.D)
            D = T.match_buffer(D_handle, (m, N), spec.D)
            A_map: T.let[T.handle("tensormap")] = T.tvm_stack_alloca("tensormap", 1)
            T.call_packed(
                "runtime.cuTensorMapEncodeTiled", A_map, spec.A, 2, A.data,
                *tensor_map([K, m], [K * a_bytes], [kernel.step_k, h.block_m], True),
            )  # fmt: skip
            W_map: T.let[T.handle("tensormap")] = T.tvm_stack_alloca("tensormap", 1)
            T.call_packed(
                "runtime.cuTensorMapEncodeTiled", W_map, "uint64", 3, B.data,
                *tensor_map(w_extents, w_strides, w_box, False),
            )  # fmt: skip
            T.device_entry()
            T.attr({"tirx.launch_bounds_min_blocks_per_sm": blocks_per_sm})
            tiles = T.meta_var(T.ceildiv(m, h.block_m) * n_blocks)
            blocks = T.meta_var(T.min(tiles, most_blocks) if is_persistent else tiles * split_k)
            block = T.cta_id([blocks])
            rank = T.meta_var(T.cta_id_in_cluster([split_k]) if split_k > 1 else 0)
            thread = T.thread_id([threads])
            arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=1024)
            maps = T.meta_var([T.address_of(A_map), T.address_of(W_map)])
            kernel.bind(Scale, Zeros, Bias, D, m, maps, block, rank, thread, arena)
            kernel.initialize(thread, arena)
            tile = T.alloc_local((1,), "int32")
            tile[0] = block // split_k
            if kernel.is_producer():
                kernel.set_registers(True)
                if kernel.thread == 0:
                    kernel.produce(tiles, tile, T.truncdiv(blocks, split_k))
                kernel.sync_cluster()
            else:
                kernel.set_registers(False)
                kernel.begin_consumer()
                while tile[0] < tiles:
                    kernel.consume_tile(tile[0])
                    tile[0] = tile[0] + blocks // split_k
            kernel.sync_cluster()

        return spec.bind(wgmma).with_attr(LAUNCH_ATTR, [DEPENDENT_LAUNCH])


def _constant(value: float, dtype: str) -> Expr:
    """Return a pair of equal 16-bit floats as a word."""
    one = tirx.const(value, dtype)
    return tirx.reinterpret("uint16", one).astype("uint32") * T.uint32(0x10001)


class _Factors:
    """Scales and zero points of one block of 64 rows, as a thread applies them to its two rows (g and g + 8).

    The four lanes that share rows hold the factors of four consecutive groups, and pass them on as groups begin; the
    next four are on their way meanwhile.

    decode(w) = (w - i) s + decode(i) with an integer i near the zero point: w - i is exact and the product is added to
    decode(i) with one rounding. decode(i) is zero for integer zero points, and rounded once for others.
    """

    def __init__(self, kernel: _Kernel, row: int) -> None:
        self.kernel, self.row = kernel, row
        c = kernel.config
        self.group_steps, self.groups_per_step = c.group // kernel.step_k, max(1, kernel.step_k // c.group)
        self.has_rest = c.with_zeros and not c.has_packed_zeros
        self.subtracts = c.with_zeros and c.zeros_mode != "rescale"
        #: What a lane holds for its own group, of rows g and g + 8: raw values, then pairs.
        self.raw = [T.alloc_local((2,), "float32") for _ in range(2)]
        kinds = ("scale", "near", "rest")
        self.held = {kind: T.alloc_local((1,), "uint32") for kind in kinds}
        self.current = {kind: T.alloc_local((2,), "uint32") for kind in kinds}
        #: For either row: what decoding adds, less the zero point.
        self.offsets: list[dict[float, Expr]] = [{}, {}]
        for half in range(2) if self.subtracts else ():
            constants = sorted(kernel.recorded(half).constants)
            registers = T.alloc_local((max(1, len(constants)),), "uint32")
            self.offsets[half] = {constant: registers[i] for i, constant in enumerate(constants)}

    def begin_tile(self) -> None:
        """Emit the loads for the first groups of a tile."""
        self._load(self._group_of(self.kernel.first_step, 0) // 4 * 4)

    def _group_of(self, step: Expr, j: int) -> Expr:
        c, kernel = self.kernel.config, self.kernel
        if c.num_groups == 1:
            return T.int32(0)
        if self.group_steps:
            return step // self.group_steps
        return step * self.groups_per_step + j * kernel.op.step_k // c.group

    def _load(self, first: Expr) -> None:
        """Emit the loads of groups `first` to `first` + 3, one a lane."""
        c, kernel = self.kernel.config, self.kernel
        g = T.min(first + kernel.lane % 4, c.num_groups - 1) if c.num_groups > 1 else T.int32(0)
        for half in range(2):
            n = kernel.n0 + (kernel.part_n * kernel.hint.rows + self.row) * ROWS
            n = n + kernel.warp * 16 + kernel.lane // 4 + 8 * half
            n = T.min(n, c.N - 1) if kernel.has_ragged_n else n
            if c.with_scaling:
                store_local(self.raw[0], half, kernel.Scale[n, g].astype("float32"))
            if c.with_zeros:
                store_local(self.raw[1], half, zero_point(c, kernel.Zeros, n, g).astype("float32"))

    def _pack(self) -> None:
        """Emit the factors of this lane's group from its raw values."""
        c, operand = self.kernel.config, self.kernel.operand
        scale = [self.raw[0][i] if c.with_scaling else None for i in range(2)]
        if c.with_scaling:
            store_local(self.held["scale"], 0, _pair(scale[0], scale[1], operand))
        if not c.with_zeros:
            return
        zero = [self.raw[1][i] for i in range(2)]
        if self.subtracts:
            # Within these bounds the difference with a code is an integer that the type holds.
            bound = T.float32(512.0 if operand == "float16" else 64.0)
            near = zero
            if self.has_rest:
                near = [T.max(T.min(tirx.nearbyint(z), bound), -bound) for z in zero]
            store_local(self.held["near"], 0, _pair(near[0], near[1], operand))
        else:
            near = [T.float32(0), T.float32(0)]
        if self.has_rest:
            rest = [apply_scale_and_zero(i, s, z, c.zeros_mode) for i, s, z in zip(near, scale, zero, strict=True)]
            store_local(self.held["rest"], 0, _pair(rest[0], rest[1], operand))

    def enter(self, step: Expr, place: int, j: int, is_first: bool) -> None:
        """Emit the change to the group of mma step j of step `step`, where that is the first of its group.

        `place` is the step's place in the body of the loop, whose first step is a multiple of the body's length.
        """
        kernel, c = self.kernel, self.kernel.config
        if (self.group_steps and j) or j * kernel.op.step_k % c.group:
            return
        group = self._group_of(step, j)
        if is_first and j == 0:
            self._pack()
            if c.num_groups > 4:
                self._load(group // 4 * 4 + 4)
            self._take(group)
            return
        if c.num_groups == 1:
            return
        body = kernel.body_stages * kernel.steps
        step_of_group = math.gcd(body, self.group_steps) if self.group_steps else 1
        if place % step_of_group:
            return
        if self.group_steps and self.group_steps != step_of_group:
            with T.If(step % self.group_steps == 0), T.Then():
                self._advance(group)
        else:
            self._advance(group)

    def _advance(self, group: Expr) -> None:
        if self.kernel.config.num_groups > 4:
            with T.If(group % 4 == 0), T.Then():
                self._pack()
                self._load(group + 4)
        self._take(group)

    def _take(self, group: Expr) -> None:
        """Emit the passing of a group's factors to all lanes, each as pairs of equal numbers for both rows."""
        c, kernel = self.kernel.config, self.kernel
        kinds = [("scale", c.with_scaling), ("near", self.subtracts), ("rest", self.has_rest)]
        for kind, is_there in kinds:
            if not is_there:
                continue
            both = self.held[kind][0]
            if c.num_groups > 1:
                source = kernel.lane // 4 * 4 + group % 4
                both = kernel.local("uint32", T.tvm_warp_shuffle(T.uint32(0xFFFFFFFF), both, source, 32, 32))
            for half in range(2):
                selector = T.uint32(0x1010 if half == 0 else 0x3232)
                value = T.call_pure_extern("uint32", "__byte_perm", both, T.uint32(0), selector)
                store_local(self.current[kind], half, value)
        kind = "f16x2" if kernel.operand == "float16" else "bf16x2"
        for half, offsets in enumerate(self.offsets):
            for constant, register in offsets.items():
                T.evaluate(
                    T.ptx[f"sub.{kind}"](register, _constant(constant, kernel.operand), self.current["near"][half])
                )

    def decode(self, planes: Sequence[Any], register: int) -> Expr:
        """Return a register of a tile, scaled."""
        kernel, c, dtype = self.kernel, self.kernel.config, self.kernel.operand
        half = register % 2
        ops = _ExactOps(kernel.decoder, self.offsets[half] if self.subtracts else {}, kernel.masks)
        value = kernel.decoder.decode(planes, register, kernel.table, ops)[0]
        if not ops.is_exact and kernel.decoder.value_scale != 1.0:
            value = _fma(value, _constant(kernel.decoder.value_scale, dtype), T.uint32(0x80008000), dtype)
        if self.subtracts and not ops.is_exact:
            value = _fma(self.current["near"][half], _constant(-1.0, dtype), value, dtype)
        if not c.with_scaling and not self.has_rest:
            return value
        scale = self.current["scale"][half] if c.with_scaling else _constant(1.0, dtype)
        rest = self.current["rest"][half] if self.has_rest else T.uint32(0x80008000)  # Adding -0 keeps a zero's sign.
        return _fma(value, scale, rest, dtype)


class _ExactOps(TirxOps):
    """Decoding of integers to their values, less a zero point, in one operation where a format's decoding is one.

    The decoder's numbers are the values times a power of two, which a scale of float16 may be too small to take up.
    """

    def __init__(self, decoder: RegisterDecoder, offsets: dict[float, Expr], masks: dict[int, Expr]) -> None:
        self.decoder, self.offsets, self.masks = decoder, offsets, masks
        self.is_exact = False

    def place(self, mul: int, dtype: str) -> int | None:
        """Return the bit of a half at which codes stand, where an exponent beside them makes their unit 1."""
        fmt = self.decoder.fmt
        if not fmt.is_integer or len(self.decoder.layout.planes) > 1 or fmt.bits == 8 or dtype != "float16":
            return None
        # The product is the value over value_scale; codes at bit b are 2^(b - 24) as numbers of float16.
        factor = float(np.uint16(mul & 0xFFFF).view(np.float16)) * self.decoder.value_scale
        bit = round(math.log2(self.step * 2.0**24 / factor))
        return bit if bit + fmt.bits <= 10 else None

    @property
    def step(self) -> int:
        """Distance of neighbouring values."""
        return 2 if self.decoder.fmt.name == "int1" else 1

    def constant(self, bit: int) -> float:
        """Return what takes the exponent and the code's offset away."""
        fmt = self.decoder.fmt
        return -(2.0 ** (10 - bit)) * self.step - (1 if fmt.name == "int1" else fmt.code_offset)

    def fma(self, x: Expr, mul: int, add: int | Expr, dtype: str) -> Expr:
        """Emit x * mul + add, or the same number with its unit restored and the zero point subtracted."""
        bit = self.place(mul, dtype)
        if bit is None:
            return super().fma(x, mul, add, dtype)
        self.is_exact = True
        # Where bit b has unit 1 the exponent is 10 - b; its bias is 15.
        x = (x.a & self.masks[int(x.b)]) | T.uint32((25 - bit << 10) * 0x10001)
        constant = self.constant(bit)
        offset = self.offsets.get(constant, _constant(constant, dtype))
        return _fma(x, _constant(float(self.step), dtype), offset, dtype)


class _Recorder(_ExactOps):
    """Collects masks and constants of a decoding without emitting it."""

    def __init__(self, decoder: RegisterDecoder) -> None:
        super().__init__(decoder, {}, {})
        self.found_masks: set[int] = set()
        self.constants: set[float] = set()

    def hold(self, x: Expr) -> Expr:
        """Return x."""
        return x

    def fma(self, x: Expr, mul: int, add: int | Expr, dtype: str) -> Expr:
        """Collect."""
        if (bit := self.place(mul, dtype)) is not None:
            self.found_masks.add(int(x.b))
            self.constants.add(self.constant(bit))
        return x


def _fma(x: Expr, mul: Expr, add: Expr, dtype: str) -> Expr:
    """Emit x * mul + add, rounded once, on a pair of the operand's type; return the register."""
    result = T.alloc_local((1,), "uint32")
    T.evaluate(T.ptx["fma.rn.f16x2" if dtype == "float16" else "fma.rn.bf16x2"](result[0], x, mul, add))
    return result[0]


@dataclass(frozen=True)
class _Words:
    """Part of a buffer of words, from `first` on."""

    buffer: Any
    first: int

    def __call__(self, i: int) -> Expr:
        """Return word i."""
        return self.buffer[self.first + i]


def _pair(low: Expr, high: Expr, dtype: str) -> Expr:
    """Return two float32 numbers, rounded to 16 bits, in one register."""
    low, high = (tirx.reinterpret("uint16", v.astype(dtype)).astype("uint32") for v in (low, high))
    return low | (high << T.uint32(16))
