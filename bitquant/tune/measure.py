"""Checking and timing candidates for one rung, all on the same operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from bitquant import packing, profiling
from bitquant.config import MatmulConfig
from bitquant.layouts import Layout
from bitquant.relayout import to_layout
from bitquant.tune.candidates import Candidate

__all__ = ["Clock", "Workbench", "clock_for", "decode_rows", "reference", "wrong"]

#: Times calls: (candidate, calls, whether precisely) -> median time of one, in microseconds.
Clock = Callable[[Candidate, Sequence[Callable[[], Any]], bool], float]

#: Bound of the relative error in the Frobenius norm. A right float16 kernel has 2e-4 to 1e-3 (the test suite holds them
#: to that, `bitquant.testing.oracle.tolerance`), a wrong one 1e-1 and more; bfloat16 has 3 bits less.
_MOST_ERROR = 2e-3
_MOST_ERROR_BFLOAT16 = 8 * _MOST_ERROR
#: The same for one element, in multiples of that bound and of the larger of the element and the root mean square.
_PEAK = 8
#: Elements of a float64 temporary, 512 MiB.
_CHUNK_ELEMENTS = 1 << 26
#: Root mean squares of results: no int8 saturates often, and no float16 overflows.
_RESULT_RMS = {"int8": 30.0}
_DEFAULT_RESULT_RMS = 1000.0


def clock_for(device: torch.device) -> Clock:
    """Return the clock of a device: the protocol of `bitquant.profiling`, shortened where it need not be precise."""

    def time_on_gpu(_candidate: Candidate, calls: Sequence[Callable[[], Any]], precise: bool) -> float:
        return profiling.graph_latency_us(calls, *((20.0, 5) if precise else (4.0, 3)))

    def time_on_cpu(_candidate: Candidate, calls: Sequence[Callable[[], Any]], precise: bool) -> float:
        return profiling.cpu_latency_us(calls, *((300.0, 10) if precise else (50.0, 3)))

    return time_on_gpu if device.type == "cuda" else time_on_cpu


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

    def __init__(self, config: MatmulConfig, layout: Layout, rung: int, device: torch.device) -> None:
        self._config = config
        rows = [rung]
        if not config.has_fixed_rows(rung):
            rows.append(max(1, 2 * rung // 3))
            if rung == config.ladder[-1]:
                rows.append(2 * rung + 3)
        generator = torch.Generator(device=device).manual_seed(0)
        self._W, self._optional, decoded = _draw_weight(config, layout, max(rows), device, generator)
        A = _draw_A(config, max(rows), _rms(decoded(slice(0, 256))), device, generator)
        self._cases = []
        expected = reference(config, A, decoded, **self._epilogue(max(rows)))
        for m in rows:
            self._cases.append((A[:m].contiguous(), expected[:m]))
        self._weights: list[torch.Tensor] = []

    def _others(self, m: int) -> dict[str, torch.Tensor]:
        """Return the optional operands of a call with `m` rows, in the order of the kernels' parameters."""
        return {k: v[:m] if k == "activation_scale" else v for k, v in self._optional.items()}

    def _epilogue(self, m: int) -> dict[str, torch.Tensor]:
        """Return those that come after the sums."""
        return {k: v for k, v in self._others(m).items() if k in ("bias", "activation_scale", "channel_scale")}

    def check(self, kernel: Callable[..., object]) -> str:
        """Return what is wrong with a kernel's results, or "" where they are right."""
        for A, expected in self._cases:
            m, out = len(A), self._config.out_format.torch_dtype
            fill = math.nan if out.is_floating_point else torch.iinfo(out).min
            # A row before and after the output shows a write out of bounds.
            guarded = torch.full((m + 2, expected.shape[1]), fill, dtype=out, device=A.device)
            kernel(A, self._W, *self._others(m).values(), guarded[1 : m + 1])
            edges = guarded[[0, -1]]
            if not bool((edges.isnan() if out.is_floating_point else edges == fill).all()):
                return f"m = {m}: writes outside its output"
            if complaint := wrong(guarded[1 : m + 1], expected, self._config):
                return f"m = {m}: {complaint}"
        return ""

    def latency_us(self, candidate: Candidate, kernel: Callable[..., object], clock: Clock, precise: bool) -> float:
        """Return the median time of a call with `rung` rows, whose weight is not in the cache."""
        A, expected = self._cases[0]
        if not self._weights:
            self._weights = profiling.rotating_copies(self._W)
        output = torch.empty(expected.shape, dtype=self._config.out_format.torch_dtype, device=A.device)
        others = list(self._others(len(A)).values())
        calls = [lambda W=W: kernel(A, W, *others, output) for W in self._weights]
        return clock(candidate, calls, precise)


Decoded = Callable[[slice], torch.Tensor]


