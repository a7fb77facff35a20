# SPDX-License-Identifier: Apache-2.0
"""Drawings of how a kernel cuts the problem: the tile, the ring over time, the grid over waves."""

from __future__ import annotations

import math

from bitquant.arithmetic import ceil_div
from bitquant.config import MatmulConfig
from bitquant.explore import svg
from bitquant.explore.tiling import Ring, Tiling

__all__ = ["draw_grid", "draw_ring", "draw_tile", "waves"]

#: Most workers, slots and tiles that are drawn one by one.
_MAX_PARTS, _MAX_SLOTS, _MAX_TIME = 64, 12, 28
_MAX_CELLS = 1600


def draw_tile(tiling: Tiling, config: MatmulConfig, m: int) -> str:
    """Draw a tile of D with who computes what of it, and the pieces of A and W that a step multiplies."""

    # Lengths are drawn by their roots: 16 rows by 4096 columns would be a line.
    def scale(length: float, room: float, most: float) -> float:
        return max(18.0, room * math.sqrt(length / most)) if most else 18.0

    most = max(tiling.tile_m, tiling.tile_n, min(tiling.tile_k, config.K))
    height, width = scale(tiling.tile_m, 170, most), scale(tiling.tile_n, 250, most)
    depth = scale(min(tiling.tile_k, config.K), 170, most)
    left, top = 70.0 + depth + 14, 24.0 + depth + 14
    columns, rows = width / tiling.tile_n, height / tiling.tile_m
    elements = [
        svg.rect(left, top - depth - 14, width, depth, "w", f"W: {tiling.tile_n} rows by {tiling.tile_k} k"),
        svg.text(left + width + 8, top - depth / 2 - 10, "W", "mid"),
        svg.rect(left - depth - 14, top, depth, height, "a", f"A: {tiling.tile_m} rows by {tiling.tile_k} k"),
        svg.text(left - depth / 2 - 14, top - 8, "A", "mid", "middle"),
    ]
    for i in range(1, min(tiling.parts_k, 16)):
        share = i / tiling.parts_k
        x, y = left - depth - 14 + depth * share, top - depth - 14 + depth * share
        elements += [svg.line(x, top, x, top + height, "cut"), svg.line(left, y, left + width, y, "cut")]
    elements.append(svg.rect(left, top, width, height, "d", f"D: {tiling.tile_m} by {tiling.tile_n}"))
    drawn = tiling.parts if len(tiling.parts) <= _MAX_PARTS else ()
    for i, part in enumerate(drawn):
        box = (left + part.n * columns, top + part.m * rows, part.columns * columns, part.rows * rows)
        elements.append(svg.rect(*box, f"part p{i % 4}", f"{part.name}: {part.rows} x {part.columns} of D"))
        if box[2] > 7.0 * len(part.name) and box[3] >= 13:
            elements.append(svg.text(box[0] + box[2] / 2, box[1] + box[3] / 2 + 4, part.name, "small", "middle"))
    elements += [
        svg.text(left + width / 2, top - depth - 22, f"{tiling.tile_n} n", "small", "middle"),
        svg.text(left - depth / 2 - 14, top + height + 16, f"{tiling.tile_k} k", "small", "middle"),
        svg.text(left + width / 2, top + height + 16, f"D: {tiling.tile_m} x {tiling.tile_n}", "small", "middle"),
        svg.text(left - depth - 22, top + height / 2 + 4, f"{tiling.tile_m} m", "small", "end"),
    ]
    before = "" if config.activation is None else ", before the activation"
    label = (
        f"A tile of D{before}, {tiling.tile_m} rows by {tiling.tile_n} columns of {m} by {config.N}, and the "
        f"{tiling.tile_k} k of A and W that a step multiplies."
    )
    return svg.picture(max(left + width + 34, 300), top + height + 26, label, elements)


def draw_ring(ring: Ring) -> str:
    """Draw which piece of k each slot holds at each step. Columns are an order, not durations."""
    slots, shown = min(ring.slots, _MAX_SLOTS), min(ring.steps, _MAX_TIME)
    left, top, cell, row = 74.0, 30.0, 24.0, 24.0
    elements = [svg.text(left, 18, "step (an order, not durations)", "small")]
    for slot in range(slots):
        y = top + slot * row
        elements.append(svg.text(left - 8, y + 16, f"slot {slot}", "small", "end"))
        for piece in range(slot, min(ring.steps, shown + ring.slots), ring.slots):
            # On its way from the step in which the slot is free, until it is multiplied.
            begin, end = max(0, piece - ring.slots + 1), min(piece, shown)
            title = f"slot {slot} holds piece {piece} of k from step {begin} on; step {piece} multiplies it"
            x, width = left + begin * cell, (end - begin) * cell - 2
            if width > 0:
                elements.append(svg.rect(x, y, width, row - 2, "filled", title))
                elements.append(svg.text(x + width / 2, y + 15, str(piece), "tiny", "middle"))
            if piece < shown:
                x = left + piece * cell
                elements.append(svg.rect(x, y, cell - 2, row - 2, "multiplied", title))
                elements.append(svg.text(x + cell / 2 - 1, y + 15, str(piece), "tiny", "middle"))
    y = top + slots * row + 16
    rest = []
    if slots < ring.slots:
        rest.append(f"{slots} of {ring.slots} slots")
    if shown < ring.steps:
        rest.append(f"the first {shown} of {ring.steps} steps")
    if rest:
        elements.append(svg.text(left, y, " and ".join(rest) + " are drawn", "small"))
    label = (
        f"A ring of {ring.slots} slots in {ring.place}. In each step one slot is multiplied, while up to "
        f"{ring.slots - 1} others are filled; {ring.steps} pieces of {ring.slot_k} k pass through it for one tile."
    )
    return svg.picture(max(left + shown * cell + 10, 300), y + 8, label, elements)


