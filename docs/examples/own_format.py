"""A weight format that has no name: the odd levels -3, -1, 1, 3 in two bits a weight.

With codes w of 0 to 3 they are 2 w - 3. That is what zeros_mode "rescale" computes, w s - z, with s = 2 c and z = 3 c
for a scale c of each group. Any evenly spaced levels fit so; docs/architecture.md says how to add a format of others.
"""

import torch

import bitquant as bq

torch.manual_seed(0)
N, K, group = 512, 1024, 64
levels = torch.tensor([-3.0, -1.0, 1.0, 3.0])

# Quantize: a scale for each group, and the nearest level of each weight.
weight = torch.randn(N, K)
c = (weight.view(N, -1, group).abs().amax(-1) / 3).half()
scaled = weight / c.float().repeat_interleave(group, 1)
codes = (scaled[..., None] - levels).abs().argmin(-1)

config = bq.MatmulConfig(
    M=1, N=N, K=K, W_dtype="uint2", group_size=group, with_scaling=True, with_zeros=True, zeros_mode="rescale"
)
matmul = bq.Matmul(config, target="cpu")
A = torch.randn(1, K).half()
D = matmul(A, matmul.transform_weight(codes), scale=2 * c, zeros=3 * c)

decoded = levels.double()[codes] * c.double().repeat_interleave(group, 1)
reference = A.double() @ decoded.T
error = float(torch.dist(D.double(), reference) / reference.norm())
stored = bq.general_compress(codes.to(torch.int8), source_bits=2)
print(f"{stored.numel() * 8 / codes.numel():.0f} bits a weight, relative error of the kernel {error:.1e}")
assert error < 2e-3
