# SPDX-License-Identifier: Apache-2.0
"""MatmulConfig: what it accepts, what it refuses and why, and what follows from its fields."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given

from bitquant.compute.matmul import config_of, matmul_dequantize_b
from bitquant.config import DEFAULT_LADDER, MatmulConfig
from bitquant.errors import ConfigError
from bitquant.testing.generators import cases, configs


def make(**fields) -> MatmulConfig:
    """Return a legal config with some fields replaced."""
    return MatmulConfig(**{"M": 1, "N": 64, "K": 128, "W_dtype": "uint4", **fields})


REFUSALS = [
    ({"M": 0}, "'M' must be an int >= 1 (got 0)"),
    ({"M": -1}, "'M' must be an int >= 1 (got -1)"),
    ({"M": True}, "'M' must be an int >= 1 (got True)"),
    ({"M": 1.5}, "'M' must be an int, a non-empty sequence of ints or None (got 1.5)"),
    ({"M": "16"}, "'M' must be an int, a non-empty sequence of ints or None (got '16')"),
    ({"M": []}, "'M' must be an int, a non-empty sequence of ints or None (got [])"),
    ({"M": [1, 0]}, "'M' must be an int >= 1 (got 0)"),
    ({"M": [1, 16.0]}, "'M' must be an int >= 1 (got 16.0)"),
    ({"M": [16, 1, 16]}, "the rungs of 'M' must differ (got [16, 1, 16])"),
    ({"N": None}, "'N' must be an int >= 1 (got None)"),
    ({"N": 0}, "'N' must be an int >= 1 (got 0)"),
    ({"K": None}, "'K' must be an int >= 1 (got None)"),
    ({"K": 128.0}, "'K' must be an int >= 1 (got 128.0)"),
    ({"A_dtype": "float12"}, "'A_dtype' must be one of float16, bfloat16, int8"),
    ({"A_dtype": "uint4"}, "'A_dtype' must be one of float16, bfloat16, int8"),
    ({"W_dtype": "unit4"}, "(got 'unit4'); did you mean 'uint4'?"),
    ({"W_dtype": "int32"}, "'W_dtype' must be one of"),
    ({"out_dtype": "uint8"}, "'out_dtype' must be one of float16, bfloat16, float32, int32, int8 (got 'uint8')"),
    ({"accum_dtype": "bfloat16"}, "'accum_dtype' must be one of float16, float32, int32 (got 'bfloat16')"),
    ({"scale_dtype": "int8"}, "float32, float8_e8m0, float8_e4m3 (got 'int8')"),
    ({"scale_dtype": "e8m0", "with_zeros": True}, "'scale_dtype' must be a type of 16 or 32 bits where there are zero"),
    ({"rows_per_scale": 128, "with_zeros": True}, "'rows_per_scale' must be 1 where there are zero points (got 128"),
    ({"rows_per_scale": 0}, "'rows_per_scale' must be an int >= 1 (got 0)"),
    ({"with_bias": 1}, "'with_bias' must be a bool (got 1)"),
    ({"with_scaling": "yes"}, "'with_scaling' must be a bool (got 'yes')"),
    ({"with_zeros": None}, "'with_zeros' must be a bool (got None)"),
    ({"W_dtype": "float16", "A_dtype": "bfloat16"}, "'W_dtype' float16 needs A of the same type (got A_dtype='bfloat"),
    ({"W_dtype": "float32", "A_dtype": "float16"}, "cast the weight to float16, or choose an integer, nf4"),
    ({"W_dtype": "float16", "A_dtype": "int8"}, "'W_dtype' float16 needs A of the same type (got A_dtype='int8')"),
    ({"W_dtype": "nf4", "A_dtype": "int8"}, "'W_dtype' must be an integer format where A is int8 (got W_dtype='nf4')"),
    ({"W_dtype": "fp4_e2m1", "A_dtype": "int8"}, "fractions that an integer product cannot hold"),
    ({"W_dtype": "float8_e5m2", "A_dtype": "int8"}, "'W_dtype' must be an integer format where A is int8"),
    ({"accum_dtype": "int32"}, "needs A_dtype='int8' (got A_dtype='float16'); use accum_dtype='float32'"),
    ({"layout": "tn"}, "'layout' must be 'nt' or 'nn' (got 'tn')"),
    ({"layout": "nn"}, "'layout' nn needs a W that is not quantized (got W_dtype='uint4', A_dtype='float16')"),
    ({"layout": "nn", "W_dtype": "int8"}, "use layout='nt' and store W as (N, K)"),
    ({"storage_dtype": "uint8"}, "'storage_dtype' must be 'int8', the type of every packed weight (got 'uint8')"),
    ({"group_size": 0}, "'group_size' must be an int >= 1, -1 or None (got 0)"),
    ({"group_size": -2}, "'group_size' must be an int >= 1, -1 or None (got -2)"),
    ({"group_size": True}, "'group_size' must be an int >= 1, -1 or None (got True)"),
    ({"group_size": 32.0}, "'group_size' must be an int >= 1, -1 or None (got 32.0)"),
    (
        {"group_size": 96, "K": 4096},
        "'group_size' must divide K (got group_size=96, K=4096, remainder 64); try 32, 64, 128, 256 or -1",
    ),
    ({"group_size": 5, "K": 6}, "(got group_size=5, K=6, remainder 1); try -1 (one group a row)"),
    ({"zeros_mode": "qzeros"}, "'zeros_mode' must be one of original, rescale, quantized (got 'qzeros')"),
    ({"zeros_mode": None, "with_zeros": True}, "'zeros_mode' must be one of original, rescale, quantized (got None)"),
    (
        {"zeros_mode": "quantized", "with_zeros": True, "W_dtype": "int4"},
        "'zeros_mode' quantized needs an unsigned W_dtype (got 'int4')",
    ),
    ({"zeros_mode": "quantized", "with_zeros": True, "W_dtype": "nf4"}, "Use zeros_mode='original'"),
    (
        {"K": 127},
        "rows of uint4 fill whole bytes (got K=127, remainder 1); pad A and W with zeros to K=128",
    ),
    ({"K": 100, "W_dtype": "int3"}, "'K' must be a multiple of 8 so that rows of int3 fill whole bytes (got K=100"),
    ({"K": 6, "W_dtype": "uint6"}, "'K' must be a multiple of 4 so that rows of uint6 fill whole bytes (got K=6"),
    ({"K": 6, "W_dtype": "uint2"}, "to K=8"),
    ({"K": 127, "W_dtype": "nf4"}, "'K' must be a multiple of 2 so that rows of nf4"),
    (
        {"N": 63, "zeros_mode": "quantized", "with_zeros": True},
        "packed zero points of uint4 fill whole bytes (got N=63, remainder 1); use zeros_mode='original'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "message"), REFUSALS, ids=[json.dumps(f) for f, _ in REFUSALS])
def test_refusal(fields, message):
    """Each rule names the argument, the rule, the value and the fix, and hands the value to programs."""
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        make(**fields)
    assert set(error.value.values) & set(fields)


@pytest.mark.parametrize("value", [np.int64(1), np.array(1), torch.tensor(1)], ids=lambda v: type(v).__name__)
@pytest.mark.parametrize(
    "field",
    [{"M": None}, {"M": [None]}, {"N": None}, {"K": None}, {"group_size": None}, {"rows_per_scale": None}],
    ids=str,
)
def test_an_integer_that_is_no_int(field, value):
    """A config keeps what was passed, and JSON takes an int alone: the error says how to make one."""
    name, within = next(iter(field.items()))
    with pytest.raises(ConfigError, match=rf"'{name}' must be an int.* \(got .*\); pass int\(...\) of it"):
        make(**{name: [value] if within else value})


def test_a_config_error_is_a_value_error():
    """Callers who know nothing of bitquant can catch the builtin."""
    with pytest.raises(ValueError, match="'K'"):
        make(K=0)


@pytest.mark.parametrize("config", list(cases(stride=9)), ids=str)
def test_generated_cases_are_accepted(config):
    """What `cases` calls legal, the validation accepts (it raises otherwise) and prints."""
    assert f"N={config.N}, K={config.K}" in str(config)


def test_nothing_is_rewritten():
    """The fields stay what was passed: a ladder unsorted, defaults unresolved, aliases as spelt."""
    config = MatmulConfig(M=[16, 1], N=8, K=8, A_dtype="fp16", group_size=None)
    assert (config.M, config.A_dtype, config.W_dtype, config.group_size) == ([16, 1], "fp16", None, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.N = 16


@pytest.mark.parametrize(
    ("M", "ladder", "static"),
    [(7, (7,), True), ((7,), (7,), False), ([64, 1, 16], (1, 16, 64), False), (None, DEFAULT_LADDER, False)],
)
def test_ladder(M, ladder, static):
    """An int is one static rung, a sequence its rungs in rising order, None the default ladder."""
    config = make(M=M)
    assert (config.ladder, config.is_static) == (ladder, static)
    assert config.A_shape == ((M, 128) if static else ("m", 128))


def test_W_defaults_to_the_type_of_A():
    """Without W_dtype the product is an ordinary one."""
    assert MatmulConfig(M=1, N=8, K=8, A_dtype="bfloat16").W_format.name == "bfloat16"


@pytest.mark.parametrize(("group_size", "group", "count"), [(-1, 128, 1), (None, 128, 1), (32, 32, 4), (128, 128, 1)])
def test_groups(group_size, group, count):
    """-1 and None are one group a row; Scale has a column for each group."""
    config = make(group_size=group_size, with_scaling=True)
    assert (config.group, config.num_groups, config.scale_shape) == (group, count, (64, count))


@pytest.mark.parametrize(
    ("W_dtype", "shape"),
    [("uint1", (64, 16)), ("int2", (64, 32)), ("uint3", (64, 48)), ("nf4", (64, 64)), ("int5", (64, 80)),
     ("uint6", (64, 96)), ("int7", (64, 112)), ("uint8", (64, 128)), ("float8_e4m3", (64, 128)), (None, (64, 128))],
)  # fmt: skip
def test_stored_shape(W_dtype, shape):
    """A packed row has K * bits / 8 bytes, any other K elements."""
    assert make(W_dtype=W_dtype).W_shape == shape


def test_stored_shape_of_the_transposed_layout():
    """Layout nn stores W as (K, N)."""
    assert make(W_dtype="float16", layout="nn").W_shape == (128, 64)


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({"zeros_mode": "original"}, (64, 4)),
        ({"zeros_mode": "rescale"}, (64, 4)),
        ({"zeros_mode": "quantized"}, (4, 32)),
        ({"zeros_mode": "quantized", "W_dtype": "uint3"}, (4, 24)),
        ({"zeros_mode": "quantized", "W_dtype": "uint8"}, (4, 64)),
    ],
)
def test_zeros_shape(fields, shape):
    """Zero points have the shape of Scale, packed ones (K / group, N * bits / 8)."""
    assert make(group_size=32, with_zeros=True, **fields).zeros_shape == shape


@pytest.mark.parametrize(
    ("A_dtype", "scale_dtype", "resolved"),
    [("float16", None, "float16"), ("bfloat16", None, "bfloat16"), ("float32", None, "float32"),
     ("int8", None, "float32"), ("float8_e4m3", None, "float32"), ("int8", "float16", "float16")],
)  # fmt: skip
def test_scale_type(A_dtype, scale_dtype, resolved):
    """Scale has the type of A, float32 where A has 8 bits, or what was asked for."""
    assert make(A_dtype=A_dtype, scale_dtype=scale_dtype).scale_format.name == resolved


@pytest.mark.parametrize(
    ("fields", "decode_dtype", "reduce_dtype"),
    [
        ({"A_dtype": "float16"}, "float16", "float32"),
        ({"A_dtype": "bfloat16", "W_dtype": "nf4", "with_scaling": True}, "bfloat16", "float32"),
        ({"A_dtype": "float32"}, "float32", "float32"),
        ({"A_dtype": "int8"}, "int8", "int32"),
        ({"A_dtype": "int8", "with_zeros": True, "zeros_mode": "quantized"}, "int8", "int32"),
        ({"A_dtype": "int8", "W_dtype": "uint8"}, "int16", "int32"),
        ({"A_dtype": "int8", "W_dtype": "uint8", "with_zeros": True, "zeros_mode": "quantized"}, "int16", "int32"),
        ({"A_dtype": "int8", "W_dtype": "int8"}, "int8", "int32"),
        ({"A_dtype": "int8", "with_scaling": True}, "float32", "float32"),
        ({"A_dtype": "int8", "with_zeros": True}, "float32", "float32"),
        ({"A_dtype": "float8_e4m3"}, "float16", "float32"),
        ({"A_dtype": "float8_e4m3", "W_dtype": "float8_e5m2"}, "float16", "float32"),
        ({"A_dtype": "float8_e4m3", "with_scaling": True}, "float32", "float32"),
    ],
)
def test_types_of_the_computation(fields, decode_dtype, reduce_dtype):
    """B_decode has a type that holds decode(W); integers by integers add up in int32, all else in float32."""
    config = make(**fields)
    assert (config.decode_dtype, config.reduce_dtype) == (decode_dtype, reduce_dtype)


@given(configs())
def test_integer_decode_types_hold_every_value(config):
    """Where B_decode is an integer, the extremes of w - z fit its type."""
    if config.reduce_dtype != "int32":
        return
    greatest_zero = config.W_format.max_value if config.has_packed_zeros else 0
    reach = {"int8": (-128, 127), "int16": (-32768, 32767)}[config.decode_dtype]
    assert reach[0] <= config.W_format.min_value - greatest_zero
    assert config.W_format.max_value <= reach[1]


@given(configs())
def test_dict_round_trip(config):
    """to_dict survives JSON, and from_dict gives an equal problem back."""
    again = MatmulConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again.problem() == config.problem()
    assert MatmulConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()


@given(configs())
def test_problem_round_trip(config):
    """A problem names itself: the config made of it has the same problem, key and derived shapes."""
    again = MatmulConfig.from_problem(json.loads(config.key()))
    assert again.problem() == config.problem()
    assert again.key() == config.key()
    assert (again.W_shape, again.scale_shape[0], again.reduce_dtype) == (
        config.W_shape, config.scale_shape[0], config.reduce_dtype,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"M": [16, 1]}, {"M": (1, 16)}),
        ({"M": None}, {"M": DEFAULT_LADDER}),
        ({"group_size": -1, "with_scaling": True}, {"group_size": 128, "with_scaling": True}),
        ({"group_size": 32}, {"group_size": 64}),
        ({"A_dtype": "fp16"}, {"A_dtype": "float16"}),
        ({"accum_dtype": "fp32"}, {"accum_dtype": "float32"}),
        ({"fast_decoding": False}, {"propagate_b": False}),
        ({"propagate_a": True}, {"propagate_a": None}),
        ({"zeros_mode": "rescale"}, {"zeros_mode": None}),
        ({"scale_dtype": "float16", "with_scaling": True}, {"scale_dtype": None, "with_scaling": True}),
    ],
)
def test_two_spellings_of_one_problem_have_one_key(one, other):
    """Records and cache entries are found whichever way a problem was written down."""
    assert make(**one).key() == make(**other).key()


@pytest.mark.parametrize(
    "fields",
    [{"M": 2}, {"M": (1,)}, {"N": 65}, {"K": 130}, {"A_dtype": "bfloat16"}, {"W_dtype": "int4"}, {"out_dtype": "int8"},
     {"accum_dtype": "float32"}, {"W_dtype": "float16", "layout": "nn"}, {"with_bias": True}, {"with_scaling": True},
     {"with_zeros": True}, {"with_zeros": True, "zeros_mode": "rescale"}, {"with_scaling": True, "group_size": 32},
     {"with_scaling": True, "scale_dtype": "float32"}, {"fast_decoding": False}, {"with_activation_scale": True},
     {"with_channel_scale": True}],
)  # fmt: skip
def test_different_problems_have_different_keys(fields):
    """Every field that changes a kernel changes the key; a static M of 1 is not a ladder of one rung."""
    assert make(**fields).key() != make().key()


def test_problems_without_output_scales_do_not_mention_them():
    """Keys and records from before there were output scales stay what they are; a problem with them has its own."""
    plain, scaled = make(), make(with_activation_scale=True, with_channel_scale=True)
    new = {"with_activation_scale": True, "with_channel_scale": True}
    assert not set(plain.problem()) & set(new)
    assert scaled.problem() == {**plain.problem(), **new}
    assert MatmulConfig.from_problem(plain.problem()).key() == plain.key()
    assert MatmulConfig.from_problem(scaled.problem()).problem() == scaled.problem()
    assert not plain.has_output_scales
    assert make(with_channel_scale=True).has_output_scales


@pytest.mark.parametrize("name", ["with_activation_scale", "with_channel_scale"])
def test_output_scales_are_flags(name):
    """What is no bool is refused by name, and a summary names what there is."""
    with pytest.raises(ConfigError, match=f"'{name}' must be a bool \\(got 1\\)"):
        make(**{name: 1})
    words = {"with_activation_scale": "activation scales", "with_channel_scale": "channel scales"}
    assert words[name] in make(**{name: True}).problem_summary()
    assert words[name] not in make().problem_summary()


def test_configs_are_hashable_and_compare():
    """A config may be a key of a dict, also with M as a list."""
    assert {make(M=[1, 16]): "a"}[make(M=[1, 16])] == "a"
    assert make() == make()
    assert make() != make(N=128)


def test_with_M_changes_nothing_else():
    """`with_M` gives the same problem for other rows."""
    config = make(with_scaling=True, group_size=32)
    assert config.with_M((1, 8)) == make(with_scaling=True, group_size=32, M=(1, 8))
    assert config.M == 1


@pytest.mark.parametrize(
    ("fields", "plain"),
    [({}, False), ({"fast_decoding": True}, False), ({"fast_decoding": False}, True), ({"propagate_b": False}, True),
     ({"propagate_b": True}, False)],
)  # fmt: skip
def test_flags_that_ask_for_the_plain_layout(fields, plain):
    """fast_decoding=False and propagate_b=False keep the weight in the plain packing."""
    assert make(**fields).wants_plain_layout is plain


@pytest.mark.parametrize(
    ("fields", "needed"),
    [({"W_dtype": "float16"}, False), ({"W_dtype": "float16", "with_scaling": True}, True), ({}, True),
     ({"W_dtype": "float16", "with_zeros": True}, True), ({"W_dtype": "int8"}, True),
     ({"W_dtype": "int8", "A_dtype": "int8"}, False)],
)  # fmt: skip
def test_needs_decode(fields, needed):
    """Only a W of the type of A without scales and zero points is multiplied as it is."""
    assert make(**fields).needs_decode is needed


def test_text():
    """A config prints as errors name it."""
    assert str(make(M=16)) == "matmul_nt(M=16, N=64, K=128, float16 x uint4)"
    assert str(make(M=(16, 1))) == "matmul_nt(M={1,16}, N=64, K=128, float16 x uint4)"


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (dict(N=2**17, K=2**15, W_dtype="uint4"), "the stored W"),
        (dict(N=2**17, K=2**16, W_dtype="uint1", group_size=1, with_scaling=True), "Scale"),
        (dict(N=1, K=2**32, W_dtype="uint1"), "a row of A"),
        (dict(M=2**20, N=2**14, K=64), "A, or D"),
    ],
)
def test_sizes_beyond_32_bit_indices_are_refused(fields, what):
    """What 32-bit indices do not reach is refused with the operand and a way out."""
    with pytest.raises(ConfigError, match=f"{what} must have fewer than 2\\^31 elements"):
        MatmulConfig(**fields)


@pytest.mark.parametrize(("asked", "name"), [("sm_121", "sm_121a"), ("sm_88", "sm_88"), ("sm_110", "sm_110a")])
def test_architectures_that_no_table_has(asked, name):
    """A GPU newer than the table gets what the nearest older one can do."""
    from bitquant.arch import gpu_arch

    arch = gpu_arch(asked)
    assert arch.name == name
    assert arch.smem_per_block_bytes == 99 * 1024


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("4bit", "'int4' or 'uint4'"),
        ("4-bit", "'int4' or 'uint4'"),
        ("w3", "'int3' or 'uint3'"),
        ("8", "'int8' or 'uint8'"),
        ("uint44", "'uint4'"),
        ("normal_float", "'nf4'"),
        ("UINT4", "'uint4'"),
        ("half", "'float16'"),
    ],
)
def test_a_wrong_format_is_told_what_it_may_have_meant(written, meant):
    """A number of bits alone stands for both integers of that width, else the nearest name is suggested."""
    with pytest.raises(ConfigError, match=rf"'W_dtype' must be one of .*; did you mean {meant}\?$"):
        MatmulConfig(N=64, K=64, W_dtype=written)


@pytest.mark.parametrize("written", ["16bit", "99", "???", ""])
def test_nothing_is_suggested_where_nothing_is_near(written):
    """Neither formats that there are not nor those of another argument are suggested."""
    with pytest.raises(
        ConfigError,
        match=r"'scale_dtype' must be one of float16, bfloat16, float32, float8_e8m0, float8_e4m3 \(got '.*'\)$",
    ):
        MatmulConfig(N=64, K=64, W_dtype="uint4", with_scaling=True, scale_dtype=written)


LEVELS = tuple(0.1 * code - 0.7 for code in range(16))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "'codebook' must be the values of the 16 codes where W is code4 (got None)"),
        ({"codebook": LEVELS[:15]}, "'codebook' must be 16 finite numbers of float32"),
        ({"codebook": (*LEVELS[:15], float("inf"))}, "'codebook' must be 16 finite numbers of float32"),
        ({"codebook": (*LEVELS[:15], float("nan"))}, "'codebook' must be 16 finite numbers of float32"),
        ({"codebook": (*LEVELS[:15], 1e39)}, "'codebook' must be 16 finite numbers of float32"),
        ({"codebook": (*LEVELS[:15], True)}, "'codebook' must be 16 finite numbers of float32"),
        ({"codebook": (*LEVELS[:15], "1")}, "'codebook' must be 16 finite numbers of float32"),
        ({"codebook": "0123456789012345"}, "'codebook' must be 16 finite numbers of float32"),
        ({"codebook": 7}, "'codebook' must be 16 finite numbers of float32"),
        ({"codebook": LEVELS, "W_dtype": "nf4"}, "'codebook' must be None where W has levels of its own"),
        ({"codebook": LEVELS, "W_dtype": None}, "'codebook' must be None where W has levels of its own"),
        ({"codebook": LEVELS, "A_dtype": "int8"}, "'W_dtype' must be an integer format where A is int8"),
    ],
)
def test_codebooks_are_16_numbers_for_code4(fields, message):
    """A codebook goes with code4, which needs one, and with nothing else; it has 16 finite numbers."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        MatmulConfig(**{**dict(M=1, N=8, K=8, W_dtype="code4"), **fields})


