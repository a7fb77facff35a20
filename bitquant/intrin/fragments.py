"""From the words of a weight in the `fragment` layout to the operand registers of tensor cores, in few instructions.

What a decoder may do is bounded by the ALU pipe (LOP3, SHF and PRMT), which on Hopper runs at half the rate of the
pipe of HADD2 and HFMA2, and by the registers that constants take: an instruction holds one immediate number. So an
integer is masked where it stands, and what remains is read as a small float. With M + 1 bits up to the exponent's lowest
(M is 10 in float16, 7 in bfloat16) subnormal and least normal numbers are evenly spaced::

    field q of w bits at bit s of a half, s + w <= M + 1:     (word & mask << s)   is   q * 2^(s - u)

with u = 24 or 133. One multiply-add of pairs gives (q - offset) * 2^(M + 1 - u + ...), the same for every field, exactly;
the power of two is left to the sums, as `RegisterDecoder.value_scale`. Fields farther up share one shift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from tvm import ir, tirx
from tvm.script import tirx as T

from bitquant.dtypes import NumberFormat
from bitquant.errors import ScheduleError
from bitquant.layouts import FragmentLayout

__all__ = ["PairTable", "RegisterDecoder", "RegisterOps", "TirxOps", "decoder_refusal"]

Expr = Any

#: For a type of 16 bits, how many low bits make up a number that is proportional to them, and the value of the lowest.
_LINEAR = {"float16": (11, 2.0**-24), "bfloat16": (8, 2.0**-133)}
#: Its greatest power of two.
_GREATEST_POWER = {"float16": 2.0**15, "bfloat16": 2.0**127}
#: Lanes that read the table at once; each has a copy of its own, in a bank of its own.
_TABLE_COPIES = 32


class RegisterOps(Protocol):
    """What decoding needs beyond the operators of 32-bit unsigned numbers.

    `TirxOps` emits instructions; a test may compute. Pairs are two floats in one register; their constants are bits.
    """

    def hold(self, x: Expr) -> Expr:
        """Return x in a register of its own."""

    def fma(self, x: Expr, mul: int, add: int | Expr, dtype: str) -> Expr:
        """Return the pair x * mul + add, rounded once."""

    def byte_perm(self, x: Expr, y: int | Expr, selector: int) -> Expr:
        """Return PRMT: byte i of the result is byte (selector >> 4i) & 7 of the eight bytes of x (0-3) and y (4-7)."""

    def abs_difference(self, x: Expr, y: int) -> Expr:
        """Return |x - y| of each of four unsigned bytes."""

    def from_e4m3(self, x: Expr, half: int) -> Expr:
        """Return the two float8_e4m3 in half `half` of x as a float16 pair."""

    def widen(self, x: Expr) -> Expr:
        """Return a float16 pair as a bfloat16 pair (of values that bfloat16 holds)."""

    def lookup(self, table: Any, word: Expr, byte: int) -> Expr:
        """Return the entry of a table of 256 pairs that byte `byte` of a word names."""


class TirxOps:
    """Emits TIRx statements into the kernel that is being written."""

    def hold(self, x: Expr) -> Expr:
        """Return x in a register of its own."""
        register = T.alloc_local((1,), "uint32")
        T.buffer_store(register, x, [0])
        return register[0]

    def _emit(self, name: str, *operands: Expr) -> Expr:
        result = T.alloc_local((1,), "uint32")
        T.evaluate(T.ptx[name](result[0], *(T.uint32(x) if isinstance(x, int) else x for x in operands)))
        return result[0]

    def fma(self, x: Expr, mul: int, add: int | Expr, dtype: str) -> Expr:
        """Emit a multiply-add of pairs."""
        return self._emit("fma.rn.f16x2" if dtype == "float16" else "fma.rn.bf16x2", x, mul, add)

    def byte_perm(self, x: Expr, y: int | Expr, selector: int) -> Expr:
        """Return PRMT as an expression."""
        other = T.uint32(y) if isinstance(y, int) else y
        return T.call_pure_extern("uint32", "__byte_perm", x, other, T.uint32(selector))

    def abs_difference(self, x: Expr, y: int) -> Expr:
        """Return the differences of four bytes as an expression."""
        return T.call_pure_extern("uint32", "__vabsdiffu4", x, T.uint32(y))

    def from_e4m3(self, x: Expr, half: int) -> Expr:
        """Emit the conversion of two float8_e4m3 (sm_89)."""
        return self._emit("cvt.rn.f16x2.e4m3x2", (x >> T.uint32(16 * half) if half else x).astype("uint16"))

    def widen(self, x: Expr) -> Expr:
        """Return float16 as bfloat16, through float32, whose upper half it is."""
        halves = [(x & T.uint32(0xFFFF)).astype("uint16"), (x >> T.uint32(16)).astype("uint16")]
        low, high = (
            tirx.reinterpret("uint32", tirx.reinterpret("float16", half).astype("float32")) for half in halves
        )
        return self.byte_perm(low, high, 0x7632)

    def lookup(self, table: PairTable, word: Expr, byte: int) -> Expr:
        """Emit the load of a pair: DP4A takes the byte, scales it and adds the lane's base in one instruction."""
        scale = T.uint32(4 * _TABLE_COPIES << 8 * byte)
        at = T.call_pure_extern("uint32", "__dp4a", word, scale, table.lane_offset)
        return self._emit("ld.shared.u32", table.arena.ptr_to([at.astype("int32")]))


