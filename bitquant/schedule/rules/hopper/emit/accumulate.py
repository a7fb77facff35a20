# SPDX-License-Identifier: Apache-2.0
"""How the wgmma kernel accumulates: in the tensor cores to the end, or in runs whose sums go to float32 totals.

Operands of 8 bits have no room for a scale, so scales go to sums. A sum that is scaled once, after all of K, stays with
the tensor cores until then (`DirectAccumulation`, `finished_sum`). Else sums are made of *runs*, short pieces of k, and
each is scaled and added to totals in float32: for groups, whose scales differ, and for float8 (`Promotion`). Hopper's
tensor cores align products of float8 to the largest one and keep some 14 bits, so that
errors of long sums grow with their length; sums of `FLOAT8_RUN_K` elements that are added in float32 keep them small
(DeepGEMM and DeepSeek-V3's report, section 3.3.2, "Increasing Accumulation Precision", have the same remedy and
length). `grouped.GroupedSums` scales sums where A has 16 bits.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.matmul import scale_value
from bitquant.intrin.mma import local, store_local, sum_value, zero_local
from bitquant.intrin.wgmma import commit_wgmma, fence_registers, fence_wgmma, wait_wgmma
from bitquant.schedule.rules.hopper.emit.context import Context, OperandCoord, WorkTile
from bitquant.schedule.rules.hopper.emit.factors import QUAD, GroupCursor, unpacked
from bitquant.schedule.rules.hopper.geometry import STEP_OPS

__all__ = [
    "Accumulation",
    "DirectAccumulation",
    "Product",
    "Promotion",
    "finished_sum",
    "load_row_scales",
]

Expr = Any
#: Emits instruction j of a left operand, which adds to the sums (its first argument) or, if not, overwrites them.
Product = Callable[[Any, int, bool], None]


class Accumulation(ABC):
    """How the products of a consumer are accumulated. What is not abstract emits nothing by default.

    Attributes
    ----------
    totals
        What leaves the loop: for each block of 64 rows its sums, in the order of the accumulators.
    """

    totals: Sequence[Any]

    @abstractmethod
    def begin_tile(self, work_tile: WorkTile, first_step: Expr) -> None:
        """Emit the start of a tile, of which this consumer has K from a step on: sums of zero, loads of scales."""

    def load_first(self, work_tile: WorkTile) -> None:  # noqa: B027  sums without scales need nothing
        """Emit the loads of the first scales of a block's first tile, where those of others are loaded ahead."""

    def begin_part(self) -> None:  # noqa: B027  sums without scales need nothing
        """Emit what scales need when the loads of the first codes are under way."""

    @abstractmethod
    def multiply(self, coord: OperandCoord, body: Expr, product: Product) -> None:
        """Emit the instructions of a left operand of a body, between a fence and a commit."""

    def add_previous(self, coords: Sequence[OperandCoord], i: int, body: Expr) -> None:  # noqa: B027  as above
        """Emit the addition of a run that ended before the i-th left operand of a body, whose products are under way.

        The products of all operands before it are complete.
        """

    def add_own(self, coords: Sequence[OperandCoord], i: int, body: Expr) -> None:  # noqa: B027  as above
        """Emit the addition of a run that the i-th left operand of a body has ended, where it cannot wait any longer.

        At the end of a body it cannot: ptxas serializes the wgmma instructions of a loop at whose end other
        instructions may still read their sums.
        """

    def end_tile(self) -> None:  # noqa: B027  totals are no accumulators
        """Emit what makes the totals readable; all products are complete."""


class DirectAccumulation(Accumulation):
    """Sums that stay with the tensor cores until K ends."""

    def __init__(self, sums: Sequence[Any]) -> None:
        self.totals = sums

    def begin_tile(self, work_tile: WorkTile, first_step: Expr) -> None:
        """Emit sums of zero."""
        del work_tile, first_step
        for sums in self.totals:
            zero_local(sums)

    def multiply(self, coord: OperandCoord, body: Expr, product: Product) -> None:
        """Emit the instructions of a left operand."""
        del body
        for j in range(STEP_OPS):
            product(self.totals[coord.row], j, True)

    def end_tile(self) -> None:
        """Emit fences of the accumulators."""
        for sums in self.totals:
            fence_registers(sums)


