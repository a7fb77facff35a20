"""Tile sizes of the wgmma kernel: what they are, what registers they leave, and which are worth a prediction."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bitquant.arch import GpuArch
from bitquant.config import MatmulConfig
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.intrin.wgmma import SWIZZLE_BYTES, WARPGROUP
from bitquant.layouts import fragment_layout
from bitquant.schedule.rules.hopper.hint import ROWS, WgmmaHint

__all__ = [
    "BUSY_M",
    "FLOAT8_RUN_K",
    "REGISTERS_OF_STEP",
    "SUMMING_WARPS",
    "decodes_in_place",
    "has_columns",
    "hint_registers",
    "is_dense",
    "launched_registers",
    "likely_hints",
    "needed_registers",
    "producer_registers",
    "promotes",
    "registers",
    "sum_sets",
    "sums_refusal",
    "tile_waves",
    "unit_k",
]

#: Most rows of A in a tile whose sums are scaled: those take as many multiply-adds as there are sums.
MAX_SUM_M = 64
#: Longest slots that are tried, in elements of k: where sums are scaled; else half of it.
MAX_BLOCK_K = 256
#: Registers of a multiprocessor, and the unit in which a thread gets them (CUDA C++ Programming Guide 13.0).
SM_REGISTERS, REGISTER_UNIT = 65536, 8
#: Most registers of a thread in whole units, and those that the producer keeps at least.
MAX_REGISTERS, PRODUCER_REGISTERS = 248, 32
#: Those of a producer whose warps sum A, without spills: where each sums one block of 16 rows, and where more.
SUMMING_REGISTERS, SUMMING_MORE_REGISTERS = 48, 64
#: Warps of the producing warpgroup that sum A where sums are scaled; the first one copies.
SUMMING_WARPS = 3
#: Registers of a consumer besides sums, left operands and codes, as ptxas was seen to need them.
OTHER_REGISTERS = 36
#: The same where sums are scaled: there are no scales in pairs.
OTHER_SUM_REGISTERS = 28
#: More of them where sums are scaled in groups: those of a block of rows, and where integers become float32.
GROUP_REGISTERS, CONVERSION_REGISTERS = 8, 24
#: And for each further plane of codes, where integers become float32.
PLANE_REGISTERS = 32
#: Elements of k that the tensor cores add up before a sum of float8 products is added in float32: those of a step.
FLOAT8_RUN_K = 128
#: Rows of A in a tile from which on wgmma's reads of it, not decoding, are most of those of shared memory.
BUSY_M = 48
#: Registers of a left operand, which a step decodes.
REGISTERS_OF_STEP = 16


# Registers.


def registers(consumers: int, blocks_per_sm: int = 1, least: int = PRODUCER_REGISTERS) -> tuple[int, int]:
    """Return the registers of a thread of the producer and of a consumer after they have been moved.

    All warpgroups of a block begin with as many as the launch bound allows, and only those can be moved: a consumer
    that asked for more than the producer has given up would wait for ever.

    Parameters
    ----------
    consumers
        Consumer warpgroups of a block.
    blocks_per_sm
        Blocks on a multiprocessor.
    least
        Registers that the producer keeps at least, a multiple of 8.
    """
    launched = launched_registers(consumers, blocks_per_sm)
    if launched == MAX_REGISTERS:
        return launched, launched
    available = launched * (consumers + 1)
    consumer = (available - least) // consumers // REGISTER_UNIT * REGISTER_UNIT
    consumer = min(consumer, MAX_REGISTERS)
    producer = min(launched, available - consumer * consumers)
    assert least <= producer <= launched <= consumer
    assert producer + consumers * consumer <= available
    return producer, consumer


def launched_registers(consumers: int, blocks_per_sm: int) -> int:
    """Return the registers of a thread when the kernel begins, before they are moved."""
    threads = (consumers + 1) * WARPGROUP
    return min(MAX_REGISTERS, SM_REGISTERS // (threads * blocks_per_sm) // REGISTER_UNIT * REGISTER_UNIT)


def producer_registers(hint: WgmmaHint) -> int:
    """Return the registers that a thread of the producer keeps at least: one that sums A needs more."""
    if hint.scaling != "sums":
        return PRODUCER_REGISTERS
    is_one_each = hint.consumers_k * -(-hint.block_m // 16) <= SUMMING_WARPS
    return SUMMING_REGISTERS if is_one_each else SUMMING_MORE_REGISTERS


def hint_registers(hint: WgmmaHint) -> tuple[int, int]:
    """Return `registers` for a hint."""
    return registers(hint.consumers, hint.blocks_per_sm, producer_registers(hint))


def is_dense(config: MatmulConfig) -> bool:
    """Return whether W is of A's type and taken as it is, in the plain layout (`wgmma_dense`)."""
    return config.W_format.bits > 8


