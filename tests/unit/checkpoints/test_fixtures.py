# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that the formats' own packers wrote: weights equal the references; kernels multiply by them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

import bitquant as bq
from bitquant.testing.check import poisoned
from bitquant.testing.oracle import relative_error, tolerance

from .packers import FIXTURES

#: Format, number of layers, and the format of the weight of k_proj.
EXPECTED = {
    "awq-w4g128-gemm": ("awq", 7, "uint4"),
    "bitnet-packed-autobitlinear": ("bitnet", 7, "int2"),
    "bitnet-packed-bitlinear": ("bitnet", 7, "int2"),
    "bnb-nf4-dq-qwen2-bias": ("bitsandbytes", 7, "nf4"),
    "ct-fp8-dynamic": ("compressed-tensors", 7, "float8_e4m3"),
    "ct-mxfp4a16": ("compressed-tensors", 7, "fp4_e2m1"),
    "ct-nvfp4": ("compressed-tensors", 7, "fp4_e2m1"),
    "ct-w4a16-g128-sym": ("compressed-tensors", 7, "int4"),
    "ct-w8a16-channel": ("compressed-tensors", 7, "int8"),
    "ct-w8a8-int8": ("compressed-tensors", 7, "int8"),
    "fp8-block128": ("fp8", 7, "float8_e4m3"),
    "gguf-blocks": ("gguf", 4, "int4"),
    "gptoss-mxfp4": ("mxfp4", 2, "fp4_e2m1"),
    "gptq-w3g64-asym": ("gptq", 7, "uint3"),
    "gptq-w4g128-sym": ("gptq", 14, "int4"),
    "gptq-w4g64-asym-actorder": ("gptq", 14, "uint4"),
    "gptq-w8-channel-sym": ("gptq", 7, "int8"),
    "hqq-4b-g64-axis1": ("hqq", 7, "uint4"),
}


def opened(name):
    """Open a fixture."""
    return bq.read_checkpoint(FIXTURES / name / ("weights.gguf" if name == "gguf-blocks" else ""))


def weights(name):
    """Yield the reference weights of a fixture with what is read for them."""
    checkpoint = opened(name)
    for key, reference in load_file(FIXTURES / name / "reference.safetensors").items():
        path = key.removesuffix(".weight")
        if checkpoint.format == "mxfp4":
            block, expert, layer = path.rsplit(".", 2)
            yield key, checkpoint[f"{block}.{layer}"].expert(int(expert)), reference
        else:
            yield key, checkpoint[path if path in checkpoint else key], reference


@pytest.mark.parametrize("name", EXPECTED)
def test_dequantized_weights_equal_the_reference(name):
    """Max |dequantize() - reference| is 0 in every fixture but that of NVFP4, whose reference divides by a factor.

    That is a reciprocal here, rounded once, and the product with the scale another time.
    """
    u = 2.0**-24 if name == "ct-nvfp4" else 0.0
    count = 0
    for key, weight, reference in weights(name):
        error = (weight.dequantize() - reference).abs() - 5 * u * reference.abs()
        assert error.max().item() <= 0, f"{key}: {error.max().item()}"
        assert weight.dequantize().dtype == torch.float32
        count += 1
    assert count >= 2


@pytest.mark.parametrize("name", EXPECTED)
def test_format_layers_and_rest(name):
    """Each fixture shows its format, its layers and, apart, the tensors that are not quantized."""
    checkpoint = opened(name)
    format_name, layers, W_dtype = EXPECTED[name]
    assert (checkpoint.format, len(checkpoint)) == (format_name, layers)
    path = next((p for p in checkpoint if p.endswith("k_proj")), next(iter(checkpoint)))
    assert checkpoint[path].W_dtype == W_dtype
    if name != "gguf-blocks":
        assert checkpoint.plain["model.norm.weight"].is_floating_point()
        assert set(checkpoint.plain).isdisjoint(n for p in checkpoint for n in checkpoint.tensors(p).values())
    with pytest.raises(KeyError):
        checkpoint["model.norm"]


#: The fixture, the path of a layer and other fields: each format and each kind of operand once.
KERNELS = [
    ("awq-w4g128-gemm", "self_attn.k_proj", {}),
    ("bitnet-packed-bitlinear", "self_attn.k_proj", {}),
    ("bnb-nf4-dq-qwen2-bias", "self_attn.k_proj", {}),
    ("ct-fp8-dynamic", "self_attn.k_proj", {}),
    ("ct-nvfp4", "self_attn.k_proj", {}),
    ("ct-w8a8-int8", "self_attn.k_proj", {}),
    ("fp8-block128", "self_attn.k_proj", {}),
    ("gptoss-mxfp4", "mlp.experts.down_proj", {}),
    ("gptq-w3g64-asym", "self_attn.k_proj", {}),
    ("gptq-w4g64-asym-actorder", "self_attn.k_proj", {}),
    ("hqq-4b-g64-axis1", "self_attn.k_proj", {}),
    # In float32: with 16 bits w * s - z loses what cancels, which is the kernel's affair.
    ("gguf-blocks", "weight.q4_k", {"A_dtype": "float32", "out_dtype": "float32"}),
    ("gguf-blocks", "weight.q6_k", {"A_dtype": "float32", "out_dtype": "float32"}),
]


@pytest.mark.parametrize(("name", "end", "fields"), KERNELS)
def test_a_kernel_multiplies_by_the_dequantized_weight(name, end, fields):
    """A kernel made from config_fields() and operands() agrees with float64 and the dequantized weight."""
    checkpoint = opened(name)
    weight = checkpoint[next(path for path in checkpoint if path.endswith(end))]
    weight = weight if weight.experts is None else weight.expert(1)
    config = bq.MatmulConfig(M=1, **weight.config_fields(**fields))
    generator = torch.Generator().manual_seed(3)
    A = torch.randn(1, weight.K, generator=generator)
    A = (
        (A * 40).round().clamp(-128, 127).to(torch.int8)
        if config.A_dtype == "int8"
        else A.to(config.A_format.torch_dtype)
    )
    token_scale = torch.full((1,), 0.037) if config.with_activation_scale else None
    matmul = bq.Matmul(config, target="cpu")
    operands = weight.operands(config)
    gathered = A if weight.permutation is None else A[..., weight.permutation].contiguous()
    output = poisoned((1, weight.N), config.out_format.torch_dtype, "cpu")
    matmul(
        gathered,
        matmul.transform_weight(operands["weight"]),
        scale=operands["scale"],
        zeros=operands["zeros"],
        bias=operands["bias"],
        channel_scale=operands["channel_scale"],
        activation_scale=token_scale,
        output=output,
    )
    expected = A.double() @ weight.dequantize().double().T
    if token_scale is not None:
        expected = expected * token_scale.double()
    if weight.bias is not None:
        expected = expected + weight.bias.double()
    assert relative_error(output, expected.numpy()) <= tolerance(config)
