# SPDX-License-Identifier: Apache-2.0
"""Where the elements of W lie: one byte explained, and the fragment layout drawn."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bitquant.arithmetic import ceil_div
from bitquant.config import MatmulConfig
from bitquant.explore import svg
from bitquant.layouts import FragmentLayout, WeightLayout, fragment_layout

__all__ = ["Byte", "Field", "Place", "draw_fragment", "draw_word", "first_byte", "place_of"]


@dataclass(frozen=True)
class Place:
    """Where element (n, k) of a tile of the fragment layout goes: value `e` of a register of a lane.

    Attributes
    ----------
    lane, register, e
        As the docstring of `bitquant.layouts` names them.
    """

    lane: int
    register: int
    e: int


def place_of(layout: FragmentLayout, n: int, k: int) -> Place:
    """Return where an element of a tile goes; n < 16, k < tile_k."""
    values, half = layout.values_per_register, layout.step_k // 2
    return Place(
        n % 8 * 4 + k % half // values,
        k // layout.step_k * 4 + k % layout.step_k // half * 2 + n // 8,
        k % values,
    )


@dataclass(frozen=True)
class Field:
    """Some bits of a byte: `bits` from `begin` on are bits `shift` and up of the code of element (n, k)."""

    begin: int
    bits: int
    n: int
    k: int
    shift: int


@dataclass(frozen=True)
class Byte:
    """The first byte of a stored weight.

    Attributes
    ----------
    fields
        What its bits are, the lowest first.
    values
        The value of each code, where every field of the byte is a whole code; else empty.
    where
        Which byte it is.
    """

    fields: tuple[Field, ...]
    values: tuple[float, ...]
    where: str


def first_byte(config: MatmulConfig, layout: WeightLayout) -> Byte | None:
    """Return what the first byte of a stored weight holds; None where no elements share one."""
    bits = config.W_format.bits
    if bits > 8 or (bits == 8 and layout == "plain"):
        return None
    if layout == "plain":
        fields = tuple(
            Field(
                max(0, i * bits), min(8, (i + 1) * bits) - i * bits, *((0, i) if config.layout == "nt" else (i, 0)), 0
            )
            for i in range(ceil_div(8, bits))
        )
        where = "byte 0 of row 0: element i of a row has the bits from i times the width on, the lowest first"
    else:
        fragment = fragment_layout(config)
        plane = fragment.planes[0]
        where = f"byte 0 of tile 0, which lane 0 loads: {plane.bits} bits of each code of its first registers"
        inverse = _elements(fragment)
        found = []
        for register in range(fragment.registers):
            for e in range(fragment.values_per_register):
                word, bit = fragment.bit_position(plane, register, e)
                if word == 0 and bit < 8:
                    found.append(Field(bit, min(plane.bits, 8 - bit), *inverse[0, register, e], plane.shift))
        fields = tuple(sorted(found, key=lambda field: field.begin))
    is_whole = all(field.bits == bits for field in fields)
    values = (
        tuple(config.W_format.decode(torch.arange(1 << bits).to(torch.uint8).view(torch.int8)).tolist())
        if is_whole and bits < 8
        else ()
    )
    return Byte(fields, values, where)


def _elements(layout: FragmentLayout) -> dict[tuple[int, int, int], tuple[int, int]]:
    """Return (n, k) of each (lane, register, e) of a tile."""
    return {
        (p.lane, p.register, p.e): (n, k)
        for n in range(16) for k in range(layout.tile_k) if (p := place_of(layout, n, k)) is not None
    }  # fmt: skip


def draw_fragment(config: MatmulConfig) -> str:
    """Draw the left operand of one tensor-core step, 16 n by `step_k`, with the lane that holds each element."""
    layout = fragment_layout(config)
    cell = 26.0 if layout.step_k == 16 else 18.0
    left, top = 40.0, 34.0
    elements = [svg.text(left, 14, "k", "small"), svg.text(8, top + 10, "n", "small")]
    elements += [svg.text(left + k * cell + cell / 2, top - 6, str(k), "tiny", "middle") for k in range(layout.step_k)]
    for n in range(16):
        elements.append(svg.text(left - 6, top + n * cell + cell / 2 + 4, str(n), "tiny", "end"))
        for k in range(layout.step_k):
            place = place_of(layout, n, k)
            plane = layout.planes[0]
            word, bit = layout.bit_position(plane, place.register, place.e)
            title = (
                f"n {n}, k {k}: lane {place.lane}, register {place.register}, value {place.e}; "
                f"word {word}, bits {bit} to {bit + plane.bits - 1}"
            )
            x, y = left + k * cell, top + n * cell
            elements.append(
                svg.rect(
                    x, y, cell - 1.5, cell - 1.5, f"cell p{place.register % 4}", title, data_lane=float(place.lane)
                )
            )
            elements.append(svg.text(x + cell / 2 - 0.75, y + cell / 2 + 3.5, str(place.lane), "tiny", "middle"))
    label = (
        f"The left operand of one step: 16 n by {layout.step_k} k, with the lane that holds each element. "
        "Colours tell the four registers of a lane apart."
    )
    return svg.picture(left + layout.step_k * cell + 10, top + 16 * cell + 6, label, elements, "fragment")


def draw_word(config: MatmulConfig) -> str:
    """Draw the first 32-bit word that lane 0 loads: which element has which bits."""
    layout = fragment_layout(config)
    plane, inverse = layout.planes[0], _elements(layout)
    cell, left, top = 19.0, 8.0, 24.0
    elements = []
    for bit in range(32):
        x = left + (31 - bit) * cell
        elements.append(svg.text(x + cell / 2, top - 8, str(bit), "tiny", "middle"))
    for register in range(layout.registers):
        for e in range(layout.values_per_register):
            word, bit = layout.bit_position(plane, register, e)
            if word != 0:
                continue
            n, k = inverse[0, register, e]
            x, width = left + (32 - bit - plane.bits) * cell, plane.bits * cell
            title = f"bits {bit} to {bit + plane.bits - 1}: register {register}, value {e}: n {n}, k {k}"
            elements.append(svg.rect(x, top, width - 1.5, 34, f"cell p{register % 4}", title))
            if plane.bits >= 4:
                elements.append(svg.text(x + width / 2, top + 15, f"n {n}", "tiny", "middle"))
                elements.append(svg.text(x + width / 2, top + 28, f"k {k}", "tiny", "middle"))
    label = f"Word 0 of lane 0: {plane.bits} bits of each of {32 // plane.bits} codes."
    return svg.picture(left + 32 * cell + 8, top + 42, label, elements)
