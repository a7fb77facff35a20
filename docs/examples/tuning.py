# SPDX-License-Identifier: Apache-2.0
"""Measure the likely kernels of a problem, take the best, and keep it as a record.

On a CPU kernels are measured, too, and not recorded: records are of CUDA GPUs.
"""

import os
import tempfile

import bitquant as bq

config = bq.MatmulConfig(M=(1, 16), N=1024, K=1024, W_dtype="uint4", group_size=128, with_scaling=True)
matmul = bq.Matmul(config)
result = matmul.hardware_aware_finetune(topk=4, parallel_build=matmul.is_cuda)
for rung, best in result.best.items():
    print(f"m <= {rung}: {best.latency_us:.1f} us, {best.candidate}")

if matmul.is_cuda:
    with tempfile.TemporaryDirectory() as folder:
        for path in result.write_record(folder):
            print(f"wrote {path}")
        os.environ["BITQUANT_SCHEDULES"] = folder  # Set it in the environment of the program that runs the model.
        assert "record" in bq.Matmul(config).report()
