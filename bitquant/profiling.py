# SPDX-License-Identifier: Apache-2.0
"""How a time is taken.

On a GPU: one CUDA graph that holds one call for each of enough copies of the weight, at most 64, that all copies
together exceed three times the L2 cache, so that each call reads its weight from memory; random data (zeros run at a
higher clock); the median of several replays. Host time is not in it. On a CPU: the median of single calls over
rotating copies.

Grouped calls have a routing each, drawn at random with all experts equally likely: at least 8 in turn. There are enough
copies of all experts' weights, scales and zero points that what the calls between two of one copy read exceeds three
times the L2 cache.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import torch

from bitquant.arithmetic import round_up
from bitquant.config import MatmulConfig
from bitquant.errors import UnsupportedError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.grouped_inputs import draw_grouped_inputs, draw_routing
from bitquant.inputs import draw_inputs
from bitquant.layouts import WeightLayout
from bitquant.operands import operands_of, present
from bitquant.threads import follow_torch_threads

__all__ = [
    "CACHE_FACTOR",
    "Described",
    "GraphTimer",
    "Timed",
    "copies_needed",
    "cpu_latency_us",
    "graph_latency_us",
    "operator_latency_us",
    "random_operands",
    "rotating_copies",
    "rotating_operands",
    "shuffled",
]

Name = TypeVar("Name")

#: Copies of the weight exceed this many times the L2 cache.
CACHE_FACTOR = 3
#: A CPU's last-level cache, as bytes to exceed: larger than any desktop's, a fair share of a server's.
_CPU_CACHE_BYTES = 64 << 20
_MAX_COPIES = 64
#: Routings that grouped calls have in turn, at least.
MIN_ROUTINGS = 8


class Described(Protocol):
    """A problem that kernels are for: an operator, as far as one is needed (it is made of modules that import this)."""

    @property
    def config(self) -> Any:
        """The problem: a `MatmulConfig` or a `GroupedMatmulConfig`."""

    @property
    def weight_layout(self) -> WeightLayout:
        """Layout of the weight that its kernels read."""

    @property
    def is_cuda(self) -> bool:
        """Whether it is for a GPU."""

    @property
    def arch(self) -> str:
        """Architecture of a CUDA target; else the kind of the target."""


class Timed(Described, Protocol):
    """What is timed: an operator."""

    def kernel_for(self, m: int) -> Callable[..., None]:
        """Return the bare function that serves `m` rows."""

    def __call__(self, *operands: Any, **named: Any) -> torch.Tensor:
        """Return D, after every check of the operands."""


def random_operands(operator: Timed, m: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Return random operands by the names of `Operator.forward`, in the order of the kernels' parameters."""
    generator = torch.Generator(device=device).manual_seed(0)
    draw: Any = draw_inputs if isinstance(operator.config, MatmulConfig) else draw_grouped_inputs
    operands: dict[str, torch.Tensor] = draw(operator.config, m, generator).stored(operator.weight_layout)
    return operands


class GraphTimer:
    """A CUDA graph of `calls`, each made twice before it stands: once alone, once to be captured.

    Parameters
    ----------
    calls
        One a copy of the weight. What they hold is kept alive: a graph has the addresses of tensors, not the tensors.
    """

    def __init__(self, calls: Sequence[Callable[[], Any]]) -> None:
        for call in calls:
            call()
        torch.cuda.synchronize()
        self._calls = tuple(calls)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            for call in calls:
                call()
        self._begin, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._replay_ms(1)
        self._once_ms = self._replay_ms(1)

    def _replay_ms(self, times: int) -> float:
        self._begin.record()
        for _ in range(times):
            self._graph.replay()
        self._end.record()
        torch.cuda.synchronize()
        return self._begin.elapsed_time(self._end)

    def sample_us(self, target_ms: float) -> float:
        """Replay the graph for about `target_ms` milliseconds; return the mean time of a call in microseconds."""
        times = max(1, int(target_ms / max(self._once_ms, 1e-3)))
        return self._replay_ms(times) * 1e3 / times / len(self._calls)


def shuffled(names: Iterable[Name], turn: int) -> list[Name]:
    """Return what is timed in turns in an order of this turn's own, the same in each run.

    Where a GPU's power is the limit, a sample depends on the one before it: after a kernel that draws less, the clock
    is higher. The same machine code took 61.4 us as the third of 21 in each turn, and 66.9 us as the eleventh
    (5120 x 13824, M = 256, H200, 2026-11-30).
    """
    order = list(names)
    random.Random(turn).shuffle(order)  # noqa: S311  no secret
    return order


def graph_latency_us(calls: Sequence[Callable[[], Any]], target_ms: float = 20.0, replays: int = 5) -> float:
    """Return the median time of one of `calls`, in microseconds, when all are replayed as one CUDA graph."""
    timer = GraphTimer(calls)
    return statistics.median(timer.sample_us(target_ms) for _ in range(replays))


def cpu_latency_us(calls: Sequence[Callable[[], Any]], target_ms: float = 300.0, least: int = 10) -> float:
    """Return the median time of one of `calls`, in microseconds, called in turn."""
    follow_torch_threads()
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


def copies_needed(weight_bytes: int, device: torch.device, most: int = _MAX_COPIES) -> int:
    """Return how many copies of `weight_bytes` bytes it takes to exceed the cache of `device`, `most` at most."""
    if device.type == "cuda":
        cache_bytes = CACHE_FACTOR * torch.cuda.get_device_properties(device).L2_cache_size
    else:
        cache_bytes = _CPU_CACHE_BYTES
    return min(most, 1 + cache_bytes // max(1, weight_bytes))


def rotating_copies(W: torch.Tensor) -> list[torch.Tensor]:
    """Return `W` and as many copies as it takes that all together exceed the cache of its device."""
    return [W, *(W.clone() for _ in range(copies_needed(W.numel() * W.element_size(), W.device) - 1))]


def rotating_operands(
    config: MatmulConfig | GroupedMatmulConfig, operands: dict[str, torch.Tensor], m: int
) -> list[dict[str, torch.Tensor]]:
    """Return the operands of each of the calls that a time is taken of, in the order of `operands`.

    Parameters
    ----------
    config
        The problem.
    operands
        Those of one call of `m` rows, by their names, in the order of the kernels' parameters.
    m
        Rows of A that are sorted, or tokens.

    Returns
    -------
    list of dict
        A call for each copy of the weight; of a grouped problem at least 8, which differ in their routing, too.
    """
    if isinstance(config, MatmulConfig):
        return [{**operands, "W": W} for W in rotating_copies(operands["W"])]
    device = operands["W"].device
    of_experts = {o.argument: operands[o.argument] for o in present(config) if o.rows == "W"}
    share = config.expected_experts(m) / config.num_experts
    count = copies_needed(round(share * sum(tensor.nbytes for tensor in of_experts.values())), device)
    copies = [of_experts, *({name: t.clone() for name, t in of_experts.items()} for _ in range(count - 1))]
    generator = torch.Generator(device=device).manual_seed(m)
    calls = round_up(MIN_ROUTINGS, count)
    return [{**operands, **copies[i % count], **draw_routing(config, m, generator)} for i in range(calls)]


def operator_latency_us(operator: Timed, m: int) -> float:
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
    D = operands_of(operator.config)[-1]
    output = torch.empty(D.shape(operator.config, m, "plain"), dtype=D.torch_dtype(operator.config), device=device)
    kernel = operator.kernel_for(m)
    calls = [partial(kernel, *each.values(), output) for each in rotating_operands(operator.config, operands, m)]
    return graph_latency_us(calls) if operator.is_cuda else cpu_latency_us(calls)
