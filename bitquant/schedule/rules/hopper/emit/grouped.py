# SPDX-License-Identifier: Apache-2.0
"""Scales and zero points of the wgmma kernel applied to sums, where A has 16 bits and few rows.

A group of weights shares alpha = s and beta = z s (see `_Factors`)::

    sum_k a[m, k] decode(w[n, k]) = alpha[n] * sum_k a[m, k] q[n, k] - beta[n] * sum_k a[m, k]

so that a decoded register costs no more than the masks that extract its codes. The sums of a group, few where A has few
rows, are added to totals in float32: two multiply-adds each. The sums of A are the same for all rows of W: the warps of
the producing warpgroup that copy nothing compute them, by a product with ones, and leave them in the slot's part of
shared memory (`sums_of_a`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.mma import local, store_local, zero_local
from bitquant.intrin.wgmma import Cursor, fence_registers, wait_wgmma
from bitquant.schedule.rules.hopper.emit.accumulate import Accumulation, Product
from bitquant.schedule.rules.hopper.emit.context import Context, OperandCoord, WorkTile
from bitquant.schedule.rules.hopper.emit.factors import GroupCursor, unpacked
from bitquant.schedule.rules.hopper.emit.sums_of_a import SumsOfA
from bitquant.schedule.rules.hopper.geometry import STEP_OPS

__all__ = ["GroupedSums"]

Expr = Any


class GroupedSums(Accumulation):
    """Totals of scaled sums, whose factors are taken where runs end. The sums of all blocks of rows are added together.

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    sets
        One or two sets of sums, each with one for each block of 64 rows: with two, one is scaled while products go to
        the other.
    sums_of_a
        Where the sums of A are.
    """

    def __init__(self, context: Context, sets: Sequence[Sequence[Any]], sums_of_a: SumsOfA) -> None:
        self.context, self.sets, self.sums_of_a = context, sets, sums_of_a
        h = context.hint
        self.totals = [T.alloc_local((context.g.sums,), "float32") for _ in range(h.n_tiles_per_consumer)]
        self.factors = [_Factors(context, row) for row in range(h.n_tiles_per_consumer)]
        #: The slot whose sums of A are read next.
        self.cursor = Cursor(h.stages)

    def load_first(self, work_tile: WorkTile) -> None:
        """Emit the loads of the first factors of a block's first tile."""
        for factors in self.factors:
            factors.cursor.loads.load_first(work_tile)

    def begin_tile(self, work_tile: WorkTile, first_step: Expr) -> None:
        """Emit the start of sums and totals, and the loads of the first factors."""
        for sums in self.sets:
            for registers in sums:
                zero_local(registers)
        for totals in self.totals:
            zero_local(totals)
        for factors in self.factors:
            factors.cursor.begin_tile(work_tile, first_step)
            factors.cursor.begin_part()

    def multiply(self, coord: OperandCoord, body: Expr, product: Product) -> None:
        """Emit the instructions of a left operand: the first one of a run overwrites the last one's sums."""
        del body
        begins_run = coord.body_step % self.context.g.loop.run_steps == 0
        for j in range(STEP_OPS):
            product(self._sums(coord)[coord.row], j, not (begins_run and j == 0))

    def add_previous(self, coords: Sequence[OperandCoord], i: int, body: Expr) -> None:
        """Emit totals += scaled sums of the run before, where the i-th left operand of a body is the first of another.

        All blocks of rows read the same sums of A.
        """
        if i and len(self.sets) > 1 and self._ends_run(coords[i - 1]):
            self._finish(coords[i - 1], body)

    def add_own(self, coords: Sequence[OperandCoord], i: int, body: Expr) -> None:
        """Emit totals += scaled sums, where there is one set of sums, and at the end of a body."""
        coord = coords[i]
        if self._ends_run(coord):
            if len(self.sets) == 1 or i == len(coords) - 1:
                wait_wgmma(0)
                self._finish(coord, body)
        elif self._ends_slot(coord):
            self.cursor.advance()

    def _sums(self, coord: OperandCoord) -> Sequence[Any]:
        """Return the sums, for each block of rows, to which the products of a left operand are added."""
        return self.sets[coord.body_step // self.context.g.loop.run_steps % len(self.sets)]

    def _ends_run(self, coord: OperandCoord) -> bool:
        return self._ends(coord, self.context.g.loop.run_steps)

    def _ends_slot(self, coord: OperandCoord) -> bool:
        return self._ends(coord, self.context.g.steps)

    def _ends(self, coord: OperandCoord, steps: int) -> bool:
        return coord.row == self.context.hint.n_tiles_per_consumer - 1 and (coord.body_step + 1) % steps == 0

    def _finish(self, coord: OperandCoord, body: Expr) -> None:
        """Emit the addition of a run's sums, which are complete."""
        g = self.context.g
        sums = self._sums(coord)
        for registers in sums:
            fence_registers(registers)
        run = coord.body_step % g.steps // g.loop.run_steps
        if g.needs_sums_of_a and run == 0:
            self.sums_of_a.wait(self.cursor)
        self._add(sums, body * (g.loop.body_stages * g.steps) + coord.body_step, run)
        if self._ends_slot(coord):
            self.cursor.advance()

    def _add(self, sums_of_w: Sequence[Any], step: Expr, run: int) -> None:
        """Emit totals += alpha * sums - beta * sums of A for the run that ends with `step` of this part."""
        context, g = self.context, self.context.g
        assert g.decoder is not None
        factors = [each.factors(step) for each in self.factors]
        address = local("uint32", self.sums_of_a.address(self.cursor, context.part_k, run))
        address = local("uint32", address + (context.lane % 4 * 8).astype("uint32"))
        for column in range(context.hint.block_m // 8):
            sums = T.alloc_local((2,), "float32")
            if g.needs_sums_of_a:
                T.evaluate(T.ptx["ld.shared.v2.f32"](sums[0], sums[1], address + T.uint32(32 * column)))
            for row, (acc, totals) in enumerate(zip(sums_of_w, self.totals, strict=True)):
                for i in range(4):
                    at = 4 * column + i
                    alpha, beta = factors[row][i // 2]
                    # Where rows share bytes, the sums of row g include those of row g + 8.
                    value = acc[at] - acc[at + 2] if g.decoder.shares_bytes and i < 2 else acc[at]
                    total = totals[at] + (value if alpha is None else alpha * value)
                    store_local(totals, at, total if beta is None else total - beta * sums[i % 2])
        for each in self.factors:
            each.cursor.end_piece(each.cursor.first + step)


class _Factors:
    """Factors of one block of 64 rows of W, as a thread applies them to the sums of its two rows, g and g + 8."""

    def __init__(self, context: Context, row: int) -> None:
        self.context = context
        g = context.g
        self.cursor = GroupCursor(context, row, g.step_k, g.loop.body_stages * g.steps, self._hold)
        #: Of the four groups that are read now: both rows' scales in a register, and zero points.
        self.scale = T.alloc_local((1,), "uint32")
        self.zero = T.alloc_local((1,), "uint32")

    def _hold(self, first: Expr) -> None:
        """Emit the moves of groups `first` to `first` + 3 to the registers that are read, and the loads that follow."""
        for register, pair in zip((self.scale, self.zero), self.cursor.loads.distribute(first), strict=True):
            if pair is not None:
                store_local(register, 0, pair[0])
        self.cursor.loads.load_next(first)

    def factors(self, step: Expr) -> list[tuple[Expr | None, Expr | None]]:
        """Emit alpha and beta of both rows for the run that ends with `step` of this part; return them.

        None stands for an alpha of 1 and a beta of 0.
        """
        c, cursor = self.context.config, self.cursor
        group = local("int32", cursor.group(cursor.first + step))

        def shuffled(held: Any) -> Expr:
            if c.num_groups == 1:
                return held[0]
            return local("uint32", cursor.shuffled(held[0], group))

        scales = unpacked([shuffled(self.scale)], c) if c.with_scaling else [None, None]
        zeros = unpacked([shuffled(self.zero)], c, is_zero=True) if c.with_zeros else [None, None]
        result = []
        for half in range(2):
            alpha, beta = self._factors(half, scales[half], zeros[half])
            alpha, beta = (None if value is None else local("float32", value) for value in (alpha, beta))
            result.append((alpha, beta))
        return result

    def _factors(self, half: int, scale: Expr | None, zero: Expr | None) -> tuple[Expr | None, Expr | None]:
        """Return alpha and beta: decode(w) = alpha * number - beta, with value = unit * number - offset."""
        c, decoder = self.context.config, self.context.g.decoder
        assert decoder is not None
        unit, offset = decoder.value_scale * 2.0 ** -decoder.exponent(half), decoder.value_offset
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
