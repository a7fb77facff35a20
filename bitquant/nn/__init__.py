"""Layers for PyTorch models: `Linear`, `BitLinear`, and the rounding of float weights, `quantize`."""

from __future__ import annotations

from bitquant.nn.bitlinear import BitLinear
from bitquant.nn.linear import Linear
from bitquant.nn.rounding import quantize

__all__ = ["BitLinear", "Linear", "quantize"]
