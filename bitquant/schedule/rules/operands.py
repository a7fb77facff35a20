# SPDX-License-Identifier: Apache-2.0
"""The operands of a problem, as kernels written in TIRx declare and index them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import tag
from bitquant.config import MatmulConfig
from bitquant.layouts import Layout
from bitquant.operands import OPERANDS, WEIGHT

__all__ = ["Epilogue", "Operands", "operands", "row_index", "when"]


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
    dtypes = {o.name: o.dtype(config, layout) for o in OPERANDS}
    shapes = {o.name: o.row_shape(config, layout) if o.is_present(config) else (1, 1) for o in WEIGHT}
    fields: dict[str, Any] = {name: dtypes[name] for name in ("A", "B", "Scale", "Zeros", "D")}
    fields |= {f"{name}_shape": shape for name, shape in shapes.items()}
    return Operands(config=config, rung=rung, layout=layout, **fields)
