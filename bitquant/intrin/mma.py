"""Pieces of tensor-core kernels: swizzled tiles, copies, ldmatrix and mma fragments, packed decoding.

Two kinds of functions stand here. Index maps and bit manipulations (`swizzle`, `fragment_row_chunk`, `place`,
`packed_pair` ...) are pure and take Python integers, NumPy arrays or TVM expressions alike. The others emit TIRx
statements and are called while a kernel's body is built. Shared memory is addressed in bytes throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import ir, tirx
from tvm.script import tirx as T

from bitquant.dtypes import NumberFormat

__all__ = [
    "CHUNK_BYTES",
    "MINUS_ZERO_PAIR",
    "UNIT",
    "MmaOp",
    "PackedPair",
    "Tile",
    "accumulator_row_col",
    "copy_tile",
    "float_like",
    "fma_pair",
    "fragment_row_chunk",
    "load_coherent",
    "load_fragments",
    "load_words",
    "local",
    "packed_bytes",
    "packed_pair",
    "pair_bits",
    "pair_of",
    "pair_offsets",
    "place",
    "rounded_pair",
    "store_local",
    "sum_value",
    "swizzle",
    "transposed_fragment_row_chunk",
    "word_like",
    "zero_local",
]

Expr = Any

#: What ldmatrix reads at a time: one row of an 8 x 8 tile of 16-bit numbers.
CHUNK_BYTES = 16
#: Two 16-bit floats of -0: adding it keeps a zero's sign.
MINUS_ZERO_PAIR = 0x80008000
#: Elements decoded at a time. 32 elements of b bits fill b whole 32-bit words, for every b.
UNIT = 32


def local(dtype: str, value: Expr) -> Expr:
    """Emit a variable of this thread that begins as `value`; return it."""
    buffer = T.alloc_local((1,), dtype)
    store_local(buffer, 0, value)
    return buffer[0]


def store_local(buffer: Any, index: Any, value: Expr) -> None:
    """Emit buffer[index] = value."""
    T.buffer_store(buffer, value, [index])


def zero_local(buffer: Any) -> None:
    """Emit zeros to all of a buffer of one dimension."""
    with T.unroll(int(buffer.shape[0])) as i:
        store_local(buffer, i, tirx.const(0, buffer.dtype))


def sum_value(register: Expr) -> Expr:
    """Return a sum of products as the number that it is; TVM's integer mma has its sums in uint32 registers."""
    return tirx.reinterpret("int32", register) if register.ty.dtype == "uint32" else register


def load_coherent(buffer: Any, index: Any) -> Expr:
    """Emit the load of buffer[index], float32 in global memory, where it stands; return the register.

    For what the kernel before this one may write until `griddepcontrol.wait` returns: of a plain load the compiler may
    make a non-coherent one, and move it up.
    """
    value = T.alloc_local((1,), "float32")
    T.evaluate(T.ptx["ld.global.f32"](value[0], buffer.ptr_to([index])))
    return value[0]


# Index maps.


