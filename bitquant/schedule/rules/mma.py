"""Tensor cores by mma.sync, on the plain weight layout, for every shape and nearly every format.

A block computes a tile of D. Tiles of A and of the stored weight travel to shared memory through a ring of `stages`
slots, asynchronously from sm_80 on. Where the weight must be decoded, the threads turn the stored tile of the next
step into one of the operand's type while the tensor cores work on the current step::

    stored W --cp.async--> ring --decode--> 2 operand tiles --ldmatrix--> mma --> accumulators --> D
    A -------cp.async-----------------------> ring --------ldmatrix--^

Scale and zero point are applied to the weight while it is decoded, where A has 16 bits. Where A has 8 bits the product
is one of unscaled numbers, and each group's sums are scaled in float32 when the group ends:
sum a (w - z) s = (sum a w - z sum a) s, with sum a from one more mma by a column of ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.arch import RESERVED_SMEM_BYTES, GpuArch, gpu_arch
from bitquant.config import MatmulConfig
from bitquant.intrin.mma import UNIT
from bitquant.schedule.hint import Hint, size
from bitquant.schedule.rules.base import Rule
from bitquant.schedule.rules.mma_kernel import Kernel, scales_sums

__all__ = ["MmaHint", "MmaRule"]

#: One slot is multiplied, one decoded, one filled.
MIN_STAGES = 3
#: cp.async.wait_group takes 0 to 7 (TVM's table); a ring of 9 slots leaves 7 pending.
MAX_STAGES = 9
#: Most sums that a thread holds: half of its 255 registers. More would be spilled.
MAX_SUMS = 128


@dataclass(frozen=True)
class MmaHint(Hint):
    """Tile sizes of the mma kernel.

    Attributes
    ----------
    block_m, block_n, block_k
        Tile of D that a block computes, and elements of k a step.
    warps_m, warps_n
        Warps that share the tile of D, along m and along n.
    warps_k
        Warps that share the k of a step; their sums are added in shared memory at the end.
    stages
        Slots of the ring that tiles arrive in.
    """

    block_m: int = size(64, 16, 256)
    block_n: int = size(64, 16, 256)
    block_k: int = size(64, 32, 256)
    warps_m: int = size(2, 1, 16)
    warps_n: int = size(2, 1, 32)
    warps_k: int = size(1, 1, 16)
    stages: int = size(3, MIN_STAGES, MAX_STAGES)


class MmaRule(Rule):
    """Tensor cores by mma.sync on the plain layout (see the module)."""

    name = "mma"
    pipeline = "tirx"
    hint_type = MmaHint

    def refuses(self, config: MatmulConfig, rung: int, target: Target) -> str | None:
        """Refuse float32 A, bfloat16 before sm_80, and groups or layouts that the fragments do not fit."""
        if target.kind.name != "cuda":
            return f"needs a CUDA target (got {target.kind.name})"
        arch = gpu_arch(str(target.arch))
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

    def default_hint(self, config: MatmulConfig, rung: int, target: Target) -> MmaHint:
        """Pick the largest tile whose grid fills the GPU, then the ring that fits shared memory."""
        arch = gpu_arch(str(target.arch))
        return _fit(config, arch, _wanted_hint(config, rung, arch))

    def smem_bytes(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> int:
        """Return the bytes of rings and tiles."""
        assert isinstance(hint, MmaHint)
        return Kernel(config, rung, gpu_arch(str(target.arch)), hint).smem_bytes

    def schedule(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> PrimFunc:
        """Write the kernel for this problem."""
        self.check_hint(config, rung, target, hint)
        return Kernel(config, rung, gpu_arch(str(target.arch)), cast("MmaHint", hint)).build()

    def hint_problem(self, config: MatmulConfig, rung: int, target: Target, hint: Hint) -> str | None:
        """Refuse sizes that do not fit each other, the group size, registers or shared memory."""
        assert isinstance(hint, MmaHint)
        return _hint_problem(config, gpu_arch(str(target.arch)), hint)


# The choice of tiles.


def _wanted_hint(config: MatmulConfig, rung: int, arch: GpuArch) -> MmaHint:
    """Return the hint that a GPU with enough shared memory would get."""
    N, sm_count = config.N, arch.sm_count
    k = 128 if config.A_format.is_integer else 64

    def blocks(m: int, n: int) -> int:
        return -(-rung // m) * -(-N // n)

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
    return min(candidates, key=lambda c: -(-blocks(c[1].block_m, c[1].block_n) // sm_count) * c[0])[1]


def _fit(config: MatmulConfig, arch: GpuArch, hint: MmaHint) -> MmaHint:
    """Return the hint with steps that suit the groups, and with a ring and tiles that fit shared memory."""
    if scales_sums(config):
        # Two sets of sums are held: half as many a warp. Steps hold whole groups, or groups whole steps.
        if hint.block_m * hint.block_n // (hint.warps_m * hint.warps_n) >= 64 * 64:
            hint = replace(hint, warps_n=2 * hint.warps_n)
        while not _groups_fit(config, hint) and hint.warps_k > 1:
            hint = replace(hint, warps_k=hint.warps_k // 2)
        while not _groups_fit(config, hint) and hint.block_k > 32:
            hint = replace(hint, block_k=hint.block_k // 2)
    smaller = (
        lambda h: replace(h, stages=h.stages - 1) if h.stages > MIN_STAGES else None,
        lambda h: replace(h, block_k=64, warps_k=min(h.warps_k, 2)) if h.block_k > 64 else None,
        lambda h: replace(h, block_m=64, block_n=64, warps_m=2, warps_n=2) if h.block_m * h.block_n > 64 * 64 else None,
        lambda h: replace(h, block_k=32, warps_k=1) if h.block_k > 32 else None,
    )
    while _hint_problem(config, arch, hint) is not None:
        hint = next(h for step in smaller if (h := step(hint)) is not None)
    # 4 warps are too few for a multiprocessor that has no room for a second block of them.
    is_alone = 2 * (Kernel(config, 1, arch, hint).smem_bytes + RESERVED_SMEM_BYTES) > arch.smem_per_sm_bytes
    if is_alone and hint.block_m * hint.block_n == 128 * 128 and hint.warps_n == 2:
        hint = replace(hint, warps_n=4)
    return hint


def _groups_fit(config: MatmulConfig, hint: MmaHint) -> bool:
    """Whether each warp's part of a step ends where a group ends, or lies inside one."""
    part = hint.block_k // hint.warps_k
    return config.num_groups == 1 or config.group % hint.block_k == 0 or part % config.group == 0


