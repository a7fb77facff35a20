# SPDX-License-Identifier: Apache-2.0
"""A as digits (`bitquant.schedule.rules.decode.digits`): how they are made, and products by mma on bytes of codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.formats.registers import RegisterOps
from bitquant.formats.words import float_like, word_like
from bitquant.intrin.mma import load_words, local, store_local, sum_value, zero_local
from bitquant.intrin.operations import TirxOps
from bitquant.layouts import Plane
from bitquant.schedule.rules.decode.digits import DIGIT_BITS, DIGITS, DigitPlan
from bitquant.schedule.rules.decode.emit.context import Context, Cursor
from bitquant.schedule.rules.decode.emit.factors import Factors
from bitquant.schedule.rules.decode.emit.sums import Sums, Total

__all__ = ["DigitActivations", "DigitProducts", "digit_words"]

Expr = Any

_OPS = TirxOps()
#: Bytes of the digits of four columns: 16 for each lane.
_COLUMNS_BYTES = 512
#: Bits of infinity in float32; those of NaN are more.
_INFINITY_BITS = 0x7F800000
#: Digits that are made of a number at a time: a piece, of 21 bits, which is found by adding _ROUNDER in float32.
_PIECE_DIGITS = 3
_PIECE = 2.0 ** (DIGIT_BITS * _PIECE_DIGITS)
#: 1.5 * 2^23. In float32 x + _ROUNDER is x rounded to nearest; its bits are those of _ROUNDER, plus that integer.
_ROUNDER, _ROUNDER_BITS = 12582912.0, 0x4B400000
#: 64 * (1 + 128 + 128^2): digits of -64 to 63 become 0 to 127, the highest one up to 128.
_PIECE_OFFSET = 64 * (1 + (1 << DIGIT_BITS) + (1 << 2 * DIGIT_BITS))


class DigitActivations:
    """Emits the making of digits of a block's part of A, before the loop, in shared memory.

    They are stored in the order in which lanes load them: plane, four columns, lane, column. Lane 4 * g + t reads digit
    g of the four k of a column for which lane t of the left operand has codes.

    Integers know no infinity and no NaN. Where A has such numbers, results are NaN: a word in shared memory, which is 0
    otherwise, is added to them.
    """

    def __init__(self, context: Context, plan: DigitPlan) -> None:
        self.context, self.g, self.plan = context, context.g, plan
        self.poison: Expr = None

    def clear_poison(self) -> None:
        """Emit the initialization of the poison; a barrier must follow before digits are made."""
        with T.If(self.context.thread == 0), T.Then():
            self._store_poison(0)

    def make(self) -> None:
        """Emit the making of all digits, the barrier after it, and the load of the poison; A is in shared memory."""
        for index in range(len(self.plan.planes)):
            self._make_plane(index)
        T.evaluate(T.cuda.cta_sync())
        self.poison = load_words(self.context.arena, self.g.smem.poison_offset, 1, 4)[0]

    def load(self, plane: int, tile: Expr, fours: int) -> Any:
        """Emit the load of this lane's digits of four columns of a tile of the phase."""
        columns = tile * (self.plan.columns // 4) + fours
        return load_words(self.context.arena, self._columns_offset(plane, columns) + self.context.lane * 16, 4, 16)

    def _store_poison(self, bits: int) -> None:
        T.evaluate(T.ptx["st.shared.u32"](self.context.shared(self.g.smem.poison_offset), T.uint32(bits)))

    def _columns_offset(self, plane: int, columns: Expr) -> Expr:
        """Return where the digits of four columns of a phase begin."""
        return self.g.smem.digits_offset + plane * self.plan.plane_bytes(self.g.phase_k) + columns * _COLUMNS_BYTES

    def _make_plane(self, index: int) -> None:
        """Emit the making of A's digits for a plane: the warps that share a part of k make those of that part.

        Lane 4 * c + t makes those of column c of eight, for lane t of the left operand: of four numbers of A.
        """
        context, plane = self.context, self.plan.planes[index]
        part_columns = self.g.part_tiles * self.plan.columns
        begin = context.warp_k * part_columns
        t, first = context.lane % 4, local("int32", context.warp_n * 8 + context.lane // 4)
        scale = self._scale_of_column(plane, context.lane // 4)
        greatest = T.alloc_local((1,), "uint32")
        zero_local(greatest)
        with T.serial(ceil_div(part_columns, 8 * context.hint.warps_n)) as step:
            column = local("int32", step * (8 * context.hint.warps_n) + first)
            with T.If(column < part_columns), T.Then():
                at = local("int32", begin + column)
                addresses = [self.g.smem.a_tile.offset(0, 0, 2 * k) for k in self.plan.k_of_lane(plane, at, t)]
                pairs = [load_words(context.arena, address, 1, 4)[0] for address in addresses]
                halves = [pair >> T.uint32(16 * e) & T.uint32(0xFFFF) for e in range(2) for pair in pairs]
                values = []
                for half in halves:
                    number = tirx.reinterpret("float16", half.astype("uint16")).astype("float32")
                    values.append(local("float32", number * scale))
                    if index == 0:  # Each plane is multiplied with all of A.
                        bits = tirx.reinterpret("uint32", values[-1]) & T.uint32(0x7FFFFFFF)
                        store_local(greatest, 0, T.max(greatest[0], bits))
                target = self._columns_offset(index, at // 4) + t * 16 + at % 4 * 4
                for digit, word in enumerate(digit_words(values, _OPS)):
                    T.evaluate(T.ptx["st.shared.u32"](context.shared(target + digit * 64), word))
        if index == 0:
            with T.If(greatest[0] >= T.uint32(_INFINITY_BITS)), T.Then():
                self._store_poison(0x7FFFFFFF)

    def _scale_of_column(self, plane: Plane, column: Expr) -> Expr:
        """Return the power of two that numbers of A are multiplied with, for a column."""
        in_word = column % self.plan.columns_of_word(plane)
        return _power_of_two(self.plan.scale_exponent(plane, 0) - in_word * (2 * plane.bits))


class DigitProducts:
    """Emits the products of codes, unshifted in their bytes, by A's digits."""

    def __init__(self, context: Context, sums: Sums, factors: Factors, activations: DigitActivations) -> None:
        self.context, self.g, self.hint = context, context.g, context.hint
        self.sums, self.factors, self.activations, self.plan = sums, factors, activations, activations.plan

    def multiply_tile(self, words: Any, at: Cursor, tile: int) -> None:
        """Emit the products of one tile: two columns of each plane at a time, in the order of their k."""
        g, plan, sums = self.g, self.plan, self.sums
        tile_of_phase = at.tile_of_phase + tile
        in_tile = plan.columns // 2
        in_run = g.run_k * plan.columns // (2 * g.fragment_layout.tile_k)
        digits: list[list[Any]] = []
        for pair in range(in_tile):
            run, place = divmod(tile * in_tile + pair, in_run)
            if pair % 2 == 0:
                digits = [self.activations.load(index, tile_of_phase, pair // 2) for index in range(len(plan.planes))]
            if place == 0:
                sums.begin_run()
            first_word = 0
            for index, plane in enumerate(plan.planes):
                columns = [plan.column(plane, 2 * pair + i) for i in range(2)]
                right = [digits[index][pair % 2 * 2 + i] for i in range(2)]
                for r in range(self.hint.n_tiles_per_warp):
                    left = []
                    for column in columns:
                        word = words[r * g.lane_words + first_word + column.word]
                        masks = [word_like(plan.mask(plane, column.bit, half), word) for half in range(2)]
                        left += [_OPS.hold(word & mask) for mask in masks]
                    g.mma.emit(sums.accumulators(index, r), left, right)
                if index == 0 and g.needs_sum_of_a:
                    ones = [T.uint32(plan.ones(column.bit, half)) for column in columns for half in range(2)]
                    g.ones_mma.emit(sums.a_accumulators(sums.counts[0]), ones, right)
                sums.counts[index] += 1
                first_word += plane.words
            if place == in_run - 1:
                self._end_run(run)

    def _end_run(self, run: int) -> None:
        """Emit total += decode(sums of the run): of two digits of this lane's, the lower one's unit for one."""
        g, h, plan, dtype = self.g, self.hint, self.plan, self.context.config.reduce_dtype
        counts = self.sums.counts

        def added(buffer: Any, first: int, count: int, stride: int) -> Expr:
            total = sum_value(buffer[first])
            for chain in range(1, count):
                total = total + sum_value(buffer[first + chain * stride])
            return total

        def joined(buffer: Any, first: int, count: int, stride: int) -> Expr:
            low, high = (added(buffer, first + i, count, stride) for i in range(2))
            return high * T.int32(1 << DIGIT_BITS) + low

        sums_of_a: list[Expr] = [None, None]
        if g.needs_sum_of_a:
            count = min(g.a_chains, counts[0])
            for half in range(2):
                total = joined(self.sums.a_sum, 2 * half, count, 4).astype(dtype)
                sums_of_a[half] = local(dtype, total * T.float32(plan.sum_of_a_factor))
        for r in range(h.n_tiles_per_warp):
            for half in range(2):
                dot: Expr = None
                for index, plane in enumerate(plan.planes):
                    first = (index * g.chains * h.n_tiles_per_warp + r) * 4 + 2 * half
                    part = joined(self.sums.acc, first, min(g.chains, counts[index]), 4 * h.n_tiles_per_warp)
                    if (factor := plan.row_factor(plane, half)) > 1:
                        part = part * T.int32(factor)
                    dot = part if dot is None else dot + part
                row = 2 * r + half
                self.sums.add_run(self.factors, row, local(dtype, dot.astype(dtype)), sums_of_a[half], row, run)

    def finished(self) -> Iterator[Total]:
        """Emit the sum over the four lanes that have the digits of a row of W, and yield it."""
        lane, sums = self.context.lane, self.sums
        power = _power_of_two(lane % 4 * (2 * DIGIT_BITS))
        poison = local("float32", tirx.reinterpret("float32", self.activations.poison))
        value = T.alloc_local((1,), "float32")
        for r in range(self.hint.n_tiles_per_warp):
            for half in range(2):
                store_local(value, 0, sums.total[2 * r + half] * power)
                for distance in (1, 2):
                    other = T.tvm_warp_shuffle_xor(T.uint32(0xFFFFFFFF), value[0], distance, 32, 32)
                    store_local(value, 0, value[0] + other)
                result = value[0] * T.float32(self.plan.unit(half)) + poison
                yield Total(0, self.context.column(r, half), result, lane % 4 == 0)


def _power_of_two(exponent: Expr) -> Expr:
    """Emit 2^exponent in float32."""
    bits = (exponent + 127).astype("uint32") << T.uint32(23)
    return local("float32", tirx.reinterpret("float32", bits))


# The digits of a number.


def digit_words(values: Sequence[Expr], ops: RegisterOps) -> list[Expr]:
    """Return the digits of four numbers: byte i of word d is digit d of number i, as int8. The last word is 0.

    Parameters
    ----------
    values
        Integers in float32, of 11 bits and up to 2^46 in magnitude.
    ops
        Operations on them.
    """
    pieces: list[list[Expr]] = [[], [], []]
    for value in values:
        rest = value
        for p in (2, 1, 0):
            # All of this is exact but the rounding: the integers have 11 bits.
            rounder = float_like(_ROUNDER, rest)
            rounded = ops.hold(rest * float_like(_PIECE**-p, rest) + rounder)
            pieces[p].append(ops.hold(ops.bits(rounded)))
            if p:
                rest = ops.hold(rest - (rounded - rounder) * float_like(_PIECE**p, rest))
    words: list[Expr] = []
    for piece in pieces[:2]:
        offset = word_like((_PIECE_OFFSET - _ROUNDER_BITS) % (1 << 32), piece[0])
        spread = [_spread(ops.hold(bits + offset), ops) for bits in piece]
        # The offset is taken away from four digits without a carry: 64 are added, and the highest bit inverted.
        digits = _transposed(spread, _PIECE_DIGITS, ops)
        words += [(four + word_like(0x40404040, four)) ^ word_like(0x80808080, four) for four in digits]
    # The highest digit is a byte as it is.
    words += _transposed(pieces[2], DIGITS - 2 * _PIECE_DIGITS, ops)
    return [*words, word_like(0, words[0])]


def _spread(piece: Expr, ops: RegisterOps) -> Expr:
    """Return three digits of 7 bits, of which the highest may have 8, in the bytes of a word."""
    fields = [(piece << word_like(d, piece)) & word_like((0x7F, 0x7F00, 0xFF0000)[d], piece) for d in range(3)]
    return ops.hold(fields[0] | fields[1] | fields[2])


def _transposed(words: Sequence[Expr], count: int, ops: RegisterOps) -> list[Expr]:
    """Return `count` words: the lowest bytes of four words, the ones above those, ..."""
    found: list[Expr] = []
    for first in range(0, count, 2):
        selector = 0x5140 + 0x2222 * (first // 2)
        low, high = (ops.hold(ops.byte_perm(words[i], words[i + 1], selector)) for i in (0, 2))
        found += [ops.byte_perm(low, high, 0x5410), ops.byte_perm(low, high, 0x7632)]
    return found[:count]
