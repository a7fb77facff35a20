# SPDX-License-Identifier: Apache-2.0
"""What is expected of a candidate before it is measured: its time, and numbers from which a model learns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Protocol

import numpy as np

from bitquant.problem import Problem
from bitquant.schedule.ranking import order
from bitquant.schedule.ranking.features import geometries, slowness
from bitquant.tune.candidates import Candidate

__all__ = ["Analytical", "Learned", "Predictor", "Remembered", "default_predictor"]


class Predictor(Protocol):
    """What tuning takes of a model of time."""

    def predict_us(self, problem: Problem, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return a time for each candidate, in microseconds, float64; NaN where the model has none."""

    def features(self, problem: Problem, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return a row of numbers for each candidate, float32; NaN where one has no such number."""


class Learned:
    """The learned order of hints, where there is one for the problem (`bitquant.schedule.ranking`); else `Analytical`.

    It says how much slower a kernel is than another; the least time is that of the analytical models.
    """

    def __init__(self) -> None:
        self._analytical = Analytical()

    def predict_us(self, problem: Problem, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return the least analytical time times the slowness; the analytical time for rules without features."""
        times = self._analytical.predict_us(problem, candidates)
        trees = order.model_for(problem)
        if trees is None:
            return times
        known = {}
        for place, geometry in enumerate(geometries(problem, ((c.rule, c.hint) for c in candidates))):
            rule = candidates[place].rule
            if not order.compares(trees, problem, rule):
                continue
            if np.isfinite(times[place]) and (own := rule.features(geometry)) is not None:
                known[place] = rule, geometry, own
        if known:
            places, behind = list(known), slowness(trees, problem, list(known.values()))
            times[places] = times[places].min() * np.exp(behind - behind.min())
        return times

    def features(self, problem: Problem, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return those of `Analytical`."""
        return self._analytical.features(problem, candidates)


class Analytical:
    """The models of the rules (`Rule.cost_us`); features are the rule, the fields of the hint, and shared memory."""

    def predict_us(self, problem: Problem, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return what each rule's model says; NaN for rules without one."""
        found = (c.rule.predicted_us(problem, c.hint) for c in candidates)
        return np.array([math.nan if us is None else us for us in found], dtype=np.float64)

    def features(self, problem: Problem, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return a column for the rule, one for shared memory, and one for each field that a hint of them has.

        Words are numbered in alphabetical order.
        """
        rules = sorted({c.rule.name for c in candidates})
        columns = sorted({f.name for c in candidates for f in fields(c.hint)})
        words: dict[str, list[str]] = {
            name: sorted({v for c in candidates if isinstance(v := getattr(c.hint, name, None), str)})
            for name in columns
        }

        def number(value: Any, name: str) -> float:
            if value is None:
                return math.nan
            return float(words[name].index(value) if isinstance(value, str) else value)

        rows = [
            [
                float(rules.index(c.rule.name)),
                float(c.rule.smem_bytes(problem, c.hint)),
                *(number(getattr(c.hint, name, None), name) for name in columns),
            ]
            for c in candidates
        ]
        return np.array(rows, dtype=np.float32).reshape(len(candidates), 2 + len(columns))


class Remembered:
    """A predictor of one problem that is asked once of each candidate: the order and the search want the same times.

    Parameters
    ----------
    predictor
        Whom to ask.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._known_us: dict[Any, float] = {}

    def predict_us(self, problem: Problem, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return what was said of them before; where one is new all are asked, since times may be relative."""
        if any(c.key not in self._known_us for c in candidates):
            times = self._predictor.predict_us(problem, candidates)
            self._known_us = {c.key: us for c, us in zip(candidates, times, strict=True)}
        return np.array([self._known_us[c.key] for c in candidates], dtype=np.float64)

    def features(self, problem: Problem, candidates: Sequence[Candidate]) -> np.ndarray:
        """Return those of the predictor."""
        return self._predictor.features(problem, candidates)


def default_predictor() -> Predictor:
    """Return the predictor that tuning uses."""
    return Learned()
