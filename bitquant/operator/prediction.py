# SPDX-License-Identifier: Apache-2.0
"""Which kernel a call of a problem will run, and how long it will take, without building anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tvm.target import Target

from bitquant.arch import find_gpu
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.operator.report import floor_us
from bitquant.problem import Problem
from bitquant.schedule import plan, preferred_layout, ranking
from bitquant.schedule.rules import default_rules
from bitquant.schedule.tuned import read_hint

__all__ = ["Basis", "Prediction", "predict"]

#: Where a time is from: a record's measurement, the cost model of the rule, or the floor, bytes over bandwidth.
Basis = Literal["record", "model", "floor"]


@dataclass(frozen=True)
class Prediction:
    """What a call will run.

    Attributes
    ----------
    rule
        Name of the rule.
    rung
        The rung of the ladder that serves the call.
    origin
        Where rule and hint come from, as in `Choice`.
    time_us
        Time of the call in microseconds; None on a CPU, of which no bandwidth is known.
    basis
        Where `time_us` is from.
    """

    rule: str
    rung: int
    origin: str
    time_us: float | None
    basis: Basis | None


def predict(config: MatmulConfig, m: int, target: Target) -> Prediction:
    """Return which rule serves a call with `m` rows, and how long it will take.

    Rule and hint are those that `Matmul` takes, records included. The time is that of the record, where one was
    measured on that GPU for as many rows; else what the rule's model predicts for the rung (for `m` beyond the last
    one); else the floor.

    Parameters
    ----------
    config
        The problem, with its ladder.
    m
        Rows of A.
    target
        What the kernel is compiled for, and runs on: a product (`target_gpu`).

    Raises
    ------
    ScheduleError
        If no rule serves the problem.
    RecordError
        If a record of the user's own does not fit.
    """
    ladder = config.ladder
    rung = next((rung for rung in ladder if m <= rung), ladder[-1])
    layout = preferred_layout(config, target)
    planned = plan(config, target, layout, rungs=(rung,)).planned.get(rung)
    problem = Problem(config, rung, target, layout)
    rules = default_rules(config.operation)
    if planned is not None:
        rule = next(rule for rule in rules if rule.name == planned.rule)
        hint, origin = read_hint(rule, planned.hint), planned.origin
    else:
        found = ranking.first(problem, rules)
        if found is None:
            raise ScheduleError(f"no schedule for {problem}")
        (rule, hint), origin = found, "default"
    if target.kind.name != "cuda":
        return Prediction(rule.name, rung, origin, None, None)
    gpu = problem.gpu
    record = planned.record if planned is not None else None
    if record is not None and m == rung and find_gpu(record.device) == gpu:
        return Prediction(rule.name, rung, origin, record.latency_us, "record")
    predicted = rule.predicted_us(replace(problem, rung=max(m, rung)), hint)
    if predicted is not None:
        return Prediction(rule.name, rung, origin, predicted, "model")
    return Prediction(rule.name, rung, origin, floor_us(config, m, gpu), "floor")
