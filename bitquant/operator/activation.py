# SPDX-License-Identifier: Apache-2.0
"""The activations of gate and up in torch's operations, and their gradients; `MatmulConfig` has the formulas."""

from __future__ import annotations

import torch

from bitquant.compute.activation import CLAMPED_ALPHA, CLAMPED_LIMIT, GELU_CUBIC, GELU_FACTOR

__all__ = ["activated", "activation_gradient"]


def activated(name: str, H: torch.Tensor) -> torch.Tensor:
    """Return act(H[..., 2 n], H[..., 2 n + 1]), (..., N / 2), in the type of H.

    Parameters
    ----------
    name
        One of `bitquant.config_rules.ACTIVATIONS`.
    H
        (..., N), float32 or float64.
    """
    f, _, h, _ = _parts(name, H)
    return f * h


def activation_gradient(name: str, H: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    """Return the gradient of H, (..., N), from that of `activated`, (..., N / 2).

    Beyond the limits of clamped_swiglu it is 0, and at them that of what is not clamped, as torch's clamp has it.
    """
    f, slope_f, h, slope_h = _parts(name, H)
    return torch.stack((grad * slope_f * h, grad * f * slope_h), dim=-1).flatten(-2)


def _parts(name: str, H: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return f, f', h and h' of f(g) * h(u), f(g) = g * sigmoid(z(g))."""
    g, u = H[..., 0::2], H[..., 1::2]
    slope_h, gate = torch.ones_like(u), g
    slope_z: torch.Tensor | float
    if name == "clamped_swiglu":
        slope_h = (u.abs() <= CLAMPED_LIMIT).to(u.dtype)
        g, u = g.clamp(max=CLAMPED_LIMIT), u.clamp(-CLAMPED_LIMIT, CLAMPED_LIMIT) + 1
        z, slope_z = g * CLAMPED_ALPHA, CLAMPED_ALPHA
    elif name == "gelu_tanh_mul":
        square = g * g * (GELU_FACTOR * GELU_CUBIC)
        z, slope_z = g * (square + GELU_FACTOR), 3 * square + GELU_FACTOR
    else:
        z, slope_z = g, 1.0
    s = torch.sigmoid(z)
    slope_f = s + g * s * (1 - s) * slope_z
    if name == "clamped_swiglu":
        slope_f = slope_f * (gate <= CLAMPED_LIMIT)
    return g * s, slope_f, u, slope_h
