# SPDX-License-Identifier: Apache-2.0
"""What the ranking of hints knows of a decode kernel (`bitquant.schedule.ranking`): numbers without units."""

from __future__ import annotations

import math

from bitquant.arithmetic import ceil_div
from bitquant.schedule.rules.decode.cost import (
    cost_us,
    estimated_registers,
    estimated_smem_bytes,
    instructions,
    register_limit,
    resident_blocks,
)
from bitquant.schedule.rules.decode.geometry import DecodeGeometry

__all__ = ["features"]


def features(g: DecodeGeometry) -> dict[str, float]:
    """Return the features of a kernel: shares of its predicted time, how it fills the GPU, and the fields of its hint.

    Names are those of a trained model; a feature that means something else needs another name.
    """
    c, h, gpu = g.config, g.hint, g.gpu
    sm_count = gpu.sm_count * gpu.decode_cluster_share(h.cluster)
    blocks = g.grid_n * h.split_k * g.grid_m
    busiest = math.ceil(blocks / sm_count)
    resident = resident_blocks(g, busiest)
    warps, threads = h.warps_n * h.warps_k, g.threads * h.blocks_per_sm
    cost, smem_bytes = cost_us(g), estimated_smem_bytes(g)
    tiles = busiest * g.n_blocks_per_cta * g.warp_tiles * h.n_tiles_per_warp * warps
    issue_us = tiles * instructions(g) / 4 / (gpu.clock_hz / 1e6)
    memory_us = tiles * g.fragment_layout.tile_bytes / g.grid_m / (gpu.bandwidth_bytes_per_s / gpu.sm_count) * 1e6
    in_flight = resident * warps * h.n_tiles_per_warp * h.ahead * g.fragment_layout.tile_bytes
    fetched_a = busiest * g.rows_of_a * c.K / h.split_k * g.a_bytes / h.multicast
    l2_us = fetched_a / (gpu.decode_l2_bytes_per_s / gpu.sm_count) * 1e6
    all_tiles = ceil_div(c.N, 16) * g.tiles_k * g.grid_m
    return {
        "log_cost": math.log(cost),
        "issue": math.log(issue_us / cost),
        "memory": math.log(memory_us / cost),
        "l2": math.log(l2_us / cost),
        "imbalance": math.log(tiles * sm_count / all_tiles),
        "busiest": math.log(busiest),
        "waves": math.log(blocks / sm_count),
        "filled": blocks / sm_count / busiest,
        "resident": resident,
        "warps_per_sm": warps * resident,
        "warps_n": h.warps_n,
        "warps_k": h.warps_k,
        "n_tiles": h.n_tiles_per_warp,
        "split_k": h.split_k,
        "ahead": h.ahead,
        "unroll": h.unroll,
        "phases": math.log2(g.phases),
        "a_stays": g.a_stays,
        "n_blocks_per_cta": math.log2(g.n_blocks_per_cta),
        "chains": h.chains,
        "blocks_per_sm": h.blocks_per_sm,
        "is_shared": g.is_shared,
        "multicast": h.multicast,
        "is_digits": g.is_digits,
        "in_flight": math.log2(in_flight),
        "registers": estimated_registers(g) / register_limit(threads),
        # Scales and zero points of a body, of which a longer one has more: the registers of which most spills come.
        "factors": 2 * h.n_tiles_per_warp * g.runs * (c.with_scaling + c.with_zeros) / register_limit(threads),
        "bodies": math.log2(max(1.0, g.warp_tiles / h.unroll)),
        "block_m": h.block_m,
        "grid_m": math.log2(g.grid_m),
        "a_bytes": math.log2(g.rows_of_a * g.a_k * g.a_bytes),
        "smem_bytes": math.log2(smem_bytes),
        "body_k": h.unroll * g.fragment_layout.tile_k,
        "k_waste": math.log(g.warp_tiles * h.warps_k * h.split_k / g.tiles_k),
        "totals": g.totals,
        "stream_k": h.stream_k,
    }
