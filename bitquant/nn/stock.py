# SPDX-License-Identifier: Apache-2.0
"""The experts modules of transformers: which of them `Experts` can stand for, and their weights, expert by expert.

transformers marks such a module with what its weights look like (``use_experts_implementation``, in
transformers/integrations/moe.py), for functions that are to compute it: gate and up one above the other or in turn,
(N, K) or transposed, with or without biases. All else that a class may do has a name here, or its modules stay.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from bitquant.checks import check_group_size
from bitquant.config import ZerosMode
from bitquant.errors import ConfigError
from bitquant.formats import WEIGHT_DTYPES, canonical_name, number_format
from bitquant.nn.experts import Experts, ExpertsLinear, Gate
from bitquant.nn.rounding import Method, quantize

__all__ = [
    "StockExperts",
    "alternating",
    "dequantize_experts",
    "empty_experts",
    "find_stock_experts",
    "is_stock_experts",
    "quantize_expert",
    "quantize_experts",
    "stock_refusal",
]

#: Gates of classes that have one of their own, by class.
_GATES: dict[str, Callable[..., Gate]] = {
    "GptOssExperts": lambda m: Gate(limit=m.limit, alpha=m.alpha),
    "DeepseekV4Experts": lambda m: Gate(m.act_fn, limit=m.limit),
}
#: What configs call the number of experts that a token meets.
_TOP_K = ("num_experts_per_tok", "num_experts_per_token", "top_k_experts", "moe_topk", "moe_k")


def alternating(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Return the rows of two tensors in turn: row 2 i is row i of `gate`, row 2 i + 1 that of `up`."""
    return torch.stack([gate, up], 1).flatten(0, 1)


def is_stock_experts(module: torch.nn.Module) -> bool:
    """Return whether a module is one of experts that transformers lets other programs compute."""
    return "is_transposed" in vars(module) and "has_gate" in vars(module) and hasattr(module, "down_proj")


def stock_refusal(module: Any) -> str | None:
    """Return why `Experts` cannot stand for an experts module, as "needs ... (got ...)", else None."""
    name = type(module).__name__
    if not module.has_gate:
        return f"needs a gate ({name} has none)"
    if getattr(module, "has_post_expert_norm", False):
        return f"needs experts without a norm of their own ({name} has one)"
    if _own_gate(module) and name not in _GATES:
        return f"needs a gate that it knows ({name} has one of its own)"
    if module.gate_up_proj.ndim != 3 or module.down_proj.ndim != 3:
        return f"needs weights of three dimensions ({name} has others)"
    return None


def _own_gate(module: Any) -> bool:
    """Whether a class has another gate than that of all."""
    gate: Any = inspect.getattr_static(type(module), "_apply_gate")
    return gate.__module__ != "transformers.integrations.moe"


