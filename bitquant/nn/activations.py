"""Activations of 8 bits: each token, a row of the input, is rounded with a scale of its own."""

from __future__ import annotations

import torch

from bitquant.dtypes import number_format

__all__ = ["quantize_tokens"]

#: Least maximum of |x| that a scale is made of, so that a token of zeros has a finite one.
_LEAST = 1e-30


def quantize_tokens(x: torch.Tensor, dtype: str, least: float = _LEAST) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each token to 8 bits, x ~ x' / s.

    ::

        s  = L / max(max|x|, least)       one number a token; L = 127, or the largest number of a float8
        x' = clamp(round(x * s))          int8: to integers, -128 ... 127; float8: to the numbers of the format

    All of it is computed in float32, and has no gradient. It is a handful of operations of torch, which torch.compile
    makes one kernel of.

    Parameters
    ----------
    x
        (..., K) of a floating-point type.
    dtype
        int8, float8_e4m3 or float8_e5m2.
    least
        What the maximum of a token counts as where it is smaller.

    Returns
    -------
    values
        x', (..., K), contiguous.
    factor
        s, (..., 1) float32; the activation scale of an operator is 1 / s.
    """
    fmt = number_format(dtype)
    wide = x.detach().to(torch.float32)  # float16 does not hold 127 / 1e-5.
    limit = 127.0 if fmt.is_integer else torch.finfo(fmt.torch_dtype).max
    factor = limit / wide.abs().amax(-1, keepdim=True).clamp(min=least)
    scaled = wide * factor
    # The product may be a rounding above the limit, which float8 would take for NaN or infinity.
    scaled = scaled.round().clamp(-128, 127) if fmt.is_integer else scaled.clamp(-limit, limit)
    return scaled.to(fmt.torch_dtype, memory_format=torch.contiguous_format), factor
