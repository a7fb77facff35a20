# SPDX-License-Identifier: Apache-2.0
"""Shared memory of the wgmma kernel: slots of the ring, and the buffer through which partial sums are reduced."""

from __future__ import annotations

from dataclasses import dataclass

from bitquant.arithmetic import ceil_div
from bitquant.intrin.wgmma import WARPGROUP
from bitquant.schedule.rules.hopper.hint import WgmmaHint

__all__ = ["EXPERT_BYTES", "Exchange", "SharedMemory", "WeightSlot"]

#: Bytes of an expert's entry, where weights are those of experts: the tiles along m up to its end, and its rows' end.
EXPERT_BYTES = 8
#: Rows of A in a tile above which two parts of K keep the sums that they store themselves. Up to 64 rows, the ring had
#: a slot more and was 1 to 4% slower, and a ring as long was as fast (H200, 2026-11-30).
KEEPING_ROWS = 64


@dataclass(frozen=True)
class WeightSlot:
    """The weight in a slot of the ring, for each part along k.

    Attributes
    ----------
    part_bytes
        Bytes of a part.
    box, box_bytes
        What TMA copies at once, in elements of the tensor map, and its bytes.
    """

    part_bytes: int
    box: tuple[int, ...]
    box_bytes: int


@dataclass(frozen=True)
class Exchange:
    """How the partial sums of split K are reduced, by a reduce-scatter: each part sends the others what those store.

    The tile's blocks of 8 columns are cut into shares. Block s % blocks of the cluster reduces and stores share s.

    Attributes
    ----------
    parts
        Parts of K.
    blocks
        Blocks of the cluster that they are spread over.
    share_columns
        Blocks of 8 columns in a share.
    share_count, shares_in_block
        Shares in all, at most one a part, and shares that one block stores.
    part_bytes
        Bytes of a part's sums of all shares that one block stores.
    """

    parts: int
    blocks: int
    share_columns: int
    share_count: int
    shares_in_block: int
    part_bytes: int

    @property
    def keeps_own(self) -> bool:
        """Whether the sums of a part's own share stay in its registers.

        Which registers these are depends on the share, so that each needs code of its own: that of two shares is as
        long as one that sends both. With few rows nothing is gained.
        """
        return self.parts == 2 and self.parts * self.share_columns * 8 > KEEPING_ROWS

    @property
    def slots(self) -> int:
        """Parts of a share that pass through shared memory."""
        return self.parts - self.keeps_own

    @property
    def nbytes(self) -> int:
        """Shared memory of a block that it takes."""
        return self.slots * self.part_bytes

    @classmethod
    def of(cls, hint: WgmmaHint) -> Exchange | None:
        """Return that of a hint, or None without split K."""
        blocks = max(hint.split_k, hint.tail_split)  # Those that send each other A share no K.
        parts = blocks * hint.consumers_k
        if parts == 1:
            return None
        columns = ceil_div(hint.block_m, 8 * parts)
        share_count = ceil_div(hint.block_m, 8 * columns)
        in_block = ceil_div(share_count, blocks)
        part_bytes = hint.consumers_n * in_block * hint.n_tiles_per_consumer * columns * WARPGROUP * 16
        return cls(parts, blocks, columns, share_count, in_block, part_bytes)


@dataclass(frozen=True)
class SharedMemory:
    """Offsets in a block's dynamic shared memory, in bytes: the slots of the ring first, then the epilogue.

    Attributes
    ----------
    a_box_bytes, a_bytes, slot_bytes
        A step's rows of A, all of a slot's, and the slot, which has W behind them.
    out_offset, out_stride, slice_m
        Each consumer's slice of D, the distance of its rows, and how many there are.
    exchange_offset, exchanges_in_ring
        The buffer of the exchange of partial sums, and whether it overlays the ring.
    barrier_offset, ready_offset
        Barriers of the ring, and of the sums of A.
    sums_offset, mask_offset, table_offset
        Sums of A, masks and the table of levels.
    experts_offset
        The rows of experts, where their weights are multiplied.
    slot_extra_bytes
        What each slot takes beyond itself: barriers, and sums of A.
    nbytes
        All of it.
    """

    a_box_bytes: int
    a_bytes: int
    slot_bytes: int
    out_offset: int
    out_stride: int
    slice_m: int
    exchange_offset: int
    exchanges_in_ring: bool
    barrier_offset: int
    ready_offset: int
    sums_offset: int
    mask_offset: int
    table_offset: int
    experts_offset: int
    slot_extra_bytes: int
    nbytes: int
