# SPDX-License-Identifier: Apache-2.0
"""Floating point of 8 bits, torch's types: E4M3 and E5M2, numbers of A and W, and E8M0, a type of scales.

Sources: OCP 8-bit floating point specification 1.0; for E8M0 OCP Microscaling Formats specification 1.0, 5.4.1.

Every number of E4M3 and E5M2 is a float16. E5M2 is its upper byte; of E4M3 exponent and mantissa are put where float16
has them, whose bias is greater by 8. E8M0 is the exponent of a float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx

from bitquant.errors import ConfigError
from bitquant.formats.base import Bounds, ZerosMode
from bitquant.formats.floats import TorchFloat, float_bounds
from bitquant.formats.registers import LINEAR, Decoding, RegisterPlan, Source, byte_pair
from bitquant.formats.words import MINUS_ZERO_PAIR, PackedPair, pair_of, word_like

if TYPE_CHECKING:
    import torch

__all__ = ["FORMATS", "Exponent8", "Float8"]

Expr = Any


@dataclass(frozen=True)
class Float8(TorchFloat):
    """A float8; `has_infinity` tells E5M2, which has infinities, from E4M3, whose codes 0x7f and 0xff are NaN."""

    has_infinity: bool = False

    def is_exact_in(self, dtype: str) -> bool:
        """Whether it is the format's own type or one of 16 and 32 bits."""
        return dtype == self.tvm_dtype or dtype in (*LINEAR, "float32")

    def value(self, code: Expr, dtype: str) -> Expr:
        """Return the number from its bits.

        TVM's own cast of float8 on the CPU (0.27) shifts the exponent's bias and so gets zero, subnormals, infinity and
        NaN wrong.
        """
        wide = tirx.Var("bits", "uint16")
        bits = tirx.reinterpret("uint8", code).astype("uint16")
        if self.has_infinity:
            half = tirx.reinterpret("float16", tirx.shift_left(bits, tirx.const(8, "uint16")))
            return half.astype("float32").astype(dtype)
        magnitude = tirx.bitwise_and(wide, tirx.const(0x7F, "uint16"))
        sign = tirx.shift_left(tirx.bitwise_and(wide, tirx.const(0x80, "uint16")), tirx.const(8, "uint16"))
        half_bits = tirx.bitwise_or(tirx.shift_left(magnitude, tirx.const(7, "uint16")), sign)
        scaled = tirx.reinterpret("float16", half_bits).astype("float32") * tirx.const(256.0, "float32")
        is_nan = magnitude == tirx.const(0x7F, "uint16")
        value = tirx.Let(wide, bits, tirx.Select(is_nan, tirx.const(float("nan"), "float32"), scaled))
        return value.astype(dtype)

    def bounds(self, dtype: torch.dtype) -> Bounds | None:
        """Numbers that round into the range; bytes are bit patterns."""
        if dtype.is_floating_point:
            return float_bounds(self, dtype)
        if dtype.itemsize != 1:
            raise ConfigError(
                f"'weight' must hold floats, or bit patterns as int8 or uint8, where W is {self.name} "
                f"(got {dtype}); cast it to float32 for values, to uint8 for bit patterns",
                weight=dtype,
            )
        return None

    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """Round to nearest; bytes are taken as they are."""
        return values.to(self.torch_dtype) if values.is_floating_point() else values.view(self.torch_dtype)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the numbers."""
        return codes

    def register_refusal(self, operand: str) -> str | None:
        """Take 16-bit floats and the format's own type."""
        fits = operand in LINEAR or operand == self.name
        return None if fits else f"needs a format whose values {operand} holds (got {self.name})"

    def register_decoding(self, plan: RegisterPlan) -> Decoding:
        """Return pairs of 16-bit floats, or the bytes as they are."""
        if not plan.is_pair:
            return Decoding(lambda source: source.fields[0][0])
        converts = plan.converts_float8
        scale = 1.0 if self.has_infinity or converts else 2.0**8
        return Decoding(functools.partial(self._pair, plan, converts), scale)

    def _pair(self, plan: RegisterPlan, converts: bool, source: Source) -> Expr:
        """Every float8 is a float16; bfloat16 is made from that."""
        word, ops = source.fields[0][0], source.ops
        low, high = byte_pair(plan, source)
        as_upper_bytes = low << 4 | high << 12 | 0x0404
        if self.has_infinity:
            x = ops.byte_perm(word, 0, as_upper_bytes)
        elif converts:
            # Bytes 0, 2, 1, 3 where a pair is not made of neighbours.
            adjacent = word if plan.registers == 2 else ops.byte_perm(word, 0, 0x3120)
            x = ops.from_e4m3(adjacent, source.half if plan.registers == 2 else low)
        else:
            upper = ops.byte_perm(word, 0, as_upper_bytes)
            x = ops.hold(
                ((upper >> word_like(1, upper)) & word_like(0x3F803F80, upper)) | (upper & word_like(0x80008000, upper))
            )
            # The codes of NaN now read 1.875 and the others at most 1.75: of their products by 36000 only the first
            # overflow, and infinity * 0 + x is NaN.
            huge = ops.fma(x, pair_of(36000.0, "float16"), MINUS_ZERO_PAIR, "float16")
            x = ops.fma(huge, 0, x, "float16")
        return x if plan.operand == "float16" else ops.widen(ops.hold(x))

    def unit_refusal(self, operand: str) -> str | None:
        """Take 16-bit floats."""
        return None if operand in LINEAR else super().unit_refusal(operand)

    def unit_pair(
        self, words: Sequence[Expr], pair: int, dtype: str, byte_perm: Callable[[Expr, int], Expr]
    ) -> PackedPair:
        """Return bits moved to float16's fields, times the power of two that the biases differ by."""
        del dtype
        word, byte = pair // 2, pair % 2 * 2
        high = byte_perm(words[word], 0x0404 | byte << 4 | (byte + 1) << 12)
        if self.has_infinity:
            return PackedPair(high)
        magnitude = high & word_like(0x7F007F00, high)
        # The codes 0x7f and 0xff are NaN: the sum carries into the sign bit, which then fills the 15 bits below.
        sign = word_like(0x80008000, high)
        carry = (magnitude + word_like(0x01000100, high)) & sign
        nan = carry - (carry >> 15)
        return PackedPair((magnitude >> 1) | (high & sign) | nan, pair_of(256.0, "float16"), MINUS_ZERO_PAIR)


