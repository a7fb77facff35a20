# SPDX-License-Identifier: Apache-2.0
"""Experts: the gated MLPs of a mixture of experts, whose weights are stored in few bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

import torch
from tvm.target import Target

from bitquant import relayout
from bitquant.checks import check_bool, check_rows
from bitquant.compute.activation import CLAMPED_ALPHA, CLAMPED_LIMIT
from bitquant.config import ZerosMode
from bitquant.errors import CallError, ConfigError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.nn.format import format_fields
from bitquant.nn.held import check_permutation, held_tensors
from bitquant.nn.linear import constructor_fields
from bitquant.nn.module import KernelModule, fence, shared_kernels

__all__ = ["Experts", "ExpertsLinear", "Gate"]

#: Most rows of an expert, where tokens are spread evenly, for slots to be indexed; those of more are sorted. Measured
#: in us, indexed and sorted, as a CUDA graph on an H200 (2026-11-30, 64354c1): gpt-oss-20b (32 experts of which a token
#: meets 4, MXFP4) with 64 tokens, 8 rows, 214 and 252, with 128 528 and 307; Qwen3-30B-A3B (128 of 8, uint4) with 128
#: tokens, 8 rows, 179 and 217, with 256 314 and 270. On two threads of an EPYC both take as long at 2 to 8 rows (uint4,
#: hidden 1024: 32 experts of 4, 8 of 2, 128 of 8).
_MOST_ROWS = {"cpu": 3, "cuda": 8}
#: Kernels index rows of A and D with 32 bits, and a CPU's fill up rows of A to whole vectors.
_MAX_ELEMENTS, _VECTOR = 2**31 - 1, 16
#: Elements of the float32 temporary in which experts' rows are weighted, before they are summed: 256 MiB.
_MOST_SUMMED = 2**26


class Gate(torch.nn.Module):
    """The activation between the two products of an expert, of columns that alternate: gate, up, gate, up ...

    With g and u the even and the odd columns, and where there is a `limit` L, g = min(g, L) and
    u = min(max(u, -L), L) before::

        h = act(g) * u                            alpha None
        h = g * sigmoid(alpha * g) * (u + 1)      else, as gpt-oss has it

    Parameters
    ----------
    act
        The activation, elementwise; None: SiLU.
    limit
        L; None: nothing is clamped.
    alpha
        As above.
    """

    def __init__(
        self,
        act: Callable[[torch.Tensor], torch.Tensor] | None = None,
        limit: float | None = None,
        alpha: float | None = None,
    ) -> None:
        super().__init__()
        self.act = torch.nn.SiLU() if act is None else act
        self.limit, self.alpha = limit, alpha

    @property
    def activation(self) -> str | None:
        """The activation of `GroupedMatmulConfig` that is this one, in the epilogue of the first product; else None."""
        if (self.limit, self.alpha) == (CLAMPED_LIMIT, CLAMPED_ALPHA):
            return "clamped_swiglu"
        if self.limit is not None or self.alpha is not None:
            return None
        if type(self.act).__name__ in ("SiLU", "SiLUActivation"):
            return "silu_mul"
        is_tanh = getattr(self.act, "approximate", None) == "tanh" or type(self.act).__name__ == "GELUTanh"
        return "gelu_tanh_mul" if is_tanh else None

    def forward(self, gate_up: torch.Tensor) -> torch.Tensor:
        """Return h, (..., I), of the columns of the first product, (..., 2 I)."""
        gate, up = gate_up[..., 0::2], gate_up[..., 1::2]
        if self.limit is not None:
            gate, up = gate.clamp(max=self.limit), up.clamp(-self.limit, self.limit)
        if self.alpha is None:
            return self.act(gate) * up
        return (up + 1) * (gate * torch.sigmoid(gate * self.alpha))

    def extra_repr(self) -> str:
        """Return what differs from the defaults for ``repr``."""
        return ", ".join(f"{n}={v}" for n in ("limit", "alpha") if (v := getattr(self, n)) is not None)


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

    @property
    def has_zeros_of_codes(self) -> bool:
        """Whether zero points are packed as codes of W."""
        return self.config.matmul.has_packed_zeros

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
            is_scale = name == "scales" or (name == "zeros" and not self.has_zeros_of_codes)
            setattr(layer, name, buffer.to(layer.config.scale_format.torch_dtype) if is_scale else buffer)
        return layer.train(self.training)

    @property
    def has_scale_type(self) -> bool:
        """Whether there are scales or zero points in the type of the scales."""
        return self.scales is not None or (self.zeros is not None and not self.has_zeros_of_codes)

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


class Experts(torch.nn.Module):
    """The experts of a layer: gated MLPs, D[t] = sum_j w[t, j] * down_e(gate(gate_up_e(x[t]))), e = ids[t, j].

    It stands where a model of transformers has its experts module, and is called like that. Which expert a token meets
    is data on the device: no call waits for it on the host, a CUDA graph may be replayed with other routing, and
    torch.compile makes one graph. Hidden states and routing weights have a gradient; the weights have none.

    Few tokens are multiplied slot by slot, and what their experts give is summed in the kernel. The slots of many, and
    where a gradient is wanted, are sorted by expert, on the device. Sums over experts are in float32 in both.

    Parameters
    ----------
    gate_up
        The first product, N = 2 I; its rows alternate: row 2 i is gate i, row 2 i + 1 is up i.
    down
        The second product, K = I, with ``D_rows="tokens"``.
    gate
        What is between them; None: SiLU of gate, times up. Where `gate_up` has an activation, the same one.

    Raises
    ------
    ConfigError
        If the two products do not fit each other.

    Examples
    --------
    >>> fields = dict(W_dtype="uint4", group_size=32, with_scaling=True, top_k=2)
    >>> experts = Experts(ExpertsLinear(4, 64, 256, **fields), ExpertsLinear(4, 128, 64, D_rows="tokens", **fields))
    >>> x, (weights, ids) = torch.rand(3, 64).half(), torch.rand(3, 4).softmax(-1).topk(2)
    >>> experts(x, ids, weights).shape
    torch.Size([3, 64])
    """

    #: Makes the module that it stands for, without weights, where it was made of one.
    make_stock: Callable[[], torch.nn.Module] | None = None

    def __init__(self, gate_up: ExpertsLinear, down: ExpertsLinear, gate: Gate | None = None) -> None:
        super().__init__()
        fits = (gate_up.num_experts, gate_up.out_features, gate_up.in_features, gate_up.top_k)
        wanted = (down.num_experts, 2 * down.in_features, down.out_features, down.top_k)
        if fits != wanted or (gate_up.D_rows, down.D_rows) != ("slots", "tokens"):
            raise ConfigError(
                f"'gate_up' must have (E, N, K, top_k) = {wanted} and D_rows='slots' to go before 'down', with "
                f"D_rows='tokens' (got {fits}, {gate_up.D_rows!r}, {down.D_rows!r})",
                gate_up=gate_up, down=down,
            )  # fmt: skip
        self.gate_up, self.down = gate_up, down
        self.gate = Gate() if gate is None else gate
        if gate_up.activation not in (None, self.gate.activation):
            raise ConfigError(
                f"'gate' must be the activation of 'gate_up', {gate_up.activation!r} (got {self.gate})", gate=gate
            )

    @property
    def num_experts(self) -> int:
        """The number of experts, E."""
        return self.down.num_experts

    @property
    def top_k(self) -> int | None:
        """Experts of a token that kernels for few tokens are made for."""
        return self.down.top_k

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """Return the weighted sums over the experts of each token, (T, H).

        Parameters
        ----------
        hidden_states
            (T, H), of the type of A.
        top_k_index
            (T, k), integers: the experts of each token. Others than 0 ... E - 1 count as zeros: so a rank of expert
            parallelism marks what other ranks compute. On a GPU they must fit in 32 bits. Where k is another than
            `top_k` the slots are sorted.
        top_k_weights
            (T, k), floats.

        Raises
        ------
        CallError
            If shape, type or device do not fit.
        """
        tokens = hidden_states.shape[0]
        if (
            hidden_states.ndim != 2
            or top_k_index.ndim != 2
            or top_k_index.shape[0] != tokens
            or top_k_weights.shape != top_k_index.shape
        ):
            raise CallError(
                "'hidden_states', 'top_k_index' and 'top_k_weights' must have shapes (T, H), (T, k), (T, k) (got "
                f"{tuple(hidden_states.shape)}, {tuple(top_k_index.shape)}, {tuple(top_k_weights.shape)})"
            )
        _check_routing(top_k_index, top_k_weights, hidden_states.device)
        if top_k_index.dtype not in (torch.int32, torch.int64):  # A narrow type need not hold E, which marks no expert.
            top_k_index = top_k_index.to(torch.int32)
        k = top_k_index.shape[1]
        has_activation = self.gate_up.activation is not None
        wants_gradient = torch.is_grad_enabled() and (hidden_states.requires_grad or top_k_weights.requires_grad)
        few = tokens * k <= _MOST_ROWS["cuda" if hidden_states.is_cuda else "cpu"] * self.num_experts
        if few and k == self.top_k and not wants_gradient:
            if not hidden_states.is_cuda:  # On a GPU it would be one more launch for each layer and token.
                top_k_index = top_k_index.clamp(-1, self.num_experts)
            # As the kernels take them; a router may return views.
            ids = top_k_index.to(torch.int32).contiguous()
            product = self.gate_up.indexed(hidden_states, ids)
            h = product if has_activation else self.gate(product)
            return self.down.indexed(h, ids, top_k_weights.to(torch.float32).contiguous())
        most, activated = self._most_tokens(k), has_activation and not wants_gradient
        if tokens <= most:
            return self._sorted(hidden_states, top_k_index, top_k_weights, activated)
        parts = zip(*(t.split(most) for t in (hidden_states, top_k_index, top_k_weights)), strict=True)
        return torch.cat([self._sorted(x, index, weights, activated) for x, index, weights in parts])

    def _most_tokens(self, k: int) -> int:
        """Return how many tokens fit into one call of each operator."""
        width = max(self.gate_up.out_features, self.gate_up.in_features + _VECTOR, self.down.in_features + _VECTOR)
        return max(1, _MAX_ELEMENTS // (max(k, 1) * width))

    def _sorted(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor, activated: bool
    ) -> torch.Tensor:
        E, (T, k), device = self.num_experts, top_k_index.shape, hidden_states.device
        is_ours = (top_k_index >= 0) & (top_k_index < E)
        # The rows of no expert come last, behind all offsets.
        ids, order = torch.where(is_ours, top_k_index, E).reshape(-1).sort(stable=True)
        offsets = torch.searchsorted(ids, torch.arange(E, device=device, dtype=ids.dtype), right=True, out_int32=True)
        product = self.gate_up.sorted(hidden_states[order // max(k, 1)], offsets, ids, activated=activated)
        h = product if activated else self.gate(product)
        D = self.down.sorted(h, offsets, ids)
        row_of_slot = torch.empty_like(order).scatter_(0, order, torch.arange(T * k, device=device)).view(T, k)
        slots = (row_of_slot, is_ours, top_k_weights)
        step = max(1, _MOST_SUMMED // max(1, k * D.shape[-1]))
        if step >= T:
            return _summed(D, *slots)
        parts = zip(*(t.split(step) for t in slots), strict=True)
        return torch.cat([_summed(D, rows, is_in, weights) for rows, is_in, weights in parts])

    def num_bytes(self) -> int:
        """Return the bytes of all buffers."""
        return sum(t.numel() * t.element_size() for t in self.buffers())

    def extra_repr(self) -> str:
        """Return the sizes for ``repr``."""
        return f"num_experts={self.num_experts}, top_k={self.top_k}"


def _check_routing(top_k_index: torch.Tensor, top_k_weights: torch.Tensor, device: torch.device) -> None:
    """Check type and device of what a router returned."""
    dtype = top_k_index.dtype
    if dtype.is_floating_point or dtype.is_complex or dtype is torch.bool:
        raise CallError(f"'top_k_index' must be of an integer type (got {dtype}); use .to(torch.int64)")
    if not top_k_weights.dtype.is_floating_point:
        raise CallError(
            f"'top_k_weights' must be of a floating-point type (got {top_k_weights.dtype}); use .to(torch.float32)"
        )
    for name, tensor in (("top_k_index", top_k_index), ("top_k_weights", top_k_weights)):
        if tensor.device != device:
            raise CallError(
                f"{name!r} must be on the device of 'hidden_states', {device} (got {tensor.device}); "
                f"use .to('{device}')"
            )


def _summed(D: torch.Tensor, rows: torch.Tensor, is_in: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return weighted sums, in float32, of the rows of D of each token's slots that are `is_in`."""
    # What no expert has written may be NaN, which a factor of 0 leaves NaN.
    parts = torch.where(is_in.unsqueeze(-1), D[rows], 0) * torch.where(is_in, weights, 0).float().unsqueeze(-1)
    return parts.sum(1).to(D.dtype)
