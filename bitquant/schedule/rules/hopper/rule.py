"""The wgmma rule: what it serves, its hints and their order. The kernel is in `wgmma_kernel`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from tvm.tirx import PrimFunc

from bitquant.arch import RESERVED_SMEM_BYTES, GpuArch
from bitquant.config import MatmulConfig
from bitquant.intrin.wgmma import SWIZZLE_BYTES
from bitquant.layouts import Layout, fragment_refusal
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.rules.hopper.cost import predicted_us
from bitquant.schedule.rules.hopper.emit.kernel import Kernel
from bitquant.schedule.rules.hopper.emit.sums import narrow_refusal
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.hopper.tiles import (
    has_columns,
    hint_registers,
    launched_registers,
    likely_hints,
    needed_registers,
    producer_registers,
    sums_refusal,
    unit_k,
)

__all__ = ["WgmmaRule", "hint_problem", "hopper_refusal"]

#: Rows of A from which this rule is worth its tiles; below, the decode rule reads the weight faster.
LEAST_M = 16
#: Most slots of a ring that are tried, hints whose ring is sized, and hints of `space`.
MAX_STAGES, CANDIDATES, SPACE = 12, 150, 60
#: Most elements of a dimension of a box that TMA copies (CUDA Driver API, cuTensorMapEncodeTiled).
MAX_BOX = 256


class WgmmaRule(Rule):
    """Tensor cores by wgmma on the fragment layout (`wgmma_kernel`)."""

    name = "wgmma"
    pipeline = "tirx"
    hint_type = WgmmaHint
    weight_layouts: ClassVar[tuple[Layout, ...]] = ("fragment",)

    def refuses(self, problem: Problem) -> str | None:
        """Refuse other GPUs than Hopper, and rows or groups that TMA and the steps of k do not fit."""
        config = problem.config
        if (reason := hopper_refusal(problem) or fragment_refusal(config)) is not None:
            return reason
        if config.A_format.bits == 8:
            return narrow_refusal(config)
        if (reason := config.W_format.register_refusal(config.A_format.name)) is not None:
            return reason
        step_k = SWIZZLE_BYTES * 8 // config.A_format.bits
        if config.with_zeros and not config.W_format.is_integer:
            return f"needs integers where W has zero points (got {config.W_format.name})"
        if (config.with_scaling or config.with_zeros) and config.scale_format.name != config.A_format.name:
            return f"needs Scale of A's type (got {config.scale_format.name})"
        if config.num_groups > 1 and config.group not in (16, 32) and config.group % step_k:
            return f"needs a group_size of 16, 32 or a multiple of {step_k} (got {config.group})"
        return None

    def shapes(self, problem: Problem) -> Iterator[WgmmaHint]:
        """Yield hints in the order of the time that the model predicts (`cost`)."""
        config, rung, arch = problem.config, problem.rung, problem.gpu

        def predicted(hint: WgmmaHint) -> float:
            return predicted_us(config, rung, arch, hint)

        likely = sorted(likely_hints(config, rung, arch), key=predicted)[:CANDIDATES]
        sized = (_with_deepest_ring(config, arch, hint, self.kernel_type) for hint in likely)
        fitting = [hint for hint in sized if hint is not None]
        yield from sorted(fitting, key=predicted)[:SPACE]

    def fault(self, problem: Problem, hint: Hint) -> str | None:
        """Refuse sizes that do not fit each other, the layout or the GPU."""
        assert isinstance(hint, WgmmaHint)
        return hint_problem(problem.config, problem.gpu, hint, self.kernel_type)

    def geometry(self, problem: Problem, hint: Hint) -> Kernel:  # type: ignore[override]
        """Return how the kernel cuts the problem."""
        assert isinstance(hint, WgmmaHint)
        return self.kernel_type(problem.config, problem.rung, problem.gpu, hint)

    def cost_us(self, geometry: Kernel) -> float:
        """Return the time that `cost` predicts."""
        return predicted_us(geometry.config, geometry.rung, geometry.arch, geometry.hint)

    def emit(self, geometry: Kernel) -> PrimFunc:
        """Write the kernel for this problem."""
        return geometry.build()

    @property
    def kernel_type(self) -> type[Kernel]:
        """What writes the rule's kernels."""
        return Kernel


def hopper_refusal(problem: Problem) -> str | None:
    """Return why no kernel by wgmma and TMA serves a problem, whatever W is, or None."""
    config, rung = problem.config, problem.rung
    if not (problem.is_cuda and problem.gpu.has_wgmma):
        return f"needs sm_90a (got {problem.device_name})"
    if rung < LEAST_M:
        return f"needs M >= {LEAST_M} (got {rung})"
    if config.A_format.bits > 16:
        return f"needs A of 16 or 8 bits (got {config.A_format.name})"
    if config.K * config.A_format.bits % 128:
        return f"needs rows of A of whole 16 bytes, K % {128 // config.A_format.bits} == 0 (got {config.K})"
    return None


