# SPDX-License-Identifier: Apache-2.0
"""An activation of gate and up in the epilogue: its meaning, its kernels on a CPU, and its errors."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import tvm

import bitquant as bq
from bitquant import packing
from bitquant.arch import cuda_target
from bitquant.config_rules import ACTIVATIONS
from bitquant.grouped_config import config_from_problem
from bitquant.grouped_inputs import draw_grouped_inputs
from bitquant.operator.activation import activated, activation_gradient
from bitquant.schedule.records import Record, problem_without_rows
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.gemv import GemvHint
from bitquant.schedule.tuned import plan
from bitquant.testing.activations import activate, spread
from bitquant.testing.check import check_call
from bitquant.testing.generators import make_inputs
from bitquant.testing.grouped import check_grouped_call, grouped_oracle
from bitquant.testing.oracle import assert_close
from bitquant.tune.cases import reference
from bitquant.tune.measure import wrong

every_activation = pytest.mark.parametrize("activation", ACTIVATIONS)


def in_torch(name, H):
    """The definitions, in torch's functions: Llama's and Gemma's MLP, and transformers' GptOssExperts."""
    gate, up = H[..., ::2], H[..., 1::2]
    if name == "silu_mul":
        return F.silu(gate) * up
    if name == "gelu_tanh_mul":
        return F.gelu(gate, approximate="tanh") * up
    gate, up = gate.clamp(max=7.0), up.clamp(min=-7.0, max=7.0)
    return (up + 1) * (gate * torch.sigmoid(gate * 1.702))


@every_activation
def test_the_oracle_and_the_gradient_are_those_of_the_definition(activation):
    """In float64, with numbers on both sides of every limit."""
    H = torch.linspace(-40, 40, 1601, dtype=torch.float64)[torch.randperm(1601)][:1600].view(4, 400).requires_grad_()
    expected = in_torch(activation, H)
    values = H.detach()
    np.testing.assert_allclose(activate(activation, values.numpy()), expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(activated(activation, values), expected.detach(), rtol=1e-9, atol=1e-12)
    grad = torch.randn_like(expected)
    (wanted,) = torch.autograd.grad(expected, H, grad)
    torch.testing.assert_close(activation_gradient(activation, values, grad), wanted, rtol=1e-9, atol=1e-12)
    # Errors in the arguments come out as large as their derivatives say.
    size = values.abs().clamp(min=float(values.square().mean().sqrt()))
    parts = activation_gradient(activation, values, torch.ones_like(grad)) * size
    norm = torch.hypot(parts[..., ::2], parts[..., 1::2])
    np.testing.assert_allclose(spread(activation, values.numpy()), norm, rtol=1e-9, atol=1e-12)


#: Types of A and of D, types of W with K of whole vectors and not, and what else there is: of all of them the same
#: numbers are combined, so that each pair of types meets one of the others, and each activation a third of them.
TYPES = (
    ("float16", "float16"), ("bfloat16", "bfloat16"), ("float16", "float32"), ("float32", "float32"),
    ("int8", "float16"), ("int8", "int8"), ("int8", "int32"), ("float16", "int8"), ("float8_e4m3", "bfloat16"),
)  # fmt: skip
WEIGHTS = (("uint4", 256), ("int2", 300), ("int8", 40), ("fp4_e2m1", 128), (None, 33))


def typed_problems():
    """Yield a third of all problems, each with one of the activations."""
    for i, ((A_dtype, out_dtype), (W_dtype, K)) in enumerate(itertools.product(TYPES, WEIGHTS)):
        if (i + i // 5) % 3 or (A_dtype == "int8" and W_dtype == "fp4_e2m1"):
            continue
        is_int8, has_bias = A_dtype == "int8", i % 2 == 0
        scales = dict(with_activation_scale=is_int8, with_channel_scale=is_int8 and not has_bias)
        yield bq.MatmulConfig(
            M=8 if i % 4 else 1, N=34, K=K, A_dtype=A_dtype, W_dtype=W_dtype, out_dtype=out_dtype, with_bias=has_bias,
            with_scaling=W_dtype is not None, activation=ACTIVATIONS[i // 3 % 3], **scales,
        )  # fmt: skip


@pytest.mark.parametrize(
    "config", list(typed_problems()), ids=lambda c: f"{c.activation}-{c.A_dtype}-{c.W_dtype}-{c.out_dtype}"
)
def test_formats_and_types_on_a_cpu(config):
    """Types of A, W and D, with a ragged N."""
    check_call(bq.Matmul(config, target="cpu"), config.M, seed=config.K)


@pytest.mark.parametrize(("options", "activation", "N"), [
    (dict(W_dtype="uint4", with_scaling=True, group_size=32, with_zeros=True, zeros_mode="original"), "silu_mul", 2),
    (dict(W_dtype="uint4", with_scaling=True, group_size=32, with_zeros=True, zeros_mode="quantized"), "silu_mul", 30),
    (dict(W_dtype="uint3", with_scaling=True, group_size=16, with_zeros=True, zeros_mode="rescale"), "silu_mul", 96),
    (dict(W_dtype="nf4", with_scaling=True, group_size=64, with_bias=True), "gelu_tanh_mul", 64),
    (dict(W_dtype="fp4_e2m1", with_scaling=True, group_size=32, scale_dtype="float8_e8m0", with_bias=True),
     "clamped_swiglu", 94),
    (dict(W_dtype="float8_e4m3", with_scaling=True, group_size=32, rows_per_scale=16), "silu_mul", 62),
    (dict(layout="nn", with_bias=True), "gelu_tanh_mul", 30),
], ids=lambda of: of.get("zeros_mode", of.get("W_dtype", "nn")) if isinstance(of, dict) else str(of))  # fmt: skip
def test_scales_and_layouts_on_a_cpu(options, activation, N):
    """Groups, zero points and W stored (K, N); N below a tile, of whole ones, and between."""
    operator = bq.Matmul(bq.MatmulConfig(M=(1, 16), N=N, K=128, activation=activation, **options), target="cpu")
    for m in (1, 5, 40):
        check_call(operator, m, seed=m)


@every_activation
@pytest.mark.parametrize("options", [dict(), dict(A_dtype="int8", W_dtype="int8", with_bias=True, out_dtype="int32")])
def test_unscheduled_function_is_the_meaning(activation, options):
    """The prim_func compiles for the CPU as it stands, and agrees with the oracle."""
    config = bq.MatmulConfig(M=5, N=12, K=32, activation=activation, **options)
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 5)
    D = torch.full((5, 6), -1, dtype=config.out_format.torch_dtype)
    name = str(operator.prim_func.attrs["global_symbol"])
    tvm.compile(operator.prim_func, target="llvm")[name](
        inputs.A, packing.pack(inputs.W, config), *inputs.optional.values(), D
    )
    assert_close(D, inputs.reference(config), config, inputs.passed_on(config))


SPECIAL = (0.0, -0.0, 1e-30, -1e-30, 6.999, 7.0, 7.001, -7.001, 80.0, -80.0, -88.5, 3e38, -3e38, *(
    float(x) for x in ("inf", "-inf", "nan")
))  # fmt: skip


def special_operands(activation, m=1):
    """A problem whose arguments are every pair of SPECIAL: W is a bias of them, and A of zeros."""
    pairs = torch.tensor(list(itertools.product(SPECIAL, SPECIAL)))
    config = bq.MatmulConfig(
        M=m, N=2 * len(pairs), K=64, A_dtype="float32", W_dtype="uint4", out_dtype="float32", with_bias=True,
        activation=activation,
    )  # fmt: skip
    W = torch.zeros(config.N, config.K, dtype=torch.int8)
    return config, torch.zeros(m, config.K), W, pairs.flatten()


def assert_special(D, activation, H):
    """Compare with float64: NaN where that is NaN, infinity, and numbers to a relative 2e-6."""
    expected = activate(activation, H.double().numpy())
    with np.errstate(over="ignore"):
        in_float32 = expected.astype(np.float32)
    got = D.double().cpu().numpy()
    assert np.array_equal(np.isnan(got), np.isnan(expected))
    is_finite = np.isfinite(in_float32) & (np.abs(expected) > 1e-37) & np.isfinite(got)
    # A quotient of a finite gate that overflows float32 with the up is infinite there as here.
    assert np.array_equal(np.isinf(got), np.isinf(in_float32))
    np.testing.assert_allclose(got[is_finite], expected[is_finite], rtol=8e-6)
    is_small = ~np.isnan(expected) & (np.abs(expected) <= 1e-37)
    assert (np.abs(got[is_small]) <= 1.2e-37).all()


@every_activation
@pytest.mark.parametrize("m", [1, 3])
def test_saturation_infinity_and_nan(activation, m):
    """Gates and ups of every kind, against each other; nothing of one column reaches another."""
    config, A, W, bias = special_operands(activation, m)
    operator = bq.Matmul(config, target="cpu")
    D = operator(A, operator.transform_weight(W), bias=bias)
    for row in D:
        assert_special(row, activation, bias)


ROUTINGS = (
    {}, {"routing": "indexed", "top_k": 2}, {"routing": "indexed", "top_k": 2, "with_routing_weights": True},
    {"routing": "indexed", "top_k": 3, "A_rows": "slots", "D_rows": "tokens", "with_routing_weights": True},
)  # fmt: skip


def grouped_problems():
    """Return problems of an expert, one for each activation."""
    return (
        dict(W_dtype="uint4", K=128, group_size=32, with_scaling=True, with_zeros=True, with_bias=True,
             activation="silu_mul"),
        dict(W_dtype="fp4_e2m1", K=96, group_size=32, with_scaling=True, scale_dtype="float8_e8m0", A_dtype="bfloat16",
             out_dtype="bfloat16", with_bias=True, activation="clamped_swiglu"),
        dict(A_dtype="int8", W_dtype="int4", K=50, with_activation_scale=True, with_channel_scale=True,
             activation="gelu_tanh_mul"),
    )  # fmt: skip


@pytest.mark.parametrize("routing", ROUTINGS, ids=str)
@pytest.mark.parametrize("options", grouped_problems(), ids=lambda options: options["activation"])
@pytest.mark.sample(shows=lambda options, routing: {options["activation"], str(routing)})
def test_experts_on_a_cpu(routing, options):
    """Grouped products; routing weights multiply what the activation returns, and slots are added after that."""
    config = bq.GroupedMatmulConfig(num_experts=4, N=26, M=(16,), **options, **routing)
    operator = bq.GroupedMatmul(config, target="cpu")
    for m in (1, 7, 30):
        check_grouped_call(operator, m, seed=m)


def test_unscheduled_grouped_function_is_the_meaning():
    """With and without sums over slots."""
    for rows in (dict(), dict(A_rows="slots", D_rows="tokens", with_routing_weights=True)):
        config = bq.GroupedMatmulConfig(
            num_experts=3, N=10, K=32, W_dtype="int4", out_dtype="float32", activation="silu_mul", M=4,
            routing="indexed", top_k=2, **rows,
        )  # fmt: skip
        operator = bq.GroupedMatmul(config, target="cpu")
        inputs = draw_grouped_inputs(config, 4, torch.Generator().manual_seed(0))
        D = torch.full(operator.signature.output_shape(4), math.nan)
        name = str(operator.prim_func.attrs["global_symbol"])
        tvm.compile(operator.prim_func, target="llvm")[name](*inputs.stored("plain").values(), D)
        np.testing.assert_allclose(D.double(), grouped_oracle(config, inputs), rtol=1e-3, atol=1e-4)


# The config, and what goes by it.


def test_problem_names_it_where_it_is_set():
    """Keys of problems without one stay what they are, and problems come back."""
    plain = bq.MatmulConfig(N=64, K=32)
    config = dataclasses.replace(plain, activation="silu_mul")
    assert "activation" not in plain.problem()
    assert config.problem() == {**plain.problem(), "activation": "silu_mul"}
    assert bq.MatmulConfig.from_problem(config.problem()).problem() == config.problem()
    assert bq.MatmulConfig.from_dict(config.to_dict()) == config
    assert (plain.columns, config.columns) == (64, 32)
    assert config.problem_summary().endswith("silu_mul")
    grouped = bq.GroupedMatmulConfig(num_experts=2, N=64, K=32, activation="clamped_swiglu")
    assert config_from_problem(grouped.problem()).problem() == grouped.problem()
    assert config_from_problem(grouped.problem()).activation == "clamped_swiglu"
    assert "activation" not in bq.GroupedMatmulConfig(num_experts=2, N=64, K=32).problem()
    integers = dict(A_dtype="int8", W_dtype="int8", out_dtype="int32")
    assert bq.MatmulConfig(N=64, K=32, **integers).has_exact_results
    assert not bq.MatmulConfig(N=64, K=32, activation="silu_mul", **integers).has_exact_results


@pytest.mark.parametrize(("fields", "words"), [
    (dict(activation="relu"), "'activation' must be silu_mul, .* or None \\(got 'relu'\\)"),
    (dict(activation=True), "'activation' must be"),
    (dict(activation="silu_mul", N=33), "'N' must be even with an activation.*got N=33"),
])  # fmt: skip
def test_refused_configs(fields, words):
    """Another name, and an N of no whole pairs; in a grouped problem as well."""
    fields = {"N": 64, "K": 32, **fields}
    with pytest.raises(bq.ConfigError, match=words):
        bq.MatmulConfig(**fields)
    with pytest.raises(bq.ConfigError, match=words):
        bq.GroupedMatmulConfig(num_experts=2, **fields)


def test_shapes_outputs_and_wrong_outputs():
    """D has N / 2 columns, for leading dimensions, given outputs and fake tensors; other outputs are refused."""
    operator = bq.Matmul(bq.MatmulConfig(M=(8,), N=64, K=32, W_dtype="uint4", activation="silu_mul"), target="cpu")
    qweight = operator.transform_weight(torch.randint(0, 16, (64, 32), dtype=torch.int8))
    A = torch.randn(2, 3, 32).half() / 8
    D = operator(A, qweight)
    assert D.shape == (2, 3, 32)
    for _ in range(2):  # The long way and the short one.
        output = torch.full((2, 3, 32), math.nan, dtype=torch.float16)
        assert operator(A, qweight, output=output) is output
        assert torch.equal(output, D)
        with pytest.raises(bq.CallError, match=r"'output' must have shape \(2, 3, 32\)"):
            operator(A, qweight, output=torch.empty(2, 3, 64, dtype=torch.float16))
    assert operator(A[:0], qweight).shape == (0, 3, 32)
    assert operator(A.to("meta"), qweight.to("meta")).shape == (2, 3, 32)
    assert operator.dequantize(qweight).shape == (64, 32)
    mapped = torch.vmap(lambda a: operator(a, qweight))(A)
    assert torch.equal(mapped, D)
    compiled = torch.compile(lambda a: operator(a, qweight), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(A), D)


@every_activation
@pytest.mark.parametrize("options", [
    dict(A_dtype="float32", out_dtype="float32", with_bias=True),
    dict(A_dtype="float32", out_dtype="float32", with_activation_scale=True, with_channel_scale=True, with_bias=True),
])  # fmt: skip
@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.sample(
    shows=lambda activation, options, is_compiled: {activation, ("scales", len(options)), ("compiled", is_compiled)}
)
def test_gradients(activation, options, is_compiled):
    """Of A and of the bias, through the activation, against torch's of the dequantized layer."""
    config = bq.MatmulConfig(
        M=(8,), N=24, K=32, W_dtype="uint4", group_size=16, with_scaling=True, activation=activation, **options
    )
    operator = bq.Matmul(config, target="cpu")
    inputs = make_inputs(config, 6)
    qweight = operator.transform_weight(inputs.W)
    given = dict(inputs.optional)
    A, bias = inputs.A.clone().requires_grad_(), given["bias"].clone().requires_grad_()
    given["bias"] = bias

    def call(a, b):
        return operator(a, qweight, **{**given, "bias": b})

    grad = torch.randn(6, 12)
    D = (torch.compile(call, fullgraph=True, backend="aot_eager") if is_compiled else call)(A, bias)
    got = torch.autograd.grad(D, (A, bias), grad)

    a, b = inputs.A.double().requires_grad_(), inputs.bias.double().requires_grad_()
    H = a @ operator.dequantize(qweight, inputs.scale).double().T
    if config.with_activation_scale:
        H = H * inputs.activation_scale.double()[:, None] * inputs.channel_scale.double()
    expected = torch.autograd.grad(in_torch(activation, H + b), (a, b), grad.double())
    for mine, other in zip(got, expected, strict=True):
        torch.testing.assert_close(mine.double(), other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_gradients_of_experts_are_refused():
    """The gradient of grouped products is that of a linear function."""
    fields = dict(num_experts=2, N=16, K=32, A_dtype="float32", out_dtype="float32", M=(4,))
    A, offsets = torch.randn(3, 32, requires_grad=True), torch.tensor([1, 3], dtype=torch.int32)
    for activation in (None, "silu_mul"):
        operator = bq.GroupedMatmul(bq.GroupedMatmulConfig(**fields, activation=activation), target="cpu")
        qweight = operator.transform_weight(torch.randn(2, 16, 32))
        if activation is None:
            assert operator(A, qweight, offsets=offsets).requires_grad
            continue
        with pytest.raises(bq.CallError, match=r"'A' must not require a gradient.*there is no activation"):
            operator(A, qweight, offsets=offsets)
        assert operator(A.detach(), qweight, offsets=offsets).shape == (3, 8)


def test_records_of_the_problem_without_one_serve():
    """Where a problem with an activation has no record, that of the one without is taken; its own comes first."""
    fields = dict(M=(16,), N=512, K=1024, W_dtype="uint4", group_size=128, with_scaling=True)
    config = bq.MatmulConfig(**fields, activation="silu_mul")

    def record(problem, ahead):
        hint = DecodeHint(block_m=16, ahead=ahead, unroll=4).to_dict()
        return Record(problem_without_rows(problem), 16, "sm_90a", "any", "decode", hint, 1.0, 1.0)

    target = cuda_target("sm_90a")
    plain, own = record(bq.MatmulConfig(**fields), 2), record(config, 4)
    for records, ahead in (([plain], 2), ([plain, own], 4), ([own], 4)):
        found = plan(config, target, "fragment", records).planned[16]
        assert (found.hint["ahead"], found.is_required) == (ahead, ahead == 4)
    assert not plan(bq.MatmulConfig(**fields), target, "fragment", [own]).planned
    # One that cuts pairs of gate and up is passed over.
    gemv = dict(M=1, N=64, K=512, W_dtype="uint4", fast_decoding=False)
    hint = GemvHint(4, 1).to_dict()
    cut = Record(problem_without_rows(bq.MatmulConfig(**gemv)), 1, "sm_90a", "any", "gemv", hint, 1.0, 1.0)
    operator = bq.Matmul(bq.MatmulConfig(**gemv, activation="silu_mul"), target="sm_90a", records=[cut])
    (choice,) = operator.choices.values()
    assert (choice.rule, choice.hint["n_per_warp"], choice.origin) == ("gemv", 2, "default")


@every_activation
def test_tuning_compares_with_the_activation(activation):
    """What a measured kernel is compared with is what the oracle says; a product without the activation is wrong."""
    config = bq.MatmulConfig(
        M=(8,), N=64, K=128, W_dtype="uint4", group_size=32, with_scaling=True, with_bias=True, activation=activation
    )
    inputs = make_inputs(config, 6)
    expected = reference(inputs)
    np.testing.assert_allclose(expected, inputs.reference(config), rtol=1e-9, atol=1e-12)
    operator = bq.Matmul(config, target="cpu")
    D = operator(inputs.A, operator.transform_weight(inputs.W), **inputs.optional)
    assert wrong(D, expected, config) == ""
    plain = bq.Matmul(dataclasses.replace(config, activation=None), target="cpu")
    H = plain(inputs.A, plain.transform_weight(inputs.W), **inputs.optional)
    assert wrong(H[:, ::2], expected, config)


def test_exported_kernels(tmp_path):
    """A file of kernels has the activation, and a program of torch.export."""
    config = bq.MatmulConfig(M=(8,), N=32, K=64, W_dtype="int4", activation="gelu_tanh_mul")
    operator = bq.Matmul(config, target="cpu")
    qweight = operator.transform_weight(torch.randint(-8, 8, (32, 64), dtype=torch.int8))
    A = torch.randn(3, 64).half() / 8
    D = operator(A, qweight)
    operator.export(tmp_path / "operator.bq")
    loaded = bq.Operator.load(tmp_path / "operator.bq")
    assert loaded.config.activation == "gelu_tanh_mul"
    assert torch.equal(loaded(A, qweight), D)

    class Layer(torch.nn.Module):
        def forward(self, a):
            return operator(a, qweight)

    program = torch.export.export(Layer(), (A,))
    assert torch.equal(program.module()(A), D)
