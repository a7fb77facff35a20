"""Meaning: values <-> codes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch

from bitquant.dtypes import NumberFormat
from bitquant.errors import ConfigError
from bitquant.packing.arrays import map_rows, to_tensor
from bitquant.packing.checks import FLOAT8_DTYPES, check_codes, check_values

__all__ = ["cast", "decode", "decode_rows", "encode", "encode_rows", "value_dtype"]


def encode(weight: torch.Tensor | np.ndarray, fmt: NumberFormat) -> torch.Tensor:
    """Turn values into what is stored for them: unsigned codes for packed formats, else elements of the format's type.

    ===============  ============================================  ===================================================
    format           input                                         result
    ===============  ============================================  ===================================================
    uint1 ... uint7  integers                                      int8, w
    int2 ... int7    integers                                      int8, w + 2^(bits - 1)
    int1             integers -1 and +1                            int8, (w + 1) / 2
    uint8, int8      integers                                      the type itself
    nf4, fp4_e2m1    integers: codes 0 ... 15                      int8, the codes
    nf4, fp4_e2m1    floats                                        int8, code of the nearest level
    float8           floats                                        rounded to nearest; its own type passes untouched
    float8           int8, uint8: bit patterns (as in BitBLAS)     the same bits
    float16 ...      floats, integers                              rounded to nearest; its own type passes untouched
    ===============  ============================================  ===================================================

    A float that lies midway between two levels of nf4 or fp4_e2m1 takes the lower level. A float that rounds to zero
    takes the zero of its own sign where the format has two.

    Parameters
    ----------
    weight
        Values of any shape, on any device.
    fmt
        The format to store them in.

    Returns
    -------
    torch.Tensor
        Same shape and device; int8 for packed formats, else ``fmt.torch_dtype``.

    Raises
    ------
    ConfigError
        If a value is NaN or is not within half a step of the format's range, or the type of `weight` does not fit the
        format.
    """
    values = to_tensor(weight, "weight")
    check_values(values, fmt)
    if not fmt.is_packed:
        return cast(values, fmt)
    rows = values.reshape(1) if values.ndim == 0 else values
    codes = map_rows(rows, rows.shape[-1], torch.int8, lambda chunk: encode_rows(chunk, fmt).view(torch.int8))
    return codes.reshape(values.shape)


def decode(codes: torch.Tensor | np.ndarray, fmt: NumberFormat) -> torch.Tensor:
    """Turn what is stored, one element a number, into values, the inverse of `encode`.

    Parameters
    ----------
    codes
        Codes 0 ... 2^bits - 1 of any integer type for packed formats, else a tensor of the format's own type.
    fmt
        Their format.

    Returns
    -------
    torch.Tensor
        Same shape and device; int8 for packed integers, float32 for nf4 and fp4_e2m1; else `codes` itself.

    Raises
    ------
    ConfigError
        If a code is out of range or `codes` has another type.
    """
    stored = to_tensor(codes, "codes")
    if not fmt.is_packed:
        if stored.dtype != fmt.torch_dtype:
            raise ConfigError(
                f"'codes' of {fmt.name} must be {fmt.torch_dtype} (got {stored.dtype})", codes=stored.dtype
            )
        return stored
    check_codes(stored, fmt.bits, "codes")
    rows = stored.reshape(1) if stored.ndim == 0 else stored
    values = map_rows(rows, rows.shape[-1], value_dtype(fmt), lambda chunk: decode_rows(chunk.to(torch.int8), fmt))
    return values.reshape(stored.shape)


def value_dtype(fmt: NumberFormat) -> torch.dtype:
    """Return the type of what `decode` gives."""
    return torch.float32 if fmt.codebook else fmt.torch_dtype


def encode_rows(values: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """Return contiguous uint8 codes of values known to be in range."""
    if fmt.codebook is not None and values.is_floating_point():
        return _nearest_code(values, fmt.codebook)
    codes = values.to(torch.int8, memory_format=torch.contiguous_format) + fmt.code_offset
    return (codes >> 1 if fmt.name == "int1" else codes).view(torch.uint8)


def decode_rows(codes: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """Return the values of int8 codes known to be in range."""
    if fmt.codebook is not None:
        levels = torch.tensor(fmt.codebook, dtype=torch.float32, device=codes.device)
        return levels.index_select(0, codes.reshape(-1).to(torch.int32)).view(codes.shape)
    if fmt.name == "int1":
        return codes * 2 - 1
    return codes - fmt.code_offset


def _nearest_code(values: torch.Tensor, codebook: tuple[float, ...]) -> torch.Tensor:
    """Return the uint8 code of the level nearest to each value; the lower one of two as near."""
    levels = sorted(set(codebook))  # -0.0 and 0.0 are one level here.
    # float64 holds every midpoint exactly, so that no value between two levels goes to the farther one.
    midpoints = torch.tensor(
        [(a + b) / 2 for a, b in itertools.pairwise(levels)], dtype=torch.float64, device=values.device
    )
    code_of = torch.tensor([codebook.index(level) for level in levels], dtype=torch.uint8, device=values.device)
    wide = values.to(torch.float64, memory_format=torch.contiguous_format)
    nearest = torch.bucketize(wide, midpoints, out_int32=True)
    codes = code_of.index_select(0, nearest.view(-1)).view(values.shape)
    zero = codebook.index(0.0)
    negative_zero = next((i for i, level in enumerate(codebook) if level == 0 and math.copysign(1, level) < 0), None)
    if negative_zero is not None:
        codes.masked_fill_((codes == zero) & torch.signbit(wide), negative_zero)
    return codes


def cast(values: torch.Tensor, fmt: NumberFormat) -> torch.Tensor:
    """Return values known to be in range as a tensor of a format of 8 bits and more."""
    if fmt.torch_dtype in FLOAT8_DTYPES and not values.is_floating_point():
        return values.view(fmt.torch_dtype)
    return values.to(fmt.torch_dtype)
