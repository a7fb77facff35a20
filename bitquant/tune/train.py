# SPDX-License-Identifier: Apache-2.0
"""Learning the ranking of hints from trials (`bitquant.schedule.ranking`), and what it is worth on unseen problems.

Boosted trees predict how much slower a kernel is than the best one that was measured for its problem, as a logarithm;
what is more than `CLIP` behind counts as that far. A model is validated on shapes that it has not seen: all rows and
formats of an (N, K) are left out together.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitquant.arch import cuda_target, find_gpu
from bitquant.errors import UnsupportedError
from bitquant.problem import Problem
from bitquant.schedule.ranking.features import geometries, problem_features, samples, slowness
from bitquant.schedule.ranking.trees import Trees
from bitquant.schedule.rules import default_rules
from bitquant.schedule.rules.contract import Geometry, Rule, applying
from bitquant.tune.trials import Measurement

__all__ = ["CLIP", "Measured", "Regret", "first_losses", "gains", "measured_problems", "regrets", "train", "validated"]

#: Slowness, log(time / best), beyond which kernels are not told apart: a factor of 1.65.
CLIP = 0.5
#: XGBoost's parameters and rounds.
PARAMETERS = {
    "max_depth": 6, "eta": 0.05, "subsample": 0.7, "colsample_bytree": 0.7, "min_child_weight": 3.0, "reg_lambda": 2.0,
    "seed": 0, "num_parallel_tree": 3,
}  # fmt: skip
ROUNDS = 300


@dataclass(frozen=True)
class Measured:
    """The kernels of a problem that were measured.

    Attributes
    ----------
    problem
        For exactly as many rows as were timed, on the product that they were timed on.
    candidates
        Rule, geometry and features of each.
    latency_us
        Of each.
    """

    problem: Problem
    candidates: list[tuple[Rule, Geometry, dict[str, float]]]
    latency_us: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """N and K, by which problems are left out."""
        return self.problem.config.N, self.problem.config.K

    @property
    def slowness(self) -> np.ndarray:
        """log(time / best) of each kernel."""
        result: np.ndarray = np.log(self.latency_us / self.latency_us.min())
        return result

    @property
    def analytical_score(self) -> np.ndarray:
        """What puts kernels in the order without a learned model: the preferred rule's first, by predicted time."""
        place = {rule.name: i for i, rule in enumerate(applying(self.problem, default_rules()))}
        return np.array([
            1e3 * place[rule.name] + own["log_cost"] if rule.name in place else math.inf
            for rule, _, own in self.candidates
        ])  # fmt: skip

    @property
    def refused(self) -> np.ndarray:
        """Infinite for kernels of rules that refuse the problem, which are never chosen, and 0 for others."""
        refuses = {rule.name: rule.refusal(self.problem) is not None for rule, _, _ in self.candidates}
        return np.array([math.inf if refuses[rule.name] else 0.0 for rule, _, _ in self.candidates])


def measured_problems(trials: Iterable[Measurement], least: int = 8) -> list[Measured]:
    """Return the problems of trials that have at least so many measured kernels of rules with features.

    Hints that do not fit any more, and kernels that failed, are left out.

    Raises
    ------
    UnsupportedError
        If a device is none that is known.
    """
    rules = {rule.name: rule for rule in default_rules()}
    groups: dict[Any, list[Measurement]] = defaultdict(list)
    for trial in trials:
        if trial.status == "measured" and trial.rule in rules:
            groups[trial.problem_key].append(trial)
    found = []
    for group in groups.values():
        gpu = find_gpu(group[0].device)
        if gpu is None:
            raise UnsupportedError(f"trials are of {group[0].device!r}, which is no GPU that bitquant knows")
        config = group[0].config
        problem = Problem(config, group[0].rung, cuda_target(gpu), "fragment")
        read = [(t, rules[t.rule], rules[t.rule].hint_type.from_dict(dict(t.hint))) for t in group]
        legal = [(trial, rule, hint) for trial, rule, hint in read if hint.fault() is None]
        candidates, latency_us = [], []
        made = geometries(problem, ((rule, hint) for _, rule, hint in legal))
        for (trial, rule, _), geometry in zip(legal, made, strict=True):
            if geometry.fault is None and (own := rule.features(geometry)) is not None:
                candidates.append((rule, geometry, own))
                latency_us.append(trial.latency_us)
        if len(candidates) >= least:
            found.append(Measured(problem, candidates, np.array(latency_us)))
    return found


