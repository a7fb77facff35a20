# SPDX-License-Identifier: Apache-2.0
"""Tokens rounded to 8 bits: the kernel on the CPU against torch's operations and float64, and what torch sees."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import bitquant as bq
from bitquant.nn.activations import quantize_tokens

OPERATION = torch.ops.bitquant.quantize_tokens.default
X_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
LIMITS = {"int8": 127.0, "float8_e4m3": 448.0, "float8_e5m2": 57344.0}
TORCH_DTYPES = {"int8": torch.int8, "float8_e4m3": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2}
LEAST = 1e-30

all_types = pytest.mark.parametrize(
    ("x_dtype", "dtype"), [(x, d) for x in X_DTYPES for d in LIMITS], ids=lambda value: str(value).split(".")[-1]
)


def formula(x, dtype, least=LEAST):
    """The definition, in torch's operations."""
    wide, limit = x.to(torch.float32), LIMITS[dtype]
    factor = wide.abs().amax(-1, keepdim=True).clamp(min=least).reciprocal() * limit
    scaled = wide * factor
    if dtype == "int8":
        scaled = torch.where(scaled.isnan(), 0, scaled.round().clamp(-128, 127))
    else:
        scaled = scaled.clamp(-limit, limit)
    return scaled.to(TORCH_DTYPES[dtype]), factor


