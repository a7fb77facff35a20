# SPDX-License-Identifier: Apache-2.0
"""The loader of one checkpoint that another program quantized."""

from __future__ import annotations

import copy
import dataclasses
import re
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from bitquant.errors import CheckpointError
from bitquant.formats import number_format
from bitquant.nn.checkpoints.checkpoint import Checkpoint
from bitquant.nn.checkpoints.weight import QuantizedWeight
from bitquant.nn.experts import Experts, ExpertsLinear
from bitquant.nn.linear import Linear
from bitquant.nn.merged import merge_layers
from bitquant.nn.model_state import LazyTensor, check_loaded, model_of_state
from bitquant.nn.outline import (
    expert_places,
    make_outline,
    model_class_of,
    module_names,
    outline_operators,
    read_model_config,
)
from bitquant.nn.prepare import Preparation, may_prepare
from bitquant.nn.stock import find_stock_experts, stock_refusal
from bitquant.nn.stored_experts import stored_experts
from bitquant.nn.swap import NOT_OF_EXPERTS, ModelWarning, Places, warn_of_experts
from bitquant.progress import track

__all__ = ["CheckpointLoader"]


def _has_own_scales(layer: Linear | ExpertsLinear) -> bool:
    """Whether the type of a layer's scales is to be that of all layers."""
    return layer.has_scale_type and min(layer.config.A_format.bits, layer.config.scale_format.bits) > 8


