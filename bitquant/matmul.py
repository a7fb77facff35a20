# SPDX-License-Identifier: Apache-2.0
"""Matmul: the operator together with the making of its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tvm.target import Target

from bitquant import layouts, packing, relayout
from bitquant.checks import check_bool
from bitquant.config import MatmulConfig
from bitquant.schedule import Plan
from bitquant.schedule.tuned import RecordSource
from bitquant.tunable import TunableOperator

__all__ = ["Matmul"]


class Matmul(TunableOperator):
    """A mixed-precision matrix multiplication, D = A x decode(W)^T (+ Bias).

    Parameters
    ----------
    config
        The problem.
    target
        "cpu", "cuda", an architecture such as "sm_90a", or a TVM target; None: the GPU if there is one, else the CPU.
    enable_tuning
        Whether to measure kernels where they run and take the best ones (`hardware_aware_finetune`), which takes
        minutes. The default of BitBLAS is True.
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
        check_bool(enable_tuning, "enable_tuning")
        super().__init__(config, target, rules, records)
        if enable_tuning:
            self.hardware_aware_finetune()

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
