"""Sizes of the wgmma kernel: how it cuts the problem, what it decodes, and where everything lies in shared memory."""

from __future__ import annotations

import math

from bitquant.arch import GpuArch
from bitquant.config import MatmulConfig
from bitquant.intrin.decoders import RegisterDecoder, permuted_words
from bitquant.intrin.operations import PairTable
from bitquant.intrin.wgmma import SWIZZLE_BYTES, WARPGROUP, WgmmaOp
from bitquant.layouts import TILE_N, fragment_layout
from bitquant.schedule.rules.hopper.emit.store import Exchange
from bitquant.schedule.rules.hopper.emit.sums import PTX_TYPES, left_operand
from bitquant.schedule.rules.hopper.hint import ROWS, WgmmaHint
from bitquant.schedule.rules.hopper.tiles import (
    BUSY_M,
    decodes_in_place,
    hint_registers,
    needed_registers,
    promotes,
    unit_k,
)

__all__ = ["CHUNK_BYTES", "MAX_MASKS", "Shape"]

#: Bytes of W that one lane group reads at once: 16 bytes a lane.
CHUNK_BYTES = 512
#: Masks that a format's decoding needs in registers, at most.
MAX_MASKS = 16
#: Columns of D^T that pass through shared memory at a time at the end of a tile.
SLICE_M = 64
#: Registers of a consumer beyond those needed, if the last body of a tile is to stand apart from the loop.
PEELING_REGISTERS = 8
#: Most sums of a thread of a cluster's block, if so: ptxas was seen to move 128 of them about in each round.
MAX_PEELED_SUMS = 96
#: Most shared memory that the exchange of sums may take from the ring; what needs more waits for the ring's slots.
MAX_EXCHANGE_BYTES = 64 << 10
#: Where sums are scaled in groups, the most k of a run; a body of the loop has two such runs, if K is as long.
GROUP_K = 128


