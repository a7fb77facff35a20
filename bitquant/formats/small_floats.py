# SPDX-License-Identifier: Apache-2.0
"""Floating point of fewer than 8 bits, without infinity and NaN (OCP Microscaling Formats specification v1.0).

::

    (-1)^sign * 2^(exponent - bias) * (1 + mantissa / 2^m)        exponent > 0, bias = 2^(e - 1) - 1
    (-1)^sign * 2^(1 - bias) * mantissa / 2^m                     exponent = 0

Exponent and mantissa are put where a wider float has them: its bias is greater, which is a power of two, also for
subnormal numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from bitquant.formats.levels import LevelFormat, looked_up
from bitquant.formats.registers import LINEAR, Decoding, Field, RegisterPlan, Source, spread
from bitquant.formats.words import MINUS_ZERO_PAIR, PackedPair, merge, pair_of, place, shifted_right, word_like

__all__ = ["FORMATS", "SmallFloat"]

Expr = Any

#: Mantissa bits and bias of the types that exponent and mantissa are moved to.
_FIELDS = {"float16": (10, 15), "bfloat16": (7, 127), "float8_e4m3": (3, 7)}


@dataclass(frozen=True)
class SmallFloat(LevelFormat):
    """A sign, `exponent_bits` and `mantissa_bits`, at most 4 and 3 of them.

    Attributes
    ----------
    exponent_bits, mantissa_bits
        e and m of the module's text.
    """

    exponent_bits: int = 0
    mantissa_bits: int = 0

    @property
    def bias(self) -> int:
        """The exponent of 1."""
        return 2 ** (self.exponent_bits - 1) - 1

    @functools.cached_property
    def levels(self) -> tuple[float, ...]:
        """The value of each code, negative ones from 2^(bits - 1) on."""
        m = self.mantissa_bits
        magnitudes = []
        for code in range(1 << (self.bits - 1)):
            exponent, fraction = code >> m, (code & (1 << m) - 1) / (1 << m)
            magnitudes.append(2.0 ** (max(exponent, 1) - self.bias) * ((exponent > 0) + fraction))
        return (*magnitudes, *(-value for value in magnitudes))

    @property
    def codebook(self) -> tuple[float, ...] | None:
        """The levels of 4 bits."""
        return self.levels if self.bits == 4 else None

    def is_looked_up(self, operand_bits: int) -> bool:
        """Whether there are two codes to a byte and operands have 16 bits: these are looked up sooner than made."""
        return self.bits == 4 and operand_bits == 16

    def _factor(self, dtype: str) -> float:
        """Return the power of two by which numbers whose fields are in those of `dtype` are too small."""
        return 2.0 ** (_FIELDS[dtype][1] - self.bias)

    def value(self, code: Expr, dtype: str) -> Expr:
        """Return the number by way of float16; the product is exact, also for subnormal numbers.

        float32 in its place would not do: its subnormals are flushed to zero where a build asks for fast-math.
        """
        wide = tirx.Var("code", "uint16")
        top = self.bits - 1
        place = _FIELDS["float16"][0] - self.mantissa_bits
        magnitude = tirx.shift_left(
            tirx.bitwise_and(wide, tirx.const((1 << top) - 1, "uint16")), tirx.const(place, "uint16")
        )
        sign = tirx.shift_left(tirx.bitwise_and(wide, tirx.const(1 << top, "uint16")), tirx.const(15 - top, "uint16"))
        half = tirx.Let(wide, code.astype("uint16"), tirx.reinterpret("float16", tirx.bitwise_or(magnitude, sign)))
        return (half.astype("float32") * tirx.const(self._factor("float16"), "float32")).astype(dtype)

    def register_refusal(self, operand: str) -> str | None:
        """Take 16-bit floats, and float8_e4m3."""
        fits = operand in LINEAR or operand == "float8_e4m3"
        return None if fits else f"needs a format whose values {operand} holds (got {self.name})"

    def register_decoding(self, plan: RegisterPlan) -> Decoding:
        """Return pairs, or four float8_e4m3."""
        if plan.is_adjacent and self.codebook is not None:
            return looked_up(self.codebook, plan)
        # In bfloat16 the factor is multiplied away at once: sums of products so small would lose bits in float32.
        scale = 1.0 if plan.operand == "bfloat16" else self._factor(plan.operand)
        return Decoding(functools.partial(self._pair if plan.is_pair else self._bytes, plan), scale)

    def _pair(self, plan: RegisterPlan, source: Source) -> Expr:
        x = self._moved([spread(codes, plan, source) for codes in source.fields], plan, 16)
        if plan.operand == "float16":
            return x
        factor = pair_of(self._factor("bfloat16"), "bfloat16")
        return source.ops.fma(source.ops.hold(x), factor, MINUS_ZERO_PAIR, "bfloat16")

    def _bytes(self, plan: RegisterPlan, source: Source) -> Expr:
        return self._moved(source.fields, plan, 8)

    def _moved(self, fields: Sequence[Field], plan: RegisterPlan, width: int) -> Expr:
        """Return fields of `width` bits with the sign at the top, exponent and mantissa where the operand has them."""
        ones = 0x10001 if width == 16 else 0x01010101
        first = _FIELDS[plan.operand][0] - self.mantissa_bits
        moved: Expr = None
        for (word, bit), plane in zip(fields, plan.planes, strict=True):
            count = min(plane.bits, self.bits - 1 - plane.shift)
            # Masked first: left shifts stand alone then, and may run as multiplications on a pipe of their own.
            masked = word & word_like(((1 << count) - 1 << bit) * ones, word)
            part = shifted_right(masked, bit - first - plane.shift)
            moved = part if moved is None else moved | part
        word, bit = fields[-1]
        sign = shifted_right(word, bit + plan.planes[-1].bits - width)
        return moved | (sign & word_like((1 << width - 1) * ones, word))

    def unit_refusal(self, operand: str) -> str | None:
        """Take 16-bit floats."""
        return None if operand in LINEAR else super().unit_refusal(operand)

    def unit_pair(
        self, words: Sequence[Expr], pair: int, dtype: str, byte_perm: Callable[[Expr, int], Expr]
    ) -> PackedPair:
        """Return bits moved to float16's fields, times the power of two that the biases differ by."""
        del dtype, byte_perm
        at, top = _FIELDS["float16"][0] - self.mantissa_bits, self.bits - 1
        magnitude = (1 << top) - 1 << at
        fields = [
            (place(words, 2 * pair + half, self.bits, 16 * half + shift), mask << 16 * half)
            for half in range(2)
            for shift, mask in ((at, magnitude), (15 - top, 0x8000))
        ]
        return PackedPair(merge(fields), pair_of(self._factor("float16"), "float16"), MINUS_ZERO_PAIR)


FORMATS: tuple[SmallFloat, ...] = (
    SmallFloat("fp4_e2m1", 4, exponent_bits=2, mantissa_bits=1, aliases=("fp4", "e2m1_float4", "float4_e2m1fn")),
    SmallFloat("float6_e3m2", 6, exponent_bits=3, mantissa_bits=2, aliases=("fp6", "fp6_e3m2", "e3m2")),
    SmallFloat("float6_e2m3", 6, exponent_bits=2, mantissa_bits=3, aliases=("fp6_e2m3", "e2m3")),
)
