# SPDX-License-Identifier: Apache-2.0
"""Checking and timing candidates for one rung, all on the same operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from bitquant import profiling
from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WeightLayout
from bitquant.tune.candidates import Candidate
from bitquant.tune.cases import draw_cases

__all__ = ["Clock", "Workbench", "clock_for", "clock_of_turns_for", "wrong"]

#: Times calls: (candidate, calls, whether precisely) -> median time of one, in microseconds. A process that measures
#: for another knows kernels alone, and has no candidate.
Clock = Callable[[Candidate | None, Sequence[Callable[[], Any]], bool], float]

#: Bound of the relative error in the Frobenius norm. A right float16 kernel has 2e-4 to 1e-3 (the test suite holds them
#: to that, `bitquant.testing.oracle.tolerance`), a wrong one 1e-1 and more; bfloat16 has 3 bits less.
_MAX_ERROR = 2e-3
_MAX_ERROR_BFLOAT16 = 8 * _MAX_ERROR
#: The same for one element, in multiples of that bound and of the larger of the element and the root mean square.
_PEAK = 8


def clock_for(device: torch.device) -> Clock:
    """Return the clock of a device: the protocol of `bitquant.profiling`, shortened where it need not be precise."""

    def time_on_gpu(_candidate: Candidate | None, calls: Sequence[Callable[[], Any]], precise: bool) -> float:
        return profiling.graph_latency_us(calls, *((20.0, 5) if precise else (4.0, 3)))

    def time_on_cpu(_candidate: Candidate | None, calls: Sequence[Callable[[], Any]], precise: bool) -> float:
        return profiling.cpu_latency_us(calls, *((300.0, 10) if precise else (50.0, 3)))

    return time_on_gpu if device.type == "cuda" else time_on_cpu


def clock_of_turns_for(device: torch.device) -> Clock:
    """Return the clock of one kernel that is timed in turns with others: a turn is one sample of about 20 ms, or 10.

    On a GPU the first call captures a CUDA graph of the calls, and the others replay it: five captures and the samples
    of `clock_for` in each turn would take longer than all that came before them.
    """
    if device.type != "cuda":
        return clock_for(device)
    timers: list[profiling.GraphTimer] = []

    def time_on_gpu(_candidate: Candidate | None, calls: Sequence[Callable[[], Any]], precise: bool) -> float:
        if not timers:
            timers.append(profiling.GraphTimer(calls))
        return timers[0].sample_us(20.0 if precise else 10.0)

    return time_on_gpu


class Workbench:
    """Operands and right results for the calls of one rung.

    Parameters
    ----------
    config
        The problem.
    layout
        Layout of the weight.
    rung
        The rung. Calls have that many rows, where m is symbolic also fewer, and more for the last rung (`draw_cases`).
    device
        Where the kernels run.
    """

    def __init__(
        self, config: MatmulConfig | GroupedMatmulConfig, layout: WeightLayout, rung: int, device: torch.device
    ) -> None:
        self._config = config
        self._cases = draw_cases(config, layout, rung, device)
        self._timed: list[dict[str, torch.Tensor]] = []

    def check(self, kernel: Callable[..., object]) -> str:
        """Return what is wrong with a kernel's results, or "" where they are right."""
        for case in self._cases:
            m, out = case.m, self._config.out_format.torch_dtype
            fill = math.nan if out.is_floating_point else torch.iinfo(out).min
            # A row before and after the output shows a write out of bounds.
            guarded = torch.full((m + 2, *case.expected.shape[1:]), fill, dtype=out, device=case.expected.device)
            kernel(*case.operands.values(), guarded[1 : m + 1])
            edges = guarded[[0, -1]]
            if not bool((edges.isnan() if out.is_floating_point else edges == fill).all()):
                return f"m = {m}: writes outside its output"
            specified = slice(case.rows)
            if complaint := wrong(guarded[1 : m + 1][specified], case.expected[specified], self._config):
                return f"m = {m}: {complaint}"
        return ""

    def latency_us(
        self, candidate: Candidate | None, kernel: Callable[..., object], clock: Clock, precise: bool
    ) -> float:
        """Return the median time of a call with `rung` rows, whose weight is not in the cache.

        Grouped calls differ in their routing, in which all experts are equally likely (`profiling.rotating_operands`).
        """
        case = self._cases[0]
        if not self._timed:
            self._timed = profiling.rotating_operands(self._config, case.operands, case.m)
        output = torch.empty(
            case.expected.shape, dtype=self._config.out_format.torch_dtype, device=case.expected.device
        )
        calls = [partial(kernel, *each.values(), output) for each in self._timed]
        return clock(candidate, calls, precise)


def _rms(tensor: torch.Tensor) -> float:
    return max(float(tensor.double().square().mean().sqrt()), 1e-3)


def wrong(result: torch.Tensor, expected: torch.Tensor, config: MatmulConfig | GroupedMatmulConfig) -> str:
    """Return what is wrong with a result, or "" where it is right.

    Integer sums with an integer output and no output scales must be exact: rounded to nearest even and saturated. Other
    integer outputs may be off by what the error of a float sum explains. Floating-point outputs may have a relative
    error of 2e-3 in the Frobenius norm (1.6e-2 with bfloat16), and each element 8 times that of the larger of itself
    and the root mean square, so that one wrong element in a large matrix does not drown.

    Parameters
    ----------
    result
        D, or some rows of it, of the output's type.
    expected
        The same in float64, of a `Case`.
    config
        The problem, whose types decide the bounds.
    """
    got = result.double()
    if not bool(got.isfinite().all()):
        return "has elements that are not finite, or that were never written"
    has_bfloat16 = "bfloat16" in (config.A_format.name, config.out_format.name, config.scale_format.name)
    bound = _MAX_ERROR_BFLOAT16 if has_bfloat16 else _MAX_ERROR
    if config.activation is not None:  # Products of two sums, each with its error.
        bound *= 2
    slack = 0.0 if config.has_exact_results else _PEAK * bound * expected.abs().clamp(min=_rms(expected))
    if config.out_format.is_integer:
        limits = torch.iinfo(config.out_format.torch_dtype)
        low = (expected - slack).round().clamp(limits.min, limits.max)
        high = (expected + slack).round().clamp(limits.min, limits.max)
        outside = int(((got < low) | (got > high)).sum())
        return f"{outside} of {got.numel()} elements are wrong" if outside else ""
    error = float((got - expected).norm() / expected.norm().clamp(min=1e-30))
    if error > bound:
        return f"relative error {error:.2g}, above {bound:g}"
    outside = int(((got - expected).abs() > slack).sum())
    return f"{outside} of {got.numel()} elements are wrong" if outside else ""
