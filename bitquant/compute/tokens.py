# SPDX-License-Identifier: Apache-2.0
"""The meaning of rounding tokens to 8 bits, as functions from expressions to expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from bitquant.formats import NumberFormat, number_format

__all__ = ["TokenConfig", "bits_of_maximum", "magnitude_bits", "maximum_of_bits", "rounded", "token_factor", "widened"]

Expr = Any

#: Bits of a float32 behind its sign and exponent.
_MANTISSA_BITS = 23
_FLOAT32_BIAS = 127
#: Of each float8: bits of the mantissa, bias of the exponent (OCP 8-bit floating point specification 1.0).
_FLOAT8 = {"float8_e4m3": (3, 7), "float8_e5m2": (2, 15)}


@dataclass(frozen=True)
class TokenConfig:
    """The rounding of each token, a row of x, to 8 bits with a factor of its own.

    ::

        s  = 1 / max(max|x|, least) * L      L = 127, or the largest number of a float8
        x' = round(x * s)                    int8: to integers; float8: to the numbers of the format

    All of it in float32, each operation rounded to nearest even, the rounding of x' too; subnormals are kept. |x * s|
    is a rounding above L at most, so that x' needs no clamp. Where a token holds NaN s is NaN, where it holds infinity
    s is 0; then x' is 0 in int8, and in a float8 NaN wherever x * s is.

    Parameters
    ----------
    x_dtype
        float16, bfloat16 or float32.
    dtype
        int8, float8_e4m3 or float8_e5m2.
    with_weight_scale
        Whether there is a factor of the weight, w, which s is multiplied with before 1 / (s * w) is returned.
    """

    x_dtype: str
    dtype: str
    with_weight_scale: bool = False

    @property
    def x_format(self) -> NumberFormat:
        """Format of x."""
        return number_format(self.x_dtype)

    @property
    def format(self) -> NumberFormat:
        """Format of x'."""
        return number_format(self.dtype)

    @property
    def limit(self) -> float:
        """L, the largest number of the format that has a negative, too."""
        import torch

        return 127.0 if self.format.is_integer else torch.finfo(self.format.torch_dtype).max

    def problem(self) -> dict[str, Any]:
        """Return the fields, for keys of the cache and manifests."""
        return {
            "operation": "quantize_tokens",
            "x_dtype": self.x_format.name,
            "dtype": self.format.name,
            "with_weight_scale": self.with_weight_scale,
        }

    def __str__(self) -> str:
        scale = ", with a scale of the weight" if self.with_weight_scale else ""
        return f"quantize_tokens({self.x_format.name} -> {self.format.name}{scale})"


def magnitude_bits(bits: Expr) -> Expr:
    """Return the bits of a float shifted over its sign: unsigned integers in the order of |x|, NaN above infinity.

    So a maximum of them is NaN where one of the numbers is, as torch's is, and a maximum of floats need not be.
    """
    return tirx.shift_left(bits, tirx.const(1, bits.ty.dtype))


def maximum_of_bits(magnitude: Expr, fmt: NumberFormat) -> Expr:
    """Return |x| in float32 from its `magnitude_bits`, as wide as x."""
    bits = tirx.shift_right(magnitude, tirx.const(1, magnitude.ty.dtype))
    return widened(tirx.reinterpret(fmt.tvm_dtype, bits), fmt)


def bits_of_maximum(maximum: Expr, least: Expr) -> Expr:
    """Return max(maximum, least), float32 of positive numbers; NaN where `maximum` is."""
    bits = tirx.max(tirx.reinterpret("uint32", maximum), tirx.reinterpret("uint32", least))
    return tirx.reinterpret("float32", bits)


def token_factor(maximum: Expr, least: Expr, limit: float) -> Expr:
    """Return s = 1 / max(maximum, least) * limit; two roundings, as torch's ``limit / tensor``."""
    one = tirx.const(1.0, "float32")
    return one / bits_of_maximum(maximum, least) * tirx.const(limit, "float32")


def widened(x: Expr, fmt: NumberFormat) -> Expr:
    """Return x in float32; bfloat16 by its bits, since beside float8 TVM (0.27) loses its cast on a CPU."""
    if fmt.name != "bfloat16":
        return x.astype("float32")
    bits = tirx.reinterpret("uint16", x).astype("uint32")
    return tirx.reinterpret("float32", tirx.shift_left(bits, tirx.const(16, "uint32")))


def rounded(scaled: Expr, fmt: NumberFormat) -> Expr:
    """Return round(scaled), of the TVM type of `fmt`, for x * s in float32, which stands in the result several times.

    The product is a rounding above the limit at most (`TokenConfig`): nothing is clamped.
    """
    if not fmt.is_integer:
        return tirx.reinterpret(fmt.tvm_dtype, _float8_code(scaled, fmt))
    integer = tirx.round(scaled).astype("int32").astype(fmt.tvm_dtype)
    return tirx.Select(_is_nan(scaled), tirx.const(0, fmt.tvm_dtype), integer)


def _float8_code(x: Expr, fmt: NumberFormat) -> Expr:
    """Return the code of the float8 next to x, the even one of two, as uint8; 0x7f for NaN. No x is above all float8.

    TVM's own cast on the CPU (0.27) gets subnormals and infinity wrong, and GPUs before sm_89 have no instruction. Of a
    normal number exponent and mantissa are rounded together in float32's bits, whose bias is then taken back. A
    subnormal one is the integer next to it in units of the least; 2^mantissa is the code of the least normal number.
    """
    mantissa, bias = _FLOAT8[fmt.name]
    cut = _MANTISSA_BITS - mantissa

    def word(value: int) -> Expr:
        return tirx.const(value, "uint32")

    bits = tirx.reinterpret("uint32", x)
    magnitude = tirx.bitwise_and(bits, word(0x7FFFFFFF))
    is_odd = tirx.bitwise_and(tirx.shift_right(magnitude, word(cut)), word(1))
    nearest = tirx.shift_right(magnitude + word((1 << (cut - 1)) - 1) + is_odd, word(cut))
    normal = nearest - word((_FLOAT32_BIAS - bias) << mantissa)
    size = tirx.reinterpret("float32", magnitude)
    units = size * tirx.const(2.0 ** (bias - 1 + mantissa), "float32")
    subnormal = tirx.round(units).astype("int32").astype("uint32")
    is_subnormal = size < tirx.const(2.0 ** (1 - bias), "float32")
    sign = tirx.bitwise_and(tirx.shift_right(bits, word(24)), word(0x80))
    code = tirx.bitwise_or(tirx.Select(is_subnormal, subnormal, normal), sign)
    return tirx.Select(_is_nan(x), word(0x7F), code).astype("uint8")


def _is_nan(x: Expr) -> Expr:
    """Return whether a float32 is NaN, as a comparison, which vectorises."""
    magnitude = tirx.bitwise_and(tirx.reinterpret("uint32", x), tirx.const(0x7FFFFFFF, "uint32"))
    return magnitude > tirx.const(0x7F800000, "uint32")
