# SPDX-License-Identifier: Apache-2.0
"""What a hint makes of a problem on a CPU."""

from __future__ import annotations

from typing import Any

from bitquant.arithmetic import ceil_div
from bitquant.problem import Problem
from bitquant.schedule.rules.contract import Geometry
from bitquant.schedule.rules.simd.hint import SimdHint
from bitquant.schedule.rules.simd.products import INT8, Product, byte_instruction, missing

__all__ = ["SimdGeometry", "block_k_of", "fault_of_lanes", "takes_words"]

#: Most sums in registers; AVX-512 has 32 registers.
_MAX_SUMS = 28
#: Most bytes of the buffers of a thread: its sums, and the weights that it has decoded.
_MAX_BUFFER_BYTES = 16 << 20


#: Fewest rows for blocks of units. Fewer are decoded in registers by the rule `cpu`.
FEWEST_UNIT_ROWS = 5


def takes_words(problem: Problem, lanes: int) -> bool:
    """Whether blocks are vectors of words; else they are vectors of units, whose codes are taken one by one."""
    return _fault_of_words(problem, lanes) is None


def block_k_of(problem: Problem, product: Product, lanes: int) -> int:
    """Return the consecutive k of a block."""
    return 32 * lanes // (problem.config.W_format.bits if takes_words(problem, lanes) else product.unit_bits)


def fault_of_lanes(problem: Problem, product: Product, lanes: int) -> str | None:
    """Return what keeps a kernel from vectors of so many 32-bit lanes, as "needs ...", whatever its other sizes."""
    if (lack := missing(problem, product, lanes)) is not None:
        return lack
    if product is INT8 and problem.config.W_format.bits == 8 and byte_instruction(problem.target, lanes) != "vpdpbusd":
        return "needs a CPU with avx512vnni or avxvnni for W of 8 bits: sums of two products pass 16 bits"
    fault = _fault_of_words(problem, lanes)
    if fault is None or not problem.config.W_format.is_packed:
        return fault
    if problem.rung < FEWEST_UNIT_ROWS:
        return f"{fault} below {FEWEST_UNIT_ROWS} rows"
    return _fault_of_units(problem, product, lanes)


def _fault_of_words(problem: Problem, lanes: int) -> str | None:
    config = problem.config
    bits = config.W_format.bits
    if bits not in (1, 2, 4, 8):
        return f"needs W of 1, 2, 4 or 8 bits (got {config.W_format.name})"
    block_k = 32 * lanes // bits
    if config.K % block_k:
        return f"needs K % {block_k} == 0, blocks of {lanes} words (got K % {block_k} == {config.K % block_k})"
    if config.num_groups > 1 and config.group % (32 // bits):
        return f"needs groups of whole words, group_size % {32 // bits} == 0 (got {config.group})"
    return None


def _fault_of_units(problem: Problem, product: Product, lanes: int) -> str | None:
    config = problem.config
    units = 32 * lanes // product.unit_bits
    if config.K % units:
        return f"needs K % {units} == 0, vectors of {units} codes (got K % {units} == {config.K % units})"
    if product is INT8 and config.num_groups > 1 and config.group % 4:
        return f"needs groups of whole lanes of sums, group_size % 4 == 0 (got {config.group})"
    return None


class SimdGeometry(Geometry):
    """How rows of W are cut into blocks, and how the blocks lie in groups.

    Attributes
    ----------
    product
        In which type the kernel multiplies.
    block_k
        Consecutive k of a block.
    is_of_words
        Whether blocks are vectors of words (`takes_words`).
    blocks
        Blocks of a row of W.
    steps
        Vectors of factors that a block is decoded to: one of a block of units. Factor p of step j is k = `steps` * p +
        j of the block: in a block of words it is shifted down by j codes in its unit.
    unit_lanes
        Factors of a vector.
    group_blocks
        Blocks of a group where blocks lie in one group each, else 0.
    looks_up
        Whether codes are looked up in a register that holds all values.
    chunks
        Chunks along k; the last one may have fewer blocks.
    """

    hint: SimdHint

    def __init__(self, problem: Problem, hint: Any, product: Product) -> None:
        self.product = product
        super().__init__(problem, hint)

    def with_hint(self, hint: Any) -> SimdGeometry:
        """Return what another hint makes of the problem."""
        return SimdGeometry(self.problem, hint, self.product)

    def _hint_fault(self) -> str | None:
        config, hint, product = self.config, self.hint, self.product
        if (fault := fault_of_lanes(self.problem, product, hint.lanes)) is not None:
            return fault
        block_k = block_k_of(self.problem, product, hint.lanes)
        if not hint.buffered and not takes_words(self.problem, hint.lanes):
            return "needs buffered where codes are taken one by one"
        if hint.rows * hint.cols > _MAX_SUMS:
            return f"needs rows * cols <= {_MAX_SUMS}, the sums in registers"
        if hint.row_tile % hint.rows:
            return "needs row_tile % rows == 0"
        if hint.col_tile % hint.cols:
            return "needs col_tile % cols == 0"
        if hint.cols % config.rows_per_column:
            return "needs an even cols with an activation"
        blocks = config.K // block_k
        if hint.chunk > blocks:
            return f"needs chunk <= {blocks}, the blocks of K"
        whole_groups = config.num_groups > 1 and config.group % block_k == 0
        if whole_groups and hint.chunk % (config.group // block_k):
            return f"needs chunks of whole groups, {config.group // block_k} blocks"
        decoded = hint.col_tile * hint.chunk * block_k * product.unit_bits // 8 if hint.buffered else 0
        sums = 4 * hint.lanes * hint.row_tile * hint.col_tile
        if decoded + sums > _MAX_BUFFER_BYTES:
            return f"needs tiles of at most {_MAX_BUFFER_BYTES} bytes, and these have {decoded + sums}"
        return None

    def _derive(self) -> None:
        config, hint, product = self.config, self.hint, self.product
        bits = config.W_format.bits
        self.is_of_words = takes_words(self.problem, hint.lanes)
        self.block_k = block_k_of(self.problem, product, hint.lanes)
        self.blocks = config.K // self.block_k
        self.steps = product.unit_bits // bits if self.is_of_words else 1
        self.unit_lanes = hint.lanes * 32 // product.unit_bits
        self.group_blocks = 0
        if config.num_groups == 1:
            self.group_blocks = self.blocks
        elif config.group % self.block_k == 0:
            self.group_blocks = config.group // self.block_k
        self.looks_up = self._looks_up()
        self.chunks = ceil_div(self.blocks, hint.chunk)

    def _looks_up(self) -> bool:
        """AVX-512 permutes 16 float32, or 16 or 32 numbers of 16 bits; AVX2 8 float32."""
        bits, fmt = self.config.W_format.bits, self.config.W_format
        if self.product is INT8 or bits > 4 or not self.is_of_words:
            return False
        if self.product.dtype == "bfloat16" or self.hint.lanes == 16:
            return True
        return bits <= 2 or fmt.codebook is not None
