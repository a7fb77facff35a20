# SPDX-License-Identifier: Apache-2.0
"""Speed of the kernels for a CPU beside torch's, as Markdown: python -m tests.bench.compare_cpu [--rows 1,16].

Each cell calls the default ladder's operator, torch's ``F.linear`` on the decoded weight in float32 and bfloat16, and a
copy of the stored bytes, in turn. Each has so many copies of its weight that none is in a cache when it is called, and
the least of all times counts. A contender is called twice in its turn, and the second call counts: the threads of the
one before wait by spinning for a while. The result is compared with the float64 oracle in the same run.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

#: Bytes of all copies of a weight: more than the last-level cache has.
COLD_BYTES = 160 << 20
#: Least seconds that a contender of a cell is timed for, and least calls.
SECONDS, CALLS = 1.0, 12
PROBLEMS: dict[str, dict[str, Any]] = {
    "float16 x uint4": {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True},
    "bfloat16 x uint4": {
        "A_dtype": "bfloat16", "W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True,
        "out_dtype": "bfloat16",
    },
    "float16 x nf4": {"W_dtype": "nf4", "group_size": 64, "with_scaling": True},
    "bfloat16 x nf4": {
        "A_dtype": "bfloat16", "W_dtype": "nf4", "group_size": 64, "with_scaling": True, "out_dtype": "bfloat16",
    },
    "int8 x int2": {"A_dtype": "int8", "W_dtype": "int2", "accum_dtype": "int32", "out_dtype": "int32"},
    "int8 x int8": {"A_dtype": "int8", "W_dtype": "int8", "accum_dtype": "int32", "out_dtype": "int32"},
}  # fmt: skip


def least_us(calls: Sequence[Callable[[int], object]]) -> list[float]:
    """Return the least time of each call, in microseconds; they take turns. An argument counts the turns."""
    least = [float("inf")] * len(calls)
    end, turn = time.perf_counter() + SECONDS * len(calls), 0
    while turn < CALLS or time.perf_counter() < end:
        for i, call in enumerate(calls):
            call(2 * turn)
            begin = time.perf_counter()
            call(2 * turn + 1)
            least[i] = min(least[i], (time.perf_counter() - begin) * 1e6)
        turn += 1
    return least


def main() -> None:
    """Print a row for each problem and number of rows."""
    parser = argparse.ArgumentParser(description="Time kernels for a CPU beside torch's.")
    parser.add_argument("--mcpu", help="compile for this CPU, in LLVM's spelling, such as haswell; default: this one")
    parser.add_argument("--rows", default="1,16,64,256", help="numbers of rows of A; default: %(default)s")
    parser.add_argument("--problems", default=",".join(PROBLEMS), help="default: %(default)s")
    parser.add_argument("--N", type=int, default=4096, help="fewer make calls shorter, on a machine that is shared")
    parser.add_argument("--K", type=int, default=4096, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    options = parser.parse_args()
    N, K = options.N, options.K
    os.environ["TVM_NUM_THREADS"] = str(options.threads)  # TVM reads it when it is imported.
    import torch
    from tvm.target import Target

    import bitquant as bq
    from bitquant.testing.check import poisoned
    from bitquant.testing.generators import make_inputs
    from bitquant.testing.oracle import assert_close, oracle_weight, relative_error

    torch.set_num_threads(options.threads)
    target = Target({"kind": "llvm", "mcpu": options.mcpu}) if options.mcpu else "cpu"
    print("| problem | M | rule | us | torch float32 | torch bfloat16 | copy, us | of a copy | error |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.problems.split(","):
        operator = bq.Matmul(bq.MatmulConfig(N=N, K=K, **PROBLEMS[name]), target=target)
        config = operator.config
        for m in map(int, options.rows.split(",")):
            inputs = make_inputs(config, m)
            qweight = operator.transform_weight(inputs.W)
            size = qweight.numel() * qweight.element_size()
            W = torch.from_numpy(oracle_weight(config, inputs.W, inputs.scale, inputs.zeros_values))
            weights = [qweight.clone() for _ in range(max(2, COLD_BYTES // size))]
            dense = {
                dtype: [W.to(dtype) for _ in range(2 + COLD_BYTES // (N * K * dtype.itemsize))]
                for dtype in (torch.float32, torch.bfloat16)
            }
            A = {dtype: inputs.A.to(dtype) for dtype in dense}
            output = poisoned((m, N), config.out_format.torch_dtype, "cpu")
            scratch = [torch.empty_like(qweight) for _ in weights]

            def ours(i: int) -> None:
                operator(inputs.A, weights[i % len(weights)], **inputs.optional, output=output)  # noqa: B023

            def copy(i: int) -> None:
                scratch[i % len(scratch)].copy_(weights[i % len(weights)])  # noqa: B023

            def linear(dtype: torch.dtype) -> Callable[[int], object]:
                a, ws = A[dtype], dense[dtype]  # noqa: B023
                return lambda i: torch.nn.functional.linear(a, ws[i % len(ws)])

            ours(0)
            reference = inputs.reference(config)
            assert_close(output, reference, config)
            error = relative_error(output, reference)
            times = least_us([ours, linear(torch.float32), linear(torch.bfloat16), copy])
            rung = next((r for r in config.ladder if m <= r), config.ladder[-1])
            print(
                f"| {name} | {m} | {operator.choices[rung].rule} | {times[0]:.0f} | {times[1] / times[0]:.2f} | "
                f"{times[2] / times[0]:.2f} | {times[3]:.0f} | {times[0] / times[3]:.2f} | {error:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
