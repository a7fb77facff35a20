# SPDX-License-Identifier: Apache-2.0
"""Registers of tensor cores: where a format finds its codes in them, and what it returns to the kernel.

A kernel loads words of a weight in the fragment layout (`bitquant.layouts`) and wants operand registers: pairs of
16-bit floats, or four bytes. A `RegisterPlan` says which, and how the codes stand; the format answers with a
`Decoding`, which makes one register of a `Source` by the operations that come with it. So one description serves
kernels, which emit instructions, and tests, which compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

__all__ = ["LINEAR", "Decoding", "Field", "Plane", "RegisterOps", "RegisterPlan", "Source", "byte_pair", "spread"]

Expr = Any
#: The word that holds a register's codes, or a plane's part of them, and the bit where the first of them begins.
Field = tuple[Expr, int]

#: Of each 16-bit type: the low bits in which numbers are evenly spaced, that spacing, and the greatest power of two.
#: The low bits are the mantissa and the least bit of the exponent: subnormal and least normal numbers (IEEE 754, 3.4).
LINEAR = {"float16": (11, 2.0**-24, 2.0**15), "bfloat16": (8, 2.0**-133, 2.0**127)}


class RegisterOps(Protocol):
    """What decoding needs beyond the operators of 32-bit unsigned numbers.

    A pair is two 16-bit floats in a register; constant pairs are given as bits.
    """

    def hold(self, x: Expr) -> Expr:
        """Return x in a register of its own."""

    def bits(self, x: Expr) -> Expr:
        """Return the bits of a float32 as a 32-bit unsigned number."""

    def mask(self, bits: int, x: Expr) -> Expr:
        """Return a mask for x, for an operation that has another constant besides."""

    def fma(self, x: Expr, mul: int | Expr, add: int | Expr, dtype: str) -> Expr:
        """Return the pair x * mul + add, rounded once."""

    def byte_perm(self, x: Expr, y: int | Expr, selector: int | Expr) -> Expr:
        """Return PRMT: byte i is byte (selector >> 4i) & 7 of the eight of x (0 to 3) and y (4 to 7).

        A selector that is not a constant has 0 in bits 4i + 3.
        """

    def repeat_signs(self, x: Expr) -> Expr:
        """Return PRMT: byte i is 255 where the highest bit of byte i is set, else 0."""

    def abs_difference(self, x: Expr, y: int) -> Expr:
        """Return |x - y| of each of four unsigned bytes."""

    def from_e4m3(self, x: Expr, half: int) -> Expr:
        """Return the two float8_e4m3 in half `half` of x as a float16 pair."""

    def widen(self, x: Expr) -> Expr:
        """Return a float16 pair as a bfloat16 pair (of values that bfloat16 holds)."""

    def lookup(self, table: Any, word: Expr, byte: int) -> Expr:
        """Return the entry of a table of 256 pairs that byte `byte` of a word names."""


class Plane(Protocol):
    """Some bits of every code, which stand together in words of their own (`bitquant.layouts.Plane`)."""

    @property
    def bits(self) -> int:
        """Width."""

    @property
    def shift(self) -> int:
        """Position in the code of the lowest of these bits."""


@dataclass(frozen=True)
class RegisterPlan:
    """What registers are to hold, and how the codes stand that they are made of.

    Attributes
    ----------
    operand
        Type of the tensor cores' left operand: float16, bfloat16, int8, uint8, float8_e4m3 or float8_e5m2.
    planes
        The planes that codes are cut into, the widest first, with the lowest bits.
    registers
        Operand registers a register of the layout: 2 where four codes become pairs of 16 bits, else 1.
    converts_float8
        Whether the device has instructions between float8 and float16 (`GpuArch.has_float8_conversion`).
    is_adjacent
        Whether the codes of a register stand side by side in a word, as a table of pairs wants them.
    in_place, fills_bytes, shares_bytes, permutes
        As for `bitquant.intrin.decoders.RegisterDecoder`.
    """

    operand: str
    planes: Sequence[Plane]
    registers: int
    converts_float8: bool
    is_adjacent: bool = False
    in_place: bool = False
    fills_bytes: bool = False
    shares_bytes: bool = False
    permutes: int = 0

    @property
    def is_pair(self) -> bool:
        """Whether registers are pairs of 16-bit floats, and not four bytes."""
        return self.operand in LINEAR


@dataclass(frozen=True)
class Source:
    """What one operand register is decoded from.

    `fields` has a field for each plane; `word` is the place of its word in a lane's part of the tile (of the last
    plane), `half` the pair wanted of a register's four codes; `table` is what `RegisterOps.lookup` looks into.
    """

    fields: Sequence[Field]
    word: int
    half: int
    ops: RegisterOps
    table: Any


class Decoding(NamedTuple):
    """How registers become numbers: value = value_scale * 2^-exponent * number - value_offset.

    Attributes
    ----------
    decode
        Returns one operand register.
    value_scale
        A power of two, the same for all registers.
    value_offset
        0 but for signed integers whose codes are taken as they are.
    exponent
        Maps the bit of a half at which a register's lowest plane begins to the exponent of its numbers; None where it
        is 0 for all.
    """

    decode: Callable[[Source], Expr]
    value_scale: float = 1.0
    value_offset: float = 0.0
    exponent: Callable[[int], int] | None = None


def spread(field: Field, plan: RegisterPlan, source: Source) -> Field:
    """Return the field with the codes of a pair in the two halves of a word."""
    if plan.registers == 1:
        return field
    return source.ops.byte_perm(field[0], 0, 0x4342 if source.half else 0x4140), field[1]


def byte_pair(plan: RegisterPlan, source: Source) -> tuple[int, int]:
    """Return the bytes of a word that are the two codes of a pair, for codes of 8 bits."""
    if plan.registers == 2:
        return 2 * source.half, 2 * source.half + 1
    first = source.fields[0][1] // 8
    return first, first + 2