def assert_same(got, wanted):
    """Values and factors are equal bit for bit, but for which NaN it is."""
    for a, b in zip(got, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        integers = {1: torch.uint8, 4: torch.int32}[a.itemsize]
        same = a.contiguous().view(integers) == b.contiguous().view(integers)
        if a.is_floating_point():
            same |= a.float().isnan() & b.float().isnan()
        assert same.all(), f"{int((~same).sum())} of {same.numel()} differ"


def rows(K, x_dtype):
    """Rows of many sizes: random, zeros, subnormal, next to the largest number, one large among small."""
    generator = torch.Generator().manual_seed(K)
    info = torch.finfo(x_dtype)
    x = torch.randn(9, K, generator=generator, dtype=torch.float64)
    x[1] = 0
    x[2] = -0.0
    x[3] *= info.smallest_normal / 8
    x[4] *= info.max / x[4].abs().max()
    x[5, K // 2] = info.max
    x[6] *= 1e-6
    x[7, 0] = -info.smallest_normal
    x[8] = info.max
    return x.clamp(info.min, info.max).to(x_dtype)


# Values.


@all_types
@pytest.mark.parametrize("K", [1, 3, 64, 100, 4109])
def test_it_is_the_formula(x_dtype, dtype, K):
    """Every bit is that of torch's operations, from subnormal tokens to those next to the largest number."""
    x = rows(K, x_dtype)
    assert_same(quantize_tokens(x, dtype), formula(x, dtype))


@all_types
def test_against_float64(x_dtype, dtype):
    """Each x' is within half a step of x * s, and s is L / max|x| but for three roundings of float32."""
    x = torch.randn(64, 321, generator=torch.Generator().manual_seed(0)).mul(torch.logspace(-4, 4, 64)[:, None])
    x = x.to(x_dtype).double()
    values, factor = (t.double() for t in quantize_tokens(x.to(x_dtype), dtype))
    exact = LIMITS[dtype] / x.abs().amax(-1, keepdim=True)
    assert ((factor - exact).abs() <= 3 * 2.0**-24 * exact).all()
    scaled = (x * factor).abs()
    if dtype == "int8":
        step = torch.ones(())
    else:
        mantissa, least = (3, -6) if dtype == "float8_e4m3" else (2, -14)
        step = torch.exp2(scaled.clamp(min=2.0**least).log2().floor() - mantissa)
    assert ((values - x * factor).abs() <= 0.5 * step + 2**-23 * scaled).all()
    assert (values.abs().amax(-1) == LIMITS[dtype]).all()


@pytest.mark.parametrize("x_dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dtype", LIMITS)
def test_every_number_of_16_bits(x_dtype, dtype):
    """Each number, NaN and infinity too, in a token of its own: alone, beside 1, and beside the largest."""
    codes = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(x_dtype)
    largest = torch.full_like(codes, torch.finfo(x_dtype).max)
    for others in ([], [torch.ones_like(codes)], [largest]):
        x = torch.stack([codes, *others], -1)
        assert_same(quantize_tokens(x, dtype), formula(x, dtype))


@pytest.mark.parametrize("dtype", LIMITS)
def test_halves_are_rounded_to_even(dtype):
    """What lies between two neighbours, exactly or a bit beside, goes where torch's cast takes it."""
    codes = torch.arange(256, dtype=torch.int32).to(torch.uint8).view(TORCH_DTYPES[dtype]).float()
    levels = codes[codes.isfinite()].unique()
    middles = (levels[1:] + levels[:-1]) / 2
    x = torch.cat([levels, middles, middles.nextafter(levels[1:]), middles.nextafter(levels[:-1])])
    x = x[x.abs() <= LIMITS[dtype]].reshape(1, -1)
    values, factor = quantize_tokens(x, dtype)
    assert factor == 1
    wanted = x.round() if dtype == "int8" else x.to(TORCH_DTYPES[dtype]).float()
    assert torch.equal(values.float(), wanted)


@all_types
def test_tokens_with_nan_and_infinity(x_dtype, dtype):
    """The factor is NaN or 0, x' is 0 or NaN; the tokens beside are what they are alone."""
    x = torch.randn(6, 70, generator=torch.Generator().manual_seed(0)).to(x_dtype)
    plain = quantize_tokens(x, dtype)
    x[1, 3], x[2, 69], x[3, 0], x[4] = float("nan"), float("inf"), -float("inf"), float("nan")
    x[3, 5] = float("nan")
    values, factor = quantize_tokens(x, dtype)
    assert_same((values, factor), formula(x, dtype))
    assert factor[[1, 3, 4]].isnan().all()
    assert factor[2] == 0
    inverse = quantize_tokens(x, dtype, inverse=True)[1]
    assert inverse[2].isinf()
    products = values.float().sum(-1, keepdim=True) * inverse
    assert products.isnan().squeeze(-1).tolist() == [False, True, True, True, True, False]
    for got, alone in zip((values, factor), plain, strict=True):
        assert torch.equal(got[[0, 5]].float(), alone[[0, 5]].float())


def test_inverse_and_scale_of_the_weight():
    """1 / s and 1 / (s * w) have the bits that torch gets from s, for tokens of every size."""
    x = torch.cat([rows(100, torch.float32), torch.full((1, 100), float("nan"))])
    values, factor = quantize_tokens(x, "int8")
    assert_same(quantize_tokens(x, "int8", inverse=True), (values, factor.reciprocal()))
    for w in (3.3, 1e-20, 7e30):
        scale = torch.tensor([w])
        got = quantize_tokens(x, "int8", inverse=True, weight_scale=scale)
        assert_same(got, (values, (factor * scale).reciprocal()))


@pytest.mark.parametrize("least", [1e-5, 1, 1e30])
def test_least(least):
    """A token that is smaller counts as that."""
    x = torch.randn(3, 40) * torch.tensor([1e-8, 1.0, 1e8])[:, None]
    assert_same(quantize_tokens(x, "float8_e4m3", least), formula(x, "float8_e4m3", least))


# Inputs.


def test_inputs_of_any_form():
    """Views, leading dimensions, offsets, gradients, negations and wide types give the bits of a plain copy."""
    base = torch.randn(8, 130)
    x = base[:, :128]
    wanted = quantize_tokens(x.clone(), "int8")
    for given in (x, base[:, :128].T.contiguous().T, x.detach().requires_grad_(), torch._neg_view(-x), x.double()):
        assert_same(quantize_tokens(given, "int8"), wanted)
    flat = torch.cat([torch.zeros(1), x.reshape(-1)])[1:]
    assert_same(quantize_tokens(flat.view(8, 128), "int8"), wanted)
    values, factor = quantize_tokens(x.reshape(2, 2, 2, 128), "int8")
    assert_same((values.view(8, 128), factor.view(8, 1)), wanted)
    assert not factor.requires_grad
    values, factor = quantize_tokens(x[0], "int8")
    assert_same((values[None], factor[None]), (wanted[0][:1], wanted[1][:1]))
    small = x.to(torch.float8_e4m3fn)
    assert_same(quantize_tokens(small, "int8"), formula(small, "int8"))


def test_no_rows():
    """Without tokens there is nothing to do, and the results have their shapes."""
    for shape in ((0, 64), (2, 0, 64)):
        values, factor = quantize_tokens(torch.empty(shape), "float8_e5m2")
        assert (values.shape, values.dtype) == (shape, torch.float8_e5m2)
        assert (factor.shape, factor.dtype) == ((*shape[:-1], 1), torch.float32)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0], "int8"), {}, r"'x' must be a tensor of floats of shape \(..., K\), K at least 1 \(got list\)"),
        ((torch.zeros(2, 8, dtype=torch.int32), "int8"), {}, r"'x' must be .*\(got torch.int32, shape \(2, 8\)\)"),
        ((torch.zeros(2, 0), "int8"), {}, r"'x' must be .*\(got torch.float32, shape \(2, 0\)\)"),
        ((torch.zeros(()), "int8"), {}, r"'x' must be .*\(got torch.float32, shape \(\)\)"),
        ((torch.zeros(2, 8).to_sparse(), "int8"), {}, r"'x' must be a dense tensor .*use .to_dense\(\)"),
        ((torch.nested.nested_tensor([torch.zeros(3)]), "int8"), {}, "'x' must be a dense tensor .got a nested tensor"),
        ((torch.zeros(2, 8), "int4"), {}, "'dtype' must be one of int8, float8_e4m3, float8_e5m2 .got 'int4'"),
        ((torch.zeros(2, 8), "float8_e5m2", 1e-38), {}, "'least' must be a number from 1.7e-34, .*got 1e-38"),
        ((torch.zeros(2, 8), "int8", float("nan")), {}, "'least' must be a number from 3.7e-37, .*got nan"),
        ((torch.zeros(2, 8), "int8"), {"weight_scale": torch.ones(1)}, "'weight_scale' .* without inverse=True"),
        (
            (torch.zeros(2, 8), "int8"),
            {"weight_scale": torch.ones(2), "inverse": True},
            r"'weight_scale' must be a float32 tensor of shape \(1,\) on cpu \(got torch.float32, shape \(2,\)",
        ),
        (
            (torch.zeros(2, 8), "int8"),
            {"weight_scale": 1.0, "inverse": True},
            r"'weight_scale' must be a float32 tensor of shape \(1,\) on cpu \(got float\)",
        ),
    ],
)
def test_errors(arguments, options, message):
    """What cannot be rounded is refused by name."""
    with pytest.raises(bq.CallError, match=message):
        quantize_tokens(*arguments, **options)


