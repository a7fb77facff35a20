"""What a rule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from tvm.script import tirx as T
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.arch import GpuArch
from bitquant.compute.matmul import config_of, layout_of, rung_of, tag
from bitquant.config import MatmulConfig
from bitquant.errors import ScheduleError
from bitquant.layouts import Layout
from bitquant.operands import OPERANDS, WEIGHT
from bitquant.schedule.hint import Hint

__all__ = ["Epilogue", "Operands", "Rule", "operands", "row_index", "when"]


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
    #: The layouts of the weight that the rule's kernels read.
    weight_layouts: ClassVar[tuple[Layout, ...]] = ("plain",)

    @abstractmethod
    def refuses(self, config: MatmulConfig, rung: int, target: Target) -> str | None:
        """Return why the rule does not apply, as "needs ... (got ...)", or None where it does."""

    @abstractmethod
    def default_hint(self, config: MatmulConfig, rung: int, target: Target) -> Hint:
        """Return the hint that is used where no record says otherwise."""

    def space(self, config: MatmulConfig, rung: int, target: Target) -> Iterator[Hint]:
        """Yield the hints worth measuring, in the order of the rule's model of the hardware: the default first."""
        yield self.default_hint(config, rung, target)

    def predicted_us(self, config: MatmulConfig, m: int, arch: GpuArch, hint: Hint) -> float | None:
        """Return the time of a call with `m` rows that the rule's model predicts, in microseconds; None without one.

        Models are made to put hints in order, and were fitted to measurements on an H200: their times are estimates.
        """
        return None

    def hint_problem(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> str | None:
        """Return why a hint does not fit the problem or the target, as "needs ...", or None where it does.

        Its fields are of their types and within their ranges (`Hint.fault`), and `refuses` has returned None.
        """
        return None

    def check_hint(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> None:
        """Check a hint from wherever it comes, before anything is scheduled with it.

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
        if (problem := self.hint_problem(config, rung, target, hint)) is not None:
            raise ScheduleError(f"{self.name}: {problem} (got {hint})", hint=hint)

    @abstractmethod
    def schedule(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> PrimFunc:
        """Return the scheduled function; `refuses` has returned None, and `check_hint` has passed."""

    def schedule_function(self, func: PrimFunc, config: MatmulConfig, target: Target, hint: Hint) -> PrimFunc:
        """Return the scheduled form of `func`, the function of `config`; for rules that read several layouts."""
        return self.schedule(config, rung_of(func), target, hint)

    def smem_bytes(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> int:
        """Return the dynamic shared memory of a block of the kernel, in bytes; what is static the compiler reports."""
        return 0

    def apply(self, func: PrimFunc, target: Target, hint: Hint | None = None) -> PrimFunc | None:
        """Return the scheduled form of `func`, or None where the rule does not apply."""
        config = config_of(func)
        if config is None:
            return None
        rung = rung_of(func)
        if layout_of(func) not in self.weight_layouts or self.refuses(config, rung, target) is not None:
            return None
        hint = hint or self.default_hint(config, rung, target)
        self.check_hint(config, rung, target, hint)
        return self.schedule_function(func, config, target, hint)


@dataclass(frozen=True)
class Operands:
    """Types and shapes of a problem's operands, for kernels written in TIRx.

    A TVMScript function has a fixed list of parameters, so such a kernel declares all of them, and `bind` takes out
    those that its problem does not have. Absent operands have shape (1, 1), (N,) or (m,) and are never read.
    """

    config: MatmulConfig
    rung: int
    layout: Layout
    A: str
    B: str
    Scale: str
    Zeros: str
    D: str
    B_shape: tuple[int, int]
    Scale_shape: tuple[int, int]
    Zeros_shape: tuple[int, int]

    def rows(self, m: Any) -> Any:
        """Return the number of rows of A: a constant for a static function, else the symbolic `m`."""
        return self.rung if self.config.has_fixed_rows(self.rung) else m

    def bind(self, kernel: PrimFunc) -> PrimFunc:
        """Return `kernel`, which declares all operands, with those of the problem alone.

        They are declared in the order of `bitquant.operands.OPERANDS`.
        """
        params = [p for p, o in zip(kernel.params, OPERANDS, strict=True) if o.is_present(self.config)]
        func = PrimFunc(params, kernel.body, kernel.ret_type, kernel.attrs)
        return tag(func, self.config, self.rung, self.layout)


class Epilogue(NamedTuple):
    """The buffers of a kernel's last step, `compute.matmul.output_value`: what sums meet, and where they go."""

    Bias: Any
    ActivationScale: Any
    ChannelScale: Any
    D: Any


def when(condition: Any, emit: Callable[[], None]) -> None:
    """Emit statements under a condition, an expression or a bool that is known already."""
    if condition is True:
        emit()
    elif condition is not False:
        with T.If(condition), T.Then():
            emit()


def row_index(config: MatmulConfig, rung: int, row: Any) -> Any:
    """Return the index of a row of A or D, in 64 bits unless rows are fixed: those `MatmulConfig` keeps below 2^31."""
    return row if config.has_fixed_rows(rung) else T.cast(row, "int64")


def operands(config: MatmulConfig, rung: int, layout: Layout = "plain") -> Operands:
    """Return the operands of a problem, with the weight in `layout`."""
    dtypes = {o.name: o.tvm_dtype(config, layout) for o in OPERANDS}
    shapes = {o.name: o.row_shape(config, layout) if o.is_present(config) else (1, 1) for o in WEIGHT}
    return Operands(
        config=config,
        rung=rung,
        layout=layout,
        **{name: dtypes[name] for name in ("A", "B", "Scale", "Zeros", "D")},
        **{f"{name}_shape": shape for name, shape in shapes.items()},
    )
