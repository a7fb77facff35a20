# SPDX-License-Identifier: Apache-2.0
"""LoRA over quantized layers, by Hugging Face's peft (0.20 or newer).

peft has a layer class of its own for each kind of base layer. `LoraLinear` is the one for `Linear`
and `BitLinear`, and `register` tells a `peft.LoraConfig` of it::

    config = register(peft.LoraConfig(r=16, target_modules="all-linear"), model)
    model = peft.get_peft_model(model, config)
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from peft import LoraConfig, PeftModel, PeftType
from peft.tuners import lora
from peft.tuners.tuners_utils import (
    BaseTunerLayer,
    _maybe_include_all_linear_layers,
    check_adapters_to_merge,
)

from bitquant.errors import ConfigError
from bitquant.nn import BitLinear, Linear, unmerge_layers

__all__ = ["LoraLinear", "register"]

#: Values of `LoraConfig.init_lora_weights` that do not read the base weight.
_INITS = (True, False, "gaussian")


def register(config: LoraConfig, model: torch.nn.Module) -> LoraConfig:
    """Let a config put adapters over bitquant's layers, and return it.

    A config that is loaded from disk must be registered, too: peft does not save what was.

    Parameters
    ----------
    config
        Changed in place. Of ``target_modules="all-linear"``, which peft takes for torch's layers
        alone, it makes the names of these and of bitquant's, but for the output embedding.
    model
        What gets the adapters.

    Raises
    ------
    ConfigError
        If `config` is not of LoRA: peft has no registration for other methods.
    """
    if not isinstance(config, LoraConfig) or config.peft_type != PeftType.LORA:
        raise ConfigError(
            f"'config' must be a peft.LoraConfig (got {type(config).__name__}); of other methods, "
            "those that leave the layers alone, such as prompt tuning, need no registration",
            config=config,
        )
    config._register_custom_module({Linear: LoraLinear, BitLinear: LoraLinear})
    targets = config.target_modules
    if isinstance(targets, str) and targets.lower() == "all-linear":
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        _maybe_include_all_linear_layers(config, base)
        names: Any = {*(config.target_modules or ()), *_layer_names(base)}
        config.target_modules = names  # A set, as peft makes of a list.
    return config


def _layer_names(model: torch.nn.Module) -> set[str]:
    """Return the names of bitquant's layers that have no adapters yet, but for the output embedding."""
    get_output = getattr(model, "get_output_embeddings", None)
    output = get_output() if get_output is not None else None
    names, adapted = set(), []
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            adapted.append(f"{name}.")
        elif isinstance(module, (Linear, BitLinear)) and module is not output:
            names.add(name)
    return {name for name in names if not name.startswith(tuple(adapted))}


