# SPDX-License-Identifier: Apache-2.0
"""Layers on the CPU, and the rounding of float weights."""

from __future__ import annotations

import copy
import io
import itertools
import json
import pickle
import types
import weakref

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

import bitquant as bq
from bitquant.formats import SCALE_DTYPES, number_format
from bitquant.formats.codebooks import NF4_VALUES
from bitquant.layouts import weight_shape
from bitquant.nn import BitLinear, Linear, module, quantize, rounding
from bitquant.operator import core as operator_core
from bitquant.packing import pack, unpack_zeros
from bitquant.relayout import to_layout
from bitquant.testing.oracle import assert_close, decode_plain, oracle, oracle_weight

N, K, GROUP = 24, 96, 32
SIGNED = [f"int{b}" for b in range(2, 9)]
UNSIGNED = [f"uint{b}" for b in range(1, 9)]
TABLES = {
    "nf4": NF4_VALUES,
    **{name: number_format(name).levels for name in ("fp4_e2m1", "float6_e3m2", "float6_e2m3")},
    "float8_e4m3": torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double().tolist(),
    "float8_e5m2": torch.arange(256, dtype=torch.uint8).view(torch.float8_e5m2).double().tolist(),
}
QUANTIZED = [*SIGNED, *UNSIGNED, *TABLES, "int1"]
#: The largest relative growth of a number that is rounded up to the next one of its type.
SPACING = {
    "float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float8_e4m3": 2.0**-3, "float8_e8m0": 1.0,
}  # fmt: skip
WIDE_SCALES = [name for name in SCALE_DTYPES if number_format(name).bits > 8]


def quantized_config(W_dtype, **fields):
    """The problem that `quantize` needs for a format."""
    defaults = dict(
        M=(1, 16), N=N, K=K, W_dtype=W_dtype, group_size=GROUP, with_scaling=True, with_zeros=W_dtype in UNSIGNED
    )
    return bq.MatmulConfig(**{**defaults, **fields})


def float_weight(seed=0):
    """A weight with groups of all signs, of one sign, of zeros, of one number, of tiny and of large ones."""
    weight = torch.randn(N, K, generator=torch.Generator().manual_seed(seed))
    weight[1, :GROUP] = 0
    weight[2] = weight[2].abs() + 3
    weight[3] = -weight[3].abs() - 3
    weight[4] = 0.7
    weight[5] *= 1e-7  # Scales are subnormal in float16, or round to 0.
    weight[6] *= 2000
    return weight


def decoded(config, values, scale, zeros):
    """What the layer computes with, float64."""
    return oracle_weight(config, values, scale, unpack_zeros(zeros, config) if config.has_packed_zeros else zeros)


def spread(array):
    """One number a group -> one number a weight, float64."""
    return np.repeat(array.double().numpy(), GROUP, axis=1)