def waves(tiling: Tiling, resident: int) -> tuple[int, float]:
    """Return the waves in which tiles are computed, and the share of the GPU that the last one fills.

    A block that computes several tiles, one after the other, takes part in as many waves.

    Parameters
    ----------
    tiling
        The grid.
    resident
        Blocks that run together on the whole GPU.
    """
    work_tiles = tiling.tiles_m * tiling.tiles_n * tiling.split_k
    together = min(resident, tiling.blocks or work_tiles)
    count = ceil_div(work_tiles, together)
    return count, (work_tiles - (count - 1) * together) / resident


def _pieces(tiling: Tiling, index: int) -> list[tuple[int, float, float]]:
    """Return which blocks compute a tile whose K is cut, with the begin and the end of each piece as shares of K."""
    if tiling.whole_tiles is None or index < tiling.whole_tiles or not tiling.blocks:
        return []
    least, more = divmod((tiling.tiles_m * tiling.tiles_n - tiling.whole_tiles) * tiling.rounds, tiling.blocks)
    first = (index - tiling.whole_tiles) * tiling.rounds
    found = []
    for block in range(tiling.blocks):
        # The first blocks have a round more.
        begin, end = (b * least + min(b, more) - first for b in (block, block + 1))
        if begin < tiling.rounds and end > 0:
            found.append((block, max(0, begin) / tiling.rounds, min(tiling.rounds, end) / tiling.rounds))
    return found


def _order(tiling: Tiling) -> list[tuple[int, int]]:
    """Return the tiles, (m, n), in the order in which blocks take them."""
    if tiling.raster is None:
        return [(m, n) for m in range(tiling.tiles_m) for n in range(tiling.tiles_n)]
    order = []
    for begin in range(0, tiling.tiles_m, tiling.raster):
        band = range(begin, min(begin + tiling.raster, tiling.tiles_m))
        order += [(m, n) for n in range(tiling.tiles_n) for m in band]
    return order


def draw_grid(tiling: Tiling, resident: int | None) -> str:
    """Draw the tiles of D, coloured by the wave in which they are computed.

    Parameters
    ----------
    tiling
        The grid.
    resident
        Thread blocks that run together on the whole GPU; None: a CPU, whose threads take tiles as they come.
    """
    total = tiling.tiles_m * tiling.tiles_n
    together = total if resident is None else max(1, min(resident, tiling.blocks or 1) // tiling.split_k)
    place = {tile: i for i, tile in enumerate(_order(tiling))} if total <= _MAX_CELLS else {}
    room = 460.0
    if not place:
        count = ceil_div(total, together)
        shown = min(count, 40)
        elements = [svg.text(10, 18, f"{total} tiles in {count} waves of up to {together}", "small")]
        for wave in range(shown):
            share = min(1.0, (total - wave * together) / together)
            y = 28.0 + wave * 14
            elements += [
                svg.rect(10, y, room, 11, "empty"),
                svg.rect(10, y, room * share, 11, f"wave v{wave % 6}", f"wave {wave + 1}: {share:.0%} full"),
            ]
        label = f"{total} tiles in {count} waves."
        return svg.picture(room + 20, 36 + shown * 14, label, elements)
    # Long rows of tiles are folded, so that a tile keeps a size.
    across = min(tiling.tiles_n, 32)
    folds = ceil_div(tiling.tiles_n, across)
    cell = min(30.0, max(12.0, (room - 50) / across))
    elements = [svg.text(44, 14, f"n: {tiling.tiles_n} tiles", "small")]
    for (m, n), index in place.items():
        fold = n // across
        x, y = 44 + n % across * cell, 22 + (fold * tiling.tiles_m + m) * cell + fold * 6
        wave = index // together
        title = f"tile {index}: m {m}, n {n}" + ("" if resident is None else f", wave {wave + 1}")
        pieces = _pieces(tiling, index)
        if not pieces:
            elements.append(svg.rect(x, y, cell - 1.5, cell - 1.5, f"wave v{wave % 6}", title))
        for block, begin, end in pieces:
            title = f"tile {index}: m {m}, n {n}, {begin:.0%} to {end:.0%} of K by block {block}"
            width = (cell - 1.5) * (end - begin)
            elements.append(svg.rect(x + (cell - 1.5) * begin, y, width, cell - 1.5, f"wave v{block % 6}", title))
        if cell >= 24:
            elements.append(svg.text(x + cell / 2 - 0.75, y + cell / 2 + 3.5, str(index), "tiny", "middle"))
    height = 22 + folds * tiling.tiles_m * cell + folds * 6
    elements.append(svg.text(36, 22 + cell / 2 + 4, "m", "small", "end"))
    label = f"{tiling.tiles_m} by {tiling.tiles_n} tiles of D in the order in which they are computed."
    return svg.picture(max(44 + across * cell + 10, 300), height + 8, label, elements)
