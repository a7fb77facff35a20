# SPDX-License-Identifier: Apache-2.0
"""The rules of `bitquant.config.MatmulConfig`: which problems there are. Each error says what to do about it."""

from __future__ import annotations

import math
from typing import Any

from bitquant.arithmetic import round_up
from bitquant.checks import check_bool, check_group_size, check_positive_int, check_rows, check_rung
from bitquant.errors import ConfigError
from bitquant.formats import (
    ACCUM_DTYPES,
    ACTIVATION_DTYPES,
    OUT_DTYPES,
    SCALE_DTYPES,
    WEIGHT_DTYPES,
    canonical_name,
    number_format,
)

__all__ = ["ACTIVATIONS", "check_config"]

#: What may be done to pairs of sums (`bitquant.config.MatmulConfig`).
ACTIVATIONS: tuple[str, ...] = ("silu_mul", "gelu_tanh_mul", "clamped_swiglu")


def check_config(c: Any) -> None:
    """Check every rule of a `bitquant.config.MatmulConfig`, cheapest first.

    Raises
    ------
    ConfigError
        If one is broken.
    """
    check_rows(c.M, "M")
    check_positive_int(c.N, "N")
    check_positive_int(c.K, "K")
    check_rung(c.rows_per_scale, "rows_per_scale")
    canonical_name(c.A_dtype, "A_dtype", ACTIVATION_DTYPES)
    if c.W_dtype is not None:
        canonical_name(c.W_dtype, "W_dtype", WEIGHT_DTYPES)
    canonical_name(c.out_dtype, "out_dtype", OUT_DTYPES)
    canonical_name(c.accum_dtype, "accum_dtype", ACCUM_DTYPES)
    if c.scale_dtype is not None:
        canonical_name(c.scale_dtype, "scale_dtype", SCALE_DTYPES)
    for flag in ("with_bias", "with_scaling", "with_zeros", "with_activation_scale", "with_channel_scale"):
        check_bool(getattr(c, flag), flag)
    for flag in ("fast_decoding", "propagate_a", "propagate_b"):  # BitBLAS has an enumeration for the last two.
        if getattr(c, flag) is not None and not isinstance(getattr(c, flag), (bool, int)):
            raise ConfigError(
                f"{flag!r} must be a bool or None (got {getattr(c, flag)!r:.200})", **{flag: getattr(c, flag)}
            )
    _check_activation(c)
    _check_formats(c)
    _check_groups(c)
    _check_packing(c)


def _check_activation(c: Any) -> None:
    if c.activation is None:
        return
    if not isinstance(c.activation, str) or c.activation not in ACTIVATIONS:
        raise ConfigError(
            f"'activation' must be {', '.join(ACTIVATIONS)} or None (got {c.activation!r:.200})",
            activation=c.activation,
        )
    if c.N % 2:
        raise ConfigError(
            f"'N' must be even with an activation, whose gate and up are rows 2 n and 2 n + 1 of W (got N={c.N}); "
            "interleave the rows of both projections",
            N=c.N, activation=c.activation,
        )  # fmt: skip


def _check_formats(c: Any) -> None:
    a, w = c.A_format, c.W_format
    if w.takes_codebook and c.codebook is None:
        raise ConfigError(
            f"'codebook' must be the values of the 16 codes where W is {w.name} (got None); for example "
            "codebook=tuple(levels.tolist())",
            codebook=None, W_dtype=c.W_dtype,
        )  # fmt: skip
    if a.name not in w.activations and w.activations == (w.name,):
        narrow = [name for name in WEIGHT_DTYPES if number_format(name).levels is not None]
        raise ConfigError(
            f"'W_dtype' {w.name} needs A of the same type (got A_dtype={a.name!r}); "
            f"use A_dtype={w.name!r}, cast the weight to {a.name}, or choose an integer, {', '.join(narrow)} or float8 "
            "format",
            A_dtype=c.A_dtype, W_dtype=c.W_dtype,
        )  # fmt: skip
    if a.is_integer and a.name not in w.activations:
        raise ConfigError(
            f"'W_dtype' must be an integer format where A is int8 (got W_dtype={w.name!r}); "
            "its values are fractions that an integer product cannot hold",
            A_dtype=c.A_dtype, W_dtype=c.W_dtype,
        )  # fmt: skip
    if a.name not in w.activations:
        raise ConfigError(
            f"'W_dtype' {w.name} needs A of type {', '.join(w.activations)} (got A_dtype={a.name!r})",
            A_dtype=c.A_dtype, W_dtype=c.W_dtype,
        )  # fmt: skip
    if c.accum_dtype == "int32" and not a.is_integer:
        raise ConfigError(
            f"'accum_dtype' int32 needs A_dtype='int8' (got A_dtype={a.name!r}); use accum_dtype='float32'",
            accum_dtype=c.accum_dtype, A_dtype=c.A_dtype,
        )  # fmt: skip
    if not isinstance(c.layout, str) or c.layout not in ("nt", "nn"):
        raise ConfigError(f"'layout' must be 'nt' or 'nn' (got {c.layout!r:.200})", layout=c.layout)
    if c.layout == "nn" and (w.is_packed or w != a):
        raise ConfigError(
            f"'layout' nn needs a W that is not quantized (got W_dtype={w.name!r}, A_dtype={a.name!r}); "
            "use layout='nt' and store W as (N, K)",
            layout=c.layout, W_dtype=c.W_dtype,
        )  # fmt: skip
    if not isinstance(c.storage_dtype, str) or c.storage_dtype != "int8":
        raise ConfigError(
            f"'storage_dtype' must be 'int8', the type of every packed weight (got {c.storage_dtype!r:.200})",
            storage_dtype=c.storage_dtype,
        )


