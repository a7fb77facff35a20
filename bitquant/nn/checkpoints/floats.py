# SPDX-License-Identifier: Apache-2.0
"""Scales of 8 bits and values of 4."""

from __future__ import annotations

import torch

from bitquant.nn.checkpoints.bits import codes_of_bytes
from bitquant.nn.checkpoints.layer import StoredLayer

__all__ = ["e2m1_codes", "read_e8m0_scale", "widen"]


def e2m1_codes(packed: torch.Tensor) -> torch.Tensor:
    """Return the codes of fp4_e2m1, (..., K) int8, of bytes (..., K / 2): the first of a pair in the lower half."""
    return codes_of_bytes(packed, 4, 2 * packed.shape[-1])


def widen(scale: torch.Tensor) -> torch.Tensor:
    """Return scales in a type that a kernel reads and that holds each of them: e5m2 as float16."""
    return scale.to(torch.float16) if scale.dtype == torch.float8_e5m2 else scale


def read_e8m0_scale(layer: StoredLayer, role: str, shape: tuple[int | None, ...], meaning: str) -> torch.Tensor:
    """Return scales 2^(byte - 127) as they are stored, as torch.float8_e8m0fnu.

    Source: OCP Microscaling Formats specification v1.0, 5.4.1, by which the byte 255 is NaN.
    """
    stored = layer.read(role, (torch.uint8, torch.float8_e8m0fnu), shape, meaning).view(torch.uint8)
    if bool((stored == 255).any()):
        raise layer.error("must be finite (got the E8M0 byte 255, which is NaN)", role)
    return stored.view(torch.float8_e8m0fnu)
