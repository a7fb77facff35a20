# SPDX-License-Identifier: Apache-2.0
"""Operators on the GPU against the float64 oracle."""

from __future__ import annotations

import pytest
import torch

import bitquant as bq
from bitquant.packing import pack
from bitquant.relayout import to_layout
from bitquant.schedule.rules import FallbackRule
from bitquant.testing.check import check_call
from bitquant.testing.generators import call_rows


@pytest.mark.cases
def test_every_format_against_the_oracle(config, error_log):
    """Every weight format with every activation type and zeros mode is right for every m of the list."""
    operator = bq.Matmul(config, target="cuda")
    for m in call_rows(config):
        error_log(config, m, check_call(operator, m, "cuda", seed=m))


@pytest.mark.cases(select="cover", stride=5, seed=1)
def test_fallback_takes_what_fast_rules_take(config):
    """The fallback rule is right for problems that other rules serve by default."""
    operator = bq.Matmul(config, target="cuda", rules=(FallbackRule(),))
    for m in call_rows(config):
        check_call(operator, m, "cuda", seed=m)


@pytest.mark.parametrize("m", [1, 2, 16, 17, 100, 128, 250, 513, 1024, 1500])
def test_full_ladder(m):
    """Every rung of the default ladder, its edges, and more rows than the last rung."""
    config = bq.MatmulConfig(N=1000, K=4160, W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True)
    check_call(bq.Matmul(config, target="cuda"), m, "cuda", seed=m)


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 8, 11])
def test_rungs_of_fewer_rows_than_a_tile(m):
    """Inner rungs hold no more rows than they serve, and the last one serves more than it holds."""
    config = bq.MatmulConfig(
        M=(2, 4, 8), N=1016, K=14336, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True
    )
    check_call(bq.Matmul(config, target="cuda"), m, "cuda", seed=m)


def test_same_bits_every_time():
    """The same call gives the same bits."""
    config = bq.MatmulConfig(M=33, N=1000, K=4096, W_dtype="int4", group_size=128, with_scaling=True)
    operator = bq.Matmul(config, target="cuda")
    A = torch.randn(33, 4096, device="cuda").half()
    W = operator.transform_weight(torch.randint(-8, 8, (1000, 4096), dtype=torch.int8, device="cuda"))
    scale = torch.rand(1000, 32, device="cuda").half()
    first = operator(A, W, scale=scale)
    for _ in range(5):
        assert torch.equal(first, operator(A, W, scale=scale))


@pytest.mark.parametrize("rung", [1, 16, 64])
@pytest.mark.parametrize("A_dtype", ["float16", "int8"])
def test_activation_scales_may_be_the_result_of_the_kernel_before(A_dtype, rung):
    """Where that kernel lets its successors in early, a call still sees the scales that it wrote."""
    first = bq.Matmul(bq.MatmulConfig(M=(rung,), N=1, K=16384, W_dtype="int8", out_dtype="float32"), target="cuda")
    config = bq.MatmulConfig(
        M=(rung,), N=512, K=256, A_dtype=A_dtype, W_dtype="int8", out_dtype="float32", with_activation_scale=True
    )
    second = bq.Matmul(config, target="cuda")
    torch.manual_seed(0)
    V = first.transform_weight(torch.randint(-128, 128, (1, 16384), dtype=torch.int8, device="cuda"))
    W = second.transform_weight(torch.randint(-128, 128, (512, 256), dtype=torch.int8, device="cuda"))
    A = torch.randint(-8, 9, (rung, 256), device="cuda").to(config.A_format.torch_dtype)
    inputs = torch.randn(20, rung, 16384, device="cuda").half()
    scale = torch.zeros(rung, 1, device="cuda")
    second(A, W, activation_scale=scale)
    results = torch.empty(20, rung, 512, device="cuda")
    for x, result in zip(inputs, results, strict=True):
        first(x, V, output=scale)
        second(A, W, activation_scale=scale, output=result)
    for x, result in zip(inputs, results, strict=True):
        first(x, V, output=scale)
        torch.cuda.synchronize()
        assert torch.equal(second(A, W, activation_scale=scale), result)


