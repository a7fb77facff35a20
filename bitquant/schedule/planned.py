# SPDX-License-Identifier: Apache-2.0
"""From a plan to the scheduled module, and the check that a rule has kept what it may not change."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import tvm
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.errors import ScheduleError
from bitquant.schedule.apply import choice_of, schedule_module
from bitquant.schedule.tuned import Plan, apply_plan

__all__ = ["check_declarations", "schedule_planned"]


def schedule_planned(mod: IRModule, target: Target, plan: Plan, rules: Sequence[Any] | None = None) -> IRModule:
    """Return the scheduled module: rungs as they are planned, the others by default.

    Parameters
    ----------
    mod
        Functions made by `bitquant.compute.select_implementation`, one a rung.
    target
        What to schedule for.
    plan
        What is planned for some of the rungs.
    rules
        As for `schedule_module`.

    Raises
    ------
    RecordError, ScheduleError
        As `apply_plan` and `schedule_module` do.
    """
    if plan.planned or plan.refusals:
        mod = apply_plan(mod, target, plan, rules)
    return schedule_module(mod, target, rules)


def check_declarations(scheduled: IRModule, unscheduled: IRModule) -> None:
    """Check that every kernel declares its operands as its meaning does: TVM's launcher compares tensors with that.

    Raises
    ------
    ScheduleError
        If a rule has changed one.
    """
    for name, func in scheduled.functions_items():
        meaning = unscheduled[name]
        names = [str(param.name) for param in meaning.params]
        for operand, got, wanted in itertools.zip_longest(names, _declared(func), _declared(meaning)):
            if got != wanted:
                choice = choice_of(func)
                rule = choice.rule if choice else "no rule"
                what = f"{operand or 'no further operand'} of {name.name_hint}"
                raise ScheduleError(
                    f"{rule}: {what} must be declared as {wanted} (got {got}); "
                    "a rule keeps the parameters of the function that it schedules",
                    rule=rule,
                )


def _declared(func: PrimFunc) -> list[str]:
    """Return type and shape of each parameter, as text; a symbolic size by the number of its first mention."""
    variables: list[Any] = []

    def size(dim: Any) -> str:
        if not isinstance(dim, tvm.tirx.Var):
            return str(dim)
        if not any(dim.same_as(v) for v in variables):
            variables.append(dim)
        return f"m{next(i for i, v in enumerate(variables) if dim.same_as(v)) or ''}"

    return [
        f"{p.dtype} ({', '.join(map(size, p.shape))})" + (f" with strides {p.strides}" if len(p.strides) else "")
        if hasattr(p, "shape")
        else f"a {p.ty}"
        for p in func.params
    ]
