# SPDX-License-Identifier: Apache-2.0
"""The model behind the decode rule's hints: which way its times go, and that it always has an answer, soon."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest

from bitquant.arch import cuda_target, gpu_arch, resolve_target
from bitquant.config import MatmulConfig
from bitquant.layouts import fragment_refusal
from bitquant.problem import Problem
from bitquant.schedule.rules.decode.cost import cost_us, estimated_registers, estimated_smem_bytes
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.decode.rule import DecodeRule
from bitquant.schedule.rules.decode.space import by_cost, small_hints
from bitquant.testing.generators import cases
from bitquant.testing.shape_sets import SHAPE_SETS

RULE = DecodeRule()
FIRST = DecodeHint(n_tiles_per_warp=2, warps_k=4, ahead=2, unroll=2, chains=2, blocks_per_sm=2)


def _problem(N: int = 8192, K: int = 8192, rung: int = 1, arch: str = "sm_90a", **fields: object) -> Problem:
    given = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True}
    return Problem(MatmulConfig(M=rung, N=N, K=K, **{**given, **fields}), rung, cuda_target(arch), "fragment")


def predicted_us(problem: Problem, hint: DecodeHint) -> float:
    return cost_us(DecodeGeometry(problem, hint))


def registers(problem: Problem, hint: DecodeHint) -> int:
    return estimated_registers(DecodeGeometry(problem, hint))


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"N": 8192}, {"N": 16384}),
        ({"K": 8192}, {"K": 16384}),
        ({"W_dtype": "uint2"}, {"W_dtype": "uint4"}),
        ({"W_dtype": "uint4"}, {"W_dtype": "uint8"}),
        ({"rung": 1}, {"rung": 8}),
        ({"rung": 8}, {"rung": 64}),
        ({"group_size": 128}, {"group_size": 32}),
        ({"with_zeros": False}, {"with_zeros": True}),
    ],
    ids=str,
)
def test_more_work_takes_longer(less: dict, more: dict) -> None:
    """With the same hint, more bytes or more rows take more time."""
    assert predicted_us(_problem(**less), FIRST) < predicted_us(_problem(**more), FIRST)


@pytest.mark.parametrize(
    ("bits", "rows", "block_m", "is_in_place"),
    [(4, 1, 8, True), (4, 2, 32, False), (2, 4, 32, True), (2, 4, 64, False), (1, 1, 16, False), (3, 2, 16, True)],
)
def test_signed_weights_are_decoded_in_place_where_that_is_cheaper(bits, rows, block_m, is_in_place) -> None:
    """An mma a step and 8 rows of A against a multiply-add a register; unsigned ones always are."""
    hint = replace(FIRST, n_tiles_per_warp=rows, block_m=block_m)
    for kind, expected in (("int", is_in_place), ("uint", True)):
        g = DecodeGeometry(_problem(W_dtype=f"{kind}{bits}", with_zeros=False, rung=block_m), hint)
        assert g.decoder.in_place is expected
        assert g.needs_sum_of_a is (kind == "int" and expected)
        assert g.sums == len(g.classes) * g.chains >= hint.chains


@pytest.mark.parametrize("bits", range(1, 8))
def test_decoding_in_place_takes_less_time(bits: int) -> None:
    """With the same hint; bfloat16 never is. Where one sum was enough, a second class takes registers."""
    problems = [_problem(W_dtype=f"uint{bits}", A_dtype=dtype, rung=8) for dtype in ("float16", "bfloat16")]
    assert [DecodeGeometry(problem, FIRST).decoder.in_place for problem in problems] == [True, False]
    assert predicted_us(problems[0], FIRST) < predicted_us(problems[1], FIRST)
    assert registers(problems[0], FIRST) == registers(problems[1], FIRST)
    one = replace(FIRST, chains=1)
    assert (registers(problems[0], one) > registers(problems[1], one)) is (bits < 4)


def test_slower_memory_takes_longer() -> None:
    """On a GPU with less bandwidth a problem takes longer, where nothing else is different."""
    problem = _problem()
    slow = replace(problem, target=resolve_target("h100"))
    same = {"example": "", "bandwidth_bytes_per_s": 0.0}
    assert replace(problem.gpu, **same) == replace(slow.gpu, **same)
    assert predicted_us(problem, FIRST) < predicted_us(slow, FIRST)


def test_predictions_are_of_the_measured_size() -> None:
    """The best hint never beats memory by more than its fitted share, nor is it many times slower.

    The bound is what reading W alone takes, on an H200 with 4.8 TB/s.
    """
    for N, K in SHAPE_SETS["decode"]:
        problem = _problem(N, K)
        best = next(by_cost(DecodeGeometry(problem, DecodeHint())))
        reading = N * K / 2 / 4.8e6
        assert 0.6 * reading < predicted_us(problem, best) < 2.5 * reading + 6


def test_sharing_k_costs_where_blocks_abound() -> None:
    """Clusters pay for their exchange: with enough blocks of n they are slower, with few they are faster."""
    for split_k in (2, 4, 8):
        shared = replace(FIRST, split_k=split_k)
        assert predicted_us(_problem(N=65536, K=4096), FIRST) < predicted_us(_problem(N=65536, K=4096), shared)
    few = _problem(N=512, K=28672)
    assert predicted_us(few, replace(FIRST, split_k=4)) < predicted_us(few, FIRST)


def test_sharing_rows_of_a_pays_where_they_are_many() -> None:
    """Pairs of blocks fetch A once: the more rows, the more they gain. Clusters of four leave multiprocessors idle."""
    problems = [_problem(rung=rung) for rung in (1, 2, 4, 8)]
    pairs = [predicted_us(p, FIRST) - predicted_us(p, replace(FIRST, multicast=2)) for p in problems]
    assert 0 < pairs[0] < pairs[1] < pairs[2] < pairs[3]
    many = _problem(N=32 * 130, K=2048)
    one = replace(FIRST, blocks_per_sm=1)
    assert predicted_us(many, replace(one, multicast=4)) > predicted_us(many, replace(one, multicast=2))


@pytest.mark.parametrize("rung", [1, 8])
def test_a_ring_in_shared_memory_costs(rung: int) -> None:
    """Where registers hold what is in flight, nothing is gained by a way through shared memory."""
    problem = _problem(rung=rung)
    hint = replace(FIRST, warps_k=16, blocks_per_sm=1, weights="registers")
    assert predicted_us(problem, hint) < predicted_us(problem, replace(hint, weights="shared"))


def test_phases_cost() -> None:
    """A that arrives in pieces is waited for more often."""
    problem = _problem(K=28672)
    times = [predicted_us(problem, replace(FIRST, phase=phase)) for phase in (0, 28, 14, 4, 2)]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


@pytest.mark.parametrize(
    "more",
    [
        {"block_m": 16},
        {"n_tiles_per_warp": 4},
        {"ahead": 4, "unroll": 4},
        {"chains": 4},
        {"block_m": 64, "n_tiles_per_warp": 4},
    ],
    ids=str,
)
def test_more_in_flight_takes_more_registers(more: dict) -> None:
    """Registers grow with what a thread holds; weights that wait in shared memory need none."""
    problem = _problem()
    assert registers(problem, replace(FIRST, **more)) > registers(problem, FIRST)
    assert registers(problem, replace(FIRST, weights="shared")) < registers(problem, FIRST)


@pytest.mark.parametrize(
    "fields",
    [{}, {"W_dtype": "uint1"}, {"W_dtype": "nf4", "with_zeros": False}, {"A_dtype": "int8", "rung": 16}],
    ids=str,
)
def test_shared_memory_is_estimated_closely(fields: dict) -> None:
    """Where scales are staged the model's estimate is within a sixth of the exact number."""
    problem = _problem(**fields)
    for hint in itertools.islice(RULE.space(problem), 60):
        g = DecodeGeometry(problem, hint)
        assert abs(estimated_smem_bytes(g) - g.smem_bytes) < g.smem_bytes / 6, hint


