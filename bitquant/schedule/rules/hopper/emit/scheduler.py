# SPDX-License-Identifier: Apache-2.0
"""The tile scheduler of the wgmma kernel: which work tiles a thread block computes, in which order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

from tvm.script import tirx as T

from bitquant.intrin.mma import local, store_local
from bitquant.schedule.rules.hopper.emit.context import Context, WorkTile
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry

__all__ = ["TileScheduler"]

Expr = Any

#: What of a work tile is not the same for all of them, where K is not split.
_PLACE = ("m0", "n0", "row_end", "expert")


class TileScheduler:
    """Emits the loop of a thread block over its work tiles. Blocks are persistent unless K of every tile is split.

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    blocks
        Blocks of the grid.

    Attributes
    ----------
    work_tile_count, first_work_tile, work_tile_stride
        Work tiles of all blocks, the first one of this block, and the distance to its next one.
    """

    #: Whether which tiles there are is known when the kernel before this one has ended, and some blocks have none.
    tiles_are_data: ClassVar[bool] = False

    @staticmethod
    def operands(operands: Any) -> Any:
        """Return what emitters see of the function's operands."""
        return operands

    @staticmethod
    def most_m_tiles(geometry: WgmmaGeometry, m: Expr) -> Expr:
        """Return the most tiles along m that m rows of A have."""
        return T.ceildiv(m, geometry.hint.block_m)

    def __init__(self, context: Context, blocks: Expr) -> None:
        self.context, self._blocks = context, blocks
        self._divide()

    def initialize(self, thread: Expr) -> None:
        """Emit what some of the threads do before the block synchronizes for the first time."""

    def begin(self) -> None:
        """Emit what all threads do after that."""

    def _divide(self) -> None:
        """Emit the division of all tiles among the blocks."""
        block_m = self.context.hint.block_m
        self._tiles_m = (self.context.inputs.operands.rows + (block_m - 1)) // block_m
        self._divide_tiles(self._tiles_m * self.context.g.tiles_n)

    def _divide_tiles(self, tiles: Expr) -> None:
        """Emit the division of so many tiles among the blocks."""
        context, blocks, h = self.context, self._blocks, self.context.hint
        if h.stream_k:
            self._split_evenly(tiles)
            return
        self.work_tile_count, self.first_work_tile, self.work_tile_stride = (
            tiles,
            context.block // h.split_k,
            T.truncdiv(blocks, h.split_k),
        )
        if h.tail_split > 1:
            # `blocks` is a multiple of the cluster's, and so is `_whole`: work tile i is one of block i % blocks.
            rest = local("int32", T.truncmod(tiles, blocks))
            #: The tiles before the last wave, where clusters are enough for those of the last one.
            self._whole = local("int32", T.Select(rest * h.tail_split <= blocks, tiles - rest, tiles))
            self.work_tile_count = local("int32", self._whole + (tiles - self._whole) * h.tail_split)

    @property
    def has_split_tile(self) -> Expr:
        """Whether this block computes part of K of a tile of the last wave."""
        return self.context.block < self.work_tile_count - self._whole

    def _split_evenly(self, tiles: Expr) -> None:
        """Emit this block's share of K of all tiles (stream-K).

        Blocks compute whole tiles for as many waves as leave between one and two waves of tiles, or none. The rounds of
        the main loop of these tiles, one tile after the other, are divided evenly among the blocks. A work tile's index
        is that of its first round; those of whole tiles have the indices before this block's share.
        """
        block, rounds, blocks = self.context.block, self.context.g.loop.tile_bodies, self._blocks
        waves, rest = T.truncdiv(tiles, blocks), T.truncmod(tiles, blocks)
        waves = local("int32", T.Select(rest == 0, waves, T.max(waves - 1, 0)))
        #: The tiles that are not split.
        self._whole = local("int32", waves * blocks)
        line = (tiles - self._whole) * rounds
        #: Each block has at least so many rounds, and so many blocks one more.
        self._least, self._more = local("int32", T.truncdiv(line, blocks)), local("int32", T.truncmod(line, blocks))
        self._begin = local("int32", block * self._least + T.min(block, self._more))
        self.work_tile_count = local("int32", self._begin + self._least + T.Select(block < self._more, 1, 0))
        self.first_work_tile = local("int32", self._begin - waves * rounds)

    def blocks_of_tile(self, work_tile: WorkTile) -> tuple[Expr, Expr]:
        """Emit which blocks have a part of a split tile; return the first and the last one."""
        rounds, least, more = self.context.g.loop.tile_bodies, self._least, self._more

        def block_of(at: Expr) -> Expr:
            behind = more + T.truncdiv(at - more * (least + 1), T.max(least, 1))
            return local("int32", T.Select(at < more * (least + 1), T.truncdiv(at, least + 1), behind))

        first = local("int32", work_tile.index * rounds)
        return block_of(first), block_of(first + (rounds - 1))

    @contextlib.contextmanager
    def for_each_work_tile(self) -> Iterator[WorkTile]:
        """Emit the loop over this block's work tiles.

        What is emitted inside of ``with scheduler.for_each_work_tile() as work_tile:`` is the loop's body.
        """
        index = T.alloc_local((1,), "int32")
        store_local(index, 0, self.first_work_tile)
        with T.While(index[0] < self.work_tile_count):
            work_tile = self.work_tile(index[0])
            self.enter(work_tile)
            yield work_tile
            store_local(
                index, 0, index[0] + (work_tile.bodies if self.context.hint.stream_k else self.work_tile_stride)
            )

    @contextlib.contextmanager
    def for_each_work_tile_ahead(self, begin: Callable[[WorkTile], None]) -> Iterator[WorkTile]:
        """Emit the loop over this block's work tiles, each of which knows the next one (`WorkTile.following`).

        All lanes of a warp come here. `begin` emits what precedes the first tile, if there is one.
        """
        index = T.alloc_local((1,), "int32")
        store_local(index, 0, self.first_work_tile)
        with T.If(index[0] < self.work_tile_count), T.Then():
            first = self.work_tile(index[0], by_warp=True)
            names = [name for name in _PLACE if getattr(first, name) is not None]
            held = {name: T.alloc_local((1,), "int32") for name in names}
            for name, register in held.items():
                store_local(register, 0, getattr(first, name))
            begin(first)
            with T.While(index[0] < self.work_tile_count):
                after = index[0] + self.work_tile_stride
                following = self.work_tile(
                    local("int32", T.Select(after < self.work_tile_count, after, index[0])), True
                )
                work_tile = replace(first, **{name: held[name][0] for name in names}, following=following)
                self.enter(work_tile)
                yield work_tile
                for name, register in held.items():
                    store_local(register, 0, getattr(following, name))
                store_local(index, 0, index[0] + self.work_tile_stride)

    def enter(self, work_tile: WorkTile) -> None:
        """Emit what makes a work tile this thread's own."""

    def work_tile(self, index: Expr, by_warp: bool = False) -> WorkTile:
        """Emit what a work tile is; `by_warp` says that all lanes of the warp ask for the same one."""
        h, loop, rank = self.context.hint, self.context.g.loop, self.context.rank
        if h.stream_k:
            is_whole = index < self._begin
            number = local("int32", T.truncdiv(index, loop.tile_bodies))
            first_body = local("int32", T.Select(is_whole, 0, index - number * loop.tile_bodies))
            wave = T.truncdiv(index - self.first_work_tile, loop.tile_bodies)
            tile = T.Select(is_whole, self.context.block + wave * self._blocks, self._whole + number)
            left = T.min(loop.tile_bodies - first_body, self.work_tile_count - index)
            bodies = local("int32", T.Select(is_whole, loop.tile_bodies, left))
            stages = bodies * loop.body_stages
            place = self._place(local("int32", tile))
            is_shared = bodies < loop.tile_bodies
            first_stage = first_body * loop.body_stages
            return WorkTile(**place, first_stage=first_stage, stages=stages, bodies=bodies, is_shared=is_shared,
                            first_body=first_body, index=number)  # fmt: skip
        if self.context.g.shares_unequally:
            # The first blocks of the cluster have a round more.
            least, more = divmod(loop.tile_bodies, h.split_k)
            bodies = local("int32", least + T.Select(rank < more, 1, 0))
            first_body = local("int32", rank * least + T.min(rank, more))
            first_stage = first_body * (h.consumers_k * loop.body_stages)
            stages = bodies * loop.body_stages
            return WorkTile(**self._place(index), first_stage=first_stage, stages=stages, bodies=bodies)
        if h.tail_split == 1:
            first_stage = (rank if h.split_k > 1 else 0) * (h.consumers_k * loop.part_stages)
            place = self._place(index, by_warp)
            return WorkTile(**place, first_stage=first_stage, stages=loop.part_stages, bodies=loop.bodies)
        is_shared = index >= self._whole
        tile = T.Select(is_shared, self._whole + T.truncdiv(index - self._whole, h.cluster), index)
        bodies = local("int32", T.Select(is_shared, loop.bodies // h.cluster, loop.bodies))
        first_stage = local("int32", T.Select(is_shared, rank, 0) * bodies * loop.body_stages)
        place = self._place(local("int32", tile))
        stages = bodies * loop.body_stages
        return WorkTile(**place, first_stage=first_stage, stages=stages, bodies=bodies, is_shared=is_shared)

    def _place(self, tile: Expr, by_warp: bool = False) -> dict[str, Expr]:
        """Emit which rows of A and W a tile has; return them by the names of `WorkTile`."""
        del by_warp
        m0, n0 = self._origin(tile, self._tiles_m)
        return {"m0": m0, "n0": n0, "row_end": self.context.inputs.operands.rows}

    def _origin(self, tile: Expr, tiles_m: Expr, first_row: Expr = None) -> tuple[Expr, Expr]:
        """Emit the coordinates of a tile of `tiles_m` along m; return its first row of A and its first row of W.

        `first_row` is the first row of all of these tiles, if not 0.
        """
        h = self.context.hint
        raster, beside = h.raster, h.multicast
        per_band = raster * self.context.g.tiles_n
        band, in_band = T.truncdiv(tile, per_band), T.truncmod(tile, per_band)
        rows = local("int32", T.min(tiles_m - band * raster, raster))
        column, in_band = T.truncmod(in_band, beside), T.truncdiv(in_band, beside)
        row = (band * raster + T.truncmod(in_band, rows)) * h.block_m
        m0 = local("int32", row if first_row is None else first_row + row)
        n0 = local("int32", (T.truncdiv(in_band, rows) * beside + column) * h.block_n)
        return m0, n0
