# SPDX-License-Identifier: Apache-2.0
"""Floating point of 16 and 32 bits, as torch has it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitquant.formats.base import Bounds, NumberFormat
from bitquant.formats.words import PackedPair

if TYPE_CHECKING:
    import torch

__all__ = ["FORMATS", "NativeFloat", "TorchFloat", "float_bounds"]

Expr = Any


def float_bounds(fmt: NumberFormat, dtype: torch.dtype) -> Bounds | None:
    """Return the bounds of a type of torch: what is less than half a step above the largest number rounds to it.

    IEEE 754, 4.3.1.
    """
    import torch

    if dtype == fmt.torch_dtype:
        return None
    info = torch.finfo(fmt.torch_dtype)
    step = info.eps * 2.0 ** math.floor(math.log2(info.max))
    limit = math.nextafter(info.max + step / 2, 0.0)
    held = f"{fmt.name} reaches from {-info.max:g} to {info.max:g}"
    return Bounds(-limit, limit, held, "divide it by its scale first")


class TorchFloat(NumberFormat):
    """A float of torch's own, 8 bits and more."""

    @property
    def min_value(self) -> float:
        """Least finite number."""
        import torch

        return float(torch.finfo(self.torch_dtype).min)

    @property
    def max_value(self) -> float:
        """Greatest finite number."""
        import torch

        return float(torch.finfo(self.torch_dtype).max)


@dataclass(frozen=True)
class NativeFloat(TorchFloat):
    """float16, bfloat16 and float32."""

    @property
    def has_infinity(self) -> bool:
        """True."""
        return True

    @property
    def activations(self) -> tuple[str, ...]:
        """The format itself."""
        return (self.name,)

    def value(self, code: Expr, dtype: str) -> Expr:
        """Return the number, cast."""
        return code.astype(dtype)

    def bounds(self, dtype: torch.dtype) -> Bounds | None:
        """Numbers that round into the range."""
        return float_bounds(self, dtype)

    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """Round to nearest."""
        return values.to(self.torch_dtype)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the numbers."""
        return codes

    def register_refusal(self, operand: str) -> str | None:
        """Refuse them: their layout has no fragments."""
        del operand
        return f"needs a format of at most 8 bits (got {self.name})"

    def unit_refusal(self, operand: str) -> str | None:
        """Take the operand's own type alone."""
        return None if operand == self.name else f"needs a W of type {operand} (got {self.name})"

    def unit_pair(
        self, words: Sequence[Expr], pair: int, dtype: str, byte_perm: Callable[[Expr, int], Expr]
    ) -> PackedPair:
        """Return the word."""
        del dtype, byte_perm
        return PackedPair(words[pair])


FORMATS: tuple[NativeFloat, ...] = (
    NativeFloat("float32", 32, "float32", aliases=("fp32",)),
    NativeFloat("float16", 16, "float16", aliases=("fp16",)),
    NativeFloat("bfloat16", 16, "bfloat16", aliases=("bf16",)),
)
