# SPDX-License-Identifier: Apache-2.0
"""Whole models: quantized in place, and dequantized."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from bitquant.checks import check_bool
from bitquant.config import ZerosMode
from bitquant.nn.device import check_module
from bitquant.nn.merged import merge_layers
from bitquant.nn.rounding import Method
from bitquant.nn.swap import (
    DEFAULT_SKIP,
    as_names,
    check_options,
    check_zeros,
    dequantize_layers,
    expert_names,
    layer_names,
    quantize_layers,
    warn_of_experts,
)

__all__ = ["dequantize_model", "quantize_model"]


def quantize_model(
    model: Any,
    W_dtype: str = "uint4",
    group_size: int | None = 128,
    zeros: ZerosMode | None = None,
    A_dtype: str | None = None,
    skip: Iterable[str] = DEFAULT_SKIP,
    method: Method = "rtn",
    merge: bool = True,
    **options: Any,
) -> Any:
    """Replace the torch.nn.Linear layers of a model by `Linear` layers, in place, and return the model.

    Each layer becomes what `Linear.from_float` makes of it, where it is: on the CPU, a GPU, or the meta device (then
    nothing is rounded, and a state dict is to be loaded). One layer is rounded at a time, so that besides the model
    there is one layer in memory. On a terminal a bar shows how far it is.

    Parameters
    ----------
    model
        Any torch.nn.Module, without adapters. Of subclasses of torch.nn.Linear, of routers of experts and gates of
        shared experts, and of parameters that are no layer's, nothing is changed.
    W_dtype
        Format of the weights, of at most 8 bits.
    group_size
        Consecutive k that share a scale. Where it does not divide a layer's K, groups of that layer are as long as
        their greatest common divisor, at least 16. -1 and None: one group a row.
    zeros
        "original", "rescale" or "quantized" for unsigned integers; None: "original" where there are zero points.
    A_dtype
        Type in which products take their input; None: that of the weights. With one of 8 bits each layer rounds its
        input token by token (`bitquant.nn.activations.quantize_tokens`).
    skip
        Which layers stay: names of modules, or of modules that they are part of, in full, in part ("mlp.gate") or with
        wildcards ("*.layers.0.*"). "lm_head" also stands for the output embedding of a model of transformers, whatever
        its name. () skips nothing. A quantized layer whose weight was another module's (a tied lm_head) has one of its
        own from then on; the other module keeps its weight.
    method
        "rtn": to nearest. "hqq": zero points are optimised (`bitquant.nn.quantize`).
    merge
        Whether layers that share an input (q, k and v; gate and up) are merged into one operator
        (`bitquant.nn.merge_layers`).
    **options
        Further parameters of `Linear`: scale_dtype, out_dtype, opt_M, codebook, target ...

    Raises
    ------
    ConfigError
        If `model` has no such layers, has adapters, an entry of `skip` names nothing, or a layer cannot have the format
        (its name comes first; nothing has been changed then). If a weight is not finite: layers before it have been
        replaced then.

    Warns
    -----
    ModelWarning
        If a quantized layer shared its weight, or experts stay in 16 bits.

    Examples
    --------
    >>> model = torch.nn.Sequential(torch.nn.Linear(256, 512), torch.nn.ReLU(), torch.nn.Linear(512, 64)).half()
    >>> quantize_model(model, W_dtype="uint4", group_size=64)[0].config.W_dtype
    'uint4'
    """
    check_module(model)
    check_options(options)
    check_bool(merge, "merge")
    check_zeros(zeros, W_dtype)
    skip = as_names(skip)
    names = [*layer_names(model, skip), *expert_names(model, skip)]
    quantize_layers(model, names, W_dtype, group_size, zeros_mode=zeros, A_dtype=A_dtype, method=method, **options)
    warn_of_experts(model, "stay in 16 bits")
    if merge:
        merge_layers(model)
    if _is_of_transformers(model):
        from bitquant.nn.hub import BitquantConfig, attach_quantizer

        fields = {name: options.get(name) for name in ("opt_M", "codebook")}
        config = BitquantConfig(W_dtype, group_size, zeros, A_dtype, skip, method, merge=merge, **fields)
        attach_quantizer(model, config)
    return model


def dequantize_model(model: Any, dtype: torch.dtype | str | None = None) -> Any:
    """Replace the quantized layers of a model by torch.nn.Linear layers with equal weights, in place; return the model.

    `Linear.dequantize` and `BitLinear.dequantize` make the weights, on the device of each layer. Inputs that a layer
    rounded to 8 bits are rounded no longer.

    Parameters
    ----------
    model
        Any torch.nn.Module without adapters.
    dtype
        float16, bfloat16 or float32; None: each layer's own, the type of its input.

    Raises
    ------
    ConfigError
        If `model` is none, or has adapters; if `dtype` is another type. Nothing has been changed then.
    """
    dequantize_layers(model, dtype)
    quantizer: Any = getattr(model, "hf_quantizer", None)
    if getattr(getattr(quantizer, "quantization_config", None), "quant_method", None) == "bitquant":
        quantizer.remove_quantization_config(model)
    return model


def _is_of_transformers(model: Any) -> bool:
    """Whether a model is one of transformers, without importing that."""
    return any(cls.__module__ == "transformers.modeling_utils" for cls in type(model).__mro__)