def _draw_weight(
    config: MatmulConfig, layout: Layout, m: int, device: torch.device, generator: torch.Generator
) -> tuple[torch.Tensor, dict[str, torch.Tensor], Decoded]:
    """Return W as stored, the optional operands by name in their order (for m rows), and decode(W) by rows, float64."""
    c, dtype = config, config.W_format.torch_dtype

    def normal(shape: Sequence[int]) -> torch.Tensor:
        return torch.randn(tuple(shape), device=device, generator=generator)

    def random_bytes(shape: Sequence[int]) -> torch.Tensor:
        return torch.randint(0, 256, tuple(shape), dtype=torch.uint8, device=device, generator=generator)

    is_bytes = c.W_format.is_packed or c.W_format.is_integer
    plain = random_bytes(c.W_shape).view(dtype) if is_bytes else normal(c.W_shape).to(dtype)
    values = packing.unpack(plain, c)
    values = values if c.layout == "nt" else values.T
    rms = _rms(values[:256])
    optional: dict[str, torch.Tensor] = {}
    scale = zeros = None
    if c.with_scaling:
        scale = ((normal(c.scale_shape) * 0.25 + 1) / rms).to(c.scale_format.torch_dtype)
        optional["scale"] = scale
    if c.has_packed_zeros:
        optional["zeros"] = random_bytes(c.zeros_shape).view(torch.int8)
        zeros = packing.unpack_zeros(optional["zeros"], c).T
    elif c.with_zeros:
        unit = 1.0 if c.zeros_mode == "rescale" and c.with_scaling else rms
        zeros = (normal(c.zeros_shape) * unit).to(c.scale_format.torch_dtype)
        optional["zeros"] = zeros
    if c.with_bias:
        bias = normal((c.N,)) * _RESULT_RMS.get(c.out_format.name, _DEFAULT_RESULT_RMS) / 10
        optional["bias"] = bias.to(c.out_format.torch_dtype)
    if c.with_activation_scale:
        optional["activation_scale"] = 1 - torch.rand(m, device=device, generator=generator) / 2
    if c.with_channel_scale:
        optional["channel_scale"] = 1 - torch.rand(int(c.N), device=device, generator=generator) / 2

    def decoded(rows: slice) -> torch.Tensor:
        return decode_rows(c, values, scale, zeros, rows)

    return to_layout(plain, c, layout), optional, decoded


def decode_rows(
    config: MatmulConfig, values: torch.Tensor, scale: torch.Tensor | None, zeros: torch.Tensor | None, rows: slice
) -> torch.Tensor:
    """Return decode(W) for some n, (n, K) in float64: (w - z) * s, or w * s - z for zeros_mode "rescale".

    Parameters
    ----------
    config
        The problem.
    values
        The values w of all weights, (N, K).
    scale, zeros
        s and z, (N, K / group), not packed; None where absent.
    rows
        Which n.
    """
    w = values[rows].double()
    s = scale[rows].double().repeat_interleave(config.group, 1) if scale is not None else 1.0
    z = zeros[rows].double().repeat_interleave(config.group, 1) if zeros is not None else 0.0
    return w * s - z if config.zeros_mode == "rescale" else (w - z) * s


def _rms(tensor: torch.Tensor) -> float:
    return max(float(tensor.double().square().mean().sqrt()), 1e-3)


def _draw_A(
    config: MatmulConfig, m: int, weight_rms: float, device: torch.device, generator: torch.Generator
) -> torch.Tensor:
    """Return A, small enough for the type of the output."""
    c = config
    shape = (m, int(c.K))
    most = _RESULT_RMS.get(c.out_format.name, _DEFAULT_RESULT_RMS) / (weight_rms * math.sqrt(shape[1]))
    if c.A_format.is_integer:
        # Uniform in -a ... a has a root mean square of a / sqrt(3). int32 sums of 8-bit numbers fit whatever a is.
        a = 127 if c.out_format.name in ("int32", "float32") else min(127, max(1, round(most * math.sqrt(3))))
        return torch.randint(-a, a + 1, shape, device=device, generator=generator).to(c.A_format.torch_dtype)
    A = torch.randn(shape, device=device, generator=generator) * min(1.0, most)
    return A.to(c.A_format.torch_dtype)


def reference(
    config: MatmulConfig,
    A: torch.Tensor,
    decoded: Decoded,
    bias: torch.Tensor | None = None,
    activation_scale: torch.Tensor | None = None,
    channel_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the result in float64, not rounded to the output's type.

    ::

        D[m, n] = sum_k A[m, k] * decode(W)[n, k] * activation_scale[m] * channel_scale[n] + Bias[n]

    Parameters
    ----------
    config
        The problem.
    A
        (m, K), of any type.
    decoded
        Maps a slice of rows n to decode(W) there, (n, K), float64. No TVM is in it.
    bias, channel_scale
        (N,) or None.
    activation_scale
        (m,) or None.
    """
    N, a = int(config.N), A.double()
    result = torch.empty((len(A), N), dtype=torch.float64, device=A.device)
    step = max(1, _CHUNK_ELEMENTS // A.shape[1])
    for first in range(0, N, step):
        rows = slice(first, first + step)
        result[:, rows] = a @ decoded(rows).T
    result = result if activation_scale is None else result * activation_scale.double()[:, None]
    result = result if channel_scale is None else result * channel_scale.double()
    return result if bias is None else result + bias.double()


def wrong(result: torch.Tensor, expected: torch.Tensor, config: MatmulConfig) -> str:
    """Return what is wrong with a result, or "" where it is right.

    Integer sums with an integer output and no output scales must be exact: rounded to nearest even and saturated. Other
    integer outputs may be off by what the error of a float sum explains. Floating-point outputs may have a relative
    error of 2e-3 in the Frobenius norm (1.6e-2 with bfloat16), and each element 8 times that of the larger of itself
    and the root mean square, so that one wrong element in a large matrix does not drown.

    Parameters
    ----------
    result
        (m, N), of the output's type.
    expected
        (m, N), of `reference`.
    """
    got = result.double()
    if not bool(got.isfinite().all()):
        return "has elements that are not finite, or that were never written"
    has_bfloat16 = "bfloat16" in (config.A_format.name, config.out_format.name, config.scale_format.name)
    bound = _MOST_ERROR_BFLOAT16 if has_bfloat16 else _MOST_ERROR
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
