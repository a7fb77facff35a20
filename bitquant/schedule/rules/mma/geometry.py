# SPDX-License-Identifier: Apache-2.0
"""Geometry of the mma kernel: how it cuts the problem, and where everything lies in shared memory."""

from __future__ import annotations

import math

from bitquant.arithmetic import ceil_div
from bitquant.config import MatmulConfig
from bitquant.intrin.mma import CHUNK_BYTES, UNIT, MmaOp, Tile
from bitquant.schedule.rules.contract import Geometry, MemoryPart
from bitquant.schedule.rules.mma.hint import MmaHint

__all__ = ["MmaGeometry", "groups_fit", "scales_sums"]

#: Most sums that a thread holds: half of its 255 registers. More would be spilled.
MAX_SUMS = 128


def scales_sums(config: MatmulConfig) -> bool:
    """Whether a group's sums are scaled, rather than the weights: products of 8-bit numbers stay exact that way."""
    return config.A_format.bits == 8 and (config.with_scaling or config.with_zeros)


def groups_fit(config: MatmulConfig, hint: MmaHint) -> bool:
    """Whether each warp's part of a step ends where a group ends, or lies inside one."""
    part = hint.block_k // hint.warps_k
    return config.num_groups == 1 or config.group % hint.block_k == 0 or part % config.group == 0


