"""Sums of the wgmma kernel where A has 8 bits: their operands, their scales, and totals in float32.

Operands of 8 bits have no room for a scale, so scales go to sums. A sum that is scaled once, after all of K, stays with
the tensor cores until then (`finished_sum`). Else sums are made of *runs*, short pieces of k, and each is scaled and
added to totals in float32 (`Promotion`): for groups, whose scales differ, and for float8. Hopper's tensor cores add
products of float8 with some 14 bits to the largest number in sight, and cut off the rest, so that errors of long sums
grow with their length; sums of `FLOAT8_RUN_K` elements that are added in float32 keep them small (DeepGEMM and
DeepSeek-V3's report, section 3.3.2, "Increasing Accumulation Precision", have the same remedy and length).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.config import MatmulConfig
from bitquant.intrin.mma import local, store_local, sum_value, zero_local
from bitquant.intrin.wgmma import pin, wait_for_products
from bitquant.schedule.rules.hopper.emit.factors import TURN, FactorLoads, unpacked
from bitquant.schedule.rules.hopper.tiles import FLOAT8_RUN_K, promotes

if TYPE_CHECKING:
    from bitquant.schedule.rules.hopper.emit.kernel import Kernel, Place

__all__ = ["PTX_TYPES", "Promotion", "finished_sum", "left_operand", "load_row_scales", "narrow_refusal"]

Expr = Any

#: PTX's names of the operands' types.
PTX_TYPES = {
    "float16": "f16", "bfloat16": "bf16", "int8": "s8", "uint8": "u8", "float8_e4m3": "e4m3", "float8_e5m2": "e5m2",
}  # fmt: skip
#: Instructions of a step of 128 bytes of k.
STEP_OPS = 4


def left_operand(config: MatmulConfig) -> str:
    """Return the type in which the tensor cores take W: A's, or the one of A's kind that holds W's values."""
    a, w = config.A_format, config.W_format
    if a.is_integer:
        return "uint8" if w.name == "uint8" else "int8"
    if a.bits == 8:
        return "float8_e5m2" if w.name == "float8_e5m2" else "float8_e4m3"
    return a.name


def narrow_refusal(config: MatmulConfig) -> str | None:
    """Return what of a problem with A of 8 bits these kernels cannot do, as "needs ... (got ...)", or None."""
    a, w = config.A_format, config.W_format
    if (reason := w.register_refusal(left_operand(config))) is not None:
        return reason
    if config.with_zeros:
        return f"needs no zero points where A has 8 bits, whose sums it does not make (got {config.zeros_mode})"
    if not a.is_integer and config.out_format.name not in ("float16", "bfloat16"):
        return f"needs an output of 16 bits where A is float8: its sums have some 14 (got {config.out_format.name})"
    # Unscaled codes as they are have sums that int32 is meant to hold; others may be 2^31 before they are scaled.
    if a.is_integer and (config.with_scaling or w.offset) and not promotes(config):
        greatest = 128 * (w.max_value if w.is_unsigned else 128)
        if config.K * greatest >= 1 << 31:
            return f"needs K < {-(-(1 << 31) // greatest)}, so that sums stay below 2^31 (got {config.K})"
    return None


