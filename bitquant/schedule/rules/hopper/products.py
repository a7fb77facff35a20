# SPDX-License-Identifier: Apache-2.0
"""What the tensor cores multiply and add for a problem, whatever the hint: types, the weight's tiles, its decoders."""

from __future__ import annotations

from functools import cached_property

from bitquant.arithmetic import ceil_div
from bitquant.config import MatmulConfig
from bitquant.intrin.decoders import RegisterDecoder, permuted_words
from bitquant.intrin.wgmma import SWIZZLE_BYTES, WgmmaOp
from bitquant.layouts import FragmentLayout, fragment_layout
from bitquant.problem import Problem

__all__ = [
    "FLOAT8_RUN_K",
    "REGISTERS_OF_STEP",
    "Products",
    "is_dense",
    "left_operand",
    "narrow_refusal",
    "promotes",
]

#: PTX's names of the operands' types.
PTX_TYPES = {
    "float16": "f16", "bfloat16": "bf16", "int8": "s8", "uint8": "u8", "float8_e4m3": "e4m3", "float8_e5m2": "e5m2",
}  # fmt: skip
#: Elements of k that the tensor cores add up before a sum of float8 products is added in float32: those of a step.
FLOAT8_RUN_K = 128
#: Registers of a left operand, which a step decodes.
REGISTERS_OF_STEP = 16
#: Most rows of A in a tile whose sums are scaled: those take as many multiply-adds as there are sums.
MAX_SUM_M = 64
#: Rows of A in a tile from which on wgmma's reads of it, not decoding, are most of those of shared memory.
BUSY_M = 48


def is_dense(config: MatmulConfig) -> bool:
    """Return whether W is of A's type and taken as it is, in the plain layout (`dense`)."""
    return config.W_format.bits > 8


def left_operand(config: MatmulConfig) -> str:
    """Return the type in which the tensor cores take W: A's, or the one of A's kind that holds W's values."""
    a, w = config.A_format, config.W_format
    if a.is_integer:
        return "uint8" if w.name == "uint8" else "int8"
    if a.bits == 8:
        return "float8_e5m2" if w.name == "float8_e5m2" else "float8_e4m3"
    return a.name


def promotes(config: MatmulConfig) -> bool:
    """Return whether sums over short runs of k are added to totals in float32 (`emit.accumulate.Promotion`)."""
    a = config.A_format
    return a.bits == 8 and (not a.is_integer or (config.with_scaling and config.num_groups > 1))


def narrow_refusal(config: MatmulConfig) -> str | None:
    """Return what of a problem with A of 8 bits these kernels cannot do, as "needs ... (got ...)", or None."""
    a, w = config.A_format, config.W_format
    if (reason := w.register_refusal(left_operand(config))) is not None:
        return reason
    if config.with_zeros:
        return f"needs no zero points where A has 8 bits, whose sums it does not make (got {config.zeros_mode})"
    if not a.is_integer and config.out_format.name not in ("float16", "bfloat16"):
        return f"needs an output of 16 bits where A is float8: its sums have some 14 (got {config.out_format.name})"
    # Unscaled codes as they are have sums that int32 is meant to hold; others may be 2^31 before they are scaled.
    if a.is_integer and (config.with_scaling or w.offset) and not promotes(config):
        greatest = 128 * (int(w.max_value) if w.is_unsigned else 128)
        if config.K * greatest >= 1 << 31:
            return f"needs K < {ceil_div(1 << 31, greatest)}, so that sums stay below 2^31 (got {config.K})"
    return None


