# SPDX-License-Identifier: Apache-2.0
"""The body of the decode kernel, put together from its parts."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.intrin.launch import (
    arrive_at_cluster,
    trigger_dependent_launch,
    wait_for_cluster,
    wait_for_dependency,
)
from bitquant.intrin.mma import zero_local
from bitquant.schedule.rules.decode.emit.activations import ActivationCopies
from bitquant.schedule.rules.decode.emit.context import Context, Cursor
from bitquant.schedule.rules.decode.emit.digits import DigitActivations, DigitProducts
from bitquant.schedule.rules.decode.emit.factors import Factors
from bitquant.schedule.rules.decode.emit.shares import Workspace
from bitquant.schedule.rules.decode.emit.store import SumStore
from bitquant.schedule.rules.decode.emit.sums import Products, Sums
from bitquant.schedule.rules.decode.emit.values import ValueProducts
from bitquant.schedule.rules.decode.emit.weight import WeightLoads
from bitquant.schedule.rules.operands import when

__all__ = ["Kernel"]

Expr = Any


class Kernel:
    """The parts of a kernel, which declare their registers here in this order, and the loops' bodies.

    Parameters
    ----------
    context
        Geometry, operands and indices of this block and thread.
    workspace
        The memory of stream-K.
    """

    def __init__(self, context: Context, workspace: Workspace | None = None) -> None:
        g = context.g
        self.context, self.g, self.hint = context, g, context.hint
        self.activations = ActivationCopies(context)
        self.sums = Sums(context)
        if not g.a_stays:
            zero_local(self.sums.total)
        self.weight = WeightLoads(context)
        self.factors = Factors(context)
        self.digits: DigitActivations | None = None
        self.products: Products
        if g.digit_plan is None:
            self.products = ValueProducts(context, self.sums, self.factors)
        else:
            self.digits = DigitActivations(context, g.digit_plan)
            self.products = DigitProducts(context, self.sums, self.factors, self.digits)
        self.store = SumStore(context, workspace)

    def begin(self) -> None:
        """Emit all that comes before the loop.

        The weight and its scales do not come from the kernel before this one, which may still run from sm_90 on: their
        first loads do not wait for its end. Only after that end may the next kernel start, so that no kernel starts
        before the last but one has ended.
        """
        g, h, first = self.g, self.hint, self.context.at(0)
        if self.digits:
            self.digits.clear_poison()
        if g.copies_bulk:
            self.activations.initialize_barriers()
            if h.multicast > 1:
                arrive_at_cluster(relaxed=True)
        else:
            self._wait_for_dependency()
            self.activations.copy(first, 0)
        self.factors.stage(first)
        self._commit()
        self._load_first(first)
        T.evaluate(T.ptx["cp.async.wait_group"](h.ahead if g.is_shared else 0))
        T.evaluate(T.cuda.cta_sync())
        if g.copies_bulk:
            self._wait_for_dependency()
            if h.multicast > 1:  # The mbarriers of all blocks are initialized.
                wait_for_cluster()
            self.activations.copy(first, 0)
        if self.digits:
            if g.copies_bulk:
                self.activations.wait(0, 0)
            self.digits.make()

    def _load_first(self, first: Cursor) -> None:
        """Emit the first loads of the weight and of factors that are not staged, and what A and the decoder want."""
        g = self.g
        for i in range(self.hint.ahead):
            iteration, tile = divmod(i, g.part_tiles)
            at = self.context.at(iteration)
            if tile == 0:
                sources = self.weight.sources(at)
            when(iteration < self.context.iterations, lambda: self.weight.load(sources, at, tile, i))
            if g.is_shared:
                self._commit()
        self.factors.load(first)
        if g.decoder.table_bytes:
            g.decoder.fill_table(self.context.arena, g.smem.table_offset, self.context.thread, g.threads)
        if g.copies_bulk and g.has_ragged_k:
            self.activations.zero_behind_k(first, 0)

    def _wait_for_dependency(self) -> None:
        if self.g.uses_dependent_launch:
            wait_for_dependency()
            trigger_dependent_launch()

    @staticmethod
    def _commit() -> None:
        T.evaluate(T.ptx["cp.async.commit_group"]())

    def begin_iteration(self, iteration: Expr) -> None:
        """Emit the wait for A where it has not come yet, and the copies of what the next iteration needs."""
        g = self.g
        if g.a_stays:
            at = self.context.at(iteration)
            is_new = tirx.any(iteration == 0, at.phase == 0) if self.hint.stream_k else True
            when(is_new, lambda: zero_local(self.sums.total))
            if g.copies_bulk:  # A barrier that has been passed stays open.
                when(iteration == 0 if self.hint.stream_k else True, lambda: self.activations.wait(0, 0))
            if g.max_iterations > 1:
                when(
                    iteration + 1 < self.context.iterations, lambda: self.factors.stage(self.context.at(iteration + 1))
                )
                self._commit()
            return
        if g.copies_bulk:
            self.activations.wait(iteration % g.buffers, iteration // g.buffers % 2)
        else:
            T.evaluate(T.ptx["cp.async.wait_all"]())
        T.evaluate(T.cuda.cta_sync())
        following, buffer = self.context.at(iteration + 1), (iteration + 1) % g.buffers

        def copy() -> None:
            if g.copies_bulk and g.has_ragged_k:
                self.activations.zero_behind_k(following, buffer)
            self.activations.copy(following, buffer)

        when(following.iteration < self.context.iterations, copy)

    def multiply(self, iteration: Expr, body: Expr) -> None:
        """Emit one body: products, loads of the tiles to come, scaling of sums where runs end."""
        g, h, at = self.g, self.hint, self.context.at(iteration, body)
        self.factors.take(at)
        if g.config.num_groups > 1 or g.max_iterations > 1:
            self.factors.prefetch_next(at)
        sources: dict[int, list[Expr]] = {}
        for tile in range(h.unroll):
            # A ring that is longer than a body goes on in the next one; bodies of all iterations are counted.
            slot: Expr = tile % h.ahead
            if h.ahead > h.unroll:
                slot = (iteration * g.bodies + body) % (h.ahead // h.unroll) * h.unroll + tile
            words = self.weight.take(slot)
            if not g.loads_late:
                self.weight.prefetch_next(at, tile, slot, sources)
            self.products.multiply_tile(words, at, tile)
            if g.loads_late:
                # Only now that the tile is decoded may another one overwrite it.
                self.weight.prefetch_next(at, tile, slot, sources)
            if g.is_shared:
                self._commit()

    def end_iteration(self, iteration: Expr) -> None:
        """Emit the end of an iteration over a block of n: its sums, and the wait for the scales of the next."""
        if self.g.max_iterations > 1:
            pending = min(self.hint.ahead, self.g.part_tiles) if self.g.is_shared else 0
            T.evaluate(T.ptx["cp.async.wait_group"](pending))
        if self.hint.stream_k:
            at = self.context.at(iteration)
            with T.If(tirx.any(at.phase == self.g.phases - 1, iteration == self.context.iterations - 1)):
                with T.Then():
                    self.store_sums(iteration)
                with T.Else():
                    T.evaluate(T.cuda.cta_sync())
            return
        self.store_sums(iteration)

    def store_sums(self, iteration: Expr) -> None:
        """Emit the sum over warps and blocks of the totals of an iteration's block of n, and its stores."""
        at = self.context.at(iteration)
        self.store.reduce(self.products.finished(), at)
        self.context.unit.end_block(at.n0)
