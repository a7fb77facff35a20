# SPDX-License-Identifier: Apache-2.0
"""Integers of 1 to 8 bits, with or without a sign: value = step * code + offset.

**Registers.** Two things bound a decoder. The ALU pipe (LOP3, SHF, PRMT) runs on Hopper at half the rate of the pipe of
HFMA2; and an instruction holds one constant, any other takes a register. So an integer is masked where it stands in its
half of a word and read, as it is, as a 16-bit float. Its low M bits, 11 in float16 and 8 in bfloat16, are the mantissa
and the least bit of the exponent, and the number is proportional to them: subnormal and least normal numbers are evenly
spaced, by u = 2^-24 or 2^-133. One multiply-add of pairs does the rest, exactly, with p the type's greatest power of
two::

    field q at bit s of a half, below bit M:    word & mask                                   is  q * 2^s * u
                                                (word & mask) * (p / 2^s) + offset * p * u    is  (q + offset) * p * u

The factor p * u is the same for all fields and left to the sums (`Decoding.value_scale`). Fields that end above bit M
share one shift.

In float16 the multiply-add can be left to the sums as well, *in place*: tensor cores multiply subnormal numbers exactly
and add in float32, so that sums of `word & mask` are those of q, times 2^s * u. The factor 2^s differs from register
to register (`Decoding.exponent`), and who adds products must keep apart what has different factors. Codes of several
planes are put together by one multiply-add for each plane but the first, in the place of the first. (In bfloat16 the
products would be too small for float32.)

Two codes of 4 bits that share a byte belong to rows g and g + 8 of one k. There the byte as it is may stand for the
lower code (`RegisterPlan.shares_bytes`): what is too much in the sum of row g is the sum of row g + 8, and the upper
byte of each half needs no mask after its shift, which is a byte permutation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx

from bitquant.errors import ConfigError
from bitquant.formats.base import ACTIVATION_DTYPES, Bounds, NumberFormat, ZerosMode
from bitquant.formats.registers import LINEAR, Decoding, Field, RegisterPlan, Source, byte_pair, spread
from bitquant.formats.words import PackedPair, merge, pair_bits, pair_of, place, shifted_right, word_like

if TYPE_CHECKING:
    import torch

__all__ = ["FORMATS", "Integer"]

Expr = Any

#: In place, fields in the upper bits of a half are shifted down by this much: all planes' widths divide it.
_IN_PLACE_BITS = 8


@dataclass(frozen=True)
class Integer(NumberFormat):
    """Integers: unsigned ones, two's complement from 8 bits on, and -1 and +1 for one signed bit.

    Attributes
    ----------
    is_signed
        Whether there are negative ones.
    """

    is_signed: bool = False

    @property
    def is_integer(self) -> bool:
        """True."""
        return True

    @property
    def is_unsigned(self) -> bool:
        """Whether there are no negative ones."""
        return not self.is_signed

    @property
    def step(self) -> int:
        """Distance of neighbouring values: 2 for one signed bit, which holds -1 and +1 and no zero."""
        return 2 if self.is_signed and self.bits == 1 else 1

    @property
    def offset(self) -> int:
        """Value of code 0: -2^(bits - 1) for signed packed integers, else 0."""
        return self._word_offset if self.is_packed else 0

    @property
    def _word_offset(self) -> int:
        """The same for codes in registers, where two's complement has its sign bit flipped."""
        return -(1 << (self.bits - 1)) if self.is_signed else 0

    @property
    def min_value(self) -> int:
        """Least integer."""
        return self._word_offset

    @property
    def max_value(self) -> int:
        """Greatest integer."""
        return self.step * ((1 << self.bits) - 1) + self._word_offset

    @property
    def activations(self) -> tuple[str, ...]:
        """All."""
        return ACTIVATION_DTYPES

    @property
    def zeros_modes(self) -> tuple[ZerosMode, ...]:
        """Those of unsigned ones may be integers, packed."""
        return (*super().zeros_modes, *(("quantized",) if self.is_unsigned else ()))

    def value(self, code: Expr, dtype: str) -> Expr:
        """Return step * code + offset."""
        value = code.astype(dtype)
        value = value * tirx.const(self.step, dtype) if self.step != 1 else value
        return value - tirx.const(-self.offset, dtype) if self.offset else value

    def bounds(self, dtype: torch.dtype) -> Bounds | None:
        """Integers of the format."""
        if dtype.is_floating_point:
            raise ConfigError(
                f"'weight' must hold integers where W is {self.name} (got {dtype}); "
                "quantize it first, for example (weight / scale).round().to(torch.int8)",
                weight=dtype,
            )
        if dtype == self.torch_dtype and not self.is_packed:
            return None
        low, high = self.min_value, self.max_value
        held = f"{low}..{high}" if self.step == 1 else f"{low} and {high}"
        change = f"clamp what is quantized, with .clamp({low}, {high})," if self.step == 1 else "round to these"
        fix = f"{change} or use a W_dtype that holds it"
        return Bounds(low, high, f"{self.name} holds {held}", fix, self.step)

    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """Return (value - offset) / step."""
        if not self.is_packed:
            return values.to(self.torch_dtype)
        import torch

        codes = values.to(torch.int8, memory_format=torch.contiguous_format) - self.offset
        return (codes // self.step if self.step != 1 else codes).view(torch.uint8)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return step * code + offset."""
        return codes * self.step + self.offset if self.is_packed else codes

    # Pairs and bytes of the fragment layout.

    def register_refusal(self, operand: str) -> str | None:
        """Take 16-bit floats for all of at most 8 bits, bytes for what they hold, float8_e4m3 for at most 4 bits."""
        if self.bits > 8:
            return f"needs a format of at most 8 bits (got {self.name})"
        if operand in LINEAR:
            return None
        if operand == "int8":
            fits = self.is_packed or self.is_signed
        elif operand == "uint8":
            fits = self.is_unsigned
        else:
            fits = operand == "float8_e4m3" and self.bits <= 4
        return None if fits else f"needs a format whose values {operand} holds (got {self.name})"

    def in_place_refusal(self, operand: str) -> str | None:
        """Take a float16 for integers of at most 7 bits."""
        return None if operand == "float16" and self.is_packed else super().in_place_refusal(operand)

    def register_decoding(self, plan: RegisterPlan) -> Decoding:
        """See the module."""
        if plan.is_pair and plan.in_place:
            decode = self._shared_byte_pair if plan.shares_bytes else self._in_place_pair
            scale = self.step / LINEAR[plan.operand][1]
            exponent = functools.partial(self._exponent, plan)
            return Decoding(functools.partial(decode, plan), scale, float(-self.offset), exponent)
        if plan.is_pair:
            _, spacing, power = LINEAR[plan.operand]
            # The greatest multiplier is that of the highest plane. step * q + offset is step * (q + offset / step).
            scale = 2.0 ** plan.planes[-1].shift / (power * spacing) * self.step
            return Decoding(functools.partial(self._pair, plan, scale), scale)
        if self.bits == 8:
            return Decoding(lambda source: source.fields[0][0])
        if plan.operand == "int8" and self.is_signed and plan.fills_bytes:
            return Decoding(functools.partial(self._signed_bytes, plan), self.step * 2.0 ** (self.bits - 8))
        codes = functools.partial(self._codes, plan)
        if plan.operand == "float8_e4m3":
            # A byte below 16 is a number proportional to it, by 2^-9, for the reason that the module gives.
            if not self.is_signed:
                return Decoding(codes, 2.0**9)
            return Decoding(functools.partial(self._signed_float8, plan), 1.0 if self.step == 2 else 2.0**9)
        return Decoding(codes, float(self.step), float(-self.offset))

    def _pair(self, plan: RegisterPlan, value_scale: float, source: Source) -> Expr:
        """See the module. Planes are added up from the highest down; every sum is of few enough bits to be exact."""
        dtype, spacing = plan.operand, LINEAR[plan.operand][1]
        total: int | Expr = pair_of(self._word_offset / value_scale, dtype) if self._word_offset else 0
        for codes, plane in zip(reversed(source.fields), reversed(plan.planes), strict=True):
            x, bit = self._masked(codes, plane.bits, plan, source)
            mul = self.step * 2.0 ** (plane.shift - bit) / spacing / value_scale
            total = source.ops.fma(x, pair_of(mul, dtype), total, dtype)
        return total

    def _in_place_pair(self, plan: RegisterPlan, source: Source) -> Expr:
        """See the module. The greatest codes take 7 bits from bit 4 on: 11 in all, which are exact."""
        number: Expr = None
        first = 0
        for codes, plane in zip(source.fields, plan.planes, strict=True):
            x, bit = self._masked(codes, plane.bits, plan, source)
            if number is None:
                number, first = x, bit
            else:
                power = pair_of(2.0 ** (plane.shift + first - bit), plan.operand)
                number = source.ops.fma(x, power, number, plan.operand)
        return number

    def _shared_byte_pair(self, plan: RegisterPlan, source: Source) -> Expr:
        """Return the byte of each half that holds the code, for the lower code with the upper one."""
        del plan
        word, bit = source.fields[0]
        if bit >= _IN_PLACE_BITS:
            word = source.ops.byte_perm(word, 0, 0x4341)
            if bit == _IN_PLACE_BITS:
                return word
        return word & word_like(0x00F000F0 if bit % _IN_PLACE_BITS else 0x00FF00FF, word)

    def _exponent(self, plan: RegisterPlan, bit: int) -> int:
        """Return the bit of a half at which codes stand in the end."""
        return bit - self._shift(bit, plan.planes[0].bits, plan)

    def _masked(self, codes: Field, bits: int, plan: RegisterPlan, source: Source) -> Field:
        """Return a pair of fields with nothing else in the word, and their bit in its halves."""
        word, bit = codes
        if bits == 8:
            low, high = byte_pair(plan, source)
            # Two's complement with the sign bit flipped is the value + 128.
            word = word ^ word_like(0x80808080, word) if self.is_signed else word
            return source.ops.byte_perm(word, 0, low | high << 8 | 0x4040), 0
        word, bit = spread(codes, plan, source)
        shift = self._shift(bit, bits, plan)
        moved = shifted_right(word, shift)
        return moved & word_like(((1 << bits) - 1 << bit - shift) * 0x10001, moved), bit - shift

    def _shift(self, bit: int, bits: int, plan: RegisterPlan) -> int:
        """Return by how much a word is shifted to the right for a field at a bit of a half."""
        linear = LINEAR[plan.operand][0]
        if plan.in_place:
            down = bit // _IN_PLACE_BITS * _IN_PLACE_BITS
            # Codes of one bit would stand at eight places, a row's at four. Two more shifts a word make that two.
            return down - 2 if self.bits == 1 and bit % 4 < 2 else down
        return linear // bits * bits if bit + bits > linear else 0

    def _codes(self, plan: RegisterPlan, source: Source) -> Expr:
        """Return the codes as bytes."""
        merged = None
        for (word, bit), plane in zip(source.fields, plan.planes, strict=True):
            moved = shifted_right(word, bit - plane.shift)
            part = moved & word_like(((1 << plane.bits) - 1 << plane.shift) * 0x01010101, moved)
            merged = part if merged is None else part | merged
        return merged

    def _signed_bytes(self, plan: RegisterPlan, source: Source) -> Expr:
        """Return 2^(8 - bits) * value: a code at the top of a byte, its highest bit inverted, is in two's complement.

        -1 and +1 of one bit become -64 and 64.
        """
        if self.step == 2:
            word, bit = source.fields[0]
            moved = shifted_right(word, bit - 7)
            return (~moved & word_like(0x80808080, moved)) | word_like(0x40404040, moved)
        merged = None
        for (word, bit), plane in zip(source.fields, plan.planes, strict=True):
            top = 8 - self.bits + plane.shift
            moved = shifted_right(word, bit - top)
            part = moved & source.ops.mask(((1 << plane.bits) - 1 << top) * 0x01010101, moved)
            merged = part ^ (word_like(0x80808080, moved) if merged is None else merged)
        return merged

    def _signed_float8(self, plan: RegisterPlan, source: Source) -> Expr:
        """Return sign and magnitude of code + offset; the sign is the code's highest bit, inverted."""
        word, bit = source.fields[-1]
        upper = shifted_right(word, bit + plan.planes[-1].bits - 8)
        sign = word_like(0x80808080, upper)
        if self.step == 2:
            return (upper & sign) ^ word_like(0xB8B8B8B8, upper)
        magnitude = source.ops.abs_difference(self._codes(plan, source), -self.offset * 0x01010101)
        return magnitude | (~upper & sign)

    # Units of the plain layout.

    def unit_refusal(self, operand: str) -> str | None:
        """Refuse more than 8 bits."""
        del operand
        return f"needs a format of at most 8 bits (got {self.name})" if self.bits > 8 else None

    def unit_pair(
        self, words: Sequence[Expr], pair: int, dtype: str, byte_perm: Callable[[Expr, int], Expr]
    ) -> PackedPair:
        """Return codes as the mantissa of 1024 (float16) or 128 (bfloat16), which is subtracted again."""
        first, second = 2 * pair, 2 * pair + 1
        magic = pair_of(1024.0 if dtype == "float16" else 128.0, dtype)
        mul, add = pair_of(1.0, dtype), pair_bits(*self.pair_offsets(dtype), dtype)
        if self.bits == 8:
            word, byte = pair // 2, pair % 2 * 2
            x = byte_perm(words[word], 0x4040 | byte | (byte + 1) << 8)
            if self.is_signed:  # Two's complement with the sign bit flipped is the value + 128.
                x = x ^ word_like(0x00800080, x)
            return PackedPair(x | word_like(magic, x), mul, add)
        if self.bits == 4 and dtype == "float16":
            # The byte of the pair in both halves; the upper nibble stays 4 bits up and is scaled back by 1/16.
            x = merge([(byte_perm(words[pair // 4], pair % 4 * 0x1111), 0x00F0000F)], magic)
            return PackedPair(x, pair_bits(1.0, 1.0 / 16, dtype), add)
        # One bit up a code counts twice.
        mask, up = (1 << self.bits) - 1, self.step - 1
        low = (place(words, first, self.bits, up), mask << up)
        high = (place(words, second, self.bits, 16 + up), mask << (16 + up))
        return PackedPair(merge([low, high], magic), mul, add)

    def pair_offsets(self, dtype: str) -> tuple[float, float]:
        """Return what `unit_pair` adds to the two numbers of a pair: minus the magic base, and the offset.

        A further integer may be subtracted with it, exactly as long as the sums stay integers that `dtype` holds.
        """
        offset = self._word_offset
        if dtype == "bfloat16":
            return -128.0 + offset, -128.0 + offset
        return -1024.0 + offset, (-64.0 if self.bits == 4 else -1024.0) + offset

    def unit_bytes(self, words: Sequence[Expr], quad: int) -> Expr:
        """Return elements 4 * quad to 4 * quad + 3 of a unit, of at most 7 bits, as four int8 in a 32-bit word.

        Parameters
        ----------
        words
            The unit, as 32-bit unsigned words.
        quad
            0 to 7.
        """
        up = self.step - 1
        mask = ((1 << self.bits) - 1) << up
        x = merge([(place(words, 4 * quad + i, self.bits, 8 * i + up), mask << (8 * i)) for i in range(4)])
        if not self.offset:
            return x
        # Subtract in each byte without a borrow: 128 is added before and, by the exclusive or, taken away after.
        top = word_like(0x80808080, x)
        return ((x | top) - word_like(-self.offset * 0x01010101, x)) ^ top


def _format(bits: int, is_signed: bool) -> Integer:
    name = f"{'' if is_signed else 'u'}int{bits}"
    return Integer(name, bits, name if bits >= 8 else "int8", is_signed=is_signed)


FORMATS: tuple[Integer, ...] = (
    *(_format(bits, is_signed=False) for bits in range(1, 9)),
    *(_format(bits, is_signed=True) for bits in range(1, 9)),
    _format(32, is_signed=True),
)
