# SPDX-License-Identifier: Apache-2.0
"""The wgmma kernel with the weights of several experts: which rows each has is found on the device.

A is sorted by experts. The tiles of an expert cover its rows from the first one on; they may reach into rows of the
next expert, which are multiplied and not stored. Work tiles are in the order of the experts, so that each weight that
is hit is read in one piece of time, once from memory and further times from L2.

All blocks find the same: one warp of each loads Offsets and adds up the tiles of the experts, in shared memory, where
every thread that walks over work tiles looks for their experts by binary search.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.compute.grouped import OfExpert
from bitquant.intrin.launch import wait_for_dependency
from bitquant.intrin.mma import load_coherent, local, store_local
from bitquant.operands import Operand
from bitquant.schedule.rules.hopper.emit.context import WorkTile
from bitquant.schedule.rules.hopper.emit.scheduler import TileScheduler
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.memory import EXPERT_BYTES
from bitquant.schedule.rules.operands import GroupedOperands

__all__ = ["ExpertOperands", "ExpertScheduler"]

Expr = Any

_ALL_LANES = 0xFFFFFFFF


class ExpertOperands:
    """The operands of all experts, as those of the one whose tile a thread is at: what `Operands` has, in its form.

    Parameters
    ----------
    operands
        Those of the function.

    Attributes
    ----------
    offsets
        The buffer Offsets.
    expert
        A register for the index of the expert, with 64 bits; `ExpertScheduler` stores it.
    """

    def __init__(self, operands: GroupedOperands) -> None:
        self.expert = T.alloc_local((1,), "int64")
        self.rows, self.offsets = operands.rows, operands.Offsets
        self.A, self.B, self.D = operands.A, operands.B, operands.D
        self.Scale, self.Zeros = self._of_expert(operands.Scale), self._of_expert(operands.Zeros)
        self.of_epilogue: dict[Operand, Any] = {
            operand: _VectorOfExpert(buffer, self.expert) if operand.rows == "W" else buffer
            for operand, buffer in operands.of_epilogue.items()
        }

    def _of_expert(self, buffer: Any) -> OfExpert | None:
        return None if buffer is None else OfExpert(buffer, self.expert[0])


class _VectorOfExpert:
    """An operand of (E, N), as that of one expert."""

    def __init__(self, buffer: Any, expert: Any) -> None:
        self.buffer, self.expert, self.dtype = buffer, expert, buffer.dtype

    def __getitem__(self, n: Expr) -> Expr:
        return self.buffer[self.expert[0], n]


class ExpertScheduler(TileScheduler):
    """`TileScheduler` where the tiles are those of experts."""

    tiles_are_data: ClassVar[bool] = True

    @staticmethod
    def operands(operands: Any) -> Any:
        """Return the operands as those of one expert."""
        return ExpertOperands(operands)

    @staticmethod
    def most_m_tiles(geometry: WgmmaGeometry, m: Expr) -> Expr:
        """Return the most tiles along m: besides whole ones, each expert with rows may have one that is not filled."""
        return T.truncdiv(m, geometry.hint.block_m) + T.min(m, geometry.num_experts)

    def _divide(self) -> None:
        """Emit nothing yet: tiles are counted by `initialize`."""

    def initialize(self, thread: Expr) -> None:
        """Emit the entries of all experts, by one warp, another than the one that initializes barriers.

        Each lane has some experts that follow each other.
        """
        context, operands = self.context, self._operands
        E, block_m, lane = self._experts, context.hint.block_m, context.lane
        each = ceil_div(E, 32)
        with T.If(thread // 32 == 1), T.Then():
            wait_for_dependency()  # Offsets may be a result of the kernel before.
            ends, tiles = (T.alloc_local((each,), "int32") for _ in range(2))
            for i in range(each):
                end = load_coherent(operands.offsets, T.min(lane * each + i, E - 1))
                store_local(ends, i, T.max(T.min(end, operands.rows), 0))
            # Every lane takes part in a shuffle, which is therefore a statement of its own.
            before = local("int32", T.tvm_warp_shuffle_up(T.uint32(_ALL_LANES), ends[each - 1], 1, 32, 32))
            before = local("int32", T.Select(lane == 0, 0, before))
            for i in range(each):
                count = T.max(ends[i] - (ends[i - 1] if i else before), 0)
                store_local(tiles, i, T.truncdiv(count + (block_m - 1), block_m) + (tiles[i - 1] if i else 0))
            # The sum over this lane and all before it, less its own.
            total = T.alloc_local((1,), "int32")
            store_local(total, 0, tiles[each - 1])
            for distance in (1, 2, 4, 8, 16):
                other = local("int32", T.tvm_warp_shuffle_up(T.uint32(_ALL_LANES), total[0], distance, 32, 32))
                store_local(total, 0, total[0] + T.Select(lane >= distance, other, 0))
            first = local("int32", total[0] - tiles[each - 1])
            for i in range(each):
                with T.If(lane * each + i < E), T.Then():
                    self._store(lane * each + i + 1, first + tiles[i], ends[i])
            with T.If(lane == 0), T.Then():
                self._store(T.int32(0), T.int32(0), T.int32(0))

    def begin(self) -> None:
        """Emit the division of the tiles among the blocks."""
        tiles, _ = self._load(T.int32(self._experts))
        self._divide_tiles(local("int32", tiles * self.context.g.tiles_n))

    def enter(self, work_tile: WorkTile) -> None:
        """Emit the change to the operands of a work tile's expert."""
        store_local(self._operands.expert, 0, work_tile.expert.astype("int64"))

    def _place(self, tile: Expr, by_warp: bool = False) -> dict[str, Expr]:
        """Emit which rows of A, and of the weight of which expert, a tile has; return them by name."""
        tiles_n = self.context.g.tiles_n
        m_tile = local("int32", T.truncdiv(tile, tiles_n))
        expert = self._find_by_warp(m_tile) if by_warp else self._find(m_tile)
        (first, first_row), (last, row_end) = self._load(expert), self._load(expert + 1)
        tiles_m = local("int32", T.max(last - first, 1))  # What a block without a tile asks for is divided by it, too.
        m0, n0 = self._origin(local("int32", tile - first * tiles_n), tiles_m, first_row)
        return {"m0": m0, "n0": n0, "row_end": row_end, "expert": expert}

    def _find(self, m_tile: Expr) -> Expr:
        """Emit the search for the expert of a tile along m: as many as have all of their tiles before it."""
        E = self._experts
        found = T.alloc_local((1,), "int32")
        store_local(found, 0, T.int32(0))
        step = 1 << (E - 1).bit_length() >> 1
        while step:
            # What no expert has is behind all tiles, as the last expert's end is.
            end, _ = self._load(T.min(found[0] + step, E))
            store_local(found, 0, found[0] + T.Select(end <= m_tile, step, 0))
            step >>= 1
        # A block without a tile asks for one, too.
        return local("int32", T.min(found[0], E - 1))

    def _find_by_warp(self, m_tile: Expr) -> Expr:
        """Emit the same search where all lanes of a warp look for one expert: 32 entries are compared at a time."""
        E, lane = self._experts, self.context.lane
        each = ceil_div(E, 32)
        found = self._count_ends(T.min((lane + 1) * each, E), m_tile, None)
        if each > 1:
            first = local("int32", T.min(found, ceil_div(E, each) - 1) * each)
            found = first + self._count_ends(T.min(first + lane + 1, E), m_tile, lane < each)
        return local("int32", T.min(found, E - 1))

    def _count_ends(self, entry: Expr, m_tile: Expr, condition: Expr | None) -> Expr:
        """Emit the count of lanes whose entry ends at or before a tile along m."""
        end, _ = self._load(entry)
        is_before = end <= m_tile if condition is None else tirx.all(end <= m_tile, condition)
        mask = T.alloc_local((1,), "uint32")
        vote = T.ptx.pred(T.Select(is_before, T.uint32(1), T.uint32(0)))
        T.evaluate(T.ptx["vote_sync.ballot.b32"](mask[0], vote, T.uint32(_ALL_LANES)))
        return local("int32", T.popcount(mask[0]).astype("int32"))

    @property
    def _operands(self) -> ExpertOperands:
        return cast("ExpertOperands", self.context.inputs.operands)

    @property
    def _experts(self) -> int:
        experts = self.context.g.num_experts
        assert experts is not None
        return experts

    def _address(self, entry: Expr) -> Expr:
        """Return the address of an entry: that of expert e has index e + 1, and the first one is zeros."""
        return self.context.base + (self.context.g.memory.experts_offset + entry * EXPERT_BYTES).astype("uint32")

    def _store(self, entry: Expr, tiles: Expr, row_end: Expr) -> None:
        T.evaluate(T.ptx["st.shared.v2.s32"](self._address(entry), tiles, row_end))

    def _load(self, entry: Expr) -> tuple[Expr, Expr]:
        """Emit the load of an entry; return its tiles and the end of its rows."""
        values = T.alloc_local((2,), "int32")
        T.evaluate(T.ptx["ld.shared.v2.s32"](values[0], values[1], self._address(entry)))
        return values[0], values[1]