def grouped(weight):
    """(N, K) -> (N, K / group, group), float64."""
    return weight.double().numpy().reshape(N, K // GROUP, GROUP)


@pytest.fixture(scope="module")
def layer():
    """A layer with every operand, random."""
    return random_layer()


def random_layer(seed=0):
    """A layer with every operand, random."""
    torch.manual_seed(seed)
    return Linear.from_float(torch.nn.Linear(K, N).half(), "uint4", GROUP, opt_M=(1, 16))


# quantize.


@pytest.mark.parametrize(
    ("W_dtype", "scale_dtype"),
    [
        *itertools.product(QUANTIZED, WIDE_SCALES),
        *itertools.product(("int1", "int4", "fp4_e2m1", "float8_e4m3"), ("float8_e8m0", "float8_e4m3")),
    ],
)
def test_scale_formulas(W_dtype, scale_dtype):
    """Each scale is its formula, rounded up to its type; groups of zeros have 1, or 0 (the least power) for int1."""
    weight = float_weight()
    if scale_dtype == "float8_e4m3":
        weight[6] /= 100  # Its greatest number is 448.
    config = quantized_config(W_dtype, scale_dtype=scale_dtype)
    _, scale, _ = quantize(weight, config)
    assert scale.dtype == config.scale_format.torch_dtype
    w = grouped(weight)
    bits = config.W_format.bits
    if W_dtype == "int1":
        wanted = np.abs(w).mean(-1)
    elif W_dtype in UNSIGNED:
        wanted = (np.maximum(w.max(-1), 0) - np.minimum(w.min(-1), 0)) / (2**bits - 1)
    elif W_dtype in SIGNED:
        wanted = np.abs(w).max(-1) / (2 ** (bits - 1) - 1)
    else:
        wanted = np.abs(w).max(-1) / np.nanmax([v for v in TABLES[W_dtype] if np.isfinite(v)])
    least = {"float16": 2.0**-24, "float8_e4m3": 2.0**-9}.get(scale_dtype, 0)  # The spacing of subnormals.
    got = scale.double().numpy()
    nonzero = wanted > 0
    assert (got[~nonzero] == ((0, 2.0**-127)[scale_dtype == "float8_e8m0"] if W_dtype == "int1" else 1)).all()
    # The formulas are evaluated in float32.
    assert (got[nonzero] >= wanted[nonzero] * (1 - 2.0**-22)).all()
    room = np.maximum(wanted * (SPACING[scale_dtype] + 2.0**-22), least)
    assert (got - wanted <= room)[nonzero].all()


@pytest.mark.parametrize(("W_dtype", "scale_dtype"), [*itertools.product(SIGNED, WIDE_SCALES)])
def test_signed_integers_are_within_half_a_step(W_dtype, scale_dtype):
    """A weight comes back within half a step of its group, also where scales are subnormal."""
    weight = float_weight()
    config = quantized_config(W_dtype, scale_dtype=scale_dtype)
    values, scale, zeros = quantize(weight, config)
    assert zeros is None
    assert (np.abs(decoded(config, values, scale, None) - weight.double().numpy()) <= spread(scale) * 0.50001).all()
    assert int(values.max()) == -int(values.min()) == config.W_format.max_value


@pytest.mark.parametrize("zeros_mode", ["original", "rescale", "quantized"])
@pytest.mark.parametrize("W_dtype", UNSIGNED)
def test_unsigned_integers_are_within_half_a_step(W_dtype, zeros_mode):
    """A weight comes back within half a step, groups of one sign included; zeros come back as zeros."""
    weight = float_weight()
    weight[:, ::7] = 0
    config = quantized_config(W_dtype, zeros_mode=zeros_mode)
    values, scale, zeros = quantize(weight, config)
    result = decoded(config, values, scale, zeros)
    bound = spread(scale) * 0.50001
    if zeros_mode == "rescale":
        bound += np.maximum(spread(zeros) * 2.0**-11, 2.0**-25)  # The rounding of z * s to float16.
    else:
        assert (result[:, ::7] == 0).all()
    assert (np.abs(result - weight.double().numpy()) <= bound).all()
    assert int(values.to(torch.int16).max()) == config.W_format.max_value


def test_zero_points_are_integers_of_the_width():
    """Zero points are round(-low / s), the same numbers for "original" and, packed, for "quantized"."""
    weight = float_weight()
    original, quantized = (quantized_config("uint4", zeros_mode=mode) for mode in ("original", "quantized"))
    values, scale, zeros = quantize(weight, original)
    low = np.minimum(grouped(weight).min(-1), 0)
    assert np.array_equal(zeros.double().numpy(), np.rint(-low / scale.double().numpy()))
    assert zeros.min() == 0
    assert zeros.max() == 15
    again, same_scale, packed = quantize(weight, quantized)
    assert packed.shape == quantized.zeros_shape
    assert torch.equal(unpack_zeros(packed, quantized).T.half(), zeros)
    assert torch.equal(again, values)
    assert torch.equal(same_scale, scale)


@pytest.mark.parametrize(("W_dtype", "scale_dtype"), [*itertools.product(TABLES, WIDE_SCALES)])
def test_formats_with_uneven_levels_take_the_nearest(W_dtype, scale_dtype):
    """No other level of nf4, fp4_e2m1 or float8 is nearer to a weight than the one chosen."""
    weight = float_weight()
    config = quantized_config(W_dtype, scale_dtype=scale_dtype)
    values, scale, _ = quantize(weight, config)
    levels = np.unique([v for v in TABLES[W_dtype] if np.isfinite(v)])
    w, s = weight.double().numpy(), spread(scale)
    nearest = np.abs(levels * s[..., None] - w[..., None]).min(-1)
    assert (np.abs(decoded(config, values, scale, None) - w) <= nearest + np.abs(w) * 2.0**-22).all()


def test_int1_keeps_the_sign():
    """int1 is -1 for negative weights and +1 for others, and groups of zeros decode to zeros."""
    weight = float_weight()
    config = quantized_config("int1")
    values, scale, _ = quantize(weight, config)
    assert torch.equal(values == -1, weight < 0)
    assert torch.equal(values == 1, weight >= 0)
    assert (decoded(config, values, scale, None)[1, :GROUP] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_quantize_takes_every_float_type(dtype):
    """The type of the weight does not matter where its values are the same."""
    weight = float_weight().bfloat16()
    weight[5] = 0  # float16 does not hold these.
    config = quantized_config("int4")
    for got, wanted in zip(quantize(weight.to(dtype), config), quantize(weight.float(), config), strict=True):
        assert got is wanted is None or torch.equal(got, wanted)


def test_quantize_leaves_native_floats_alone():
    """A weight of the type of A is cast, without scales."""
    weight = float_weight()
    values, scale, zeros = quantize(weight, bq.MatmulConfig(M=1, N=N, K=K))
    assert torch.equal(values, weight.half())
    assert scale is None
    assert zeros is None


def test_quantize_in_slices_of_rows(monkeypatch):
    """A weight that is rounded a few rows at a time is rounded the same."""
    weight = float_weight()
    config = quantized_config("uint4", zeros_mode="quantized")
    whole = quantize(weight, config)
    monkeypatch.setattr(rounding, "_CHUNK_ELEMENTS", 5 * K)
    assert all(torch.equal(a, b) for a, b in zip(quantize(weight, config), whole, strict=True))


QUANTIZE_ERRORS = {
    "integers": (torch.zeros(N, K, dtype=torch.int8), {}, r"'weight' must be a tensor of floats \(got torch.int8\)"),
    "no tensor": ([0.0], {}, r"'weight' must be a tensor of floats \(got list\)"),
    "shape": (torch.zeros(K, N), {}, r"'weight' must have shape \(N, K\) = \(24, 96\) \(got \(96, 24\)\)"),
    "no scale": (
        torch.zeros(N, K),
        {"with_scaling": False, "group_size": None},
        r"'with_scaling' must be True to quantize to int4 \(got False\)",
    ),
    "zeros": (torch.zeros(N, K), {"with_zeros": True}, r"'with_zeros' must be False to quantize to int4 \(got True\)"),
    "no zeros": (torch.zeros(N, K), {"W_dtype": "uint4"}, "'with_zeros' must be True to quantize to uint4"),
    "nan": (torch.full((N, K), float("nan")), {}, r"'weight' must be finite \(got nan at \(0, 0\)\)"),
    "too large": (torch.full((N, K), 1e6), {}, "too large for float16 scales .*1e\\+06.*use scale_dtype='float32'"),
}


@pytest.mark.parametrize("fault", QUANTIZE_ERRORS)
def test_quantize_errors(fault):
    """What cannot be rounded is refused, with the reason."""
    weight, fields, message = QUANTIZE_ERRORS[fault]
    with pytest.raises(bq.ConfigError, match=message):
        quantize(weight, quantized_config(**{"W_dtype": "int4", "with_zeros": False, **fields}))


# Linear.


def kind_of(W_dtype):
    """What a format shows of a layer; test_correctness.py has every format."""
    fmt = number_format(W_dtype)
    return {(type(fmt), fmt.is_unsigned), (fmt.bits > 8, fmt.is_packed), W_dtype == "int1"}


@pytest.mark.parametrize("W_dtype", [*QUANTIZED, "float16"])
@pytest.mark.sample(shows=kind_of)
def test_from_float_against_the_oracle(W_dtype):
    """A layer computes with the weight that `quantize` returned, in every kind of format."""
    torch.manual_seed(0)
    source = torch.nn.Linear(K, N).half()
    layer = Linear.from_float(source, W_dtype, GROUP, opt_M=(16,))
    x = torch.randn(5, K).half()
    values, scale, zeros = quantize(source.weight, layer.config)
    assert_close(layer(x), oracle(layer.config, x, values, scale, zeros, source.bias), layer.config)


#: Uniform weights, as torch.nn.Linear draws them, rounded with a step of d have an error of d / sqrt(12) and a size of
#: max|w| / sqrt(3): relative error = d / (2 max|w|) = 1 / (2^b - 2) at most, and a little more for the bias.
@pytest.mark.parametrize(
    ("W_dtype", "bound"), [("int8", 0.005), ("uint8", 0.005), ("int4", 0.08), ("uint4", 0.08), ("nf4", 0.11)]
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.sample(shows=lambda W_dtype, bound, dtype: {W_dtype, (dtype, bound)})
@pytest.mark.thorough
def test_from_float_is_near_the_float_layer(W_dtype, bound, dtype):
    """The replaced layer's result is met as nearly as the format allows, in the type that the layer had."""
    torch.manual_seed(0)
    source = torch.nn.Linear(256, 64).to(dtype)
    layer = Linear.from_float(source, W_dtype, 128, opt_M=(16,))
    x = torch.randn(9, 256).to(dtype)
    got, wanted = layer(x), source(x)
    assert got.dtype == dtype
    assert torch.linalg.norm((got - wanted).double()) <= bound * torch.linalg.norm(wanted.double())


@pytest.mark.thorough
def test_from_float_in_other_zeros_modes():
    """Packed zero points give the same numbers; those of "rescale" meet the float layer as nearly."""
    torch.manual_seed(0)
    source = torch.nn.Linear(K, N).half()
    x = torch.randn(5, K).half()
    modes = ("original", "quantized", "rescale")
    original, quantized, rescale = (
        Linear.from_float(source, "uint4", GROUP, zeros_mode=mode, opt_M=(1, 16))(x).double() for mode in modes
    )
    wanted = source(x).double()
    assert torch.linalg.norm(quantized - original) <= 1e-3 * torch.linalg.norm(original)
    assert torch.linalg.norm(rescale - wanted) <= 0.08 * torch.linalg.norm(wanted)


def test_script_of_a_bitblas_user():
    """Construction by BitBLAS's names, integer weights, saving, loading, calling: exact for integer activations."""
    model = Linear(
        in_features=64, out_features=48, bias=False, A_dtype="float16", W_dtype="int4", accum_dtype="float16",
        out_dtype="float16", group_size=None, with_scaling=False, with_zeros=False, zeros_mode=None,
        opt_M=[1, 16], enable_tuning=False,
    )  # fmt: skip
    weight = torch.randint(-7, 7, (48, 64), dtype=torch.int8)
    model.load_and_transform_weight(weight)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    model.load_state_dict(torch.load(file))
    model.eval()
    x = torch.randint(-4, 5, (1, 64)).half()
    assert torch.equal(model(x).long(), x.long() @ weight.long().T)


def test_load_and_transform_weight_with_every_operand():
    """Integer weights with scales, packed zero points and a bias against the oracle; the layer keeps copies."""
    config = quantized_config("uint4", zeros_mode="quantized", with_bias=True)
    layer = Linear(
        K, N, bias=True, W_dtype="uint4", group_size=GROUP, with_scaling=True, with_zeros=True, zeros_mode="quantized",
        opt_M=(1, 16),
    )  # fmt: skip
    weight = torch.randint(0, 16, (N, K))
    scales, bias = torch.rand(N, K // GROUP).half(), torch.randn(N).half()
    zeros = torch.randint(0, 16, (K // GROUP, N))
    layer.load_and_transform_weight(weight, scales, bq.packing.pack_zeros(zeros, config), bias)
    x = torch.randn(5, K).half()
    reference = oracle(config, x, weight, scales, zeros, bias)
    assert_close(layer(x), reference, config)
    scales.zero_()
    bias.zero_()
    assert_close(layer(x), reference, config)
    assert np.array_equal(decode_plain(layer.qweight, config), weight.numpy())


LOAD_ERRORS = {
    "no scales": (dict(scales=None), r"'scales' is missing: the layer has with_scaling=True; .*\(24, 3\)"),
    "no bias": (dict(bias=None), "'bias' is missing: the layer has bias=True"),
    "zeros": (dict(zeros=torch.zeros(N, 3).half()), "'zeros' was given, but the layer has with_zeros=False"),
    "type": (
        dict(scales=torch.ones(N, 3)),
        r"'scales' must be a tensor of type torch.float16 \(got torch.float32\); use",
    ),
    "shape": (dict(scales=torch.ones(3, N).half()), r"'scales' must have shape \(24, 3\) \(got \(3, 24\)\)"),
    "weight shape": (
        dict(weight=torch.zeros(K, N, dtype=torch.int8)),
        r"'weight' must have shape \(N, K\) = \(24, 96\)",
    ),
    "weight value": (
        dict(weight=torch.full((N, K), 8)),
        r"'weight' out of range: got value 8 at \(0, 0\), int4 holds -8..7",
    ),
    "float weight": (dict(weight=torch.zeros(N, K)), "'weight' must hold integers where W is int4"),
}


def test_packed_zero_points_must_be_packed():
    """Integers in place of what is packed: the error of the layer and that of an operator say what packs them."""
    fields = {"W_dtype": "uint4", "group_size": 32, "with_scaling": True, "with_zeros": True, "zeros_mode": "quantized"}
    layer, weight, scale = Linear(64, 48, **fields), torch.zeros(48, 64, dtype=torch.int8), torch.ones(48, 2).half()
    matmul = bq.Matmul(layer.config, target="cpu")
    for zeros in (torch.zeros(2, 48, dtype=torch.int64), torch.zeros(2, 48, dtype=torch.int8)):
        with pytest.raises(bq.ConfigError, match=r"'zeros' must .*; bitquant\.packing\.pack_zeros makes them"):
            layer.load_and_transform_weight(weight, scale, zeros)
        with pytest.raises(bq.CallError, match=r"'zeros' must .*; pass what transform_zeros returned"):
            matmul(torch.zeros(1, 64).half(), matmul.transform_weight(weight), scale=scale, zeros=zeros)


@pytest.mark.parametrize("fault", LOAD_ERRORS)
def test_load_and_transform_weight_errors(fault):
    """A wrong operand is named, and nothing is loaded."""
    layer = Linear(K, N, bias=True, W_dtype="int4", group_size=GROUP, with_scaling=True)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    operands = dict(
        weight=torch.ones(N, K, dtype=torch.int8), scales=torch.ones(N, 3).half(), bias=torch.ones(N).half()
    )
    change, message = LOAD_ERRORS[fault]
    with pytest.raises(bq.ConfigError, match=message):
        layer.load_and_transform_weight(**{**operands, **change})
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())


def test_state_dict(layer):
    """A state dict carries exactly the operands that a layer has, and a fresh layer loads it."""
    assert list(layer.state_dict()) == ["qweight", "scales", "zeros", "bias", "_extra_state"]
    assert list(Linear(K, N, W_dtype="int4").state_dict()) == ["qweight", "_extra_state"]
    fresh = Linear(K, N, True, W_dtype="uint4", group_size=GROUP, with_scaling=True, with_zeros=True, opt_M=(1, 16))
    fresh.load_state_dict(layer.state_dict())
    x = torch.randn(3, K).half()
    assert torch.equal(fresh(x), layer(x))


def test_state_dict_of_another_layer_is_refused(layer):
    """Missing and additional operands and other shapes are errors of load_state_dict."""
    without_bias = Linear(K, N, W_dtype="uint4", group_size=GROUP, with_scaling=True, with_zeros=True)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"bias"'):
        without_bias.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match=r'Missing key.*"bias"'):
        layer.load_state_dict(without_bias.state_dict())
    with pytest.raises(RuntimeError, match="W_dtype is 'int4' and not 'int8'"):
        Linear(K, N, W_dtype="int8").load_state_dict(Linear(K, N, W_dtype="int4").state_dict())


@pytest.mark.parametrize("W_dtype", ["uint4", "float8_e4m3"])
@pytest.mark.parametrize("cast", ["half", "bfloat16", "float", "double"])
def test_casts_of_a_model_do_not_touch_the_operands(W_dtype, cast):
    """`.half()` and the like cast other layers of a model; kernels are made for fixed types."""
    torch.manual_seed(0)
    layer = Linear.from_float(
        torch.nn.Linear(K, N), W_dtype, GROUP, A_dtype="float16", scale_dtype="float32", opt_M=(1, 16)
    )
    model = torch.nn.Sequential(torch.nn.LayerNorm(K), layer)
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    getattr(model, cast)()
    assert model[0].weight.dtype == getattr(torch.zeros(1), cast)().dtype
    for name, tensor in layer.state_dict().items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor.view(torch.uint8), before[name].view(torch.uint8))
    assert layer(torch.randn(2, K).half()).isfinite().all()


def test_moving_to_another_device_and_back():
    """`.to(device)` moves every operand; a layer on the meta device is loaded onto that of the weight."""
    layer = random_layer()
    weight, scales, zeros, bias = (torch.randint(0, 16, (N, K)), *(t.clone() for t in list(layer.buffers())[1:]))
    wanted = random_layer()
    wanted.load_and_transform_weight(weight, scales, zeros, bias)
    layer.to("meta")
    assert all(tensor.is_meta for tensor in layer.buffers())
    layer.load_and_transform_weight(weight, scales, zeros, bias)
    x = torch.randn(2, K).half()
    assert torch.equal(layer(x), wanted(x))


def test_leading_dimensions_output_and_no_rows(layer):
    """A may have any leading dimensions, none at all, and no rows; a given output is written."""
    x = torch.randn(6, K).half()
    flat = layer(x)
    assert torch.equal(layer(x.view(2, 1, 3, K)), flat.view(2, 1, 3, N))
    assert torch.equal(layer(x[0]), layer(x[:1])[0])
    assert layer(x[:0].view(2, 0, K)).shape == (2, 0, N)
    output = torch.full((6, N), float("nan")).half()
    assert layer(x, output=output) is output
    assert torch.equal(output, flat)
    assert layer(x.requires_grad_()).requires_grad


@pytest.mark.parametrize("A_dtype", [None, "int8"])
def test_inputs_of_any_strides(A_dtype):
    """Models pass slices, the last position of a sequence say: a layer takes them, as torch's does."""
    torch.manual_seed(0)
    layer = Linear.from_float(torch.nn.Linear(K, N).half(), group_size=-1, A_dtype=A_dtype, opt_M=(16,))
    last = torch.randn(3, 5, K).half()[:, -1:]
    transposed = torch.randn(K, 3).half().T
    every_second = torch.randn(4, 2 * K).half()[:, ::2]
    for x in (last, transposed, every_second):
        assert not x.is_contiguous()
        assert torch.equal(layer(x), layer(x.contiguous()))


CALL_ERRORS = {
    "type": (torch.zeros(3, K), r"'A' must be of type torch.float16 \(got torch.float32\); use .to\(torch.float16\)"),
    "shape": (torch.zeros(3, K - 1).half(), r"'A' must have shape \(..., 96\), K last \(got \(3, 95\)\)"),
    "device": (torch.zeros(3, K, device="meta").half(), r"'A' must be on cpu.*\(got meta\)"),
    "no tensor": ([1.0], r"'A' must be a torch.Tensor \(got list\)"),
}


@pytest.mark.parametrize("fault", CALL_ERRORS)
def test_call_errors(layer, fault):
    """Nothing is cast silently: a wrong input is an error."""
    A, message = CALL_ERRORS[fault]
    with pytest.raises(bq.CallError, match=message):
        layer(A)


def test_static_rows():
    """An int as opt_M makes a layer for exactly so many rows."""
    layer = Linear(16, 8, W_dtype="int4", opt_M=4)
    assert layer(torch.zeros(2, 2, 16).half()).shape == (2, 2, 8)
    with pytest.raises(bq.CallError, match=r"'A' must have 4 rows \(got 3\)"):
        layer(torch.zeros(3, 16).half())


def test_construction_errors():
    """Rules of the config hold at construction; what only a call needs is refused at the first call."""
    with pytest.raises(bq.ConfigError, match=r"'K' must be a multiple of 2 .*uint4.*\(got K=33, remainder 1\)"):
        Linear(33, 8, W_dtype="uint4")
    with pytest.raises(bq.ConfigError, match=r"'group_size' must divide K \(got group_size=64, K=96, remainder 32\)"):
        Linear.from_float(torch.nn.Linear(96, 8).half(), group_size=64)
    with pytest.raises(bq.ConfigError, match=r"'linear' must be a torch.nn.Linear \(got Embedding\)"):
        Linear.from_float(torch.nn.Embedding(8, 8))
    with pytest.raises(bq.ConfigError, match=r"'W_dtype' must be one of .*\(got 'int9'\)"):
        Linear.from_float(torch.nn.Linear(8, 8), "int9")
    with pytest.raises(bq.ConfigError, match=r"'linear' must have a weight of at most 32 bits.*\.float\(\)"):
        Linear.from_float(torch.nn.Linear(8, 8).double(), "int4", 8)


def test_named_target_for_reading_kernels():
    """A layer for a GPU that is not here shows its kernels, and refuses tensors of the CPU."""
    layer = Linear(64, 32, W_dtype="int4", opt_M=1, target="sm_90a")
    assert "__global__" in layer.operator("cuda").get_source()
    with pytest.raises(bq.CallError, match=r"'A' must be on cuda, where this operator was built for \(got cpu\)"):
        layer(torch.zeros(1, 64).half())


def test_copies_and_pickles(layer):
    """A layer that has been called is copied and pickled, and equal layers share one set of operators."""
    x = torch.randn(3, K).half()
    wanted = layer(x)
    clone = copy.deepcopy(layer)
    assert torch.equal(clone(x), wanted)
    assert clone.qweight.data_ptr() != layer.qweight.data_ptr()
    assert torch.equal(pickle.loads(pickle.dumps(layer))(x), wanted)  # noqa: S301  Our own bytes.
    assert clone.operator("cpu") is layer.operator("cpu")
    assert random_layer().operator("cpu") is layer.operator("cpu")


def test_repr_says_what_the_layer_is(layer):
    """The representation gives sizes and formats."""
    assert repr(layer) == (
        "Linear(in_features=96, out_features=24, float16 x uint4 -> float16, sums in float32, groups of 32, "
        "float16 scales, original zero points, bias)"
    )


def test_torch_compile_before_the_first_call():
    """torch.compile takes a layer whole though its kernels are not made yet; one graph serves equal layers."""
    torch._dynamo.reset()
    counters.clear()
    x = torch.randn(3, 128).half()
    for seed in range(3):
        torch.manual_seed(seed)
        layer = Linear.from_float(torch.nn.Linear(128, 40).half(), "uint4", 64, opt_M=(1, 8))
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(x), layer(x))
    assert counters["stats"]["unique_graphs"] == 1
    other = Linear.from_float(torch.nn.Linear(128, 48).half(), "uint4", 64, opt_M=(1, 8))
    compiled = torch.compile(other, backend="aot_eager", fullgraph=True)
    for rows in (3, 7, 1):
        assert torch.equal(compiled(x.repeat(3, 1)[:rows]), other(x.repeat(3, 1)[:rows]))


# Layouts of the weight. The CPU stands in for a GPU: `gpu` makes it a device whose kernels read fragments.


class AsItStands:
    """A rule that leaves a function as it is: its meaning, which compiles for the CPU with the weight in any layout."""

    name = "as_it_stands"
    pipeline = "s_tir"

    def apply(self, func, target, _):
        return func


class FakeGpu:
    """The layout in which kernels on the CPU read the weight; a test sets another one to be on another device."""

    layout = "fragment"


#: Operators by rules of one's own, which are not cached on disk, by problem and layout.
AS_THEY_STAND = {}


@pytest.fixture
def gpu(monkeypatch):
    """The CPU as a device with kernels, real ones, that read fragments."""
    fake = FakeGpu()

    def layout(self, device_type):
        return fake.layout if device_type == "cpu" else "plain"

    def matmul(config, target, enable_tuning):
        key = config.key(), str(target), enable_tuning, fake.layout
        if key not in AS_THEY_STAND:
            AS_THEY_STAND[key] = bq.Matmul(config, target=target, enable_tuning=enable_tuning, rules=(AsItStands(),))
        return AS_THEY_STAND[key]

    monkeypatch.setattr(module.Kernels, "layout", layout)
    monkeypatch.setattr(module, "_in_use", weakref.WeakValueDictionary())
    monkeypatch.setattr(module, "Matmul", matmul)
    monkeypatch.setattr(operator_core, "preferred_layout", lambda *_: fake.layout)
    return fake


def bits(state):
    """The bytes of a state dict, or of a layer's."""
    state = state.state_dict() if isinstance(state, torch.nn.Module) else state
    return {name: (tensor.dtype, tensor.shape, tensor.view(torch.uint8).tolist()) for name, tensor in state.items()}


@pytest.mark.parametrize("W_dtype", ["uint4", "int3", "nf4", "float8_e4m3", "int8"])
def test_fragment_layer_against_the_oracle(gpu, W_dtype):
    """A layer hands its operator a weight of fragments; its state dict holds the plain one, bit by bit."""
    torch.manual_seed(0)
    source = torch.nn.Linear(K, N).half()
    layer = Linear.from_float(source, W_dtype, GROUP, opt_M=(16,))
    values, scale, zeros = quantize(source.weight, layer.config)
    packed = pack(values, layer.config)
    assert layer.operator("cpu").weight_layout == layer.weight_layout == "fragment"
    assert torch.equal(layer.qweight, to_layout(packed, layer.config, "fragment"))
    x = torch.randn(5, K).half()
    assert_close(layer(x), oracle(layer.config, x, values, scale, zeros, source.bias), layer.config)
    for keep_vars in (False, True):
        stored = torch.nn.ModuleList([layer]).state_dict(keep_vars=keep_vars)["0.qweight"]
        assert stored.dtype == packed.dtype
        assert torch.equal(stored.view(torch.uint8), packed.view(torch.uint8))


@pytest.mark.parametrize("written_in", ["plain", "fragment"])
@pytest.mark.parametrize("read_in", ["plain", "fragment"])
@pytest.mark.parametrize("assign", [False, True])
def test_state_dict_between_layouts(gpu, written_in, read_in, assign):
    """A state dict that was written in either layout loads into a layer in either, through a file."""
    gpu.layout = written_in
    source = random_layer()
    assert source.weight_layout == written_in
    x = torch.randn(3, K).half()
    wanted = source(x)
    file = io.BytesIO()
    torch.save(source.state_dict(), file)
    file.seek(0)
    gpu.layout = read_in
    module._in_use.clear()  # Another device, another operator.
    model = torch.nn.Sequential(random_layer(1))
    memory = {name: tensor.data_ptr() for name, tensor in model.named_buffers()}
    state = {f"0.{name}": tensor for name, tensor in torch.load(file).items()}
    before = bits(state)
    model.load_state_dict(state, assign=assign)
    assert model[0].weight_layout == read_in
    assert bits(state) == before
    assert bits(model[0]) == bits(source)
    if not assign:  # Captured graphs read that memory.
        assert {name: tensor.data_ptr() for name, tensor in model.named_buffers()} == memory
    elif read_in == "plain":
        assert model[0].qweight is state["0.qweight"]
    assert torch.equal(model(x), wanted)


def test_state_dicts_that_do_not_fit_a_fragment_layer(gpu):
    """What is missing or has another shape leaves the weight as it was; messages speak of the plain shape."""
    layer, state = random_layer(), random_layer(1).state_dict()
    before, memory = bits(layer), layer.qweight.data_ptr()
    without = {name: tensor for name, tensor in state.items() if name != "qweight"}
    with pytest.raises(RuntimeError, match=r'Missing key.*"qweight"'):
        layer.load_state_dict(without)
    for assign in (False, True):
        assert layer.load_state_dict(without, strict=False, assign=assign).missing_keys == ["qweight"]
        for wrong in (random_layer(1).qweight, state["qweight"].T):
            with pytest.raises(RuntimeError, match=r"size mismatch for qweight.*current model is.*\[24, 48\]"):
                layer.load_state_dict({**state, "qweight": wrong}, assign=assign)
        assert layer.weight_layout == "fragment"
        assert bits(layer)["qweight"] == before["qweight"]
        assert assign or layer.qweight.data_ptr() == memory
    layer.load_state_dict(state)
    assert bits(layer) == bits(state)


def test_hooks_see_plain_weights(gpu):
    """Hooks that rename the weight of a checkpoint work on plain weights, in both directions."""
    layer, state = random_layer(), random_layer(1).state_dict()
    seen = []

    def rename(_, state_dict, prefix, *__):
        state_dict[f"{prefix}qweight"] = state_dict.pop(f"{prefix}weight_packed")

    layer.register_load_state_dict_pre_hook(rename)
    layer.register_state_dict_post_hook(lambda _, state_dict, *__: seen.append(state_dict["qweight"]))
    layer.load_state_dict({"weight_packed" if name == "qweight" else name: tensor for name, tensor in state.items()})
    assert bits(layer) == bits(state)
    assert [tensor.shape for tensor in seen] == [(24, 48)]


def test_moves_convert_in_place_of_the_weight_before(gpu):
    """Arriving where kernels read the other layout converts the weight, and keeps no second one alive."""
    layer = random_layer()
    state = bits(layer)
    for layout in ("plain", "fragment", "plain"):
        gpu.layout = layout
        old = weakref.ref(layer.qweight)
        torch.nn.Sequential(layer).to("cpu")
        assert layer.weight_layout == layout
        assert layer.qweight.shape == weight_shape(layer.config, layout)
        assert old() is None
        assert bits(layer) == state
        assert list(dict(layer.named_buffers())) == ["qweight", "scales", "zeros", "bias"]


def test_a_weight_is_converted_where_it_leaves(gpu, monkeypatch):
    """What leaves for the plain layout is plain already, for GPUs convert fast; for the meta device nothing is done."""
    layer, moved = random_layer(), []

    def move(tensor):
        moved.append(tensor.shape)
        return tensor.clone()

    gpu.layout = "plain"
    layer._apply(move)
    assert layer.config.W_shape in moved
    assert weight_shape(layer.config, "fragment") not in moved
    gpu.layout = "fragment"
    layer.to("cpu")
    monkeypatch.setattr("bitquant.relayout.from_layout", None)
    assert layer.to("meta").qweight.shape == layer.config.W_shape


def test_moves_that_convert_nothing(gpu):
    """Casts and moves within a kind of device keep a fragment weight as it is; so it is made."""
    assert Linear(K, N, W_dtype="uint4").weight_layout == "fragment"
    layer = random_layer()
    weight = layer.qweight
    for move in (layer.half, layer.cpu, layer.double, layer.eval, layer.share_memory, lambda: layer.to(torch.bfloat16)):
        move()
        assert layer.qweight is weight
    assert weight.is_shared()


def test_meta_device_and_to_empty(gpu):
    """A weight on the meta device is plain; from there `to_empty` and load_state_dict fill a fragment layer."""
    state = random_layer().state_dict()
    layer = random_layer(1).to("meta")
    assert layer.weight_layout == "plain"
    assert {name: tensor.shape for name, tensor in layer.state_dict().items()} == {n: t.shape for n, t in state.items()}
    assert {name for name, tensor in layer.state_dict().items() if not tensor.is_meta} == {"_extra_state"}
    layer.load_state_dict(state, assign=True)
    assert layer.weight_layout == "fragment"
    assert bits(layer) == bits(state)
    layer = random_layer(1).to("meta").to_empty(device="cpu")
    assert layer.weight_layout == "fragment"
    layer.load_state_dict(state)
    assert bits(layer) == bits(state)
    with torch.device("meta"):
        layer = Linear(K, N, W_dtype="uint4")
    assert layer.weight_layout == "plain"
    assert layer.to_empty(device="cpu").weight_layout == "fragment"


@pytest.mark.parametrize("is_zip", [True, False])
def test_copies_and_pickles_of_a_fragment_layer(gpu, is_zip):
    """Copies keep the layout; a layer that was saved whole is converted by its first call on another device."""
    layer = random_layer()
    x = torch.randn(3, K).half()
    wanted = layer(x)
    clone, unpickled = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))  # noqa: S301  Our own bytes.
    for other in (clone, unpickled):
        assert torch.equal(other.qweight, layer.qweight)
        assert other.qweight.data_ptr() != layer.qweight.data_ptr()
        assert torch.equal(other(x), wanted)
    clone.qweight.zero_()
    assert torch.equal(layer(x), wanted)
    file = io.BytesIO()
    torch.save(layer, file, _use_new_zipfile_serialization=is_zip)
    file.seek(0)
    state = bits(layer)
    gpu.layout = "plain"
    module._in_use.clear()
    loaded = torch.load(file, weights_only=False)
    assert bits(loaded) == state
    assert torch.equal(loaded(x), wanted)
    assert loaded.weight_layout == "plain"
    assert bits(loaded) == state


