# SPDX-License-Identifier: Apache-2.0
"""The body of the mma.sync kernel: its parts, strung together."""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import tag
from bitquant.schedule import parsing
from bitquant.schedule.rules.mma.emit.context import Context
from bitquant.schedule.rules.mma.emit.copies import commit, load, wait
from bitquant.schedule.rules.mma.emit.decode import Decoding
from bitquant.schedule.rules.mma.emit.products import multiply
from bitquant.schedule.rules.mma.emit.store import reduce_warps, store
from bitquant.schedule.rules.mma.geometry import MmaGeometry
from bitquant.schedule.rules.operands import declare

__all__ = ["build"]


def build(geometry: MmaGeometry) -> PrimFunc:
    """Return the kernel."""
    g, h, problem = geometry, geometry.hint, geometry.problem
    threads, smem_bytes, tiles, ahead = g.threads, g.smem_bytes, g.tiles, h.stages - 1
    # Decoding works one tile ahead of the product, and so must the copies.
    pending = h.stages - (3 if g.decodes else 2)

    @parsing.prim_func
    def mma():
        operands = T.meta_var(declare(problem, T.int32()))
        T.device_entry()
        block = T.cta_id([T.ceildiv(operands.rows, h.block_m) * T.ceildiv(problem.config.N, h.block_n)])
        thread = T.thread_id([threads])
        arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=128)
        context = T.meta_var(Context(g, operands, block, thread, arena))
        decoding = T.meta_var(Decoding(context))
        for t in T.unroll(ahead):
            if t < tiles:
                load(context, t)
            commit(context)
        if g.decodes:
            decoding.load_scales(0)
            wait(context, ahead - 1)
            decoding.decode(0)
        for t in T.serial(tiles):
            wait(context, pending)
            if t + ahead < tiles:
                load(context, t + ahead)
            commit(context)
            if t + 1 < tiles:
                decoding.decode(t + 1)
            multiply(context, t)
        reduce_warps(context)
        store(context)

    return tag(mma, problem.config, problem.rung, problem.weight_layout)
