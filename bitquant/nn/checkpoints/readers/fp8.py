# SPDX-License-Identifier: Apache-2.0
"""Float8 with a scale for each block of the weight, as DeepSeek-V3 and transformers ("fp8") store it.

Tensors of a layer with N outputs and K inputs, blocks of (R, C), mostly (128, 128)::

    weight            float8_e4m3 (N, K)
    weight_scale_inv  (ceil(N / R), ceil(K / C)): despite its name it multiplies
    W[n, k] = weight[n, k] * weight_scale_inv[n // R, k // C]

The last block of rows and columns may be ragged: blocks are R x C whatever the shape (DeepSeek-V3,
weight_dequant in inference/kernel.py); transformers 5.17 derives them from the number of scales
instead, and is wrong where N or K is ragged. Without "weight_block_size" there is one scale a
tensor or row, weight_scale, as vLLM's own fp8 has it.
"""

from __future__ import annotations

import math

import torch

from bitquant.arithmetic import ceil_div
from bitquant.nn.checkpoints.floats import read_e8m0_scale
from bitquant.nn.checkpoints.groups import blocks_to_groups
from bitquant.nn.checkpoints.layer import StoredLayer
from bitquant.nn.checkpoints.reader import Reader
from bitquant.nn.checkpoints.weight import ActivationScheme, QuantizedWeight

__all__ = ["Fp8Reader"]


class Fp8Reader(Reader):
    """Float8 weights with scales of blocks, rows or the tensor."""

    name = "fp8"
    methods = ("fp8",)
    required = ("weight",)
    optional = ("weight_scale_inv", "weight_scale", "input_scale", "bias")
    marks = ("weight_scale_inv", "weight_scale")

    def check_parameters(self) -> None:
        """Check the size of blocks."""
        block = self.parameters.get("weight_block_size")
        if block is not None and (len(block) != 2 or not all(isinstance(b, int) and b > 0 for b in block)):
            raise self.variant_error(f"'weight_block_size' must be two positive ints (got {block!r})")
        if (fmt := self.parameters.get("fmt", "e4m3")) != "e4m3":
            raise self.variant_error(f"'fmt' must be e4m3 (got {fmt!r})")

    def read(self, layer: StoredLayer) -> QuantizedWeight:
        """Return the weight, with the scales of blocks."""
        shape = layer.shape("weight")
        if len(shape) != 2 or 0 in shape:
            raise layer.error(f"must have shape (N, K) (got {shape})", "weight")
        N, K = shape
        values = layer.read("weight", torch.float8_e4m3fn, (N, K), "(N, K)")
        block = self.parameters.get("weight_block_size")
        role = "weight_scale_inv" if "weight_scale_inv" in layer else "weight_scale"
        if block is not None:
            R, C = block
            grid = (ceil_div(N, R), ceil_div(K, C))
            meaning = f"(ceil(N / {R}), ceil(K / {C}))"
        else:
            R, C = 1, K
            grid = (N, 1) if math.prod(layer.shape(role)) == N else (1, 1)
            meaning = "(N, 1) or one number"
        if layer.dtype(role) == torch.float8_e8m0fnu:
            stored = read_e8m0_scale(layer, role, grid, meaning)
        elif block is None and math.prod(layer.shape(role)) == math.prod(grid):
            stored = layer.read_floats(role, layer.shape(role)).reshape(grid)
        else:
            stored = layer.read_floats(role, grid, meaning)
        group, source = blocks_to_groups(K, C)
        if R == 1:  # Also one scale for the tensor.
            stored = stored.expand(N, grid[1])
        return QuantizedWeight(
            values=values, W_dtype="float8_e4m3", dtype=self.dtype, scale=stored[:, source].contiguous(),
            group_size=group, rows_per_scale=R,
            bias=layer.read_bias(N), activation=self._activation(layer, C if block is not None else None),
        )  # fmt: skip

    def _activation(self, layer: StoredLayer, columns: int | None) -> ActivationScheme | None:
        scheme = self.parameters.get("activation_scheme")
        if scheme is None:
            return None
        if scheme == "static":
            scale = layer.read_floats("input_scale", layer.shape("input_scale")).to(torch.float32)
            return ActivationScheme("float8_e4m3", "tensor", is_dynamic=False, scale=scale)
        return ActivationScheme("float8_e4m3", "group" if columns else "token", group_size=columns)
