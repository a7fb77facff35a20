# SPDX-License-Identifier: Apache-2.0
"""The hints of the decode rule that are worth measuring, in the order of the times that the model predicts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from bitquant.arch import RESERVED_SMEM_BYTES
from bitquant.arithmetic import ceil_div, round_up
from bitquant.problem import Problem
from bitquant.schedule.rules.decode.cost import (
    cost_us,
    estimated_registers,
    estimated_smem_bytes,
    has_measured_phases,
    register_limit,
)
from bitquant.schedule.rules.decode.digits import digits_refusal
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.schedule.rules.decode.hint import DecodeHint

__all__ = ["by_cost", "first_hint", "fitting", "population", "population_of", "shapes", "small_hints"]

#: `weights`, `ahead` and `unroll` of hints. Of those with equal predictions the first is the faster.
_PIPELINES = (
    ("registers", 1, 1), ("registers", 2, 4), ("registers", 2, 2), ("registers", 4, 4),
    ("shared", 4, 1), ("shared", 4, 2), ("shared", 4, 4), ("shared", 8, 2), ("shared", 8, 4),
)  # fmt: skip

#: Length in k of a body from which on its scales and zero points take many registers.
_LONG_BODY = 256

#: Stream-K is tried where the blocks of n fill less than this share of the GPU, with at least so many phases a share.
BUSY_SHARE, PHASES_OF_SHARE = 0.93, 8


def shapes(problem: Problem) -> Iterator[DecodeHint]:
    """Yield hints that fit, in the order of their predicted times; small ones where the model finds none."""
    yield from fitting(DecodeGeometry(problem, first_hint(problem.rung)))


def fitting(first: DecodeGeometry) -> Iterator[DecodeHint]:
    """Yield hints that fit, in the order of their predicted times; small ones where the model finds none.

    Parameters
    ----------
    first
        As for `by_cost`.
    """
    is_empty = True
    for hint in by_cost(first):
        geometry = first.with_hint(hint)
        # As many blocks as registers leave room for must fit a multiprocessor's shared memory.
        if (
            geometry.fault is None
            and hint.blocks_per_sm * (geometry.smem_bytes + RESERVED_SMEM_BYTES) <= first.gpu.smem_per_sm_bytes
        ):
            is_empty = False
            yield hint
    if is_empty:
        yield from small_hints(first.hint)


def first_hint(rung: int) -> DecodeHint:
    """Return a hint whose `block_m` is right for so many rows of A as values; the other fields are varied."""
    return DecodeHint(block_m=min(64, max(8, 1 << (rung - 1).bit_length())))


def by_cost(first: DecodeGeometry) -> Iterator[DecodeHint]:
    """Yield hints in the order of the time that the model predicts, most of which fit.

    Parameters
    ----------
    first
        Of the problem, and of a hint whose `block_m` is right where A is multiplied as values.
    """
    found = sorted((cost_us(g), i, g.hint) for i, g in enumerate(_geometries(first)))
    if not found and first.hint.block_m > 8:
        yield from by_cost(first.with_hint(replace(first.hint, block_m=first.hint.block_m // 2)))
    yield from dict.fromkeys(hint for _, _, hint in found)


def population(problem: Problem) -> Iterator[DecodeHint]:
    """Yield the hints among which `shapes` finds an order, in the order of their fields."""
    yield from population_of(DecodeGeometry(problem, first_hint(problem.rung)))


def population_of(first: DecodeGeometry) -> Iterator[DecodeHint]:
    """Yield the hints among which `by_cost` finds an order, in the order of their fields."""
    yield from dict.fromkeys(g.hint for g in _geometries(first))


def _geometries(first: DecodeGeometry) -> Iterator[DecodeGeometry]:
    """Yield what `by_cost` puts in order; some of it twice."""
    tried = _tiles(first)
    if first.rung == 1 and digits_refusal(first.config) is None:
        tried = itertools.chain(tried, _tiles(first.with_hint(replace(first.hint, block_m=1, activations="digits"))))
    for g in tried:
        h = g.hint
        slots = g.gpu.sm_count * g.gpu.decode_cluster_share(h.split_k) * h.blocks_per_sm / h.split_k / g.grid_m
        one_wave = max(1, math.ceil(g.blocks_n / slots))
        for n_blocks, multicast in itertools.product(sorted({1, one_wave}), _multicasts(g)):
            if math.gcd(g.blocks_n, ceil_div(g.blocks_n, n_blocks)) % multicast:
                continue
            is_same = n_blocks == multicast == 1
            candidate = _with_fitting_phases(
                g if is_same else g.with_hint(replace(h, n_blocks_per_cta=n_blocks, multicast=multicast))
            )
            if candidate is not None:
                yield candidate
        if (shared := _with_stream_k(g)) is not None:
            yield shared


def small_hints(first: DecodeHint) -> Iterator[DecodeHint]:
    """Yield small hints for problems of which `by_cost` has none: long K in small shared memory. No model orders them.

    Parameters
    ----------
    first
        A hint whose other fields are kept.
    """
    for warps_k, ahead in ((8, 4), (4, 4), (4, 2), (4, 1)):
        yield replace(first, block_m=8, warps_k=warps_k, ahead=ahead, unroll=1, phase=1, weights="shared")


def _tiles(first: DecodeGeometry) -> Iterator[DecodeGeometry]:
    """Yield what is sensible by itself: 8 to 24 warps, enough bytes in flight, enough registers, no idle clusters."""
    c, gpu, tile_k = first.config, first.gpu, first.fragment_layout.tile_k
    tiles_k, tile_bytes = first.tiles_k, first.fragment_layout.tile_bytes
    # Blocks that form clusters for something else do not share K.
    splits = (1, 2, 4, 8) if gpu.has_clusters and first.hint.cluster == 1 else (1,)
    weight_bytes = first.weights * math.prod(c.W_shape) * max(8, c.W_format.bits) / 8
    wanted = min(gpu.in_flight_bytes, weight_bytes / gpu.sm_count / 4)
    n_tiles_counts = {8: (1, 2, 3, 5), 16: (1, 2, 3, 4)}.get(first.hint.block_m, (1, 2, 4))
    if first.is_digits:
        n_tiles_counts = (1, 2, 4, 7)
    shapes_of_blocks = [
        (n_tiles, split_k, *warps)
        for n_tiles, split_k in itertools.product(n_tiles_counts, splits)
        for warps in _warps(first, n_tiles, split_k)
    ]
    for n_tiles, split_k, warps_k, warps_n in shapes_of_blocks:
        warps = warps_n * warps_k
        if not (8 if tiles_k >= 16 else 4) <= warps <= 16 or split_k * warps_k > max(tiles_k, 4):
            continue
        # Larger clusters leave multiprocessors idle: only where there are too few blocks without them.
        if split_k > 2 and 2 * first.units * ceil_div(c.N, 16 * n_tiles * warps_n) >= gpu.sm_count:
            continue
        chains = min(first.most_chains, max(1, 4 // (n_tiles * first.m_tiles)))
        # Other numbers than powers of two were seen to spill with more rows, and where weights go to registers.
        is_power = warps & (warps - 1) == 0
        for weights, ahead, unroll in sorted(_PIPELINES, key=first.is_long_body):
            if not is_power and (weights == "registers" or first.hint.block_m > 16):
                continue
            is_wasteful = unroll > 1 and (unroll * tile_k > 512 or split_k * warps_k * unroll > tiles_k)
            is_short = unroll * tile_k < 128 and 2 * split_k * warps_k <= tiles_k
            if is_wasteful or is_short:
                continue
            in_flight = warps * n_tiles * ahead * tile_bytes
            for blocks_per_sm in range(1, 1 + min(4, max(1, 24 // warps), max(1, round(3 * wanted / in_flight)))):
                if blocks_per_sm * in_flight < wanted:
                    continue
                geometry = first.with_hint(replace(
                    first.hint, n_tiles_per_warp=n_tiles, warps_n=warps_n, warps_k=warps_k, split_k=split_k,
                    unroll=unroll, ahead=ahead, weights=weights, blocks_per_sm=blocks_per_sm, chains=chains,
                ))  # fmt: skip
                used = estimated_registers(geometry) / register_limit(32 * warps * blocks_per_sm)
                if used <= 1 and not _spills_in_body(geometry, used):
                    yield geometry


def _spills_in_body(g: DecodeGeometry, used: float) -> bool:
    """Return whether a kernel spills that uses so much of its registers, by the estimate.

    Of kernels for experts these are: with 32 rows and more, or 16 of bfloat16, and floats whose scales change within a
    long body. 131 of 133 that were compiled for sm_90a spilled (2026-11-30); others are less sure to.
    """
    h = g.hint
    if not g.has_experts or g.is_integer or h.unroll == 1 or g.runs == 1 or g.body_k < _LONG_BODY:
        return False
    return used > 0.75 if h.block_m >= 32 else used > 0.9 and h.block_m == 16 and g.operand == "bfloat16"


def _warps(first: DecodeGeometry, n_tiles: int, split_k: int) -> Iterator[tuple[int, int]]:
    """Yield warps along k and along n: powers of two, and those by which blocks fill the multiprocessors once or twice.

    Of N = 7168, 448 tiles, 132 multiprocessors get four each, some none; 14 along n of each pair of blocks that shares
    K are 64 pairs. Of N = 17920, 1120 tiles, each gets 9: three tiles for each of three warps. Three and five tiles for
    a warp are tried so alone.
    """
    powers = (1, 2, 4, 8)
    is_odd = n_tiles in (3, 5)
    if not is_odd:
        yield from itertools.product((1, 2, 4, 8, 16), powers)
    tiles_n, gpu = math.ceil(first.units * ceil_div(first.config.N, 16)), first.gpu
    slots = int(gpu.sm_count * gpu.decode_cluster_share(split_k)) // split_k
    filling = {ceil_div(tiles_n, slots * times) for times in (1, 2, 3, 4)}
    if is_odd:
        yield from itertools.product((1, 2, 3, 4, 5, 8), sorted(t // n_tiles for t in filling if t % n_tiles == 0))
        return
    filling = {ceil_div(tiles, n_tiles) for tiles in filling}
    yield from itertools.product((1, 2, 3, 4, 5, 8), sorted(filling - set(powers)))


def _with_stream_k(g: DecodeGeometry) -> DecodeGeometry | None:
    """Return the geometry with stream-K, in phases much shorter than a share; None where the GPU is busy without it.

    A warp along k has a part of each phase, and all of them meet where a block of n ends: eight or more warps along n
    and k, few along n.
    """
    h, blocks = g.hint, g.gpu.sm_count * g.hint.blocks_per_sm
    if h.block_m > 8 or g.is_digits or h.split_k > 1 or g.grid_m > 1 or not g.config.has_most_rows(g.rung):
        return None
    if g.units != 1 or g.blocks_n / round_up(g.blocks_n, blocks) > BUSY_SHARE:
        return None
    phase = max(1, g.warp_tiles * g.blocks_n // (PHASES_OF_SHARE * blocks * h.unroll)) * h.unroll
    if phase >= g.warp_tiles:
        return None
    shared = g.with_hint(replace(h, phase=phase, stream_k=True))
    return shared if estimated_smem_bytes(shared) <= _smem_limit(g) else None


def _multicasts(g: DecodeGeometry) -> tuple[int, ...]:
    """Return the values of `multicast` to try: pairs, which leave no multiprocessor idle, from two rows of A on."""
    is_useful = g.rung > 1 and g.hint.split_k == 1 and g.gpu.has_clusters
    return (1, 2) if is_useful else (1,)


def _smem_limit(g: DecodeGeometry) -> int:
    """Return the shared memory that each of a multiprocessor's blocks may have."""
    gpu = g.gpu
    return min(gpu.smem_per_block_bytes, gpu.smem_per_sm_bytes // g.hint.blocks_per_sm - RESERVED_SMEM_BYTES)


def _with_fitting_phases(g: DecodeGeometry) -> DecodeGeometry | None:
    """Return the geometry, with as few phases as make A fit shared memory; None where nothing fits."""
    h, limit = g.hint, _smem_limit(g)
    if estimated_smem_bytes(g) <= limit:
        return g
    if h.n_blocks_per_cta > 1 or h.multicast > 1 or g.is_digits:
        return None
    tile_bytes = g.rows_of_a * h.warps_k * g.fragment_layout.tile_k * g.a_bytes
    for phase in range(g.warp_tiles // 2 // h.unroll * h.unroll, 0, -h.unroll):
        if 2 * phase * tile_bytes > limit:  # Two buffers of A alone do not fit.
            continue
        if g.warp_tiles % phase == 0 or phase == h.unroll:
            cut = g.with_hint(replace(h, phase=phase))
            if estimated_smem_bytes(cut) <= limit:
                return None if _spills_in_phases(cut) else cut
    return None


def _spills_in_phases(g: DecodeGeometry) -> bool:
    """Return whether a kernel with phases of A most likely spills: three of four such did, and one of five others.

    Of 1030 kernels of trials with 5 to 16 rows (2026-11-30). Fewer rows and experts keep their hints.
    """
    h = g.hint
    if not has_measured_phases(g) or h.weights == "shared" or h.unroll * h.n_tiles_per_warp < 8:
        return False
    return estimated_registers(g) > 0.7 * register_limit(g.threads * h.blocks_per_sm)