def test_first_call_converts_what_came_another_way(gpu, monkeypatch):
    """A plain weight that was assigned is converted by the first call, not while a graph is captured."""
    layer = random_layer()
    x = torch.randn(3, K).half()
    wanted, state = layer(x), layer.state_dict()
    layer.qweight = state["qweight"].clone()
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_initialized", lambda: True)
        patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        with pytest.raises(
            bq.CallError, match=r"from the layout 'plain' to 'fragment' while a CUDA graph is captured; "
        ):
            layer(x)
        assert layer.weight_layout == "plain"
        layer.qweight = to_layout(layer.qweight, layer.config, "fragment")
        assert torch.equal(layer(x), wanted)
    layer.qweight = state["qweight"].clone()
    with torch.inference_mode():
        assert torch.equal(layer(x), wanted)
    assert layer.weight_layout == "fragment"
    layer.load_state_dict(state)  # Which could not write to a tensor of inference mode.
    assert torch.equal(layer(x), wanted)


def test_inputs_on_another_device_than_a_fragment_layer(gpu):
    """An input on another device is named, and converts nothing; so is a weight that is none."""
    layer = random_layer()
    weight = layer.qweight
    gpu.layout = "plain"  # What the operator for the other device reads.
    with pytest.raises(
        bq.CallError, match=r"the input must be on cpu, where the layer is \(got meta\); use .to\('cpu'\)"
    ):
        layer(torch.zeros(3, K, device="meta").half())
    gpu.layout = "fragment"
    assert layer.qweight is weight
    layer.qweight = torch.zeros(7, 7, dtype=torch.int8)
    assert layer.weight_layout is None
    with pytest.raises(bq.CallError, match=r"'W' must have shape"):
        layer(torch.zeros(3, K).half())


