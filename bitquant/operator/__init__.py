"""Operators: a built problem that is called with torch tensors and read at every stage.

`core` makes them, `signature` says what their operands must be, `call` launches kernels, `torch_op` is
what torch sees of a call, `report` and `persistence` are for reading and keeping.
"""

from __future__ import annotations

from bitquant.operator.core import Operator

__all__ = ["Operator"]
