# SPDX-License-Identifier: Apache-2.0
"""What the ranking of hints knows of a wgmma kernel (`bitquant.schedule.ranking`): numbers without units."""

from __future__ import annotations

import math

from bitquant.arithmetic import ceil_div
from bitquant.schedule.rules.hopper.cost import predicted_us, promotion_instructions, step_instructions, tile_waves
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry

__all__ = ["features"]


def features(g: WgmmaGeometry) -> dict[str, float]:
    """Return the features of a kernel: shares of its predicted time, how it fills the GPU, and the fields of its hint.

    Names are those of a trained model; a feature that means something else needs another name.
    """
    c, h, gpu, products, m = g.config, g.hint, g.problem.gpu, g.products, g.rung
    cost = predicted_us(g)
    m_tiles, n_tiles = ceil_div(m, h.block_m), g.tiles_n
    resident = int(gpu.sm_count * h.blocks_per_sm * gpu.wgmma_cluster_share(h.cluster)) // h.split_k
    waves, shares_tail = tile_waves(m_tiles * n_tiles, resident, h.tail_split)
    if h.stream_k:
        waves = m_tiles * n_tiles / resident
    rounds = ceil_div(c.K, h.block_k * h.parts)
    steps = rounds * (h.block_k // products.step_k)
    # What a multiprocessor has to fetch: tiles of W from memory, and those of A from L2.
    busiest = waves if h.stream_k else math.ceil(waves)
    sm_tiles = busiest * h.blocks_per_sm * c.K / h.split_k
    memory_us = sm_tiles * h.block_n * products.w_bits / 8 / (gpu.bandwidth_bytes_per_s / gpu.sm_count) * 1e6
    l2_us = sm_tiles * h.block_m * products.a_bits / 8 / h.multicast / (gpu.wgmma_l2_bytes_per_s / gpu.sm_count) * 1e6
    slot_us = h.blocks_per_sm * g.memory.slot_bytes / (gpu.bandwidth_bytes_per_s / gpu.sm_count) * 1e6
    tensor_us = 2.0 * m * c.N * c.K * (products.a_bits / 16) / (gpu.wgmma_sm_flops * gpu.sm_count) * 1e6
    return {
        "log_cost": math.log(cost),
        "tile_waves": math.log(waves),
        "filled": 1.0 if h.stream_k else m_tiles * n_tiles / resident / math.ceil(waves),
        "shares_tail": shares_tail,
        "steps": math.log2(steps),
        "rounds": math.log2(rounds),
        "fills": min(2.0, h.stages / rounds),
        "slot_arrival": math.log(slot_us / cost),
        "from_memory": math.log(memory_us / cost),
        "l2": math.log(l2_us / cost),
        "instructions": step_instructions(g) + promotion_instructions(products, h.block_m),
        "tensor": math.log(tensor_us / cost),
        "block_m": h.block_m,
        "m_waste": m_tiles * h.block_m / m,
        "n_waste": n_tiles * h.block_n / c.N,
        "n_tiles_per_consumer": h.n_tiles_per_consumer,
        "consumers_n": h.consumers_n,
        "consumers_k": h.consumers_k,
        "consumers": h.consumers,
        "steps_of_slot": g.steps,
        "stages": h.stages,
        "split_k": h.split_k,
        "raster": h.raster,
        "blocks_per_sm": h.blocks_per_sm,
        "n_tiles_per_cta": h.n_tiles_per_cta,
        "scales_sums": h.scaling == "sums",
        "tail_split": h.tail_split,
        "multicast": h.multicast,
        "stream_k": h.stream_k,
        "in_flight": math.log2(h.blocks_per_sm * h.stages * g.memory.slot_bytes),
        "smem_bytes": math.log2(g.memory.nbytes),
        "registers": g.needed_registers / g.registers[1],
        "m_tiles": math.log2(m_tiles),
        "n_tiles_of_grid": math.log2(n_tiles),
        "has_ragged_k": g.has_ragged_k,
        "block_n": h.block_n,
        "peels": g.peels,
        "body_stages": g.loop.body_stages,
        "decodes_in_place": products.decodes_in_place,
    }
