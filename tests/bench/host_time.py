# SPDX-License-Identifier: Apache-2.0
"""Host time of a call, as Markdown: python -m tests.bench.host_time [--target cpu|cuda].

The problems are tiny, so that Python dominates. On a CPU the kernel's time is in all figures; on a GPU calls only queue
kernels, and so few before the queue is emptied that it never fills.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

#: Calls in a row, which one sample is the mean of, and samples, of which the median counts.
CALLS, SAMPLES = 200, 100
#: The optional operands of each problem.
PROBLEMS = ((), ("scaling", "zeros"), ("scaling", "zeros", "bias"))
N, K = 16, 64


def time_us(call: Callable[[], object], wait: Callable[[], object]) -> float:
    """Return the median time of a call, in microseconds."""
    times = []
    for _ in range(SAMPLES):
        begin = time.perf_counter()
        for _ in range(CALLS):
            call()
        times.append((time.perf_counter() - begin) / CALLS * 1e6)
        wait()
    return statistics.median(times)


def main() -> None:
    """Print microseconds of a call, for A with two and three dimensions, with 3 to 6 operands."""
    parser = argparse.ArgumentParser(description="Time the host's part of a call.")
    parser.add_argument("--target", choices=["cpu", "cuda"], default="cpu", help="where to run; default: %(default)s")
    target = parser.parse_args().target
    os.environ["TVM_NUM_THREADS"] = "1"  # TVM reads it when it is imported.
    import torch

    import bitquant as bq
    from bitquant.profiling import random_operands

    wait = torch.cuda.synchronize if target == "cuda" else lambda: None
    print("| operands | A | bare kernel, us | output given, us | output allocated, us |\n|---|---|---|---|---|")
    for names in PROBLEMS:
        config = bq.MatmulConfig(M=1, N=N, K=K, W_dtype="uint4", **{f"with_{name}": True for name in names})
        operator = bq.Matmul(config, target=target)
        operands = random_operands(operator, 1, torch.device(target))
        A, W, scale, zeros, bias = (operands.get(name) for name in ("A", "W", "scale", "zeros", "bias"))
        output = operator(**operands)
        kernel, arguments = operator.kernel_for(1), (*operands.values(), output)
        bare_us = time_us(lambda: kernel(*arguments), wait)  # noqa: B023 - called at once
        for a, out in ((A, output), (A.view(1, 1, K), output.view(1, 1, N))):
            given_us = time_us(lambda: operator(a, W, scale, zeros, bias, out), wait)  # noqa: B023
            allocated_us = time_us(lambda: operator(a, W, scale, zeros, bias), wait)  # noqa: B023
            shape = " x ".join(map(str, a.shape))
            print(f"| {len(arguments)} | {shape} | {bare_us:.2f} | {given_us:.2f} | {allocated_us:.2f} |")


if __name__ == "__main__":
    main()
