# SPDX-License-Identifier: Apache-2.0
"""The operands of a problem, as kernels written in TIRx declare and index them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder

from bitquant.config import MatmulConfig
from bitquant.operands import EPILOGUE, Operand, operands_of, present
from bitquant.problem import Problem

__all__ = ["GroupedOperands", "Operands", "declare", "row_index", "when"]

Expr = Any


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

    def __init__(self, rows: Expr, buffers: Mapping[Operand, Any]) -> None:
        by_name = {operand.name: buffer for operand, buffer in buffers.items()}
        self.rows = rows
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

    def __init__(self, rows: Expr, buffers: Mapping[Operand, Any]) -> None:
        by_name = {operand.name: buffer for operand, buffer in buffers.items()}
        self.rows = rows
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
    return (Operands if problem.operation == MatmulConfig.operation else GroupedOperands)(rows, buffers)


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
