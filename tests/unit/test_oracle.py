# SPDX-License-Identifier: Apache-2.0
"""The oracle against arithmetic done by hand, its tolerances against rounding, and the list of problems and inputs."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitquant.config import MatmulConfig
from bitquant.errors import ConfigError
from bitquant.formats import ACTIVATION_DTYPES, OUT_DTYPES, WEIGHT_DTYPES, number_format
from bitquant.packing import pack, unpack, unpack_zeros
from bitquant.testing import oracle as oracle_module
from bitquant.testing.generators import (
    CALL_ROWS,
    call_rows,
    case_id,
    cases,
    configs,
    formats,
    legal_accumulators,
    legal_activations,
    legal_layouts,
    legal_zeros_modes,
    make_inputs,
    weight_fields,
)
from bitquant.testing.oracle import (
    assert_close,
    decode_plain,
    oracle,
    oracle_weight,
    relative_error,
    round_to_output,
    tolerance,
)
from bitquant.testing.shape_sets import LLM_SHAPES

TORCH_DTYPES = {"int8": torch.int8, "int16": torch.int16, "int32": torch.int32, "float16": torch.float16,
                "bfloat16": torch.bfloat16, "float32": torch.float32}  # fmt: skip


def has_other_scales(config: MatmulConfig) -> bool:
    """Whether scales have 8 bits, or rows share them."""
    return config.with_scaling and (config.scale_format.bits == 8 or config.rows_per_scale > 1)


def make(**fields) -> MatmulConfig:
    """Return a legal config with some fields replaced."""
    return MatmulConfig(**{"M": 2, "N": 4, "K": 8, "W_dtype": "uint4", **fields})


def rounded_product(config: MatmulConfig, inputs) -> torch.Tensor:
    """Return what a kernel computes: B_decode rounded at each step, sums in float32 or int32, one last cast."""
    decode_dtype = TORCH_DTYPES[config.decode_dtype]
    w = unpack(pack(inputs.W, config), config)
    w = (w.T if config.layout == "nn" else w).to(decode_dtype)
    s = z = None
    if config.with_scaling:
        of_rows = inputs.scale.to(decode_dtype).repeat_interleave(config.rows_per_scale, 0)[: config.N]
        s = of_rows.repeat_interleave(config.group, 1)
    if config.with_zeros:
        z = unpack_zeros(inputs.zeros, config).T if config.has_packed_zeros else inputs.zeros
        z = z.to(decode_dtype).repeat_interleave(config.group, 1)
    if z is not None and config.zeros_mode != "rescale":
        w = w - z
    if s is not None:
        w = w * s
    if z is not None and config.zeros_mode == "rescale":
        w = w - z
    sum_dtype = torch.int64 if config.reduce_dtype == "int32" else torch.float32
    c = inputs.A.to(sum_dtype) @ w.to(sum_dtype).T
    if config.with_activation_scale:
        c = c.float() * inputs.activation_scale[:, None]
    if config.with_channel_scale:
        c = c.float() * inputs.channel_scale
    if config.has_output_scales and config.with_bias:
        c = c + inputs.bias.float()
    elif config.with_bias:
        c = c + (inputs.bias if sum_dtype == torch.int64 and config.out_format.is_integer else inputs.bias.float())
    if not config.out_format.is_integer:
        return c.to(config.out_format.torch_dtype)
    info = torch.iinfo(config.out_format.torch_dtype)
    return c.double().round().clamp(info.min, info.max).to(config.out_format.torch_dtype)


# Values.


@pytest.mark.parametrize(("name", "dtype"), [("float8_e4m3", torch.float8_e4m3fn), ("float8_e5m2", torch.float8_e5m2)])
def test_float8_tables_are_those_of_torch(name, dtype):
    """All 256 codes decoded by formula are what torch says, with the signs of zeros, infinities and NaN."""
    codes = torch.arange(256, dtype=torch.uint8)
    decoded = decode_plain(codes[None], MatmulConfig(M=1, N=1, K=256, W_dtype=name))[0]
    expected = codes.view(dtype).double().numpy()
    assert np.array_equal(decoded, expected, equal_nan=True)
    numbers = ~np.isnan(expected)
    assert np.array_equal(np.signbit(decoded[numbers]), np.signbit(expected[numbers]))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_16_bit_floats_decode_as_in_torch(name):
    """All 65536 bit patterns decoded by formula are what torch says."""
    patterns = torch.arange(-(2**15), 2**15).to(torch.int16).reshape(1, -1)
    config = MatmulConfig(M=1, N=1, K=2**16, A_dtype=name)
    expected = patterns.view(number_format(name).torch_dtype).double().numpy()
    assert np.array_equal(decode_plain(patterns, config), expected, equal_nan=True)


def test_float32_decodes_as_in_torch():
    """Normal, subnormal and special bit patterns of float32 decoded by formula are what torch says."""
    patterns = torch.randint(-(2**31), 2**31, (1, 20000), generator=torch.Generator().manual_seed(0)).to(torch.int32)
    patterns[0, :6] = torch.tensor([0, 1, 0x7FFFFF, 0x7F800000, -0x800000, -(2**31)])
    config = MatmulConfig(M=1, N=1, K=20000, A_dtype="float32")
    assert np.array_equal(decode_plain(patterns, config), patterns.view(torch.float32).double().numpy(), equal_nan=True)


@pytest.mark.parametrize("name", ["nf4", "fp4_e2m1"])
def test_code_tables(name):
    """The oracle's own tables are those of the formats: 16 codes packed low nibble first."""
    stored = np.array([[low | (low + 1) << 4 for low in range(0, 16, 2)]], dtype=np.uint8)
    decoded = decode_plain(stored, MatmulConfig(M=1, N=1, K=16, W_dtype=name))
    assert decoded.tolist() == [list(number_format(name).levels)]


