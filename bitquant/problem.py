# SPDX-License-Identifier: Apache-2.0
"""A problem: one function to schedule, as every rule sees it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tvm.target import Target

from bitquant.arch import GpuArch, target_gpu
from bitquant.layouts import WeightLayout

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """One rung of a config on one target: what is scheduled, or predicted.

    Attributes
    ----------
    config
        What is multiplied, with its ladder: a `MatmulConfig` or a `GroupedMatmulConfig`, whose `operation` names it.
    rung
        The rung of the ladder: the most rows of A that the function is made for. 0 for one that decodes W alone.
    target
        What it is compiled for.
    weight_layout
        The layout of the weight that the function reads.
    """

    config: Any
    rung: int
    target: Target
    weight_layout: WeightLayout = "plain"

    @property
    def operation(self) -> str:
        """What is computed: "matmul" or "grouped_matmul"."""
        return str(self.config.operation)

    @property
    def is_cuda(self) -> bool:
        """Whether the target is a CUDA GPU; else it is a CPU."""
        return bool(self.target.kind.name == "cuda")

    @cached_property
    def gpu(self) -> GpuArch:
        """Facts of the GPU; of CUDA targets alone."""
        return target_gpu(self.target)

    @property
    def device_name(self) -> str:
        """What messages call the target: the architecture of a GPU, "llvm" for a CPU."""
        return str(self.target.arch) if self.is_cuda else str(self.target.kind.name)

    def __str__(self) -> str:
        what = self.config.with_M(self.rung) if self.rung else f"decode(W) of {self.config}"
        return f"{what} on {self.device_name}"
