# SPDX-License-Identifier: Apache-2.0
"""Readers of quantized checkpoints: `read_checkpoint`, and the contract for a new format in `reader`."""

from __future__ import annotations

from bitquant.nn.checkpoints.checkpoint import Checkpoint, read_checkpoint
from bitquant.nn.checkpoints.weight import ActivationScheme, QuantizedWeight

__all__ = ["ActivationScheme", "Checkpoint", "QuantizedWeight", "read_checkpoint"]
