# SPDX-License-Identifier: Apache-2.0
"""Number formats, against their specifications and against torch.

Each format of the registry gets the tests of the first part by being in it.
"""

from __future__ import annotations

import contextlib
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import get_args

import numpy as np
import pytest
import torch
import tvm
from tvm import IRModule, te, tirx

from bitquant.arch import cuda_target
from bitquant.compute.matmul import matmul_dequantize_b, symbol
from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError, ScheduleError
from bitquant.formats import (
    ACCUM_DTYPES,
    ACTIVATION_DTYPES,
    OUT_DTYPES,
    SCALE_DTYPES,
    WEIGHT_DTYPES,
    canonical_name,
    number_format,
    registry,
)
from bitquant.formats.base import Bounds, NumberFormat, ZerosMode
from bitquant.formats.codebooks import NF4_VALUES
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.layouts import fragment_layout
from bitquant.matmul import Matmul
from bitquant.problem import Problem
from bitquant.schedule import choice_of, preferred_layout, schedule_module
from bitquant.schedule.rules import DecodeRule, MmaRule, WgmmaRule
from bitquant.testing import oracle
from bitquant.testing.check import check_call
from bitquant.testing.generators import sample_format, weight_fields
from bitquant.testing.oracle import code_values

# Every format.

#: Formats whose codes can be counted.
NARROW = [name for name in WEIGHT_DTYPES if sample_format(name).bits <= 8]
PACKED = [name for name in NARROW if sample_format(name).is_packed]


def all_codes(name):
    """Every code of a format as it is stored, one an element, and its bits."""
    fmt = sample_format(name)
    bits = torch.arange(1 << fmt.bits, dtype=torch.uint8)
    return bits.view(fmt.torch_dtype), bits.numpy()


@pytest.fixture(scope="module")
def expressions():
    """The value of each code by `NumberFormat.value`, in float32, of every format in one kernel of the CPU."""
    inputs, outputs = [], []

    def worth(fmt, codes, i):
        return fmt.value(codes[i], "float32")

    for name in NARROW:
        fmt = sample_format(name)
        dtype = "uint8" if fmt.is_packed else fmt.tvm_dtype
        codes = te.placeholder((1 << fmt.bits,), dtype=dtype, name=f"codes_{name}")
        inputs.append(codes)
        outputs.append(te.compute(codes.shape, functools.partial(worth, fmt, codes)))
    kernel = tvm.compile(te.create_prim_func([*inputs, *outputs]), target="llvm")
    stored = [torch.arange(1 << sample_format(name).bits, dtype=torch.uint8) for name in NARROW]
    arguments = [
        tvm.runtime.from_dlpack(bits if sample_format(name).is_packed else bits.view(sample_format(name).torch_dtype))
        for name, bits in zip(NARROW, stored, strict=True)
    ]
    results = [torch.full(bits.shape, float("nan")) for bits in stored]
    kernel(*arguments, *map(tvm.runtime.from_dlpack, results))
    return dict(zip(NARROW, results, strict=True))


@pytest.mark.parametrize("name", NARROW)
def test_values_are_those_of_the_specification(name, expressions):
    """In torch and as an expression every code is worth what the oracle says, the sign of zero included."""
    codes, bits = all_codes(name)
    fmt = sample_format(name)
    wanted = code_values(bits, fmt).astype(np.float32)
    for found in (fmt.decode(codes).to(torch.float32), expressions[name]):
        np.testing.assert_array_equal(found.numpy(), wanted)
        known = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(found.numpy())[known], np.signbit(wanted)[known])


@pytest.mark.parametrize("name", NARROW)
def test_codes_come_back(name):
    """The code of each value is its own, or one of the same value where there are two; NaN is taken by float8 alone."""
    codes, bits = all_codes(name)
    fmt = sample_format(name)
    values = fmt.decode(codes)
    again = fmt.encode(values).view(torch.uint8).numpy()
    np.testing.assert_array_equal(code_values(again, fmt), code_values(bits, fmt))
    finite = code_values(bits, fmt)[np.isfinite(code_values(bits, fmt))]
    assert (fmt.min_value, fmt.max_value) == (finite.min(), finite.max())
    if len(set(zip(finite.tolist(), np.signbit(finite).tolist(), strict=True))) == len(bits):
        np.testing.assert_array_equal(again, bits)


@pytest.mark.parametrize("name", [name for name in PACKED if sample_format(name).levels is not None])
def test_floats_go_to_the_nearest_level(name):
    """A float is stored as the level next to it, midway as the lower one; codes are stored as they are."""
    fmt = sample_format(name)
    levels = np.unique(code_values(all_codes(name)[1], fmt))
    x = torch.linspace(float(levels[0]), float(levels[-1]), 1001, dtype=torch.float64)
    distance = np.abs(x.numpy()[:, None] - levels)
    np.testing.assert_array_equal(fmt.decode(fmt.encode(x).view(torch.int8)).numpy(), levels[distance.argmin(1)])
    codes = all_codes(name)[0]
    assert torch.equal(fmt.encode(codes), codes.view(torch.uint8))


