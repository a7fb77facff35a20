# SPDX-License-Identifier: Apache-2.0
"""Meaning: values <-> codes."""

from __future__ import annotations

import numpy as np
import torch

from bitquant.errors import ConfigError
from bitquant.formats import NumberFormat
from bitquant.packing.arrays import map_rows, to_tensor
from bitquant.packing.checks import check_codes, check_values

__all__ = ["decode", "encode"]


def encode(weight: torch.Tensor | np.ndarray, fmt: NumberFormat) -> torch.Tensor:
    """Turn values into what is stored for them: unsigned codes for packed formats, else elements of the format's type.

    ===============  ============================================  ===================================================
    format           input                                         result
    ===============  ============================================  ===================================================
    uint1 ... uint7  integers                                      int8, w
    int2 ... int7    integers                                      int8, w + 2^(bits - 1)
    int1             integers -1 and +1                            int8, (w + 1) / 2
    uint8, int8      integers                                      the type itself
    levels           integers: codes 0 ... 2^bits - 1              int8, the codes
    levels           floats                                        int8, code of the nearest level
    float8           floats                                        rounded to nearest; its own type passes untouched
    float8           int8, uint8: bit patterns (as in BitBLAS)     the same bits
    float16 ...      floats, integers                              rounded to nearest; its own type passes untouched
    ===============  ============================================  ===================================================

    Levels are those of nf4, code4, fp4_e2m1, float6_e3m2 and float6_e2m3 (`NumberFormat.levels`). A float that lies
    midway between two levels takes the lower one. A float that rounds to zero
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
        return fmt.encode(values)
    rows = values.reshape(1) if values.ndim == 0 else values
    codes = map_rows(rows, rows.shape[-1], torch.int8, lambda chunk: fmt.encode(chunk).view(torch.int8))
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
        Same shape and device; int8 for packed integers, float32 for levels (nf4 ...); else `codes` itself.

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
    values = map_rows(rows, rows.shape[-1], fmt.value_dtype, lambda chunk: fmt.decode(chunk.to(torch.int8)))
    return values.reshape(stored.shape)
