# SPDX-License-Identifier: Apache-2.0
"""Scales and zero points of the wgmma kernel on their way from memory to registers.

The four lanes that share rows g and g + 8 of a block of 64 rows of W, a *quad*, load consecutive groups of these rows.
Each loads a *vector* of 1, 2 or 4 groups of a row, the four of them a *window*: with 8 bytes a lane that is a sector of
L2, which is fetched once. Every four groups the lanes whose vectors have them *distribute* them, a group to a lane, so
that each lane prepares one; `GroupCursor.shuffled` broadcasts them as groups begin. With the last four groups of a
window its registers are free, and take the next window, which is then four groups ahead of its use.

What is loaded stays as it is until it is distributed: a conversion that follows its load waits for memory.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.compute.matmul import scale_row, zero_point
from bitquant.config import MatmulConfig
from bitquant.intrin.mma import local, store_local
from bitquant.schedule.rules.hopper.emit.context import Context, WorkTile

__all__ = [
    "QUAD",
    "FactorLoads",
    "GroupCursor",
    "element_of_lane",
    "factor_dtype",
    "half_selector",
    "source_lane",
    "unpacked",
    "vector_groups",
]

Expr = Any

#: Lanes that share rows, and groups that they distribute at a time.
QUAD = 4
#: Most bytes of a lane's vector of one row: the four lanes' are a sector of L2.
VECTOR_BYTES = 8


# Index maps, of Python's integers or TVM's expressions.


def vector_groups(num_groups: int, element_bytes: int) -> int:
    """Return the groups in a vector: as many as 8 bytes hold and alignment of rows allows, a power of two, at most 4.

    Vectors divide a row, so that none reaches beyond it, and are whole words. Four groups in all need no more than one
    a lane.
    """
    groups = min(QUAD, VECTOR_BYTES // element_bytes) if num_groups > QUAD else 1
    while num_groups % groups:
        groups //= 2
    return groups if groups * element_bytes >= 4 else 1


def source_lane(lane: Expr, first: Expr, groups: int) -> Expr:
    """Return the lane whose vector has the group that `lane` gets when four are distributed from `first` on.

    That is group `first` + `lane` % 4; `first` is a multiple of 4, and a vector has `groups`.
    """
    return lane // QUAD * QUAD + first % (QUAD * groups) // groups + lane % QUAD // groups


def element_of_lane(lane: Expr, groups: int) -> Expr:
    """Return the index, in its vector, of the group that `lane` gets whenever four are distributed."""
    return lane % QUAD % groups


def half_selector(element: Expr) -> Expr:
    """Return the selector of PRMT that puts element 0 to 3 of 16 bits of two words into the low half of another."""
    return element * 0x22 + 0x10


def factor_dtype(config: MatmulConfig) -> str:
    """Return the TVM type of scales and unpacked zero points once they are distributed.

    It is their own, but for scales of 8 bits: those become numbers of A's type, or bfloat16, which holds each of them,
    where A has 8 bits as well.
    """
    if config.scale_format.bits > 8:
        return config.scale_format.tvm_dtype
    return config.A_format.tvm_dtype if config.A_format.bits == 16 else "bfloat16"


# Emission.


class FactorLoads:
    """Scales and zero points of a thread's two rows of a row block, as they are stored.

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    row
        The row block.
    """

    def __init__(self, context: Context, row: int) -> None:
        self.context, self.row = context, row
        c, operands = context.config, context.inputs.operands
        self.scale = _Vectors(context, row, operands.Scale) if c.with_scaling else None
        self.zero: _Vectors | _Codes | None = None
        if c.with_zeros:
            self.zero = _Codes(context, row) if c.has_packed_zeros else _Vectors(context, row, operands.Zeros)
        self.operands = [operand for operand in (self.scale, self.zero) if operand is not None]

    def load_first(self, work_tile: WorkTile) -> None:
        """Emit the loads of the first windows of a tile."""
        for operand in self.operands:
            operand.load(work_tile, T.int32(0))

    def begin_tile(self, work_tile: WorkTile, group: Expr) -> None:
        """Emit the loads of the windows that have `group`, of a tile, unless they were made ahead."""
        self.work_tile = work_tile
        for operand in self.operands:
            operand.n0 = work_tile.n0
            window = QUAD * operand.groups
            if work_tile.following is None:
                operand.load(work_tile, group // window * window)

    def distribute(self, first: Expr) -> tuple[list[Expr] | None, list[Expr] | None]:
        """Emit the distribution of groups `first` to `first` + 3, one a lane; return scale and zero point as words.

        They are of `factor_dtype`. Those of 32 bits are two words, of rows g and g + 8, others one word with row g's
        low and row g + 8's high.
        """

        def distributed(operand: _Vectors | _Codes | None) -> list[Expr] | None:
            # Variables of their own: the next loads go to the registers of these.
            return None if operand is None else [local("uint32", word) for word in operand.distribute(first)]

        return distributed(self.scale), distributed(self.zero)

    def load_next(self, first: Expr) -> None:
        """Emit the loads of the next window where groups `first` to `first` + 3 were the last of theirs."""
        num_groups = self.context.config.num_groups
        for groups in sorted({operand.groups for operand in self.operands}):
            window = QUAD * groups
            if num_groups <= window and self.work_tile.following is None:
                continue
            loading = [operand for operand in self.operands if operand.groups == groups]

            def load(loading: Sequence[_Vectors | _Codes] = loading) -> None:
                place, group = self._place_behind(first)
                for operand in loading:
                    operand.load(place, group)

            if groups == 1 or num_groups <= QUAD:
                load()
                continue
            is_last = first % window == window - QUAD
            if self.work_tile.following is not None:
                is_last = tirx.any(is_last, first + QUAD >= num_groups)
            with T.If(is_last), T.Then():
                load()

    def _place_behind(self, first: Expr) -> tuple[WorkTile, Expr]:
        """Emit what follows groups `first` to `first` + 3: return the tile, this one or the next, and the group."""
        following, tile, num_groups = self.work_tile.following, self.work_tile, self.context.config.num_groups
        if following is None:
            return tile, first + QUAD
        if num_groups <= QUAD:
            return following, T.int32(0)
        is_over = local("bool", first + QUAD >= num_groups)

        def chosen(name: str) -> Expr:
            ahead, here = getattr(following, name), getattr(tile, name)
            return None if ahead is None else local("int32", T.Select(is_over, ahead, here))

        place = replace(tile, n0=chosen("n0"), expert=chosen("expert"))
        return place, local("int32", T.Select(is_over, 0, first + QUAD))


class GroupCursor:
    """Where a consumer's part of K crosses from group to group, for one block of 64 rows of W.

    The four lanes of a quad hold the factors of four consecutive groups, one each, in a form that the caller prepares
    (`hold`) when they are distributed. The next ones are on their way meanwhile. Positions along K are counted in
    pieces of equal length, from the first one of all of K on.

    Parameters
    ----------
    context, row
        Geometry, operands and indices of this thread, and the row block.
    piece_k
        Elements of k of a piece.
    body_pieces
        Pieces of a body of the loop: a part is a whole number of bodies.
    hold
        Emits what a lane does with its own of the four groups from its argument on, and the loads that follow.
    divide
        Division of a position, which is not negative, by the pieces of a group.
    """

    def __init__(
        self, context: Context, row: int, piece_k: int, body_pieces: int, hold: Callable[[Expr], None],
        divide: Callable[[Expr, int], Expr] = operator.floordiv,
    ) -> None:  # fmt: skip
        self.context, self.hold, self._divide = context, hold, divide
        c = context.config
        self.loads = FactorLoads(context, row)
        #: Pieces of a group, 0 where a piece has several, and groups of a piece.
        self.group_pieces, self._piece_groups = c.group // piece_k, max(1, piece_k // c.group)
        #: Groups begin at pieces of a body whose index is a multiple of this.
        self._distance = math.gcd(body_pieces, self.group_pieces) if self.group_pieces else 1
        self.first: Expr = None

    def begin_tile(self, work_tile: WorkTile, first: Expr) -> None:
        """Emit the loads for the first groups of a part of a tile, which begins at position `first`."""
        self.first = first
        self.loads.begin_tile(work_tile, self.group(first))

    def begin_part(self) -> Expr:
        """Emit what the lanes hold of the first groups of this part, which have arrived; return the very first one."""
        group = self.group(self.first)
        self.hold(group // QUAD * QUAD)
        return group

    def group(self, position: Expr, k: int = 0) -> Expr:
        """Return the group of the element k of a piece."""
        num_groups, group = self.context.config.num_groups, self.context.config.group
        if num_groups == 1:
            return T.int32(0)
        if self.group_pieces:
            return self._divide(position, self.group_pieces)
        return position * self._piece_groups + k // group

    def may_begin_group(self, body_piece: int, k: int = 0) -> bool:
        """Return whether a group may begin at element k of a piece of the body."""
        c = self.context.config
        if c.num_groups == 1 or (self.group_pieces and k) or k % c.group:
            return False
        return body_piece % self._distance == 0

    def begins_group(self, position: Expr, body_piece: int, k: int = 0) -> list[Expr]:
        """Return the conditions under which a group begins there, where one may, and the part does not begin with it.

        What holds at the first position of a part is set up by `begin_part`.
        """
        conditions = []
        if self.group_pieces and self.group_pieces != self._distance:
            conditions.append(position % self.group_pieces == 0)
        if body_piece == 0 and k == 0:
            conditions.append(position != self.first)
        return conditions

    @property
    def _overruns(self) -> bool:
        """Whether the loop goes beyond the last four groups of a row, behind which those of the next tile stand."""
        c, g = self.context.config, self.context.g
        covered = g.loop.bodies * g.loop.body_stages * g.hint.block_k
        return g.hint.looks_ahead and covered > ceil_div(c.num_groups, QUAD) * QUAD * c.group

    def begins_quad(self, group: Expr) -> Expr:
        """Return whether a group is the first of four; groups beyond the last one of a row have the last four's."""
        first = group % QUAD == 0
        return tirx.all(first, group < self.context.config.num_groups) if self._overruns else first

    def end_piece(self, position: Expr) -> None:
        """Emit the change to the next four groups where the piece at this position is the last of the four held."""
        if self.context.config.num_groups <= QUAD:
            return
        following = local("int32", position + 1)
        pieces = QUAD * self.group_pieces
        is_next = following % pieces == 0
        ends_at_last = self.context.hint.looks_ahead and self.context.config.num_groups % QUAD == 0
        if ends_at_last or self._overruns:
            is_next = tirx.all(is_next, following < self.context.config.num_groups * self.group_pieces)
        with T.If(is_next), T.Then():
            self.hold(local("int32", following // pieces * QUAD))

    def shuffled(self, held: Expr, group: Expr) -> Expr:
        """Emit the shuffle that broadcasts `held` of the lane with `group` to its quad; return the value."""
        lane = self.context.lane
        return T.tvm_warp_shuffle(T.uint32(0xFFFFFFFF), held, lane // 4 * 4 + group % 4, 32, 32)


class _Vectors:
    """Vectors of an operand of (N, num_groups) floats: one of each of a thread's two rows."""

    n0: Expr

    def __init__(self, context: Context, row: int, operand: Any) -> None:
        self.context, self.row, self.operand = context, row, operand
        self.bytes = context.config.scale_format.bits // 8
        self.groups = vector_groups(context.config.num_groups, self.bytes) if context.g.loads_vectors else 1
        # Whole words: what ptxas merges with the other half of a register waits for memory.
        words = ceil_div(self.groups * self.bytes, 4)
        self.words = [T.alloc_local((words,), "uint32") for _ in range(2)]

    def load(self, work_tile: WorkTile, first: Expr) -> None:
        """Emit the loads of the window that begins with group `first`; lanes beyond the row load its last vector."""
        operand = work_tile.of_weight(self.operand)
        vectors = self.context.config.num_groups // self.groups
        vector = T.min(first // self.groups + self.context.lane % QUAD, vectors - 1) if vectors > 1 else T.int32(0)
        for half, words in enumerate(self.words):
            n = scale_row(self.context.config, self.context.row_of_w(work_tile.n0, self.row, half))
            if self.groups == 1:
                value = tirx.reinterpret(f"uint{8 * self.bytes}", operand[n, vector])
                store_local(words, 0, value.astype("uint32"))
                continue
            registers = [words[i] for i in range(int(words.shape[0]))]
            kind = "u32" if len(registers) == 1 else f"v{len(registers)}.u32"
            at = operand.ptr_to([n, vector * self.groups])
            T.evaluate(T.ptx[f"ld.global.nc.{kind}"](*registers, at))

    def distribute(self, first: Expr) -> list[Expr]:
        """Emit the distribution of the four groups from `first` on; return this lane's words."""
        if self.groups == 1:
            words = [words[0] for words in self.words]
            return words if self.bytes == 4 else [_pair(*map(self._half, words))]
        lane = self.context.lane
        source = local("int32", source_lane(lane, first, self.groups))
        element = element_of_lane(lane, self.groups)
        rows = []
        for words in self.words:
            words_of_group = [
                local("uint32", T.tvm_warp_shuffle(T.uint32(0xFFFFFFFF), words[i], source, 32, 32))
                for i in range(int(words.shape[0]))
            ]
            if self.bytes == 1:
                rows.append(self._half(T.shift_right(words_of_group[0], (element * 8).astype("uint32"))))
            elif self.bytes == 4:
                rows.append(T.Select(element == 1, words_of_group[1], words_of_group[0]))
            else:
                rows.append(_permuted(words_of_group[0], words_of_group[-1], half_selector(element).astype("uint32")))
        if self.bytes == 1:
            return [_pair(*rows)]
        return rows if self.bytes == 4 else [_permuted(rows[0], rows[1], T.uint32(0x5410))]

    def _half(self, word: Expr) -> Expr:
        """Return the 16 bits of a number in the low end of a word; of 8 bits, its number of `factor_dtype`."""
        if self.bytes != 1:
            return word
        c = self.context.config
        value = c.scale_format.value(word.astype("uint8"), "float32")
        if factor_dtype(c) == "bfloat16":  # Exact: its upper half.
            return local("uint32", tirx.reinterpret("uint32", value) >> T.uint32(16))
        return local("uint32", tirx.reinterpret("uint16", value.astype("float16")).astype("uint32"))


class _Codes:
    """Packed zero points: the bytes of a group a lane, which has the codes of a thread's two rows."""

    groups = 1
    n0: Expr

    def __init__(self, context: Context, row: int) -> None:
        self.context, self.row = context, row
        # A code may reach into the next byte.
        bits = context.config.W_format.bits
        self.bytes = [T.alloc_local((1 if 8 % bits == 0 else 2,), "uint32") for _ in range(2)]

    def load(self, work_tile: WorkTile, first: Expr) -> None:
        """Emit the loads of groups `first` to `first` + 3."""
        c, zeros = self.context.config, work_tile.of_weight(self.context.inputs.operands.Zeros)
        g = T.min(first + self.context.lane % QUAD, c.num_groups - 1) if c.num_groups > 1 else T.int32(0)
        for half, held in enumerate(self.bytes):
            columns: list[Expr] = []
            n = self.context.row_of_w(work_tile.n0, self.row, half)
            self._code(n, lambda column, columns=columns: columns.append(column) or tirx.const(0, "uint8"))
            for i, column in enumerate(columns):
                inside = T.min(column, c.zeros_shape[1] - 1) if i else column
                store_local(held, i, zeros[g, inside].astype("uint8").astype("uint32"))

    def distribute(self, first: Expr) -> list[Expr]:
        """Return this lane's codes in one word."""
        del first
        codes = []
        for half, held in enumerate(self.bytes):
            indices = iter(range(int(held.shape[0])))
            n = self.context.row_of_w(self.n0, self.row, half)
            codes.append(self._code(n, lambda _, held=held, indices=indices: held[next(indices)].astype("uint8")))
        return [_pair(*codes)]

    def _code(self, n: Expr, load: Any) -> Expr:
        return zero_point(self.context.config, _Row(load), n, 0)


@dataclass(frozen=True)
class _Row:
    """Stands for Zeros where its bytes come from elsewhere: `load` maps columns to them."""

    load: Any

    def __getitem__(self, index: tuple[Expr, Expr]) -> Expr:
        return self.load(index[1])


def _permuted(low: Expr, high: Expr, selector: Expr) -> Expr:
    """Emit the choice of four of the eight bytes of two words, one for each digit of the selector; return the word."""
    result = T.alloc_local((1,), "uint32")
    T.evaluate(T.ptx["prmt.b32"](result[0], low, high, selector))
    return result[0]


def _pair(low: Expr, high: Expr) -> Expr:
    """Return two unsigned numbers of at most 16 bits in a word."""
    return low.astype("uint32") | (high.astype("uint32") << T.uint32(16))


def unpacked(words: Sequence[Expr], config: MatmulConfig, is_zero: bool = False) -> list[Expr]:
    """Return scales or zero points of rows g and g + 8, as `FactorLoads.distribute` has them, in float32."""
    if is_zero and config.has_packed_zeros:
        return [half.astype("float32") for half in _halves(words[0])]
    dtype = factor_dtype(config)
    if dtype == "float32":
        return [tirx.reinterpret(dtype, word) for word in words]
    return [tirx.reinterpret(dtype, half.astype("uint16")).astype("float32") for half in _halves(words[0])]


def _halves(word: Expr) -> list[Expr]:
    return [word & T.uint32(0xFFFF), word >> T.uint32(16)]
