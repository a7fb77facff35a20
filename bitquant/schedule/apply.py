# SPDX-License-Identifier: Apache-2.0
"""Module passes that schedule every function of a problem: by rule, or by record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import config_of
from bitquant.config import MatmulConfig
from bitquant.errors import RecordError, ScheduleError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WEIGHT_LAYOUTS, WeightLayout, fragment_refusal
from bitquant.problem import Problem
from bitquant.schedule import ranking
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules import default_rules
from bitquant.schedule.rules.contract import MemoryPart, Rule, applying, problem_of

__all__ = [
    "ApplyDefaultSchedule",
    "Choice",
    "choice_of",
    "chosen_rules",
    "memory_map_of",
    "preferred_layout",
    "schedule_module",
    "schedule_with",
]

#: Function attribute that says how a function was scheduled (`Choice`).
CHOICE_ATTR = "bitquant.schedule"
#: Function attribute of an unscheduled function: refusals that its `Choice` shall list before those of the rules.
REFUSALS_ATTR = "bitquant.refusals"


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
        The rules that were asked before, with their reasons, but for those for CPUs where the target is a GPU; "record"
        for a record that does not fit.
    origin
        Where rule and hint come from: "default", "record <file>" or "tuned".
    """

    rule: str
    pipeline: str
    hint: dict[str, Any]
    smem_bytes: int
    refusals: dict[str, str]
    origin: str = "default"

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
        # Plain Python: TVM's strings are of a type of its own.
        hint={str(k): str(v) if isinstance(v, str) else v for k, v in fields["hint"].items()},
        smem_bytes=int(fields["smem_bytes"]),
        refusals={str(k): str(v) for k, v in fields["refusals"].items()},
        origin=str(fields["origin"]),
    )


def memory_map_of(func: PrimFunc, target: Target) -> tuple[MemoryPart, ...]:
    """Return the parts of shared memory of a function's kernel; empty for a rule that is not bitquant's."""
    choice, problem = choice_of(func), problem_of(func, target)
    if choice is None or problem is None:
        return ()
    rule = next((r for r in default_rules(problem.config.operation) if r.name == choice.rule), None)
    if rule is None:
        return ()
    try:
        hint = rule.hint_type.from_dict(choice.hint)
    except RecordError:  # A rule of the user's with the name of one of bitquant's.
        return ()
    return rule.geometry(problem, hint).memory_map


def schedule_with(
    func: PrimFunc,
    rule: Rule,
    hint: Hint,
    target: Target,
    origin: str = "default",
    refusals: Mapping[str, str] | None = None,
) -> PrimFunc:
    """Return `func` as `rule` schedules it with `hint`, with its `Choice`; `refusal` has returned None.

    Parameters
    ----------
    func
        A function made by `bitquant.compute.select_implementation`.
    rule, hint
        How to schedule it.
    target
        What to schedule for.
    origin, refusals
        As in `Choice`.

    Raises
    ------
    ScheduleError
        If the hint is none of the rule's, or its sizes do not fit the problem (`Rule.checked`).
    """
    problem = problem_of(func, target)
    if problem is None:
        raise ScheduleError(f"{rule.name}: needs a function made by bitquant")
    geometry = rule.checked(problem, hint)
    choice = Choice(rule.name, rule.pipeline, hint.to_dict(), geometry.smem_bytes, dict(refusals or {}), origin)
    return rule.emit(geometry).with_attr(CHOICE_ATTR, choice.to_dict())


def _apply_foreign(rule: Any, func: PrimFunc, target: Target) -> PrimFunc | None:
    """Apply a rule of TVM's dlight, which has `apply` alone and may return a schedule or several."""
    result = rule.apply(func, target, False)
    result = result[0] if isinstance(result, list) and result else result
    if result is None or isinstance(result, list):
        return None
    return result if isinstance(result, PrimFunc) else result.mod["main"]


def chosen_rules(rules: Sequence[Any] | None, operation: str = MatmulConfig.operation) -> Sequence[Any]:
    """Return the rules that a caller has named, or all of bitquant's for an operation.

    Raises
    ------
    ScheduleError
        If they are no sequence of rules, bitquant's or dlight's.
    """
    if rules is None:
        return default_rules(operation)
    fix = "pass some of bitquant.schedule.rules.default_rules(), or objects of your own with 'apply'"
    if isinstance(rules, (str, bytes)) or not isinstance(rules, Sequence):
        raise ScheduleError(f"'rules' must be a sequence of rules (got {rules!r:.80}); {fix}", rules=rules)
    for rule in rules:
        if isinstance(rule, type) or not callable(getattr(rule, "apply", None)):
            raise ScheduleError(f"'rules' must hold rules alone (got {rule!r:.80}); {fix}", rules=rules)
    return rules