def test_torch_compile_of_a_fragment_layer(gpu):
    """One graph serves equal layers; a weight that is yet to be converted breaks graphs, or is an error with advice."""
    torch._dynamo.reset()
    counters.clear()
    layers = [random_layer(seed) for seed in range(2)]
    x = torch.randn(3, K).half()
    for layer in layers:
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        assert torch.equal(compiled(x), layer(x))
    assert counters["stats"]["unique_graphs"] == 1
    wanted, plain = layer(x), layer.state_dict()["qweight"]
    layer.qweight = plain
    with pytest.raises(torch._dynamo.exc.Unsupported, match="call the layer once, or move it"):
        compiled(x)
    model = torch.nn.Sequential(layer)
    assert torch.equal(torch.compile(model, backend="aot_eager")(x), wanted)
    assert layer.weight_layout == "fragment"


LAYOUTS = {
    "fragments": ({}, "sm_90a", "fragment"),
    "fast_decoding": ({"fast_decoding": False}, "sm_90a", "plain"),
    "propagate_b": ({"propagate_b": False}, "sm_90a", "plain"),
    "old": ({}, "sm_75", "plain"),
    "native": ({"W_dtype": "float16"}, "sm_90a", "plain"),
    "cpu": ({}, "cpu", "plain"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layout_is_known_before_kernels_are_made(case):
    """The layout follows from config and target, and is that of the operator; on the CPU it is plain."""
    fields, target, wanted = LAYOUTS[case]
    layer = Linear(256, 64, **{"W_dtype": "uint4", "opt_M": 1, "target": target, **fields})
    assert layer._kernels.layout("cuda") == wanted
    assert layer._kernels.operators == {}
    assert layer.operator("cuda").weight_layout == wanted
    assert layer._kernels.layout("cuda") == wanted
    assert layer._kernels.layout("cpu") == layer._kernels.layout("meta") == layer.weight_layout == "plain"


@pytest.mark.parametrize("layout", ["plain", "fragment"])
def test_the_operator_has_the_last_word_on_the_layout(layout):
    """Once it is made, a layer keeps its weight as the operator reads it."""
    kernels = module.Kernels(bq.MatmulConfig(M=1, N=64, K=256, W_dtype="uint4"), "sm_90a", False)
    assert kernels.layout("cuda") == "fragment"
    kernels.operators["cuda"] = types.SimpleNamespace(weight_layout=layout)
    assert kernels.layout("cuda") == layout


def test_a_gpu_without_kernels_gets_the_plain_layout(monkeypatch):
    """Where no kernels can be made, a layer still moves; its first call says why it does not run."""
    monkeypatch.setattr("bitquant.arch.detected_cuda_arch", lambda *_: None)
    layer = Linear(256, 64, W_dtype="uint4", opt_M=1)
    assert layer._kernels.layout("cuda") == "plain"
    with pytest.raises(bq.UnsupportedError, match="'target' cuda needs a GPU"):
        layer.operator("cuda")


@pytest.mark.parametrize("bias", [False, True])
def test_layer_of_8_bits_with_output_scales(bias):
    """A layer of 8-bit integers scales by token and channel in its kernel, and keeps the latter in its state dict."""
    torch.manual_seed(0)
    layer = Linear(
        64, 24, bias, A_dtype="int8", W_dtype="int8", out_dtype="float16", opt_M=(1, 16), with_activation_scale=True,
        with_channel_scale=True,
    )  # fmt: skip
    weight = torch.randint(-127, 128, (24, 64), dtype=torch.int8)
    channels, b = torch.rand(24) / 127, torch.randn(24).half() if bias else None
    with pytest.raises(bq.ConfigError, match="'channel_scale'"):
        layer.load_and_transform_weight(weight, bias=b)
    layer.load_and_transform_weight(weight, bias=b, channel_scale=channels)
    x = torch.randn(2, 3, 64)
    rows = x.abs().amax(-1, keepdim=True) / 127
    tokens_of_x = (x / rows).round().to(torch.int8)
    wanted = (tokens_of_x.double() @ weight.double().T) * rows.double() * channels.double()
    wanted += b.double() if bias else 0
    got = layer(tokens_of_x, activation_scale=rows)
    assert torch.linalg.norm(got.double() - wanted) <= 1e-3 * torch.linalg.norm(wanted)
    assert set(layer.state_dict()) == {"qweight", "channel_scale", "_extra_state", *(["bias"] if bias else [])}
    layer.half()
    assert layer.channel_scale.dtype == torch.float32
    assert torch.equal(layer(tokens_of_x, activation_scale=rows[..., 0]), got)
    with pytest.raises(bq.CallError, match="'activation_scale' is missing"):
        layer(tokens_of_x)


# BitLinear.


def ternary(weight):
    """The weight of BitNet b1.58 in float64: integers and scale."""
    w = weight.detach().double().numpy()
    scale = 1 / max(np.abs(w).mean(), 1e-5)
    return np.clip(np.rint(w * scale), -1, 1), scale


def tokens(x):
    """The activations of BitNet b1.58 in float64: integers and scales."""
    x = np.asarray(x, np.float64)
    scale = 127 / np.maximum(np.abs(x).max(-1, keepdims=True), 1e-5)
    return np.clip(np.rint(x * scale), -128, 127), scale


def bitnet(x, weight, bias=None):
    """D of one layer in float64."""
    (w, w_scale), (a, a_scale) = ternary(weight), tokens(x)
    return a @ w.T / (w_scale * a_scale) + (0 if bias is None else bias.detach().double().numpy())


def float_bitlinear(K=64, N=48, seed=0, **options):
    """A BitLinear in its float state, with random weights and, if it has one, a random bias."""
    torch.manual_seed(seed)
    layer = BitLinear(K, N, opt_M=(1, 16), **options)
    if layer.bias is not None:
        layer.bias.normal_()
    return layer


@pytest.mark.parametrize("spread_of_weights", [0.02, 1.0, 50.0])
def test_weight_quant(spread_of_weights):
    """Weights are rounded to -1, 0 and 1 by the scale 1 / mean|W|."""
    weight = torch.randn(100, 300) * spread_of_weights
    values, scale = BitLinear.weight_quant(weight)
    wanted, wanted_scale = ternary(weight)
    assert values.dtype == torch.int8
    assert scale.shape == (1,)
    assert np.isclose(scale.item(), wanted_scale, rtol=1e-6)
    # float32 may decide otherwise only next to a tie.
    tie = np.abs(np.abs(weight.double().numpy() * wanted_scale) - 0.5) < 1e-5
    assert np.array_equal(values.numpy()[~tie], wanted[~tie])
    assert tie.mean() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_activation_quant(dtype):
    """Tokens are rounded to int8 by 127 / max|x| of their own; both ends, tiny tokens and zeros included."""
    x = torch.randn(3, 40, 64)
    x[0] *= torch.logspace(-7, 4, 40)[:, None]
    x[1, 0] = 0
    x = x.to(dtype)
    values, scale = BitLinear.activation_quant(x)
    wanted, wanted_scale = tokens(x.double())
    assert values.dtype == torch.int8
    assert scale.shape == (3, 40, 1)
    assert np.allclose(scale.double(), wanted_scale, rtol=1e-6)
    exact = x.double().numpy() * wanted_scale
    assert (np.abs(values.double().numpy() - exact) <= 0.5 + 1e-4).all()
    assert (values.abs().amax(-1)[2] == 127).all()
    assert (values[1, 0] == 0).all()
    assert np.isfinite(wanted).all()


def test_tiny_and_zero_inputs_stay_finite():
    """A token of zeros gives the bias; the least floors of the scales keep tokens and weights of ~0 finite."""
    layer = float_bitlinear(bias=True).half()
    layer.post_process_weights()
    assert torch.equal(layer(torch.zeros(1, 64).half())[0], layer.bias)
    assert layer(torch.full((1, 64), 1e-7).half()).isfinite().all()
    zero = float_bitlinear()
    zero.weight.zero_()
    zero.post_process_weights()
    assert (zero(torch.randn(2, 64)) == 0).all()


def test_integer_part_is_exact():
    """The operator's sums, scaled by one, are the integer products, extremes of int8 included."""
    layer = float_bitlinear(K=1000, N=52)
    wanted, _ = ternary(layer.weight)
    layer.post_process_weights()
    assert set(np.unique(wanted)) == {-1.0, 0.0, 1.0}
    assert np.array_equal(decode_plain(layer.qweight, layer.config), wanted)
    for rows in (1, 5, 33):
        a = torch.randint(-128, 128, (rows, 1000), dtype=torch.int8)
        a[0] = -128
        product = layer.operator("cpu")(a, layer.qweight, activation_scale=torch.ones(rows))
        assert product.dtype == torch.float32
        assert np.array_equal(product.numpy(), a.long().numpy() @ wanted.T.astype(np.int64))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 1e-3), (torch.bfloat16, 8e-3), (torch.float32, 1e-3)])
