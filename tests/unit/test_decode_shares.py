# SPDX-License-Identifier: Apache-2.0
"""Stream-K of the decode kernel: how phases are shared, and what every block does with its part."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import pytest

import bitquant as bq
from bitquant.arch import cuda_target
from bitquant.problem import Problem
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.decode.rule import DecodeRule
from bitquant.testing.kernels import HINTED_ARCH, HINTED_KERNELS, HintedKernel

RULE, TARGET = DecodeRule(), cuda_target(HINTED_ARCH)
KERNELS = [kernel for kernel in HINTED_KERNELS if kernel.rule == "decode" and kernel.hint.to_dict()["stream_k"]]
HINT = DecodeHint(warps_k=8, unroll=2, phase=2, stream_k=True)


def _problem(m: object = 1, **fields: object) -> Problem:
    given = {"N": 4608, "K": 36864, "W_dtype": "uint4", "group_size": 128, "with_scaling": True, **fields}
    config = bq.MatmulConfig(M=m, **given)
    return Problem(config, config.ladder[-1], TARGET, "fragment")


def first_phase_of(g, block):
    """`emit.context.first_phase_of` in Python's integers."""
    return block * g.all_phases // g.grid_n


def sharer_of(g, phase):
    """`emit.shares.sharer_of` in Python's integers."""
    return ((phase + 1) * g.grid_n - 1) // g.all_phases


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_shares_are_equal_and_every_phase_is_summed_once(kernel: HintedKernel) -> None:
    """Each phase is one block's; parts of a block of n have a slot each, and are read where they were stored."""
    g = RULE.checked(Problem(kernel.config, kernel.config.ladder[0], TARGET, "fragment"), kernel.hint)
    sizes, stored = set(), {}
    parts: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for block in range(g.grid_n):
        first, behind = first_phase_of(g, block), first_phase_of(g, block + 1)
        sizes.add(behind - first)
        for n_block in range(first // g.phases, (behind - 1) // g.phases + 1):
            mine = range(max(first, n_block * g.phases), min(behind, (n_block + 1) * g.phases))
            assert {sharer_of(g, phase) for phase in mine} == {block}
            if len(mine) < g.phases:
                slot = block * 2 + (first <= n_block * g.phases)
                assert slot not in stored
                stored[slot] = n_block
                parts[n_block].append((slot, len(mine)))
    assert max(sizes) - min(sizes) <= 1
    for n_block, found in parts.items():
        one, last = sharer_of(g, n_block * g.phases), sharer_of(g, (n_block + 1) * g.phases - 1)
        read = [one * 2 + 1, *((one + 1 + other) * 2 for other in range(last - one))]
        assert [slot for slot, _ in found] == read
        assert sum(length for _, length in found) == g.phases


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"phase": 0}, "a phase"),
        ({"split_k": 2}, "split_k, multicast and n_blocks_per_cta of 1"),
        ({"multicast": 2}, "split_k, multicast and n_blocks_per_cta of 1"),
        ({"n_blocks_per_cta": 2}, "split_k, multicast and n_blocks_per_cta of 1"),
    ],
    ids=str,
)
def test_what_shares_k_in_other_ways_is_refused(fields: dict[str, object], message: str) -> None:
    """Stream-K goes with phases alone."""
    assert message in str(RULE.fault(_problem(), dataclasses.replace(HINT, **fields)))


def test_any_number_of_rows_is_refused() -> None:
    """The workspace is for the rows that a kernel has at most: the last rung of a ladder has no such number."""
    assert RULE.fault(_problem(8, K=4096), HINT) is None
    assert RULE.fault(_problem((1, 8), K=4096), HINT) == "needs at most 8 rows of A where stream_k is True"
    assert RULE.fault(_problem(9, K=4096), HINT) == "needs at most 8 rows of A where stream_k is True"


def test_all_of_a_must_fit() -> None:
    """A stays in shared memory whatever the phase is."""
    assert "bytes of shared memory" in str(RULE.fault(_problem(8, K=65536, group_size=-1), HINT))


def test_it_is_tried_where_blocks_leave_a_part_of_the_gpu_idle() -> None:
    """288 tiles of n for 132 multiprocessors have hints with stream-K, whose shares differ by less than a tenth."""
    found = [RULE.geometry(_problem(), hint) for hint in RULE.space(_problem()) if hint.stream_k]
    assert found
    for g in found:
        assert g.all_phases >= 4 * g.grid_n
        assert -(-g.all_phases // g.grid_n) < 1.25 * g.all_phases / g.grid_n
    even = _problem(N=132 * 64, K=4096)
    assert not any(h.stream_k and h.warps_n * h.n_tiles_per_warp == 4 for h in RULE.space(even) if h.blocks_per_sm == 1)
