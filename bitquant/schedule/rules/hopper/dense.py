"""Hopper's tensor cores by wgmma for a W of A's type, float16 or bfloat16, as it lies in memory.

Ring, tiles and the way to D are those of `wgmma`. W needs no decoding, so that both operands come from shared memory,
where TMA puts them with the 128-byte swizzle; consumers start the products of a slot while those of the one before it
are under way::

    W --TMA--> ring --descriptor--> left operand  --> wgmma --> sums --> D^T, transposed --> D
    A --TMA--> ring --descriptor--> right operand --^
"""

from __future__ import annotations

from typing import Any, ClassVar

from tvm.script import tirx as T

from bitquant.intrin.mma import local, store_local, zero_local
from bitquant.intrin.wgmma import (
    SWIZZLE_BYTES,
    Cursor,
    begin_products,
    commit_products,
    load_box,
    pin,
    row_descriptor,
    tensor_map,
    wait_for_products,
)
from bitquant.layouts import Layout
from bitquant.problem import Problem
from bitquant.schedule.rules.hopper.emit.kernel import Job, Kernel
from bitquant.schedule.rules.hopper.emit.store import TileStore
from bitquant.schedule.rules.hopper.hint import ROWS
from bitquant.schedule.rules.hopper.rule import WgmmaRule, hopper_refusal
from bitquant.schedule.rules.hopper.tiles import is_dense

__all__ = ["DenseKernel", "DenseRule"]

Expr = Any


class DenseRule(WgmmaRule):
    """Tensor cores by wgmma for a W that is not quantized (see the module)."""

    name = "wgmma_dense"
    weight_layouts: ClassVar[tuple[Layout, ...]] = ("plain",)

    def refuses(self, problem: Problem) -> str | None:
        """Refuse other GPUs than Hopper, a W that must be decoded, and rows that TMA does not fetch."""
        config = problem.config
        if (reason := hopper_refusal(problem)) is not None:
            return reason
        if config.needs_decode or not is_dense(config) or config.A_format.bits != 16:
            return f"needs W of A's type, float16 or bfloat16, without scales (got {config.W_format.name})"
        if config.layout != "nt":
            return f"needs layout nt (got {config.layout})"
        return None

    @property
    def kernel_type(self) -> type[Kernel]:
        """What writes the rule's kernels."""
        return DenseKernel


class DenseKernel(Kernel):
    """One kernel: both operands from shared memory.

    W is fetched after the kernel before this one has ended, as A is: where nothing is quantized, W may be that kernel's
    result as well.
    """

    weight_layout: ClassVar[Layout] = "plain"
    fetches_weight_early: ClassVar[bool] = False

    def _plan_body(self) -> int:
        return 1

    def _plan_weight(self) -> tuple[int, list[int]]:
        #: Bytes of W in a step, rows of 128 bytes.
        self.w_box_bytes = self.block_n * SWIZZLE_BYTES
        return self.steps * self.w_box_bytes, [self.step_k, self.block_n]

    def _initialize_decoder(self, thread: Expr, arena: Any) -> None:
        pass

    def weight_map(self) -> tuple[str, int, list[Expr]]:
        """Return type, dimensions and further arguments of the tensor map of W."""
        c = self.config
        return c.W_format.tvm_dtype, 2, tensor_map([c.K, c.N], [c.K * c.W_format.bits // 8], self.w_box, True)

    def _load_w(self, job: Job, stage: Expr, cursor: Cursor) -> None:
        for part in range(self.hint.consumers_k):
            for step in range(self.steps):
                offset = self.a_bytes + part * self.w_part_bytes + step * self.w_box_bytes
                k = self._first_k(job, part, stage) + step * self.step_k
                target = self._slot(cursor) + T.uint32(offset)
                load_box(target, self.w_map, [k, job.n0], self.ring.full(cursor.offset))

    def begin_consumer(self) -> None:
        """Emit the variables of a consumer."""
        h = self.hint
        self.acc = [T.alloc_local((self.sums,), self.sum_dtype) for _ in range(h.rows)]
        self.totals = self.acc
        #: The slot that is multiplied next, and `Cursor.offset` of the one released next.
        self.multiplying, self.releasing = Cursor(h.stages), T.alloc_local((1,), "uint32")
        store_local(self.releasing, 0, T.uint32(0))

    def consume(self, job: Job) -> None:
        """Emit the products of a job, and their way to D."""
        for acc in self.acc:
            zero_local(acc)
        with T.serial(job.stages) as stage:
            self.ring.wait_full(self.multiplying)
            self._multiply_slot()
            wait_for_products(1)
            self._release(stage > 0)
            store_local(self.releasing, 0, self.multiplying.offset)
            self.multiplying.advance()
        wait_for_products(0)
        for acc in self.acc:
            pin(acc)
        self._release()
        TileStore(self).store(job)

    def _multiply_slot(self) -> None:
        """Emit the products of a slot, as one group."""
        h = self.hint
        a = self._descriptor(self.part_k_index * (self.steps * self.a_box_bytes))
        w_part = self.a_bytes + self.part_k_index * self.w_part_bytes
        w = self._descriptor(w_part + self.part_n * (h.rows * _BLOCK))
        begin_products()
        for step in range(self.steps):
            for j in range(4):
                for row in range(h.rows):
                    # Descriptors count 16 bytes; an instruction takes 32 bytes of each row.
                    left = w + T.uint64((step * self.w_box_bytes + row * _BLOCK) // 16 + 2 * j)
                    right = a + T.uint64(step * self.a_box_bytes // 16 + 2 * j)
                    self.op.emit([self.acc[row][r] for r in range(self.sums)], [left], right)
        commit_products()

    def _descriptor(self, offset: Expr) -> Expr:
        """Emit the descriptor of rows at an offset in the slot that is multiplied; return it."""
        first = self.base + offset.astype("uint32")
        return local("uint64", row_descriptor(first, self.multiplying.distance(self.slot_bytes // 16)))


#: Bytes of 64 rows of W in a step, those of the left operand.
_BLOCK = ROWS * SWIZZLE_BYTES
