# SPDX-License-Identifier: Apache-2.0
"""Activations of 8 bits: each token, a row of the input, is rounded with a scale of its own."""

from __future__ import annotations

from collections.abc import Collection

import torch
from tvm.target import Target

from bitquant.compute.tokens import TokenConfig
from bitquant.operator import dispatch
from bitquant.operator.tokens import TokenKernel, x_name

__all__ = ["quantize_tokens", "token_kernels"]

#: Least maximum of |x| that a scale is made of, so that a token of zeros has a finite one.
_LEAST = 1e-30


def quantize_tokens(
    x: torch.Tensor,
    dtype: str,
    least: float = _LEAST,
    *,
    inverse: bool = False,
    weight_scale: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each token to 8 bits, x ~ x' / s.

    ::

        s  = 1 / max(max|x|, least) * L     one number a token; L = 127, or the largest number of a float8
        x' = round(x * s)                   int8: to integers, -127 ... 127; float8: to the numbers of the format

    All of it is computed in float32, each operation rounded to nearest even, with the same bits on a CPU, on a GPU, in
    eager mode and under torch.compile. It is one kernel, which bitquant compiles (`bitquant.schedule.tokens`), and has
    no gradient.

    A token that holds NaN has the factor NaN; one that holds infinity has the factor 0. Its x' is 0 in int8, and in
    float8 NaN wherever x * s is; a product that is scaled by 1 / s is NaN either way. Other tokens are not touched.

    Parameters
    ----------
    x
        (..., K) of a floating-point type, of any strides. Other types than float16, bfloat16 and float32 are made
        float32 first.
    dtype
        int8, float8_e4m3 or float8_e5m2.
    least
        What the maximum of a token counts as where it is smaller.
    inverse
        Whether to return 1 / s, the activation scale of an operator, in place of s.
    weight_scale
        A factor of the weight, (1,) float32, for which 1 / (s * weight_scale) is returned; needs `inverse`.

    Returns
    -------
    values
        x', (..., K), contiguous.
    factor
        s, 1 / s or 1 / (s * weight_scale), (..., 1) float32.

    Raises
    ------
    CallError
        If x is no dense tensor of floats with at least one column, `dtype` another type, `least` so small that s is no
        float32, or `weight_scale` does not fit.
    """
    return dispatch.quantize_tokens(x, weight_scale, dtype, least, inverse)


def token_kernels(
    dtypes: Collection[torch.dtype], dtype: str, K: int, target: str | Target | None, with_weight_scale: bool = False
) -> list[TokenKernel]:
    """Return the kernels that round tokens of these types, with K elements each, for `prepare_model`.

    Parameters
    ----------
    dtypes, dtype, K
        Types of x, type of x', elements of a token.
    target
        What the layer's own kernels are for; None: the device on which it is.
    with_weight_scale
        Whether calls pass a `weight_scale`.
    """
    configs = dict.fromkeys(TokenConfig(x_name(x_dtype), dtype, with_weight_scale) for x_dtype in dtypes)
    return [TokenKernel(config, K, target) for config in configs]