class PairTable:
    """Where a decoder's table of pairs stands in shared memory.

    Entry b, a pair for the two codes of byte b, is stored 32 times, so that no two lanes of a warp meet in a bank.

    Parameters
    ----------
    arena
        The block's shared memory, a uint8 buffer.
    offset
        Of the table in it, in bytes; a multiple of 16.
    lane
        Index of the thread in its warp.
    """

    def __init__(self, arena: Any, offset: int, lane: Expr) -> None:
        self.arena, self.offset = arena, offset
        self.lane_offset = (lane * 4 + offset).astype("uint32")


def decoder_refusal(fmt: NumberFormat, operand: str) -> str | None:
    """Return why values of a format cannot be the tensor cores' left operand in that type, as "needs ... (got ...)".

    ===========================  =======================================================
    operand                      formats
    ===========================  =======================================================
    float16, bfloat16            all of at most 8 bits
    int8                         integers of at most 7 bits, int8
    uint8                        unsigned integers
    float8_e4m3                  integers of at most 4 bits, fp4_e2m1, float8_e4m3
    float8_e5m2                  float8_e5m2
    ===========================  =======================================================
    """
    if fmt.bits > 8:
        return f"needs a format of at most 8 bits (got {fmt.name})"
    if operand in _LINEAR:
        return None
    if operand == "int8":
        fits = fmt.is_integer and (fmt.bits < 8 or fmt.name == "int8")
    elif operand == "uint8":
        fits = fmt.kind == "uint"
    elif operand == "float8_e4m3":
        fits = fmt.name in (operand, "fp4_e2m1") or (fmt.is_integer and fmt.bits <= 4)
    else:
        fits = fmt.name == operand == "float8_e5m2"
    return None if fits else f"needs a format whose values {operand} holds (got {fmt.name})"


# Constants.


def _pair_of(value: float, dtype: str) -> int:
    """Return the bits of two equal floats, which must hold the value exactly."""
    bits = np.float16(value).view(np.uint16) if dtype == "float16" else np.float32(value).view(np.uint32) >> 16
    back = np.float16(value) if dtype == "float16" else np.uint32(int(bits) << 16).view(np.float32)
    if float(back) != value:
        raise ValueError(f"{value} is no {dtype}")
    return int(bits) * 0x10001


def _word(value: int, like: Expr) -> Expr:
    """Return a 32-bit constant that combines with `like`, a TVM expression or a NumPy array."""
    return T.uint32(value) if isinstance(like, ir.Expr) else np.uint32(value)


def _right(x: Expr, count: int) -> Expr:
    """Return x >> count; a shift to the left where count is negative."""
    if count == 0:
        return x
    return x >> _word(count, x) if count > 0 else x << _word(-count, x)


