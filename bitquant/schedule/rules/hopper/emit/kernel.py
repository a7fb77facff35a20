"""Hopper's tensor cores by wgmma, on the fragment weight layout, from a few rows of A to many.

The weight is the left operand, D^T = W A^T: a consumer warpgroup takes the stored codes of 64 rows of W from shared
memory, decodes them in registers and multiplies them with a tile of A that stays in shared memory::

    stored W --TMA--> ring --registers--> decode --> left operand --> wgmma --> sums --> D^T, transposed --> D
    A -------TMA----> ring, 128-byte swizzle ----> right operand --^

One warpgroup produces: one thread of it starts the copies. The others consume. While the tensor cores work on one step
(128 bytes of a row of A), the registers of the next one are decoded; a ring of mbarriers tells the two sides apart.
K may be shared by the warpgroups of a block and by the blocks of a cluster; their sums meet in shared memory. Blocks
that share no K walk over tiles; the tiles of a last wave that would leave most of them idle are shared by clusters.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.intrin.launch import (
    arrive_at_cluster,
    cluster_rank,
    trigger_dependent_launch,
    wait_for_cluster,
    wait_for_dependency,
    with_dependent_launch,
)
from bitquant.intrin.mma import local, store_local, zero_local
from bitquant.intrin.operations import PairTable
from bitquant.intrin.wgmma import (
    WARPGROUP,
    Cursor,
    Ring,
    begin_products,
    commit_products,
    load_box,
    pin,
    row_descriptor,
    tensor_map,
    wait_for_products,
)
from bitquant.layouts import TILE_N, Layout
from bitquant.schedule.rules.hopper.emit.groups import Grouping, SumsOfA
from bitquant.schedule.rules.hopper.emit.operand import Factors, HeldMasks, Words, record
from bitquant.schedule.rules.hopper.emit.store import TileStore
from bitquant.schedule.rules.hopper.emit.sums import Promotion
from bitquant.schedule.rules.hopper.geometry import CHUNK_BYTES, MAX_MASKS, Shape
from bitquant.schedule.rules.hopper.hint import ROWS
from bitquant.schedule.rules.hopper.tiles import SUMMING_WARPS, hint_registers, promotes, sum_sets
from bitquant.schedule.rules.operands import Epilogue, operands, when

__all__ = ["Kernel", "Place"]

Expr = Any


@dataclass(frozen=True)
class Place:
    """Where one left operand stands in the body of the loop: stage, unit of the stage, step of the unit, row block."""

    stage: int
    unit: int
    step: int
    row: int


@dataclass(frozen=True)
class Job:
    """What a block computes at a time: a tile, or, where K is shared, its share of one.

    Attributes
    ----------
    m0, n0
        First row of A and of W.
    first_stage
        First slot along K of the block's first part.
    stages, bodies
        Slots that each part reads, and rounds of the loop.
    is_shared
        Whether other blocks have the other shares of the tile; None: as the hint says, always or never.
    """

    m0: Expr
    n0: Expr
    first_stage: Expr
    stages: Expr
    bodies: Expr
    is_shared: Expr | None = None


class Kernel(Shape):
    """One kernel: its sizes (`Shape`), and the pieces of its body.

    Methods emit TIRx statements; `build` strings them together.
    """

    #: Layout of the weight.
    weight_layout: ClassVar[Layout] = "fragment"
    #: Whether W may be fetched before the kernel before this one has ended, which must not have written it then.
    fetches_weight_early: ClassVar[bool] = True

    # Set up.

    def bind(
        self, Scale: Any, Zeros: Any, epilogue: Epilogue, m: Expr, maps: Sequence[Expr], block: Expr, blocks: Expr,
        rank: Expr, thread: Expr, arena: Any,
    ) -> None:  # fmt: skip
        """Take the function's operands, and compute where this block and thread stand."""
        h = self.hint
        self.Scale, self.Zeros, self.epilogue, self.m = Scale, Zeros, epilogue, m
        self.a_map, self.w_map = maps
        self.block, self.rank = block, rank
        self.base = local("uint32", T.cuda.cvta_generic_to_shared(arena.ptr_to([0])))
        self.lane, self.warp = thread % 32, thread // 32 % 4
        self.thread = thread % WARPGROUP
        # A shuffle tells the compiler that all lanes have the same warpgroup, so that branches on it are uniform.
        self.group = local("int32", self._uniform(thread // WARPGROUP))
        self.part_n = self.group // h.consumers_k
        self.part_k_index = self.group % h.consumers_k
        self.share = self.part_k_index * h.split_k + self.rank
        readers = 4 * self.consumers + (SUMMING_WARPS if self.needs_sums_of_a else 0)
        self.ring = Ring(self.base + T.uint32(self.barrier_offset), h.stages, readers, h.multicast)
        self.sums_of_a = SumsOfA(self)
        #: Tiles along n; those of a cluster that share A lie side by side.
        self.n_blocks = self.count_n_blocks()
        self.m_blocks = (m + (h.block_m - 1)) // h.block_m
        tiles = self.m_blocks * self.n_blocks
        #: Jobs of all blocks, the first one of this block, and the distance to its next one.
        self.jobs, self.first_job, self.job_stride = tiles, block // h.split_k, T.truncdiv(blocks, h.split_k)
        if h.tail_split > 1:
            # `blocks` is a multiple of the cluster's, and so is `whole`: job i is one of block i % blocks.
            rest = local("int32", T.truncmod(tiles, blocks))
            #: The tiles before the last wave, where clusters are enough for those of the last one.
            self.whole = local("int32", T.Select(rest * h.tail_split <= blocks, tiles - rest, tiles))
            self.jobs = local("int32", self.whole + (tiles - self.whole) * h.tail_split)

    @staticmethod
    def _uniform(value: Expr) -> Expr:
        """Return a value as that of the warp's first lane."""
        return T.tvm_warp_shuffle(T.uint32(0xFFFFFFFF), value, 0, 32, 32)

    def is_producer(self) -> Expr:
        """Return whether this thread belongs to the producing warpgroup."""
        return self.group == self.consumers

    def initialize(self, thread: Expr, arena: Any) -> None:
        """Emit the initialization of the barriers and of what decoding reads from shared memory."""
        self._initialize_decoder(thread, arena)
        with T.If(thread == 0), T.Then():
            self.ring.initialize()
        T.evaluate(T.cuda.cta_sync())
        if self.cluster > 1 and (self.hint.multicast > 1 or not self.exchanges_in_ring):
            arrive_at_cluster(relaxed=True)

    def _initialize_decoder(self, thread: Expr, arena: Any) -> None:
        """Emit the stores of tables and masks."""
        halves = range(2 if self.scales or self.is_narrow or self.decoder.permutes else 0)
        self.mask_constants = sorted({mask for half in halves for mask in record(self.decoder, half).masks_found})
        assert len(self.mask_constants) <= MAX_MASKS
        if self.decoder.has_table:
            self.table = PairTable(arena, self.table_offset, self.lane)
            self.decoder.fill_table(arena, self.table_offset, thread, self.threads)
        with T.If(thread == 0), T.Then():
            if self.needs_sums_of_a:
                self.sums_of_a.initialize()
            for i, mask in enumerate(self.mask_constants):
                T.evaluate(T.ptx["st.shared.u32"](self.base + T.uint32(self.mask_offset + 4 * i), T.uint32(mask)))

    def set_registers(self, is_producer: bool) -> None:
        """Emit the move of registers from the producer to the consumers."""
        producer, consumer = hint_registers(self.hint)
        if producer < consumer:
            action, count = ("dec", producer) if is_producer else ("inc", consumer)
            T.evaluate(T.ptx[f"setmaxnreg.{action}.sync.aligned.u32"](count))

    def count_n_blocks(self) -> int:
        """Return the tiles along n: whole clusters of those that share A."""
        beside = self.hint.multicast
        return -(-self.config.N // (self.block_n * beside)) * beside

    def job(self, index: Expr) -> Job:
        """Emit what a job is."""
        if self.hint.tail_split == 1:
            rank = self.rank if self.hint.split_k > 1 else 0
            first_stage = rank * (self.hint.consumers_k * self.part_stages)
            return Job(*self._tile_origin(index), first_stage, self.part_stages, self.bodies)
        is_shared = index >= self.whole
        tile = T.Select(is_shared, self.whole + T.truncdiv(index - self.whole, self.cluster), index)
        bodies = local("int32", T.Select(is_shared, self.bodies // self.cluster, self.bodies))
        first_stage = local("int32", T.Select(is_shared, self.rank, 0) * bodies * self.body_stages)
        return Job(*self._tile_origin(local("int32", tile)), first_stage, bodies * self.body_stages, bodies, is_shared)

    def _tile_origin(self, tile: Expr) -> tuple[Expr, Expr]:
        """Emit the coordinates of a tile; return its first row of A and its first row of W."""
        raster, beside = self.hint.raster, self.hint.multicast
        per_band = raster * self.n_blocks
        band, place = T.truncdiv(tile, per_band), T.truncmod(tile, per_band)
        rows = local("int32", T.min(self.m_blocks - band * raster, raster))
        column, place = T.truncmod(place, beside), T.truncdiv(place, beside)
        m0 = local("int32", (band * raster + T.truncmod(place, rows)) * self.hint.block_m)
        n0 = local("int32", (T.truncdiv(place, rows) * beside + column) * self.block_n)
        return m0, n0

    # The producer.

    def produce(self) -> None:
        """Emit what the producing warpgroup does: one thread copies, and warps that copy nothing sum A if need be."""
        with T.If(self.thread == 0):
            with T.Then():
                self._copy()
            if self.hint.multicast > 1:
                with T.Else():
                    self.wait_for_cluster()
        if self.needs_sums_of_a:
            with T.If(self.warp > 0), T.Then():
                self.sums_of_a.produce()
        if self.hint.tail_split > 1:
            with T.If(self.block < self.jobs - self.whole), T.Then():
                self._attend_exchange()
        elif self.exchange:
            self._attend_exchange()
        self._end_multicast()

    def _end_multicast(self) -> None:
        """Emit the last meeting of blocks that send each other A: none ends while others may copy to it."""
        if self.hint.multicast > 1:
            self.arrive_at_cluster()
            self.wait_for_cluster()

    def _attend_exchange(self) -> None:
        """Emit the producer's part in the meetings of the cluster's threads, before sums are sent and after."""
        if self.exchanges_in_ring:
            self.arrive_at_cluster()
        self.wait_for_cluster()
        self.arrive_at_cluster()
        self.wait_for_cluster()

    @contextlib.contextmanager
    def for_jobs(self) -> Iterator[Job]:
        """Emit the loop over this block's jobs, which the body is written for: ``with kernel.for_jobs() as job:``."""
        index = T.alloc_local((1,), "int32")
        store_local(index, 0, self.first_job)
        with T.While(index[0] < self.jobs):
            yield self.job(index[0])
            store_local(index, 0, index[0] + self.job_stride)

    def _copy(self) -> None:
        """Emit all copies of a block, by one thread.

        The first slots get their part of the weight before the kernel before this one has ended; A may be its result.
        Only then is the next kernel let in, so that no kernel starts before the last but one has ended.
        """
        job = self.job(self.first_job)
        first: Expr = min(self.hint.stages, self.part_stages)
        if self.hint.tail_split > 1:
            # There are blocks without a job where the tiles of the last wave are too many to be shared.
            first = local("int32", T.Select(self.first_job < self.jobs, T.min(first, job.stages), 0))
        for_w, for_both = Cursor(self.hint.stages), Cursor(self.hint.stages)
        if not self.fetches_weight_early:
            wait_for_dependency()
        with T.serial(first) as stage:
            self.ring.expect(for_w, self.slot_bytes)
            self._load_w(job, stage, for_w)
            for_w.advance()
        if self.fetches_weight_early:
            wait_for_dependency()
        trigger_dependent_launch()
        if self.hint.multicast > 1:
            # That the barriers of the others are there.
            self.wait_for_cluster()
        with T.serial(first) as stage:
            self._load_a(job, stage, for_both)
            for_both.advance()
        done = T.alloc_local((1,), "int32")
        store_local(done, 0, T.int32(first) if isinstance(first, int) else first)
        with self.for_jobs() as job:
            with T.serial(job.stages - done[0]) as later:
                self.ring.wait_empty(for_both)
                self.ring.expect(for_both, self.slot_bytes)
                self._load_a(job, done[0] + later, for_both)
                self._load_w(job, done[0] + later, for_both)
                for_both.advance()
            store_local(done, 0, T.int32(0))

    def _slot(self, cursor: Cursor) -> Expr:
        """Return the address of a slot."""
        return self.base + cursor.distance(self.slot_bytes)

    def _first_k(self, job: Job, part: int, stage: Expr) -> Expr:
        """Return where a slot's share of K begins, for one of the block's parts."""
        return part * self.part_k + (job.first_stage + stage) * self.hint.block_k

    def _load_a(self, job: Job, stage: Expr, cursor: Cursor) -> None:
        """Emit the copies of a slot's boxes of A: all of it, or this block's share to all that have its rows."""
        h, full = self.hint, self.ring.full(cursor.offset)

        def load(box: int, k: Expr, share: Expr, blocks: int) -> None:
            target = self._slot(cursor) + T.uint32(box * self.a_box_bytes)
            if h.multicast > 1:
                target = target + (share * (self.a_box_bytes // h.multicast)).astype("uint32")
            load_box(target, self.a_map, [k, job.m0 + share * (h.block_m // h.multicast)], full, blocks)

        for part in range(h.consumers_k):
            for step in range(self.steps):
                box, k = part * self.steps + step, self._first_k(job, part, stage) + step * self.step_k
                if h.multicast == 1:
                    load(box, k, 0, 1)
                elif job.is_shared is None:
                    load(box, k, self.rank, h.multicast)
                else:
                    with T.If(job.is_shared):
                        with T.Then():
                            for share in range(h.multicast):
                                load(box, k, T.int32(share), 1)
                        with T.Else():
                            load(box, k, self.rank, h.multicast)

    def _load_w(self, job: Job, stage: Expr, cursor: Cursor) -> None:
        """Emit the copies of a slot's boxes of the weight."""
        layout = self.layout
        for part in range(self.hint.consumers_k):
            target = self._slot(cursor) + T.uint32(self.a_bytes + part * self.w_part_bytes)
            chunk = self._first_k(job, part, stage) // layout.tile_k * (layout.tile_bytes // CHUNK_BYTES)
            load_box(target, self.w_map, [0, chunk, job.n0 // TILE_N], self.ring.full(cursor.offset))

    # The consumers.

    def consume_jobs(self) -> None:
        """Emit what a consumer does."""
        self.begin_consumer()
        if self.hint.multicast > 1:
            self.wait_for_cluster()
        with self.for_jobs() as job:
            self.consume(job)
        self._end_multicast()

    def begin_consumer(self) -> None:
        """Emit the variables of a consumer."""
        h = self.hint
        sets = sum_sets(self.config, h) if self.scales_sums else 1
        self.acc_sets = [[T.alloc_local((self.sums,), self.sum_dtype) for _ in range(h.rows)] for _ in range(sets)]
        self.acc = self.acc_sets[0]
        self.left = [T.alloc_local((16,), "uint32") for _ in range(2)]
        self.words = [T.alloc_local((self.unit_words,), "uint32") for _ in range(h.rows)]
        self.promotion: Promotion | Grouping | None = None
        if self.scales_sums:
            self.promotion = Grouping(self)
        elif promotes(self.config):
            self.promotion = Promotion(self)
        #: What leaves the kernel: the sums themselves, or totals of scaled ones.
        self.totals = self.promotion.totals if self.promotion else self.acc
        #: Slots that are read next and multiplied now, the address of the one read now, and `Cursor.offset` of the one
        #: released next.
        self.reading, self.multiplying = Cursor(h.stages), Cursor(h.stages)
        self.slot_read, self.releasing = (T.alloc_local((1,), "uint32") for _ in range(2))
        store_local(self.releasing, 0, T.uint32(0))
        if self.scales:
            self.factors = [Factors(self, row) for row in range(h.rows)]
        # From shared memory, or the compiler would load each constant anew for each use.
        self.masks = {}
        for i, mask in enumerate(self.mask_constants):
            register = T.alloc_local((1,), "uint32")
            T.evaluate(T.ptx["ld.shared.u32"](register[0], self.base + T.uint32(self.mask_offset + 4 * i)))
            self.masks[mask] = register[0]

    def consume(self, job: Job) -> None:
        """Emit the products of a job, and their way to D."""
        h = self.hint
        self.n0 = job.n0
        #: First step of this part.
        self.first_step = local("int32", (job.first_stage + self.part_k_index * self.part_stages) * self.steps)
        places = [
            Place(stage, unit, step, row)
            for stage in range(self.body_stages)
            for unit in range(self.units)
            for step in range(self.unit_steps)
            for row in range(h.rows)
        ]
        for acc in itertools.chain(*self.acc_sets):
            zero_local(acc)
        for factors in self.factors if self.scales else ():
            factors.begin_tile()
        if self.promotion:
            self.promotion.begin_tile()
        self._enter_slot()
        for row in range(h.rows):
            self._load_words(0, row)
            if self.scales:
                self.factors[row].begin_part()
        if self.promotion:
            self.promotion.begin_part()
        self._decode(places, 0, T.int32(0), has_next=job.bodies > 1)
        if self.peels:
            with T.serial(job.bodies - 1) as body:
                self._multiply_body(places, body, job.bodies, has_next=True)
            self._multiply_body(places, T.int32(0) + (job.bodies - 1), job.bodies, has_next=False)
        else:
            with T.serial(job.bodies) as body:
                self._multiply_body(places, body, job.bodies, has_next=body + 1 < job.bodies)
        wait_for_products(0)
        for acc in self.acc if self.promotion is None else ():
            pin(acc)
        self._release()
        TileStore(self).store(job)

    def _multiply_body(self, places: Sequence[Place], body: Expr, bodies: Expr, has_next: Expr | bool) -> None:
        """Emit the products of a body of `bodies`; `has_next` says whether there is another one to decode for."""
        for i, place in enumerate(places):
            self._multiply(place, self.left[i % 2], body)
            wait_for_products(1)
            if self.promotion:
                self.promotion.add_previous(places, i, body)
            self._release_before(places, i, body)
            if i + 1 < len(places):
                self._decode(places, i + 1, body, has_next)
            else:
                when(has_next, lambda: self._decode(places, 0, body + 1, body + 2 < bodies))
            if self.promotion:
                self.promotion.add_own(places, i, body)

    def step_of_body(self, place: Place) -> int:
        """Return the place of a step in the body of the loop."""
        return (place.stage * self.units + place.unit) * self.unit_steps + place.step

    def unit(self, half: int) -> float:
        """Return what a decoded number of row g + 8 * half is multiplied by to be a value."""
        return self.decoder.value_scale * 2.0 ** -self.decoder.exponent(half)

    def row_of_w(self, row: int, half: int) -> Expr:
        """Return the row of W that row g + 8 * half of a row block is, or the last one for those beyond N."""
        n = self.n0 + (self.part_n * self.hint.rows + row) * ROWS + self.warp * 16 + self.lane // 4 + 8 * half
        return T.min(n, self.config.N - 1) if self.has_ragged_n or self.hint.row_blocks else n

    def from_group(self, held: Expr, group: Expr) -> Expr:
        """Return what the lane has in `held` that was dealt `group` (`wgmma_factors`), of those that share rows."""
        return T.tvm_warp_shuffle(T.uint32(0xFFFFFFFF), held, self.lane // 4 * 4 + group % 4, 32, 32)

    def _release(self, *conditions: Expr) -> None:
        """Emit that this warp has done with a slot, under conditions."""
        self.ring.release(self.releasing[0], self.lane, *conditions)

    def _release_before(self, places: Sequence[Place], i: int, body: Expr) -> None:
        """Emit the release of the slot that the left operand before the i-th was the last to use, if it was.

        If the i-th is the last to use its slot, that is released next, and another one multiplied.
        """
        if i == 0 or places[i].stage != places[i - 1].stage:
            self._release(*([] if i else [body > 0]))
        if i == len(places) - 1 or places[i].stage != places[i + 1].stage:
            store_local(self.releasing, 0, self.multiplying.offset)
            self.multiplying.advance()

    def _multiply(self, place: Place, left: Any, body: Expr) -> None:
        """Emit the products of one left operand with its step of A."""
        promotion = self.promotion
        step = place.unit * self.unit_steps + place.step
        part = self.base + (self.part_k_index * (self.steps * self.a_box_bytes)).astype("uint32")
        descriptor = local("uint64", row_descriptor(part, self.multiplying.distance(self.slot_bytes // 16)))
        begin_products()
        acc = (promotion.sums_of(place) if promotion else self.acc)[place.row]
        for j in range(4):
            # 32 bytes of k further, in units of 16 bytes.
            at = descriptor + T.uint64(step * self.a_box_bytes // 16 + 2 * j)
            is_first = promotion is not None and promotion.begins_run(place, j)
            if promotion and is_first and j:
                commit_products()
                wait_for_products(0)
                promotion.add(place.row)
                begin_products()
            self.op.emit([acc[r] for r in range(self.sums)], [left[4 * j + p] for p in range(4)], at, not is_first)
            if promotion and is_first:
                promotion.begin_run(place, j, body)
        commit_products()

    def _load_words(self, unit: int, row: int) -> None:
        """Emit the loads of this lane's codes of a unit of the slot that is being read."""
        h = self.hint
        tile_row = (self.part_n * h.rows + row) * 4 + self.warp
        chunk = (tile_row * self.units + unit) * self.unit_chunks
        offset = self.a_bytes + self.part_k_index * self.w_part_bytes + chunk * CHUNK_BYTES + self.lane * 16
        address = local("uint32", self.slot_read[0] + offset.astype("uint32"))
        words = self.words[row]
        for i in range(self.unit_chunks):
            registers = [words[4 * i + j] for j in range(4)]
            T.evaluate(T.ptx["ld.shared.v4.u32"](*registers, address + T.uint32(i * CHUNK_BYTES)))

    def _decode(self, places: Sequence[Place], i: int, body: Expr, has_next: Expr | bool) -> None:
        """Emit the i-th left operand of a body, and then the loads of the codes that take the place of its own.

        `has_next` says whether there are codes behind those of the body.
        """
        place = places[i]
        left = self.left[i % 2]
        step = self.step_of_body(place)
        absolute = self.first_step + body * (self.body_stages * self.steps) + step
        for r in range(16):
            if self.scales and r % 4 == 0:
                self.factors[place.row].enter(absolute, step, r // 4)
            value = self._operand(place, r)
            if self.has_ragged_k:
                k = absolute * self.step_k + r // 4 * self.op.step_k + r % 4 // 2 * (self.op.step_k // 2)
                value = T.Select(k < self.config.K, value, T.uint32(0))
            store_local(left, r, value)
        if self.is_narrow or self.scales_sums:
            # Here and not between the products that take them, where the compiler might put what is so simple.
            pin(left)
        if place.step < self.unit_steps - 1:
            return
        # The codes are used up: load those of the next unit for the same rows.
        if place.unit + 1 < self.units:
            self._load_words(place.unit + 1, place.row)
        elif place.stage + 1 < self.body_stages:
            self._load_next_stage(place.row)
        else:
            when(has_next, lambda: self._load_next_stage(place.row))

    def _load_next_stage(self, row: int) -> None:
        if row == 0:
            self._enter_slot()
        self._load_words(0, row)

    def _enter_slot(self) -> None:
        """Emit the wait for the slot that is read next, and that it is read now.

        The cursor is moved on at once, so that nothing but the wait itself stands before the next slot.
        """
        self.ring.wait_full(self.reading)
        store_local(self.slot_read, 0, self._slot(self.reading))
        self.reading.advance()

    def _operand(self, place: Place, r: int) -> Expr:
        """Return register r of a step's left operand, scaled."""
        tile, register = divmod(place.step * 16 + r, self.layout.registers)
        words = self.words[place.row]
        first = tile * self.tile_words
        planes = [Words(words, first + plane.byte_offset // (CHUNK_BYTES // 4)) for plane in self.layout.planes]
        if self.scales:
            return self.factors[place.row].decode(planes, register)
        return self.decoder.decode(planes, register, self.table, HeldMasks(self.masks))[0]

    def arrive_at_cluster(self) -> None:
        """Emit the arrival at a barrier of all threads of the cluster."""
        if self.cluster > 1:
            arrive_at_cluster()

    def wait_for_cluster(self) -> None:
        """Emit the wait for all threads of the cluster."""
        if self.cluster > 1:
            wait_for_cluster()

    def weight_map(self) -> tuple[str, int, list[Expr]]:
        """Return type, dimensions and further arguments of the tensor map of W: words, chunks and rows of tiles."""
        c, layout = self.config, self.layout
        chunks = layout.tiles_k(c.K) * layout.tile_bytes // CHUNK_BYTES
        extents = [CHUNK_BYTES // 8, chunks, layout.tiles_n(c.N)]
        return "uint64", 3, tensor_map(extents, [CHUNK_BYTES, chunks * CHUNK_BYTES], self.w_box, False)

    def build(self) -> PrimFunc:
        """Return the kernel."""
        c, h = self.config, self.hint
        spec = operands(c, self.rung, self.weight_layout)
        N, K = c.N, c.K
        threads, smem_bytes, cluster = self.threads, self.smem_bytes, self.cluster
        n_blocks = self.count_n_blocks() // (h.multicast if h.tail_split == 1 else 1)
        # Where K of all tiles is shared a block computes one: those who share it meet once.
        is_persistent = self.parts == 1
        a_bytes, a_dtype = c.A_format.bits // 8, "uint8" if self.is_narrow else spec.A
        w_dtype, w_dimensions, w_map = self.weight_map()
        most_clusters, blocks_per_sm = self.arch.sm_count * h.blocks_per_sm // cluster, h.blocks_per_sm
        kernel = self

        @T.prim_func(check_well_formed=False)
        def wgmma(
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
            A_map: T.let[T.handle("tensormap")] = T.tvm_stack_alloca("tensormap", 1)
            T.call_packed(
                "runtime.cuTensorMapEncodeTiled", A_map, a_dtype, 2, A.data,
                *tensor_map([K, m], [K * a_bytes], [kernel.step_k, h.block_m // h.multicast], True),
            )  # fmt: skip
            W_map: T.let[T.handle("tensormap")] = T.tvm_stack_alloca("tensormap", 1)
            T.call_packed(
                "runtime.cuTensorMapEncodeTiled", W_map, w_dtype, w_dimensions, B.data, *w_map,
            )  # fmt: skip
            T.device_entry()
            T.attr({"tirx.launch_bounds_min_blocks_per_sm": blocks_per_sm})
            clusters = T.meta_var(T.ceildiv(m, h.block_m) * n_blocks)
            blocks = T.meta_var((T.min(clusters, most_clusters) if is_persistent else clusters) * cluster)
            block = T.cta_id([blocks])
            rank = T.meta_var(cluster_rank(cluster))
            thread = T.thread_id([threads])
            arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=1024)
            maps = T.meta_var([T.address_of(A_map), T.address_of(W_map)])
            epilogue = T.meta_var(Epilogue(Bias, ActivationScale, ChannelScale, D))
            kernel.bind(Scale, Zeros, epilogue, m, maps, block, blocks, rank, thread, arena)
            kernel.initialize(thread, arena)
            if kernel.is_producer():
                kernel.set_registers(True)
                kernel.produce()
            else:
                kernel.set_registers(False)
                kernel.consume_jobs()

        return with_dependent_launch(spec.bind(wgmma))
