# SPDX-License-Identifier: Apache-2.0
"""Code of BitBLAS's clients, as they publish it, over `bitquant.bitblas`; docs/bitblas.md says how to run it.

Each test compares a layer of the client with the weight that it came from, in float64. It is
skipped where the client is not installed; none of them is a requirement of bitquant.
"""

from __future__ import annotations

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def error(output, A, W, bias=None):
    """The error of A W^T (+ bias) relative to its norm."""
    reference = A.double() @ W.double().T + (0 if bias is None else bias.double())
    return float(torch.dist(output.double(), reference) / reference.norm())


@pytest.mark.parametrize("group_size", [64, None])
@pytest.mark.parametrize("nbits", [4, 2, 1])
def test_hqq_backend(nbits, group_size):
    """HQQLinearBitBlas gives what its HQQLinear dequantizes to, for one row and for several."""
    core = pytest.importorskip("hqq.core.quantize")
    backend = pytest.importorskip("hqq.backends.bitblas")
    torch.manual_seed(nbits)
    config = core.BaseQuantizeConfig(nbits=nbits, group_size=group_size, axis=1)
    plain = torch.nn.Linear(256, 128).half()
    layer = core.HQQLinear(plain, config, compute_dtype=torch.float16, device=DEVICE)
    weight, bias = layer.dequantize(), layer.bias.clone()
    fast = backend.HQQLinearBitBlas(layer)
    for shape in ((1, 1, 256), (2, 5, 256)):
        A = torch.randn(shape, device=DEVICE).half()
        assert error(fast(A), A, weight, bias) < 1e-3


@pytest.fixture
def gptqmodel(monkeypatch):
    """GPTQModel's module for BitBLAS, with the target that it would detect on a GPU set by hand."""
    module = pytest.importorskip("gptqmodel.nn_modules.qlinear.bitblas")
    import bitblas

    monkeypatch.setattr(module, "BITBLAS_TARGET", bitblas.auto_detect_nvidia_target())
    return module


@pytest.mark.parametrize(
    ("bits", "sym", "group_size", "bias"),
    [(4, True, 32, False), (4, False, 32, True), (4, False, -1, False), (2, True, 64, True)],
)
def test_gptqmodel_layer(gptqmodel, bits, sym, group_size, bias):
    """BitblasLinear, repacked from GPTQModel's own layer in its v2 format, gives what that one gives."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear

    torch.manual_seed(bits)
    N, K, groups = 96, 128, 1 if group_size == -1 else 128 // group_size
    options = {
        "bits": bits, "group_size": group_size, "desc_act": False, "sym": sym, "in_features": K, "out_features": N,
        "bias": bias, "pack_dtype": torch.int32,
    }  # fmt: skip
    middle, full = 1 << (bits - 1), (1 << bits) - 1
    zeros = torch.full((groups, N), middle) if sym else torch.randint(1, full + 1, (groups, N))
    scales = torch.rand(groups, N) * 0.05 + 0.01
    codes = torch.randint(0, full + 1, (K, N))
    index = torch.arange(K) // (K // groups)
    weight = ((codes - zeros[index]) * scales.half().float()[index]).T
    linear = torch.nn.Linear(K, N, bias=bias)
    linear.weight.data = weight.contiguous()
    source = TorchLinear(**options)
    source.pack_block(linear, scales.T, zeros.T.to(torch.int32), g_idx=index.to(torch.int32))
    source.qzero_format(format=2)
    layer = gptqmodel.BitblasLinear(**options)
    layer.repack_from_gptq(source)
    layer = layer.to(DEVICE)
    for rows in (1, 5):
        A = torch.randn(rows, K, device=DEVICE).half()
        expected = None if source.bias is None else source.bias.to(DEVICE)
        assert error(layer(A), A, weight.to(DEVICE), expected) < 2e-3


def test_gptqmodel_awq_layer(gptqmodel):
    """AWQBitBlasKernel.pack keeps the weight that was rounded to AWQ's grid."""
    from gptqmodel.nn_modules.qlinear.bitblas_awq import AWQBitBlasKernel

    torch.manual_seed(0)
    N, K, group_size = 64, 128, 32
    scales, zeros = torch.rand(N, K // group_size) * 0.05 + 0.01, torch.randint(0, 16, (N, K // group_size)).float()
    codes = torch.randint(0, 16, (N, K))
    linear = torch.nn.Linear(K, N)
    weight = (codes - zeros.repeat_interleave(group_size, 1)) * scales.repeat_interleave(group_size, 1)
    linear.weight.data = weight
    layer = AWQBitBlasKernel(
        bits=4, group_size=group_size, desc_act=False, sym=False, in_features=K, out_features=N, bias=True
    )
    layer.pack(linear, scales, zeros)
    layer = layer.to(DEVICE)
    A = torch.randn(3, K, device=DEVICE).half()
    assert error(layer(A), A, weight.to(DEVICE), linear.bias.to(DEVICE)) < 2e-3


def test_gptqmodel_converts_a_model(gptqmodel):
    """convert_to_bitblas, which makes its layers on the meta device, replaces the layers of a model."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import FORMAT, METHOD, QuantizeConfig
    from gptqmodel.utils.bitblas import convert_to_bitblas

    torch.manual_seed(0)
    K = N = 128
    scales, codes = torch.rand(K // 32, N) * 0.05 + 0.01, torch.randint(0, 16, (K, N))
    index = torch.arange(K) // 32
    weight = ((codes - 8) * scales.half().float()[index]).T
    linear = torch.nn.Linear(K, N, bias=False)
    linear.weight.data = weight.contiguous()
    source = TorchLinear(
        bits=4, group_size=32, desc_act=False, sym=True, in_features=K, out_features=N, bias=False,
        pack_dtype=torch.int32,
    )  # fmt: skip
    source.pack_block(linear, scales.T, torch.full((N, K // 32), 8, dtype=torch.int32), g_idx=index.to(torch.int32))
    source.qzero_format(format=2)
    model = torch.nn.Sequential(source)
    config = QuantizeConfig(bits=4, group_size=32, quant_method=METHOD.GPTQ, format=FORMAT.GPTQ)
    model = convert_to_bitblas(model, TorchLinear, config, sym=True, desc_act=False, repack=True).to(DEVICE)
    A = torch.randn(3, K, device=DEVICE).half()
    assert error(model(A), A, weight.to(DEVICE)) < 2e-3


def test_bitnet_layer():
    """BitLinearBitBLAS of BitBLAS's BitNet model gives what its unquantized layer gives, to float16's rounding."""
    utils_quant = pytest.importorskip("utils_quant", reason="integration/BitNet of BitBLAS is not on PYTHONPATH")
    torch.manual_seed(0)
    plain = utils_quant.BitLinear(256, 128, bias=False).half().to(DEVICE)
    layer = utils_quant.BitLinearBitBLAS.from_bit_linear(plain).to(DEVICE)
    A = torch.randn(4, 256, device=DEVICE).half()
    # The layer's own scales, so that the comparison is not one of two roundings.
    integers, scale = (t.double() for t in utils_quant.BitLinearBitBLAS.activation_quant(layer, A))
    weight = utils_quant.BitLinearBitBLAS.weight_quant(plain.weight)
    assert error(layer(A), integers / scale / layer.sw.double()[0], weight) < 1e-3
