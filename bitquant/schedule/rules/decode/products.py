# SPDX-License-Identifier: Apache-2.0
"""Which registers an mma instruction of the decode kernel multiplies, and which of its sums may be added.

Weights that are decoded in place (`bitquant.formats.integers`) become numbers scaled by 2^exponent(r), and an mma adds
the products of a row's two registers. Which k its registers hold is free, as long as both operands agree. So the
registers are regrouped: the left operand of an mma is made of two *columns*, the registers
of rows g and g + 8 for the same k, with the same exponents, and the right operand of the registers of A for that k.
Sums of columns with other exponents are of another *class* and are kept apart until the end of a run::

    uint2, exponents 0, 2 | 4, 6 in each step:    class 0: steps s, s + 1, lower columns    class 1: upper columns
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from bitquant.config import MatmulConfig
from bitquant.formats import NumberFormat
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.layouts import FragmentLayout

__all__ = ["Product", "decodes_in_place", "products", "run_k", "shares_bytes", "sum_classes"]

#: Multiply-adds that an mma with a left operand of ones counts as.
_ONES_COST = 2


@dataclass(frozen=True)
class Product:
    """One mma instruction.

    Attributes
    ----------
    left
        The four registers of the left operand: (register of the layout, which of those that it is decoded to).
    right
        The two registers of the right operand: (register of A, which of those that it is decoded to). Register
        2 * step + i of a tile of A holds the k of registers 4 * step + 2 * i and the next of the weight.
    sum_class
        Products of a class may be added up.
    """

    left: tuple[tuple[int, int], ...]
    right: tuple[tuple[int, int], ...]
    sum_class: int


def products(decoder: RegisterDecoder) -> tuple[list[Product], list[tuple[int, int]]]:
    """Return the products of a tile, and of each class the exponents of its sums in rows g and g + 8.

    Each column joins the first one before it that has the same exponents and is still alone; without exponents these
    are the two of a step.
    """
    found: list[Product] = []
    classes: list[tuple[int, int]] = []
    alone: dict[tuple[int, int], tuple[int, int]] = {}
    for column in range(decoder.fragment_layout.registers // 2):
        exponents = decoder.exponent(2 * column), decoder.exponent(2 * column + 1)
        if exponents not in classes:
            classes.append(exponents)
        for part in range(decoder.registers):
            if exponents not in alone:
                alone[exponents] = column, part
                continue
            right = alone.pop(exponents), (column, part)
            left = [(2 * c + row, p) for c, p in right for row in range(2)]
            found.append(Product(tuple(left), right, classes.index(exponents)))
    assert not alone
    return found, classes


def run_k(config: MatmulConfig, layout: FragmentLayout, unroll: int) -> int:
    """Return the length in k of the runs into which scales cut a body of `unroll` tiles."""
    body_k = unroll * layout.tile_k
    return math.gcd(config.group, body_k) if config.num_groups > 1 else body_k


@lru_cache
def _in_place(fmt: NumberFormat, layout: FragmentLayout) -> tuple[int, int]:
    """Return (classes, steps), the least number of steps whose columns are products among themselves."""
    found, classes = products(RegisterDecoder(fmt, layout, "float16", in_place=True))
    steps = next(s for s in range(1, layout.steps + 1) if layout.steps % s == 0 and _is_closed(found, s))
    return len(classes), steps


def _is_closed(found: Sequence[Product], steps: int) -> bool:
    return all(len({column // (2 * steps) for column, _ in product.right}) == 1 for product in found)


def sum_classes(fmt: NumberFormat, layout: FragmentLayout) -> int:
    """Return the classes of sums of a format that is decoded in place."""
    return _in_place(fmt, layout)[0]


def decodes_in_place(config: MatmulConfig, layout: FragmentLayout, n_tiles: int, block_m: int, unroll: int) -> bool:
    """Return whether a kernel decodes the weight in place: where it can, and where that takes fewer instructions.

    Signed formats are then off by a constant, which sums of A correct. These take an mma a step and 8 rows of A, for
    `n_tiles` tiles at once, unless zero points want them anyway; a multiply-add a register is saved.

    Parameters
    ----------
    config, layout
        The problem, and how its weight is stored.
    n_tiles, block_m, unroll
        Of the hint: `n_tiles_per_warp`, `block_m` and `unroll`.
    """
    fmt = config.W_format
    if config.A_format.name != "float16" or fmt.in_place_refusal("float16") is not None:
        return False
    if run_k(config, layout, unroll) // layout.step_k % _in_place(fmt, layout)[1]:
        return False
    return config.with_zeros or not fmt.offset or _ONES_COST * block_m // 8 < 4 * n_tiles


def shares_bytes(config: MatmulConfig, layout: FragmentLayout, n_tiles: int, block_m: int, unroll: int) -> bool:
    """Return whether a kernel that decodes in place reads two codes of 4 bits as one number where that saves masks.

    A mask a step is saved; a run costs two subtractions for each 8 rows of A. Sums of row g are up to 17 times as large
    as they would be, and so are their errors: a few units of 2^-20, for outputs of 16 bits and less.

    Parameters
    ----------
    config, layout, n_tiles, block_m, unroll
        As for `decodes_in_place`.
    """
    return (
        layout.bits == 4
        and config.out_format.bits <= 16
        and decodes_in_place(config, layout, n_tiles, block_m, unroll)
        and 2 * block_m // 8 <= run_k(config, layout, unroll) // layout.step_k
    )
