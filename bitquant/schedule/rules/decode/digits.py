# SPDX-License-Identifier: Apache-2.0
"""A as digits: one row of float16 numbers as eight columns of int8, for weights of few bits in integers.

A tensor-core product has eight columns, and one row of A leaves seven of them unused. A float16 number is a multiple
of 2^-24, of 40 bits and a sign. These are seven digits to the base 128, exactly, with 8 bits to spare. As columns of
int8 they make the product one of integers: codes are bytes, of which one mask takes four from a word, and one
instruction multiplies 32 k::

    a * 2^(24 + e) = sum_d digit_d * 128^d            digit_d = -64 ... 64
    sum_k a_k w_k  = 2^-(24 + e) * sum_d 128^d * (sum_k digit_d(a_k) * w_k)

Codes are multiplied unshifted in their bytes. A code at bit x of a byte is scaled by 2^x; the digits of the A that it
is multiplied with are made of a * 2^-x instead, which is what the spare bits are for. Codes of row g + 8 of a tile are
one width of a plane above those of row g: all their sums are scaled by the same factor.

In the layout for operands of 16 bits (`bitquant.layouts`) a word of a plane of w bits holds F = 16 / w registers, of
two k each, at bits i * w of its halves. The bytes at bit x = i * w are those of registers i and i + F / 2. A *column*
is the bytes of both rows that are multiplied with the same A: i even for row g, i + 1 for row g + 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bitquant.config import MatmulConfig
from bitquant.formats import NumberFormat
from bitquant.layouts import FragmentLayout, Plane, fragment_layout

__all__ = ["DIGITS", "DIGIT_BITS", "DigitColumn", "DigitPlan", "digits_refusal"]

Expr = Any

#: Digits of a number of A, and their base's binary logarithm. The eighth column is zero.
DIGITS, DIGIT_BITS = 7, 7
#: Of float16 the binary logarithm of the least number, and the bits of the greatest as a multiple of it.
_UNIT_EXPONENT, _NUMBER_BITS = -24, 40
#: k of an mma instruction on bytes.
_PRODUCT_K = 32
#: Codes of more bits are not worth it: theirs come from memory no faster than they are decoded.
_MAX_BITS = 3


def digits_refusal(config: MatmulConfig) -> str | None:
    """Return why A of a problem is not multiplied as digits, as "needs ... (got ...)", or None."""
    if config.A_format.name != "float16":
        return f"needs A of type float16 for digits (got {config.A_format.name})"
    if not config.W_format.is_integer or config.W_format.bits > _MAX_BITS:
        return f"needs integers of at most {_MAX_BITS} bits as W for digits (got {config.W_format.name})"
    if config.reduce_dtype != "float32":
        return f"needs sums in float32 for digits (got {config.reduce_dtype})"
    least = max(_PRODUCT_K, word_k(fragment_layout(config).planes[-1]))
    if config.num_groups > 1 and config.group % least:
        return f"needs group_size % {least} == 0 for digits (got {config.group})"
    return None


def word_k(plane: Plane) -> int:
    """Return the k whose codes the words of a row of lanes hold, one word each."""
    return 64 // plane.bits


@dataclass(frozen=True)
class DigitColumn:
    """Four bytes of a lane's codes of a plane, for rows g and g + 8.

    Attributes
    ----------
    word
        Word of this lane's part of the plane.
    bit
        Where in a byte the codes of row g begin; those of row g + 8 begin a plane's width above.
    """

    word: int
    bit: int


@dataclass(frozen=True)
class DigitPlan:
    """Which codes of a tile are multiplied with which digits.

    Parameters
    ----------
    fmt
        Format of the weight, integers of at most 4 bits.
    fragment_layout
        How it is stored.
    """

    fmt: NumberFormat
    fragment_layout: FragmentLayout

    @property
    def planes(self) -> tuple[Plane, ...]:
        """The planes of the layout, the widest first."""
        return self.fragment_layout.planes

    def columns_of_word(self, plane: Plane) -> int:
        """Return how many columns a word holds: column i has the 8 k from 8 * i on, and those 8 * count after them."""
        return 4 // plane.bits

    @property
    def columns(self) -> int:
        """Columns of a tile, in each plane: two make an mma instruction."""
        return self.fragment_layout.tile_k // 16

    def column(self, plane: Plane, index: int) -> DigitColumn:
        """Return a column of a tile."""
        word, in_word = divmod(index, self.columns_of_word(plane))
        return DigitColumn(word, 2 * plane.bits * in_word)

    @cached_property
    def exponent(self) -> int:
        """Binary logarithm e of the factor that makes the products of all columns integers."""
        last = (self.column(plane, self.columns_of_word(plane) - 1).bit - plane.shift for plane in self.planes)
        return max(0, *last)

    def scale_exponent(self, plane: Plane, bit: int) -> int:
        """Return the binary logarithm of what A is multiplied with before it is cut into digits, for a column.

        It makes A an integer, and compensates for the position of the plane in a code and of the codes in their bytes.
        """
        return self.exponent - _UNIT_EXPONENT + plane.shift - bit

    def __post_init__(self) -> None:
        greatest = max(self.scale_exponent(plane, 0) for plane in self.planes)
        # Digits reach to 64 * (128^7 - 1) / 127, a little more than 2^48.
        assert greatest + _UNIT_EXPONENT + _NUMBER_BITS <= DIGITS * DIGIT_BITS - 1

    def unit(self, half: int) -> float:
        """Return what a sum of 1 in the column of the lowest digit stands for, in row g (0) or g + 8 (1) of a tile."""
        return self._value_scale * 2.0 ** (_UNIT_EXPONENT - self.exponent - half * self.planes[0].bits)

    def k_of_lane(self, plane: Plane, column: Expr, t: Expr) -> tuple[Expr, Expr]:
        """Return the k of a column that lane t of four has: (first, second), each the first of two neighbours.

        Bytes 0 and 2 of the column are the codes of the first two k, bytes 1 and 3 those of the second two.

        Parameters
        ----------
        plane
            One of `planes`.
        column
            Number of the column, counted from a tile's beginning on, over tiles.
        t
            Number of the lane of those that have the same rows.
        """
        count = self.columns_of_word(plane)
        first = column // count * (16 * count) + column % count * 8 + t * 2
        return first, first + 8 * count

    def mask(self, plane: Plane, bit: int, half: int) -> int:
        """Return the mask of a column's codes in a word, for row g (0) or g + 8 (1)."""
        return ((1 << plane.bits) - 1 << bit + half * plane.bits) * 0x01010101

    def ones(self, bit: int, half: int) -> int:
        """Return the left operand that sums A, in place of the first plane's codes: ones at their places."""
        return 0x01010101 << bit + half * self.planes[0].bits

    def row_factor(self, plane: Plane, half: int) -> int:
        """Return what sums of a plane are multiplied with to be in the unit of the first, the widest plane."""
        return 1 << half * (self.planes[0].bits - plane.bits)

    @property
    def sum_of_a_factor(self) -> float:
        """What sums of A are multiplied with to be in the unit of products, which int1's values, 2 q - 1, double."""
        return 1 / self._value_scale

    @property
    def _value_scale(self) -> float:
        return float(self.fmt.step)

    def plane_bytes(self, phase_k: int) -> int:
        """Return the bytes that the digits of A take for each plane: eight a number, of which one is none."""
        return (DIGITS + 1) * phase_k

    @property
    def most_run_k(self) -> int:
        """The longest run in k: sums of two digits, of up to 64 * 129, and of all planes are joined in 32 bits."""
        widest = self.planes[0].bits
        codes = sum(((1 << plane.bits) - 1 << 8 - plane.bits) << widest - plane.bits for plane in self.planes)
        return (1 << 31) // (codes * 64 * 129)
