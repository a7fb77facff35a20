# SPDX-License-Identifier: Apache-2.0
"""Activations in the wgmma kernel: gate and up are neighbouring rows of W, whose sums two lanes hold."""

from __future__ import annotations

from typing import Any

from tvm.script import tirx as T

from bitquant.compute.activation import activated
from bitquant.intrin.mma import local, reciprocal
from bitquant.schedule.rules.hopper.emit.context import Context

__all__ = ["GatedPairs", "matrices"]

Expr = Any
_ALL_LANES = 0xFFFFFFFF


class GatedPairs:
    """Emits the activation of a block of 16 rows of W and 8 rows of A, whose sums the lanes of a warp hold.

    With g = lane // 4, a lane has the sums of rows g and g + 8 of W. Row g is a gate where g is even, an up where it is
    odd, and its partner is 4 lanes away. Lanes of even g compute column g / 2 of D, from the rows g and g + 1; those of
    odd g column 4 + g // 2, from the rows g + 7 and g + 8. So each sends one sum and receives one::

        g             0           1           2           3       ...
        has           0, 8        1, 9        2, 10       3, 11
        sends         8           1           10          3
        then has      0, 1        8, 9        2, 3        10, 11
        column        0           4           1           5

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._row = context.lane // 4
        self._is_even = self._row % 2 == 0

    @property
    def column(self) -> Expr:
        """The column, of 8, that this lane computes."""
        return self._row % 2 * 4 + self._row // 2

    def activated(self, low: Expr, high: Expr) -> Expr:
        """Emit the exchange of the arguments of rows g and g + 8 for one row of A; return D in float32."""
        low, high = local("float32", low), local("float32", high)
        sent = local("float32", T.Select(self._is_even, high, low))
        received = local("float32", T.tvm_warp_shuffle_xor(T.uint32(_ALL_LANES), sent, 4, 32, 32))
        gate = local("float32", T.Select(self._is_even, low, received))
        up = local("float32", T.Select(self._is_even, received, high))
        return local("float32", activated(self.context.config, gate, up, reciprocal))

    def ordered(self, word: Expr) -> Expr:
        """Emit the exchange of a register of each lane, after which lane 4 c + t has that of column c; return it."""
        source = self._row % 4 * 8 + self._row // 4 * 4 + self.context.lane % 4
        return local("uint32", T.tvm_warp_shuffle(T.uint32(_ALL_LANES), word, source, 32, 32))


def matrices(count: int) -> list[tuple[int, int]]:
    """Return how `count` blocks of 8 columns are stored, 4, 2 or 1 at a time: the first and their number."""
    parts: list[tuple[int, int]] = []
    first = 0
    while first < count:
        size = next(size for size in (4, 2, 1) if size <= count - first)
        parts.append((first, size))
        first += size
    return parts
