# SPDX-License-Identifier: Apache-2.0
"""How the wgmma kernel decodes a register: with masks in registers, and integers to their values in one operation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from bitquant.intrin.decoders import RegisterDecoder
from bitquant.intrin.mma import fma_pair
from bitquant.intrin.operations import TirxOps

__all__ = [
    "MAX_EXACT",
    "SCALE_EXPONENT",
    "DecodingTrace",
    "ExactOps",
    "MasksInRegisters",
    "ScaledOps",
    "Words",
    "constant_pair",
    "pair_of_powers",
    "spread",
    "subnormal_exponent",
    "trace_decoding",
    "unit_exponent",
]

Expr = Any

#: Scales are multiplied by 2 to this power where codes are subnormal numbers: they may be up to 2^47, and from 2^-73 on
#: what they make of codes is no subnormal number.
SCALE_EXPONENT = 80
#: Of the operand's types: bits of the mantissa, the exponent's bias, the least number, and the largest n such that all
#: integers up to n are numbers of the type.
_MANTISSA = {"float16": 10, "bfloat16": 7}
_BIAS = {"float16": 15, "bfloat16": 127}
_MIN_SUBNORMAL = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
MAX_EXACT = {"float16": 2.0**11, "bfloat16": 2.0**8}


class MasksInRegisters(TirxOps):
    """Decoding with masks in registers."""

    def __init__(self, masks: dict[int, Expr]) -> None:
        self.masks = masks

    def mask(self, bits: int, x: Expr) -> Expr:
        """Return the register."""
        return self.masks.get(bits, super().mask(bits, x))


class ExactOps(MasksInRegisters):
    """Decoding of integers to their values, less a zero point, in one operation where a format's decoding is one.

    The decoder's numbers are the values times a power of two, which a scale of float16 may be too small to take up.
    """

    def __init__(self, decoder: RegisterDecoder, offsets: dict[float, Expr], masks: dict[int, Expr]) -> None:
        super().__init__(masks)
        self.decoder, self.offsets = decoder, offsets
        self.is_exact = False

    def code_bit(self, mul: int, dtype: str) -> int | None:
        """Return the bit of a half at which codes begin, if setting the exponent bits above gives them unit 1."""
        fmt = self.decoder.fmt
        if not fmt.is_integer or len(self.decoder.fragment_layout.planes) > 1 or fmt.bits == 8:
            return None
        # The product is the value over value_scale; codes at bit b are multiples of 2^b times the least number.
        unit = _value(mul & 0xFFFF, dtype) * self.decoder.value_scale * _MIN_SUBNORMAL[dtype]
        bit = round(math.log2(fmt.step / unit))
        fits = bit + fmt.bits <= _MANTISSA[dtype] and -self.constant(bit, dtype) <= MAX_EXACT[dtype]
        return bit if fits else None

    def constant(self, bit: int, dtype: str) -> float:
        """Return what takes the exponent and the code's offset away."""
        fmt = self.decoder.fmt
        return -(2.0 ** (_MANTISSA[dtype] - bit)) * fmt.step + fmt.offset

    def fma(self, x: Expr, mul: int, add: int | Expr, dtype: str) -> Expr:
        """Emit x * mul + add, or the same number with its unit restored and the zero point subtracted."""
        bit = self.code_bit(mul, dtype)
        if bit is None:
            return super().fma(x, mul, add, dtype)
        self.is_exact = True
        # Where bit b has unit 1 the exponent is the bits of the mantissa less b.
        exponent = _BIAS[dtype] + _MANTISSA[dtype] - bit << _MANTISSA[dtype]
        x = (x.a & self.masks[int(x.b)]) | T.uint32(exponent * 0x10001)
        constant = self.constant(bit, dtype)
        offset = self.offsets.get(constant, constant_pair(constant, dtype))
        return fma_pair(x, constant_pair(float(self.decoder.fmt.step), dtype), offset, dtype)


