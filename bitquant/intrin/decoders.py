# SPDX-License-Identifier: Apache-2.0
"""From the words of a weight in the `fragment` layout to the operand registers of tensor cores, in few instructions.

A format says how a register is decoded (`bitquant.formats`). This module knows the layout: where in a lane's words the
codes of a register are, and which ways of decoding fit it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitquant.errors import ScheduleError
from bitquant.formats import NumberFormat
from bitquant.formats.levels import differ_by_sign, level_bits
from bitquant.formats.registers import LINEAR, RegisterOps, RegisterPlan, Source
from bitquant.intrin.operations import TABLE_BYTES, TirxOps, fill_pair_table
from bitquant.layouts import FragmentLayout

__all__ = ["RegisterDecoder", "permuted_words"]

Expr = Any

#: What `permuted_words` returns: by whether the upper eight levels are the lower ones' negatives, and by `is_busy`.
_PERMUTED_WORDS = {True: (2, 1), False: (0, 2)}


def permuted_words(fmt: NumberFormat, layout: FragmentLayout, is_busy: bool) -> int:
    """Return the `permutes` with which a `RegisterDecoder` is fast, as measured on H200s (docs/kernels.md).

    Parameters
    ----------
    fmt, layout
        Format of the weight, and how it is stored.
    is_busy
        Whether the tensor cores read their other operand from shared memory most of the time.
    """
    if not layout.is_adjacent or fmt.codebook is None:
        return 0
    return _PERMUTED_WORDS[differ_by_sign(level_bits(fmt.codebook, "float16"))][is_busy]


class RegisterDecoder:
    """Decodes the registers of a weight tile, exactly: value = value_scale * 2^-exponent(r) * number - value_offset.

    Only levels of a codebook are rounded, to the nearest number of the operand's type.

    Parameters
    ----------
    fmt
        Format of the weight.
    layout
        How it is stored.
    operand
        Type of the tensor cores' left operand: float16, bfloat16, int8, uint8, float8_e4m3 or float8_e5m2. Types of 8
        bits go with a layout for operands of 8 bits, those of 16 with either.
    converts_float8
        Whether the device has instructions between float8 and float16 (`GpuArch.has_float8_conversion`).
    in_place
        Decode in place (`bitquant.formats.integers`): numbers of different registers r differ by a factor,
        2^exponent(r).
    fills_bytes
        Whether signed integers of fewer than 8 bits, as int8, fill the top bits of their bytes: then there is no
        offset, and numbers are up to 128 in magnitude. Else they are their codes.
    shares_bytes
        For 4 bits in place: the number of an even register r contains that of register r + 1. Sums of products
        of row g + 8 must be subtracted from those of row g.
    permutes
        Of every so many words one has the values of its lower two bytes permuted (`bitquant.formats.levels`), and not
        looked up; 0: none has. `permuted_words` says what is fast.

    Attributes
    ----------
    value_scale
        A power of two.
    value_offset
        Not 0 only for signed integers of fewer than 8 bits, in place or as int8 without `fills_bytes`: sums are
        corrected by value_offset * sum_k a_k.
    registers
        Operand registers a register of the layout: 2 where the layout's operands have 8 bits and these have 16, the
        first for values e = 0, 1 and the second for e = 2, 3; else 1.
    has_table, table_bytes
        Whether values are looked up in a `PairTable`, as the layout is made for, and the shared memory that it takes.

    Raises
    ------
    ScheduleError
        As `NumberFormat.register_refusal` and `in_place_refusal` say, or if operand, format and layout do not go
        together.
    """

    def __init__(
        self,
        fmt: NumberFormat,
        layout: FragmentLayout,
        operand: str,
        *,
        converts_float8: bool = True,
        in_place: bool = False,
        fills_bytes: bool = False,
        shares_bytes: bool = False,
        permutes: int = 0,
    ) -> None:
        registers = 2 if operand in LINEAR and layout.operand_bits == 8 else 1
        ways = in_place, fills_bytes, shares_bytes, permutes
        plan = RegisterPlan(operand, layout.planes, registers, converts_float8, layout.is_adjacent, *ways)
        if (refusal := _refusal(fmt, layout, plan)) is not None:
            raise ScheduleError(f"operand {operand!r} {refusal}", fmt=fmt.name, operand=operand)
        self.fmt, self.fragment_layout, self.operand = fmt, layout, operand
        self.in_place, self.shares_bytes, self.permutes = in_place, shares_bytes, permutes
        self.registers = registers
        self.has_table = layout.is_adjacent
        self.table_bytes = TABLE_BYTES if self.has_table else 0
        self._decoding = fmt.register_decoding(plan)
        self.value_scale, self.value_offset = self._decoding.value_scale, self._decoding.value_offset
        self._ops = TirxOps()

    def exponent(self, r: int) -> int:
        """Return the binary logarithm of the factor by which the numbers of register r are greater; 0 unless in place.

        In place it is the bit of a half at which its codes' lowest plane ends up.
        """
        if self._decoding.exponent is None:
            return 0
        _, bit = self.fragment_layout.bit_position(self.fragment_layout.planes[0], r, 0)
        return self._decoding.exponent(int(bit))

    @property
    def exponents_follow_rows(self) -> bool:
        """Whether exponent(r) depends on r % 2 alone: the row of the left operand that a register belongs to."""
        return all(self.exponent(r) == self.exponent(r % 2) for r in range(self.fragment_layout.registers))

    def decode(self, words: Sequence[Any], r: int, table: Any = None, ops: RegisterOps | None = None) -> list[Expr]:
        """Return the `registers` operand registers of register r of a tile, as 32-bit unsigned numbers.

        Parameters
        ----------
        words
            For each plane this lane's words of the tile: a buffer, a sequence, or a function of the index.
        r
            Register of the layout, 0 ... ``layout.registers`` - 1.
        table
            If `has_table`, the `PairTable` that `fill_table` has filled.
        ops
            Other operations than those that emit TIRx; then words, and `table` if need be, are what these work on.
        """
        ops = self._ops if ops is None else ops
        fields, word = [], 0
        for plane, part in zip(self.fragment_layout.planes, words, strict=True):
            word, bit = self.fragment_layout.bit_position(plane, r, 0)
            # Buffers are callable too.
            fields.append((part[word] if hasattr(part, "__getitem__") else part(word), bit))
        return [
            ops.hold(self._decoding.decode(Source(fields, word, half, ops, table))) for half in range(self.registers)
        ]

    # The table.

    def pair_values(self) -> np.ndarray:
        """Return the table's entries, uint32 of shape (256,): the value of a byte's low code, and of its high one."""
        bits, byte = self._level_bits(), np.arange(256)
        return bits[byte & 15] | bits[byte >> 4] << np.uint32(16)

    def _level_bits(self) -> np.ndarray:
        return level_bits(self.fmt.codebook or (), self.operand)

    def fill_table(self, arena: Any, offset: int, thread: Expr, threads: int) -> None:
        """Emit the making of the table by all threads of a block, as `fill_pair_table` does; a barrier must follow."""
        fill_pair_table(self._ops, self._level_bits(), arena, offset, thread, threads)


def _refusal(fmt: NumberFormat, layout: FragmentLayout, plan: RegisterPlan) -> str | None:
    """Return why a format is not decoded so from that layout, as "needs ... (got ...)", or None."""
    if (refusal := fmt.register_refusal(plan.operand)) is not None:
        return refusal
    if not plan.is_pair and layout.operand_bits != 8:
        return f"needs a layout for operands of 8 bits (got {layout.operand_bits})"
    if plan.in_place and (refusal := fmt.in_place_refusal(plan.operand)) is not None:
        return refusal
    if plan.shares_bytes and not (plan.in_place and fmt.bits == 4 and layout.operand_bits == 16):
        return f"needs in_place and a layout of 4 bits for operands of 16 to share bytes (got {fmt.name})"
    if layout.is_adjacent and not (plan.is_pair and fmt.codebook is not None):
        return f"needs a layout whose codes stand in fields of its width, not side by side (got {fmt.name})"
    if fmt.needs_table and not layout.is_adjacent:
        return f"needs a layout whose codes stand side by side, to look them up (got {fmt.name})"
    if plan.permutes and not layout.is_adjacent:
        return f"needs a layout whose codes stand side by side, to permute values (got {fmt.name})"
    return None
