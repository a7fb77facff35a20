# SPDX-License-Identifier: Apache-2.0
"""Split-K in the wgmma kernel: a reduce-scatter of partial sums among warpgroups, or blocks of a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.mma import store_local
from bitquant.intrin.wgmma import WARPGROUP, named_barrier
from bitquant.schedule.rules.hopper.emit.context import Context
from bitquant.schedule.rules.hopper.memory import Exchange

__all__ = ["SumExchange"]

Expr = Any


class SumExchange:
    """Emits the reduce-scatter: a consumer sends its partial sums to those that store them, and adds up its own share.

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    exchange
        The shares of the tile's columns.
    totals
        For each block of 64 rows of W this consumer's partial sums.
    """

    def __init__(self, context: Context, exchange: Exchange, totals: Sequence[Any]) -> None:
        self.context, self.exchange, self.totals = context, exchange, totals
        self._kind = "u32" if context.g.total_dtype == "uint32" else "f32"

    def first_column(self, share: Any) -> Any:
        """Return the first block of 8 columns of a share; the last one begins earlier rather than leave the tile."""
        columns = self.exchange.share_columns
        last = self.context.hint.block_m // 8 - columns
        first = share * columns
        return min(first, last) if isinstance(share, int) else T.min(first, last)

    def send(self, own: int | None = None) -> None:
        """Emit the stores of this consumer's partial sums to where they are reduced, and the barrier after them.

        Sums are pushed rather than pulled: loads from distributed shared memory have a long latency. Those of the share
        `own` stay in registers.
        """
        context = self.context
        if not context.g.memory.exchanges_in_ring:
            # The other blocks have started: their shared memory may be written.
            context.wait_for_cluster()
        else:
            # All have read their last slots, which partial sums overwrite.
            self._synchronize()
        part = context.rank * context.hint.consumers_k + context.part_k
        for share in range(self.exchange.share_count):
            if share != own:
                self._send_share(share, part if own is None else 0)
        self._synchronize()

    def _send_share(self, share: int, slot: Expr) -> None:
        """Emit the stores of a share's sums to the block that reduces it."""
        index_in_block, rank = divmod(share, self.exchange.blocks)
        for row, sums in enumerate(self.totals):
            for column in range(self.exchange.share_columns):
                first = (self.first_column(share) + column) * 4
                values = [sums[first + i] for i in range(4)]
                address = self._address(T.int32(index_in_block), slot, row, column)
                if self.exchange.blocks > 1:
                    remote = T.alloc_local((1,), "uint32")
                    T.evaluate(T.ptx["mapa.shared::cluster.u32"](remote[0], address, T.uint32(rank)))
                    T.evaluate(T.ptx[f"st.shared::cluster.v4.{self._kind}"](remote[0], *values))
                else:
                    T.evaluate(T.ptx[f"st.shared.v4.{self._kind}"](address, *values))

    def sums(self, row: int, column: int) -> list[Expr]:
        """Emit the reduction over all parts of a block of 8 columns of this consumer's share; return the sums."""
        context, exchange = self.context, self.exchange
        total, term = (T.alloc_local((4,), context.g.total_dtype) for _ in range(2))
        index_in_block = T.int32(0) if exchange.shares_in_block == 1 else T.truncdiv(context.share, exchange.blocks)
        for part in range(exchange.parts):
            target = term if part else total
            self._load(target, self._address(index_in_block, T.int32(part), row, column))
            for i in range(4) if part else ():
                store_local(total, i, total[i] + term[i])
        return [total[i] for i in range(4)]

    def sums_with_own(self, own: int, row: int, column: int) -> list[Expr]:
        """Emit the same where this consumer kept its share, which is `own`."""
        index_in_block = own // self.exchange.blocks
        term, first = T.alloc_local((4,), self.context.g.total_dtype), (self.first_column(own) + column) * 4
        self._load(term, self._address(T.int32(index_in_block), 0, row, column))
        return [self.totals[row][first + i] + term[i] for i in range(4)]

    def _load(self, target: Any, address: Expr) -> None:
        T.evaluate(T.ptx[f"ld.shared.v4.{self._kind}"](*[target[i] for i in range(4)], address))

    def _address(self, index_in_block: Expr, slot: Expr, row: int, column: int) -> Expr:
        """Return the address of a thread's four sums of a part, in the block that stores them.

        `index_in_block` is the share's index among those of the block, `slot` the part's among those in shared memory,
        and `column` one of the share's blocks of 8 columns.
        """
        context, exchange, h = self.context, self.exchange, self.context.hint
        index = (context.part_n * exchange.shares_in_block + index_in_block) * exchange.slots + slot
        index = ((index * h.n_tiles_per_consumer + row) * exchange.share_columns + column) * WARPGROUP + context.thread
        return context.base + (context.g.memory.exchange_offset + index * 16).astype("uint32")

    def _synchronize(self) -> None:
        """Emit the barrier of all threads that exchange sums."""
        context, consumers = self.context, self.context.hint.consumers
        if self.exchange.blocks > 1:
            context.arrive_at_cluster()
            context.wait_for_cluster()
        else:
            named_barrier(T.int32(consumers + 1), consumers * WARPGROUP)
