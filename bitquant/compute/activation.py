# SPDX-License-Identifier: Apache-2.0
"""The activations of gated MLPs, as functions from expressions to expressions; `MatmulConfig` has the formulas.

All are g * sigmoid(z(g)) times something of u. Written as g / (1 + exp(-z)), with exp of float32 and a quotient or a
reciprocal of 1 unit in the last place, they are within 5 of these units, and |z| / 2 more where z is negative and
large, since z is rounded before exp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm import tirx

from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig

__all__ = ["CLAMPED_ALPHA", "CLAMPED_LIMIT", "GELU_CUBIC", "GELU_FACTOR", "activated"]

Expr = Any

#: Of clamped_swiglu: the factor of the gate in the sigmoid, and the bound of gate and up (gpt-oss: `swiglu` of
#: gpt_oss/torch/model.py; transformers' GptOssExperts).
CLAMPED_ALPHA, CLAMPED_LIMIT = 1.702, 7.0
#: gelu(g) = g * sigmoid(2 * sqrt(2 / pi) * (g + 0.044715 * g^3)) (Hendrycks and Gimpel, "Gaussian Error Linear Units";
#: (1 + tanh(x)) / 2 is sigmoid(2 x)).
GELU_FACTOR, GELU_CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715


def activated(
    config: MatmulConfig | GroupedMatmulConfig, gate: Expr, up: Expr, reciprocal: Callable[[Expr], Expr] | None = None
) -> Expr:
    """Return the activation of two float32 numbers, in float32, not rounded to an output's type.

    Parameters
    ----------
    config
        A problem with an activation.
    gate, up
        Expressions that stand in the result several times: variables, or elements of a buffer.
    reciprocal
        Returns 1 / x of x from 1 to infinity, to 1 unit in the last place; None: there is a quotient.
    """
    if config.activation == "clamped_swiglu":
        # No minimum: of a number and NaN that may be the number.
        limit = _number(CLAMPED_LIMIT)
        gate = tirx.Select(gate > limit, limit, gate)
        up = tirx.Select(up > limit, limit, tirx.Select(up < -limit, -limit, up)) + _number(1.0)
        z = gate * _number(CLAMPED_ALPHA)
    elif config.activation == "gelu_tanh_mul":
        z = gate * (gate * gate * _number(GELU_FACTOR * GELU_CUBIC) + _number(GELU_FACTOR))
    else:
        z = gate
    divisor = tirx.exp(-z) + _number(1.0)
    return (gate / divisor if reciprocal is None else gate * reciprocal(divisor)) * up


def _number(value: float) -> Expr:
    return tirx.const(value, "float32")
