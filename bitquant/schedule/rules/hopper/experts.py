# SPDX-License-Identifier: Apache-2.0
"""Hopper's tensor cores by wgmma where sorted rows meet the weights of several experts.

The kernel is that of `emit.kernel`, for tiles of experts (`emit.experts`): one kernel serves every routing, and no
block waits for the host. K is split by stream-K alone: with some tiles for each expert a call has tiles enough. The
blocks of a cluster, which share A by multicast, have tiles of one expert, since those along n are whole clusters.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

from bitquant.grouped_config import GroupedMatmulConfig, expected_experts
from bitquant.problem import Problem
from bitquant.schedule.rules.hopper import space
from bitquant.schedule.rules.hopper.dense import DenseRule
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.hopper.memory import EXPERT_BYTES
from bitquant.schedule.rules.hopper.products import Products
from bitquant.schedule.rules.hopper.registers import needed_registers
from bitquant.schedule.rules.hopper.rule import WgmmaRule
from bitquant.schedule.rules.routing import expected_units

__all__ = ["GroupedDenseRule", "GroupedWgmmaGeometry", "GroupedWgmmaRule"]

#: Most experts whose rows shared memory is to hold; more than known models have.
MAX_EXPERTS = 1024
#: Registers of a consumer that only experts need; without them ptxas was seen to spill kernels that it else does not.
EXPERT_REGISTERS = 8
#: Rows of those experts that have any from which these kernels are the default; below, the decode kernel is as fast or
#: faster (42 pairs on an H200, 2026-11-30).
PREFERRED_SHARE = 1.2
#: Rows of A in a tile that are tried.
BLOCK_SIZES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
#: Most groups of K where scales of the next tile are loaded ahead. Of 44 pairs of kernels (H200, 2026-11-30) those with
#: 6 to 32 groups became 1.0 to 1.34 times as fast, and those with 90 to 224 groups, whose loads are more, 0.94 to 1.
MAX_GROUPS_AHEAD = 32
#: Slots of a multiprocessor, at least, where they are longest and the weight is scaled: with 5 and more, kernels were
#: up to 7% faster than with slots of half the length, with 4 they were 3 to 9% slower (the same run).
LEAST_LONG_SLOTS = 5
#: Most pieces of tiles, which the grid counts with 32 bits.
MAX_PIECES = 1 << 30


class GroupedWgmmaGeometry(WgmmaGeometry):
    """What is known of a wgmma kernel with the weights of experts: that of a product with one of them, and its tiles.

    Parameters
    ----------
    problem
        A grouped problem; its rung counts the rows of all experts.
    hint
        As in `WgmmaGeometry`.
    products
        The problem's, where another geometry has them already.

    Attributes
    ----------
    whole_problem
        The grouped problem; `problem` is that of one expert.
    """

    def __init__(self, problem: Problem, hint: WgmmaHint, products: Products | None = None) -> None:
        self._whole = problem
        super().__init__(of_one_expert(problem), hint, products)

    def with_hint(self, hint: WgmmaHint) -> GroupedWgmmaGeometry:
        """Return what another hint makes of the problem."""
        return GroupedWgmmaGeometry(self._whole, hint, self.products)

    @property
    def whole_problem(self) -> Problem:
        """The problem whose operands the kernel has."""
        return self._whole

    @property
    def num_experts(self) -> int:  # type: ignore[override]  # a constant of the base class
        """Weights that are stored one after the other."""
        return int(self._whole.config.num_experts)

    @property
    def expert_bytes(self) -> int:  # type: ignore[override]  # likewise
        """Shared memory for the rows of each expert, and an entry before them."""
        return EXPERT_BYTES * (self.num_experts + 1)

    @cached_property
    def clears_codes(self) -> bool:  # type: ignore[override]  # likewise
        """Whether codes beyond K are cleared: not where they are zeros already, a scale of their own row times 0."""
        fmt = self.config.W_format
        code_0_is_0 = fmt.offset == 0 if fmt.levels is None else fmt.levels[0] == 0
        return self.config.with_zeros or not code_0_is_0

    @cached_property
    def needed_registers(self) -> int:
        """Registers that a consumer needs: the expert, and where its operands begin, besides those for one weight."""
        return needed_registers(self.products, self.hint) + EXPERT_REGISTERS

    @cached_property
    def expected_m_tiles(self) -> int:
        """Tiles along m that a call of `rung` rows is expected to have, where experts are equally likely."""
        return max(1, round(expected_units(self.rung, self.num_experts, self.hint.block_m)))

    @property
    def expected_weights(self) -> float:
        """Weights that it is expected to read."""
        return expected_experts(self.rung, self.num_experts)

    def _hint_fault(self) -> str | None:
        h = self.hint
        if h.parts > 1 or h.tail_split > 1:
            return "needs consumers_k, split_k and tail_split of 1 where weights are those of experts"
        if (fault := super()._hint_fault()) is not None:
            return fault
        pieces = self.num_experts * self.tiles_n * (self.most_blocks if h.stream_k else 1)
        return f"needs at most {MAX_PIECES} pieces of tiles (got {pieces})" if pieces > MAX_PIECES else None


class _OfExperts(WgmmaRule):
    """What the rules for experts share."""

    operation = GroupedMatmulConfig.operation
    least_m: ClassVar[int] = 1

    def refuses(self, problem: Problem) -> str | None:
        """Refuse indexed rows, more experts than shared memory tells apart, and what the rule for one refuses."""
        config = problem.config
        if not config.is_sorted:
            return f"needs routing sorted (got {config.routing})"
        if config.num_experts > MAX_EXPERTS:
            return f"needs num_experts <= {MAX_EXPERTS} (got {config.num_experts})"
        if config.num_experts * config.N >= 1 << 31:
            return f"needs fewer than 2^31 rows of W (got {config.num_experts * config.N})"
        return super().refuses(of_one_expert(problem))

    def is_preferred(self, problem: Problem) -> bool:
        """Whether there are rows enough, and experts that have several of them."""
        rows, hit = problem.rung, expected_experts(problem.rung, problem.config.num_experts)
        return super().is_preferred(problem) and rows >= PREFERRED_SHARE * hit

    def shapes(self, problem: Problem) -> Iterator[WgmmaHint]:
        """Yield hints in the order of the time that the model predicts (`cost`)."""
        return filter(_has_slots, space.in_order(self._likely(problem)))

    def population(self, problem: Problem) -> Iterator[WgmmaHint]:
        """Yield every hint with the deepest ring that fits."""
        return filter(_has_slots, space.with_deepest_rings(self._likely(problem)))

    def geometry(self, problem: Problem, hint: WgmmaHint) -> GroupedWgmmaGeometry:
        """Return how the kernel cuts the problem."""
        return GroupedWgmmaGeometry(problem, hint)

    def features(self, geometry: WgmmaGeometry) -> None:
        """Return None: the ranking was not trained on kernels for experts."""

    def _likely(self, problem: Problem) -> Iterator[GroupedWgmmaGeometry]:
        """Yield geometries, all but their stages, that registers allow, whose tiles no expert's rows are far below."""
        one = of_one_expert(problem)
        products = Products(one)
        looks_ahead = products.scales_16_bits and one.config.num_groups <= MAX_GROUPS_AHEAD
        for hint in space.hints_of(one, products, self._block_sizes(problem), space.MAX_BLOCK_K):
            if hint.parts > 1 or hint.tail_split > 1 or hint.stream_k:
                continue
            geometry = GroupedWgmmaGeometry(problem, hint, products)
            yield geometry.with_hint(replace(hint, looks_ahead=True)) if looks_ahead else geometry
            if hint.cluster == 1 and space.leaves_sms_idle(one, hint, geometry.expected_m_tiles):
                yield geometry.with_hint(replace(hint, stream_k=True))

    @staticmethod
    def _block_sizes(problem: Problem) -> list[int]:
        rows, unit = problem.rung, 16 if problem.config.A_format.is_integer else 8
        return [size for size in BLOCK_SIZES if size == 8 or (size - unit < rows)]


def _has_slots(hint: WgmmaHint) -> bool:
    is_long = hint.scaling == "operand" and hint.block_k >= space.MAX_BLOCK_K
    return not is_long or hint.stages * hint.blocks_per_sm >= LEAST_LONG_SLOTS


class GroupedWgmmaRule(_OfExperts):
    """Tensor cores by wgmma on the fragment layout (`emit.kernel`), for sorted rows and the weights of experts."""

    name = "grouped_wgmma"


class GroupedDenseRule(_OfExperts, DenseRule):
    """The same for weights that are not quantized, as they lie in memory (`dense`)."""

    name = "grouped_wgmma_dense"


def of_one_expert(problem: Problem) -> Problem:
    """Return the problem of the product with one expert's weight, of as many rows as all experts have."""
    return dataclasses.replace(problem, config=problem.config.matmul)
