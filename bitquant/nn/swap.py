# SPDX-License-Identifier: Apache-2.0
"""Replacing the linear layers of a model in place, one by one."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import inspect
import math
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import torch

from bitquant.checks import check_group_size
from bitquant.errors import ConfigError
from bitquant.formats import WEIGHT_DTYPES, ZerosMode, canonical_name, number_format
from bitquant.nn.bitlinear import BitLinear
from bitquant.nn.device import check_module
from bitquant.nn.experts import Experts
from bitquant.nn.linear import Linear
from bitquant.nn.merged import unmerge_layers
from bitquant.nn.routers import find_routers
from bitquant.nn.stock import (
    StockExperts,
    dequantize_experts,
    empty_experts,
    find_stock_experts,
    is_stock_experts,
    quantize_experts,
    stock_refusal,
)
from bitquant.progress import track

__all__ = [
    "DEFAULT_SKIP",
    "MIN_GROUP",
    "NOT_OF_EXPERTS",
    "ModelWarning",
    "Places",
    "as_model_dtype",
    "as_names",
    "check_options",
    "check_weight_format",
    "check_zeros",
    "dequantize_layers",
    "empty_layer",
    "expert_bytes",
    "expert_names",
    "fitting_group",
    "layer_names",
    "quantize_layers",
    "replace_layer",
    "warn_of_experts",
]  # fmt: skip

#: What is skipped where nothing else is said: the output embedding, whatever its name in the model.
DEFAULT_SKIP: tuple[str, ...] = ("lm_head",)
#: The smallest groups that a K which `group_size` does not divide is cut into.
MIN_GROUP = 16
_MODEL_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_FORWARD_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)  # fmt: skip


class ModelWarning(UserWarning):
    """Part of a model is not as it was asked for, or costs more than it seems."""


def _is_named(name: str, entry: str) -> bool:
    """Whether an entry of `skip` names a module, or one that it is part of."""
    return f".{entry}." in f".{name}." or fnmatch.fnmatchcase(name, entry)


def layer_names(model: torch.nn.Module, skip: Iterable[str] = ()) -> list[str]:
    """Return the names of the torch.nn.Linear layers of a model that `skip` does not name, shared ones once.

    Layers of subclasses are not among them: torch and others read the weight of such past their ``forward``. Nor are
    routers of experts (`find_routers`).

    Raises
    ------
    ConfigError
        If `skip` is no sequence of names, or an entry of it, other than the default, names no module.
    """
    skipped, routers = _skipped(model, skip), find_routers(model)
    return [
        n for n, m in model.named_modules()
        if n and type(m) is torch.nn.Linear and id(m) not in skipped and n not in routers
    ]  # fmt: skip


def expert_names(model: torch.nn.Module, skip: Iterable[str] = ()) -> list[str]:
    """Return the names of the experts modules of a model that `Experts` can stand for and `skip` does not name.

    Raises
    ------
    ConfigError
        As `layer_names`.
    """
    skipped = _skipped(model, skip)
    found = find_stock_experts(model).items()
    return [name for name, module in found if id(module) not in skipped and stock_refusal(module) is None]


def _skipped(model: torch.nn.Module, skip: Iterable[str]) -> set[int]:
    """Return the modules that `skip` names, by their ids."""
    skip = as_names(skip)
    every = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    for entry in skip:
        if entry not in DEFAULT_SKIP and not any(_is_named(name, entry) for name in every):
            near = difflib.get_close_matches(entry, {*every, *(part for n in every for part in n.split("."))}, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"'skip' must name modules of the model (got {entry!r:.80}, which none has){hint}", skip=skip
            )
    output = getattr(model, "get_output_embeddings", lambda: None)()
    skipped = {id(output)} if any(entry in DEFAULT_SKIP for entry in skip) else set()
    return skipped | {
        id(m) for n, m in model.named_modules(remove_duplicate=False) if any(_is_named(n, e) for e in skip)
    }


def as_names(skip: Any) -> tuple[str, ...]:
    """Return names of modules that are not to be quantized.

    Raises
    ------
    ConfigError
        If they are no names.
    """
    if isinstance(skip, str):
        raise ConfigError(f"'skip' must be a sequence of names (got {skip!r:.80}); use skip=({skip!r:.80},)", skip=skip)
    names = tuple(skip) if isinstance(skip, Iterable) and not isinstance(skip, (torch.Tensor, Mapping)) else (skip,)
    if other := [name for name in names if not isinstance(name, str)]:
        raise ConfigError(f"'skip' must be a sequence of names (got {other[0]!r:.80} in place of one)", skip=skip)
    return names


class Places:
    """Where the modules of a model stand, for replacing many of them: looking for one goes through the whole model.

    Parameters
    ----------
    model
        It is changed by `replace` alone from now on.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        #: Names by module; it keeps modules alive, so that no other one gets the number of one that is gone.
        self._names: dict[torch.nn.Module, list[str]] = {}
        for name, module in model.named_modules(remove_duplicate=False):
            self._names.setdefault(module, []).append(name)

    def replace(self, name: str, layer: torch.nn.Module) -> None:
        """Put a layer in the place of that name, and in every other place where the same one stands.

        It gets the hooks of the one before, those of accelerate included.
        """
        before = self._model.get_submodule(name)
        layer.train(before.training)
        for attribute in _FORWARD_HOOKS:
            getattr(layer, attribute).update(getattr(before, attribute))
        if (hook := getattr(before, "_hf_hook", None)) is not None:
            from accelerate.hooks import AlignDevicesHook, add_hook_to_module

            # A quantized layer stays where it computes.
            add_hook_to_module(
                layer,
                AlignDevicesHook(hook.execution_device, io_same_device=hook.io_same_device, skip_keys=hook.skip_keys),
            )
        names = self._names.pop(before)
        for place in names:
            self._model.set_submodule(place, layer)
        self._names[layer] = names


