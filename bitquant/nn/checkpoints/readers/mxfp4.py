# SPDX-License-Identifier: Apache-2.0
"""MXFP4 experts as gpt-oss stores them (transformers, integrations/mxfp4.py).

Tensors of all E experts of a layer with N outputs and K inputs, ``<path>_blocks`` and so on::

    blocks  uint8 (E, N, K / 32, 16)   32 codes of fp4_e2m1, low nibble first
    scales  uint8 (E, N, K / 32)       E8M0: 2^(byte - 127)
    bias    (E, N)
    W[e, n, k] = e2m1 * scale

The model's own parameter is the transpose, (E, K, N), and of gate_up_proj the even rows n are gate,
the odd ones up.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bitquant.nn.checkpoints.floats import e2m1_codes, read_e8m0_scale
from bitquant.nn.checkpoints.layer import StoredLayer
from bitquant.nn.checkpoints.reader import Reader
from bitquant.nn.checkpoints.weight import QuantizedWeight

__all__ = ["Mxfp4Reader"]


class Mxfp4Reader(Reader):
    """gpt-oss: all experts of a layer in one weight, (E, N, K)."""

    name = "mxfp4"
    methods = ("mxfp4",)
    required = ("blocks", "scales")
    optional = ("bias",)
    separator = "_"

    def read(self, layer: StoredLayer) -> QuantizedWeight:
        """Return the weight of all experts."""
        return self._unpacked(*self._stored(layer))

    def experts(self, layer: StoredLayer) -> Iterator[QuantizedWeight]:
        """Yield the weights of the experts; what is stored is unpacked expert by expert."""
        blocks, scale, bias = self._stored(layer)
        for e in range(blocks.shape[0]):
            yield self._unpacked(blocks[e], scale[e], None if bias is None else bias[e])

    def _stored(self, layer: StoredLayer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        shape = layer.shape("blocks")
        if len(shape) != 4 or shape[3] != 16 or 0 in shape:
            raise layer.error(f"must have shape (E, N, K / 32, 16) (got {shape})", "blocks")
        E, N, groups, _ = shape
        blocks = layer.read("blocks", torch.uint8, shape)
        bias = layer.read_floats("bias", (E, N), "(E, N)") if "bias" in layer else None
        return blocks, read_e8m0_scale(layer, "scales", (E, N, groups), "(E, N, K / 32)"), bias

    def _unpacked(self, blocks: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> QuantizedWeight:
        return QuantizedWeight(
            values=e2m1_codes(blocks.flatten(-2)), W_dtype="fp4_e2m1", dtype=self.dtype, scale=scale, group_size=32,
            bias=bias,
        )  # fmt: skip
