"""Host time of a call, as Markdown: python -m tests.bench.host_time [--target TARGET].

The problems are tiny, so that a call takes the host longer than the kernel takes the device; on a CPU the kernel is part
of the time. Calls are asynchronous on a GPU, and few enough in a row that its queue of launches never fills.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

#: Calls in a row, and how often; the least median of a sample is that of the machine at rest.
CALLS, SAMPLES = 200, 200


def time_us(call: Callable[[], object], wait: Callable[[], object]) -> float:
    """Return the median time of a call, in microseconds."""
    times = []
    for _ in range(SAMPLES):
        wait()
        begin = time.perf_counter()
        for _ in range(CALLS):
            call()
        times.append((time.perf_counter() - begin) / CALLS * 1e6)
    wait()
    return statistics.median(times)


def main() -> None:
    """Print microseconds of a call for problems with 4 to 6 operands."""
    parser = argparse.ArgumentParser(description="Time the host's part of a call.")
    parser.add_argument("--target", default="cpu", help="cpu (default) or cuda")
    target = parser.parse_args().target
    os.environ["TVM_NUM_THREADS"] = "1"
    import torch

    import bitquant as bq
    from bitquant.profiling import random_operands

    device = torch.device(target)
    wait = torch.cuda.synchronize if target == "cuda" else lambda: None
    print("| operands | A | bare kernel, us | output given, us | output allocated, us |\n|---|---|---|---|---|")
    for flags in ({}, {"with_scaling": True, "with_zeros": True}, dict.fromkeys(("with_scaling", "with_zeros", "with_bias"), True)):
        config = bq.MatmulConfig(M=1, N=16, K=64, W_dtype="uint4", **flags)
        operator = bq.Matmul(config, target=target)
        operands = random_operands(operator, 1, device)
        kernel = operator.kernel_for(1)
        output = operator(**operands)
        arguments = (*operands.values(), output)
        bare = time_us(lambda: kernel(*arguments), wait)
        for A, out in ((operands["A"], output), (operands["A"].view(1, 1, 64), output.view(1, 1, 16))):
            W, *others = operands.values() if False else tuple(operands.values())[1:]
            scale, zeros, bias = (operands.get(name) for name in ("scale", "zeros", "bias"))
            given = time_us(lambda: operator(A, W, scale, zeros, bias, out), wait)
            allocated = time_us(lambda: operator(A, W, scale, zeros, bias), wait)
            print(f"| {len(arguments)} | {tuple(A.shape)} | {bare:.2f} | {given:.2f} | {allocated:.2f} |")


if __name__ == "__main__":
    main()
