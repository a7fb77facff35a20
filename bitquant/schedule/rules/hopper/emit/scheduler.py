# SPDX-License-Identifier: Apache-2.0
"""The tile scheduler of the wgmma kernel: which work tiles a thread block computes, in which order."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.mma import local, store_local
from bitquant.schedule.rules.hopper.emit.context import Context, WorkTile

__all__ = ["TileScheduler"]

Expr = Any


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

    def __init__(self, context: Context, blocks: Expr) -> None:
        self.context = context
        g, h = context.g, context.hint
        self._m_blocks = (context.inputs.operands.rows + (h.block_m - 1)) // h.block_m
        self._blocks = blocks
        tiles = self._m_blocks * g.n_blocks
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
            yield work_tile
            store_local(
                index, 0, index[0] + (work_tile.bodies if self.context.hint.stream_k else self.work_tile_stride)
            )

    def work_tile(self, index: Expr) -> WorkTile:
        """Emit what a work tile is."""
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
            origin = self._origin(local("int32", tile))
            is_shared = bodies < loop.tile_bodies
            return WorkTile(*origin, first_body * loop.body_stages, stages, bodies, is_shared, first_body, number)
        if self.context.g.shares_unequally:
            # The first blocks of the cluster have a round more.
            least, more = divmod(loop.tile_bodies, h.split_k)
            bodies = local("int32", least + T.Select(rank < more, 1, 0))
            first_body = local("int32", rank * least + T.min(rank, more))
            first_stage = first_body * (h.consumers_k * loop.body_stages)
            return WorkTile(*self._origin(index), first_stage, bodies * loop.body_stages, bodies)
        if h.tail_split == 1:
            first_stage = (rank if h.split_k > 1 else 0) * (h.consumers_k * loop.part_stages)
            return WorkTile(*self._origin(index), first_stage, loop.part_stages, loop.bodies)
        is_shared = index >= self._whole
        tile = T.Select(is_shared, self._whole + T.truncdiv(index - self._whole, h.cluster), index)
        bodies = local("int32", T.Select(is_shared, loop.bodies // h.cluster, loop.bodies))
        first_stage = local("int32", T.Select(is_shared, rank, 0) * bodies * loop.body_stages)
        return WorkTile(*self._origin(local("int32", tile)), first_stage, bodies * loop.body_stages, bodies, is_shared)

    def _origin(self, tile: Expr) -> tuple[Expr, Expr]:
        """Emit the coordinates of a tile; return its first row of A and its first row of W."""
        h = self.context.hint
        raster, beside = h.raster, h.multicast
        per_band = raster * self.context.g.n_blocks
        band, in_band = T.truncdiv(tile, per_band), T.truncmod(tile, per_band)
        rows = local("int32", T.min(self._m_blocks - band * raster, raster))
        column, in_band = T.truncmod(in_band, beside), T.truncdiv(in_band, beside)
        m0 = local("int32", (band * raster + T.truncmod(in_band, rows)) * h.block_m)
        n0 = local("int32", (T.truncdiv(in_band, rows) * beside + column) * h.block_n)
        return m0, n0