def _check_groups(c: Any) -> None:
    g, K = c.group_size, c.K
    check_group_size(g)
    if g is not None and K % g:  # -1 divides everything.
        fits = [s for s in (32, 64, 128, 256) if K % s == 0]
        fix = f"try {', '.join(map(str, fits))} or -1 (one group a row)" if fits else "try -1 (one group a row)"
        raise ConfigError(
            f"'group_size' must divide K (got group_size={g}, K={K}, remainder {K % g}); {fix}", group_size=g, K=K
        )
    if c.with_zeros and (c.rows_per_scale > 1 or c.scale_format.bits == 8):
        what = "rows_per_scale" if c.rows_per_scale > 1 else "scale_dtype"
        got = getattr(c, what)
        raise ConfigError(
            f"{what!r} must be {'1' if what == 'rows_per_scale' else 'a type of 16 or 32 bits'} where there are zero "
            f"points (got {got!r}, with_zeros=True); repeat or widen the scales, or use with_zeros=False",
            **{what: got},
        )
    modes = ("original", "rescale", "quantized")
    is_mode = isinstance(c.zeros_mode, str) and c.zeros_mode in modes
    if not is_mode and (c.with_zeros or c.zeros_mode is not None):
        raise ConfigError(
            f"'zeros_mode' must be one of {', '.join(modes)} (got {c.zeros_mode!r:.200})", zeros_mode=c.zeros_mode
        )
    if c.has_packed_zeros and c.zeros_mode not in c.W_format.zeros_modes:
        raise ConfigError(
            f"'zeros_mode' quantized needs an unsigned W_dtype (got {c.W_format.name!r}); "
            "its zero points are unsigned integers of W's width. Use zeros_mode='original'",
            zeros_mode=c.zeros_mode, W_dtype=c.W_dtype,
        )  # fmt: skip
    if c.with_zeros and c.zeros_mode not in c.W_format.zeros_modes:
        raise ConfigError(
            f"'zeros_mode' must be one of {', '.join(c.W_format.zeros_modes) or 'none'} where W is {c.W_format.name} "
            f"(got {c.zeros_mode!r}); use one of them, or with_zeros=False",
            zeros_mode=c.zeros_mode, W_dtype=c.W_dtype,
        )  # fmt: skip


def _check_sizes(c: Any) -> None:
    """Check that 32-bit indices reach every element."""
    bits = c.W_format.bits
    grouped = c.with_scaling or c.with_zeros
    for what, elements, fix in (
        ("the stored W", c.N * c.K * bits // max(8, bits), "split N over several operators"),
        ("Scale", math.prod(c.scale_shape) if grouped else 0, "use larger groups"),
        ("a row of A", c.K, "split K"),
        ("a row of D", c.N, "split N over several operators"),
        ("A, or D", c.M * max(c.N, c.K) if isinstance(c.M, int) else 0, "use M=None, which takes any m"),
    ):
        if elements >= 2**31:
            raise ConfigError(
                f"{what} must have fewer than 2^31 elements, which 32-bit indices reach "
                f"(got {elements} with M={c.M}, N={c.N}, K={c.K}); {fix}",
                M=c.M, N=c.N, K=c.K,
            )  # fmt: skip


def _check_packing(c: Any) -> None:
    bits = c.W_format.bits
    _check_sizes(c)
    if not c.W_format.is_packed:
        return
    step = next(s for s in (1, 2, 4, 8) if s * bits % 8 == 0)
    if c.K % step:
        raise ConfigError(
            f"'K' must be a multiple of {step} so that rows of {c.W_format.name} fill whole bytes "
            f"(got K={c.K}, remainder {c.K % step}); pad A and W with zeros to K={round_up(c.K, step)}",
            K=c.K, W_dtype=c.W_dtype,
        )  # fmt: skip
    if c.has_packed_zeros and c.N % step:
        raise ConfigError(
            f"'N' must be a multiple of {step} so that packed zero points of {c.W_format.name} fill whole bytes "
            f"(got N={c.N}, remainder {c.N % step}); use zeros_mode='original'",
            N=c.N, W_dtype=c.W_dtype, zeros_mode=c.zeros_mode,
        )  # fmt: skip
