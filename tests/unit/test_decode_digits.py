# SPDX-License-Identifier: Apache-2.0
"""A as digits: numbers, columns and units agree with each other and with the fragment layout."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bitquant.arch import cuda_target
from bitquant.config import MatmulConfig
from bitquant.formats import number_format
from bitquant.layouts import FragmentLayout
from bitquant.problem import Problem
from bitquant.schedule.rules.decode.digits import DIGIT_BITS, DIGITS, DigitPlan, digits_refusal
from bitquant.schedule.rules.decode.emit.digits import digit_words
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.decode.rule import DecodeRule
from tests.unit.test_fragments import NumpyOps, lanes, values_of

FORMATS = [f"{kind}{bits}" for kind in ("uint", "int") for bits in (1, 2, 3)]


def _bytes(words: np.ndarray, mask: int) -> np.ndarray:
    return (words & np.uint32(mask)).astype("<u4").view(np.uint8).reshape(*words.shape, 4).astype(np.int64)


@pytest.mark.parametrize("name", FORMATS)
def test_columns_hold_every_code_once(name: str) -> None:
    """Bytes of columns, times the A that they meet, are sums of values in the plan's units, for both rows of a lane."""
    fmt = number_format(name)
    layout = FragmentLayout(fmt.bits, 16)
    plan = DigitPlan(fmt, layout)
    codes, words = lanes(layout, 3)
    # Of a lane, in the order of registers: row r % 2, and of k (in numbers of the lane) the register's pair.
    values = values_of(fmt, "float16")[codes].reshape(len(codes), layout.registers, 2)
    a = np.random.default_rng(4).integers(-9, 10, (layout.registers // 2, 2))
    sums = np.zeros((2, len(codes)))
    sums_of_a = np.zeros(2)
    for plane, part in zip(plan.planes, words, strict=True):
        for index in range(plan.columns):
            column = plan.column(plane, index)
            # Lane 0 has two k of eight: pairs of registers, counted over the tile.
            first, second = (k // 8 for k in plan.k_of_lane(plane, index, 0))
            met = np.stack([a[first], a[second]], axis=1).ravel() * 2.0 ** plan.scale_exponent(plane, column.bit)
            for half in range(2):
                codes = _bytes(part[column.word], plan.mask(plane, column.bit, half))
                sums[half] += codes @ met * plan.row_factor(plane, half)
                if plane is plan.planes[0]:
                    ones = _bytes(np.array([plan.ones(column.bit, half)], dtype=np.uint32), 0xFFFFFFFF)[0]
                    sums_of_a[half] += ones @ met
    offset = -float(fmt.offset)
    for half in range(2):
        found = plan.unit(half) * (sums[half] - sums_of_a[half] * plan.sum_of_a_factor * offset)
        np.testing.assert_array_equal(found, np.einsum("lre,re->l", values[:, half::2], a))


@pytest.mark.parametrize("name", FORMATS)
def test_digits_reach_far_enough(name: str) -> None:
    """Every float16 number, times what columns multiply it with, is an integer of seven digits of -64 to 64."""
    fmt = number_format(name)
    plan = DigitPlan(fmt, FragmentLayout(fmt.bits, 16))
    reach = 64 * sum(1 << DIGIT_BITS * d for d in range(DIGITS))
    for plane in plan.planes:
        for index in range(plan.columns_of_word(plane)):
            exponent = plan.scale_exponent(plane, plan.column(plane, index).bit)
            assert 2.0**-24 * 2.0**exponent >= 1
            assert 65504.0 * 2.0**exponent <= reach


class _Ops(NumpyOps):
    def hold(self, x):
        assert x.dtype in (np.uint32, np.float32)
        return x

    def bits(self, x):
        return x.view(np.uint32)


@pytest.mark.parametrize("name", ["uint1", "uint2", "uint3"])
def test_digits_are_the_number(name: str) -> None:
    """Digits of every finite float16, with every factor that a format wants: exact, and small."""
    fmt = number_format(name)
    plan = DigitPlan(fmt, FragmentLayout(fmt.bits, 16))
    numbers = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    numbers = numbers[np.isfinite(numbers)].astype(np.float32)
    columns = [(p, plan.column(p, i)) for p in plan.planes for i in range(plan.columns_of_word(p))]
    for exponent in sorted({plan.scale_exponent(plane, column.bit) for plane, column in columns}):
        values = [np.roll(numbers, i) * np.float32(2.0**exponent) for i in range(4)]
        words = digit_words(values, _Ops())
        assert len(words) == DIGITS + 1
        assert words[-1] == 0
        digits = np.stack([word.view(np.int8).reshape(-1, 4).astype(np.int64) for word in words[:-1]])
        assert np.abs(digits).max() <= 64
        powers = (1 << DIGIT_BITS * np.arange(DIGITS))[:, None, None]
        np.testing.assert_array_equal((digits * powers).sum(axis=0), np.stack(values, axis=1).astype(np.int64))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"W_dtype": "int3"}, None),
        ({"group_size": 64}, None),
        ({"group_size": 32}, "needs group_size % 64 == 0 for digits (got 32)"),
        ({"group_size": 32, "W_dtype": "uint2"}, None),
        ({"W_dtype": "uint4"}, "needs integers of at most 3 bits as W for digits (got uint4)"),
        ({"A_dtype": "bfloat16"}, "needs A of type float16 for digits (got bfloat16)"),
    ],
    ids=str,
)
def test_refusals(fields: dict, reason: str | None) -> None:
    """Formats of few bits, groups of whole words."""
    given = {"W_dtype": "uint1", "group_size": 128, "with_scaling": True, **fields}
    assert digits_refusal(MatmulConfig(M=1, N=64, K=2048, **given)) == reason


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("weights", ["registers", "shared"])
@pytest.mark.parametrize("waves", [1, 2])
def test_digits_have_a_place_of_their_own(name: str, weights: str, waves: int) -> None:
    """Between A and the scales; sums of A are wanted, and each plane has independent sums."""
    zeros = name[0] == "u"
    config = MatmulConfig(M=1, N=4096, K=8192, W_dtype=name, group_size=128, with_scaling=True, with_zeros=zeros)
    hint = DecodeHint(
        block_m=1, n_tiles_per_warp=2, warps_k=8, ahead=1, unroll=1, n_blocks_per_cta=waves, weights=weights,
        activations="digits",
    )  # fmt: skip
    g = DecodeGeometry(Problem(config, 1, cuda_target("sm_90a")), hint)
    smem, planes = g.smem, len(g.fragment_layout.planes)
    regions = [(smem.a_tile.base, smem.a_tile.end)]
    regions.append((smem.digits_offset, smem.digits_offset + planes * 8 * 8192))
    regions.append((smem.poison_offset, smem.poison_offset + 4))
    regions += [(tile.base, tile.end) for tile in (smem.scale_tile, smem.zero_tile) if tile]
    if weights == "shared":
        regions.append((smem.ring_offset, smem.ring_offset + 8 * smem.slot_bytes))
    regions.append((smem.barrier_offset, g.smem_bytes))
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(regions))
    assert g.needs_sum_of_a is True
    assert g.sums == planes * g.chains >= hint.chains