def test_block_of_two_layers(dtype, bound):
    """Two layers with an activation between them against the same arithmetic in float64."""
    up, down = float_bitlinear(128, 256, 0, bias=True).to(dtype), float_bitlinear(256, 64, 1).to(dtype)
    weights = up.weight.clone(), up.bias.clone(), down.weight.clone()
    up.post_process_weights()
    down.post_process_weights()
    for rows in (1, 7, 40):
        x = torch.randn(rows, 128).to(dtype)
        hidden = torch.relu(up(x))
        got = down(hidden)
        assert got.dtype == dtype
        # What stands between the layers is rounded to the type of x in both.
        wanted_hidden = torch.from_numpy(bitnet(x.double(), *weights[:2])).to(dtype).relu()
        wanted = bitnet(wanted_hidden.double(), weights[2])
        assert np.linalg.norm(got.double().numpy() - wanted) <= bound * np.linalg.norm(wanted)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_packing_changes_no_bit(dtype, bias):
    """The float state and the packed one give the same bits, also where the kernel writes the type of x."""
    layer = float_bitlinear(bias=bias).to(dtype)
    x = torch.randn(2, 3, 64).to(dtype)
    before = layer(x)
    layer.post_process_weights()
    assert layer.qweight is not None
    assert layer.qweight.shape == (48, 16)
    assert torch.equal(layer(x), before)
    packed = layer.qweight
    layer.post_process_weights()
    assert layer.qweight is packed


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_kernel_scales_and_rounds(dtype, monkeypatch):
    """Without a bias the operator returns D itself: scaled, in the type of x."""
    layer = float_bitlinear().to(dtype)
    layer.post_process_weights()
    x = torch.randn(3, 64).to(dtype)
    results, forward = [], bq.Matmul.__call__
    monkeypatch.setattr(bq.Matmul, "__call__", lambda *a, **k: results.append(forward(*a, **k)) or results[-1])
    D = layer(x)
    assert D is results[0]
    assert D.dtype == dtype


