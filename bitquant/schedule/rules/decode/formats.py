# SPDX-License-Identifier: Apache-2.0
"""What a problem decides of its decode kernels without a hint: types, layout, and decoders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from bitquant.config import MatmulConfig
from bitquant.intrin.decoders import RegisterDecoder, permuted_words
from bitquant.layouts import FragmentLayout, fragment_layout
from bitquant.problem import Problem
from bitquant.schedule.rules.decode.digits import DigitPlan, digits_refusal
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.decode.products import Product, decodes_in_place, products, shares_bytes

__all__ = ["Formats", "WeightDecoding", "operand_type"]


def operand_type(config: MatmulConfig) -> str:
    """Return the type in which the tensor cores multiply: that of A, and float16 for float8, which it holds."""
    a, w = config.A_format, config.W_format
    if a.is_integer:
        return "uint8" if w.name == "uint8" else "int8"
    return "bfloat16" if a.name == "bfloat16" else "float16"


@dataclass(frozen=True)
class WeightDecoding:
    """How the weight is decoded.

    Attributes
    ----------
    decoder
        What turns words into registers.
    products
        The products of a tile.
    classes
        Of each class of sums the exponents in rows g and g + 8.
    """

    decoder: RegisterDecoder
    products: list[Product]
    classes: list[tuple[int, int]]


class Formats:
    """What the problem decides without a hint: types, layout, and the decoders to choose from.

    The geometries of a problem share it, for a decoder takes longer to make than the rest of a geometry.
    """

    def __init__(self, problem: Problem) -> None:
        config = problem.config
        self.config, self.gpu = config, problem.gpu
        self.fragment_layout = fragment_layout(config)
        self.operand = operand_type(config)
        self.is_integer = config.A_format.is_integer
        self.a_bytes = config.A_format.bits // 8
        self.tiles_k = self.fragment_layout.tiles_k(config.K)
        self._decoded: dict[tuple[bool, bool], WeightDecoding] = {}
        self._chosen: dict[tuple[int, int, int], WeightDecoding] = {}

    @cached_property
    def digits_refusal(self) -> str | None:
        """Why A is not multiplied as digits, or None."""
        return digits_refusal(self.config)

    @cached_property
    def digit_plan(self) -> DigitPlan:
        """How A becomes int8, and what of it is multiplied with what."""
        return DigitPlan(self.config.W_format, self.fragment_layout)

    @cached_property
    def a_decoder(self) -> RegisterDecoder | None:
        """What decodes four float8 numbers of A into two registers of the operand's type."""
        a = self.config.A_format
        if a.bits == 8 and not a.is_integer:
            return RegisterDecoder(
                a, FragmentLayout(8, 8), self.operand, converts_float8=self.gpu.has_float8_conversion
            )
        return None

    def weight(self, hint: DecodeHint) -> WeightDecoding:
        """Return how a kernel decodes the weight."""
        if hint.activations == "digits":
            return self._decoding(True, False)
        sizes = hint.n_tiles_per_warp, hint.block_m, hint.unroll
        if sizes not in self._chosen:
            in_place = decodes_in_place(self.config, self.fragment_layout, *sizes)
            self._chosen[sizes] = self._decoding(in_place, shares_bytes(self.config, self.fragment_layout, *sizes))
        return self._chosen[sizes]

    def _decoding(self, in_place: bool, shares_bytes: bool) -> WeightDecoding:
        if (in_place, shares_bytes) not in self._decoded:
            decoder = RegisterDecoder(
                self.config.W_format, self.fragment_layout, self.operand,
                converts_float8=self.gpu.has_float8_conversion,
                permutes=permuted_words(self.config.W_format, self.fragment_layout, False),
                in_place=in_place,
                shares_bytes=shares_bytes,
            )  # fmt: skip
            self._decoded[in_place, shares_bytes] = WeightDecoding(decoder, *products(decoder))
        return self._decoded[in_place, shares_bytes]
