# SPDX-License-Identifier: Apache-2.0
"""Models of checkpoints: whole models of transformers with the layers that some program quantized."""

from __future__ import annotations

import copy
import dataclasses
import os
import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from bitquant.config import check_bool
from bitquant.errors import BitquantError, CheckpointError, ConfigError, UnsupportedError
from bitquant.formats import SCALE_DTYPES, canonical_name, number_format
from bitquant.nn.checkpoints.checkpoint import Checkpoint, checkpoint_path, find_weights, read_checkpoint
from bitquant.nn.checkpoints.layer import checkpoint_error
from bitquant.nn.checkpoints.source import SafetensorsSource, read_json_file
from bitquant.nn.checkpoints.weight import QuantizedWeight
from bitquant.nn.device import present_device
from bitquant.nn.experts import Experts, ExpertsLinear
from bitquant.nn.linear import Linear
from bitquant.nn.merged import merge_layers, unmerge_layers
from bitquant.nn.outline import (
    brief,
    expert_places,
    import_transformers,
    make_outline,
    model_class_of,
    module_names,
    outline_operators,
    read_model_config,
)
from bitquant.nn.prepare import Preparation, may_prepare
from bitquant.nn.stock import find_stock_experts, stock_refusal
from bitquant.nn.stored_experts import stored_experts
from bitquant.nn.swap import (
    NOT_OF_EXPERTS,
    ModelWarning,
    Places,
    check_dtype,
    check_options,
    warn_of_experts,
)
from bitquant.progress import track, working

__all__ = ["load_model", "quantize_as_read"]


def load_model(
    path: str | os.PathLike[str],
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    on_unsupported: Literal["error", "dequantize"] = "error",
    scale_dtype: str | None = None,
    quantize_activations: bool = True,
    merge: bool = True,
    **options: Any,
) -> Any:
    """Return the transformers model of a checkpoint, with `Linear` layers where the checkpoint is quantized.

    config.json says what the model is. Nothing is quantized again: layers compute with the weights that the checkpoint
    holds (docs/checkpoints.md lists formats). All else is loaded as transformers does, generation config included. The
    model is in evaluation mode. Where there are many kernels to build and at least 4 CPUs, worker processes do so
    meanwhile, and go on when this has returned; `prepare_model` waits for them.

    Parameters
    ----------
    path
        A directory in the hub's layout whose format `read_checkpoint` reads, or that is not quantized, or that
        `save_pretrained` of a model with layers of bitquant wrote.
    device
        Where the model goes; None: the GPU if there is one, else the CPU.
    dtype
        float16, bfloat16 or float32; None: the type that the checkpoint computes in.
    on_unsupported
        As in `read_checkpoint`: "dequantize" keeps layers that no kernel expresses in `dtype`.
    scale_dtype
        Type of scales, for the whole model. None: that of A where it holds every scale of the model exactly, else the
        one that does (and then one for all layers). Kernels for many rows on Hopper take 16-bit A only with scales of
        its type: "bfloat16", say, accepts the rounding of each scale for that, by at most 2^-8 of it (float16: 2^-11).
    quantize_activations
        Whether layers round their input to 8 bits where the checkpoint's own runtime does (W8A8, fp8, BitNet), token by
        token, with a scale that is computed at the call, also where the checkpoint has a static one. False: inputs stay
        in `dtype`, which is at least as exact.
    merge
        As in `quantize_model`.
    **options
        Further parameters of `Linear`: opt_M, target ...

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, a format is not read, or layers do not fit the model. There is no model then.
    ConfigError
        If an argument is wrong, or an option would not be used: a model that bitquant saved says itself how its layers
        are constructed, and one that is not quantized has none.
    UnsupportedError
        If transformers is not installed.

    Warns
    -----
    ModelWarning
        If experts are kept in 16 bits; if scales keep kernels from being the fastest; if tensors belong to no module.
    """
    dtype = _torch_dtype(dtype)
    check_options(options)
    check_bool(quantize_activations, "quantize_activations")
    check_bool(merge, "merge")
    if scale_dtype is not None:
        scale_dtype = canonical_name(scale_dtype, "scale_dtype", SCALE_DTYPES)
    place = present_device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")
    directory = checkpoint_path(path)
    if directory.is_file() or (directory.is_dir() and not (directory / "config.json").is_file()):
        raise CheckpointError(
            f"{directory}: must be a directory with a config.json, which says what the model is; read_checkpoint opens "
            "single files",
            file=str(directory),
        )
    unused = {**options, **({} if scale_dtype is None else {"scale_dtype": scale_dtype})}
    loader = None
    with working("Opening the model"):
        transformers = import_transformers()
        is_saved = _is_saved_by_bitquant(directory)
        checkpoint = None if is_saved else read_checkpoint(directory, on_unsupported, place)
        if checkpoint is not None and checkpoint.format:
            check_options(options, _OF_WEIGHTS)
            loader = _Loader(transformers, checkpoint, place, dtype or getattr(torch, checkpoint.dtype))
            loader.scale_dtype, loader.quantize_activations, loader.options = scale_dtype, quantize_activations, options
            loader.merge = merge
            loader.open()
    if loader is not None:
        return loader.load()
    if is_saved and not quantize_activations:
        unused["quantize_activations"] = False
    why = "says itself how its layers are constructed" if is_saved else "is not quantized; quantize_model takes them"
    _refuse_unused(unused, directory, why)
    return _load_as_it_is(transformers, directory, place, dtype, merge)


