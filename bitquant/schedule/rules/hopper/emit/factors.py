"""Scales and zero points of the wgmma kernel on their way from memory to registers.

The four lanes that share rows g and g + 8 of a block of 64 rows of W read consecutive groups of these rows. Each loads
a *vector* of 1, 2 or 4 groups of a row, the four of them a *span*: with 8 bytes a lane that is a sector of L2, which is
fetched once. Every four groups (a *turn*) the lanes whose vectors have them deal them out, a group to a lane, so that
each lane prepares one; `Kernel.from_group` passes them on as groups begin. With a span's last turn its registers are
free, and take the next span, which is then four groups ahead of its use.

What is loaded stays as it is until its turn: a conversion that follows its load waits for memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.matmul import zero_point
from bitquant.config import MatmulConfig
from bitquant.intrin.mma import local, store_local
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.hopper.tiles import hint_registers, needed_registers, sum_sets

if TYPE_CHECKING:
    from bitquant.schedule.rules.hopper.emit.kernel import Kernel

__all__ = [
    "TURN",
    "FactorLoads",
    "element_of_lane",
    "half_selector",
    "has_room",
    "source_lane",
    "unpacked",
    "vector_groups",
]

Expr = Any

#: Lanes that share rows, and groups that they deal out at a time.
TURN = 4
#: Bytes of a lane's vector of one row: the four lanes' are a sector of L2.
VECTOR_BYTES = 8


def has_room(config: MatmulConfig, hint: WgmmaHint) -> bool:
    """Return whether registers allow vectors: a word more for each row and operand than a group a lane takes."""
    words = 2 * (config.with_scaling + (config.with_zeros and not config.has_packed_zeros)) * hint.rows
    sets = sum_sets(config, hint) if hint.scaling == "sums" else 1
    return needed_registers(config, hint, sets) + words <= hint_registers(hint)[1]


# Index maps, of Python's integers or TVM's expressions.


def vector_groups(num_groups: int, element_bytes: int) -> int:
    """Return the groups in a vector: as many as 8 bytes hold and alignment of rows allows, a power of two.

    Vectors divide a row, so that none reaches beyond it. One turn alone needs no more than a group a lane.
    """
    groups = VECTOR_BYTES // element_bytes if num_groups > TURN else 1
    while num_groups % groups:
        groups //= 2
    return groups


def source_lane(lane: Expr, first: Expr, groups: int) -> Expr:
    """Return the lane whose vector of `groups` has the group that `lane` gets in the turn that begins with `first`.

    That is group `first` + `lane` % 4; `first` is a multiple of 4.
    """
    return lane // TURN * TURN + first % (TURN * groups) // groups + lane % TURN // groups


def element_of_lane(lane: Expr, groups: int) -> Expr:
    """Return the place in its vector of the group that `lane` gets in any turn."""
    return lane % TURN % groups


def half_selector(element: Expr) -> Expr:
    """Return the selector of PRMT that puts element 0 to 3 of 16 bits of two words into the low half of another."""
    return element * 0x22 + 0x10


# Emission.


class FactorLoads:
    """Scales and zero points of a thread's two rows of a row block, as they are stored.

    Parameters
    ----------
    kernel
        The kernel, with its operands bound.
    row
        The row block.
    """

    def __init__(self, kernel: Kernel, row: int) -> None:
        self.kernel, self.row = kernel, row
        c = kernel.config
        self.scale = _Vectors(kernel, row, kernel.Scale) if c.with_scaling else None
        self.zero: _Vectors | _Codes | None = None
        if c.with_zeros:
            self.zero = _Codes(kernel, row) if c.has_packed_zeros else _Vectors(kernel, row, kernel.Zeros)
        self.operands = [operand for operand in (self.scale, self.zero) if operand is not None]

    def begin(self, group: Expr) -> None:
        """Emit the loads of the spans that have `group`."""
        for operand in self.operands:
            span = TURN * operand.groups
            operand.load(group // span * span)

    def deal(self, first: Expr) -> tuple[list[Expr] | None, list[Expr] | None]:
        """Emit the turn of groups `first` to `first` + 3, one a lane; return scale and zero point as words.

        Those of 32 bits are two words, of rows g and g + 8, others one word with row g's low and row g + 8's high.
        """

        def dealt(operand: _Vectors | _Codes | None) -> list[Expr] | None:
            # Variables of their own: the next loads go to the registers of these.
            return operand and [local("uint32", word) for word in operand.deal(first)]

        return dealt(self.scale), dealt(self.zero)

    def follow(self, first: Expr) -> None:
        """Emit the loads of the next span where the turn of `first` was its span's last."""
        num_groups = self.kernel.config.num_groups
        for groups in sorted({operand.groups for operand in self.operands}):
            span = TURN * groups
            if num_groups <= span:
                continue
            loading = [operand for operand in self.operands if operand.groups == groups]
            if groups == 1:
                for operand in loading:
                    operand.load(first + TURN)
            else:
                with T.If(first % span == span - TURN), T.Then():
                    for operand in loading:
                        operand.load(first + TURN)


