"""The tables of number formats, against their specifications and against torch."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch

from bitquant import dtypes
from bitquant.dtypes import FP4_E2M1_VALUES, NF4_VALUES, WEIGHT_DTYPES, canonical_name, number_format
from bitquant.errors import ConfigError


def test_every_listed_name_has_a_format_of_that_name():
    """All names that a config accepts lead to a format that carries the name."""
    listed = {*dtypes.ACTIVATION_DTYPES, *WEIGHT_DTYPES, *dtypes.OUT_DTYPES, *dtypes.ACCUM_DTYPES, *dtypes.SCALE_DTYPES}
    assert {name: number_format(name).name for name in listed} == {name: name for name in listed}


def test_weight_formats_are_the_documented_ones_without_repetition():
    """W has every integer width from 1 to 8, two 4-bit codes, two float8 and three native floats."""
    integers = {f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 9)}
    floats = {"float16", "bfloat16", "float32", "float8_e4m3", "float8_e5m2"}
    assert set(WEIGHT_DTYPES) == integers | floats | {"nf4", "fp4_e2m1"}
    assert len(WEIGHT_DTYPES) == len(set(WEIGHT_DTYPES))


@pytest.mark.parametrize("bits", range(1, 9))
def test_unsigned_range(bits):
    """An unsigned format of N bits holds 0 to 2^N - 1 and is its own code."""
    fmt = number_format(f"uint{bits}")
    assert (fmt.min_value, fmt.max_value, fmt.code_offset, fmt.bits) == (0, 2**bits - 1, 0, bits)


@pytest.mark.parametrize("bits", range(2, 9))
def test_signed_range(bits):
    """A signed format is two's complement; below 8 bits its codes start at zero."""
    fmt = number_format(f"int{bits}")
    assert (fmt.min_value, fmt.max_value) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert fmt.code_offset == (2 ** (bits - 1) if bits < 8 else 0)


def test_int1_holds_minus_one_and_one():
    """int1 is the sign of BitNet: -1 and 1."""
    fmt = number_format("int1")
    assert (fmt.min_value, fmt.max_value, fmt.bits) == (-1, 1, 1)


def test_formats_that_need_a_table():
    """fp4_e2m1 has a codebook, too, but its bits are a small float."""
    formats = [number_format(name) for name in WEIGHT_DTYPES]
    assert {fmt.name for fmt in formats if fmt.codebook is not None} == {"nf4", "fp4_e2m1"}
    assert {fmt.name for fmt in formats if fmt.needs_table} == {"nf4"}


@pytest.mark.parametrize("name", WEIGHT_DTYPES)
def test_storage_type(name):
    """Formats of fewer than 8 bits are packed into int8; others are tensors of as many bits an element."""
    fmt = number_format(name)
    assert fmt.is_packed == (fmt.bits < 8)
    if fmt.is_packed:
        assert (fmt.torch_dtype, fmt.tvm_dtype) == (torch.int8, "int8")
    else:
        assert torch.empty(0, dtype=fmt.torch_dtype).element_size() * 8 == fmt.bits
        assert str(fmt.torch_dtype).removeprefix("torch.") == fmt.tvm_dtype


def test_nf4_is_the_published_table():
    """NF4 levels are those printed in appendix E of the QLoRA paper."""
    published = [
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
        0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ]  # fmt: skip
    assert list(NF4_VALUES) == published
    assert np.array_equal(np.float32(NF4_VALUES).astype(np.float64), NF4_VALUES)


def test_nf4_levels_are_quantiles_of_the_normal_distribution():
    """Eight evenly spaced quantiles on one side, seven on the other and zero, scaled to 1, make the table."""
    quantile = NormalDist().inv_cdf
    offset = 0.9677083
    positive = [quantile(p) for p in np.linspace(offset, 0.5, 9)[:-1]]
    negative = [-quantile(p) for p in np.linspace(offset, 0.5, 8)[:-1]]
    levels = np.array(sorted([*positive, 0.0, *negative])) / max(positive)
    assert np.abs(levels - NF4_VALUES).max() < 2e-7


def test_fp4_e2m1_is_the_ocp_table():
    """Codes 0 to 7 are 0, 0.5, 1, 1.5, 2, 3, 4, 6; 8 to 15 the same with a minus sign, zero included."""
    magnitudes = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
    expected = np.array([*magnitudes, *(-v for v in magnitudes)])
    assert np.array_equal(FP4_E2M1_VALUES, expected)
    assert np.array_equal(np.signbit(FP4_E2M1_VALUES), np.signbit(expected))


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("e4m3_float8", "float8_e4m3"),
        ("float8_e4m3fn", "float8_e4m3"),
        ("e5m2_float8", "float8_e5m2"),
        ("fp16", "float16"),
        ("bf16", "bfloat16"),
        ("fp4", "fp4_e2m1"),
        ("nf4", "nf4"),
    ],
)
def test_other_spellings(name, canonical):
    """Names of BitBLAS and common short ones lead to the canonical format."""
    assert number_format(name).name == canonical
    assert canonical_name(name, "W_dtype", WEIGHT_DTYPES) == canonical


@pytest.mark.parametrize(
    ("name", "near"),
    [("unit4", "uint4"), ("float61", "float16"), ("uint04", "uint4"), ("e4m3_flaot8", "float8_e4m3")],
)
def test_a_misspelt_name_gets_a_suggestion(name, near):
    """The message lists the legal names and offers the nearest, in canonical spelling."""
    with pytest.raises(ConfigError, match=rf"'W_dtype' must be one of .* \(got '{name}'\); did you mean '{near}'\?"):
        canonical_name(name, "W_dtype", WEIGHT_DTYPES)


def test_a_suggestion_is_a_name_that_is_allowed():
    """A name near to one that this argument does not take gets no suggestion of it."""
    with pytest.raises(ConfigError, match=r"'accum_dtype' must be one of float16, float32, int32") as error:
        canonical_name("uint4", "accum_dtype", dtypes.ACCUM_DTYPES)
    assert "uint4'?" not in str(error.value)


def test_a_name_like_nothing_gets_no_suggestion():
    """There is no guess where no name is near."""
    with pytest.raises(ConfigError) as error:
        canonical_name("zzz", "W_dtype", WEIGHT_DTYPES)
    assert "did you mean" not in str(error.value)
    assert error.value.values == {"W_dtype": "zzz"}


@pytest.mark.parametrize("value", [4, torch.float16, None, ["uint4"]])
def test_a_name_must_be_a_string(value):
    """A torch type or a number in place of a name says what is wanted."""
    with pytest.raises(ConfigError, match=r"'A_dtype' must be a string .* for example A_dtype='float16'"):
        canonical_name(value, "A_dtype", dtypes.ACTIVATION_DTYPES)


@pytest.mark.parametrize("value", ["uint9", "", 4, None, ["uint4"]])
def test_number_format_of_no_name(value):
    """`number_format` raises a ConfigError for whatever is no name."""
    with pytest.raises(ConfigError, match="'dtype' must be"):
        number_format(value)
