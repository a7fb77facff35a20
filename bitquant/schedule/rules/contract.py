# SPDX-License-Identifier: Apache-2.0
"""What a rule is: hint -> geometry -> cost, and geometry -> kernel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import config_of, layout_of, rung_of
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.layouts import WeightLayout
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Geometry", "MemoryPart", "Rule", "applying", "problem_of"]


class MemoryPart(NamedTuple):
    """A part of a block's dynamic shared memory: its name, its offset and end in bytes, and what it holds."""

    name: str
    offset: int
    end: int
    holds: str


class Geometry:
    """The sizes of a kernel that follow from a problem and a hint: tiles, loops, offsets in shared memory.

    Cost models, reports and emitters read it; it emits nothing. `fault` says whether the hint fits. It is immutable.

    Parameters
    ----------
    problem
        What the kernel is for; the rule does not refuse it.
    hint
        A hint of the rule whose fields are within their ranges (`Hint.fault`).

    Attributes
    ----------
    fault
        The requirement that the hint does not meet, as "needs ...", or None where it fits the problem and the target.
        Sizes that do not fit each other leave the attributes of `_derive` unset.
    smem_bytes
        Dynamic shared memory of a block, in bytes; what is static the compiler reports.
    """

    smem_bytes: int = 0

    def __init__(self, problem: Problem, hint: Any) -> None:
        self.problem, self.hint = problem, hint
        self.config, self.rung = problem.config, problem.rung
        self._size_fault = self._hint_fault()
        if self._size_fault is None:
            self._derive()
        self._is_frozen = True

    def with_hint(self, hint: Any) -> Self:
        """Return what another hint makes of the problem; it may share with this one what no hint changes."""
        return type(self)(self.problem, hint)

    @cached_property
    def fault(self) -> str | None:
        """The requirement that the hint does not meet; computed when it is first asked for."""
        return self._derived_fault() if self._size_fault is None else self._size_fault

    def __setattr__(self, name: str, value: Any) -> None:
        if "_is_frozen" in self.__dict__:
            raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be set")
        object.__setattr__(self, name, value)

    @property
    def memory_map(self) -> tuple[MemoryPart, ...]:
        """The parts of shared memory, for people; empty for kernels that tell none."""
        return ()

    def _hint_fault(self) -> str | None:
        """Return the requirement on the hint's fields alone that is not met, or None."""
        return None

    def _derive(self) -> None:
        """Compute the attributes."""

    def _derived_fault(self) -> str | None:
        """Return the requirement on what `_derive` has computed that is not met, or None."""
        return None


