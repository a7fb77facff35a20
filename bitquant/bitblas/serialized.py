# SPDX-License-Identifier: Apache-2.0
"""Weights as BitBLAS stores them: its two permutations, undone.

BitBLAS permutes a weight twice. Its *ladder* layout moves whole values inside tiles of one mma
instruction's right operand, so that a warp loads its registers from consecutive memory. Its *LOP3*
layout then moves the codes inside each 32-bit word, so that one logical operation decodes as many
of them as a register has halves or bytes. Neither changes the shape of the tensor: nothing in a
file says which of them were applied, but the config does.

The permutations are those of `get_propagate_map` and `get_ladder_stage3_map`
(bitblas/gpu/matmul_analysis.py) and of `tir_interleave_weight`
(bitblas/ops/lop3_permutate/lop3_permutate_impl.py) in BitBLAS 0.1.0.post1.
"""

from __future__ import annotations

from typing import Any

import torch

from bitquant import layouts, packing
from bitquant.bitblas.config import MatmulConfig, TransformKind
from bitquant.errors import ConfigError, UnsupportedError
from bitquant.packing.arrays import to_tensor

__all__ = ["unpack_serialized_weight"]

#: Within a word BitBLAS moves units of so many bits once more, by (bits of a code, type of A): for
#: each unit, where it goes. One bit with a float16 A is absent: there it writes two units to the
#: same place.
_UNIT_MOVES: dict[tuple[int, str], tuple[int, tuple[int, ...]]] = {
    (2, "float16"): (8, (0, 2, 1, 3)),
    (1, "int8"): (4, (0, 4, 2, 6, 1, 5, 3, 7)),
}


def unpack_serialized_weight(qweight: Any, config: MatmulConfig) -> torch.Tensor:
    """Return the values of a weight that BitBLAS stored, ready for `Matmul.transform_weight`.

    Parameters
    ----------
    qweight
        What BitBLAS's ``transform_weight`` or ``weight_transform`` returned: int8, N * K * bits / 8
        elements, or N * K of the type of A where W has that type. Mostly (N, K * bits / 8); the
        shape does not matter.
    config
        The config with which it was stored. Its resolved `fast_decoding` and `propagate_b` say how;
        where BitBLAS ran on a GPU older than sm_80, it did not apply the latter: pass
        ``propagate_b=False``.

    Returns
    -------
    torch.Tensor
        (N, K), or (K, N) for layout "nn": int8 for integers of fewer than 8 bits, float32 for nf4
        and fp4_e2m1, else of the type of W.

    Raises
    ------
    ConfigError
        If the tensor has another type or number of elements.
    UnsupportedError
        If BitBLAS lost a part of the weight when it stored it (1 bit and a float16 A), or never
        stores such a weight.
    """
    native = config.native
    fmt, stored = native.W_format, to_tensor(qweight, "qweight")
    wanted = layouts.weight_dtype(native, "plain")
    count = native.N * native.K * (fmt.bits if fmt.is_packed else 8) // 8
    if stored.dtype is not wanted and not (stored.dtype.itemsize == 1 and wanted.itemsize == 1):
        raise ConfigError(f"'qweight' must be {wanted} (got {stored.dtype})", qweight=stored.dtype)
    if stored.numel() != count:
        raise ConfigError(
            f"'qweight' must have {count} elements, which hold (N, K) = {(native.N, native.K)} values of {fmt.name} "
            f"(got {stored.numel()}, shape {tuple(stored.shape)}); it was stored with another config",
            qweight=tuple(stored.shape),
        )
    values = stored.contiguous().view(wanted).reshape(-1)
    if not fmt.is_packed:
        return _without_ladder(values, config).reshape(native.W_shape)
    if fmt.bits not in (1, 2, 4):
        raise UnsupportedError(f"BitBLAS packs 1, 2 and 4 bits alone (got W_dtype={fmt.name!r})")
    codes = packing.general_decompress(values, fmt.bits)
    if config.fast_decoding:
        codes = _without_lop3(codes, config)
    codes = _without_ladder(codes, config).reshape(native.N, native.K)
    return packing.unpack(packing.general_compress(codes, fmt.bits), native)


