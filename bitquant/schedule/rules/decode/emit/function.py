# SPDX-License-Identifier: Apache-2.0
"""The decode kernel as a function."""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import tag
from bitquant.intrin.launch import cluster_rank, with_dependent_launch
from bitquant.schedule import parsing
from bitquant.schedule.rules.decode.emit.context import Context
from bitquant.schedule.rules.decode.emit.kernel import Kernel
from bitquant.schedule.rules.decode.emit.rows import RowsOfA
from bitquant.schedule.rules.decode.emit.shares import request_workspace
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.schedule.rules.operands import declare

__all__ = ["decode_function"]


def decode_function(geometry: DecodeGeometry) -> PrimFunc:
    """Return the kernel of a geometry that fits."""
    g, h, problem = geometry, geometry.hint, geometry.problem
    threads, smem_bytes, cluster = g.threads, g.smem_bytes, h.cluster
    blocks_n, blocks_per_sm = g.grid_n * h.split_k, h.blocks_per_sm

    # The name of the outer loop's variable is part of what TVM prints; it counts iterations.
    @parsing.prim_func
    def decode():
        operands = T.meta_var(declare(problem, T.int32()))
        workspace = T.meta_var(request_workspace(g))
        T.device_entry()
        T.attr({"tirx.launch_bounds_min_blocks_per_sm": blocks_per_sm})
        block = T.cta_id([RowsOfA.count(g, operands.rows) * blocks_n])
        rank = T.meta_var(cluster_rank(cluster))
        thread = T.thread_id([threads])
        arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=128)
        context = T.meta_var(Context(g, operands, arena, T.truncdiv(block, cluster), rank, thread, RowsOfA))
        kernel = T.meta_var(Kernel(context, workspace))
        kernel.begin()
        for iteration in T.serial(context.iterations):
            kernel.begin_iteration(iteration)
            for body in T.serial(g.bodies):
                kernel.multiply(iteration, body)
            if g.a_stays:
                kernel.end_iteration(iteration)
        if not g.a_stays:
            kernel.store_sums(0)

    func = tag(decode, problem.config, problem.rung, problem.weight_layout)
    return with_dependent_launch(func) if g.uses_dependent_launch else func
