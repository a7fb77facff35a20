# SPDX-License-Identifier: Apache-2.0
"""Tuning: build the hints worth a try, check and measure each, keep the best."""

from bitquant.tune.api import tune
from bitquant.tune.result import TuningResult
from bitquant.tune.trial import Trial, TuningWarning

__all__ = ["Trial", "TuningResult", "TuningWarning", "tune"]