def hint_problem(
    config: MatmulConfig, arch: GpuArch, hint: WgmmaHint, kernel_type: type[Kernel] | None = None
) -> str | None:
    """Return the rule that a hint breaks, or None."""
    least_k = unit_k(config)
    if not has_columns(config, hint.block_m):
        sizes = "8, 16, 24, 32, 48 ... 224 where A is int8" if config.A_format.is_integer else "8, 16 ... 256"
        return f"needs block_m of {sizes}"
    if hint.block_k % least_k or hint.block_k < least_k:
        return f"needs block_k % {least_k} == 0"
    if hint.consumers > 4:
        return "needs 1 to 4 consumers"
    if hint.tail_split > 1 and (hint.parts > 1 or hint.scaling == "sums"):
        return 'needs consumers_k and split_k of 1 and scaling="operand" where tail_split is more'
    if hint.multicast > 1 and (hint.parts > 1 or hint.tail_split not in (1, hint.multicast)):
        return f"needs consumers_k and split_k of 1, and tail_split of 1 or {hint.multicast}, where multicast is more"
    if hint.block_m % (8 * hint.multicast):
        return f"needs block_m % {8 * hint.multicast} == 0 where multicast is {hint.multicast}"
    if hint.row_blocks > hint.rows * hint.consumers_n:
        return f"needs row_blocks <= {hint.rows * hint.consumers_n}, what the consumers hold"
    if hint.scaling == "sums" and (reason := sums_refusal(config, hint)) is not None:
        return reason
    launched = launched_registers(hint.consumers, hint.blocks_per_sm)
    if (least := producer_registers(hint)) > launched:
        return f"needs {least} registers a thread of the producer, and {launched} are launched"
    kernel = (kernel_type or Kernel)(config, 1, arch, hint)
    if hint.tail_split > 1 and kernel.bodies % hint.tail_split:
        body_k = kernel.body_stages * hint.block_k
        return f"needs K of a multiple of {hint.tail_split} times {body_k} where tail_split is {hint.tail_split}"
    if max(kernel.w_box) > MAX_BOX:
        return f"needs at most {MAX_BOX} rows of W and A in a copy"
    if kernel.scales_sums and max(kernel.steps, kernel.run_steps) % min(kernel.steps, kernel.run_steps):
        return f"needs a block_k that holds whole runs of {kernel.run_steps * kernel.step_k} k, or parts of one"
    if kernel.needs_sums_of_a and hint.stages % kernel.slots_of_run:
        return f"needs stages of a multiple of {kernel.slots_of_run}, the slots of a run"
    available = hint_registers(hint)[1]
    if (needed := needed_registers(config, hint)) > available:
        return f"needs {needed} registers a consumer thread, and there are {available}"
    least = 2 if kernel.steps > 1 else 3
    if hint.stages < least:
        return f"needs {least} stages or more"
    if kernel.exchange and kernel.exchanges_in_ring and kernel.exchange.nbytes > hint.stages * kernel.slot_bytes:
        return f"needs a ring of {kernel.exchange.nbytes} bytes, in which sums meet"
    if kernel.smem_bytes > (limit := _smem_limit(arch, hint)):
        return f"needs {kernel.smem_bytes} bytes of shared memory, and a block has {limit}"
    return None


def _smem_limit(arch: GpuArch, hint: WgmmaHint) -> int:
    """Return the shared memory that a block may have."""
    return min(arch.smem_per_block_bytes, arch.smem_per_sm_bytes // hint.blocks_per_sm - RESERVED_SMEM_BYTES)


def _with_deepest_ring(
    config: MatmulConfig, arch: GpuArch, hint: WgmmaHint, kernel_type: type[Kernel]
) -> WgmmaHint | None:
    """Return the hint with as many slots as shared memory holds, or None where they are too few."""
    kernel = kernel_type(config, 1, arch, replace(hint, stages=1))
    tail = kernel.smem_bytes - kernel.out_offset - kernel.slot_extra_bytes
    stages = min(MAX_STAGES, (_smem_limit(arch, hint) - tail) // (kernel.slot_bytes + kernel.slot_extra_bytes))
    if kernel.needs_sums_of_a:
        stages -= stages % kernel.slots_of_run
    fitted = replace(hint, stages=stages)
    return fitted if stages >= 1 and hint_problem(config, arch, fitted, kernel_type) is None else None
