# SPDX-License-Identifier: Apache-2.0
"""Operations in registers as TIRx statements, and the table in shared memory that they look pairs up in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from bitquant.formats.words import word_like
from bitquant.intrin.mma import fma_pair, local

__all__ = ["TABLE_BYTES", "PairTable", "TirxOps", "fill_pair_table", "select_constant", "table_vectors"]

Expr = Any

#: Lanes that read a table at once; each has a copy of its own, in a bank of its own.
_TABLE_COPIES = 32
#: Shared memory of a table of 256 pairs.
TABLE_BYTES = 256 * 4 * _TABLE_COPIES

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
        factor, addend = (T.uint32(y) if isinstance(y, int) else y for y in (mul, add))
        return fma_pair(x, factor, addend, dtype)

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
        if table.lane_address is not None:
            address = T.call_pure_extern("uint32", "__dp4a", word, scale, table.lane_address)
            return self._emit("ld.shared.u32", address)
        offset = T.call_pure_extern("uint32", "__dp4a", word, scale, table.lane_offset)
        return self._emit("ld.shared.u32", table.arena.ptr_to([offset.astype("int32")]))


class PairTable:
    """The address of a decoder's table of pairs in shared memory, for one lane.

    The entry of byte b, a pair of values for the codes in its low and high 4 bits, is at byte 128 * b + 4 * lane of the
    table, 32 times in all, so that lanes of a warp have no bank conflicts.

    Parameters
    ----------
    arena
        The block's shared memory, a uint8 buffer.
    offset
        Of the table in it, in bytes; a multiple of 16.
    lane
        Index of the thread in its warp.
    holds_address
        Whether a register holds the address of this lane's part: an addition less a look-up, where the compiler keeps
        the address of shared memory in no uniform register.
    """

    def __init__(self, arena: Any, offset: int, lane: Expr, holds_address: bool = False) -> None:
        self.arena = arena
        self.lane_offset = (lane * 4 + offset).astype("uint32")
        self.lane_address: Expr | None = None
        if holds_address:
            self.lane_address = local("uint32", T.cuda.cvta_generic_to_shared(arena.ptr_to([lane * 4 + offset])))


def fill_pair_table(ops: TirxOps, bits: np.ndarray, arena: Any, offset: int, thread: Expr, threads: int) -> None:
    """Emit the making of the table by all threads of a block; a barrier must follow.

    Parameters
    ----------
    ops
        What emits.
    bits
        The values of the 16 codes as bits of a 16-bit type.
    arena, offset
        As for `PairTable`.
    thread, threads
        Index of the thread, and their number, a multiple of 32.
    """
    codes = [int(value) for value in bits]
    groups, stores = table_vectors(thread, threads)
    for vector, group, inside in stores:

        def store(vector: Expr = vector, group: Expr = group) -> None:
            low = ops.hold(select_constant(codes, vector // 8))
            for first in range(0, 16, groups):
                pair = low | select_constant([value << 16 for value in codes[first : first + groups]], group)
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
        As for `fill_pair_table`.
    """
    if threads >= 128:
        groups = next(count for count in (8, 4, 2, 1) if threads >= 128 * count)
        return groups, [(thread % 128, thread // 128, None if threads == 128 * groups else thread < 128 * groups)]
    firsts = range(0, 128, threads)
    return 1, [(thread + first, 0, None if first + threads <= 128 else thread + first < 128) for first in firsts]


def select_constant(constants: Sequence[int], index: Expr) -> Expr:
    """Return constants[index] by selects on the bits of the index."""
    if len(constants) == 1:
        return T.uint32(constants[0])
    half = len(constants) // 2
    return T.Select(
        index // half % 2 == 1, select_constant(constants[half:], index), select_constant(constants[:half], index)
    )