def _hint_problem(config: MatmulConfig, arch: GpuArch, hint: MmaHint) -> str | None:
    """Return the rule that a hint breaks, or None."""
    step = 32 if config.A_format.is_integer else 16
    if hint.block_m % (16 * hint.warps_m):
        return "needs block_m % (16 * warps_m) == 0"
    if hint.block_n % (8 * hint.warps_n) or hint.block_n % 16:
        return "needs block_n % (8 * warps_n) == 0 and block_n % 16 == 0"
    if hint.block_k not in (32, 64, 128, 256) or hint.block_k % (step * hint.warps_k):
        return f"needs block_k of 32, 64, 128 or 256, and block_k % ({step} * warps_k) == 0"
    if config.layout == "nn" and hint.block_n not in (32, 64, 128, 256):
        return "needs block_n of 32, 64, 128 or 256 in layout nn"
    if hint.warps_m * hint.warps_n * hint.warps_k > 32:
        return "needs at most 32 warps"
    if hint.block_m * hint.block_n > MAX_SUMS * 32 * hint.warps_m * hint.warps_n:
        return f"needs at most {MAX_SUMS} sums a thread"
    if not MIN_STAGES <= hint.stages <= MAX_STAGES:
        return f"needs {MIN_STAGES} <= stages <= {MAX_STAGES}"
    if scales_sums(config) and not _groups_fit(config, hint):
        return f"needs group_size and block_k / warps_k that divide each other, with group_size={config.group}"
    smem_bytes = Kernel(config, 1, arch, hint).smem_bytes
    if smem_bytes > arch.smem_per_block_bytes:
        return f"needs {smem_bytes} bytes of shared memory, and {arch.name} has {arch.smem_per_block_bytes}"
    return None
