# SPDX-License-Identifier: Apache-2.0
"""Tuning: build the hints worth a try, check and measure each, keep the best.

Names are imported when they are asked for: processes that compile (`bitquant.tune.worker`) do without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitquant.tune.api import tune
    from bitquant.tune.result import TuningResult
    from bitquant.tune.trial import Trial, TuningWarning

__all__ = ["Trial", "TuningResult", "TuningWarning", "tune"]

_HOMES = {"Trial": "trial", "TuningResult": "result", "TuningWarning": "trial", "tune": "api"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
