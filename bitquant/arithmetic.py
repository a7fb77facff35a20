# SPDX-License-Identifier: Apache-2.0
"""Divisions that round up, of Python's integers: sizes of grids, tiles and paddings."""

from __future__ import annotations

__all__ = ["balanced_chunk", "ceil_div", "round_up"]


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up, for b > 0."""
    return -(-a // b)


def round_up(a: int, multiple: int) -> int:
    """Return the least multiple of `multiple`, which is positive, that is not below `a`."""
    return ceil_div(a, multiple) * multiple


def balanced_chunk(count: int, limit: int) -> int:
    """Return the size of a chunk of at most `limit` items, where the fewest such chunks share `count` items evenly.

    All chunks but the last have that size: 10 items with a limit of 4 make chunks of 4, 4 and 2; 9 make 3, 3 and 3.
    """
    return ceil_div(count, ceil_div(count, limit))
