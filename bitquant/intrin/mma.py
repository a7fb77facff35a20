# SPDX-License-Identifier: Apache-2.0
"""Pieces of tensor-core kernels: swizzled tiles, copies, ldmatrix and mma fragments.

There are two kinds of functions. Index maps (`swizzle`, `fragment_row_chunk` ...) are pure and take Python integers,
NumPy arrays or TVM expressions alike. The others emit TIRx statements and are called while a kernel's body is built.
Shared memory is addressed in bytes throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div

__all__ = [
    "CHUNK_BYTES",
    "UNIT",
    "MmaOp",
    "Tile",
    "accumulator_row_col",
    "copy_tile",
    "fma_pair",
    "fragment_row_chunk",
    "load_coherent",
    "load_fragments",
    "load_words",
    "local",
    "reciprocal",
    "rounded_pair",
    "store_local",
    "sum_value",
    "swizzle",
    "transposed_fragment_row_chunk",
    "zero_local",
]

Expr = Any

#: What ldmatrix reads at a time: one row of an 8 x 8 tile of 16-bit numbers.
CHUNK_BYTES = 16
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


def reciprocal(x: Expr) -> Expr:
    """Emit 1 / x of a float32 to 1 unit in the last place; return the register. A quotient calls a slow path."""
    value = T.alloc_local((1,), "float32")
    T.evaluate(T.ptx["rcp.approx.f32"](value[0], x))
    return value[0]


def load_coherent(buffer: Any, index: Any) -> Expr:
    """Emit the load of buffer[index], 32 bits in global memory, by a coherent load; return the register.

    For what the kernel before this one may write until `griddepcontrol.wait` returns: of a plain load the compiler may
    make a non-coherent one, and move it up.
    """
    kind = {"float32": "f32", "int32": "s32"}[buffer.dtype]
    value = T.alloc_local((1,), buffer.dtype)
    place = list(index) if isinstance(index, tuple) else [index]
    T.evaluate(T.ptx[f"ld.global.{kind}"](value[0], buffer.ptr_to(place)))
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
        chunks = ceil_div(self.row_bytes, CHUNK_BYTES)
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
    count = ceil_div(total, threads)

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
    """Emit loads of consecutive 32-bit words from shared memory; return the buffer of registers.

    Parameters
    ----------
    arena
        The block's shared memory, a uint8 buffer.
    offset
        Of the first word in it, in bytes; a multiple of `alignment`.
    words
        How many.
    alignment
        What the loads may rely on, in bytes: 4, 8 or 16, which is also the widest load.
    """
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
    """Emit ldmatrix.

    Parameters
    ----------
    arena
        The block's shared memory, a uint8 buffer.
    offset
        Of the row of 16 bytes whose address this lane provides.
    registers
        1, 2 or 4 registers, one for each 8 x 8 matrix.
    transpose
        Whether the matrices are transposed (ldmatrix.trans).
    """
    name = f"ldmatrix.sync.aligned.m8n8.x{len(registers)}{'.trans' if transpose else ''}.shared.b16"
    T.evaluate(T.ptx[name](*registers, arena.ptr_to([offset])))


# Packed decoding: from the words of a unit to pairs of float16 or bfloat16, or to four int8.


def rounded_pair(low: Expr, high: Expr, dtype: str) -> Expr:
    """Return two float32 numbers, rounded to a 16-bit type, in one register."""
    low, high = (tirx.reinterpret("uint16", value.astype(dtype)).astype("uint32") for value in (low, high))
    return low | (high << T.uint32(16))


def fma_pair(x: Expr, mul: Expr, add: Expr, dtype: str) -> Expr:
    """Emit x * mul + add, rounded once, on two float16 or bfloat16 numbers; return the register."""
    result = T.alloc_local((1,), "uint32")
    T.evaluate(T.ptx["fma.rn.f16x2" if dtype == "float16" else "fma.rn.bf16x2"](result[0], x, mul, add))
    return result[0]