@dataclass(frozen=True)
class StockExperts:
    """What an experts module says of itself.

    Attributes
    ----------
    module
        It; on the meta device, where its weights are elsewhere.
    num_experts, hidden_size, intermediate_size
        E, H and I.
    has_bias
        Whether both products have biases.
    top_k
        Experts of a token; None where its config does not say.
    """

    module: Any
    num_experts: int
    hidden_size: int
    intermediate_size: int
    has_bias: bool
    top_k: int | None

    @classmethod
    def of(cls, module: Any) -> StockExperts:
        """Return what a module says.

        Raises
        ------
        ConfigError
            If `Experts` cannot stand for it.
        """
        if (reason := stock_refusal(module)) is not None:
            raise ConfigError(f"Experts {reason}", module=module)
        E, a, b = module.down_proj.shape
        H, inner = (b, a) if module.is_transposed else (a, b)
        config: Any = getattr(module, "config", None)
        top_k = next((v for name in _TOP_K if isinstance(v := getattr(config, name, None), int)), None)
        return cls(module, E, H, inner, bool(module.has_bias), top_k)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        found: torch.dtype = self.module.down_proj.dtype
        return found

    @property
    def is_interleaved(self) -> bool:
        """Whether gate and up alternate; else they follow each other."""
        return not getattr(self.module, "is_concatenated", type(self.module).__name__ != "GptOssExperts")

    def gate(self) -> Gate:
        """Return the activation between the products."""
        if not _own_gate(self.module):
            return Gate(self.module.act_fn)
        return _GATES[type(self.module).__name__](self.module)

    def product(self, name: str, **fields: Any) -> ExpertsLinear:
        """Return an empty product, "gate_up" or "down", on the meta device, with these fields of `ExpertsLinear`."""
        H, inner = self.hidden_size, self.intermediate_size
        K, N, D_rows = (H, 2 * inner, "slots") if name == "gate_up" else (inner, H, "tokens")
        activation = self.gate().activation if name == "gate_up" else None
        own: dict[str, Any] = {"top_k": self.top_k, "D_rows": D_rows, "activation": activation, **fields}
        with torch.device("meta"):
            return ExpertsLinear(self.num_experts, K, N, self.has_bias, **own)

    def join(self, gate_up: ExpertsLinear, down: ExpertsLinear) -> Experts:
        """Return the experts with these products, that stand for the module."""
        experts = Experts(gate_up, down, self.gate())
        if (config := getattr(self.module, "config", None)) is not None:
            kind: Callable[..., torch.nn.Module] = type(self.module)
            experts.make_stock = partial(kind, config)
        return experts.train(self.module.training)

    def make(self, gate_up: dict[str, Any], down: dict[str, Any], **common: Any) -> Experts:
        """Return empty experts on the meta device, with these and common fields of `ExpertsLinear`."""
        return self.join(self.product("gate_up", **common, **gate_up), self.product("down", **common, **down))

    def rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return rows of gate and up, (2 I, ...), in turn."""
        return tensor if self.is_interleaved else alternating(*tensor.chunk(2))

    def from_rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return rows of gate and up as the module has them: the inverse of `rows`."""
        return tensor if self.is_interleaved else torch.cat([tensor[0::2], tensor[1::2]])

    def weight(self, name: str, e: int) -> torch.Tensor:
        """Return the weight of an expert in the terms of `ExpertsLinear`, (N, K); `name` is "gate_up" or "down"."""
        return self.in_terms(name, getattr(self.module, f"{name}_proj")[e])

    def in_terms(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Return what the module has of an expert's weight in the terms of `ExpertsLinear`."""
        weight = weight.detach()
        weight = weight.T if self.module.is_transposed else weight
        return self.rows(weight) if name == "gate_up" else weight

    def bias(self, name: str, e: int) -> torch.Tensor | None:
        """Return the bias of an expert, (N,), or None."""
        if not self.has_bias:
            return None
        bias: torch.Tensor = getattr(self.module, f"{name}_proj_bias")[e].detach()
        return self.rows(bias) if name == "gate_up" else bias

    def fill(self, experts: Experts, dtype: torch.dtype | None) -> None:
        """Give the module, which is on the meta device, the weights of packed experts, dequantized one by one."""
        for name, layer in (("gate_up", experts.gate_up), ("down", experts.down)):
            weight, bias = getattr(self.module, f"{name}_proj"), getattr(self.module, f"{name}_proj_bias", None)
            dtype, device = dtype or layer.config.out_format.torch_dtype, layer.qweight.device
            full = torch.empty(weight.shape, dtype=dtype, device=device)
            for e in range(self.num_experts):
                rows = layer.dequantize_expert(e, dtype)
                rows = self.from_rows(rows) if name == "gate_up" else rows
                full[e] = rows.T if self.module.is_transposed else rows
            setattr(self.module, f"{name}_proj", torch.nn.Parameter(full, requires_grad=False))
            if bias is not None and layer.bias is not None:
                rows = torch.stack([self.from_rows(b) if name == "gate_up" else b for b in layer.bias])
                setattr(self.module, f"{name}_proj_bias", torch.nn.Parameter(rows.to(dtype), requires_grad=False))


def find_stock_experts(model: torch.nn.Module) -> dict[str, Any]:
    """Return the experts modules of a model by name, shared ones once."""
    return {name: module for name, module in model.named_modules() if is_stock_experts(module)}


def empty_experts(
    stock: StockExperts,
    W_dtype: str,
    groups: tuple[int | None, int | None],
    zeros_mode: ZerosMode | None = None,
    **options: Any,
) -> Experts:
    """Return what `quantize_experts` fills, on the meta device; `groups` are those of gate and up, and of down."""
    own_type = str(stock.dtype).removeprefix("torch.")
    fmt = number_format(canonical_name(W_dtype, "W_dtype", WEIGHT_DTYPES), options.get("codebook"))
    if zeros_mode is not None and not fmt.is_unsigned:
        raise ConfigError(
            f"'zeros_mode' must be None where W has no zero points (got {zeros_mode!r} and W_dtype={fmt.name!r}); "
            "use an unsigned format, or leave it out",
            zeros_mode=zeros_mode, W_dtype=W_dtype,
        )  # fmt: skip
    for size in groups:
        check_group_size(size)
    fields: dict[str, Any] = {
        "A_dtype": own_type, "out_dtype": own_type, "W_dtype": W_dtype, "with_scaling": fmt.bits <= 8,
        "with_zeros": fmt.is_unsigned, "zeros_mode": zeros_mode,
    }  # fmt: skip
    first, last = ({"group_size": size if fmt.bits <= 8 else None} for size in groups)
    return stock.make(first, last, **{**fields, **options})


def quantize_experts(stock: StockExperts, experts: Experts, method: Method = "rtn") -> None:
    """Round the weights of an experts module into empty experts, one at a time, where they are.

    Raises
    ------
    ConfigError
        If a weight is not finite.
    """
    if stock.module.down_proj.is_meta:
        return
    for name in ("gate_up", "down"):
        layer: ExpertsLinear = getattr(experts, name)
        layer.allocate(stock.module.down_proj.device)
        for e in range(stock.num_experts):
            quantize_expert(layer, e, stock.weight(name, e), stock.bias(name, e), method)


def quantize_expert(
    layer: ExpertsLinear, e: int, weight: torch.Tensor, bias: torch.Tensor | None, method: Method
) -> None:
    """Round the weight of one expert, (N, K), into its place."""
    values, scales, zeros = quantize(weight, layer.config.matmul, method)
    bias = None if bias is None else bias.to(layer.config.out_format.torch_dtype)
    layer.load_expert(e, values, scales, zeros, bias)


def dequantize_experts(experts: Experts, dtype: torch.dtype | None) -> torch.nn.Module:
    """Return the module that experts stand for, with their weights; `dtype` None: the type of their output.

    Raises
    ------
    ConfigError
        If they stand for none.
    """
    if experts.make_stock is None:
        raise ConfigError(
            "'experts' must stand for an experts module of transformers to become one again (got Experts made by "
            "themselves); use dequantize_expert of their products",
            experts=experts,
        )
    with torch.device("meta"):
        module = experts.make_stock()
    StockExperts.of(module).fill(experts, dtype)
    return module.train(experts.training)
