# SPDX-License-Identifier: Apache-2.0
"""The roofline of a GPU with one call on it."""

from __future__ import annotations

import math

from bitquant.arch import GpuArch
from bitquant.explore import svg
from bitquant.explore.facts import Times

__all__ = ["draw_roofline"]

_LEFT, _TOP, _WIDTH, _HEIGHT = 62.0, 20.0, 470.0, 250.0


def draw_roofline(gpu: GpuArch, found: Times, a_bits: int) -> str:
    """Draw operations a second against operations a byte, both logarithmic.

    The slope is the memory bandwidth of the data sheet. The flat roof is what wgmma reaches, where that is known.
    """
    roof = gpu.wgmma_sm_flops * gpu.sm_count * 16 / a_bits / 1e12 if gpu.has_wgmma else None
    bandwidth = gpu.bandwidth_bytes_per_s / 1e12
    intensity = found.flop / found.nbytes
    points = [
        (look, name, found.flop / time_us / 1e6)
        for look, name, time_us in (
            ("floor", "floor", found.floor_us),
            ("predicted", "predicted by the model", found.predicted_us),
            ("measured", f"record, measured on {found.record_device}", found.record_us),
        )
        if time_us is not None
    ]
    rates = [rate for _, _, rate in points]
    x_range = (min(0.5, intensity / 4), max(2000.0, intensity * 4))
    top = max([*rates, roof or 0.0, bandwidth * x_range[1] if roof is None else 0.0])
    y_range = (min([*rates, bandwidth * x_range[0]]) / 2, top * 2)

    def x_of(value: float) -> float:
        return _LEFT + _WIDTH * math.log(value / x_range[0]) / math.log(x_range[1] / x_range[0])

    def y_of(value: float) -> float:
        return _TOP + _HEIGHT * (1 - math.log(value / y_range[0]) / math.log(y_range[1] / y_range[0]))

    elements = [svg.rect(_LEFT, _TOP, _WIDTH, _HEIGHT, "frame")]
    for power in range(math.ceil(math.log10(x_range[0])), math.floor(math.log10(x_range[1])) + 1):
        x = x_of(10.0**power)
        elements += [
            svg.line(x, _TOP, x, _TOP + _HEIGHT, "grid"),
            svg.text(x, _TOP + _HEIGHT + 16, f"{10.0**power:g}", "small", "middle"),
        ]
    for power in range(math.ceil(math.log10(y_range[0])), math.floor(math.log10(y_range[1])) + 1):
        y = y_of(10.0**power)
        elements += [
            svg.line(_LEFT, y, _LEFT + _WIDTH, y, "grid"),
            svg.text(_LEFT - 6, y + 4, f"{10.0**power:g}", "small", "end"),
        ]
    corner = roof / bandwidth if roof is not None else x_range[1]
    begin, end = x_range[0], min(corner, x_range[1])
    elements.append(svg.line(x_of(begin), y_of(bandwidth * begin), x_of(end), y_of(bandwidth * end), "roof"))
    elements.append(svg.text(_LEFT + 8, _TOP + 16, f"slope: {bandwidth:.2f} TB/s, {gpu.example}", "small"))
    if roof is not None:
        elements.append(svg.line(x_of(end), y_of(roof), x_of(x_range[1]), y_of(roof), "roof"))
        elements.append(
            svg.text(_LEFT + 8, _TOP + 32, f"flat: {roof:.0f} TFLOP/s by wgmma, A of {a_bits} bits (fitted)", "small")
        )
    x = x_of(intensity)
    elements.append(svg.line(x, _TOP + 38, x, _TOP + _HEIGHT, "here"))  # below the words
    for i, (look, name, rate) in enumerate(points):
        y = y_of(rate)
        elements.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" class="{look}"><title>{name}: {rate:.3g} TFLOP/s</title></circle>'
        )
        legend = _TOP + _HEIGHT + 52 + 17 * i
        elements.append(f'<circle cx="{_LEFT + 8:.1f}" cy="{legend - 4:.1f}" r="5" class="{look}"/>')
        elements.append(svg.text(_LEFT + 20, legend, f"{name}: {rate:.3g} TFLOP/s", "small"))
    elements += [
        svg.text(_LEFT + _WIDTH, _TOP + _HEIGHT + 34, "FLOP a byte", "small", "end"),
        svg.text(_LEFT - 50, _TOP - 6, "TFLOP/s", "small"),
    ]
    label = f"Roofline of {gpu.example}. A call of {found.m} rows has {intensity:.1f} FLOP a byte. " + "; ".join(
        f"{name}: {rate:.3g} TFLOP/s" for _, name, rate in points
    )
    return svg.picture(_LEFT + _WIDTH + 16, _TOP + _HEIGHT + 52 + 17 * len(points), label, elements)
