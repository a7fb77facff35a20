"""Start-up and CPU speed, as Markdown: python -m tests.bench.construction.

Each construction is timed in a process of its own that has imported all; "cold" begins with an empty cache.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

CONSTRUCT = """
import json, sys, time
import bitquant as bq
bq.Matmul  # imports torch and TVM
M, target = json.loads(sys.argv[1]), sys.argv[2]
config = bq.MatmulConfig(M=M, N=4096, K=4096, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True)
begin = time.perf_counter()
operator = bq.Matmul(config, target=target)
if target == "cpu":
    operator.rt_mod
print(time.perf_counter() - begin)
"""
IMPORT = """
import sys, time
import torch, tvm
begin = time.perf_counter()
import bitquant
from bitquant import BitLinear, Matmul
print(time.perf_counter() - begin)
"""


def run(code: str, *arguments: str, cache: str) -> float:
    """Return the seconds that a script prints."""
    environment = {**os.environ, "BITQUANT_CACHE_DIR": cache}
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return float(answer.stdout)


def construction() -> None:
    """Print seconds of construction, and of import over torch and TVM."""
    print("| target | M | cold, s | from the cache, s |\n|---|---|---|---|")
    for target in ("cpu", "sm_90a"):
        for M in ("1", "null"):
            with tempfile.TemporaryDirectory() as cache:
                cold = run(CONSTRUCT, M, target, cache=cache)
                warm = statistics.median(run(CONSTRUCT, M, target, cache=cache) for _ in range(3))
            print(f"| {target} | {'ladder of 8' if M == 'null' else M} | {cold:.2f} | {warm:.3f} |")
    with tempfile.TemporaryDirectory() as cache:
        seconds = statistics.median(run(IMPORT, cache=cache) for _ in range(5))
    print(f"\nimport, beyond torch and TVM: {seconds:.2f} s")


def cpu_speed() -> None:
    """Print the time of 4-bit calls on the CPU against torch's float32 F.linear on the same cores, taken in turn."""
    import torch

    import bitquant as bq
    from bitquant.profiling import random_operands

    print("\n| m | bitquant, us | torch float32, us | ratio |\n|---|---|---|---|")
    config = bq.MatmulConfig(N=4096, K=4096, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True)
    operator = bq.Matmul(config, target="cpu")
    weights = [torch.randn(4096, 4096) for _ in range(2)]
    for m in (1, 16, 256):
        A, W, *others = random_operands(operator, m, torch.device("cpu")).values()
        packed = [W.clone() for _ in range(8)]
        output = torch.empty(m, 4096, dtype=torch.float16)
        kernel, A_float32 = operator.kernel_for(m), A.float()
        ours, theirs = [], []
        for i in range(30):
            begin = time.perf_counter()
            kernel(A, packed[i % 8], *others, output)
            middle = time.perf_counter()
            torch.nn.functional.linear(A_float32, weights[i % 2])
            ours.append(middle - begin)
            theirs.append(time.perf_counter() - middle)
        a, b = statistics.median(ours) * 1e6, statistics.median(theirs) * 1e6
        print(f"| {m} | {a:.0f} | {b:.0f} | {b / a:.2f} |")


if __name__ == "__main__":
    construction()
    cpu_speed()
