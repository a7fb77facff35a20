# SPDX-License-Identifier: Apache-2.0
"""AWQ in the order of AutoAWQ's gemm kernel, as AutoAWQ, gptqmodel and AutoRound write it.

Tensors of a layer with N outputs, K inputs and G = K / group_size groups (Lin et al., "AWQ",
2023)::

    qweight  (K, N / 8) int32   eight codes of one input along the outputs; nibbles, low to high, hold outputs
                                0, 2, 4, 6, 1, 3, 5, 7 of each eight
    qzeros   (G, N / 8) int32   zero points in the same order, as they are
    scales   (G, N) floats
    W[n, k] = scales[k / group_size, n] * (code[k, n] - zero[k / group_size, n])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bitquant.nn.checkpoints.bits import codes_of_words
from bitquant.nn.checkpoints.integers import integer_fields
from bitquant.nn.checkpoints.layer import StoredLayer
from bitquant.nn.checkpoints.reader import Reader
from bitquant.nn.checkpoints.weight import QuantizedWeight

__all__ = ["AwqReader"]

#: Nibble in which output j of each eight lies.
_NIBBLE_OF_OUTPUT = (0, 4, 1, 5, 2, 6, 3, 7)


class AwqReader(Reader):
    """AWQ, gemm order: 4-bit integers, groups of inputs, integer zero points."""

    name = "awq"
    methods = ("awq",)
    required = ("qweight", "qzeros", "scales")
    optional = ("bias",)

    @classmethod
    def accepts(cls, parameters: Mapping[str, Any]) -> bool:
        """Whether it is AWQ, or AutoRound's own format in AWQ's packing."""
        if parameters.get("quant_method") in ("auto-round", "auto_round", "intel/auto-round"):
            return parameters.get("packing_format") == "auto_round:auto_awq"
        return parameters.get("quant_method") in cls.methods

    def check_parameters(self) -> None:
        """Refuse other widths and other orders."""
        p = self.parameters
        if (bits := p.get("bits", p.get("w_bit", 4))) != 4:
            raise self.variant_error(f"must have 4 bits (got {bits})")
        order = str(p.get("version") or p.get("checkpoint_format") or p.get("format") or "gemm").lower()
        if order not in ("gemm", "auto_round:auto_awq"):
            raise self.variant_error(f"version {order!r} is not read", "quantize it with version='gemm'")

    def read(self, layer: StoredLayer) -> QuantizedWeight:
        """Return the weight."""
        shape = layer.shape("qweight")
        if len(shape) != 2 or 0 in shape:
            raise layer.error(f"must have shape (K, N / 8) (got {shape})", "qweight")
        K, N = shape[0], 8 * shape[1]
        group = self.group_size(K, "group_size", "q_group_size")
        if K % group:
            raise layer.error(f"must have a K that group_size divides (got K={K}, group_size={group})", "qweight")
        G = K // group
        codes = _in_order(layer.read("qweight", torch.int32, (K, N // 8), "(K, N / 8)"))
        zeros = _in_order(layer.read("qzeros", torch.int32, (G, N // 8), "(K / group_size, N / 8)"))
        scale = layer.read_floats("scales", (G, N), "(K / group_size, N)")
        return QuantizedWeight(
            **integer_fields(codes.T.contiguous(), zeros.T, 4),
            dtype=self.dtype,
            scale=scale.T.contiguous(),
            group_size=group,
            bias=layer.read_bias(N),
        )


def _in_order(words: torch.Tensor) -> torch.Tensor:
    """Return the codes of words (rows, N / 8) in the order of outputs, (rows, N)."""
    nibbles = codes_of_words(words, 4, 8 * words.shape[1])
    return nibbles.unflatten(1, (-1, 8))[:, :, list(_NIBBLE_OF_OUTPUT)].flatten(1)