class ScaledOps(MasksInRegisters):
    """Decoding of codes of 4 bits by one multiply-add, which scales them, too.

    With its exponent masked away a bfloat16 is a subnormal number: code w at bit b of a half is w 2^(b - 133). It is
    multiplied by s 2^`SCALE_EXPONENT`, and the product of the code's offset, a power of two, and that is added: exactly
    w s + offset s in units of 2^-`unit_exponent`, with one rounding. Codes of row g have b = 0, those of row g + 8 have
    b = 4, so that sums of a row have one unit.

    Parameters
    ----------
    masks
        As in `MasksInRegisters`.
    scale, offset
        Pairs of what codes are multiplied by and of what is added.
    """

    def __init__(self, masks: dict[int, Expr], scale: Expr, offset: Expr) -> None:
        super().__init__(masks)
        self.scale, self.offset = scale, offset

    def fma(self, x: Expr, mul: int, add: int | Expr, dtype: str) -> Expr:
        """Emit the scaled register: `x` is the masked word."""
        del mul, add
        return fma_pair(x.a & self.masks.get(int(x.b), x.b), self.scale, self.offset, dtype)


def subnormal_exponent(half: int) -> int:
    """Return the binary logarithm of what code 1 of row g + 8 * `half` is as a subnormal number of bfloat16."""
    return 4 * half - 133


def unit_exponent(half: int) -> int:
    """Return the binary logarithm of what sums of row g + 8 * `half` are multiplied by, where `ScaledOps` decodes."""
    return -(subnormal_exponent(half) + SCALE_EXPONENT)


def pair_of_powers(low: float, high: float) -> int:
    """Return a pair of numbers of bfloat16 as a word; each is a power of two, or a subnormal one."""
    return sum(int(np.float32(value).view(np.uint32)) >> 16 << shift for value, shift in ((low, 0), (high, 16)))


_SPREAD = """
__device__ __forceinline__ unsigned int bitquant_spread_{half}(unsigned int x) {{
  unsigned int y;
  asm("{{.reg .b16 l0, h1; mov.b32 {{l0, h1}}, %1; mov.b32 %0, {{{name}, {name}}};}}" : "=r"(y) : "r"(x));
  return y;
}}
"""


def spread(pair: Expr, half: int) -> Expr:
    """Return a pair of equal numbers, one of another pair; ptxas makes that a modifier of what reads it."""
    source = _SPREAD.format(half=half, name="h1" if half else "l0")
    return T.cuda.func_call(f"bitquant_spread_{half}", pair, source_code=source, return_type="uint32")


class DecodingTrace(ExactOps):
    """Collects masks and constants of a decoding without emitting it."""

    def __init__(self, decoder: RegisterDecoder) -> None:
        super().__init__(decoder, {}, {})
        self.masks_found: set[int] = set()
        self.constants: set[float] = set()

    def hold(self, x: Expr) -> Expr:
        """Return x."""
        return x

    def mask(self, bits: int, x: Expr) -> Expr:
        """Collect."""
        self.masks_found.add(bits)
        return super().mask(bits, x)

    def lookup(self, table: Any, word: Expr, byte: int) -> Expr:
        """Return what is looked up."""
        return word

    def fma(self, x: Expr, mul: int, add: int | Expr, dtype: str) -> Expr:
        """Collect."""
        if (bit := self.code_bit(mul, dtype)) is not None:
            self.masks_found.add(int(x.b))
            self.constants.add(self.constant(bit, dtype))
        return x


def trace_decoding(decoder: RegisterDecoder, half: int) -> DecodingTrace:
    """Return what decoding adds to, and the masks of, the registers of row g + 8 * half; nothing is emitted."""
    trace = DecodingTrace(decoder)
    for register in range(half, decoder.fragment_layout.registers, 2):
        words = [lambda _: tirx.Var("word", "uint32") for _ in decoder.fragment_layout.planes]
        decoder.decode(words, register, None, trace)
    return trace


def constant_pair(value: float, dtype: str) -> Expr:
    """Return a pair of equal 16-bit floats as a word."""
    one = tirx.const(value, dtype)
    return tirx.reinterpret("uint16", one).astype("uint32") * T.uint32(0x10001)


def _value(bits: int, dtype: str) -> float:
    """Return the number that 16 bits are."""
    if dtype == "float16":
        return float(np.uint16(bits).view(np.float16))
    return float(np.uint32(bits << 16).view(np.float32))


@dataclass(frozen=True)
class Words:
    """Part of a buffer of words, from `first` on."""

    buffer: Any
    first: int

    def __call__(self, i: int) -> Expr:
        """Return word i."""
        return self.buffer[self.first + i]
