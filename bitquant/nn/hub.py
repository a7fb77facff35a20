# SPDX-License-Identifier: Apache-2.0
"""Quantized models of transformers: the config that a saved model carries, and what builds its layers from that.

transformers has two extension points for formats that are not its own: a config, which `save_pretrained` writes to
config.json, and a quantizer, which `from_pretrained` asks what to do with the model. Both are registered when this
module is imported, under the name "bitquant". Versions from 5.17 on call the quantizer in somewhat different ways; what
stands here is what all of them call.

A third one, of functions that compute experts, is for modules that hold floats. Packed experts are modules of their
own, and "bitquant" there says that there must be no others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers.core_model_loading import ConversionOps
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from bitquant.checks import check_group_size, check_rows
from bitquant.config import ZerosMode
from bitquant.errors import ConfigError
from bitquant.formats import ACTIVATION_DTYPES, canonical_name, number_format
from bitquant.nn.bitlinear import BitLinear
from bitquant.nn.experts import Experts, ExpertsLinear
from bitquant.nn.format import name_pattern
from bitquant.nn.linear import Linear
from bitquant.nn.merged import merge_layers
from bitquant.nn.module import KernelModule
from bitquant.nn.rounding import Method, check_method
from bitquant.nn.saved_layers import KINDS, PRODUCTS, check_layers, layer_fields, layer_from_fields
from bitquant.nn.stock import StockExperts, is_stock_experts, quantize_expert
from bitquant.nn.swap import (
    DEFAULT_SKIP,
    Places,
    as_names,
    check_weight_format,
    check_zeros,
    dequantize_layers,
    empty_layer,
    expert_names,
    fitting_group,
    forget_ties,
    layer_names,
    quantize_layers,
    replace_layer,
    warn_of_experts,
)

__all__ = ["METHOD", "BitquantConfig", "BitquantQuantizer", "PendingLayer", "attach_quantizer"]

#: The name under which transformers knows these classes.
METHOD = "bitquant"


@register_quantization_config(METHOD)
class BitquantConfig(QuantizationConfigMixin):
    """How `from_pretrained` quantizes a model, and what a saved one holds.

    Parameters
    ----------
    W_dtype, group_size, zeros, A_dtype, skip, method, merge
        As in `bitquant.quantize_model`.
    opt_M, codebook
        As in `Linear`: numbers of rows to make kernels for, and the 16 levels of W_dtype "code4".
    layers
        Constructor arguments of the quantized layers of a saved model by name; "*" stands for a number. Written by
        `save_pretrained`; leave it out.

    Raises
    ------
    ConfigError
        If a field is none of these, or has a value that is none of its own.
    """

    codebook: list[float] | None = None

    def __init__(
        self,
        W_dtype: str = "uint4",
        group_size: int | None = 128,
        zeros: ZerosMode | None = None,
        A_dtype: str | None = None,
        skip: Iterable[str] = DEFAULT_SKIP,
        method: Method = "rtn",
        opt_M: int | Sequence[int] | None = None,
        layers: dict[str, dict[str, Any]] | None = None,
        merge: bool = True,
        codebook: Sequence[float] | None = None,
        **others: Any,
    ) -> None:
        others.pop("quant_method", None)
        if others:
            raise ConfigError(
                f"'{next(iter(others))}' is no field of a BitquantConfig; fields are W_dtype, group_size, zeros, "
                "A_dtype, skip, method, opt_M, merge, codebook",
                **others,
            )
        check_weight_format(W_dtype, codebook)
        check_group_size(group_size)
        check_zeros(zeros, W_dtype)
        if A_dtype is not None:
            canonical_name(A_dtype, "A_dtype", ACTIVATION_DTYPES)
        check_method(method)
        check_rows(opt_M, "opt_M")
        if layers is not None:
            check_layers(layers)
        method_name: Any = METHOD  # transformers has an enumeration, of its own methods.
        self.quant_method = method_name
        self.W_dtype, self.group_size, self.zeros, self.A_dtype = W_dtype, group_size, zeros, A_dtype
        self.skip, self.method, self.layers, self.merge = list(as_names(skip)), method, layers, merge
        self.opt_M = list(opt_M) if isinstance(opt_M, Sequence) else opt_M
        if codebook is not None:  # Else the attribute of the class: what is saved without one stays what it is.
            self.codebook = list(codebook)


class PendingLayer(torch.nn.Module):
    """Keeps the place of a layer that is filled once the rest of its model is loaded."""

    def __init__(self, in_features: int, out_features: int, has_bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features, self.has_bias = in_features, out_features, has_bias


class _QuantizeOnLoad(ConversionOps):
    """Replaces the layer of a weight that has just been read by a quantized one."""

    def __init__(self, quantizer: BitquantQuantizer) -> None:
        self._quantizer = quantizer

    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: Any = None,
        target_patterns: Any = None,
        *,
        model: Any = None,
        missing_keys: Any = None,
        **_: Any,
    ) -> dict[str, Any]:
        """Return what is not quantized of `input_dict`; put the rest into the model."""
        del source_patterns, target_patterns
        rest = {}
        for name, value in input_dict.items():
            if not self._quantizer.param_needs_quantization(model, name):
                rest[name] = value
                continue
            weight = value[0] if isinstance(value, list) else value
            missing_keys.discard(name)
            if not name.endswith(".weight"):
                self._quantizer.quantize_product(model, name, weight)
                continue
            self._quantizer.quantize(model, name.removesuffix(".weight"), weight)
            missing_keys.discard(name.removesuffix("weight") + "_extra_state")
        return rest


@register_quantizer(METHOD)
class BitquantQuantizer(HfQuantizer):
    """What `from_pretrained` and `save_pretrained` ask about models with layers of bitquant."""

    requires_calibration = False
    quantization_config: Any

    def __init__(self, quantization_config: BitquantConfig, **kwargs: Any) -> None:
        super().__init__(quantization_config, **kwargs)
        #: Names of the layers that are quantized as they are read.
        self._names: set[str] = set()
        #: Experts modules that are quantized as they are read, by name, and what they become.
        self._experts: dict[str, tuple[StockExperts, Experts]] = {}
        #: Those of the layers whose weight is another module's, which are quantized once that is there.
        self._tied: list[str] = []
        #: Shape and type of each tensor of the layers that are read as they are.
        self._expected: dict[str, tuple[torch.Size, torch.dtype]] = {}
        #: Names of the layers that somebody else fills afterwards.
        self._pending: list[str] | None = getattr(quantization_config, "pending", None)

    # Questions of transformers.

    def is_serializable(self, **_: Any) -> bool:
        """Whether `save_pretrained` works: it does."""
        return True

    @property
    def is_trainable(self) -> bool:
        """Whether what stands around the quantized layers can be trained: it can."""
        return True

    @property
    def is_compileable(self) -> bool:
        """Whether torch.compile takes the model: it does."""
        return True

    def validate_environment(self, *_: Any, device_map: Any = None, **__: Any) -> None:
        """Check that weights go where they can be quantized.

        Raises
        ------
        ConfigError
            If some go to disk.
        """
        if isinstance(device_map, dict) and "disk" in device_map.values():
            raise ConfigError(
                "'device_map' must name devices (got 'disk'): quantized weights are not read back from there; quantize "
                "to fewer bits, or use a GPU and the CPU",
                device_map=device_map,
            )

    def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
        """Return the type of the model.

        Raises
        ------
        ConfigError
            If saved layers compute in another type.
        """
        for name, layer in (self.quantization_config.layers or {}).items():
            fields = layer.get("gate_up", layer)
            A = number_format(fields.get("A_dtype", "float16"))
            own = A if A.bits > 8 else number_format(fields.get("out_dtype", "float16"))
            if self.pre_quantized and fields.get("layer") != "BitLinear" and own.torch_dtype is not dtype:
                raise ConfigError(
                    f"'dtype' must be {own.torch_dtype}, in which the saved layers compute, {name!r} for one "
                    f"(got {dtype}); use dtype='auto', or quantize the model again",
                    dtype=dtype,
                )
        return dtype

    def param_needs_quantization(self, model: Any, param_name: str, **_: Any) -> bool:
        """Whether a parameter is quantized as it is read."""
        del model
        path, _dot, last = param_name.rpartition(".")
        return (last == "weight" and path in self._names) or (
            path in self._experts and last.removesuffix("_proj") in PRODUCTS
        )

    def param_element_size(self, model: Any, param_name: str, param: torch.Tensor) -> float:
        """Return the bytes that an element of a parameter will take, for device maps."""
        if self.param_needs_quantization(model, param_name):
            return number_format(self.quantization_config.W_dtype).bits / 8
        return param.element_size()

    def get_quantize_ops(self) -> ConversionOps:
        """Return what happens to a parameter that `param_needs_quantization` names."""
        return _QuantizeOnLoad(self)

    def get_state_dict_and_metadata(self, model: Any) -> tuple[dict[str, Any] | None, dict[str, str]]:
        """Bring the config up to date before a model is saved; return its tensors, or None where they are the model's.

        A layer that stands in several places is saved for each: files have no tensors of two names.
        """
        self.quantization_config.layers = layer_fields(model)
        seen: set[int] = set()
        again: set[str] = set()
        for name, module in model.named_modules(remove_duplicate=False):
            if isinstance(module, KernelModule):
                if id(module) in seen:
                    again.add(name)
                seen.add(id(module))
        if not again:
            return None, {}
        state = model.state_dict()
        copies = {key: tensor.clone() for key, tensor in state.items() if key.rpartition(".")[0] in again}
        return {**state, **copies}, {}

    # What happens to a model.

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        config = self.quantization_config
        if self._pending is not None:
            places = Places(model)
            for name in self._pending:
                module = model.get_submodule(name)
                if is_stock_experts(module):
                    places.replace(name, PendingLayer(0, 0, has_bias=False))
                    continue
                places.replace(name, PendingLayer(module.in_features, module.out_features, module.bias is not None))
        elif self.pre_quantized:
            self._build(model)
        else:
            names, experts = layer_names(model, config.skip), expert_names(model, config.skip)
            if not names and not experts:
                raise ConfigError(
                    f"the model must have torch.nn.Linear layers that 'skip' does not name ({type(model).__name__} has "
                    "none)",
                    skip=config.skip,
                )
            tied = _tied_modules(model)
            self._tied = [name for name in names if name in tied]
            self._names = {name for name in names if name not in tied}
            for name in (*names, *experts):
                module = model.get_submodule(name)
                try:
                    layer: Any = empty_layer(module, config.W_dtype, config.group_size, **self._options())
                except ConfigError as error:
                    raise ConfigError(f"{name!r}: {error}", layer=name, **error.values) from error
                if name in experts:
                    self._experts[name] = StockExperts.of(module), layer

    def _options(self) -> dict[str, Any]:
        config = self.quantization_config
        return {
            "A_dtype": config.A_dtype, "zeros_mode": config.zeros, "method": config.method, "opt_M": config.opt_M,
            "codebook": config.codebook,
        }  # fmt: skip

    def _make(self, linear: torch.nn.Linear) -> Linear:
        config = self.quantization_config
        group_size = fitting_group(linear.in_features, config.group_size)
        return Linear.from_float(linear, config.W_dtype, group_size, **self._options())

    def quantize(self, model: Any, name: str, weight: torch.Tensor) -> None:
        """Quantize a layer whose weight has just been read."""
        linear = model.get_submodule(name)
        bias = linear.bias
        twin = torch.nn.Linear(linear.in_features, linear.out_features, bias is not None, device="meta")
        twin.weight = torch.nn.Parameter(weight.to(linear.weight.dtype), requires_grad=False)
        if bias is not None:  # It may be read later, and is then put into the layer's buffer.
            known = torch.zeros_like(bias, device=weight.device) if bias.is_meta else bias.detach()
            twin.bias = torch.nn.Parameter(known.to(weight.device), requires_grad=False)
        layer = self._make(twin)
        _mark_loaded(layer)
        replace_layer(model, name, layer)

    def quantize_product(self, model: Any, name: str, weight: torch.Tensor) -> None:
        """Quantize the weights of one product of experts, which have just been read."""
        path, _, last = name.rpartition(".")
        stock, experts = self._experts[path]
        product = last.removesuffix("_proj")
        layer: ExpertsLinear = getattr(experts, product)
        layer.allocate(weight.device)
        no_bias = None if layer.bias is None else layer.bias.new_zeros(layer.bias.shape[1:])  # Read on its own.
        for e, each in enumerate(weight):
            rows = stock.in_terms(product, each.to(stock.dtype))
            quantize_expert(layer, e, rows, no_bias, self.quantization_config.method)
        taken = torch.nn.Parameter(torch.empty(0, dtype=stock.dtype, device=weight.device), requires_grad=False)
        taken._is_hf_initialized = True  # type: ignore[attr-defined]  # what transformers looks at
        setattr(model.get_submodule(path), last, taken)

    def _place_experts(self, model: Any) -> None:
        """Put the experts that were quantized as they were read where they belong, with their biases."""
        places = Places(model)
        for path, (stock, experts) in self._experts.items():
            for product in PRODUCTS:
                layer: ExpertsLinear = getattr(experts, product)
                for e in range(layer.num_experts if layer.bias is not None else 0):
                    layer.bias[e].copy_(stock.bias(product, e))  # type: ignore[index,arg-type]
            places.replace(path, experts)
        self._experts = {}

    def _build(self, model: Any) -> None:
        """Replace the layers that a saved config names by empty ones, on the meta device."""
        if self.quantization_config.layers is None:
            raise ConfigError(
                "the quantization_config of a saved model must name its 'layers' (got none); save the model again",
                layers=None,
            )
        left = {name: name_pattern(name) for name in self.quantization_config.layers}
        fields_of, places, replaced = dict(self.quantization_config.layers), Places(model), []
        for name, module in list(model.named_modules()):
            if type(module) is not torch.nn.Linear and not is_stock_experts(module):
                continue
            key = name if name in fields_of else next((k for k, p in left.items() if p.fullmatch(name)), None)
            if key is None:
                continue
            try:
                layer = layer_from_fields(module, dict(fields_of[key]))
            except (TypeError, ConfigError) as error:
                raise ConfigError(
                    f"the quantization_config constructs {key!r} in a way that there is none ({error}); use the "
                    "bitquant that saved it, or a newer one",
                    layers=key,
                ) from error
            self._expected |= {f"{name}.{part}": (t.shape, t.dtype) for part, t in layer.named_buffers()}
            places.replace(name, layer)
            replaced.append(f"{name}.weight")
        forget_ties(model, replaced)
        kinds = tuple(KINDS.values())
        for name, pattern in left.items():
            if not any(isinstance(m, kinds) and pattern.fullmatch(n) for n, m in model.named_modules()):
                raise ConfigError(
                    f"the quantization_config names a layer {name!r}, which {type(model).__name__} has not", layers=name
                )

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        config = self.quantization_config
        if self._tied:
            quantize_layers(model, self._tied, config.W_dtype, config.group_size, **self._options())
        self._place_experts(model)
        layers: dict[str, Any] = {n: m for n, m in model.named_modules() if isinstance(m, KernelModule)}
        if self.pre_quantized:
            _check_complete(layers, self._expected)
        for layer in layers.values():
            layer.to(
                next(itertools.chain(layer.buffers(), layer.parameters())).device
            )  # In the layout for that device.
        if not self.pre_quantized and self._pending is None:
            warn_of_experts(model, "stay in 16 bits")
        if config.merge and self._pending is None:
            merge_layers(model)
        return model

    def _dequantize(self, model: Any, dtype: torch.dtype | str | None = None) -> Any:
        # A name once the model was saved: save_pretrained leaves one in its config.
        dequantize_layers(model, dtype)
        return model


def _refuse_floats(module: torch.nn.Module, *_: Any, **__: Any) -> torch.Tensor:
    """Stand for "bitquant" among transformers' functions for experts, which modules with packed weights never call.

    Raises
    ------
    ConfigError
        Always: the weights of the module are floats.
    """
    raise ConfigError(
        f"experts_implementation={METHOD!r} needs packed experts (got {type(module).__name__} with floats); "
        "quantize_model, load_model and a BitquantConfig pack them, or choose another experts_implementation",
        experts_implementation=METHOD,
    )


ALL_EXPERTS_FUNCTIONS.register(METHOD, _refuse_floats)


def _mark_loaded(layer: torch.nn.Module) -> None:
    """Keep transformers from initialising a layer that is complete."""
    layer._is_hf_initialized = True  # type: ignore[assignment]  # what transformers looks at
    for tensor in layer.buffers():
        tensor._is_hf_initialized = True  # type: ignore[attr-defined]  # likewise


def _check_complete(layers: dict[str, Any], expected: dict[str, tuple[torch.Size, torch.dtype]]) -> None:
    """Check that the checkpoint had every tensor of the layers, in its shape and type.

    transformers marks what it has read, and leaves what was not there to chance.
    """
    tensors = {f"{name}.{part}": t for name, layer in layers.items() for part, t in layer.named_buffers(recurse=False)}
    lost = [name for name, tensor in tensors.items() if not getattr(tensor, "_is_hf_initialized", False)]
    if lost:
        raise ConfigError(
            f"the checkpoint lacks {len(lost)} tensors of quantized layers, {', '.join(lost[:3])}"
            f"{' ...' if lost[3:] else ''}; save or fetch it again",
            tensors=lost,
        )
    for name, tensor in tensors.items():
        shape, dtype = expected[name]
        if tensor.shape != shape or tensor.dtype is not dtype:
            raise ConfigError(
                f"{name!r} must be {dtype}, shape {tuple(shape)} (got {tensor.dtype}, shape {tuple(tensor.shape)}); "
                "save or fetch it again",
                tensor=name,
            )


def _tied_modules(model: Any) -> set[str]:
    """Return the names of modules whose weight is another's."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    return {name.rpartition(".")[0] for pair in tied.items() for name in pair}


def attach_quantizer(model: Any, config: BitquantConfig) -> None:
    """Let a model of transformers that was quantized in place be saved, and loaded again, as what it is."""
    quantizer = BitquantQuantizer(config, pre_quantized=False)
    config.layers = layer_fields(model)
    model.hf_quantizer = quantizer
    model.config.quantization_config = config
    model.is_quantized, model.quantization_method = True, METHOD
    layers = [name for name, module in model.named_modules() if isinstance(module, (Linear, BitLinear))]
    forget_ties(model, [f"{name}.weight" for name in layers])
