# SPDX-License-Identifier: Apache-2.0
"""From a stored weight to its value: unpack, subtract, scale.

What a zero point means stands here, once, and what a code is worth in its format (`NumberFormat.value`): functions from
expressions to expressions, which the TE definition and the kernels written by hand both call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

__all__ = ["apply_scale_and_zero", "unpack_code"]

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
