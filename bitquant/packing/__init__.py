# SPDX-License-Identifier: Apache-2.0
"""Weights on disk and in memory: values <-> codes <-> packed bytes, in the plain layout.

Three forms of one weight, each a function away from the next::

    values (N, K)  --encode-->  codes (N, K)  --general_compress-->  bytes (N, K * bits / 8)      `pack` does both
    values (N, K)  <--decode--  codes (N, K)  <--general_decompress--  bytes (N, K * bits / 8)    `unpack` does both

*Values* are what the arithmetic means: integers, float8 or native floats; for nf4, fp4_e2m1 and the like a level.
*Codes* are unsigned numbers of `bits` bits. Element k of a row occupies bits [k * bits, (k + 1) * bits) of the row's
little-endian bit stream; for 4 bits that is low nibble first. Nothing wraps: a value that its format cannot hold is a
`ConfigError` that names the value and its index.
"""

from __future__ import annotations

from bitquant.packing.bits import general_compress, general_decompress
from bitquant.packing.codes import decode, encode
from bitquant.packing.operands import pack, pack_zeros, unpack, unpack_zeros

__all__ = [
    "decode",
    "encode",
    "general_compress",
    "general_decompress",
    "pack",
    "pack_zeros",
    "unpack",
    "unpack_zeros",
]
