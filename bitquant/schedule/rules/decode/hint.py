# SPDX-License-Identifier: Apache-2.0
"""The hint of the decode rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bitquant.schedule.hint import Hint, one_of, size

__all__ = ["DecodeHint"]


@dataclass(frozen=True)
class DecodeHint(Hint):
    """Shape of the decode kernel.

    Attributes
    ----------
    block_m
        Rows of A that a block multiplies: 8, 16, 32 or 64; one as digits.
    n_tiles_per_warp
        Tiles of 16 n that a warp owns.
    warps_n, warps_k
        Warps of a block along n and along k.
    split_k
        Blocks of a cluster that share k (sm_90).
    ahead
        Tiles of k that a warp has in flight, for each of its rows.
    unroll
        Tiles of k in the body of the loop.
    phase
        Tiles of k that a warp multiplies between two arrivals of A; 0: all of them, and A stays in shared memory.
    n_blocks_per_cta
        Blocks of n that a block multiplies one after the other, at most, where A stays.
    chains
        Independent accumulators of a product, which hide the latency of an mma.
    blocks_per_sm
        Blocks that registers must leave room for on a multiprocessor.
    weights
        How the weight is loaded: "registers" by loads into them, "shared" by cp.async into a ring in shared memory, of
        which each lane reads back what it copied itself.
    multicast
        Blocks of a cluster that are neighbours along n, each of which multicasts a share of A to all (sm_90).
    activations
        How A is multiplied: as its "values", or as the "digits" of one row, in integers (`digits`).
    stream_k
        Whether the phases of all blocks of n, one block after the other, are divided evenly among as many blocks as fit
        the GPU (Osama et al., "Stream-K", PPoPP 2023). All of A stays in shared memory. Partial sums of a block of n
        that several blocks compute are added in global memory.
    """

    former_names: ClassVar[Mapping[str, str]] = {"rows": "n_tiles_per_warp", "waves": "n_blocks_per_cta"}

    block_m: int = one_of(8, 1, 16, 32, 64)
    n_tiles_per_warp: int = size(1, 1, 16)
    warps_n: int = size(1, 1, 32)
    warps_k: int = size(8, 1, 32)
    split_k: int = one_of(1, 2, 4, 8)
    ahead: int = size(2, 1, 64)
    unroll: int = size(4, 1, 16)
    phase: int = size(0, 0, 1 << 16)
    n_blocks_per_cta: int = size(1, 1, 1 << 20)
    chains: int = size(4, 1, 8)
    blocks_per_sm: int = size(1, 1, 32)
    weights: str = one_of("registers", "shared")
    multicast: int = one_of(1, 2, 4, 8)
    activations: str = one_of("values", "digits")
    stream_k: bool = one_of(False, True)

    @property
    def cluster(self) -> int:
        """Blocks of a cluster, which share k, or rows of A."""
        return self.split_k * self.multicast
