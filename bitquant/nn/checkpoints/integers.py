# SPDX-License-Identifier: Apache-2.0
"""Unsigned codes with integer zero points, as GPTQ, AWQ and compressed-tensors have them."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["integer_fields", "signed_values"]


def signed_values(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Return codes - 2^(bits - 1) as int8, for codes of int8, or uint8 where bits is 8."""
    if bits == 8:
        return (codes ^ 0x80).view(torch.int8)
    return codes - (1 << (bits - 1))


def integer_fields(codes: torch.Tensor, zeros: torch.Tensor | None, bits: int) -> dict[str, Any]:
    """Return values, W_dtype, zeros and zeros_mode of a `QuantizedWeight` for W = (code - zero) * scale.

    Zero points that are all 2^(bits - 1), what symmetric packers write, make a signed weight
    without any: the same differences, and nothing to read or subtract.

    Parameters
    ----------
    codes
        (N, K), 0 ... 2^bits - 1.
    zeros
        (N, groups), 0 ... 2^bits - 1; None for symmetric ones.
    bits
        Bits a code, 1 to 8.
    """
    if zeros is None or bool((zeros == 1 << (bits - 1)).all()):
        return {"values": signed_values(codes, bits), "W_dtype": f"int{bits}"}
    return {
        "values": codes,
        "W_dtype": f"uint{bits}",
        "zeros": zeros.to(torch.uint8).contiguous(),
        "zeros_mode": "quantized",
    }