def replace_layer(model: torch.nn.Module, name: str, layer: torch.nn.Module) -> None:
    """Replace one layer as `Places.replace` does."""
    Places(model).replace(name, layer)


@contextlib.contextmanager
def _at_hand(name: str, module: torch.nn.Module) -> Iterator[None]:
    """Bring the parameters of a layer that accelerate offloads to where it computes.

    Raises
    ------
    ConfigError
        If it has a hook of another kind.
    """
    hook = getattr(module, "_hf_hook", None)
    if hook is None:
        yield
        return
    from accelerate.hooks import AlignDevicesHook
    from accelerate.utils import align_module_device

    if type(hook) is not AlignDevicesHook:
        raise ConfigError(
            f"{name!r} must have no hook of accelerate but those of a device_map (got {type(hook).__name__}); remove "
            "it with accelerate.hooks.remove_hook_from_module",
            hook=hook,
        )
    with align_module_device(module):
        yield


def fitting_group(K: int, group_size: int | None) -> int:
    """Return the size of groups for a K: `group_size` where it divides K, else their greatest common divisor.

    Raises
    ------
    ConfigError
        If that is below `MIN_GROUP`.
    """
    check_group_size(group_size)
    if group_size in (None, -1):
        return K
    if K % group_size == 0:
        return group_size
    common = math.gcd(K, group_size)
    if common < MIN_GROUP:
        raise ConfigError(
            f"'group_size' must divide K, or have a divisor of at least {MIN_GROUP} in common with it (got "
            f"group_size={group_size}, K={K}, in common {common}); use group_size=-1, or name the layer in 'skip'",
            group_size=group_size, K=K,
        )  # fmt: skip
    return common


def as_model_dtype(dtype: Any) -> torch.dtype | None:
    """Return a type that a model may compute in, of a torch.dtype or its name, as config.json has it; or None.

    Raises
    ------
    ConfigError
        If it is another one, or no type.
    """
    found: Any = getattr(torch, dtype.removeprefix("torch."), dtype) if isinstance(dtype, str) else dtype
    if found is not None and not (isinstance(found, torch.dtype) and found in _MODEL_DTYPES):
        raise ConfigError(f"'dtype' must be float16, bfloat16 or float32 (got {dtype!r:.80})", dtype=dtype)
    return found


#: What other libraries call it: the number of bits, which is part of W_dtype here, the model's type and its device.
_ELSEWHERE = {
    **dict.fromkeys(("bits", "nbits", "w_bit", "wbits"), "W_dtype"), "torch_dtype": "dtype", "device_map": "device",
}  # fmt: skip


#: Parameters of `Linear` that follow from the model and the arguments of functions that make layers of it.
_DECIDED = frozenset({
    "in_features", "out_features", "bias", "with_scaling", "with_zeros", "zeros_mode", "with_channel_scale",
    "with_permutation", "quantize_activations",
})  # fmt: skip


