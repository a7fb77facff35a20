# SPDX-License-Identifier: Apache-2.0
"""HQQ (Badri and Shaji, "Half-Quadratic Quantization", 2023) as its HQQLinear is saved to safetensors.

The weight (N, K) is reshaped before it is quantized, to a matrix with one group a row (axis 1, (N *
K / g, g)) or a column (axis 0, (g, N * K / g)); with R rows::

    W_q          the matrix, packed along its ROWS: of 4 bits, rows r and r + R / 2 share a byte, r in the high half; of
                 2 and 1 bits likewise; of 3 bits, ten rows share an int32, the first in bits 27..29
    scale, zero  floats, (R, 1) or (1, columns)
    nbits, group_size, axis, shape, packing, view_as_float ...   numbers and ASCII text, each a tensor
    W = ((code - zero) * scale).reshape(N, K)

Where g does not divide K a group of axis 1 runs on from one row to the next; groups are then gcd(g,
K).
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import torch

from bitquant.arithmetic import ceil_div
from bitquant.nn.checkpoints.groups import flat_blocks_to_groups
from bitquant.nn.checkpoints.layer import StoredLayer
from bitquant.nn.checkpoints.reader import Inexpressible, Reader
from bitquant.nn.checkpoints.weight import QuantizedWeight

__all__ = ["HqqReader"]

#: Bits of a code in storage and the shifts of the rows that share an element, from the first.
_PACKINGS: dict[str, tuple[int, tuple[int, ...]]] = {
    "8bit_u8": (8, (0,)),
    "4bit_u8": (4, (4, 0)),
    "3bit_32": (3, tuple(range(27, -1, -3))),
    "2bit_u8": (2, (6, 4, 2, 0)),
    "1bit_u8": (1, tuple(range(7, -1, -1))),
}
#: Types of the tensor `shape`.
_INTEGERS = (torch.int64, torch.int32)


class HqqReader(Reader):
    """HQQ of 1 to 8 bits, axis 1; axis 0 has groups that no kernel expresses."""

    name = "hqq"
    methods = ("hqq",)
    required = ("W_q", "scale", "zero", "nbits", "axis", "shape", "packing")
    optional = (
        "group_size", "view_as_float", "channel_wise", "quant_scale", "quant_zero", "bias", "compute_dtype",
        "unpack_view_dtype", "round_zero", "optimize", "offload_meta", "stores_quant_config", "encoded_state_dict",
    )  # fmt: skip
    marks = ("W_q", "zero", "nbits", "axis", "packing")

    def variant(self, layer: StoredLayer) -> Hashable:
        """Return bits, axis and (N, K), which are tensors of their own."""
        return (_number(layer, "nbits"), _number(layer, "axis"), *layer.read("shape", _INTEGERS, (2,), "(2,)").tolist())

    def read(self, layer: StoredLayer) -> QuantizedWeight | Inexpressible:
        """Return the weight."""
        self._check_variant(layer)
        bits = float(_number(layer, "nbits"))
        W_bits = 2 if round(bits, 2) == 1.58 else int(bits)
        axis = _number(layer, "axis")
        shape = layer.read("shape", _INTEGERS, (2,), "(2,)").tolist()
        if axis not in (0, 1) or W_bits not in range(1, 9) or min(shape) < 1:
            raise layer.error(f"must have axis 0 or 1 and 1 to 8 bits (got axis {axis}, {bits} bits, shape {shape})")
        N, K = shape
        groups = math.prod(layer.shape("scale"))
        if groups < 1 or N * K % groups:
            raise layer.error(f"must have a number of groups that divides N * K = {N * K} (got {groups})", "scale")
        g = N * K // groups
        if "group_size" in layer and (declared := _number(layer, "group_size")) != g:
            raise layer.error(
                f"must have N * K / group_size numbers for group_size={declared} (got {groups})",
                "scale",
            )
        grid = (groups, 1) if axis == 1 else (1, groups)
        scale, zero = layer.read_floats("scale", grid), layer.read_floats("zero", grid)
        common = torch.promote_types(scale.dtype, zero.dtype)
        scale, zero = scale.to(common), zero.to(common)
        codes = _codes(layer, W_bits, (groups, g) if axis == 1 else (g, groups))
        bias = layer.read_bias(N)
        if axis == 0:

            def dequantize() -> torch.Tensor:
                return ((codes.float() - zero.float()) * scale.float()).reshape(N, K)

            return Inexpressible("has axis 0: elements of a group are strided over rows, not K", dequantize, bias)
        group, source = flat_blocks_to_groups(N, K, g)
        return QuantizedWeight(
            values=codes.reshape(N, K),
            W_dtype=f"uint{W_bits}",
            dtype=self.dtype,
            scale=scale.flatten()[source],
            zeros=zero.flatten()[source],
            zeros_mode="original",
            group_size=group,
            bias=bias,
        )

    @staticmethod
    def _check_variant(layer: StoredLayer) -> None:
        for role, only in (("quant_scale", 0), ("quant_zero", 0), ("channel_wise", 1)):
            if role in layer and (found := _number(layer, role)) != only:
                raise layer.unread(f"must be {only} (got {found})", role)


def _number(layer: StoredLayer, role: str) -> Any:
    """Return a number stored as a tensor of no dimension."""
    types = (torch.int32, torch.int64, torch.uint8, torch.bool, torch.float32)
    shape = layer.shape(role)
    if math.prod(shape) != 1:
        raise layer.error(f"must be one number (got shape {shape})", role)
    return layer.read(role, types, shape).item()


def _codes(layer: StoredLayer, bits: int, matrix: tuple[int, int]) -> torch.Tensor:
    """Return the codes of the regrouped matrix: int8, and uint8 for 8 bits."""
    packing = bytes(layer.read("packing", torch.uint8, (None,)).tolist()).decode("ascii", "replace")
    if packing not in _PACKINGS:
        raise layer.error(f"must be one of {', '.join(_PACKINGS)} (got {packing!r})", "packing")
    stored_bits, shifts = _PACKINGS[packing]
    element = torch.int32 if packing == "3bit_32" else torch.uint8
    stored = layer.read("W_q", (element, torch.float16, torch.bfloat16, torch.float32), layer.shape("W_q"))
    stored = stored.contiguous().view(element)  # Under view_as_float bytes are disguised as floats.
    rows, columns = matrix
    packed = (ceil_div(rows, len(shifts)), columns)
    if tuple(stored.shape) != packed or (packing != "3bit_32" and rows % len(shifts)):
        raise layer.error(
            f"must have shape {packed} for {rows} x {columns} codes in {packing} (got {tuple(stored.shape)})",
            "W_q",
        )
    mask = (1 << stored_bits) - 1
    codes = torch.cat([((stored >> shift) & mask).to(torch.uint8) for shift in shifts])[:rows]
    if bits < stored_bits and int(codes.max()) >= 1 << bits:
        raise layer.error(f"must hold codes 0..{(1 << bits) - 1} (got {int(codes.max())})", "W_q")
    return codes if bits == 8 else codes.view(torch.int8)
