"""The end of a block of the decode kernel: sums to D, over the warps and blocks that share k."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.matmul import output_value
from bitquant.intrin.launch import arrive_at_cluster, wait_for_cluster
from bitquant.intrin.mma import load_coherent, store_local
from bitquant.schedule.rules.operands import Epilogue, row_index

if TYPE_CHECKING:
    from bitquant.schedule.rules.decode.emit.kernel import Kernel

__all__ = ["SumStore"]

Expr = Any


class SumStore:
    """Emits the sum over the warps and blocks that share k, and the stores of D.

    Parameters
    ----------
    kernel
        The kernel, with its operands bound.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def _sum_address(self, part: Expr, m: Expr, n: Expr) -> Expr:
        kernel = self.kernel
        return kernel.arena.ptr_to([kernel.sum_offset + ((part * kernel.rows_of_a + m) * kernel.sum_stride + n) * 4])

    def reduce(self, n0: Expr, epilogue: Epilogue) -> None:
        """Emit the sum over the warps and blocks that share k, and the stores of D: neighbours store neighbours."""
        kernel = self.kernel
        h, dtype = kernel.hint, kernel.config.reduce_dtype
        kind = "s32" if dtype == "int32" else "f32"
        T.evaluate(T.cuda.cta_sync())
        for m, n, value, is_there in kernel.finished():
            store = T.ptx[f"st.shared.{kind}"](self._sum_address(kernel.warp_k, m, n), value)
            if is_there is None:
                T.evaluate(store)
            else:
                with T.If(is_there), T.Then():
                    T.evaluate(store)
        T.evaluate(T.cuda.cta_sync())
        if h.split_k > 1:
            self._add_warps(kind)
            arrive_at_cluster(aligned=True)
            wait_for_cluster(aligned=True)
        self._store(n0, epilogue, kind)
        if h.split_k > 1:
            # The shared memory of a block lives until all others have read it.
            arrive_at_cluster(aligned=True)
            wait_for_cluster(aligned=True)

    def _elements(self, total: int, first: Expr, step: int) -> Iterator[Expr]:
        """Yield the elements of this thread, inside the guard that the last ones need."""
        for part in range(-(-total // step)):
            e = part * step + first
            if total % step and part == total // step:
                with T.If(e < total), T.Then():
                    yield e
            else:
                yield e

    def _local_sum(self, kind: str, m: Expr, n: Expr) -> Any:
        """Emit the sum over the block's warps along k."""
        kernel = self.kernel
        values = T.alloc_local((kernel.hint.warps_k,), kernel.config.reduce_dtype)
        for w in range(kernel.hint.warps_k):
            T.evaluate(T.ptx[f"ld.shared.{kind}"](values[w], self._sum_address(w, m, n)))
        for w in range(1, kernel.hint.warps_k):
            store_local(values, 0, values[0] + values[w])
        return values

    def _add_warps(self, kind: str) -> None:
        """Emit the sum of the block's warps, in place of the first one's."""
        kernel = self.kernel
        for e in self._elements(kernel.rows_of_a * kernel.block_n, kernel.thread, kernel.threads):
            m, n = e // kernel.block_n, e % kernel.block_n
            values = self._local_sum(kind, m, n)
            T.evaluate(T.ptx[f"st.shared.{kind}"](self._sum_address(0, m, n), values[0]))

    def _cluster_sum(self, kind: str, m: Expr, n: Expr) -> Any:
        """Emit the sum over the blocks of the cluster."""
        kernel = self.kernel
        split = kernel.hint.split_k
        values = T.alloc_local((split,), kernel.config.reduce_dtype)
        address = T.alloc_local((split,), "uint32")
        local = T.cuda.cvta_generic_to_shared(self._sum_address(0, m, n))
        for rank in range(split):
            block = T.uint32(rank)
            if kernel.hint.multicast > 1:
                block = block + T.cast(kernel.member * split, "uint32")
            T.evaluate(T.ptx["mapa.shared::cluster.u32"](address[rank], local, block))
            T.evaluate(T.ptx[f"ld.shared::cluster.{kind}"](values[rank], address[rank]))
        for rank in range(1, split):
            store_local(values, 0, values[0] + values[rank])
        return values

    def _store(self, n0: Expr, epilogue: Epilogue, kind: str) -> None:
        """Emit the stores of D; the blocks of a cluster share them."""
        kernel = self.kernel
        c, split = kernel.config, kernel.hint.split_k
        total = kernel.rows_of_a * kernel.block_n
        for e in self._elements(total, kernel.rank * kernel.threads + kernel.thread, split * kernel.threads):
            m, n = e // kernel.block_n, e % kernel.block_n
            row, column = kernel.m0 + m, n0 + n
            conditions = []
            if not (c.has_fixed_rows(kernel.rung) and kernel.rung % kernel.rows_of_a == 0):
                conditions.append(row < kernel.m)
            if kernel.has_ragged_n:
                conditions.append(column < c.N)

            def one(m: Expr = m, n: Expr = n, row: Expr = row, column: Expr = column) -> None:
                values = self._cluster_sum(kind, m, n) if split > 1 else self._local_sum(kind, m, n)
                activation_scale = load_coherent(epilogue.ActivationScale, row) if c.with_activation_scale else None
                output = output_value(
                    c, values[0], epilogue.Bias[column], activation_scale, epilogue.ChannelScale[column]
                )
                T.buffer_store(epilogue.D, output, [row_index(c, kernel.rung, row), column])

            if conditions:
                with T.If(tirx.all(*conditions)), T.Then():
                    one()
            else:
                one()
