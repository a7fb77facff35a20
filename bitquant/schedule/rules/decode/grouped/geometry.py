# SPDX-License-Identifier: Apache-2.0
"""Geometry of the decode kernel for experts: that of the product of a unit, and what finds the unit of a block."""

from __future__ import annotations

import dataclasses

from bitquant.arithmetic import round_up
from bitquant.grouped_config import GroupedMatmulConfig, expected_experts
from bitquant.intrin.mma import Tile
from bitquant.problem import Problem
from bitquant.schedule.rules.decode.formats import Formats
from bitquant.schedule.rules.decode.geometry import SCALE_BYTES, DecodeGeometry
from bitquant.schedule.rules.decode.grouped.hint import GroupedDecodeHint
from bitquant.schedule.rules.decode.memory import PackedTile
from bitquant.schedule.rules.routing import expected_units

#: What it takes a block to find a row, or the rows of an expert, and to add up slots, in microseconds. Estimates.
_FIND_ROW_US, _FIND_EXPERT_US, _SUM_US, _CLUSTER_SUM_US = 0.4, 0.5, 1.5, 0.5
#: What it takes a token's block besides where no other one of the multiprocessor goes on meanwhile, in microseconds.
_LONE_US = 0.15
#: The time to read a weight that another block reads at about the same time, as a share of the first.
_AGAIN = 0.6
#: Bytes that a copy of scales takes at a time, where whole rows are copied.
_COPY_BYTES = 16

__all__ = ["GroupedDecodeGeometry"]