def preferred_layout(
    config: MatmulConfig | GroupedMatmulConfig, target: Target, rules: Sequence[Any] | None = None
) -> WeightLayout:
    """Return the layout in which a weight for `rules` is stored: one for every rung, since it is stored once.

    It is "fragment" where rules made for it take every rung, and are preferred there or the only ones, and the config
    does not ask for the plain layout. Weights of experts are stored once for sorted and indexed rows, so that the
    layout of a grouped problem depends on neither rows nor routing: it is "fragment" where a rule made for it takes
    rows of one kind, and those of the other are served by such a rule too, or by one that reads both layouts.
    """
    rules = chosen_rules(rules, config.operation)
    one = config.matmul if isinstance(config, GroupedMatmulConfig) else config
    if config.wants_plain_layout or target.kind.name != "cuda" or fragment_refusal(one) is not None:
        return "plain"
    own = [rule for rule in rules if isinstance(rule, Rule)]
    if isinstance(config, GroupedMatmulConfig):
        return "fragment" if _experts_gain(config, target, own) else "plain"
    readers = [rule for rule in own if rule.weight_layouts == ("fragment",)]

    def takes(rung: int) -> bool:
        problem = Problem(config, rung, target, "fragment")
        taking = applying(problem, readers)
        if any(rule.is_preferred(problem) for rule in taking):
            return True
        return bool(taking) and not applying(Problem(config, rung, target, "plain"), own)

    return "fragment" if all(map(takes, config.ladder)) else "plain"


def _experts_gain(config: GroupedMatmulConfig, target: Target, rules: Sequence[Rule]) -> bool:
    """Return whether rules made for the fragment layout take weights of experts, and no rows lose a rule for it."""
    gains = False
    for problem in (Problem(c, rung, target) for c in config.in_both_routings() for rung in c.ladder):
        first = {}
        for layout in WEIGHT_LAYOUTS:
            stored = dataclasses.replace(problem, weight_layout=layout)
            first[layout] = next((rule for rule in rules if rule.refusal(stored) is None), None)
        rule = first["fragment"]
        if rule is not None and rule.weight_layouts == ("fragment",):
            gains = True
        elif rule is not first["plain"]:
            return False
    return gains


def schedule_module(mod: IRModule, target: Target, rules: Sequence[Any] | None = None) -> IRModule:
    """Schedule each function by the rules that apply; functions that carry a choice already are kept.

    The rule is the first that applies, or another whose hint is likely to be faster (`ranking`).

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
    if rules is not None:
        chosen_rules(rules)  # Checked before anything is scheduled.
    functions = {}
    for name, func in mod.functions_items():
        if choice_of(func) is None:
            config = config_of(func)
            own = chosen_rules(rules, MatmulConfig.operation if config is None else config.operation)
            func = _schedule(func, func.attrs.get("target") or target, own)  # noqa: PLW2901
        functions[name] = func
    return IRModule(functions, attrs=mod.attrs)


def _schedule(func: PrimFunc, target: Target, rules: Sequence[Any]) -> PrimFunc:
    problem = problem_of(func, target)
    refusals = {str(k): str(v) for k, v in func.attrs.get(REFUSALS_ATTR, {}).items()} if func.attrs else {}
    waiting: list[Rule] = []
    for place, rule in enumerate(rules):
        name = getattr(rule, "name", type(rule).__name__)
        if not isinstance(rule, Rule):
            scheduled = _apply_foreign(rule, func, target)
            if scheduled is not None:
                choice = Choice(name, getattr(rule, "pipeline", "s_tir"), {}, 0, refusals)
                return scheduled.with_attr(CHOICE_ATTR, choice.to_dict())
            refusals[name] = "does not apply"
        elif problem is None:
            refusals[name] = "needs a function made by bitquant"
        elif reason := rule.refusal(problem):
            refusals[name] = reason
        else:
            waiting.append(rule)
            if rule.is_preferred(problem):
                waiting += [other for other in rules[place + 1 :] if isinstance(other, Rule)]
                break
    if problem is not None and (chosen := ranking.first(problem, waiting)):
        if problem.is_cuda:
            on_cpu = {r.name for r in rules if isinstance(r, Rule) and r.is_for_cpu}
            refusals = {name: reason for name, reason in refusals.items() if name not in on_cpu}
        return schedule_with(func, *chosen, target, refusals=refusals)
    where = str(getattr(target, "arch", None) or target.kind.name)
    what = problem or f"{func.attrs.get('global_symbol')} on {where}"
    reasons = "".join(f"\n  {name}: {reason}" for name, reason in refusals.items())
    raise ScheduleError(f"no schedule for {what}{reasons}", refusals=refusals)


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