class Products:
    """Types of a problem's products, and how its weight is stored and decoded.

    It is made once for all hints of a problem: a space is hundreds of hints.

    Attributes
    ----------
    a_bits, w_bits, out_bits
        Bits of a value of A, W and D.
    is_dense, is_narrow
        Whether W needs no decoding, and whether A has 8 bits.
    operand
        Type of the left operand.
    promotes
        Whether sums over runs of k are added to totals in float32.
    is_scaled
        Whether there are scales or zero points.
    scales_16_bits
        Whether A has 16 bits besides, so that they are applied to the left operand or to sums of a group.
    columns
        The columns that a wgmma of the problem's types may have, rows of A (PTX ISA, ".shape" of wgmma.mma_async; TVM
        0.27.0.post1 knows those of integers up to 224).
    step_k
        Elements of k of a *step*: 128 bytes of a row of A.
    fragment_layout
        Tiles of the stored weight; None where it is dense.
    unit_k
        Least k that a slot of the ring holds: one tile of the weight's layout and one step.
    unit_words
        Words of codes that a lane holds of 64 rows of W and `unit_k`.
    planes
        Planes of the codes.
    """

    def __init__(self, problem: Problem) -> None:
        config = problem.config
        self.config = config
        a = config.A_format
        self.a_bits, self.w_bits, self.out_bits = a.bits, config.W_format.bits, config.out_format.bits
        self.is_dense, self.is_narrow = is_dense(config), a.bits == 8
        self.operand = left_operand(config)
        self.promotes = promotes(config)
        self.is_scaled = config.with_scaling or config.with_zeros
        self.scales_16_bits = self.is_scaled and not self.is_narrow
        self.step_k = SWIZZLE_BYTES * 8 // a.bits
        self.fragment_layout: FragmentLayout | None = None if self.is_dense else fragment_layout(config)
        self.unit_k = self.step_k if self.fragment_layout is None else max(self.fragment_layout.tile_k, self.step_k)
        self.unit_words = 0 if self.fragment_layout is None else self.unit_k * self.fragment_layout.bits // 64
        self.planes = 0 if self.fragment_layout is None else len(self.fragment_layout.planes)
        self.columns = frozenset((8, 24, *range(16, 225, 16)) if a.is_integer else range(8, 257, 8))
        self._decoders: dict[tuple[bool, int], RegisterDecoder] = {}

    def op(self, block_m: int) -> WgmmaOp:
        """Return the instruction for tiles of so many rows of A."""
        return WgmmaOp(block_m, PTX_TYPES[self.operand], PTX_TYPES[self.config.A_format.name])

    @cached_property
    def has_subnormal_codes(self) -> bool:
        """Whether codes are integers of 4 bits that a mask makes subnormal numbers of bfloat16, and have scales alone.

        A subnormal number of bfloat16 is its bits times 2^-133, and an integer offset of such codes is exact. Scales of
        8 bits may be greater than what codes can be multiplied by.
        """
        config, fmt = self.config, self.config.W_format
        if not fmt.is_integer or fmt.bits != 4 or fmt.step != 1 or abs(fmt.offset) & (abs(fmt.offset) - 1):
            return False
        is_scaled_alone = config.with_scaling and not config.with_zeros and config.scale_format.bits == 16
        return is_scaled_alone and self.operand == "bfloat16"

    @cached_property
    def decodes_in_place(self) -> bool:
        """Whether codes need no more than masks where sums are scaled: powers of two go with the rows of W."""
        config = self.config
        if self.is_dense or config.W_format.in_place_refusal(config.A_format.tvm_dtype) is not None:
            return False
        dtype = config.A_format.tvm_dtype
        decoder = RegisterDecoder(config.W_format, fragment_layout(config), dtype, in_place=True)
        return decoder.exponents_follow_rows

    def decoder(self, scales_sums: bool, block_m: int) -> RegisterDecoder:
        """Return what decodes the weight; one of few, which geometries share.

        Parameters
        ----------
        scales_sums
            Whether sums are scaled, and not the weight.
        block_m
            Rows of A of a tile.
        """
        c, layout = self.config, self.fragment_layout
        assert layout is not None
        in_place = scales_sums and self.decodes_in_place
        scales_operand = self.scales_16_bits and not scales_sums
        permutes = permuted_words(c.W_format, layout, scales_operand and block_m >= BUSY_M)
        key = (in_place, permutes)
        if key not in self._decoders:
            self._decoders[key] = RegisterDecoder(
                c.W_format, layout, self.operand, in_place=in_place, fills_bytes=True,
                shares_bytes=in_place and c.W_format.bits == 4, permutes=permutes,
            )  # fmt: skip
        return self._decoders[key]

    def sums_refusal(self, block_m: int) -> str | None:
        """Return why sums cannot be scaled, as "needs ... (got ...)", or None where they can."""
        config = self.config
        if self.is_narrow or self.is_dense or not self.is_scaled:
            return "needs A of 16 bits and a W with scales or zero points for a choice of what is scaled"
        if config.num_groups > 1 and config.group % self.step_k:
            return f"needs group_size % {self.step_k} == 0 where sums are scaled (got {config.group})"
        if block_m > MAX_SUM_M:
            return f"needs block_m <= {MAX_SUM_M} where sums are scaled (got {block_m})"
        return None
