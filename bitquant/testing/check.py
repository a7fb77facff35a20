# SPDX-License-Identifier: Apache-2.0
"""One call of an operator against the oracle."""

from __future__ import annotations

import torch

from bitquant import packing
from bitquant.operator import Operator
from bitquant.relayout import to_layout
from bitquant.testing.generators import make_inputs
from bitquant.testing.oracle import assert_close, relative_error, round_to_output

__all__ = ["check_call", "poisoned"]


def poisoned(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    """Return a tensor that no right result equals everywhere: NaN, or for integers the least number."""
    fill = float("nan") if dtype.is_floating_point else torch.iinfo(dtype).min
    return torch.full(shape, fill, dtype=dtype, device=device)


def check_call(operator: Operator, m: int, device: torch.device | str = "cpu", seed: int = 0) -> float:
    """Call `operator` with `m` rows of random operands and compare with the float64 oracle.

    Returns
    -------
    float
        Relative Frobenius error; for integer outputs, of the output against the rounded reference.

    Raises
    ------
    AssertionError
        If the result is wrong (`assert_close`), or the operator wrote outside its output.
    """
    config = operator.config
    inputs = make_inputs(config, m, device, seed)
    qweight = to_layout(packing.pack(inputs.W, config), config, operator.weight_layout)
    # Guard rows before and after the output show a write out of bounds.
    guarded = poisoned((m + 2, config.columns), config.out_format.torch_dtype, device)
    before = guarded.clone()
    output = guarded[1 : m + 1]
    operator(inputs.A, qweight, **inputs.optional, output=output)
    for edge in (0, -1):
        if not torch.equal(guarded[edge].view(torch.uint8), before[edge].view(torch.uint8)):
            raise AssertionError(f"{config}: a call with m={m} wrote outside its output")
    reference = inputs.reference(config)
    result = output.cpu()
    assert_close(result, reference, config, inputs.passed_on(config))
    if config.out_format.is_integer:
        reference = round_to_output(reference, config)
    return relative_error(result, reference) if m else 0.0
