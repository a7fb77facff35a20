# SPDX-License-Identifier: Apache-2.0
"""The body of the wgmma kernel: setting up, and the two roles of its warpgroups."""

from __future__ import annotations

from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.launch import arrive_at_cluster
from bitquant.schedule.rules.hopper.emit.consumer import consume
from bitquant.schedule.rules.hopper.emit.context import Context, Inputs
from bitquant.schedule.rules.hopper.emit.operand import DenseSource, FragmentSource
from bitquant.schedule.rules.hopper.emit.producer import Producer
from bitquant.schedule.rules.hopper.emit.scheduler import TileScheduler
from bitquant.schedule.rules.hopper.emit.sums_of_a import SumsOfA

__all__ = ["Body"]

Expr = Any


class Body:
    """Writes the body of a kernel: what all threads do first, then the producer's part and the consumers'.

    Parameters
    ----------
    source
        Where the left operand comes from.
    inputs
        The function's operands.
    block, blocks, rank, thread
        Index of the block, blocks of the grid, the block's rank in its cluster, and index of the thread.
    arena
        The block's shared memory.
    scheduler
        What divides the tiles among the blocks.
    """

    def __init__(
        self, source: FragmentSource | DenseSource, inputs: Inputs, block: Expr, blocks: Expr, rank: Expr,
        thread: Expr, arena: Any, scheduler: type[TileScheduler],
    ) -> None:  # fmt: skip
        self.g, self.source, self.thread, self.arena = source.g, source, thread, arena
        self.context = Context(source.g, inputs, block, rank, thread, arena)
        self.sums_of_a = SumsOfA(self.context) if source.g.needs_sums_of_a else None
        self.scheduler = scheduler(self.context, blocks)

    def initialize(self) -> None:
        """Emit the initialization of the barriers and of what decoding reads from shared memory."""
        if isinstance(self.source, FragmentSource):
            self.source.initialize(self.context, self.thread, self.arena, self.sums_of_a)
        with T.If(self.thread == 0), T.Then():
            self.context.ring.initialize()
        self.scheduler.initialize(self.thread)
        T.evaluate(T.cuda.cta_sync())
        self.scheduler.begin()
        h = self.g.hint
        if h.cluster > 1 and (h.multicast > 1 or not self.g.memory.exchanges_in_ring):
            arrive_at_cluster(relaxed=True)

    def set_registers(self, is_producer: bool) -> None:
        """Emit the move of registers from the producer to the consumers."""
        producer, consumer = self.g.registers
        if producer < consumer:
            action, count = ("dec", producer) if is_producer else ("inc", consumer)
            T.evaluate(T.ptx[f"setmaxnreg.{action}.sync.aligned.u32"](count))

    def produce(self) -> None:
        """Emit what the producing warpgroup does."""
        Producer(self.context, self.scheduler, self.source, self.sums_of_a).produce()

    def consume(self) -> None:
        """Emit what a consuming warpgroup does."""
        consume(self.context, self.scheduler, self.source)
