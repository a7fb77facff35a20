# SPDX-License-Identifier: Apache-2.0
"""Tuning: build the hints worth a try, check and measure each, keep the best."""

from bitquant.tune.search import Trial, TuningResult, TuningWarning, tune

__all__ = ["Trial", "TuningResult", "TuningWarning", "tune"]
