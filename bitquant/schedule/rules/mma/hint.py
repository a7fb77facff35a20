# SPDX-License-Identifier: Apache-2.0
"""The hint of the mma rule."""

from __future__ import annotations

from dataclasses import dataclass

from bitquant.schedule.hint import Hint, size

__all__ = ["MAX_STAGES", "MIN_STAGES", "MmaHint"]

#: One slot is multiplied, one decoded, one filled.
MIN_STAGES = 3
#: cp.async.wait_group takes 0 to 7 (TVM's table); a ring of 9 slots leaves 7 pending.
MAX_STAGES = 9


@dataclass(frozen=True)
class MmaHint(Hint):
    """Tile sizes of the mma kernel.

    Attributes
    ----------
    block_m, block_n, block_k
        Tile of D that a block computes, and elements of k a step.
    warps_m, warps_n
        Warps that share the tile of D, along m and along n.
    warps_k
        Warps that share the k of a step; their sums are added in shared memory at the end.
    stages
        Slots of the ring that tiles arrive in.
    """

    block_m: int = size(64, 16, 256)
    block_n: int = size(64, 16, 256)
    block_k: int = size(64, 32, 256)
    warps_m: int = size(2, 1, 16)
    warps_n: int = size(2, 1, 32)
    warps_k: int = size(1, 1, 16)
    stages: int = size(3, MIN_STAGES, MAX_STAGES)
