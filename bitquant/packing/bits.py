# SPDX-License-Identifier: Apache-2.0
"""Bits: codes <-> packed bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bitquant.arithmetic import round_up
from bitquant.errors import ConfigError
from bitquant.packing.arrays import Array, like, map_rows, to_tensor
from bitquant.packing.checks import check_codes

__all__ = ["compress", "compress_rows", "decompress", "general_compress", "general_decompress"]

#: The integer type that holds so many codes, one a byte.
_LANE_DTYPES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def general_compress(weight: Array, source_bits: int = 4, storage_dtype: Any = "int8") -> Array:
    """Pack unsigned codes of `source_bits` bits, without gaps, into bytes.

    ``stream[k * b + i] = bit i of weight[..., k]`` for i < b = source_bits; byte j of a row is
    ``sum_i stream[8 * j + i] << i``.

    Parameters
    ----------
    weight
        Codes 0 ... 2^b - 1, shape (..., K), int8, uint8, int16, int32 or int64, on any device. For 8 bits an int8
        tensor is taken as it is, bit for bit.
    source_bits
        Bits a code, 1 to 8.
    storage_dtype
        Accepted for BitBLAS; int8 (as a string, a NumPy or a torch type) is the only value allowed.

    Returns
    -------
    torch.Tensor or numpy.ndarray
        Shape (..., K * b / 8), int8; what `weight` is, a tensor on its device or an array.

    Raises
    ------
    ConfigError
        If a code is out of range, K * b is not a multiple of 8, or a type is not one of those above.
    """
    _check_source_bits(source_bits)
    if storage_dtype not in ("int8", np.int8, np.dtype(np.int8), torch.int8):
        raise ConfigError(
            f"'storage_dtype' must be 'int8', the type of every packed weight (got {storage_dtype!r})",
            storage_dtype=storage_dtype,
        )
    codes = to_tensor(weight, "weight")
    _check_row_bits(codes, source_bits)
    if source_bits < 8 or codes.dtype != torch.int8:
        check_codes(codes, source_bits, "weight")
    return like(compress_rows(codes, source_bits), weight)


def general_decompress(packed: Array, source_bits: int = 4) -> Array:
    """Unpack bytes into unsigned codes, the inverse of `general_compress`.

    Parameters
    ----------
    packed
        Shape (..., bytes), int8 or uint8.
    source_bits
        Bits a code, b, 1 to 8.

    Returns
    -------
    torch.Tensor or numpy.ndarray
        Codes 0 ... 2^b - 1, shape (..., bytes * 8 / b); int8, and uint8 for 8 bits. What `packed` is, on its device.

    Raises
    ------
    ConfigError
        If `packed` is not int8 or uint8, or its rows do not hold a whole number of byte-aligned runs of codes.
    """
    _check_source_bits(source_bits)
    stored = to_tensor(packed, "packed")
    if stored.dtype not in (torch.int8, torch.uint8) or stored.ndim == 0:
        raise ConfigError(
            "'packed' must be an int8 tensor of at least one dimension "
            f"(got {stored.dtype}, shape {tuple(stored.shape)})",
            packed=stored.dtype,
        )
    lane_bytes = _lane(source_bits) * source_bits // 8
    if stored.shape[-1] % lane_bytes:
        raise ConfigError(
            f"rows of 'packed' must be a multiple of {lane_bytes} bytes where 'source_bits' is {source_bits} "
            f"(got {stored.shape[-1]} bytes); they were packed with another width",
            packed=tuple(stored.shape), source_bits=source_bits,
        )  # fmt: skip
    width = stored.shape[-1] * 8 // source_bits
    dtype = torch.int8 if source_bits < 8 else torch.uint8
    codes = map_rows(stored, width, dtype, lambda rows: decompress(rows, source_bits))
    return like(codes, packed)


def _lane(bits: int) -> int:
    """Return the fewest codes that fill whole bytes."""
    return next(count for count in _LANE_DTYPES if count * bits % 8 == 0)


def _halvings(bits: int) -> list[tuple[int, int, int]]:
    """Return (low mask, used, gap) of every step that closes the gaps of a lane.

    Before the step a lane is made of slots of `used + gap` bits with `used` low bits in use. The step joins
    neighbours: the upper slot's bits move down by `gap`, so that slots and used bits double. `low` masks the used bits
    of the lower slot of each pair.
    """
    steps = []
    slot, used, lane_bits = 8, bits, 8 * _lane(bits)
    while slot < lane_bits:
        low = sum(((1 << used) - 1) << start for start in range(0, lane_bits, 2 * slot))
        steps.append((low, used, slot - used))
        slot, used = 2 * slot, 2 * used
    return steps


def compress_rows(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack integer codes (..., K), known to be in range; returns int8 (..., K * bits / 8)."""
    width = codes.shape[-1] * bits // 8
    return map_rows(codes, width, torch.int8, lambda rows: compress(rows.to(torch.uint8), bits))


def compress(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack contiguous uint8 codes (rows, K), known to be in range; returns int8 (rows, K * bits / 8).

    Codes lie one a byte, so 8 / gcd(8, bits) of them read as one little-endian integer hold every bit in order with
    gaps of 8 - bits. Each of at most three steps halves the number of gaps; then the low bytes are the packed ones.
    """
    count = _lane(bits)
    words = codes.view(-1).view(_LANE_DTYPES[count])
    for low, used, gap in _halvings(bits):
        words = (words & low) | ((words >> gap) & (low << used))
    packed = words.view(torch.int8).view(-1, count)[:, : count * bits // 8]
    return packed.reshape(codes.shape[0], -1)


def decompress(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Undo `compress`; returns uint8 (rows, K), or int8 where bits < 8."""
    count = _lane(bits)
    lanes = packed.reshape(-1, count * bits // 8).view(torch.uint8)
    if 8 % bits == 0:  # A lane is made of one byte, and `used` <= `gap`: what is shifted meets nothing that stays.
        words = lanes.view(-1).to(_LANE_DTYPES[count])
        for low, used, gap in reversed(_halvings(bits)):
            words |= words << gap
            words &= low | low << (used + gap)
        return words.view(torch.uint8 if bits == 8 else torch.int8).view(packed.shape[0], -1)
    if lanes.shape[1] < count:
        lanes = torch.nn.functional.pad(lanes, (0, count - lanes.shape[1]))
    words = lanes.contiguous().view(-1).view(_LANE_DTYPES[count])
    for low, used, gap in reversed(_halvings(bits)):
        words = (words & low) | ((words & (low << used)) << gap)
    return words.view(torch.uint8 if bits == 8 else torch.int8).view(packed.shape[0], -1)


def _check_source_bits(bits: Any) -> None:
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ConfigError(f"'source_bits' must be an int from 1 to 8 (got {bits!r})", source_bits=bits)


def _check_row_bits(codes: torch.Tensor, bits: int) -> None:
    if codes.ndim == 0:
        raise ConfigError("'weight' must have at least one dimension, (..., K) (got a scalar)", weight=())
    K, step = codes.shape[-1], _lane(bits)
    if K % step:
        raise ConfigError(
            f"the last dimension of 'weight' must be a multiple of {step} so that rows of {bits}-bit codes fill whole "
            f"bytes (got shape {tuple(codes.shape)}, remainder {K % step}); pad K to a multiple of {step}: "
            f"{round_up(K, step)}",
            weight=tuple(codes.shape), source_bits=bits,
        )  # fmt: skip
