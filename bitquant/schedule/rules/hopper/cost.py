# SPDX-License-Identifier: Apache-2.0
"""How long the wgmma kernel is likely to take with a hint.

The model predicts the time of a call from few numbers, which were fitted to 8900 kernels that decode W, measured on
H200s. It is meant to put hints in order, not to be right: of those measured for a problem, the one that it puts first
is on average 4% behind the best below 96 rows of A, and 1% above::

    time = launch + max(waves * (steps * step + end of a tile), bytes / bandwidth)
    step = about the greatest of: tensor cores, decoding by all warps, arrival of a slot

Rates that belong to the GPU, not to the kernel, are those of `GpuArch`.
"""

from __future__ import annotations

import math

from bitquant.arithmetic import ceil_div
from bitquant.intrin.wgmma import SWIZZLE_BYTES
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.products import FLOAT8_RUN_K, REGISTERS_OF_STEP, Products

__all__ = ["predicted_us", "step_instructions", "tile_waves"]

# Times in microseconds, of one step of 64 k in 16 bits, unless said otherwise. Constants that name no other source are
# of the fit to 8900 kernels (H200, 2026-11-21; docs/kernels.md).

#: From one kernel of a graph to the next, with the first loads of a block.
LAUNCH_US = 0.5
#: A step's latency, and what each warp of a scheduler adds for each instruction of its decoding.
STEP_LATENCY_US, INSTRUCTION_US = 0.033, 0.00077
#: The switch from one slot of the ring to the next.
SLOT_US = 0.088
#: Instructions of a step besides decoding. It is older than the fit, which left it as it was; not measured by itself.
STEP_INSTRUCTIONS = 46
#: The same where codes are scaled as subnormal numbers: counted in machine code, which has 67 in all for groups of 32,
#: and 102 where the fit says 94.
SUBNORMAL_INSTRUCTIONS = 30
#: Those that keep what is decoded beyond K zero, where the parts of K are not equal; they may take registers, too.
RAGGED_INSTRUCTIONS = 40
#: More time of decoding for each further block of rows of a consumer: its bodies have conditions, and more scales.
ROWS_SHARE = {"operand": 0.3, "sums": 0.065}
#: Above so many rows, and up to so many, where W is decoded to 16 bits for one weight: the time of an instruction,
#: and that of one whose warp waits for no other; and what the products take less where all other multiprocessors
#: idle, since power is the limit. Chosen so that the first hint is good, by some 800 kernels of 65 problems (trials,
#: and two runs of 2026-11-30 on H200s).
LEAST_ROWS, MOST_ROWS, MANY_INSTRUCTION_US, ALONE_US, IDLE_SHARE = 96, 512, 0.00085, 0.00125, 0.12
#: Of the change to the next group where sums are scaled: instructions besides those on sums (as old, and not measured
#: by itself), and the time of a warp group in which nothing is multiplied, for each row of A.
FOLD_INSTRUCTIONS, FOLD_ROW_US = 24, 0.0029
#: Instructions of a step where nothing is decoded; not measured.
DENSE_INSTRUCTIONS = 20
#: Latency from the release of a slot until its next bytes have arrived, and the slots that consumers hold meanwhile.
ARRIVAL_US, HELD_SLOTS = 1.27, 1.3
#: Of the time of a step, what is lost where a slot waits for the blocks of a cluster. Dense kernels gain
#: about as much; their number (2026-11-21) is not of the fit, and its source was not recorded.
MULTICAST_SHARE, DENSE_MULTICAST_SHARE = 0.08, 0.01
#: Of the rate of L2, where consumers read no operand but by descriptor; an estimate, not measured.
DENSE_L2_SHARE = 0.64
#: The end of a tile, and more for each row of A in it.
TILE_US, TILE_ROW_US = 0.15, 0.006
#: The reduction of partial sums up to so many rows: for each part of K, and for each row of A; more where only the last
#: wave is split.
FEW_ROWS, TAIL_US, EXCHANGE_US, EXCHANGE_PART_US, EXCHANGE_ROW_US = 64, 1.1, 0.4, 0.25, 0.009
#: The same with more rows, for each 128 x 128 sums of a tile. Of the time of a step, what is lost where blocks of a
#: cluster share K of larger tiles. Of 160 kernels from M = 96 on, timed in turns by samples of 10 ms (2026-11-30).
MANY_TAIL_US, MANY_PART_US, MANY_TILE_US, LARGE_TILE_SHARE = 0.6, 0.1, 1.8, 0.09
#: With `stream_k`: of the time of a step, what is lost since blocks are at different k at a time; the reduction of
#: partial sums; and in times of moving a part's sums to or from L2, parts of a block and blocks of a tile.
#: Fitted to 216 kernels on an H200 (2026-11-29), with a standard deviation of 6%.
STREAM_K_SHARE, STREAM_K_US, STREAM_K_PARTS, STREAM_K_SHARERS = 0.08, 2.5, 2.0, 0.5
#: The same loss above `LEAST_ROWS`, up to `MOST_ROWS` rows: the other constants there make other kernels slower.
MANY_STREAM_K_SHARE = 0.1
#: The same loss where weights are those of experts: 17 kernels on an H200 (2026-11-30) took up to 14% more than others
#: beside them.
EXPERTS_STREAM_K_SHARE = 0.18
#: Of the time of a step, for each row of A in a tile: what each further block on a multiprocessor costs, where weights
#: are those of experts. Of 24 pairs of kernels on an H200 (2026-11-30), which lost up to 19%, those of MXFP4 least.
EXPERTS_BLOCKS_SHARE = 0.002
#: What takes the place of `ROWS_SHARE` where weights are those of experts and sums are scaled: two blocks of rows were
#: 3 to 7% faster, beside one, than that says (4 pairs in the same run).
EXPERTS_ROWS_SHARE = 0.0