def swizzle(row: Expr, chunk: Expr, chunks: int) -> Expr:
    """Return where chunk `chunk` of row `row` lies in a row of `chunks` chunks (a power of two, or a multiple of 8).

    Eight consecutive rows of one logical chunk fall into eight different 16-byte bank groups, so that ldmatrix, and
    8 lanes that store to 8 rows, are free of bank conflicts.
    """
    if chunks >= 8:
        return chunk ^ (row % 8)
    if chunks == 4:
        return chunk ^ (row // 2 % 4)
    if chunks == 2:
        return chunk ^ (row // 4 % 2)
    return chunk


@dataclass(frozen=True)
class Tile:
    """A ring of `slots` tiles in shared memory.

    Attributes
    ----------
    base
        Offset of the first slot in the block's shared memory.
    rows, row_bytes
        Size of a tile.
    slots
        Tiles in the ring.
    swizzled
        Rows are stored back to back with their chunks permuted by `swizzle`, for ldmatrix. Otherwise rows are padded
        to an odd number of chunks, so that lanes that read down a column meet different banks.
    """

    base: int
    rows: int
    row_bytes: int
    slots: int
    swizzled: bool

    @property
    def stride(self) -> int:
        """Bytes from a row to the next."""
        if self.swizzled:
            return self.row_bytes
        chunks = -(-self.row_bytes // CHUNK_BYTES)
        return (chunks | 1) * CHUNK_BYTES

    @property
    def slot_bytes(self) -> int:
        """Bytes of one tile."""
        return self.rows * self.stride

    @property
    def end(self) -> int:
        """Offset behind the last slot."""
        return self.base + self.slots * self.slot_bytes

    def chunk_offset(self, slot: Expr, row: Expr, chunk: Expr) -> Expr:
        """Return the offset of a whole chunk."""
        if self.swizzled:
            chunk = swizzle(row, chunk, self.row_bytes // CHUNK_BYTES)
        return self.base + slot * self.slot_bytes + row * self.stride + chunk * CHUNK_BYTES

    def offset(self, slot: Expr, row: Expr, byte: Expr) -> Expr:
        """Return the offset of a byte of a row."""
        if not self.swizzled:
            return self.base + slot * self.slot_bytes + row * self.stride + byte
        return self.chunk_offset(slot, row, byte // CHUNK_BYTES) + byte % CHUNK_BYTES


def fragment_row_chunk(lane: Expr, is_left: bool) -> tuple[Expr, Expr]:
    """Return the (row, chunk) that lane `lane` names to an x4 ldmatrix of a 16-row, 32-byte tile.

    The four 8 x 8 matrices arrive in the order that mma wants: for the left operand (rows 0-7, chunk 0), (rows 8-15,
    chunk 0), then chunk 1; for the right operand, whose 16 rows are two tiles of n, both chunks of rows 0-7 first.
    """
    if is_left:
        return lane % 16, lane // 16
    return lane % 8 + lane // 16 * 8, lane // 8 % 2


def transposed_fragment_row_chunk(lane: Expr) -> tuple[Expr, Expr]:
    """Return the (k, chunk of n) that a lane names to an x4 ldmatrix.trans of a 16 (k) x 16 (n) tile of 16-bit numbers.

    The registers are those of two right operands: (k 0-7, k 8-15) of the first 8 n, then of the next 8.
    """
    return lane % 16, lane // 16


def accumulator_row_col(lane: Expr, i: int) -> tuple[Expr, Expr]:
    """Return the (row, column) in the 16 x 8 tile that accumulator register i (0 to 3) of a lane holds."""
    return lane // 4 + i // 2 * 8, lane % 4 * 2 + i % 2


# Copies.


def copy_tile(
    arena: Any,
    tile: Tile,
    slot: Expr,
    source: Callable[[Expr, Expr], Expr],
    thread: Expr,
    threads: int,
    width: int,
    rows_left: Expr | None,
    bytes_left: Expr | None,
    use_async: bool,
) -> None:
    """Emit the copy of one tile from global to shared memory by all threads of a block.

    Parameters
    ----------
    arena
        The block's shared memory, a uint8 buffer.
    tile, slot
        Where the tile goes.
    source
        Maps (row, byte) within the tile to a pointer into global memory.
    thread, threads
        Index of the thread, and their number.
    width
        Bytes a copy: 16, 8, 4, 2 or 1. Every row starts at a multiple of it, in global memory too.
    rows_left, bytes_left
        Rows, and bytes of a row, that exist from the tile's origin on; what lies beyond is not read and becomes zero.
        None where the tile is known to be whole.
    use_async
        Copy by cp.async (sm_80, width 4 and more); the caller commits and waits.
    """
    per_row = tile.row_bytes // width
    total = tile.rows * per_row
    count = -(-total // threads)

    def guard(row: Expr, byte: Expr) -> Expr | None:
        conditions = []
        if rows_left is not None:
            conditions.append(row < rows_left)
        if bytes_left is not None:
            conditions.append(byte < bytes_left)
        return tirx.all(*conditions) if conditions else None

    def one(c: Expr) -> None:
        index = c * threads + thread
        row, byte = index // per_row, index % per_row * width
        target = arena.ptr_to([tile.offset(slot, row, byte)])
        inside = guard(row, byte)
        if use_async:
            policy = "cg" if width == 16 else "ca"
            name = f"cp.async.{policy}.shared.global" + (".L2::128B" if width == 16 else "")
            if inside is None:
                T.evaluate(T.ptx[name](target, source(row, byte), width))
            else:
                size = T.Select(inside, T.uint32(width), T.uint32(0))
                T.evaluate(T.ptx[name](target, source(row, byte), width, size))
            return
        words = max(1, width // 4)
        kind = {16: "v4.u32", 8: "v2.u32", 4: "u32", 2: "u16", 1: "u8"}[width]
        value = T.alloc_local((words,), "uint32" if width >= 4 else "uint16")
        registers = [value[i] for i in range(words)]
        load = lambda: T.evaluate(T.ptx[f"ld.global.nc.{kind}"](*registers, source(row, byte)))  # noqa: E731
        if inside is None:
            load()
        else:
            for i in range(words):
                store_local(value, i, tirx.const(0, value.dtype))
            with T.If(inside), T.Then():
                load()
        T.evaluate(T.ptx[f"st.shared.{kind}"](target, *registers))

    def step(c: Expr) -> None:
        if total % threads == 0:
            one(c)
        else:
            with T.If(c * threads + thread < total), T.Then():
                one(c)

    if width >= 4:
        for c in range(count):
            step(c)
    else:
        with T.serial(count) as c:
            step(c)


def load_words(arena: Any, offset: Expr, words: int, alignment: int) -> Any:
    """Emit loads of consecutive 32-bit words from shared memory, as wide as `alignment` (bytes) allows."""
    buffer = T.alloc_local((words,), "uint32")
    step = max(1, min(alignment, 16) // 4)
    while words % step:
        step //= 2
    kind = {4: "v4.u32", 2: "v2.u32", 1: "u32"}[step]
    for i in range(0, words, step):
        registers = [buffer[i + j] for j in range(step)]
        T.evaluate(T.ptx[f"ld.shared.{kind}"](*registers, arena.ptr_to([offset + 4 * i])))
    return buffer


# Fragments.


@dataclass(frozen=True)
class MmaOp:
    """D += A x B for a 16 x 8 tile and 32 bytes of k, in the types `left` (A) and `right` (B).

    From sm_80 one instruction does it (m16n8k16, m16n8k32). sm_75 has m16n8k8 for float16 and m8n8k16 for int8, whose
    registers are the halves and quarters of the same fragments (PTX ISA, "Matrix Fragments for mma").
    """

    left: str
    right: str
    has_k16: bool

    def emit(self, c: Sequence[Expr], a: Sequence[Expr], b: Sequence[Expr]) -> None:
        """Emit the product; `c` are 4 accumulators, `a` and `b` are 4 and 2 32-bit registers."""
        if self.left in ("f16", "bf16"):
            types = f"f32.{self.left}.{self.right}.f32"
            if self.has_k16:
                T.evaluate(T.ptx[f"mma.sync.aligned.m16n8k16.row.col.{types}"](*c, *a, *b, *c))
            else:
                for half in range(2):
                    left = a[2 * half : 2 * half + 2]
                    T.evaluate(T.ptx[f"mma.sync.aligned.m16n8k8.row.col.{types}"](*c, *left, b[half], *c))
            return
        types = f"s32.{self.left}.{self.right}.s32"
        if self.has_k16:
            T.evaluate(T.ptx[f"mma.sync.aligned.m16n8k32.row.col.{types}"](*c, *a, *b, *c))
            return
        for rows in range(2):
            part = c[2 * rows : 2 * rows + 2]
            for half in range(2):
                name = f"mma.sync.aligned.m8n8k16.row.col.{types}"
                T.evaluate(T.ptx[name](*part, a[2 * half + rows], b[half], *part))


def load_fragments(arena: Any, offset: Expr, registers: Sequence[Expr], transpose: bool = False) -> None:
    """Emit ldmatrix into 1, 2 or 4 registers; `offset` is the row that this lane names."""
    name = f"ldmatrix.sync.aligned.m8n8.x{len(registers)}{'.trans' if transpose else ''}.shared.b16"
    T.evaluate(T.ptx[name](*registers, arena.ptr_to([offset])))


# Packed decoding: from the words of a unit to pairs of float16 or bfloat16, or to four int8.


def place(words: Sequence[Expr], element: int, bits: int, at: int) -> Expr:
    """Return a 32-bit word whose bits [at, at + bits) are the code of `element` of a unit; other bits are arbitrary.

    `words` are 32-bit unsigned: the little-endian bit stream of 32 elements. at + bits must not exceed 32.
    """
    word, first = divmod(element * bits, 32)
    if first + bits > 32:
        value = (words[word] >> first) | (words[word + 1] << (32 - first))
        return value << at if at else value
    if first == at:
        return words[word]
    return words[word] >> (first - at) if first > at else words[word] << (at - first)


def _merge(fields: Sequence[tuple[Expr, int]], constant: int = 0) -> Expr:
    """Return the bitwise or of (word & mask) over all fields, and of `constant`; each step is one LOP3."""
    merged = None
    for word, mask in fields:
        part = word & word_like(mask, word)
        merged = (part | word_like(constant, word) if constant else part) if merged is None else part | merged
    return merged


@dataclass(frozen=True)
class PackedPair:
    """Two 16-bit floats in one register, before a multiply-add that makes them the value: x * mul + add.

    Attributes
    ----------
    x
        The register.
    mul, add
        Bit patterns of the two pairs of constants; None where x is the value already. The result is exact.
    """

    x: Expr
    mul: int | None = None
    add: int | None = None


def word_like(value: int, like: Expr) -> Expr:
    """Return a 32-bit constant that combines with `like`, a TVM expression or a NumPy array."""
    return tirx.const(value, "uint32") if isinstance(like, ir.Expr) else np.uint32(value)


def float_like(value: float, like: Expr) -> Expr:
    """Return a float32 constant that combines with `like`, a TVM expression or a NumPy array."""
    return tirx.const(value, "float32") if isinstance(like, ir.Expr) else np.float32(value)


def pair_bits(low: float, high: float, dtype: str) -> int:
    """Return the bits of two numbers of a 16-bit type, float16 or bfloat16 (whose further bits are cut off)."""
    if dtype == "float16":
        bits = [int(np.float16(value).view(np.uint16)) for value in (low, high)]
    else:
        bits = [int(np.float32(value).view(np.uint32)) >> 16 for value in (low, high)]
    return bits[0] | bits[1] << 16


def pair_of(value: float, dtype: str) -> int:
    """Return the bits of two equal numbers of a 16-bit type."""
    return pair_bits(value, value, dtype)


def rounded_pair(low: Expr, high: Expr, dtype: str) -> Expr:
    """Return two float32 numbers, rounded to a 16-bit type, in one register."""
    low, high = (tirx.reinterpret("uint16", value.astype(dtype)).astype("uint32") for value in (low, high))
    return low | (high << T.uint32(16))


def fma_pair(x: Expr, mul: Expr, add: Expr, dtype: str) -> Expr:
    """Emit x * mul + add, rounded once, on two float16 or bfloat16 numbers; return the register."""
    result = T.alloc_local((1,), "uint32")
    T.evaluate(T.ptx["fma.rn.f16x2" if dtype == "float16" else "fma.rn.bf16x2"](result[0], x, mul, add))
    return result[0]


def packed_pair(
    words: Sequence[Expr], pair: int, fmt: NumberFormat, dtype: str, byte_perm: Callable[[Expr, int], Expr]
) -> PackedPair:
    """Return elements 2 * pair and 2 * pair + 1 of a unit as two `dtype` numbers, exactly.

    Integers become the mantissa of 1024 (float16) or 128 (bfloat16), which is subtracted again; floats are shifted
    into float16's fields and multiplied by the power of two that the biases differ by.

    Parameters
    ----------
    words
        The unit, as 32-bit unsigned words.
    pair
        0 to 15.
    fmt
        Any format but those that need a table.
    dtype
        "float16"; "bfloat16" for integers of at most 7 bits, whose codes its mantissa holds, and for bfloat16 itself.
    byte_perm
        (word, selector) -> PRMT of (word, 0): byte i of the result is byte (selector >> 4i) & 7 of the eight.
    """
    first, second = 2 * pair, 2 * pair + 1
    if fmt.bits == 16:
        return PackedPair(words[pair])
    if fmt.kind == "float":
        word, byte = pair // 2, pair % 2 * 2
        high = byte_perm(words[word], 0x0404 | byte << 4 | (byte + 1) << 12)
        if fmt.name == "float8_e5m2":
            return PackedPair(high)
        magnitude = high & word_like(0x7F007F00, high)
        # The codes 0x7f and 0xff are NaN: the sum carries into the sign bit, which then fills the 15 bits below.
        sign = word_like(0x80008000, high)
        carry = (magnitude + word_like(0x01000100, high)) & sign
        nan = carry - (carry >> 15)
        return PackedPair((magnitude >> 1) | (high & sign) | nan, pair_of(256.0, "float16"), MINUS_ZERO_PAIR)
    if fmt.name == "fp4_e2m1":
        fields = [(first, 9, 0x0E00), (first, 12, 0x8000), (second, 25, 0x0E000000), (second, 28, 0x80000000)]
        x = _merge([(place(words, element, 4, at), mask) for element, at, mask in fields])
        return PackedPair(x, pair_of(2.0**14, "float16"), MINUS_ZERO_PAIR)

    magic = pair_of(1024.0 if dtype == "float16" else 128.0, dtype)
    mul, add = pair_of(1.0, dtype), pair_bits(*pair_offsets(fmt, dtype), dtype)
    if fmt.bits == 8:
        word, byte = pair // 2, pair % 2 * 2
        x = byte_perm(words[word], 0x4040 | byte | (byte + 1) << 8)
        if fmt.kind == "int":  # Two's complement with the sign bit flipped is the value + 128.
            x = x ^ word_like(0x00800080, x)
        return PackedPair(x | word_like(magic, x), mul, add)
    if fmt.bits == 4 and dtype == "float16":
        # The byte of the pair in both halves; the upper nibble stays 4 bits up and is scaled back by 1/16.
        x = _merge([(byte_perm(words[pair // 4], pair % 4 * 0x1111), 0x00F0000F)], magic)
        return PackedPair(x, pair_bits(1.0, 1.0 / 16, dtype), add)
    # int1 stores {-1, +1} as {0, 1}: one bit up it counts twice.
    mask, up = (1 << fmt.bits) - 1, 1 if fmt.name == "int1" else 0
    low = (place(words, first, fmt.bits, up), mask << up)
    high = (place(words, second, fmt.bits, 16 + up), mask << (16 + up))
    return PackedPair(_merge([low, high], magic), mul, add)


def pair_offsets(fmt: NumberFormat, dtype: str) -> tuple[float, float]:
    """Return what `packed_pair` adds to the two numbers of a pair of integers: minus the magic base and the offset.

    A further integer may be subtracted with it, exactly as long as the sums stay integers that `dtype` holds.
    """
    offset = 128 if fmt.name == "int8" else fmt.code_offset
    if dtype == "bfloat16":
        return -128.0 - offset, -128.0 - offset
    return -1024.0 - offset, (-64.0 if fmt.bits == 4 else -1024.0) - offset


def packed_bytes(words: Sequence[Expr], quad: int, fmt: NumberFormat) -> Expr:
    """Return elements 4 * quad to 4 * quad + 3 of a unit of packed integers as four int8 in a 32-bit word.

    Parameters
    ----------
    words
        The unit, as 32-bit unsigned words.
    quad
        0 to 7.
    fmt
        An integer format of at most 7 bits.
    """
    up = 1 if fmt.name == "int1" else 0
    mask = ((1 << fmt.bits) - 1) << up
    x = _merge([(place(words, 4 * quad + i, fmt.bits, 8 * i + up), mask << (8 * i)) for i in range(4)])
    if not fmt.code_offset:
        return x
    # Subtract in each byte without a borrow: 128 is added before and, by the exclusive or, taken away after.
    top = word_like(0x80808080, x)
    return ((x | top) - word_like(fmt.code_offset * 0x01010101, x)) ^ top