class _Vectors:
    """Vectors of an operand of (N, num_groups) floats: one of each of a thread's two rows."""

    def __init__(self, kernel: Kernel, row: int, operand: Any) -> None:
        self.kernel, self.row, self.operand = kernel, row, operand
        self.bytes = kernel.config.scale_format.bits // 8
        has_vectors = has_room(kernel.config, kernel.hint)
        self.groups = vector_groups(kernel.config.num_groups, self.bytes) if has_vectors else 1
        # Whole words: what ptxas merges with the other half of a register waits for memory.
        words = -(-self.groups * self.bytes // 4)
        self.words = [T.alloc_local((words,), "uint32") for _ in range(2)]

    def load(self, first: Expr) -> None:
        """Emit the loads of the span that begins with group `first`; lanes beyond the row load its last vector."""
        vectors = self.kernel.config.num_groups // self.groups
        vector = T.min(first // self.groups + self.kernel.lane % TURN, vectors - 1) if vectors > 1 else T.int32(0)
        for half, words in enumerate(self.words):
            n = self.kernel.row_of_w(self.row, half)
            if self.groups == 1:
                value = tirx.reinterpret(f"uint{8 * self.bytes}", self.operand[n, vector])
                store_local(words, 0, value.astype("uint32"))
                continue
            registers = [words[i] for i in range(int(words.shape[0]))]
            kind = "u32" if len(registers) == 1 else f"v{len(registers)}.u32"
            at = self.operand.ptr_to([n, vector * self.groups])
            T.evaluate(T.ptx[f"ld.global.nc.{kind}"](*registers, at))

    def deal(self, first: Expr) -> list[Expr]:
        """Emit the turn of `first`; return its words."""
        if self.groups == 1:
            words = [words[0] for words in self.words]
            return words if self.bytes == 4 else [_pair(*words)]
        kernel = self.kernel
        source = local("int32", source_lane(kernel.lane, first, self.groups))
        element = element_of_lane(kernel.lane, self.groups)
        rows = []
        for words in self.words:
            dealt = [
                local("uint32", T.tvm_warp_shuffle(T.uint32(0xFFFFFFFF), words[i], source, 32, 32))
                for i in range(int(words.shape[0]))
            ]
            if self.bytes == 4:
                rows.append(T.Select(element == 1, dealt[1], dealt[0]))
            else:
                rows.append(_permuted(dealt[0], dealt[-1], half_selector(element).astype("uint32")))
        return rows if self.bytes == 4 else [_permuted(*rows, T.uint32(0x5410))]


class _Codes:
    """Packed zero points: the bytes of a group a lane, which has the codes of a thread's two rows."""

    groups = 1

    def __init__(self, kernel: Kernel, row: int) -> None:
        self.kernel, self.row = kernel, row
        # A code may reach into the next byte.
        bits = kernel.config.W_format.bits
        self.bytes = [T.alloc_local((1 if 8 % bits == 0 else 2,), "uint32") for _ in range(2)]

    def load(self, first: Expr) -> None:
        """Emit the loads of groups `first` to `first` + 3."""
        c = self.kernel.config
        g = T.min(first + self.kernel.lane % TURN, c.num_groups - 1) if c.num_groups > 1 else T.int32(0)
        for half, held in enumerate(self.bytes):
            columns: list[Expr] = []
            self._code(half, lambda column, columns=columns: columns.append(column) or tirx.const(0, "uint8"))
            for i, column in enumerate(columns):
                inside = T.min(column, c.zeros_shape[1] - 1) if i else column
                store_local(held, i, self.kernel.Zeros[g, inside].astype("uint8").astype("uint32"))

    def deal(self, first: Expr) -> list[Expr]:
        """Return this lane's codes in one word."""
        del first
        codes = []
        for half, held in enumerate(self.bytes):
            places = iter(range(int(held.shape[0])))
            codes.append(self._code(half, lambda _, held=held, places=places: held[next(places)].astype("uint8")))
        return [_pair(*codes)]

    def _code(self, half: int, load: Any) -> Expr:
        return zero_point(self.kernel.config, _Row(load), self.kernel.row_of_w(self.row, half), 0)


@dataclass(frozen=True)
class _Row:
    """Stands for Zeros where its bytes come from elsewhere: `load` maps columns to them."""

    load: Any

    def __getitem__(self, place: tuple[Expr, Expr]) -> Expr:
        return self.load(place[1])


def _permuted(low: Expr, high: Expr, selector: Expr) -> Expr:
    """Emit the choice of four of the eight bytes of two words, one for each digit of the selector; return the word."""
    result = T.alloc_local((1,), "uint32")
    T.evaluate(T.ptx["prmt.b32"](result[0], low, high, selector))
    return result[0]


def _pair(low: Expr, high: Expr) -> Expr:
    """Return two unsigned numbers of at most 16 bits in a word."""
    return low.astype("uint32") | (high.astype("uint32") << T.uint32(16))


def unpacked(words: Sequence[Expr], config: MatmulConfig, is_zero: bool = False) -> list[Expr]:
    """Return scales or zero points of rows g and g + 8, as `FactorLoads.deal` has them, in float32."""
    if is_zero and config.has_packed_zeros:
        return [half.astype("float32") for half in _halves(words[0])]
    dtype = config.scale_format.tvm_dtype
    if dtype == "float32":
        return [tirx.reinterpret(dtype, word) for word in words]
    return [tirx.reinterpret(dtype, half.astype("uint16")).astype("float32") for half in _halves(words[0])]


def _halves(word: Expr) -> list[Expr]:
    return [word & T.uint32(0xFFFF), word >> T.uint32(16)]
