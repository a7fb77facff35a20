# SPDX-License-Identifier: Apache-2.0
"""Activations of gate and up in float64, and how errors of their arguments pass through them.

Written from the definitions and sharing no code with what it checks.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["activate", "spread"]


def _parts(name: str, H: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return f, f', h, h' of an activation f(g) * h(u), for the gates g and ups u that alternate in the last axis."""
    g, u = H[..., 0::2], H[..., 1::2]
    one = np.ones_like(u)
    with np.errstate(over="ignore", invalid="ignore"):
        if name == "gelu_tanh_mul":
            # (1 + tanh(x)) / 2 is 1 / (1 + exp(-2 x)), which does not cancel.
            x = math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)
            s = 1 / (1 + np.exp(-2 * x))
            slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * g**2)
            return g * s, s + 2 * g * slope * s * (1 - s), u, one
        if name == "clamped_swiglu":
            is_free, u_is_free = g <= 7.0, np.abs(u) <= 7.0
            g, u = np.where(g > 7.0, 7.0, g), np.where(u > 7.0, 7.0, np.where(u < -7.0, -7.0, u))
            s = 1 / (1 + np.exp(-1.702 * g))
            return g * s, np.where(is_free, s * (1 + 1.702 * g * (1 - s)), 0.0), u + 1, np.where(u_is_free, one, 0.0)
        if name == "silu_mul":
            s = 1 / (1 + np.exp(-g))
            return g * s, s * (1 + g * (1 - s)), u, one
    raise ValueError(f"unknown activation {name!r}")


def activate(name: str, H: np.ndarray) -> np.ndarray:
    """Return act(H[..., 2 n], H[..., 2 n + 1]) in float64, (..., N / 2)."""
    f, _, h, _ = _parts(name, H)
    with np.errstate(over="ignore", invalid="ignore"):
        result: np.ndarray = f * h
    return result


def spread(name: str, H: np.ndarray) -> np.ndarray:
    """Return the error of `activate` for arguments whose errors are of size 1 relative to them, (..., N / 2).

    To first order, and adding up as squares::

        sqrt((f'(g) h(u) e_g)^2 + (f(g) h'(u) e_u)^2)        e = max(|H|, rms(H)), of f(g) h(u)

    An argument that is much smaller than the others is a sum that cancels, whose error is that of its terms.
    """
    f, slope_f, h, slope_h = _parts(name, H)
    size = np.maximum(np.abs(H), np.sqrt(np.mean(H**2))) if H.size else H
    result: np.ndarray = np.hypot(slope_f * h * size[..., 0::2], f * slope_h * size[..., 1::2])
    return result