def test_a_codebook_is_part_of_the_problem_by_its_content():
    """Lists and tuples of float32 values, and -0 for 0, are one problem; other values another."""
    config = MatmulConfig(M=1, N=8, K=8, W_dtype="code4", codebook=LEVELS)
    same = MatmulConfig(M=1, N=8, K=8, W_dtype="code4", codebook=[float(np.float32(level)) for level in LEVELS])
    other = MatmulConfig(M=1, N=8, K=8, W_dtype="code4", codebook=LEVELS[::-1])
    assert (config.key(), hash(config)) == (same.key(), hash(same))
    assert config.key() != other.key()
    assert config.W_format == same.W_format != other.W_format
    assert config.W_format.levels == tuple(np.float32(LEVELS).tolist())
    zeros = [MatmulConfig(M=1, N=8, K=8, W_dtype="code4", codebook=(zero, *LEVELS[1:])) for zero in (0.0, -0.0)]
    assert zeros[0].key() == zeros[1].key()
    assert np.signbit([zero.W_format.levels[0] for zero in zeros]).tolist() == [False, False]
    assert "codebook" not in MatmulConfig(M=1, N=8, K=8, W_dtype="nf4").problem()


def test_a_codebook_survives_json():
    """Fields and problem of a config are written and read without a change."""
    config = MatmulConfig(M=1, N=8, K=8, W_dtype="code4", codebook=LEVELS)
    assert MatmulConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert MatmulConfig.from_problem(json.loads(config.key())).key() == config.key()
    assert config_of(matmul_dequantize_b(config, 1)).key() == config.key()