class RegisterDecoder:
    """Decodes the registers of a weight tile: value = value_scale * number - value_offset, exactly.

    Parameters
    ----------
    fmt
        Format of the weight.
    layout
        How it is stored.
    operand
        Type of the left operand: float16, bfloat16, int8, uint8, float8_e4m3 or float8_e5m2. Types of 16 bits go with
        layouts of either width of operands.
    arch_capability
        Compute capability of the device, for example 90.

    Attributes
    ----------
    value_scale
        A power of two.
    value_offset
        Other than 0 only for signed integers of fewer than 8 bits in int8 operands, whose sums are corrected by
        value_offset * sum_k a_k.
    registers
        Operand registers for one register of the layout: 2 where the layout's operands have 8 bits and these have 16,
        for values (k, k + 1) and (k + 2, k + 3); else 1.
    table_bytes
        Shared memory that a table of pairs takes (nf4), else 0.

    Raises
    ------
    ScheduleError
        As `decoder_refusal` says.
    """

    def __init__(self, fmt: NumberFormat, layout: FragmentLayout, operand: str, arch_capability: int) -> None:
        if (refusal := decoder_refusal(fmt, operand)) is not None:
            raise ScheduleError(f"operand {operand!r} {refusal}", fmt=fmt.name, operand=operand)
        self.fmt, self.layout, self.operand = fmt, layout, operand
        self.capability = arch_capability
        self.is_pair = operand in _LINEAR
        self.registers = 2 if self.is_pair and layout.operand_bits == 8 else 1
        self.has_table = fmt.codebook is not None and fmt.name != "fp4_e2m1"
        self.table_bytes = 256 * 4 * _TABLE_COPIES if self.has_table else 0
        self.value_scale, self.value_offset = self._meaning()
        self._ops = TirxOps()
        self._decode: Callable[[Fields, int, Any, RegisterOps], Expr] = self._method()

    def _meaning(self) -> tuple[float, float]:
        fmt, operand = self.fmt, self.operand
        if fmt.name == "fp4_e2m1":
            return {"float16": 2.0**14, "bfloat16": 1.0, "float8_e4m3": 2.0**6}[operand], 0.0
        if fmt.name == "float8_e4m3" and self.is_pair:
            return 1.0 if self.capability >= 89 else 2.0**8, 0.0
        if self.is_pair and fmt.is_integer:
            # A field at bit 0 of the highest plane is multiplied by the greatest power of two there is.
            unit = _LINEAR[operand][1] * _GREATEST_POWER[operand]
            return 2.0 ** self.layout.planes[-1].shift / unit * (2 if fmt.name == "int1" else 1), 0.0
        if operand == "float8_e4m3" and fmt.is_integer and fmt.name != "int1":
            return 2.0**9, 0.0
        if operand == "int8" and fmt.code_offset:
            return (2.0, 1.0) if fmt.name == "int1" else (1.0, float(fmt.code_offset))
        return 1.0, 0.0

    def _method(self) -> Callable[[Fields, int, Any, RegisterOps], Expr]:
        fmt = self.fmt
        if self.has_table:
            return self._looked_up
        if self.is_pair:
            if fmt.name == "fp4_e2m1":
                return self._fp4_pair
            if fmt.kind == "float":
                return self._float8_pair
            return self._integer_pair
        if fmt.bits == 8:
            return lambda fields, half, table, ops: fields[0][0]
        if fmt.name == "fp4_e2m1":
            return self._fp4_bytes
        if self.operand == "float8_e4m3" and fmt.kind == "int":
            return self._signed_float8
        return self._codes

    def decode(self, words: Sequence[Any], r: int, table: Any = None, ops: RegisterOps | None = None) -> list[Expr]:
        """Return the operand registers of register `r` of a tile, as 32-bit unsigned numbers.

        Statements are emitted where plain expressions will not do.

        Parameters
        ----------
        words
            For each plane this lane's words of the tile: a sequence, a buffer, or a function of the index.
        r
            Register of the layout, 0 ... `layout.registers` - 1.
        table
            For nf4 the `PairTable` that `fill_table` has filled.
        ops
            Computes instead of emitting.
        """
        fields: Fields = []
        for plane, part in zip(self.layout.planes, words, strict=True):
            word, bit = self.layout.bit_position(plane, r, 0)
            fields.append((part[word] if hasattr(part, "__getitem__") else part(word), bit))
        ops = self._ops if ops is None else ops
        return [ops.hold(self._decode(fields, half, table, ops)) for half in range(self.registers)]

    # Pairs of 16-bit floats.

    def _byte_pair(self, bit: int, half: int) -> tuple[int, int]:
        """Return the two bytes of a word that hold the fields of a pair; for `registers` = 2, those of pair `half`."""
        first = bit // 8
        return (2 * half, 2 * half + 1) if self.registers == 2 else (first, first + 2)

    def _spread(self, fields: Fields, half: int, ops: RegisterOps) -> Fields:
        """Return fields of which those of a pair stand in the two halves of a word."""
        if self.registers == 1:
            return fields
        selector = 0x4140 if half == 0 else 0x4342
        return [(ops.byte_perm(word, 0, selector), bit) for word, bit in fields]

    def _integer_pair(self, fields: Fields, half: int, table: Any, ops: RegisterOps) -> Expr:
        fmt, dtype = self.fmt, self.operand
        # value = step * code - offset
        step, offset = (2, 1) if fmt.name == "int1" else (1, 128 if fmt.name == "int8" else fmt.code_offset)
        linear, unit = _LINEAR[dtype]
        total: int | Expr = _pair_of(-offset / self.value_scale, dtype) if offset else 0
        for field, plane in zip(reversed(fields), reversed(self.layout.planes), strict=True):
            x, at = self._masked(field, plane.bits, linear, half, ops)
            mul = step * 2.0 ** (plane.shift - at) / unit / self.value_scale
            total = ops.fma(x, _pair_of(mul, dtype), total, dtype)
        return total

    def _masked(self, field: Field, bits: int, linear: int, half: int, ops: RegisterOps) -> tuple[Expr, int]:
        """Return the pair of fields alone in a register, and their bit in its halves."""
        word, bit = field
        if bits == 8:
            low, high = self._byte_pair(bit, half)
            # Two's complement with the sign bit flipped is the value + 128.
            source = word ^ _word(0x80808080, word) if self.fmt.kind == "int" else word
            return ops.byte_perm(source, 0, low | 0x4040 | high << 8), 0
        (word, bit) = self._spread([field], half, ops)[0]
        # Past the last field that the linear range holds, all are shifted by its position.
        shift = linear // bits * bits if bit + bits > linear else 0
        moved = _right(word, shift)
        return moved & _word(((1 << bits) - 1 << bit - shift) * 0x10001, moved), bit - shift

    def _float8_pair(self, fields: Fields, half: int, table: Any, ops: RegisterOps) -> Expr:
        word, bit = fields[0]
        low, high = self._byte_pair(bit, half)
        if self.fmt.name == "float8_e5m2":  # The upper byte of a float16.
            x = ops.byte_perm(word, 0, low << 4 | high << 12 | 0x0404)
        elif self.capability >= 89:
            if self.registers == 2:
                x = ops.from_e4m3(word, half)
            else:
                x = ops.from_e4m3(ops.byte_perm(word, 0, 0x3120), bit // 8)
        else:
            upper = ops.byte_perm(word, 0, low << 4 | high << 12 | 0x0404)
            x = ((upper >> _word(1, upper)) & _word(0x3F803F80, upper)) | (upper & _word(0x80008000, upper))
            # The codes 0x7f and 0xff, NaN, are now 1.875, the others at most 1.75. Only 1.875 * 36000 overflows, and
            # infinity * 0 + x is NaN.
            x = ops.hold(x)
            huge = ops.fma(x, _pair_of(36000.0, "float16"), 0x80008000, "float16")
            x = ops.fma(huge, 0, x, "float16")
        return x if self.operand == "float16" else ops.widen(ops.hold(x))

    def _fp4_pair(self, fields: Fields, half: int, table: Any, ops: RegisterOps) -> Expr:
        """Exponent and mantissa beside each other at the right place, and the sign carried to the top by an addition."""
        (word, bit) = self._spread(fields, half, ops)[0]
        at = _LINEAR[self.operand][0] - 2  # Of the mantissa's only bit; two bits of exponent follow, then, for now, the sign.
        if bit == 12:
            x = (word & _word(0x80008000, word)) | ((word >> _word(bit - at, word)) & _word((7 << at) * 0x10001, word))
        else:
            if bit > at:
                word, bit = word >> _word(8, word), bit - 8
            code = word & _word((15 << bit) * 0x10001, word)
            carry = ((1 << 15) - (1 << at + 3)) * 0x10001
            x = code * _word(1 << at - bit, word) + _word(carry, word)
            x = x & _word((1 << 15 | 7 << at) * 0x10001, word)
        if self.operand == "float16":
            return x
        # The product would lose bits in the sums of float32 if it stayed 2^-126 as great.
        return ops.fma(ops.hold(x), _pair_of(2.0**126, "bfloat16"), 0x80008000, "bfloat16")

    def _looked_up(self, fields: Fields, half: int, table: Any, ops: RegisterOps) -> Expr:
        word, bit = fields[0]
        return ops.lookup(table, word, bit // 8 + half)

    # Four bytes.

    def _codes(self, fields: Fields, half: int, table: Any, ops: RegisterOps) -> Expr:
        """Codes as bytes. As float8_e4m3 a code of 4 bits is 2^-9 times itself: from 8 on the exponent is 1, not 0."""
        merged = None
        for (word, bit), plane in zip(fields, self.layout.planes, strict=True):
            moved = _right(word, bit - plane.shift)
            part = moved & _word(((1 << plane.bits) - 1 << plane.shift) * 0x01010101, moved)
            merged = part if merged is None else part | merged
        return merged

    def _signed_float8(self, fields: Fields, half: int, table: Any, ops: RegisterOps) -> Expr:
        """Sign and magnitude of code - offset; the sign is the code's top bit, inverted."""
        word, bit = fields[-1]
        upper = _right(word, bit + self.layout.planes[-1].bits - 8)
        sign = _word(0x80808080, upper)
        if self.fmt.name == "int1":
            return (upper & sign) ^ _word(0xB8B8B8B8, upper)
        magnitude = ops.abs_difference(self._codes(fields, half, table, ops), self.fmt.code_offset * 0x01010101)
        return magnitude | (~upper & sign)

    def _fp4_bytes(self, fields: Fields, half: int, table: Any, ops: RegisterOps) -> Expr:
        """As in `_fp4_pair`, with the mantissa's bit at 2."""
        word, bit = fields[0]
        if bit:
            return (word & _word(0x80808080, word)) | ((word >> _word(2, word)) & _word(0x1C1C1C1C, word))
        code = word & _word(0x0F0F0F0F, word)
        return (code * _word(4, word) + _word(0x60606060, word)) & _word(0x9C9C9C9C, word)

    # The table.

    def pair_values(self) -> np.ndarray:
        """Return the table: for each byte the pair of its two codes' values, uint32 of shape (256,)."""
        codebook = np.asarray(self.fmt.codebook, dtype=np.float32)
        byte = np.arange(256)
        bits = _float_bits(codebook, self.operand)
        return (bits[byte & 15] | bits[byte >> 4] << np.uint32(16)).astype(np.uint32)

    def fill_table(self, arena: Any, offset: int, thread: Expr, threads: int) -> None:
        """Emit the making of the table by all threads of a block; a barrier must follow.

        Parameters
        ----------
        arena, offset
            As for `PairTable`.
        thread, threads
            Index of the thread, and their number.
        """
        assert self.fmt.codebook is not None
        bits = [int(b) for b in _float_bits(np.asarray(self.fmt.codebook, dtype=np.float32), self.operand)]
        vectors = self.table_bytes // 16
        per_entry = vectors // 256
        with T.serial(-(-vectors // threads)) as step:
            index = step * threads + thread
            byte = index // per_entry
            pair = _selected(bits, byte) | _selected([b << 16 for b in bits], byte // 16)
            value = self._ops.hold(pair)
            store = T.ptx["st.shared.v4.u32"](arena.ptr_to([offset + index * 16]), value, value, value, value)
            if vectors % threads == 0:
                T.evaluate(store)
            else:
                with T.If(index < vectors), T.Then():
                    T.evaluate(store)


#: For each plane the word that holds a register's fields, and the position of the first of them.
Fields = list[tuple[Expr, int]]


def _float_bits(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return float32 values rounded to nearest even, as bits in uint32."""
    if dtype == "float16":
        return values.astype(np.float16).view(np.uint16).astype(np.uint32)
    bits = values.view(np.uint32)
    return (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)


def _selected(constants: Sequence[int], index: Expr) -> Expr:
    """Return constants[index % len(constants)] by selects on the bits of the index."""
    if len(constants) == 1:
        return T.uint32(constants[0])
    half = len(constants) // 2
    return T.Select(
        index // half % 2 == 1, _selected(constants[half:], index), _selected(constants[:half], index)
    )
