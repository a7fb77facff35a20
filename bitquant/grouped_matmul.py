# SPDX-License-Identifier: Apache-2.0
"""GroupedMatmul: the operator of a mixture-of-experts layer, together with the making of its weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tvm.target import Target

from bitquant import packing, relayout
from bitquant.checks import check_bool
from bitquant.errors import ConfigError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.operands import GROUPED_OPERANDS
from bitquant.operator import GroupedOperator
from bitquant.schedule import Plan
from bitquant.schedule.tuned import RecordSource
from bitquant.tunable import TunableOperator

__all__ = ["GroupedMatmul"]

_WEIGHT = GROUPED_OPERANDS[1]


class GroupedMatmul(TunableOperator, GroupedOperator):
    """A grouped matrix multiplication: each row of A by the weight of one of E experts (`GroupedMatmulConfig`).

    Parameters
    ----------
    config
        The problem.
    target
        "cpu", "cuda", an architecture such as "sm_90a", or a TVM target; None: the GPU if there is one, else the CPU.
    rules
        Schedule rules in order of preference in place of the default ones.
    records
        What was tuned before, as in `Operator`.
    enable_tuning
        As in `Matmul`.

    Examples
    --------
    >>> config = GroupedMatmulConfig(8, 64, 128, W_dtype="uint4", group_size=32, with_scaling=True)
    >>> matmul = GroupedMatmul(config, target="cpu")
    >>> qweight = matmul.transform_weight(torch.randint(0, 16, (8, 64, 128), dtype=torch.int8))
    >>> scale, offsets = torch.rand(8, 64, 4).half(), torch.tensor([2, 2, 5, 5, 5, 5, 5, 6], dtype=torch.int32)
    >>> matmul(torch.rand(6, 128).half(), qweight, scale, offsets=offsets).shape
    torch.Size([6, 64])
    """

    def __init__(
        self,
        config: GroupedMatmulConfig,
        target: str | Target | None = None,
        rules: Sequence[Any] | None = None,
        records: RecordSource | Plan | None = None,
        *,
        enable_tuning: bool = False,
    ) -> None:
        check_bool(enable_tuning, "enable_tuning")
        super().__init__(config, target, rules, records)
        if enable_tuning:
            self.hardware_aware_finetune()

    def transform_weight(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weights of all experts in the layout that the kernels read.

        Parameters
        ----------
        weight
            (E, N, K) values, of each expert what `Matmul.transform_weight` takes.

        Returns
        -------
        torch.Tensor
            Packed on the weight's own device; then moved to the GPU where the operator is for one and the weight is
            not there.

        Raises
        ------
        ConfigError
            If shape or type do not fit, or a value is out of the format's range.
        """
        c = self.config
        _check_shape(weight, (c.num_experts, c.N, c.K), "weight", "(E, N, K)")

        def pack(e: int) -> torch.Tensor:
            with _naming(e):
                return relayout.pack(weight[e], c.matmul, self.weight_layout)

        first = pack(0)
        packed = first.new_empty((c.num_experts, *first.shape))
        packed[0] = first
        for e in range(1, c.num_experts):
            packed[e] = pack(e)
        if self.is_cuda and packed.device.type == "cpu" and torch.cuda.is_available():
            packed = packed.cuda()
        return packed

    def restore_weight(self, qweight: torch.Tensor) -> torch.Tensor:
        """Return the (E, N, K) values that `transform_weight` took: integers, or numbers for the other formats.

        Raises
        ------
        ConfigError
            If shape or type are others than those of `transform_weight`.
        """
        one = self.config.matmul
        _check_shape(qweight, tuple(self.retrieve_weight_shape()), "qweight", "as transform_weight returns it")
        return torch.stack(
            [packing.unpack(relayout.from_layout(each, one, self.weight_layout), one) for each in qweight]
        )

    def transform_zeros(self, zeros: torch.Tensor) -> torch.Tensor:
        """Return zero points of all experts as the kernels read them, packed for zeros_mode "quantized", else as given.

        Parameters
        ----------
        zeros
            (E, K / group, N) integers for "quantized"; (E, N, K / group) numbers else.

        Raises
        ------
        ConfigError
            If the shape is another one, or an integer is out of range.
        """
        one, E = self.config.matmul, self.config.num_experts
        if not one.has_packed_zeros:
            _check_shape(zeros, (E, *one.zeros_shape), "zeros", "(E, N, K / group_size)")
            return zeros
        _check_shape(zeros, (E, one.num_groups, one.N), "zeros", "(E, K / group_size, N)")

        def pack(e: int) -> torch.Tensor:
            with _naming(e):
                return packing.pack_zeros(zeros[e], one)

        return torch.stack([pack(e) for e in range(E)])

    def retrieve_weight_shape(self) -> list[int]:
        """Return the shape of the stored weight."""
        return list(_WEIGHT.shape(self.config, 0, self.weight_layout))


@contextlib.contextmanager
def _naming(expert: int) -> Iterator[None]:
    """Let errors on an expert's part of an operand say whose it is."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"expert {expert}: {error}", **{**error.values, "expert": expert}) from error


def _check_shape(tensor: object, wanted: tuple[int, ...], argument: str, what: str) -> None:
    if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != wanted:
        got = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise ConfigError(f"{argument!r} must be a tensor of shape {what} = {wanted} (got {got})", **{argument: tensor})
