# SPDX-License-Identifier: Apache-2.0
"""Which tile sizes of the wgmma kernel are worth measuring, in the order of their predicted times."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bitquant.arithmetic import ceil_div, round_up
from bitquant.problem import Problem
from bitquant.schedule.rules.hopper.cost import predicted_us, tile_waves
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import ROWS, WgmmaHint
from bitquant.schedule.rules.hopper.products import MAX_SUM_M, Products
from bitquant.schedule.rules.hopper.registers import hint_registers, needed_registers

__all__ = [
    "MAX_BLOCK_K",
    "hints_of",
    "in_order",
    "leaves_sms_idle",
    "likely_hints",
    "population",
    "space",
    "with_deepest_rings",
]

#: Longest slots that are tried, in elements of k: where sums are scaled; else half of it, with one weight.
MAX_BLOCK_K = 256
#: Stream-K is tried where at most so many blocks share a tile, and whole tiles fill less than this share of the GPU.
MAX_SHARERS, BUSY_SHARE = 12, 0.94
#: Limits: slots of a ring, hints whose ring is sized, and hints that `space` yields.
MAX_STAGES, CANDIDATES, SPACE = 12, 150, 60
#: The shapes of blocks that are tried: (n_tiles_per_consumer, consumers_n, consumers_k, split_k, blocks_per_sm)
_SHAPES = [
    (n_tiles, consumers_n, consumers_k, split_k, blocks_per_sm)
    for n_tiles in (1, 2)
    for consumers_n, consumers_k in ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (2, 2), (4, 1))
    for split_k in (1, 2, 4, 8)
    for blocks_per_sm in (1, 2)
    if n_tiles * consumers_n * consumers_k <= 4 and (blocks_per_sm == 1 or consumers_n * consumers_k <= 2)
]


def space(problem: Problem) -> Iterator[WgmmaHint]:
    """Yield hints that fit, in the order of the time that the model predicts (`cost`)."""
    products = Products(problem)
    yield from in_order(WgmmaGeometry(problem, hint, products) for hint in likely_hints(problem, products))


def in_order(likely: Iterable[WgmmaGeometry]) -> Iterator[WgmmaHint]:
    """Yield the hints of some geometries, with the deepest ring that fits, in the order of their predicted times."""
    with_rings = map(_with_deepest_ring, sorted(likely, key=predicted_us)[:CANDIDATES])
    fitting = [geometry for geometry in with_rings if geometry is not None]
    yield from (geometry.hint for geometry in sorted(fitting, key=predicted_us)[:SPACE])


def population(problem: Problem) -> Iterator[WgmmaHint]:
    """Yield every hint with the deepest ring that fits; `space` takes the likely ones of them."""
    products = Products(problem)
    yield from with_deepest_rings(WgmmaGeometry(problem, hint, products) for hint in likely_hints(problem, products))


def with_deepest_rings(likely: Iterable[WgmmaGeometry]) -> Iterator[WgmmaHint]:
    """Yield the hints of some geometries with the deepest ring, where one fits."""
    for geometry in map(_with_deepest_ring, likely):
        if geometry is not None:
            yield geometry.hint


def _with_deepest_ring(geometry: WgmmaGeometry) -> WgmmaGeometry | None:
    """Return the geometry with as many slots as shared memory holds, or None where they are too few."""
    memory = geometry.with_hint(replace(geometry.hint, stages=1)).memory
    tail = memory.nbytes - memory.out_offset - memory.slot_extra_bytes
    stages = min(MAX_STAGES, (geometry.smem_limit - tail) // (memory.slot_bytes + memory.slot_extra_bytes))
    if geometry.needs_sums_of_a:
        stages -= stages % geometry.loop.slots_of_run
    if stages < 1:
        return None
    fitted = geometry.with_hint(replace(geometry.hint, stages=stages))
    return fitted if fitted.fault is None else None


def likely_hints(problem: Problem, products: Products) -> Iterator[WgmmaHint]:
    """Yield hints, all but their stages, that registers allow and that the problem's rows of A do not waste."""
    unit = 16 if problem.config.A_format.is_integer and problem.rung > 8 else 8
    sizes = _block_sizes(problem.rung, unit)
    found = list(hints_of(problem, products, sizes))
    # Codes of several planes and short groups leave registers for few rows alone.
    yield from found or hints_of(problem, products, range(unit, sizes[0], unit))


