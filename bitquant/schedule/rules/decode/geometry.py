# SPDX-License-Identifier: Apache-2.0
"""Geometry of the decode kernel: how it cuts the problem into blocks, and its shared memory."""

from __future__ import annotations

import math
from functools import cached_property

from bitquant.arch import GpuArch
from bitquant.arithmetic import ceil_div, round_up
from bitquant.formats.words import pair_of
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.intrin.mma import MmaOp, Tile
from bitquant.layouts import FragmentLayout
from bitquant.problem import Problem
from bitquant.schedule.rules.contract import Geometry, MemoryPart
from bitquant.schedule.rules.decode.digits import DigitPlan
from bitquant.schedule.rules.decode.formats import Formats
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.decode.memory import SharedMemory
from bitquant.schedule.rules.decode.products import Product, run_k

__all__ = ["SCALE_BYTES", "DecodeGeometry"]

#: Columns by which rows of partial sums are padded, so that the lanes that store them meet 32 banks.
_SUM_PAD = 4
#: Most shared memory that staged scales may take, in bytes; larger ones are read from global memory.
SCALE_BYTES = 32 << 10


class DecodeGeometry(Geometry):
    """What is known of a decode kernel before its body is written.

    A block has an outer loop. Where its part of A fits shared memory, an *iteration* of it is one of the block's blocks
    of n, and A stays; else an iteration is one of the phases into which k is cut, and A arrives anew for each. k of an
    iteration is cut into parts, one for each warp along k. A *body* is what the inner loop unrolls, `hint.unroll` tiles
    of a part; a *run* is a part of a body that shares a scale.
    """

    hint: DecodeHint
    #: Parts of A that blocks multiply with one weight each, and weights that there are of them.
    units: float = 1
    weights: float = 1
    #: Independent accumulators that are worth trying.
    most_chains: int = 8
    #: Whether a register holds the address of the decoder's table (`PairTable`).
    holds_table_address: bool = False
    #: Whether registers hold the address of the weight, which is one of many.
    holds_weight_address: bool = False
    #: What each block does besides, in microseconds.
    block_us: float = 0.0
    #: Whether weights are those of experts.
    has_experts: bool = False

    def __init__(self, problem: Problem, hint: DecodeHint, formats: Formats | None = None) -> None:
        self._formats = Formats(problem) if formats is None else formats
        super().__init__(problem, hint)

    def with_hint(self, hint: DecodeHint) -> DecodeGeometry:
        """Return the geometry of another hint for the same problem; it shares decoders with this one."""
        return DecodeGeometry(self.problem, hint, self._formats)

    # Whether the hint fits.

    def _hint_fault(self) -> str | None:
        h, gpu = self.hint, self._formats.gpu
        if h.activations == "digits":
            if h.block_m != 1:
                return "needs block_m of 1 for digits"
            if self._formats.digits_refusal is not None:
                return self._formats.digits_refusal.split(" (got ")[0]
        elif h.block_m == 1:
            return "needs block_m of 8, 16, 32 or 64 for values"
        if h.warps_n * h.warps_k > 32:
            return "needs at most 32 warps"
        if h.unroll % h.ahead and (h.weights == "registers" or h.ahead % h.unroll):
            return "needs unroll % ahead == 0, or ahead % unroll == 0 where weights pass through shared memory"
        if h.phase % h.unroll:
            return "needs phase % unroll == 0"
        if h.stream_k and (h.cluster > 1 or h.n_blocks_per_cta > 1 or h.phase == 0 or h.activations == "digits"):
            return 'needs split_k, multicast and n_blocks_per_cta of 1, a phase and activations="values" where stream_k'
        if h.cluster > 8:
            return "needs split_k * multicast <= 8"
        if h.cluster > 1 and not gpu.has_clusters:
            return f"needs sm_90 or newer for split_k or multicast > 1, and the target is {gpu.name}"
        return None

    def _derived_fault(self) -> str | None:
        h, gpu = self.hint, self.gpu
        if h.stream_k and (self.grid_m > 1 or not self.config.has_most_rows(self.rung)):
            return f"needs at most {self.rows_of_a} rows of A where stream_k is True"
        if h.stream_k and self.all_phases * (self.grid_n + 1) >= 1 << 31:
            return f"needs fewer phases where stream_k is True, and all blocks of n have {self.all_phases}"
        if self.phases < h.split_k:
            return f"needs split_k <= {self.phases}, the phases of k"
        if h.multicast > 1 and not (self.a_stays and self.copies_bulk):
            return "needs an A that stays in shared memory, of rows of whole 16 bytes, where multicast is more than 1"
        if math.gcd(self.blocks_n, self.grid_n) % h.multicast:
            return (
                f"needs a multicast that divides {self.blocks_n} blocks of n, and the {self.grid_n} that run together"
            )
        if self.digit_plan:
            if not self.a_stays:
                return "needs phase=0, or all of a block's k, for digits"
            if self.run_k > (most := self.digit_plan.most_run_k):
                return f"needs runs of at most {most} k for digits"
        if self.smem_bytes > (most := gpu.smem_per_block_bytes):
            return f"needs {self.smem_bytes} bytes of shared memory, and {gpu.name} has {most}"
        return None

    def _derive(self) -> None:
        """Compute what the model of `cost` reads, of hundreds of hints; the rest is computed where it is read."""
        c, h, layout = self.config, self.hint, self._formats.fragment_layout
        #: Whether A is multiplied as digits, and whether the weight passes through a ring in shared memory.
        self.is_digits, self.is_shared = h.activations == "digits", h.weights == "shared"
        self._weight = weight = self._formats.weight(h)
        #: Whether the sums of A over each run are wanted.
        self.needs_sum_of_a = bool(c.with_zeros or weight.decoder.value_offset)
        #: Classes, or planes, of sums, of which the same alone may be added up; independent sums of each, of all.
        self.classes_count = len(layout.planes if self.is_digits else weight.classes)
        self.chains = ceil_div(h.chains, self.classes_count)
        self.sums = self.classes_count * self.chains
        #: Independent sums of A, which are waited for no more often.
        self.a_chains = min(2, h.chains)

        #: Right operands of 8 columns: rows of A, or the digits of one.
        self.m_tiles = 1 if self.is_digits else h.block_m // 8
        #: Totals of a thread: four for each product, so many rows of W and A; of digits two, one for each row of W.
        self.totals = h.n_tiles_per_warp * 2 if self.is_digits else h.n_tiles_per_warp * self.m_tiles * 4
        self.threads = 32 * h.warps_n * h.warps_k
        self.block_n = 16 * h.n_tiles_per_warp * h.warps_n
        self.blocks_n = ceil_div(c.N, self.block_n)
        #: Words of a lane's part of a tile.
        self.lane_words = layout.tile_bytes // 128
        #: Rows of A of a block. Those beyond the rung are not stored; the lanes that would read them read the last one.
        self.rows_of_a = min(h.block_m, self.rung) if c.has_most_rows(self.rung) else h.block_m
        #: Blocks of the grid along m, for as many rows of A as the rung says.
        self.grid_m = ceil_div(self.rung, self.rows_of_a)
        #: Tiles of k that a warp multiplies in all, in whole bodies, where each has as many; and in an iteration.
        self.warp_tiles = ceil_div(self._formats.tiles_k, h.unroll * h.warps_k * h.split_k) * h.unroll
        self.part_tiles = h.phase or self.warp_tiles
        #: Length in k of a phase, and phases of all blocks of a cluster.
        self.phase_k = h.warps_k * self.part_tiles * layout.tile_k
        self.phases = ceil_div(c.K, self.phase_k)
        #: Whether A stays in shared memory: a block has no more than one phase, or all of A.
        self.a_stays = h.stream_k or self.phases <= h.split_k
        #: Blocks of n that a block multiplies one after the other, at most, and blocks of the grid along n.
        self.n_blocks_per_cta: float = h.n_blocks_per_cta if self.a_stays else 1
        self.grid_n = ceil_div(self.blocks_n, h.n_blocks_per_cta) if self.a_stays else self.blocks_n
        #: With stream-K, the phases of all blocks of n.
        self.all_phases = self.blocks_n * self.phases
        if h.stream_k:
            self.grid_n = min(self.all_phases, self.gpu.sm_count * h.blocks_per_sm)
            self.n_blocks_per_cta = ceil_div(self.all_phases, self.grid_n) / self.phases

    def blocks_of_busiest(self, sm_count: float) -> float:
        """Return the blocks of the multiprocessor that has most."""
        return math.ceil(self.grid_n * self.hint.split_k * self.grid_m / sm_count)

    # Formats.

    @property
    def memory_map(self) -> tuple[MemoryPart, ...]:
        """The parts of shared memory, for people."""
        h, smem = self.hint, self.smem
        sums = smem.sum_offset + 4 * h.warps_k * self.rows_of_a * smem.sum_stride
        parts = [
            MemoryPart("A", smem.a_tile.base, smem.a_tile.end, "rows of A"),
            MemoryPart("SUMS", smem.sum_offset, sums, "partial sums of the warps, when A is no longer needed"
                       if smem.sum_offset == 0 else "partial sums of the warps"),
            MemoryPart("BARRIERS", smem.barrier_offset, smem.table_offset, "mbarriers of A"),
            MemoryPart("TABLE", smem.table_offset, smem.end, "the decoder's table"),
        ]  # fmt: skip
        if self.is_digits:
            parts.append(MemoryPart("DIGITS", smem.digits_offset, smem.poison_offset, "A as digits"))
            parts.append(MemoryPart("POISON", smem.poison_offset, smem.poison_offset + 16, "not 0 if A is not finite"))
        for name, tile, holds in (("SCALES", smem.scale_tile, "scales"), ("ZEROS", smem.zero_tile, "zero points")):
            if tile is not None:
                parts.append(MemoryPart(name, tile.base, tile.end, holds))
        if self.is_shared:
            end = smem.ring_offset + self.threads // 32 * h.ahead * smem.slot_bytes
            parts.append(MemoryPart("W", smem.ring_offset, end, f"a ring of {h.ahead} slots of W for each warp"))
        return tuple(sorted((part for part in parts if part.end > part.offset), key=lambda part: part.offset))

    @property
    def gpu(self) -> GpuArch:
        """Facts of the GPU."""
        return self._formats.gpu

    @property
    def fragment_layout(self) -> FragmentLayout:
        """How the weight is stored."""
        return self._formats.fragment_layout

    @property
    def tiles_k(self) -> int:
        """Tiles of k of the stored weight."""
        return self._formats.tiles_k

    @property
    def operand(self) -> str:
        """Type in which the tensor cores multiply."""
        return self._formats.operand

    @property
    def is_integer(self) -> bool:
        """Whether A has integers."""
        return self._formats.is_integer

    @property
    def a_bytes(self) -> int:
        """Bytes of an element of A."""
        return self._formats.a_bytes

    @property
    def decoder(self) -> RegisterDecoder:
        """What decodes the weight."""
        return self._weight.decoder

    @property
    def products(self) -> list[Product]:
        """The products of a tile."""
        return self._weight.products

    @property
    def classes(self) -> list[tuple[int, int]]:
        """Of each class of sums the exponents in rows g and g + 8."""
        return self._weight.classes

    @property
    def a_decoder(self) -> RegisterDecoder | None:
        """What decodes four float8 numbers of A into two registers of the operand's type; None for other A."""
        return self._formats.a_decoder

    @property
    def digit_plan(self) -> DigitPlan | None:
        """How A becomes int8, and what of it is multiplied with what; None where A is multiplied as values."""
        return self._formats.digit_plan if self.is_digits else None

    @property
    def mma(self) -> MmaOp:
        """The instruction of products."""
        if self.is_digits:
            return MmaOp("u8", "s8", has_k16=True)
        left = {"int8": "s8", "uint8": "u8", "float16": "f16", "bfloat16": "bf16"}[self.operand]
        return MmaOp(left, "s8" if self.is_integer else left, has_k16=True)

    @property
    def ones_mma(self) -> MmaOp:
        """The instruction of sums of A, whose left operand is constant."""
        return self.mma if self.is_digits else MmaOp(self.mma.right, self.mma.right, has_k16=True)

    @property
    def sum_dtype(self) -> str:
        """Registers of sums of products; TVM's table of instructions has integer mma with unsigned ones."""
        return "uint32" if self.is_integer or self.is_digits else "float32"

    # Sums, and their unit.

    @property
    def unit(self) -> tuple[float, float]:
        """The value of a sum of 1 in the rows g and g + 8 of a tile.

        Powers of two by which the weight's numbers, and those of a float8 A, differ from their values cost nothing in
        the loop: sums of products, sums of A and totals are in that unit, which only the end of a block applies. Of the
        classes' units it is the least, that of the last, so that float16 holds the numbers of `ones`. Integers are
        counted one by one.
        """
        if self.is_integer:
            return 1.0, 1.0
        a_scale = self.a_decoder.value_scale if self.a_decoder else 1.0
        low, high = self._weight_unit
        return low * a_scale, high * a_scale

    @property
    def _weight_unit(self) -> tuple[float, float]:
        """The weight's part of `unit`."""
        scale, (low, high) = self.decoder.value_scale, self.classes[-1]
        return scale * 2.0**-low, scale * 2.0**-high

    @property
    def factor(self) -> float:
        """What sums of integers are multiplied with: the weight's factor. It is 1 for others, which `unit` serves."""
        return self.decoder.value_scale if self.is_integer else 1.0

    @property
    def ones(self) -> tuple[int, int]:
        """The left operand that sums A, in rows g and g + 8: pairs of 1 / (the weight's part of the unit)."""
        if self.is_integer:
            return 0x01010101, 0x01010101
        low, high = self._weight_unit
        return pair_of(1 / low, self.operand), pair_of(1 / high, self.operand)

    # How n, m and k are cut.

    @property
    def has_whole_rows(self) -> bool:
        """Whether every block has as many rows of A as it may have."""
        return self.config.has_fixed_rows(self.rung) and self.rung % self.rows_of_a == 0

    @property
    def block_columns(self) -> int:
        """Columns of D of a block of n."""
        return self.block_n // self.config.rows_per_column

    @property
    def body_k(self) -> int:
        """Length in k of a body."""
        return self.hint.unroll * self.fragment_layout.tile_k

    @property
    def run_k(self) -> int:
        """Length in k of a run."""
        return run_k(self.config, self.fragment_layout, self.hint.unroll)

    @property
    def shares_scales(self) -> bool:
        """Whether the four lanes that have a row of W share the conversion of its scales."""
        return False

    def is_long_body(self, pipeline: tuple[str, int, int]) -> bool:
        """Whether hints with such `weights`, `ahead` and `unroll` come behind those predicted to be as fast."""
        return False

    @property
    def loads_late(self) -> bool:
        """Whether the next tile is loaded into a slot only when what the slot holds has been multiplied."""
        return self.is_shared

    @property
    def runs(self) -> int:
        """Runs of a body."""
        return self.body_k // self.run_k

    @property
    def bodies(self) -> int:
        """Bodies of a warp in an iteration."""
        return self.part_tiles // self.hint.unroll

    @property
    def buffers(self) -> int:
        """Buffers of A."""
        return 1 if self.a_stays else 2

    @property
    def _iterations(self) -> tuple[int, int]:
        """Iterations of all blocks among which they are divided, and the number of these blocks."""
        if self.hint.stream_k:
            return self.all_phases, self.grid_n
        return (self.blocks_n, self.grid_n) if self.a_stays else (self.phases, self.hint.split_k)

    @property
    def static_iterations(self) -> int | None:
        """Iterations of each block where that is one number."""
        iterations, blocks = self._iterations
        return iterations // blocks if iterations % blocks == 0 else None

    @property
    def max_iterations(self) -> int:
        """Iterations of the block that has most."""
        iterations, blocks = self._iterations
        return ceil_div(iterations, blocks)

    @property
    def a_k(self) -> int:
        """Length in k of a buffer of A."""
        return self.phase_k * (self.phases if self.hint.stream_k else 1)

    @property
    def has_ragged_k(self) -> bool:
        """Whether the last phase reaches beyond K."""
        return self.config.K % self.phase_k != 0

    @property
    def has_ragged_tiles(self) -> bool:
        """Whether the last phase reaches beyond the stored tiles."""
        return self.tiles_k % (self.hint.warps_k * self.part_tiles) != 0

    @property
    def has_ragged_n(self) -> bool:
        """Whether the last block reaches beyond N."""
        return self.config.N % self.block_n != 0

    # Copies, launch and shared memory.

    @property
    def a_width(self) -> int:
        """Bytes of A that a copy takes at a time."""
        return math.gcd(self.config.K * self.a_bytes, self.phase_k * self.a_bytes, 16)

    @property
    def copies_bulk(self) -> bool:
        """Whether A comes by bulk copies, which count on mbarriers."""
        return self.gpu.has_bulk_copy and self.a_width == 16

    @property
    def uses_dependent_launch(self) -> bool:
        """Whether the kernel may begin before the one before it has ended.

        The narrowest copies of A are non-coherent loads, which need an A that is whole before the kernel begins.
        """
        return self.gpu.has_dependent_launch and self.a_width >= 4

    @property
    def smem_bytes(self) -> int:  # type: ignore[override]
        """Dynamic shared memory of a block, in bytes."""
        return self.smem.end

    @cached_property
    def smem(self) -> SharedMemory:
        """Offsets in shared memory: A, its digits, scales, the weight, partial sums, barriers, a table.

        Partial sums overlay the rest after the last iteration; with several iterations they have a buffer of their own.
        """
        h = self.hint
        a_tile = Tile(0, self.rows_of_a, self.a_k * self.a_bytes, self.buffers, swizzled=False)
        end = a_tile.end
        digits_offset = poison_offset = round_up(end, 128)
        if self.digit_plan:
            planes = len(self.digit_plan.planes)
            poison_offset = digits_offset + planes * self.digit_plan.plane_bytes(self.phase_k)
            end = poison_offset + 16
        scale_tile, zero_tile, scale_width = self._staged_scales(end)
        end = max(end, *(tile.end for tile in (scale_tile, zero_tile) if tile), 0)
        sum_stride = self.block_n + _SUM_PAD
        sum_bytes = 4 * h.warps_k * self.rows_of_a * sum_stride
        ring_offset, slot_bytes = round_up(end, 128), h.n_tiles_per_warp * self.lane_words * 128
        if self.is_shared:
            end = ring_offset + self.threads // 32 * h.ahead * slot_bytes
        sum_offset = 0 if not self.a_stays or self.max_iterations == 1 else round_up(end, 128)
        barrier_offset = round_up(max(end, sum_offset + sum_bytes), 128)
        table_offset = barrier_offset + round_up(8 * self.buffers * h.warps_k, 128)
        return SharedMemory(
            a_tile, digits_offset, poison_offset, scale_tile, zero_tile, scale_width, ring_offset, slot_bytes,
            sum_offset, sum_stride, barrier_offset, table_offset, table_offset + self.decoder.table_bytes,
        )  # fmt: skip

    def _staged_scales(self, end: int) -> tuple[Tile | None, Tile | None, int]:
        """Return the tiles of scales and zero points, from `end` on, and the bytes that a copy takes.

        Those of a block that lie side by side are read once; single ones, or what no wide copy takes, by each warp.
        """
        c = self.config
        size = c.scale_format.bits // 8
        block_k = self.phase_k * (1 if self.a_stays else self.static_iterations or 0)
        slots = 2 if self.a_stays and self.max_iterations > 1 else 1
        groups = min(block_k, c.K) // c.group if block_k % c.group == 0 or block_k >= c.K else 0
        width = math.gcd(groups * size, c.num_groups * size, 16)
        staged = (c.with_scaling, c.with_zeros and not c.has_packed_zeros)
        fits = groups > 1 and width >= 4 and sum(staged) * self.block_n * groups * size <= SCALE_BYTES
        fits = fits and c.rows_per_scale == 1  # Rows that share scales find them in L1.
        tiles: list[Tile | None] = []
        for is_there in staged:
            tile = Tile(end, self.block_n, groups * size, slots, swizzled=False) if is_there and fits else None
            end = tile.end if tile else end
            tiles.append(tile)
        return tiles[0], tiles[1], width
