"""From the words of a weight in the `fragment` layout to the operand registers of tensor cores, in few instructions.

Two things bound a decoder. The ALU pipe (LOP3, SHF, PRMT) runs on Hopper at half the rate of the pipe of HFMA2; and an
instruction holds one constant, any other takes a register. So an integer is masked where it stands in its half of a
word and read, as it is, as a 16-bit float. Its low M bits, 11 in float16 and 8 in bfloat16, are the mantissa and the
least bit of the exponent, and the number is proportional to them: subnormal and least normal numbers are evenly spaced,
by u = 2^-24 or 2^-133. One multiply-add of pairs does the rest, exactly, with p the type's greatest power of two::

    field q at bit s of a half, below bit M:    word & mask                                   is  q * 2^s * u
                                                (word & mask) * (p / 2^s) - offset * p * u    is  (q - offset) * p * u

The factor p * u is the same for all fields and left to the sums (`RegisterDecoder.value_scale`). Fields that end above
bit M share one shift.

In float16 the multiply-add can be left to the sums as well, *in place*: tensor cores multiply subnormal numbers exactly
and add in float32, so that sums of `word & mask` are those of q, times 2^s * u. The factor 2^s differs from register
to register (`RegisterDecoder.exponent`), and who adds products must keep apart what has different factors. Codes of
several planes are put together by one multiply-add for each plane but the first, in the place of the first. (In
bfloat16 the products would be too small for float32.)

Two codes of 4 bits that share a byte belong to rows g and g + 8 of one k. There the byte as it is may stand for the
lower code (`RegisterDecoder.shares_bytes`): what is too much in the sum of row g is the sum of row g + 8, and the upper
byte of each half needs no mask after its shift, which is a byte permutation.

Levels that are not evenly spaced are looked up in shared memory, two at a time (`PairTable`): two instructions a
register. Where much else is read from shared memory, some of them are better *permuted* in registers: a PRMT whose
selector is four codes picks a byte of each of four levels of eight. For two registers that takes 7 instructions with
levels that differ by their sign alone from those of the codes 8 less, as fp4_e2m1's in float16, and 12 with any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from bitquant.dtypes import NumberFormat
from bitquant.errors import ScheduleError
from bitquant.intrin.mma import MINUS_ZERO_PAIR, fma_pair, local, pair_of, word_like
from bitquant.layouts import FragmentLayout

__all__ = [
    "PairTable",
    "RegisterDecoder",
    "RegisterOps",
    "TirxOps",
    "decoder_refusal",
    "in_place_refusal",
    "permuted_words",
    "select_constant",
    "table_vectors",
]

Expr = Any
#: The word that holds a register's codes, or a plane's part of them, and the bit where the first of them begins.
Field = tuple[Expr, int]

#: M, u and p of the module's text for each 16-bit type.
_LINEAR = {"float16": (11, 2.0**-24, 2.0**15), "bfloat16": (8, 2.0**-133, 2.0**127)}
#: In place, fields in the upper bits of a half are shifted down by this much: all planes' widths divide it.
_IN_PLACE_BITS = 8
#: Lanes that read a table at once; each has a copy of its own, in a bank of its own.
_TABLE_COPIES = 32
#: What `permuted_words` returns: by whether the upper eight levels are the lower ones' negatives, and by `is_busy`.
_PERMUTED_WORDS = {True: (2, 1), False: (0, 2)}

_FROM_E4M3 = """
__forceinline__ __device__ unsigned bitquant_half2_from_e4m3_{half}(unsigned x) {{
  unsigned y;
  asm("{{ .reg .b16 low, high; mov.b32 {{low, high}}, %1; cvt.rn.f16x2.e4m3x2 %0, {half}; }}" : "=r"(y) : "r"(x));
  return y;
}}
"""

_PERMUTE = """
__forceinline__ __device__ unsigned bitquant_prmt(unsigned x, unsigned y, unsigned selector) {
  unsigned z;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(z) : "r"(x), "r"(y), "r"(selector));
  return z;
}
"""


class RegisterOps(Protocol):
    """What decoding needs beyond the operators of 32-bit unsigned numbers.

    A pair is two 16-bit floats in a register; constant pairs are given as bits.
    """

    def hold(self, x: Expr) -> Expr:
        """Return x in a register of its own."""

    def bits(self, x: Expr) -> Expr:
        """Return the bits of a float32 as a 32-bit unsigned number."""

    def mask(self, bits: int, x: Expr) -> Expr:
        """Return a mask for x, for an operation that has another constant besides."""

    def fma(self, x: Expr, mul: int | Expr, add: int | Expr, dtype: str) -> Expr:
        """Return the pair x * mul + add, rounded once."""

    def byte_perm(self, x: Expr, y: int | Expr, selector: int | Expr) -> Expr:
        """Return PRMT: byte i is byte (selector >> 4i) & 7 of the eight of x (0 to 3) and y (4 to 7).

        A selector that is not a constant has 0 in bits 4i + 3.
        """

    def repeat_signs(self, x: Expr) -> Expr:
        """Return PRMT: byte i is 255 where the highest bit of byte i is set, else 0."""

    def abs_difference(self, x: Expr, y: int) -> Expr:
        """Return |x - y| of each of four unsigned bytes."""

    def from_e4m3(self, x: Expr, half: int) -> Expr:
        """Return the two float8_e4m3 in half `half` of x as a float16 pair."""

    def widen(self, x: Expr) -> Expr:
        """Return a float16 pair as a bfloat16 pair (of values that bfloat16 holds)."""

    def lookup(self, table: Any, word: Expr, byte: int) -> Expr:
        """Return the entry of a table of 256 pairs that byte `byte` of a word names."""


class TirxOps:
    """Emits TIRx statements into the kernel that is being written (see `RegisterOps`)."""

    def hold(self, x: Expr) -> Expr:
        """Emit a copy."""
        return local(x.ty.dtype, x)

    def bits(self, x: Expr) -> Expr:
        """Return the bits of a float32 as an expression."""
        return tirx.reinterpret("uint32", x)

    def mask(self, bits: int, x: Expr) -> Expr:
        """Return the constant."""
        return word_like(bits, x)

    def _emit(self, name: str, *operands: int | Expr) -> Expr:
        """Emit an instruction with one result."""
        result = T.alloc_local((1,), "uint32")
        T.evaluate(T.ptx[name](result[0], *(T.uint32(x) if isinstance(x, int) else x for x in operands)))
        return result[0]

    def fma(self, x: Expr, mul: int | Expr, add: int | Expr, dtype: str) -> Expr:
        """Emit a multiply-add of pairs (bfloat16 from sm_80)."""
        return fma_pair(x, *(T.uint32(y) if isinstance(y, int) else y for y in (mul, add)), dtype)

    def byte_perm(self, x: Expr, y: int | Expr, selector: int | Expr) -> Expr:
        """Return PRMT as an expression, in PTX where CUDA's intrinsic would mask the selector."""
        other = T.uint32(y) if isinstance(y, int) else y
        if isinstance(selector, int):
            return T.call_pure_extern("uint32", "__byte_perm", x, other, T.uint32(selector))
        return self._permuted(x, other, selector)

    def repeat_signs(self, x: Expr) -> Expr:
        """Return PRMT as an expression."""
        return self._permuted(x, T.uint32(0), T.uint32(0xBA98))

    def _permuted(self, x: Expr, y: Expr, selector: Expr) -> Expr:
        """Return PRMT in PTX as an expression; the same one twice is computed once."""
        return T.cuda.func_call("bitquant_prmt", x, y, selector, source_code=_PERMUTE, return_type="uint32")

    def abs_difference(self, x: Expr, y: int) -> Expr:
        """Return VABSDIFF4 as an expression."""
        return T.call_pure_extern("uint32", "__vabsdiffu4", x, T.uint32(y))

    def from_e4m3(self, x: Expr, half: int) -> Expr:
        """Return the conversion as an expression (sm_89); naming the half in PTX saves the shift."""
        part = "high" if half else "low"
        name, source = f"bitquant_half2_from_e4m3_{part}", _FROM_E4M3.format(half=part)
        return T.cuda.func_call(name, x, source_code=source, return_type="uint32")

    def widen(self, x: Expr) -> Expr:
        """Return the conversion as an expression, by way of float32, whose upper half is bfloat16."""
        halves = [(x & T.uint32(0xFFFF)).astype("uint16"), (x >> T.uint32(16)).astype("uint16")]
        low, high = (tirx.reinterpret("uint32", tirx.reinterpret("float16", half).astype("float32")) for half in halves)
        return self.byte_perm(low, high, 0x7632)

    def lookup(self, table: PairTable, word: Expr, byte: int) -> Expr:
        """Emit the load: DP4A picks the byte, scales it and adds the lane's address in one instruction (sm_61)."""
        scale = T.uint32(4 * _TABLE_COPIES << 8 * byte)
        offset = T.call_pure_extern("uint32", "__dp4a", word, scale, table.lane_offset)
        return self._emit("ld.shared.u32", table.arena.ptr_to([offset.astype("int32")]))


