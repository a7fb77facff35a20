# SPDX-License-Identifier: Apache-2.0
"""Scheduling by record: what is planned for each rung of a problem, and the pass that applies it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tvm
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.arch import detected_cuda_arch
from bitquant.compute.matmul import config_of, layout_of, rung_of
from bitquant.config import MatmulConfig
from bitquant.errors import RecordError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WeightLayout
from bitquant.problem import Problem
from bitquant.schedule.apply import (
    REFUSALS_ATTR,
    Choice,
    choice_of,
    chosen_rules,
    preferred_layout,
    schedule_with,
)
from bitquant.schedule.hint import Hint
from bitquant.schedule.records import Record, Records, directories, records_for
from bitquant.schedule.rules.contract import Rule, problem_of

__all__ = ["ApplyTunedSchedule", "Plan", "Planned", "RecordSource", "apply_plan", "plan", "read_hint"]

#: Where records come from: a set of them, a file or folder, or any number of them.
RecordSource = Records | str | Path | Iterable[Record]

#: What stands for a record among the refusals of a `Choice`.
_REFUSED = "record"


@dataclass(frozen=True)
class Planned:
    """What one rung is to be scheduled with.

    Attributes
    ----------
    rule, hint
        Name of the rule, and the fields of its hint.
    origin
        As in `Choice`.
    is_required
        Whether it is an error if it does not fit; otherwise the default takes its place.
    record
        The record that says so, with its measurement; not part of what is kept of a plan.

    Raises
    ------
    RecordError
        If a field of the hint is no int, string or bool: it is part of keys before a rule sees it.
    """

    rule: str
    hint: dict[str, Any]
    origin: str
    is_required: bool = True
    record: Record | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, value in self.hint.items():
            if not isinstance(value, (int, str)):
                raise RecordError(
                    f"{self.origin}: the hint's field {name!r} must be an int, a string or a bool (got {value!r:.80})",
                    **{str(name): value},
                )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON, all but the record."""
        return {"rule": self.rule, "hint": self.hint, "origin": self.origin, "is_required": self.is_required}


