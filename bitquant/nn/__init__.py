"""Layers for PyTorch models: `Linear`, `BitLinear`; `quantize` rounds float weights, `prepare_model` builds kernels."""

from __future__ import annotations

from bitquant.nn.bitlinear import BitLinear
from bitquant.nn.linear import Linear
from bitquant.nn.prepare import prepare_model
from bitquant.nn.rounding import quantize

__all__ = ["BitLinear", "Linear", "prepare_model", "quantize"]
