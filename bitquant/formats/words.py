# SPDX-License-Identifier: Apache-2.0
"""Bits of 32-bit words: what decoding is made of, for TVM expressions, NumPy arrays and Python integers alike.

A *pair* is two 16-bit floats in a word. Constants are given as the bits of such words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import ir, tirx

__all__ = [
    "MINUS_ZERO_PAIR",
    "PackedPair",
    "float_like",
    "merge",
    "pair_bits",
    "pair_of",
    "place",
    "shifted_right",
    "word_like",
]

Expr = Any

#: Two 16-bit floats of -0: adding it keeps a zero's sign.
MINUS_ZERO_PAIR = 0x80008000


@dataclass(frozen=True)
class PackedPair:
    """Two 16-bit floats in one register, before a multiply-add that makes them the value: x * mul + add.

    Attributes
    ----------
    x
        The register.
    mul, add
        Bit patterns of the two pairs of constants; None where x is the value already. The result is exact.
    """

    x: Expr
    mul: int | None = None
    add: int | None = None


def word_like(value: int, like: Expr) -> Expr:
    """Return a 32-bit constant that combines with `like`, a TVM expression or a NumPy array."""
    return tirx.const(value, "uint32") if isinstance(like, ir.Expr) else np.uint32(value)


def float_like(value: float, like: Expr) -> Expr:
    """Return a float32 constant that combines with `like`, a TVM expression or a NumPy array."""
    return tirx.const(value, "float32") if isinstance(like, ir.Expr) else np.float32(value)


def pair_bits(low: float, high: float, dtype: str) -> int:
    """Return the bits of two numbers of a 16-bit type, float16 or bfloat16 (whose further bits are cut off)."""
    if dtype == "float16":
        bits = [int(np.float16(value).view(np.uint16)) for value in (low, high)]
    else:
        bits = [int(np.float32(value).view(np.uint32)) >> 16 for value in (low, high)]
    return bits[0] | bits[1] << 16


def pair_of(value: float, dtype: str) -> int:
    """Return the bits of two equal numbers of a 16-bit type."""
    return pair_bits(value, value, dtype)


def shifted_right(x: Expr, count: int) -> Expr:
    """Return x >> count; x << -count where count is negative."""
    if count == 0:
        return x
    return x >> word_like(count, x) if count > 0 else x << word_like(-count, x)


def place(words: Sequence[Expr], element: int, bits: int, at: int) -> Expr:
    """Return a 32-bit word whose bits [at, at + bits) are the code of `element` of a unit; other bits are arbitrary.

    `words` are 32-bit unsigned: the little-endian bit stream of 32 elements. at + bits must not exceed 32.
    """
    word, first = divmod(element * bits, 32)
    if first + bits > 32:
        value = (words[word] >> first) | (words[word + 1] << (32 - first))
        return value << at if at else value
    if first == at:
        return words[word]
    return words[word] >> (first - at) if first > at else words[word] << (at - first)


def merge(fields: Sequence[tuple[Expr, int]], constant: int = 0) -> Expr:
    """Return the bitwise or of (word & mask) over all fields, and of `constant`; each step is one LOP3."""
    merged = None
    for word, mask in fields:
        part = word & word_like(mask, word)
        merged = (part | word_like(constant, word) if constant else part) if merged is None else part | merged
    return merged
