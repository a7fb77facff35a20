# SPDX-License-Identifier: Apache-2.0
"""Operators: a built problem that is called with torch tensors and read at every stage.

`core` makes them, and `grouped` those of grouped products. `signature` says what their operands must be, `call`
launches kernels. `dispatch` chooses between that and the operations that `torch_op` registers, for which `registry`
finds operators. `weight` decodes whole weights, `tokens` rounds inputs to 8 bits, `archives` builds kernels or finds
them, `report` and `persistence` are for reading and keeping.
"""

from __future__ import annotations

from bitquant.operator.core import Operator
from bitquant.operator.grouped import GroupedOperator

__all__ = ["GroupedOperator", "Operator"]