@dataclass(frozen=True)
class Plan:
    """What is planned for the rungs of a problem. Rungs that it does not name get the default.

    Attributes
    ----------
    planned
        By rung.
    refusals
        Why the record of a rung is not used.
    """

    planned: Mapping[int, Planned] = field(default_factory=dict)
    refusals: Mapping[int, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON; part of the key under which kernels are kept."""
        return {
            "planned": {str(rung): p.to_dict() for rung, p in sorted(self.planned.items())},
            "refusals": {str(rung): reason for rung, reason in sorted(self.refusals.items())},
        }

    @classmethod
    def from_choices(cls, choices: Mapping[int, Choice]) -> Plan:
        """Return the plan that leads to these choices, by rung: the hints that are no defaults, and refused records."""
        planned = {rung: Planned(c.rule, c.hint, c.origin) for rung, c in choices.items() if c.origin != "default"}
        return cls(planned, {rung: c.refusals[_REFUSED] for rung, c in choices.items() if _REFUSED in c.refusals})

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Plan:
        """Return the plan whose `to_dict` is `fields`."""
        planned = {int(rung): Planned(**values) for rung, values in fields["planned"].items()}
        return cls(planned, {int(rung): reason for rung, reason in fields["refusals"].items()})


def read_hint(rule: Rule, values: Mapping[str, Any]) -> Hint:
    """Return the hint of `rule` with these fields.

    Raises
    ------
    RecordError
        If a field is unknown, missing, of another type or out of its range.
    """
    try:
        hint = rule.hint_type.from_dict(dict(values))
    except TypeError as error:  # A field without a default is missing.
        raise RecordError(f"the hint {dict(values)} is none of rule {rule.name}: {error}") from error
    if (fault := hint.fault()) is not None:
        raise RecordError(str(fault), **{fault.field: fault.value})
    return hint


def _find_rule(name: str, rules: Sequence[Rule]) -> Rule:
    known = {rule.name: rule for rule in rules if isinstance(rule, Rule)}  # Not those of TVM's dlight.
    if name not in known:
        raise RecordError(f"there is no rule {name!r}; there are {', '.join(known)}", rule=name)
    return known[name]


def _fit(planned: Planned, problem: Problem, rules: Sequence[Rule]) -> tuple[Rule, Hint]:
    """Return rule and hint, or raise RecordError where they do not fit the problem."""
    rule = _find_rule(planned.rule, rules)
    if reason := rule.refusal(problem):
        raise RecordError(f"rule {rule.name} refuses: {reason}", rule=rule.name)
    return rule, read_hint(rule, planned.hint)


def _serves_elsewhere(planned: Planned, problem: Problem, rules: Sequence[Rule]) -> bool:
    """Return whether what is planned for a rung fits a problem whose ladder has that rung alone.

    A record serves a rung whether its function has fixed rows or a symbolic m, and whatever other rungs there are,
    which decide the layout of the weight. A rule may take the one and refuse the other; the record is not stale then.
    """
    rung, target = problem.rung, problem.target
    for alone in (problem.config.with_M(rung), problem.config.with_M((rung,))):
        try:
            _fit(planned, Problem(alone, rung, target, preferred_layout(alone, target, rules)), rules)
        except RecordError:
            continue
        return True
    return False


def _stale(origin: str, what: object, error: Exception) -> RecordError:
    return RecordError(f"{origin}: {what} does not fit: {error}; tune it again, or remove it")


def plan(
    config: MatmulConfig | GroupedMatmulConfig,
    target: Target,
    layout: WeightLayout = "plain",
    records: RecordSource | None = None,
    rules: Sequence[Rule] | None = None,
    rungs: Iterable[int] | None = None,
) -> Plan:
    """Return what the records say of each rung of a problem.

    A problem with an activation goes by the records of the one without where it has none: only the epilogue differs.

    Parameters
    ----------
    config
        The problem.
    target
        What to schedule for. There are records for CUDA targets alone.
    layout
        Layout of the weight that the functions read.
    records
        Where to look; default: the folders of the environment variable BITQUANT_SCHEDULES, then the shipped records.
        Of several devices of the target's architecture the attached one is preferred.
    rules
        The rules that records may name; default: all of bitquant's.
    rungs
        The rungs to plan for; default: the whole ladder.

    Raises
    ------
    RecordError
        If `records` are none, on whatever target, or a file cannot be read. If a record of the user's own does not fit:
        its rule is gone or refuses the problem, its hint has other fields. A shipped record that does not fit becomes a
        refusal, and so does one of the user's own that fits the rung by itself: one tuned for a static M of 1, say, may
        not serve a ladder that ends at 1.
    """
    is_cuda = target.kind.name == "cuda"
    arch = str(target.arch) if is_cuda else target.kind.name
    rules = chosen_rules(rules, config.operation)
    sources = list(_sources(config, arch, records))
    if not is_cuda:
        return Plan()
    several = len({device for found, _, _ in sources for device in found.devices()}) > 1
    device = _attached_device(arch) if several else None
    planned: dict[int, Planned] = {}
    refusals: dict[int, str] = {}
    for rung in config.ladder if rungs is None else rungs:
        problem = Problem(config, rung, target, layout)
        for found, folder, is_required in sources:
            record = found.find(config, rung, arch, device)
            must_fit = is_required and record is not None
            if record is None and config.activation is not None:
                record = found.find(dataclasses.replace(config, activation=None), rung, arch, device)
            if record is None:
                continue
            candidate = Planned(record.rule, dict(record.hint), _origin(record, folder), must_fit, record)
            try:
                _fit(candidate, problem, rules)
            except RecordError as error:
                if must_fit and not _serves_elsewhere(candidate, problem, rules):
                    raise _stale(candidate.origin, f"the record {record}", error) from error
                refusals[rung] = f"{candidate.origin.removeprefix('record ')}: {error}"
                continue
            planned[rung] = candidate
            refusals.pop(rung, None)
            break
    return Plan(planned, refusals)


def _sources(
    config: MatmulConfig | GroupedMatmulConfig, arch: str, records: RecordSource | None
) -> Iterator[tuple[Records, Path | None, bool]]:
    """Yield sets of records in order of preference, each with its folder and whether its records must fit."""
    if isinstance(records, (str, os.PathLike)):
        yield records_for(records, config, arch), None, True
    elif records is not None:
        yield records if isinstance(records, Records) else Records(records), None, True
    else:
        own, shipped = directories()
        for folder in own:
            yield records_for(folder, config, arch), None, True
        if shipped is not None:
            yield records_for(shipped, config, arch), shipped, False


def _origin(record: Record, folder: Path | None) -> str:
    """Return where a record stands: shipped ones relative to their folder."""
    if record.source is None:
        return "record"
    return f"record {record.source.relative_to(folder) if folder else record.source}"


def _attached_device(arch: str) -> str | None:
    """Return the name of the current GPU where it is of this architecture."""
    import torch

    if not torch.cuda.is_available():
        return None
    index = torch.cuda.current_device()
    return torch.cuda.get_device_name(index) if detected_cuda_arch(index) == arch else None


def apply_plan(mod: IRModule, target: Target, plan: Plan, rules: Sequence[Rule] | None = None) -> IRModule:
    """Schedule the functions that a plan names; others, and those scheduled already, are kept as they are.

    Parameters
    ----------
    mod
        Functions made by `bitquant.compute.select_implementation`, of the plan's problem.
    target
        What to schedule for.
    plan
        What to schedule with.
    rules
        The rules that the plan may name; default: all of bitquant's.

    Raises
    ------
    RecordError
        If a hint's sizes do not fit the problem. Where the record is a shipped one, the function is kept unscheduled
        and its `Choice` will list the reason.
    """
    functions = {name: _apply(func, target, plan, rules) for name, func in mod.functions_items()}
    return IRModule(functions, attrs=mod.attrs)


def _apply(func: PrimFunc, target: Target, plan: Plan, rules: Sequence[Rule] | None) -> PrimFunc:
    problem = problem_of(func, target)
    if problem is None or choice_of(func) is not None:
        return func
    rules = chosen_rules(rules, problem.operation)
    rung = problem.rung
    planned, reason = plan.planned.get(rung), plan.refusals.get(rung)
    if planned is not None:
        try:
            rule, hint = _fit(planned, problem, rules)
            return schedule_with(func, rule, hint, target, planned.origin)
        except Exception as error:  # Sizes from a file may break a rule in any way.
            if planned.is_required:
                what = f"rule {planned.rule} with {planned.hint} for {problem.config.with_M(rung)}"
                raise _stale(planned.origin, what, error) from error
            reason = f"{planned.origin.removeprefix('record ')}: {error}"
    return func if reason is None else func.with_attr(REFUSALS_ATTR, {_REFUSED: reason})


@tvm.ir.transform.module_pass(opt_level=0, name="ApplyTunedSchedule")
class ApplyTunedSchedule:
    """Schedule the functions whose problem has a record, for the target in scope; others are left as they are.

    So `ApplyDefaultSchedule` after it takes the rest::

        with target:
            mod = tvm.transform.Sequential([ApplyTunedSchedule("schedules"), ApplyDefaultSchedule()])(mod)

    An error keeps its message on the way through TVM's pass manager, and becomes a RuntimeError.

    Parameters
    ----------
    records
        A `Records`, a file or folder of them, or `Record` objects; None: the user's and the shipped ones, as in `plan`.
    rules
        The rules that records may name; default: all of bitquant's.
    """

    def __init__(self, records: RecordSource | None = None, *, rules: Sequence[Rule] | None = None) -> None:
        if records is not None and not isinstance(records, (Records, str, Path)):
            records = Records(records)
        self.records = records
        self.rules = rules

    def transform_module(self, mod: IRModule, _ctx: tvm.transform.PassContext) -> IRModule:
        """Return the module with those functions scheduled that have a record."""
        target = Target.current(allow_none=False)
        functions = {}
        for name, func in mod.functions_items():
            if (config := config_of(func)) is not None:
                own = func.attrs.get("target") or target
                of_rung = plan(config, own, layout_of(func), self.records, self.rules, [rung_of(func)])
                func = _apply(func, own, of_rung, self.rules)  # noqa: PLW2901
            functions[name] = func
        return IRModule(functions, attrs=mod.attrs)
