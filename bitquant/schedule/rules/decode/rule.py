# SPDX-License-Identifier: Apache-2.0
"""Few rows of A: the time to read the weight, on the fragment layout.

The weight is the left operand of the tensor cores, D^T = W A^T, and streams from memory straight into the registers
that they read, 16 bytes a lane and load; or, as the hint says, through a ring in shared memory, of which each lane
reads back what it copied itself. A few rows of A are in shared memory as the right operand::

    W fragments --ld.global--> registers --decode--> mma --sums of a group--> x scale, - zero point --> totals
    A ----------bulk copy----> shared memory --ldmatrix--^

A warp owns `n_tiles_per_warp` tiles of 16 n. The warps of a block divide n and k; partial sums of the same n are added
in shared memory at the end and, with split K, in the distributed shared memory of the cluster. A arrives in one piece,
or in few phases: the loop waits for nothing but the weight.

Scale and zero point are applied in float32 to the sums of a group, sum a (w - z) s = (sum a w - z sum a) s; sum a comes
from one more mma with a left operand of ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from tvm.tirx import PrimFunc

from bitquant.layouts import WeightLayout, fragment_refusal
from bitquant.problem import Problem
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.rules.decode import cost, space
from bitquant.schedule.rules.decode.emit.function import decode_function
from bitquant.schedule.rules.decode.features import features
from bitquant.schedule.rules.decode.formats import operand_type
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.schedule.rules.decode.hint import DecodeHint

__all__ = ["DecodeRule"]


class DecodeRule(Rule):
    """Few rows of A on the fragment layout (see the module)."""

    name = "decode"
    pipeline = "tirx"
    hint_type = DecodeHint
    weight_layouts: ClassVar[tuple[WeightLayout, ...]] = ("fragment",)

    def refuses(self, problem: Problem) -> str | None:
        """Refuse what has no fragment layout, GPUs before sm_80, and formats that no tensor-core type holds."""
        if not problem.is_cuda:
            return f"needs a CUDA target (got {problem.device_name})"
        config, arch = problem.config, problem.gpu
        if not arch.has_mma_m16n8k16:
            return f"needs sm_80 or newer (got {arch.name})"
        if reason := fragment_refusal(config):
            return reason
        a, w = config.A_format, config.W_format
        if not a.is_integer and a.bits == 8 and w.needs_table and (config.with_scaling or config.with_zeros):
            return f"needs a W whose values float16 holds where A is float8 and W is scaled (got {w.name})"
        return w.register_refusal(operand_type(config))

    def shapes(self, problem: Problem) -> Iterator[DecodeHint]:
        """Yield hints in the order of the time that the model predicts (`space`)."""
        return space.shapes(problem)

    def population(self, problem: Problem) -> Iterator[DecodeHint]:
        """Yield the hints that `shapes` puts in order."""
        return space.population(problem)

    def geometry(self, problem: Problem, hint: DecodeHint) -> DecodeGeometry:
        """Return how the kernel cuts the problem."""
        return DecodeGeometry(problem, hint)

    def cost_us(self, geometry: DecodeGeometry) -> float:
        """Return the time that `cost` predicts."""
        return cost.cost_us(geometry)

    def features(self, geometry: DecodeGeometry) -> dict[str, float]:
        """Return the `features` of a kernel."""
        return features(geometry)

    def emit(self, geometry: DecodeGeometry) -> PrimFunc:
        """Write the kernel for this problem."""
        return decode_function(geometry)
