# SPDX-License-Identifier: Apache-2.0
"""The hint of the rules that use wgmma."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bitquant.schedule.hint import Hint, one_of, size

__all__ = ["ROWS", "WgmmaHint"]

#: Rows of W that a warpgroup multiplies in one instruction.
ROWS = 64


@dataclass(frozen=True)
class WgmmaHint(Hint):
    """Tile sizes of the wgmma kernel.

    Attributes
    ----------
    block_m
        Rows of A in a tile, the columns of a wgmma.
    n_tiles_per_consumer
        Blocks of 64 rows of W that each consumer warpgroup holds sums of.
    consumers_n, consumers_k
        Consumer warpgroups along the rows of W, and consumer warpgroups that split K.
    block_k
        Elements of k that a slot of the ring holds for each consumer along k.
    stages
        Slots of the ring.
    split_k
        Blocks of a cluster that split K (split-K).
    raster
        Tiles of m that are visited before n advances, so that concurrent blocks share rows in L2.
    blocks_per_sm
        Blocks that registers and shared memory must leave room for on a multiprocessor.
    n_tiles_per_cta
        Blocks of 64 rows of W in a tile, where fewer than the consumers could hold; 0: as many. It fills the
        multiprocessors where no product of the other numbers does: the last consumer multiplies what is not stored.
    scaling
        What scales and zero points are applied to: "operand", the decoded weight, or "sums" of a group.
    tail_split
        Blocks of a cluster that split K of a tile of the tail wave, where there are enough clusters for its tiles.
    multicast
        Blocks of a cluster whose tiles are neighbours along n, each of which multicasts a share of A to all.
    stream_k
        Whether the K of the tiles of the last waves, one tile after the other, is divided evenly among the blocks
        (Osama et al., "Stream-K", PPoPP 2023). Partial sums of a tile that several blocks compute are added in global
        memory.
    looks_ahead
        Whether a block knows its next tile while it computes one, and loads its first scales and zero points meanwhile:
        tiles of short K wait for those alone.
    """

    former_names: ClassVar[Mapping[str, str]] = {
        "rows": "n_tiles_per_consumer", "row_blocks": "n_tiles_per_cta",
    }  # fmt: skip

    block_m: int = size(128, 8, 256)
    n_tiles_per_consumer: int = size(1, 1, 8)
    consumers_n: int = size(2, 1, 4)
    consumers_k: int = size(1, 1, 4)
    block_k: int = size(64, 16, 1024)
    stages: int = size(4, 1, 32)
    split_k: int = one_of(1, 2, 4, 8)
    raster: int = size(8, 1, 256)
    blocks_per_sm: int = one_of(1, 2)
    n_tiles_per_cta: int = size(0, 0, 32)
    scaling: str = one_of("operand", "sums")
    tail_split: int = one_of(1, 2, 4)
    multicast: int = one_of(1, 2, 4)
    stream_k: bool = one_of(False, True)
    looks_ahead: bool = one_of(False, True)

    @property
    def consumers(self) -> int:
        """Consumer warpgroups of a block."""
        return self.consumers_n * self.consumers_k

    @property
    def parts(self) -> int:
        """Parts that K is cut into."""
        return self.consumers_k * self.split_k

    @property
    def cluster(self) -> int:
        """Blocks of a cluster."""
        return max(self.split_k, self.tail_split, self.multicast)

    @property
    def block_n(self) -> int:
        """Rows of W in a tile."""
        return ROWS * (self.n_tiles_per_cta or self.n_tiles_per_consumer * self.consumers_n)
