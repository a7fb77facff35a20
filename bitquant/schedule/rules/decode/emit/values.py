# SPDX-License-Identifier: Apache-2.0
"""A as values: products by mma on decoded registers of the weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.intrin.mma import load_fragments, store_local, sum_value
from bitquant.intrin.operations import PairTable
from bitquant.schedule.rules.decode.emit.context import Context, Cursor
from bitquant.schedule.rules.decode.emit.factors import Factors
from bitquant.schedule.rules.decode.emit.sums import Sums, Total
from bitquant.schedule.rules.decode.products import Product

__all__ = ["ValueProducts"]

Expr = Any


class ValueProducts:
    """Emits the products of tiles by A's values, as `DecodeGeometry.products` lists them."""

    def __init__(self, context: Context, sums: Sums, factors: Factors) -> None:
        g = context.g
        self.context, self.g, self.hint = context, g, context.hint
        self.sums, self.factors = sums, factors
        self.table: PairTable | None = None
        if g.decoder.table_bytes:
            self.table = PairTable(context.arena, g.smem.table_offset, context.lane, g.holds_table_address)

    def multiply_tile(self, words: Any, at: Cursor, tile: int) -> None:
        """Emit the products of one tile of a body, and the scaling of sums where runs end."""
        g = self.g
        in_run = g.run_k // g.fragment_layout.step_k * g.decoder.registers
        in_load = 2 * g.decoder.registers
        for index, product in enumerate(g.products):
            if index % in_load == 0:
                loaded = g.products[index : index + in_load]
                columns = list(dict.fromkeys(column for p in loaded for column, _ in p.right))
                k = (at.tile_of_phase + tile) * g.fragment_layout.tile_k
                right = self._right_operands(self._load_right(at.iteration % g.buffers, k, columns), columns)
            run, place = divmod(tile * len(g.products) + index, in_run)
            if place == 0:
                self.sums.begin_run()
            self._multiply(words, right, product)
            if place == in_run - 1:
                self._end_run(run)

    def _load_right(self, buffer: Expr, k: Expr, columns: Sequence[int]) -> Any:
        """Emit the loads of two or four registers of the right operand for each 8 rows of A.

        Register c of a tile holds 16 bytes of a row, from k of a phase and byte 16 * c on. They come in the order of
        `columns`, as an mma wants them: its two registers side by side.
        """
        g, lane, count = self.g, self.context.lane, len(columns)
        registers = T.alloc_local((count * g.m_tiles,), "uint32")
        next_, next_pair = columns[1] - columns[0], columns[-2] - columns[0]
        assert list(columns) == [columns[0] + i % 2 * next_ + i // 2 * next_pair for i in range(count)]
        byte = k * self.context.config.A_format.bits // 8 + 16 * columns[0]
        # Lanes name rows of A, and one of the columns.
        column = lane // 8 % 2 * next_ + lane // 16 * next_pair if count == 4 else lane // 8 * next_
        for j in range(g.m_tiles):
            row = j * 8 + lane % 8
            row = T.min(row, g.rows_of_a - 1) if g.rows_of_a < (j + 1) * 8 else row
            offset = g.smem.a_tile.offset(buffer, row, byte + column * 16)
            load_fragments(self.context.arena, offset, [registers[count * j + i] for i in range(count)])
        return registers

    def _right_operands(self, loaded: Any, columns: Sequence[int]) -> Callable[[int, int, int], Expr]:
        """Return what gives the registers of A for 8 rows j, a column, and a part where float8 becomes float16."""
        decoded: dict[tuple[int, int], list[Expr]] = {}

        def register(j: int, column: int, part: int) -> Expr:
            if (j, column) not in decoded:
                raw = loaded[len(columns) * j + columns.index(column)]
                decoded[j, column] = self.g.a_decoder.decode([[raw]], 0) if self.g.a_decoder else [raw]
            return decoded[j, column][part]

        return register

    def _multiply(self, words: Any, right: Callable[[int, int, int], Expr], product: Product) -> None:
        """Emit one product, by all rows of tiles and of A."""
        g, sums = self.g, self.sums
        sources = [[right(j, *register) for register in product.right] for j in range(g.m_tiles)]
        for r in range(self.hint.n_tiles_per_warp):
            left = self._left_operand(words, r, product)
            for j in range(g.m_tiles):
                g.mma.emit(sums.accumulators(product.sum_class, r, j), left, sources[j])
        if g.needs_sum_of_a:
            ones = [T.uint32(g.ones[i % 2]) for i in range(4)]
            for j in range(g.m_tiles):
                g.ones_mma.emit(sums.a_accumulators(sum(sums.counts), j), ones, sources[j])
        sums.counts[product.sum_class] += 1

    def _left_operand(self, words: Any, r: int, product: Product) -> list[Expr]:
        """Return the four registers of the weight for one mma."""
        planes, first = [], r * self.g.lane_words
        for plane in self.g.fragment_layout.planes:
            planes.append([words[first + i] for i in range(plane.words)])
            first += plane.words
        named = dict.fromkeys(register for register, _ in product.left)
        decoded = {register: self.g.decoder.decode(planes, register, self.table) for register in named}
        return [decoded[register][part] for register, part in product.left]

    def _end_run(self, run: int) -> None:
        """Emit total += decode(sums of the run)."""
        g, h, dtype = self.g, self.hint, self.context.config.reduce_dtype
        counts, stride = self.sums.counts, h.n_tiles_per_warp * g.m_tiles * 4

        def added(buffer: Any, first: int, chains: int, stride: int) -> Expr:
            sums = [sum_value(buffer[first + chain * stride]) for chain in range(chains)]
            while len(sums) > 1:
                sums = [sum(sums[k + 1 : k + 2], sums[k]) for k in range(0, len(sums), 2)]
            return sums[0].astype(dtype)

        def joined(at: int, row: int) -> Expr:
            total = None
            # Short runs of one-bit weights have products of one class.
            for k in (k for k in reversed(range(len(g.classes))) if counts[k]):
                part = added(self.sums.acc, k * g.chains * stride + at, min(g.chains, counts[k]), stride)
                factor = g.factor * 2.0 ** (g.classes[-1][row] - g.classes[k][row])
                part = part * tirx.const(factor, dtype) if factor != 1 else part
                total = part if total is None else total + part
            return total

        for j in range(g.m_tiles):
            sum_of_a = T.alloc_local((4,), dtype)
            if g.needs_sum_of_a:
                for i in range(4):
                    chains = min(g.a_chains, sum(counts))
                    store_local(sum_of_a, i, added(self.sums.a_sum, 4 * j + i, chains, 4 * g.m_tiles))
            for r in range(h.n_tiles_per_warp):
                for i in range(4):
                    at = (r * g.m_tiles + j) * 4 + i
                    dot = joined(at, i // 2)
                    if g.decoder.shares_bytes and i < 2:
                        dot = dot - joined(at + 2, 1)
                    self.sums.add_run(self.factors, at, dot, sum_of_a[i], 2 * r + i // 2, run)

    def finished(self) -> Iterator[Total]:
        """Yield this thread's totals, scaled by the unit of sums."""
        g = self.g
        for r in range(self.hint.n_tiles_per_warp):
            for j in range(g.m_tiles):
                for i in range(4):
                    m = j * 8 + self.context.lane % 4 * 2 + i % 2
                    value = self.sums.total[(r * g.m_tiles + j) * 4 + i]
                    if g.unit[i // 2] != 1:
                        value = value * tirx.const(g.unit[i // 2], self.context.config.reduce_dtype)
                    is_there = m < g.rows_of_a if (j + 1) * 8 > g.rows_of_a else None
                    yield Total(m, self.context.column(r, i // 2), value, is_there)
