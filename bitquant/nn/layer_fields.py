# SPDX-License-Identifier: Apache-2.0
"""The keyword arguments that construct a layer: of a config that there is, and for a weight that is rounded."""

from __future__ import annotations

from typing import Any

import torch

from bitquant.checks import check_group_size
from bitquant.config import MatmulConfig, ZerosMode
from bitquant.errors import ConfigError
from bitquant.formats import ACTIVATION_DTYPES, WEIGHT_DTYPES, canonical_name, number_format

__all__ = ["constructor_fields", "rounded_fields"]


def constructor_fields(config: MatmulConfig, *, quantize_activations: bool, with_permutation: bool) -> dict[str, Any]:
    """Return the keyword arguments, other than sizes, bias, target and tuning, of a `Linear` with that config.

    Only what differs from the defaults is named; all of it can be written as JSON.
    """
    c = config
    values = {
        "A_dtype": c.A_format.name,
        "W_dtype": c.W_format.name,
        "accum_dtype": c.accum_dtype,
        "out_dtype": c.out_format.name,
        "group_size": c.group if c.group != c.K else -1,
        "with_scaling": c.with_scaling,
        "with_zeros": c.with_zeros,
        "zeros_mode": c.zeros_mode if c.with_zeros else None,
        "opt_M": c.M if c.M is None or isinstance(c.M, int) else list(c.M),
        "scale_dtype": c.scale_dtype,
        "with_activation_scale": c.with_activation_scale,
        "with_channel_scale": c.with_channel_scale,
        "quantize_activations": quantize_activations,
        "with_permutation": with_permutation,
        "codebook": None if c.codebook is None else list(c.W_format.levels or ()),
        "rows_per_scale": c.rows_per_scale if c.rows_per_scale > 1 else None,
    }
    defaults = dict.fromkeys(("A_dtype", "W_dtype", "accum_dtype", "out_dtype"), "float16")
    stated = {name: value for name, value in values.items() if value not in (None, False, defaults.get(name))}
    if stated.get("group_size") == -1:
        del stated["group_size"]
    if c.wants_plain_layout:
        stated["fast_decoding"] = False
    return stated


def rounded_fields(
    linear: torch.nn.Linear,
    W_dtype: str,
    group_size: int | None,
    A_dtype: str | None,
    out_dtype: str | None,
    zeros_mode: ZerosMode | None,
) -> dict[str, Any]:
    """Return the keyword arguments, other than sizes and bias, of a `Linear` with the weight of `linear` rounded.

    Where A has 8 bits and a row of the weight is one group, its scale is a channel scale, which the end of the product
    applies.

    Parameters
    ----------
    linear, W_dtype, group_size, A_dtype, out_dtype, zeros_mode
        As in `Linear.from_float`.

    Raises
    ------
    ConfigError
        If there is no such type, `group_size` is none, or `zeros_mode` is given for a format without zero points.
    """
    check_group_size(group_size)
    own_type = str(linear.weight.dtype).removeprefix("torch.")
    W = number_format(canonical_name(W_dtype, "W_dtype", WEIGHT_DTYPES))
    A = number_format(canonical_name(own_type if A_dtype is None else A_dtype, "A_dtype", ACTIVATION_DTYPES))
    with_zeros = W.is_unsigned
    if zeros_mode is not None and not with_zeros:
        raise ConfigError(
            f"'zeros_mode' must be None where W has no zero points (got {zeros_mode!r} and W_dtype={W.name!r}); "
            "use an unsigned format, or leave it out",
            zeros_mode=zeros_mode, W_dtype=W_dtype,
        )  # fmt: skip
    is_grouped = group_size not in (None, -1, linear.in_features)
    by_row = A.bits == 8 and not is_grouped and (not with_zeros or zeros_mode == "quantized")
    return {
        "A_dtype": A.name,
        "W_dtype": W_dtype,
        "out_dtype": own_type if out_dtype is None else out_dtype,
        "group_size": group_size if W.bits <= 8 else None,
        "with_scaling": W.bits <= 8 and not by_row,
        "with_zeros": with_zeros,
        "zeros_mode": zeros_mode,
        "quantize_activations": A.bits == 8,
        "with_channel_scale": by_row,
    }
