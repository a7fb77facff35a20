# SPDX-License-Identifier: Apache-2.0
"""BitNet b1.58 as transformers stores it (integrations/bitnet.py).

Tensors of a layer with N outputs and K inputs::

    weight        uint8 (N / 4, K): ternary + 1; bits 2i, 2i + 1 of row r hold row r + i * N / 4
    weight_scale  (1,)
    W = ternary / weight_scale    linear_class "bitlinear", the default
    W = ternary * weight_scale    linear_class "autobitlinear"

Names and shapes are the same for both: only the config tells. With quantization_mode "online" the
weight is stored in 16 bits and made ternary at load: W = clamp(round(w * s), -1, 1) / s, s = 1 /
max(mean|w|, 1e-5), in the type of w. Inputs are quantized to int8 by token.
"""

from __future__ import annotations

import torch

from bitquant.nn.checkpoints.layer import StoredLayer
from bitquant.nn.checkpoints.reader import Reader
from bitquant.nn.checkpoints.weight import ActivationScheme, QuantizedWeight

__all__ = ["BitnetReader"]

_FLOATS = (torch.float16, torch.bfloat16, torch.float32)
_INPUT = ActivationScheme(dtype="int8", granularity="token")


class BitnetReader(Reader):
    """BitNet b1.58: ternary weights, one scale a layer."""

    name = "bitnet"
    methods = ("bitnet",)
    required = ("weight", "weight_scale")
    optional = ("bias",)
    marks = ("weight_scale",)

    def check_parameters(self) -> None:
        """Refuse what only the config would tell."""
        linear, mode = self._linear_class, self._mode
        if linear not in ("bitlinear", "autobitlinear") or mode not in ("offline", "online"):
            raise self.variant_error(
                f"must have linear_class bitlinear or autobitlinear and quantization_mode offline or online "
                f"(got {linear!r}, {mode!r})"
            )
        if mode == "online" and linear != "autobitlinear":
            raise self.variant_error("quantization_mode 'online' needs linear_class 'autobitlinear'")
        if self.parameters.get("use_rms_norm"):
            raise self.variant_error("'use_rms_norm' puts a norm into each layer, which is not read")

    def layers(self) -> dict[str, StoredLayer]:
        """Return the layers: those with a scale; online, each matrix that is to be converted."""
        if self._mode == "offline":
            return super().layers()
        kept = ["lm_head", "embed", *(self.parameters.get("modules_to_not_convert") or ())]
        layers = {}
        names = set(self.source.names)
        for name in self.source.names:
            path = name.removesuffix(".weight")
            is_matrix = path != name and len(self.source.shape(name)) == 2 and self.source.dtype(name) in _FLOATS
            if is_matrix and not any(key in path for key in kept):
                bias = {"bias": f"{path}.bias"} if f"{path}.bias" in names else {}
                layers[path] = StoredLayer(self.source, path, {"weight": name, **bias})
        return layers

    def read(self, layer: StoredLayer) -> QuantizedWeight:
        """Return the weight."""
        shape = layer.shape("weight")
        if len(shape) != 2 or 0 in shape:
            raise layer.error(f"must have two dimensions (got shape {shape})", "weight")
        values, scale = self._packed(layer, shape) if self._mode == "offline" else _rounded(layer, shape)
        N = values.shape[0]
        return QuantizedWeight(
            values=values, W_dtype="int2", dtype=self.dtype, scale=scale.expand(N, 1).contiguous(),
            bias=layer.read_bias(N), activation=_INPUT,
        )  # fmt: skip

    @property
    def _linear_class(self) -> str:
        return str(self.parameters.get("linear_class", "bitlinear"))

    @property
    def _mode(self) -> str:
        return str(self.parameters.get("quantization_mode", "offline"))

    def _packed(self, layer: StoredLayer, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        stored = layer.read("weight", torch.uint8, shape)
        codes = torch.cat([(stored >> shift) & 3 for shift in (0, 2, 4, 6)])
        if bool((codes == 3).any()):
            raise layer.error("must hold codes 0, 1, 2 of ternary weights (got 3)", "weight")
        scale = layer.read_floats("weight_scale", (1,), "(1,)")
        if self._linear_class == "bitlinear":
            if not bool(scale != 0):
                raise layer.error("must not be 0, for it divides", "weight_scale")
            scale = scale.to(torch.float32).reciprocal()
        return codes.view(torch.int8) - 1, scale


def _rounded(layer: StoredLayer, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    weight = layer.read_floats("weight", shape, "(N, K)")
    wide = weight.to(torch.float32)
    s = 1.0 / wide.abs().mean().clamp(min=1e-5)
    # Rounded to the weight's own type, as the reference leaves it.
    return (wide * s).round().clamp(-1, 1).to(torch.int8), (1.0 / s).to(weight.dtype).reshape(1)
