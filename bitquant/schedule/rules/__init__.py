"""The rules, one a file, and their order of preference."""

from __future__ import annotations

from bitquant.schedule.rules.base import Rule
from bitquant.schedule.rules.cpu import CpuRule
from bitquant.schedule.rules.decode import DecodeRule
from bitquant.schedule.rules.fallback import FallbackRule
from bitquant.schedule.rules.gemv import GemvRule
from bitquant.schedule.rules.mma import MmaRule
from bitquant.schedule.rules.wgmma import WgmmaRule
from bitquant.schedule.rules.wgmma_dense import DenseRule

__all__ = [
    "CpuRule",
    "DecodeRule",
    "DenseRule",
    "FallbackRule",
    "GemvRule",
    "MmaRule",
    "Rule",
    "WgmmaRule",
    "default_rules",
]


def default_rules() -> tuple[Rule, ...]:
    """Return all rules, the fastest first."""
    return (CpuRule(), WgmmaRule(), DecodeRule(), DenseRule(), GemvRule(), MmaRule(), FallbackRule())
