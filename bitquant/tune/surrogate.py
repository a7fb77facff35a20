# SPDX-License-Identifier: Apache-2.0
"""A model of the times of one problem, refitted each round, and what it expects to gain by another trial.

A predictor says p of a candidate, which takes t. What is modeled is the residual, log t - log p: what the predictor
says wrong of this problem. It is a Gaussian process over the candidates' features, whose uncertainty grows with the
distance from what was tried: an ensemble of trees is as sure of a part of the space that it has seen nothing of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bitquant.schedule.records import NOISE

__all__ = ["Surrogate", "expected_improvement"]

#: What the length scale, in standard deviations of a feature, and the deviation of the residual are chosen from, by
#: their likelihood; predictors are wrong by some 10 %, give or take a factor of 2.
_LENGTHS = (0.3, 0.6, 1.2, 2.4)
_DEVIATIONS = (0.02, 0.05, 0.1, 0.2, 0.4)
_USUAL_DEVIATION, _SPREAD = 0.1, 0.7
#: The process is too sure: of 78 problems on an H200 (schedules/trials) the times of what was not tried were off by 2.8
#: of its deviations after 8 trials, by 1.9 after 12, by 1.5 after 16 (root mean squares).
_DOUBT = 2.0


class Surrogate:
    """The times of one problem's candidates.

    Parameters
    ----------
    features
        (candidates, features) float32; NaN where a candidate has no such number.
    predicted_us
        (candidates,) what a predictor says, in microseconds; NaN where it says nothing.
    """

    def __init__(self, features: np.ndarray, predicted_us: np.ndarray) -> None:
        base = np.log(predicted_us)
        known = base[np.isfinite(base)]
        # Without a prediction: the middle one, from which the features of the rule lead away.
        self._base = np.where(np.isfinite(base), base, np.median(known) if known.size else 0.0)
        self._points = _standardized(np.column_stack([features, self._base]))

    def spread(self, among: Sequence[int], tried: Sequence[int], count: int) -> list[int]:
        """Return `count` candidates of `among`, each the farthest from what was tried and from those before it."""
        found: list[int] = []
        left = list(among)
        seen = list(tried) or left[:1]
        distance = self._distances(left, seen).min(axis=1)
        while left and len(found) < count:
            farthest = int(distance.argmax())
            found.append(left[farthest])
            distance = np.minimum(distance, self._distances(left, [left[farthest]])[:, 0])
        return found

    def predict(self, tried: Sequence[int], times_us: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the standard deviation of the logarithm of each candidate's time, in log microseconds.

        Parameters
        ----------
        tried
            Indices of candidates.
        times_us
            How long each took.

        Notes
        -----
        Rasmussen and Williams, Gaussian processes for machine learning, 2006, algorithm 2.1, with the Matérn kernel of
        nu = 5/2, equation 4.17.
        """
        index = list(tried)
        residual = np.log(np.asarray(times_us)) - self._base[index]
        center = float(np.median(residual))
        residual = residual - center
        distance = self._distances(range(len(self._points)), index)
        fits: list[tuple[float, np.ndarray, np.ndarray, float]] = []
        for length in _LENGTHS:
            r = math.sqrt(5) * distance / length
            kernel = (1 + r + r**2 / 3) * np.exp(-r)
            for deviation in _DEVIATIONS:
                factor = np.linalg.cholesky(deviation**2 * kernel[index] + NOISE**2 * np.eye(len(index)))
                whitened = np.linalg.solve(factor, residual)
                prior = (math.log(deviation / _USUAL_DEVIATION) / _SPREAD) ** 2
                likelihood = -0.5 * float(whitened @ whitened) - float(np.log(np.diag(factor)).sum()) - 0.5 * prior
                fits.append((likelihood, factor, deviation**2 * kernel, deviation))
        _, factor, covariance, deviation = max(fits, key=lambda fit: fit[0])
        known = np.linalg.solve(factor, covariance.T)
        mean = self._base + center + known.T @ np.linalg.solve(factor, residual)
        return mean, _DOUBT * np.sqrt(np.maximum(deviation**2 - (known**2).sum(axis=0), 1e-12))

    def _distances(self, rows: Sequence[int], columns: Sequence[int]) -> np.ndarray:
        """Return root mean squares of the differences of features, (rows, columns)."""
        a, b = self._points[list(rows)], self._points[list(columns)]
        squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
        result: np.ndarray = np.sqrt(np.maximum(squares, 0.0) / max(1, self._points.shape[1]))
        return result


def _standardized(features: np.ndarray) -> np.ndarray:
    """Return features of mean 0 and deviation 1, those that say something, and where some have no number, which."""
    values = features.astype(np.float64)
    is_missing = np.isnan(values)
    flags = is_missing[:, is_missing.any(axis=0)].astype(np.float64)
    means = np.where(is_missing, 0.0, values).sum(axis=0) / np.maximum(1, (~is_missing).sum(axis=0))
    columns = np.unique(np.column_stack([np.where(is_missing, means, values), flags]), axis=1)
    deviation = columns.std(axis=0)
    says = deviation > 1e-9 * (1 + np.abs(columns).max(axis=0, initial=0.0))
    result: np.ndarray = (columns[:, says] - columns[:, says].mean(axis=0)) / deviation[says]
    return result


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """Return E[max(0, best - x)] of normal x; of logarithms of times it is the share by which a trial is faster.

    The criterion of Jones, Schonlau and Welch, Efficient global optimization of expensive black-box functions, 1998.
    """
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    result: np.ndarray = deviation * (z * below + density)
    return result
