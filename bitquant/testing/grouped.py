# SPDX-License-Identifier: Apache-2.0
"""What a grouped product should give, in float64, and one call of an operator against it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.grouped_inputs import GroupedInputs, Routing, draw_grouped_inputs
from bitquant.operator import GroupedOperator
from bitquant.testing.activations import activate, spread
from bitquant.testing.check import poisoned
from bitquant.testing.oracle import assert_close, oracle_weight

__all__ = ["check_grouped_call", "grouped_oracle", "has_expert"]


def _float64(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float64).cpu().numpy()


def _experts(config: GroupedMatmulConfig, inputs: GroupedInputs) -> np.ndarray:
    """Return the expert of each row, (S,), or slot, (T, top_k); any number outside 0 ... E - 1 where there is none."""
    if config.is_indexed:
        return np.asarray(inputs.given["expert_ids"].cpu().numpy())
    ends, rows = inputs.given["offsets"].cpu().numpy(), len(inputs.given["A"])
    found = np.full(rows, config.num_experts)
    begin = 0
    for e, end in enumerate(ends):
        found[begin:end] = e
        begin = max(begin, int(end))
    return found


def has_expert(config: GroupedMatmulConfig, inputs: GroupedInputs) -> np.ndarray:
    """Return which rows, or slots, have an expert."""
    experts = _experts(config, inputs)
    return (experts >= 0) & (experts < config.num_experts)


def grouped_oracle(config: GroupedMatmulConfig, inputs: GroupedInputs) -> np.ndarray:
    """Return D in float64, not rounded to the output's type; 0 where a row has no expert.

    Written from the formulas of `GroupedMatmulConfig`, expert by expert.
    """
    return _of_slots(config, inputs, activate)


def _of_slots(
    config: GroupedMatmulConfig, inputs: GroupedInputs, of_arguments: Callable[[str, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return D, with what is returned of the arguments of an activation in its place."""
    one, experts = config.matmul, _experts(config, inputs)
    a = _float64(inputs.given["A"])
    if config.is_indexed and config.A_rows == "tokens":
        a = np.broadcast_to(a[:, None], (*experts.shape, config.K))
    result = np.zeros((*experts.shape, config.columns))
    for e, expert in enumerate(inputs.experts):
        here = experts == e
        if not here.any():
            continue
        value = a[here] @ oracle_weight(one, expert.W, expert.scale, expert.zeros_values).T
        if config.with_activation_scale:
            factor = _float64(inputs.given["activation_scale"])
            if config.is_indexed and config.A_rows == "tokens":
                factor = np.broadcast_to(factor[:, None], experts.shape)
            value = value * factor[here][:, None]
        if config.with_channel_scale:
            value = value * _float64(expert.given["channel_scale"])
        if config.with_bias:
            value = value + _float64(expert.given["bias"])
        if config.activation is not None:
            value = of_arguments(config.activation, value)
        if config.with_routing_weights:
            value = value * _float64(inputs.given["routing_weights"])[here][:, None]
        result[here] = value
    return result.sum(1) if config.reduces_slots else result


def check_grouped_call(
    operator: GroupedOperator,
    m: int,
    device: torch.device | str = "cpu",
    seed: int = 0,
    routing: Routing = "uniform",
    **replaced: torch.Tensor,
) -> float:
    """Call `operator` with `m` rows of random operands and compare with the float64 oracle.

    Parameters
    ----------
    operator, m, device, seed
        As for `bitquant.testing.check.check_call`.
    routing
        As for `bitquant.grouped_inputs.draw_routing`.
    **replaced
        Operands in place of those that are drawn, offsets or expert_ids say.

    Returns
    -------
    float
        The largest share of a bound that an error takes, as `assert_close`.

    Raises
    ------
    AssertionError
        If the result is wrong, or the operator wrote outside its output.
    """
    config: Any = operator.config
    generator = torch.Generator().manual_seed(seed)
    inputs = draw_grouped_inputs(config, m, generator, routing, every_float8=True)
    inputs = GroupedInputs(config, inputs.experts, {**inputs.given, **replaced})
    operands = {name: t.to(device) for name, t in inputs.stored(operator.weight_layout).items()}
    shape = operator.signature.output_shape(m)
    guarded = poisoned((m + 2, *shape[1:]), config.out_format.torch_dtype, device)
    before = guarded.clone()
    operator(**operands, output=guarded[1 : m + 1])
    for edge in (0, -1):
        if not torch.equal(guarded[edge].view(torch.uint8), before[edge].view(torch.uint8)):
            raise AssertionError(f"{config}: a call with m={m} wrote outside its output")
    got, reference = guarded[1 : m + 1].cpu(), grouped_oracle(config, inputs)
    passed_on = None if config.activation is None else np.abs(_of_slots(config, inputs, spread))
    if config.is_sorted:
        inside = torch.from_numpy(has_expert(config, inputs))
        got, reference = got[inside], reference[inside.numpy()]
        passed_on = None if passed_on is None else passed_on[inside.numpy()]
    if got.numel() == 0 or math.prod(reference.shape) == 0:
        return 0.0
    return assert_close(got, reference, config.matmul, passed_on)