class PairTable:
    """Where a decoder's table of pairs stands in shared memory, for one lane.

    The entry of byte b, a pair of values for the codes in its low and high 4 bits, stands at byte 128 * b + 4 * lane of
    the table, 32 times in all, so that no two lanes of a warp meet in a bank.

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
        self.arena = arena
        self.lane_offset = (lane * 4 + offset).astype("uint32")


def decoder_refusal(fmt: NumberFormat, operand: str) -> str | None:
    """Return why values of a format cannot be the tensor cores' left operand in that type, as "needs ... (got ...)".

    ===================  ====================================================
    operand              formats
    ===================  ====================================================
    float16, bfloat16    all of at most 8 bits
    int8                 int8, integers of at most 7 bits
    uint8                unsigned integers
    float8_e4m3          float8_e4m3, fp4_e2m1, integers of at most 4 bits
    float8_e5m2          float8_e5m2
    ===================  ====================================================
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


def permuted_words(fmt: NumberFormat, layout: FragmentLayout, is_busy: bool) -> int:
    """Return the `permutes` with which a `RegisterDecoder` is fast, as measured on H200s (docs/kernels.md).

    Parameters
    ----------
    fmt, layout
        Format of the weight, and how it is stored.
    is_busy
        Whether the tensor cores read their other operand from shared memory most of the time.
    """
    if not layout.is_adjacent or fmt.codebook is None:
        return 0
    has_signs = all(low == -high for low, high in zip(fmt.codebook[:8], fmt.codebook[8:], strict=True))
    return _PERMUTED_WORDS[has_signs][is_busy]