@pytest.mark.parametrize("source", [torch.nn.Linear, BitLinear])
def test_from_bit_linear(source):
    """A packed layer is made of a torch.nn.Linear or a BitLinear, which stays as it was and shares no memory."""
    torch.manual_seed(0)
    original = source(64, 48, bias=True).half()
    weight = original.weight.detach().clone()
    with torch.no_grad():
        original.bias.normal_()
    layer = BitLinear.from_bit_linear(original, opt_M=(1, 16))
    assert layer.qweight is not None
    x = torch.randn(5, 64).half()
    result = layer(x)
    assert np.allclose(result.double(), bitnet(x.double(), weight, original.bias), rtol=2e-3, atol=2e-3)
    assert torch.equal(original.weight, weight)
    with torch.no_grad():
        original.bias.zero_()
    assert torch.equal(layer(x), result)
    assert not any(p.requires_grad for p in layer.parameters())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("packed_before", [False, True])
@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("layout", ["plain", "fragment"])
def test_bitlinear_state_dict(gpu, packed, packed_before, assign, layout):
    """A layer in either state and layout loads the state dict of either state, and computes the same."""
    gpu.layout = layout
    source = float_bitlinear(bias=True)
    x = torch.randn(3, 64)
    wanted = source(x)
    if packed:
        source.post_process_weights()
        assert source.weight_layout == layout
    state = source.state_dict()
    assert set(state) == ({"qweight", "weight_scale", "bias", "_extra_state"} if packed else {"weight", "bias"})
    model = torch.nn.Sequential(float_bitlinear(bias=True, seed=1))
    if packed_before:
        model[0].post_process_weights()
    model.load_state_dict({f"0.{name}": tensor for name, tensor in state.items()}, assign=assign)
    assert (model[0].qweight is not None) == packed
    assert model[0].weight_layout == (layout if packed else None)
    assert torch.equal(model(x), wanted)
    assert set(model[0].state_dict()) == set(state)