def hints_of(
    problem: Problem, products: Products, sizes: Iterable[int], longest_k: int = MAX_BLOCK_K // 2
) -> Iterator[WgmmaHint]:
    """Yield hints, all but their stages, with these rows of A of a block, that registers allow.

    Slots have at most `longest_k` elements of k where the weight is scaled.
    """
    config, m, least_k = problem.config, problem.rung, products.unit_k
    for block_m in sizes:
        if block_m not in products.columns:
            continue
        scalings = ("operand", "sums") if products.sums_refusal(block_m) is None else ("operand",)
        for n_tiles, consumers_n, consumers_k, split_k, blocks_per_sm in _SHAPES:
            if consumers_k * split_k > 1 and least_k * consumers_k * split_k > config.K:
                continue
            hint = WgmmaHint(
                block_m=block_m, n_tiles_per_consumer=n_tiles, consumers_n=consumers_n, consumers_k=consumers_k,
                block_k=least_k, split_k=split_k, blocks_per_sm=blocks_per_sm,
            )  # fmt: skip
            for scaling in scalings:
                scaled = hint if scaling == hint.scaling else replace(hint, scaling=scaling)
                if needed_registers(products, scaled) > hint_registers(scaled)[1]:
                    continue
                for n_tiles_per_cta, clusters in itertools.product(
                    _n_tiles_per_cta(config.N, hint), _clusters(m, hint)
                ):
                    tail_split, multicast = clusters
                    tile = scaled
                    if n_tiles_per_cta or clusters != (1, 1):
                        tile = replace(
                            scaled, n_tiles_per_cta=n_tiles_per_cta, tail_split=tail_split, multicast=multicast
                        )
                    if tail_split > 1 and (scaling == "sums" or not _shares_tail(problem, tile)):
                        continue
                    is_split = clusters == (1, 1) and leaves_sms_idle(problem, tile, ceil_div(m, block_m))
                    split = [replace(tile, stream_k=True)] if is_split else []
                    longest = MAX_BLOCK_K if scaling == "sums" else longest_k
                    for whole in (tile, *split):
                        yield whole
                        for block_k in (2 * least_k, 4 * least_k):
                            if block_k <= longest and block_k * hint.parts <= config.K:
                                yield replace(whole, block_k=block_k)


def _clusters(m: int, hint: WgmmaHint) -> list[tuple[int, int]]:
    """Return the pairs of tail_split and multicast worth trying: clusters of four where few rows make A the most."""
    if hint.parts > 1:
        return [(1, 1)]
    beside = [blocks for blocks in ((2, 4) if m <= MAX_SUM_M else (2,)) if hint.block_m % (8 * blocks) == 0]
    shared = [(2, 1), *([(2, 2)] if 2 in beside else [])] if hint.blocks_per_sm == 1 else []
    return [(1, 1), *((1, blocks) for blocks in beside), *shared]


def leaves_sms_idle(problem: Problem, hint: WgmmaHint, m_tiles: int) -> bool:
    """Return whether tiles leave a part of the GPU idle that stream-K would fill, with few blocks for each tile.

    There are `m_tiles` along m.
    """
    if hint.parts > 1:
        return False
    tiles = m_tiles * ceil_div(problem.config.N, hint.block_n)
    blocks = problem.gpu.sm_count * hint.blocks_per_sm
    return MAX_SHARERS * tiles >= blocks and tiles / round_up(tiles, blocks) < BUSY_SHARE


def _shares_tail(problem: Problem, hint: WgmmaHint) -> bool:
    """Return whether the last wave leaves so many multiprocessors idle that its tiles are shared."""
    tiles = ceil_div(problem.rung, hint.block_m) * ceil_div(problem.config.N, hint.block_n)
    return tile_waves(tiles, problem.gpu.sm_count * hint.blocks_per_sm, hint.tail_split)[1]


def _n_tiles_per_cta(N: int, hint: WgmmaHint) -> list[int]:
    """Return the blocks of rows of a tile worth trying: all, and one less where tiles then fill the GPU better."""
    most, total = hint.n_tiles_per_consumer * hint.consumers_n, ceil_div(N, ROWS)
    return (
        [0, most - 1]
        if hint.n_tiles_per_consumer > 1 and most > 2 and total % (most - 1) == 0 and total % most == 0
        else [0]
    )


def _block_sizes(m: int, unit: int) -> list[int]:
    """Return the numbers of rows of A worth trying: powers of two and their like, and equal shares of m."""
    limit = min(256, round_up(m, unit))
    shares = {ceil_div(m, unit * count) * unit for count in range(1, 5)}
    sizes = shares | {16, 32, 64, 96, 128, 160, 192, 256}
    least = min(limit, 16 if m < 128 else 64)
    return sorted(size for size in sizes if least <= size <= limit)