def _refuse_unused(options: dict[str, Any], directory: Path, why: str) -> None:
    """Check that no option was given that would be left unused."""
    if options:
        name = next(iter(options))
        raise ConfigError(
            f"{name!r} must be left out for this checkpoint (got {options[name]!r}): {directory} {why}", **options
        )


def _torch_dtype(dtype: Any) -> torch.dtype | None:
    found: Any = getattr(torch, dtype.removeprefix("torch."), dtype) if isinstance(dtype, str) else dtype
    check_dtype(found)
    return found


def _is_saved_by_bitquant(directory: Path) -> bool:
    if not directory.is_dir():
        return False  # read_checkpoint says what is wrong.
    quantization = read_json_file(directory / "config.json").get("quantization_config")
    return isinstance(quantization, dict) and quantization.get("quant_method") == "bitquant"


_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
#: Parameters of `Linear` that are facts of a checkpoint's weights, or follow from `dtype`.
_OF_WEIGHTS = (
    "W_dtype", "A_dtype", "out_dtype", "accum_dtype", "group_size", "codebook", "rows_per_scale",
)  # fmt: skip


def _load_as_it_is(
    transformers: Any, directory: Path, place: torch.device, dtype: torch.dtype | None, merge: bool
) -> Any:
    """Load a model that needs no reader: one that is not quantized, or that transformers and bitquant saved."""
    import bitquant.nn.hub  # noqa: F401  It registers the format.

    model = _load_directory(transformers, directory, place, dtype)
    (merge_layers if merge else unmerge_layers)(model)
    return model


def _load_directory(
    transformers: Any, directory: Path, place: torch.device, dtype: torch.dtype | None, **options: Any
) -> Any:
    """Load a directory whose tensors are those of its model, or of one with layers of bitquant."""
    with working("Opening the model"):
        config, source = read_model_config(transformers, directory), SafetensorsSource(find_weights(directory))
        wanted = dtype or config.dtype
        if wanted is None:  # As transformers: what the weights have.
            wanted = next((t for t in map(source.dtype, source.names) if t in _DTYPES), torch.get_default_dtype())
        if wanted not in _DTYPES:
            raise checkpoint_error(
                str(directory / "config.json"), f"'dtype' must be float16, bfloat16 or float32 (got {wanted!r:.80})"
            )
        model_class = model_class_of(transformers, config, directory)
        state: dict[str, Any] = {name: source.slice(name) for name in source.names}
        if place.type == "cuda":
            state = {name: _LazyTensor(partial(source.read, name, place)) for name in source.names}
    model, info = _load(transformers, model_class, config, directory, state, wanted, place, **options)
    _check_loaded(info, directory)
    model.config.name_or_path = str(directory)
    return model


def quantize_as_read(directory: Path, place: torch.device, dtype: torch.dtype | None, quantization: Any) -> Any:
    """Return the model of a directory that is not quantized, each layer quantized as it is read.

    Parameters
    ----------
    directory
        Where it is.
    place
        Where its layers are rounded, and stay.
    dtype
        Its type; None: as it was saved.
    quantization
        A `BitquantConfig`.

    Raises
    ------
    CheckpointError
        If the checkpoint lacks tensors of the model.
    ConfigError
        If a layer cannot have the format.
    UnsupportedError
        If transformers is not installed.
    """
    transformers = import_transformers()
    return _load_directory(transformers, directory, place, dtype, quantization_config=quantization)


