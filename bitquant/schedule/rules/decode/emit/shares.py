# SPDX-License-Identifier: Apache-2.0
"""Stream-K in the decode kernel: blocks take equal shares of the phases of all blocks of n (`DecodeHint.stream_k`).

Phases are numbered through, those of a block of n one after the other. A share that begins or ends within a block of n
has partial sums of it, which are added in global memory. Every block stores its own, and counts that it has. The one
that counts last adds up all of them, in the order of K, so that results do not depend on which that is. No block waits
for another: of kernels that run concurrently each could keep blocks of the other from starting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.intrin.launch import request_memory
from bitquant.intrin.mma import local, store_local
from bitquant.schedule.rules.decode.emit.context import Context, Cursor
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.workspace import COUNTERS, SUMS

__all__ = ["PartialSums", "Share", "Workspace", "request_workspace", "sharer_of"]

Expr = Any


@dataclass(frozen=True)
class Workspace:
    """Memory beside the operands: the partial sums, and a counter for each block of n."""

    partial_sums: Any
    counters: Any


def request_workspace(g: DecodeGeometry) -> Workspace | None:
    """Emit, in host code, the request for the workspace; None for a kernel without stream-K.

    A block has at most two parts of blocks of n: its first one may begin within one, and its last one may end within
    one. Each has a slot.
    """
    if not g.hint.stream_k:
        return None
    count = 2 * g.grid_n * g.rows_of_a * g.block_n
    return Workspace(
        request_memory(SUMS, "partial_sums", g.config.reduce_dtype, count),
        request_memory(COUNTERS, "counters", "uint32", g.blocks_n),
    )


def sharer_of(g: DecodeGeometry, phase: Expr) -> Expr:
    """Return the block whose share has a phase of those of all blocks of n, an expression.

    It is the greatest whose first phase (`first_phase_of`) is not behind it.
    """
    return T.truncdiv((phase + 1) * g.grid_n - 1, g.all_phases)


@dataclass(frozen=True)
class Share:
    """What a block has of a block of n.

    Attributes
    ----------
    n_block
        Which block of n.
    is_first, is_whole
        Whether the block has its first phase; whether all.
    first, last
        The first and the last of the blocks that have a part of it.
    """

    n_block: Expr
    is_first: Expr
    is_whole: Expr
    first: Expr
    last: Expr


class PartialSums:
    """Emits what completes the sums of a block of n that several blocks share.

    Parameters
    ----------
    context
        Geometry, operands and indices of this block and thread.
    workspace
        The memory.
    note
        Pointer to a word of shared memory that nobody uses between two barriers of the block.
    """

    def __init__(self, context: Context, workspace: Workspace, note: Expr) -> None:
        self.context, self.g, self.workspace, self.note = context, context.g, workspace, note
        self._kind = "s32" if context.config.reduce_dtype == "int32" else "f32"

    def share(self, at: Cursor) -> Share:
        """Emit what this block has of the block of n of an iteration, the last one in which it multiplies any."""
        g, phases = self.g, self.g.phases
        n_block = local("int32", T.truncdiv(at.shared_phase, phases))
        is_first = self.context.first_phase <= n_block * phases
        return Share(
            n_block,
            is_first,
            tirx.all(is_first, at.phase == phases - 1),
            local("int32", sharer_of(g, n_block * phases)),
            local("int32", sharer_of(g, n_block * phases + (phases - 1))),
        )

    def _pointer(self, slot: Expr, element: Expr) -> Expr:
        g = self.g
        return self.workspace.partial_sums.ptr_to([slot * (g.rows_of_a * g.block_n) + element])

    def store(self, share: Share, element: Expr, value: Expr) -> None:
        """Emit the store of this block's sum of an element of the block of n."""
        slot = self.context.block * 2 + T.Select(share.is_first, 1, 0)
        T.evaluate(T.ptx[f"st.global.{self._kind}"](self._pointer(slot, element), value))

    def is_last(self, share: Share) -> Expr:
        """Emit that this block has stored its sums; return whether all others had before it.

        One thread counts for the block, and tells the others by shared memory. The last one makes the counter zero
        again.
        """
        before, others = T.alloc_local((1,), "uint32"), (share.last - share.first).astype("uint32")
        counter = self.workspace.counters.ptr_to([share.n_block])
        # Why the loads of the last block see all stores (PTX ISA, "Memory Consistency Model"): the barrier orders those
        # of all threads before the fence of one, whose atomic releases them, since causality order is transitive. The
        # atomics of a counter read each other's values, so that the last one acquires what all released. The second
        # barrier orders it before the loads of the other threads.
        #
        # Why a kernel that is launched early (`with_dependent_launch`) does not come here too early: all threads have
        # passed griddepcontrol.wait, before A. It returns when the kernel before has ended: its counters are zero.
        T.evaluate(T.cuda.cta_sync())
        with T.If(self.context.thread == 0), T.Then():
            T.evaluate(T.ptx["fence.acq_rel.gpu"]())
            T.evaluate(T.ptx["atom.acq_rel.gpu.global.add.u32"](before[0], counter, T.uint32(1)))
            T.evaluate(T.ptx["st.shared.u32"](self.note, before[0]))
            with T.If(before[0] == others), T.Then():
                T.evaluate(T.ptx["st.relaxed.gpu.global.u32"](counter, T.uint32(0)))
        T.evaluate(T.cuda.cta_sync())
        T.evaluate(T.ptx["ld.shared.u32"](before[0], self.note))
        return before[0] == others

    def sum(self, share: Share, element: Expr) -> Any:
        """Emit the sum of an element over all parts, in the order of K; return its register.

        The first block has the last of its two parts, and the others the first of theirs. Loads are .cg because nothing
        is read twice.
        """
        values, load = T.alloc_local((2,), self.g.config.reduce_dtype), T.ptx[f"ld.global.cg.{self._kind}"]
        T.evaluate(load(values[0], self._pointer(share.first * 2 + 1, element)))
        with T.serial(share.last - share.first) as other:
            slot = local("int32", (share.first + 1 + other) * 2)
            T.evaluate(load(values[1], self._pointer(slot, element)))
            store_local(values, 0, values[0] + values[1])
        return values
