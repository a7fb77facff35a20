# SPDX-License-Identifier: Apache-2.0
"""Pieces of Hopper kernels: rings of mbarriers, copies by TMA, and wgmma with its left operand in registers.

All functions but `tensor_map` emit TIRx statements and are called while a kernel's body is built. Shared memory is
addressed by 32-bit addresses of the shared window, in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.intrin.launch import arrive, expect_bytes, fence_barriers, initialize_barrier
from bitquant.intrin.mma import store_local

__all__ = [
    "BARRIER_BYTES",
    "SWIZZLE_BYTES",
    "WARPGROUP",
    "Cursor",
    "Ring",
    "WgmmaOp",
    "commit_wgmma",
    "fence_registers",
    "fence_wgmma",
    "load_box",
    "named_barrier",
    "row_descriptor",
    "store_transposed",
    "tensor_map",
    "wait_wgmma",
]

Expr = Any

#: Threads that issue a wgmma together.
WARPGROUP = 128
#: Bytes of an mbarrier.
BARRIER_BYTES = 8
#: Bytes of a row of a tile that TMA stores with its widest swizzle, and that wgmma reads back.
SWIZZLE_BYTES = 128


# Rings.


class Cursor:
    """A position in a ring: the slot, and the phase, the parity of the rounds completed (CUTLASS: PipelineState)."""

    def __init__(self, stages: int) -> None:
        self.stages = stages
        self._state = T.alloc_local((2,), "uint32")
        store_local(self._state, 0, T.uint32(0))
        store_local(self._state, 1, T.uint32(0))

    @property
    def offset(self) -> Expr:
        """Distance in bytes of the slot's barriers from those of the first slot: an instruction can add it itself."""
        return self._state[0]

    @property
    def phase(self) -> Expr:
        """Parity of the rounds completed."""
        return self._state[1]

    def distance(self, slot_size: int) -> Expr:
        """Return the distance of the slot from the first one, for slots of a size that is a multiple of 8."""
        return self.offset * T.uint32(slot_size // BARRIER_BYTES)

    def advance(self) -> None:
        """Emit the step to the next slot."""
        is_last = T.alloc_local((1,), "bool")
        store_local(is_last, 0, self.offset == T.uint32(BARRIER_BYTES * (self.stages - 1)))
        store_local(self._state, 1, T.Select(is_last[0], self.phase ^ T.uint32(1), self.phase))
        store_local(self._state, 0, T.Select(is_last[0], T.uint32(0), self.offset + T.uint32(BARRIER_BYTES)))


@dataclass(frozen=True)
class Ring:
    """Two mbarriers a slot: `full` completes when a slot's bytes have arrived, `empty` when all its readers are done.

    Blocks of a cluster that copy to each other's slots have rings alike, and read each slot in the same round: a slot
    is empty when the readers of all of them are done.

    Attributes
    ----------
    base
        Address of the barriers, 16 bytes a slot.
    stages
        Slots.
    readers
        Warps of a block that empty a slot.
    blocks
        Blocks that copy to each other.
    """

    base: Expr
    stages: int
    readers: int
    blocks: int = 1

    def full(self, offset: Expr) -> Expr:
        """Return the address of a slot's barrier for arriving data, by the slot's `Cursor.offset`."""
        return self.base + offset

    def empty(self, offset: Expr) -> Expr:
        """Return the address of a slot's barrier for its readers, by the slot's `Cursor.offset`."""
        return self.base + T.uint32(BARRIER_BYTES * self.stages) + offset

    def initialize(self) -> None:
        """Emit the initialization, by one thread; the block synchronizes afterwards."""
        for slot in range(self.stages):
            offset = T.uint32(BARRIER_BYTES * slot)
            initialize_barrier(self.full(offset), 1)
            initialize_barrier(self.empty(offset), self.readers * self.blocks)
        fence_barriers()

    def wait_full(self, cursor: Cursor) -> None:
        """Emit the wait for a slot's bytes."""
        T.evaluate(T.cuda.mbarrier_wait(self.full(cursor.offset), cursor.phase.astype("int32")))

    def wait_empty(self, cursor: Cursor) -> None:
        """Emit the wait for a slot's readers; a slot that was never filled is empty."""
        T.evaluate(T.cuda.mbarrier_wait(self.empty(cursor.offset), (cursor.phase ^ T.uint32(1)).astype("int32")))

    def expect(self, cursor: Cursor, bytes_: int) -> None:
        """Emit the producer's arrival, which announces the bytes to come."""
        expect_bytes(self.full(cursor.offset), bytes_)

    def release(self, offset: Expr, lane: Expr, *conditions: Expr) -> None:
        """Emit the arrival of the warp of this lane, at the barriers of all blocks that copy to its slots.

        The slot is that of a `Cursor.offset`; conditions may be added.
        """
        barrier = self.empty(offset)
        if self.blocks == 1:
            with T.If(tirx.all(lane == 0, *conditions)), T.Then():
                arrive(barrier)
            return
        with T.If(tirx.all(lane < self.blocks, *conditions)), T.Then():
            remote = T.alloc_local((1,), "uint32")
            T.evaluate(T.ptx["mapa.shared::cluster.u32"](remote[0], barrier, lane.astype("uint32")))
            T.evaluate(T.ptx["mbarrier.arrive.shared::cluster.b64"](remote[0]))


# Copies.


def tensor_map(extents: Sequence[Expr], strides_bytes: Sequence[int], box: Sequence[int], swizzled: bool) -> list[Expr]:
    """Return the arguments of `runtime.cuTensorMapEncodeTiled` that follow map, type, rank and data pointer.

    Parameters
    ----------
    extents, box
        Sizes of the tensor and of what one copy brings, in elements, the contiguous dimension first. What lies beyond
        the tensor arrives as zeros.
    strides_bytes
        Distances of all dimensions but the first.
    swizzled
        Whether rows of `SWIZZLE_BYTES` arrive with their 16-byte chunks permuted for wgmma.
    """
    # CUtensorMapSwizzle: 3 is 128 bytes. CUtensorMapL2promotion: 3 is 256 bytes.
    return [*extents, *strides_bytes, *box, *(1 for _ in extents), 0, 3 if swizzled else 0, 3, 0]


def load_box(
    target: Expr, tensor_map_address: Expr, coordinates: Sequence[Expr], barrier: Expr, blocks: int = 1
) -> None:
    """Emit the copy of one box of a tensor map to shared memory by TMA; its bytes count on `barrier`.

    Parameters
    ----------
    target
        Address in shared memory.
    tensor_map_address
        Address of the tensor map (`tensor_map`).
    coordinates
        Of the box's first element in the tensor, the contiguous dimension first.
    barrier
        Address of the mbarrier that expects the bytes.
    blocks
        1, or how many of the cluster's first blocks receive the box by multicast, each at the same address, and count
        its bytes on their own barrier.
    """
    name = f"cp.async.bulk.tensor.{len(coordinates)}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
    if blocks == 1:
        T.evaluate(T.ptx[name](target, tensor_map_address, *coordinates, barrier))
    else:
        mask = T.uint16((1 << blocks) - 1)
        T.evaluate(T.ptx[f"{name}.multicast::cluster"](target, tensor_map_address, *coordinates, barrier, mask))


# Products.


@dataclass(frozen=True)
class WgmmaOp:
    """D += A x B for 64 rows, `n` columns and 32 bytes of k: A in registers or shared memory, B there, rows of k.

    Attributes
    ----------
    n
        Columns, a multiple of 8.
    left, right
        PTX types of the operands.
    """

    n: int
    left: str
    right: str

    @property
    def is_integer(self) -> bool:
        """Whether sums are int32; they are held in uint32 registers."""
        return self.left in ("s8", "u8")

    @property
    def step_k(self) -> int:
        """Elements of k an instruction."""
        return 16 if self.left in ("f16", "bf16") else 32

    def emit(self, sums: Sequence[Expr], left: Sequence[Expr], descriptor: Expr, accumulates: bool = True) -> None:
        """Emit the product.

        Parameters
        ----------
        sums
            n / 2 registers.
        left
            4 registers, or a descriptor as for the right operand.
        descriptor
            From `row_descriptor`.
        accumulates
            Whether the product is added to what `sums` hold, or takes its place.
        """
        kind = "s32" if self.is_integer else "f32"
        name = f"wgmma.mma_async.sync.aligned.m64n{self.n}k{self.step_k}.{kind}.{self.left}.{self.right}"
        signs = [] if self.is_integer else [1, 1]
        order = [0] * (1 if len(left) == 4 else 2) if self.step_k == 16 else []
        T.evaluate(T.ptx[name](*sums, *left, descriptor, T.ptx.pred(int(accumulates)), *signs, *order))


def row_descriptor(address: Expr, units: Expr) -> Expr:
    """Return wgmma's descriptor of rows of 128 swizzled bytes, `units` times 16 bytes beyond `address`.

    What does not change in a loop is to be in `address`, whose lowest 4 bits are zero.

    PTX ISA, "Matrix descriptor": address / 16 in bits 0-13, 1 (unused with swizzle) in 16-29, the distance of groups
    of 8 rows / 16 in 32-45, and 1 for a 128-byte swizzle in 62-63.
    """
    high = (8 * SWIZZLE_BYTES // 16) | 1 << 30
    low = (address >> T.uint32(4) | T.uint32(1 << 16)) + units
    return low.astype("uint64") | T.uint64(high << 32)


def fence_wgmma() -> None:
    """Emit wgmma.fence, required before the first wgmma that reads registers written since the last one."""
    T.evaluate(T.ptx["wgmma.fence.sync.aligned"]())


def commit_wgmma() -> None:
    """Emit the end of a group of wgmma instructions."""
    T.evaluate(T.ptx["wgmma.commit_group.sync.aligned"]())


def wait_wgmma(pending: int) -> None:
    """Emit the wait until all but the `pending` latest groups are complete."""
    T.evaluate(T.ptx["wgmma.wait_group.sync.aligned"](pending))


_FENCE_REGISTER = """
__device__ __forceinline__ void bitquant_fence_{name}({type}& x) {{
  asm volatile("" : "+{constraint}"(x) :: "memory");
}}
"""


def fence_registers(registers: Any) -> None:
    """Emit a fence for each register of a buffer: the compiler moves no access to it across.

    A wgmma writes its accumulators after the instruction, which the compiler does not know. (TVM 0.27.0.post1 fails on
    `T.cuda.wgmma.noop_barrier`, which is meant for this.)
    """
    is_float = str(registers.dtype) == "float32"
    name, kind, constraint = ("f32", "float", "f") if is_float else ("u32", "unsigned int", "r")
    source = _FENCE_REGISTER.format(name=name, type=kind, constraint=constraint)
    for i in range(int(registers.shape[0])):
        T.evaluate(T.cuda.func_call(f"bitquant_fence_{name}", registers[i], source_code=source))


# The epilogue.


def named_barrier(index: Expr, threads: int) -> None:
    """Emit a barrier of some of the block's threads; index 0 is that of the whole block."""
    T.evaluate(T.ptx["bar.sync"](index.astype("uint32"), T.uint32(threads)))


def store_transposed(address: Expr, registers: Sequence[Expr]) -> None:
    """Emit the store of 1, 2 or 4 transposed 8 x 8 matrices of 16-bit numbers; `address` is this lane's row."""
    name = f"stmatrix.sync.aligned.m8n8.x{len(registers)}.trans.shared.b16"
    T.evaluate(T.ptx[name](address, *registers))