@dataclass(frozen=True)
class Exponent8(TorchFloat):
    """E8M0: the code c is 2^(c - 127), 255 is NaN. There is no sign and no zero. Scales alone are of this type."""

    def is_exact_in(self, dtype: str) -> bool:
        """Whether the type has as many exponents: bfloat16 and float32 hold 2^-127 as a subnormal number."""
        return dtype in (self.tvm_dtype, "bfloat16", "float32")

    @property
    def activations(self) -> tuple[str, ...]:
        """None: no weight has this format."""
        return ()

    @property
    def zeros_modes(self) -> tuple[ZerosMode, ...]:
        """None."""
        return ()

    def value(self, code: Expr, dtype: str) -> Expr:
        """Return the power of two from its bits; 2^-127 is a subnormal float32."""
        bits = tirx.reinterpret("uint8", code).astype("uint32")
        power = tirx.shift_left(bits, tirx.const(23, "uint32"))
        # Multiplied, not selected: comparisons of narrow integers do not vectorise everywhere.
        is_least = (bits == tirx.const(0, "uint32")).astype("uint32") * tirx.const(1 << 22, "uint32")
        is_nan = (bits == tirx.const(255, "uint32")).astype("uint32") * tirx.const(1 << 22, "uint32")
        return tirx.reinterpret("float32", power | is_least | is_nan).astype(dtype)

    def bounds(self, dtype: torch.dtype) -> Bounds | None:
        """Positive numbers; bytes are bit patterns."""
        if dtype.is_floating_point:
            held = f"{self.name} holds powers of two from 2^-127 to 2^127"
            return Bounds(2.0**-127, 2.0**127, held, "clamp it to that range")
        return None

    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """Round as torch does; bytes are taken as they are."""
        return values.to(self.torch_dtype) if values.is_floating_point() else values.view(self.torch_dtype)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the numbers."""
        return codes


FORMATS: tuple[TorchFloat, ...] = (
    Float8("float8_e4m3", 8, "float8_e4m3fn", aliases=("float8_e4m3fn", "e4m3_float8", "e4m3")),
    Float8("float8_e5m2", 8, "float8_e5m2", has_infinity=True, aliases=("e5m2_float8", "e5m2")),
    Exponent8("float8_e8m0", 8, "float8_e8m0fnu", aliases=("float8_e8m0fnu", "e8m0_float8", "e8m0")),
)
