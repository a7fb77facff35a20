# SPDX-License-Identifier: Apache-2.0
"""Kernels that were timed in turn on an H200, and the order in which the analytical models put them.

All are float16 by uint4 in groups of 128 with zero points (2026-11-30, commit 5df14fc, samples of 10 ms from M = 128).
"""

from __future__ import annotations

from typing import Any

import pytest

import bitquant as bq
from bitquant.arch import cuda_target
from bitquant.problem import Problem
from bitquant.schedule.rules.decode.rule import DecodeRule
from bitquant.schedule.rules.hopper.rule import WgmmaRule

WGMMA, DECODE = WgmmaRule(), DecodeRule()


def _problem(m: int, N: int, K: int) -> Problem:
    config = bq.MatmulConfig(M=m, N=N, K=K, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True)
    return Problem(config, m, cuda_target("sm_90a"), "fragment")


@pytest.mark.parametrize(
    ("sizes", "faster", "slower"),
    [
        # 20.7 and 24.8 us.
        (
            (512, 2560, 5120),
            {"block_m": 176, "consumers_n": 1, "stages": 9},
            {"block_m": 176, "consumers_n": 2, "block_k": 128, "split_k": 2},
        ),
        # 45.7 and 52.1 us.
        (
            (256, 3584, 14336),
            {"consumers_n": 2, "block_k": 128, "stages": 5, "tail_split": 2},
            {"block_m": 256, "consumers_n": 2, "stages": 5, "split_k": 4},
        ),
        # 84.7 and 92.0 us.
        (
            (512, 3584, 14336),
            {"consumers_n": 2, "block_k": 128, "stages": 5},
            {"block_m": 256, "consumers_n": 2, "stages": 5, "split_k": 2},
        ),
        # 105 and 116 us.
        (
            (256, 7168, 18432),
            {"consumers_n": 2, "block_k": 128, "stages": 5, "stream_k": True},
            {"block_m": 256, "consumers_n": 2, "stages": 5, "split_k": 2},
        ),
    ],
    ids=str,
)
def test_blocks_that_share_k_of_large_tiles_are_costed(
    sizes: tuple[int, int, int], faster: dict[str, Any], slower: dict[str, Any]
) -> None:
    """Tiles of more than 128 x 128 whose K a cluster shares lose what smaller ones do not."""
    problem = _problem(*sizes)
    hints = [WGMMA.hint_type.from_dict(fields) for fields in (faster, slower)]
    times = [WGMMA.predicted_us(problem, hint) for hint in hints]
    assert [WGMMA.fault(problem, hint) for hint in hints] == [None, None]
    assert times[0] < times[1]


@pytest.mark.parametrize(
    ("sizes", "fields", "measured_us"),
    [
        ((8, 9216, 36864), {"n_tiles_per_warp": 3, "warps_n": 3, "warps_k": 4, "phase": 12, "chains": 1}, 51.1),
        ((8, 12288, 28672), {"n_tiles_per_warp": 2, "warps_n": 6, "warps_k": 2, "phase": 28, "chains": 2}, 53.3),
    ],
    ids=str,
)
def test_long_k_in_phases_is_predicted_closely(
    sizes: tuple[int, int, int], fields: dict[str, Any], measured_us: float
) -> None:
    """A model that takes phases for expensive leaves out the best kernels of long K and eight rows."""
    problem = _problem(*sizes)
    hint = DECODE.hint_type.from_dict({"split_k": 2, "ahead": 4, "unroll": 4, "weights": "shared", **fields})
    assert DECODE.fault(problem, hint) is None
    assert DECODE.predicted_us(problem, hint) == pytest.approx(measured_us, rel=0.2)


def test_three_tiles_a_warp_are_tried_for_sixteen_rows() -> None:
    """1152 tiles are 8.7 a multiprocessor: three warps of three tiles are 9. 13.0 us; with two tiles a warp 15.2."""
    problem = _problem(16, 18432, 3584)
    hint = DECODE.default_hint(problem)
    assert (hint.n_tiles_per_warp, hint.warps_n) == (3, 3)
