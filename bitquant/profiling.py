"""How a time is taken.

On a GPU: one CUDA graph that holds one call for each of enough copies of the weight, at most 64, that all copies
together exceed three times the L2 cache, so that each call reads its weight from memory; random data (zeros run at a
higher clock); the median of several replays. Host time is not in it. On a CPU: the median of single calls over
rotating copies.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from bitquant.errors import UnsupportedError
from bitquant.layouts import weight_dtype, weight_shape

if TYPE_CHECKING:
    from bitquant.operator import Operator

__all__ = ["cpu_latency_us", "graph_latency_us", "operator_latency_us", "random_operands", "rotating_copies"]

#: Copies of the weight exceed this many times the L2 cache.
_L2_FACTOR = 3
#: A CPU's last-level cache, as bytes to exceed: larger than any desktop's, a fair share of a server's.
_CPU_CACHE_BYTES = 64 << 20
_MAX_COPIES = 64


def random_operands(operator: Operator, m: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Return operands of random bits and numbers by the names and in the order of `Operator.forward`."""
    c, layout = operator.config, operator.weight_layout
    generator = torch.Generator(device=device).manual_seed(0)

    def draw(shape: Sequence[int], dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
        if dtype in (torch.int8, torch.uint8):
            return torch.randint(0, 256, shape, dtype=torch.uint8, device=device, generator=generator).view(dtype)
        if dtype is torch.int32:
            return torch.randint(-100, 100, shape, dtype=dtype, device=device, generator=generator)
        return (torch.randn(shape, device=device, generator=generator) * scale).to(dtype)

    operands = {
        "A": draw((m, c.K), c.A_format.torch_dtype),
        "W": draw(weight_shape(c, layout), weight_dtype(c, layout)),
    }
    if c.with_scaling:
        operands["scale"] = draw(c.scale_shape, c.scale_format.torch_dtype, 0.01)
    if c.with_zeros:
        operands["zeros"] = draw(c.zeros_shape, torch.int8 if c.has_packed_zeros else c.scale_format.torch_dtype)
    if c.with_bias:
        operands["bias"] = draw((c.N,), c.out_format.torch_dtype)
    return operands


def graph_latency_us(calls: Sequence[Callable[[], Any]], target_ms: float = 20.0, replays: int = 5) -> float:
    """Return the median time of one of `calls`, in microseconds, when all are replayed as one CUDA graph."""
    for call in calls:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def elapsed_ms(times: int) -> float:
        begin.record()
        for _ in range(times):
            graph.replay()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end)

    elapsed_ms(1)
    times = max(1, int(target_ms / max(elapsed_ms(1), 1e-3)))
    return statistics.median(elapsed_ms(times) for _ in range(replays)) * 1e3 / times / len(calls)


def cpu_latency_us(calls: Sequence[Callable[[], Any]], target_ms: float = 300.0, least: int = 10) -> float:
    """Return the median time of one of `calls`, in microseconds, called in turn."""
    for call in calls:
        call()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < least or (time.perf_counter() - begin) * 1e3 < target_ms:
        for call in calls:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def rotating_copies(W: torch.Tensor) -> list[torch.Tensor]:
    """Return `W` and as many copies as it takes that all together exceed the cache of its device."""
    if W.is_cuda:
        cache_bytes = _L2_FACTOR * torch.cuda.get_device_properties(W.device).L2_cache_size
    else:
        cache_bytes = _CPU_CACHE_BYTES
    copies = min(_MAX_COPIES, 1 + cache_bytes // (W.numel() * W.element_size()))
    return [W, *(W.clone() for _ in range(copies - 1))]


def operator_latency_us(operator: Operator, m: int) -> float:
    """Return the median time of a call of `operator` with `m` rows, in microseconds.

    Raises
    ------
    UnsupportedError
        If the operator is for a GPU and there is none.
    """
    if operator.is_cuda and not torch.cuda.is_available():
        raise UnsupportedError(f"timing a kernel for {operator.arch} needs that GPU, and none is visible")
    device = torch.device("cuda", torch.cuda.current_device()) if operator.is_cuda else torch.device("cpu")
    operands = random_operands(operator, m, device)
    operator(**operands)  # Checks that the device fits the kernel, and loads it.
    A, W, *others = operands.values()
    weights = rotating_copies(W)
    output = torch.empty((m, operator.config.N), dtype=operator.config.out_format.torch_dtype, device=device)
    kernel = operator.kernel_for(m)
    calls = [lambda w=w: kernel(A, w, *others, output) for w in weights]
    return graph_latency_us(calls) if operator.is_cuda else cpu_latency_us(calls)
