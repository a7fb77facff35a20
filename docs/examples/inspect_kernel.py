# SPDX-License-Identifier: Apache-2.0
"""Read a kernel for a Hopper GPU at every stage, without one. Needs the extra `cuda`, or nvcc."""

import bitquant as bq

config = bq.MatmulConfig(M=1, N=1024, K=1024, W_dtype="uint4", group_size=128, with_scaling=True)
matmul = bq.Matmul(config, target="h100")

stages = {
    "unscheduled TIR": matmul.prim_func_mod.script(),
    "scheduled TIR": matmul.scheduled_mod.script(),
    "CUDA C++": matmul.get_source(),
    "PTX": matmul.get_ptx(),
}
for name, text in stages.items():
    print(f"{name}: {len(text.splitlines())} lines")
print()
print(matmul.report())
(kernel,) = matmul.facts()["kernels"]
assert kernel["rule"] == "decode"
assert kernel["resources"][0]["spill_bytes"] == 0
