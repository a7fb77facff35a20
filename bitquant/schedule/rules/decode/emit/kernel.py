"""The body of the decode kernel: what `decode.DecodeRule` writes, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import zero_point
from bitquant.intrin.launch import (
    admit_next_kernel,
    arrive_at_cluster,
    await_previous_kernel,
    cluster_rank,
    expect_bytes,
    fence_barriers,
    initialize_barrier,
    wait_for_cluster,
    with_dependent_launch,
)
from bitquant.intrin.mma import Tile, copy_tile, load_fragments, local, store_local, sum_value, zero_local
from bitquant.intrin.operations import PairTable
from bitquant.schedule.rules.decode.emit.store import SumStore
from bitquant.schedule.rules.decode.geometry import Shape
from bitquant.schedule.rules.decode.products import Product
from bitquant.schedule.rules.operands import Epilogue, operands, row_index, when

__all__ = ["Kernel"]

Expr = Any

#: What a lane loads of the weight at a time.
_LOAD_BYTES = 16


class Kernel(Shape):
    """One kernel: its sizes (`Shape`), and the pieces of its body."""

    # Emitters. `bind` gives them the buffers and indices of the function that is being written.

    def bind(
        self, A: Any, B: Any, Scale: Any, Zeros: Any, m: Expr, block: Expr, rank: Expr, thread: Expr, arena: Any
    ) -> None:
        """Take the function's operands, and compute where this block and thread stand: `block` counts clusters."""
        self.A, self.B, self.Scale, self.Zeros = A, B, Scale, Zeros
        self.m, self.thread, self.arena = m, thread, arena
        h = self.hint
        #: This block's place among those that share k, and among those that share rows of A.
        self.member: Expr = 0
        if h.multicast > 1:
            self.member, rank = rank // h.split_k, rank % h.split_k
        self.rank = rank
        self.lane, warp = thread % 32, thread // 32
        self.warp_k, self.warp_n = warp // h.warps_n, warp % h.warps_n
        blocks_m = self.count_m_blocks(m)
        self.m0 = T.truncmod(block, blocks_m) * self.rows_of_a
        self.first_block_n = T.truncdiv(block, blocks_m) * h.multicast + self.member
        # The turns of this block. Those along k begin with phase `first`.
        self.first = rank
        if self.static_count is not None:
            self.count: Expr = self.static_count
            if not self.a_stays:
                self.first = rank * self.static_count
        elif self.a_stays:
            self.count = T.truncdiv(self.blocks_n - self.first_block_n + (self.grid_n - 1), self.grid_n)
        else:
            bounds = T.alloc_local((2,), "int32")
            store_local(bounds, 0, rank * self.phases // h.split_k)
            store_local(bounds, 1, (rank + 1) * self.phases // h.split_k - bounds[0])
            self.first, self.count = bounds[0], bounds[1]
        sums = h.rows * self.blocks_m * 4
        self.total = T.alloc_local((self.totals,), self.config.reduce_dtype)
        self.acc = T.alloc_local((self.classes_count * self.chains * sums,), self.sum_dtype)
        self.a_sum = T.alloc_local((self.a_chains * self.blocks_m * 4,), self.sum_dtype)
        if not self.a_stays:
            zero_local(self.total)
        if not self.is_shared:
            self.words = T.alloc_local((h.ahead * h.rows * self.lane_words,), "uint32")
            if self.has_ragged_tiles:
                zero_local(self.words)
        self.table = PairTable(arena, self.table_offset, self.lane) if self.decoder.table_bytes else None
        count = h.rows * 2 * self.runs
        # Of the body that is multiplied; and of the next one, as stored, since a cast would wait for the load.
        zeros_dtype = "uint8" if self.config.has_packed_zeros else self.config.scale_format.tvm_dtype
        self.scale, self.zero = (T.alloc_local((count,), self.config.reduce_dtype) for _ in range(2))
        self.next_scale = T.alloc_local((count,), self.config.scale_format.tvm_dtype)
        self.next_zero = T.alloc_local((count,), zeros_dtype)

    def begin(self) -> None:
        """Emit all that comes before the loop.

        The weight and its scales do not come from the kernel before this one, which may still run from sm_90 on: their
        first loads do not wait for its end. Only after that end is the next kernel let in, so that no kernel starts
        before the last but one has ended.
        """
        h = self.hint
        if self.copies_bulk:
            with T.If(self.thread == 0), T.Then():
                for buffer in range(self.buffers):
                    for part in range(h.warps_k):
                        initialize_barrier(self._barrier(buffer, part), 1)
                fence_barriers()
            if h.multicast > 1:
                arrive_at_cluster(relaxed=True)
        else:
            self._await_previous_kernel()
            self._copy_a(0, 0)
        self._stage_scales(0)
        self._commit()
        for i in range(h.ahead):
            turn, tile = divmod(i, self.part_tiles)
            if tile == 0:
                sources = self._sources(turn, 0)
            when(turn < self.count, lambda: self._load_tile(sources, turn, 0, tile, i))
            if self.is_shared:
                self._commit()
        self._load_scales(0, self._part_tile(0, 0))
        if self.decoder.table_bytes:
            self.decoder.fill_table(self.arena, self.table_offset, self.thread, self.threads)
        if self.copies_bulk:
            self._zero_behind_k(0, 0)
        T.evaluate(T.ptx["cp.async.wait_group"](h.ahead if self.is_shared else 0))
        T.evaluate(T.cuda.cta_sync())
        if self.copies_bulk:
            self._await_previous_kernel()
            if h.multicast > 1:  # The barriers of all blocks are there.
                wait_for_cluster()
            self._copy_a(0, 0)

    def _await_previous_kernel(self) -> None:
        if self.uses_dependent_launch:
            await_previous_kernel()
            admit_next_kernel()

    @staticmethod
    def _commit() -> None:
        T.evaluate(T.ptx["cp.async.commit_group"]())

    # The weight.

    def _n0(self, turn: Expr) -> Expr:
        """Return the first n of a turn."""
        block = self.first_block_n
        if self.a_stays and self.max_count > 1:
            block = block + turn * self.grid_n
        return block * self.block_n

    def _phase(self, turn: Expr) -> Expr:
        """Return the phase of k of a turn, of all those of the cluster."""
        return self.first if self.a_stays else self.first + turn

    def _part_tile(self, turn: Expr, body: Expr) -> Expr:
        """Return the first tile of a body of this warp in a turn."""
        part = self._phase(turn) * self.hint.warps_k + self.warp_k
        return part * self.part_tiles + body * self.hint.unroll

    def _sources(self, turn: Expr, body: Expr) -> list[Expr]:
        """Emit where in B this lane's part of a body begins, for each row of tiles of this warp.

        In registers: all tiles of the body are reached from there by constants. It is computed where there is no such
        body, too, outside the condition on the loads: once for them all.
        """
        row_bytes = self.layout.stored_shape(self.config.N, self.config.K)[1]
        begin = self._part_tile(turn, body) * self.layout.tile_bytes + self.lane * _LOAD_BYTES
        held = T.alloc_local((self.hint.rows if self.has_ragged_n else 1,), "int32")
        for r in range(int(held.shape[0])):
            store_local(held, r, self._row_tile(turn, r) * row_bytes + begin)
        return [held[r] if self.has_ragged_n else held[0] + r * row_bytes for r in range(self.hint.rows)]

    def _load_tile(self, sources: Sequence[Expr], turn: Expr, body: Expr, in_body: int, slot: Expr) -> None:
        """Emit the loads of a tile of a body into a slot, of registers or of the ring, for all rows of this warp."""
        h, layout = self.hint, self.layout
        per_load = _LOAD_BYTES // 4
        tile = self._part_tile(turn, body) + in_body

        def loads() -> None:
            for r in range(h.rows):
                for part in range(self.lane_words // per_load):
                    source = self.B.ptr_to([0, sources[r] + (in_body * layout.tile_bytes + part * 512)])
                    if self.is_shared:
                        target = self.arena.ptr_to([self._slot_offset(slot, r, part)])
                        size = [T.Select(tile < self.tiles_k, T.uint32(16), T.uint32(0))]
                        name = "cp.async.cg.shared.global.L2::256B"
                        T.evaluate(T.ptx[name](target, source, 16, *(size if self.has_ragged_tiles else [])))
                        continue
                    at = (slot * h.rows + r) * self.lane_words + part * per_load
                    registers = [self.words[at + j] for j in range(per_load)]
                    T.evaluate(T.ptx["ld.global.nc.L1::no_allocate.L2::256B.v4.u32"](*registers, source))

        if self.is_shared or not self.has_ragged_tiles:
            loads()
            return
        with T.If(tile < self.tiles_k):
            with T.Then():
                loads()
            if self.config.W_format.has_infinity:
                # A's zeros behind K cancel whatever an earlier tile has left here, but for infinity.
                with T.Else(), T.unroll(h.rows * self.lane_words) as i:
                    store_local(self.words, slot * h.rows * self.lane_words + i, T.uint32(0))

    def _slot_offset(self, slot: Expr, r: int, part: int) -> Expr:
        """Return where this lane's 16 bytes of a load lie in the ring."""
        first = self.ring_offset + self.thread // 32 * (self.hint.ahead * self.slot_bytes)
        at = (r * self.lane_words * 4 + part * _LOAD_BYTES) * 32
        return first + slot * self.slot_bytes + at + self.lane * _LOAD_BYTES

    def _take_tile(self, slot: Expr) -> Any:
        """Emit the moves of a tile that has arrived to registers of its own."""
        h, count = self.hint, self.hint.rows * self.lane_words
        words = T.alloc_local((count,), "uint32")
        if not self.is_shared:
            for j in range(count):
                store_local(words, j, self.words[slot * count + j])
            return words
        T.evaluate(T.ptx["cp.async.wait_group"](h.ahead - 1))
        for j in range(0, count, 4):
            r, part = divmod(j // 4, self.lane_words // 4)
            source = self.arena.ptr_to([self._slot_offset(slot, r, part)])
            T.evaluate(T.ptx["ld.shared.v4.u32"](*[words[j + i] for i in range(4)], source))
        return words

    def _row_tile(self, turn: Expr, r: int) -> Expr:
        """Return the index of the r-th row of tiles of this warp; the last one for those beyond N."""
        tile = T.truncdiv(self._n0(turn), 16) + self.warp_n * self.hint.rows + r
        return T.min(tile, self.layout.tiles_n(self.config.N) - 1) if self.has_ragged_n else tile

    # Scale and zero point.

    def _stage_scales(self, turn: Expr) -> None:
        """Emit the copies of a block's scales and zero points to shared memory: all of k, and the n of a turn."""
        c = self.config
        size = c.scale_format.bits // 8
        g0, n0 = self.first * self.phase_k // c.group, self._n0(turn)
        for tile, operand in ((self.scale_tile, self.Scale), (self.zero_tile, self.Zeros)):
            if tile is not None:
                copy_tile(
                    self.arena, tile, turn % tile.slots,
                    lambda row, byte, operand=operand: operand.ptr_to([n0 + row, g0 + byte // size]),
                    self.thread, self.threads, self.scale_width, c.N - n0 if self.has_ragged_n else None,
                    (c.num_groups - g0) * size if self.has_ragged_k else None, use_async=True,
                )  # fmt: skip

    def _load_scales(self, turn: Expr, tile: Expr) -> None:
        """Emit the loads of scales and zero points that are not staged, for the body that begins with `tile`."""
        c = self.config
        loads_scale = c.with_scaling and self.scale_tile is None
        loads_zero = c.with_zeros and self.zero_tile is None
        for r in range(self.hint.rows if loads_scale or loads_zero else 0):
            for half in range(2):
                n = self._n0(turn) + (self.warp_n * self.hint.rows + r) * 16 + half * 8 + self.lane // 4
                n = T.min(n, c.N - 1) if self.has_ragged_n else n
                if loads_zero and c.has_packed_zeros:
                    # In a register: TVM's simplifier fails on the shifts of 5 and 7 bits by sums of indices.
                    held = T.alloc_local((1,), "int32")
                    store_local(held, 0, n)
                    n = held[0]
                for run in range(self.runs):
                    g = (tile * self.layout.tile_k + run * self.run_k) // c.group if c.num_groups > 1 else 0
                    if self.has_ragged_k and c.num_groups > 1:
                        g = T.min(g, c.num_groups - 1)
                    at = (r * 2 + half) * self.runs + run
                    if loads_scale:
                        store_local(self.next_scale, at, self.Scale[n, g])
                    if loads_zero:
                        store_local(self.next_zero, at, zero_point(c, self.Zeros, n, g))

    def _load_following_scales(self, turn: Expr, body: Expr) -> None:
        """Emit `_load_scales` for the next body of this warp, if any."""
        self._for_body(turn, body + 1, lambda turn, body: self._load_scales(turn, self._part_tile(turn, body)))

    def _for_body(self, turn: Expr, body: Expr, emit: Any) -> None:
        """Emit what is to be done for a body that may lie in a later turn, if there is such a turn."""
        turn, body, is_there = self._find_body(turn, body)
        when(is_there, lambda: emit(turn, body))

    def _find_body(self, turn: Expr, body: Expr) -> tuple[Expr, Expr, Expr]:
        """Return (turn, body, whether there is such a turn) of a body that may lie in a later turn."""
        if self.static_count == 1:
            return turn, body, body < self.bodies
        later = turn + T.truncdiv(body, self.bodies)
        return later, T.truncmod(body, self.bodies), later < self.count

    def _take_scales(self, turn: Expr, body: Expr) -> None:
        """Emit the moves of a body's scales and zero points into the registers that the sums are scaled with."""
        c = self.config
        k = self._part_tile(turn, body) * self.layout.tile_k - self.first * self.phase_k
        for row in range(2 * self.hint.rows):
            for run in range(self.runs):
                at = row * self.runs + run
                if c.with_scaling:
                    scale = self._taken(self.next_scale, at, self.scale_tile, turn, row, k + run * self.run_k)
                    store_local(self.scale, at, scale)
                if c.with_zeros:
                    zero = self._taken(self.next_zero, at, self.zero_tile, turn, row, k + run * self.run_k)
                    if self.decoder.value_offset and c.zeros_mode != "rescale":
                        zero = zero + tirx.const(self.decoder.value_offset, c.reduce_dtype)
                    store_local(self.zero, at, zero)

    def _taken(self, arrived: Any, at: int, tile: Tile | None, turn: Expr, row: int, k: Expr) -> Expr:
        """Return a scale or zero point in the type of the totals."""
        if tile is None:
            return arrived[at].astype(self.config.reduce_dtype)
        size = self.config.scale_format.bits // 8
        n = self.warp_n * self.hint.rows * 16 + row * 8 + self.lane // 4
        g = k // self.config.group
        if self.has_ragged_k:
            g = T.min(g, tile.row_bytes // size - 1)
        raw = T.alloc_local((1,), f"uint{8 * size}")
        T.evaluate(
            T.ptx[f"ld.shared.u{8 * size}"](raw[0], self.arena.ptr_to([tile.offset(turn % tile.slots, n, g * size)]))
        )
        return tirx.reinterpret(self.config.scale_format.tvm_dtype, raw[0]).astype(self.config.reduce_dtype)

    # A.

    def _barrier(self, buffer: Expr, part: Expr) -> Expr:
        """Return the pointer to the barrier on which the arrival of a part of A in a buffer counts."""
        return self.arena.ptr_to([self.barrier_offset + (buffer * self.hint.warps_k + part) * 8])

    def _copy_a(self, turn: Expr, buffer: Expr) -> None:
        """Emit the copy of A's part of a turn; what lies beyond K becomes zero."""
        c = self.config
        a_bytes = c.A_format.bits // 8
        k0 = self._phase(turn) * self.phase_k
        whole = c.has_fixed_rows(self.rung) and self.rung % self.rows_of_a == 0
        rows_left = None if whole else self.m - self.m0

        def source(row: Expr, byte: Expr) -> Expr:
            return self.A.ptr_to([row_index(c, self.rung, self.m0 + row), k0 + byte // a_bytes])

        if self.copies_bulk:
            self._copy_bulk(source, (c.K - k0) * a_bytes, rows_left, buffer)
            return
        copy_tile(
            self.arena, self.a_tile, buffer, source, self.thread, self.threads, self.a_width, rows_left,
            (c.K - k0) * a_bytes if self.has_ragged_k else None, self.a_width >= 4,
        )  # fmt: skip

    def _copy_bulk(self, source: Any, bytes_left: Expr, rows_left: Expr | None, buffer: Expr) -> None:
        """Emit a bulk copy for each row of a part of A, by the lanes of the first of the warps that share the part.

        Blocks that share rows of A send each other their shares of the parts, and each of them awaits all parts.
        """
        tile, h = self.a_tile, self.hint
        part_bytes = tile.row_bytes // h.warps_k
        begin = self.warp_k * part_bytes
        bytes_: Expr = part_bytes
        size: Expr = T.uint32(part_bytes)
        if self.has_ragged_k:
            bytes_ = T.max(T.min(bytes_left - begin, part_bytes), 0)
            # In a register: TVM's simplifier fails on a cast of what has bounds below 0, where several copies share it.
            size = local("int32", bytes_).astype("uint32")
        rows: Expr = self.rows_of_a if rows_left is None else T.min(rows_left, self.rows_of_a)
        barrier = self._barrier(buffer, self.warp_k)
        name, mask = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes", []
        sends: Expr = True
        if h.multicast > 1:
            name += ".multicast::cluster"
            blocks = sum(1 << member * h.split_k for member in range(h.multicast))
            mask = [T.cast(T.uint32(blocks) << T.cast(self.rank, "uint32"), "uint16")]
            sends = self.warp_k % h.multicast == self.member

        def copies() -> None:
            for first in range(0, self.rows_of_a, 32):
                row = first + self.lane
                with T.If(tirx.all(row < rows, bytes_ > 0)), T.Then():
                    target = self.arena.ptr_to([tile.offset(buffer, row, begin)])
                    T.evaluate(T.ptx[name](target, source(row, begin), size, barrier, *mask))

        with T.If(self.warp_n == 0), T.Then():
            with T.If(self.lane == 0), T.Then():
                expect_bytes(barrier, rows * bytes_)
            T.evaluate(T.ptx["bar.warp.sync"](T.uint32(0xFFFFFFFF)))
            when(sends, copies)

    def _zero_behind_k(self, turn: Expr, buffer: Expr) -> None:
        """Emit stores of zeros to a buffer where a turn reaches beyond K: bulk copies leave that alone."""
        if not self.has_ragged_k:
            return
        tile = self.a_tile
        bytes_left = (self.config.K - self._phase(turn) * self.phase_k) * (self.config.A_format.bits // 8)
        columns = tile.row_bytes // 16
        total = self.rows_of_a * columns
        with T.If(bytes_left < tile.row_bytes), T.Then(), T.serial(-(-total // self.threads)) as step:
            index = step * self.threads + self.thread
            row, byte = index // columns, index % columns * 16
            with T.If(tirx.all(index < total, byte >= bytes_left)), T.Then():
                target = self.arena.ptr_to([tile.offset(buffer, row, byte)])
                T.evaluate(T.ptx["st.shared.v4.u32"](target, *[T.uint32(0)] * 4))

    def begin_turn(self, turn: Expr) -> None:
        """Emit the wait for A where it has not come yet, and the copies of what the next turn needs."""
        if self.a_stays:
            zero_local(self.total)
            if self.copies_bulk:  # A barrier that has been passed stays open.
                T.evaluate(T.cuda.mbarrier_wait(self._barrier(0, self.warp_k), 0))
            if self.max_count > 1:
                when(turn + 1 < self.count, lambda: self._stage_scales(turn + 1))
                self._commit()
            return
        if self.copies_bulk:
            barrier = self._barrier(turn % self.buffers, self.warp_k)
            T.evaluate(T.cuda.mbarrier_wait(barrier, turn // self.buffers % 2))
        else:
            T.evaluate(T.ptx["cp.async.wait_all"]())
        T.evaluate(T.cuda.cta_sync())
        following, buffer = turn + 1, (turn + 1) % self.buffers

        def copy() -> None:
            if self.copies_bulk:
                self._zero_behind_k(following, buffer)
            self._copy_a(following, buffer)

        when(following < self.count, copy)

    def end_turn(self, turn: Expr, epilogue: Epilogue) -> None:
        """Emit the end of a block of n: its sums, and the wait for the scales of the next."""
        if not self.a_stays:
            return
        if self.max_count > 1:
            pending = min(self.hint.ahead, self.part_tiles) if self.is_shared else 0
            T.evaluate(T.ptx["cp.async.wait_group"](pending))
        SumStore(self).reduce(self._n0(turn), epilogue)

    def _load_right(self, buffer: Expr, k: Expr, columns: Sequence[int]) -> Any:
        """Emit the loads of two or four registers of the right operand for each 8 rows of A.

        Register c of a tile holds 16 bytes of a row, from k of a phase and byte 16 * c on. They come in the order of
        `columns`, as an mma wants them: its two registers side by side.
        """
        count = len(columns)
        registers = T.alloc_local((count * self.blocks_m,), "uint32")
        next_, next_pair = columns[1] - columns[0], columns[-2] - columns[0]
        assert list(columns) == [columns[0] + i % 2 * next_ + i // 2 * next_pair for i in range(count)]
        byte = k * self.config.A_format.bits // 8 + 16 * columns[0]
        # Lanes name rows of A, and one of the columns.
        column = self.lane // 8 % 2 * next_ + self.lane // 16 * next_pair if count == 4 else self.lane // 8 * next_
        for j in range(self.blocks_m):
            row = j * 8 + self.lane % 8
            row = T.min(row, self.rows_of_a - 1) if self.rows_of_a < (j + 1) * 8 else row
            offset = self.a_tile.offset(buffer, row, byte + column * 16)
            load_fragments(self.arena, offset, [registers[count * j + i] for i in range(count)])
        return registers

    # The product.

    def multiply(self, turn: Expr, body: Expr) -> None:
        """Emit one body: products, loads of the tiles to come, scaling of sums where runs end."""
        h = self.hint
        self._take_scales(turn, body)
        if self.config.num_groups > 1 or self.max_count > 1:
            self._load_following_scales(turn, body)
        sources: dict[int, list[Expr]] = {}
        for tile in range(h.unroll):
            # A ring that is longer than a body goes on in the next one; bodies of all turns are counted.
            slot: Expr = tile % h.ahead
            if h.ahead > h.unroll:
                slot = (turn * self.bodies + body) % (h.ahead // h.unroll) * h.unroll + tile
            words = self._take_tile(slot)
            if not self.is_shared:
                self._load_following(turn, body, tile, slot, sources)
            self._multiply_tile(words, turn, body, tile)
            if self.is_shared:
                # Only now that the tile is decoded may another one take its place.
                self._load_following(turn, body, tile, slot, sources)
                self._commit()

    def _multiply_tile(self, words: Any, turn: Expr, body: Expr, tile: int) -> None:
        """Emit the products of one tile of a body, and the scaling of sums where runs end."""
        in_run = self.run_k // self.layout.step_k * self.decoder.registers
        in_load = 2 * self.decoder.registers
        for index, product in enumerate(self.products):
            if index % in_load == 0:
                loaded = self.products[index : index + in_load]
                columns = list(dict.fromkeys(column for p in loaded for column, _ in p.right))
                k = self._tile_of_phase(body, tile) * self.layout.tile_k
                right = self._right_operands(self._load_right(turn % self.buffers, k, columns), columns)
            run, place = divmod(tile * len(self.products) + index, in_run)
            if place == 0:
                self._begin_run()
            self._multiply(words, right, product)
            if place == in_run - 1:
                self._end_run(run)

    def _tile_of_phase(self, body: Expr, tile: int) -> Expr:
        """Return the index in a phase of a tile of a body of this warp."""
        return self.warp_k * self.part_tiles + body * self.hint.unroll + tile

    def _begin_run(self) -> None:
        zero_local(self.acc)
        if self.needs_sum_of_a:
            zero_local(self.a_sum)
        self.counts = [0] * self.classes_count

    def _load_following(self, turn: Expr, body: Expr, tile: int, slot: Expr, sources: dict[int, list[Expr]]) -> None:
        """Emit the load of the tile that comes `ahead` tiles after one of a body, if any.

        `sources` holds those of the bodies that come so many bodies later, where a tile before has needed them.
        """
        later, in_body = divmod(tile + self.hint.ahead, self.hint.unroll)
        turn, body, is_there = self._find_body(turn, body + later) if later else (turn, body, True)
        if later not in sources:
            sources[later] = self._sources(turn, body)
        when(is_there, lambda: self._load_tile(sources[later], turn, body, in_body, slot))

    def _multiply(self, words: Any, right: Callable[[int, int, int], Expr], product: Product) -> None:
        """Emit one product, by all rows of tiles and of A. The chains of its class take turns."""
        h, count = self.hint, self.counts[product.sum_class]
        sums = product.sum_class * self.chains + count % self.chains
        sources = [[right(j, *register) for register in product.right] for j in range(self.blocks_m)]
        for r in range(h.rows):
            left = self._left_operand(words, r, product)
            for j in range(self.blocks_m):
                first = ((sums * h.rows + r) * self.blocks_m + j) * 4
                self.mma.emit([self.acc[first + i] for i in range(4)], left, sources[j])
        if self.needs_sum_of_a:
            ones = [T.uint32(self.ones[i % 2]) for i in range(4)]
            for j in range(self.blocks_m):
                first = (sum(self.counts) % self.a_chains * self.blocks_m + j) * 4
                self.ones_mma.emit([self.a_sum[first + i] for i in range(4)], ones, sources[j])
        self.counts[product.sum_class] += 1

    def _left_operand(self, words: Any, r: int, product: Product) -> list[Expr]:
        """Return the four registers of the weight for one mma."""
        planes, first = [], r * self.lane_words
        for plane in self.layout.planes:
            planes.append([words[first + i] for i in range(plane.words)])
            first += plane.words
        named = dict.fromkeys(register for register, _ in product.left)
        decoded = {register: self.decoder.decode(planes, register, self.table) for register in named}
        return [decoded[register][part] for register, part in product.left]

    def _right_operands(self, loaded: Any, columns: Sequence[int]) -> Callable[[int, int, int], Expr]:
        """Return what gives the registers of A for 8 rows j, a column, and a part where float8 becomes float16."""
        decoded: dict[tuple[int, int], list[Expr]] = {}

        def register(j: int, column: int, part: int) -> Expr:
            if (j, column) not in decoded:
                raw = loaded[len(columns) * j + columns.index(column)]
                decoded[j, column] = self.a_decoder.decode([[raw]], 0) if self.a_decoder else [raw]
            return decoded[j, column][part]

        return register

    def _end_run(self, run: int) -> None:
        """Emit total += decode(sums of the run)."""
        h, dtype = self.hint, self.config.reduce_dtype
        stride = h.rows * self.blocks_m * 4

        def added(buffer: Any, first: int, chains: int, stride: int) -> Expr:
            sums = [sum_value(buffer[first + chain * stride]) for chain in range(chains)]
            while len(sums) > 1:
                sums = [sum(sums[k + 1 : k + 2], sums[k]) for k in range(0, len(sums), 2)]
            return sums[0].astype(dtype)

        def joined(at: int, row: int) -> Expr:
            total = None
            # Short runs of one-bit weights have products of one class.
            for k in (k for k in reversed(range(len(self.classes))) if self.counts[k]):
                part = added(self.acc, k * self.chains * stride + at, min(self.chains, self.counts[k]), stride)
                factor = self.factor * 2.0 ** (self.classes[-1][row] - self.classes[k][row])
                part = part * tirx.const(factor, dtype) if factor != 1 else part
                total = part if total is None else total + part
            return total

        for j in range(self.blocks_m):
            sum_of_a = T.alloc_local((4,), dtype)
            if self.needs_sum_of_a:
                for i in range(4):
                    chains = min(self.a_chains, sum(self.counts))
                    store_local(sum_of_a, i, added(self.a_sum, 4 * j + i, chains, 4 * self.blocks_m))
            for r in range(h.rows):
                for i in range(4):
                    at = (r * self.blocks_m + j) * 4 + i
                    dot = joined(at, i // 2)
                    if self.decoder.shares_bytes and i < 2:
                        dot = dot - joined(at + 2, 1)
                    self._add_run(at, dot, sum_of_a[i], 2 * r + i // 2, run)

    def _add_run(self, at: int, dot: Expr, sum_of_a: Expr, row: int, run: int) -> None:
        """Emit total += decode(sum of products), for 8 rows of W of a run."""
        c = self.config
        # Where zero points are subtracted before scaling they contain the offset.
        offset = 0.0 if c.with_zeros and c.zeros_mode != "rescale" else self.decoder.value_offset
        if offset:
            dot = dot - sum_of_a * tirx.const(offset, c.reduce_dtype)
        index = row * self.runs + run
        scale = self.scale[index] if c.with_scaling else None
        zero = self.zero[index] * sum_of_a if c.with_zeros else None
        store_local(self.total, at, self.total[at] + apply_scale_and_zero(dot, scale, zero, c.zeros_mode))

    # The end.

    @property
    def totals(self) -> int:
        """Totals of a thread: of four sums of each product, so many rows of W and A."""
        return self.hint.rows * self.blocks_m * 4

    def finished(self) -> Iterator[tuple[Expr, Expr, Expr, Expr | None]]:
        """Yield (m, n, total, condition): where in the block a total of this thread belongs, and if it stores it."""
        for r in range(self.hint.rows):
            for j in range(self.blocks_m):
                for i in range(4):
                    m = j * 8 + self.lane % 4 * 2 + i % 2
                    value = self.total[(r * self.blocks_m + j) * 4 + i]
                    if self.unit[i // 2] != 1:
                        value = value * tirx.const(self.unit[i // 2], self.config.reduce_dtype)
                    is_there = m < self.rows_of_a if (j + 1) * 8 > self.rows_of_a else None
                    yield m, self._column(r, i // 2), value, is_there

    def _column(self, r: int, half: int) -> Expr:
        """Return the n in the block of this lane's row of W, in a tile of this warp."""
        return (self.warp_n * self.hint.rows + r) * 16 + half * 8 + self.lane // 4

    def end(self, epilogue: Epilogue) -> None:
        """Emit what comes after all turns."""
        if not self.a_stays:
            SumStore(self).reduce(self._n0(0), epilogue)

    def count_m_blocks(self, m: Expr) -> Expr:
        """Return the blocks that m rows of A take."""
        return T.truncdiv(m + (self.rows_of_a - 1), self.rows_of_a)

    def build(self) -> PrimFunc:
        """Return the kernel."""
        spec = operands(self.config, self.rung, "fragment")
        h, N, K = self.hint, self.config.N, self.config.K
        threads, smem_bytes, cluster = self.threads, self.smem_bytes, h.cluster
        blocks_n, blocks_per_sm = self.grid_n * h.split_k, h.blocks_per_sm
        kernel = self

        @T.prim_func(check_well_formed=False)
        def decode(
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
            T.attr({"tirx.launch_bounds_min_blocks_per_sm": blocks_per_sm})
            block = T.cta_id([kernel.count_m_blocks(m) * blocks_n])
            rank = T.meta_var(cluster_rank(cluster))
            thread = T.thread_id([threads])
            arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=128)
            kernel.bind(A, B, Scale, Zeros, m, T.truncdiv(block, cluster), rank, thread, arena)
            kernel.begin()
            for turn in T.serial(kernel.count):
                kernel.begin_turn(turn)
                for body in T.serial(kernel.bodies):
                    kernel.multiply(turn, body)
                kernel.end_turn(turn, Epilogue(Bias, ActivationScale, ChannelScale, D))
            kernel.end(Epilogue(Bias, ActivationScale, ChannelScale, D))

        func = spec.bind(decode)
        if self.uses_dependent_launch:
            func = with_dependent_launch(func)
        return func
