"""What a rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import config_of, rung_of
from bitquant.config import MatmulConfig
from bitquant.schedule.hint import Hint

__all__ = ["Rule"]


class Rule(ABC):
    """A way to schedule the prim_func of a problem: TVM dlight's contract, `apply(func, target, hint)`.

    A rule either transforms the function step by step (`tvm.s_tir.Schedule`) or returns a kernel written in TIRx for
    the same signature. Its `pipeline` says which of TVM's lowering pipelines takes the result.
    """

    #: Name in reports, errors and records.
    name: ClassVar[str]
    #: TVM's lowering pipeline for the result: "s_tir" for schedules, "tirx" for kernels written thread by thread.
    pipeline: ClassVar[str] = "s_tir"
    #: The type of this rule's hints.
    hint_type: ClassVar[type[Hint]]

    @abstractmethod
    def refuses(self, config: MatmulConfig, rung: int, target: Target) -> str | None:
        """Return why the rule does not apply, as "needs ... (got ...)", or None where it does."""

    @abstractmethod
    def default_hint(self, config: MatmulConfig, rung: int, target: Target) -> Hint:
        """Return the hint that is used where no record says otherwise."""

    @abstractmethod
    def schedule(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> PrimFunc:
        """Return the scheduled function; `refuses` has returned None."""

    def apply(self, func: PrimFunc, target: Target, hint: Hint | None = None) -> PrimFunc | None:
        """Return the scheduled form of `func`, or None where the rule does not apply."""
        config = config_of(func)
        if config is None:
            return None
        rung = rung_of(func)
        if self.refuses(config, rung, target) is not None:
            return None
        return self.schedule(config, rung, target, hint or self.default_hint(config, rung, target))
