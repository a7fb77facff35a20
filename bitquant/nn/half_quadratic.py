# SPDX-License-Identifier: Apache-2.0
"""Zero points by half-quadratic optimisation, without data (HQQ)."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["optimise_zeros"]

#: The norm, the weight of the quadratic term and its growth an iteration, and the number of iterations: those of Badri
#: and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (2023). There errors are measured in the
#: units of the weight; here in steps, so that the result does not depend on the size of the weights.
_P = 0.7
_BETA = 10.0
_GROWTH = 1.01
_ITERATIONS = 20


def optimise_zeros(
    steps: torch.Tensor, zeros: torch.Tensor, highest: int, stored: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return zero points z that make the error of each group small, measured by the p-th powers of its elements.

    For u = w / s, codes q(z) = clamp(round(u + z), 0, highest) and p = 0.7::

        minimise over z     sum |u - (q(z) - z)|^p

    p < 1 counts the few large errors of outliers for less than their squares do. With an auxiliary error e the problem
    is solved by turns, after Badri and Shaji. With x = u - (q - z), for fixed z each e minimises
    |e|^p + beta / 2 (e - x)^2, approximately, by a generalised soft threshold; for fixed e the best z is a mean::

        e = sign(x) max(|x| - |x|^(p - 1) / beta, 0)          z = mean over the group of q - (u - e)

    and beta grows. Of all z that came by, the start included, each group keeps the one with the least error, as it is
    after rounding to the type in which it is stored.

    Parameters
    ----------
    steps
        u, (..., groups, group_size) float32.
    zeros
        Where to start, (..., groups, 1).
    highest
        The largest code.
    stored
        What becomes of zero points when they are stored, in units of steps.
    """
    best, least = zeros, torch.full_like(zeros, torch.inf)
    z, beta = zeros, _BETA
    for iteration in range(_ITERATIONS + 1):
        rounded = stored(z)
        codes = (steps + rounded).round_().clamp_(0, highest)
        x = (steps + rounded).sub_(codes)
        size = x.abs()
        threshold = size.clamp(min=1e-8).log_().mul_(_P - 1).exp_()  # |x|^(p - 1), several times as fast as pow.
        error = (size * threshold).sum(-1, keepdim=True)  # |x|^p
        is_better = error < least
        if not is_better.any():
            break
        best, least = torch.where(is_better, z, best), torch.where(is_better, error, least)
        if iteration == _ITERATIONS:
            break
        e = x.sign_().mul_(size.sub_(threshold.div_(beta)).clamp_(min=0))
        z = codes.sub_(steps).add_(e).mean(-1, keepdim=True)
        beta *= _GROWTH
    return best
