# SPDX-License-Identifier: Apache-2.0
"""Routers: the linear layers that choose the experts of a token, and gates of shared experts.

They are small, and what they choose is no longer it when their numbers are rounded to few bits. Most models of
transformers have a module of another kind for them; in those that use torch.nn.Linear they are known by their names
and by how many outputs they have.
"""

from __future__ import annotations

import re

import torch

from bitquant.nn.stock import find_stock_experts

__all__ = ["EXPERT_COUNTS", "find_routers"]

#: What configs call the number of experts.
EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
#: Parts of a name: "mlp.router.gate", "mlp.gate.wg", "shared_expert_gate"; not "mlp.gate_proj".
_ROUTER = re.compile(r"(^|\.)(\w*router|gate|shared_expert_gate)(\.|$)")


def find_routers(model: torch.nn.Module) -> set[str]:
    """Return the names of a model's linear layers that have an output for each expert, or one for shared experts."""
    counts = _expert_counts(model)
    return {
        name for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, torch.nn.Linear) and counts and _ROUTER.search(name)
        and (module.out_features in counts or (module.out_features == 1 and "shared_expert" in name))
    }  # fmt: skip


def _expert_counts(model: torch.nn.Module) -> set[int]:
    """Return how many experts the layers of a model have."""
    found = {module.down_proj.shape[0] for module in find_stock_experts(model).values()}
    configs = [getattr(module, "config", None) for module in model.modules()]
    # Experts of classes that `Experts` cannot stand for are named by the config alone.
    values = (getattr(config, name, None) for config in configs for name in EXPERT_COUNTS)
    return found | {count for count in values if type(count) is int and count > 1}