def test_sums_of_two_digits_fit_32_bits() -> None:
    """Runs are short enough for it: all codes at their greatest, all digits too."""
    config = MatmulConfig(M=1, N=64, K=8192, W_dtype="uint3")
    hint = DecodeHint(block_m=1, unroll=4, ahead=4, warps_k=2, activations="digits")
    g = DecodeGeometry(Problem(config, 1, cuda_target("sm_90a")), hint)
    assert g.run_k == 1024
    assert g.fault == "needs runs of at most 580 k for digits"
    greatest = ((3 << 6) + (1 << 7) * 2) * 64 * 129
    assert 580 * greatest < 1 << 31 <= 581 * greatest


@pytest.mark.parametrize(
    ("name", "N", "expected"), [("uint1", 28672, True), ("uint3", 8192, True), ("uint4", 28672, False)]
)
def test_digits_are_the_default_where_decoding_is_the_limit(name: str, N: int, expected: bool) -> None:
    """One row, large weights of few bits; not for two rows."""
    for rung, is_expected in ((1, expected), (2, False)):
        config = MatmulConfig(M=rung, N=N, K=8192, W_dtype=name, group_size=128, with_scaling=True, with_zeros=True)
        hint = DecodeRule().default_hint(Problem(config, rung, cuda_target("sm_90a")))
        assert (hint.activations == "digits") is is_expected
