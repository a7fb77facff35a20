# SPDX-License-Identifier: Apache-2.0
"""The decode kernel for experts as a function."""

from __future__ import annotations

from typing import Any

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.compute.matmul import tag
from bitquant.intrin.launch import arrive_at_cluster, cluster_rank, wait_for_cluster, with_dependent_launch
from bitquant.schedule import parsing
from bitquant.schedule.rules.decode.emit.context import Context
from bitquant.schedule.rules.decode.emit.experts import RowsOfExpert
from bitquant.schedule.rules.decode.emit.kernel import Kernel
from bitquant.schedule.rules.decode.emit.slots import request_workspace
from bitquant.schedule.rules.decode.grouped.geometry import GroupedDecodeGeometry
from bitquant.schedule.rules.operands import declare

__all__ = ["grouped_decode_function"]


class GroupedKernel(Kernel):
    """The parts of a kernel for experts: nothing can be loaded before it is known which expert a block has."""

    def find_unit(self) -> None:
        """Emit the search for the unit of this block."""
        unit: Any = self.context.unit
        if self.digits:
            self.digits.clear_poison()
        if self.g.copies_bulk:
            self.activations.initialize_barriers()
        unit.prepare()
        T.evaluate(T.cuda.cta_sync())
        self._wait_for_dependency()
        unit.find()

    def begin(self) -> None:
        """Emit all that comes before the loop, once there is a weight to multiply with."""
        g, h, first = self.g, self.hint, self.context.at(0)
        unit: Any = self.context.unit
        if h.multicast > 1:
            arrive_at_cluster(relaxed=True)
        if unit.is_listed:
            T.evaluate(T.cuda.cta_sync())
        if h.multicast > 1:  # The mbarriers of all blocks are initialized.
            wait_for_cluster()
        self.weight.begin()
        self.activations.copy(first, 0)
        self.factors.stage(first)
        self._commit()
        self._load_first(first)
        T.evaluate(T.ptx["cp.async.wait_group"](h.ahead if g.is_shared else 0))
        T.evaluate(T.cuda.cta_sync())
        if self.digits:
            if g.copies_bulk:
                self.activations.wait(0, 0)
            self.digits.make()


def grouped_decode_function(geometry: GroupedDecodeGeometry) -> PrimFunc:
    """Return the kernel of a geometry that fits."""
    g, h, problem = geometry, geometry.hint, geometry.grouped
    threads, smem_bytes, cluster = g.threads, g.smem_bytes, h.cluster
    blocks_n, blocks_per_sm = g.grid_n * h.split_k * h.cluster_slots, h.blocks_per_sm

    @parsing.prim_func
    def decode() -> None:
        operands = T.meta_var(declare(problem, T.int32()))
        request_workspace(g, operands)
        T.device_entry()
        T.attr({"tirx.launch_bounds_min_blocks_per_sm": blocks_per_sm})
        block = T.cta_id([RowsOfExpert.count(g, operands.rows) * blocks_n])
        rank = T.meta_var(cluster_rank(cluster))
        thread = T.thread_id([threads])
        arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=128)
        context = T.meta_var(Context(g, operands, arena, T.truncdiv(block, cluster), rank, thread, RowsOfExpert))
        kernel = T.meta_var(GroupedKernel(context))
        kernel.find_unit()
        if context.unit.has_weight:
            kernel.begin()
            for iteration in T.serial(context.iterations):
                kernel.begin_iteration(iteration)
                for body in T.serial(g.bodies):
                    kernel.multiply(iteration, body)
                if g.a_stays:
                    kernel.end_iteration(iteration)
            if not g.a_stays:
                kernel.store_sums(0)
        context.unit.store_zeros()
        context.unit.finish()

    func = tag(decode, problem.config, problem.rung, problem.weight_layout)
    return with_dependent_launch(func) if g.uses_dependent_launch else func