class Rule(ABC):
    """A way to schedule the prim_func of a problem: TVM dlight's contract, `apply(func, target, hint)`.

    A rule says what it takes (`refuses`), which hints are worth measuring (`shapes`), what a hint makes of a problem
    (`geometry`), how long that takes (`cost_us`), and writes the kernel (`emit`): either it transforms the function
    step by step (`tvm.s_tir.Schedule`), or it returns a kernel written in TIRx for the same signature. The rest follows
    from these.
    """

    #: Name in reports, errors and records.
    name: ClassVar[str]
    #: What its kernels compute (`Problem.operation`).
    operation: ClassVar[str] = MatmulConfig.operation
    #: TVM's lowering pipeline for the result: "s_tir" for schedules, "tirx" for kernels written thread by thread.
    pipeline: ClassVar[str] = "s_tir"
    #: The type of this rule's hints.
    hint_type: ClassVar[type[Hint]]
    #: Whether kernels run on CPUs alone: the refusals of a kernel for a GPU leave the rule out.
    is_for_cpu: ClassVar[bool] = False
    #: The layouts of the weight that the rule's kernels read.
    weight_layouts: ClassVar[tuple[WeightLayout, ...]] = ("plain",)

    @abstractmethod
    def refuses(self, problem: Problem) -> str | None:
        """Return why the rule does not apply, as "needs ... (got ...)", or None where it does."""

    @abstractmethod
    def shapes(self, problem: Problem) -> Iterator[Hint]:
        """Yield the hints worth measuring, in the order of their predicted times. `refuses` has returned None."""

    def is_preferred(self, problem: Problem) -> bool:
        """Whether the rule keeps its place in the order of preference; if not, all rules after it are preferred to it.

        Either way its hints are candidates for tuning, and for a ranking that was trained on such. `refuses` has
        returned None.
        """
        return True

    def population(self, problem: Problem) -> Iterator[Hint]:
        """Yield every hint that the rule considers, in an order that depends on no cost model; not all of them fit.

        The trials that a learned cost model is fitted to are drawn from these. `refuses` has returned None.
        """
        return self.shapes(problem)

    @abstractmethod
    def geometry(self, problem: Problem, hint: Any) -> Geometry:
        """Return what a hint, a `hint_type` whose fields are within their ranges (`Hint.fault`), makes of a problem.

        A hint of which that is not known goes through `checked` first.
        """

    def cost_us(self, geometry: Any) -> float | None:
        """Return the time of a call that the rule's model predicts, in microseconds; None without a model.

        Models are made to put hints in order, and were fitted to measurements on an H200: their times are estimates.
        """
        return None

    def features(self, geometry: Any) -> dict[str, float] | None:
        """Return what a learned ranking of hints knows of a kernel, by names; None where the rule has none.

        Features of all rules share the model's columns: those of one name mean the same. "log_cost" is the logarithm of
        `cost_us`.
        """
        return None

    @abstractmethod
    def emit(self, geometry: Any) -> PrimFunc:
        """Return the scheduled function; `geometry.fault` is None."""

    # What follows from these.

    def refusal(self, problem: Problem) -> str | None:
        """Return why the rule does not apply, operation and layout of the weight included, or None where it does."""
        if problem.operation != self.operation:
            return f"computes {self.operation} (got {problem.operation})"
        if problem.weight_layout not in self.weight_layouts:
            return f"reads the {' or '.join(self.weight_layouts)} weight layout (got {problem.weight_layout})"
        return self.refuses(problem)

    def fault(self, problem: Problem, hint: Hint) -> str | None:
        """Return why a hint does not fit the problem or the target, as "needs ...", or None where it does."""
        if type(hint) is not self.hint_type:
            return f"needs a {self.hint_type.__name__} (got {hint!r:.80})"
        return self.geometry(problem, hint).fault

    def space(self, problem: Problem) -> Iterator[Hint]:
        """Yield the hints of `shapes` that fit; the first is the default."""
        return (hint for hint in self.shapes(problem) if self.fault(problem, hint) is None)

    def default_hint(self, problem: Problem) -> Hint:
        """Return the hint that is used where no record says otherwise."""
        return next(self.space(problem))

    def smem_bytes(self, problem: Problem, hint: Hint) -> int:
        """Return the dynamic shared memory of a block, in bytes."""
        return self.geometry(problem, hint).smem_bytes

    def predicted_us(self, problem: Problem, hint: Hint) -> float | None:
        """Return `cost_us` of a hint."""
        return self.cost_us(self.geometry(problem, hint))

    def checked(self, problem: Problem, hint: Hint) -> Geometry:
        """Return the geometry of a hint, after checking that it may be scheduled.

        Raises
        ------
        ScheduleError
            If it is another rule's, a field has another type or is out of range, or it does not fit the problem. The
            message names the rule, the field and its value.
        """
        if type(hint) is not self.hint_type:
            raise ScheduleError(f"{self.name}: the hint must be a {self.hint_type.__name__} (got {hint!r})", hint=hint)
        if (fault := hint.fault()) is not None:
            raise ScheduleError(f"{self.name}: {fault}", hint=hint)
        geometry = self.geometry(problem, hint)
        if geometry.fault is not None:
            raise ScheduleError(f"{self.name}: {geometry.fault} (got {hint})", hint=hint)
        return geometry

    def schedule(self, problem: Problem, hint: Hint) -> PrimFunc:
        """Return the scheduled function of a problem that the rule does not refuse.

        Raises
        ------
        ScheduleError
            As `checked` does.
        """
        return self.emit(self.checked(problem, hint))

    def apply(self, func: PrimFunc, target: Target, hint: Hint | None = None) -> PrimFunc | None:
        """Return the scheduled form of `func`, or None where the rule does not apply."""
        problem = problem_of(func, target)
        if problem is None or self.refusal(problem) is not None:
            return None
        return self.schedule(problem, hint or self.default_hint(problem))


def applying(problem: Problem, rules: Iterable[Rule]) -> list[Rule]:
    """Return the rules that do not refuse a problem, in order of preference: those that are not preferred come last."""
    found = [rule for rule in rules if rule.refusal(problem) is None]
    return sorted(found, key=lambda rule: not rule.is_preferred(problem))


def problem_of(func: PrimFunc, target: Target) -> Problem | None:
    """Return the problem of a function on a target; None for a function that bitquant did not make."""
    config = config_of(func)
    return None if config is None else Problem(config, rung_of(func), target, layout_of(func))