@pytest.mark.parametrize(
    ("name", "row", "values"),
    [
        ("uint4", [0xF1], [1, 15]),
        ("int4", [0xF0], [-8, 7]),
        ("int1", [0b10000001], [1, -1, -1, -1, -1, -1, -1, 1]),
        ("uint2", [0b11100100], [0, 1, 2, 3]),
        ("uint3", [0b10001000, 0b11000110, 0b11111010], [0, 1, 2, 3, 4, 5, 6, 7]),
        ("int8", [0x80, 0xFF, 0x7F], [-128, -1, 127]),
        ("uint8", [0x80, 0xFF, 0x7F], [128, 255, 127]),
    ],
)
def test_decode_plain_by_hand(name, row, values):
    """Bytes written out by hand read as the numbers that they hold."""
    config = MatmulConfig(M=1, N=1, K=len(values), W_dtype=name)
    assert decode_plain(np.array([row], dtype=np.uint8), config).tolist() == [values]
    assert decode_plain(torch.tensor([row], dtype=torch.uint8).view(torch.int8), config).tolist() == [values]


def test_decode_plain_of_the_transposed_layout():
    """Layout nn decodes in the shape that it is stored in, (K, N)."""
    weight = torch.arange(15, dtype=torch.float32).reshape(5, 3)
    config = MatmulConfig(M=1, N=3, K=5, A_dtype="float32", layout="nn")
    assert np.array_equal(decode_plain(weight, config), weight.double().numpy())


# Arithmetic.


