# SPDX-License-Identifier: Apache-2.0
"""The problems of a model's layers without its weights: of models known by name, and of a folder with a config.json."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bitquant.config import MatmulConfig
from bitquant.errors import BitquantError, ConfigError
from bitquant.formats import number_format
from bitquant.grouped_config import SORTED_LADDER
from bitquant.nn.checkpoints.source import read_json_file
from bitquant.nn.contents import read_contents
from bitquant.nn.experts_linear import ExpertsLinear
from bitquant.nn.linear import Linear
from bitquant.nn.model_sizes import KNOWN_MODELS, ModelSizes, ProductSizes
from bitquant.nn.module import AnyConfig
from bitquant.nn.outline import (
    import_transformers,
    make_outline,
    model_class_of,
    outline_operators,
    read_model_config,
)
from bitquant.nn.stock import StockExperts, find_stock_experts, stock_refusal

__all__ = ["ModelProblem", "model_problems", "routing_name"]


@dataclass(frozen=True)
class _Heads:
    """What tensor parallelism must know of attention: heads of k and of v, and the length of one."""

    kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class _Layer:
    """A layer, or layers that are merged: names of what it computes, and its sizes."""

    names: tuple[str, ...]
    N: int
    K: int
    with_bias: bool = False

    def configs(self, fields: Mapping[str, Any]) -> list[AnyConfig]:
        """Return the problems that a call of the layer may have, of these fields of `MatmulConfig`."""
        with_bias = bool(fields.get("with_bias")) or self.with_bias
        return [MatmulConfig(**{**fields, "N": self.N, "K": self.K, "with_bias": with_bias})]


@dataclass(frozen=True)
class _ExpertsLayer(_Layer):
    """A product of experts.

    Attributes
    ----------
    make
        Returns the layer on the meta device, of fields of `ExpertsLinear`.
    """

    make: Callable[..., ExpertsLinear] = ExpertsLinear

    def configs(self, fields: Mapping[str, Any]) -> list[AnyConfig]:
        """Return the problems of the two forms of a call; none where A has 8 bits, to which experts round no inputs."""
        if number_format(fields.get("A_dtype") or "float16").bits <= 8:
            return []
        taken = inspect.signature(ExpertsLinear).parameters
        own = {name: value for name, value in fields.items() if name in taken and name != "activation"}
        layer = self.make(**own, opt_M=fields.get("M"))
        return [kernels.config for kernels in layer.needed_kernels(())]


@dataclass(frozen=True)
class ModelProblem:
    """A distinct problem of a model.

    Attributes
    ----------
    config
        The problem.
    name
        The layers that have it, such as "q_proj+k_proj+v_proj", and how many GPUs share it: "down_proj / 4".
    """

    config: AnyConfig
    name: str


def routing_name(config: AnyConfig) -> str:
    """Return what tells a grouped problem from others of its sizes, behind a name: ", sorted, of 8"; else ""."""
    return "" if isinstance(config, MatmulConfig) else f", {config.routing}, of {config.num_experts}"


def _layers_of_known(sizes: ModelSizes) -> tuple[_Heads, list[_Layer]]:
    """Return the heads and the layers of a model of these sizes, the products of experts last."""
    layers = [_Layer(layer.names, layer.N, layer.K, layer.with_bias) for layer in sizes.layers()]
    of_experts = (
        _ExpertsLayer(product.names, product.N, product.K, product.with_bias, partial(_make_experts, product))
        for product in sizes.products()
    )
    return _Heads(sizes.num_kv_heads, sizes.head_dim), [*layers, *of_experts]


def _make_experts(product: ProductSizes, **fields: Any) -> ExpertsLinear:
    """Return one of the two products of the experts of a layer, as `Experts` has them."""
    experts = product.experts
    own = {"D_rows": "tokens"} if product.is_down else {"activation": experts.activation}
    with torch.device("meta"):
        return ExpertsLinear(
            experts.num_experts, product.K, product.N, product.with_bias, top_k=experts.top_k, **{**fields, **own}
        )


#: Layers that are cut along K, and summed over the GPUs: those behind ones that are cut along N (Shoeybi et al.,
#: Megatron-LM, 2019, section 3). Each GPU has all of the others here, whose outputs all heads share.
_CUT_ALONG_K = {"o_proj", "down_proj", "out_proj", "fc2", "dense_4h_to_h", "c_proj", "wo", "w2", "dense"}
_NOT_CUT = {"q_a_proj", "kv_a_proj_with_mqa"}


def model_problems(
    model: str | Path, fields: Mapping[str, Any], tensor_parallel: Sequence[int] = (1,), *, with_experts: bool = True
) -> list[ModelProblem]:
    """Return the distinct problems of a model.

    Parameters
    ----------
    model
        A name of `KNOWN_MODELS`, or a folder with a config.json, whose weights are not read: of a quantized checkpoint
        their headers are, where `fields` names no format.
    fields
        Fields of `MatmulConfig` other than N and K, for every layer; M is `opt_M` of layers, which for experts counts
        tokens where they are indexed, and the rows of all experts where they are sorted.
    tensor_parallel
        Over how many GPUs layers are cut: along N, or along K those behind such ones. Heads of k and v are never cut;
        more GPUs than heads have copies.
    with_experts
        Whether products with the weights of experts are among them.

    Raises
    ------
    ConfigError
        If there is no such model, a layer cannot be cut, or a field breaks a rule of `MatmulConfig`; the message names
        the layer.
    CheckpointError, UnsupportedError
        If the folder cannot be read, or transformers, which reads it, is not installed.
    """
    for count in tensor_parallel:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"'tensor_parallel' must be ints, at least 1 (got {count!r:.80})", tensor_parallel=count)
    heads, layers = _layers_of(model, fields)
    if not with_experts:
        layers = [(layer, config) for layer, config in layers if isinstance(config, MatmulConfig)]
    if not layers:
        raise ConfigError(f"'model' must have layers that are multiplied (got {str(model)!r:.200})", model=str(model))
    found: dict[str, ModelProblem] = {}
    for count in tensor_parallel:
        for layer, config in layers:
            name = "+".join(layer.names) + (f" / {count}" if count > 1 else "") + routing_name(config)
            try:
                made = _cut(layer, config, heads, count)
            except BitquantError as error:
                raise ConfigError(f"{model}, {name}: {error}", **error.values) from error
            if (before := found.get(made.key())) is None:
                found[made.key()] = ModelProblem(made, name)
            elif name not in before.name.split(", "):
                found[made.key()] = ModelProblem(made, f"{before.name}, {name}")
    return list(found.values())


def _layers_of(model: str | Path, fields: Mapping[str, Any]) -> tuple[_Heads | None, list[tuple[_Layer, AnyConfig]]]:
    """Return each layer with its problem, not cut; those of experts with that of each form of a call."""
    if str(model) in KNOWN_MODELS:
        heads, layers = _layers_of_known(KNOWN_MODELS[str(model)])
        return heads, _with_configs(_formatted(str(model), layers, fields), fields)
    folder = Path(model)
    if not (folder / "config.json").is_file():
        near = difflib.get_close_matches(str(model), KNOWN_MODELS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"'model' must be a folder with a config.json, or one of {', '.join(KNOWN_MODELS)} "
            f"(got {str(model)!r:.200}){hint}",
            model=str(model),
        )
    outline, config = _outline(folder)
    text = getattr(config, "get_text_config", lambda: config)()
    kv_heads = getattr(text, "num_key_value_heads", None) or getattr(text, "num_attention_heads", None)
    head_dim = getattr(text, "head_dim", None)
    if kv_heads and not head_dim and getattr(text, "hidden_size", None):
        head_dim = text.hidden_size // text.num_attention_heads
    heads_found = _Heads(kv_heads, head_dim) if kv_heads and head_dim else None
    quantization = read_json_file(folder / "config.json").get("quantization_config")
    if quantization is not None and fields.get("W_dtype") is None:
        return heads_found, _of_checkpoint(folder, outline, fields)
    return heads_found, _with_configs(_formatted(str(model), _of_outline(outline), fields), fields)


def _formatted(model: str, layers: Iterable[_Layer], fields: Mapping[str, Any]) -> list[_Layer]:
    if fields.get("W_dtype") is None:
        raise ConfigError(
            f"'W_dtype' must be given: nothing says in which format the weights of {model} are to be; for example "
            "W_dtype uint4, group_size 128, with_scaling, with_zeros",
            W_dtype=None,
        )
    return list(layers)


def _with_configs(layers: Iterable[_Layer], fields: Mapping[str, Any]) -> list[tuple[_Layer, AnyConfig]]:
    return [(layer, config) for layer in layers for config in layer.configs(fields)]


def _outline(folder: Path) -> tuple[Any, Any]:
    """Return the model of a folder on the meta device, and its config."""
    transformers = import_transformers()
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(logging.ERROR)
    try:
        config = read_model_config(transformers, folder)
        vars(config).pop("quantization_config", None)
        return make_outline(model_class_of(transformers, config, folder), config, torch.bfloat16), config
    finally:
        transformers.logging.set_verbosity(verbosity)


def _of_outline(outline: Any) -> list[_Layer]:
    """Return the layers of a model but its output embedding, merged as `merge_layers` does."""
    output = outline.get_output_embeddings() if hasattr(outline, "get_output_embeddings") else None
    sizes = {
        name: (module.in_features, module.out_features, module.bias is not None)
        for name, module in outline.named_modules()
        if type(module) is torch.nn.Linear and module is not output
    }

    def make(size: tuple[int, int, bool]) -> torch.nn.Module:
        with torch.device("meta"):
            return Linear(*size, W_dtype="int8")

    found = []
    for operator in outline_operators(outline, sizes, make):
        names = tuple(name.rpartition(".")[2] for name in operator.places[0])
        found.append(_Layer(names, operator.config.N, operator.config.K, operator.config.with_bias))
    return [*found, *_experts_of(outline)]


def _experts_of(outline: Any) -> list[_ExpertsLayer]:
    """Return the products of the experts modules of a model for which `Experts` can stand."""
    found = []
    for module in find_stock_experts(outline).values():
        if stock_refusal(module) is None:
            stock = StockExperts.of(module)
            for product in ("gate_up", "down"):
                empty = stock.product(product)
                size = empty.out_features, empty.in_features, stock.has_bias
                found.append(_ExpertsLayer((f"experts.{product}_proj",), *size, partial(stock.product, product)))
    return found


def _of_checkpoint(folder: Path, outline: Any, fields: Mapping[str, Any]) -> list[tuple[_Layer, AnyConfig]]:
    """Return the layers of a quantized checkpoint with the problems that `load_model` makes of them."""
    found: list[tuple[_Layer, AnyConfig]] = []
    contents = read_contents(folder)
    for kind in contents.operators:
        if kind.role == "quantized" and kind.config is not None:
            config = kind.config if fields.get("M") is None else kind.config.with_M(fields["M"])
            names = tuple(kind.names[0].rpartition(".")[2].split("+"))
            found.append((_Layer(names, config.N, config.K, config.with_bias), config))
    stored = [kind for kind in contents.kinds if kind.role == "experts" and kind.config is not None and kind.is_packed]
    for layer in _experts_of(outline):
        is_down = layer.names == ("experts.down_proj",)
        of_product = (kind for kind in stored if any("down" in name for name in kind.names) == is_down)
        sizes = ((layer.N, layer.K),) if is_down else ((layer.N, layer.K), (layer.N // 2, layer.K))
        held = next((kind for kind in of_product if (kind.N, kind.K) in sizes), None)
        if held is None or held.config is None:
            continue
        own = held.config.to_dict()
        if fields.get("M") is not None:
            own["M"] = fields["M"]
        elif own["M"] is not None and held.config.ladder == SORTED_LADDER:
            own["M"] = None  # Not said: `MatmulConfig` of an expert has the ladder of sorted rows.
        if not is_down:  # Rows of gate and up alternate: none shares scales with its neighbours.
            own["rows_per_scale"] = 1
        with_permutation = {"with_permutation": True} if held.is_permuted else {}
        found += [(layer, config) for config in layer.configs({**own, **with_permutation})]
    return found


def _cut(layer: _Layer, config: AnyConfig, heads: _Heads | None, count: int) -> AnyConfig:
    """Return the problem of one of `count` GPUs."""
    names = {name.rpartition(".")[2] for name in layer.names}
    if count == 1 or names & _NOT_CUT:
        return config
    if names & _CUT_ALONG_K:
        one = config if isinstance(config, MatmulConfig) else config.matmul
        group_size = -1 if one.group == config.K else config.group_size  # One group a row stays one.
        return dataclasses.replace(config, K=_part(config.K, count, "K"), group_size=group_size)
    if kv := names & {"k_proj", "v_proj"}:
        if heads is None or (heads.kv_heads % count and count % heads.kv_heads):
            raise ConfigError(
                f"'tensor_parallel' must divide the heads of k and v or be a multiple of them (got {count}, "
                f"{heads.kv_heads if heads else 'an unknown number of'} heads)",
                tensor_parallel=count,
            )
        own = max(1, heads.kv_heads // count) * heads.head_dim * len(kv)
        shared = config.N - heads.kv_heads * heads.head_dim * len(kv)
        return dataclasses.replace(config, N=_part(shared, count, "N") + own)
    return dataclasses.replace(config, N=_part(config.N, count, "N"))


def _part(size: int, count: int, what: str) -> int:
    if size % count:
        raise ConfigError(f"'tensor_parallel' must divide {what} (got {count}, {what}={size})", tensor_parallel=count)
    return size // count
