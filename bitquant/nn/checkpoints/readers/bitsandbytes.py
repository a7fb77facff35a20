# SPDX-License-Identifier: Apache-2.0
"""bitsandbytes, 4 bits: NF4 and its own FP4, with scales that may be quantized themselves.

Tensors of a layer with N outputs and K inputs, W = <path>.weight (bitsandbytes.functional)::

    W                          bytes of the flattened weight, element n * K + k; of two the first in the HIGH nibble
    W.quant_map                (16,) float32, the value of each code
    W.absmax                   float32, one for each `blocksize` elements of the flattened weight
    W.quant_state.bitsandbytes__nf4 (or fp4)   JSON text: quant_type, blocksize, shape, dtype
    where scales are quantized: W.absmax uint8 and, with nested_blocksize and nested_offset of the JSON text,
                               absmax = nested_quant_map[absmax] * nested_absmax[block // nested_blocksize] + offset
    W = quant_map[code] * absmax

Blocks run on from one row to the next where `blocksize` does not divide K; groups are then the
greatest that lie in one block and one row.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch

from bitquant.arithmetic import ceil_div
from bitquant.formats.codebooks import NF4_VALUES
from bitquant.nn.checkpoints.bits import codes_of_bytes, swap_nibbles
from bitquant.nn.checkpoints.groups import flat_blocks_to_groups
from bitquant.nn.checkpoints.layer import StoredLayer
from bitquant.nn.checkpoints.reader import Reader
from bitquant.nn.checkpoints.weight import QuantizedWeight

__all__ = ["BitsandbytesReader"]

_NF4, _FP4 = "weight.quant_state.bitsandbytes__nf4", "weight.quant_state.bitsandbytes__fp4"
#: Types that packed bytes may be disguised as (bnb_4bit_quant_storage), for sharded training.
_STORAGE = (torch.uint8, torch.int8, torch.float16, torch.bfloat16, torch.float32)


class BitsandbytesReader(Reader):
    """bitsandbytes nf4 and fp4."""

    name = "bitsandbytes"
    methods = ("bitsandbytes",)
    required = ("weight", "weight.absmax", "weight.quant_map")
    optional = (_NF4, _FP4, "weight.nested_absmax", "weight.nested_quant_map", "bias")
    marks = (
        "weight.absmax",
        "weight.quant_map",
        _NF4,
        _FP4,
        "weight.nested_absmax",
        "weight.nested_quant_map",
    )

    def check_parameters(self) -> None:
        """Refuse 8 bits: LLM.int8() splits the input at every call."""
        if self.parameters.get("load_in_8bit"):
            raise self.variant_error("8 bits (LLM.int8) are not read", "load_in_4bit checkpoints are")

    def layers(self) -> dict[str, StoredLayer]:
        """Return the layers by path; each has a state."""
        layers = super().layers()
        for layer in layers.values():
            if (_NF4 in layer) == (_FP4 in layer):
                raise layer.error(
                    "must have one quant_state tensor, bitsandbytes__nf4 or bitsandbytes__fp4",
                )
        return layers

    def variant(self, layer: StoredLayer) -> Hashable:
        """Return the sizes that the JSON text gives."""
        role = _NF4 if _NF4 in layer else _FP4
        return _sizes(layer, role, layer.read_json(role))

    def read(self, layer: StoredLayer) -> QuantizedWeight:
        """Return the weight: nf4, or code4 with the levels of fp4 or of another `quant_map`."""
        role = _NF4 if _NF4 in layer else _FP4
        state = layer.read_json(role)
        N, K, block = _sizes(layer, role, state)
        codes = self._codes(layer, N, K)
        absmax = self._absmax(layer, role, state, ceil_div(N * K, block))
        group, source = flat_blocks_to_groups(N, K, block)
        scale = absmax[source]
        levels = layer.read("weight.quant_map", torch.float32, (16,), "(16,)")
        if not bool(torch.isfinite(levels).all()):
            raise layer.error("must be finite (got infinity or NaN)", "weight.quant_map")
        is_nf4 = role == _NF4 and torch.equal(levels.cpu(), torch.tensor(NF4_VALUES, dtype=torch.float32))
        return QuantizedWeight(
            values=codes,
            W_dtype="nf4" if is_nf4 else "code4",
            codebook=None if is_nf4 else tuple(levels.tolist()),
            dtype=self.dtype,
            scale=scale,
            group_size=group,
            bias=layer.read_bias(N),
        )

    @staticmethod
    def _codes(layer: StoredLayer, N: int, K: int) -> torch.Tensor:
        if N * K % 2:
            raise layer.error(f"must have an even number of elements (got N={N}, K={K})", "weight")
        stored = layer.read("weight", _STORAGE, layer.shape("weight")).contiguous().flatten().view(torch.uint8)
        if stored.numel() * 2 != N * K:
            raise layer.error(
                f"must have N * K / 2 = {N * K // 2} bytes for N={N}, K={K} (got {stored.numel()})",
                "weight",
            )
        return codes_of_bytes(swap_nibbles(stored), 4, N * K).view(N, K)

    @staticmethod
    def _absmax(layer: StoredLayer, role: str, state: dict[str, Any], blocks: int) -> torch.Tensor:
        if "nested_blocksize" not in state:
            absmax = layer.read("weight.absmax", torch.float32, (blocks,), "(blocks,)")
        else:
            codes = layer.read("weight.absmax", torch.uint8, (blocks,), "(blocks,)")
            nested, offset = state["nested_blocksize"], state.get("nested_offset")
            if not isinstance(nested, int) or nested < 1 or not isinstance(offset, (int, float)):
                raise layer.error("must have nested_blocksize (an int) and nested_offset (a number)", role)
            count = ceil_div(blocks, nested)
            common = layer.read("weight.nested_absmax", torch.float32, (count,), "(blocks / nested_blocksize,)")
            levels = layer.read("weight.nested_quant_map", torch.float32, (256,), "(256,)")
            absmax = levels[codes.to(torch.int32)] * common.repeat_interleave(nested)[:blocks]
            absmax = absmax + torch.tensor(offset, dtype=torch.float32)
        if not bool(torch.isfinite(absmax).all()):
            raise layer.error("must be finite (got infinity or NaN)", "weight.absmax")
        return absmax


def _sizes(layer: StoredLayer, role: str, state: dict[str, Any]) -> tuple[int, int, int]:
    """Return N, K and the block of the JSON text."""
    shape, block = state.get("shape"), state.get("blocksize")
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(s, int) and s > 0 for s in shape):
        raise layer.error(f"must have a 'shape' (N, K) (got {shape!r})", role)
    if not isinstance(block, int) or block < 1:
        raise layer.error(f"must have a 'blocksize' (got {block!r})", role)
    kind = role.rsplit("__", 1)[1]
    if state.get("quant_type") != kind:
        raise layer.error(f"must have quant_type {kind!r} (got {state.get('quant_type')!r})", role)
    return shape[0], shape[1], block
