# SPDX-License-Identifier: Apache-2.0
"""The schedule of `bitquant.compute.dequantize_b`: decode a whole weight, an element at a time, in any layout."""

from __future__ import annotations

import tvm
from tvm import s_tir
from tvm.ir import IRModule
from tvm.target import Target

from bitquant.compute import dequantize_b
from bitquant.config import MatmulConfig
from bitquant.layouts import TILE_N, WeightLayout
from bitquant.schedule.apply import CHOICE_ATTR, Choice

__all__ = ["schedule_dequantize"]

#: Threads of a block, and bytes that a thread stores at once, the widest store there is.
_THREADS, _STORE_BYTES = 256, 16


def schedule_dequantize(config: MatmulConfig, dtype: str, layout: WeightLayout, target: Target) -> IRModule:
    """Return a module with the scheduled function that decodes the weight of a problem.

    Memory bounds it: it reads the weight once and writes N * K numbers. On a GPU a thread decodes consecutive k into
    registers and stores them at once; neighbouring threads take neighbouring k. On a CPU threads take rows.

    Parameters
    ----------
    config, dtype, layout
        As `bitquant.compute.dequantize_b` takes them.
    target
        What to schedule for.
    """
    sch = s_tir.Schedule(IRModule({"main": dequantize_b(config, dtype, layout)}))
    block = sch.get_sblock("B_decode")
    table = sch.get_sblock("Table") if config.W_format.needs_table else None
    if target.kind.name != "cuda":
        sch.parallel(sch.get_loops(block)[0])
        if table is not None:
            sch.compute_inline(table)  # Selects vectorise, loads from a table do not.
    else:
        store = sch.cache_write(block, 0, "local")
        n, k = sch.get_loops(store)
        widest = _STORE_BYTES * 8 // tvm.DataType(dtype).bits
        values = next(v for v in (widest, 8, 4, 2, 1) if v <= widest and config.K % v == 0)
        outer, vector = sch.split(k, [None, values])
        loops = [n, outer]
        if layout == "fragment" and config.N % TILE_N == 0:
            # A byte of this layout holds codes of rows n and n + 8: the thread that loads it decodes both.
            tile, half, row = sch.split(n, [None, 2, TILE_N // 2])
            sch.reorder(tile, row, outer, half, vector)
            loops = [tile, row, outer]
        grid, thread = sch.split(sch.fuse(*loops), [None, _THREADS])
        sch.bind(grid, "blockIdx.x")
        sch.bind(thread, "threadIdx.x")
        sch.compute_at(block, thread)
        sch.vectorize(vector)
        if len(loops) == 3:
            sch.unroll(half)
        for loop in sch.get_loops(block)[2:]:
            sch.unroll(loop)
        if table is not None:
            sch.set_scope(table, 0, "shared")
            sch.compute_at(table, grid)
            _, lane = sch.split(sch.get_loops(table)[-1], [None, _THREADS])
            sch.bind(lane, "threadIdx.x")
    choice = Choice("dequantize", "s_tir", {}, 0, {})
    return IRModule({"dequantize": sch.mod["main"].with_attr(CHOICE_ATTR, choice.to_dict())})