# What torch sees.


class Seen(TorchDispatchMode):
    """Notes the operations that are called."""

    def __init__(self):
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.ops.append(func)
        return func(*args, **(kwargs or {}))


def test_opcheck():
    """The checks that torch has for a registered operation pass."""
    x, scale = torch.randn(3, 2, 40), torch.tensor([2.0])
    for arguments in ((x, None, torch.int8, LEAST, False), (x.half(), scale, torch.float8_e4m3fn, 1e-5, True)):
        torch.library.opcheck(OPERATION, arguments)


def test_modes_see_one_operation():
    """A dispatch mode sees the operation and nothing of its inside; so does a trace."""
    x = torch.randn(3, 40)
    wanted = quantize_tokens(x, "int8")
    with Seen() as seen:
        got = quantize_tokens(x, "int8")
    assert [op for op in seen.ops if op is not torch.ops.aten.detach.default] == [OPERATION]
    assert_same(got, wanted)
    graph = make_fx(lambda t: quantize_tokens(t, "int8"), tracing_mode="symbolic")(x)
    assert OPERATION in [node.target for node in graph.graph.nodes]
    assert_same(graph(torch.cat([x, x])), quantize_tokens(torch.cat([x, x]), "int8"))


def test_fake_and_meta_tensors():
    """Tensors without memory give shapes and types, or the error of a call."""
    with FakeTensorMode():
        values, factor = quantize_tokens(torch.randn(2, 3, 40), "float8_e4m3")
        assert (values.shape, values.dtype) == ((2, 3, 40), torch.float8_e4m3fn)
        assert (factor.shape, factor.dtype) == ((2, 3, 1), torch.float32)
        with pytest.raises(bq.CallError, match="'x' must be a tensor of floats"):
            quantize_tokens(torch.zeros(2, 8, dtype=torch.int32), "int8")
    values, factor = quantize_tokens(torch.empty(3, 40, device="meta"), "int8")
    assert values.is_meta
    assert factor.shape == (3, 1)