def test_bitlinear_state_dict_errors():
    """Missing, additional and misshapen tensors are errors of load_state_dict, in both states."""
    source = float_bitlinear()
    with pytest.raises(RuntimeError, match=r'Missing key.*"weight"'):
        source.load_state_dict({})
    with pytest.raises(RuntimeError, match=r'Missing key.*"bias"'):
        float_bitlinear(bias=True).load_state_dict(source.state_dict())
    source.post_process_weights()
    state = source.state_dict()
    with pytest.raises(RuntimeError, match="K is 64 and not 32"):
        float_bitlinear(K=32).load_state_dict(state)
    del state["weight_scale"]
    with pytest.raises(RuntimeError, match=r'Missing key.*"weight_scale"'):
        float_bitlinear().load_state_dict(state)


def test_bitlinear_casts():
    """`.half()` casts the float weight and the bias, and leaves packed weights and their scale alone."""
    layer = float_bitlinear(bias=True).half()
    assert layer.weight.dtype == layer.bias.dtype == torch.float16
    layer.post_process_weights()
    scale = layer.weight_scale.clone()
    layer.half()
    assert layer.qweight.dtype == torch.int8
    assert layer.weight_scale.dtype == torch.float32
    assert torch.equal(layer.weight_scale, scale)


def test_bitlinear_inputs():
    """Any leading dimensions, no rows, and any strides, for the integers are a copy anyway; wrong ones are named."""
    layer = float_bitlinear()
    layer.post_process_weights()
    x = torch.randn(6, 64)
    flat = layer(x)
    assert torch.equal(layer(x.view(2, 3, 64)), flat.view(2, 3, 48))
    assert torch.equal(layer(x[0]), flat[0])
    assert layer(x[:0].view(2, 0, 64)).shape == (2, 0, 48)
    assert torch.equal(layer(x.T.contiguous().T), flat)
    with pytest.raises(
        bq.CallError, match=r"'x' must be a tensor of floats of shape \(..., 64\) \(got torch.int8, shape \(1, 64\)\)"
    ):
        layer(torch.zeros(1, 64, dtype=torch.int8))
    with pytest.raises(bq.CallError, match=r"\(..., 64\) \(got torch.float32, shape \(64, 6\)\)"):
        layer(x.T)
    with pytest.raises(bq.CallError, match=r"'x' must be a tensor .*\(got list\)"):
        layer([1.0])