def in_place_refusal(fmt: NumberFormat, operand: str) -> str | None:
    """Return why values of a format cannot be decoded in place (see the module), as "needs ... (got ...)"."""
    if operand != "float16":
        return f"needs an operand of type float16 (got {operand})"
    if not fmt.is_integer or fmt.bits > 7:
        return f"needs integers of at most 7 bits (got {fmt.name})"
    return None


@dataclass(frozen=True)
class _Source:
    """What one operand register is decoded from.

    `word` is the place of its word in a lane's part of the tile (of the last plane), `half` the pair wanted of a
    register's four codes.
    """

    fields: Sequence[Field]
    word: int
    half: int
    ops: RegisterOps
    table: Any


class RegisterDecoder:
    """Decodes the registers of a weight tile, exactly: value = value_scale * 2^-exponent(r) * number - value_offset.

    Only nf4's values are rounded, to the nearest number of the operand's type.

    Parameters
    ----------
    fmt
        Format of the weight.
    layout
        How it is stored.
    operand
        Type of the tensor cores' left operand: float16, bfloat16, int8, uint8, float8_e4m3 or float8_e5m2. Types of 8
        bits go with a layout for operands of 8 bits, those of 16 with either.
    arch_capability
        Compute capability of the device times ten, for example 90.
    in_place
        Decode in place (see the module): numbers of different registers r differ by a factor, 2^exponent(r).
    fills_bytes
        Whether signed integers of fewer than 8 bits, as int8, stand at the top of their bytes: then there is no offset,
        and numbers are up to 128 in magnitude. Else they are their codes.
    shares_bytes
        For 4 bits in place: the number of an even register r is too great by that of register r + 1. Sums of products
        of row g + 8 must be subtracted from those of row g.
    permutes
        Of every so many words one has the values of its lower two bytes permuted (see the module), and not looked up;
        0: none has. `permuted_words` says what is fast.

    Attributes
    ----------
    value_scale
        A power of two.
    value_offset
        Not 0 only for signed integers of fewer than 8 bits, in place or as int8 without `fills_bytes`: sums are
        corrected by value_offset * sum_k a_k.
    registers
        Operand registers a register of the layout: 2 where the layout's operands have 8 bits and these have 16, the
        first for values e = 0, 1 and the second for e = 2, 3; else 1.
    has_table, table_bytes
        Whether values are looked up in a `PairTable`, as the layout is made for, and the shared memory that it takes.

    Raises
    ------
    ScheduleError
        As `decoder_refusal` and `in_place_refusal` say, or if operand, format and layout do not go together.
    """

    def __init__(
        self,
        fmt: NumberFormat,
        layout: FragmentLayout,
        operand: str,
        arch_capability: int,
        *,
        in_place: bool = False,
        fills_bytes: bool = False,
        shares_bytes: bool = False,
        permutes: int = 0,
    ) -> None:
        is_pair = operand in _LINEAR
        refusal = decoder_refusal(fmt, operand)
        if refusal is None and not is_pair and layout.operand_bits != 8:
            refusal = f"needs a layout for operands of 8 bits (got {layout.operand_bits})"
        if refusal is None and in_place:
            refusal = in_place_refusal(fmt, operand)
        if refusal is None and shares_bytes and not (in_place and fmt.bits == 4 and layout.operand_bits == 16):
            refusal = f"needs in_place and a layout of 4 bits for operands of 16 to share bytes (got {fmt.name})"
        if refusal is None and layout.is_adjacent and not (is_pair and fmt.codebook is not None):
            refusal = f"needs a layout whose codes stand in fields of its width, not side by side (got {fmt.name})"
        if refusal is None and fmt.needs_table and not layout.is_adjacent:
            refusal = f"needs a layout whose codes stand side by side, to look them up (got {fmt.name})"
        if refusal is None and permutes and not layout.is_adjacent:
            refusal = f"needs a layout whose codes stand side by side, to permute values (got {fmt.name})"
        if refusal is not None:
            raise ScheduleError(f"operand {operand!r} {refusal}", fmt=fmt.name, operand=operand)
        self.fmt, self.layout, self.operand = fmt, layout, operand
        self.in_place, self.shares_bytes, self.permutes = in_place, shares_bytes, permutes
        self.registers = 2 if is_pair and layout.operand_bits == 8 else 1
        self.has_table = layout.is_adjacent
        self.table_bytes = 256 * 4 * _TABLE_COPIES if self.has_table else 0
        self.value_scale, self.value_offset = 1.0, 0.0
        self._converts_float8 = arch_capability >= 89
        self._fills_bytes = fills_bytes
        self._ops = TirxOps()
        self._decode: Callable[[_Source], Expr]
        if self.has_table:
            self._decode = self._looked_up
        elif is_pair:
            self._init_pair()
        else:
            self._init_bytes()

    def _init_pair(self) -> None:
        fmt = self.fmt
        if fmt.name == "fp4_e2m1":
            self._decode = self._fp4_pair
            # In bfloat16 2^-126 is multiplied away at once: sums of products so small would lose bits in float32.
            self.value_scale = 2.0**14 if self.operand == "float16" else 1.0
        elif fmt.kind == "float":
            self._decode = self._float8_pair
            self.value_scale = 2.0**8 if fmt.name == "float8_e4m3" and not self._converts_float8 else 1.0
        else:
            _, spacing, power = _LINEAR[self.operand]
            if self.in_place:
                self._decode = self._shared_byte_pair if self.shares_bytes else self._in_place_pair
                self.value_scale, self.value_offset = 1 / spacing, float(fmt.code_offset)
                if fmt.name == "int1":  # 2 q - 1
                    self.value_scale *= 2
                return
            self._decode = self._integer_pair
            # The greatest multiplier is that of the highest plane. int1, 2 q - 1, is 2 (q - 1 / 2).
            self.value_scale = (
                2.0 ** self.layout.planes[-1].shift / (power * spacing) * (2 if fmt.name == "int1" else 1)
            )

    def _init_bytes(self) -> None:
        fmt = self.fmt
        if fmt.bits == 8:
            self._decode = lambda source: source.fields[0][0]
        elif fmt.name == "fp4_e2m1":
            self._decode, self.value_scale = self._fp4_bytes, 2.0**6
        elif self.operand == "int8" and fmt.kind == "int" and self._fills_bytes:
            self._decode, self.value_scale = self._signed_bytes, 2.0 ** (-6 if fmt.name == "int1" else fmt.bits - 8)
        elif self.operand == "float8_e4m3" and fmt.kind == "int":
            self._decode, self.value_scale = self._signed_float8, 1.0 if fmt.name == "int1" else 2.0**9
        else:
            self._decode = self._codes
            if self.operand == "float8_e4m3":
                self.value_scale = 2.0**9
            elif fmt.code_offset:
                self.value_scale, self.value_offset = (2.0, 1.0) if fmt.name == "int1" else (1.0, fmt.code_offset)

    def exponent(self, r: int) -> int:
        """Return the binary logarithm of the factor by which the numbers of register r are greater; 0 unless in place.

        In place it is the bit of a half at which its codes' lowest plane stands in the end.
        """
        if not self.in_place:
            return 0
        _, bit = self.layout.bit_position(self.layout.planes[0], r, 0)
        return int(bit) - self._shift(int(bit), self.layout.planes[0].bits)

    @property
    def exponents_follow_rows(self) -> bool:
        """Whether exponent(r) depends on r % 2 alone: the row of the left operand that a register belongs to."""
        return all(self.exponent(r) == self.exponent(r % 2) for r in range(self.layout.registers))

    def decode(self, words: Sequence[Any], r: int, table: Any = None, ops: RegisterOps | None = None) -> list[Expr]:
        """Return the `registers` operand registers of register r of a tile, as 32-bit unsigned numbers.

        Parameters
        ----------
        words
            For each plane this lane's words of the tile: a buffer, a sequence, or a function of the index.
        r
            Register of the layout, 0 ... ``layout.registers`` - 1.
        table
            If `has_table`, the `PairTable` that `fill_table` has filled.
        ops
            Other operations than those that emit TIRx; then words, and `table` if need be, are what these work on.
        """
        ops = self._ops if ops is None else ops
        fields, word = [], 0
        for plane, part in zip(self.layout.planes, words, strict=True):
            word, bit = self.layout.bit_position(plane, r, 0)
            # Buffers are callable too.
            fields.append((part[word] if hasattr(part, "__getitem__") else part(word), bit))
        return [ops.hold(self._decode(_Source(fields, word, half, ops, table))) for half in range(self.registers)]

    # Pairs of 16-bit floats.

    def _byte_pair(self, source: _Source) -> tuple[int, int]:
        """Return the bytes of a word that are the two codes of a pair, for codes of 8 bits."""
        if self.registers == 2:
            return 2 * source.half, 2 * source.half + 1
        first = source.fields[0][1] // 8
        return first, first + 2

    def _spread(self, field: Field, source: _Source) -> Field:
        """Return the field with the codes of a pair in the two halves of a word."""
        if self.registers == 1:
            return field
        return source.ops.byte_perm(field[0], 0, 0x4342 if source.half else 0x4140), field[1]

    def _integer_pair(self, source: _Source) -> Expr:
        """See the module. Planes are added up from the highest down; every sum is of few enough bits to be exact."""
        fmt, dtype = self.fmt, self.operand
        # value = step * code - offset
        step, offset = (2, 1) if fmt.name == "int1" else (1, 128 if fmt.name == "int8" else fmt.code_offset)
        spacing = _LINEAR[dtype][1]
        total: int | Expr = pair_of(-offset / self.value_scale, dtype) if offset else 0
        for field, plane in zip(reversed(source.fields), reversed(self.layout.planes), strict=True):
            x, bit = self._masked(field, plane.bits, source)
            mul = step * 2.0 ** (plane.shift - bit) / spacing / self.value_scale
            total = source.ops.fma(x, pair_of(mul, dtype), total, dtype)
        return total

    def _in_place_pair(self, source: _Source) -> Expr:
        """See the module. The greatest codes take 7 bits from bit 4 on: 11 in all, which are exact."""
        number: Expr = None
        place = 0
        for field, plane in zip(source.fields, self.layout.planes, strict=True):
            x, bit = self._masked(field, plane.bits, source)
            if number is None:
                number, place = x, bit
            else:
                power = pair_of(2.0 ** (plane.shift + place - bit), self.operand)
                number = source.ops.fma(x, power, number, self.operand)
        return number

    def _shared_byte_pair(self, source: _Source) -> Expr:
        """Return the byte of each half that holds the code, for the lower code with the upper one."""
        word, bit = source.fields[0]
        if bit >= _IN_PLACE_BITS:
            word = source.ops.byte_perm(word, 0, 0x4341)
            if bit == _IN_PLACE_BITS:
                return word
        return word & word_like(0x00F000F0 if bit % _IN_PLACE_BITS else 0x00FF00FF, word)

    def _masked(self, field: Field, bits: int, source: _Source) -> Field:
        """Return a pair of fields with nothing else in the word, and their bit in its halves."""
        word, bit = field
        if bits == 8:
            low, high = self._byte_pair(source)
            # Two's complement with the sign bit flipped is the value + 128.
            word = word ^ word_like(0x80808080, word) if self.fmt.kind == "int" else word
            return source.ops.byte_perm(word, 0, low | high << 8 | 0x4040), 0
        word, bit = self._spread(field, source)
        shift = self._shift(bit, bits)
        moved = _right(word, shift)
        return moved & word_like(((1 << bits) - 1 << bit - shift) * 0x10001, moved), bit - shift

    def _shift(self, bit: int, bits: int) -> int:
        """Return by how much a word is shifted to the right for a field at a bit of a half."""
        linear = _LINEAR[self.operand][0]
        if self.in_place:
            down = bit // _IN_PLACE_BITS * _IN_PLACE_BITS
            # Codes of one bit would stand at eight places, a row's at four. Two more shifts a word make that two.
            return down - 2 if self.fmt.bits == 1 and bit % 4 < 2 else down
        return linear // bits * bits if bit + bits > linear else 0

    def _float8_pair(self, source: _Source) -> Expr:
        """Every float8 is a float16; bfloat16 is made from that."""
        word, ops = source.fields[0][0], source.ops
        low, high = self._byte_pair(source)
        as_upper_bytes = low << 4 | high << 12 | 0x0404
        if self.fmt.name == "float8_e5m2":
            x = ops.byte_perm(word, 0, as_upper_bytes)
        elif self._converts_float8:
            # Bytes 0, 2, 1, 3 where a pair is not made of neighbours.
            adjacent = word if self.registers == 2 else ops.byte_perm(word, 0, 0x3120)
            x = ops.from_e4m3(adjacent, source.half if self.registers == 2 else low)
        else:
            upper = ops.byte_perm(word, 0, as_upper_bytes)
            x = ops.hold(
                ((upper >> word_like(1, upper)) & word_like(0x3F803F80, upper)) | (upper & word_like(0x80008000, upper))
            )
            # The codes of NaN now read 1.875 and the others at most 1.75: of their products by 36000 only the first
            # overflow, and infinity * 0 + x is NaN.
            huge = ops.fma(x, pair_of(36000.0, "float16"), MINUS_ZERO_PAIR, "float16")
            x = ops.fma(huge, 0, x, "float16")
        return x if self.operand == "float16" else ops.widen(ops.hold(x))

    def _fp4_pair(self, source: _Source) -> Expr:
        """Read the low three bits of a code as exponent and mantissa."""
        word, bit = self._spread(source.fields[0], source)
        x = _sign_and_magnitude(word, bit, _LINEAR[self.operand][0] - 2, 16)
        if self.operand == "float16":
            return x
        return source.ops.fma(source.ops.hold(x), pair_of(2.0**126, "bfloat16"), MINUS_ZERO_PAIR, "bfloat16")

    def _looked_up(self, source: _Source) -> Expr:
        word, bit = source.fields[0]
        byte = bit // 8 + source.half
        if self.permutes and source.word % self.permutes == 0 and byte < 2:
            return self._permuted(word, byte, source.ops)
        return source.ops.lookup(source.table, word, byte)

    def _permuted(self, word: Expr, byte: int, ops: RegisterOps) -> Expr:
        """See the module. Most of what is done serves bytes 0 and 1 of a word: the compiler finds it done."""
        codes = ops.hold(word & word_like(0x7777, word))
        # The highest bits of the four codes at the top of four bytes.
        tops = ops.hold(ops.byte_perm(word << word_like(4, word), word, 0x5140))
        bits = self._code_bits()

        def picked(first: int, shift: int) -> Expr:
            low, high = (int(half) for half in (bits[first : first + 8] >> shift).astype(np.uint8).view("<u4"))
            return ops.byte_perm(ops.mask(low, word), high, codes)

        def chosen(shift: int) -> Expr:
            mask = ops.hold(ops.repeat_signs(tops))
            return ops.hold((picked(0, shift) & ~mask) | (picked(8, shift) & mask))

        has_signs = np.array_equal(bits[8:], bits[:8] | 0x8000)
        upper = ops.hold(picked(0, 8) | (tops & word_like(0x80808080, word))) if has_signs else chosen(8)
        if not (bits & 0xFF).any():
            return ops.byte_perm(upper, 0, 0x3424 if byte else 0x1404)
        lower = ops.hold(picked(0, 0)) if has_signs else chosen(0)
        return ops.byte_perm(lower, upper, 0x7362 if byte else 0x5140)

    # Four bytes.

    def _codes(self, source: _Source) -> Expr:
        """Return the codes as bytes.

        As float8_e4m3 a byte below 16 is a number proportional to it, by 2^-9, for the reason that the module gives.
        """
        merged = None
        for (word, bit), plane in zip(source.fields, self.layout.planes, strict=True):
            moved = _right(word, bit - plane.shift)
            part = moved & word_like(((1 << plane.bits) - 1 << plane.shift) * 0x01010101, moved)
            merged = part if merged is None else part | merged
        return merged

    def _signed_bytes(self, source: _Source) -> Expr:
        """Return 2^(8 - bits) * value: a code at the top of a byte, its highest bit inverted, is in two's complement.

        int1 becomes 64 or -64.
        """
        if self.fmt.name == "int1":
            word, bit = source.fields[0]
            moved = _right(word, bit - 7)
            return (~moved & word_like(0x80808080, moved)) | word_like(0x40404040, moved)
        merged = None
        for (word, bit), plane in zip(source.fields, self.layout.planes, strict=True):
            place = 8 - self.fmt.bits + plane.shift
            moved = _right(word, bit - place)
            part = moved & source.ops.mask(((1 << plane.bits) - 1 << place) * 0x01010101, moved)
            merged = part ^ (word_like(0x80808080, moved) if merged is None else merged)
        return merged

    def _signed_float8(self, source: _Source) -> Expr:
        """Return sign and magnitude of code - offset; the sign is the code's highest bit, inverted."""
        word, bit = source.fields[-1]
        upper = _right(word, bit + self.layout.planes[-1].bits - 8)
        sign = word_like(0x80808080, upper)
        if self.fmt.name == "int1":
            return (upper & sign) ^ word_like(0xB8B8B8B8, upper)
        magnitude = source.ops.abs_difference(self._codes(source), self.fmt.code_offset * 0x01010101)
        return magnitude | (~upper & sign)

    def _fp4_bytes(self, source: _Source) -> Expr:
        """As `_fp4_pair`; float8_e4m3 has 3 bits of mantissa."""
        word, bit = source.fields[0]
        return _sign_and_magnitude(word, bit, 2, 8)

    # The table.

    def pair_values(self) -> np.ndarray:
        """Return the table's entries, uint32 of shape (256,): the value of a byte's low code, and of its high one."""
        bits, byte = self._code_bits(), np.arange(256)
        return bits[byte & 15] | bits[byte >> 4] << np.uint32(16)

    def _code_bits(self) -> np.ndarray:
        """Return the values of all codes as bits of the operand's type, rounded to nearest even; uint32."""
        values = np.asarray(self.fmt.codebook, dtype=np.float32)
        if self.operand == "float16":
            return values.astype(np.float16).view(np.uint16).astype(np.uint32)
        bits = values.view(np.uint32)
        return (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) >> np.uint32(16)

    def fill_table(self, arena: Any, offset: int, thread: Expr, threads: int) -> None:
        """Emit the making of the table by all threads of a block; a barrier must follow.

        Parameters
        ----------
        arena, offset
            As for `PairTable`.
        thread, threads
            Index of the thread, and their number, a multiple of 32.
        """
        codes = [int(bits) for bits in self._code_bits()]
        groups, stores = table_vectors(thread, threads)
        for vector, group, inside in stores:

            def store(vector: Expr = vector, group: Expr = group) -> None:
                low = self._ops.hold(select_constant(codes, vector // 8))
                for first in range(0, 16, groups):
                    pair = low | select_constant([bits << 16 for bits in codes[first : first + groups]], group)
                    at = offset + ((first + group) * 128 + vector) * 16
                    T.evaluate(T.ptx["st.shared.v4.u32"](arena.ptr_to([at]), pair, pair, pair, pair))

            if inside is None:
                store()
            else:
                with T.If(inside), T.Then():
                    store()


def table_vectors(thread: Expr, threads: int) -> tuple[int, list[tuple[Expr, Expr, Expr | None]]]:
    """Return (groups, parts): how the threads of a block share the 16 x 128 vectors of 16 bytes of a table of pairs.

    There are 128 vectors to each high code, 8 to each entry. For each part (vector, group, inside) a thread makes
    vector `vector` of the high codes group, group + groups, ...; `inside` is None or says which threads do. So a thread
    keeps its low code.

    Parameters
    ----------
    thread, threads
        As for `RegisterDecoder.fill_table`.
    """
    if threads >= 128:
        groups = next(count for count in (8, 4, 2, 1) if threads >= 128 * count)
        return groups, [(thread % 128, thread // 128, None if threads == 128 * groups else thread < 128 * groups)]
    firsts = range(0, 128, threads)
    return 1, [(thread + first, 0, None if first + threads <= 128 else thread + first < 128) for first in firsts]


# Words and constants.


def _right(x: Expr, count: int) -> Expr:
    """Return x >> count; x << -count where count is negative."""
    if count == 0:
        return x
    return x >> word_like(count, x) if count > 0 else x << word_like(-count, x)


def _sign_and_magnitude(word: Expr, bit: int, magnitude_bit: int, width: int) -> Expr:
    """Return 4-bit codes at `bit` of fields of `width` with the sign at the top and the rest at `magnitude_bit`."""
    ones = 0x10001 if width == 16 else 0x01010101
    # Masked first: left shifts stand alone then, and may run as multiplications on a pipe of their own.
    magnitude = _right(word & word_like((7 << bit) * ones, word), bit - magnitude_bit)
    sign = _right(word, bit + 4 - width)
    return magnitude | (sign & word_like((1 << width - 1) * ones, word))


def select_constant(constants: Sequence[int], index: Expr) -> Expr:
    """Return constants[index] by selects on the bits of the index."""
    if len(constants) == 1:
        return T.uint32(constants[0])
    half = len(constants) // 2
    return T.Select(
        index // half % 2 == 1, select_constant(constants[half:], index), select_constant(constants[:half], index)
    )