def test_graph_capture_and_streams():
    """A call is captured by a CUDA graph and runs on torch's current stream."""
    config = bq.MatmulConfig(M=(1, 16), N=512, K=1024, W_dtype="uint4")
    operator = bq.Matmul(config, target="cuda")
    A = torch.randn(4, 1024, device="cuda").half()
    W = operator.transform_weight(torch.randint(0, 16, (512, 1024), dtype=torch.uint8, device="cuda"))
    wanted = operator(A, W)
    output = torch.zeros_like(wanted)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operator(A, W, output=output)
    output.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(output, wanted)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        other = operator(A, W)
    stream.synchronize()
    assert torch.equal(other, wanted)


def test_torch_compile():
    """torch.compile takes a call whole, without a graph break."""
    config = bq.MatmulConfig(M=(1, 16), N=512, K=1024, W_dtype="uint4")
    operator = bq.Matmul(config, target="cuda")
    A = torch.randn(4, 1024, device="cuda").half()
    W = operator.transform_weight(torch.randint(0, 16, (512, 1024), dtype=torch.uint8, device="cuda"))
    compiled = torch.compile(lambda a: operator(a, W) + 1, fullgraph=True)
    assert torch.equal(compiled(A), operator(A, W) + 1)


def test_weight_on_the_gpu_packs_as_on_the_cpu():
    """Packing gives the same bytes on both devices, and restoring gives the values back."""
    config = bq.MatmulConfig(M=1, N=257, K=1024, W_dtype="int3")
    operator = bq.Matmul(config, target="cuda")
    weight = torch.randint(-4, 4, (257, 1024), dtype=torch.int8)
    packed = operator.transform_weight(weight.cuda())
    assert packed.is_cuda
    assert torch.equal(packed.cpu(), to_layout(pack(weight, config), config, operator.weight_layout))
    assert torch.equal(operator.restore_weight(packed).cpu(), weight)


def test_wrong_device_is_refused():
    """A CPU tensor is refused before anything is launched."""
    config = bq.MatmulConfig(M=1, N=64, K=64, W_dtype="uint4")
    operator = bq.Matmul(config, target="cuda")
    W = torch.zeros(operator.retrieve_weight_shape(), dtype=torch.int8)
    with pytest.raises(bq.CallError, match="'A' must be on cuda"):
        operator(torch.zeros(1, 64).half(), W.cuda())
    with pytest.raises(bq.CallError, match="'W' must be on the device of A, cuda:0"):
        operator(torch.zeros(1, 64, device="cuda").half(), W)


def test_misaligned_view_is_refused():
    """A view that wide loads cannot read is refused before the launch; a slice of rows is taken."""
    config = bq.MatmulConfig(M=(1, 16), N=64, K=64, W_dtype="uint4")
    operator = bq.Matmul(config, target="cuda")
    W = operator.transform_weight(torch.zeros(64, 64, dtype=torch.int8, device="cuda"))
    flat = torch.zeros(1025, device="cuda").half()
    with pytest.raises(bq.CallError, match=r"'A' must begin at a multiple of 16 bytes \(got 2 bytes past one\)"):
        operator(flat[1:].view(16, 64), W)
    assert operator(flat[:-1].view(16, 64)[3:], W).shape == (13, 64)


def test_export_and_load(tmp_path):
    """An exported operator gives the same bits in a module loaded anew."""
    config = bq.MatmulConfig(M=(1, 16), N=200, K=512, W_dtype="nf4", group_size=64, with_scaling=True)
    operator = bq.Matmul(config, target="cuda")
    operator.export(tmp_path / "operator.bq")
    loaded = bq.Operator.load(tmp_path / "operator.bq")
    A = torch.randn(7, 512, device="cuda").half()
    W = operator.transform_weight(torch.randint(0, 16, (200, 512), dtype=torch.uint8, device="cuda"))
    scale = torch.rand(200, 8, device="cuda").half()
    assert torch.equal(loaded(A, W, scale=scale), operator(A, W, scale=scale))
