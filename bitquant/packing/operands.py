# SPDX-License-Identifier: Apache-2.0
"""Whole operands: a weight, and its packed zero points, as an operator stores them in the plain layout."""

from __future__ import annotations

import numpy as np
import torch

from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError
from bitquant.packing.arrays import map_rows, to_tensor
from bitquant.packing.bits import compress, compress_rows, decompress, general_decompress
from bitquant.packing.checks import check_codes, check_dtype, check_shape, check_values

__all__ = ["checked_weight", "pack", "pack_zeros", "unpack", "unpack_zeros"]


def pack(weight: torch.Tensor | np.ndarray, config: MatmulConfig) -> torch.Tensor:
    """Turn a weight into the tensor that an operator of `config` stores, in the plain layout.

    Parameters
    ----------
    weight
        Values as `encode` takes them, shape (N, K); (K, N) for layout "nn".
    config
        The problem.

    Returns
    -------
    torch.Tensor
        Shape ``config.W_shape``, type ``config.W_format.torch_dtype``, contiguous, on the device of `weight`.

    Raises
    ------
    ConfigError
        If the shape is another one, or as `encode` says.
    """
    values, fmt = checked_weight(weight, config), config.W_format
    if not fmt.is_packed:
        return fmt.encode(values).contiguous()
    return map_rows(values, config.W_shape[1], torch.int8, lambda rows: compress(fmt.encode(rows), fmt.bits))


def checked_weight(weight: torch.Tensor | np.ndarray, config: MatmulConfig) -> torch.Tensor:
    """Return values that can be packed.

    Raises
    ------
    ConfigError
        As `pack` does.
    """
    values = to_tensor(weight, "weight")
    check_shape(values, _value_shape(config), "weight", "(N, K)" if config.layout == "nt" else "(K, N)")
    check_values(values, config.W_format)
    return values


def unpack(qweight: torch.Tensor | np.ndarray, config: MatmulConfig) -> torch.Tensor:
    """Return the values of a weight in the plain layout, the inverse of `pack`.

    Parameters
    ----------
    qweight
        Shape ``config.W_shape``, type ``config.W_format.torch_dtype``.
    config
        The problem.

    Returns
    -------
    torch.Tensor
        Shape (N, K), or (K, N) for layout "nn"; int8 for packed integers, float32 for levels (nf4 ...), else `qweight`.

    Raises
    ------
    ConfigError
        If shape or type are other ones.
    """
    stored = to_tensor(qweight, "qweight")
    fmt = config.W_format
    check_shape(stored, config.W_shape, "qweight", "the packed (N, K * bits / 8)" if fmt.is_packed else "the stored W")
    check_dtype(stored, fmt.torch_dtype, "qweight")
    if not fmt.is_packed:
        return stored
    width = _value_shape(config)[1]
    return map_rows(stored, width, fmt.value_dtype, lambda rows: fmt.decode(decompress(rows, fmt.bits)))


def pack_zeros(zeros: torch.Tensor | np.ndarray, config: MatmulConfig) -> torch.Tensor:
    """Pack integer zero points for zeros_mode "quantized".

    Parameters
    ----------
    zeros
        Integers 0 ... 2^bits - 1 of W's width, shape (K / group_size, N): transposed, as BitBLAS stores them. Not
        (N, K / group_size), the shape of Scale.
    config
        The problem.

    Returns
    -------
    torch.Tensor
        Shape ``config.zeros_shape``, (K / group_size, N * bits / 8), int8, packed along N.

    Raises
    ------
    ConfigError
        If a zero point is out of range, the shape is another one, or `config` has no packed zero points.
    """
    _check_has_packed_zeros(config)
    values = to_tensor(zeros, "zeros")
    check_shape(values, (config.num_groups, config.N), "zeros", "(K / group_size, N)")
    check_codes(values, config.W_format.bits, "zeros", "use zeros_mode='original', which takes any number")
    return compress_rows(values, config.W_format.bits)


def unpack_zeros(qzeros: torch.Tensor | np.ndarray, config: MatmulConfig) -> torch.Tensor:
    """Return the integers of packed zero points, the inverse of `pack_zeros`.

    Parameters
    ----------
    qzeros
        Shape ``config.zeros_shape``, int8.
    config
        The problem.

    Returns
    -------
    torch.Tensor
        Integers 0 ... 2^bits - 1, shape (K / group_size, N), int8; uint8 where W has 8 bits.

    Raises
    ------
    ConfigError
        If shape or type are other ones, or `config` has no packed zero points.
    """
    _check_has_packed_zeros(config)
    stored = to_tensor(qzeros, "qzeros")
    check_shape(stored, config.zeros_shape, "qzeros", "(K / group_size, N * bits / 8)")
    check_dtype(stored, torch.int8, "qzeros")
    return general_decompress(stored, config.W_format.bits)


def _value_shape(config: MatmulConfig) -> tuple[int, int]:
    return (config.N, config.K) if config.layout == "nt" else (config.K, config.N)


def _check_has_packed_zeros(config: MatmulConfig) -> None:
    if not config.has_packed_zeros:
        raise ConfigError(
            "packed zero points need with_zeros=True and zeros_mode='quantized' "
            f"(got with_zeros={config.with_zeros}, zeros_mode={config.zeros_mode!r}); other modes take Zeros as it is",
            with_zeros=config.with_zeros, zeros_mode=config.zeros_mode,
        )  # fmt: skip
