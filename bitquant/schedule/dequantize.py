"""The schedule of `bitquant.compute.dequantize_b`: decode a whole weight, an element at a time, in any layout."""

from __future__ import annotations

import tvm
from tvm import s_tir
from tvm.ir import IRModule
from tvm.target import Target

from bitquant.compute import dequantize_b
from bitquant.config import MatmulConfig
from bitquant.layouts import Layout
from bitquant.schedule.apply import CHOICE_ATTR, Choice

__all__ = ["schedule_dequantize"]

#: Threads of a block, and bytes that a thread stores at once, the widest store there is.
_THREADS, _STORE_BYTES = 256, 16


def schedule_dequantize(config: MatmulConfig, dtype: str, layout: Layout, target: Target) -> IRModule:
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
    if target.kind.name == "cuda":
        store = sch.cache_write(block, 0, "local")
        n, k = sch.get_loops(store)
        widest = _STORE_BYTES * 8 // tvm.DataType(dtype).bits
        values = next(v for v in (widest, 8, 4, 2, 1) if v <= widest and config.K % v == 0)
        outer, vector = sch.split(k, [None, values])
        grid, thread = sch.split(sch.fuse(n, outer), [None, _THREADS])
        sch.bind(grid, "blockIdx.x")
        sch.bind(thread, "threadIdx.x")
        sch.compute_at(block, thread)
        sch.vectorize(vector)
        for loop in sch.get_loops(block)[2:]:
            sch.unroll(loop)
    else:
        sch.parallel(sch.get_loops(block)[0])
    choice = Choice("dequantize", "s_tir", {}, 0, {})
    return IRModule({"dequantize": sch.mod["main"].with_attr(CHOICE_ATTR, choice.to_dict())})
