# SPDX-License-Identifier: Apache-2.0
"""How long a decode kernel takes: a small model of the hardware, no table of problems.

The time of a kernel is a sum of what its busiest multiprocessor does: it reads its part of the weight, and A from L2;
it issues instructions, the more slowly the fewer warps hide each other's latency; and a block begins and ends with
waits that nothing hides. Coefficients were fitted to 9400 kernels measured on H200s, for 695 problems: 19 shapes from
1024 x 8192 to 16384 x 16384, M of 1 to 64, float16, bfloat16 and int8 A, weights of 1 to 8 bits (2026-11-21;
docs/kernels.md). They are meant to put hints in order: of those measured for a problem, the one that the model puts
first is on average 3% behind the best. Where A is multiplied as digits, coefficients are those of an earlier fit of the
same day (390 kernels, weights of 1 to 3 bits).

What is exact the model reads from the geometry. Registers, which the compiler gives out, are estimated. So is shared
memory (`estimated_smem_bytes`): the fit was made with that estimate, and it takes less time than the exact number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from bitquant.arch import REGISTERS_PER_SM, RESERVED_SMEM_BYTES
from bitquant.schedule.rules.decode.geometry import SCALE_BYTES, DecodeGeometry

__all__ = [
    "cost_us",
    "estimated_registers",
    "estimated_smem_bytes",
    "has_measured_phases",
    "instructions",
    "register_limit",
    "resident_blocks",
]

#: Registers of a thread for addresses, counters and what is being decoded; not measured.
_BASE_REGISTERS = 48
#: The same where A is multiplied as digits; there scales and zero points are counted apart. Not measured.
_DIGIT_BASE_REGISTERS = 36
#: What it takes to make the digits of a number, of which nothing else is done meanwhile: counted by hand
#: (docs/kernels.md).
_DIGIT_INSTRUCTIONS = 35
#: What multicast costs more where weights are those of experts: with it, 9 of 10 kernels took 0.4 to 8 us more, and one
#: took 4 us less (H200, 2026-11-30).
_EXPERTS_MULTICAST_US = 0.7
#: Shared memory that the system and the rounding of offsets take of a block; not measured. The fit includes it.
_SMEM_SLACK = 2048


@dataclass(frozen=True)
class _Costs:
    """Coefficients of the model's sum; times in microseconds.

    Attributes
    ----------
    start
        From one kernel to the next.
    memory, l2
        Factors of the times that the traffic of memory and of L2 takes at full bandwidth.
    issue, waits
        Factor of the time to issue all instructions, and what latency adds to that factor with 16 resident warps; it
        falls with the square of their number.
    load
        For each time that all bytes in flight on a multiprocessor must arrive.
    block, split_block
        For each block of n, and more where its CTA shares K with others.
    split, large_split
        Once where blocks share K, and more where those are more than two.
    arrival, phase
        For each 64 KiB of A that arrive first, and for each later phase of A.
    ring_issue, ring
        Where the weight passes through a ring in shared memory: share of the issue time, and time.
    multicast
        Where blocks send each other A.
    unstaged
        Issue time where scales do not fit shared memory, over that of other kernels.
    tightness
        For registers that are hardly enough and are bought with moves: for each limit's worth above 90 % of it.
    stream_k, stream_k_phase
        Where partial sums are added in global memory, and for each phase of a share (33 kernels, H200, 2026-11-30).
    """

    start: float
    memory: float
    l2: float
    issue: float
    waits: float
    load: float
    block: float
    split_block: float
    split: float
    large_split: float
    arrival: float
    phase: float
    ring_issue: float = 0.0
    ring: float = 0.0
    multicast: float = 0.0
    unstaged: float = 2.0
    tightness: float = 0.0
    stream_k: float = 0.0
    stream_k_phase: float = 0.0


_VALUE_COSTS = _Costs(
    start=0.9, memory=0.61, l2=0.8, issue=0.97, waits=0.03, load=0.15, block=0.135, split_block=1.37, split=0.02,
    large_split=0.33, arrival=0.15, phase=0.5, ring_issue=0.31, ring=0.4, multicast=0.07, tightness=2.0,
    stream_k=3.0, stream_k_phase=0.05,
)  # fmt: skip
#: The same from so many rows of A on, for one weight: phases, and scales that do not fit shared memory, are of 450
#: kernels of trials (2026-11-30). With fewer rows those that this puts first were slower; experts were not measured.
_PHASE_ROWS, _PHASE_COSTS = 5, replace(_VALUE_COSTS, phase=0.2, unstaged=1.2)
#: Where A is multiplied as digits: most instructions are masks, which issue at half the rate, and a ring takes longer
#: to be filled.
_DIGIT_COSTS = _Costs(
    start=0.75, memory=0.62, l2=0.76, issue=1.2 * 0.99, waits=1.2 * 0.074, load=0.057, block=0.17, split_block=0.77,
    split=0.31, large_split=0.44, arrival=0.91, phase=1.5, ring=1.0,
)  # fmt: skip


def has_measured_phases(g: DecodeGeometry) -> bool:
    """Whether phases of A cost what trials of 5 rows and more with one weight say; else what the first fit says."""
    return g.rung >= _PHASE_ROWS and not g.has_experts


def cost_us(g: DecodeGeometry) -> float:
    """Return the time of a call that the model predicts, in microseconds."""
    c, h, gpu = g.config, g.hint, g.gpu
    warps = h.warps_n * h.warps_k
    sm_count = gpu.sm_count * gpu.decode_cluster_share(h.cluster)
    clock, l2_bytes = gpu.clock_hz / 1e6, gpu.decode_l2_bytes_per_s / 1e6
    busiest = g.blocks_of_busiest(sm_count)
    costs, digits_us = _PHASE_COSTS if has_measured_phases(g) else _VALUE_COSTS, 0.0
    if g.is_digits:
        numbers = c.K / h.split_k * len(g.fragment_layout.planes)
        # Some of it is hidden by the first loads of the weight.
        costs, digits_us = _DIGIT_COSTS, 0.7 * busiest * numbers * _DIGIT_INSTRUCTIONS / 128 / clock
    resident = resident_blocks(g, busiest)
    blocks = busiest * g.n_blocks_per_cta / resident
    tiles = busiest * g.n_blocks_per_cta * g.warp_tiles * h.n_tiles_per_warp * warps
    issue = tiles * instructions(g) / 4 / clock
    issue *= costs.issue + costs.waits * (16 / max(4, resident * warps)) ** 2 + g.is_shared * costs.ring_issue
    a_bytes = g.rows_of_a * c.K / h.split_k * g.a_bytes
    scale_bytes = (
        g.n_blocks_per_cta * g.block_n * c.num_groups / h.split_k
        * c.scale_format.bits / 8 * (c.with_scaling + c.with_zeros) / c.rows_per_scale
    )  # fmt: skip
    if c.num_groups > 1 and scale_bytes / g.n_blocks_per_cta / (g.phases if h.stream_k else 1) > SCALE_BYTES:
        issue *= costs.unstaged  # Scales that do not fit shared memory are loaded for each body.
    from_l2 = busiest * (a_bytes / h.multicast + scale_bytes) / (l2_bytes / gpu.sm_count)
    memory = g.weights * math.prod(c.W_shape) * max(8, c.W_format.bits) / 8 / (gpu.bandwidth_bytes_per_s / 1e6)
    in_flight = resident * warps * h.n_tiles_per_warp * h.ahead * g.fragment_layout.tile_bytes
    loads = 0.0 if g.is_shared else tiles * g.fragment_layout.tile_bytes / min(in_flight, gpu.in_flight_bytes)
    phases = 1 if h.phase == 0 or h.stream_k else g.warp_tiles / h.phase
    # The fit is to kernels most of whose blocks run at once; with experts, blocks that come later have phases, too.
    rounds = busiest / resident if g.units != 1 else 1.0
    tightness = estimated_registers(g) / register_limit(g.threads * h.blocks_per_sm)
    return (
        costs.memory * memory
        + costs.l2 * from_l2
        + issue
        + costs.load * loads
        + blocks * (costs.block + (h.split_k > 1) * costs.split_block) + busiest / resident * g.block_us
        + (h.split_k > 1) * costs.split + (h.split_k > 2) * costs.large_split
        + (h.multicast > 1) * (costs.multicast + g.has_experts * _EXPERTS_MULTICAST_US)
        + g.is_shared * costs.ring
        + max(0.0, tightness - 0.9) * costs.tightness
        + costs.arrival * a_bytes / phases / 65536 + costs.phase * (phases - 1) * rounds + digits_us
        + costs.start
        + (costs.stream_k + costs.stream_k_phase * g.max_iterations if h.stream_k else 0.0)
    )  # fmt: skip


def resident_blocks(g: DecodeGeometry, busiest: float) -> float:
    """Return the blocks that run on a multiprocessor at a time, of which it has `busiest` in all."""
    fitting = g.gpu.smem_per_sm_bytes // (estimated_smem_bytes(g) + RESERVED_SMEM_BYTES)
    return max(1, min(g.hint.blocks_per_sm, busiest, fitting))


def estimated_registers(g: DecodeGeometry) -> int:
    """Return about how many registers a thread of the kernel takes."""
    c, h = g.config, g.hint
    words = g.lane_words * h.n_tiles_per_warp
    held = h.ahead if h.weights == "registers" else 0
    sums = (
        g.totals + 4 * h.n_tiles_per_warp * g.m_tiles * g.sums + (4 * g.a_chains * g.m_tiles if g.needs_sum_of_a else 0)
    )
    if g.is_digits:
        factors = 2 * h.n_tiles_per_warp * g.runs * (c.with_scaling + c.with_zeros)
        return _DIGIT_BASE_REGISTERS + words * (1 + held) + sums + factors
    return _BASE_REGISTERS + min(words, 32) + words * held + sums + 4 * g.m_tiles


def register_limit(threads: int) -> int:
    """Return the registers that each of so many threads of a multiprocessor may have: they come in units of 8."""
    return max(8, min(255, REGISTERS_PER_SM // threads // 8 * 8))


def estimated_smem_bytes(g: DecodeGeometry) -> int:
    """Return about how much shared memory a block takes; `DecodeGeometry.smem_bytes` is the exact number."""
    c, h, layout = g.config, g.hint, g.fragment_layout
    a = g.rows_of_a * (g.a_k * g.a_bytes + 16) * (1 if h.phase == 0 or h.stream_k else 2)
    ring = h.warps_n * h.warps_k * h.ahead * h.n_tiles_per_warp * layout.tile_bytes if h.weights == "shared" else 0
    shares = g.phases if h.stream_k else h.split_k
    scales = g.block_n * c.num_groups // shares * c.scale_format.bits // 8 * (c.with_scaling + c.with_zeros)
    sums = 4 * h.warps_k * g.rows_of_a * (g.block_n + 4)
    has_more = g.max_iterations > 1 if h.stream_k else g.n_blocks_per_cta > 1
    if g.digit_plan:
        a += len(layout.planes) * g.digit_plan.plane_bytes(g.phase_k)
    body = a + ring + min(SCALE_BYTES, scales * (2 if has_more else 1))
    return (body + sums if has_more else max(body, sums)) + g.decoder.table_bytes + _SMEM_SLACK


def instructions(g: DecodeGeometry) -> float:
    """Return the instructions that a warp issues for one tile of 16 n."""
    if g.is_digits:
        return _digit_instructions(g)
    layout, m_tiles, decoder = g.fragment_layout, g.m_tiles, g.decoder
    parts = decoder.registers
    count = layout.registers * parts
    # A mask and a multiply-add for each plane, a shift a word; in place there is no multiply-add for the first plane.
    per_register = 2.25 * len(layout.planes) if layout.operand_bits == 16 or parts > 1 else 1.5
    if decoder.in_place:
        per_register -= 1.25 if decoder.shares_bytes else 1
    products = layout.steps * parts * m_tiles
    shared = products * (1 if g.needs_sum_of_a else 0) + layout.steps / 2 * m_tiles
    group = g.config.group
    runs = max(1.0, layout.tile_k / group)
    if group > layout.tile_k:
        runs = max(layout.tile_k / group, 1 / g.hint.unroll)
    per_sum = g.sums + (2.5 if decoder.shares_bytes else 2)
    scaling = runs * (4 * m_tiles * per_sum + 8)
    loads = layout.tile_bytes / 512 * (3 if g.is_shared else 1)
    return count * per_register + products + shared / g.hint.n_tiles_per_warp + scaling + loads + 4


def _digit_instructions(g: DecodeGeometry) -> float:
    """Return `instructions` where A is multiplied as digits: a mask for four codes, an mma for 32 k of a plane."""
    layout, planes = g.fragment_layout, len(g.fragment_layout.planes)
    steps = layout.tile_k / 32
    products = steps * (planes + (1 / g.hint.n_tiles_per_warp if g.needs_sum_of_a else 0))
    runs = layout.tile_k / g.run_k
    scaling = runs * (4 * g.sums + 2 * planes + 14)
    loads = layout.tile_bytes / 512 * (3 if g.is_shared else 1) + steps / 2 * planes / g.hint.n_tiles_per_warp
    return steps * 4 * planes + products + scaling + loads + 4
