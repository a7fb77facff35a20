"""Sizes of the decode kernel: how it cuts the problem, and where everything lies in shared memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bitquant.arch import GpuArch
from bitquant.config import MatmulConfig
from bitquant.formats.words import pair_of
from bitquant.intrin.decoders import RegisterDecoder, permuted_words
from bitquant.intrin.mma import MmaOp, Tile
from bitquant.layouts import FragmentLayout, fragment_layout
from bitquant.schedule.rules.decode.cost import SCALE_BYTES
from bitquant.schedule.rules.decode.digits import DigitPlan
from bitquant.schedule.rules.decode.products import decodes_in_place, products, run_k, shares_bytes

if TYPE_CHECKING:
    from bitquant.schedule.rules.decode.hint import DecodeHint

__all__ = ["Shape", "operand_type"]

#: Columns by which rows of partial sums are padded, so that the lanes that store them meet 32 banks.
_SUM_PAD = 4


def operand_type(config: MatmulConfig) -> str:
    """Return the type in which the tensor cores multiply: that of A, and float16 for float8, which it holds."""
    a, w = config.A_format, config.W_format
    if a.is_integer:
        return "uint8" if w.name == "uint8" else "int8"
    return "bfloat16" if a.name == "bfloat16" else "float16"


class Shape:
    """What is known of a kernel before its body is written.

    A block walks over *turns*. Where its part of A fits shared memory, a turn is one of its blocks of n, and A stays;
    else a turn is one of the phases into which k is cut, and A arrives anew for each. k of a turn is cut into parts,
    one for each warp along k. A *body* is what the loop unrolls, `hint.unroll` tiles of a part; a *run* is a part of a
    body that shares a scale.
    """

    def __init__(self, config: MatmulConfig, rung: int, arch: GpuArch, hint: DecodeHint) -> None:
        self.config, self.rung, self.arch, self.hint = config, rung, arch, hint
        h, a = hint, config.A_format
        self.layout = fragment_layout(config)
        self.operand = operand = operand_type(config)
        self.is_integer = a.is_integer
        #: How A becomes int8, and what of it is multiplied with what, or None.
        self.digit_plan = DigitPlan(config.W_format, self.layout) if h.activations == "digits" else None
        sizes = h.rows, h.block_m, h.unroll
        self.decoder = RegisterDecoder(
            config.W_format, self.layout, operand, arch.capability,
            permutes=permuted_words(config.W_format, self.layout, False),
            in_place=self.digit_plan is not None or decodes_in_place(config, self.layout, *sizes),
            shares_bytes=self.digit_plan is None and shares_bytes(config, self.layout, *sizes),
        )  # fmt: skip
        self.products, self.classes = products(self.decoder)
        #: Independent sums of each class, or plane, of which only the same kind may be added up.
        self.classes_count = len(self.digit_plan.planes if self.digit_plan else self.classes)
        self.chains = -(-h.chains // self.classes_count)
        #: Those of sums of A, which are waited for no more often.
        self.a_chains = min(2, h.chains)
        left = {"int8": "s8", "uint8": "u8", "float16": "f16", "bfloat16": "bf16"}[operand]
        right = "s8" if self.is_integer else left
        self.mma, self.ones_mma = MmaOp(left, right, has_k16=True), MmaOp(right, right, has_k16=True)
        if self.digit_plan:
            self.mma = self.ones_mma = MmaOp("u8", "s8", has_k16=True)
        self.sum_dtype = "uint32" if self.is_integer or self.digit_plan else "float32"
        self.needs_sum_of_a = config.with_zeros or bool(self.decoder.value_offset)
        #: Turns four float8 numbers of A into two registers of the operand's type.
        self.a_decoder = None
        if a.bits == 8 and not a.is_integer:
            self.a_decoder = RegisterDecoder(a, FragmentLayout(8, 8), operand, arch.capability)
        self._choose_units()

        #: Right operands of 8 columns: rows of A, or the digits of one.
        self.blocks_m = 1 if self.digit_plan else h.block_m // 8
        self.threads = 32 * h.warps_n * h.warps_k
        self.block_n = 16 * h.rows * h.warps_n
        self.tiles_k = self.layout.tiles_k(config.K)
        self.lane_words = self.layout.tile_bytes // 128
        self.body_k = h.unroll * self.layout.tile_k
        #: Bodies of a warp in a phase.
        self.bodies = h.phase // h.unroll or -(-self.tiles_k // (h.unroll * h.warps_k * h.split_k))
        self.part_tiles = self.bodies * h.unroll
        self.phase_k = h.warps_k * self.bodies * self.body_k
        self.phases = -(-config.K // self.phase_k)
        self.blocks_n = -(-config.N // self.block_n)
        self.a_stays = self.phases <= h.split_k
        #: Blocks of the grid along n, and turns of each where that is one number.
        self.grid_n = -(-self.blocks_n // h.waves) if self.a_stays else self.blocks_n
        turns, sharers = (self.blocks_n, self.grid_n) if self.a_stays else (self.phases, h.split_k)
        self.static_count = turns // sharers if turns % sharers == 0 else None
        self.max_count = -(-turns // sharers)
        self.buffers = 1 if self.a_stays else 2
        self.run_k = run_k(config, self.layout, h.unroll)
        self.runs = self.body_k // self.run_k
        self.has_ragged_k = config.K % self.phase_k != 0
        self.has_ragged_tiles = self.tiles_k % (h.warps_k * self.part_tiles) != 0
        self.has_ragged_n = config.N % self.block_n != 0
        self.is_shared = hint.weights == "shared"
        #: Rows of A of a block. Those beyond the rung are not stored; the lanes that would read them read the last one.
        self.rows_of_a = min(h.block_m, rung) if config.has_most_rows(rung) else h.block_m
        self._lay_out()

    def _choose_units(self) -> None:
        """Choose what a sum of 1 stands for in the rows g and g + 8 of a tile, `unit`.

        Powers of two by which the weight's numbers, and those of a float8 A, differ from their values cost nothing in
        the loop: sums of products, sums of A and totals are in that unit, which only the end of a block applies. Sums
        of A are, for a left operand of 1 / (the weight's part of the unit) takes the place of ones. Of the classes'
        units it is the least, that of the last, so that float16 holds this number. Integers are counted one by one:
        their sums are multiplied by the weight's factor, `factor`.
        """
        scale = self.decoder.value_scale
        a_scale = self.a_decoder.value_scale if self.a_decoder else 1.0
        if self.is_integer:
            self.unit, self.factor = (1.0, 1.0), scale
            self.ones = (0x01010101, 0x01010101)
        else:
            weight = [scale * 2.0**-exponent for exponent in self.classes[-1]]
            self.unit, self.factor = (weight[0] * a_scale, weight[1] * a_scale), 1.0
            self.ones = pair_of(1 / weight[0], self.operand), pair_of(1 / weight[1], self.operand)

    def _lay_out(self) -> None:
        """Place A, the scales, the partial sums and the barriers in shared memory; choose the widths of the copies."""
        c, h = self.config, self.hint
        a_bytes = c.A_format.bits // 8
        self.a_tile = Tile(0, self.rows_of_a, self.phase_k * a_bytes, self.buffers, swizzled=False)
        self.a_width = math.gcd(c.K * a_bytes, self.a_tile.row_bytes, 16)
        self.copies_bulk = self.arch.has_bulk_copy and self.a_width == 16
        # The narrowest copies of A are non-coherent loads, which need an A that is whole before the kernel begins.
        self.uses_dependent_launch = self.arch.has_dependent_launch and self.a_width >= 4
        end = self.a_tile.end
        if self.digit_plan:
            self.digits_offset = -(-end // 128) * 128
            self.poison_offset = self.digits_offset + len(self.digit_plan.planes) * self.digit_plan.plane_bytes(
                self.phase_k
            )
            end = self.poison_offset + 16
        # Scales of a block side by side are read once; single ones, or what no wide copy takes, by each warp.
        size = c.scale_format.bits // 8
        block_k = self.phase_k * (1 if self.a_stays else self.static_count or 0)
        slots = 2 if self.a_stays and self.max_count > 1 else 1
        groups = min(block_k, c.K) // c.group if block_k % c.group == 0 or block_k >= c.K else 0
        self.scale_width = math.gcd(groups * size, c.num_groups * size, 16)
        staged = (c.with_scaling, c.with_zeros and not c.has_packed_zeros)
        is_worth_it = groups > 1 and self.scale_width >= 4
        tiles: list[Tile | None] = []
        for is_there in staged:
            tile = None
            if is_there and is_worth_it and sum(staged) * self.block_n * groups * size <= SCALE_BYTES:
                tile = Tile(end, self.block_n, groups * size, slots, swizzled=False)
                end = tile.end
            tiles.append(tile)
        self.scale_tile, self.zero_tile = tiles
        self.sum_stride = self.block_n + _SUM_PAD
        sums = 4 * h.warps_k * self.rows_of_a * self.sum_stride
        #: The ring of the weight: for each warp `ahead` slots.
        self.ring_offset, self.slot_bytes = -(-end // 128) * 128, h.rows * self.lane_words * 128
        if self.is_shared:
            end = self.ring_offset + self.threads // 32 * h.ahead * self.slot_bytes
        #: The partial sums take the place of all else after the last turn; where more follow, one of their own.
        self.sum_offset = 0 if not self.a_stays or self.max_count == 1 else -(-end // 128) * 128
        self.barrier_offset = -(-max(end, self.sum_offset + sums) // 128) * 128
        barriers = 8 * self.buffers * h.warps_k
        self.table_offset = self.barrier_offset + -(-barriers // 128) * 128
        self.smem_bytes = self.table_offset + self.decoder.table_bytes
