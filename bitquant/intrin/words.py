# SPDX-License-Identifier: Apache-2.0
"""Values in 32-bit registers: wide loads, and one element of a run of words as an expression."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.decode import unpack_code
from bitquant.formats import NumberFormat

__all__ = ["load_width_bytes", "load_words", "word_value"]

Expr = Any


def load_width_bytes(chunk_bytes: int) -> int:
    """Return the widest load, 16, 8 or 4 bytes, that divides a chunk and so keeps every chunk aligned.

    Rows that are whole chunks long start at a multiple of that width, as torch's allocations do.
    """
    return next(width for width in (16, 8, 4) if chunk_bytes % width == 0)


@T.inline
def load_words(words, first, pointer_to, chunk_bytes, width):  # type: ignore[no-untyped-def]  # TVM parses it
    """Read `chunk_bytes` bytes into words[first:], `width` bytes an instruction; pointer_to maps a byte offset."""
    for part in T.unroll(chunk_bytes // width):
        at = T.meta_var(first + part * (width // 4))
        if width == 16:
            T.ptx["ld.global.nc.v4.u32"](
                words[at], words[at + 1], words[at + 2], words[at + 3], pointer_to(part * width)
            )
        elif width == 8:
            T.ptx["ld.global.nc.v2.u32"](words[at], words[at + 1], pointer_to(part * width))
        else:
            T.ptx["ld.global.nc.u32"](words[at], pointer_to(part * width))


def word_value(words: Expr, first: Expr, i: Expr, fmt: NumberFormat, dtype: str) -> Expr:
    """Return element `i` of the values stored in words[first:], in `dtype`.

    Parameters
    ----------
    words
        A uint32 buffer in registers.
    first
        Index of the word that element 0 begins in.
    i
        Index of the element; a constant once its loop is unrolled, so that words stay in registers.
    fmt
        Format of the values, packed or not, of at most 32 bits.
    dtype
        TVM type of the result.
    """

    def byte(b: Expr) -> Expr:
        return tirx.shift_right(words[first + b // 4], (b % 4 * 8).astype("uint32")).astype("uint8")

    if fmt.is_packed:
        return fmt.value(unpack_code(byte, i, fmt.bits), dtype)
    if fmt.bits == 8:
        return fmt.value(byte(i) if fmt.tvm_dtype == "uint8" else tirx.reinterpret(fmt.tvm_dtype, byte(i)), dtype)
    if fmt.bits == 16:
        half = tirx.shift_right(words[first + i // 2], (i % 2 * 16).astype("uint32")).astype("uint16")
        return tirx.reinterpret(fmt.tvm_dtype, half).astype(dtype)
    return tirx.reinterpret(fmt.tvm_dtype, words[first + i]).astype(dtype)
