# SPDX-License-Identifier: Apache-2.0
"""4-bit codes that stand for any 16 levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import numpy as np
from tvm import tirx

from bitquant.errors import ConfigError
from bitquant.formats.levels import LevelFormat, looked_up
from bitquant.formats.registers import LINEAR, Decoding, RegisterPlan

__all__ = ["FORMATS", "NF4_VALUES", "Codebook", "GivenCodebook"]

Expr = Any

#: The least and the greatest normal number of each 16-bit type.
_NORMAL = {"float16": (2.0**-14, 65504.0), "bfloat16": (2.0**-126, 2.0**128 - 2.0**120)}

#: The 16 levels of NF4, quantiles of a normal distribution scaled to [-1, 1] (Dettmers et al., "QLoRA:
#: Efficient Finetuning of Quantized LLMs", 2023, appendix E), in float32 as bitsandbytes writes them.
NF4_VALUES: tuple[float, ...] = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)  # fmt: skip


@dataclass(frozen=True)
class Codebook(LevelFormat):
    """A 4-bit index into 16 levels, which are looked up, and rounded to 16 bits for tensor cores.

    Attributes
    ----------
    levels
        The value of each code.
    """

    levels: tuple[float, ...] = ()

    @property
    def codebook(self) -> tuple[float, ...]:
        """The levels."""
        return self.levels

    @property
    def needs_table(self) -> bool:
        """True."""
        return True

    def is_looked_up(self, operand_bits: int) -> bool:
        """Return True."""
        del operand_bits
        return True

    def value(self, code: Expr, dtype: str) -> Expr:
        """Return the level, by selects on the bits of the code: no memory, and it vectorises."""
        bound = tirx.Var("code", "uint8")
        row: list[Expr] = [tirx.const(level, dtype) for level in self.levels]
        for bit in range(self.bits):
            is_set = tirx.bitwise_and(bound, tirx.const(1 << bit, "uint8")) != tirx.const(0, "uint8")
            row = [tirx.Select(is_set, row[i + 1], row[i]) for i in range(0, len(row), 2)]
        return tirx.Let(bound, code, row[0])

    def register_refusal(self, operand: str) -> str | None:
        """Take 16-bit floats, whose range has room for the levels."""
        if operand not in LINEAR:
            return f"needs a format whose values {operand} holds (got {self.name})"
        greatest, (least, most) = max(map(abs, self.levels), default=0.0), _NORMAL[operand]
        # Beyond, the greatest becomes infinite; below, levels are rounded to a spacing that is coarse beside them all.
        if greatest == 0 or least <= greatest <= most:
            return None
        return f"needs a greatest level of {least:.3g} to {most:.5g}, to hold all in {operand} (got {greatest:g})"

    def register_decoding(self, plan: RegisterPlan) -> Decoding:
        """Return the level, looked up or permuted."""
        return looked_up(self.levels, plan)

    def unit_refusal(self, operand: str) -> str | None:
        """Take what registers take: kernels read levels from a table in float32, and make 16-bit floats of them."""
        return self.register_refusal(operand) if operand in LINEAR else super().unit_refusal(operand)


def _is_float32(x: Any) -> bool:
    """Whether x is a finite number within float32's range."""
    is_number = isinstance(x, Real) and not isinstance(x, (bool, np.bool_))
    return is_number and bool(abs(x) <= float(np.finfo(np.float32).max))


@dataclass(frozen=True)
class GivenCodebook(Codebook):
    """The levels that a config gives, in float32; without a config there are none."""

    @property
    def takes_codebook(self) -> bool:
        """True."""
        return True

    def with_codebook(self, codebook: Any) -> GivenCodebook:
        """Return the format with 16 levels, rounded to float32; -0 counts as 0."""
        is_list = isinstance(codebook, Sequence) and not isinstance(codebook, (str, bytes))
        if not is_list or len(codebook) != 1 << self.bits or not all(map(_is_float32, codebook)):
            raise ConfigError(
                f"'codebook' must be {1 << self.bits} finite numbers of float32, the value of each code "
                f"(got {codebook!r:.200}); for example codebook=tuple(levels.tolist())",
                codebook=codebook,
            )
        return replace(self, levels=tuple(float(np.float32(x)) + 0.0 for x in codebook))


FORMATS: tuple[Codebook, ...] = (
    Codebook("nf4", 4, levels=NF4_VALUES, aliases=("normal_float4",)),
    GivenCodebook("code4", 4),
)