def test_more_blocks_than_registers_have_a_time() -> None:
    """A hint of anybody may ask for more blocks than registers leave room for; the model says that this is slow."""
    many = replace(FIRST, warps_k=16, warps_n=2, blocks_per_sm=32)
    assert predicted_us(_problem(), replace(many, blocks_per_sm=1)) < predicted_us(_problem(), many)


def test_geometry_is_frozen_and_shares_decoders() -> None:
    """Nothing of a geometry changes; one of another hint takes the decoders of the first, and has sizes of its own."""
    g = DecodeGeometry(_problem(), FIRST)
    with pytest.raises(AttributeError, match="frozen"):
        g.block_n = 16
    other = g.with_hint(replace(FIRST, warps_n=2))
    assert other.decoder is g.decoder
    assert (g.block_n, other.block_n) == (32, 64)
    assert other.smem == DecodeGeometry(_problem(), other.hint).smem


@pytest.mark.parametrize("rung", [1, 8, 16, 64])
@pytest.mark.parametrize("arch", ["sm_80", "sm_89", "sm_90a"])
def test_space_is_ordered_by_time(arch: str, rung: int) -> None:
    """Predicted times rise, no hint comes twice, and only Hopper shares k or A among blocks, A where it has rows."""
    problem = _problem(4096, 4096, rung, arch)
    hints = list(by_cost(DecodeGeometry(problem, DecodeHint(block_m=max(8, rung)))))
    times = [predicted_us(problem, hint) for hint in hints]
    assert times == sorted(times)
    assert len(set(hints)) == len(hints) > 0
    assert arch == "sm_90a" or all(hint.split_k == hint.multicast == 1 for hint in hints)
    assert any(hint.multicast > 1 for hint in hints) is (arch == "sm_90a" and rung in (8, 16))


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_every_problem_has_a_default(arch: str) -> None:
    """The rule finds a hint for each problem and rung of the cover that it does not refuse."""
    target, found = cuda_target(arch), 0
    for config in cases("cover"):
        if fragment_refusal(config) is not None:
            continue
        for rung in config.ladder:
            if RULE.refuses(Problem(config, rung, target)) is None:
                assert next(RULE.space(Problem(config, rung, target)), None) is not None, (config, rung)
                found += 1
    assert found > 300