class MmaGeometry(Geometry):
    """What is known of an mma kernel before its body is written."""

    hint: MmaHint

    def _hint_fault(self) -> str | None:
        c, h = self.config, self.hint
        step = 32 if c.A_format.is_integer else 16
        if h.block_m % (16 * h.warps_m):
            return "needs block_m % (16 * warps_m) == 0"
        if h.block_n % (8 * h.warps_n) or h.block_n % 16:
            return "needs block_n % (8 * warps_n) == 0 and block_n % 16 == 0"
        if h.block_k not in (32, 64, 128, 256) or h.block_k % (step * h.warps_k):
            return f"needs block_k of 32, 64, 128 or 256, and block_k % ({step} * warps_k) == 0"
        if c.layout == "nn" and h.block_n not in (32, 64, 128, 256):
            return "needs block_n of 32, 64, 128 or 256 in layout nn"
        if h.warps_m * h.warps_n * h.warps_k > 32:
            return "needs at most 32 warps"
        if h.block_m * h.block_n > MAX_SUMS * 32 * h.warps_m * h.warps_n:
            return f"needs at most {MAX_SUMS} sums a thread"
        if scales_sums(c) and not groups_fit(c, h):
            return f"needs group_size and block_k / warps_k that divide each other, with group_size={c.group}"
        return None

    def _derived_fault(self) -> str | None:
        if self.smem_bytes > (most := self.gpu.smem_per_block_bytes):
            return f"needs {self.smem_bytes} bytes of shared memory, and {self.gpu.name} has {most}"
        return None

    def _derive(self) -> None:
        config, self.gpu = self.config, self.problem.gpu
        a, w = config.A_format, config.W_format
        self.is_integer = a.is_integer
        #: Type of both operands in shared memory.
        self.operand = "int8" if a.is_integer else "bfloat16" if a.name == "bfloat16" else "float16"
        self.operand_bytes = 1 if a.is_integer else 2
        self.scales_sums = scales_sums(config)
        self.scales_weights = (config.with_scaling or config.with_zeros) and not self.scales_sums
        self.decodes_a = a.name != self.operand
        stored_as_operand = w.name == self.operand or (a.is_integer and w.name == "uint8")
        self.decodes_w = self.scales_weights or not stored_as_operand
        left = {"int8": "s8", "float16": "f16", "bfloat16": "bf16"}[self.operand]
        self.mma = MmaOp(left, "u8" if a.is_integer and w.name == "uint8" else left, self.gpu.has_mma_m16n8k16)
        #: Registers of the sums; TVM's table of instructions has integer mma with unsigned ones.
        self.sum_dtype = "uint32" if a.is_integer else "float32"
        self.is_transposed = config.layout == "nn"

        h = self.hint
        self.threads = 32 * h.warps_m * h.warps_n * h.warps_k
        self.tiles = ceil_div(config.K, h.block_k)
        self.m_tiles = h.block_m // h.warps_m // 16
        self.n_tiles = h.block_n // h.warps_n // 8
        self.steps = h.block_k * self.operand_bytes // 32 // h.warps_k
        self.has_ragged_k = config.K % h.block_k != 0
        self.has_ragged_n = config.N % h.block_n != 0
        #: Elements of k within a unit that share a scale.
        self.run = math.gcd(config.group, UNIT)
        self.units = ceil_div(h.block_n * h.block_k, UNIT * self.threads)
        self._lay_out()

    def _lay_out(self) -> None:
        """Place the tiles in shared memory, and choose the widths of the copies."""
        c, h = self.config, self.hint
        a_bytes, w_bits = c.A_format.bits // 8, c.W_format.bits
        # Rows of a tile of W, and elements a row: n by k, or k by n.
        self.w_rows, self.w_columns = (h.block_k, h.block_n) if self.is_transposed else (h.block_n, h.block_k)
        stored_columns = c.N if self.is_transposed else c.K
        end = 0

        def ring(rows: int, row_bytes: int, is_decoded: bool) -> Tile:
            nonlocal end
            tile = Tile(end, rows, row_bytes, h.stages, swizzled=not is_decoded)
            end = tile.end
            return tile

        def operand_tile(rows: int, columns: int) -> Tile:
            nonlocal end
            tile = Tile(end, rows, columns * self.operand_bytes, 2, swizzled=True)
            end = tile.end
            return tile

        self.a_ring = ring(h.block_m, h.block_k * a_bytes, self.decodes_a)
        self.w_ring = ring(self.w_rows, self.w_columns * w_bits // 8, self.decodes_w)
        self.a_tile = operand_tile(h.block_m, h.block_k) if self.decodes_a else self.a_ring
        self.w_tile = operand_tile(self.w_rows, self.w_columns) if self.decodes_w else self.w_ring
        self.table_offset = end
        self.has_table = c.W_format.needs_table
        end += 64 if self.has_table else 0
        registers = self.m_tiles * self.n_tiles * 4
        #: Bytes of the sums of warps that share k, in the place of the tiles.
        self.sum_bytes = (h.warps_k - 1) * h.warps_m * h.warps_n * 32 * 4 * registers
        self.smem_bytes = max(end, self.sum_bytes)
        self.a_width = math.gcd(c.K * a_bytes, self.a_ring.row_bytes, CHUNK_BYTES)
        self.w_width = math.gcd(stored_columns * w_bits // 8, self.w_ring.row_bytes, CHUNK_BYTES)

    @property
    def memory_map(self) -> tuple[MemoryPart, ...]:
        """The parts of shared memory, for people."""

        def part(name: str, tile: Tile, holds: str) -> MemoryPart:
            return MemoryPart(name, tile.base, tile.end, f"{holds}, {tile.slots} slots of {tile.slot_bytes} bytes")

        parts = [part("A", self.a_ring, "A as it is stored"), part("W", self.w_ring, "W as it is stored")]
        if self.decodes_a:
            parts.append(part("A_DECODED", self.a_tile, f"A in {self.operand}"))
        if self.decodes_w:
            parts.append(part("W_DECODED", self.w_tile, f"W in {self.operand}"))
        if self.has_table:
            parts.append(MemoryPart("TABLE", self.table_offset, self.table_offset + 64, "the decoder's table"))
        if self.sum_bytes:
            holds = "sums of the warps that share k, when the tiles are no longer needed"
            parts.append(MemoryPart("SUMS", 0, self.sum_bytes, holds))
        return tuple(sorted(parts, key=lambda part: part.offset))

    @property
    def decodes(self) -> bool:
        """Whether A or W passes through registers on its way to the operand tiles."""
        return self.decodes_a or self.decodes_w

    @property
    def pair_dtype(self) -> str:
        """The 16-bit type in which two stored weights are decoded at once, exactly."""
        w = self.config.W_format
        fits = w.name == "bfloat16" or (w.is_integer and w.bits <= 7)
        return "bfloat16" if self.operand == "bfloat16" and fits else "float16"

    @property
    def scales_packed(self) -> bool:
        """Whether pairs are scaled in the operand's type.

        A product of a stored weight and a scale that this type holds is rounded once, as in float32. Where there are
        zero points, decode(w) = (w - i) s + decode(i) with an integer i near the zero point: w - i is exact, the first
        product too, and so decode(w) is rounded once where decode(i) is exact, as it is for integer zero points and
        in zeros_mode "rescale"; elsewhere it is off by at most one unit in the last place.
        """
        c = self.config
        in_type = self.pair_dtype == self.operand and c.scale_format.is_exact_in(self.operand) and not self.has_table
        return in_type and self.run % 2 == 0 and (c.W_format.is_integer or not c.with_zeros)
