# SPDX-License-Identifier: Apache-2.0
"""A weight format of one's own: 16 levels that fit the weights, in four bits a weight.

The levels are the means of 16 equal parts of the scaled weights, sorted: more levels where there are more weights.
docs/architecture.md says how to add a format with a name.
"""

import torch

import bitquant as bq

torch.manual_seed(0)
N, K, group = 512, 1024, 64

# Quantize: a scale for each group, and the nearest level of each weight.
weight = torch.randn(N, K)
scale = weight.view(N, -1, group).abs().amax(-1).half()
scaled = weight / scale.float().repeat_interleave(group, 1)
levels = scaled.flatten().sort().values.view(16, -1).mean(1)
codes = (scaled[..., None] - levels).abs().argmin(-1).to(torch.int8)

config = bq.MatmulConfig(
    M=1, N=N, K=K, W_dtype="code4", codebook=tuple(levels.tolist()), group_size=group, with_scaling=True
)
matmul = bq.Matmul(config, target="cpu")
A = torch.randn(1, K).half()
D = matmul(A, matmul.transform_weight(codes), scale=scale)

decoded = levels.double()[codes.long()] * scale.double().repeat_interleave(group, 1)
reference = A.double() @ decoded.T
error = float(torch.dist(D.double(), reference) / reference.norm())
lost = float(torch.dist(decoded, weight) / weight.norm())
print(f"{config}: relative error of the kernel {error:.1e}, of the levels {lost:.1e}")
assert error < 2e-3
