# SPDX-License-Identifier: Apache-2.0
"""The search for the expert of a unit, and for its rows, in what says which expert a row meets.

Experts have as many units as their rows take, one after the other. A block counts the rows of all experts, or takes
them from Offsets, and finds by a prefix sum of units which expert the unit belongs to. All blocks find the same: which
slots a unit has depends on their order alone, unless it has all of the expert's. Where they stand in its list may be
another place in each block, unless that is one of a cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.intrin.mma import load_coherent, local, store_local
from bitquant.schedule.rules.decode.emit.context import Context
from bitquant.schedule.rules.decode.grouped.geometry import GroupedDecodeGeometry

__all__ = ["ExpertSearch", "expert_of_slot"]

Expr = Any

_ALL_LANES = 0xFFFFFFFF
#: Experts of a lane, and slots of a thread, up to which their numbers stay in registers.
_MAX_HELD = 16
_MAX_HELD_SLOTS = 4


def expert_of_slot(context: Context, slot: Expr, experts: int) -> Expr:
    """Emit the load of the expert of a slot; E for none, since without a sign what is negative is large."""
    expert = load_coherent(context.operands.ExpertIds, (0, slot)).astype("uint32")
    return T.min(expert, T.uint32(experts)).astype("int32")


class ExpertSearch:
    """Emits the search.

    Parameters
    ----------
    context
        Geometry, operands and indices of this block and thread.
    index
        Index of the unit.

    Attributes
    ----------
    expert
        The expert of the unit, E for none; -1 where there is no such unit.
    rows
        All rows of that expert.
    before
        Those that come before the unit's.
    """

    def __init__(self, context: Context, index: Expr) -> None:
        g: Any = context.g
        self.g: GroupedDecodeGeometry = g
        self.context, self.index, self.config = context, index, self.g.experts_config
        self._found = T.alloc_local((3,), "int32")
        self.expert, self.rows, self.before = (self._found[i] for i in range(3))
        #: Of slots that a thread has counted: their experts, and how many of the expert were counted before.
        self._held: Any = None

    @property
    def all_rows(self) -> Expr:
        """Rows, or slots, of the call."""
        return self.context.m * self.config.rows_per_m

    @property
    def _kinds(self) -> int:
        return int(self.config.num_experts + self.config.is_indexed)

    def prepare(self) -> None:
        """Emit what comes before the wait for the kernel before this one; a barrier must follow."""
        if self.config.is_sorted:
            return
        for part in range(ceil_div(self._kinds, self.g.threads)):
            at = part * self.g.threads + self.context.thread
            with T.If(at < self._kinds), T.Then():
                T.evaluate(T.ptx["st.shared.u32"](self._count_address(at), T.uint32(0)))

    def find(self) -> None:
        """Emit the search; all threads know what is found."""
        if self.config.is_indexed:
            self._count()
        lane = self.context.lane
        units, other = T.alloc_local((1,), "int32"), T.alloc_local((1,), "int32")
        store_local(units, 0, T.int32(0))
        of_lane = self._experts_of_lane()
        of_lane(lambda _, rows: store_local(units, 0, units[0] + self._units_of(rows)))
        own = local("int32", units[0])
        for step in range(5):
            store_local(other, 0, T.tvm_warp_shuffle_up(T.uint32(_ALL_LANES), units[0], 1 << step, 32, 32))
            with T.If(lane >= 1 << step), T.Then():
                store_local(units, 0, units[0] + other[0])
        found = self._found
        for i, none in enumerate((-1, 0, 0)):
            store_local(found, i, T.int32(none))
        # The units before those of an expert.
        store_local(units, 0, units[0] - own)

        def note(expert: Expr, rows: Expr) -> None:
            inside = local("int32", self.index - units[0])
            with T.If(tirx.all(inside >= 0, inside < self._units_of(rows))), T.Then():
                for i, value in enumerate((expert, rows, inside * self.g.rows_of_a)):
                    store_local(found, i, value)
            store_local(units, 0, units[0] + self._units_of(rows))

        is_here = tirx.all(self.index >= units[0], self.index < units[0] + own)
        with T.If(is_here), T.Then():
            of_lane(note)
        for i in range(3):
            T.evaluate(T.ptx["redux_sync.max.s32"](found[i], found[i], T.uint32(_ALL_LANES)))

    def _units_of(self, rows: Expr) -> Expr:
        return T.truncdiv(rows + (self.g.rows_of_a - 1), self.g.rows_of_a)

    def _experts_of_lane(self) -> Callable[[Callable[[Expr, Expr], None]], None]:
        """Emit the loads of the rows of a lane's experts, every 32nd; return what emits something for each of them."""
        count, lane = ceil_div(self._kinds, 32), self.context.lane

        def one(each: Callable[[Expr, Expr], None], i: Expr, rows: Callable[[Expr], Expr]) -> None:
            expert = local("int32", i * 32 + lane)
            with T.If(expert < self._kinds), T.Then():
                each(expert, rows(expert))

        if count > _MAX_HELD:

            def of_lane(each: Callable[[Expr, Expr], None]) -> None:
                with T.serial(count) as i:
                    one(each, i, lambda expert: local("int32", self._rows_of(expert)))

            return of_lane
        held = T.alloc_local((count,), "int32")
        for i in range(count):
            store_local(held, i, T.int32(0))
            one(lambda _, rows, i=i: store_local(held, i, rows), i, self._rows_of)  # type: ignore[misc]  # i=i

        def of_held(each: Callable[[Expr, Expr], None]) -> None:
            for i in range(count):
                each(i * 32 + lane, held[i])

        return of_held

    def _rows_of(self, expert: Expr) -> Expr:
        """Return the rows of an expert."""
        if self.config.is_sorted:
            # Offsets that decrease leave an expert without rows: units are numbered upwards, one lane has each of them.
            return T.max(self._end_of(expert) - self.begin_of(expert), 0)
        count = T.alloc_local((1,), "int32")
        T.evaluate(T.ptx["ld.shared.s32"](count[0], self._count_address(expert)))
        return count[0]

    # Sorted rows.

    def _end_of(self, expert: Expr) -> Expr:
        """Emit the load of the end of an expert's rows; offsets beyond the rows count as their number."""
        offset = load_coherent(self.context.operands.Offsets, T.max(expert, 0))
        return T.max(T.min(offset, self.all_rows), 0)

    def begin_of(self, expert: Expr) -> Expr:
        """Emit the load of the first of an expert's rows."""
        begin = T.alloc_local((1,), "int32")
        store_local(begin, 0, T.int32(0))
        with T.If(expert > 0), T.Then():
            store_local(begin, 0, self._end_of(expert - 1))
        return begin[0]

    # Slots.

    def _count_address(self, expert: Expr) -> Expr:
        return self.context.shared(self.g.counts_offset + expert * 4)

    @property
    def _is_in_order(self) -> bool:
        """Whether slots are listed in their order: blocks of a cluster share rows of A, or sums over parts of K."""
        return self.g.hint.cluster > 1

    def _count(self) -> None:
        """Emit the count of the slots of each expert in shared memory."""
        context, threads, grouped = self.context, self.g.threads, self.g.grouped
        # As many as the rung's tokens have; more of them only where calls may have more tokens.
        steps = ceil_div(grouped.rung * self.config.rows_per_m, threads)
        count_held = 0 if self._is_in_order else min(_MAX_HELD_SLOTS, steps)
        has_more = steps > count_held or not self.config.has_most_rows(grouped.rung)
        before = T.alloc_local((1,), "uint32")

        def count(slot: Expr, note: Callable[[Expr, Expr], None]) -> None:
            with T.If(slot < self.all_rows), T.Then():
                expert = local("int32", expert_of_slot(context, slot, self.config.num_experts))
                address = self._count_address(expert)
                T.evaluate(T.ptx["atom.shared.add.u32"](before[0], address, T.uint32(1)))
                note(expert, before[0].astype("int32"))

        self._held = held = T.alloc_local((max(1, 2 * count_held),), "int32")
        for step in range(count_held):
            # No expert, nor -1, which is that of a block without a unit.
            store_local(held, 2 * step, T.int32(-2))

            def note(expert: Expr, place: Expr, step: int = step) -> None:
                store_local(held, 2 * step, expert)
                store_local(held, 2 * step + 1, place)

            count(step * threads + context.thread, note)
        self._are_all_held: Expr = True
        if has_more:
            self._are_all_held = self.all_rows <= count_held * threads
            with T.serial(T.max(T.truncdiv(self.all_rows + (threads - 1), threads) - count_held, 0)) as more:
                slot = local("int32", (more + count_held) * threads + context.thread)
                count(slot, lambda _expert, _place: None)
        T.evaluate(T.cuda.cta_sync())

    def list_slots(self) -> None:
        """Emit the list of the unit's slots in shared memory; a barrier must follow.

        Where the unit has all slots of its expert, the threads that counted them store them in the order of the count,
        which may be another one in each block.
        """
        if self._is_in_order:
            with T.If(self.context.thread < 32), T.Then():
                self._list_in_order()
            return
        is_whole = self.rows <= self.g.rows_of_a
        if self._are_all_held is not True:
            is_whole = tirx.all(is_whole, self._are_all_held)
        with T.If(is_whole):
            with T.Then():
                for step in range(int(self._held.shape[0]) // 2):
                    with T.If(self._held[2 * step] == self.expert), T.Then():
                        self._list(self._held[2 * step + 1], step * self.g.threads + self.context.thread)
            with T.Else(), T.If(self.context.thread < 32), T.Then():
                self._list_in_order()

    def _list(self, place: Expr, slot: Expr) -> None:
        target = self.context.shared(self.g.rows_offset + place * 4)
        T.evaluate(T.ptx["st.shared.u32"](target, slot.astype("uint32")))

    def _list_in_order(self) -> None:
        """Emit, by one warp, the list of the expert's slots in their order, from those before the unit on."""
        lane, context = self.context.lane, self.context
        seen, mine = T.alloc_local((1,), "int32"), T.alloc_local((1,), "int32")
        store_local(seen, 0, -self.before)
        lower = local("uint32", (T.uint32(1) << lane.astype("uint32")) - T.uint32(1))
        with T.serial(T.truncdiv(self.all_rows + 31, 32)) as step:
            slot = local("int32", step * 32 + lane)
            store_local(mine, 0, T.int32(-1))
            with T.If(slot < self.all_rows), T.Then():
                store_local(mine, 0, expert_of_slot(context, slot, self.config.num_experts))
            mask = T.alloc_local((1,), "uint32")
            is_mine = T.ptx.pred(T.Select(mine[0] == self.expert, T.uint32(1), T.uint32(0)))
            T.evaluate(T.ptx["vote_sync.ballot.b32"](mask[0], is_mine, T.uint32(_ALL_LANES)))
            place = local("int32", seen[0] + T.popcount(mask[0] & lower).astype("int32"))
            with T.If(tirx.all(mine[0] == self.expert, place >= 0, place < self.g.rows_of_a)), T.Then():
                self._list(place, slot)
            store_local(seen, 0, seen[0] + T.popcount(mask[0]).astype("int32"))
