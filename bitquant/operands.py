# SPDX-License-Identifier: Apache-2.0
"""The operands of a problem: the one list that calls, kernels, gradients, tuning and tests go by.

Their order is that of the parameters of every kernel. What a problem has of them, `present` says; kernels, calls and
generators take these alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.layouts import WeightLayout, weight_shape, weight_tvm_dtype

if TYPE_CHECKING:
    import torch

__all__ = [
    "ARGUMENTS",
    "EPILOGUE",
    "GROUPED_OPERANDS",
    "INPUTS",
    "OPERANDS",
    "OUTPUT",
    "WEIGHT",
    "Operand",
    "operands_of",
    "present",
    "without_epilogue",
]

#: The widest load of a GPU.
_WIDEST_LOAD_BYTES = 16


def _always(_config: Any) -> bool:
    return True


def _never(_config: Any) -> bool:
    return False


@dataclass(frozen=True, eq=False)
class Operand:
    """What an operand is, whatever the problem.

    Attributes
    ----------
    name
        Name in formulas and kernels.
    argument
        Name at the call, a parameter of `Operator.forward`.
    role
        Its part in D = C * factors + addends. "product": C is computed from it. "factor": the sums C are multiplied by
        it, in float32. "addend": it is added after that. "output": it is D. "routing": it says which expert a row is
        multiplied with; "weight": the result for that expert is multiplied by it, last.
    rows
        What it belongs to: "A", the rows m of A and D; "W", the rows n of W, which are columns of D; None, neither.
    shape
        Maps a config, a number of rows m (an int or an expression) and a layout of the weight to its shape.
    dtype
        Maps a config and a layout of the weight to the name of its type, which TVM and torch share.
    field
        The field of the config that asks for it; None if every problem has it.
    is_wide
        Maps a config to whether kernels load, or store, several neighbouring elements of a row at a time.
    row_dims
        The number of trailing dimensions that such a load may run over.
    """

    name: str
    argument: str
    role: Literal["product", "factor", "addend", "output", "routing", "weight"]
    rows: Literal["A", "W"] | None
    shape: Callable[[Any, Any, WeightLayout], tuple[Any, ...]]
    dtype: Callable[[Any, WeightLayout], str]
    field: str | None = None
    is_wide: Callable[[Any], bool] = _never
    row_dims: int = 1

    def setting(self, is_present: bool) -> str:
        """Return what a config says where the problem has it, or has it not: "with_bias=True"."""
        if self.field in ("is_sorted", "is_indexed"):
            return f"routing={'sorted' if is_present == (self.field == 'is_sorted') else 'indexed'!r}"
        return f"{self.field}={is_present}"

    def is_present(self, config: MatmulConfig | GroupedMatmulConfig) -> bool:
        """Return whether a problem has it."""
        return self.field is None or bool(getattr(config, self.field))

    def torch_dtype(self, config: MatmulConfig | GroupedMatmulConfig, layout: WeightLayout = "plain") -> torch.dtype:
        """Return its type as torch has it. What only compiles needs none, and imports no torch."""
        import torch

        found: Any = getattr(torch, self.dtype(config, layout))
        return found

    def row_shape(self, config: MatmulConfig | GroupedMatmulConfig, layout: WeightLayout = "plain") -> tuple[int, ...]:
        """Return its shape without rows of A: those come from the leading dimensions of A at a call."""
        shape = self.shape(config, 0, layout)
        return shape[1:] if self.rows == "A" else shape

    def size_bytes(self, config: MatmulConfig | GroupedMatmulConfig, m: int, layout: WeightLayout = "plain") -> int:
        """Return its bytes in a call of `m` rows; 0 where the problem does not have it."""
        if not self.is_present(config):
            return 0
        return math.prod(self.shape(config, m, layout)) * self.torch_dtype(config, layout).itemsize

    def alignment(self, config: MatmulConfig | GroupedMatmulConfig, layout: WeightLayout = "plain") -> int:
        """Return what its address must be a multiple of on a GPU, in bytes.

        Kernels load up to 16 bytes at a time from rows whose length allows it, and so must the first row.
        """
        if not self.is_wide(config):
            return 1
        row_bytes = (
            math.prod(self.shape(config, 0, layout)[-self.row_dims :]) * self.torch_dtype(config, layout).itemsize
        )
        return math.gcd(_WIDEST_LOAD_BYTES, row_bytes)


#: Every operand that a problem may have, in the order of the kernels' parameters. Scales of outputs are float32.
OPERANDS: tuple[Operand, ...] = (
    Operand(
        "A", "A", "product", "A",
        shape=lambda c, m, _: (m, c.K),
        dtype=lambda c, _: c.A_format.tvm_dtype,
        is_wide=_always,
    ),
    Operand(
        "B", "W", "product", "W",
        shape=lambda c, _, layout: weight_shape(c, layout),
        dtype=weight_tvm_dtype,
        is_wide=_always,
    ),
    Operand(
        "Scale", "scale", "product", "W",
        shape=lambda c, _m, _: c.scale_shape,
        dtype=lambda c, _: c.scale_format.tvm_dtype,
        field="with_scaling",
        is_wide=_always,
    ),
    Operand(
        "Zeros", "zeros", "product", "W",
        shape=lambda c, _m, _: c.zeros_shape,
        dtype=lambda c, _: "int8" if c.has_packed_zeros else c.scale_format.tvm_dtype,
        field="with_zeros",
        is_wide=lambda c: not c.has_packed_zeros,
    ),
    Operand(
        "Bias", "bias", "addend", "W",
        shape=lambda c, _m, _: (c.N,),
        dtype=lambda c, _: c.out_format.tvm_dtype,
        field="with_bias",
    ),
    Operand(
        "ActivationScale", "activation_scale", "factor", "A",
        shape=lambda _c, m, _: (m,),
        dtype=lambda _c, _: "float32",
        field="with_activation_scale",
    ),
    Operand(
        "ChannelScale", "channel_scale", "factor", "W",
        shape=lambda c, _m, _: (c.N,),
        dtype=lambda _c, _: "float32",
        field="with_channel_scale",
    ),
    Operand(
        "D", "output", "output", "A",
        shape=lambda c, m, _: (m, c.columns),
        dtype=lambda c, _: c.out_format.tvm_dtype,
        is_wide=_always,
    ),
)  # fmt: skip


def _of_experts(operand: Operand) -> Operand:
    """Return an operand by rows of W as a grouped problem has it: that of each expert, one after the other."""
    return dataclasses.replace(
        operand,
        shape=lambda c, m, layout: (c.num_experts, *operand.shape(c.matmul, m, layout)),
        dtype=lambda c, layout: operand.dtype(c.matmul, layout),
        is_wide=lambda c: operand.is_wide(c.matmul),
        # Short rows of scales are copied together.
        row_dims=2 if operand.name in ("Scale", "Zeros") else 1,
    )


def _of_rows(operand: Operand, rows: Literal["A_rows", "D_rows"]) -> Operand:
    """Return an operand by rows of A as a grouped problem has it: of its tokens, or of their slots."""
    return dataclasses.replace(
        operand,
        shape=lambda c, m, layout: (m, *c.slots_of(getattr(c, rows)), *operand.shape(c.matmul, m, layout)[1:]),
        dtype=lambda c, layout: operand.dtype(c.matmul, layout),
        is_wide=lambda c: operand.is_wide(c.matmul),
    )


#: Every operand of a grouped problem: those of an expert, and which expert a row meets.
GROUPED_OPERANDS: tuple[Operand, ...] = (
    *(
        _of_experts(operand) if operand.rows == "W" else _of_rows(operand, "A_rows")
        for operand in OPERANDS[:-1]
    ),
    Operand(
        "Offsets", "offsets", "routing", None,
        shape=lambda c, _m, _: (c.num_experts,),
        dtype=lambda _c, _: "int32",
        field="is_sorted",
    ),
    Operand(
        "ExpertIds", "expert_ids", "routing", "A",
        shape=lambda c, m, _: (m, c.top_k),
        dtype=lambda _c, _: "int32",
        field="is_indexed",
    ),
    Operand(
        "RoutingWeights", "routing_weights", "weight", "A",
        shape=lambda c, m, _: (m, c.top_k),
        dtype=lambda _c, _: "float32",
        field="with_routing_weights",
    ),
    _of_rows(OPERANDS[-1], "D_rows"),
)  # fmt: skip

#: All that is read, and what is written.
INPUTS, OUTPUT = OPERANDS[:-1], OPERANDS[-1]
#: What decode(W) is made of: the stored weight, and what scales and shifts it.
WEIGHT = tuple(operand for operand in INPUTS if operand.role == "product" and operand.rows == "W")
#: What sums meet on their way to D.
EPILOGUE = tuple(operand for operand in INPUTS if operand.role in ("factor", "addend"))
#: The names of `INPUTS` at a call.
ARGUMENTS = tuple(operand.argument for operand in INPUTS)


def operands_of(config: MatmulConfig | GroupedMatmulConfig) -> tuple[Operand, ...]:
    """Return every operand that a problem of this operation may have; the last is the output."""
    return OPERANDS if config.operation == MatmulConfig.operation else GROUPED_OPERANDS


def present(config: MatmulConfig | GroupedMatmulConfig, of: tuple[Operand, ...] | None = None) -> tuple[Operand, ...]:
    """Return the operands that a problem has, in their order; by default those that are read."""
    of = operands_of(config)[:-1] if of is None else of
    return tuple(operand for operand in of if operand.is_present(config))


def without_epilogue(config: MatmulConfig) -> MatmulConfig:
    """Return the same problem with no operand of `EPILOGUE`, and no activation."""
    fields: dict[str, Any] = {operand.field: False for operand in EPILOGUE if operand.field is not None}
    return dataclasses.replace(config, activation=None, **fields)
