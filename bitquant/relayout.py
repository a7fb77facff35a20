# SPDX-License-Identifier: Apache-2.0
"""Weights as tensors: packed, and brought from one layout (`bitquant.layouts`) into another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce

import torch

from bitquant import packing
from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError
from bitquant.layouts import (
    CHUNK_BYTES,
    TILE_N,
    WEIGHT_LAYOUTS,
    FragmentLayout,
    Plane,
    WeightLayout,
    fragment_layout,
    fragment_refusal,
    weight_dtype,
    weight_shape,
)
from bitquant.packing import general_compress, general_decompress
from bitquant.packing.arrays import chunk_elements
from bitquant.packing.bits import compress_rows
from bitquant.packing.checks import check_dense
from bitquant.packing.operands import checked_weight

__all__ = ["from_layout", "pack", "to_layout"]


def to_layout(packed_plain: torch.Tensor, config: MatmulConfig, layout: WeightLayout) -> torch.Tensor:
    """Return a plain weight in another layout.

    Parameters
    ----------
    packed_plain
        The weight as `bitquant.packing.pack` gives it.
    config
        The problem.
    layout
        The layout wanted.

    Returns
    -------
    torch.Tensor
        Shape ``weight_shape(config, layout)``, type ``weight_dtype(config, layout)``, on the device of `packed_plain`;
        the same tensor for "plain".

    Raises
    ------
    ConfigError
        If the shape or type of `packed_plain` are other ones, or the weight cannot have that layout.
    """
    weight_shape(config, layout)  # Whether there is one.
    _check_stored(packed_plain, config, "plain", "packed_plain")
    if layout == "plain":
        return packed_plain
    bits = config.W_format.bits

    def codes(rows: slice) -> torch.Tensor:
        packed = packed_plain[rows].detach().view(torch.int8)
        return packed if bits == 8 else general_decompress(packed, bits)

    return _in_fragments(codes, config, packed_plain.device)


def pack(weight: torch.Tensor, config: MatmulConfig, layout: WeightLayout) -> torch.Tensor:
    """Turn a weight into the tensor that an operator of `config` stores, in a layout: `to_layout` of what is packed.

    Parameters
    ----------
    weight
        As `bitquant.packing.pack` takes it.
    config, layout
        The problem, and the layout wanted.

    Returns
    -------
    torch.Tensor
        As `to_layout` returns it, on the device of `weight`.

    Raises
    ------
    ConfigError
        As `bitquant.packing.pack` and `to_layout` do.
    """
    weight_shape(config, layout)
    if layout == "plain":
        return packing.pack(weight, config)
    values, fmt = checked_weight(weight, config), config.W_format

    def codes(rows: slice) -> torch.Tensor:
        part = values[rows].contiguous()
        return fmt.encode(part).view(torch.int8)

    return _in_fragments(codes, config, values.device)


def _in_fragments(
    codes_of: Callable[[slice], torch.Tensor], config: MatmulConfig, device: torch.device
) -> torch.Tensor:
    """Return the weight in the fragment layout whose codes, one a byte, `codes_of` gives for rows of it."""
    fragments, fmt = fragment_layout(config), config.W_format
    stored = torch.empty(fragments.stored_shape(config.N, config.K), dtype=torch.int8, device=device)
    tiles_k = fragments.tiles_k(config.K)
    for first, last in _tile_rows(fragments, config, device):
        codes = codes_of(slice(first * TILE_N, last * TILE_N))
        padding = (0, tiles_k * fragments.tile_k - config.K, 0, (last - first) * TILE_N - codes.shape[0])
        if any(padding):
            codes = torch.nn.functional.pad(codes, padding)
        tiles = stored[first:last].view(last - first, tiles_k, fragments.tile_bytes)
        for plane, part in zip(fragments.planes, _split_planes(tiles, fragments), strict=True):
            bits = codes if plane.bits == fmt.bits else (codes >> plane.shift) & ((1 << plane.bits) - 1)
            shape_by_axis, order = _fragment_order(fragments, plane, last - first, tiles_k)
            fields = bits.reshape(shape_by_axis).permute(order).reshape(last - first, tiles_k, -1)
            part.copy_(fields if plane.bits == 8 else compress_rows(fields, plane.bits))
    if stored.is_cuda:
        # Kernels of sm_90 read the weight before the kernel ahead of them has ended (dependent launch). So let that one
        # be another than the last that writes it.
        torch.zeros(1, device=stored.device)
    return stored


def from_layout(stored: torch.Tensor, config: MatmulConfig, layout: WeightLayout) -> torch.Tensor:
    """Return the plain form of a weight stored in another layout, the inverse of `to_layout`.

    Parameters
    ----------
    stored
        Shape ``weight_shape(config, layout)``, type ``weight_dtype(config, layout)``. What pads it is not looked at.
    config
        The problem.
    layout
        Its layout.

    Returns
    -------
    torch.Tensor
        As `bitquant.packing.pack` gives it, on the device of `stored`; the same tensor for "plain".

    Raises
    ------
    ConfigError
        If the shape or type of `stored` are other ones, or the weight cannot have that layout.
    """
    _check_stored(stored, config, layout, "stored")
    if layout == "plain":
        return stored
    fragments = fragment_layout(config)
    plain = torch.empty(config.W_shape, dtype=torch.int8, device=stored.device)
    tiles_k = fragments.tiles_k(config.K)
    for first, last in _tile_rows(fragments, config, stored.device):
        tiles = stored[first:last].detach().reshape(last - first, tiles_k, fragments.tile_bytes)
        planes = []
        for plane, part in zip(fragments.planes, _split_planes(tiles, fragments), strict=True):
            fields = part if plane.bits == 8 else general_decompress(part, plane.bits)
            shape_by_axis, order = _fragment_order(fragments, plane, last - first, tiles_k)
            bits = fields.reshape([shape_by_axis[axis] for axis in order]).permute(_inverse(order))
            planes.append(bits << plane.shift if plane.shift else bits)
        codes = reduce(torch.bitwise_or, planes).reshape((last - first) * TILE_N, -1)
        rows = plain[first * TILE_N : last * TILE_N]
        rows.copy_(general_compress(codes[: rows.shape[0], : config.K], fragments.bits))
    return plain.view(config.W_format.torch_dtype)


def _tile_rows(layout: FragmentLayout, config: MatmulConfig, device: torch.device) -> Iterator[tuple[int, int]]:
    """Yield ranges (first, last) of rows of tiles: few at a time, which bounds the memory of temporaries."""
    count = layout.tiles_n(config.N)
    step = max(1, chunk_elements(device) // (TILE_N * layout.tiles_k(config.K) * layout.tile_k))
    for first in range(0, count, step):
        yield first, min(count, first + step)


def _split_planes(tiles: torch.Tensor, layout: FragmentLayout) -> list[torch.Tensor]:
    """Return the part of each plane of tiles (..., tile bytes)."""
    return list(tiles.split([CHUNK_BYTES * plane.chunks for plane in layout.planes], dim=-1))


def _fragment_order(layout: FragmentLayout, plane: Plane, rows: int, tiles_k: int) -> tuple[list[int], list[int]]:
    """Return (shape, order): how to see codes (16 * rows, K) as axes, and the order in which a plane holds those axes.

    In that order the codes' bits follow one another without gaps.
    """
    step_bits = layout.steps.bit_length() - 1
    #         row,  p % 2, g, tile,    bits of j,         p // 2, t, e
    shape = [rows, 2, 8, tiles_k, *([2] * step_bits), 2, 4, layout.values_per_register]
    row, low, g, tile = range(4)
    high, t, e = range(4 + step_bits, 7 + step_bits)
    # The bits of a register's number 4 * j + p, the highest first: chunk, word in the chunk, field in the word.
    register = [*range(4, 4 + step_bits), high, low]
    field_bits = (layout.operand_bits // plane.bits).bit_length() - 1
    split = len(register) - field_bits
    fields = register[split:]
    value = [*fields, e] if layout.is_adjacent else [e, *fields]
    return shape, [row, tile, *register[: split - 2], g, t, *register[split - 2 : split], *value]


def _inverse(order: list[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)


def _check_stored(tensor: torch.Tensor, config: MatmulConfig, layout: WeightLayout, argument: str) -> None:
    """Check that a tensor is a weight of that problem in that layout."""
    if not isinstance(tensor, torch.Tensor):
        raise ConfigError(f"{argument!r} must be a torch tensor (got {type(tensor).__name__})", **{argument: tensor})
    check_dense(tensor, argument)
    shape, dtype = weight_shape(config, layout), weight_dtype(config, layout)
    if tuple(tensor.shape) != shape:
        other = next((name for name in WEIGHT_LAYOUTS if _has_shape(tensor, config, name)), None)
        hint = f", which is the layout {other!r}" if other else ""
        raise ConfigError(
            f"{argument!r} must have shape {shape}, W in the layout {layout!r} (got {tuple(tensor.shape)}{hint})",
            **{argument: tuple(tensor.shape)},
        )
    if tensor.dtype != dtype:
        raise ConfigError(f"{argument!r} must be {dtype} (got {tensor.dtype})", **{argument: tensor.dtype})


def _has_shape(tensor: torch.Tensor, config: MatmulConfig, layout: WeightLayout) -> bool:
    if layout == "fragment" and fragment_refusal(config) is not None:
        return False
    return tuple(tensor.shape) == weight_shape(config, layout)
