# SPDX-License-Identifier: Apache-2.0
"""Checking and timing candidates for one rung, all on the same operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from bitquant import profiling
from bitquant.config import MatmulConfig
from bitquant.inputs import Inputs, draw_inputs
from bitquant.layouts import WeightLayout
from bitquant.operands import EPILOGUE, present
from bitquant.operator.activation import activated
from bitquant.tune.candidates import Candidate

__all__ = ["Clock", "Workbench", "clock_for", "clock_of_turns_for", "reference", "wrong"]

#: Times calls: (candidate, calls, whether precisely) -> median time of one, in microseconds. A process that measures
#: for another knows kernels alone, and has no candidate.
Clock = Callable[[Candidate | None, Sequence[Callable[[], Any]], bool], float]

#: Bound of the relative error in the Frobenius norm. A right float16 kernel has 2e-4 to 1e-3 (the test suite holds them
#: to that, `bitquant.testing.oracle.tolerance`), a wrong one 1e-1 and more; bfloat16 has 3 bits less.
_MOST_ERROR = 2e-3
_MOST_ERROR_BFLOAT16 = 8 * _MOST_ERROR
#: The same for one element, in multiples of that bound and of the larger of the element and the root mean square.
_PEAK = 8
#: Elements of a float64 temporary, 512 MiB.
_CHUNK_ELEMENTS = 1 << 26


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
        The rung. Calls have that many rows, where m is symbolic also fewer, and more for the last rung.
    device
        Where the kernels run.
    """

    def __init__(self, config: MatmulConfig, layout: WeightLayout, rung: int, device: torch.device) -> None:
        self._config = config
        rows = [rung]
        if not config.has_fixed_rows(rung):
            rows.append(max(1, 2 * rung // 3))
            if rung == config.ladder[-1]:
                rows.append(2 * rung + 3)
        generator = torch.Generator(device=device).manual_seed(0)
        inputs = draw_inputs(config, max(rows), generator)
        whole = reference(inputs)
        #: Operands and results.
        self._cases = [(inputs.rows(slice(m)), whole[:m]) for m in rows]
        self._W = inputs.stored(layout)["W"]
        self._weights: list[torch.Tensor] = []

    def check(self, kernel: Callable[..., object]) -> str:
        """Return what is wrong with a kernel's results, or "" where they are right."""
        for inputs, expected in self._cases:
            m, out = len(expected), self._config.out_format.torch_dtype
            fill = math.nan if out.is_floating_point else torch.iinfo(out).min
            # A row before and after the output shows a write out of bounds.
            guarded = torch.full((m + 2, expected.shape[1]), fill, dtype=out, device=expected.device)
            kernel(inputs.A, self._W, *inputs.optional.values(), guarded[1 : m + 1])
            edges = guarded[[0, -1]]
            if not bool((edges.isnan() if out.is_floating_point else edges == fill).all()):
                return f"m = {m}: writes outside its output"
            if complaint := wrong(guarded[1 : m + 1], expected, self._config):
                return f"m = {m}: {complaint}"
        return ""

    def latency_us(
        self, candidate: Candidate | None, kernel: Callable[..., object], clock: Clock, precise: bool
    ) -> float:
        """Return the median time of a call with `rung` rows, whose weight is not in the cache."""
        inputs, expected = self._cases[0]
        if not self._weights:
            self._weights = profiling.rotating_copies(self._W)
        output = torch.empty(expected.shape, dtype=self._config.out_format.torch_dtype, device=expected.device)
        A, others = inputs.A, list(inputs.optional.values())
        calls = [lambda W=W: kernel(A, W, *others, output) for W in self._weights]
        return clock(candidate, calls, precise)


def _rms(tensor: torch.Tensor) -> float:
    return max(float(tensor.double().square().mean().sqrt()), 1e-3)


def reference(inputs: Inputs) -> torch.Tensor:
    """Return the result in float64, not rounded to the output's type.

    ::

        H[m, n] = sum_k A[m, k] * decode(W)[n, k] * factors + addends
        D[m, n] = H[m, n], or act(H[m, 2 n], H[m, 2 n + 1]) with an activation

    No TVM is in it.
    """
    A, N = inputs.A.double(), inputs.config.N
    result = torch.empty((len(A), N), dtype=torch.float64, device=A.device)
    step = max(1, _CHUNK_ELEMENTS // A.shape[1])
    for first in range(0, N, step):
        columns = slice(first, first + step)
        result[:, columns] = A @ inputs.decoded(columns).T
    there = present(inputs.config, EPILOGUE)
    for operand in sorted(there, key=lambda operand: operand.role == "addend"):
        values = inputs.given[operand.argument].double()
        values = values[:, None] if operand.rows == "A" else values
        result = result * values if operand.role == "factor" else result + values
    return result if inputs.config.activation is None else activated(inputs.config.activation, result)


def wrong(result: torch.Tensor, expected: torch.Tensor, config: MatmulConfig) -> str:
    """Return what is wrong with a result, or "" where it is right.

    Integer sums with an integer output and no output scales must be exact: rounded to nearest even and saturated. Other
    integer outputs may be off by what the error of a float sum explains. Floating-point outputs may have a relative
    error of 2e-3 in the Frobenius norm (1.6e-2 with bfloat16), and each element 8 times that of the larger of itself
    and the root mean square, so that one wrong element in a large matrix does not drown.

    Parameters
    ----------
    result
        (m, columns of D), of the output's type.
    expected
        The same, of `reference`.
    """
    got = result.double()
    if not bool(got.isfinite().all()):
        return "has elements that are not finite, or that were never written"
    has_bfloat16 = "bfloat16" in (config.A_format.name, config.out_format.name, config.scale_format.name)
    bound = _MOST_ERROR_BFLOAT16 if has_bfloat16 else _MOST_ERROR
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