class LoraLinear(lora.Linear):
    """Adapters over a quantized layer: D = base(x) + scaling * lora_B(lora_A(dropout(x))).

    Adapters have the type that peft gives them: float32, or that of the layer's A with
    ``autocast_adapter_dtype=False`` (over `BitLinear`, whose x may have any type, float32).

    `merge` puts a torch.nn.Linear with the weight decode(W) + scaling * lora_B lora_A, of A's type,
    in the place of the quantized layer: nothing is rounded to few bits again, and the weight takes
    as much memory as before it was quantized. `unmerge` puts the same quantized layer back.

    peft makes these. What it passes on of a `LoraConfig` must not need the base weight:
    init_lora_weights is True, False or "gaussian", and variants of LoRA such as DoRA are refused.

    Parameters
    ----------
    base_layer
        A `Linear` whose A has 16 or 32 bits, without activation scales, or a packed `BitLinear`.
    adapter_name, config, **kwargs
        As peft passes them.

    Raises
    ------
    ConfigError
        If adapters over `base_layer` would have no meaning, or `config` asks for what needs the
        base weight.
    """

    def __init__(self, base_layer: torch.nn.Module, adapter_name: str, config: LoraConfig, **kwargs: Any) -> None:
        _check_layer(base_layer, kwargs.get("target_name", "base_layer"))
        unmerge_layers(base_layer)
        super().__init__(base_layer, adapter_name, config=config, **kwargs)
        self.fan_in_fan_out = False  # A quantized weight is (N, K), whatever the model's others are.
        #: The layer that a merged one stands for. In a list, so that it is no submodule.
        self._replaced: list[Linear] = []

    def update_layer(self, adapter_name: str, r: int, lora_alpha: int, config: LoraConfig, **kwargs: Any) -> None:
        """Add an adapter.

        Raises
        ------
        ConfigError
            As the class.
        """
        _check_config(config, self.get_base_layer())
        super().update_layer(adapter_name, r, lora_alpha, config=config, **kwargs)

    def _get_in_out_features(self, module: Any) -> tuple[int, int]:
        return module.in_features, module.out_features  # peft's own warns of an unknown class.

    def _get_base_layer_device_and_dtype(self, base_layer: Any) -> tuple[torch.device, torch.dtype | None]:
        """Return device and type of a new adapter; None: as it is made."""
        if isinstance(base_layer, Linear):
            return base_layer.qweight.device, base_layer.config.A_format.torch_dtype
        device, dtype = super()._get_base_layer_device_and_dtype(base_layer)
        return device, dtype

    def _cast_input_dtype(self, x: Any, dtype: torch.dtype) -> Any:
        # Autocast brings x to its own type; by way of the adapters' float32 that would be two copies more.
        if isinstance(x, torch.Tensor) and torch.is_autocast_enabled(x.device.type):
            return x
        return super()._cast_input_dtype(x, dtype)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Replace the quantized layer by a torch.nn.Linear that has adapters added to its weight.

        Parameters
        ----------
        safe_merge
            Whether to check that the sums are finite.
        adapter_names
            Which adapters; None: the active ones.

        Raises
        ------
        ConfigError
            If the layer is a `BitLinear`, has channel scales, or an output of another type than A.
        """
        adapter_names = check_adapters_to_merge(self, adapter_names)
        if not adapter_names:
            return
        layer: Any = self.get_base_layer()
        if not isinstance(layer, torch.nn.Linear):
            self.base_layer = _float_layer(layer)
            self._replaced.append(layer)
        try:
            super().merge(safe_merge, adapter_names)
        except BaseException:
            if not self.merged:
                self._restore()
            raise

    def unmerge(self) -> None:
        """Put the quantized layer back in its place."""
        if not self.merged:
            super().unmerge()  # It warns.
            return
        self.merged_adapters.clear()
        self._restore()

    def _restore(self) -> None:
        merged: Any = self.get_base_layer()
        self.base_layer = self._replaced.pop().to(merged.weight.device)  # The model may have moved meanwhile.


def _check_layer(layer: Any, name: str) -> None:
    """Check that a layer computes something that adapters can be added to."""
    if isinstance(layer, Linear):
        config = layer.config
        if config.A_format.bits == 8 or config.with_activation_scale:
            got = f"A of {config.A_dtype}" + (", with activation scales" if config.with_activation_scale else "")
            raise ConfigError(
                f"{name!r} must have A of 16 or 32 bits and no activation scales to get adapters "
                f"(got {got}): they multiply A itself; leave it out of 'target_modules', or "
                "construct it with A_dtype='bfloat16', say",
                base_layer=layer,
            )
    elif isinstance(layer, BitLinear):
        if layer.qweight is None:
            raise ConfigError(
                f"{name!r} must be packed to get adapters (got a float weight); call its post_process_weights() before",
                base_layer=layer,
            )
    else:
        raise ConfigError(
            f"{name!r} must be a bitquant.Linear or BitLinear (got {type(layer).__name__})",
            base_layer=layer,
        )


def _check_config(config: LoraConfig, layer: Any) -> None:
    """Check that nothing of a config needs the base weight, or a bias that is a parameter."""
    if (init := config.init_lora_weights) not in _INITS:
        raise ConfigError(
            f"'init_lora_weights' must be one of {', '.join(map(repr, _INITS))} (got {init!r}): "
            "adapters over quantized layers start at random or at nothing",
            init_lora_weights=init,
        )
    for field in dataclasses.fields(config):
        if field.metadata.get("is_lora_variant") and (value := getattr(config, field.name)):
            raise ConfigError(
                f"{field.name!r} must be left out (got {value!r}): over quantized layers there is plain LoRA alone",
                **{field.name: value},
            )
    if config.bias != "none" and isinstance(layer, Linear) and layer.bias is not None:
        raise ConfigError(
            f"'bias' must be 'none' (got {config.bias!r}): the bias of a quantized layer is no "
            "parameter, and would not be trained; use lora_bias=True",
            bias=config.bias,
        )


def _float_layer(layer: Linear | BitLinear) -> torch.nn.Linear:
    """Return the torch.nn.Linear that computes what a layer does."""
    if isinstance(layer, BitLinear):
        raise ConfigError(
            "adapters cannot be merged into a BitLinear, which rounds its input to 8 bits and its "
            "weight to three values; leave them as they are",
            base_layer=layer,
        )
    config = layer.config
    if config.out_format is not config.A_format or config.with_channel_scale:
        got = f"A_dtype={config.A_dtype!r}, out_dtype={config.out_dtype!r}" + (
            ", with_channel_scale=True" if config.with_channel_scale else ""
        )
        raise ConfigError(
            "adapters can be merged into layers whose output has the type of A, without channel "
            f"scales (got {got}): they go to a torch.nn.Linear; leave them as they are",
            base_layer=layer,
        )
    has_bias = layer.bias is not None
    result = torch.nn.Linear(layer.in_features, layer.out_features, has_bias, device="meta")
    result.weight = torch.nn.Parameter(layer.dequantize(), requires_grad=False)
    if layer.bias is not None:
        result.bias = torch.nn.Parameter(layer.bias.clone(), requires_grad=False)
    return result.train(layer.training)
