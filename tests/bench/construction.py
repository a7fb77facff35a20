# SPDX-License-Identifier: Apache-2.0
"""Start-up and CPU speed, as Markdown: python -m tests.bench.construction [start].

Each construction is timed in a process of its own that has imported all; "cold" begins with an empty cache. "start"
leaves out the speed of calls. The least of three runs is given, and of two where a run takes long.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bitquant.nn.model_sizes import KNOWN_MODELS

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
#: The layers of one block stand for those of all: prepare_model meets each problem once.
PREPARE = """
import os, resource, sys, time
cpus = int(sys.argv[1])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
import torch
import bitquant as bq
shapes = [tuple(map(int, shape.split("x"))) for shape in sys.argv[2].split(",")]
problem = dict(W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True, target="sm_90a")
with torch.device("meta"):
    model = torch.nn.ModuleList(bq.Linear(K, N, **problem) for N, K in shapes)
def cpu_seconds(whose):
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime
before = cpu_seconds(resource.RUSAGE_SELF)
begin = time.perf_counter()
if sys.argv[3] == "together":
    bq.prepare_model(model, "cuda")
else:
    for layer in model:
        layer.operator("cuda")
print(time.perf_counter() - begin)
print(cpu_seconds(resource.RUSAGE_SELF) - before)
print(cpu_seconds(resource.RUSAGE_CHILDREN))
"""
#: (N, K) of the layers of a block of Llama 3 8B: q, k, v, output, gate, up, down; or with those of one input merged.
_LAYERS = KNOWN_MODELS["llama-3-8b"].layers()
LLAMA_3_8B = {
    "merged": ",".join(f"{layer.N}x{layer.K}" for layer in _LAYERS),
    "as it is": ",".join(f"{N}x{layer.K}" for layer in _LAYERS for N in layer.columns),
}
IMPORT = """
import sys, time
import torch, tvm
begin = time.perf_counter()
import bitquant
from bitquant import BitLinear, Matmul
print(time.perf_counter() - begin)
"""


def run(code: str, *arguments: str, cache: str) -> list[float]:
    """Return the seconds that a script prints, the wall time first."""
    environment = {**os.environ, "BITQUANT_CACHE_DIR": cache}
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return [float(line) for line in answer.stdout.split()]


def cold_and_cached(code: str, *arguments: str, colds: int = 1) -> tuple[list[float], float]:
    """Return what a script prints that finds an empty cache, and the seconds of one that finds all, of the fastest."""
    cold, cached = [], []
    for _ in range(colds):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(run(code, *arguments, cache=cache))
            cached += [run(code, *arguments, cache=cache)[0] for _ in range(3)]
    return min(cold), min(cached)


def machine() -> str:
    """Return the CPU, how many of it, how busy they are, and the version of Python."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    cpus, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{model}, {cpus} CPUs, load {load:.1f}, Python {platform.python_version()}"


def construction() -> None:
    """Print seconds of construction, and of import over torch and TVM."""
    print("| target | M | cold, s | from the cache, s |\n|---|---|---|---|")
    for target in ("cpu", "sm_90a"):
        for M in ("1", "null"):
            cold, cached = cold_and_cached(CONSTRUCT, M, target)
            print(f"| {target} | {'ladder of 8' if M == 'null' else M} | {cold[0]:.2f} | {cached:.3f} |", flush=True)
    with tempfile.TemporaryDirectory() as cache:
        seconds = statistics.median(run(IMPORT, cache=cache)[0] for _ in range(5))
    print(f"\nimport, beyond torch and TVM: {seconds:.2f} s")


def model_start() -> None:
    """Print seconds until all kernels of Llama 3 8B are there, for sm_90a, without a GPU, by number of CPUs."""
    print("\nLlama 3 8B, uint4, groups of 128, zero points, ladder of 8, for sm_90a\n")
    print("| layers | CPUs | one after the other, s | prepare_model, s | CPU s here | CPU s in workers | cached, s |")
    print("|---|---|---|---|---|---|---|")
    available = len(os.sched_getaffinity(0))
    for name, shapes in LLAMA_3_8B.items():
        for cpus in sorted({1, min(2, available), min(4, available), min(8, available), available}):
            alone, _ = cold_and_cached(PREPARE, str(cpus), shapes, "alone")
            cold, cached = cold_and_cached(PREPARE, str(cpus), shapes, "together", colds=2)
            figures = " | ".join(f"{seconds:.1f}" for seconds in (alone[0], *cold))
            print(f"| {name} | {cpus} | {figures} | {cached:.3f} |", flush=True)


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
    print(machine() + "\n")
    construction()
    model_start()
    if sys.argv[1:] != ["start"]:
        cpu_speed()