def _load(
    transformers: Any,
    model_class: Any,
    config: Any,
    directory: Path,
    state_dict: dict[str, Any],
    dtype: torch.dtype,
    place: torch.device,
    **options: Any,
) -> tuple[Any, dict[str, Any]]:
    """Return the model that transformers makes of a state dict, and what it says of that; it opens no file of weights.

    Raises
    ------
    CheckpointError
        If it cannot.
    """
    generation_config = None
    try:
        if (directory / "generation_config.json").is_file():
            generation_config = transformers.GenerationConfig.from_pretrained(directory)
        model, info = model_class.from_pretrained(
            None,
            config=config,
            state_dict=state_dict,
            dtype=dtype,
            output_loading_info=True,
            generation_config=generation_config,
            trust_remote_code=False,
            **({} if place.type == "cpu" else {"device_map": {"": place}}),
            **options,
        )
    except ImportError as error:
        raise UnsupportedError(f"{directory}: transformers needs another package ({error})") from error
    except (CheckpointError, MemoryError, torch.OutOfMemoryError):
        raise
    except BitquantError as error:
        if "quantization_config" in options:  # It is the caller's.
            raise
        raise CheckpointError(f"{directory}: {error}", **{**error.values, "file": str(directory)}) from error
    except Exception as error:
        raise checkpoint_error(str(directory), f"transformers cannot load it ({brief(error)})") from error
    return model, info


def _check_loaded(info: dict[str, Any], path: Path) -> None:
    """Check that transformers found a tensor for every parameter."""
    for kind, what in (("missing_keys", "lacks"), ("mismatched_keys", "has in another shape")):
        if keys := sorted(map(str, info[kind])):
            raise CheckpointError(
                f"{path}: {what} {len(keys)} tensors of the model, {', '.join(keys[:3])}{' ...' if keys[3:] else ''}; "
                "save or fetch the checkpoint again",
                file=str(path),
            )
    if info.get("error_msgs"):
        raise CheckpointError(f"{path}: {info['error_msgs'][0]}", file=str(path))
    if keys := sorted(info["unexpected_keys"]):
        warnings.warn(
            f"{path}: {len(keys)} tensors belong to no module of the model and were left out, "
            f"{', '.join(keys[:3])}{' ...' if keys[3:] else ''}",
            ModelWarning,
            stacklevel=5,
        )


class _LazyTensor:
    """A tensor that is made when transformers takes it, as of a memory-mapped file: by ``[...]``."""

    def __init__(self, make: Callable[[], torch.Tensor]) -> None:
        self._make = make

    def __getitem__(self, index: Any) -> torch.Tensor:
        return self._make()[index]


def _has_own_scales(layer: Linear | ExpertsLinear) -> bool:
    """Whether the type of a layer's scales is to be that of all layers."""
    return layer.has_scale_type and min(layer.config.A_format.bits, layer.config.scale_format.bits) > 8


class _Loader:
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
        quantization.pending = [*linear.values(), *self.experts]  # type: ignore[attr-defined]
        model, info = _load(
            self.transformers, self.model_class, self.config, self.checkpoint.path, self._state_dict(others),
            self.dtype, self.place, quantization_config=quantization,
        )  # fmt: skip
        self._check_experts(others, info)
        _check_loaded(info, self.checkpoint.path)
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

    def _state_dict(self, others: list[str]) -> dict[str, _LazyTensor]:
        """Return what transformers is to load: plain tensors, and quantized ones of modules that are no layers."""
        checkpoint = self.checkpoint
        state = {name: _LazyTensor(partial(checkpoint.read_plain, name, self.place)) for name in checkpoint.plain}
        for path in others:
            is_stacked = checkpoint.format == "mxfp4"  # Experts of gpt-oss, whose parameter is the transpose.
            weight, bias = (path, f"{path}_bias") if is_stacked else (f"{path}.weight", f"{path}.bias")
            state[weight] = _LazyTensor(partial(self._dequantized, path, transposed=is_stacked))
            if "bias" in checkpoint.tensors(path):
                state[bias] = _LazyTensor(partial(self._bias, path))
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
