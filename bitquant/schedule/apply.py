"""Module passes that schedule every function of a problem: by rule, or by record."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import config_of, rung_of
from bitquant.errors import ScheduleError
from bitquant.schedule.rules import default_rules
from bitquant.schedule.rules.base import Rule

__all__ = ["ApplyDefaultSchedule", "Choice", "choice_of", "schedule_module"]

#: Function attribute that says how a function was scheduled (`Choice`).
CHOICE_ATTR = "bitquant.schedule"


@dataclass(frozen=True)
class Choice:
    """How one function was scheduled.

    Attributes
    ----------
    rule
        Name of the rule.
    pipeline
        TVM's lowering pipeline for the result, "s_tir" or "tirx".
    hint
        The fields of the hint.
    smem_bytes
        Dynamic shared memory of a block.
    refusals
        The rules that were asked before, with their reasons.
    """

    rule: str
    pipeline: str
    hint: dict[str, Any]
    smem_bytes: int
    refusals: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON and for function attributes."""
        return dataclasses.asdict(self)


def choice_of(func: PrimFunc) -> Choice | None:
    """Return how `func` was scheduled, or None where it was not."""
    fields = func.attrs.get(CHOICE_ATTR) if func.attrs else None
    if fields is None:
        return None
    return Choice(
        rule=str(fields["rule"]),
        pipeline=str(fields["pipeline"]),
        hint=dict(fields["hint"].items()),
        smem_bytes=int(fields["smem_bytes"]),
        refusals={str(k): str(v) for k, v in fields["refusals"].items()},
    )


def _apply(rule: Any, func: PrimFunc, target: Target) -> tuple[PrimFunc | None, str, dict[str, Any], int]:
    """Return the scheduled function, "", the hint's fields and shared memory; or None and the rule's reason.

    Rules of TVM's dlight fit too: they have `apply` alone, and may return a schedule or several.
    """
    if not isinstance(rule, Rule):
        result = rule.apply(func, target, False)
        result = result[0] if isinstance(result, list) and result else result
        if result is None or isinstance(result, list):
            return None, "does not apply", {}, 0
        return (result if isinstance(result, PrimFunc) else result.mod["main"]), "", {}, 0
    config = config_of(func)
    if config is None:
        return None, "needs a function made by bitquant", {}, 0
    rung = rung_of(func)
    if reason := rule.refuses(config, rung, target):
        return None, reason, {}, 0
    hint = rule.default_hint(config, rung, target)
    scheduled = rule.schedule(config, rung, target, hint)
    return scheduled, "", hint.to_dict(), rule.smem_bytes(config, rung, target, hint)


def schedule_module(mod: IRModule, target: Target, rules: Sequence[Any] | None = None) -> IRModule:
    """Schedule each function with the first rule that applies; functions that carry a choice already are kept.

    Parameters
    ----------
    mod
        Functions made by `bitquant.compute.select_implementation`; for dlight's rules, any function.
    target
        What to schedule for, where a function does not name its own target.
    rules
        Rules in order of preference; default: all of bitquant's.

    Raises
    ------
    ScheduleError
        If no rule applies. The message lists all reasons.
    """
    rules = default_rules() if rules is None else rules
    functions = {}
    for name, func in mod.functions_items():
        if choice_of(func) is None:
            func = _schedule(func, func.attrs.get("target") or target, rules)  # noqa: PLW2901
        functions[name] = func
    return IRModule(functions, attrs=mod.attrs)


def _schedule(func: PrimFunc, target: Target, rules: Sequence[Any]) -> PrimFunc:
    refusals: dict[str, str] = {}
    for rule in rules:
        name = getattr(rule, "name", type(rule).__name__)
        scheduled, reason, fields, smem_bytes = _apply(rule, func, target)
        if scheduled is None:
            refusals[name] = reason
            continue
        choice = Choice(name, getattr(rule, "pipeline", "s_tir"), fields, smem_bytes, refusals)
        return scheduled.with_attr(CHOICE_ATTR, choice.to_dict())
    config = config_of(func)
    what = str(config.with_M(rung_of(func))) if config else str(func.attrs.get("global_symbol"))
    where = str(getattr(target, "arch", None) or target.kind.name)
    reasons = "".join(f"\n  {name}: {reason}" for name, reason in refusals.items())
    raise ScheduleError(f"no schedule for {what} on {where}{reasons}", refusals=refusals)


@tvm.ir.transform.module_pass(opt_level=0, name="ApplyDefaultSchedule")
class ApplyDefaultSchedule:
    """`schedule_module` as a TVM pass, for the target in scope: ``with target: mod = ApplyDefaultSchedule()(mod)``.

    An error keeps its message on the way through TVM's pass manager, and becomes a RuntimeError.

    Parameters
    ----------
    *rules
        Rules in order of preference, bitquant's or dlight's; default: all of bitquant's.
    """

    def __init__(self, *rules: Any) -> None:
        self.rules = rules or None

    def transform_module(self, mod: IRModule, _ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with every function scheduled."""
        return schedule_module(mod, Target.current(allow_none=False), self.rules)
