# SPDX-License-Identifier: Apache-2.0
"""Calls with known results, which every candidate of a rung is checked by.

Those of a grouped problem differ in their routing: all experts equally likely, all rows of one expert, and Zipf's law
with rows, or slots, that have no expert.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.grouped_inputs import GroupedInputs, Routing, draw_grouped_inputs
from bitquant.inputs import Inputs, draw_inputs
from bitquant.layouts import WeightLayout
from bitquant.operands import EPILOGUE, present
from bitquant.operator.activation import activated

__all__ = ["Case", "draw_cases", "grouped_reference", "reference"]

#: Elements of a float64 temporary, 512 MiB.
_CHUNK_ELEMENTS = 1 << 26
#: How rows of the calls of one, two or three numbers of rows find experts.
_ROUTINGS: tuple[Routing, ...] = ("uniform", "one", "uniform")
#: Every so many slots has no expert in one of the calls.
_STRAYS = 5


@dataclass(frozen=True)
class Case:
    """A call.

    Attributes
    ----------
    operands
        By their names, in the order of the kernels' parameters.
    expected
        D in float64, not rounded to the output's type.
    rows
        The first rows of D, which are specified; all but where sorted rows have no expert.
    """

    operands: dict[str, torch.Tensor]
    expected: torch.Tensor
    rows: int

    @property
    def m(self) -> int:
        """Rows of A, or tokens."""
        return len(self.expected)


def draw_cases(
    config: MatmulConfig | GroupedMatmulConfig, layout: WeightLayout, rung: int, device: torch.device
) -> list[Case]:
    """Return calls for one rung, all with the same weight: with so many rows first.

    Where m is symbolic there is a call with fewer rows, and for the last rung one with more.

    Parameters
    ----------
    config
        The problem.
    layout
        Layout of the weight.
    rung
        The rung.
    device
        Where the kernels run.
    """
    rows = [rung]
    if not config.has_fixed_rows(rung):
        rows.append(max(1, 2 * rung // 3))
        if rung == config.ladder[-1]:
            rows.append(2 * rung + 3)
    generator = torch.Generator(device=device).manual_seed(0)
    if isinstance(config, GroupedMatmulConfig):
        return _grouped_cases(config, layout, rows, generator)
    inputs = draw_inputs(config, max(rows), generator)
    whole = reference(inputs)
    W = inputs.stored(layout)["W"]
    parts = [inputs.rows(slice(m)) for m in rows]
    return [Case({"A": p.A, "W": W, **p.optional}, whole[:m], m) for p, m in zip(parts, rows, strict=True)]


def reference(inputs: Inputs) -> torch.Tensor:
    """Return the result in float64, not rounded to the output's type.

    ::

        H[m, n] = sum_k A[m, k] * decode(W)[n, k] * factors + addends
        D[m, n] = H[m, n], or act(H[m, 2 n], H[m, 2 n + 1]) with an activation

    No TVM is in it.
    """
    A, N = inputs.A.double(), inputs.config.N
    result = torch.empty((len(A), N), dtype=torch.float64, device=A.device)
    step = max(1, _CHUNK_ELEMENTS // A.shape[1])
    for first in range(0, N, step):
        columns = slice(first, first + step)
        result[:, columns] = A @ inputs.decoded(columns).T
    there = present(inputs.config, EPILOGUE)
    for operand in sorted(there, key=lambda operand: operand.role == "addend"):
        values = inputs.given[operand.argument].double()
        values = values[:, None] if operand.rows == "A" else values
        result = result * values if operand.role == "factor" else result + values
    return result if inputs.config.activation is None else activated(inputs.config.activation, result)


# Grouped problems.


def _grouped_cases(
    config: GroupedMatmulConfig, layout: WeightLayout, rows: Sequence[int], generator: torch.Generator
) -> list[Case]:
    first = draw_grouped_inputs(config, rows[0], generator, _ROUTINGS[0])
    calls = [first]
    calls += [first.with_rows(m, generator, r) for m, r in zip(rows[1:], _ROUTINGS[1:], strict=False)]
    calls.append(_with_strays(first.with_rows(rows[0], generator, "zipf")))
    W = first.stored(layout)["W"]
    names = [operand.argument for operand in present(config)]
    cases = []
    for inputs, expected in zip(calls, grouped_reference(calls), strict=True):
        operands = {name: W if name == "W" else inputs.given[name] for name in names}
        # The last offset is where rows end that have an expert.
        specified = int(inputs.given["offsets"][-1]) if config.is_sorted else len(expected)
        cases.append(Case(operands, expected, min(specified, len(expected))))
    return cases


def _with_strays(inputs: GroupedInputs) -> GroupedInputs:
    """Return a call some rows, or slots, of which have no expert."""
    given, E = dict(inputs.given), inputs.config.num_experts
    if inputs.config.is_sorted:
        rows = len(given["A"])
        given["offsets"] = given["offsets"].clamp(max=rows - rows // _STRAYS)
    else:
        ids = given["expert_ids"].flatten().clone()
        ids[_STRAYS - 1 :: _STRAYS] = E  # As transformers marks what other ranks compute.
        given["expert_ids"] = ids.view_as(given["expert_ids"])
    return dataclasses.replace(inputs, given=given)


def grouped_reference(calls: Sequence[GroupedInputs]) -> list[torch.Tensor]:
    """Return the results of calls with the same weights, in float64, not rounded to the output's type.

    They are those of `reference` for the rows of each expert, times the routing weights and summed over slots where the
    problem says so; 0 where there is no expert.
    """
    config = calls[0].config
    experts = [_experts_of(inputs) for inputs in calls]
    results = [
        torch.zeros((len(ids), config.columns), dtype=torch.float64, device=inputs.given["A"].device)
        for ids, inputs in zip(experts, calls, strict=True)
    ]
    slots_of_A = config.rows_per_m if config.A_rows == "tokens" else 1
    # In float64: neither indexing nor cat knows every float8.
    rows = {
        o.argument: [inputs.given[o.argument].double().reshape(-1, *o.row_shape(config.matmul)) for inputs in calls]
        for o in present(config.matmul)
        if o.rows == "A"
    }
    for e, expert in enumerate(calls[0].experts):
        slots = [(ids == e).nonzero().flatten() for ids in experts]
        counts = [len(each) for each in slots]
        if not sum(counts):
            continue
        own = {
            name: torch.cat([t[each // slots_of_A] for t, each in zip(of_calls, slots, strict=True)])
            for name, of_calls in rows.items()
        }
        found = reference(expert.replace(**own)).split(counts)
        for result, each, D in zip(results, slots, found, strict=True):
            result[each] = D
    return [_of_slots(inputs, result) for inputs, result in zip(calls, results, strict=True)]


def _experts_of(inputs: GroupedInputs) -> torch.Tensor:
    """Return the expert of each row, or slot; another number than 0 ... E - 1 where there is none."""
    if inputs.config.is_indexed:
        return inputs.given["expert_ids"].flatten()
    rows = torch.arange(len(inputs.given["A"]), device=inputs.given["A"].device, dtype=torch.int32)
    return torch.searchsorted(inputs.given["offsets"], rows, right=True)


def _of_slots(inputs: GroupedInputs, values: torch.Tensor) -> torch.Tensor:
    """Return D of what its rows, or slots, are."""
    config = inputs.config
    if config.is_sorted:
        return values
    values = values.view(*inputs.given["expert_ids"].shape, -1)
    if config.with_routing_weights:
        values = values * inputs.given["routing_weights"].double().unsqueeze(-1)
    return values.sum(1) if config.reduces_slots else values
