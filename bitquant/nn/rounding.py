# SPDX-License-Identifier: Apache-2.0
"""Rounding: a float weight to the nearest values of a format, group by group."""

from __future__ import annotations

import functools
from typing import Any, Literal, get_args

import torch

from bitquant import packing
from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError
from bitquant.nn.half_quadratic import optimise_zeros
from bitquant.packing.checks import check_finite

__all__ = ["Method", "check_method", "quantize"]

#: How a weight is rounded.
Method = Literal["rtn", "hqq"]

#: Elements rounded at a time: float32 temporaries stay below 64 MiB each.
_CHUNK_ELEMENTS = 1 << 24


def quantize(
    weight: torch.Tensor, config: MatmulConfig, method: Method = "rtn"
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Round a float weight to nearest in the formats of `config`, group by group.

    With the maxima, minima and means taken over a group of `group_size` consecutive k of a row, b the bits of W::

        int2 ... int8        s = max|w| / (2^(b-1) - 1)          value = round(w / s)
        uint1 ... uint8      s = (high - low) / (2^b - 1)        value = clamp(round(w / s + z), 0, 2^b - 1)
                             low = min(min w, 0)                 z = round(-low / s), 0 ... 2^b - 1
                             high = max(max w, 0)                zeros_mode "rescale" stores z * s
        nf4, fp4_e2m1, code4 s = max(high / greatest level,      value = code of the level nearest to w / s
          float6_...                 low / least level)
        float8               s = max|w| / largest number         value = w / s rounded to the format
        int1                 s = mean|w|                         value = -1 where w < 0, else +1
        float16 and wider    no scale                            value = w rounded to the format

    s is rounded up to the type of the scales, so that w / s never leaves the range, also where s is too small for a
    normal number of that type (float8_e8m0 has no zero, and gives 2^-127 for it); then values are made with the s that
    is stored. Integers are so within s / 2 of w, and other formats within half the distance of two levels times s; with
    zeros_mode "rescale" that of the rounding of z * s to its type comes on top. A group of zeros has s = 1 (int1: 0),
    and comes back as zeros.

    With ``method="hqq"`` zero points are fractions, which `bitquant.nn.half_quadratic.optimise_zeros` chooses so that
    the error of a group is small in a norm that forgives outliers. In that norm it is never larger than with "rtn".

    Parameters
    ----------
    weight
        (N, K), of any floating-point type, finite.
    config
        The problem: with_scaling=True for W of up to 8 bits, with_zeros=True for unsigned W; else both False.
    method
        "rtn" rounds to nearest; "hqq" also optimises zero points: for unsigned W whose zeros_mode is not "quantized".

    Returns
    -------
    values
        (N, K): integers in the type of the format, codes where it has levels, else numbers of the format.
    scale
        (N, K / group_size) of the type of the scales, or None.
    zeros
        Zero points as the operator takes them, packed for zeros_mode "quantized"; or None.

    Raises
    ------
    ConfigError
        If `weight` has another shape, is not of floats, or not finite; if `config` has not the scales and zero points
        that the format needs; if `method` has no meaning for it; if a scale is too large for its type.
    """
    _check_method(method, config)
    _check_float_weight(weight, config)
    if config.rows_per_scale > 1 and config.with_scaling:
        raise ConfigError(
            f"'rows_per_scale' must be 1 where a weight is rounded, which gives each row its scales (got "
            f"{config.rows_per_scale}); such weights come from checkpoints",
            rows_per_scale=config.rows_per_scale,
        )
    fmt = config.W_format
    if fmt.bits > 8:
        return weight.detach().to(fmt.torch_dtype), None, None
    device = weight.device
    values = torch.empty((config.N, config.K), dtype=fmt.torch_dtype, device=device)
    scale = torch.empty(config.scale_shape, dtype=config.scale_format.torch_dtype, device=device)
    zeros = torch.empty(config.scale_shape, dtype=torch.float32, device=device)
    step = max(1, _CHUNK_ELEMENTS // config.K)
    for first in range(0, config.N, step):
        rows = slice(first, first + step)
        values[rows], scale[rows], zeros[rows] = _quantize_rows(weight.detach()[rows], config, method)
    if not torch.isfinite(scale.to(torch.float32)).all():
        largest = float(weight.detach().abs().max())
        raise ConfigError(
            f"'weight' is too large for {config.scale_format.name} scales (got values up to {largest:g}); "
            "use scale_dtype='float32'",
            weight=weight,
        )
    if not config.with_zeros:
        return values, scale, None
    if config.has_packed_zeros:
        return values, scale, packing.pack_zeros(zeros.T.to(torch.uint8), config)
    return values, scale, zeros.to(scale.dtype)


def _quantize_rows(
    rows: torch.Tensor, config: MatmulConfig, method: Method
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | float]:
    """Return values, scale and unpacked zero points, 0 where there are none, of a few rows."""
    fmt, scale_type = config.W_format, config.scale_format.torch_dtype
    groups = rows.to(torch.float32).reshape(rows.shape[0], config.num_groups, config.group)
    if fmt.step == 2:  # -1 and +1, and no zero to round to.
        sign = torch.where(groups < 0, -1, 1).to(fmt.torch_dtype)
        return sign.view(rows.shape), _round_up(groups.abs().mean(-1), scale_type), 0.0
    low, high = groups.amin(-1), groups.amax(-1)
    if fmt.is_unsigned:
        low, high = low.clamp(max=0), high.clamp(min=0)
        span, reach = high - low, float(fmt.max_value)
    elif fmt.levels is not None and fmt.min_value != -fmt.max_value:
        # Numbers of a sign that no level has go to the level next to zero.
        ends = ((high, fmt.max_value), (-low, -fmt.min_value))
        spans = [end / torch.full_like(end, level) for end, level in ends if level > 0]
        span, reach = functools.reduce(torch.maximum, spans, torch.zeros_like(low)), 1.0
    else:
        span, reach = torch.maximum(-low, high), float(fmt.max_value)
    # By a tensor: GPUs divide by a number through its reciprocal, which rounds twice.
    wanted = span / torch.full_like(span, reach)
    scale = _round_up(torch.where(span > 0, wanted, 1), scale_type)
    s = scale.to(torch.float32).unsqueeze(-1)
    steps = groups / s
    if fmt.levels is not None:
        steps = steps.clamp(fmt.min_value, fmt.max_value)
        return packing.encode(steps.view(rows.shape), fmt), scale, 0.0
    if not fmt.is_integer:
        return steps.view(rows.shape).to(fmt.torch_dtype), scale, 0.0
    zeros: Any = 0.0
    if config.with_zeros:
        is_rescaled = config.zeros_mode == "rescale"

        def stored(z: torch.Tensor) -> torch.Tensor:
            return (z * s if is_rescaled else z).to(scale_type).to(torch.float32)

        zeros = (-low.unsqueeze(-1) / s).round()
        if method == "hqq":
            zeros = optimise_zeros(
                steps, zeros, int(fmt.max_value), lambda z: stored(z) / s if is_rescaled else stored(z)
            )
        zeros = stored(zeros)
        steps = steps + (zeros / s if is_rescaled else zeros)
        zeros = zeros.squeeze(-1)
    values = steps.round().clamp(fmt.min_value, fmt.max_value)
    return values.view(rows.shape).to(fmt.torch_dtype), scale, zeros


def _round_up(numbers: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return the least numbers of a type that are not below non-negative float32 `numbers`."""
    if dtype is torch.float8_e8m0fnu:
        # The exponent of a float32, carried into by any bit below it. 2^-127 is subnormal there, and the least number.
        bits = numbers.view(torch.int32)
        return torch.where(bits <= 1 << 22, 0, (bits + ((1 << 23) - 1)) >> 23).to(torch.uint8).view(dtype)
    nearest = numbers.to(dtype)
    # The bit pattern of the next number above a non-negative one is the next integer.
    bits = nearest.view({1: torch.uint8, 2: torch.int16, 4: torch.int32}[dtype.itemsize])
    return (bits + (nearest.to(torch.float32) < numbers)).view(dtype)


def check_method(method: Any) -> None:
    """Check how a weight is rounded.

    Raises
    ------
    ConfigError
        If there is no such way.
    """
    if not isinstance(method, str) or method not in get_args(Method):
        raise ConfigError(f"'method' must be 'rtn' or 'hqq' (got {method!r:.80})", method=method)


def _check_method(method: Any, config: MatmulConfig) -> None:
    check_method(method)
    if method == "hqq" and (not config.W_format.is_unsigned or config.zeros_mode == "quantized"):
        raise ConfigError(
            "'method' hqq needs fractional zero points, an unsigned W with zeros_mode 'original' or 'rescale' "
            f"(got W_dtype={config.W_format.name!r}, zeros_mode={config.zeros_mode!r}); use method='rtn'",
            method=method, W_dtype=config.W_dtype, zeros_mode=config.zeros_mode,
        )  # fmt: skip


def _check_float_weight(weight: Any, config: MatmulConfig) -> None:
    fmt = config.W_format
    if not isinstance(weight, torch.Tensor) or not weight.is_floating_point():
        got = weight.dtype if isinstance(weight, torch.Tensor) else type(weight).__name__
        raise ConfigError(f"'weight' must be a tensor of floats (got {got})", weight=weight)
    if tuple(weight.shape) != (config.N, config.K):
        raise ConfigError(
            f"'weight' must have shape (N, K) = {(config.N, config.K)} (got {tuple(weight.shape)})", weight=weight
        )
    for flag, needed in (("with_scaling", fmt.bits <= 8), ("with_zeros", fmt.is_unsigned)):
        if getattr(config, flag) != needed:
            raise ConfigError(
                f"{flag!r} must be {needed} to quantize to {fmt.name} (got {getattr(config, flag)})",
                **{flag: getattr(config, flag), "W_dtype": config.W_dtype},
            )
    check_finite(weight)
