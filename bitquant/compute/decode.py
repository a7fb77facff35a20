"""From a stored weight to its value: unpack, cast, subtract, scale.

Everything that knows what a code or a zero point means stands here, once, as functions from expressions to
expressions; the TE definition and the kernels written by hand both call them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from bitquant.dtypes import NumberFormat

__all__ = ["apply_scale_and_zero", "code_to_value", "float8_to_float32", "unpack_code"]

Expr = Any  # A TVM expression; TVM ships no type stubs.


def unpack_code(load: Callable[[Expr], Expr], k: Expr, bits: int) -> Expr:
    """Return the unsigned code of element `k` of a packed row, as uint8.

    Element k is bits [k * bits, (k + 1) * bits) of the row's little-endian bit stream.

    Parameters
    ----------
    load
        Maps the index of a byte in the row to its value (any 8-bit integer type).
    k
        Index of the element.
    bits
        Width of a code, 1 to 7.
    """
    mask = tirx.const((1 << bits) - 1, "uint8")
    if 8 % bits == 0:
        per_byte = 8 // bits
        shift = (k % per_byte * bits).astype("uint8")
        return tirx.bitwise_and(tirx.shift_right(load(k // per_byte).astype("uint8"), shift), mask)
    # Eight elements fill `bits` whole bytes, so an element begins `first` bits into byte k * bits / 8 and may reach
    # into the next one, which is read only then: behind the last element of a row there is none.
    byte, first = k * bits // 8, k * bits % 8
    low = tirx.shift_right(load(byte).astype("uint8"), first.astype("uint8"))
    next_byte = tirx.if_then_else(first + bits > 8, load(byte + 1).astype("uint8"), tirx.const(0, "uint8"))
    # 8 - first, kept under 8 where nothing is taken from the next byte: a shift by the width is undefined.
    high = tirx.shift_left(next_byte, ((8 - first) % 8).astype("uint8"))
    return tirx.bitwise_and(tirx.bitwise_or(low, high), mask)


def _select_from_table(code: Expr, table: tuple[float, ...], dtype: str) -> Expr:
    """Return table[code] as a tree of selects over the bits of `code`: no memory, and it vectorises."""
    level: list[Expr] = [tirx.const(v, dtype) for v in table]
    bit = 0
    while len(level) > 1:
        is_set = tirx.bitwise_and(code, tirx.const(1 << bit, "uint8")) != tirx.const(0, "uint8")
        level = [tirx.Select(is_set, level[i + 1], level[i]) for i in range(0, len(level), 2)]
        bit += 1
    return level[0]


def float8_to_float32(x: Expr, fmt: NumberFormat) -> Expr:
    """Return a float8 as float32, every code exactly, from its bits.

    TVM's own cast of float8 on the CPU (0.27) shifts the exponent's bias and so gets zero, subnormals, infinity and NaN
    wrong.
    Exponent and mantissa are put where float16 has them: e5m2 is float16's upper byte; e4m3's bias is smaller by 8,
    a factor of 2^8 afterwards, and its codes 0x7f and 0xff are NaN (OCP 8-bit floating point specification 1.0).
    """
    wide = tirx.Var("bits", "uint16")
    bits = tirx.reinterpret("uint8", x).astype("uint16")
    if fmt.name == "float8_e5m2":
        half = tirx.reinterpret("float16", tirx.shift_left(bits, tirx.const(8, "uint16")))
        return half.astype("float32")
    magnitude = tirx.bitwise_and(wide, tirx.const(0x7F, "uint16"))
    sign = tirx.shift_left(tirx.bitwise_and(wide, tirx.const(0x80, "uint16")), tirx.const(8, "uint16"))
    half_bits = tirx.bitwise_or(tirx.shift_left(magnitude, tirx.const(7, "uint16")), sign)
    scaled = tirx.reinterpret("float16", half_bits).astype("float32") * tirx.const(256.0, "float32")
    is_nan = magnitude == tirx.const(0x7F, "uint16")
    return tirx.Let(wide, bits, tirx.Select(is_nan, tirx.const(float("nan"), "float32"), scaled))


def code_to_value(code: Expr, fmt: NumberFormat, dtype: str, table: Callable[[Expr], Expr] | None = None) -> Expr:
    """Return the value of a stored code in `dtype`, exactly where `dtype` holds it.

    Parameters
    ----------
    code
        The code as `unpack_code` gives it, or an element of the stored tensor where the format is not packed.
    fmt
        The format of the weight.
    dtype
        TVM type of the result: a float type, or a signed integer type for integer formats.
    table
        Returns the value of a code in `dtype`, for formats that `NumberFormat.needs_table` says are looked up; None:
        a tree of selects.
    """
    if fmt.kind == "float" and fmt.bits == 8:
        return float8_to_float32(code, fmt).astype(dtype)
    if not fmt.is_packed:
        return code.astype(dtype)
    if fmt.name == "int1":
        return code.astype(dtype) * tirx.const(2, dtype) - tirx.const(1, dtype)
    if fmt.name == "fp4_e2m1":
        # Exponent and mantissa land in float16's, whose bias is greater by 14; the product is exact, also for the
        # subnormal 0.5. float32 would not do: its subnormals are flushed to zero where a build asks for fast-math.
        wide = tirx.Var("code", "uint16")
        magnitude = tirx.shift_left(tirx.bitwise_and(wide, tirx.const(7, "uint16")), tirx.const(9, "uint16"))
        sign = tirx.shift_left(tirx.bitwise_and(wide, tirx.const(8, "uint16")), tirx.const(12, "uint16"))
        half = tirx.Let(wide, code.astype("uint16"), tirx.reinterpret("float16", tirx.bitwise_or(magnitude, sign)))
        return (half.astype("float32") * tirx.const(2.0**14, "float32")).astype(dtype)
    if fmt.codebook is not None and table is not None:
        return table(code)
    if fmt.codebook is not None:
        bound = tirx.Var("code", "uint8")
        return tirx.Let(bound, code, _select_from_table(bound, fmt.codebook, dtype))
    value = code.astype(dtype)
    return value - tirx.const(fmt.code_offset, dtype) if fmt.code_offset else value


def apply_scale_and_zero(w: Expr, scale: Expr | None, zero: Expr | None, zeros_mode: str | None) -> Expr:
    """Return (w - z) * s, or w * s - z where `zeros_mode` is "rescale"; all operands of one type.

    None stands for an absent operand: a scale of one, a zero point of zero.
    """
    if zero is not None and zeros_mode != "rescale":
        w = w - zero
    if scale is not None:
        w = w * scale
    if zero is not None and zeros_mode == "rescale":
        w = w - zero
    return w
