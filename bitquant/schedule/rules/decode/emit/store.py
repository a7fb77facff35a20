# SPDX-License-Identifier: Apache-2.0
"""The epilogue of the decode kernel: partial sums of the warps and blocks that split K are added, and stored to D."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.intrin.launch import arrive_at_cluster, wait_for_cluster
from bitquant.intrin.mma import store_local
from bitquant.schedule.rules.decode.emit.context import Context, Cursor
from bitquant.schedule.rules.decode.emit.shares import PartialSums, Workspace
from bitquant.schedule.rules.decode.emit.sums import Total

__all__ = ["SumStore"]

Expr = Any


class SumStore:
    """Emits the reduction over the warps and blocks that split K, and the stores of D.

    Parameters
    ----------
    context
        Geometry, operands and indices of this block and thread.
    workspace
        The memory of stream-K.
    """

    def __init__(self, context: Context, workspace: Workspace | None = None) -> None:
        self.context, self.g = context, context.g
        self._kind = "s32" if context.config.reduce_dtype == "int32" else "f32"
        self._partial_sums = None
        if workspace is not None:
            self._partial_sums = PartialSums(context, workspace, self._sum_address(0, 0, 0))

    def _sum_address(self, part: Expr, m: Expr, n: Expr) -> Expr:
        smem = self.g.smem
        return self.context.shared(smem.sum_offset + ((part * self.g.rows_of_a + m) * smem.sum_stride + n) * 4)

    def reduce(self, totals: Iterable[Total], at: Cursor) -> None:
        """Emit the reduction over the warps and blocks that split K, and the stores of D, coalesced.

        Parameters
        ----------
        totals
            This thread's.
        at
            Where in its loops the block is.
        """
        h, kind = self.context.hint, self._kind
        T.evaluate(T.cuda.cta_sync())
        for m, n, value, is_stored in totals:
            store = T.ptx[f"st.shared.{kind}"](self._sum_address(self.context.warp_k, m, n), value)
            if is_stored is None:
                T.evaluate(store)
            else:
                with T.If(is_stored), T.Then():
                    T.evaluate(store)
        T.evaluate(T.cuda.cta_sync())
        if h.split_k > 1:
            self._add_warps()
            arrive_at_cluster(aligned=True)
            wait_for_cluster(aligned=True)
        if self._partial_sums is None:
            self._store(at.n0, self._cluster_sums if h.split_k > 1 else self._local_sums)
        else:
            self._complete(self._partial_sums, at)
        if h.split_k > 1:
            # No block exits before all others have read its shared memory.
            arrive_at_cluster(aligned=True)
            wait_for_cluster(aligned=True)

    def _elements(self, total: int, first: Expr, step: int) -> Iterator[Expr]:
        """Yield the elements of this thread, inside the guard that the last ones need."""
        for part in range(ceil_div(total, step)):
            e = part * step + first
            if total % step and part == total // step:
                with T.If(e < total), T.Then():
                    yield e
            else:
                yield e

    def _complete(self, partial_sums: PartialSums, at: Cursor) -> None:
        """Emit, with stream-K, the stores of D by the block that has all sums of a block of n."""
        g = self.g
        share = partial_sums.share(at)

        def stored(m: Expr, n: Expr, count: int) -> list[Expr]:
            return [partial_sums.sum(share, m * g.block_n + n + i)[0] for i in range(count)]

        with T.If(share.is_whole):
            with T.Then():
                self._store(at.n0, self._local_sums)
            with T.Else():
                for e in self._elements(g.rows_of_a * g.block_n, self.context.thread, g.threads):
                    partial_sums.store(share, e, self._local_sums(e // g.block_n, e % g.block_n)[0])
                with T.If(partial_sums.is_last(share)), T.Then():
                    self._store(at.n0, stored)

    def _local_sums(self, m: Expr, n: Expr, count: int = 1) -> list[Expr]:
        """Emit the sums over the block's warps along k, of `count` n."""
        warps_k = self.context.hint.warps_k
        values = T.alloc_local((warps_k * count,), self.context.config.reduce_dtype)
        for w in range(warps_k):
            self._load("ld.shared", values, w, count, self._sum_address(w, m, n))
        return self._added(values, warps_k, count)

    def _load(self, name: str, values: Any, part: int, count: int, address: Expr) -> None:
        """Emit the load of `count` sums of a part, side by side."""
        width = f"v{count}." if count > 1 else ""
        T.evaluate(T.ptx[f"{name}.{width}{self._kind}"](*(values[part * count + i] for i in range(count)), address))

    @staticmethod
    def _added(values: Any, parts: int, count: int) -> list[Expr]:
        """Emit the sums of all parts; return them."""
        for part in range(1, parts):
            for i in range(count):
                store_local(values, i, values[i] + values[part * count + i])
        return [values[i] for i in range(count)]

    def _add_warps(self) -> None:
        """Emit the sum of the block's warps, in place of the first one's."""
        g = self.g
        for e in self._elements(g.rows_of_a * g.block_n, self.context.thread, g.threads):
            m, n = e // g.block_n, e % g.block_n
            total = self._local_sums(m, n)[0]
            T.evaluate(T.ptx[f"st.shared.{self._kind}"](self._sum_address(0, m, n), total))

    def _cluster_sums(self, m: Expr, n: Expr, count: int) -> list[Expr]:
        """Emit the sums over the blocks of the cluster, of `count` n."""
        h = self.context.hint
        split = h.split_k
        values = T.alloc_local((split * count,), self.context.config.reduce_dtype)
        address = T.alloc_local((split,), "uint32")
        local = T.cuda.cvta_generic_to_shared(self._sum_address(0, m, n))
        for rank in range(split):
            block = T.uint32(rank)
            if h.multicast > 1:
                block = block + T.cast(self.context.member * split, "uint32")
            T.evaluate(T.ptx["mapa.shared::cluster.u32"](address[rank], local, block))
            self._load("ld.shared::cluster", values, rank, count, address[rank])
        return self._added(values, split, count)

    def _store(self, n0: Expr, sums_of: Callable[[Expr, Expr, int], list[Expr]]) -> None:
        """Emit the stores of D; the blocks of a cluster share them. `sums_of` emits the sums of a row and some n."""
        g, context, unit = self.g, self.context, self.context.unit
        c, split = context.config, context.hint.split_k
        of_w, columns = c.rows_per_column, g.block_columns
        total = g.rows_of_a * columns
        for e in self._elements(total, context.rank * g.threads + context.thread, split * g.threads):
            m, n = e // columns, e % columns * of_w
            row_of_w = n0 + n
            conditions = unit.has_row(m)
            if g.has_ragged_n:
                conditions.append(row_of_w < c.N)

            def one(m: Expr = m, n: Expr = n, row_of_w: Expr = row_of_w) -> None:
                unit.store(m, row_of_w, sums_of(m, n, of_w))

            if conditions:
                with T.If(tirx.all(*conditions)), T.Then():
                    one()
            else:
                one()
