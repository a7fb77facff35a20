# SPDX-License-Identifier: Apache-2.0
"""A model of the times of one problem, refitted each round, and what it expects to gain by another trial.

A predictor says p of a candidate, which takes t. What is fitted is the residual, log t - log p: what the predictor says
wrong of this problem. An ensemble, each member on trials drawn with replacement, says how sure that is.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence

import numpy as np

from bitquant.schedule.records import NOISE

__all__ = ["Surrogate", "expected_improvement", "is_available"]

#: Members of the ensemble. Their spread is an uncertainty of within a quarter of itself, and a fit takes some 50 ms.
_MEMBERS = 8
#: Small trees: a problem has 20 to 64 trials.
_TREES, _DEPTH, _RATE = 40, 3, 0.2


def is_available() -> bool:
    """Return whether xgboost is installed (the extra ``tune``)."""
    return importlib.util.find_spec("xgboost") is not None


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
        self._features = np.column_stack([features, self._base]).astype(np.float32)

    def predict(self, tried: Sequence[int], times_us: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the standard deviation of the logarithm of each candidate's time, in log microseconds.

        Parameters
        ----------
        tried
            Indices of candidates.
        times_us
            How long each took.
        """
        import xgboost

        index = np.asarray(tried)
        residual = np.log(np.asarray(times_us)) - self._base[index]
        center = float(np.median(residual))
        chance = np.random.default_rng(0)
        everything = xgboost.DMatrix(self._features)
        members = []
        for member in range(_MEMBERS):
            drawn = chance.integers(0, len(index), len(index))
            data = xgboost.DMatrix(self._features[index[drawn]], residual[drawn] - center)
            settings = {
                "max_depth": _DEPTH, "eta": _RATE, "min_child_weight": 1, "lambda": 1.0, "base_score": 0.0,
                "colsample_bynode": 0.7, "seed": member, "nthread": 1, "verbosity": 0,
            }  # fmt: skip
            members.append(xgboost.train(settings, data, _TREES).predict(everything))
        found = np.array(members, dtype=np.float64)
        # A latency is not known better than the noise of a measurement.
        return self._base + center + found.mean(axis=0), np.hypot(found.std(axis=0, ddof=1), NOISE)


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """Return E[max(0, best - x)] of normal x; of logarithms of times it is the share by which a trial is faster.

    The criterion of Jones, Schonlau and Welch, Efficient global optimization of expensive black-box functions, 1998.
    """
    z = (best - mean) / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    below = 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))
    result: np.ndarray = deviation * (z * below + density)
    return result
