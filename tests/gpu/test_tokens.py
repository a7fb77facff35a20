# SPDX-License-Identifier: Apache-2.0
"""Tokens rounded to 8 bits on the GPU: the bits of the CPU, launches a call, and what runs beside."""

from __future__ import annotations

import gc

import pytest
import torch

import bitquant as bq
from bitquant.nn import BitLinear, Linear
from bitquant.nn.activations import quantize_tokens
from tests.unit.test_tokens import LIMITS, TORCH_DTYPES, X_DTYPES, all_types, assert_same, formula, rows


def on_cpu(results):
    return [t.cpu() for t in results]


@all_types
@pytest.mark.parametrize("K", [1, 3, 64, 100, 4096, 4109, 14336, 16392, 40008])
def test_it_is_the_formula(x_dtype, dtype, K):
    """Every bit is that of torch's operations on the CPU, for rows that registers hold, and longer ones."""
    x = rows(K, x_dtype)
    assert_same(on_cpu(quantize_tokens(x.cuda(), dtype)), formula(x, dtype))


@pytest.mark.parametrize("x_dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("K", [2, 8])
def test_every_number_of_16_bits(x_dtype, dtype, K):
    """Each number, NaN and infinity too, in a token of its own, by narrow and by wide loads."""
    codes = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(x_dtype)
    for other in (0, 1, torch.finfo(x_dtype).max):
        x = torch.full((2**16, K), other, dtype=x_dtype)
        x[:, K // 2] = codes
        assert_same(on_cpu(quantize_tokens(x.cuda(), dtype)), formula(x, dtype))


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("is_wide", [False, True])
def test_halves_are_rounded_to_even(dtype, is_wide):
    """What lies between two neighbours, exactly or a bit beside, goes where torch's cast on the CPU takes it."""
    codes = torch.arange(256, dtype=torch.int32).to(torch.uint8).view(TORCH_DTYPES[dtype]).float()
    levels = codes[codes.isfinite()].unique()
    middles = (levels[1:] + levels[:-1]) / 2
    x = torch.cat([levels, middles, middles.nextafter(levels[1:]), middles.nextafter(levels[:-1])])
    x = x[x.abs() <= LIMITS[dtype]]
    x = torch.cat([x, torch.zeros(-len(x) % 4 + (0 if is_wide else 1))])[None]
    values, factor = on_cpu(quantize_tokens(x.cuda(), dtype))
    assert factor == 1
    wanted = x.round() if dtype == "int8" else x.to(TORCH_DTYPES[dtype]).float()
    assert torch.equal(values.float(), wanted)


@all_types
@pytest.mark.parametrize("K", [70, 72])
def test_tokens_with_nan_and_infinity(x_dtype, dtype, K):
    """The factor is NaN or 0, x' is 0 or NaN, as on the CPU; the tokens beside are what they are alone."""
    x = torch.randn(6, K, generator=torch.Generator().manual_seed(0)).to(x_dtype)
    x[1, 3], x[2, K - 1], x[3, 0], x[4] = float("nan"), float("inf"), -float("inf"), float("nan")
    x[3, 5] = float("nan")
    assert_same(on_cpu(quantize_tokens(x.cuda(), dtype)), formula(x, dtype))


def test_inverse_and_scale_of_the_weight():
    """1 / s and 1 / (s * w) have the bits of the CPU, for tokens of every size."""
    x = rows(128, torch.float32)
    values, factor = formula(x, "int8")
    assert_same(on_cpu(quantize_tokens(x.cuda(), "int8", inverse=True)), (values, factor.reciprocal()))
    scale = torch.tensor([3.3])
    got = quantize_tokens(x.cuda(), "int8", inverse=True, weight_scale=scale.cuda())
    assert_same(on_cpu(got), (values, (factor * scale).reciprocal()))


def test_inputs_of_any_form():
    """Views at odd addresses, strided ones, leading dimensions and no rows."""
    base = torch.randn(9, 264, generator=torch.Generator().manual_seed(0)).half()
    gpu = base.cuda()
    flat = gpu.view(-1)[1 : 1 + 8 * 256].view(8, 256)
    assert_same(on_cpu(quantize_tokens(flat, "int8")), formula(base.view(-1)[1 : 1 + 8 * 256].view(8, 256), "int8"))
    assert_same(on_cpu(quantize_tokens(gpu[:, 3:259], "int8")), formula(base[:, 3:259], "int8"))
    assert_same(on_cpu(quantize_tokens(gpu.view(3, 3, 264), "int8")), formula(base.view(3, 3, 264), "int8"))
    values, factor = quantize_tokens(gpu[:0], "float8_e4m3")
    assert (values.shape, factor.shape) == ((0, 264), (0, 1))


def test_many_rows():
    """More rows than a grid's second axis has blocks, and more elements than 31 bits count."""
    x = torch.randn(70001, 24, device="cuda", dtype=torch.bfloat16)
    assert_same(on_cpu(quantize_tokens(x, "float8_e4m3")), formula(x.cpu(), "float8_e4m3"))
    m, K = 2**18 + 3, 2**13  # 2^31 + 3 * 2^13
    x = torch.randn(1, K, device="cuda", dtype=torch.float16).expand(m, K).contiguous()
    x[-1] *= 2
    values, factor = quantize_tokens(x, "int8")
    wanted, s = formula(x[:1].cpu(), "int8")
    assert (values == wanted.cuda()).all()
    assert (factor[:-1] == s.cuda()).all()
    assert factor[-1] == s.cuda() / 2


def test_a_captured_graph():
    """A CUDA graph replays with what x holds then, on another stream, after everything else is gone."""
    x = torch.randn(5, 4096, device="cuda", dtype=torch.bfloat16)
    quantize_tokens(x, "float8_e4m3", inverse=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        values, factor = quantize_tokens(x, "float8_e4m3", inverse=True)
    gc.collect()
    for _ in range(3):
        x.copy_(torch.randn(5, 4096))
        values.view(torch.uint8).fill_(0x7F)
        factor.fill_(float("nan"))
        graph.replay()
        wanted, s = formula(x.cpu(), "float8_e4m3")
        assert_same((values.cpu(), factor.cpu()), (wanted, s.reciprocal()))


def layers():
    """A layer of each kind that rounds its input, by name."""
    torch.manual_seed(0)
    source = torch.nn.Linear(4096, 1024, bias=False).half()
    fields = dict(group_size=-1, opt_M=(1, 16, 64))
    return {
        "W8A8": Linear.from_float(source, W_dtype="int8", A_dtype="int8", **fields).cuda(),
        "W4A8": Linear.from_float(source, W_dtype="int4", A_dtype="int8", **fields).cuda(),
        "fp8": Linear.from_float(source, W_dtype="float8_e4m3", A_dtype="float8_e4m3", **fields).cuda(),
        "BitNet": BitLinear.from_bit_linear(source, opt_M=(1, 16, 64)).cuda(),
    }


@pytest.mark.parametrize("m", [1, 40])
def test_a_call_is_two_kernels(m):
    """One rounds and one multiplies, in eager mode, for every kind of layer."""
    x = torch.randn(m, 4096, device="cuda", dtype=torch.float16)
    for name, layer in layers().items():
        with torch.no_grad():
            layer(x)
            activities = [torch.profiler.ProfilerActivity.CUDA]
            with torch.profiler.profile(activities=activities) as profile:
                layer(x)
                torch.cuda.synchronize()
        kernels = [e.name for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
        assert len(kernels) == 2, (name, kernels)
        assert kernels[0].startswith("quantize_tokens"), (name, kernels)


@pytest.mark.parametrize("m", [1, 40])
def test_products_wait_for_what_was_rounded(m):
    """Called over and over, each product has the tokens and scales of its own call, in eager mode and in a graph."""
    for name, layer in layers().items():
        xs = [torch.randn(m, 4096, device="cuda", dtype=torch.float16) * 2.0**i for i in range(-6, 7)]
        with torch.no_grad():
            wanted = []
            for x in xs:
                wanted.append(layer(x))
                torch.cuda.synchronize()
            results = [layer(x) for x in 8 * xs]
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                captured = [layer(x) for x in xs]
            graph.replay()
        for got in (results[i : i + len(xs)] for i in range(0, len(results), len(xs))):
            assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True)), name
        assert all(torch.equal(a, b) for a, b in zip(captured, wanted, strict=True)), name


@pytest.mark.parametrize("x_dtype", X_DTYPES)
def test_a_bitlinear_has_the_same_bits_packed_and_not(x_dtype):
    """Rounding by one kernel leaves both states equal."""
    torch.manual_seed(0)
    layer = BitLinear(1024, 512, opt_M=(1, 16), device="cuda", dtype=x_dtype)
    x = torch.randn(7, 1024, device="cuda", dtype=x_dtype)
    before = layer(x)
    layer.post_process_weights()
    assert torch.equal(layer(x), before)


def test_compiled_is_eager():
    """Inductor's program, of a norm and the rounding, gives the tokens of the same norm that eager mode rounds."""

    def norm(x):
        return torch.nn.functional.rms_norm(x, x.shape[-1:])

    compiled_norm = torch.compile(norm, fullgraph=True)
    for dtype in LIMITS:
        compiled = torch.compile(lambda x, d=dtype: quantize_tokens(norm(x), d, inverse=True), fullgraph=True)
        x = torch.randn(5, 2048, device="cuda", dtype=torch.bfloat16)
        assert_same(on_cpu(compiled(x)), on_cpu(quantize_tokens(compiled_norm(x), dtype, inverse=True)))


def test_prepare_model_builds_it():
    """After it no call compiles anything for the inputs of the model."""
    from bitquant.operator import tokens

    model = torch.nn.ModuleDict({"a": layers()["W8A8"], "norm": torch.nn.LayerNorm(8).half().cuda()})
    tokens._archives.clear()
    tokens._function.cache_clear()
    bq.prepare_model(model)
    before = set(tokens._archives)
    model["a"](torch.randn(1, 4096, device="cuda", dtype=torch.float16))
    assert before
    assert set(tokens._archives) == before