@pytest.mark.parametrize("name", WEIGHT_DTYPES)
def test_legal_and_illegal_neighbours(name):
    """A config takes the types of A and the modes of zero points that the format says, and no others."""
    fmt = sample_format(name)
    for A in ACTIVATION_DTYPES:
        for mode in get_args(ZerosMode):
            options = dict(A_dtype=A, **weight_fields(name), with_zeros=True, zeros_mode=mode)
            is_legal = A in fmt.activations and mode in fmt.zeros_modes
            with contextlib.nullcontext() if is_legal else pytest.raises(ConfigError, match=r"'(W_dtype|zeros_mode)' "):
                MatmulConfig(M=1, N=8, K=8, **options)


def names_in(text):
    """The names of formats in a text, "uint1 ... uint8" as all eight."""
    for kind, first, last in re.findall(r"\b(u?int)(\d) \.\.\. u?int(\d)", text):
        text += " ".join(f" {kind}{bits}" for bits in range(int(first), int(last) + 1))
    return {name for name in WEIGHT_DTYPES if re.search(rf"\b{name}\b", text)}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("docs/problems.md", "| W | "),
        ("docs/numerics.md", "| Format | Code of value w |"),
        ("bitquant/config.py", "    W_dtype\n"),
    ],
)
def test_documents_list_every_format(path, line):
    """Two pages and the docstring of the config name each format that is no type of A of 16 bits."""
    text = (Path(__file__).parents[2] / path).read_text(encoding="utf-8").split(line)[1]
    end = {"docs/problems.md": "\n", "docs/numerics.md": "\n\n", "bitquant/config.py": "\n    out_dtype"}[path]
    assert names_in(text.split(end)[0]) >= set(NARROW)


# A format that says little.


@dataclass(frozen=True)
class Pow2(NumberFormat):
    """Sign and exponent of 4 bits in all, without a word of tensor cores."""

    @property
    def levels(self):
        return tuple(sign * 2.0**-e for sign in (1, -1) for e in range(8))

    min_value, max_value, value_dtype = -1.0, 1.0, torch.float32

    def value(self, code, dtype):
        exponent = code.astype("int32") & 7
        magnitude = 1.0 / tirx.shift_left(tirx.const(1, "int32"), exponent).astype("float32")
        return tirx.Select(code.astype("int32") >= 8, -magnitude, magnitude).astype(dtype)

    def bounds(self, dtype):
        return Bounds(0, 15, "codes are 0..15", "divide it by its scale first")

    def encode(self, values):
        return values.to(torch.int8).contiguous().view(torch.uint8)

    def decode(self, codes):
        return torch.tensor(self.levels)[codes.long()]


@pytest.fixture
def pow2(monkeypatch):
    """The format, in the registry for a test."""
    fmt = Pow2("pow2", 4)
    monkeypatch.setitem(registry._FORMATS, "pow2", fmt)
    monkeypatch.setattr("bitquant.config_rules.WEIGHT_DTYPES", (*WEIGHT_DTYPES, "pow2"))
    monkeypatch.setitem(oracle._CODE_VALUES, "pow2", lambda codes: np.array(fmt.levels)[codes])
    return fmt


@pytest.mark.parametrize("A", ["float16", "bfloat16", "float8_e4m3"])
def test_kernels_refuse_what_they_were_not_told(pow2, A):
    """Rules that decode in registers refuse a packed format that says nothing of them: its codes are no integers."""
    config = MatmulConfig(M=(1, 16), N=64, K=128, W_dtype="pow2", A_dtype=A, group_size=64, with_scaling=True)
    operand = "bfloat16" if A == "bfloat16" else "float16"
    target = cuda_target("sm_90a")
    left = A if A == "float8_e4m3" else operand
    for rule, reason in (
        (DecodeRule(), f"needs a format whose registers are decoded to {operand} (got pow2)"),
        (WgmmaRule(), f"needs a format whose registers are decoded to {left} (got pow2)"),
        (MmaRule(), f"needs a format whose plain layout is decoded to {operand} (got pow2)"),
    ):
        assert rule.refuses(Problem(config, 16, target)) == reason
    with pytest.raises(ScheduleError, match="registers are decoded to"):
        RegisterDecoder(pow2, fragment_layout(config), operand)
    assert preferred_layout(config, target) == "plain"


def test_other_kernels_take_it(pow2):
    """On a GPU gemv and fallback are left, which ask for the value; the CPU's results are right."""
    config = MatmulConfig(M=(1, 16), N=64, K=128, W_dtype="pow2", group_size=64, with_scaling=True)
    functions = IRModule({symbol(rung): matmul_dequantize_b(config, rung) for rung in config.ladder})
    scheduled = schedule_module(functions, cuda_target("sm_90a"))
    assert [choice_of(scheduled[symbol(rung)]).rule for rung in config.ladder] == ["gemv", "fallback"]
    operator = Matmul(config, target="cpu")
    for m in (1, 5):
        check_call(operator, m)


# Particular ones.


def test_every_listed_name_has_a_format_of_that_name():
    """All names that a config accepts lead to a format that carries the name."""
    listed = {*ACTIVATION_DTYPES, *WEIGHT_DTYPES, *OUT_DTYPES, *ACCUM_DTYPES, *SCALE_DTYPES}
    assert {name: number_format(name).name for name in listed} == {name: name for name in listed}


