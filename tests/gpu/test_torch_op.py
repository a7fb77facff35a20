# SPDX-License-Identifier: Apache-2.0
"""Gradients, decode(W) and programs on the GPU."""

from __future__ import annotations

import gc

import pytest
import torch

import bitquant as bq
from bitquant.testing.generators import make_inputs
from bitquant.testing.oracle import oracle_weight, relative_error


@pytest.mark.cases(select="cover", stride=3, seed=5)
def test_dequantize_against_the_oracle(config):
    """decode(W) is right for every format, in the layout that the kernels read."""
    operator = bq.Matmul(config, target="cuda")
    inputs = make_inputs(config, 1 if not config.is_static else config.M, "cuda")
    W = operator.transform_weight(inputs.W)
    weight = oracle_weight(config, inputs.W.cpu(), _cpu(inputs.scale), _cpu(inputs.zeros_values))
    decoded = operator.dequantize(W, inputs.scale, inputs.zeros, torch.float32)
    assert relative_error(decoded.cpu(), weight) <= 2**-22


def _cpu(tensor):
    return None if tensor is None else tensor.cpu()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("W_dtype", ["uint4", "nf4", "int8", "uint3", "fp4_e2m1"])
@pytest.mark.parametrize("m", [1, 40])
def test_gradients_against_the_oracle(W_dtype, dtype, m):
    """A gets dD x decode(W) through the weight that the kernels read, and the gradient of the bias."""
    has_zeros = W_dtype.startswith("uint")
    config = bq.MatmulConfig(
        M=(1, 64), N=328, K=512, A_dtype=dtype, out_dtype=dtype, W_dtype=W_dtype, group_size=64, with_scaling=True,
        with_zeros=has_zeros, with_bias=True,
    )  # fmt: skip
    operator = bq.Matmul(config, target="cuda")
    inputs = make_inputs(config, m, "cuda")
    A, bias = inputs.A.requires_grad_(), inputs.bias.requires_grad_()
    D = operator(A, operator.transform_weight(inputs.W), inputs.scale, inputs.zeros, bias)
    grad = torch.randn_like(D)
    D.backward(grad)
    wide = grad.double().cpu().numpy()
    weight = oracle_weight(config, inputs.W.cpu(), inputs.scale.cpu(), _cpu(inputs.zeros_values))
    assert relative_error(A.grad.cpu(), wide @ weight) < 2 * torch.finfo(A.dtype).eps
    assert relative_error(bias.grad.cpu(), wide.sum(0)) < 2 * torch.finfo(A.dtype).eps


def test_a_captured_graph_outlives_its_operator():
    """A CUDA graph holds kernels, not operators: it replays after the operator that it was captured from is gone."""
    config = bq.MatmulConfig(M=3, N=256, K=512, W_dtype="uint4", group_size=64, with_scaling=True)
    operator = bq.Matmul(config, target="cuda")
    inputs = make_inputs(config, 3, "cuda")
    W = operator.transform_weight(inputs.W)
    wanted = operator(inputs.A, W, inputs.scale)
    output = torch.full_like(wanted, float("nan"))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operator(inputs.A, W, inputs.scale, output=output)
    del operator
    gc.collect()
    output.fill_(float("nan"))
    graph.replay()
    assert torch.equal(output, wanted)


def test_compiled_training_agrees_with_eager():
    """A step through float and quantized layers gives the same gradients compiled by inductor as eagerly."""
    torch.manual_seed(0)
    options = {"device": "cuda", "dtype": torch.bfloat16}
    first = torch.nn.Linear(256, 512, **options)
    layer = bq.Linear.from_float(torch.nn.Linear(512, 384, **options), W_dtype="nf4", group_size=64, opt_M=(64,))
    x = torch.randn(4, 16, 256, **options)

    def loss(x):
        return layer(torch.nn.functional.gelu(first(x))).float().square().mean()

    gradients = []
    for function in (loss, torch.compile(loss, fullgraph=True)):
        first.zero_grad()
        function(x).backward()
        gradients.append(first.weight.grad.float())
    assert relative_error(gradients[1].cpu(), gradients[0].double().cpu().numpy()) < 2e-2
    assert gradients[0].abs().max() > 0


def test_output_over_an_operand_is_refused():
    """An output in the memory of the weight or its scales is an error, at the first call and later ones."""
    config = bq.MatmulConfig(M=2, N=512, K=512, W_dtype="uint4", group_size=64, with_scaling=True)
    operator = bq.Matmul(config, target="cuda")
    inputs = make_inputs(config, 2, "cuda")
    W = operator.transform_weight(inputs.W)
    for _ in range(2):
        for name, memory in (("W", W), ("scale", inputs.scale)):
            output = memory.view(torch.uint8).view(-1)[-2048:].view(torch.float16).view(2, 512)
            with pytest.raises(bq.CallError, match=f"'output' must share no memory with '{name}'"):
                operator(inputs.A, W, inputs.scale, output=output)
        operator(inputs.A, W, inputs.scale)