def unit_k(config: MatmulConfig) -> int:
    """Return the least k that a slot of the ring holds: one tile of the weight's layout and 128 bytes of A."""
    step_k = SWIZZLE_BYTES * 8 // config.A_format.bits
    return step_k if is_dense(config) else max(fragment_layout(config).tile_k, step_k)


def promotes(config: MatmulConfig) -> bool:
    """Return whether sums over short runs of k are added to totals in float32 (`wgmma_sums.Promotion`)."""
    a = config.A_format
    return a.bits == 8 and (not a.is_integer or (config.with_scaling and config.num_groups > 1))


def needed_registers(config: MatmulConfig, hint: WgmmaHint, sets: int = 1) -> int:
    """Return the registers that a consumer needs: sums and totals, two left operands, codes, and the rest.

    Where sums are scaled in groups there may be two sets of them.
    """
    if is_dense(config):
        return hint.block_m // 2 * hint.rows + OTHER_REGISTERS
    words = unit_k(config) * fragment_layout(config).bits // 64
    row, others = hint.block_m // 2 + words, OTHER_REGISTERS
    if hint.scaling == "sums":
        row, others = row + hint.block_m // 2 * sets, OTHER_SUM_REGISTERS
    if promotes(config):
        row += hint.block_m // 2
        if config.num_groups > 1 and config.with_scaling:
            row += GROUP_REGISTERS
            is_short = config.group % FLOAT8_RUN_K != 0
            if config.A_format.is_integer:
                # Where runs follow each other within a step, ptxas converts all sums before the next run begins.
                others += CONVERSION_REGISTERS + (hint.block_m // 2 if is_short else 0)
                others += PLANE_REGISTERS * (len(fragment_layout(config).planes) - 1)
    return row * hint.rows + 2 * REGISTERS_OF_STEP + others


def sum_sets(config: MatmulConfig, hint: WgmmaHint) -> int:
    """Return the sets of sums where those are scaled: with two, one is scaled while products go to the other."""
    return 2 if hint.block_m <= 32 and needed_registers(config, hint, 2) <= hint_registers(hint)[1] else 1


def decodes_in_place(config: MatmulConfig) -> bool:
    """Return whether codes need no more than masks where sums are scaled: powers of two go with the rows of W."""
    if config.W_format.in_place_refusal(config.A_format.tvm_dtype) is not None:
        return False
    decoder = RegisterDecoder(config.W_format, fragment_layout(config), config.A_format.tvm_dtype, 90, in_place=True)
    return decoder.exponents_follow_rows


def sums_refusal(config: MatmulConfig, hint: WgmmaHint) -> str | None:
    """Return why sums cannot be scaled, as "needs ... (got ...)", or None where they can."""
    step_k = SWIZZLE_BYTES * 8 // config.A_format.bits
    if config.A_format.bits == 8 or is_dense(config) or not (config.with_scaling or config.with_zeros):
        return "needs A of 16 bits and a W with scales or zero points for a choice of what is scaled"
    if config.num_groups > 1 and config.group % step_k:
        return f"needs group_size % {step_k} == 0 where sums are scaled (got {config.group})"
    if hint.block_m > MAX_SUM_M:
        return f"needs block_m <= {MAX_SUM_M} where sums are scaled (got {hint.block_m})"
    return None


# Hints.


def tile_waves(tiles: int, resident: int, tail_split: int) -> tuple[float, bool]:
    """Return the time of all tiles in those of a tile, and whether those of the last wave are shared.

    Parameters
    ----------
    tiles, resident
        Tiles, and those that run together.
    tail_split
        Blocks that share one of the last wave, where there are enough.
    """
    whole, rest = divmod(tiles, resident)
    if tail_split > 1 and 0 < rest * tail_split <= resident:
        return whole + 1 / tail_split, True
    return float(whole + (rest > 0)), False


def likely_hints(config: MatmulConfig, m: int, arch: GpuArch) -> Iterator[WgmmaHint]:
    """Yield hints, all but their stages, that registers allow and that m rows of A do not waste."""
    unit = 16 if config.A_format.is_integer else 8
    sizes = _block_sizes(m, unit)
    found = list(_hints_of(config, m, arch, sizes))
    # Codes of several planes and short groups leave registers for few rows alone.
    yield from found or _hints_of(config, m, arch, range(unit, sizes[0], unit))


def _hints_of(config: MatmulConfig, m: int, arch: GpuArch, sizes: Iterable[int]) -> Iterator[WgmmaHint]:
    """Yield hints, all but their stages, with these rows of A of a block, that registers allow."""
    least_k = unit_k(config)
    for block_m in sizes:
        if not has_columns(config, block_m):
            continue
        for rows, consumers_n, consumers_k, split_k, blocks_per_sm in _SHAPES:
            if consumers_k * split_k > 1 and least_k * consumers_k * split_k > config.K:
                continue
            hint = WgmmaHint(
                block_m=block_m, rows=rows, consumers_n=consumers_n, consumers_k=consumers_k, block_k=least_k,
                split_k=split_k, blocks_per_sm=blocks_per_sm,
            )  # fmt: skip
            variants = itertools.product(("operand", "sums"), _row_blocks(config.N, hint), _clusters(m, hint))
            for scaling, row_blocks, (tail_split, multicast) in variants:
                scaled = replace(
                    hint, scaling=scaling, row_blocks=row_blocks, tail_split=tail_split, multicast=multicast
                )
                if tail_split > 1 and (scaling == "sums" or not _shares_tail(config, m, arch, scaled)):
                    continue
                if scaling == "sums" and sums_refusal(config, scaled) is not None:
                    continue
                if needed_registers(config, scaled) > hint_registers(scaled)[1]:
                    continue
                longest = MAX_BLOCK_K if scaling == "sums" else MAX_BLOCK_K // 2
                for times in (1, 2, 4):
                    block_k = times * least_k
                    if times == 1 or (block_k <= longest and block_k * hint.parts <= config.K):
                        yield replace(scaled, block_k=block_k)


def _clusters(m: int, hint: WgmmaHint) -> list[tuple[int, int]]:
    """Return the pairs of tail_split and multicast worth trying: clusters of four where few rows make A the most."""
    if hint.parts > 1:
        return [(1, 1)]
    beside = [blocks for blocks in ((2, 4) if m <= MAX_SUM_M else (2,)) if hint.block_m % (8 * blocks) == 0]
    shared = [(2, 1), *([(2, 2)] if 2 in beside else [])] if hint.blocks_per_sm == 1 else []
    return [(1, 1), *((1, blocks) for blocks in beside), *shared]


def _shares_tail(config: MatmulConfig, m: int, arch: GpuArch, hint: WgmmaHint) -> bool:
    """Return whether the last wave leaves so many multiprocessors idle that its tiles are shared."""
    tiles = -(-m // hint.block_m) * -(-config.N // hint.block_n)
    return tile_waves(tiles, arch.sm_count * hint.blocks_per_sm, hint.tail_split)[1]


def _row_blocks(N: int, hint: WgmmaHint) -> list[int]:
    """Return the blocks of rows of a tile worth trying: all, and one less where tiles then fill the GPU better."""
    most, total = hint.rows * hint.consumers_n, -(-N // ROWS)
    return [0, most - 1] if hint.rows > 1 and most > 2 and total % (most - 1) == 0 and total % most == 0 else [0]


def has_columns(config: MatmulConfig, block_m: int) -> bool:
    """Return whether a wgmma of the problem's types has that many columns.

    PTX ISA, ".shape" of wgmma.mma_async; TVM 0.27.0.post1 knows those of integers up to 224.
    """
    if config.A_format.is_integer:
        return block_m in (8, 24) or block_m in range(16, 225, 16)
    return block_m in range(8, 257, 8)


def _block_sizes(m: int, unit: int) -> list[int]:
    """Return the numbers of rows of A worth trying: powers of two and their like, and equal shares of m."""
    limit = min(256, -(-m // unit) * unit)
    shares = {-(-m // (unit * count)) * unit for count in range(1, 5)}
    sizes = shares | {16, 32, 64, 96, 128, 160, 192, 256}
    least = min(limit, 16 if m < 128 else 64)
    return sorted(size for size in sizes if least <= size <= limit)


#: (rows, consumers_n, consumers_k, split_k, blocks_per_sm)
_SHAPES = [
    (rows, consumers_n, consumers_k, split_k, blocks_per_sm)
    for rows in (1, 2)
    for consumers_n, consumers_k in ((1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (2, 2), (4, 1))
    for split_k in (1, 2, 4, 8)
    for blocks_per_sm in (1, 2)
    if rows * consumers_n * consumers_k <= 4 and (blocks_per_sm == 1 or consumers_n * consumers_k <= 2)
]