def test_weight_formats_have_every_width_of_integers():
    """W has every integer width from 1 to 8, the types of A, and nothing twice."""
    integers = {f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 9)}
    assert set(WEIGHT_DTYPES) >= integers | set(ACTIVATION_DTYPES)
    assert len(WEIGHT_DTYPES) == len(set(WEIGHT_DTYPES))


@pytest.mark.parametrize("bits", range(1, 9))
def test_unsigned_range(bits):
    """An unsigned format of N bits holds 0 to 2^N - 1 and is its own code."""
    fmt = number_format(f"uint{bits}")
    assert (fmt.min_value, fmt.max_value, fmt.offset, fmt.bits) == (0, 2**bits - 1, 0, bits)


@pytest.mark.parametrize("bits", range(2, 9))
def test_signed_range(bits):
    """A signed format is two's complement; below 8 bits its codes start at zero."""
    fmt = number_format(f"int{bits}")
    assert (fmt.min_value, fmt.max_value) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert (fmt.step, fmt.offset) == (1, -(2 ** (bits - 1)) if bits < 8 else 0)


def test_int1_holds_minus_one_and_one():
    """int1 is the sign of BitNet: -1 and 1."""
    fmt = number_format("int1")
    assert (fmt.min_value, fmt.max_value, fmt.bits, fmt.step, fmt.offset) == (-1, 1, 1, 2, -1)


def test_formats_that_need_a_table():
    """fp4_e2m1 has a codebook, too, but its bits are a small float, and looked up for 16 bits alone."""
    assert [number_format("fp4_e2m1").is_looked_up(bits) for bits in (16, 8)] == [True, False]
    assert [number_format(name).needs_table for name in ("nf4", "fp4_e2m1", "uint4")] == [True, False, False]


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
    levels = number_format("fp4_e2m1").levels
    assert np.array_equal(levels, expected)
    assert np.array_equal(np.signbit(levels), np.signbit(expected))


@pytest.mark.parametrize(
    ("name", "least_subnormal", "greatest_subnormal", "least_normal", "greatest"),
    [("float6_e3m2", 2.0**-4, 3 * 2.0**-4, 2.0**-2, 28.0), ("float6_e2m3", 2.0**-3, 7 * 2.0**-3, 1.0, 7.5)],
)
def test_fp6_is_that_of_ocp(name, least_subnormal, greatest_subnormal, least_normal, greatest):
    """The ends of both FP6 formats are those of the OCP Microscaling specification v1.0."""
    levels = number_format(name).levels
    assert len(levels) == 64
    subnormals = 4 if name == "float6_e3m2" else 8
    assert (levels[1], levels[subnormals - 1], levels[subnormals], levels[31]) == (
        least_subnormal, greatest_subnormal, least_normal, greatest,
    )  # fmt: skip
    assert levels[32:] == tuple(-level for level in levels[:32])
    assert np.all(np.diff(levels[:32]) > 0)


@pytest.mark.parametrize(
    ("A_dtype", "factor", "is_refused"),
    [
        ("float16", 2.0**-12, False),
        ("float16", 2.0**-17, True),
        ("float16", 2.0**15, True),
        ("bfloat16", 2.0**15, False),
    ],
)
def test_levels_that_16_bits_do_not_hold_are_left_to_float32(A_dtype, factor, is_refused):
    """Tensor cores refuse a codebook that is out of the range of A's type; gemv and fallback take it."""
    codebook = [factor * level for level in sample_format("code4").levels]
    config = MatmulConfig(
        M=(1, 16), N=64, K=128, A_dtype=A_dtype, W_dtype="code4", codebook=codebook, group_size=64, with_scaling=True
    )
    target = cuda_target("sm_90a")
    for rule in (DecodeRule(), WgmmaRule(), MmaRule()):
        reason = rule.refuses(Problem(config, 16, target))
        assert (reason is not None) is is_refused
        assert reason is None or f"to hold all in {A_dtype} (got {3.5 * factor:g})" in reason
    assert preferred_layout(config, target) == ("plain" if is_refused else "fragment")


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
        ("fp6", "float6_e3m2"),
        ("fp6_e3m2", "float6_e3m2"),
        ("e3m2", "float6_e3m2"),
        ("e2m3", "float6_e2m3"),
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
        canonical_name("uint4", "accum_dtype", ACCUM_DTYPES)
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
        canonical_name(value, "A_dtype", ACTIVATION_DTYPES)


def test_a_torch_type_is_told_its_name():
    """The example is the name of the type that was given."""
    with pytest.raises(ConfigError, match=r"'W_dtype' must be a string .* for example W_dtype='int8'"):
        MatmulConfig(N=64, K=64, W_dtype=torch.int8)


@pytest.mark.parametrize("value", ["uint9", "", 4, None, ["uint4"]])
def test_number_format_of_no_name(value):
    """`number_format` raises a ConfigError for whatever is no name."""
    with pytest.raises(ConfigError, match="'dtype' must be"):
        number_format(value)
