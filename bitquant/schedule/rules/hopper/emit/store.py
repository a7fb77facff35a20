# SPDX-License-Identifier: Apache-2.0
"""The epilogue of the wgmma kernel: partial sums of split K are added, and pass through shared memory to D."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.matmul import cast_output, epilogue_value, output_value
from bitquant.intrin.mma import load_coherent, local, store_local
from bitquant.intrin.wgmma import WARPGROUP, named_barrier, store_transposed
from bitquant.operands import Operand
from bitquant.schedule.rules.hopper.emit.accumulate import finished_sum, load_row_scales
from bitquant.schedule.rules.hopper.emit.context import Context, WorkTile
from bitquant.schedule.rules.hopper.emit.decode import unit_exponent
from bitquant.schedule.rules.hopper.emit.exchange import SumExchange
from bitquant.schedule.rules.hopper.emit.gated import GatedPairs, matrices
from bitquant.schedule.rules.hopper.emit.partial_sums import PartialSums
from bitquant.schedule.rules.hopper.emit.scheduler import TileScheduler
from bitquant.schedule.rules.hopper.hint import ROWS
from bitquant.schedule.rules.operands import row_index

__all__ = ["TileStore"]

Expr = Any
#: Emits what makes the four sums of a block of rows and of 8 columns, and returns them.
Sums = Callable[[int, int], list[Expr]]


class TileStore:
    """Emits the stores of a consumer warpgroup's sums.

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    totals
        For each block of 64 rows the sums.
    scheduler
        What has split the tiles.
    """

    def __init__(self, context: Context, totals: Sequence[Any], scheduler: TileScheduler) -> None:
        self.context, self.totals, self.scheduler = context, totals, scheduler

    def store(self, work_tile: WorkTile) -> None:
        """Emit the epilogue: the reduction over the parts of K, then the stores of rows of D through shared memory."""
        exchange = self.context.g.exchange
        if self.context.hint.stream_k:
            meeting = PartialSums(self.context, self.totals, self.scheduler)
            with T.If(meeting.complete(work_tile)), T.Then():
                self._store_tile(work_tile)
        elif exchange is None:
            self._store_tile(work_tile)
        elif work_tile.is_shared is None:
            self._store_share(work_tile, SumExchange(self.context, exchange, self.totals))
        else:
            with T.If(work_tile.is_shared):
                with T.Then():
                    self._store_share(work_tile, SumExchange(self.context, exchange, self.totals))
                with T.Else():
                    self._store_tile(work_tile)

    def _store_tile(self, work_tile: WorkTile) -> None:
        """Emit the stores of a tile whose sums are all here."""

        def own(row: int, column: int) -> list[Expr]:
            return [self.totals[row][column * 4 + i] for i in range(4)]

        self._store_columns(work_tile, own, T.int32(0), self.context.hint.block_m // 8)

    def _store_share(self, work_tile: WorkTile, exchange: SumExchange) -> None:
        """Emit the exchange of partial sums, and the stores of the columns that this consumer reduces, if any."""
        share, how = self.context.share, exchange.exchange
        if how.keeps_own:
            for own in range(how.parts):
                with T.If(share == own), T.Then():
                    exchange.send(own)
                    if own < how.share_count:
                        sums = partial(exchange.sums_with_own, own)
                        self._store_columns(work_tile, sums, T.int32(exchange.first_column(own)), how.share_columns)
            return
        exchange.send()
        first_column = local("int32", exchange.first_column(share))
        if how.share_count < how.parts:
            with T.If(share < how.share_count), T.Then():
                self._store_columns(work_tile, exchange.sums, first_column, how.share_columns)
        else:
            self._store_columns(work_tile, exchange.sums, first_column, how.share_columns)

    def _store_columns(self, work_tile: WorkTile, sums: Sums, first_column: Expr, columns: int) -> None:
        """Emit the stores of some blocks of 8 columns of D^T."""
        context = self.context
        h = context.hint
        per_slice = context.g.memory.slice_m // 8

        def store(row: int) -> None:
            n = local("int32", work_tile.n0 + (context.part_n * h.n_tiles_per_consumer + row) * ROWS)
            by_channel = {o: self._load_channels(buffer, n) for o, buffer in self._epilogue("W")}
            row_scales = load_row_scales(context, work_tile.n0, row)

            def finished(column: int) -> list[Expr]:
                scales = [None if row_scales is None else row_scales[i // 2] for i in range(4)]
                values = [finished_sum(context, v, s) for v, s in zip(sums(row, column), scales, strict=True)]
                if context.g.scales_subnormals:
                    values = [value * T.float32(2.0 ** unit_exponent(i // 2)) for i, value in enumerate(values)]
                return values

            for first in range(0, columns, per_slice):
                count = min(per_slice, columns - first)
                m = local("int32", work_tile.m0 + (first_column + first) * 8)
                self._stage_slice(finished, m, first, count, by_channel)
                named_barrier(context.group + 1, WARPGROUP)
                self._store_slice(m, n, count * 8, work_tile.row_end)
                named_barrier(context.group + 1, WARPGROUP)

        for row in range(h.n_tiles_per_consumer):
            if h.n_tiles_per_cta and (h.consumers_n - 1) * h.n_tiles_per_consumer + row >= h.n_tiles_per_cta:
                # What the last consumer holds beyond the tile belongs to the next one.
                with T.If(context.part_n * h.n_tiles_per_consumer + row < h.n_tiles_per_cta), T.Then():
                    store(row)
            else:
                store(row)

    def _epilogue(self, rows: str) -> list[tuple[Operand, Any]]:
        """Return the operands of the epilogue, and their buffers: those indexed by rows of A, or of W."""
        return [(o, buffer) for o, buffer in self.context.inputs.operands.of_epilogue.items() if o.rows == rows]

    def _load_channels(self, buffer: Any, n: Expr) -> Any:
        """Emit the loads of buffer[n] for the two channels of this thread."""
        context = self.context
        values = T.alloc_local((2,), buffer.dtype)
        for half in range(2):
            at = n + context.warp * 16 + context.lane // 4 + 8 * half
            store_local(values, half, buffer[T.min(at, context.config.N - 1) if context.g.has_ragged_n else at])
        return values

    def _load_rows(self, buffer: Any, m: Expr, count: int) -> list[Expr]:
        """Emit the loads of buffer[m] for this thread's rows, two for each of `count` blocks of 8 rows from m on.

        Rows beyond the last one, which are not stored, take its value.
        """
        context, all_rows = self.context, self.context.inputs.operands.rows
        rows = [m + j * 8 + context.lane % 4 * 2 + i for j in range(count) for i in range(2)]
        return [load_coherent(buffer, T.min(row, all_rows - 1)) for row in rows]

    def _slice(self) -> Expr:
        """Return the address of this consumer's slice of D in shared memory."""
        context, memory = self.context, self.context.g.memory
        offset = memory.out_offset + context.group * (memory.slice_m * memory.out_stride)
        return context.base + offset.astype("uint32")

    def _stage_slice(
        self, finished: Callable[[int], list[Expr]], m: Expr, first: int, count: int, by_channel: Mapping[Operand, Any]
    ) -> None:
        """Emit the stores of `count` blocks of 8 columns of D^T, transposed, to this consumer's shared memory.

        `m` is the first one's row of D, and `first` its index among those that are stored; `finished` returns the sums
        of one of those, and `by_channel` holds the epilogue's operands that are indexed by rows of W.
        """
        context, c, out_stride = self.context, self.context.config, self.context.g.memory.out_stride
        bits, base = c.out_format.bits, self._slice()
        by_row = {o: self._load_rows(buffer, m, count) for o, buffer in self._epilogue("A")}

        def epilogue(column: int, i: int) -> dict[str, Expr]:
            values = {o.argument: loaded[i // 2] for o, loaded in by_channel.items()}
            return values | {o.argument: loaded[2 * column + i % 2] for o, loaded in by_row.items()}

        if c.activation is not None:
            self._stage_gated(finished, first, count, epilogue)
            return

        def output(sums: Sequence[Expr], column: int, i: int) -> Expr:
            return tirx.reinterpret(f"uint{bits}", output_value(c, sums[i], **epilogue(column, i)))

        if bits == 16:
            matrix, line = context.lane // 8, context.lane % 8
            for j in range(0, count, 2):
                blocks = min(2, count - j)
                words = T.alloc_local((2 * blocks,), "uint32")
                sums = [finished(first + j + block) for block in range(blocks)]
                for i in range(2 * blocks):
                    pair = [output(sums[i // 2], j + i // 2, i % 2 * 2 + e).astype("uint32") for e in range(2)]
                    store_local(words, i, pair[0] | (pair[1] << T.uint32(16)))
                # Lanes 16 to 31 name rows of the second block, where there is one.
                block = matrix // 2 if blocks == 2 else 0
                offset = ((j + block) * 8 + line) * out_stride + (context.warp * 2 + matrix % 2) * 16
                store_transposed(base + offset.astype("uint32"), [words[i] for i in range(2 * blocks)])
            return
        kind = f"b{bits}" if bits > 8 else "u8"
        for j in range(count):
            sums = finished(first + j)
            for i in range(4):
                line, n = j * 8 + context.lane % 4 * 2 + i % 2, context.warp * 16 + context.lane // 4 + i // 2 * 8
                address = base + (line * out_stride + n * (bits // 8)).astype("uint32")
                value = output(sums, j, i)
                T.evaluate(T.ptx[f"st.shared.{kind}"](address, value.astype("uint16") if bits == 8 else value))

    def _stage_gated(
        self,
        finished: Callable[[int], list[Expr]],
        first: int,
        count: int,
        epilogue: Callable[[int, int], Mapping[str, Expr]],
    ) -> None:
        """Emit what `_stage_slice` does with an activation: two rows of D^T are one column of D.

        `epilogue` returns the operands of the epilogue of sum i of a block of 8 columns of D^T.
        """
        context, c, out_stride = self.context, self.context.config, self.context.g.memory.out_stride
        bits, base, pairs = c.out_format.bits, self._slice(), GatedPairs(self.context)

        def outputs(block: int) -> list[Expr]:
            sums = finished(first + block)
            values = [epilogue_value(c, x, **epilogue(block, i))[0] for i, x in enumerate(sums)]
            activated = [pairs.activated(values[i], values[i + 2]) for i in range(2)]
            return [
                tirx.reinterpret(f"uint{bits}", cast_output(x, "float32", c.out_format.tvm_dtype)) for x in activated
            ]

        if bits == 16:
            for j, blocks in matrices(count):
                words = T.alloc_local((blocks,), "uint32")
                for block in range(blocks):
                    pair = [x.astype("uint32") for x in outputs(j + block)]
                    store_local(words, block, pairs.ordered(pair[0] | (pair[1] << T.uint32(16))))
                line = (j + context.lane // 8 % blocks) * 8 + context.lane % 8
                offset = line * out_stride + context.warp * 16
                store_transposed(base + offset.astype("uint32"), [words[i] for i in range(blocks)])
            return
        kind = f"b{bits}" if bits > 8 else "u8"
        for j in range(count):
            for i, value in enumerate(outputs(j)):
                line, n = j * 8 + context.lane % 4 * 2 + i, context.warp * 8 + pairs.column
                address = base + (line * out_stride + n * (bits // 8)).astype("uint32")
                T.evaluate(T.ptx[f"st.shared.{kind}"](address, value.astype("uint16") if bits == 8 else value))

    def _store_slice(self, m_first: Expr, n_first: Expr, count: int, row_end: Expr) -> None:
        """Emit the stores of `count` rows of a tile from shared memory to D, from row `m_first` to `row_end`.

        `n_first` is the tile's first row of W.
        """
        context, g, c = self.context, self.context.g, self.context.config
        out_bytes, of_w = c.out_format.bits // 8, c.rows_per_column
        width = g.store_bytes
        per_row = ROWS // of_w * out_bytes // width
        base, out_stride = self._slice(), g.memory.out_stride
        words = max(1, width // 4)
        kind = {16: "v4.u32", 8: "v2.u32", 4: "u32", 2: "u16", 1: "u8"}[width]

        def piece(index: Expr) -> None:
            row, column = index // per_row, index % per_row * width
            m = m_first + row
            inside = m < row_end
            n = T.truncdiv(n_first, of_w) + column // out_bytes
            if g.has_ragged_n:
                inside = tirx.all(inside, n < c.columns)
            with T.If(inside), T.Then():
                value = T.alloc_local((words,), "uint32" if width >= 4 else "uint16")
                registers = [value[i] for i in range(words)]
                address = base + (row * out_stride + column).astype("uint32")
                T.evaluate(T.ptx[f"ld.shared.{kind}"](*registers, address))
                target = context.inputs.operands.D.ptr_to([row_index(c, g.rung, m), n])
                T.evaluate(T.ptx[f"st.global.{kind}"](target, *registers))

        total = count * per_row
        for i in range(total // WARPGROUP):
            piece(i * WARPGROUP + context.thread)
        if total % WARPGROUP:
            with T.If(context.thread < total % WARPGROUP), T.Then():
                piece(total // WARPGROUP * WARPGROUP + context.thread)
