# SPDX-License-Identifier: Apache-2.0
"""Products of the decode kernel: every register meets its part of A, and classes of sums join to the sum of values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bitquant.arch import cuda_target
from bitquant.config import MatmulConfig
from bitquant.formats import number_format
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.layouts import FragmentLayout
from bitquant.problem import Problem
from bitquant.schedule.rules.decode.geometry import DecodeGeometry
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.decode.products import decodes_in_place, products, run_k, sum_classes
from tests.unit.test_fragments import NumpyOps, lanes, numbers, values_of

FORMATS = [f"{kind}{bits}" for kind in ("uint", "int") for bits in range(1, 8)]
CASES = [(name, 16, in_place, False) for name, in_place in itertools.product(FORMATS, (False, True))]
CASES += [(name, 16, True, True) for name in ("uint4", "int4")]
CASES += [(name, 8, in_place, False) for name, in_place in (("int4", False), ("uint2", True), ("int8", False))]


@pytest.mark.parametrize(("name", "operand_bits", "in_place", "shares"), CASES)
def test_sums_of_products_are_sums_of_values(name: str, operand_bits: int, in_place: bool, shares: bool) -> None:
    """What mma instructions and the end of a run compute, for whole numbers of A, is exactly sum_k w a."""
    fmt = number_format(name)
    layout = FragmentLayout(fmt.bits, operand_bits)
    decoder = RegisterDecoder(fmt, layout, "float16", in_place=in_place, shares_bytes=shares)
    codes, words = lanes(layout, 3)
    pairs = values_of(fmt, "float16")[codes].reshape(len(codes), layout.registers, decoder.registers, 2)
    # Of each register of A, as many pairs as of the weight: (column, part, value).
    a = np.random.default_rng(4).integers(-9, 10, (layout.registers // 2, decoder.registers, 2)).astype(float)
    found, classes = products(decoder)
    sums = np.zeros((len(classes), 2, len(codes)))
    for product in found:
        left = [numbers(decoder.decode(words, r, None, NumpyOps())[part], "float16") for r, part in product.left]
        for i, row in itertools.product(range(2), range(2)):
            sums[product.sum_class, row] += left[2 * i + row] @ a[product.right[i]]
    if shares:
        sums[:, 0] -= sums[:, 1]
    for row in range(2):
        exact = np.einsum("lcpe,cpe->l", pairs[:, row::2], a)
        joined = sum(2.0 ** -exponents[row] * part[row] for exponents, part in zip(classes, sums, strict=True))
        np.testing.assert_array_equal(decoder.value_scale * joined - decoder.value_offset * a.sum(), exact)
    # Loads of A bring the registers of so many products at once.
    in_load = 2 * decoder.registers
    for first in range(0, len(found), in_load):
        columns = {column for product in found[first : first + in_load] for column, _ in product.right}
        assert len(columns) == min(4, layout.registers // 2)


@pytest.mark.parametrize(("bits", "classes"), [(4, 1), (5, 1), (6, 1), (7, 1), (2, 2), (3, 2), (1, 2)])
def test_classes(bits: int, classes: int) -> None:
    """The two registers of a row stand at the same place, narrower codes at two places."""
    layout = FragmentLayout(bits, 16)
    decoder = RegisterDecoder(number_format(f"uint{bits}"), layout, "float16", in_place=True)
    found, exponents = products(decoder)
    assert len(exponents) == classes == sum_classes(decoder.fmt, layout)
    assert (classes == 1) is decoder.exponents_follow_rows
    counts = [sum(product.sum_class == k for product in found) for k in range(classes)]
    assert set(counts) == {layout.steps // classes}
    assert exponents[0] == {4: (0, 4), 2: (0, 2), 1: (2, 3)}[layout.planes[0].bits]


@pytest.mark.parametrize(
    ("name", "group", "unroll", "expected"),
    [
        ("uint4", 16, 2, True),
        ("uint2", 16, 1, False),
        ("uint2", 32, 1, True),
        ("uint3", 48, 1, False),
        ("uint3", 96, 3, True),
        ("uint1", 16, 1, True),
        ("uint1", 32, 1, True),
        ("uint1", -1, 1, True),
    ],
)
def test_products_stay_in_their_run(name: str, group: int, unroll: int, expected: bool) -> None:
    """Columns of two groups are never multiplied at once: short groups are not decoded in place."""
    config = MatmulConfig(M=1, N=64, K=8064 if group > 0 else 8192, W_dtype=name, group_size=group, with_scaling=True)
    layout = FragmentLayout(number_format(name).bits, 16)
    assert decodes_in_place(config, layout, 1, 8, unroll) is expected
    g = DecodeGeometry(Problem(config, 1, cuda_target("sm_90a")), DecodeHint(unroll=unroll, ahead=unroll))
    assert g.decoder.in_place is expected
    steps = run_k(config, layout, unroll) // layout.step_k
    for tile in range(unroll):
        for index, product in enumerate(g.products):
            at = tile * layout.steps
            assert {(at + column // 2) // steps for column, _ in product.right} == {(at + index) // steps}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"group_size": 32}, True),
        ({"group_size": 16}, False),
        ({"block_m": 32}, True),
        ({"block_m": 64}, False),
        ({"out_dtype": "float32"}, False),
        ({"A_dtype": "bfloat16", "out_dtype": "bfloat16"}, False),
        ({"W_dtype": "uint3"}, False),
        ({"W_dtype": "uint5"}, False),
    ],
    ids=str,
)
def test_bytes_are_shared_where_that_saves_masks(fields: dict, expected: bool) -> None:
    """A mask a step against two subtractions a run and 8 rows of A, where the output is rounded to 16 bits anyway."""
    given = {"W_dtype": "uint4", "group_size": 128, **fields}
    hint = DecodeHint(block_m=given.pop("block_m", 8), unroll=2)
    config = MatmulConfig(M=64, N=64, K=8192, with_scaling=True, **given)
    assert DecodeGeometry(Problem(config, 64, cuda_target("sm_90a")), hint).decoder.shares_bytes is expected


@pytest.mark.parametrize("A_dtype", ["float16", "bfloat16", "float8_e4m3"])
@pytest.mark.parametrize("name", [*FORMATS, "uint8", "int8", "nf4", "fp4_e2m1", "float8_e4m3"])
@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
def test_sums_of_a_are_in_the_unit_of_products(name: str, A_dtype: str, arch: str) -> None:
    """A weight that stands for 1 and the number in place of ones are the same, in both rows and in all classes."""
    config = MatmulConfig(M=8, N=64, K=8192, A_dtype=A_dtype, W_dtype=name)
    g = DecodeGeometry(Problem(config, 8, cuda_target(arch)), DecodeHint())
    assert g.factor == 1
    a_scale = g.a_decoder.value_scale if g.a_decoder else 1
    for row in range(2):
        ((one, _),) = numbers(np.array([g.ones[row]], dtype=np.uint32), g.operand)
        assert one * g.unit[row] == a_scale
        assert g.unit[row] == g.decoder.value_scale * a_scale * 2.0 ** -g.classes[-1][row]
        assert g.classes[-1][row] == max(exponents[row] for exponents in g.classes)


def test_integers_are_counted_one_by_one() -> None:
    """int1 as int8 is 2 q - 1: the factor is applied to integer sums."""
    config = MatmulConfig(M=8, N=64, K=8192, A_dtype="int8", W_dtype="int1")
    g = DecodeGeometry(Problem(config, 8, cuda_target("sm_90a")), DecodeHint())
    assert (g.unit, g.factor, g.ones) == ((1, 1), 2, (0x01010101, 0x01010101))