def test_bitlinear_construction_errors():
    """K that does not fill bytes, other widths, and a source without a float weight are refused."""
    with pytest.raises(bq.ConfigError, match=r"'K' must be a multiple of 4 .*int2.*\(got K=63, remainder 3\)"):
        BitLinear(63, 8)
    with pytest.raises(bq.ConfigError, match=r"'weight_bits' must be 1 \(got 2\)"):
        BitLinear(64, 8, weight_bits=2)
    with pytest.raises(bq.ConfigError, match=r"'input_bits' must be 8 \(got 4\)"):
        BitLinear(64, 8, input_bits=4)
    packed = float_bitlinear()
    packed.post_process_weights()
    for wrong in (packed, torch.nn.LayerNorm(8), torch.nn.Conv2d(1, 1, 3), Linear(8, 8, W_dtype="int4")):
        with pytest.raises(bq.ConfigError, match=r"'linear' must have a float weight of shape \(N, K\)"):
            BitLinear.from_bit_linear(wrong)


def test_bitlinear_torch_compile():
    """torch.compile takes a layer whole, in both states."""
    layer = float_bitlinear(bias=True)
    x = torch.randn(5, 64)
    wanted = layer(x)
    assert torch.equal(torch.compile(layer, backend="aot_eager", fullgraph=True)(x), wanted)
    layer.post_process_weights()
    assert torch.equal(torch.compile(layer, backend="aot_eager", fullgraph=True)(x), wanted)


def test_bitlinear_repr():
    """The representation gives sizes and the state."""
    layer = float_bitlinear()
    assert repr(layer) == "BitLinear(in_features=64, out_features=48, bias=False, float weight)"
    layer.post_process_weights()
    assert repr(layer) == "BitLinear(in_features=64, out_features=48, bias=False, packed)"


# Levels of one's own.

#: More levels above zero than below, in no order.
LEVELS = (0.0, -0.5, 2.0, 0.25, 1.0, -1.0, 0.5, 3.0, -0.25, 0.75, 1.5, -0.75, 2.5, 0.125, -0.125, 0.375)


@pytest.mark.parametrize("levels", [LEVELS, tuple(-level for level in LEVELS), tuple(abs(x) for x in LEVELS)], ids=str)
def test_rounding_to_levels_of_ones_own(levels):
    """Each end of a group lies within the levels, if there are any of its sign, and each number is at the nearest."""
    weight = float_weight()
    config = quantized_config("code4", codebook=levels, scale_dtype="float32")
    values, scale, zeros = quantize(weight, config)
    assert zeros is None
    w = grouped(weight)
    reach = {sign: max(sign * np.array(levels)) for sign in (1, -1)}
    ends = [np.maximum(sign * w, 0).max(-1) / reach[sign] for sign in (1, -1) if reach[sign] > 0]
    wanted = np.max(ends, axis=0)
    got = scale.double().numpy()
    np.testing.assert_allclose(got, np.where(wanted > 0, wanted, 1), rtol=2.0**-22)
    steps = w / got[..., None]
    distance = np.abs(steps[..., None] - np.array(levels))
    chosen = np.array(levels)[values.numpy()].reshape(w.shape)
    np.testing.assert_allclose(np.abs(steps - chosen), distance.min(-1), atol=1e-6)


def test_layer_with_levels_of_ones_own(tmp_path):
    """Its codebook is in its constructor's fields and its state dict, and another one is refused there."""
    linear = torch.nn.Linear(64, 24, dtype=torch.float16)
    layer = Linear.from_float(linear, "code4", 32, codebook=LEVELS, opt_M=(16,))
    fields = layer.constructor_fields()
    assert json.loads(json.dumps(fields))["codebook"] == list(LEVELS)
    twin = Linear(64, 24, bias=True, **fields)
    twin.load_state_dict(layer.state_dict())
    A = torch.randn(3, 64, generator=torch.Generator().manual_seed(1)).half()
    assert torch.equal(twin(A), layer(A))
    relative = (layer(A).double() - linear(A).double()).norm() / linear(A).double().norm()
    assert relative < 0.2
    other = Linear(64, 24, bias=True, **{**fields, "codebook": LEVELS[::-1]})
    with pytest.raises(RuntimeError, match="codebook is"):
        other.load_state_dict(layer.state_dict())


def test_model_with_levels_of_ones_own():
    """`quantize_model` takes a codebook, and needs one for code4 before it changes anything."""
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Linear(32, 16)).half()
    with pytest.raises(bq.ConfigError, match="'codebook' must be the values of the 16 codes"):
        bq.quantize_model(model, "code4", 32)
    assert type(model[0]) is torch.nn.Linear
    bq.quantize_model(model, "code4", 32, codebook=LEVELS, opt_M=(16,))
    assert [layer.config.W_format.levels for layer in model] == [LEVELS, LEVELS]
