# SPDX-License-Identifier: Apache-2.0
"""The rules, one a file, and their order of preference."""

from __future__ import annotations

from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.rules.cpu import CpuRule
from bitquant.schedule.rules.decode.grouped.rule import GroupedDecodeRule
from bitquant.schedule.rules.decode.rule import DecodeRule
from bitquant.schedule.rules.fallback import FallbackRule
from bitquant.schedule.rules.gemv import GemvRule
from bitquant.schedule.rules.grouped import GroupedCpuRule, GroupedFallbackRule, GroupedGemvRule
from bitquant.schedule.rules.hopper.dense import DenseRule
from bitquant.schedule.rules.hopper.experts import GroupedDenseRule, GroupedWgmmaRule
from bitquant.schedule.rules.hopper.rule import WgmmaRule
from bitquant.schedule.rules.mma.rule import MmaRule
from bitquant.schedule.rules.simd.rule import Bfloat16Rule, Float32Rule, Int8Rule

__all__ = [
    "Bfloat16Rule",
    "CpuRule",
    "DecodeRule",
    "DenseRule",
    "FallbackRule",
    "Float32Rule",
    "GemvRule",
    "GroupedCpuRule",
    "GroupedDecodeRule",
    "GroupedDenseRule",
    "GroupedFallbackRule",
    "GroupedGemvRule",
    "GroupedWgmmaRule",
    "Int8Rule",
    "MmaRule",
    "Rule",
    "WgmmaRule",
    "all_rules",
    "default_rules",
]


def default_rules(operation: str = "matmul") -> tuple[Rule, ...]:
    """Return all rules of an operation, "matmul" or "grouped_matmul", in order of preference.

    Raises
    ------
    ScheduleError
        If there is no such operation.
    """
    if operation == GroupedMatmulConfig.operation:
        return (
            GroupedCpuRule(), GroupedWgmmaRule(), GroupedDecodeRule(), GroupedDenseRule(), GroupedGemvRule(),
            GroupedFallbackRule(),
        )  # fmt: skip
    if operation != MatmulConfig.operation:
        known = f"{MatmulConfig.operation!r} or {GroupedMatmulConfig.operation!r}"
        raise ScheduleError(f"'operation' must be {known} (got {operation!r:.80})", operation=operation)
    on_cpu: tuple[Rule, ...] = (Int8Rule(), Bfloat16Rule(), Float32Rule(), CpuRule())
    on_gpu: tuple[Rule, ...] = (WgmmaRule(), DecodeRule(), DenseRule(), GemvRule(), MmaRule(), FallbackRule())
    return (*on_cpu, *on_gpu)


def all_rules() -> tuple[Rule, ...]:
    """Return the rules of all operations: every name that a record, or a request to a worker, may have for a rule."""
    return (*default_rules(), *default_rules(GroupedMatmulConfig.operation))