class Shape:
    """What is known of a kernel before its body is written.

    A *step* is 128 bytes of k, a *unit* the steps of one tile of the weight's layout (or one step, if that is longer),
    a *part* the share of K of one consumer along k. A *body* is what the loop unrolls, some slots of the ring, and a
    *run* the steps whose sums share a scale.
    """

    def __init__(self, config: MatmulConfig, rung: int, arch: GpuArch, hint: WgmmaHint) -> None:
        self.config, self.rung, self.hint, self.arch = config, rung, hint, arch
        c, h = config, hint
        a = c.A_format
        self.is_narrow = a.bits == 8
        self.operand = left_operand(c)
        self.op = WgmmaOp(h.block_m, PTX_TYPES[self.operand], PTX_TYPES[a.name])
        self.sum_dtype = "uint32" if self.op.is_integer else "float32"
        self.total_dtype = "float32" if promotes(c) else self.sum_dtype
        #: Whether left operands are scaled; with A of 8 bits sums are, and where the hint says so.
        is_scaled = (c.with_scaling or c.with_zeros) and not self.is_narrow
        self.scales_sums = is_scaled and h.scaling == "sums"
        self.scales = is_scaled and not self.scales_sums
        self.needs_sums_of_a = False
        #: What sums are multiplied with to be those of W's values.
        self.value_scale, self.table_bytes = 1.0, 0
        self.consumers = h.consumers
        self.threads = (self.consumers + 1) * WARPGROUP
        self.block_n = h.block_n
        self.step_k = SWIZZLE_BYTES * 8 // a.bits
        self.unit_k = unit_k(c)
        self.unit_steps = self.unit_k // self.step_k
        self.units = h.block_k // self.unit_k
        #: Steps of a consumer in a slot.
        self.steps = self.units * self.unit_steps
        self.parts = h.parts
        #: Blocks of a cluster, which share K of all tiles, or of those of the last wave, or rows of A.
        self.cluster = h.cluster
        self.body_stages = self._plan_body()
        bodies = -(-c.K // (h.block_k * self.parts * self.body_stages))
        #: Slots that each part reads, and rounds of the loop.
        self.part_stages, self.bodies = bodies * self.body_stages, bodies
        self.part_k = self.part_stages * h.block_k
        #: Whether the last body of a tile stands apart from the loop, whose own bodies need no conditions then.
        self.peels = bodies > 1 and self._can_peel()
        #: Whether left operands beyond K must be cleared. There A is zero, and codes of zero as 8 bits are numbers.
        self.has_ragged_k = self.part_k * self.parts != c.K and not self.is_narrow
        self.has_ragged_n = c.N % (self.block_n * h.multicast) != 0
        self.sums = h.block_m // 2
        self.w_part_bytes, self.w_box = self._plan_weight()
        #: Where sums are scaled in groups, steps of a run, which share a scale, and runs in a slot or slots of a run.
        body_k = self.body_stages * h.block_k
        self.run_steps = max(1, (math.gcd(c.group, body_k) if c.num_groups > 1 else body_k) // self.step_k)
        if self.scales_sums and self.body_stages * self.steps >= 2 * GROUP_K // self.step_k:
            self.run_steps = min(self.run_steps, GROUP_K // self.step_k)
        self.runs_in_slot = max(1, self.steps // self.run_steps)
        self.slots_of_run = max(1, self.run_steps // self.steps)
        self._lay_out()

    def _plan_body(self) -> int:
        """Return the slots in a body: an even number of left operands, because two sets of registers alternate."""
        c, h = self.config, self.hint
        if self.scales_sums:
            # A body of two groups, or of two pieces of a longer one: their sums take turns.
            count = 1
            while count < 4 and count * h.block_k < 2 * min(c.group, GROUP_K) and 2 * count * h.block_k * h.parts < c.K:
                count *= 2
            return count if count * self.steps * h.rows % 2 == 0 else 2
        return 1 if self.steps * h.rows % 2 == 0 else 2

    def _can_peel(self) -> bool:
        """Return whether ptxas is known to take a last body apart from the loop without spills or serialized products.

        More values live at once there. Sums that are added to totals in float32 leave the tensor cores at the end of a
        body, and must do so in the loop alone.
        """
        c, h = self.config, self.hint
        if self.scales_sums or promotes(c):
            return False
        if self.is_narrow:
            # Codes that are operands as they are must not be moved behind a loop that may have no rounds.
            return h.tail_split == 1
        if h.cluster > 1 and h.block_m // 2 > MAX_PEELED_SUMS:
            return False
        return h.rows == 1 and needed_registers(c, h) + PEELING_REGISTERS <= hint_registers(h)[1]

    def _plan_weight(self) -> tuple[int, list[int]]:
        """Choose how W is read and decoded; return the bytes of W in a slot for each part along k, and their box."""
        c = self.config
        self.layout = fragment_layout(c)
        in_place = self.scales_sums and decodes_in_place(c)
        self.decoder = RegisterDecoder(
            c.W_format, self.layout, self.operand, self.arch.capability, in_place=in_place, fills_bytes=True,
            shares_bytes=in_place and c.W_format.bits == 4,
            permutes=permuted_words(c.W_format, self.layout, self.scales and self.hint.block_m >= BUSY_M),
        )  # fmt: skip
        self.needs_sums_of_a = self.scales_sums and (c.with_zeros or bool(self.decoder.value_offset))
        self.value_scale, self.table_bytes = self.decoder.value_scale, self.decoder.table_bytes
        self.table: PairTable | None = None
        #: Words of a lane, and chunks of its warp, in a unit.
        self.unit_words = self.unit_k * self.layout.bits // 64
        self.unit_chunks = self.unit_words // 4
        self.tile_words = self.layout.tile_bytes // (CHUNK_BYTES // 4)
        box = [CHUNK_BYTES // 8, self.units * self.unit_chunks, self.block_n // TILE_N]
        return 8 * math.prod(box), box

    def _lay_out(self) -> None:
        """Place slots, barriers and the end of a tile in shared memory."""
        c, h = self.config, self.hint
        self.a_box_bytes = h.block_m * SWIZZLE_BYTES
        self.a_bytes = h.consumers_k * self.steps * self.a_box_bytes
        self.slot_bytes = self.a_bytes + h.consumers_k * self.w_part_bytes
        out_bytes = c.out_format.bits // 8
        #: Rows of the tile that leaves are padded by a chunk, so that neither lanes of a row nor of a column collide.
        self.out_stride = ROWS * out_bytes + 16
        self.slice_m = min(SLICE_M, h.block_m)
        self.out_offset = h.stages * self.slot_bytes
        self.exchange_offset = self.out_offset + self.consumers * self.slice_m * self.out_stride
        #: How sums meet, and where: beside the ring, or in it, if that leaves it few slots.
        self.exchange = Exchange.of(h)
        exchange_bytes = self.exchange.nbytes if self.exchange else 0
        self.exchanges_in_ring = h.tail_split > 1 or exchange_bytes > MAX_EXCHANGE_BYTES
        self.barrier_offset = self.exchange_offset
        if self.exchanges_in_ring:
            self.exchange_offset = 0
        else:
            self.barrier_offset += exchange_bytes
        self.ready_offset = self.sums_offset = self.barrier_offset + 16 * h.stages
        self.mask_offset = self.ready_offset
        #: Beyond the slot itself, what each takes: barriers, and sums of A.
        self.slot_extra_bytes = 16
        if self.needs_sums_of_a:
            slot_sums = 4 * h.consumers_k * self.runs_in_slot * h.block_m
            self.sums_offset = self.ready_offset + -(-8 * h.stages // 16) * 16
            self.mask_offset = self.sums_offset + h.stages * slot_sums
            self.slot_extra_bytes += 8 + slot_sums
        self.table_offset = self.mask_offset + 4 * MAX_MASKS
        self.smem_bytes = self.table_offset + self.table_bytes
        #: Bytes that a thread stores at a time: rows of D start at multiples of it.
        self.store_bytes = math.gcd(16, c.N * out_bytes)
