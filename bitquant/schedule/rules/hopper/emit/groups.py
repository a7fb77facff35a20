"""Scales and zero points of the wgmma kernel applied to sums, where A has few rows.

A group of weights shares alpha = s and beta = z s (see `_factors`)::

    sum_k a[m, k] decode(w[n, k]) = alpha[n] * sum_k a[m, k] q[n, k] - beta[n] * sum_k a[m, k]

so that a decoded register costs no more than the masks that bring forth its codes. The sums of a group, few where A has
few rows, are folded into totals in float32: two multiply-adds each. The sums of A are the same for all rows of W: the
warps of the producing warpgroup that copy nothing compute them, by a product with ones, and leave them in the slot's
part of shared memory.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.intrin.launch import arrive, initialize_barrier
from bitquant.intrin.mma import MmaOp, local, store_local, zero_local
from bitquant.intrin.wgmma import BARRIER_BYTES, SWIZZLE_BYTES, Cursor, pin, wait_for_products
from bitquant.schedule.rules.hopper.emit.factors import TURN, FactorLoads, unpacked
from bitquant.schedule.rules.hopper.tiles import SUMMING_WARPS

if TYPE_CHECKING:
    from bitquant.schedule.rules.hopper.emit.kernel import Kernel, Place

__all__ = ["Grouping", "SumsOfA"]

Expr = Any

#: Rows of A of one product with ones, and independent sums that a warp has at most.
BLOCK_M, MAX_CHAINS = 16, 4
#: Lanes of a warp that store sums of A: one of the four that have those of two rows.
STORING_LANES = 8
#: A pair of ones in the types of A.
_ONES = {"float16": 0x3C003C00, "bfloat16": 0x3F803F80}


class SumsOfA:
    """Sums of the rows of A over each run of steps that shares a scale.

    Slot i of the ring has a barrier of its own, `ready`, which completes when its sums are stored, and float32 numbers
    (parts of K, runs that end in the slot, rows of A). They are free again when the slot is. Where a run takes several
    slots, the ring has a whole number of such runs, and only the barriers of those slots where one ends are used.

    Parameters
    ----------
    kernel
        The kernel, with its operands bound.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def _ready(self, offset: Expr) -> Expr:
        """Return the address of a slot's barrier for its sums, by the slot's `Cursor.offset`."""
        return self.kernel.base + T.uint32(self.kernel.ready_offset) + offset

    def address(self, cursor: Cursor, part: Expr, run: int) -> Expr:
        """Return the address of the sums of a part's run in a slot."""
        kernel = self.kernel
        run_bytes = 4 * kernel.hint.block_m
        slot_bytes = kernel.hint.consumers_k * kernel.runs_in_slot * run_bytes
        in_slot = (part * kernel.runs_in_slot + run) * run_bytes
        return kernel.base + cursor.distance(slot_bytes) + (kernel.sums_offset + in_slot).astype("uint32")

    def initialize(self) -> None:
        """Emit the initialization of the barriers, by one thread, before those of the ring are fenced."""
        for slot in range(self.kernel.hint.stages):
            ready = self._ready(T.uint32(BARRIER_BYTES * slot))
            initialize_barrier(ready, SUMMING_WARPS * STORING_LANES)

    def wait(self, cursor: Cursor) -> None:
        """Emit the wait for a slot's sums."""
        T.evaluate(T.cuda.mbarrier_wait(self._ready(cursor.offset), cursor.phase.astype("int32")))

    def produce(self) -> None:
        """Emit the sums of all slots of this block's jobs, by one of the warps."""
        kernel = self.kernel
        h = kernel.hint
        cursor = Cursor(h.stages)
        blocks_of_part = -(-h.block_m // BLOCK_M)
        blocks = h.consumers_k * blocks_of_part
        #: Warp w of the summing ones takes blocks w, w + 3, ...
        turns = -(-blocks // SUMMING_WARPS)
        chains = max(1, MAX_CHAINS // turns)
        sums = [[T.alloc_local((4,), "float32") for _ in range(chains)] for _ in range(turns)]
        block = [local("int32", kernel.warp - 1 + turn * SUMMING_WARPS) for turn in range(turns)]
        with kernel.for_jobs() as job, T.serial(job.bodies):
            for stage in range(kernel.body_stages):
                kernel.ring.wait_full(cursor)
                for turn in range(turns):
                    part, row = block[turn] // blocks_of_part, block[turn] % blocks_of_part * BLOCK_M
                    if (turn + 1) * SUMMING_WARPS > blocks:
                        with T.If(block[turn] < blocks), T.Then():
                            self._add(cursor, stage, part, row, sums[turn])
                    else:
                        self._add(cursor, stage, part, row, sums[turn])
                if (stage + 1) % kernel.slots_of_run == 0:
                    # Each lane that stores arrives for itself.
                    with T.If(kernel.lane % (32 // STORING_LANES) == 0), T.Then():
                        arrive(self._ready(cursor.offset))
                T.evaluate(T.ptx["bar.warp.sync"](T.uint32(0xFFFFFFFF)))
                kernel.ring.release(cursor.offset, kernel.lane)
                cursor.advance()

    def _add(self, cursor: Cursor, stage: int, part: Expr, row: Expr, sums: Sequence[Any]) -> None:
        """Emit the sums of 16 rows of A over a slot's steps, and their stores where runs end.

        Products take turns with the independent sums `sums`: they wait for those of the consumers anyway.
        """
        kernel = self.kernel
        h = kernel.hint
        product = MmaOp(kernel.op.left, kernel.op.right, has_k16=True)
        ones = [T.uint32(_ONES[kernel.operand])] * 2
        line = kernel.lane % BLOCK_M
        # Lanes name rows of 16 bytes: 16 rows of A and 2 chunks of k, where the swizzle has put them.
        place_in_box = (row + line) * SWIZZLE_BYTES + ((kernel.lane // BLOCK_M) ^ (line % 8)) * 16
        steps_of_product = SWIZZLE_BYTES // 32
        for step in range(kernel.steps):
            place = stage * kernel.steps + step
            if place % kernel.run_steps == 0:
                for chain in sums:
                    for i in range(4):
                        store_local(chain, i, T.float32(0))
            box = (part * kernel.steps + step) * kernel.a_box_bytes
            slot = kernel.base + cursor.distance(kernel.slot_bytes)
            address = local("uint32", slot + (box + place_in_box).astype("uint32"))
            left = T.alloc_local((4 * steps_of_product,), "uint32")
            for j in range(steps_of_product):
                registers = [left[4 * j + i] for i in range(4)]
                T.evaluate(T.ptx["ldmatrix.sync.aligned.m8n8.x4.shared.b16"](*registers, address ^ T.uint32(32 * j)))
            for j in range(steps_of_product):
                chain = sums[(place * steps_of_product + j) % len(sums)]
                product.emit([chain[i] for i in range(4)], [left[4 * j + i] for i in range(4)], ones)
            if (place + 1) % kernel.run_steps == 0:
                # All columns of the product are equal: the first lane of four holds those of rows g and g + 8.
                at = self.address(cursor, part, step // kernel.run_steps)
                for half in range(2):
                    at_row = row + kernel.lane // 4 + 8 * half
                    with T.If(tirx.all(kernel.lane % (32 // STORING_LANES) == 0, at_row < h.block_m)), T.Then():
                        total = functools.reduce(operator.add, [chain[2 * half] for chain in sums])
                        T.evaluate(T.ptx["st.shared.f32"](at + (at_row * 4).astype("uint32"), total))


class Grouping:
    """Totals of scaled sums, in the place of `wgmma_sums.Promotion` where A has 16 bits.

    Attributes
    ----------
    totals
        For each block of 64 rows its totals, in the order of the accumulators.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        h = kernel.hint
        self.totals = [T.alloc_local((kernel.sums,), "float32") for _ in range(h.rows)]
        self.factors = [_Factors(kernel, row) for row in range(h.rows)]
        #: The slot whose sums of A are read next.
        self.cursor = Cursor(h.stages)

    def begin_tile(self) -> None:
        """Emit the totals' start, and the loads of the first factors."""
        for totals in self.totals:
            zero_local(totals)
        for factors in self.factors:
            factors.begin_part()

    def begin_part(self) -> None:
        """Emit nothing: factors are taken where runs end."""

    def begins_run(self, place: Place, j: int) -> bool:
        """Return whether instruction j of a left operand is the first of a run, and overwrites the last one's sums."""
        return j == 0 and self.kernel.step_of_body(place) % self.kernel.run_steps == 0

    def begin_run(self, place: Place, j: int, body: Expr) -> None:
        """Emit nothing: see `begin_part`."""

    def sums_of(self, place: Place) -> list[Any]:
        """Return the sums, for each block of rows, to which the products of a left operand are added."""
        kernel = self.kernel
        return kernel.acc_sets[kernel.step_of_body(place) // kernel.run_steps % len(kernel.acc_sets)]

    def add_previous(self, places: Sequence[Place], i: int, body: Expr) -> None:
        """Emit totals += scaled sums of the run before, where the i-th left operand of a body is the first of another.

        The sums of all blocks of rows are added together, and read the same sums of A.
        """
        if i and len(self.kernel.acc_sets) > 1 and self._ends_run(places[i - 1]):
            self._finish(places[i - 1], body)

    def add_own(self, places: Sequence[Place], i: int, body: Expr) -> None:
        """Emit totals += scaled sums, where the i-th left operand of a body is the last of a run that cannot wait.

        So it is where there is one set of sums, and at the end of a body: ptxas lets no wgmma run on from there whose
        sums are not for wgmma alone.
        """
        kernel, place = self.kernel, places[i]
        if self._ends_run(place):
            if len(kernel.acc_sets) == 1 or i == len(places) - 1:
                wait_for_products(0)
                self._finish(place, body)
        elif self._ends_slot(place):
            self.cursor.advance()

    def _ends_run(self, place: Place) -> bool:
        kernel = self.kernel
        return place.row == kernel.hint.rows - 1 and (kernel.step_of_body(place) + 1) % kernel.run_steps == 0

    def _ends_slot(self, place: Place) -> bool:
        kernel = self.kernel
        return place.row == kernel.hint.rows - 1 and (kernel.step_of_body(place) + 1) % kernel.steps == 0

    def _finish(self, place: Place, body: Expr) -> None:
        """Emit the addition of a run's sums, which are complete."""
        kernel = self.kernel
        step, acc = kernel.step_of_body(place), self.sums_of(place)
        for registers in acc:
            pin(registers)
        run = step % kernel.steps // kernel.run_steps
        if kernel.needs_sums_of_a and run == 0:
            kernel.sums_of_a.wait(self.cursor)
        self._add(acc, body * (kernel.body_stages * kernel.steps) + step, run)
        if self._ends_slot(place):
            self.cursor.advance()

    def _add(self, sums_of_w: Sequence[Any], step: Expr, run: int) -> None:
        """Emit totals += alpha * sums - beta * sums of A for the run that ends with `step` of this part."""
        kernel = self.kernel
        factors = [each.factors(step) for each in self.factors]
        address = local("uint32", kernel.sums_of_a.address(self.cursor, kernel.part_k_index, run))
        address = local("uint32", address + (kernel.lane % 4 * 8).astype("uint32"))
        for column in range(kernel.hint.block_m // 8):
            sums = T.alloc_local((2,), "float32")
            if kernel.needs_sums_of_a:
                T.evaluate(T.ptx["ld.shared.v2.f32"](sums[0], sums[1], address + T.uint32(32 * column)))
            for row, (acc, totals) in enumerate(zip(sums_of_w, self.totals, strict=True)):
                for i in range(4):
                    at = 4 * column + i
                    alpha, beta = factors[row][i // 2]
                    # Where rows share bytes, the sums of row g are too great by those of row g + 8.
                    value = acc[at] - acc[at + 2] if kernel.decoder.shares_bytes and i < 2 else acc[at]
                    total = totals[at] + (value if alpha is None else alpha * value)
                    store_local(totals, at, total if beta is None else total - beta * sums[i % 2])
        for each in self.factors:
            each.advance(step)


class _Factors:
    """Factors of one block of 64 rows of W, as a thread applies them to the sums of its two rows, g and g + 8.

    The four lanes that share rows hold the scales and zero points of four consecutive groups and pass them on; the next
    ones are on their way meanwhile (`wgmma_factors`).
    """

    def __init__(self, kernel: Kernel, row: int) -> None:
        self.kernel, self.row = kernel, row
        self.loads = FactorLoads(kernel, row)
        #: Of the four groups that are read now: both rows' scales in a register, and zero points.
        self.scale = T.alloc_local((1,), "uint32")
        self.zero = T.alloc_local((1,), "uint32")

    def _pack(self, first: Expr) -> None:
        """Emit the moves of groups `first` to `first` + 3 to the registers that are read, and the loads that follow."""
        for register, pair in zip((self.scale, self.zero), self.loads.deal(first), strict=True):
            if pair is not None:
                store_local(register, 0, pair[0])
        self.loads.follow(first)

    def begin_part(self) -> None:
        """Emit the loads for the group in which this consumer's part of K begins, and for the following ones."""
        group = self._group(T.int32(0))
        self.loads.begin(group)
        self._pack(group // TURN * TURN)

    def _group(self, step: Expr) -> Expr:
        """Return the group of a step of this part."""
        kernel, c = self.kernel, self.kernel.config
        return (kernel.first_step + step) // (c.group // kernel.step_k) if c.num_groups > 1 else T.int32(0)

    def factors(self, step: Expr) -> list[tuple[Expr | None, Expr | None]]:
        """Emit alpha and beta of both rows for the run that ends with `step` of this part; return them.

        None stands for an alpha of 1 and a beta of 0.
        """
        kernel, c = self.kernel, self.kernel.config
        group = local("int32", self._group(step))

        def taken(held: Any) -> Expr:
            if c.num_groups == 1:
                return held[0]
            return local("uint32", kernel.from_group(held[0], group))

        scales = unpacked([taken(self.scale)], c) if c.with_scaling else [None, None]
        zeros = unpacked([taken(self.zero)], c, is_zero=True) if c.with_zeros else [None, None]
        result = []
        for half in range(2):
            alpha, beta = self._factors(half, scales[half], zeros[half])
            result.append(tuple(None if value is None else local("float32", value) for value in (alpha, beta)))
        return result

    def _factors(self, half: int, scale: Expr | None, zero: Expr | None) -> tuple[Expr | None, Expr | None]:
        """Return alpha and beta: decode(w) = alpha * number - beta, with value = unit * number - offset."""
        kernel, c = self.kernel, self.kernel.config
        unit, offset = kernel.unit(half), kernel.decoder.value_offset
        alpha = scale if unit == 1 else (T.float32(unit) if scale is None else scale * T.float32(unit))
        beta = zero
        if c.zeros_mode == "rescale" and c.with_zeros:
            if offset:
                shift = T.float32(offset) if scale is None else scale * T.float32(offset)
                beta = beta + shift
            return alpha, beta
        if offset:
            beta = T.float32(offset) if beta is None else beta + T.float32(offset)
        return alpha, beta if beta is None or scale is None else beta * scale

    def advance(self, step: Expr) -> None:
        """Emit the change to the next four groups where `step` of this part is the last of four."""
        c = self.kernel.config
        if c.num_groups <= TURN:
            return
        following = local("int32", self.kernel.first_step + step + 1)
        steps = TURN * (c.group // self.kernel.step_k)
        with T.If(following % steps == 0), T.Then():
            self._pack(local("int32", following // steps * TURN))
