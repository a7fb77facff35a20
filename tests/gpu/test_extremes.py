# SPDX-License-Identifier: Apache-2.0
"""On the GPU what `tests/unit/test_extremes.py` asks of the CPU: saturation, NaN among integers, infinities."""

from __future__ import annotations

import pytest

from tests.unit.test_extremes import (
    INTEGERS,
    check_every_code_of_a_scale,
    check_integers_of_what_is_no_number,
    check_integers_saturate,
    check_not_finite_stays_in_its_row,
    check_subnormals_count,
)

PLAIN = {"fast_decoding": False}


@pytest.mark.parametrize("out_dtype", INTEGERS)
@pytest.mark.parametrize("W_dtype", ["int8", "uint4"])
def test_integers_saturate(W_dtype, out_dtype):
    """The sum of two int32 has 33 bits: it does not wrap."""
    check_integers_saturate("cuda", W_dtype, out_dtype)


@pytest.mark.parametrize("out_dtype", INTEGERS)
@pytest.mark.parametrize("fields", [{}, {"A_dtype": "float32"}, {"with_scaling": True}, PLAIN], ids=str)
def test_integers_of_what_is_no_number(fields, out_dtype):
    """There is no NaN among integers: it is 0."""
    check_integers_of_what_is_no_number("cuda", out_dtype, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"W_dtype": "uint4"},
        {"W_dtype": "uint4", **PLAIN},
        {"W_dtype": "uint2", "with_zeros": True},
        {"W_dtype": "uint2", "with_zeros": True, **PLAIN},
        {"W_dtype": "nf4", "A_dtype": "bfloat16"},
    ],
    ids=str,
)
def test_not_finite_stays_in_its_row(fields):
    """What no number is can be seen in the result of its row, and there alone."""
    check_not_finite_stays_in_its_row("cuda", **fields)


@pytest.mark.parametrize("out_dtype", ["float16", "float32"])
@pytest.mark.parametrize("fields", [{}, PLAIN], ids=str)
def test_subnormals_count(fields, out_dtype):
    """Nothing is flushed to zero."""
    check_subnormals_count("cuda", out_dtype=out_dtype, **fields)


@pytest.mark.parametrize("fields", [{}, {"rows_per_scale": 24}, PLAIN, {"group_size": 64}], ids=str)
@pytest.mark.parametrize("scale_dtype", ["float8_e8m0", "float8_e4m3"])
def test_every_code_of_a_scale(scale_dtype, fields):
    """Scales of 8 bits are exact in every kernel, also where rows share them."""
    check_every_code_of_a_scale("cuda", scale_dtype, exponents=(-96, 96), **fields)