def column_names(problems: Sequence[Measured]) -> list[str]:
    """Return the columns of a model that is trained on these problems."""
    own = {name for measured in problems for _, _, features in measured.candidates for name in features}
    relative = {"is_wgmma", "above_best", "above_best_of_rule"}
    return sorted(own | relative | set(problem_features(problems[0].problem)))


def train(problems: Sequence[Measured]) -> Trees:
    """Return a model of these problems.

    Raises
    ------
    UnsupportedError
        If xgboost is not installed.
    """
    booster, names = _booster(problems)
    least_rows: dict[str, int] = {}
    for measured in problems:
        for rule, _, _ in measured.candidates:
            if rule.refusal(measured.problem) is None:
                rows = measured.problem.rung
                least_rows[rule.name] = min(rows, least_rows.get(rule.name, rows))
    return Trees.from_xgboost(booster, names, sorted({p.problem.gpu.example for p in problems}), least_rows)


def gains(problems: Sequence[Measured]) -> dict[str, float]:
    """Return for each feature the share of the error that a model's splits by it take away.

    Raises
    ------
    UnsupportedError
        If xgboost is not installed.
    """
    found = _booster(problems)[0].get_score(importance_type="total_gain")
    return {name: gain / sum(found.values()) for name, gain in found.items()}


def _booster(problems: Sequence[Measured]) -> tuple[Any, list[str]]:
    """Return what XGBoost makes of these problems, and the names of the columns."""
    try:
        import xgboost
    except ImportError as error:
        raise UnsupportedError("training needs xgboost; install it with: pip install 'bitquant[train]'") from error
    names = column_names(problems)
    table = np.concatenate([samples(p.problem, p.candidates, names) for p in problems])
    slowness = np.concatenate([p.slowness for p in problems])
    data = xgboost.DMatrix(table, np.minimum(slowness, CLIP), weight=np.exp(-slowness), feature_names=names)
    return xgboost.train(PARAMETERS, data, ROUNDS), names


def score(trees: Trees, measured: Measured) -> np.ndarray:
    """Return the predicted slowness of each kernel of a problem; infinite for those of rules that refuse it."""
    return slowness(trees, measured.problem, measured.candidates) + measured.refused


def validated(problems: Sequence[Measured], folds: int = 6, by: str = "shape") -> list[np.ndarray]:
    """Return for each problem the scores of a model that was trained without its shape, or without its GPU.

    Parameters
    ----------
    problems
        The problems.
    folds
        Parts into which the shapes are cut.
    by
        "shape" or "gpu".
    """
    if by == "gpu":
        gpus = sorted({p.problem.gpu.example for p in problems})
        parts = [gpus.index(p.problem.gpu.example) for p in problems]
    else:
        shapes = sorted({p.shape for p in problems})
        random.Random(0).shuffle(shapes)  # noqa: S311 - not for secrets
        fold = {shape: i % folds for i, shape in enumerate(shapes)}
        parts = [fold[p.shape] for p in problems]
    scores: list[np.ndarray] = [np.empty(0)] * len(problems)
    for held_out in sorted(set(parts)):
        trees = train([p for p, part in zip(problems, parts, strict=True) if part != held_out])
        for i, (p, part) in enumerate(zip(problems, parts, strict=True)):
            if part == held_out:
                scores[i] = score(trees, p)
    return scores


@dataclass(frozen=True)
class Regret:
    """How far an order of hints is behind the best one, over some problems.

    Attributes
    ----------
    count
        Problems.
    first, first_worst
        Time of the first hint over the best one's: geometric mean, and the greatest.
    best_of_8, best_of_8_worst
        The same of the best of the first eight.
    """

    count: int
    first: float
    first_worst: float
    best_of_8: float
    best_of_8_worst: float


def regrets(problems: Sequence[Measured], scores: Sequence[np.ndarray]) -> Regret:
    """Return what is lost by trying the kernels of problems in the order of scores, the least first."""
    if not problems:
        return Regret(0, math.nan, math.nan, math.nan, math.nan)
    of_counts = (np.log(first_losses(problems, scores, count)) for count in (1, 8))
    return Regret(len(problems), *(math.exp(f(losses)) for losses in of_counts for f in (np.mean, np.max)))


def first_losses(problems: Sequence[Measured], scores: Sequence[np.ndarray], count: int = 1) -> np.ndarray:
    """Return for each problem the time of the best of the first `count` kernels over that of the best one."""
    orders = [np.argsort(s, kind="stable")[:count] for s in scores]
    return np.exp([p.slowness[order].min() for p, order in zip(problems, orders, strict=True)])