@pytest.mark.parametrize("with_scaling", [False, True])
@pytest.mark.parametrize("group_size", [-1, 4, 8])
@pytest.mark.parametrize(
    ("W_dtype", "zeros_mode"),
    [
        (W_dtype, zeros_mode)
        for W_dtype in ("uint4", "uint8", "int3", "nf4", "fp4_e2m1", "float8_e5m2", "float16")
        for zeros_mode in legal_zeros_modes(W_dtype)
    ],
)
def test_oracle_is_the_formula(W_dtype, zeros_mode, group_size, with_scaling):
    """The sum over k, scaled by row and column, plus Bias[n], in exact fractions and one element at a time."""
    config = make(
        N=4, K=16, W_dtype=W_dtype, with_bias=True, group_size=group_size, with_scaling=with_scaling,
        with_zeros=zeros_mode is not None, zeros_mode=zeros_mode, with_activation_scale=group_size != 4,
        with_channel_scale=group_size != 8,
    )  # fmt: skip
    x = make_inputs(config, 2, seed=5)
    table = config.W_format.levels
    ref = oracle(config, x.A, x.W, x.scale, x.zeros_values, x.bias, x.activation_scale, x.channel_scale)
    for m in range(2):
        for n in range(config.N):
            total = Fraction(0)
            for k in range(config.K):
                w = x.W[n, k].item()
                w = Fraction(table[w] if table else w)
                s = Fraction(x.scale[n, k // config.group].item()) if with_scaling else 1
                if zeros_mode == "original":
                    w = (w - Fraction(x.zeros[n, k // config.group].item())) * s
                elif zeros_mode == "quantized":
                    w = (w - int(x.zeros_values[k // config.group, n])) * s
                elif zeros_mode == "rescale":
                    w = w * s - Fraction(x.zeros[n, k // config.group].item())
                else:
                    w = w * s
                total += Fraction(x.A[m, k].item()) * w
            total *= Fraction(x.activation_scale[m].item()) if config.with_activation_scale else 1
            total *= Fraction(x.channel_scale[n].item()) if config.with_channel_scale else 1
            total += Fraction(x.bias[n].item())
            assert ref[m, n] == pytest.approx(float(total), rel=1e-12, abs=1e-9)


@pytest.mark.parametrize(
    "config",
    [
        make(N=50, K=24, W_dtype="uint3", group_size=8, with_scaling=True),
        make(N=48, K=24, group_size=12, with_zeros=True, zeros_mode="quantized"),
        make(N=50, K=24, group_size=12, with_zeros=True, zeros_mode="rescale", with_bias=True),
        MatmulConfig(M=2, N=50, K=24, A_dtype="bfloat16", layout="nn"),
    ],
    ids=case_id,
)
def test_the_oracle_takes_large_weights_in_parts(config, monkeypatch):
    """Rows of the result taken a few at a time add up to the whole."""
    x = make_inputs(config, 2)
    whole = x.reference(config)
    direct = x.A.double().numpy() @ oracle_weight(config, x.W, x.scale, x.zeros_values).T
    assert np.allclose(whole, direct + (x.bias.double().numpy() if config.with_bias else 0), rtol=1e-12)
    for elements in (1, 7 * 24):
        monkeypatch.setattr(oracle_module, "_CHUNK_ELEMENTS", elements)
        assert np.allclose(x.reference(config), whole, rtol=1e-12)


def test_leading_dimensions_of_A():
    """(..., K) gives (..., N)."""
    config = make()
    x = make_inputs(config, 6)
    ref = oracle(config, x.A.reshape(2, 3, 8), x.W)
    assert np.array_equal(ref.reshape(6, config.N), x.reference(config))


def test_integer_outputs_round_to_even_and_saturate():
    """Halves go to the even neighbour and large values to the ends; floats are left to the tolerance."""
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.4, 128.0, 1e9, -127.5, -128.6, -1e9])
    expected = [0, 2, 2, 0, -2, 126, 127, 127, 127, -128, -128, -128]
    assert round_to_output(values, make(out_dtype="int8")).tolist() == expected
    assert round_to_output(np.array([3e9, -3e9]), make(out_dtype="int32")).tolist() == [2**31 - 1, -(2**31)]
    assert round_to_output(values, make(out_dtype="float16")).tolist() == values.tolist()


# Comparison.


@pytest.mark.parametrize(
    ("actual", "ref", "error"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 5.0], [3.0, 4.0], 0.2),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 1e-9], [0.0, 0.0], np.inf),
        ([float("nan"), 4.0], [3.0, 4.0], np.inf),
        ([float("inf"), 4.0], [3.0, 4.0], np.inf),
        ([], [], 0.0),
    ],
)
def test_relative_error(actual, ref, error):
    """Frobenius norm of the difference over that of the reference; never small by way of NaN or zero."""
    assert relative_error(torch.tensor(actual), np.array(ref)) == pytest.approx(error)


def test_integer_sums_have_no_tolerance():
    """int8 by integers into an integer is exact; a scale or a float output ends that."""
    exact = {"A_dtype": "int8", "W_dtype": "uint4", "out_dtype": "int32"}
    assert tolerance(make(**exact)) == 0
    assert tolerance(make(**{**exact, "out_dtype": "int8"}, with_bias=True)) == 0
    assert tolerance(make(**exact, with_zeros=True, zeros_mode="quantized")) == 0
    assert tolerance(make(**exact, with_scaling=True)) > 0
    assert tolerance(make(**{**exact, "out_dtype": "float16"})) > 0


@pytest.mark.parametrize(
    ("fields", "low", "high"),
    [
        ({}, 5.5e-4, 6e-4),
        ({"with_scaling": True}, 7.9e-4, 8.2e-4),
        ({"with_scaling": True, "with_zeros": True}, 9.7e-4, 1e-3),
        ({"with_scaling": True, "with_zeros": True, "zeros_mode": "quantized"}, 7.9e-4, 8.2e-4),
        ({"W_dtype": "nf4"}, 7.9e-4, 8.2e-4),
        ({"W_dtype": "fp4_e2m1"}, 5.5e-4, 6e-4),
        ({"A_dtype": "bfloat16", "out_dtype": "bfloat16"}, 4.5e-3, 4.6e-3),
        ({"A_dtype": "bfloat16", "out_dtype": "float32"}, 0, 1e-5),
        ({"A_dtype": "float32", "out_dtype": "float32", "with_scaling": True, "with_zeros": True}, 1e-8, 1e-5),
        ({"A_dtype": "int8", "with_scaling": True, "out_dtype": "float32"}, 1e-8, 1e-5),
    ],
)
def test_tolerances(fields, low, high):
    """A tolerance is a few roundings of the coarsest type on the way, whatever K."""
    for K in (8, 1024, 8192):
        assert low <= tolerance(make(**fields, K=K)) <= (high if K == 8 else high + 1e-4)


@given(configs(), st.integers(0, 33), st.integers(0, 2**32))
def test_rounding_stays_within_the_tolerance(config, m, seed):
    """A product computed step by step in the types of the problem passes, for any problem and any inputs of it."""
    x = make_inputs(config, m, seed=seed)
    assert_close(rounded_product(config, x), x.reference(config), config)


@pytest.mark.parametrize("config", list(cases(stride=4)), ids=case_id)
@pytest.mark.sample(
    shows=lambda config: {
        ("W", config.W_dtype), ("A, zeros", config.A_dtype, config.with_zeros and config.zeros_mode),
        ("A, output", config.A_dtype, config.out_dtype), ("scales", config.scale_dtype, config.rows_per_scale),
        ("output scales", config.with_activation_scale, config.with_channel_scale),
    }
)  # fmt: skip
def test_generated_cases_stay_within_the_tolerance(config):
    """So it does for the list that kernels are tested with."""
    m = max(call_rows(config))
    x = make_inputs(config, m, seed=1)
    assert_close(rounded_product(config, x), x.reference(config), config)


FAULTY = [
    make(N=128, K=256, group_size=64, with_scaling=True),
    make(N=128, K=256, group_size=64, with_scaling=True, with_zeros=True),
    make(N=128, K=256, W_dtype="int4", A_dtype="int8", out_dtype="int32"),
    make(N=128, K=256, W_dtype="nf4", A_dtype="bfloat16", out_dtype="bfloat16", with_scaling=True),
    make(N=128, K=256, W_dtype="float16", out_dtype="int8", with_scaling=True),
    make(
        N=128,
        K=256,
        A_dtype="int8",
        W_dtype="int8",
        out_dtype="bfloat16",
        with_activation_scale=True,
        with_channel_scale=True,
    ),
]


@pytest.mark.parametrize("config", FAULTY, ids=case_id)
def test_faults_do_not_pass(config):
    """A swapped nibble, a scale of the neighbouring group, a column left out and a row shifted are all found."""
    x = make_inputs(config, 16)
    ref = x.reference(config)
    right = rounded_product(config, x)
    assert_close(right, ref, config)
    wrong = []
    swapped = x.W.clone()
    swapped[5, 0], swapped[5, 1] = x.W[5, 1] + 0, x.W[5, 0] + 0
    swapped[5, 2:] = x.W[5, 2:].flip(0)
    wrong.append(swapped)
    dropped = x.W.clone()
    dropped[-1] = dropped[0]
    wrong.append(dropped)
    for W in wrong:
        with pytest.raises(AssertionError, match=re.escape(str(config))):
            assert_close(rounded_product(config, type(x)(**{**vars(x), "W": W})), ref, config)
    if config.num_groups > 1:
        scale = x.scale.clone()
        scale[:, 0] = x.scale[:, 1]
        with pytest.raises(AssertionError, match="relative error"):
            assert_close(rounded_product(config, x.replace(scale=scale)), ref, config)
    for name in ("activation_scale", "channel_scale") if config.has_output_scales else ():
        shifted = torch.roll(getattr(x, name), 1, 0)
        with pytest.raises(AssertionError, match="relative error"):
            assert_close(rounded_product(config, x.replace(**{name: shifted})), ref, config)
    with pytest.raises(AssertionError):
        assert_close(torch.roll(right, 1, 0), ref, config)


def test_one_wrong_element_does_not_drown():
    """In a large result one element is far off while the norm of the error is small."""
    config = make(N=4096, K=64)
    ref = np.random.default_rng(0).normal(size=(512, 4096))
    actual = ref.copy()
    actual[300, 17] += 0.3
    assert relative_error(actual, ref) < tolerance(config)
    with pytest.raises(AssertionError, match=re.escape("at (300, 17) got")):
        assert_close(actual, ref, config)


def test_integers_may_be_off_by_one_at_a_tie_only():
    """A value within the arithmetic's error of a half may round either way, any other must not."""
    config = make(out_dtype="int8", with_scaling=True)
    ref = np.array([[10.5001, 20.3, -4.0]])
    assert_close(np.array([[11, 20, -4]]), ref, config)
    assert_close(np.array([[10, 20, -4]]), ref, config)
    for wrong in ([12, 20, -4], [10, 21, -4], [10, 20, -5]):
        with pytest.raises(AssertionError, match="1 of 3 elements are wrong"):
            assert_close(np.array([wrong]), ref, config)


def test_saturated_integers_are_compared_saturated():
    """Beyond the range only its end is right, whatever the excess."""
    config = make(out_dtype="int8", with_scaling=True)
    ref = np.array([[1000.0, -1000.0, 5.0]])
    assert_close(np.array([[127, -128, 5]]), ref, config)
    with pytest.raises(AssertionError, match=re.escape("at (0, 0) got -24, expected 1000, may be 127 to 127")):
        assert_close(np.array([[-24, -128, 5]]), ref, config)


def test_exact_integers_are_compared_exactly():
    """Where sums are exact, one is one too many."""
    config = make(A_dtype="int8", out_dtype="int32")
    ref = np.array([[1e9, 2.0, 3.0]])
    assert_close(np.array([[10**9, 2, 3]]), ref, config)
    with pytest.raises(AssertionError, match="may be 1e"):
        assert_close(np.array([[10**9 + 1, 2, 3]]), ref, config)


def test_failures_say_what_and_where():
    """A message has the problem, the error, the bound and the worst element."""
    config = make()
    ref = np.array([[1.0, 2.0, 3.0]])
    message = re.escape(f"{config}: relative error 0.267 > ") + r"0\.00\d+; at \(0, 1\) got 3, expected 2"
    with pytest.raises(AssertionError, match=message):
        assert_close(np.array([[1.0, 3.0, 3.0]]), ref, config)
    with pytest.raises(AssertionError, match=r"at \(0, 2\) got nan, expected 3, not finite"):
        assert_close(np.array([[1.0, 2.0, np.nan]]), ref, config)
    with pytest.raises(AssertionError, match=re.escape("shape (3,), expected (1, 3)")):
        assert_close(np.array([1.0, 2.0, 3.0]), ref, config)
    assert_close(np.empty((0, 3)), np.empty((0, 3)), config)


# The list of problems.


def test_cover_has_every_combination_once():
    """Every W with every A and every mode of zero points that it may have, and no problem twice."""
    expected = {(w, a, z) for w in WEIGHT_DTYPES for a in legal_activations(w) for z in legal_zeros_modes(w)}
    found = [c for c in cases("cover") if not (c.has_output_scales or has_other_scales(c))]
    assert Counter(
        (c.W_format.name, c.A_format.name, c.zeros_mode if c.with_zeros else None) for c in found
    ) == Counter(expected)
    assert formats() == WEIGHT_DTYPES


def test_cover_has_other_scales_with_every_format():
    """Every W of at most 8 bits, and every A, meets scales of each type of 8 bits, and rows that share a scale."""
    found = [c for c in cases("cover") if has_other_scales(c)]
    kinds = {("float8_e8m0", 1), ("float8_e4m3", 1), ("blocks", 128), ("float8_e8m0", 24)}
    for axis, names in (
        ("W_format", [n for n in WEIGHT_DTYPES if number_format(n).bits <= 8]),
        ("A_format", ACTIVATION_DTYPES),
    ):
        for name in names:
            met = [c for c in found if getattr(c, axis).name == name]
            assert {(c.scale_dtype or "blocks", c.rows_per_scale) for c in met} == kinds
    assert {c.with_channel_scale for c in found} == {c.num_groups > 1 for c in found} == {False, True}


def test_cover_has_output_scales_with_every_format():
    """Every W meets them with every A of 8 bits and a wider one, each A in each way; other axes rotate."""
    found = [c for c in cases("cover") if c.has_output_scales and not has_other_scales(c)]
    for w in WEIGHT_DTYPES:
        narrow = {a for a in legal_activations(w) if number_format(a).bits == 8}
        met = [c.A_format.name for c in found if c.W_format.name == w]
        assert len(met) == len(set(met)) == len(narrow) + (set(legal_activations(w)) > narrow)
        assert set(met) >= narrow
    for a in ACTIVATION_DTYPES:
        of_a = [c for c in found if c.A_format.name == a]
        assert {(c.with_activation_scale, c.with_channel_scale) for c in of_a} >= {(True, True), (False, True)}
        assert {c.with_bias for c in of_a} == {c.N % 64 != 0 for c in of_a} == {False, True}
    of_8_bits = [c for c in found if c.A_format.bits == 8]
    pairs = {(c.with_activation_scale, c.with_channel_scale) for c in of_8_bits}
    assert pairs == {(True, True), (True, False), (False, True)}
    assert {c.out_format.name for c in of_8_bits} == set(OUT_DTYPES)
    assert {c.reduce_dtype for c in of_8_bits} == {"int32", "float32"}
    assert {c.is_static for c in of_8_bits} == {c.wants_plain_layout for c in of_8_bits} == {False, True}


@pytest.mark.parametrize("W_dtype", WEIGHT_DTYPES)
def test_legality_is_that_of_the_config(W_dtype):
    """The predicates allow what the config accepts, no more and no less."""
    zeros_modes, accum_dtypes = (None, "original", "rescale", "quantized"), ("float16", "float32", "int32")
    for A_dtype, zeros_mode, layout, accum_dtype in itertools.product(
        ACTIVATION_DTYPES, zeros_modes, ("nt", "nn"), accum_dtypes
    ):
        legal = (
            A_dtype in legal_activations(W_dtype)
            and zeros_mode in legal_zeros_modes(W_dtype)
            and layout in legal_layouts(W_dtype, A_dtype)
            and accum_dtype in legal_accumulators(A_dtype)
        )
        fields = {
            "A_dtype": A_dtype, **weight_fields(W_dtype), "layout": layout, "accum_dtype": accum_dtype,
            "with_zeros": zeros_mode is not None, "zeros_mode": zeros_mode, "N": 8,
        }  # fmt: skip
        with contextlib.nullcontext() if legal else pytest.raises(ConfigError):
            make(**fields)


def test_cover_rotates_the_other_axes():
    """Values of the other axes meet most W, and each meets each A."""
    found = list(cases("cover"))
    axes = {
        "out": (OUT_DTYPES, lambda c: c.out_format.name),
        "bias": ((False, True), lambda c: c.with_bias),
        "scaling": ((False, True), lambda c: c.with_scaling),
        "grouped": ((False, True), lambda c: c.num_groups > 1),
        "ragged": ((False, True), lambda c: c.N % 64 != 0),
        "static": ((False, True), lambda c: c.is_static),
        "plain": ((False, True), lambda c: c.wants_plain_layout),
    }
    for values, axis in axes.values():
        for a in ACTIVATION_DTYPES:
            assert {axis(c) for c in found if c.A_format.name == a} == set(values)
    quantized = [c for c in found if c.W_format.is_integer]
    for values, axis in axes.values():
        for w in {c.W_format.name for c in quantized}:
            assert {axis(c) for c in quantized if c.W_format.name == w} == set(values)
    assert {c.layout for c in found} == {"nt", "nn"}
    assert {c.accum_dtype for c in found} == {"float16", "float32", "int32"}
    assert {1, 5, 33, 1001} <= {c.N for c in found if c.with_zeros and c.W_format.is_packed}
    assert any(c.K % 2 for c in found)
    assert any(c.group % 2 for c in found if c.num_groups > 1)


def test_larger_selections_contain_the_product():
    """The grid has every group and shape of each combination, all has every output too."""
    names = {"W_dtypes": ["uint4"], "A_dtypes": ["int8"]}
    grid, whole = ([c for c in cases(s, **names) if not has_other_scales(c)] for s in ("grid", "all"))
    # No zero points: 2 shapes unscaled, 4 scaled. Each of three modes: 4 and 4. One for each choice of output scales.
    assert len(grid) == 6 + 3 * 8 + 3
    assert len(whole) == len({c.key() for c in whole}) == len(grid) * 10


def test_cases_are_the_same_each_time():
    """Order and contents depend on the arguments alone, another seed gives others, and ids are unique."""
    ids = [case_id(c) for c in cases()]
    assert ids == [case_id(c) for c in cases()]
    assert len(set(ids)) == len(ids)
    assert ids != [case_id(c) for c in cases(seed=1)]
    shares = [[case_id(c) for c in cases(stride=3, offset=i)] for i in range(3)]
    assert sorted(itertools.chain(*shares)) == sorted(ids)


def test_cases_of_given_shapes():
    """Timing takes the same list with real sizes; a format leaves out the shapes that it cannot pack."""
    shapes = [(n, k, 128) for n, k in LLM_SHAPES] + [(7, 130, -1)]
    found = list(cases("grid", W_dtypes=["uint4", "uint3"], A_dtypes=["float16"], shapes=shapes))
    assert {(c.N, c.K) for c in found if c.W_dtype == "uint4"} == {*LLM_SHAPES, (7, 130)}
    assert {(c.N, c.K) for c in found if c.W_dtype == "uint3"} == set(LLM_SHAPES)
    assert {(c.W_dtype, c.zeros_mode) for c in found if c.N == 7} == {("uint4", "original"), ("uint4", "rescale")}


def test_rows_of_a_call():
    """A static problem is called with its M, a ladder with none, one, a few, a tile and more."""
    assert call_rows(make(M=16)) == (16,)
    assert call_rows(make(M=(1, 16))) == CALL_ROWS == (0, 1, 3, 16, 33)


# Inputs.


@given(configs(), st.integers(0, 40), st.integers(0, 2**32))
def test_inputs_have_the_types_and_shapes_of_the_problem(config, m, seed):
    """Operands are what the operator of the problem takes."""
    x = make_inputs(config, m, seed=seed)
    assert (tuple(x.A.shape), x.A.dtype) == ((m, config.K), config.A_format.torch_dtype)
    assert tuple(x.W.shape) == ((config.N, config.K) if config.layout == "nt" else (config.K, config.N))
    assert pack(x.W, config).dtype == config.W_format.torch_dtype
    assert (x.scale is None) == (not config.with_scaling)
    if x.scale is not None:
        assert (tuple(x.scale.shape), x.scale.dtype) == (config.scale_shape, config.scale_format.torch_dtype)
        assert bool((x.scale != 0).all())
    assert (x.zeros is None) == (x.zeros_values is None) == (not config.with_zeros)
    if x.zeros is not None:
        dtype = torch.int8 if config.has_packed_zeros else config.scale_format.torch_dtype
        assert (tuple(x.zeros.shape), x.zeros.dtype) == (config.zeros_shape, dtype)
    assert (x.bias is None) == (not config.with_bias)
    if x.bias is not None:
        assert (tuple(x.bias.shape), x.bias.dtype) == ((config.N,), config.out_format.torch_dtype)
    for tensor, is_there, shape in (
        (x.activation_scale, config.with_activation_scale, (m,)),
        (x.channel_scale, config.with_channel_scale, (config.N,)),
    ):
        assert (tensor is None) == (not is_there)
        if tensor is not None:
            assert (tuple(tensor.shape), tensor.dtype) == (shape, torch.float32)
            assert bool((tensor != 0).all())
    ref = x.reference(config)
    assert ref.shape == (m, config.N)
    assert np.isfinite(ref).all()


@pytest.mark.parametrize("W_dtype", [w for w in WEIGHT_DTYPES if number_format(w).bits <= 8])
def test_weights_take_every_value(W_dtype):
    """All codes occur, float8 without infinities and NaN; few elements take no value twice."""
    fmt = number_format(W_dtype)
    W = make_inputs(make(N=16, K=64, **weight_fields(W_dtype)), 1).W
    patterns = set(W.reshape(-1).view(torch.uint8).tolist())
    count = {"float8_e4m3": 254, "float8_e5m2": 248}.get(W_dtype, 2**fmt.bits)
    assert len(patterns) == count
    if fmt.is_integer:
        assert (int(W.min()), int(W.max())) == (fmt.min_value, fmt.max_value)


def test_zero_points_take_the_range_of_w():
    """Packed zero points take every code; fractional ones reach over W's range, and "rescale" below zero."""
    fields = {"N": 64, "K": 64, "group_size": 8, "with_zeros": True}
    assert set(make_inputs(make(**fields, zeros_mode="quantized"), 1).zeros_values.unique().tolist()) == set(range(16))
    original = make_inputs(make(**fields), 1).zeros.float()
    assert float(original.min()) < 1
    assert float(original.max()) > 14
    assert 0.2 < float((original == original.round()).float().mean()) < 0.8
    rescale = make_inputs(make(**fields, zeros_mode="rescale", with_scaling=True), 1)
    assert float(rescale.zeros.min()) < -0.5
    assert float(rescale.zeros.max()) > 0.5
    assert float(rescale.scale.min()) < 0 < float(rescale.scale.max())


def test_int8_activations_take_the_full_range():
    """Where the output holds it, A reaches from -128 to 127."""
    scaled = {"out_dtype": "int8", "with_activation_scale": True}
    for fields in ({"out_dtype": "int32"}, scaled):
        A = make_inputs(make(A_dtype="int8", K=64, **fields), 16).A
        assert (int(A.min()), int(A.max())) == (-128, 127)


@pytest.mark.parametrize("config", [c for c in cases() if c.out_dtype in ("float16", "int8")][::5], ids=case_id)
def test_outputs_suit_their_type(config):
    """float16 stays far from overflow; int8 is mostly inside its range where A can be made small."""
    m = max(call_rows(config))
    ref = make_inputs(config, m).reference(config)
    if config.out_dtype == "float16":
        assert np.abs(ref).max() < 65504 / 2
    elif not config.A_format.is_integer:
        assert (np.abs(ref) > 127.5).mean() < 0.4 or ref.size < 100


def test_some_int8_outputs_saturate():
    """Over the list a few percent of int8 outputs do, so that saturation is tested."""
    shares = []
    for config in cases(W_dtypes=["uint4", "int4", "nf4"]):
        if config.out_dtype == "int8":
            ref = make_inputs(config, 33).reference(config) if not config.is_static else np.zeros(1)
            shares.append(float((np.abs(ref) > 127.5).mean()))
    assert 0.005 < np.mean(shares) < 0.2


def test_inputs_are_the_same_for_the_same_seed():
    """Inputs depend on problem, rows and seed alone."""
    config = make(group_size=4, with_scaling=True, with_zeros=True, with_bias=True)
    first, again, other = make_inputs(config, 3, seed=1), make_inputs(config, 3, seed=1), make_inputs(config, 3, seed=2)
    for name in ("A", "W", "scale", "zeros", "zeros_values", "bias"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.W, other.W)


@given(configs(max_size=8), st.integers(1, 2), st.integers(0, 2**32))
def test_small_results_do_not_cancel(config, m, seed):
    """With few elements a result could vanish by chance, and a relative error mean nothing: it is drawn again."""
    x = make_inputs(config, m, seed=seed)
    weight = oracle_weight(config, x.W, x.scale, x.zeros_values)
    rows = 1 if x.activation_scale is None else x.activation_scale.double().numpy()[:, None]
    columns = 1 if x.channel_scale is None else x.channel_scale.double().numpy()
    terms = np.sqrt((((x.A.double().numpy() * rows) ** 2 @ weight.T**2) * columns**2).sum())
    assert np.linalg.norm(x.reference(config)) >= 0.499 * terms


@pytest.mark.parametrize("out_dtype", ["float32", "int8"])
def test_share_of_the_bound(out_dtype):
    """`assert_close` says how near to a bound a result came; of integers, what their own rounding does not explain."""
    config = MatmulConfig(M=4, N=64, K=64, W_dtype="uint4", out_dtype=out_dtype)
    ref = np.random.default_rng(0).normal(size=(4, 64)) * 30
    if out_dtype == "int8":
        assert assert_close(np.rint(ref).clip(-128, 127), ref, config) == 0
        ref[0, 0] = 0.5 - 1e-9
        got = np.rint(ref).clip(-128, 127)
        got[0, 0] = 1.0
        assert 0 < assert_close(got, ref, config) < 1
        return
    assert assert_close(ref, ref, config) == 0
    for share in (0.25, 0.75):
        error = share * tolerance(config) * ref
        assert assert_close(ref + error, ref, config) == pytest.approx(share, rel=1e-6)
    one = np.zeros_like(ref)
    one[1, 1] = 0.5 * 8 * tolerance(config) * max(abs(ref[1, 1]), np.sqrt((ref**2).mean()))
    assert assert_close(ref + one, ref, config) == pytest.approx(0.5, rel=1e-6)
