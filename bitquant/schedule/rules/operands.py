# SPDX-License-Identifier: Apache-2.0
"""The operands of a problem, as kernels written in TIRx declare and index them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder

from bitquant.compute.grouped import activated_slot_value, slot_value
from bitquant.compute.matmul import activated_output, epilogue_value, output_value
from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.intrin.mma import local, reciprocal
from bitquant.operands import EPILOGUE, Operand, operands_of, present
from bitquant.problem import Problem

__all__ = ["GroupedOperands", "Operands", "declare", "held_on_cpu", "row_index", "when"]

Expr = Any


def held_on_cpu(value: Expr) -> Expr:
    """Emit the store of a float32 in a buffer of a kernel for a CPU; return it."""
    buffer = T.alloc_buffer((1,), "float32")
    T.buffer_store(buffer, value, [0])
    return buffer[0]


class Operands:
    """The operands that the problem of a kernel has, as TIRx buffers. `declare` makes them.

    Attributes
    ----------
    rows
        Rows of A: a constant for a static function, else the symbolic m.
    A, B, D
        Buffers of every problem.
    Scale, Zeros
        Buffers, or None for those that the problem does not have.
    """

    def __init__(self, config: MatmulConfig, rows: Expr, buffers: Mapping[Operand, Any]) -> None:
        by_name = {operand.name: buffer for operand, buffer in buffers.items()}
        self.config, self.rows = config, rows
        self.A, self.B, self.D = by_name["A"], by_name["B"], by_name["D"]
        self.Scale: Any = by_name.get("Scale")
        self.Zeros: Any = by_name.get("Zeros")
        self.of_epilogue = {operand: buffer for operand, buffer in buffers.items() if operand in EPILOGUE}

    def epilogue(self, m: Expr, n: Expr, load: Callable[[Any, Expr], Expr] | None = None) -> dict[str, Expr]:
        """Return what `compute.matmul.output_value` needs for D[m, n], by the names of its parameters.

        Parameters
        ----------
        m, n
            Row and column of D.
        load
            Loads buffer[m], of operands that go by rows of A: `load_coherent` in kernels that may begin before the
            kernel that writes these has ended. None: a plain load.
        """
        values = {}
        for operand, buffer in self.of_epilogue.items():
            if operand.rows == "A":
                values[operand.argument] = buffer[m] if load is None else load(buffer, m)
            else:
                values[operand.argument] = buffer[n]
        return values

    def output(
        self,
        m: Expr,
        n: Expr,
        sums: Sequence[Expr],
        load: Callable[[Any, Expr], Expr] | None = None,
        *,
        is_for_cpu: bool = False,
    ) -> Expr:
        """Return an element of D in the type of the output.

        Parameters
        ----------
        m, n
            Row of A, and row of W of the first sum.
        sums
            C[m, n]; with an activation C[m, n] and C[m, n + 1].
        load
            As for `epilogue`.
        is_for_cpu
            Whether the kernel is one for a CPU.
        """
        if self.config.activation is None:
            return output_value(self.config, sums[0], **self.epilogue(m, n, load))
        gate, up = (epilogue_value(self.config, c, **self.epilogue(m, n + i, load))[0] for i, c in enumerate(sums))
        if is_for_cpu:
            return activated_output(self.config, held_on_cpu(gate), held_on_cpu(up))
        return activated_output(self.config, local("float32", gate), local("float32", up), reciprocal)


class GroupedOperands:
    """The operands that the problem of a grouped kernel has, as TIRx buffers. `declare` makes them.

    Attributes
    ----------
    rows
        Rows of A, or tokens: a constant for a static function, else the symbolic m.
    A, B, D
        Buffers of every problem.
    Scale, Zeros, Offsets, ExpertIds, RoutingWeights
        Buffers, or None for those that the problem does not have.
    slot_values, counters
        Workspace, of kernels that ask for it.
    """

    slot_values: Any = None
    counters: Any = None

    def __init__(self, config: GroupedMatmulConfig, rows: Expr, buffers: Mapping[Operand, Any]) -> None:
        by_name = {operand.name: buffer for operand, buffer in buffers.items()}
        self.config, self.rows = config, rows
        self.A, self.B, self.D = by_name["A"], by_name["B"], by_name["D"]
        self.Scale: Any = by_name.get("Scale")
        self.Zeros: Any = by_name.get("Zeros")
        self.Offsets: Any = by_name.get("Offsets")
        self.ExpertIds: Any = by_name.get("ExpertIds")
        self.RoutingWeights: Any = by_name.get("RoutingWeights")
        self.of_epilogue = {o: buffer for o, buffer in buffers.items() if o.role in ("factor", "addend")}

    def epilogue(
        self, row: tuple[Expr, ...], expert: Expr, n: Expr, load: Callable[[Any, Expr], Expr] | None = None
    ) -> dict[str, Expr]:
        """Return what `compute.grouped.slot_value` needs of a row of A, an expert and a column of D, by parameter.

        `load` is that of `Operands.epilogue`.
        """
        values = {}
        for operand, buffer in self.of_epilogue.items():
            if operand.rows == "A":
                values[operand.argument] = buffer[row] if load is None else load(buffer, row)
            else:
                values[operand.argument] = buffer[expert, n]
        return values

    def slot_value(
        self,
        row: tuple[Expr, ...],
        expert: Expr,
        n: Expr,
        sums: Sequence[Expr],
        weight: Expr | None,
        load: Callable[[Any, Expr], Expr] | None = None,
    ) -> tuple[Expr, str]:
        """Return what a slot adds to an element of D, or is, not rounded, and its TVM type.

        Parameters
        ----------
        row, expert
            Row of A, and the expert that it meets.
        n, sums, load
            As for `Operands.output`.
        weight
            RoutingWeights of the slot; None where there is none.
        """
        if self.config.activation is None:
            return slot_value(self.config, sums[0], weight, **self.epilogue(row, expert, n, load))
        gate, up = (
            local("float32", epilogue_value(self.config.matmul, c, **self.epilogue(row, expert, n + i, load))[0])
            for i, c in enumerate(sums)
        )
        return activated_slot_value(self.config, gate, up, weight, reciprocal)


def declare(problem: Problem, m: Expr, align: int = -1) -> Any:
    """Declare the operands of a problem as the parameters of the TIRx function that is being written; return them.

    They are `Operands`, or `GroupedOperands` of a grouped problem.

    Such a function is written without parameters, since TVMScript has a fixed list of them. Its first statement is
    ``operands = T.meta_var(declare(problem, T.int32()))``.

    Parameters
    ----------
    problem
        The problem. Parameters are those that it has, in the order of `bitquant.operands.operands_of`.
    m
        A variable for the number of rows of A, where that is not fixed.
    align
        What addresses of operands are multiples of, in bytes; -1: as TVM has it, 64.
    """
    config, layout = problem.config, problem.weight_layout
    rows = problem.rung if config.has_fixed_rows(problem.rung) else m
    buffers = {}
    for operand in (*present(config), operands_of(config)[-1]):
        handle = T.arg(f"{operand.name}_handle", T.handle())
        shape, dtype = operand.shape(config, rows, layout), operand.dtype(config, layout)
        buffer = T.match_buffer(handle, shape, dtype, align=align)
        buffers[operand] = IRBuilder.name(operand.name, buffer)
    return (Operands if problem.operation == MatmulConfig.operation else GroupedOperands)(config, rows, buffers)


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
