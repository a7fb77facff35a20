# SPDX-License-Identifier: Apache-2.0
"""What can be read of an operator without calling it: every stage of its kernels, and what they cost."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import tvm
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.archive import Archive, join_programs
from bitquant.compiler import disassemble
from bitquant.compute import select_implementation
from bitquant.compute.matmul import symbol
from bitquant.errors import CallError, UnsupportedError
from bitquant.layouts import WeightLayout
from bitquant.operator.report import bytes_per_call, facts, report
from bitquant.schedule import Choice, Plan
from bitquant.schedule.planned import schedule_planned

__all__ = ["Readable", "check_rows"]


def check_rows(m: Any, least: int) -> None:
    """Check a number of rows that a caller names.

    Raises
    ------
    CallError
        If it is no int from `least` on, or beyond what 32-bit indices reach.
    """
    if isinstance(m, bool) or not isinstance(m, int) or not least <= m < 2**31:
        raise CallError(f"'m' must be an int, at least {least} and below 2^31 (got {m!r:.80})")


class Readable:
    """Kernels of a problem on a target, as text and figures.

    Attributes
    ----------
    config, target, weight_layout
        As in `bitquant.operator.core.Operator`.
    """

    config: Any
    target: Target
    weight_layout: WeightLayout
    _archive: Archive
    _plan: Plan
    _rules: Any

    @property
    def choices(self) -> dict[int, Choice]:
        """How each rung was scheduled: rule, hint, and the refusals before."""
        return self._archive.choices

    @cached_property
    def is_cuda(self) -> bool:
        """Whether the target is a CUDA GPU."""
        return self.target.kind.name == "cuda"

    @property
    def arch(self) -> str:
        """Architecture of a CUDA target, for example "sm_90a"; else the kind of the target, "llvm"."""
        return str(self.target.arch) if self.is_cuda else self.target.kind.name

    @cached_property
    def prim_func_mod(self) -> IRModule:
        """The unscheduled module, one prim_func a rung: the meaning of the operator."""
        return select_implementation(self.config, self.weight_layout)

    @property
    def prim_func(self) -> PrimFunc:
        """The unscheduled function of the last rung."""
        return self.prim_func_mod[symbol(self.config.ladder[-1], self.config.operation)]

    @cached_property
    def scheduled_mod(self) -> IRModule:
        """The scheduled module, one function a rung."""
        return schedule_planned(self.prim_func_mod, self.target, self._plan, self._rules)

    @property
    def rt_mod(self) -> tvm.runtime.Module:
        """TVM's runtime module."""
        return self._archive.runtime_module()

    def get_source(self) -> str:
        """Return the CUDA C++ of the kernels; for a CPU, the LLVM assembly of the scheduled functions."""
        if self._archive.cuda_source is not None:
            return self._archive.cuda_source
        with tvm.transform.PassContext():
            return str(tvm.compile(self.scheduled_mod, target=self.target).mod.inspect_source("ll"))

    def get_ptx(self) -> str:
        """Return the PTX of the kernels.

        Raises
        ------
        UnsupportedError
            If the target is a CPU.
        """
        if self._archive.ptx is None:
            raise UnsupportedError(
                f"PTX exists for CUDA targets alone (got {self.arch}); construct with target='sm_90a', say"
            )
        return self._archive.ptx

    def get_sass(self) -> str:
        """Return the machine code of the kernels, disassembled.

        Raises
        ------
        UnsupportedError
            If the target is a CPU, or there is no disassembler.
        """
        if not self._archive.programs:
            raise UnsupportedError(
                f"SASS exists for CUDA targets alone (got {self.arch}); construct with target='sm_90a', say"
            )
        sass = {name: disassemble(program.cubin) for name, program in self._archive.programs.items()}
        return join_programs(sass) or ""

    def bytes_per_call(self, m: int) -> int:
        """Return the least bytes that a call of `m` rows moves: every operand read once, D written once.

        Raises
        ------
        CallError
            If `m` is no number of rows.
        """
        check_rows(m, 0)
        return bytes_per_call(self.config, m)

    def report(self) -> str:
        """Return one screen on how the problem is solved.

        For each kernel: the rungs it serves, rule and hint, why other rules refused the first of them, registers,
        shared memory, spills; then bytes and operations a call, and the time that memory alone would take.
        """
        return report(self.config, self._archive)

    def facts(self) -> dict[str, Any]:
        """Return what `report` says as values that JSON can hold; sizes are in bytes, times in microseconds."""
        return facts(self.config, self._archive)
