# SPDX-License-Identifier: Apache-2.0
"""The wgmma rule: what it serves, its hints and their order. `emit.kernel` says how the kernel works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from tvm.tirx import PrimFunc

from bitquant.intrin.wgmma import SWIZZLE_BYTES
from bitquant.layouts import WeightLayout, fragment_refusal
from bitquant.problem import Problem
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.rules.hopper.cost import predicted_us
from bitquant.schedule.rules.hopper.emit.kernel import wgmma_function
from bitquant.schedule.rules.hopper.features import features
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.hopper.products import narrow_refusal
from bitquant.schedule.rules.hopper.space import population, space

__all__ = ["WgmmaRule", "hopper_refusal"]

#: Rows of A from which kernels by wgmma are worth a try for one weight, the least of its columns; and from which they
#: are the default where no trials were made: below, the decode rule mostly reads the weight faster.
MIN_M, PREFERRED_M = 8, 16


class WgmmaRule(Rule):
    """Tensor cores by wgmma on the fragment layout (`emit.kernel`)."""

    name = "wgmma"
    pipeline = "tirx"
    hint_type = WgmmaHint
    weight_layouts: ClassVar[tuple[WeightLayout, ...]] = ("fragment",)
    #: Rows of A from which the rule is worth its tiles.
    least_m: ClassVar[int] = MIN_M

    def refuses(self, problem: Problem) -> str | None:
        """Refuse other GPUs than Hopper, and rows or groups that TMA and the steps of k do not fit."""
        config = problem.config
        if (reason := hopper_refusal(problem, self.least_m) or fragment_refusal(config)) is not None:
            return reason
        if config.A_format.bits == 8:
            return narrow_refusal(config)
        if (reason := config.W_format.register_refusal(config.A_format.name)) is not None:
            return reason
        step_k = SWIZZLE_BYTES * 8 // config.A_format.bits
        if config.with_zeros and not config.W_format.is_integer:
            return f"needs integers where W has zero points (got {config.W_format.name})"
        scaled = config.with_scaling or config.with_zeros
        if scaled and not config.scale_format.is_exact_in(config.A_format.tvm_dtype):
            return f"needs Scale of A's type, or of 8 bits that it holds (got {config.scale_format.name})"
        if config.num_groups > 1 and config.group not in (16, 32) and config.group % step_k:
            return f"needs a group_size of 16, 32 or a multiple of {step_k} (got {config.group})"
        return None

    def is_preferred(self, problem: Problem) -> bool:
        """Whether there are as many rows as the tiles are made for."""
        return problem.rung >= PREFERRED_M

    def shapes(self, problem: Problem) -> Iterator[WgmmaHint]:
        """Yield hints in the order of the time that the model predicts (`cost`)."""
        return space(problem)

    def population(self, problem: Problem) -> Iterator[WgmmaHint]:
        """Yield every hint with the deepest ring that fits."""
        return population(problem)

    def geometry(self, problem: Problem, hint: WgmmaHint) -> WgmmaGeometry:
        """Return how the kernel cuts the problem."""
        return WgmmaGeometry(problem, hint)

    def cost_us(self, geometry: WgmmaGeometry) -> float:
        """Return the time that `cost` predicts."""
        return predicted_us(geometry)

    def features(self, geometry: WgmmaGeometry) -> dict[str, float] | None:
        """Return the `features` of a kernel."""
        return features(geometry)

    def emit(self, geometry: WgmmaGeometry) -> PrimFunc:
        """Write the kernel for this problem."""
        return wgmma_function(geometry)


def hopper_refusal(problem: Problem, least_m: int) -> str | None:
    """Return why no kernel by wgmma and TMA serves a problem of at least `least_m` rows, whatever W is, or None."""
    config, rung = problem.config, problem.rung
    if not (problem.is_cuda and problem.gpu.has_wgmma):
        return f"needs sm_90a (got {problem.device_name})"
    if rung < least_m:
        return f"needs M >= {least_m} (got {rung})"
    if config.A_format.bits > 16:
        return f"needs A of 16 or 8 bits (got {config.A_format.name})"
    if config.K * config.A_format.bits % 128:
        return f"needs rows of A of whole 16 bytes, K % {128 // config.A_format.bits} == 0 (got {config.K})"
    return None
