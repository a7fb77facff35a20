# SPDX-License-Identifier: Apache-2.0
"""The units of a grouped product: rows of A that meet the same expert, which a block finds on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.compute.grouped import of_expert, rounded_output
from bitquant.intrin.mma import load_coherent, local, store_local
from bitquant.schedule.rules.decode.emit.context import Context
from bitquant.schedule.rules.decode.emit.search import ExpertSearch, expert_of_slot
from bitquant.schedule.rules.decode.emit.slots import ClusterSums, SlotSums
from bitquant.schedule.rules.decode.grouped.geometry import GroupedDecodeGeometry

__all__ = ["RowsOfExpert"]

Expr = Any


class RowsOfExpert:
    """A row, or rows of the same expert, and its weight (`bitquant.schedule.rules.decode.emit.context.Unit`).

    Rows are those of A that are sorted, or slots of tokens, t * top_k + j. Those without an expert are of expert E,
    which has no weight. Blocks behind the last unit have none.

    Attributes
    ----------
    expert
        The unit's expert, E for none; -1 where there is no such unit.
    rows_left
        Rows of the unit, or None where it has `DecodeGeometry.rows_of_a`.
    """

    def __init__(self, context: Context, index: Expr) -> None:
        g: Any = context.g
        self.g: GroupedDecodeGeometry = g
        self.context, self.operands, self.index = context, context.operands, index
        self.config = self.g.experts_config
        self._expert, self._rows, self._first = (T.alloc_local((1,), "int32") for _ in range(3))
        operands = self.operands
        self.B, self.Scale, self.Zeros = (
            of_expert(operand, self._expert[0]) for operand in (operands.B, operands.Scale, operands.Zeros)
        )
        self.search = ExpertSearch(context, index) if self.g.collects else None
        self.sums: SlotSums | ClusterSums | None = None
        if self.g.sums_slots:
            self.sums = (ClusterSums if self.g.sums_in_cluster else SlotSums)(context, self)

    @staticmethod
    def count(geometry: GroupedDecodeGeometry, m: Expr) -> Expr:
        """Return the most units that m rows of A, or tokens, may make: each expert has one that is not full.

        The blocks of a cluster that add up the slots of a token count as one.
        """
        c = geometry.experts_config
        if geometry.sums_in_cluster:
            return m
        rows = m * c.rows_per_m
        if not geometry.collects:
            return rows
        kinds = c.num_experts + c.is_indexed
        not_full = min(rows, kinds) if isinstance(rows, int) else T.min(rows, kinds)
        return not_full + T.truncdiv(rows - not_full, geometry.rows_of_a)

    # How the unit is found.

    @property
    def is_listed(self) -> bool:
        """Whether the unit's rows stand in shared memory: a barrier must lie between `find` and their use."""
        return bool(self.g.collects and self.config.is_indexed)

    def prepare(self) -> None:
        """Emit what comes before the wait for the kernel before this one; a barrier must follow."""
        if self.search is not None:
            self.search.prepare()

    def find(self) -> None:
        """Emit the search for the unit: all threads know its expert and number of rows afterwards."""
        if self.search is None:
            row = self.index
            if self.g.sums_in_cluster:
                row = row * self.config.rows_per_m + self.context.block_rank
            store_local(self._expert, 0, expert_of_slot(self.context, row, self.config.num_experts))
            store_local(self._rows, 0, T.int32(1))
            store_local(self._first, 0, row)
            return
        search = self.search
        search.find()
        store_local(self._expert, 0, search.expert)
        store_local(self._rows, 0, T.min(search.rows - search.before, self.g.rows_of_a))
        if self.is_listed:
            search.list_slots()
        else:
            store_local(self._first, 0, search.begin_of(search.expert) + search.before)

    # What a block asks of its unit.

    @property
    def expert(self) -> Expr:
        """The unit's expert; E for none."""
        return self._expert[0]

    @property
    def has_weight(self) -> Expr:
        """Whether there is such a unit, and it has an expert."""
        return tirx.all(self.expert >= 0, self.expert < self.config.num_experts)

    def row(self, m: Expr) -> Expr:
        """Return the row, or slot, that the m-th of the unit is."""
        if not self.is_listed:
            return self._first[0] + m if self.g.collects else self._first[0]
        found = T.alloc_local((1,), "int32")
        T.evaluate(T.ptx["ld.shared.s32"](found[0], self.context.shared(self.g.rows_offset + m * 4)))
        return found[0]

    def _place(self, row: Expr, by_slots: bool) -> tuple[Expr, ...]:
        """Return the leading indices, of a row or a slot, in an operand that goes by rows, slots or tokens."""
        if self.config.is_sorted:
            return (row,)
        top_k = self.config.rows_per_m
        token = T.truncdiv(row, top_k)
        return (token, T.truncmod(row, top_k)) if by_slots else (token,)

    @property
    def rows_left(self) -> Expr | None:
        """The rows of the unit, where they may be fewer than `DecodeGeometry.rows_of_a`."""
        return self._rows[0] if self.g.collects else None

    def has_row(self, m: Expr) -> list[Expr]:
        """Return the conditions, none or one, on which there is an m-th row."""
        return [m < self._rows[0]] if self.g.collects else []

    def pointer_to_A(self, m: Expr, k: Expr) -> Expr:
        """Return the pointer to element k of the m-th row of A."""
        return self.operands.A.ptr_to([*self._place(self.row(m), self.config.A_rows == "slots"), k])

    def store(self, m: Expr, n: Expr, sums: Sequence[Expr]) -> None:
        """Emit the store of the value of a slot, to D or to where those of its token are added up."""
        row = self.row(m)
        weight = None
        if self.config.with_routing_weights:
            weight = load_coherent(self.operands.RoutingWeights, self._place(row, True))
        place = self._place(row, self.config.A_rows == "slots")
        value, dtype = self.operands.slot_value(place, self.expert.astype("int64"), n, sums, weight, load_coherent)
        column = T.truncdiv(n, self.config.rows_per_column)
        if self.sums is not None:
            self.sums.store(row, column, value)
        else:
            self._store_to_D(row, column, rounded_output(self.config, value, dtype))

    def _store_to_D(self, row: Expr, column: Expr, value: Expr) -> None:
        place = self._place(row, self.config.D_rows == "slots")
        T.buffer_store(self.operands.D, value, [*place, column])

    def end_block(self, n0: Expr) -> None:
        """Emit what comes after the last `store` to the block of n from `n0` on."""
        if isinstance(self.sums, ClusterSums):
            self.sums.add(n0)

    def store_zeros(self) -> None:
        """Emit zeros to D where the unit's rows have no expert, or to what is summed."""
        if isinstance(self.sums, ClusterSums):
            with T.If(self.expert == self.config.num_experts), T.Then(), T.serial(self._blocks_n) as block:
                self.sums.store_zeros()
                self.sums.add(self._n0(block))
        if self.config.is_sorted or self.sums is not None:
            return
        zero = tirx.const(0, self.config.out_format.tvm_dtype)
        is_without = tirx.all(self.expert == self.config.num_experts, self.context.rank == 0)
        if self.is_listed:  # The barrier of `find` has all threads.
            T.evaluate(T.cuda.cta_sync())
        with T.If(is_without), T.Then(), T.serial(self._rows[0]) as m:
            row = local("int32", self.row(m))
            self.each_column(lambda column: self._store_to_D(row, column, zero))

    @property
    def _blocks_n(self) -> Expr:
        """Blocks of n that this block has: iterations are that, or phases of K."""
        return self.context.iterations if self.g.a_stays else 1

    def _n0(self, block: Expr) -> Expr:
        return self.context.at(block if self.g.a_stays else 0).n0

    def each_column(self, emit: Callable[[Expr], None]) -> None:
        """Emit statements for each column of D of this block, by its threads."""
        g, context = self.g, self.context
        with T.serial(self._blocks_n) as block:
            first = T.truncdiv(self._n0(block), g.config.rows_per_column)
            with T.serial(ceil_div(g.block_columns, g.threads)) as part:
                column = local("int32", part * g.threads + context.thread)
                with T.If(tirx.all(column < g.block_columns, first + column < g.config.columns)), T.Then():
                    emit(first + column)

    def finish(self) -> None:
        """Emit what comes after the last store."""
        if self.sums is not None:
            self.sums.finish()
