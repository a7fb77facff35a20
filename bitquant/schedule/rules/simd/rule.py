# SPDX-License-Identifier: Apache-2.0
"""The rules of the SIMD kernel: one for each type of products."""

from __future__ import annotations

import dataclasses
import itertools
from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

from tvm.tirx import PrimFunc

from bitquant.arithmetic import balanced_chunk, round_up
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.rules.simd.emit import emit
from bitquant.schedule.rules.simd.geometry import SimdGeometry, block_k_of, fault_of_lanes, takes_words
from bitquant.schedule.rules.simd.hint import SimdHint
from bitquant.schedule.rules.simd.products import BFLOAT16, FLOAT32, INT8, Product

__all__ = ["Bfloat16Rule", "Float32Rule", "Int8Rule", "SimdRule"]

#: Most rows for which weights are decoded in registers: float32 and int8; bfloat16; bfloat16 of codes of 8 bits, which
#: are not looked up (docs/kernels.md has the figures).
_FEW_ROWS, _FEW_BFLOAT16_ROWS, _FEW_CONVERTED_ROWS = 16, 12, 4
#: Fewest rows for blocks of 6 x 4 sums with AVX-512. Fewer leave too many rows of the last block empty.
_MANY_ROWS = 128
#: Bytes of a decoded column of the buffer, which with 16 columns makes 64 KiB; and of a tile's rows of A. Both stay in
#: a second-level cache.
_COLUMN_BYTES, _ROWS_BYTES = 4 << 10, 256 << 10
#: Most k for which lanes of int32 hold sums of products that are scaled later: 8 lanes of 2^31 / (128 * 255).
_MAX_K = 1 << 18


