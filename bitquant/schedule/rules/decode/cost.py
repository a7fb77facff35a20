"""Which shape of the decode kernel is likely the fastest: a small model of the hardware, no table of problems.

The time of a kernel is a sum of what its busiest multiprocessor does: it reads its part of the weight, and A from L2;
it issues instructions, the more slowly the fewer warps hide each other's latency; and a block begins and ends with
waits that nothing hides. Coefficients were fitted to 9400 kernels measured on H200s, for 695 problems: 19 shapes from
1024 x 8192 to 16384 x 16384, M of 1 to 64, float16, bfloat16 and int8 A, weights of 1 to 8 bits. They are meant to put
hints in order: of those measured for a problem, the one that the model puts first is on average 3% behind the best.
Where A is multiplied as digits, coefficients are those of an earlier fit (390 kernels, weights of 1 to 3 bits).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bitquant.arch import RESERVED_SMEM_BYTES, GpuArch
from bitquant.config import MatmulConfig
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.layouts import FragmentLayout
from bitquant.schedule.rules.decode.digits import DigitPlan, digits_refusal
from bitquant.schedule.rules.decode.products import decodes_in_place, run_k, shares_bytes, sum_classes

if TYPE_CHECKING:
    from bitquant.schedule.rules.decode.hint import DecodeHint

__all__ = ["SCALE_BYTES", "Work", "least", "predicted_us", "registers", "space"]

#: Clock that the fit stands for, in cycles a microsecond, and bytes a microsecond from L2 to all multiprocessors.
_CLOCK = 1755.0
_L2_BYTES = 5.5e6
#: Most shared memory that staged scales may take, in bytes; larger ones are read from global memory.
SCALE_BYTES = 32 << 10
#: Registers of a multiprocessor.
_REGISTERS = 65536
#: Multiprocessors that clusters of a size can fill together: those of a processing cluster need not be a multiple.
#: (`wgmma_model.CLUSTER_SHARE` is the same, as wgmma kernels meet it.)
_CLUSTER_SHARE = {1: 1.0, 2: 1.0, 4: 0.85, 8: 0.73}
#: Registers of a thread for addresses, counters and what is being decoded.
_BASE_REGISTERS = 48
#: The same where A is multiplied as digits; there scales and zero points are counted apart.
_DIGIT_BASE_REGISTERS = 36
#: Bytes of the weight that a multiprocessor should have in flight: Little's law for 4.6 TB/s and 0.7 us over 132 of
#: them gives 24 KB; latency grows with load.
_IN_FLIGHT_BYTES = 32 << 10
#: What it takes to make the digits of a number, of which nothing else is done meanwhile.
_DIGIT_INSTRUCTIONS = 35
#: How the weight travels, tiles ahead, tiles in the body of the loop; of those predicted alike the first is the faster.
_TRAVELS = (
    ("registers", 1, 1), ("registers", 2, 4), ("registers", 2, 2), ("registers", 4, 4),
    ("shared", 4, 1), ("shared", 4, 2), ("shared", 4, 4), ("shared", 8, 2), ("shared", 8, 4),
)  # fmt: skip
#: Shared memory that the system and the rounding of offsets take of a block.
_SMEM_SLACK = 2048


@dataclass(frozen=True)
class _Costs:
    """Coefficients of the model's sum; times in microseconds.

    Attributes
    ----------
    start
        From one kernel to the next.
    memory, l2
        Of the times that the bytes take by bandwidth.
    issue, waits
        Of the time to issue all instructions, and what few warps wait: for 16 of them, less with the square of more.
    load
        For each time that what a multiprocessor has in flight is awaited.
    turn, split_turn
        For each block, and more where it shares K with others.
    split, large_split
        Once where blocks share K, and more where those are more than two.
    arrival, phase
        For each 64 KiB of A that arrive first, and for each later phase of A.
    ring_issue, ring
        Where the weight passes through a ring in shared memory: share of the issue time, and time.
    multicast
        Where blocks send each other A.
    tightness
        For registers that are hardly enough and are bought with moves: for each limit's worth above 90 % of it.
    """

    start: float
    memory: float
    l2: float
    issue: float
    waits: float
    load: float
    turn: float
    split_turn: float
    split: float
    large_split: float
    arrival: float
    phase: float
    ring_issue: float = 0.0
    ring: float = 0.0
    multicast: float = 0.0
    tightness: float = 0.0


_VALUE_COSTS = _Costs(
    start=0.9, memory=0.61, l2=0.8, issue=0.97, waits=0.03, load=0.15, turn=0.135, split_turn=1.37, split=0.02,
    large_split=0.33, arrival=0.15, phase=0.5, ring_issue=0.31, ring=0.4, multicast=0.07, tightness=2.0,
)  # fmt: skip
#: Where A is multiplied as digits: most instructions are masks, which issue at half the rate, and a ring takes longer
#: to be filled.
_DIGIT_COSTS = _Costs(
    start=0.75, memory=0.62, l2=0.76, issue=1.2 * 0.99, waits=1.2 * 0.074, load=0.057, turn=0.17, split_turn=0.77,
    split=0.31, large_split=0.44, arrival=0.91, phase=1.5, ring=1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Work:
    """What the model needs to know of a problem.

    Attributes
    ----------
    config, rung, arch
        The problem and the GPU.
    decoder
        What turns the weight into the operand's type where that is not done in place.
    """

    config: MatmulConfig
    rung: int
    arch: GpuArch
    decoder: RegisterDecoder

    @property
    def layout(self) -> FragmentLayout:
        """How the weight is stored."""
        return self.decoder.layout

    @property
    def a_bytes(self) -> int:
        """Bytes of an element of A."""
        return self.config.A_format.bits // 8

    def decodes_in_place(self, hint: DecodeHint) -> bool:
        """Whether the kernel decodes the weight in place."""
        return decodes_in_place(self.config, self.layout, hint.rows, hint.block_m, hint.unroll)

    def shares_bytes(self, hint: DecodeHint) -> bool:
        """Whether it reads two codes of 4 bits as one number."""
        return shares_bytes(self.config, self.layout, hint.rows, hint.block_m, hint.unroll)

    def blocks_m(self, hint: DecodeHint) -> int:
        """Right operands of 8 columns: rows of A, or the digits of one."""
        return 1 if hint.activations == "digits" else hint.block_m // 8

    def needs_sum_of_a(self, hint: DecodeHint) -> bool:
        """Whether the sums of A over each run are wanted."""
        in_place = hint.activations == "digits" or self.decodes_in_place(hint)
        has_offset = self.config.W_format.offset and in_place
        return bool(self.config.with_zeros or self.decoder.value_offset or has_offset)

    def sums(self, hint: DecodeHint) -> int:
        """Independent sums of a product: a class of them, or a plane, has at least one."""
        if hint.activations == "digits":
            classes = len(self.layout.planes)
        else:
            classes = sum_classes(self.config.W_format, self.layout) if self.decodes_in_place(hint) else 1
        return -(-hint.chains // classes) * classes

    def rows_of_a(self, hint: DecodeHint) -> int:
        """Rows of A that a block holds."""
        return min(hint.block_m, self.rung) if self.config.has_most_rows(self.rung) else hint.block_m

    def tiles_of_warp(self, hint: DecodeHint) -> int:
        """Tiles of k that a warp multiplies in all."""
        share = hint.unroll * hint.warps_k * hint.split_k
        return -(-self.layout.tiles_k(self.config.K) // share) * hint.unroll


def registers(work: Work, hint: DecodeHint) -> int:
    """Return about how many registers a thread of the kernel takes."""
    words = work.layout.tile_bytes // 128 * hint.rows
    held = hint.ahead if hint.weights == "registers" else 0
    blocks_m = work.blocks_m(hint)
    totals = 2 if hint.activations == "digits" else 4
    sums = hint.rows * blocks_m * (totals + 4 * work.sums(hint)) + (
        4 * min(2, hint.chains) * blocks_m if work.needs_sum_of_a(hint) else 0
    )
    if hint.activations == "digits":
        c = work.config
        runs = hint.unroll * work.layout.tile_k // run_k(c, work.layout, hint.unroll)
        return (
            _DIGIT_BASE_REGISTERS + words * (1 + held) + sums + 2 * hint.rows * runs * (c.with_scaling + c.with_zeros)
        )
    return _BASE_REGISTERS + min(words, 32) + words * held + sums + 4 * blocks_m


def _register_limit(threads: int) -> int:
    """Return the registers that each of a multiprocessor's threads may have: they are given out in units of 8."""
    return min(255, _REGISTERS // threads // 8 * 8)


def _instructions(work: Work, hint: DecodeHint) -> float:
    """Return the instructions that a warp issues for one tile of 16 n."""
    layout, blocks_m = work.layout, work.blocks_m(hint)
    if hint.activations == "digits":
        return _digit_instructions(work, hint)
    parts = work.decoder.registers
    count = layout.registers * parts
    # A mask and a multiply-add for each plane, a shift a word; in place there is no multiply-add for the first plane.
    per_register = 2.25 * len(layout.planes) if layout.operand_bits == 16 or parts > 1 else 1.5
    if work.decodes_in_place(hint):
        per_register -= 1.25 if work.shares_bytes(hint) else 1
    products = layout.steps * parts * blocks_m
    shared = products * (1 if work.needs_sum_of_a(hint) else 0) + layout.steps / 2 * blocks_m
    runs = max(1.0, layout.tile_k / work.config.group)
    if work.config.group > layout.tile_k:
        runs = max(layout.tile_k / work.config.group, 1 / hint.unroll)
    per_sum = work.sums(hint) + (2.5 if work.shares_bytes(hint) else 2)
    scaling = runs * (4 * blocks_m * per_sum + 8)
    loads = layout.tile_bytes / 512 * (3 if hint.weights == "shared" else 1)
    return count * per_register + products + shared / hint.rows + scaling + loads + 4


def _digit_instructions(work: Work, hint: DecodeHint) -> float:
    """Return `_instructions` where A is multiplied as digits: a mask for four codes, an mma for 32 k of a plane."""
    layout, planes = work.layout, len(work.layout.planes)
    steps = layout.tile_k / 32
    products = steps * (planes + (1 / hint.rows if work.needs_sum_of_a(hint) else 0))
    runs = layout.tile_k / run_k(work.config, layout, hint.unroll)
    scaling = runs * (4 * work.sums(hint) + 2 * planes + 14)
    loads = layout.tile_bytes / 512 * (3 if hint.weights == "shared" else 1) + steps / 2 * planes / hint.rows
    return steps * 4 * planes + products + scaling + loads + 4


def predicted_us(work: Work, hint: DecodeHint) -> float:
    """Return the time of a call that the model predicts, in microseconds."""
    c, h = work.config, hint
    warps, block_n = h.warps_n * h.warps_k, 16 * h.rows * h.warps_n
    blocks_n = -(-c.N // block_n)
    blocks_m = -(-work.rung // h.block_m)
    sm_count = work.arch.sm_count * _CLUSTER_SHARE[h.cluster]
    grid = -(-blocks_n // h.waves) * h.split_k * blocks_m
    busiest = math.ceil(grid / sm_count)
    is_ring = h.weights == "shared"
    costs, digits_us = _VALUE_COSTS, 0.0
    if h.activations == "digits":
        numbers = c.K / h.split_k * len(work.layout.planes)
        # Some of it is hidden by the first loads of the weight.
        costs, digits_us = _DIGIT_COSTS, 0.7 * busiest * numbers * _DIGIT_INSTRUCTIONS / 128 / _CLOCK
    fitting = work.arch.smem_per_sm_bytes // (_smem_bytes(work, h) + RESERVED_SMEM_BYTES)
    resident = max(1, min(h.blocks_per_sm, busiest, fitting))
    turns = busiest * h.waves / resident
    tiles = busiest * h.waves * work.tiles_of_warp(h) * h.rows * warps
    issue = tiles * _instructions(work, h) / 4 / _CLOCK
    issue *= costs.issue + costs.waits * (16 / max(4, resident * warps)) ** 2 + is_ring * costs.ring_issue
    a_bytes = work.rows_of_a(h) * c.K / h.split_k * work.a_bytes
    scale_bytes = (
        h.waves * block_n * c.num_groups / h.split_k * c.scale_format.bits / 8 * (c.with_scaling + c.with_zeros)
    )
    if c.num_groups > 1 and scale_bytes / h.waves > SCALE_BYTES:
        issue *= 2  # Measured with groups of 32: scales that do not fit shared memory are loaded for each body.
    from_l2 = busiest * (a_bytes / h.multicast + scale_bytes) / (_L2_BYTES / work.arch.sm_count)
    memory = math.prod(c.W_shape) * max(8, c.W_format.bits) / 8 / (work.arch.bandwidth_bytes_per_s / 1e6)
    in_flight = resident * warps * h.rows * h.ahead * work.layout.tile_bytes
    loads = 0.0 if is_ring else tiles * work.layout.tile_bytes / min(in_flight, _IN_FLIGHT_BYTES)
    phases = 1 if h.phase == 0 else work.tiles_of_warp(h) / h.phase
    tightness = registers(work, h) / _register_limit(32 * warps * h.blocks_per_sm)
    return (
        costs.memory * memory
        + costs.l2 * from_l2
        + issue
        + costs.load * loads
        + turns * (costs.turn + (h.split_k > 1) * costs.split_turn)
        + (h.split_k > 1) * costs.split + (h.split_k > 2) * costs.large_split
        + (h.multicast > 1) * costs.multicast
        + is_ring * costs.ring
        + max(0.0, tightness - 0.9) * costs.tightness
        + costs.arrival * a_bytes / phases / 65536 + costs.phase * (phases - 1) + digits_us
        + costs.start
    )  # fmt: skip


def _smem_bytes(work: Work, hint: DecodeHint) -> int:
    """Return about how much shared memory a block takes."""
    c, h, layout = work.config, hint, work.layout
    block_n, warps = 16 * h.rows * h.warps_n, h.warps_n * h.warps_k
    tiles = work.tiles_of_warp(h) if h.phase == 0 else h.phase
    a = work.rows_of_a(h) * (h.warps_k * tiles * layout.tile_k * work.a_bytes + 16) * (1 if h.phase == 0 else 2)
    ring = warps * h.ahead * h.rows * layout.tile_bytes if h.weights == "shared" else 0
    scales = block_n * c.num_groups // h.split_k * c.scale_format.bits // 8 * (c.with_scaling + c.with_zeros)
    sums = 4 * h.warps_k * work.rows_of_a(h) * (block_n + 4)
    more = h.waves > 1
    if h.activations == "digits":
        a += len(layout.planes) * DigitPlan(c.W_format, layout).plane_bytes(h.warps_k * tiles * layout.tile_k)
    body = a + ring + min(SCALE_BYTES, scales * (2 if more else 1))
    return (body + sums if more else max(body, sums)) + work.decoder.table_bytes + _SMEM_SLACK


def _fits(work: Work, hint: DecodeHint) -> bool:
    limit = min(work.arch.smem_per_block_bytes, work.arch.smem_per_sm_bytes // hint.blocks_per_sm - RESERVED_SMEM_BYTES)
    threads = 32 * hint.warps_n * hint.warps_k * hint.blocks_per_sm
    return _smem_bytes(work, hint) <= limit and registers(work, hint) <= _register_limit(threads)


def space(work: Work, first: DecodeHint) -> Iterator[DecodeHint]:
    """Yield hints in the order of the time that the model predicts.

    Parameters
    ----------
    work
        The problem.
    first
        A hint whose `block_m` is right where A is multiplied as values; the other fields are varied.
    """
    found: list[tuple[float, int, DecodeHint]] = []
    shapes = _shapes(work, first)
    if work.rung == 1 and digits_refusal(work.config) is None:
        shapes = itertools.chain(shapes, _shapes(work, replace(first, block_m=1, activations="digits")))
    for hint in shapes:
        blocks_n = -(-work.config.N // (16 * hint.rows * hint.warps_n))
        blocks_m = -(-work.rung // hint.block_m)
        slots = work.arch.sm_count * _CLUSTER_SHARE[hint.split_k] * hint.blocks_per_sm / hint.split_k / blocks_m
        waves_of_all = max(1, math.ceil(blocks_n / slots))
        for waves, multicast in itertools.product(sorted({1, waves_of_all}), _multicasts(work, hint)):
            if math.gcd(blocks_n, -(-blocks_n // waves)) % multicast:
                continue
            candidate = _with_a_that_fits(work, replace(hint, waves=waves, multicast=multicast))
            if candidate is not None:
                found.append((predicted_us(work, candidate), len(found), candidate))
    if not found and first.block_m > 8:
        yield from space(work, replace(first, block_m=first.block_m // 2))
    seen = set()
    for _, _, hint in sorted(found):
        if hint not in seen:
            seen.add(hint)
            yield hint


def least(first: DecodeHint) -> Iterator[DecodeHint]:
    """Yield small hints for where `space` has none: long K in small shared memory. No model stands behind their order.

    Parameters
    ----------
    first
        A hint whose other fields are kept.
    """
    for warps_k, ahead in ((8, 4), (4, 4), (4, 2), (4, 1)):
        yield replace(first, block_m=8, warps_k=warps_k, ahead=ahead, unroll=1, phase=1, weights="shared")


def _shapes(work: Work, first: DecodeHint) -> Iterator[DecodeHint]:
    """Yield what is sensible by itself: 8 to 24 warps, enough bytes in flight, enough registers, no idle clusters."""
    tiles_k, tile_bytes = work.layout.tiles_k(work.config.K), work.layout.tile_bytes
    splits = (1, 2, 4, 8) if work.arch.has_clusters else (1,)
    weight_bytes = math.prod(work.config.W_shape) * max(8, work.config.W_format.bits) / 8
    wanted = min(_IN_FLIGHT_BYTES, weight_bytes / work.arch.sm_count / 4)
    blocks_m = work.blocks_m(first)
    all_rows = (1, 2) if first.block_m == 8 else (1, 2, 4, 7) if first.activations == "digits" else (1, 2, 4)
    for rows, warps_n, warps_k, split_k in itertools.product(all_rows, (1, 2, 4, 8), (1, 2, 4, 8, 16), splits):
        warps = warps_n * warps_k
        if not (8 if tiles_k >= 16 else 4) <= warps <= 16 or split_k * warps_k > max(tiles_k, 4):
            continue
        # Larger clusters leave multiprocessors idle: only where there are too few blocks without them.
        if split_k > 2 and 2 * math.ceil(work.config.N / (16 * rows * warps_n)) >= work.arch.sm_count:
            continue
        chains = max(1, 4 // (rows * blocks_m))
        for weights, ahead, unroll in _TRAVELS:
            is_wasteful = unroll > 1 and (unroll * work.layout.tile_k > 512 or split_k * warps_k * unroll > tiles_k)
            is_short = unroll * work.layout.tile_k < 128 and 2 * split_k * warps_k <= tiles_k
            if is_wasteful or is_short:
                continue
            in_flight = warps * rows * ahead * tile_bytes
            for blocks_per_sm in range(1, 1 + min(4, max(1, 24 // warps), max(1, round(3 * wanted / in_flight)))):
                if blocks_per_sm * in_flight < wanted:
                    continue
                hint = replace(
                    first, rows=rows, warps_n=warps_n, warps_k=warps_k, split_k=split_k, unroll=unroll, ahead=ahead,
                    weights=weights, blocks_per_sm=blocks_per_sm, chains=chains,
                )  # fmt: skip
                if registers(work, hint) <= _register_limit(32 * warps * blocks_per_sm):
                    yield hint


def _multicasts(work: Work, hint: DecodeHint) -> tuple[int, ...]:
    """Return the blocks worth sharing rows of A: in pairs, which leave no multiprocessor idle, where A has some."""
    is_worth_it = work.rung > 1 and hint.split_k == 1 and work.arch.has_clusters
    return (1, 2) if is_worth_it else (1,)


def _with_a_that_fits(work: Work, hint: DecodeHint) -> DecodeHint | None:
    """Return the hint, with as few phases as make A fit shared memory; None where nothing fits."""
    if _fits(work, hint):
        return hint
    if hint.waves > 1 or hint.multicast > 1 or hint.activations == "digits":
        return None
    tiles = work.tiles_of_warp(hint)
    for phase in range(tiles // 2 // hint.unroll * hint.unroll, 0, -hint.unroll):
        if (tiles % phase == 0 or phase == hint.unroll) and _fits(work, replace(hint, phase=phase)):
            return replace(hint, phase=phase)
    return None
