# SPDX-License-Identifier: Apache-2.0
"""Calls of grouped products for `bitquant bench`: their operands, the reference, and what is timed.

Routing is drawn at random, all experts being equally likely. The call that is checked has one; those that are timed
have one each (`bitquant.profiling`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from bitquant.grouped_inputs import GroupedInputs, draw_grouped_inputs
from bitquant.grouped_matmul import GroupedMatmul
from bitquant.operands import present
from bitquant.profiling import rotating_operands
from bitquant.testing.bench.check import verdict
from bitquant.testing.bench.problems import Cell
from bitquant.testing.bench.protocol import Call
from bitquant.testing.check import poisoned
from bitquant.tune.cases import grouped_reference

__all__ = ["GroupedCheck", "draw_experts", "grouped_calls"]


def draw_experts(cell: Cell, device: torch.device, seed: int = 0) -> GroupedInputs:
    """Draw the weights of all experts of a cell, on `device`; its rows are drawn when they are needed."""
    return draw_grouped_inputs(cell.config, 0, torch.Generator(device=device).manual_seed(seed))


class GroupedCheck:
    """Fresh rows of a cell with a routing, and the float64 reference for some columns of D.

    Parameters
    ----------
    cell, weights
        The cell, and what `draw_experts` returned for one of its kind and sizes.
    columns
        How many columns are compared, drawn anew for each cell.
    seed
        Another seed gives other rows.
    """

    def __init__(self, cell: Cell, weights: GroupedInputs, columns: int, seed: int) -> None:
        self.cell = cell
        device = weights.given["A"].device
        generator = torch.Generator(device=device).manual_seed(seed)
        self.inputs = weights.with_rows(cell.m, generator)
        chosen = torch.randperm(cell.config.columns, generator=torch.Generator().manual_seed(seed))[:columns]
        self._columns = chosen.sort().values
        self._reference = grouped_reference([self.inputs])[0][..., self._columns.to(device)].cpu().numpy()

    def ours(self, output: torch.Tensor) -> dict[str, Any]:
        """Return error, bound and complaint of our output, under the bound that tests use."""
        result = output[..., self._columns.to(output.device)].cpu()
        return verdict(result, self._reference, self.cell.config.matmul)


def grouped_calls(operator: GroupedMatmul, check: GroupedCheck, W: torch.Tensor) -> tuple[list[Call], dict[str, Any]]:
    """Call an operator once, and return the calls that are timed, and the figures of the one that was checked.

    Parameters
    ----------
    operator, check
        Of one cell.
    W
        The weights of all experts as the operator stores them.
    """
    config, m = operator.config, check.cell.m
    given = {**check.inputs.given, "W": W}
    operands = {o.argument: given[o.argument] for o in present(config)}
    output = poisoned(operator.signature.output_shape(m), config.out_format.torch_dtype, W.device)
    operator(**operands, output=output)
    figures = check.ours(output)
    timed = rotating_operands(config, operands, m)
    kernel = operator.kernel_for(m)
    figures["copies"] = len({call["W"].data_ptr() for call in timed})
    figures["routings"] = len(timed)
    return [partial(kernel, *call.values(), output) for call in timed], figures
