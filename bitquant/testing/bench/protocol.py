# SPDX-License-Identifier: Apache-2.0
"""How times are taken, of several implementations in one run.

On a GPU: one CUDA graph an implementation, which holds one call for each copy of its weight; the copies together
exceed `profiling.CACHE_FACTOR` times the L2 cache, so that each call reads its weight from memory. The graphs are
replayed in turn, in another order each time, so that a change of the clock meets all of them, and each implementation's
time is the median of its replays. Host time is not in it. On a CPU: calls in turn over rotating copies.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch

from bitquant import profiling

__all__ = [
    "Call",
    "CallTimer",
    "Timer",
    "copies_needed",
    "host_time_us",
    "interleave",
    "timer",
]

#: Nodes of a graph; reached by weights below 0.4 MB alone, for 60 MB of cache.
_MAX_COPIES = 512

Call = Callable[[], Any]


def copies_needed(weight_bytes: int, device: torch.device) -> int:
    """Return the number of copies of a weight, scales and zero points included, that one graph holds."""
    return profiling.copies_needed(weight_bytes, device, _MAX_COPIES)


class Timer(Protocol):
    """Something that takes time when asked to."""

    def sample_us(self, target_ms: float) -> float:
        """Run for about `target_ms` milliseconds; return the mean time of a call in microseconds."""


class CallTimer:
    """Calls on a CPU, one after the other."""

    def __init__(self, calls: Sequence[Call]) -> None:
        for call in calls:
            call()
        self._calls = itertools.cycle(calls)

    def sample_us(self, target_ms: float) -> float:
        """Call until the time is over; see `Timer`."""
        begin, count = time.perf_counter(), 0
        while True:
            next(self._calls)()
            count += 1
            if (elapsed := time.perf_counter() - begin) * 1e3 >= target_ms:
                return elapsed * 1e6 / count


def timer(calls: Sequence[Call], device: torch.device) -> Timer:
    """Return what times `calls`, one a copy of the weight, on this device."""
    return profiling.GraphTimer(calls) if device.type == "cuda" else CallTimer(calls)


def interleave(timers: Mapping[str, Timer], replays: int, target_ms: float) -> dict[str, list[float]]:
    """Return `replays` samples of each timer, in microseconds, taken in turn: all once, then all again.

    The order of each round is another one (`profiling.shuffled`).
    """
    samples: dict[str, list[float]] = {name: [] for name in timers}
    for i in range(replays):
        for name in profiling.shuffled(timers, i):
            samples[name].append(timers[name].sample_us(target_ms))
    return samples


def host_time_us(call: Call, times: int = 2000, rounds: int = 5) -> float:
    """Return the time that the host spends in a call which launches a kernel, in microseconds.

    A round is `times` calls in a loop without waiting for the GPU, over `times`; the median of rounds. The loop itself
    is in it. Kernels must be shorter than calls, or the launch queue fills up and the GPU is what is timed.
    """
    results = []
    for _ in range(rounds + 1):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(times):
            call()
        results.append((time.perf_counter() - begin) / times * 1e6)
    torch.cuda.synchronize()
    return statistics.median(results[1:])
