"""From meaning to schedule: passes, rules, hints."""

from bitquant.schedule.apply import ApplyDefaultSchedule, Choice, choice_of, schedule_module
from bitquant.schedule.hint import Hint

__all__ = ["ApplyDefaultSchedule", "Choice", "Hint", "choice_of", "schedule_module"]
