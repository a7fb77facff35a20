# SPDX-License-Identifier: Apache-2.0
"""Copies of tiles of A and of the stored W from global memory to their rings."""

from __future__ import annotations

from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.mma import copy_tile
from bitquant.schedule.rules.mma.emit.context import Context
from bitquant.schedule.rules.operands import row_index

__all__ = ["commit", "load", "wait"]

Expr = Any


def load(context: Context, tile: Expr) -> None:
    """Emit the copies of tile `tile` of A and of the stored W into their rings."""
    c, g, h, operands = context.config, context.g, context.hint, context.operands
    slot, k0 = tile % h.stages, tile * h.block_k
    a_bytes, w_bytes = c.A_format.bits // 8, max(1, c.W_format.bits // 8)
    whole_rows = c.has_fixed_rows(g.rung) and g.rung % h.block_m == 0
    copy_tile(
        context.arena, g.a_ring, slot,
        lambda row, byte: operands.A.ptr_to([row_index(c, g.rung, context.m0 + row), k0 + byte // a_bytes]),
        context.thread, g.threads, g.a_width,
        None if whole_rows else context.m - context.m0,
        (c.K - k0) * a_bytes if g.has_ragged_k else None,
        g.gpu.has_cp_async and g.a_width >= 4,
    )  # fmt: skip
    n_left = c.N - context.n0 if g.has_ragged_n else None
    k_left = c.K - k0 if g.has_ragged_k else None
    if g.is_transposed:
        row0, column0 = k0, context.n0
        rows_left, bytes_left = k_left, None if n_left is None else n_left * w_bytes
    else:
        row0, column0 = context.n0, tile * g.w_ring.row_bytes // w_bytes
        stored = c.W_shape[1] * w_bytes
        rows_left, bytes_left = n_left, None if k_left is None else stored - tile * g.w_ring.row_bytes
    copy_tile(
        context.arena, g.w_ring, slot,
        lambda row, byte: operands.B.ptr_to([row0 + row, column0 + byte // w_bytes]),
        context.thread, g.threads, g.w_width, rows_left, bytes_left,
        g.gpu.has_cp_async and g.w_width >= 4,
    )  # fmt: skip


def commit(context: Context) -> None:
    """Close the group of copies issued since the last commit."""
    if context.g.gpu.has_cp_async:
        T.evaluate(T.ptx["cp.async.commit_group"]())


def wait(context: Context, pending: int) -> None:
    """Wait until all but `pending` groups of this thread have arrived, then for the whole block."""
    if context.g.gpu.has_cp_async:
        T.evaluate(T.ptx["cp.async.wait_group"](pending))
    T.evaluate(T.cuda.cta_sync())
