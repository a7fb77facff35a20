# SPDX-License-Identifier: Apache-2.0
"""Number formats: one class says all that kernels, packing, layouts and tests need to know of one.

`base` has the class, `registers` and `words` what decoding in registers is made of, `registry` the names. A format is a
file: `integers`, `floats`, `float8`, `small_floats`, `codebooks`.
"""

from __future__ import annotations

from bitquant.formats.base import ACTIVATION_DTYPES, NumberFormat, ZerosMode
from bitquant.formats.registry import (
    ACCUM_DTYPES,
    OUT_DTYPES,
    SCALE_DTYPES,
    WEIGHT_DTYPES,
    canonical_name,
    number_format,
)

__all__ = [
    "ACCUM_DTYPES",
    "ACTIVATION_DTYPES",
    "OUT_DTYPES",
    "SCALE_DTYPES",
    "WEIGHT_DTYPES",
    "NumberFormat",
    "ZerosMode",
    "canonical_name",
    "number_format",
]