def check_options(options: dict[str, Any], decided: Collection[str] = (), own: Collection[str] = ("W_dtype",)) -> None:
    """Check that options are parameters of `Linear`, and such as do not follow from something else.

    Parameters
    ----------
    options
        Options by name.
    decided
        Further parameters that follow from something else.
    own
        Parameters of the function that was given the options, one of which may be meant.

    Raises
    ------
    ConfigError
        If one is not.
    """
    known = inspect.signature(Linear).parameters
    for name, value in options.items():
        if name in _DECIDED or name in decided:
            raise ConfigError(
                f"{name!r} must be left out, since it follows from the model and the other arguments "
                f"(got {value!r:.80})",
                **options,
            )
        if name not in known:
            meant = _ELSEWHERE.get(name)
            near = [meant] if meant in own else difflib.get_close_matches(name, [*own, *known], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{name!r} must be a parameter of this function or of Linear{hint}", **options)


def check_weight_format(W_dtype: str, codebook: Sequence[float] | None = None) -> None:
    """Check that a format is one to quantize to.

    Raises
    ------
    ConfigError
        If there is none of this name, it has more than 8 bits, or the codebook does not go with it.
    """
    if number_format(canonical_name(W_dtype, "W_dtype", WEIGHT_DTYPES), codebook).bits > 8:
        raise ConfigError(f"'W_dtype' must have at most 8 bits (got {W_dtype!r})", W_dtype=W_dtype)


def check_zeros(zeros: Any, W_dtype: str) -> None:
    """Check the zero points that a model is to be quantized with.

    Raises
    ------
    ConfigError
        If it is no mode of zero points and not None, or the format has none, or there is no such format.
    """
    if zeros is None:
        return
    canonical_name(zeros, "zeros", get_args(ZerosMode))
    if not number_format(canonical_name(W_dtype, "W_dtype", WEIGHT_DTYPES)).is_unsigned:
        raise ConfigError(
            f"'zeros' must be None where W has no zero points (got {zeros!r} and W_dtype={W_dtype!r}); use an unsigned "
            "format, or leave it out",
            zeros=zeros, W_dtype=W_dtype,
        )  # fmt: skip


def _check_model(model: Any) -> None:
    check_module(model)
    if isinstance(model, torch.nn.Linear):
        raise ConfigError("'model' must hold layers (got a layer); use Linear.from_float", model=model)
    for name, module in model.named_modules():
        if type(module).__module__.split(".")[0] == "peft":
            raise ConfigError(
                f"'model' must have no adapters yet (got {type(module).__name__} at {name!r}); quantize it before",
                model=model,
            )


def quantize_layers(
    model: torch.nn.Module, names: list[str], W_dtype: str, group_size: int | None, **options: Any
) -> None:
    """Replace layers by quantized ones: torch.nn.Linear by `Linear.from_float`, modules of experts by `Experts`.

    Whatever can be refused without looking at weights is refused before the first layer is replaced. One layer is
    rounded at a time, of experts one expert, where it is, and the one before is let go of.

    Raises
    ------
    ConfigError
        If a layer cannot have the format; its name comes first.
    """
    _check_model(model)
    check_weight_format(W_dtype)
    if not names:
        raise ConfigError(
            f"'model' must have torch.nn.Linear layers that 'skip' does not name (got {_what_it_has(model)})",
            model=model,
        )
    for name in names:
        with _naming(name):
            empty_layer(model.get_submodule(name), W_dtype, group_size, **options)
    untie(model, names)
    places = Places(model)
    for name in track(names, "Quantizing", len(names)):
        module: Any = model.get_submodule(name)
        with _naming(name), _at_hand(name, module):
            if is_stock_experts(module):
                layer: torch.nn.Module = empty_layer(module, W_dtype, group_size, **options)
                quantize_experts(StockExperts.of(module), layer, options.get("method", "rtn"))  # type: ignore[arg-type]
            else:
                layer = Linear.from_float(module, W_dtype, fitting_group(module.in_features, group_size), **options)
        places.replace(name, layer)
        del module


#: Parameters of `Linear` that say nothing of experts: their inputs stay in 16 bits.
NOT_OF_EXPERTS = {"A_dtype", "propagate_b", "quantize_activations", "with_activation_scale", "method"}


def empty_layer(module: Any, W_dtype: str, group_size: int | None, **options: Any) -> Linear | Experts:
    """Return the quantized layer of a torch.nn.Linear or an experts module, without numbers, on the meta device.

    Raises
    ------
    ConfigError
        If it cannot have the format.
    """
    if is_stock_experts(module):
        stock = StockExperts.of(module)
        own = {name: value for name, value in options.items() if name not in NOT_OF_EXPERTS}
        groups = (fitting_group(stock.hidden_size, group_size), fitting_group(stock.intermediate_size, group_size))
        return empty_experts(stock, W_dtype, groups, **own)
    twin = torch.nn.Linear(
        module.in_features, module.out_features, module.bias is not None, device="meta", dtype=module.weight.dtype
    )
    return Linear.from_float(twin, W_dtype, fitting_group(module.in_features, group_size), **options)


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the name of a layer in front of errors."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{name!r}: {error}", layer=name, **error.values) from error


