# SPDX-License-Identifier: Apache-2.0
"""The process that builds the kernels of operators (`bitquant.workers`), and what it is told.

It needs no torch, and is started without (`bitquant.nn.prepare`): TVM imports torch where it is there, which takes
longer than TVM itself.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm.target import Target

from bitquant.arch import resolve_target
from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compute import select_implementation
from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig, config_from_problem
from bitquant.schedule.planned import check_declarations, schedule_planned
from bitquant.schedule.tuned import Plan
from bitquant.workers import serve

__all__ = ["build_request", "main"]


def build_request(
    config: MatmulConfig | GroupedMatmulConfig, target: Target, layout: Any, plan: Plan
) -> dict[str, Any]:
    """Return what a worker is told of an operator, ready for JSON.

    Parameters
    ----------
    config, target, layout, plan
        The problem, what it is built for, how the weight is stored, and what is planned for its rungs.
    """
    return {"problem": config.problem(), "target": str(target), "layout": layout, "plan": plan.to_dict()}


def _build(request: dict[str, Any]) -> Archive:
    config, plan = config_from_problem(request["problem"]), Plan.from_dict(request["plan"])
    target = resolve_target(Target(request["target"]))
    with tvm.transform.PassContext():
        meaning = select_implementation(config, request["layout"])
        scheduled = schedule_planned(meaning, target, plan)
        check_declarations(scheduled, meaning)
        return build(scheduled, target, config.problem())


def main() -> None:
    """Serve requests until standard input ends."""
    serve(_build)
