# SPDX-License-Identifier: Apache-2.0
"""What every part of the kernel sees: the geometry, and the operands, indices and registers of a thread."""

from __future__ import annotations

from typing import Any

from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.intrin.mma import store_local, zero_local
from bitquant.schedule.rules.mma.geometry import MmaGeometry
from bitquant.schedule.rules.operands import Operands

__all__ = ["Context"]

Expr = Any

#: Tiles of m that are visited before n advances, so that concurrent blocks share rows of A and of W in L2.
RASTER_ROWS = 8


class Context:
    """The function that is being written, from inside one thread of a block.

    Parameters
    ----------
    geometry
        Of the kernel.
    operands
        Those of the function.
    block, thread
        Numbers of the block, and of the thread in it.
    arena
        The block's shared memory.

    Attributes
    ----------
    m0, n0
        The first row and column of the block's tile of D.
    lane, warp_m, warp_n, warp_k
        Number in the warp, and of the warp along m, n and k.
    acc
        Sums of products.
    total
        What becomes D: sums of `acc` with their scales where groups are scaled, else `acc`.
    a_sum
        Sums of rows of A over a group, where zero points are subtracted from sums.
    """

    def __init__(self, geometry: MmaGeometry, operands: Operands, block: Expr, thread: Expr, arena: Any) -> None:
        self.g, self.config, self.hint = geometry, geometry.config, geometry.hint
        self.operands, self.m, self.thread, self.arena = operands, operands.rows, thread, arena
        h, N = self.hint, self.config.N
        n_blocks = ceil_div(N, h.block_n)
        m_blocks = (self.m + (h.block_m - 1)) // h.block_m
        per_band = RASTER_ROWS * n_blocks
        band = block // per_band
        rows = T.min(m_blocks - band * RASTER_ROWS, RASTER_ROWS)
        origin = T.alloc_local((2,), "int32")
        store_local(origin, 0, (band * RASTER_ROWS + block % per_band % rows) * h.block_m)
        store_local(origin, 1, block % per_band // rows * h.block_n)
        self.m0, self.n0 = origin[0], origin[1]
        self.lane = thread % 32
        warp = thread // 32
        self.warp_m = warp % h.warps_m
        self.warp_n = warp // h.warps_m % h.warps_n
        self.warp_k = warp // (h.warps_m * h.warps_n)
        self.acc = T.alloc_local((self.g.m_tiles * self.g.n_tiles * 4,), self.g.sum_dtype)
        zero_local(self.acc)
        if self.g.scales_sums:
            self.total = T.alloc_local((self.g.m_tiles * self.g.n_tiles * 4,), self.config.reduce_dtype)
            zero_local(self.total)
            self.a_sum = T.alloc_local((self.g.m_tiles * 4,), self.g.sum_dtype)
            if self.config.with_zeros:
                zero_local(self.a_sum)
        else:
            self.total = self.acc

    def column(self, column: Expr) -> Expr:
        """Return a column of D, the last one for those beyond it."""
        return T.min(self.n0 + column, self.config.N - 1) if self.g.has_ragged_n else self.n0 + column
