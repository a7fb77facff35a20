# SPDX-License-Identifier: Apache-2.0
"""What a saved model says of its quantized layers: constructor arguments by name, checked, and layers made of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection
from typing import Any

import torch

from bitquant.errors import ConfigError
from bitquant.formats import ACTIVATION_DTYPES, OUT_DTYPES, canonical_name
from bitquant.nn.bitlinear import BitLinear
from bitquant.nn.experts import Experts, ExpertsLinear
from bitquant.nn.linear import Linear
from bitquant.nn.stock import StockExperts, is_stock_experts

__all__ = ["KINDS", "PRODUCTS", "check_layers", "layer_fields", "layer_from_fields"]

#: What `layers` may say of a layer: what decides its tensors and kernels, and nothing of where it runs.
_LAYER_FIELDS = inspect.signature(Linear).parameters.keys() - {
    "in_features", "out_features", "bias", "target", "enable_tuning",
}  # fmt: skip
_PRODUCT_FIELDS = inspect.signature(ExpertsLinear).parameters.keys() & _LAYER_FIELDS
#: The layers that there are, by name.
KINDS: dict[str, Any] = {"Linear": Linear, "BitLinear": BitLinear, "Experts": Experts}
#: The products of experts.
PRODUCTS = ("gate_up", "down")


def check_layers(layers: Any) -> None:
    """Check what a saved model says of its layers, as far as that needs no model.

    Raises
    ------
    ConfigError
        If it is not what `layer_fields` returns.
    """
    if not isinstance(layers, dict) or not all(isinstance(name, str) for name in layers):
        raise ConfigError(f"'layers' must be an object of layers by name (got {layers!r:.80})", layers=layers)
    for name, fields in layers.items():
        if not isinstance(fields, dict):
            raise ConfigError(f"'layers' must have an object for {name!r:.80} (got {fields!r:.80})", layers=layers)
        kind = fields.get("layer", "Linear")
        if not isinstance(kind, str) or kind not in KINDS:
            raise ConfigError(
                f"'layers' must make {name!r:.80} a Linear, a BitLinear or Experts (got {kind!r:.80})", layers=layers
            )
        own = {field: value for field, value in fields.items() if field != "layer"}
        if kind != "Experts":
            _check_fields(name, own, _LAYER_FIELDS if kind == "Linear" else (), layers)
            continue
        _check_fields(name, own, PRODUCTS, layers)
        for product in PRODUCTS:
            if not isinstance(own.get(product), dict):
                raise ConfigError(
                    f"'layers' must have an object {product!r} for {name!r:.80} (got {own.get(product)!r:.80})",
                    layers=layers,
                )
            _check_fields(f"{name}.{product}", own[product], _PRODUCT_FIELDS, layers)


def _check_fields(name: str, fields: dict[str, Any], allowed: Collection[str], layers: Any) -> None:
    if unknown := [field for field in fields if field not in allowed]:
        raise ConfigError(
            f"'layers' constructs {name!r:.80} in a way that there is none (got the field {unknown[0]!r:.80}); use "
            "the bitquant that saved it, or a newer one",
            layers=layers,
        )
    for field in ("A_dtype", "out_dtype"):  # Which `update_dtype` asks for.
        if field in fields:
            canonical_name(fields[field], field, ACTIVATION_DTYPES if field == "A_dtype" else OUT_DTYPES)


def layer_from_fields(module: Any, fields: dict[str, Any]) -> torch.nn.Module:
    """Return the layer of a module that `layer_fields` says, on the meta device."""
    kind = KINDS[fields.pop("layer", "Linear")]
    if is_stock_experts(module) != (kind is Experts):
        raise ConfigError(f"{type(module).__name__} is not what becomes {kind.__name__}")
    if kind is Experts:
        return StockExperts.of(module).make(**fields)
    with torch.device("meta"):
        layer: Any = kind(module.in_features, module.out_features, module.bias is not None, **fields)
    if kind is BitLinear:
        layer.drop_weight()
    result: torch.nn.Module = layer
    return result


def layer_fields(model: torch.nn.Module) -> dict[str, dict[str, Any]]:
    """Return constructor arguments of the quantized layers of a model by name.

    Equal layers whose names differ in numbers alone are named once, with "*" for the numbers, where every linear
    layer of such a name is one of them.
    """
    by_pattern: dict[str, dict[str, Any]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        fields: dict[str, Any] | None = None
        if isinstance(module, Linear):
            fields = module.constructor_fields()
        elif isinstance(module, BitLinear) and module.qweight is not None:
            fields = {"layer": "BitLinear"}
        elif isinstance(module, Experts):
            fields = {"layer": "Experts", **{p: getattr(module, p).constructor_fields() for p in PRODUCTS}}
        elif not isinstance(module, torch.nn.Linear) and not is_stock_experts(module):
            continue
        pattern = re.sub(r"(?<=\.)\d+(?=\.)", "*", f".{name}.")[1:-1]
        by_pattern.setdefault(pattern, {})[name] = fields
    result = {}
    for pattern, members in by_pattern.items():
        first, *others = members.values()
        if first is not None and all(fields == first for fields in others):
            result[pattern] = first
        else:
            result.update({name: fields for name, fields in members.items() if fields is not None})
    return result