class SimdRule(Rule):
    """Vectors of words of one row of W, decoded, by rows of A in the order of the codes in those words.

    A vector of words holds a block of consecutive k. Shifted by one code after the other it gives vectors of codes,
    from which a permutation looks up decoded weights in a register that holds all of them for a group; other formats
    are converted and scaled. So no lane is moved to another: rows of A are brought into the order of the codes, once.
    """

    pipeline = "s_tir"
    hint_type = SimdHint
    is_for_cpu = True
    product: ClassVar[Product]

    @abstractmethod
    def _refuses_types(self, problem: Problem) -> str | None:
        """Return why types of A and W do not fit the products."""

    def refuses(self, problem: Problem) -> str | None:
        """Refuse other targets than x86 with AVX2, types of A, layout nn, ragged K, few rows of codes across words."""
        config = problem.config
        if problem.is_cuda:
            return f"needs a CPU target (got {problem.device_name})"
        if (reason := self._refuses_types(problem)) is not None:
            return reason
        if config.layout != "nt":
            return f"needs layout nt (got {config.layout})"
        faults = [fault_of_lanes(problem, self.product, lanes) for lanes in (16, 8)]
        return None if None in faults else faults[-1]

    def shapes(self, problem: Problem) -> Iterator[SimdHint]:
        """Yield the hint that `_wanted_hint` says, then its neighbours."""
        lanes = self._lanes(problem)
        first = _wanted_hint(problem, self.product, lanes[0])
        yield first
        seen = {first}
        ways = (True, False) if takes_words(problem, lanes[0]) else (False,)  # Registers take whole words.
        starts = [_wanted_hint(problem, self.product, lanes[0], is_few) for is_few in ways]
        if problem.rung > _few_rows(problem, self.product):
            starts.reverse()
        if len(lanes) > 1:
            starts.append(_wanted_hint(problem, self.product, lanes[1]))
        starts.append(dataclasses.replace(first, prefetch=not first.prefetch))
        blocks = ((4, 4), (6, 4), (4, 2), (8, 2), (5, 4), (2, 4), (1, 8), (1, 4), (2, 8), (8, 3))
        for start in starts:
            for (rows, cols), tiles, parts in itertools.product(
                ((start.rows, start.cols), *blocks), ((1, 1), (1, 2), (2, 1), (4, 1)), (1, 2)
            ):
                if rows > max(4, problem.rung) or start.chunk % parts:
                    continue
                hint = dataclasses.replace(
                    start, rows=rows, cols=cols, chunk=start.chunk // parts,
                    row_tile=max(1, round(start.row_tile * tiles[0] / rows)) * rows,
                    col_tile=max(1, start.col_tile * tiles[1] // cols) * cols,
                )  # fmt: skip
                if hint not in seen and hint.fault() is None:
                    seen.add(hint)
                    yield hint

    def _lanes(self, problem: Problem) -> list[int]:
        """Return the lanes that fit, the preferred ones first.

        Few rows of bfloat16 decode by one permutation where a block lies in one group, if need be a block of 8 words.
        """
        lanes = [n for n in (16, 8) if fault_of_lanes(problem, self.product, n) is None]
        config = problem.config
        if self.product is BFLOAT16 and config.num_groups > 1 and problem.rung <= _few_rows(problem, BFLOAT16):
            lanes.sort(key=lambda n: config.group % (32 * n // config.W_format.bits) > 0)
        lanes.sort(key=lambda n: not takes_words(problem, n))
        return lanes

    def geometry(self, problem: Problem, hint: Hint) -> SimdGeometry:
        """Return how the kernel cuts the problem."""
        return SimdGeometry(problem, hint, self.product)

    def emit(self, geometry: SimdGeometry) -> PrimFunc:
        """Write the kernel for this problem."""
        return emit(geometry)


class Float32Rule(SimdRule):
    """Products of float32, for a floating-point A: fused multiply-adds."""

    name = "cpu_float32"
    product = FLOAT32

    def _refuses_types(self, problem: Problem) -> str | None:
        config = problem.config
        return f"needs a floating-point A (got {config.A_dtype})" if config.A_format.is_integer else None


class Bfloat16Rule(SimdRule):
    """Products of bfloat16, added up in float32, for a bfloat16 A: vdpbf16ps, twice as many an instruction."""

    name = "cpu_bfloat16"
    product = BFLOAT16

    def _refuses_types(self, problem: Problem) -> str | None:
        config = problem.config
        return None if config.A_dtype == "bfloat16" else f"needs A of type bfloat16 (got {config.A_dtype})"


class Int8Rule(SimdRule):
    """Products of bytes, added up in int32, for an int8 A: vpdpbusd, or vpmaddubsw where the CPU lacks it."""

    name = "cpu_int8"
    product = INT8

    def _refuses_types(self, problem: Problem) -> str | None:
        config = problem.config
        if not config.A_format.is_integer:
            return f"needs A of type int8 (got {config.A_dtype})"
        if config.reduce_dtype != "int32" and config.K > _MAX_K:
            return f"needs K <= {_MAX_K} where sums are scaled (got {config.K})"
        return None


def _few_rows(problem: Problem, product: Product) -> int:
    """Return the most rows for which weights are decoded in registers by default."""
    if product is BFLOAT16:
        return _FEW_CONVERTED_ROWS if problem.config.W_format.bits == 8 else _FEW_BFLOAT16_ROWS
    return _FEW_ROWS


def _wanted_hint(problem: Problem, product: Product, lanes: int, is_few: bool | None = None) -> SimdHint:
    """Return the hint that decodes in registers for few rows, else a tile at a time.

    6 x 4 or 4 x 4 sums and what they are made of fit the 32 registers of AVX-512, 4 x 2 the 16 of AVX2.
    """
    config, rung = problem.config, problem.rung
    few_rows = _few_rows(problem, product) if takes_words(problem, lanes) else 0
    is_few = rung <= few_rows if is_few is None else is_few
    block_k = block_k_of(problem, product, lanes)
    blocks = config.K // block_k
    step = config.group // block_k if config.num_groups > 1 and config.group % block_k == 0 else 1
    rows = min(4, rung)
    cols = 4 if lanes == 16 or rows == 1 else 2
    prefetch = True
    if is_few and rows == 1 and _reads_ahead(problem, product):
        cols, prefetch = config.rows_per_column, False
    if not is_few and lanes == 16 and rung >= _MANY_ROWS:
        rows = 6
    tile_rows = min(rung, few_rows) if is_few else (132 if rows == 6 else 64)
    row_tile = round_up(tile_rows, rows)
    row_bytes = product.unit_bits // 8 * block_k
    # Bytes of a decoded column: bfloat16 gains 2 to 4% by twice as many.
    column_bytes = 2 * _COLUMN_BYTES if product is BFLOAT16 else _COLUMN_BYTES
    most = _ROWS_BYTES // (row_tile * row_bytes) if is_few else column_bytes // row_bytes
    chunk = balanced_chunk(blocks // step, max(1, most // step)) * step
    return SimdHint(lanes, rows, cols, row_tile, 16, chunk, not is_few, prefetch)


def _reads_ahead(problem: Problem, product: Product) -> bool:
    """Whether one row of A takes rows of W one by one, whose words the CPU then reads ahead by itself.

    It is the faster way where little is done with a word. Otherwise several sums hide the latency of their additions.
    """
    return product is INT8 or (product is BFLOAT16 and problem.config.W_format.bits == 8)
