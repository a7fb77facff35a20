"""Few rows of A: the time to read the weight, on the fragment layout.

The weight is the left operand of the tensor cores, D^T = W A^T, and streams from memory straight into the registers
that they read, 16 bytes a lane and load; or, as the hint says, through a ring in shared memory, from which each lane
takes what it has copied itself. A few rows of A sit in shared memory as the right operand::

    W fragments --ld.global--> registers --decode--> mma --sums of a group--> x scale, - zero point --> totals
    A ----------bulk copy----> shared memory --ldmatrix--^

A warp owns `rows` tiles of 16 n. The warps of a block share n and k; what they hold of the same n is added in shared
memory at the end, and where the blocks of a cluster share k, in distributed shared memory. A arrives in one piece, or
in few phases: nothing but the weight is waited for in the loop.

Scale and zero point are applied in float32 to the sums of a group, sum a (w - z) s = (sum a w - z sum a) s; sum a comes
from one more mma with a left operand of ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from tvm.tirx import PrimFunc

from bitquant.arch import RESERVED_SMEM_BYTES, GpuArch
from bitquant.config import MatmulConfig
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.layouts import Layout, fragment_layout, fragment_refusal
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.rules.decode import cost
from bitquant.schedule.rules.decode.cost import Work
from bitquant.schedule.rules.decode.digits import digits_refusal
from bitquant.schedule.rules.decode.emit.digit_kernel import DigitKernel
from bitquant.schedule.rules.decode.emit.kernel import Kernel
from bitquant.schedule.rules.decode.geometry import Shape, operand_type
from bitquant.schedule.rules.decode.hint import DecodeHint

__all__ = ["DecodeRule"]


class DecodeRule(Rule):
    """Few rows of A on the fragment layout (see the module)."""

    name = "decode"
    pipeline = "tirx"
    hint_type = DecodeHint
    weight_layouts: ClassVar[tuple[Layout, ...]] = ("fragment",)

    def refuses(self, problem: Problem) -> str | None:
        """Refuse what has no fragment layout, GPUs before sm_80, and formats that no tensor-core type holds."""
        if not problem.is_cuda:
            return f"needs a CUDA target (got {problem.device_name})"
        config, arch = problem.config, problem.gpu
        if not arch.has_mma_m16n8k16:
            return f"needs sm_80 or newer (got {arch.name})"
        if reason := fragment_refusal(config):
            return reason
        a, w = config.A_format, config.W_format
        if not a.is_integer and a.bits == 8 and w.needs_table and (config.with_scaling or config.with_zeros):
            return f"needs a W whose values float16 holds where A is float8 and W is scaled (got {w.name})"
        return w.register_refusal(operand_type(config))

    def shapes(self, problem: Problem) -> Iterator[DecodeHint]:
        """Yield hints in the order of the time that the model predicts (`cost`)."""
        config, rung, arch = problem.config, problem.rung, problem.gpu
        first = DecodeHint(block_m=min(64, max(8, 1 << (rung - 1).bit_length())))
        work = _work(config, rung, arch)
        is_empty = True
        for hint in cost.space(work, first):
            if self.fault(problem, hint) is None and _blocks_fit(config, rung, arch, hint):
                is_empty = False
                yield hint
        if is_empty:
            yield from cost.least(first)

    def fault(self, problem: Problem, hint: Hint) -> str | None:
        """Refuse sizes that do not fit each other, the architecture or shared memory."""
        assert isinstance(hint, DecodeHint)
        return _hint_problem(problem.config, problem.rung, problem.gpu, hint)

    def geometry(self, problem: Problem, hint: Hint) -> Shape:  # type: ignore[override]
        """Return how the kernel cuts the problem."""
        assert isinstance(hint, DecodeHint)
        return Shape(problem.config, problem.rung, problem.gpu, hint)

    def cost_us(self, geometry: Shape) -> float:
        """Return the time that `cost` predicts."""
        return cost.predicted_us(_work(geometry.config, geometry.rung, geometry.arch), geometry.hint)

    def emit(self, geometry: Shape) -> PrimFunc:
        """Write the kernel for this problem."""
        kernel_type = DigitKernel if geometry.hint.activations == "digits" else Kernel
        return kernel_type(geometry.config, geometry.rung, geometry.arch, geometry.hint).build()


def _work(config: MatmulConfig, rung: int, arch: GpuArch) -> Work:
    decoder = RegisterDecoder(config.W_format, fragment_layout(config), operand_type(config), arch.capability)
    return Work(config, rung, arch, decoder)


def _blocks_fit(config: MatmulConfig, rung: int, arch: GpuArch, hint: DecodeHint) -> bool:
    """Return whether a multiprocessor's shared memory holds as many blocks as registers leave room for."""
    smem_bytes = Shape(config, rung, arch, hint).smem_bytes + RESERVED_SMEM_BYTES
    return hint.blocks_per_sm * smem_bytes <= arch.smem_per_sm_bytes


def _hint_problem(config: MatmulConfig, rung: int, arch: GpuArch, hint: DecodeHint) -> str | None:
    """Return the rule that a hint breaks, or None."""
    if hint.activations == "digits":
        if hint.block_m != 1:
            return "needs block_m of 1 for digits"
        if (reason := digits_refusal(config)) is not None:
            return reason.split(" (got ")[0]
    elif hint.block_m == 1:
        return "needs block_m of 8, 16, 32 or 64 for values"
    if hint.warps_n * hint.warps_k > 32:
        return "needs at most 32 warps"
    if hint.unroll % hint.ahead and (hint.weights == "registers" or hint.ahead % hint.unroll):
        return "needs unroll % ahead == 0, or ahead % unroll == 0 where weights travel through shared memory"
    if hint.phase % hint.unroll:
        return "needs phase % unroll == 0"
    if hint.cluster > 8:
        return "needs split_k * multicast <= 8"
    if hint.cluster > 1 and not arch.has_clusters:
        return f"needs sm_90 or newer for split_k or multicast > 1, and the target is {arch.name}"
    shape = Shape(config, rung, arch, hint)
    if shape.phases < hint.split_k:
        return f"needs split_k <= {shape.phases}, the phases of k"
    if hint.multicast > 1 and not (shape.a_stays and shape.copies_bulk):
        return "needs an A that stays in shared memory, of rows of whole 16 bytes, where multicast is more than 1"
    if math.gcd(shape.blocks_n, shape.grid_n) % hint.multicast:
        return f"needs a multicast that divides {shape.blocks_n} blocks of n, and the {shape.grid_n} that run together"
    if shape.digit_plan and (reason := shape.digit_plan.hint_problem(shape)) is not None:
        return reason
    if shape.smem_bytes > arch.smem_per_block_bytes:
        return f"needs {shape.smem_bytes} bytes of shared memory, and {arch.name} has {arch.smem_per_block_bytes}"
    return None
