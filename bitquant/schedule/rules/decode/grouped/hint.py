# SPDX-License-Identifier: Apache-2.0
"""The hint of the decode rule for experts."""

from __future__ import annotations

from dataclasses import dataclass

from bitquant.schedule.hint import one_of
from bitquant.schedule.rules.decode.hint import DecodeHint

__all__ = ["GroupedDecodeHint"]


@dataclass(frozen=True)
class GroupedDecodeHint(DecodeHint):
    """Shape of the decode kernel for experts: that of the product of a unit, and what a unit is.

    Attributes
    ----------
    units
        What a block multiplies with one weight: a row alone ("rows"), or up to `block_m` of the rows that have the same
        expert ("experts").
    unit_rows
        Rows of a unit, at most, where fewer than `block_m`: those of A take less shared memory; 0: `block_m`.
    cluster_slots
        Blocks of a cluster that take a slot each of a token, all of its slots, and add up their values in shared memory
        (sm_90); 1: values are added up in global memory.
    loads_late
        Whether the next tile is loaded into registers only when what they hold has been multiplied: fewer moves between
        registers, and less in flight.
    """

    units: str = one_of("rows", "experts")
    unit_rows: int = one_of(0, 2, 4)
    cluster_slots: int = one_of(1, 2, 4, 8)
    loads_late: bool = one_of(False, True)

    @property
    def cluster(self) -> int:
        """Blocks of a cluster."""
        return super().cluster * self.cluster_slots
