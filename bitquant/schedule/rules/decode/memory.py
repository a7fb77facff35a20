# SPDX-License-Identifier: Apache-2.0
"""What a decode kernel keeps in shared memory, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitquant.intrin.mma import Tile

__all__ = ["PackedTile", "SharedMemory"]


@dataclass(frozen=True)
class PackedTile(Tile):
    """A ring of tiles whose rows are stored back to back, as they stand in global memory: a copy takes several."""

    @property
    def stride(self) -> int:
        """Bytes from a row to the next."""
        return self.row_bytes

    def as_row(self, slot: Any) -> Tile:
        """Return a slot as a tile of one long row."""
        return Tile(self.base + slot * self.slot_bytes, 1, self.rows * self.row_bytes, 1, swizzled=False)


@dataclass(frozen=True)
class SharedMemory:
    """Offsets in a block's shared memory, in bytes, and the widths of the copies.

    Attributes
    ----------
    a_tile
        A: rows of a phase of k, in one buffer or two.
    digits_offset, poison_offset
        A as digits, and the word that is not 0 where A is not finite; of kernels with digits alone.
    scale_tile, zero_tile
        Scales and zero points of a block; None where they are not staged.
    scale_width
        Bytes that a copy of them takes at a time.
    ring_offset, slot_bytes
        The ring of the weight, `ahead` slots for each warp, and the size of a slot.
    sum_offset, sum_stride
        The partial sums, and the columns of their rows.
    barrier_offset, table_offset
        The mbarriers on which A's arrival counts, and the decoder's table.
    end
        The size of all.
    """

    a_tile: Tile
    digits_offset: int
    poison_offset: int
    scale_tile: Tile | None
    zero_tile: Tile | None
    scale_width: int
    ring_offset: int
    slot_bytes: int
    sum_offset: int
    sum_stride: int
    barrier_offset: int
    table_offset: int
    end: int
