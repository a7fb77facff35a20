# SPDX-License-Identifier: Apache-2.0
"""The decode kernel as a function."""

from __future__ import annotations

from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from bitquant.intrin.launch import cluster_rank, with_dependent_launch
from bitquant.schedule.rules.decode.emit.context import Context, count_m_blocks
from bitquant.schedule.rules.decode.emit.kernel import Kernel
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.schedule.rules.operands import Epilogue, operands

__all__ = ["decode_function"]


def decode_function(geometry: DecodeGeometry) -> PrimFunc:
    """Return the kernel of a geometry that fits."""
    g, h, config = geometry, geometry.hint, geometry.config
    spec = operands(config, g.rung, "fragment")
    N, K = config.N, config.K
    threads, smem_bytes, cluster = g.threads, g.smem_bytes, h.cluster
    blocks_n, blocks_per_sm = g.grid_n * h.split_k, h.blocks_per_sm

    # The name of the outer loop's variable is part of what TVM prints; it counts iterations.
    @T.prim_func
    def decode(
        A_handle: T.handle, B_handle: T.handle, Scale_handle: T.handle, Zeros_handle: T.handle,
        Bias_handle: T.handle, ActivationScale_handle: T.handle, ChannelScale_handle: T.handle, D_handle: T.handle,
    ):  # fmt: skip
        m = T.meta_var(spec.rows(T.int32()))
        A = T.match_buffer(A_handle, (m, K), spec.A)
        B = T.match_buffer(B_handle, spec.B_shape, spec.B)
        Scale = T.match_buffer(Scale_handle, spec.Scale_shape, spec.Scale)
        Zeros = T.match_buffer(Zeros_handle, spec.Zeros_shape, spec.Zeros)
        Bias = T.match_buffer(Bias_handle, (N,), spec.D)
        ActivationScale = T.match_buffer(ActivationScale_handle, (m,), "float32")
        ChannelScale = T.match_buffer(ChannelScale_handle, (N,), "float32")
        D = T.match_buffer(D_handle, (m, N), spec.D)
        T.device_entry()
        T.attr({"tirx.launch_bounds_min_blocks_per_sm": blocks_per_sm})
        block = T.cta_id([count_m_blocks(g, m) * blocks_n])
        rank = T.meta_var(cluster_rank(cluster))
        thread = T.thread_id([threads])
        arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=128)
        context = T.meta_var(Context(g, A, B, Scale, Zeros, m, arena, T.truncdiv(block, cluster), rank, thread))
        kernel = T.meta_var(Kernel(context, Epilogue(Bias, ActivationScale, ChannelScale, D)))
        kernel.begin()
        for turn in T.serial(context.iterations):
            kernel.begin_iteration(turn)
            for body in T.serial(g.bodies):
                kernel.multiply(turn, body)
            if g.a_stays:
                kernel.end_iteration(turn)
        if not g.a_stays:
            kernel.store_sums(0)

    func = spec.bind(decode)
    return with_dependent_launch(func) if g.uses_dependent_launch else func