def untie(model: Any, names: Iterable[str]) -> None:
    """Say that the weights of these layers are no longer those of other modules.

    The others keep theirs. A model of transformers forgets the tie, so that it is not made again.
    """
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    modules = {id(model.get_submodule(name)) for name in names}
    untied = []
    for name in names:
        weight = getattr(model.get_submodule(name), "weight", None)
        if weight is None:  # Of experts.
            continue
        others = [
            o for o in owners.get(id(weight), [])
            if id(model.get_submodule(o.rpartition(".")[0])) not in modules
        ]  # fmt: skip
        if not others:
            continue
        warnings.warn(
            f"{name!r} shares its weight with {others[0]!r}, which keeps it: the quantized layer has one of its own",
            ModelWarning,
            stacklevel=4,
        )
        untied.append(f"{name}.weight")
    if untied:
        forget_ties(model, untied)


def forget_ties(model: Any, parameters: Collection[str]) -> None:
    """Let a model of transformers not tie these parameters again."""
    for module in model.modules():
        tied = vars(module).get("all_tied_weights_keys")
        if isinstance(tied, dict) and tied:
            kept = {k: v for k, v in tied.items() if not any(name.endswith(k) for name in parameters)}
            module.all_tied_weights_keys = kept
    config = getattr(model, "config", None)
    get_output = getattr(model, "get_output_embeddings", None)
    output = get_output() if get_output is not None else None
    owners = (model.get_submodule(name.rpartition(".")[0]) for name in parameters)
    if config is not None and any(owner is output for owner in owners):
        for holder in {id(c): c for c in (config, config.get_text_config())}.values():
            holder.tie_word_embeddings = False


def dequantize_layers(model: torch.nn.Module, dtype: torch.dtype | str | None = None) -> None:
    """Replace each `Linear` and packed `BitLinear` by a torch.nn.Linear with the same weight, where it is.

    `Experts` become the modules that they stand for.

    Raises
    ------
    ConfigError
        If `model` is none or has adapters, or `dtype` is none of float16, bfloat16, float32 and None.
    """
    _check_model(model)
    wanted = as_model_dtype(dtype)
    unmerge_layers(model)
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, (Linear, Experts)) or (isinstance(module, BitLinear) and module.qweight is not None)
    ]
    places = Places(model)
    for name in track(names, "Dequantizing", len(names)):
        layer: Any = model.get_submodule(name)
        is_experts = isinstance(layer, Experts)
        places.replace(name, dequantize_experts(layer, wanted) if is_experts else _float_layer(layer, wanted))


def _what_it_has(model: torch.nn.Module) -> str:
    """Say what a model has in the place of torch.nn.Linear layers."""
    quantized = sum(isinstance(module, (Linear, BitLinear, Experts)) for module in model.modules())
    return f"{quantized} that are quantized already; see dequantize_model" if quantized else "none"


def _float_layer(layer: Linear | BitLinear, dtype: torch.dtype | None) -> torch.nn.Linear:
    dtype = dtype or layer.weight.dtype
    has_bias = layer.bias is not None
    result = torch.nn.Linear(layer.in_features, layer.out_features, has_bias, device="meta")
    result.weight = torch.nn.Parameter(layer.dequantize(dtype), requires_grad=False)
    if layer.bias is not None:
        result.bias = torch.nn.Parameter(layer.bias.detach().to(dtype, copy=True), requires_grad=False)
    return result


def expert_bytes(model: torch.nn.Module) -> int:
    """Return the bytes of the weights of experts: parameters of three dimensions."""
    return sum(p.numel() * p.element_size() for name, p in model.named_parameters() if p.ndim == 3 and "expert" in name)


def warn_of_experts(model: torch.nn.Module, because: str) -> None:
    """Say what the experts of a model cost that stay as they are."""
    if total := expert_bytes(model):
        stock = find_stock_experts(model)
        reasons = {name: reason for name, module in stock.items() if (reason := stock_refusal(module)) is not None}
        warnings.warn(
            f"the experts of this model {because}, which takes {total / 2**30:.2f} GiB"
            + (f": Experts {next(iter(reasons.values()))}" if reasons else ""),
            ModelWarning,
            stacklevel=3,
        )
