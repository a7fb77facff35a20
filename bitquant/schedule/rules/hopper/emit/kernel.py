# SPDX-License-Identifier: Apache-2.0
"""Hopper's tensor cores by wgmma, on the fragment weight layout, from a few rows of A to many.

The weight is the left operand, D^T = W A^T: a consumer warpgroup takes the stored codes of 64 rows of W from shared
memory, decodes them in registers and multiplies them with a tile of A that stays in shared memory::

    stored W --TMA--> ring --registers--> decode --> left operand --> wgmma --> sums --> D^T, transposed --> D
    A -------TMA----> ring, 128-byte swizzle ----> right operand --^

One warpgroup produces: one thread of it starts the copies. The others consume. While the tensor cores work on one step
(128 bytes of a row of A), the registers of the next one are decoded; a ring of mbarriers tells the two sides apart.
K may be split over the warpgroups of a block and over the blocks of a cluster; their partial sums are reduced in shared
memory. Without that, thread blocks are persistent; the tiles of a last wave that would leave most of them idle may be
split over clusters.
"""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import tag
from bitquant.intrin.launch import cluster_rank, with_dependent_launch
from bitquant.intrin.wgmma import tensor_map
from bitquant.schedule import parsing
from bitquant.schedule.rules.hopper.emit.body import Body
from bitquant.schedule.rules.hopper.emit.context import Inputs
from bitquant.schedule.rules.hopper.emit.experts import ExpertScheduler
from bitquant.schedule.rules.hopper.emit.operand import DenseSource, FragmentSource
from bitquant.schedule.rules.hopper.emit.partial_sums import request_workspace
from bitquant.schedule.rules.hopper.emit.scheduler import TileScheduler
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.operands import declare

__all__ = ["wgmma_function"]


def wgmma_function(geometry: WgmmaGeometry) -> PrimFunc:
    """Return the kernel of a geometry that fits."""
    c, h, g, problem = geometry.config, geometry.hint, geometry, geometry.whole_problem
    scheduler = TileScheduler if g.num_experts is None else ExpertScheduler
    source = DenseSource(g) if g.products.is_dense else FragmentSource(g)
    threads, smem_bytes, cluster = g.threads, g.smem_bytes, h.cluster
    clusters_n = g.tiles_n // (h.multicast if h.tail_split == 1 else 1)
    # Where K of every tile is split a block computes one tile: partial sums are reduced once.
    is_persistent = h.parts == 1
    # Pieces of a tile; no more than there are blocks, so that those of all tiles are fewer than 2^31.
    pieces = min(g.loop.tile_bodies, g.most_blocks) if h.stream_k else 1
    a_bytes, a_dtype = c.A_format.bits // 8, "uint8" if g.is_narrow else c.A_format.tvm_dtype
    w_dtype, w_dimensions, w_map = source.weight_map()
    most_clusters, blocks_per_sm = g.problem.gpu.sm_count * h.blocks_per_sm // cluster, h.blocks_per_sm

    @parsing.prim_func
    def wgmma():
        operands = T.meta_var(declare(problem, T.int32()))
        m = T.meta_var(operands.rows)
        A_map: T.let[T.handle("tensormap")] = T.tvm_stack_alloca("tensormap", 1)
        T.call_packed(
            "runtime.cuTensorMapEncodeTiled", A_map, a_dtype, 2, operands.A.data,
            *tensor_map([c.K, m], [c.K * a_bytes], [g.step_k, h.block_m // h.multicast], True),
        )  # fmt: skip
        W_map: T.let[T.handle("tensormap")] = T.tvm_stack_alloca("tensormap", 1)
        T.call_packed(
            "runtime.cuTensorMapEncodeTiled", W_map, w_dtype, w_dimensions, operands.B.data, *w_map,
        )  # fmt: skip
        memory = T.meta_var(request_workspace(g))
        T.device_entry()
        T.attr({"tirx.launch_bounds_min_blocks_per_sm": blocks_per_sm})
        clusters = T.meta_var(scheduler.most_m_tiles(g, m) * (clusters_n * pieces))
        blocks = T.meta_var((T.min(clusters, most_clusters) if is_persistent else clusters) * cluster)
        block = T.cta_id([blocks])
        rank = T.meta_var(cluster_rank(cluster))
        thread = T.thread_id([threads])
        arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=1024)
        inputs = T.meta_var(Inputs(scheduler.operands(operands), T.address_of(A_map), T.address_of(W_map), **memory))
        body = T.meta_var(Body(source, inputs, block, blocks, rank, thread, arena, scheduler))
        body.initialize()
        if body.context.is_producer:
            body.set_registers(True)
            body.produce()
        else:
            body.set_registers(False)
            body.consume()

    return with_dependent_launch(tag(wgmma, problem.config, problem.rung, problem.weight_layout))
