# SPDX-License-Identifier: Apache-2.0
"""Matmul: the operator together with the making of its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from tvm.target import Target

from bitquant import layouts, packing, relayout
from bitquant.arch import resolve_target
from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError, UnsupportedError
from bitquant.operator import Operator
from bitquant.problem import Problem
from bitquant.schedule import Plan
from bitquant.schedule.tuned import RecordSource

if TYPE_CHECKING:
    from bitquant.explore import Page
    from bitquant.tune import TuningResult

__all__ = ["Matmul"]


class Matmul(Operator):
    """A mixed-precision matrix multiplication, D = A x decode(W)^T (+ Bias).

    Parameters
    ----------
    config
        The problem.
    target
        "cpu", "cuda", an architecture such as "sm_90a", or a TVM target; None: the GPU if there is one, else the CPU.
    enable_tuning
        Whether to measure kernels on the GPU and take the best ones (`hardware_aware_finetune`), which takes minutes.
        The default of BitBLAS is True. On a CPU there is nothing to choose from, and True is refused.
    name, backend, from_database
        Accepted for BitBLAS and without effect: kernels always come from the cache where they are there.
    rules
        Schedule rules in order of preference in place of the default ones.
    records
        What was tuned before, as in `Operator`.

    Examples
    --------
    >>> config = MatmulConfig(M=1, N=1024, K=1024, W_dtype="uint4", group_size=128, with_scaling=True)
    >>> matmul = Matmul(config, target="cpu")
    >>> qweight = matmul.transform_weight(torch.randint(0, 16, (1024, 1024), dtype=torch.int8))
    >>> qweight.shape
    torch.Size([1024, 512])
    """

    def __init__(
        self,
        config: MatmulConfig,
        name: str = "matmul",
        target: str | Target | None = None,
        enable_tuning: bool = False,
        from_database: bool = True,
        backend: str = "tir",
        rules: Sequence[Any] | None = None,
        records: RecordSource | Plan | None = None,
    ) -> None:
        resolved = resolve_target(target)
        if not isinstance(enable_tuning, bool):
            raise ConfigError(
                f"'enable_tuning' must be a bool (got {enable_tuning!r:.80})", enable_tuning=enable_tuning
            )
        if enable_tuning and resolved.kind.name != "cuda":
            raise UnsupportedError(
                "'enable_tuning' must be False where the target is a CPU (got True): its rule has one kernel for a "
                "problem, and there is nothing to choose from"
            )
        super().__init__(config, resolved, rules, records)
        if enable_tuning:
            self.hardware_aware_finetune()

    def hardware_aware_finetune(
        self, topk: int = 20, target: str | Target | None = None, parallel_build: bool = True
    ) -> TuningResult:
        """Build and measure the likely kernels of each rung on the device that is here, and take the best from now on.

        Weights, and CUDA graphs that were captured before, stay good; the latter run the kernels from before. See
        docs/tuning.md.

        Parameters
        ----------
        topk
            The most candidates a rung.
        target
            Accepted for BitBLAS: None, or that of this operator.
        parallel_build
            Whether candidates are compiled in as many processes as there are CPUs, else in this one.

        Returns
        -------
        TuningResult
            Every candidate and what became of it; `write_record` keeps the best for later operators.

        Raises
        ------
        UnsupportedError
            If the operator's GPU is not here, or `target` is another one.
        CallError
            If `topk` is not positive.
        BuildError
            If no candidate of a rung works. The operator is unchanged then.

        Warns
        -----
        TuningWarning
            For each candidate that gave a wrong result, or could not be built or run.
        """
        from bitquant.tune import tune

        if target is not None and _compiles_for(resolve_target(target)) != _compiles_for(self.target):
            raise UnsupportedError(
                f"'target' must be that of the operator, {self.arch} (got {target}); "
                "construct an operator for each target"
            )
        result = tune(self, topk, workers=None if parallel_build else 0, rules=self._rules)
        result.warn()
        self._follow(result.plan())
        return result

    def explore(self, m: int | None = None) -> Page:
        """Return a page on the kernel that serves `m` rows; a notebook shows it, ``save`` writes it to a file.

        It has the stages side by side, drawings of the tile, the ring and the grid, the roofline, resources, the hint
        explained, and why other rules refused. The kernel is compiled once more, with line numbers; the one that runs
        stays as it is.

        Parameters
        ----------
        m
            Rows of A; default: the static M, or the first rung.

        Raises
        ------
        CallError
            If `m` is not what the config serves.
        """
        from bitquant.explore import explore

        ladder, rows = self.config.ladder, self._rows(m)
        rung = next((rung for rung in ladder if rows <= rung), ladder[-1])
        problem = Problem(self.config, rung, self.target, self.weight_layout)
        return explore(problem, self.prim_func_mod, self._plan, self._rules)

    def transform_weight(
        self,
        weight: torch.Tensor,
        scale: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the weight in the layout that the kernels read.

        Parameters
        ----------
        weight
            (N, K) values: integers of any integer type for integer formats; for nf4 and fp4_e2m1 codes (integers) or
            numbers, which go to the nearest level; for float formats numbers, for float8 also bit patterns in int8 or
            uint8. (K, N) for layout nn.
        scale, zeros, bias
            Accepted for BitBLAS, which passes them through; they are operands of the call and need no transformation.

        Returns
        -------
        torch.Tensor
            Packed on the weight's own device, of shape `retrieve_weight_shape()`; then moved to the GPU where the
            operator is for one and the weight is not there.

        Raises
        ------
        ConfigError
            If shape or type do not fit, or a value is out of the format's range.
        """
        packed = relayout.pack(weight, self.config, self.weight_layout)
        if self.is_cuda and packed.device.type == "cpu" and torch.cuda.is_available():
            packed = packed.cuda()
        return packed

    def restore_weight(self, qweight: torch.Tensor) -> torch.Tensor:
        """Return the (N, K) values that `transform_weight` took: integers, or numbers for the other formats."""
        return packing.unpack(relayout.from_layout(qweight, self.config, self.weight_layout), self.config)

    def transform_zeros(self, zeros: torch.Tensor) -> torch.Tensor:
        """Return zero points as the kernels read them, packed for zeros_mode "quantized", else unchanged.

        Parameters
        ----------
        zeros
            (K / group, N) integers for "quantized"; (N, K / group) numbers else.
        """
        return packing.pack_zeros(zeros, self.config) if self.config.has_packed_zeros else zeros

    def retrieve_weight_shape(self) -> list[int]:
        """Return the shape of the stored weight."""
        return list(layouts.weight_shape(self.config, self.weight_layout))


def _compiles_for(target: Target) -> tuple[str, str]:
    """Return kind and architecture of a target; products of one architecture run the same kernels."""
    return target.kind.name, str(target.arch) if target.kind.name == "cuda" else str(target)