class Promotion(Accumulation):
    """Two-level accumulation: sums of the tensor cores over a run, scaled and added to totals in float32.

    With several blocks of rows the sums of one are added while the tensor cores work on another. During the addition of
    the last one of a body, or of a single one, they idle, unless another warpgroup has work for them.

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    sums
        For each block of 64 rows the accumulators.
    """

    def __init__(self, context: Context, sums: Sequence[Any]) -> None:
        self.context, self.sums = context, sums
        g, c = context.g, context.config
        self.run_ops = g.run_ops
        self.totals = [T.alloc_local((g.sums,), "float32") for _ in sums]
        is_grouped = c.num_groups > 1 and c.with_scaling
        self.scales = [_GroupScales(context, row) for row in range(len(sums))] if is_grouped else []

    def begin_tile(self, work_tile: WorkTile, first_step: Expr) -> None:
        """Emit the start of sums and totals, and the loads of the first scales."""
        for sums in self.sums:
            zero_local(sums)
        for totals in self.totals:
            zero_local(totals)
        for scales in self.scales:
            scales.cursor.begin_tile(work_tile, first_step * STEP_OPS)

    def begin_part(self) -> None:
        """Emit what makes scales ready for this consumer's part of K."""
        for scales in self.scales:
            scales.cursor.begin_part()

    def multiply(self, coord: OperandCoord, body: Expr, product: Product) -> None:
        """Emit the instructions of a left operand, and the addition of runs that end within it."""
        for j in range(STEP_OPS):
            op = coord.body_step * STEP_OPS + j
            begins_run = op % self.run_ops == 0
            if begins_run and j:
                commit_wgmma()
                wait_wgmma(0)
                self._add(coord.row)
                fence_wgmma()
            product(self.sums[coord.row], j, not begins_run)
            if begins_run and self.scales:
                self.scales[coord.row].enter(op, body)

    def add_previous(self, coords: Sequence[OperandCoord], i: int, body: Expr) -> None:
        """Emit the addition of a run that the left operand before the i-th has ended, in other rows."""
        del body
        if i and self.context.hint.n_tiles_per_consumer > 1 and self._ends_run(coords[i - 1]):
            self._add(coords[i - 1].row)

    def add_own(self, coords: Sequence[OperandCoord], i: int, body: Expr) -> None:
        """Emit the addition of a run that the i-th left operand has ended, where its sums are needed next."""
        del body
        is_last = i == len(coords) - 1
        if self._ends_run(coords[i]) and (is_last or self.context.hint.n_tiles_per_consumer == 1):
            wait_wgmma(0)
            self._add(coords[i].row)

    def _ends_run(self, coord: OperandCoord) -> bool:
        return (coord.body_step + 1) * STEP_OPS % self.run_ops == 0

    def _add(self, row: int) -> None:
        """Emit the addition of the finished sums of a run of one block of rows."""
        acc, totals = self.sums[row], self.totals[row]
        fence_registers(acc)
        for i in range(self.context.g.sums):
            value = sum_value(acc[i]).astype("float32")
            if self.scales:
                value = value * self.scales[row].current[i % 4 // 2]
            store_local(totals, i, totals[i] + value)


class _GroupScales:
    """Scales of one block of 64 rows, as a thread applies them to sums of its two rows (g and g + 8)."""

    def __init__(self, context: Context, row: int) -> None:
        self.context = context
        # Positions are not negative, and truncated division of those is one shift.
        step_k, body_ops = context.g.op.step_k, context.g.body_ops
        self.cursor = GroupCursor(context, row, step_k, body_ops, self._hold, divide=T.truncdiv)
        self.body_ops = body_ops
        self.held, self.current = (T.alloc_local((2,), "float32") for _ in range(2))

    def _hold(self, first: Expr) -> None:
        """Emit the scales of this lane's group of four from `first` on, and the loads that follow."""
        unit = self.context.g.value_scale
        words, _ = self.cursor.loads.distribute(first)
        assert words is not None
        self.cursor.loads.load_next(first)
        for half, scale in enumerate(unpacked(words, self.context.config)):
            store_local(self.held, half, scale if unit == 1.0 else scale * T.float32(unit))

    def enter(self, op: int, body: Expr) -> None:
        """Emit the change to the group of instruction `op` of a body, where a group may begin."""
        cursor = self.cursor
        if not cursor.may_begin_group(op):
            return
        position = local("int32", cursor.first + body * self.body_ops + op)
        group = local("int32", cursor.group(position))
        if self.context.config.num_groups > QUAD:
            conditions = [group % QUAD == 0, *cursor.begins_group(position, op)]
            with T.If(tirx.all(*conditions)), T.Then():
                self._hold(group)
        for half in range(2):
            store_local(self.current, half, cursor.shuffled(self.held[half], group))


def load_row_scales(context: Context, n0: Expr, row: int) -> Any:
    """Emit the loads of the two scales of a thread's finished sums; return them, or None where there are none."""
    g, c = context.g, context.config
    if not (g.is_narrow and c.with_scaling and c.num_groups == 1):
        return None
    scales = T.alloc_local((2,), "float32")
    unit = g.value_scale
    for half in range(2):
        n = context.row_of_w(n0, row, half)
        scale = scale_value(c, context.inputs.operands.Scale, n, T.int32(0), "float32")
        store_local(scales, half, scale if unit == 1.0 else scale * T.float32(unit))
    return scales


def finished_sum(context: Context, value: Expr, scale: Expr | None) -> Expr:
    """Return a sum over all of K as the number that it is, in the type of the problem's sums.

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    value
        The sum, as it leaves the main loop.
    scale
        From `load_row_scales`, of the sum's row of W, or None.
    """
    g = context.g
    unit = g.value_scale
    if g.total_dtype == "uint32":
        value = sum_value(value)
        if scale is None:
            # Sums are multiples of the unit.
            return value if unit == 1.0 else value >> T.int32(-round(math.log2(unit)))
        value = value.astype("float32")
    if scale is not None:
        return value * scale
    is_applied = g.products.is_scaled
    return value if is_applied or unit == 1.0 else value * T.float32(unit)
