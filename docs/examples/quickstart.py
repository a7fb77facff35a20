# SPDX-License-Identifier: Apache-2.0
"""One kernel: weights of 4 bits in groups of 128, checked against float64. Runs on the GPU if there is one."""

import torch

import bitquant as bq

torch.manual_seed(0)
N, K, group = 1024, 1024, 128
config = bq.MatmulConfig(
    M=(1, 16), N=N, K=K, A_dtype="float16", W_dtype="uint4", group_size=group, with_scaling=True, with_zeros=True
)
matmul = bq.Matmul(config)
device = "cuda" if matmul.is_cuda else "cpu"

weight = torch.randint(0, 16, (N, K))
scale = (torch.rand(N, K // group) + 0.5).half()
zeros = (torch.rand(N, K // group) * 15).half()
A = torch.randn(16, K).half()

qweight = matmul.transform_weight(weight)  # once for each weight
D = matmul(A.to(device), qweight.to(device), scale=scale.to(device), zeros=zeros.to(device)).cpu()

decoded = (weight - zeros.double().repeat_interleave(group, 1)) * scale.double().repeat_interleave(group, 1)
reference = A.double() @ decoded.T
error = float(torch.dist(D.double(), reference) / reference.norm())
print(f"{config} on {matmul.arch}: relative error {error:.1e}, {matmul.profile_latency(16):.0f} us")
assert error < 1e-3
