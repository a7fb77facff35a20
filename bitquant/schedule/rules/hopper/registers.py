# SPDX-License-Identifier: Apache-2.0
"""Registers of the wgmma kernel: how a block's warpgroups share them, and how many a consumer needs."""

from __future__ import annotations

import functools

from bitquant.arch import REGISTERS_PER_SM
from bitquant.arithmetic import ceil_div
from bitquant.intrin.wgmma import WARPGROUP
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.rules.hopper.products import FLOAT8_RUN_K, REGISTERS_OF_STEP, Products

__all__ = [
    "INSTRUCTION_REGISTERS",
    "SUMMING_WARPS",
    "hint_registers",
    "launched_registers",
    "needed_registers",
    "producer_registers",
    "registers",
    "sum_sets",
]

#: The unit in which a thread gets registers (CUDA C++ Programming Guide 13.0).
REGISTER_UNIT = 8
#: Most registers of a thread in whole units, and those that the producer keeps at least.
MAX_REGISTERS, PRODUCER_REGISTERS = 248, 32
#: Those of a producer whose warps sum A, without spills: where each sums one block of 16 rows, and where more.
SUMMING_REGISTERS, SUMMING_MORE_REGISTERS = 48, 64
#: Warps of the producing warpgroup that sum A where sums are scaled; the first one copies.
SUMMING_WARPS = 3
#: Registers of a consumer besides sums, left operands and codes, as ptxas was seen to need them.
OTHER_REGISTERS = 36
#: What ptxas 13.0 and 13.5 want besides the sums of one wgmma of the registers that a kernel begins with: it does not
#: count those that are moved later.
INSTRUCTION_REGISTERS = 30
#: The same where sums are scaled: there are no scales in pairs.
OTHER_SUM_REGISTERS = 28
#: More of them where sums are scaled in groups: those of a block of rows, and where integers become float32.
GROUP_REGISTERS, CONVERSION_REGISTERS = 8, 24
#: And for each further plane of codes, where integers become float32.
PLANE_REGISTERS = 32


@functools.cache
def registers(consumers: int, blocks_per_sm: int = 1, least: int = PRODUCER_REGISTERS) -> tuple[int, int]:
    """Return the registers of a thread of the producer and of a consumer after they have been moved.

    All warpgroups of a block begin with as many as the launch bound allows, and only those can be moved: a consumer
    that asked for more than the producer has given up would wait for ever.

    Parameters
    ----------
    consumers
        Consumer warpgroups of a block.
    blocks_per_sm
        Blocks on a multiprocessor.
    least
        Registers that the producer keeps at least, a multiple of 8.
    """
    launched = launched_registers(consumers, blocks_per_sm)
    if launched == MAX_REGISTERS:
        return launched, launched
    available = launched * (consumers + 1)
    consumer = (available - least) // consumers // REGISTER_UNIT * REGISTER_UNIT
    consumer = min(consumer, MAX_REGISTERS)
    producer = min(launched, available - consumer * consumers)
    assert least <= producer <= launched <= consumer
    assert producer + consumers * consumer <= available
    return producer, consumer


def launched_registers(consumers: int, blocks_per_sm: int) -> int:
    """Return the registers of a thread when the kernel begins, before they are moved."""
    threads = (consumers + 1) * WARPGROUP
    return min(MAX_REGISTERS, REGISTERS_PER_SM // (threads * blocks_per_sm) // REGISTER_UNIT * REGISTER_UNIT)


def producer_registers(hint: WgmmaHint) -> int:
    """Return the registers that a thread of the producer keeps at least: one that sums A needs more."""
    if hint.scaling != "sums":
        return PRODUCER_REGISTERS
    is_one_each = hint.consumers_k * ceil_div(hint.block_m, 16) <= SUMMING_WARPS
    return SUMMING_REGISTERS if is_one_each else SUMMING_MORE_REGISTERS


def hint_registers(hint: WgmmaHint) -> tuple[int, int]:
    """Return `registers` for a hint."""
    return registers(hint.consumers, hint.blocks_per_sm, producer_registers(hint))


def needed_registers(products: Products, hint: WgmmaHint, sets: int = 1) -> int:
    """Return the registers that a consumer needs: sums and totals, two left operands, codes, and the rest.

    Where sums are scaled in groups there may be two sets of them.
    """
    if products.is_dense:
        return hint.block_m // 2 * hint.n_tiles_per_consumer + OTHER_REGISTERS
    config, others = products.config, OTHER_REGISTERS
    row = hint.block_m // 2 + products.unit_words
    if hint.scaling == "sums":
        row, others = row + hint.block_m // 2 * sets, OTHER_SUM_REGISTERS
    if products.promotes:
        row += hint.block_m // 2
        if config.num_groups > 1 and config.with_scaling:
            row += GROUP_REGISTERS
            is_short = config.group % FLOAT8_RUN_K != 0
            if config.A_format.is_integer:
                # Where runs follow each other within a step, ptxas converts all sums before the next run begins.
                others += CONVERSION_REGISTERS + (hint.block_m // 2 if is_short else 0)
                others += PLANE_REGISTERS * (products.planes - 1)
    return row * hint.n_tiles_per_consumer + 2 * REGISTERS_OF_STEP + others


def sum_sets(products: Products, hint: WgmmaHint) -> int:
    """Return the sets of sums where those are scaled: with two, one is scaled while products go to the other."""
    return 2 if hint.block_m <= 32 and needed_registers(products, hint, 2) <= hint_registers(hint)[1] else 1
