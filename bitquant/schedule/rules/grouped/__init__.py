# SPDX-License-Identifier: Apache-2.0
"""Rules of grouped products, whose rows meet the weights of several experts."""

from __future__ import annotations

from bitquant.schedule.rules.grouped.cpu import GroupedCpuRule
from bitquant.schedule.rules.grouped.fallback import GroupedFallbackRule
from bitquant.schedule.rules.grouped.gemv import GroupedGemvRule

__all__ = ["GroupedCpuRule", "GroupedFallbackRule", "GroupedGemvRule"]
