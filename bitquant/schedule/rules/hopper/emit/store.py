"""The end of a tile of the wgmma kernel: sums to D, over the parts of K and through shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.matmul import output_value
from bitquant.intrin.mma import load_coherent, local, store_local
from bitquant.intrin.wgmma import WARPGROUP, named_barrier, store_transposed
from bitquant.schedule.rules.hopper.emit.sums import finished_sum, load_row_scales
from bitquant.schedule.rules.hopper.hint import ROWS, WgmmaHint
from bitquant.schedule.rules.operands import row_index

if TYPE_CHECKING:
    from bitquant.schedule.rules.hopper.emit.kernel import Job, Kernel

__all__ = ["Exchange", "TileStore"]

Expr = Any


@dataclass(frozen=True)
class Exchange:
    """How the sums of a tile's parts along K meet: each part sends the others what those store.

    The tile's blocks of 8 columns are cut into shares; share s is stored by block s % blocks of the cluster.

    Attributes
    ----------
    parts
        Parts of K.
    blocks
        Blocks of the cluster that have them.
    share_columns
        Blocks of 8 columns in a share.
    sharers, shares_in_block
        Shares, at most one a part, and those that one block stores.
    nbytes
        Shared memory of a block that it takes.
    """

    parts: int
    blocks: int
    share_columns: int
    sharers: int
    shares_in_block: int
    nbytes: int

    @classmethod
    def of(cls, hint: WgmmaHint) -> Exchange | None:
        """Return that of a hint, or None where no K is shared."""
        blocks = max(hint.split_k, hint.tail_split)  # Those that send each other A share no K.
        parts = blocks * hint.consumers_k
        if parts == 1:
            return None
        columns = -(-hint.block_m // (8 * parts))
        sharers = -(-hint.block_m // (8 * columns))
        in_block = -(-sharers // blocks)
        nbytes = hint.consumers_n * in_block * parts * hint.rows * columns * WARPGROUP * 16
        return cls(parts, blocks, columns, sharers, in_block, nbytes)


class TileStore:
    """Emits the stores of a consumer warpgroup's sums.

    Parameters
    ----------
    kernel
        The kernel, with its operands bound and its consumer's variables emitted.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def store(self, job: Job) -> None:
        """Emit the sums' way to D: over K's parts, through shared memory to rows of D."""
        if job.is_shared is not None:
            with T.If(job.is_shared):
                with T.Then():
                    self._store_share(job)
                with T.Else():
                    self._store_tile(job)
        elif self.kernel.exchange is not None:
            self._store_share(job)
        else:
            self._store_tile(job)

    def _store_tile(self, job: Job) -> None:
        """Emit the stores of a tile whose sums are all here."""
        self.exchange = None
        self._store_columns(job, T.int32(0), self.kernel.hint.block_m // 8)

    def _store_share(self, job: Job) -> None:
        """Emit the exchange of sums, and the stores of this consumer's share, if it has one."""
        kernel = self.kernel
        assert kernel.exchange is not None
        self.exchange = exchange = kernel.exchange
        self._exchange_sums(exchange)
        first_column = local("int32", self._first_column(kernel.share))
        if exchange.sharers < exchange.parts:
            with T.If(kernel.share < exchange.sharers), T.Then():
                self._store_columns(job, first_column, exchange.share_columns)
        else:
            self._store_columns(job, first_column, exchange.share_columns)

    def _first_column(self, share: Any) -> Any:
        """Return the first block of 8 columns of a share; the last one begins earlier rather than leave the tile."""
        columns = self.kernel.exchange.share_columns
        last = self.kernel.hint.block_m // 8 - columns
        first = share * columns
        return min(first, last) if isinstance(share, int) else T.min(first, last)

    def _store_columns(self, job: Job, first_column: Expr, columns: int) -> None:
        """Emit the stores of some blocks of 8 columns of D^T."""
        kernel = self.kernel
        c, h = kernel.config, kernel.hint
        per_slice = kernel.slice_m // 8

        def store(row: int) -> None:
            n = local("int32", job.n0 + (kernel.part_n * h.rows + row) * ROWS)
            bias = self._load_channels(kernel.epilogue.Bias, n) if c.with_bias else None
            scale = self._load_channels(kernel.epilogue.ChannelScale, n) if c.with_channel_scale else None
            self.row_scales = load_row_scales(kernel, row)
            for first in range(0, columns, per_slice):
                count = min(per_slice, columns - first)
                m = local("int32", job.m0 + (first_column + first) * 8)
                self._stage_slice(row, m, first, count, bias, scale)
                named_barrier(kernel.group + 1, WARPGROUP)
                self._store_slice(m, n, count * 8)
                named_barrier(kernel.group + 1, WARPGROUP)

        for row in range(h.rows):
            if h.row_blocks and (h.consumers_n - 1) * h.rows + row >= h.row_blocks:
                # What the last consumer holds beyond the tile belongs to the next one.
                with T.If(kernel.part_n * h.rows + row < h.row_blocks), T.Then():
                    store(row)
            else:
                store(row)

    def _load_channels(self, buffer: Any, n: Expr) -> Any:
        """Emit the loads of buffer[n] for the two channels of this thread."""
        kernel = self.kernel
        values = T.alloc_local((2,), buffer.dtype)
        for half in range(2):
            at = n + kernel.warp * 16 + kernel.lane // 4 + 8 * half
            store_local(values, half, buffer[T.min(at, kernel.config.N - 1) if kernel.has_ragged_n else at])
        return values

    def _load_activation_scales(self, m: Expr, count: int) -> list[Expr]:
        """Emit the loads of the scales of this thread's rows, two for each of `count` blocks of 8 rows from m on.

        Rows beyond the last one, which are not stored, take its scale.
        """
        kernel = self.kernel
        rows = [m + j * 8 + kernel.lane % 4 * 2 + i for j in range(count) for i in range(2)]
        return [load_coherent(kernel.epilogue.ActivationScale, T.min(row, kernel.m - 1)) for row in rows]

    def _sums(self, row: int, column: int) -> list[Expr]:
        """Emit what makes the four sums of the column-th block of 8 columns that are stored; return them as numbers."""
        kernel, exchange = self.kernel, self.exchange
        if exchange is None:
            values = [kernel.totals[row][column * 4 + i] for i in range(4)]
        else:
            kind = "u32" if kernel.total_dtype == "uint32" else "f32"
            total, term = (T.alloc_local((4,), kernel.total_dtype) for _ in range(2))
            place = T.int32(0) if exchange.shares_in_block == 1 else T.truncdiv(kernel.share, exchange.blocks)
            for part in range(exchange.parts):
                target = term if part else total
                address = self._exchange_address(exchange, place, T.int32(part), row, column)
                T.evaluate(T.ptx[f"ld.shared.v4.{kind}"](*[target[i] for i in range(4)], address))
                for i in range(4) if part else ():
                    store_local(total, i, total[i] + term[i])
            values = [total[i] for i in range(4)]
        scales = self.row_scales
        return [finished_sum(kernel, v, None if scales is None else scales[i // 2]) for i, v in enumerate(values)]

    def _exchange_address(self, exchange: Exchange, place: Expr, part: Expr, row: int, column: int) -> Expr:
        """Return where a thread's four sums of a part stand in the block that stores them.

        `place` is the share's place among those of the block, `column` one of the share's blocks of 8 columns.
        """
        kernel = self.kernel
        h = kernel.hint
        index = (kernel.part_n * exchange.shares_in_block + place) * exchange.parts + part
        index = ((index * h.rows + row) * exchange.share_columns + column) * WARPGROUP + kernel.thread
        return kernel.base + (kernel.exchange_offset + index * 16).astype("uint32")

    def _exchange_sums(self, exchange: Exchange) -> None:
        """Emit the way of this consumer's sums to the blocks and warpgroups that store them, and the wait for theirs.

        Sums are sent, and do not wait until they are read: distributed shared memory answers slowly.
        """
        kernel = self.kernel
        h = kernel.hint
        kind = "u32" if kernel.total_dtype == "uint32" else "f32"
        part = kernel.rank * h.consumers_k + kernel.part_k_index
        if not kernel.exchanges_in_ring:
            # That the other blocks have begun.
            kernel.wait_for_cluster()
        else:
            # That all have read their last slots.
            self._meet(exchange)
        for share in range(exchange.sharers):
            place, rank = divmod(share, exchange.blocks)
            for row in range(h.rows):
                for column in range(exchange.share_columns):
                    first = (self._first_column(share) + column) * 4
                    values = [kernel.totals[row][first + i] for i in range(4)]
                    address = self._exchange_address(exchange, T.int32(place), part, row, column)
                    if exchange.blocks > 1:
                        remote = T.alloc_local((1,), "uint32")
                        T.evaluate(T.ptx["mapa.shared::cluster.u32"](remote[0], address, T.uint32(rank)))
                        T.evaluate(T.ptx[f"st.shared::cluster.v4.{kind}"](remote[0], *values))
                    else:
                        T.evaluate(T.ptx[f"st.shared.v4.{kind}"](address, *values))
        self._meet(exchange)

    def _meet(self, exchange: Exchange) -> None:
        """Emit the meeting of all threads that exchange sums."""
        kernel = self.kernel
        if exchange.blocks > 1:
            kernel.arrive_at_cluster()
            kernel.wait_for_cluster()
        else:
            named_barrier(T.int32(kernel.consumers + 1), kernel.consumers * WARPGROUP)

    def _stage_slice(self, row: int, m: Expr, first: int, count: int, bias: Any, channel_scale: Any) -> None:
        """Emit the stores of `count` blocks of 8 columns of D^T, transposed, to this consumer's shared memory.

        `m` is the first one's row of D, and `first` its place among those that are stored.
        """
        kernel = self.kernel
        c = kernel.config
        bits = c.out_format.bits
        base = kernel.base + (kernel.out_offset + kernel.group * (kernel.slice_m * kernel.out_stride)).astype("uint32")

        scales = self._load_activation_scales(m, count) if c.with_activation_scale else None

        def output(sums: Sequence[Expr], column: int, i: int) -> Expr:
            value = output_value(
                c,
                sums[i],
                None if bias is None else bias[i // 2],
                None if scales is None else scales[2 * column + i % 2],
                None if channel_scale is None else channel_scale[i // 2],
            )
            return tirx.reinterpret(f"uint{bits}", value)

        if bits == 16:
            matrix, line = kernel.lane // 8, kernel.lane % 8
            for j in range(0, count, 2):
                blocks = min(2, count - j)
                words = T.alloc_local((2 * blocks,), "uint32")
                sums = [self._sums(row, first + j + block) for block in range(blocks)]
                for i in range(2 * blocks):
                    pair = [output(sums[i // 2], j + i // 2, i % 2 * 2 + e).astype("uint32") for e in range(2)]
                    store_local(words, i, pair[0] | (pair[1] << T.uint32(16)))
                # Lanes 16 to 31 name rows of the second block, where there is one.
                block = matrix // 2 if blocks == 2 else 0
                offset = ((j + block) * 8 + line) * kernel.out_stride + (kernel.warp * 2 + matrix % 2) * 16
                store_transposed(base + offset.astype("uint32"), [words[i] for i in range(2 * blocks)])
            return
        kind = f"b{bits}" if bits > 8 else "u8"
        for j in range(count):
            sums = self._sums(row, first + j)
            for i in range(4):
                line, n = j * 8 + kernel.lane % 4 * 2 + i % 2, kernel.warp * 16 + kernel.lane // 4 + i // 2 * 8
                address = base + (line * kernel.out_stride + n * (bits // 8)).astype("uint32")
                value = output(sums, j, i)
                T.evaluate(T.ptx[f"st.shared.{kind}"](address, value.astype("uint16") if bits == 8 else value))

    def _store_slice(self, m_first: Expr, n_first: Expr, count: int) -> None:
        """Emit the stores of `count` rows of 64 outputs from shared memory to D, from row `m_first` on."""
        kernel = self.kernel
        c = kernel.config
        out_bytes = c.out_format.bits // 8
        width = kernel.store_bytes
        per_row = ROWS * out_bytes // width
        base = kernel.base + (kernel.out_offset + kernel.group * (kernel.slice_m * kernel.out_stride)).astype("uint32")
        words = max(1, width // 4)
        kind = {16: "v4.u32", 8: "v2.u32", 4: "u32", 2: "u16", 1: "u8"}[width]

        def piece(index: Expr) -> None:
            row, column = index // per_row, index % per_row * width
            m = m_first + row
            inside = m < kernel.m
            n = n_first + column // out_bytes
            if kernel.has_ragged_n:
                inside = tirx.all(inside, n < c.N)
            with T.If(inside), T.Then():
                value = T.alloc_local((words,), "uint32" if width >= 4 else "uint16")
                registers = [value[i] for i in range(words)]
                address = base + (row * kernel.out_stride + column).astype("uint32")
                T.evaluate(T.ptx[f"ld.shared.{kind}"](*registers, address))
                target = kernel.epilogue.D.ptr_to([row_index(c, kernel.rung, m), n])
                T.evaluate(T.ptx[f"st.global.{kind}"](target, *registers))

        total = count * per_row
        for i in range(total // WARPGROUP):
            piece(i * WARPGROUP + kernel.thread)
        if total % WARPGROUP:
            with T.If(kernel.thread < total % WARPGROUP), T.Then():
                piece(total // WARPGROUP * WARPGROUP + kernel.thread)