LONG = [
    ("sm_89", 1, 4096, 131072, {"W_dtype": "int1", "group_size": 64}),
    ("sm_89", 3, 4096, 14336, {"A_dtype": "bfloat16", "W_dtype": "nf4", "group_size": 32}),
    ("sm_89", 64, 28672, 8192, {"A_dtype": "int8", "W_dtype": "uint1", "group_size": 64}),
    ("sm_89", 64, 1001, 131072, {"A_dtype": "bfloat16", "W_dtype": "uint2", "group_size": 32}),
    ("sm_90a", 64, 16, 131072, {"W_dtype": "uint1", "group_size": 16}),
]


@pytest.mark.parametrize(("arch", "rung", "N", "K", "fields"), LONG, ids=str)
def test_long_problems_have_a_default(arch: str, rung: int, N: int, K: int, fields: dict) -> None:
    """Also where A, scales and a table crowd small shared memory; what fits there is no more than a block may have."""
    config = MatmulConfig(M=rung, N=N, K=K, with_scaling=True, with_zeros=True, **fields)
    hint = RULE.default_hint(Problem(config, rung, cuda_target(arch)))
    g = DecodeGeometry(Problem(config, rung, cuda_target(arch)), hint)
    assert g.smem_bytes <= gpu_arch(arch).smem_per_block_bytes


def test_small_hints_fall_in_size() -> None:
    """Each of the last resorts takes less shared memory than the one before."""
    problem = _problem(4096, 131072, arch="sm_89")
    sizes = [DecodeGeometry(problem, hint).smem_bytes for hint in small_hints(DecodeHint(block_m=64))]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


@pytest.mark.parametrize(
    ("N", "K", "rung"), [(4096, 4096, 1), (28672, 8192, 16), (8192, 28672, 64), (28672, 57344, 16)]
)
def test_a_default_is_found_at_once(N: int, K: int, rung: int) -> None:
    """Less than 0.1 s, so that an operator is built without a wait; the least of a few tries, of processor time."""
    problem = _problem(N, K, rung)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        RULE.default_hint(problem)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.1
