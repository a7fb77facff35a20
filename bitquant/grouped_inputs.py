# SPDX-License-Identifier: Apache-2.0
"""Random operands of a grouped call: those of each expert, and a routing."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch

from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.inputs import Inputs, draw_inputs
from bitquant.layouts import WeightLayout
from bitquant.operands import GROUPED_OPERANDS

__all__ = ["GroupedInputs", "Routing", "draw_grouped_inputs", "draw_routing"]

#: How rows are spread over experts: evenly, by Zipf's law (expert i as often as 1 / (i + 1)), all to one.
Routing = Literal["uniform", "zipf", "one"]


@dataclass(frozen=True)
class GroupedInputs:
    """Operands of one grouped call.

    Attributes
    ----------
    config
        The problem.
    experts
        `Inputs` of each expert, with its values W and what goes by rows of W.
    given
        All operands but W, by their names at the call.
    """

    config: GroupedMatmulConfig
    experts: tuple[Inputs, ...]
    given: dict[str, torch.Tensor]

    @property
    def optional(self) -> dict[str, torch.Tensor]:
        """What the operator takes beside A and W."""
        return {name: tensor for name, tensor in self.given.items() if name != "A"}

    def stored(self, layout: WeightLayout) -> dict[str, torch.Tensor]:
        """Return all operands, with the weight as an operator stores it, in the order of the kernels' parameters."""
        W = torch.stack([expert.stored(layout)["W"] for expert in self.experts])
        operands = {**self.given, "W": W}
        return {o.argument: operands[o.argument] for o in GROUPED_OPERANDS if o.argument in operands}

    def to(self, device: torch.device | str) -> GroupedInputs:
        """Return the same numbers on a device."""
        given = {name: tensor.to(device) for name, tensor in self.given.items()}
        return dataclasses.replace(self, experts=tuple(e.to(device) for e in self.experts), given=given)

    def with_rows(self, m: int, generator: torch.Generator, routing: Routing = "uniform") -> GroupedInputs:
        """Return this with new operands for `m` rows, and a routing of them."""
        return _with_rows(self.config, self.experts, m, generator, routing)


def draw_grouped_inputs(
    config: GroupedMatmulConfig, m: int, generator: torch.Generator, routing: Routing = "uniform", **options: Any
) -> GroupedInputs:
    """Draw operands for a call with `m` rows, on the device of `generator`.

    Parameters
    ----------
    config
        The problem.
    m
        Rows of A that are sorted, or tokens; 0 and more.
    generator
        Where the numbers come from.
    routing
        As for `draw_routing`.
    **options
        As for `bitquant.inputs.draw_inputs`.
    """
    experts = tuple(draw_inputs(config.matmul, 1, generator, **options) for _ in range(config.num_experts))
    return _with_rows(config, experts, m, generator, routing)


def _with_rows(
    config: GroupedMatmulConfig, experts: tuple[Inputs, ...], m: int, generator: torch.Generator, routing: Routing
) -> GroupedInputs:
    given: dict[str, torch.Tensor] = {}
    # Rows are drawn for the first expert: what scales them goes by all of their weights, which are alike.
    slots = config.slots_of(config.A_rows)
    of_rows = experts[0].with_rows(m * (slots[0] if slots else 1), generator)
    for operand in GROUPED_OPERANDS[:-1]:
        name = operand.argument
        if not operand.is_present(config) or name == "W" or operand.role in ("routing", "weight"):
            continue
        if operand.rows == "W":
            # stack knows no float8.
            tensors = [expert.given[name] for expert in experts]
            whole = torch.stack([t.view(torch.uint8) if t.element_size() == 1 else t for t in tensors])
            given[name] = whole.view(tensors[0].dtype)
        else:
            given[name] = of_rows.given[name].reshape(operand.shape(config, m, "plain"))
    given |= draw_routing(config, m, generator, routing)
    return GroupedInputs(config, experts, given)


def draw_routing(
    config: GroupedMatmulConfig, m: int, generator: torch.Generator, routing: Routing = "uniform"
) -> dict[str, torch.Tensor]:
    """Return offsets, or experts of tokens and routing weights, by their names at the call.

    The experts of a token differ where there are as many.

    Parameters
    ----------
    config, m, generator
        As for `draw_grouped_inputs`.
    routing
        "uniform", "zipf" or "one" (all rows to the last expert but one, or the only one).
    """
    E, device = config.num_experts, generator.device
    chances = torch.ones(E, device=device)
    if routing == "zipf":
        chances = 1.0 / torch.arange(1, E + 1, device=device)
    elif routing == "one":
        chances = torch.zeros(E, device=device)
        chances[max(0, E - 2)] = 1.0
    if config.is_sorted:
        counts = torch.zeros(E, dtype=torch.int64, device=device)
        if m:
            counts = torch.multinomial(chances, m, replacement=True, generator=generator).bincount(minlength=E)
        return {"offsets": counts.cumsum(0).to(torch.int32)}
    top_k = config.top_k or 1
    replacement = routing == "one" or top_k > E
    ids = torch.zeros((m, top_k), dtype=torch.int32, device=device)
    if m:
        rows = chances.expand(m, E)
        ids = torch.multinomial(rows, top_k, replacement=replacement, generator=generator).to(torch.int32)
    drawn = {"expert_ids": ids}
    if config.with_routing_weights:
        weights = torch.rand((m, top_k), device=device, generator=generator) + 0.1
        drawn["routing_weights"] = weights / weights.sum(1, keepdim=True)
    return drawn