def _without_lop3(codes: torch.Tensor, config: MatmulConfig) -> torch.Tensor:
    """Return codes in the order in which they were before BitBLAS interleaved them."""
    fmt, A_format = config.native.W_format, config.native.A_format
    if fmt.bits == 1 and A_format.name == "float16":
        raise UnsupportedError(
            "a 1-bit weight that BitBLAS interleaved for float16 A is lost: its operator joins the "
            "codes 1, 3, 5, 7 of each 32 with the codes 8, 10, 12, 14 by or "
            "(interleave_weight_f16_1b). Pack the original weight with transform_weight, or pass "
            "fast_decoding=False if that is how it was stored"
        )
    if config.K * fmt.bits % 32:
        raise UnsupportedError(
            f"BitBLAS interleaves whole words of 32 bits (got K={config.K}, {config.K * fmt.bits % 32} bits over); "
            "pass fast_decoding=False if that is how it was stored"
        )
    table = _lop3_places(fmt.bits, A_format.bits, A_format.name)
    return codes.view(-1, 32 // fmt.bits)[:, table.to(codes.device)].reshape(-1)


def _lop3_places(bits: int, lane_bits: int, A_name: str) -> torch.Tensor:
    """Return for each code of a 32-bit word its place in the interleaved word, both in units of a code.

    A register of 32 bits holds 32 / lane_bits values of A. Code k goes to register k // (32 /
    lane_bits), that many codes from the bottom of lane k % (32 / lane_bits).
    """
    lanes, per_lane = 32 // lane_bits, lane_bits // bits
    code = torch.arange(32 // bits)
    place = code % lanes * per_lane + code // lanes
    unit_bits, moves = _UNIT_MOVES.get((bits, A_name), (bits, ()))
    if moves:
        per_unit = unit_bits // bits
        place = torch.tensor(moves)[place // per_unit] * per_unit + place % per_unit
    return place


def _without_ladder(values: torch.Tensor, config: MatmulConfig) -> torch.Tensor:
    """Return values in rows of W, from BitBLAS's tiles where it made some."""
    kind, native = config.propagate_b, config.native
    if kind == TransformKind.NonTransform:
        return values
    if native.layout != "nt":
        raise UnsupportedError(f"BitBLAS's tiles are read for layout 'nt' alone (got {native.layout!r})")
    if native.A_format.bits not in (8, 16):
        raise UnsupportedError(f"BitBLAS makes tiles for A of 8 and 16 bits alone (got {native.A_format.name})")
    width = 256 // native.A_format.bits  # 32 bytes of a row of A's type; a tile has 16 rows.
    if native.N % 16 or native.K % width:
        raise UnsupportedError(
            f"BitBLAS's tiles of 16 x {width} must divide W (got N={native.N}, K={native.K}); "
            "pass propagate_b=False if that is how it was stored"
        )
    tiles = values.view(native.N // 16, native.K // width, 16 * width)
    tiles = tiles[..., _tile_places(kind, width).to(values.device)]
    return tiles.view(native.N // 16, native.K // width, 16, width).transpose(1, 2).reshape(-1)


def _tile_places(kind: Any, width: int) -> torch.Tensor:
    """Return for each element of a tile, row by row, its place in BitBLAS's tile.

    A tile of 16 x `width` is 32 chunks of `width` / 2. `ldmatrix` hands chunk c to the row of a
    matrix of 8 x 8 at which thread c points (PTX ISA, "ldmatrix"); the last kind then has the
    values in the order of the registers.
    """
    half = width // 2
    place = torch.arange(16 * width)
    if kind == TransformKind.InterWarpTransform:
        return place
    thread, local = place // half, place % half
    row = 8 * (thread // 16) + thread % 8
    column = half * (thread % 16 // 8) + local
    # Element (row, column) is at `place` now.
    intra = torch.empty_like(place)
    intra[row * width + column] = place
    if kind == TransformKind.IntraWarpTransform:
        return intra
    per_register = half // 4
    lane = thread % 8 * 4 + local // per_register
    register = thread // 8 * per_register + local % per_register
    return (lane * half + register)[intra]
