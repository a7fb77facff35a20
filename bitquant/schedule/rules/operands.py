"""The operands of a problem, as kernels written in TIRx declare and index them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import tag
from bitquant.config import MatmulConfig
from bitquant.layouts import Layout, weight_shape, weight_tvm_dtype

__all__ = ["Epilogue", "Operands", "operands", "row_index", "when"]


@dataclass(frozen=True)
class Operands:
    """Types and shapes of a problem's operands, for kernels written in TIRx.

    A TVMScript function has a fixed list of parameters, so such a kernel declares all eight, and `bind` takes out those
    that its problem does not have. Absent operands have shape (1, 1), (N,) or (m,) and are never read.
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

        They are declared as (A, B, Scale, Zeros, Bias, ActivationScale, ChannelScale, D).
        """
        c = self.config
        optional = (c.with_scaling, c.with_zeros, c.with_bias, c.with_activation_scale, c.with_channel_scale)
        present = (True, True, *optional, True)
        params = [p for p, is_there in zip(kernel.params, present, strict=True) if is_there]
        return tag(PrimFunc(params, kernel.body, kernel.ret_type, kernel.attrs), c, self.rung, self.layout)


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
    absent = (1, 1)
    return Operands(
        config=config,
        rung=rung,
        layout=layout,
        A=config.A_format.tvm_dtype,
        B=weight_tvm_dtype(config, layout),
        Scale=config.scale_format.tvm_dtype,
        Zeros="int8" if config.has_packed_zeros else config.scale_format.tvm_dtype,
        D=config.out_format.tvm_dtype,
        B_shape=weight_shape(config, layout),
        Scale_shape=config.scale_shape if config.with_scaling else absent,
        Zeros_shape=config.zeros_shape if config.with_zeros else absent,
    )
