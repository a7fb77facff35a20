# SPDX-License-Identifier: Apache-2.0
"""How a kernel cuts the problem, in terms that all rules share: read from each rule's geometry, for drawings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

from bitquant.arithmetic import ceil_div
from bitquant.config import MatmulConfig
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Geometry
from bitquant.schedule.rules.cpu import CpuHint
from bitquant.schedule.rules.decode.grouped.hint import GroupedDecodeHint
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.fallback import FallbackHint
from bitquant.schedule.rules.gemv import GemvHint
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.mma.hint import MmaHint
from bitquant.schedule.rules.simd.hint import SimdHint

__all__ = ["Part", "Ring", "Tiling", "tiling_of"]


@dataclass(frozen=True)
class Part:
    """What one worker computes of a tile of D: `columns` from n on, and `rows` from m on."""

    name: str
    m: int
    n: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Ring:
    """Pieces of k that are on their way while others are multiplied.

    Attributes
    ----------
    slots
        Pieces that are held at a time.
    steps
        Pieces that pass through it for one tile.
    slot_k
        Elements of k of a piece.
    place
        What holds them, for a sentence.
    """

    slots: int
    steps: int
    slot_k: int
    place: str


@dataclass(frozen=True)
class Tiling:
    """How a kernel cuts the problem.

    Attributes
    ----------
    tile_m, tile_n, tile_k
        A tile of D, and the elements of k of a step; of a thread block, or of a thread of a CPU.
    tiles_m, tiles_n
        Tiles along m and n.
    split_k
        Thread blocks that share the K of a tile.
    blocks
        Thread blocks of the grid; None for a CPU.
    blocks_per_sm
        Blocks that the hint asks to be resident on a multiprocessor.
    threads
        Threads of a block.
    parts
        Who computes what of a tile.
    parts_k
        Workers that share the k of a step in a block.
    ring
        None where nothing is on its way ahead.
    raster
        Tiles of m that are visited before n advances; None: n varies first, for each m.
    whole_tiles
        With stream-K, the tiles that a block computes alone; the K of the others is cut into equal pieces, one a block.
        None: no tile is cut.
    rounds
        With stream-K, rounds of the main loop that a tile takes: a piece is a whole number of them.
    note
        One sentence on what the tile is made of.
    """

    tile_m: int
    tile_n: int
    tile_k: int
    tiles_m: int
    tiles_n: int
    note: str
    split_k: int = 1
    blocks: int | None = None
    blocks_per_sm: int = 1
    threads: int = 0
    parts: tuple[Part, ...] = ()
    parts_k: int = 1
    ring: Ring | None = None
    raster: int | None = None
    whole_tiles: int | None = None
    rounds: int = 1


def tiling_of(geometry: Geometry) -> Tiling | None:
    """Return how a kernel cuts the problem; None for a rule that this page does not know.

    That of a kernel for experts, whose tiles have rows of one expert each, is what is expected of a call where all
    experts are equally likely.
    """
    # Rules whose geometry is that of the product of one expert are known.
    return _tiling(geometry.hint, geometry) if isinstance(geometry.config, MatmulConfig) else None


@singledispatch
def _tiling(_hint: Hint, _geometry: Any) -> Tiling | None:
    return None


@_tiling.register
def _of_decode(h: DecodeHint, g: Any) -> Tiling:
    width = 16 * h.n_tiles_per_warp
    parts = tuple(Part(f"warp {i}" if h.warps_k == 1 else f"warps {i}", 0, i * width, g.rows_of_a, width)
                  for i in range(h.warps_n))  # fmt: skip
    place = f"shared memory, {h.ahead} slots for each warp" if g.is_shared else "registers of each lane"
    return Tiling(
        g.rows_of_a, g.block_n, g.phase_k, g.grid_m, g.blocks_n,
        f"A warp multiplies {h.n_tiles_per_warp} x 16 columns of D; {h.warps_k} warps share k of a block and add their "
        f"sums in shared memory. A step of the loop is {h.unroll} tiles of {g.fragment_layout.tile_k} k.",
        split_k=h.split_k,
        blocks=g.grid_m * g.grid_n * h.split_k,
        blocks_per_sm=h.blocks_per_sm,
        threads=g.threads,
        parts=parts,
        parts_k=h.warps_k,
        ring=Ring(h.ahead, g.warp_tiles, g.fragment_layout.tile_k, place),
    )  # fmt: skip


@_tiling.register
def _of_grouped_decode(h: GroupedDecodeHint, g: Any) -> Tiling:
    unit = "rows of one expert, which its blocks look for" if g.collects else "a row, which meets one expert"
    found = _of_decode(h, g)
    return replace(found, note=f"A tile along m has {unit}; {g.grid_m} are expected. {found.note}")


@_tiling.register
def _of_wgmma(h: WgmmaHint, g: Any) -> Tiling:
    width = 64 * h.n_tiles_per_consumer
    name = "consumer" if h.consumers_k == 1 else "consumers"
    parts = tuple(
        Part(f"{name} {i}", 0, n, h.block_m, min(width, h.block_n - n))
        for i, n in enumerate(range(0, h.block_n, width))
    )
    tiles_m, experts = g.expected_m_tiles, ""
    if g.num_experts is not None:
        experts = f"A tile along m has rows of one expert; {tiles_m} are expected. "
    clusters = tiles_m * g.tiles_n // (h.multicast if h.tail_split == 1 else 1)
    whole = None
    if h.stream_k:
        tiles, most = tiles_m * g.tiles_n, g.most_blocks
        clusters = tiles * g.loop.tile_bodies
        whole = None if tiles % most == 0 else max(tiles // most - 1, 0) * most
    if h.parts == 1:
        clusters = min(clusters, g.problem.gpu.sm_count * h.blocks_per_sm // h.cluster)
    return Tiling(
        h.block_m, h.block_n, h.block_k * h.consumers_k, tiles_m, g.tiles_n,
        f"{experts}A consumer warpgroup multiplies {h.n_tiles_per_consumer} x 64 columns of D; {h.consumers_k} of them "
        "share k of a block. One more warpgroup starts the copies.",
        split_k=h.split_k,
        blocks=clusters * h.cluster,
        blocks_per_sm=h.blocks_per_sm,
        threads=g.threads,
        parts=parts,
        parts_k=h.consumers_k,
        ring=Ring(h.stages, g.loop.part_stages, h.block_k * h.consumers_k, "shared memory"),
        raster=h.raster,
        whole_tiles=whole,
        rounds=g.loop.tile_bodies,
    )  # fmt: skip


@_tiling.register
def _of_mma(h: MmaHint, g: Any) -> Tiling:
    rows, columns = h.block_m // h.warps_m, h.block_n // h.warps_n
    parts = tuple(
        Part(f"warp {i},{j}", i * rows, j * columns, rows, columns) for i in range(h.warps_m) for j in range(h.warps_n)
    )
    tiles_m, tiles_n = ceil_div(g.rung, h.block_m), ceil_div(g.config.N, h.block_n)
    return Tiling(
        h.block_m, h.block_n, h.block_k, tiles_m, tiles_n,
        f"A warp multiplies {rows} x {columns} of D; {h.warps_k} warps share the k of a step.",
        blocks=tiles_m * tiles_n,
        threads=g.threads,
        parts=parts,
        parts_k=h.warps_k,
        ring=Ring(h.stages, g.tiles, h.block_k, "shared memory"),
    )  # fmt: skip


@_tiling.register
def _of_gemv(h: GemvHint, g: Any) -> Tiling:
    width = h.n_per_warp
    tiles = ceil_div(g.config.N, h.warps * width)
    return Tiling(
        1, h.warps * width, g.config.K, 1, tiles,
        f"A warp computes {width // g.config.rows_per_column} columns of D: its lanes stride over k and add up by "
        "shuffles.",
        blocks=tiles,
        threads=32 * h.warps,
        parts=tuple(Part(f"warp {i}", 0, i * width, 1, width) for i in range(h.warps)),
    )  # fmt: skip


@_tiling.register
def _of_fallback(h: FallbackHint, g: Any) -> Tiling:
    of_w = g.config.rows_per_column
    tiles_m, tiles_n = ceil_div(g.rung, h.m_per_warp), ceil_div(g.config.columns, h.warps)
    return Tiling(
        h.m_per_warp, h.warps * of_w, g.config.K, tiles_m, tiles_n,
        "A warp computes one column of D: its lanes stride over k and add up by shuffles.",
        blocks=tiles_m * tiles_n,
        threads=32 * h.warps,
        parts=tuple(Part(f"warp {i}", 0, i * of_w, h.m_per_warp, of_w) for i in range(h.warps)),
    )  # fmt: skip


@_tiling.register
def _of_cpu(h: CpuHint, g: Any) -> Tiling:
    is_nt = g.config.layout == "nt"
    n_lanes, k_lanes = (1, h.lanes) if is_nt else (h.lanes, 1)
    tile_n, columns = h.col_tile * n_lanes, h.cols * n_lanes
    tile_m = min(h.row_tile, g.rung)
    rows = min(h.rows, tile_m)
    parts = tuple(
        Part("registers", i, j, min(rows, tile_m - i), columns)
        for i in range(0, tile_m, rows) for j in range(0, tile_n, columns)
    )  # fmt: skip
    return Tiling(
        tile_m, tile_n, h.chunk * k_lanes, ceil_div(g.rung, h.row_tile), ceil_div(g.config.N, tile_n),
        f"A thread computes a tile, {rows} x {columns} sums in SIMD registers at a time; a vector of {h.lanes} lanes "
        f"holds {h.lanes} {'k of one n' if is_nt else 'n of one k'}.",
        parts=parts,
    )  # fmt: skip


@_tiling.register
def _of_simd(h: SimdHint, g: Any) -> Tiling:
    tile_m = min(h.row_tile, g.rung)
    rows = min(h.rows, tile_m)
    parts = tuple(
        Part("registers", i, j, min(rows, tile_m - i), h.cols)
        for i in range(0, tile_m, rows) for j in range(0, h.col_tile, h.cols)
    )  # fmt: skip
    where = "into a buffer that all rows of the tile reuse" if h.buffered else "in registers"
    return Tiling(
        tile_m, h.col_tile, h.chunk * g.block_k, ceil_div(g.rung, h.row_tile), ceil_div(g.config.N, h.col_tile),
        f"A thread computes a tile, {rows} x {h.cols} sums in SIMD registers at a time; a vector of {h.lanes} words "
        f"holds {g.block_k} k of one n, which are decoded {where}.",
        parts=parts,
    )  # fmt: skip