class CheckpointLoader:
    """Loads one quantized checkpoint.

    transformers loads what is not quantized, and experts, from a state dict of lazy tensors, into a model in which
    `PendingLayer`s keep the places of quantized layers. Then these are read, one by one.
    """

    scale_dtype: str | None
    quantize_activations: bool
    merge: bool
    options: dict[str, Any]

    def __init__(self, transformers: Any, checkpoint: Checkpoint, place: torch.device, dtype: torch.dtype) -> None:
        self.transformers, self.checkpoint, self.place, self.dtype = transformers, checkpoint, place, dtype
        self.config = read_model_config(transformers, checkpoint.path)
        for holder in {id(c): c for c in (self.config, self.config.get_text_config())}.values():
            if hasattr(holder, "quantization_config"):
                del holder.quantization_config
        self.model_class = model_class_of(transformers, self.config, checkpoint.path)

    def open(self) -> None:
        """Find the places of all layers in the model, and begin to build its kernels."""
        outline = make_outline(self.model_class, self.config, self.dtype)
        names = module_names(self.checkpoint, outline)
        #: Names of linear layers by their paths, and the paths of what is none.
        self.linear = {p: n for p, n in names.items() if n is not None}
        #: The experts modules that are packed, by name.
        stock = find_stock_experts(outline)
        packed = {name for name, module in stock.items() if stock_refusal(module) is None}
        floats = [name.removesuffix(".weight") for name in self.checkpoint.plain]
        packed -= {place.module for place in expert_places(floats, outline, packed).values()}
        placed = expert_places(names, outline, packed)
        self.experts = {e.name: e for e in stored_experts(self.checkpoint, placed, stock, self._fitting_bias)}
        self.others = [
            p for p, n in names.items() if n is None and p not in placed and not self._is_ignored(outline, p)
        ]
        output = outline.get_output_embeddings()
        if any(outline.get_submodule(name) is output for name in self.linear.values()):
            for holder in (self.config, self.config.get_text_config()):
                holder.tie_word_embeddings = False
        self.shapes = {name: parameter.shape for name, parameter in outline.named_parameters()}
        self.preparation = self._begin_kernels(outline)

    def load(self) -> Any:
        """Return the model that was opened."""
        try:
            return self._load_layers()
        except BaseException:
            if self.preparation is not None:
                self.preparation.cancel()
            raise

    def _begin_kernels(self, outline: Any) -> Preparation | None:
        """Have the kernels of the model built while its weights are read, where another process can do that.

        One layer is read of those that headers do not tell apart. What turns out to be another kernel is built later.
        """
        name, linear = str(self.dtype).removeprefix("torch."), self.linear
        try:
            signatures = {path: self.checkpoint.signature(path) for path in linear}
            first = {signature: path for path, signature in reversed(signatures.items())}
            if not may_prepare(len(first) + 2 * len(self.experts), self.place.type):
                return None
            layers = {}
            for signature, path in first.items():
                weight = self._fitting_bias(path, outline.get_submodule(linear[path]).bias is not None)
                if weight.is_quantized:
                    scheme = self._scheme(weight) or name
                    layers[signature] = Linear.empty_for(weight, scheme, name, self.scale_dtype, **self.options)
            if len({layer.config.scale_format for layer in layers.values() if _has_own_scales(layer)}) > 1:
                for signature, layer in layers.items():
                    if _has_own_scales(layer):
                        layers[signature] = layer.with_scale_dtype("float32")
            kinds = {linear[path]: signature for path, signature in signatures.items() if signature in layers}
            outline_operators(outline, kinds, lambda signature: copy.deepcopy(layers[signature]), merge=self.merge)
            for stored in {stored.signature(): stored for stored in self.experts.values()}.values():
                outline.set_submodule(stored.name, self._experts(stored.empty, name))
            return Preparation(outline, self.place)
        except Exception:  # noqa: BLE001  reading all layers, and their first calls, say what is wrong
            return None

    def _scheme(self, weight: QuantizedWeight) -> str | None:
        """Return the type to which a layer rounds its input; None where it does not."""
        return weight.activation.A_dtype if weight.activation is not None and self.quantize_activations else None

    def _experts(self, make: Callable[..., Experts], *arguments: Any) -> Experts:
        """Return experts with the options of the loader that are theirs."""
        own = {name: value for name, value in self.options.items() if name not in NOT_OF_EXPERTS}
        return make(*arguments, self.scale_dtype, **own)

    def _load_layers(self) -> Any:
        from bitquant.nn.hub import BitquantConfig, attach_quantizer

        linear, others = self.linear, self.others
        quantization = BitquantConfig()
        quantization.pending = [*linear.values(), *self.experts]  # type: ignore[attr-defined]  # for the quantizer alone
        model, info = model_of_state(
            self.transformers, self.model_class, self.config, self.checkpoint.path, self._state_dict(others),
            self.dtype, self.place, quantization_config=quantization,
        )  # fmt: skip
        self._check_experts(others, info)
        check_loaded(info, self.checkpoint.path)
        self._check_shapes(model, self.shapes)
        places = Places(model)
        for path in track(self.checkpoint.in_turn(list(linear)), "Loading layers", len(linear)):
            places.replace(linear[path], self._layer(path, model.get_submodule(linear[path])))
        name = str(self.dtype).removeprefix("torch.")
        for stored in track(self.experts.values(), "Loading experts", len(self.experts)):
            places.replace(stored.name, self._experts(stored.load, self.place, name))
        self._unify_scales(model)
        if others:
            warn_of_experts(model, f"are kept in {str(self.dtype).removeprefix('torch.')}")
        if self.merge:
            merge_layers(model)
        model.config.name_or_path = str(self.checkpoint.path)
        attach_quantizer(model, BitquantConfig(merge=self.merge))
        return model.eval()

    def _check_shapes(self, model: Any, shapes: dict[str, torch.Size]) -> None:
        """Check that what was loaded is as large as the config says; transformers before 5.22 takes what there is."""
        for name, parameter in model.named_parameters():
            if name in shapes and parameter.shape != shapes[name]:
                raise CheckpointError(
                    f"{self.checkpoint.path}, tensor {name!r}: is in another shape than the model of config.json has, "
                    f"{tuple(shapes[name])} (got {tuple(parameter.shape)}); save or fetch the checkpoint again",
                    file=str(self.checkpoint.path), tensor=name,
                )  # fmt: skip

    @staticmethod
    def _is_ignored(model: Any, path: str) -> bool:
        """Whether the model leaves out a layer of its checkpoints, such as one for predicting several tokens."""
        patterns = model._keys_to_ignore_on_load_unexpected or ()
        return any(re.search(pattern, f"{path}.weight") for pattern in patterns)

    def _state_dict(self, others: list[str]) -> dict[str, LazyTensor]:
        """Return what transformers is to load: plain tensors, and quantized ones of modules that are no layers."""
        checkpoint = self.checkpoint
        state = {name: LazyTensor(partial(checkpoint.read_plain, name, self.place)) for name in checkpoint.plain}
        for path in others:
            is_stacked = checkpoint.format == "mxfp4"  # Experts of gpt-oss, whose parameter is the transpose.
            weight, bias = (path, f"{path}_bias") if is_stacked else (f"{path}.weight", f"{path}.bias")
            state[weight] = LazyTensor(partial(self._dequantized, path, transposed=is_stacked))
            if "bias" in checkpoint.tensors(path):
                state[bias] = LazyTensor(partial(self._bias, path))
        return state

    def _dequantized(self, path: str, *, transposed: bool) -> torch.Tensor:
        weight = self.checkpoint[path]
        if weight.experts is None:
            result = weight.dequantize().to(self.dtype)
        else:
            result = torch.empty(weight.values.shape, dtype=self.dtype, device=weight.values.device)
            for index in range(weight.experts):  # float32 of one at a time.
                result[index] = weight.expert(index).dequantize()
        return result.transpose(-1, -2).contiguous() if transposed else result

    def _bias(self, path: str) -> torch.Tensor:
        bias: Any = self.checkpoint[path].bias
        return bias

    def _check_experts(self, others: list[str], info: dict[str, Any]) -> None:
        """Check that the model has a place for each quantized weight that is no layer's."""
        unexpected = set(info["unexpected_keys"])
        lost = [p for p in others if p in unexpected or f"{p}.weight" in unexpected]
        if lost:
            raise CheckpointError(
                f"{self.checkpoint.path}, layer {lost[0]!r}: {self.model_class.__name__} has no such module "
                f"({len(lost)} layers have none); config.json is another model's, or its 'architectures'",
                file=str(self.checkpoint.path), layer=lost[0],
            )  # fmt: skip

    def _layer(self, path: str, place: Any) -> torch.nn.Module:
        """Return the layer of a path, for the place that a `PendingLayer` keeps."""
        weight = self._fitting_bias(path, place.has_bias)
        wanted = (place.out_features, place.in_features)
        if weight.experts is not None or wanted != (weight.N, weight.K):
            raise self._error(path, f"must be (N, K) = {wanted}, as the module is (got {tuple(weight.values.shape)})")
        name = str(self.dtype).removeprefix("torch.")
        if not weight.is_quantized:
            result = torch.nn.Linear(weight.K, weight.N, weight.bias is not None, device="meta")
            result.weight = torch.nn.Parameter(weight.values.to(self.dtype), requires_grad=False)
            if weight.bias is not None:
                result.bias = torch.nn.Parameter(weight.bias.to(self.dtype), requires_grad=False)
            return result
        return Linear.from_quantized(weight, self._scheme(weight) or name, name, self.scale_dtype, **self.options)

    def _fitting_bias(self, path: str, has_bias: bool) -> QuantizedWeight:
        """Return the weight of a path, with a bias exactly where its module has one."""
        weight = self.checkpoint[path]
        if has_bias and weight.bias is None:
            raise self._error(path, "has no bias, which the module has")
        if has_bias or weight.bias is None:
            return weight
        if weight.bias.any():
            raise self._error(path, "has a bias, which the module has not")
        return dataclasses.replace(weight, bias=None)  # Some packers write zeros for every layer.

    def _error(self, path: str, rule: str) -> CheckpointError:
        return CheckpointError(
            f"{self.checkpoint.path}, layer {path!r}: {rule}; save or fetch the checkpoint again",
            file=str(self.checkpoint.path), layer=path,
        )  # fmt: skip

    def _unify_scales(self, model: Any) -> None:
        """Give all layers scales of one type, but for scales of 8 bits; say so where A's type does not hold theirs."""
        kinds = (Linear, ExpertsLinear)
        sixteen = {n: m for n, m in model.named_modules() if isinstance(m, kinds) and _has_own_scales(m)}
        types = {m.config.scale_format.name for m in sixteen.values()}
        if len(types) > 1:
            places = Places(model)
            for name, layer in sixteen.items():
                places.replace(name, layer.with_scale_dtype("float32"))
            types = {"float32"}
        A = str(self.dtype).removeprefix("torch.")
        types -= {name for name in types if number_format(name).is_exact_in(A)}
        if self.scale_dtype is None and types:
            warnings.warn(
                f"scales are kept as {next(iter(types))}, exactly: not all of them are numbers of {A}. Kernels for "
                f"many rows on Hopper need scales of A's type: scale_dtype={A!r} rounds them"
                + (", or dtype='float16' keeps them" if types == {"float16"} else ""),
                ModelWarning,
                stacklevel=5,
            )