class Promotion:
    """Two-level accumulation: sums of the tensor cores over a run, scaled and added to totals in float32.

    With several blocks of rows the sums of one are added while the tensor cores work on another. Those of the last one
    of a body, and where there is one alone, keep them waiting, unless another warpgroup has work for them.

    Attributes
    ----------
    totals
        For each block of 64 rows its totals, in the order of the accumulators.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._plan_runs()
        rows = range(kernel.hint.rows)
        self.totals = [T.alloc_local((kernel.sums,), "float32") for _ in rows]
        is_grouped = kernel.config.num_groups > 1 and kernel.config.with_scaling
        self.scales = [GroupScales(kernel, row, self.body_ops) for row in rows] if is_grouped else []

    def _plan_runs(self) -> None:
        """Choose the instructions of a run: bodies and groups are whole numbers of runs."""
        kernel, c = self.kernel, self.kernel.config
        self.body_ops = kernel.body_stages * kernel.steps * STEP_OPS
        self.run_ops = self.body_ops if c.A_format.is_integer else FLOAT8_RUN_K // kernel.op.step_k
        if c.num_groups > 1 and c.with_scaling:
            self.run_ops = math.gcd(self.run_ops, c.group // kernel.op.step_k)
        assert self.body_ops % self.run_ops == 0

    def begin_tile(self) -> None:
        """Emit the totals' start, and the loads of the first scales."""
        for totals in self.totals:
            zero_local(totals)
        for scales in self.scales:
            scales.begin_tile()

    def begin_part(self) -> None:
        """Emit what makes scales ready for this consumer's part of K."""
        for scales in self.scales:
            scales.begin_part()

    def _op(self, place: Place, j: int) -> int:
        """Return the index in the body of instruction j of a left operand."""
        kernel = self.kernel
        return ((place.stage * kernel.units + place.unit) * kernel.unit_steps + place.step) * STEP_OPS + j

    def begins_run(self, place: Place, j: int) -> bool:
        """Return whether instruction j of a left operand is the first of a run, and overwrites the last one's sums."""
        return self._op(place, j) % self.run_ops == 0

    def begin_run(self, place: Place, j: int, body: Expr) -> None:
        """Emit the choice of the scale of a run; the sums of the run before of this block of rows have been added."""
        if self.scales:
            self.scales[place.row].enter(self._op(place, j), body)

    def add(self, row: int) -> None:
        """Emit the addition of the finished sums of a run of one block of rows."""
        kernel = self.kernel
        acc, totals = kernel.acc[row], self.totals[row]
        pin(acc)
        for i in range(kernel.sums):
            value = sum_value(acc[i]).astype("float32")
            if self.scales:
                value = value * self.scales[row].current[i % 4 // 2]
            store_local(totals, i, totals[i] + value)

    def sums_of(self, place: Place) -> list[Any]:
        """Return the sums, for each block of rows, to which the products of a left operand are added."""
        del place
        return self.kernel.acc

    def add_previous(self, places: Sequence[Place], i: int, body: Expr) -> None:
        """Emit the addition of a run that the left operand before the i-th of a body has ended, in other rows."""
        del body
        if i and self.kernel.hint.rows > 1 and self._ends_run(places[i - 1]):
            self.add(places[i - 1].row)

    def add_own(self, places: Sequence[Place], i: int, body: Expr) -> None:
        """Emit the addition of a run that the i-th left operand of a body has ended, where its sums are needed next.

        So it is at the end of a body, too: ptxas lets no wgmma run on from there whose sums are not for wgmma alone.
        """
        del body
        is_last = i == len(places) - 1
        if self._ends_run(places[i]) and (is_last or self.kernel.hint.rows == 1):
            wait_for_products(0)
            self.add(places[i].row)

    def _ends_run(self, place: Place) -> bool:
        return (self._op(place, STEP_OPS - 1) + 1) % self.run_ops == 0


class GroupScales:
    """Scales of one block of 64 rows, as a thread applies them to sums of its two rows (g and g + 8).

    The four lanes that share rows hold the scales of four consecutive groups; the next ones are on their way meanwhile
    (`wgmma_factors`).
    """

    def __init__(self, kernel: Kernel, row: int, body_ops: int) -> None:
        self.kernel, self.row, self.body_ops = kernel, row, body_ops
        c = kernel.config
        self.group_ops = c.group // kernel.op.step_k
        self.loads = FactorLoads(kernel, row)
        self.held, self.current = (T.alloc_local((2,), "float32") for _ in range(2))

    def begin_tile(self) -> None:
        """Emit the loads for the first groups of a tile."""
        self.loads.begin(self._group_of(self.kernel.first_step * STEP_OPS))

    def begin_part(self) -> None:
        """Emit the loads that follow; the first ones have arrived."""
        self._keep(self._group_of(self.kernel.first_step * STEP_OPS) // TURN * TURN)

    def _group_of(self, op: Expr) -> Expr:
        return T.truncdiv(op, self.group_ops)

    def _keep(self, first: Expr) -> None:
        """Emit the scales of this lane's group of four from `first` on, and the loads that follow."""
        unit = self.kernel.value_scale
        words, _ = self.loads.deal(first)
        assert words is not None
        self.loads.follow(first)
        for half, scale in enumerate(unpacked(words, self.kernel.config)):
            store_local(self.held, half, scale if unit == 1.0 else scale * T.float32(unit))

    def enter(self, op: int, body: Expr) -> None:
        """Emit the change to the group of instruction `op` of a body, where a group may begin."""
        kernel, c = self.kernel, self.kernel.config
        # Parts begin with a body, so that groups begin at multiples of this.
        distance = math.gcd(self.body_ops, self.group_ops)
        if op % distance:
            return
        first = kernel.first_step * STEP_OPS
        absolute = local("int32", first + body * self.body_ops + op)
        group = local("int32", self._group_of(absolute))
        if c.num_groups > TURN:
            conditions = [group % TURN == 0]
            if self.group_ops != distance:
                conditions.append(absolute % self.group_ops == 0)
            if op == 0:
                conditions.append(absolute != first)
            with T.If(tirx.all(*conditions)), T.Then():
                self._keep(group)
        for half in range(2):
            store_local(self.current, half, kernel.from_group(self.held[half], group))


def load_row_scales(kernel: Kernel, row: int) -> Any:
    """Emit the loads of the two scales of a thread's finished sums; return them, or None where there are none."""
    c = kernel.config
    if not (kernel.is_narrow and c.with_scaling and c.num_groups == 1):
        return None
    scales = T.alloc_local((2,), "float32")
    unit = kernel.value_scale
    for half in range(2):
        scale = kernel.Scale[kernel.row_of_w(row, half), 0].astype("float32")
        store_local(scales, half, scale if unit == 1.0 else scale * T.float32(unit))
    return scales


def finished_sum(kernel: Kernel, value: Expr, scale: Expr | None) -> Expr:
    """Return a sum over all of K as the number that it is, in the type of the problem's sums.

    Parameters
    ----------
    kernel
        The kernel.
    value
        The sum, as it leaves the main loop.
    scale
        From `load_row_scales`, of the sum's row of W, or None.
    """
    unit = kernel.value_scale
    if kernel.total_dtype == "uint32":
        value = sum_value(value)
        if scale is None:
            # Sums are multiples of the unit.
            return value if unit == 1.0 else value >> T.int32(-round(math.log2(unit)))
        value = value.astype("float32")
    if scale is not None:
        return value * scale
    is_applied = kernel.config.with_scaling or kernel.config.with_zeros
    return value if is_applied or unit == 1.0 else value * T.float32(unit)
