# SPDX-License-Identifier: Apache-2.0
"""Experts: the gated MLPs of a mixture of experts, whose weights are stored in few bits."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bitquant.checks import MAX_ELEMENTS
from bitquant.compute.activation import CLAMPED_ALPHA, CLAMPED_LIMIT
from bitquant.errors import CallError, ConfigError
from bitquant.nn.experts_linear import ExpertsLinear
from bitquant.operator.grouped import MAX_PADDING

__all__ = ["Experts", "ExpertsLinear", "Gate"]

#: Most rows of an expert, where tokens are spread evenly, for slots to be indexed; those of more are sorted. Measured
#: in us, indexed and sorted, as a CUDA graph on an H200 (2026-11-30, 64354c1): gpt-oss-20b (32 experts of which a token
#: meets 4, MXFP4) with 64 tokens, 8 rows, 214 and 252, with 128 528 and 307; Qwen3-30B-A3B (128 of 8, uint4) with 128
#: tokens, 8 rows, 179 and 217, with 256 314 and 270. On two threads of an EPYC both take as long at 2 to 8 rows (uint4,
#: hidden 1024: 32 experts of 4, 8 of 2, 128 of 8).
_MAX_ROWS = {"cpu": 3, "cuda": 8}
#: Elements of the float32 temporary in which experts' rows are weighted, before they are summed: 256 MiB.
_MAX_SUMMED = 2**26
#: The names of what a call is given.
_OPERANDS = ("hidden_states", "top_k_index", "top_k_weights")
#: By number of experts and device: the bounds of their numbers (`_bounds`).
_kept_bounds: dict[tuple[int, torch.device], tuple[torch.Tensor, torch.Tensor]] = {}


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
            parallelism marks what other ranks compute. Where k is another than `top_k` the slots are sorted.
        top_k_weights
            (T, k), floats.

        Raises
        ------
        CallError
            If shape, type or device do not fit.
        """
        for name, tensor in zip(_OPERANDS, (hidden_states, top_k_index, top_k_weights), strict=True):
            if not isinstance(tensor, torch.Tensor):
                raise CallError(f"{name!r} must be a torch.Tensor (got {type(tensor).__name__})")
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
            top_k_index = top_k_index.to(torch.int32 if top_k_index.dtype.itemsize < 4 else torch.int64)
        k = top_k_index.shape[1]
        has_activation = self.gate_up.activation is not None
        wants_gradient = torch.is_grad_enabled() and (hidden_states.requires_grad or top_k_weights.requires_grad)
        few = tokens * k <= _MAX_ROWS["cuda" if hidden_states.is_cuda else "cpu"] * self.num_experts
        if few and k == self.top_k and not wants_gradient:
            # As the kernels take them; a router may return views.
            ids = _narrow(top_k_index, self.num_experts)
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
        rows_of_A = max(self.gate_up.in_features, self.down.in_features) + MAX_PADDING
        return max(1, MAX_ELEMENTS // (max(k, 1) * max(self.gate_up.out_features, rows_of_A)))

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
        step = max(1, _MAX_SUMMED // max(1, k * D.shape[-1]))
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


def _narrow(ids: torch.Tensor, E: int) -> torch.Tensor:
    """Return numbers of experts as contiguous int32; those that are not 0 ... E - 1 stay so, also beyond 32 bits."""
    if ids.dtype is torch.int32:
        return ids.contiguous()
    if not torch.compiler.is_compiling() and type(ids) is torch.Tensor:
        bounds = _bounds(E, ids.device)
        if bounds is not None:
            # One launch: with bounds that are tensors, and only with such, clamp writes a narrower type.
            return torch.clamp(ids, *bounds, out=torch.empty(ids.shape, dtype=torch.int32, device=ids.device))
    return ids.clamp(-1, E).to(torch.int32).contiguous()


def _bounds(E: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return -1 and E as tensors, made at the first call; None where a graph is captured, which would own them."""
    if (E, device) not in _kept_bounds:
        if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
            return None
        _kept_bounds[E, device] = torch.tensor(-1, device=device), torch.tensor(E, device=device)
    return _kept_bounds[E, device]


def _summed(D: torch.Tensor, rows: torch.Tensor, is_in: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return weighted sums, in float32, of the rows of D of each token's slots that are `is_in`."""
    # What no expert has written may be NaN, which a factor of 0 leaves NaN.
    parts = torch.where(is_in.unsqueeze(-1), D[rows], 0) * torch.where(is_in, weights, 0).float().unsqueeze(-1)
    return parts.sum(1).to(D.dtype)
