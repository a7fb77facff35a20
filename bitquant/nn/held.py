# SPDX-License-Identifier: Apache-2.0
"""What a layer holds beside its packed weight: scales, zero points, bias and the like, and what each must be."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.operands import operands_of

__all__ = ["Held", "check_permutation", "held_tensors"]


class Held(NamedTuple):
    """A tensor that a layer may hold.

    Attributes
    ----------
    name
        Name of the buffer: that of the operand, but for "scales", as BitBLAS has it.
    flag
        The argument of the layer that decides on it.
    is_present
        Whether the layer has it.
    shape, dtype
        What it must be.
    """

    name: str
    flag: str
    is_present: bool
    shape: tuple[int, ...]
    dtype: torch.dtype

    def check(self, tensor: Any) -> None:
        """Check a tensor that is to be loaded.

        Raises
        ------
        ConfigError
            If it is missing, is not part of the layer, or has another shape or type.
        """
        name, flag, is_present, shape, dtype = self
        is_packed = name == "zeros" and dtype is torch.int8
        packs = "; bitquant.packing.pack_zeros makes them of integers (K / group_size, N)" if is_packed else ""
        if tensor is None and not is_present:
            return
        if tensor is None:
            raise ConfigError(
                f"{name!r} is missing: the layer has {flag}=True; pass a tensor of shape {tuple(shape)} and type "
                f"{dtype}",
                **{name: None},
            )
        if not is_present:
            raise ConfigError(
                f"{name!r} was given, but the layer has {flag}=False; leave it out or set {flag}=True", **{name: tensor}
            )
        if not isinstance(tensor, torch.Tensor) or tensor.dtype is not dtype:
            got = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise ConfigError(
                f"{name!r} must be a tensor of type {dtype} (got {got}){packs or f'; use .to({dtype})'}",
                **{name: tensor},
            )
        if tensor.is_nested or tensor.layout is not torch.strided:
            kind = "nested" if tensor.is_nested else tensor.layout
            raise ConfigError(
                f"{name!r} must be dense (got a tensor that is {kind}); use .to_dense()", **{name: tensor}
            )
        if tuple(tensor.shape) != tuple(shape):
            raise ConfigError(
                f"{name!r} must have shape {tuple(shape)} (got {tuple(tensor.shape)}){packs}", **{name: tensor}
            )
        if tensor.is_meta:
            raise ConfigError(f"{name!r} must hold numbers (got a tensor on the meta device)", **{name: tensor})

    def of_expert(self) -> Held:
        """Return the part of one expert, where the first dimension is that of experts."""
        return self._replace(shape=self.shape[1:])


def held_tensors(config: MatmulConfig | GroupedMatmulConfig, *, with_permutation: bool) -> tuple[Held, ...]:
    """Return what a layer with that config may hold; of experts, with E in front."""
    held = [
        Held(
            {"scale": "scales"}.get(operand.argument, operand.argument),
            operand.field.replace("with_bias", "bias"),
            operand.is_present(config),
            operand.row_shape(config),
            operand.torch_dtype(config),
        )
        for operand in operands_of(config)
        if operand.rows == "W" and operand.field is not None
    ]
    experts = (config.num_experts,) if isinstance(config, GroupedMatmulConfig) else ()
    return *held, Held("permutation", "with_permutation", with_permutation, (*experts, config.K), torch.int64)


def check_permutation(permutation: torch.Tensor) -> None:
    """Check an order of columns.

    Raises
    ------
    ConfigError
        If it does not name each column once.
    """
    K = permutation.numel()
    inside = permutation[(permutation >= 0) & (permutation < K)]
    if len(inside) < K or not (torch.bincount(inside, minlength=K) == 1).all():
        raise ConfigError(
            f"'permutation' must hold each of 0 ... {K - 1} once (got another selection)", permutation=permutation
        )
