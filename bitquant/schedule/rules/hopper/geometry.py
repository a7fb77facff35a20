# SPDX-License-Identifier: Apache-2.0
"""Geometry of the wgmma kernel: how it tiles the problem, and its shared memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from bitquant.arch import RESERVED_SMEM_BYTES
from bitquant.arithmetic import ceil_div, round_up
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.intrin.wgmma import SWIZZLE_BYTES, WARPGROUP, WgmmaOp
from bitquant.layouts import TILE_N
from bitquant.problem import Problem
from bitquant.schedule.rules.contract import Geometry, MemoryPart
from bitquant.schedule.rules.hopper.hint import ROWS, WgmmaHint
from bitquant.schedule.rules.hopper.memory import Exchange, SharedMemory, WeightSlot
from bitquant.schedule.rules.hopper.products import FLOAT8_RUN_K, Products
from bitquant.schedule.rules.hopper.registers import (
    INSTRUCTION_REGISTERS,
    hint_registers,
    launched_registers,
    needed_registers,
    producer_registers,
    sum_sets,
)

__all__ = ["CHUNK_BYTES", "MAX_MASKS", "STEP_OPS", "Loop", "WgmmaGeometry"]

#: Bytes of W that one lane group reads at once: 16 bytes a lane.
CHUNK_BYTES = 512
#: Masks that a format's decoding needs in registers, at most.
MAX_MASKS = 16
#: Columns of D^T that pass through shared memory at a time at the end of a tile.
SLICE_M = 64
#: Registers of a consumer beyond those needed, if the last body of a tile is to be peeled off the loop.
PEELING_REGISTERS = 8
#: Most sums of a thread of a cluster's block, if so: ptxas was seen to move 128 of them about in each round.
MAX_PEELED_SUMS = 96
#: Most bytes of all parts' sums that are exchanged beside the ring; where there are more, they wait for its slots.
MAX_EXCHANGE_BYTES = 64 << 10
#: Where sums are scaled in groups, the most k of a run; a body of the loop has two such runs, if K is as long.
GROUP_K = 128
#: Instructions of a step of 128 bytes of k.
STEP_OPS = 4
#: Most elements of a dimension of a box that TMA copies (CUDA Driver API, cuTensorMapEncodeTiled).
MAX_BOX = 256


@dataclass(frozen=True)
class Loop:
    """The main loop of a consumer over its part of K. A *body* is what the loop unrolls, some slots of the ring.

    Attributes
    ----------
    body_stages
        Slots of a body.
    bodies, part_stages
        Rounds of the loop, and slots that each part along k reads: the most of any block of a cluster that shares K.
    tile_bodies
        Rounds that all of K takes, if one block has it.
    run_steps
        Where sums are scaled in groups: steps of a *run*, which share a scale.
    runs_in_slot, slots_of_run
        Runs that end in a slot, or slots that a run takes.
    """

    body_stages: int
    bodies: int
    part_stages: int
    tile_bodies: int
    run_steps: int
    runs_in_slot: int
    slots_of_run: int


class WgmmaGeometry(Geometry):
    """What is known of a wgmma kernel before its body is written.

    A *step* is 128 bytes of k, a *unit* the steps of one tile of the weight's layout (or one step, if that is longer),
    a *part* the K of one consumer, where K is split. Most attributes are computed when they are first asked for: most
    hints of a space are predicted and then dropped.

    Parameters
    ----------
    problem, hint
        As in `Geometry`.
    products
        The problem's, where another geometry has them already (`with_hint`).
    """

    hint: WgmmaHint

    def __init__(self, problem: Problem, hint: WgmmaHint, products: Products | None = None) -> None:
        self.products = products or Products(problem)
        super().__init__(problem, hint)

    def with_hint(self, hint: WgmmaHint) -> WgmmaGeometry:
        """Return what another hint makes of the problem."""
        return WgmmaGeometry(self.problem, hint, self.products)

    # What a product with the weights of experts has in another way.

    #: Whether codes beyond K are cleared once they are decoded.
    clears_codes: bool = True
    #: Weights that are stored one after the other, where there are several, and shared memory for the rows of each.
    num_experts: int | None = None
    expert_bytes: int = 0

    @property
    def whole_problem(self) -> Problem:
        """The problem whose operands the kernel has."""
        return self.problem

    @property
    def expected_m_tiles(self) -> int:
        """Tiles along m that a call of `rung` rows is expected to have."""
        return ceil_div(self.rung, self.hint.block_m)

    @property
    def expected_weights(self) -> float:
        """Weights that it is expected to read."""
        return 1

    def _hint_fault(self) -> str | None:
        h, products = self.hint, self.products
        least_k = products.unit_k
        if h.block_m not in products.columns:
            sizes = "8, 16, 24, 32, 48 ... 224 where A is int8" if self.config.A_format.is_integer else "8, 16 ... 256"
            return f"needs block_m of {sizes}"
        if h.block_k % least_k or h.block_k < least_k:
            return f"needs block_k % {least_k} == 0"
        if h.consumers > 4:
            return "needs 1 to 4 consumers"
        if h.tail_split > 1 and (h.parts > 1 or h.scaling == "sums"):
            return 'needs consumers_k and split_k of 1 and scaling="operand" where tail_split is more'
        if h.multicast > 1 and (h.parts > 1 or h.tail_split not in (1, h.multicast)):
            return f"needs consumers_k and split_k of 1, and tail_split of 1 or {h.multicast}, where multicast is more"
        if h.block_m % (8 * h.multicast):
            return f"needs block_m % {8 * h.multicast} == 0 where multicast is {h.multicast}"
        if h.stream_k and (h.parts > 1 or h.cluster > 1):
            return "needs consumers_k, split_k, tail_split and multicast of 1 where stream_k is True"
        if h.looks_ahead and (h.parts > 1 or h.tail_split > 1 or h.stream_k or not products.scales_16_bits):
            return "needs scales or zero points for A of 16 bits, and a K that is not split, where looks_ahead is True"
        if h.n_tiles_per_cta > h.n_tiles_per_consumer * h.consumers_n:
            return f"needs n_tiles_per_cta <= {h.n_tiles_per_consumer * h.consumers_n}, what the consumers hold"
        return products.sums_refusal(h.block_m) if h.scaling == "sums" else None

    def _derived_fault(self) -> str | None:
        h, loop = self.hint, self.loop
        launched = launched_registers(h.consumers, h.blocks_per_sm)
        if (least := producer_registers(h)) > launched:
            return f"needs {least} registers a thread of the producer, and {launched} are launched"
        if (least := self.sums + INSTRUCTION_REGISTERS) > launched:
            return f"needs {least} registers a thread for one wgmma, and {launched} are launched"
        if h.tail_split > 1 and loop.bodies % h.tail_split:
            body_k = loop.body_stages * h.block_k
            return f"needs K of a multiple of {h.tail_split} times {body_k} where tail_split is {h.tail_split}"
        if max(self.weight.box) > MAX_BOX:
            return f"needs at most {MAX_BOX} rows of W and A in a copy"
        if self.scales_sums and max(self.steps, loop.run_steps) % min(self.steps, loop.run_steps):
            return f"needs a block_k that holds whole runs of {loop.run_steps * self.step_k} k, or parts of one"
        if self.needs_sums_of_a and h.stages % loop.slots_of_run:
            return f"needs stages of a multiple of {loop.slots_of_run}, the slots of a run"
        if self.needed_registers > (available := self.registers[1]):
            return f"needs {self.needed_registers} registers a consumer thread, and there are {available}"
        least = 2 if self.steps > 1 else 3
        if h.stages < least:
            return f"needs {least} stages or more"
        exchange, memory = self.exchange, self.memory
        if exchange and memory.exchanges_in_ring and exchange.nbytes > h.stages * memory.slot_bytes:
            return f"needs a ring of {exchange.nbytes} bytes, in which partial sums are reduced"
        if memory.nbytes > (limit := self.smem_limit):
            return f"needs {memory.nbytes} bytes of shared memory, and a block has {limit}"
        return None

    # Types and registers.

    @property
    def step_k(self) -> int:
        """Elements of k of a step."""
        return self.products.step_k

    @property
    def unit_steps(self) -> int:
        """Steps of a unit."""
        return self.products.unit_k // self.products.step_k

    @property
    def units(self) -> int:
        """Units of a slot."""
        return self.hint.block_k // self.products.unit_k

    @cached_property
    def steps(self) -> int:
        """Steps of a consumer in a slot."""
        return self.units * self.unit_steps

    @cached_property
    def scales_sums(self) -> bool:
        """Whether scales and zero points are applied to sums of a group.

        With A of 8 bits they are not: there sums are scaled where they are promoted, or at the end.
        """
        return self.products.scales_16_bits and self.hint.scaling == "sums"

    @property
    def scales_operand(self) -> bool:
        """Whether scales and zero points are applied to the left operand."""
        return self.products.scales_16_bits and not self.scales_sums

    @property
    def is_narrow(self) -> bool:
        """Whether A has 8 bits."""
        return self.products.is_narrow

    @cached_property
    def op(self) -> WgmmaOp:
        """The instruction."""
        return self.products.op(self.hint.block_m)

    @property
    def sums(self) -> int:
        """Sums that a thread holds of 64 rows of W."""
        return self.hint.block_m // 2

    @property
    def sum_dtype(self) -> str:
        """Type of the registers of the tensor cores' sums."""
        return "uint32" if self.op.is_integer else "float32"

    @property
    def total_dtype(self) -> str:
        """Type of what leaves the loop."""
        return "float32" if self.products.promotes else self.sum_dtype

    @property
    def threads(self) -> int:
        """Threads of a block: those of the consumers, and of one warpgroup that produces."""
        return (self.hint.consumers + 1) * WARPGROUP

    @cached_property
    def registers(self) -> tuple[int, int]:
        """Registers of a thread of the producer and of a consumer, once they have been moved."""
        return hint_registers(self.hint)

    @cached_property
    def needed_registers(self) -> int:
        """Registers that a consumer needs, with one set of sums."""
        return needed_registers(self.products, self.hint)

    @cached_property
    def sum_sets(self) -> int:
        """Sets of sums: two where one is scaled while products go to the other."""
        return sum_sets(self.products, self.hint) if self.scales_sums else 1

    @cached_property
    def loads_vectors(self) -> bool:
        """Whether registers allow loads of several groups: a word more for each row and operand than a group a lane."""
        c, h = self.config, self.hint
        words = 2 * (c.with_scaling + (c.with_zeros and not c.has_packed_zeros)) * h.n_tiles_per_consumer
        return needed_registers(self.products, h, self.sum_sets) + words <= self.registers[1]

    # Decoding.

    @cached_property
    def decoder(self) -> RegisterDecoder | None:
        """What decodes the weight; None where it is dense."""
        return None if self.products.is_dense else self.products.decoder(self.scales_sums, self.hint.block_m)

    @property
    def scales_subnormals(self) -> bool:
        """Whether codes are scaled as they stand, as subnormal numbers of bfloat16 (`emit.decode.ScaledOps`)."""
        return self.products.has_subnormal_codes and self.scales_operand

    @property
    def value_scale(self) -> float:
        """What sums are multiplied by to be those of W's values."""
        return 1.0 if self.decoder is None else self.decoder.value_scale

    @property
    def needs_sums_of_a(self) -> bool:
        """Whether sums of the rows of A are made, for zero points and for codes that are values but for a constant."""
        decoder = self.decoder
        return decoder is not None and self.scales_sums and (self.config.with_zeros or bool(decoder.value_offset))

    # The loop.

    @cached_property
    def loop(self) -> Loop:
        """The main loop of a consumer over its part of K."""
        c, h = self.config, self.hint
        body_stages = self._body_stages()
        tile_bodies = ceil_div(c.K, h.block_k * h.consumers_k * body_stages)
        bodies = ceil_div(tile_bodies, h.split_k)
        body_k = body_stages * h.block_k
        run_steps = max(1, (math.gcd(c.group, body_k) if c.num_groups > 1 else body_k) // self.step_k)
        if self.scales_sums and body_stages * self.steps >= 2 * GROUP_K // self.step_k:
            run_steps = min(run_steps, GROUP_K // self.step_k)
        return Loop(
            body_stages=body_stages,
            bodies=bodies,
            part_stages=bodies * body_stages,
            tile_bodies=tile_bodies,
            run_steps=run_steps,
            runs_in_slot=max(1, self.steps // run_steps),
            slots_of_run=max(1, run_steps // self.steps),
        )

    @property
    def body_ops(self) -> int:
        """Instructions of a body, for one block of rows."""
        return self.loop.body_stages * self.steps * STEP_OPS

    @property
    def run_ops(self) -> int:
        """Where sums are promoted, instructions of a run: bodies and groups are whole numbers of runs."""
        c, op = self.config, self.op
        ops = self.body_ops if c.A_format.is_integer else FLOAT8_RUN_K // op.step_k
        if c.num_groups > 1 and c.with_scaling:
            ops = math.gcd(ops, c.group // op.step_k)
        assert self.body_ops % ops == 0
        return ops

    def _body_stages(self) -> int:
        """Return the slots in a body: an even number of left operands, because two sets of registers alternate."""
        c, h = self.config, self.hint
        if self.products.is_dense:
            return 1
        if self.scales_sums:
            # A body of two groups, or of two pieces of a longer one, whose sums alternate between two sets.
            count = 1
            while count < 4 and count * h.block_k < 2 * min(c.group, GROUP_K) and 2 * count * h.block_k * h.parts < c.K:
                count *= 2
            return count if count * self.steps * h.n_tiles_per_consumer % 2 == 0 else 2
        return 1 if self.steps * h.n_tiles_per_consumer % 2 == 0 else 2

    @cached_property
    def peels(self) -> bool:
        """Whether the last body of a tile is peeled off the loop, whose own bodies need no conditions then.

        It does where ptxas is known to take that without spills or serialized products: more values live at once. Sums
        that are added to totals in float32 leave the tensor cores at the end of a body, and must do so in the loop
        alone.
        """
        h = self.hint
        if self.loop.bodies == 1 or self.products.is_dense or self.scales_sums or self.products.promotes:
            return False
        if self.is_narrow:
            # Codes that are operands as they are must not be moved behind a loop that may have no rounds.
            return h.tail_split == 1 and not self.shares_unequally and not h.stream_k
        if h.cluster > 1 and self.sums > MAX_PEELED_SUMS:
            return False
        return h.n_tiles_per_consumer == 1 and self.needed_registers + PEELING_REGISTERS <= self.registers[1]

    @property
    def most_blocks(self) -> int:
        """Blocks that run together, where they do not share A or K in clusters."""
        return self.problem.gpu.sm_count * self.hint.blocks_per_sm

    @property
    def shares_unequally(self) -> bool:
        """Whether some blocks of a cluster that shares K have a round more; too few rounds are filled up with zeros."""
        rounds, blocks = self.loop.tile_bodies, self.hint.split_k
        return rounds > blocks and rounds % blocks != 0

    @property
    def has_ragged_k(self) -> bool:
        """Whether left operands beyond K must be cleared. There A is zero, and codes of zero as 8 bits are numbers."""
        h, loop = self.hint, self.loop
        rounds = loop.tile_bodies if self.shares_unequally else loop.bodies * h.split_k
        covered = rounds * loop.body_stages * h.block_k * h.consumers_k
        return covered != self.config.K and not self.is_narrow and self.clears_codes

    @property
    def has_ragged_n(self) -> bool:
        """Whether the tiles of the last column reach beyond N."""
        return self.config.N % (self.hint.block_n * self.hint.multicast) != 0

    @cached_property
    def tiles_n(self) -> int:
        """Tiles along n: whole clusters, whose blocks are neighbours along n and share A by multicast."""
        beside = self.hint.multicast
        return ceil_div(self.config.N, self.hint.block_n * beside) * beside

    # Shared memory.

    @cached_property
    def weight(self) -> WeightSlot:
        """The weight in a slot."""
        block_n, layout = self.hint.block_n, self.products.fragment_layout
        if layout is None:
            box_bytes = block_n * SWIZZLE_BYTES
            return WeightSlot(self.steps * box_bytes, (self.step_k, block_n), box_bytes)
        box = (CHUNK_BYTES // 8, self.units * (self.products.unit_words // 4), block_n // TILE_N)
        return WeightSlot(8 * math.prod(box), box, 8 * math.prod(box))

    @property
    def overread_bytes(self) -> int:
        """Bytes behind a slot that the last consumers read of blocks of rows which the tile does not have.

        What is multiplied with them is not stored; behind the last slot they must be the block's own all the same.
        """
        h = self.hint
        if not h.n_tiles_per_cta:
            return 0
        missing = h.n_tiles_per_consumer * h.consumers_n - h.n_tiles_per_cta
        return missing * self.weight.box_bytes // h.n_tiles_per_cta

    @cached_property
    def exchange(self) -> Exchange | None:
        """How partial sums are reduced; None without split K."""
        return Exchange.of(self.hint)

    @cached_property
    def memory(self) -> SharedMemory:
        """Offsets of slots, barriers and the epilogue in shared memory."""
        h = self.hint
        a_box_bytes = h.block_m * SWIZZLE_BYTES
        a_bytes = h.consumers_k * self.steps * a_box_bytes
        slot_bytes = a_bytes + h.consumers_k * self.weight.part_bytes
        # Rows of the tile that leaves are padded by a chunk, so that neither lanes of a row nor of a column collide.
        out_stride = ROWS * (self.config.out_format.bits // 8) + 16
        slice_m = min(SLICE_M, h.block_m)
        out_offset = h.stages * slot_bytes
        exchange_offset = out_offset + h.consumers * slice_m * out_stride
        # Partial sums are reduced in a buffer beside the ring, or in the ring, if the buffer would leave it few slots.
        exchange_bytes = self.exchange.nbytes if self.exchange else 0
        exchanges_in_ring = h.tail_split > 1 or (
            self.exchange is not None and self.exchange.parts * self.exchange.part_bytes > MAX_EXCHANGE_BYTES
        )
        barrier_offset = exchange_offset
        if exchanges_in_ring:
            exchange_offset = 0
        else:
            barrier_offset += exchange_bytes
        ready_offset = sums_offset = mask_offset = barrier_offset + 16 * h.stages
        slot_extra_bytes = 16
        if self.needs_sums_of_a:
            slot_sums = 4 * h.consumers_k * self.loop.runs_in_slot * h.block_m
            sums_offset = ready_offset + round_up(8 * h.stages, 16)
            mask_offset = sums_offset + h.stages * slot_sums
            slot_extra_bytes += 8 + slot_sums
        table_offset = mask_offset + 4 * MAX_MASKS
        experts_offset = table_offset + (0 if self.decoder is None else self.decoder.table_bytes)
        experts_offset += -experts_offset % 16 if self.expert_bytes else 0
        return SharedMemory(
            a_box_bytes=a_box_bytes,
            a_bytes=a_bytes,
            slot_bytes=slot_bytes,
            out_offset=out_offset,
            out_stride=out_stride,
            slice_m=slice_m,
            exchange_offset=exchange_offset,
            exchanges_in_ring=exchanges_in_ring,
            barrier_offset=barrier_offset,
            ready_offset=ready_offset,
            sums_offset=sums_offset,
            mask_offset=mask_offset,
            table_offset=table_offset,
            experts_offset=experts_offset,
            slot_extra_bytes=slot_extra_bytes,
            nbytes=max(experts_offset + self.expert_bytes, h.stages * slot_bytes + self.overread_bytes),
        )

    @property
    def memory_map(self) -> tuple[MemoryPart, ...]:
        """The parts of shared memory, for people."""
        h, memory = self.hint, self.memory
        empty = memory.barrier_offset + 8 * h.stages
        parts = [
            MemoryPart("A", 0, memory.a_bytes, f"A in the first of {h.stages} ring slots of {memory.slot_bytes} bytes"),
            MemoryPart("W", memory.a_bytes, memory.slot_bytes, "W in the first ring slot"),
            MemoryPart("OUT", memory.out_offset, memory.out_offset + h.consumers * memory.slice_m * memory.out_stride,
                       "a slice of D of each consumer"),
            MemoryPart("BARRIERS", memory.barrier_offset, empty, "mbarriers of the slots that are filled"),
            MemoryPart("RELEASED", empty, empty + 8 * h.stages, "mbarriers of the slots that are free again"),
            MemoryPart("A_SUMS", memory.sums_offset, memory.mask_offset, "sums of A"),
            MemoryPart("MASKS", memory.mask_offset, memory.mask_offset + 4 * MAX_MASKS, "masks that decode"),
            MemoryPart("TABLE", memory.table_offset, memory.experts_offset, "the decoder's table"),
            MemoryPart("EXPERTS", memory.experts_offset, memory.nbytes, "of each expert the ends of tiles and of rows"),
        ]  # fmt: skip
        if self.exchange is not None:
            end = memory.exchange_offset + self.exchange.nbytes
            parts.append(MemoryPart("EXCHANGE", memory.exchange_offset, end, "partial sums that parts of K send"))
        if self.decoder is None:
            parts = [part for part in parts if part.name != "TABLE"]
        if not self.expert_bytes:
            parts = [part for part in parts if part.name != "EXPERTS"]
        return tuple(sorted((part for part in parts if part.end > part.offset), key=lambda part: part.offset))

    @cached_property
    def smem_bytes(self) -> int:  # type: ignore[override]  # computed when it is asked for
        """Dynamic shared memory of a block, in bytes."""
        return self.memory.nbytes

    @property
    def smem_limit(self) -> int:
        """Shared memory that a block may have, in bytes."""
        gpu = self.problem.gpu
        return min(gpu.smem_per_block_bytes, gpu.smem_per_sm_bytes // self.hint.blocks_per_sm - RESERVED_SMEM_BYTES)

    # The workspace of `stream_k` in global memory.

    @property
    def partial_sums(self) -> int:
        """Sums of a part of a tile."""
        h = self.hint
        return h.consumers_n * h.n_tiles_per_consumer * self.sums * WARPGROUP

    @property
    def store_bytes(self) -> int:
        """Bytes that a thread stores at a time: rows of D start at multiples of it."""
        return math.gcd(16, self.config.columns * (self.config.out_format.bits // 8))
