# SPDX-License-Identifier: Apache-2.0
"""Packing as BitBLAS's clients call it: NumPy arrays, integers in floats, any storage type."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from bitquant import packing
from bitquant.errors import ConfigError
from bitquant.packing.arrays import Array

__all__ = ["general_compress", "integers"]


def general_compress(lowprecision_weight: Array, source_bits: int = 4, storage_dtype: Any = np.int8) -> Array:
    """Pack unsigned codes into bytes, as `bitquant.general_compress` does.

    Parameters
    ----------
    lowprecision_weight
        Codes 0 ... 2^source_bits - 1, (..., K): an array or a tensor, of integers or of floats that
        hold integers.
    source_bits
        Bits a code, 1 to 8. Widths other than 1, 2, 4 and 8, which BitBLAS packs 8 // source_bits a
        byte, are dense.
    storage_dtype
        Type that the bytes are read as: NumPy's, torch's, or a name.

    Returns
    -------
    numpy.ndarray or torch.Tensor
        (..., K * source_bits / 8 / bytes of the type), what the codes were.

    Raises
    ------
    ConfigError
        If a code is out of range (BitBLAS ors it into its neighbours) or no integer, or bytes are
        left over.
    """
    packed = packing.general_compress(integers(lowprecision_weight, "lowprecision_weight"), source_bits)
    name = str(storage_dtype).removeprefix("torch.") if isinstance(storage_dtype, torch.dtype) else storage_dtype
    wanted = np.dtype(name)
    if packed.shape[-1] % wanted.itemsize:
        raise ConfigError(
            f"'storage_dtype' {wanted} needs rows of a multiple of {wanted.itemsize} bytes (got {packed.shape[-1]})",
            storage_dtype=storage_dtype,
        )
    return packed.view(getattr(torch, wanted.name)) if isinstance(packed, torch.Tensor) else packed.view(wanted)


def integers(array: Array, argument: str) -> Array:
    """Return integers that stand in floats as integers; whatever else as it is.

    Raises
    ------
    ConfigError
        If a float is no integer, or needs more than 16 bits.
    """
    if isinstance(array, torch.Tensor):
        if not array.is_floating_point():
            return array
        whole: Array = array.detach().to(torch.int16)
        same = bool((whole == array).all())
    elif isinstance(array, np.ndarray) and array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int16)
        same = bool((whole == array).all())
    else:
        return array
    if not same:
        raise ConfigError(
            f"{argument!r} must hold integers where W is of integers (got {array.dtype} values that are none); "
            "round it first",
            **{argument: array.dtype},
        )
    return whole