def predicted_us(geometry: WgmmaGeometry) -> float:
    """Return the predicted time of a call with `geometry.rung` rows of A, in microseconds; the hint need not fit."""
    config, products, h, m = geometry.config, geometry.products, geometry.hint, geometry.rung
    gpu, N, K = geometry.problem.gpu, config.N, config.K
    m_tiles, n_tiles = geometry.expected_m_tiles, ceil_div(N, h.block_n)
    step_k = products.step_k
    steps = ceil_div(K, h.block_k * h.parts) * (h.block_k // step_k)
    n_tiles += -n_tiles % h.multicast
    resident = int(gpu.sm_count * h.blocks_per_sm * gpu.wgmma_cluster_share(h.cluster)) // h.split_k
    waves, shares_tail = tile_waves(m_tiles * n_tiles, resident, h.tail_split)

    # Blocks that run together on a multiprocessor.
    shares = h.tail_split if shares_tail else h.split_k
    blocks_of_sm = ceil_div(m_tiles * n_tiles * shares, gpu.sm_count)
    together = h.blocks_per_sm if h.stream_k else min(h.blocks_per_sm, blocks_of_sm)
    idle = max(0.0, 1 - m_tiles * n_tiles / (resident * waves))
    step_us = _step_us(geometry, together, idle)
    end_us = TILE_US + TILE_ROW_US * h.block_m * h.n_tiles_per_consumer
    if m > FEW_ROWS:
        squares = h.block_m * h.block_n / 128**2
        exchange_us = EXCHANGE_US + MANY_PART_US * h.parts * h.tail_split + MANY_TILE_US * squares
        if squares > 1 and shares > 1:
            step_us *= 1 + LARGE_TILE_SHARE * (1 / (h.tail_split * waves) if shares_tail else 1)
    else:
        rows = h.block_m * h.n_tiles_per_consumer
        exchange_us = EXCHANGE_US + EXCHANGE_PART_US * h.parts * h.tail_split + EXCHANGE_ROW_US * rows
    if h.parts > 1:
        end_us += exchange_us
    stream_k_us = 0.0
    if h.stream_k:
        waves = m_tiles * n_tiles / (gpu.sm_count * h.blocks_per_sm)
        share = MANY_STREAM_K_SHARE if _has_many_rows(geometry) else STREAM_K_SHARE
        step_us *= 1 + (share if geometry.num_experts is None else EXPERTS_STREAM_K_SHARE)
        part_us = h.block_m * h.block_n * 4 / (gpu.decode_l2_bytes_per_s / gpu.sm_count) * 1e6
        stream_k_us = STREAM_K_US + part_us * (STREAM_K_PARTS + STREAM_K_SHARERS / min(1.0, waves))
    loop_us = waves * steps * step_us
    if geometry.num_experts is not None and not h.stream_k:
        rest = m_tiles * n_tiles % resident
        if waves > 1 and rest:  # Blocks of the last wave have multiprocessors for themselves.
            loop_us -= steps * (step_us - _step_us(geometry, ceil_div(rest, gpu.sm_count)))
    a_bytes, w_bits, d_bytes = products.a_bits / 8, products.w_bits, products.out_bits / 8
    memory = geometry.expected_weights * N * K * w_bits / 8 + m * K * a_bytes + m * N * d_bytes
    l2 = m_tiles * n_tiles * K * (h.block_n * w_bits / 8 + h.block_m * a_bytes / h.multicast)
    l2_rate = gpu.wgmma_l2_bytes_per_s * (DENSE_L2_SHARE if products.is_dense else 1.0)
    bytes_us = max(memory / gpu.bandwidth_bytes_per_s, l2 / l2_rate) * 1e6
    ends = waves + 1 if h.stream_k else math.ceil(waves)
    tiles_us = (
        loop_us
        + ends * end_us
        + shares_tail * ((MANY_TAIL_US if m > FEW_ROWS else TAIL_US) + exchange_us)
        + stream_k_us
    )
    if geometry.num_experts is not None:  # Of those that memory holds up, the one with least else to do is the fastest.
        return LAUNCH_US + (tiles_us**8 + (bytes_us + end_us) ** 8) ** (1 / 8)
    return LAUNCH_US + max(tiles_us, bytes_us + end_us)


def _has_many_rows(geometry: WgmmaGeometry) -> bool:
    """Return whether the constants of many rows apply, those of kernels of one weight that scale what they decode."""
    products, is_one = geometry.products, geometry.num_experts is None
    decodes = not products.is_dense and not products.is_narrow and geometry.hint.scaling == "operand"
    return LEAST_ROWS < geometry.rung <= MOST_ROWS and is_one and decodes


def _step_us(geometry: WgmmaGeometry, together: int, idle: float = 0.0) -> float:
    """Return the time of a step of blocks of which so many run together on a multiprocessor.

    `idle` is the share of multiprocessors, over all waves, that have no tile.
    """
    products, h, gpu = geometry.products, geometry.hint, geometry.problem.gpu
    step_k = products.step_k
    flops = 2.0 * h.block_n * h.block_m * step_k * h.consumers_k * together
    tensor_us = flops * (products.a_bits / 16) / gpu.wgmma_sm_flops * 1e6
    instructions = step_instructions(geometry) + promotion_instructions(products, h.block_m)
    rows_share = ROWS_SHARE[h.scaling]
    if geometry.num_experts is not None and h.scaling == "sums":
        rows_share = EXPERTS_ROWS_SHARE
    alone_us, instruction_us = 0.0, INSTRUCTION_US
    if _has_many_rows(geometry) and not h.stream_k:
        alone_us, instruction_us = ALONE_US * instructions * h.n_tiles_per_consumer, MANY_INSTRUCTION_US
        tensor_us *= 1 - IDLE_SHARE * idle
    instructions *= h.n_tiles_per_consumer * (1 + rows_share * (h.n_tiles_per_consumer - 1))
    decode_us = instruction_us * instructions * h.consumers * together
    decode_us += STEP_LATENCY_US + SLOT_US * step_k / h.block_k
    if h.scaling == "sums":
        decode_us += FOLD_ROW_US * h.block_m / _steps_of_run(products)
    arrival_us = ARRIVAL_US / (max(HELD_SLOTS / 2, h.stages - HELD_SLOTS) * (h.block_k // step_k))
    # A smooth maximum: times of similar size do not overlap in full.
    step_us = (tensor_us**4 + decode_us**4 + arrival_us**4 + alone_us**4) ** 0.25
    if h.multicast > 1:
        step_us *= 1 + (DENSE_MULTICAST_SHARE if products.is_dense else MULTICAST_SHARE)
    if geometry.num_experts is not None:
        step_us *= 1 + EXPERTS_BLOCKS_SHARE * h.block_m * (together - 1)
    return step_us


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


def step_instructions(geometry: WgmmaGeometry) -> float:
    """Return the instructions of a warp in a step: what decodes a register, and what scales it or its sums."""
    config, products, hint = geometry.config, geometry.products, geometry.hint
    if products.is_dense:
        return DENSE_INSTRUCTIONS
    planes = products.planes
    if products.is_narrow:
        a, w = config.A_format, config.W_format
        # Registers of four: codes as they are, masked and moved, or turned into float8 with a sign.
        is_signed_float8 = not a.is_integer and not w.is_unsigned
        operations = 1 if w.bits == 8 else 4 if is_signed_float8 else 2 * planes
        return STEP_INSTRUCTIONS + REGISTERS_OF_STEP * operations
    is_ragged = config.K % (hint.block_k * hint.consumers_k) and geometry.clears_codes
    others = STEP_INSTRUCTIONS + (RAGGED_INSTRUCTIONS if is_ragged else 0)
    if hint.scaling == "operand":
        if geometry.scales_subnormals:
            return SUBNORMAL_INSTRUCTIONS + REGISTERS_OF_STEP * 2
        operations = 2 * planes + config.with_scaling + config.with_zeros
        return others + REGISTERS_OF_STEP * operations
    operations = 2 * planes - products.decodes_in_place
    subtracts = config.with_zeros or (products.decodes_in_place and config.W_format.offset != 0)
    fold = FOLD_INSTRUCTIONS + hint.block_m // 2 * (1 + subtracts)
    return others + REGISTERS_OF_STEP * operations + fold / _steps_of_run(products)


def _steps_of_run(products: Products) -> int:
    """Return the steps after which sums are scaled: those of a group, or about as many as a body of the loop has."""
    return min(2, max(1, products.config.group * products.a_bits // (8 * SWIZZLE_BYTES)))


def promotion_instructions(products: Products, block_m: int) -> int:
    """Return the instructions of a warp that add sums to totals, in a step: integers are converted before."""
    if not products.promotes:
        return 0
    config = products.config
    runs = FLOAT8_RUN_K // math.gcd(FLOAT8_RUN_K, config.group) if config.with_scaling else 1
    return block_m // 2 * runs * (3 if config.A_format.is_integer else 1)
