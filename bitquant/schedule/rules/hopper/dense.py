# SPDX-License-Identifier: Apache-2.0
"""Hopper's tensor cores by wgmma for a W of A's type, float16 or bfloat16, as it lies in memory.

Ring, tiles and the way to D are those of `wgmma`. W needs no decoding, so that both operands come from shared memory,
where TMA puts them with the 128-byte swizzle; consumers start the products of a slot while those of the one before it
are under way::

    W --TMA--> ring --descriptor--> left operand  --> wgmma --> sums --> D^T, transposed --> D
    A --TMA--> ring --descriptor--> right operand --^
"""

from __future__ import annotations

from typing import ClassVar

from bitquant.layouts import WeightLayout
from bitquant.problem import Problem
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.products import is_dense
from bitquant.schedule.rules.hopper.rule import WgmmaRule, hopper_refusal

__all__ = ["DenseRule"]


class DenseRule(WgmmaRule):
    """Tensor cores by wgmma for a W that is not quantized (see the module)."""

    name = "wgmma_dense"
    weight_layouts: ClassVar[tuple[WeightLayout, ...]] = ("plain",)

    def features(self, geometry: WgmmaGeometry) -> None:
        """Return None: the ranking was not trained on kernels that decode nothing."""

    def refuses(self, problem: Problem) -> str | None:
        """Refuse other GPUs than Hopper, a W that must be decoded, and rows that TMA does not fetch."""
        config = problem.config
        if (reason := hopper_refusal(problem, self.least_m)) is not None:
            return reason
        if config.needs_decode or not is_dense(config) or config.A_format.bits != 16:
            return f"needs W of A's type, float16 or bfloat16, without scales (got {config.W_format.name})"
        if config.layout != "nt":
            return f"needs layout nt (got {config.layout})"
        return None
