"""Scripts of a BitBLAS user, run after changing the import alone; tests/gpu runs the same ones on a GPU."""

from __future__ import annotations

import pytest
import torch

import bitquant as bitblas


@pytest.fixture
def device():
    return "cpu"


def test_tiny_matrix_without_scaling(device):
    """M=1, K=8, N=5, 4-bit weights, no scaling, group_size=-1."""
    matmul_config = bitblas.MatmulConfig(
        M=1, N=5, K=8, A_dtype="float16", W_dtype="uint4", accum_dtype="float16", out_dtype="float16", layout="nt",
        with_bias=False, group_size=-1, with_scaling=False, with_zeros=False, zeros_mode=None,
    )  # fmt: skip
    matmul = bitblas.Matmul(config=matmul_config, target=device)
    input_tensor = torch.rand((1, 8), dtype=torch.float16).to(device)
    weight_tensor = torch.randint(0, 7, (5, 8), dtype=torch.int8).to(device)
    weight_tensor_int4 = matmul.transform_weight(weight_tensor)
    output_tensor = matmul(input_tensor, weight_tensor_int4)
    ref = input_tensor.double() @ weight_tensor.double().T
    assert torch.linalg.norm(output_tensor.double() - ref) <= 1e-3 * torch.linalg.norm(ref)


def test_rescale_with_negative_zeros(device):
    """storage_dtype int8, groups of 4, zeros_mode rescale, int64 weights, negative zero points among them."""
    matmul_config = bitblas.MatmulConfig(
        M=1, N=5, K=8, A_dtype="float16", W_dtype="uint4", accum_dtype="float16", out_dtype="float16", layout="nt",
        with_bias=False, group_size=4, with_scaling=True, with_zeros=True, zeros_mode="rescale", storage_dtype="int8",
    )  # fmt: skip
    matmul = bitblas.Matmul(config=matmul_config, enable_tuning=False, target=device)
    input_tensor = torch.rand((1, 8), dtype=torch.float16).to(device)
    weight_tensor = torch.randint(0, 16, (5, 8), dtype=torch.int64).to(device)
    scale = torch.rand((5, 2), dtype=torch.float16).to(device)
    zeros = (torch.rand((5, 2)) * 4 - 2).half().to(device)
    assert (zeros < 0).any()
    output_tensor = matmul(input_tensor, matmul.transform_weight(weight_tensor), scale=scale, zeros=zeros)
    weight = weight_tensor.double() * scale.double().repeat_interleave(4, 1) - zeros.double().repeat_interleave(4, 1)
    ref = input_tensor.double() @ weight.T
    magnitude = input_tensor.double().abs() @ weight.abs().T
    assert torch.linalg.norm(output_tensor.double() - ref) <= 1e-3 * torch.linalg.norm(magnitude)


def test_quick_start(device):
    """1024 x 1024, groups of 128, zeros_mode original."""
    in_features, out_features, group_size = 1024, 1024, 128
    matmul_config = bitblas.MatmulConfig(
        M=1, N=out_features, K=in_features, A_dtype="float16", W_dtype="uint4", accum_dtype="float16",
        out_dtype="float16", layout="nt", with_bias=False, group_size=group_size, with_scaling=True, with_zeros=True,
        zeros_mode="original",
    )  # fmt: skip
    matmul = bitblas.Matmul(config=matmul_config, target=device)
    input_shape, weight_shape = (1, 1024), (1024, 1024)
    scaling_shape = zeros_shape = (1024, 1024 // 128)
    input_tensor = torch.rand(input_shape, dtype=torch.float16).to(device)
    weight_tensor = torch.randint(0, 7, weight_shape, dtype=torch.int8).to(device)
    scaling = torch.rand(scaling_shape, dtype=torch.float16).to(device)
    zeros = torch.rand(zeros_shape, dtype=torch.float16).to(device)
    output_tensor = matmul(input_tensor, matmul.transform_weight(weight_tensor), scale=scaling, zeros=zeros)
    rescaled = (weight_tensor.double() - zeros.double().repeat_interleave(128, 1)) * scaling.double().repeat_interleave(
        128, 1
    )
    ref = input_tensor.double() @ rescaled.T
    assert torch.linalg.norm(output_tensor.double() - ref) <= 1e-3 * torch.linalg.norm(ref)
