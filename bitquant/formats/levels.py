# SPDX-License-Identifier: Apache-2.0
"""Packed codes that stand for levels, numbers of any spacing: floats go to the nearest one.

**A table of pairs.** Where tensor cores take 16-bit floats, levels of 4-bit codes are looked up in shared memory, two
at a time: two instructions a register. Where much else is read from shared memory, some of them are better *permuted*
in registers: a PRMT whose selector is four codes picks a byte of each of four levels of eight. For two registers that
takes 7 instructions with levels that differ by their sign alone from those of the codes 8 less, as fp4_e2m1's in
float16, and 12 with any.
"""

from __future__ import annotations

import functools
import itertools
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bitquant.formats.base import Bounds, NumberFormat
from bitquant.formats.registers import Decoding, RegisterOps, RegisterPlan, Source
from bitquant.formats.words import word_like

if TYPE_CHECKING:
    import torch

__all__ = ["LevelFormat", "differ_by_sign", "level_bits", "looked_up"]

Expr = Any


@dataclass(frozen=True)
class LevelFormat(NumberFormat):
    """A packed format of levels."""

    @property
    @abstractmethod
    def levels(self) -> tuple[float, ...]:
        """The value of each code."""

    @property
    def min_value(self) -> float:
        """Least level."""
        return min(self.levels)

    @property
    def max_value(self) -> float:
        """Greatest level."""
        return max(self.levels)

    @property
    def value_dtype(self) -> torch.dtype:
        """float32, which holds all levels."""
        import torch

        return torch.float32

    def bounds(self, dtype: torch.dtype) -> Bounds | None:
        """Integers are codes; floats lie within half a step of the range."""
        if not dtype.is_floating_point:
            most = len(self.levels) - 1
            return Bounds(0, most, f"codes of {self.name} are 0..{most}", "pass values that are no codes as floats")
        levels = sorted(set(self.levels))
        gaps = [b - a for a, b in itertools.pairwise(levels)] or [0.0]
        low, high = levels[0] - gaps[0] / 2, levels[-1] + gaps[-1] / 2
        held = f"{self.name} reaches from {levels[0]:g} to {levels[-1]:g}"
        return Bounds(low, high, held, "divide it by its scale first")

    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """Return codes as they are, and of floats the code of the nearest level; the lower one of two as near.

        What rounds to zero takes the zero of its own sign where there are two.
        """
        import torch

        if not values.is_floating_point():
            return values.to(torch.int8, memory_format=torch.contiguous_format).view(torch.uint8)
        levels = sorted(set(self.levels))  # -0.0 and 0.0 are one level here.
        # float64 holds every midpoint exactly, so that no value between two levels goes to the farther one.
        midpoints = torch.tensor(
            [(a + b) / 2 for a, b in itertools.pairwise(levels)], dtype=torch.float64, device=values.device
        )
        code_of = torch.tensor([self.levels.index(level) for level in levels], dtype=torch.uint8, device=values.device)
        wide = values.to(torch.float64, memory_format=torch.contiguous_format)
        nearest = torch.bucketize(wide, midpoints, out_int32=True)
        codes = code_of.index_select(0, nearest.view(-1)).view(values.shape)
        zeros = [code for code, level in enumerate(self.levels) if level == 0]
        minus_zero = next((code for code in zeros if math.copysign(1, self.levels[code]) < 0), None)
        if minus_zero is not None:
            codes.masked_fill_((codes == zeros[0]) & torch.signbit(wide), minus_zero)
        return codes

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the levels of codes."""
        import torch

        levels = torch.tensor(self.levels, dtype=torch.float32, device=codes.device)
        return levels.index_select(0, codes.reshape(-1).to(torch.int32)).view(codes.shape)


# Levels in registers.


@functools.lru_cache
def level_bits(codebook: tuple[float, ...], operand: str) -> np.ndarray:
    """Return levels as bits of a 16-bit type, rounded to nearest even; uint32."""
    values = np.asarray(codebook, dtype=np.float32)
    if operand == "float16":
        return values.astype(np.float16).view(np.uint16).astype(np.uint32)
    bits = values.view(np.uint32)
    return (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)


def differ_by_sign(bits: np.ndarray) -> bool:
    """Whether the upper eight levels are the lower ones with the sign set, zero included."""
    return np.array_equal(bits[8:], bits[:8] | 0x8000)


def looked_up(codebook: tuple[float, ...], plan: RegisterPlan) -> Decoding:
    """Return the decoding of pairs of 4-bit codes that stand side by side, by a table of pairs (see the module)."""
    return Decoding(functools.partial(_looked_up, level_bits(codebook, plan.operand), plan.permutes))


def _looked_up(bits: np.ndarray, permutes: int, source: Source) -> Expr:
    word, bit = source.fields[0]
    byte = bit // 8 + source.half
    if permutes and source.word % permutes == 0 and byte < 2:
        return _permuted(bits, word, byte, source.ops)
    return source.ops.lookup(source.table, word, byte)


def _permuted(bits: np.ndarray, word: Expr, byte: int, ops: RegisterOps) -> Expr:
    """See the module. Most of what is done serves bytes 0 and 1 of a word: the compiler finds it done."""
    codes = ops.hold(word & word_like(0x7777, word))
    # The highest bits of the four codes at the top of four bytes.
    tops = ops.hold(ops.byte_perm(word << word_like(4, word), word, 0x5140))

    def picked(first: int, shift: int) -> Expr:
        low, high = (int(half) for half in (bits[first : first + 8] >> shift).astype(np.uint8).view("<u4"))
        return ops.byte_perm(ops.mask(low, word), high, codes)

    def chosen(shift: int) -> Expr:
        mask = ops.hold(ops.repeat_signs(tops))
        return ops.hold((picked(0, shift) & ~mask) | (picked(8, shift) & mask))

    has_signs = differ_by_sign(bits)
    upper = ops.hold(picked(0, 8) | (tops & word_like(0x80808080, word))) if has_signs else chosen(8)
    if not (bits & 0xFF).any():
        return ops.byte_perm(upper, 0, 0x3424 if byte else 0x1404)
    lower = ops.hold(picked(0, 0)) if has_signs else chosen(0)
    return ops.byte_perm(lower, upper, 0x7362 if byte else 0x5140)
