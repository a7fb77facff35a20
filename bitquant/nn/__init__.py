# SPDX-License-Identifier: Apache-2.0
"""Layers for PyTorch models, the rounding of float weights, and whole models."""

from __future__ import annotations

from bitquant.nn.bitlinear import BitLinear
from bitquant.nn.experts import Experts, ExpertsLinear, Gate
from bitquant.nn.linear import Linear
from bitquant.nn.loading import load_model
from bitquant.nn.merged import merge_layers, unmerge_layers
from bitquant.nn.models import dequantize_model, quantize_model
from bitquant.nn.prepare import prepare_model
from bitquant.nn.rounding import quantize
from bitquant.nn.swap import ModelWarning

__all__ = [
    "BitLinear",
    "Experts",
    "ExpertsLinear",
    "Gate",
    "Linear",
    "ModelWarning",
    "dequantize_model",
    "load_model",
    "merge_layers",
    "prepare_model",
    "quantize",
    "quantize_model",
    "unmerge_layers",
]
