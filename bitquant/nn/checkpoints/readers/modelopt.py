# SPDX-License-Identifier: Apache-2.0
"""ModelOpt (NVIDIA's Model Optimizer): NVFP4 and float8 with one scale a tensor.

Tensors of a layer with N outputs and K inputs::

    NVFP4   weight uint8 (N, K / 2), low nibble first; weight_scale e4m3 (N, K / 16); weight_scale_2 float32, one number
            W = e2m1 * (weight_scale * weight_scale_2): here the common scale multiplies
    FP8     weight float8_e4m3 (N, K); weight_scale float32, one number; W = weight * weight_scale
    both    input_scale float32, one number
"""

from __future__ import annotations

import math

import torch

from bitquant.nn.checkpoints.floats import e2m1_codes
from bitquant.nn.checkpoints.layer import StoredLayer
from bitquant.nn.checkpoints.reader import Reader
from bitquant.nn.checkpoints.weight import ActivationScheme, QuantizedWeight

__all__ = ["ModeloptReader"]

_ALGORITHMS = ("NVFP4", "FP8", "MIXED_PRECISION")


class ModeloptReader(Reader):
    """ModelOpt's NVFP4 and FP8; they may differ from layer to layer."""

    name = "modelopt"
    methods = ("modelopt", "modelopt_fp4", "modelopt_fp8")
    required = ("weight", "weight_scale")
    optional = ("weight_scale_2", "input_scale", "pre_quant_scale", "bias")
    marks = ("weight_scale", "weight_scale_2")

    def check_parameters(self) -> None:
        """Refuse other algorithms."""
        found = self.parameters.get("quant_algo")
        if found not in (None, *_ALGORITHMS):
            raise self.variant_error(f"quant_algo {found!r} is not read", f"read are {', '.join(_ALGORITHMS)}")

    def read(self, layer: StoredLayer) -> QuantizedWeight:
        """Return the weight, by the type that it is stored in."""
        if "pre_quant_scale" in layer:
            raise layer.unread("scales the layer's input (AWQ), which is not read", "pre_quant_scale")
        shape = layer.shape("weight")
        if len(shape) != 2 or 0 in shape:
            raise layer.error(f"must have two dimensions (got shape {shape})", "weight")
        is_fp4 = layer.dtype("weight") == torch.uint8
        values = layer.read("weight", (torch.uint8, torch.float8_e4m3fn), shape)
        N = shape[0]
        if is_fp4:
            K = 2 * shape[1]
            if K % 16:
                raise layer.error(f"must have a K that groups of 16 divide (got K={K})", "weight")
            values = e2m1_codes(values)
            group, W_dtype = 16, "fp4_e2m1"
            scale = layer.read("weight_scale", torch.float8_e4m3fn, (N, K // 16), "(N, K / 16)")
            factor = _number(layer, "weight_scale_2")
            if not bool(torch.isfinite(scale.to(torch.float32) * factor).all()):
                raise layer.error("must be finite times weight_scale_2", "weight_scale")
            channel_scale = factor.expand(N).contiguous()
        else:
            group, W_dtype, channel_scale = shape[1], "float8_e4m3", None
            scale = _number(layer, "weight_scale").expand(N, 1).contiguous()
        scheme = None
        if "input_scale" in layer:
            scheme = ActivationScheme(
                dtype=W_dtype,
                granularity="group" if is_fp4 else "tensor",
                is_dynamic=is_fp4,
                group_size=16 if is_fp4 else None,
                scale=_number(layer, "input_scale"),
            )
        return QuantizedWeight(
            values=values, W_dtype=W_dtype, dtype=self.dtype, scale=scale, group_size=group,
            bias=layer.read_bias(N), activation=scheme, channel_scale=channel_scale,
        )  # fmt: skip


def _number(layer: StoredLayer, role: str) -> torch.Tensor:
    """Return a tensor of one number as (1,) float32."""
    shape = layer.shape(role)
    if math.prod(shape) != 1:
        raise layer.error(f"must be one number (got shape {shape})", role)
    return layer.read_floats(role, shape).to(torch.float32).reshape(1)
