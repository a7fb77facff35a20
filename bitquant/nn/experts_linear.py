# SPDX-License-Identifier: Apache-2.0
"""ExpertsLinear: one product of a layer of experts, whose weights are stored in few bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, Literal

import torch
from tvm.target import Target

from bitquant import relayout
from bitquant.checks import check_bool, check_rows
from bitquant.config import ZerosMode
from bitquant.errors import ConfigError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.nn.format import format_fields
from bitquant.nn.held import check_permutation, held_tensors
from bitquant.nn.layer_fields import constructor_fields
from bitquant.nn.module import KernelModule, fence, shared_kernels

__all__ = ["ExpertsLinear"]


class ExpertsLinear(KernelModule):
    """One product of a layer of experts: each row of A by the weight of one of E experts, stored in few bits.

    It has a weight, and two operators (`GroupedMatmul`) that read it, in one layout: `sorted` for rows in the order of
    their experts, `indexed` for the few rows of a decoding step. The first dimension of every buffer is that of
    experts; all else is as in `Linear`. A of `sorted` has a gradient.

    Parameters
    ----------
    num_experts, in_features, out_features
        E, K and N.
    bias, A_dtype, W_dtype, accum_dtype, out_dtype, group_size, with_scaling, with_zeros, zeros_mode, opt_M
        As in `Linear`.
    scale_dtype, target, with_channel_scale, with_permutation, codebook, rows_per_scale, fast_decoding, enable_tuning
        As in `Linear`.
    top_k
        Experts of a token, for `indexed`; None: there is no such operator.
    D_rows
        What `indexed` returns: "slots", a row for each expert of a token (the first product of a layer); "tokens", the
        sum of these, weighted (the second).
    activation
        As in `MatmulConfig`: D has N / 2 columns then.

    Attributes
    ----------
    qweight, scales, zeros, bias, channel_scale, permutation : torch.Tensor or None
        Those of `Linear`, of all experts.

    Raises
    ------
    ConfigError
        If a rule of `GroupedMatmulConfig` is broken.
    """

    config: GroupedMatmulConfig
    qweight: torch.Tensor
    scales: torch.Tensor | None
    zeros: torch.Tensor | None
    bias: torch.Tensor | None
    channel_scale: torch.Tensor | None
    permutation: torch.Tensor | None

    def __init__(
        self,
        num_experts: int,
        in_features: int,
        out_features: int,
        bias: bool = False,
        A_dtype: str = "float16",
        W_dtype: str = "float16",
        accum_dtype: str = "float16",
        out_dtype: str = "float16",
        group_size: int | None = -1,
        with_scaling: bool = False,
        with_zeros: bool = False,
        zeros_mode: ZerosMode | None = None,
        opt_M: int | Sequence[int] | None = None,
        fast_decoding: bool | None = None,
        scale_dtype: str | None = None,
        target: str | Target | None = None,
        with_channel_scale: bool = False,
        with_permutation: bool = False,
        codebook: Sequence[float] | None = None,
        rows_per_scale: int = 1,
        top_k: int | None = None,
        D_rows: Literal["slots", "tokens"] = "slots",
        activation: str | None = None,
        enable_tuning: bool = False,
    ) -> None:
        check_bool(with_permutation, "with_permutation")
        check_rows(opt_M, "opt_M")
        fields: dict[str, Any] = {
            "num_experts": num_experts, "N": out_features, "K": in_features, "A_dtype": A_dtype, "W_dtype": W_dtype,
            "out_dtype": out_dtype, "accum_dtype": accum_dtype, "with_bias": bias, "group_size": group_size,
            "with_scaling": with_scaling, "with_zeros": with_zeros, "zeros_mode": zeros_mode or "original",
            "scale_dtype": scale_dtype, "with_channel_scale": with_channel_scale, "codebook": codebook,
            "rows_per_scale": rows_per_scale, "fast_decoding": fast_decoding, "M": opt_M,
        }  # fmt: skip
        config = GroupedMatmulConfig(**fields)
        super().__init__(config, target, enable_tuning)
        self.num_experts, self.in_features, self.out_features = num_experts, in_features, out_features
        self.top_k, self.D_rows, self.activation = top_k, D_rows, activation
        #: What `sorted` and `indexed` call, and `sorted` where a gradient is wanted.
        self._plain_kernels, self._indexed_kernels = self._kernels, None
        if activation is not None:
            self._kernels = shared_kernels(dataclasses.replace(config, activation=activation), target, enable_tuning)
        if top_k is not None:
            is_last = D_rows == "tokens"
            indexed = GroupedMatmulConfig(
                **fields, activation=activation, routing="indexed", top_k=top_k, D_rows=D_rows,
                with_routing_weights=is_last, A_rows="slots" if is_last or with_permutation else "tokens",
            )  # fmt: skip
            self._indexed_kernels = shared_kernels(indexed, target, enable_tuning)
        shape = (num_experts, *config.matmul.W_shape)
        self.register_buffer("qweight", torch.zeros(shape, dtype=config.W_format.torch_dtype))
        self._held = held_tensors(config, with_permutation=with_permutation)
        for held in self._held:
            self.register_buffer(held.name, torch.zeros(held.shape, dtype=held.dtype) if held.is_present else None)
        self._arrange_weight()

    def sorted(
        self, A: torch.Tensor, offsets: torch.Tensor, expert_ids: torch.Tensor, *, activated: bool = True
    ) -> torch.Tensor:
        """Return the product of rows in the order of their experts, (S, N); (S, N / 2) with an activation.

        Parameters
        ----------
        A
            (S, K).
        offsets
            (E,) int32: the ends of the experts' rows.
        expert_ids
            (S,): the expert of each row; E for those beyond the last offset, of which nothing is specified in D.
        activated
            False: without the activation of the layer, and with a gradient of A.
        """
        if self.permutation is not None:
            A = A.gather(-1, self.permutation[expert_ids.clamp(max=self.num_experts - 1)])
        return self._multiply(
            A, self.scales, self.zeros, self.bias, kernels=self._kernels if activated else self._plain_kernels,
            offsets=offsets, channel_scale=self.channel_scale,
        )  # fmt: skip

    def indexed(
        self, A: torch.Tensor, expert_ids: torch.Tensor, routing_weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the product of each token with its experts, (T, top_k, N), or their weighted sum, (T, N).

        With an activation there are N / 2 columns.

        Parameters
        ----------
        A
            (T, K) where `D_rows` is "slots", else (T, top_k, K).
        expert_ids
            (T, top_k) int32.
        routing_weights
            (T, top_k) float32, where `D_rows` is "tokens".
        """
        if self.permutation is not None:
            order = self.permutation[expert_ids.clamp(0, self.num_experts - 1)]
            A = (A.unsqueeze(1).expand_as(order) if A.ndim == 2 else A).gather(-1, order)
        return self._multiply(
            A, self.scales, self.zeros, self.bias, kernels=self._indexed_kernels, expert_ids=expert_ids,
            routing_weights=routing_weights, channel_scale=self.channel_scale,
        )  # fmt: skip

    def needed_kernels(self, dtypes: Collection[torch.dtype]) -> list[Any]:
        """Return the kernels that calls run."""
        del dtypes
        return [kernels for kernels in (self._kernels, self._indexed_kernels) if kernels is not None]

    # Weights.

    def allocate(self, device: torch.device | str) -> None:
        """Give the layer memory on a device; its numbers are not specified until every expert is loaded."""
        device = torch.device(device)
        for name, buffer in list(self.named_buffers()):
            setattr(self, name, torch.empty(buffer.shape, dtype=buffer.dtype, device="meta"))
        self.qweight = self._arranged(self.qweight, self._kernels.layout(device.type))
        for name, buffer in list(self.named_buffers()):
            setattr(self, name, torch.empty_like(buffer, device=device))

    def load_expert(
        self,
        e: int,
        weight: torch.Tensor,
        scales: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        channel_scale: torch.Tensor | None = None,
        permutation: torch.Tensor | None = None,
    ) -> None:
        """Pack the weight of one expert, where it is, and load it with what goes with it.

        Parameters
        ----------
        e
            Number of the expert.
        weight, scales, zeros, bias, channel_scale, permutation
            As `Linear.load_and_transform_weight` takes them.

        Raises
        ------
        ConfigError
            If an operand is missing, is not part of the layer, or has the wrong shape, type or values; if there is no
            such expert, or the layer is on the meta device. Nothing has been loaded then.
        """
        if not 0 <= e < self.num_experts or self.qweight.is_meta:
            raise ConfigError(
                f"'e' must be one of {self.num_experts} experts of a layer that has memory (got {e}, on "
                f"{self.qweight.device}); call allocate before",
                e=e,
            )
        given = {
            "scales": scales, "zeros": zeros, "bias": bias, "channel_scale": channel_scale, "permutation": permutation,
        }  # fmt: skip
        for held in self._held:
            held.of_expert().check(given[held.name])
        if permutation is not None:
            check_permutation(permutation)
        layout = self.weight_layout or "plain"
        self.qweight[e].copy_(relayout.pack(weight, self.config.matmul, layout))
        for name, tensor in given.items():
            if tensor is not None:
                getattr(self, name)[e].copy_(tensor)
        fence(self.qweight)

    def dequantize_expert(self, e: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """Return the weight of one expert, (N, K), as `Linear.dequantize` does."""
        operator = self.operator(self.qweight.device.type)
        self._arrange_weight()
        parts = (None if t is None else t[e] for t in (self.qweight, self.scales, self.zeros))
        weight: torch.Tensor = operator.dequantize_expert(*parts, dtype)
        if self.channel_scale is not None:
            weight = (weight * self.channel_scale[e].unsqueeze(-1)).to(weight.dtype)
        if self.permutation is not None:
            weight = torch.empty_like(weight).index_copy_(-1, self.permutation[e], weight)
        return weight

    def constructor_fields(self) -> dict[str, Any]:
        """Return the keyword arguments, other than sizes, bias, target, top_k and D_rows, of an equal empty layer."""
        M = self.config.M  # Where it is None the two operators have ladders of their own.
        return {
            **constructor_fields(
                self.config.matmul, quantize_activations=False, with_permutation=self.permutation is not None
            ),
            "opt_M": list(M) if isinstance(M, Sequence) else M,
        }

    def with_scale_dtype(self, scale_dtype: str) -> ExpertsLinear:
        """Return a layer with the same weight whose scales, and zero points that are not packed, have another type."""
        fields = {**self.constructor_fields(), "scale_dtype": scale_dtype}
        with torch.device("meta"):
            layer = ExpertsLinear(
                self.num_experts, self.in_features, self.out_features, self.bias is not None,
                target=self._kernels.target, top_k=self.top_k, D_rows=self.D_rows, activation=self.activation,
                enable_tuning=self._kernels.enable_tuning, **fields,
            )  # fmt: skip
        for name, buffer in self.named_buffers():
            is_scale = name == "scales" or (name == "zeros" and not self.config.matmul.has_packed_zeros)
            setattr(layer, name, buffer.to(layer.config.scale_format.torch_dtype) if is_scale else buffer)
        return layer.train(self.training)

    @property
    def has_scale_type(self) -> bool:
        """Whether there are scales or zero points in the type of the scales."""
        return self.config.matmul.has_scale_type

    def _format(self) -> dict[str, Any]:
        return format_fields(
            "ExpertsLinear", self.config.matmul, num_experts=self.num_experts,
            with_permutation=self.permutation is not None,
        )  # fmt: skip

    def extra_repr(self) -> str:
        """Return sizes and formats for ``repr``."""
        sizes = f"num_experts={self.num_experts}, in_features={self.in_features}, out_features={self.out_features}"
        permuted = ", permuted columns" if self.permutation is not None else ""
        return f"{sizes}, {self.config.problem_summary()}{permuted}"
