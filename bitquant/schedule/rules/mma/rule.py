# SPDX-License-Identifier: Apache-2.0
"""Tensor cores by mma.sync, on the plain weight layout, for every shape and nearly every format.

A block computes a tile of D. Tiles of A and of the stored weight are copied to shared memory through a ring of `stages`
slots, asynchronously from sm_80 on. Where the weight must be decoded, the threads turn the stored tile of the next
step into one of the operand's type while the tensor cores work on the current step::

    stored W --cp.async--> ring --decode--> 2 operand tiles --ldmatrix--> mma --> accumulators --> D
    A -------cp.async-----------------------> ring --------ldmatrix--^

Scale and zero point are applied to the weight while it is decoded, where A has 16 bits. Where A has 8 bits the product
is one of unscaled numbers, and each group's sums are scaled in float32 when the group ends:
sum a (w - z) s = (sum a w - z sum a) s, with sum a from one more mma by a column of ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tvm.tirx import PrimFunc

from bitquant.arch import RESERVED_SMEM_BYTES
from bitquant.arithmetic import ceil_div
from bitquant.intrin.mma import UNIT
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.rules.mma.emit import kernel
from bitquant.schedule.rules.mma.geometry import MmaGeometry, groups_fit, scales_sums
from bitquant.schedule.rules.mma.hint import MAX_STAGES, MIN_STAGES, MmaHint

__all__ = ["MmaRule"]

#: Tiles that `MmaRule.shapes` tries: from one row of tensor-core tiles to the most that registers hold.
_TILES = (
    MmaHint(16, 16, 256, 1, 1, 8), MmaHint(16, 32, 256, 1, 1, 8), MmaHint(16, 64, 128, 1, 2, 4),
    MmaHint(32, 32, 256, 1, 1, 8), MmaHint(32, 64, 128, 1, 2, 4), MmaHint(64, 32, 128, 2, 1, 2),
    MmaHint(64, 64, 128, 2, 2, 2), MmaHint(64, 128, 64, 2, 2, 1), MmaHint(128, 64, 64, 2, 2, 1),
    MmaHint(128, 128, 64, 2, 2, 1), MmaHint(128, 128, 64, 2, 4, 1), MmaHint(128, 256, 64, 2, 4, 1),
)  # fmt: skip


class MmaRule(Rule):
    """Tensor cores by mma.sync on the plain layout (see the module)."""

    name = "mma"
    pipeline = "tirx"
    hint_type = MmaHint

    def refuses(self, problem: Problem) -> str | None:
        """Refuse float32 A, bfloat16 before sm_80, and groups or layouts that the fragments do not fit."""
        if not problem.is_cuda:
            return f"needs a CUDA target (got {problem.device_name})"
        config, arch = problem.config, problem.gpu
        a, w = config.A_format, config.W_format
        if a.bits > 16:
            return f"needs A of 16 or 8 bits (got {a.name})"
        if reason := w.unit_refusal("int8" if a.is_integer else "bfloat16" if a.name == "bfloat16" else "float16"):
            return reason
        if a.name == "bfloat16" and not arch.has_mma_m16n8k16:
            return f"needs sm_80 or newer for bfloat16 (got {arch.name})"
        modified = config.with_scaling or config.with_zeros
        if config.layout == "nn" and a.is_integer:
            return "needs layout nt for int8 (got nn)"
        if config.layout == "nn" and modified and a.bits == 16:
            return "needs layout nt where W is scaled (got nn)"
        if a.bits == 8 and modified:
            if config.num_groups > 1 and config.group % UNIT:
                return f"needs group_size % {UNIT} == 0 where A has 8 bits and W is scaled (got {config.group})"
            if w.needs_table:
                return f"needs a W whose values float16 holds where A is float8 and W is scaled (got {w.name})"
        return None

    def shapes(self, problem: Problem) -> Iterator[MmaHint]:
        """Yield the largest tile whose grid fills the GPU, with the ring that fits, then others by tile and ring."""
        first = _fit(problem, _wanted_hint(problem))
        yield first
        seen = {first}
        for tile in _TILES:
            for stages in range(MIN_STAGES, MAX_STAGES + 1):
                hint = _fit(problem, replace(tile, stages=stages))
                if hint not in seen:
                    seen.add(hint)
                    yield hint

    def geometry(self, problem: Problem, hint: Hint) -> MmaGeometry:
        """Return how the kernel cuts the problem."""
        return MmaGeometry(problem, hint)

    def emit(self, geometry: MmaGeometry) -> PrimFunc:
        """Write the kernel."""
        return kernel.build(geometry)


# The choice of tiles.


def _wanted_hint(problem: Problem) -> MmaHint:
    """Return the hint that a GPU with enough shared memory would get."""
    config, rung = problem.config, problem.rung
    N, sm_count = config.N, problem.gpu.sm_count
    k = 128 if config.A_format.is_integer else 64

    def blocks(m: int, n: int) -> int:
        return ceil_div(rung, m) * ceil_div(N, n)

    if rung <= 32:
        # Bandwidth: few rows, so the warps divide n and k, and a deep ring keeps bytes in flight.
        m = 16 if rung <= 16 else 32
        n = 32 if blocks(m, 32) * 4 >= 3 * sm_count or config.layout == "nn" else 16
        return MmaHint(m, n, 256, 1, 1, 8, 4)
    if rung <= 64:
        n = 64 if blocks(64, 64) * 4 >= 3 * sm_count else 32
        return MmaHint(64, n, 128, 2, n // 32, 2, 3)
    # Where there are enough tiles, two blocks of 4 warps a multiprocessor: one decodes while the other multiplies.
    if 2 * blocks(128, 128) >= 3 * sm_count:
        return MmaHint(128, 128, k, 2, 2, 1, 3)
    # Fewer: the tile that needs the least time, waves over the multiprocessors by the time of a tile. Those times,
    # relative to the first, were measured on an H200 (float16 x uint4, K = 8192).
    candidates = (
        (1.0, MmaHint(128, 128, k, 2, 4, 1, 4)),
        (0.55, MmaHint(128, 64, 128, 2, 2, 2, 3)),
        (0.35, MmaHint(64, 64, 128, 2, 2, 2, 3)),
        (0.25, MmaHint(64, 32, k, 2, 1, 2, 4)),
    )
    return min(candidates, key=lambda c: ceil_div(blocks(c[1].block_m, c[1].block_n), sm_count) * c[0])[1]


def _fit(problem: Problem, hint: MmaHint) -> MmaHint:
    """Return the hint with steps that suit the groups, and with a ring and tiles that fit shared memory."""
    config = problem.config
    if scales_sums(config):
        # Two sets of sums are held: half as many a warp. Steps hold whole groups, or groups whole steps.
        if hint.block_m * hint.block_n // (hint.warps_m * hint.warps_n) >= 64 * 64:
            hint = replace(hint, warps_n=2 * hint.warps_n)
        while not groups_fit(config, hint) and hint.warps_k > 1:
            hint = replace(hint, warps_k=hint.warps_k // 2)
        while not groups_fit(config, hint) and hint.block_k > 32:
            hint = replace(hint, block_k=hint.block_k // 2)
    smaller = (
        lambda h: replace(h, stages=h.stages - 1) if h.stages > MIN_STAGES else None,
        lambda h: replace(h, block_k=64, warps_k=min(h.warps_k, 2)) if h.block_k > 64 else None,
        lambda h: replace(h, block_m=64, block_n=64, warps_m=2, warps_n=2) if h.block_m * h.block_n > 64 * 64 else None,
        lambda h: replace(h, block_k=32, warps_k=1) if h.block_k > 32 else None,
    )
    while MmaGeometry(problem, hint).fault is not None:
        hint = next(h for step in smaller if (h := step(hint)) is not None)
    # 4 warps are too few for a multiprocessor that has no room for a second block of them.
    smem_bytes = MmaGeometry(problem, hint).smem_bytes + RESERVED_SMEM_BYTES
    is_alone = 2 * smem_bytes > problem.gpu.smem_per_sm_bytes
    if is_alone and hint.block_m * hint.block_n == 128 * 128 and hint.warps_n == 2:
        hint = replace(hint, warps_n=4)
    return hint
