# SPDX-License-Identifier: Apache-2.0
"""Loads of the weight: from global memory into registers, directly or through a ring in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.mma import store_local, zero_local
from bitquant.schedule.rules.decode.emit.context import Context, Cursor
from bitquant.schedule.rules.operands import when

__all__ = ["WeightLoads"]

Expr = Any

#: What a lane loads of the weight at a time.
_LOAD_BYTES = 16
#: The address of a pointer, by an instruction that the compiler does not see through. Else it computes the pointer anew
#: for each load, with a multiplication by the index of the expert.
_ADDRESS = """
__forceinline__ __device__ unsigned long long bitquant_address(const void* pointer) {
  unsigned long long address;
  asm volatile("mov.b64 %0, %1;" : "=l"(address) : "l"(pointer));
  return address;
}
"""


class WeightLoads:
    """Emits the loads of a warp's tiles, `hint.ahead` of them in flight.

    A slot holds a tile for each row of tiles of the warp: in registers, or in the ring, of which each lane reads back
    what it copied itself.
    """

    def __init__(self, context: Context) -> None:
        g, h = context.g, context.hint
        self.context, self.g, self.hint = context, g, h
        if not g.is_shared:
            self.words = T.alloc_local((h.ahead * h.n_tiles_per_warp * g.lane_words,), "uint32")
            if g.has_ragged_tiles:
                zero_local(self.words)
        self._begin = T.alloc_local((1,), "uint64") if g.holds_weight_address else None

    def begin(self) -> None:
        """Emit that registers hold the address of the weight, where it is that of one of many (`_pointer`)."""
        if self._begin is not None:
            pointer = self.context.unit.B.ptr_to([0, 0])
            address = T.cuda.func_call("bitquant_address", pointer, source_code=_ADDRESS, return_type="uint64")
            store_local(self._begin, 0, address)

    def _pointer(self, offset: Expr) -> Expr:
        """Return the pointer to a byte of the weight."""
        if self._begin is None:
            return self.context.unit.B.ptr_to([0, offset])
        return self._begin[0] + offset.astype("uint64")

    def sources(self, at: Cursor) -> list[Expr]:
        """Emit where in B this lane's part of a body begins, for each row of tiles of this warp.

        In registers: all tiles of the body are reached from there by constants. It is computed outside the condition
        on the loads, even where no such body exists: once for all of them.
        """
        g, config = self.g, self.context.config
        row_bytes = g.fragment_layout.stored_shape(config.N, config.K)[1]
        begin = at.tile * g.fragment_layout.tile_bytes + self.context.lane * _LOAD_BYTES
        held = T.alloc_local((self.hint.n_tiles_per_warp if g.has_ragged_n else 1,), "int32")
        for r in range(int(held.shape[0])):
            store_local(held, r, self._row_tile(at, r) * row_bytes + begin)
        return [held[r] if g.has_ragged_n else held[0] + r * row_bytes for r in range(self.hint.n_tiles_per_warp)]

    def _row_tile(self, at: Cursor, r: int) -> Expr:
        """Return the index of the r-th row of tiles of this warp; the last one for those beyond N."""
        tile = T.truncdiv(at.n0, 16) + self.context.warp_n * self.hint.n_tiles_per_warp + r
        return T.min(tile, self.g.fragment_layout.tiles_n(self.context.config.N) - 1) if self.g.has_ragged_n else tile

    def load(self, sources: Sequence[Expr], at: Cursor, in_body: int, slot: Expr) -> None:
        """Emit the loads of a tile of a body into a slot, for all rows of this warp."""
        g, h, layout = self.g, self.hint, self.g.fragment_layout
        per_load = _LOAD_BYTES // 4
        tile = at.tile + in_body

        def loads() -> None:
            for r in range(h.n_tiles_per_warp):
                for part in range(g.lane_words // per_load):
                    source = self._pointer(sources[r] + (in_body * layout.tile_bytes + part * 512))
                    if g.is_shared:
                        target = self.context.shared(self._slot_offset(slot, r, part))
                        size = [T.Select(tile < g.tiles_k, T.uint32(16), T.uint32(0))]
                        name = "cp.async.cg.shared.global.L2::256B"
                        T.evaluate(T.ptx[name](target, source, 16, *(size if g.has_ragged_tiles else [])))
                        continue
                    first = (slot * h.n_tiles_per_warp + r) * g.lane_words + part * per_load
                    registers = [self.words[first + j] for j in range(per_load)]
                    T.evaluate(T.ptx["ld.global.nc.L1::no_allocate.L2::256B.v4.u32"](*registers, source))

        if g.is_shared or not g.has_ragged_tiles:
            loads()
            return
        with T.If(tile < g.tiles_k):
            with T.Then():
                loads()
            if self.context.config.W_format.has_infinity:
                # A's zeros behind K cancel whatever an earlier tile has left here, but for infinity.
                with T.Else(), T.unroll(h.n_tiles_per_warp * g.lane_words) as i:
                    store_local(self.words, slot * h.n_tiles_per_warp * g.lane_words + i, T.uint32(0))

    def prefetch_next(self, at: Cursor, tile: int, slot: Expr, sources: dict[int, list[Expr]]) -> None:
        """Emit the load of the tile that comes `ahead` tiles after one of a body, if any.

        `sources` caches the sources of later bodies, by how many bodies later.
        """
        later, in_body = divmod(tile + self.hint.ahead, self.hint.unroll)
        at, is_there = at.after(later) if later else (at, True)
        if later not in sources:
            sources[later] = self.sources(at)
        when(is_there, lambda: self.load(sources[later], at, in_body, slot))

    def _slot_offset(self, slot: Expr, r: int, part: int) -> Expr:
        """Return where this lane's 16 bytes of a load lie in the ring."""
        smem = self.g.smem
        first = smem.ring_offset + self.context.thread // 32 * (self.hint.ahead * smem.slot_bytes)
        at = (r * self.g.lane_words * 4 + part * _LOAD_BYTES) * 32
        return first + slot * smem.slot_bytes + at + self.context.lane * _LOAD_BYTES

    def take(self, slot: Expr) -> Any:
        """Emit the moves of a tile that has arrived to registers of its own."""
        g, count = self.g, self.hint.n_tiles_per_warp * self.g.lane_words
        words = T.alloc_local((count,), "uint32")
        if not g.is_shared:
            for j in range(count):
                store_local(words, j, self.words[slot * count + j])
            return words
        T.evaluate(T.ptx["cp.async.wait_group"](self.hint.ahead - 1))
        for j in range(0, count, 4):
            r, part = divmod(j // 4, g.lane_words // 4)
            source = self.context.shared(self._slot_offset(slot, r, part))
            T.evaluate(T.ptx["ld.shared.v4.u32"](*[words[j + i] for i in range(4)], source))
        return words
