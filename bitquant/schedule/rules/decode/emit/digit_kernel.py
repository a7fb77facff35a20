"""The decode kernel where A is multiplied as digits (`decode_digits`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.formats.words import word_like
from bitquant.intrin.decoders import TirxOps
from bitquant.intrin.mma import load_words, local, store_local, sum_value, zero_local
from bitquant.layouts import Plane
from bitquant.schedule.rules.decode.digits import DIGIT_BITS, DigitPlan, digit_words
from bitquant.schedule.rules.decode.emit.kernel import Kernel

__all__ = ["DigitKernel"]

Expr = Any

_OPS = TirxOps()
#: Bytes of the digits of four columns: 16 for each lane.
_COLUMNS_BYTES = 512
#: Bits of infinity in float32; those of NaN are more.
_INFINITY_BITS = 0x7F800000


class DigitKernel(Kernel):
    """A kernel whose blocks make digits of their part of A before the loop, in shared memory.

    They lie as lanes want them, in the order plane, four columns, lane, column: lane 4 * g + t reads digit g of the
    four k of a column for which lane t of the left operand has codes.

    Integers know no infinity and no NaN. Where A has such numbers its results are NaN: `poison`, which is 0 otherwise,
    is added to them.
    """

    digit_plan: DigitPlan

    def begin(self) -> None:
        """Emit all that comes before the loop, and the making of digits at its end."""
        with T.If(self.thread == 0), T.Then():
            self._store_poison(0)
        super().begin()
        if self.copies_bulk:
            T.evaluate(T.cuda.mbarrier_wait(self._barrier(0, self.warp_k), 0))
        for index in range(len(self.digit_plan.planes)):
            self._make_digits(index)
        T.evaluate(T.cuda.cta_sync())
        self.poison = load_words(self.arena, self.poison_offset, 1, 4)[0]

    # The digits of A.

    def _store_poison(self, bits: int) -> None:
        T.evaluate(T.ptx["st.shared.u32"](self.arena.ptr_to([self.poison_offset]), T.uint32(bits)))

    def _columns_offset(self, plane: int, columns: Expr) -> Expr:
        """Return where the digits of four columns of a phase begin."""
        return self.digits_offset + plane * self.digit_plan.plane_bytes(self.phase_k) + columns * _COLUMNS_BYTES

    def _make_digits(self, index: int) -> None:
        """Emit the making of A's digits for a plane: the warps that share a part of k make those of that part.

        Lane 4 * c + t makes those of column c of eight, for lane t of the left operand: of four numbers of A.
        """
        plane = self.digit_plan.planes[index]
        part_columns = self.part_tiles * self.digit_plan.columns
        begin = self.warp_k * part_columns
        t, first = self.lane % 4, local("int32", self.warp_n * 8 + self.lane // 4)
        scale = self._scale_of_column(plane, self.lane // 4)
        greatest = T.alloc_local((1,), "uint32")
        zero_local(greatest)
        with T.serial(-(-part_columns // (8 * self.hint.warps_n))) as step:
            column = local("int32", step * (8 * self.hint.warps_n) + first)
            with T.If(column < part_columns), T.Then():
                at = local("int32", begin + column)
                addresses = [self.a_tile.offset(0, 0, 2 * k) for k in self.digit_plan.met(plane, at, t)]
                pairs = [load_words(self.arena, address, 1, 4)[0] for address in addresses]
                halves = [pair >> T.uint32(16 * e) & T.uint32(0xFFFF) for e in range(2) for pair in pairs]
                values = []
                for half in halves:
                    number = tirx.reinterpret("float16", half.astype("uint16")).astype("float32")
                    values.append(local("float32", number * scale))
                    if index == 0:  # Each plane meets all of A.
                        bits = tirx.reinterpret("uint32", values[-1]) & T.uint32(0x7FFFFFFF)
                        store_local(greatest, 0, T.max(greatest[0], bits))
                target = self._columns_offset(index, at // 4) + t * 16 + at % 4 * 4
                for digit, word in enumerate(digit_words(values, _OPS)):
                    T.evaluate(T.ptx["st.shared.u32"](self.arena.ptr_to([target + digit * 64]), word))
        if index == 0:
            with T.If(greatest[0] >= T.uint32(_INFINITY_BITS)), T.Then():
                self._store_poison(0x7FFFFFFF)

    def _scale_of_column(self, plane: Plane, column: Expr) -> Expr:
        """Return the power of two that numbers of A are multiplied with, for a column."""
        in_word = column % self.digit_plan.columns_of_word(plane)
        return self._power_of_two(self.digit_plan.scale_exponent(plane, 0) - in_word * (2 * plane.bits))

    @staticmethod
    def _power_of_two(exponent: Expr) -> Expr:
        """Emit 2^exponent in float32."""
        bits = (exponent + 127).astype("uint32") << T.uint32(23)
        return local("float32", tirx.reinterpret("float32", bits))

    # The product.

    def _multiply_tile(self, words: Any, turn: Expr, body: Expr, tile: int) -> None:
        """Emit the products of one tile: two columns of each plane at a time, in the order of their k."""
        plan, h = self.digit_plan, self.hint
        tile_of_phase = self._tile_of_phase(body, tile)
        in_tile = plan.columns // 2
        in_run = self.run_k * plan.columns // (2 * self.layout.tile_k)
        digits: list[list[Any]] = []
        for pair in range(in_tile):
            run, place = divmod(tile * in_tile + pair, in_run)
            if pair % 2 == 0:
                digits = [self._load_digits(index, tile_of_phase, pair // 2) for index in range(len(plan.planes))]
            if place == 0:
                self._begin_run()
            first_word = 0
            for index, plane in enumerate(plan.planes):
                columns = [plan.column(plane, 2 * pair + i) for i in range(2)]
                right = [digits[index][pair % 2 * 2 + i] for i in range(2)]
                chain = index * self.chains + self.counts[index] % self.chains
                for r in range(h.rows):
                    left = []
                    for column in columns:
                        word = words[r * self.lane_words + first_word + column.word]
                        masks = [word_like(plan.mask(plane, column.bit, half), word) for half in range(2)]
                        left += [_OPS.hold(word & mask) for mask in masks]
                    at = (chain * h.rows + r) * 4
                    self.mma.emit([self.acc[at + i] for i in range(4)], left, right)
                if index == 0 and self.needs_sum_of_a:
                    ones = [T.uint32(plan.ones(column.bit, half)) for column in columns for half in range(2)]
                    at = self.counts[0] % self.a_chains * 4
                    self.ones_mma.emit([self.a_sum[at + i] for i in range(4)], ones, right)
                self.counts[index] += 1
                first_word += plane.words
            if place == in_run - 1:
                self._end_run(run)

    def _load_digits(self, plane: int, tile: Expr, fours: int) -> Any:
        """Emit the load of this lane's digits of four columns."""
        columns = tile * (self.digit_plan.columns // 4) + fours
        return load_words(self.arena, self._columns_offset(plane, columns) + self.lane * 16, 4, 16)

    def _end_run(self, run: int) -> None:
        """Emit total += decode(sums of the run): of two digits of this lane's, the lower one's unit for one."""
        h, plan, dtype = self.hint, self.digit_plan, self.config.reduce_dtype

        def added(buffer: Any, first: int, count: int, stride: int) -> Expr:
            total = sum_value(buffer[first])
            for chain in range(1, count):
                total = total + sum_value(buffer[first + chain * stride])
            return total

        def joined(buffer: Any, first: int, count: int, stride: int) -> Expr:
            low, high = (added(buffer, first + i, count, stride) for i in range(2))
            return high * T.int32(1 << DIGIT_BITS) + low

        sums_of_a: list[Expr] = [None, None]
        if self.needs_sum_of_a:
            count = min(self.a_chains, self.counts[0])
            for half in range(2):
                total = joined(self.a_sum, 2 * half, count, 4).astype(dtype)
                sums_of_a[half] = local(dtype, total * T.float32(plan.sum_of_a_factor))
        for r in range(h.rows):
            for half in range(2):
                dot: Expr = None
                for index, plane in enumerate(plan.planes):
                    first = (index * self.chains * h.rows + r) * 4 + 2 * half
                    part = joined(self.acc, first, min(self.chains, self.counts[index]), 4 * h.rows)
                    if (factor := plan.row_factor(plane, half)) > 1:
                        part = part * T.int32(factor)
                    dot = part if dot is None else dot + part
                row = 2 * r + half
                self._add_run(row, local(dtype, dot.astype(dtype)), sums_of_a[half], row, run)

    # The end.

    @property
    def totals(self) -> int:
        """Totals of a thread: of two digits, one for each row of W."""
        return self.hint.rows * 2

    def finished(self) -> Iterator[tuple[Expr, Expr, Expr, Expr | None]]:
        """Yield (m, n, total, condition): the sum over the four lanes that have the digits of a row of W."""
        power = self._power_of_two(self.lane % 4 * (2 * DIGIT_BITS))
        poison = local("float32", tirx.reinterpret("float32", self.poison))
        value = T.alloc_local((1,), "float32")
        for r in range(self.hint.rows):
            for half in range(2):
                store_local(value, 0, self.total[2 * r + half] * power)
                for distance in (1, 2):
                    other = T.tvm_warp_shuffle_xor(T.uint32(0xFFFFFFFF), value[0], distance, 32, 32)
                    store_local(value, 0, value[0] + other)
                yield (
                    0,
                    self._column(r, half),
                    value[0] * T.float32(self.digit_plan.unit(half)) + poison,
                    self.lane % 4 == 0,
                )
