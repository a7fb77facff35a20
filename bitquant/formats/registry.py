# SPDX-License-Identifier: Apache-2.0
"""Every format by its name.

A format is listed in ``FORMATS`` of the file that defines it, and that file here. Everything else follows:
`MatmulConfig`, packing, layouts, kernels, and the tests that each format gets.
"""

from __future__ import annotations

from collections.abc import Sequence

from bitquant.errors import ConfigError
from bitquant.formats import codebooks, float8, floats, integers, small_floats
from bitquant.formats.base import ACTIVATION_DTYPES, NumberFormat
from bitquant.spelling import did_you_mean

__all__ = ["ACCUM_DTYPES", "OUT_DTYPES", "SCALE_DTYPES", "WEIGHT_DTYPES", "canonical_name", "number_format"]

_FORMATS: dict[str, NumberFormat] = {
    fmt.name: fmt for module in (floats, float8, integers, codebooks, small_floats) for fmt in module.FORMATS
}
_ALIASES = {alias: fmt.name for fmt in _FORMATS.values() for alias in fmt.aliases}

#: Formats of W: those of A, and all others of at most 8 bits.
WEIGHT_DTYPES: tuple[str, ...] = (
    *ACTIVATION_DTYPES,
    *(fmt.name for fmt in _FORMATS.values() if fmt.bits <= 8 and fmt.activations and fmt.name not in ACTIVATION_DTYPES),
)
ACCUM_DTYPES: tuple[str, ...] = ("float16", "float32", "int32")
OUT_DTYPES: tuple[str, ...] = ("float16", "bfloat16", "float32", "int32", "int8")
SCALE_DTYPES: tuple[str, ...] = ("float16", "bfloat16", "float32", "float8_e8m0", "float8_e4m3")


def canonical_name(name: str, argument: str, allowed: tuple[str, ...]) -> str:
    """Return the canonical spelling of a dtype name.

    Raises
    ------
    ConfigError
        If `name` is not the name (or another accepted spelling) of one of `allowed`; it suggests the nearest one.
    """
    if not isinstance(name, str):
        meant = str(name).removeprefix("torch.")
        meant = _ALIASES.get(meant, meant)
        raise ConfigError(
            f"{argument!r} must be a string (got {name!r:.200} of type {type(name).__name__}); "
            f"for example {argument}={(meant if meant in allowed else allowed[0])!r}",
            **{argument: name},
        )
    canonical = _ALIASES.get(name, name)
    if canonical in allowed:
        return canonical
    raise ConfigError(
        f"{argument!r} must be one of {', '.join(allowed)} (got {name!r:.200}){did_you_mean(name, allowed, _ALIASES)}",
        **{argument: name},
    )


def number_format(name: str, codebook: Sequence[float] | None = None) -> NumberFormat:
    """Return the format of that name, in any accepted spelling, with the levels of a `codebook` if it takes one.

    Raises
    ------
    ConfigError
        If no format has that name, or `codebook` does not go with it.
    """
    canonical = _ALIASES.get(name, name) if isinstance(name, str) else name
    try:
        fmt = _FORMATS[canonical]
    except (KeyError, TypeError):
        canonical_name(name, "dtype", tuple(_FORMATS))
        raise
    return fmt if codebook is None else fmt.with_codebook(codebook)
