# SPDX-License-Identifier: Apache-2.0
"""Scheduling: the passes, rules, hints and records that make a kernel of an unscheduled function."""

from bitquant.schedule.apply import ApplyDefaultSchedule, Choice, choice_of, preferred_layout, schedule_module
from bitquant.schedule.hint import Hint
from bitquant.schedule.records import Record, Records, load_records, save_records
from bitquant.schedule.tuned import ApplyTunedSchedule, Plan, Planned, apply_plan, plan

__all__ = [
    "ApplyDefaultSchedule",
    "ApplyTunedSchedule",
    "Choice",
    "Hint",
    "Plan",
    "Planned",
    "Record",
    "Records",
    "apply_plan",
    "choice_of",
    "load_records",
    "plan",
    "preferred_layout",
    "save_records",
    "schedule_module",
]