@pytest.mark.parametrize(
    "dtype", [pytest.param(name, marks=() if name == "int8" else pytest.mark.thorough) for name in LIMITS]
)
def test_compiled_is_eager(dtype):
    """Inductor's program has the bits of eager mode, for other numbers of rows without another graph.

    What comes before is a call of a library as well: Inductor would take long to compile C++ of its own.
    """
    weight = torch.randn(32, 96)

    def run(x, w):
        return quantize_tokens(x @ weight, dtype, inverse=True, weight_scale=w)

    compiled = torch.compile(run, fullgraph=True, dynamic=True)
    w = torch.tensor([0.3])
    for m in (3, 5):
        x = torch.randn(m, 32)
        assert_same(compiled(x, w), run(x, w))


def test_vmap():
    """Tokens can be mapped over from any dimension, alone and together with scales of the weight."""
    x, scales = torch.randn(4, 3, 40), torch.rand(4, 1) + 1
    mapped = torch.vmap(lambda t: quantize_tokens(t, "int8"), in_dims=1)(x)
    assert_same(mapped, quantize_tokens(x.transpose(0, 1), "int8"))
    both = torch.vmap(lambda t, w: quantize_tokens(t, "int8", inverse=True, weight_scale=w))(x, scales)
    parts = [quantize_tokens(t, "int8", inverse=True, weight_scale=w) for t, w in zip(x, scales, strict=True)]
    assert_same(both, [torch.stack(results) for results in zip(*parts, strict=True)])


def test_gradients():
    """None passes through: the function detaches, and the operation by itself refuses."""
    x = torch.randn(3, 40, requires_grad=True)
    assert not any(t.requires_grad for t in quantize_tokens(x, "float8_e4m3"))
    assert torch.func.grad(lambda t: (quantize_tokens(t, "int8")[1] * t).sum())(x.detach()).shape == x.shape
    with pytest.raises(bq.CallError, match=r"'x' has no gradient .*use .detach\(\)"):
        OPERATION(x, None, torch.int8, LEAST, False)


EXPORTED = """
import sys
import bitquant.operator, torch
program = torch.export.load(sys.argv[1]).module()
values, factor = program(torch.linspace(-3, 5, 200).view(5, 40))
print(values.sum().item(), factor.view(torch.int32).sum().item())
"""


@pytest.mark.thorough
def test_an_exported_program_runs_in_a_new_process(tmp_path):
    """A program that rounds tokens needs bitquant.operator alone, and serves other numbers of rows."""

    class Rounding(torch.nn.Module):
        def forward(self, x):
            return quantize_tokens(x, "int8")

    rows_of_x = torch.export.Dim("rows", min=2, max=100)
    program = torch.export.export(Rounding(), (torch.randn(3, 40),), dynamic_shapes=({0: rows_of_x},))
    torch.export.save(program, tmp_path / "rounding.pt2")
    command = [sys.executable, "-c", EXPORTED, str(tmp_path / "rounding.pt2")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ.copy())
    values, factor = formula(torch.linspace(-3, 5, 200).view(5, 40), "int8")
    assert result.stdout.split() == [str(values.sum().item()), str(factor.view(torch.int32).sum().item())], (
        result.stderr
    )