class GroupedDecodeGeometry(DecodeGeometry):
    """What is known of a decode kernel for experts before its body is written.

    The rows of a problem are those of A that are sorted, or the slots of its tokens. A *unit* is a row, or up to
    `hint.block_m` rows that have the same expert: a product with one weight, of which `config` and `rung` are the
    problem. Rows that have no expert make units of their own, since D has zeros for them, or their tokens count them.

    Parameters
    ----------
    problem
        A grouped problem.
    hint
        A hint of its rule.
    formats
        What the problem decides without a hint, where another geometry has it already (`with_hint`).

    Attributes
    ----------
    grouped
        The grouped problem; `problem` is that of a unit.
    """

    hint: GroupedDecodeHint
    holds_table_address = True
    has_experts = True

    def __init__(self, problem: Problem, hint: GroupedDecodeHint, formats: Formats | None = None) -> None:
        self.grouped = problem
        config: GroupedMatmulConfig = problem.config
        #: Rows of a unit, at most.
        rows = (hint.unit_rows or hint.block_m) if hint.units == "experts" else 1
        if config.has_most_rows(problem.rung):
            rows = min(rows, problem.rung * config.rows_per_m)
        unit = dataclasses.replace(problem, config=config.matmul.with_M(rows), rung=rows)
        super().__init__(unit, hint, formats)

    def with_hint(self, hint: GroupedDecodeHint) -> GroupedDecodeGeometry:  # type: ignore[override]  # its rule has hints of this type alone
        """Return the geometry of another hint for the same problem; it shares decoders with this one."""
        return GroupedDecodeGeometry(self.grouped, hint, self._formats)

    def _hint_fault(self) -> str | None:
        if self.hint.unit_rows and self.hint.units == "rows":
            return "needs unit_rows=0 where units are rows"
        if self.hint.units == "rows":
            if self.hint.block_m > 8:
                return "needs block_m <= 8 where units are rows"
            if self.experts_config.is_sorted:
                return "needs units=experts where rows are sorted"
        return super()._hint_fault()

    def _derived_fault(self) -> str | None:
        if self.hint.stream_k:
            return "needs stream_k=False where blocks look for their weight"
        if (slots := self.hint.cluster_slots) > 1:
            if not (self.sums_slots and self.experts_config.top_k == slots):
                return "needs a D of sums over as many slots as cluster_slots says"
            if self.hint.units != "rows" or self.hint.split_k * self.hint.multicast > 1:
                return "needs units=rows, split_k == 1 and multicast == 1 where cluster_slots is more than 1"
        return super()._derived_fault()

    def _derive(self) -> None:
        super()._derive()
        rows = self.grouped.rung * self.experts_config.rows_per_m
        most = (self.hint.unit_rows or self.hint.block_m) if self.collects else 1
        #: Units and weights that a call is expected to have, where experts are equally likely.
        self.units = expected_units(rows, self.experts_config.num_experts, most)
        self.weights = expected_experts(rows, self.experts_config.num_experts)
        if not self.collects:  # The same weight again comes from L2.
            self.weights += _AGAIN * (self.units - self.weights)
        self.grid_m = max(1, round(self.units))
        # Sums of two products are not worth two accumulators, which are added up at the end of each run.
        self.most_chains = 1 if self.config.num_groups > 1 and self.run_k <= 2 * self.fragment_layout.step_k else 8
        self.block_us = _FIND_EXPERT_US if self.collects else _FIND_ROW_US
        if self.grouped.rung == 1 and self.hint.blocks_per_sm == 1:
            self.block_us += _LONE_US
        if self.sums_slots:
            self.block_us += _CLUSTER_SUM_US if self.sums_in_cluster else _SUM_US

    def blocks_of_busiest(self, sm_count: float) -> float:
        """Return the blocks of the multiprocessor that has most; how many units there are is chance where they share.

        Then some more are reckoned with, and half a block, the mean of what is left over of a last wave.
        """
        if not self.collects:
            return super().blocks_of_busiest(sm_count)
        return max(1.0, 1.1 * self.grid_n * self.hint.split_k * self.units / sm_count + 0.5)

    @property
    def experts_config(self) -> GroupedMatmulConfig:
        """The grouped problem's config; `config` is that of a unit's product."""
        config: GroupedMatmulConfig = self.grouped.config
        return config

    @property
    def collects(self) -> bool:
        """Whether a unit has the rows of an expert, which a block looks for; else it is a row."""
        return self.hint.units == "experts"

    @property
    def sums_slots(self) -> bool:
        """Whether values of slots are added up, in global memory, before they are rounded to the type of D."""
        return self.experts_config.reduces_slots and (self.experts_config.top_k or 1) > 1

    @property
    def sums_in_cluster(self) -> bool:
        """Whether the blocks of a cluster have all slots of a token, and add up their values."""
        return self.hint.cluster_slots > 1

    @property
    def holds_weight_address(self) -> bool:  # type: ignore[override]  # a constant of the base class
        """Whether registers hold the address of the weight: kernels for a row alone were seen to spill for it."""
        return self.collects

    @property
    def has_whole_rows(self) -> bool:
        """Whether every unit has as many rows as it may have."""
        return not self.collects

    def _staged_scales(self, end: int) -> tuple[Tile | None, Tile | None, int]:
        """Return tiles of scales and zero points as the product of a matrix has them, or else of whole rows.

        A row of 90 scales of 8 bits is no whole number of the least copies, but 16 of them are.
        """
        c, size = self.config, self.config.scale_format.bits // 8
        found = super()._staged_scales(end)
        row_bytes = c.num_groups * size
        tile = PackedTile(end, self.block_n, row_bytes, 2 if self.max_iterations > 1 else 1, swizzled=False)
        staged = (c.with_scaling, c.with_zeros and not c.has_packed_zeros)
        fits = sum(staged) * self.block_n * row_bytes <= SCALE_BYTES and self.block_n * row_bytes % _COPY_BYTES == 0
        has_all = self.a_stays and self.hint.split_k == 1 and c.N * row_bytes % _COPY_BYTES == 0
        if found[0] or found[1] or not (any(staged) and fits and has_all) or c.num_groups == 1 or c.rows_per_scale > 1:
            return found
        scale = tile if c.with_scaling else None
        begin = scale.end if scale else end
        return scale, dataclasses.replace(tile, base=begin) if staged[1] else None, _COPY_BYTES

    @property
    def shares_scales(self) -> bool:
        """Whether the four lanes that have a row of W share the conversion of its scales, which are of 8 bits."""
        return self.smem.scale_tile is not None and self.config.scale_format.bits == 8 and self.runs > 1

    def is_long_body(self, pipeline: tuple[str, int, int]) -> bool:
        """Whether hints with such `weights`, `ahead` and `unroll` come behind those predicted to be as fast.

        Where values are looked up, bodies of four tiles spill registers, and are up to 18% slower than those of two.
        """
        return pipeline[2] > 2 and self.fragment_layout.is_adjacent

    @property
    def loads_late(self) -> bool:
        """Whether the next tile is loaded into a slot only when what the slot holds has been multiplied."""
        return self.is_shared or self.hint.loads_late

    # Shared memory, behind that of the product.

    @property
    def rows_offset(self) -> int:
        """Where the rows of the unit stand, 4 bytes each; of rows that are indexed."""
        return round_up(self.smem.end, 16)

    @property
    def complete_offset(self) -> int:
        """Where it says of each row whether the block completes the sum of its token, 4 bytes each."""
        return self.rows_offset + 4 * self.rows_of_a

    @property
    def counts_offset(self) -> int:
        """Where the rows of each expert are counted, 4 bytes each, and those of none."""
        return self.complete_offset + 4 * self.rows_of_a

    @property
    def smem_bytes(self) -> int:  # type: ignore[override]  # computed when it is asked for
        """Dynamic shared memory of a block, in bytes."""
        if self.sums_in_cluster:
            return self.values_offset + 2 * 4 * self.block_columns
        counts = self.experts_config.num_experts + 1 if self.collects and self.experts_config.is_indexed else 0
        return self.counts_offset + 4 * counts

    @property
    def values_offset(self) -> int:
        """Where values stand that the blocks of a cluster add up, float32, those of two blocks of n in turn."""
        return round_up(self.smem.end, 16)
