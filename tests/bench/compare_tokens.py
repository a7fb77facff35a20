# SPDX-License-Identifier: Apache-2.0
"""Time of rounding tokens to 8 bits on a GPU, as Markdown: python -m tests.bench.compare_tokens [--m 1 16 --K 4096].

Beside the kernel stand torch's operations of the same formula, in eager mode and compiled by Inductor, and one cast of
x to int8, which is a read of x and a write of x' and nothing else. Each is captured in a CUDA graph of one call for
each of several inputs, so that host time does not count (`bitquant.profiling`). The inputs exceed the L2 cache together
where 64 of them do; smaller ones stay in it, as what a norm has just written does.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import torch

from bitquant.formats import number_format
from bitquant.nn.activations import quantize_tokens
from bitquant.profiling import CACHE_FACTOR, graph_latency_us

X_DTYPES = ("float16", "bfloat16", "float32")
DTYPES = ("int8", "float8_e4m3", "float8_e5m2")
#: Inputs of a graph, at most and at least.
MAX_INPUTS, MIN_INPUTS = 64, 4


def formula(x: torch.Tensor, dtype: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x' and 1 / s by torch's operations."""
    fmt = number_format(dtype)
    limit = 127.0 if fmt.is_integer else torch.finfo(fmt.torch_dtype).max
    wide = x.to(torch.float32)
    factor = wide.abs().amax(-1, keepdim=True).clamp(min=1e-30).reciprocal() * limit
    scaled = wide * factor
    scaled = scaled.round().clamp(-128, 127) if fmt.is_integer else scaled.clamp(-limit, limit)
    return scaled.to(fmt.torch_dtype), factor.reciprocal()


def latency_us(function: Callable[..., Any], inputs: list[torch.Tensor], *options: Any) -> float:
    """Return the time of a call, in microseconds."""
    return graph_latency_us([lambda x=x: function(x, *options) for x in inputs])


def main() -> None:
    """Print microseconds of a call and the rate at which the kernel reads x and writes x'."""
    parser = argparse.ArgumentParser(description="Time the rounding of tokens to 8 bits.")
    parser.add_argument("--m", type=int, nargs="+", default=[1, 16, 256, 4096], help="rows; default: %(default)s")
    parser.add_argument("--K", type=int, nargs="+", default=[4096, 14336], help="columns; default: %(default)s")
    parser.add_argument("--x_dtype", nargs="+", default=X_DTYPES, choices=X_DTYPES, help="types of x; default: all")
    parser.add_argument("--dtype", nargs="+", default=DTYPES, choices=DTYPES, help="types of x'; default: all")
    options = parser.parse_args()
    properties = torch.cuda.get_device_properties(0)
    print(f"{properties.name}, torch {torch.__version__}\n")
    print("| x | x' | K | m | kernel, us | GB/s | torch, us | compiled, us | cast, us |")
    print("|---|---|---|---|---|---|---|---|---|")
    for x_name, dtype, K, m in itertools.product(options.x_dtype, options.dtype, options.K, options.m):
        x_dtype = number_format(x_name).torch_dtype
        size_bytes = m * K * x_dtype.itemsize
        count = max(MIN_INPUTS, min(MAX_INPUTS, CACHE_FACTOR * properties.L2_cache_size // size_bytes + 1))
        inputs = [torch.randn(m, K, device="cuda").to(x_dtype) for _ in range(count)]
        torch.compiler.reset()  # Each shape has a program of its own.
        compiled = torch.compile(formula, fullgraph=True, dynamic=False)
        kernel_us = latency_us(lambda x, d: quantize_tokens(x, d, inverse=True), inputs, dtype)
        rate = (size_bytes + m * K + 4 * m) / kernel_us / 1e3
        others = [latency_us(formula, inputs, dtype), latency_us(compiled, inputs, dtype)]
        others.append(latency_us(lambda x, d: x.to(d), inputs, torch.int8))
        times = " | ".join(f"{us:.2f}" for us in others)
        print(f"| {x_name} | {dtype} | {K} | {m} | {kernel_us:.2f} | {rate:.0f} | {times} |", flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
