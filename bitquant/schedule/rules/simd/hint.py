# SPDX-License-Identifier: Apache-2.0
"""Sizes of the SIMD kernels."""

from __future__ import annotations

from dataclasses import dataclass

from bitquant.schedule.hint import Hint, one_of, size

__all__ = ["SimdHint"]


@dataclass(frozen=True)
class SimdHint(Hint):
    """Shape of a SIMD kernel.

    A *block* is what a vector of `lanes` 32-bit words of one row of W holds: `lanes` * 32 / bits consecutive k.

    Attributes
    ----------
    lanes
        32-bit lanes of a vector: 16 fill a register of AVX-512, 8 one of AVX2.
    rows, cols
        Rows of A, and rows of W, whose products are summed in registers at the same time.
    row_tile, col_tile
        The same for the tile of D that a thread computes in one go; multiples of `rows` and `cols`.
    chunk
        Blocks along k that are multiplied before the sums leave the registers.
    buffered
        Whether (col_tile, chunk) blocks are decoded into a buffer that all rows of a tile reuse. Otherwise a weight is
        decoded in registers, once for each `rows` rows.
    prefetch
        Whether words of W are asked for before they are needed: those of the next `cols` rows of W, or of the next
        `col_tile` rows with a buffer.
    """

    lanes: int = one_of(16, 8)
    rows: int = size(4, 1, 16)
    cols: int = size(4, 1, 16)
    row_tile: int = size(64, 1, 1024)
    col_tile: int = size(16, 1, 1024)
    chunk: int = size(16, 1, 1 << 28)
    buffered: bool = True
    prefetch: bool = False
