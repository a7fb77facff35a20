# SPDX-License-Identifier: Apache-2.0
"""wgmma with the weights of experts: sorted rows of every kind, in every format and cut, against float64."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import bitquant as bq
from bitquant.grouped_inputs import GroupedInputs, draw_grouped_inputs, draw_routing
from bitquant.schedule import Plan, Planned
from bitquant.schedule.rules import GroupedDenseRule, GroupedWgmmaRule
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.testing.generators import case_id
from bitquant.testing.grouped import check_grouped_call, grouped_oracle
from bitquant.testing.oracle import assert_close
from tests.compile.test_rule_wgmma_experts import HINTS, SORTED
from tests.unit.test_grouped import FIELDS

ROUTINGS = ("uniform", "zipf", "one")
RULES = (GroupedWgmmaRule(), GroupedDenseRule())
MXFP4 = {
    "W_dtype": "fp4_e2m1", "group_size": 32, "scale_dtype": "float8_e8m0", "with_scaling": True, "with_bias": True,
    "A_dtype": "bfloat16", "out_dtype": "bfloat16",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _require_hopper():
    if torch.cuda.is_available() and torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("needs a Hopper GPU")


def make(config, hint=None):
    """An operator by wgmma alone, with a hint of its own where there is one."""
    name = "grouped_wgmma" if config.matmul.needs_decode else "grouped_wgmma_dense"
    planned = {} if hint is None else {rung: Planned(name, hint.to_dict(), "tuned") for rung in config.ladder}
    return bq.GroupedMatmul(config, target="cuda", rules=RULES, records=Plan(planned))


def given_on_gpu(operator, m, routing="uniform"):
    """Inputs of a call, and the operands on the GPU."""
    inputs = draw_grouped_inputs(operator.config, m, torch.Generator().manual_seed(0), routing)
    return inputs, {name: t.cuda() for name, t in inputs.stored(operator.weight_layout).items()}


@pytest.mark.parametrize("config", SORTED, ids=lambda c: case_id(c.matmul))
@pytest.mark.sample(
    shows=lambda config: {
        ("W", config.W_format.name, config.A_format.bits), ("out", config.out_format.name), ("zeros", config.zeros_mode)
    }
)  # fmt: skip
def test_results(config):
    """Every format, by the default hints of few rows and of many, with every kind of routing."""
    operator = make(config.with_M((16, 256)))
    for m, routing in ((0, "uniform"), (1, "uniform"), (9, "zipf"), (200, "zipf"), (37, "one"), (300, "uniform")):
        check_grouped_call(operator, m, "cuda", routing=routing)


@pytest.mark.parametrize("hint", HINTS, ids=str)
@pytest.mark.parametrize("fields", [{**FIELDS, "group_size": 128}, MXFP4], ids=["uint4", "mxfp4"])
def test_hints(hint, fields):
    """Every cut gives the same; N and K are no whole tiles, experts end within tiles, and blocks have several tiles."""
    config = bq.GroupedMatmulConfig(5, 1000, 640 if "with_zeros" in fields else 672, **fields, M=(64,))
    operator = make(config, hint)
    for m, routing in ((1, "uniform"), (64, "zipf"), (333, "uniform"), (700, "one")):
        check_grouped_call(operator, m, "cuda", routing=routing)


@pytest.mark.parametrize("hint", [HINTS[1], *HINTS[5:7], *HINTS[-4:]], ids=str)
@pytest.mark.parametrize("fields", [{"W_dtype": "int4", "group_size": 32}, {"W_dtype": "uint4"}], ids=str)
def test_codes_that_are_subnormal_numbers(fields, hint):
    """Their sums are multiplied by a power of two, also where parts of them are added, and in an activation."""
    types = {"A_dtype": "bfloat16", "out_dtype": "bfloat16", "with_scaling": True, "with_bias": True}
    config = bq.GroupedMatmulConfig(5, 1000, 672, **types, **fields, M=(64,))
    for one in (config, dataclasses.replace(config, activation="silu_mul")):
        operator = make(one, hint)
        for m, routing in ((64, "zipf"), (333, "uniform")):
            check_grouped_call(operator, m, "cuda", routing=routing)


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("m", [1, 8, 100, 8192])
def test_many_rows(m, routing):
    """Any number of rows, by the default ladder."""
    config = bq.GroupedMatmulConfig(16, 96, 128, **{**FIELDS, "group_size": 32})
    check_grouped_call(make(config), m, "cuda", routing=routing)


@pytest.mark.parametrize("E", [1, 2, 31, 33, 200, 1024])
def test_numbers_of_experts(E):
    """One expert, more than lanes of a warp, and as many as there may be."""
    operator = make(bq.GroupedMatmulConfig(E, 72, 128, **{**FIELDS, "group_size": 64}, M=(16, 64)))
    for m, routing in ((3, "uniform"), (50, "zipf"), (500, "uniform")):
        check_grouped_call(operator, m, "cuda", routing=routing)


@pytest.mark.parametrize(
    "offsets", [[0, 0, 0, 0], [13, 13, 13, 13], [0, 0, 13, 13], [2, 2, 9, 10], [0, 5, 20, 40], [0, 0, 0, 13]], ids=str
)
@pytest.mark.parametrize("M", [(1, 16), 13])
def test_rows_without_an_expert_are_left_alone(offsets, M):
    """Rows beyond the last offset are not written; offsets beyond S count as S; experts may have no rows."""
    config = bq.GroupedMatmulConfig(4, 200, 128, **{**FIELDS, "group_size": 32}, M=M)
    operator = make(config)
    given = torch.tensor(offsets, dtype=torch.int32)
    check_grouped_call(operator, 13, "cuda", offsets=given)
    _, operands = given_on_gpu(operator, 13)
    output = torch.full((13, 200), float("nan"), dtype=torch.float16, device="cuda")
    operator(**{**operands, "offsets": given.cuda()}, output=output)
    assert output[min(13, offsets[-1]) :].isnan().all()
    assert not output[: min(13, offsets[-1])].isnan().any()


def test_rows_of_others_do_not_matter():
    """A tile reads rows of the next expert; infinities there stay in their rows."""
    operator = make(bq.GroupedMatmulConfig(2, 128, 128, **{**FIELDS, "group_size": 32}, M=(64,)))
    _, operands = given_on_gpu(operator, 20)
    operands["offsets"] = torch.tensor([7, 20], dtype=torch.int32, device="cuda")
    expected = operator(**operands)
    operands["A"][7:] = float("inf")
    assert torch.equal(operator(**operands)[:7], expected[:7])


@pytest.mark.parametrize("stream_k", [False, True])
def test_a_graph_is_replayed_with_other_routing(stream_k):
    """Routing is data, also where it is the result of the kernel just before, which has not ended when this begins."""
    config = bq.GroupedMatmulConfig(6, 640, 256, **{**FIELDS, "group_size": 32}, M=(64,))
    operator = make(config, WgmmaHint(block_m=16, consumers_n=2, block_k=64, stages=4, stream_k=stream_k))
    inputs, operands = given_on_gpu(operator, 50, "one")
    output, drawn = operator(**operands), operands["offsets"].clone()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(3):
            operands["offsets"].copy_(drawn)
            operator(**operands, output=output)
            operands["offsets"].zero_()
    for seed in range(6):
        routing = draw_routing(config, 50, torch.Generator().manual_seed(seed), ROUTINGS[seed % 3])
        drawn.copy_(routing["offsets"])
        output.fill_(float("nan"))
        graph.replay()
        expected = grouped_oracle(config, GroupedInputs(config, inputs.experts, {**inputs.given, **routing}))
        assert_close(output.cpu(), expected, config.matmul)


def test_no_synchronization():
    """A call reads nothing on the host."""
    operator = make(bq.GroupedMatmulConfig(6, 128, 128, **{**FIELDS, "group_size": 32}, M=(1, 16)))
    _, operands = given_on_gpu(operator, 12)
    operator(**operands)
    torch.cuda.set_sync_debug_mode("error")
    try:
        operator(**operands)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_that_are_not_quantized(dtype):
    """W of A's type, in the plain layout."""
    types = {"A_dtype": dtype, "W_dtype": dtype, "out_dtype": dtype}
    operator = make(bq.GroupedMatmulConfig(7, 200, 264, **types, with_bias=True, M=(16, 512)))
    assert {choice.rule for choice in operator.choices.values()} == {"grouped_wgmma_dense"}
    for m, routing in ((1, "uniform"), (16, "zipf"), (700, "uniform"), (300, "one")):
        check_grouped_call(operator, m, "cuda", routing=routing)


def test_more_than_2_31_weights():
    """The last expert's codes, scales and zero points are found behind 2^31 weights."""
    fields = {**FIELDS, "group_size": 32, "with_bias": False}
    config = bq.GroupedMatmulConfig(36, 8192, 8192, **fields, M=(16,))
    operator, generator = make(config), torch.Generator("cuda").manual_seed(0)
    shape = operator.retrieve_weight_shape()
    W = torch.randint(-128, 128, shape, dtype=torch.int8, device="cuda", generator=generator)
    scale, zeros = (
        torch.rand((36, 8192, 256), device="cuda", generator=generator).half() * factor for factor in (0.01, 15.0)
    )
    A = torch.randn((12, 8192), device="cuda", generator=generator).half()
    offsets = torch.tensor([0] * 34 + [5, 12], dtype=torch.int32, device="cuda")
    got = operator(A, W, scale, zeros, offsets=offsets)
    one = bq.Matmul(dataclasses.replace(config.matmul, M=(16,)), target="cuda")
    for e, rows in ((34, slice(0, 5)), (35, slice(5, 12))):
        decoded = one.dequantize(W[e].clone(), scale[e].clone(), zeros[e].clone(), torch.float32)
        expected = A[rows].double() @ decoded.double().T
        assert torch.dist(got[rows].double(), expected) < 2e-3 * expected.norm()


@pytest.mark.parametrize(
    ("fields", "group", "hint"),
    [
        ({"W_dtype": "int4"}, 32, WgmmaHint(block_m=16, consumers_n=1, block_k=256, stages=5, looks_ahead=True)),
        ({"W_dtype": "uint4"}, 64, WgmmaHint(block_m=16, consumers_n=1, block_k=512, stages=3, looks_ahead=True)),
        *(
            (fields, 64, WgmmaHint(
                block_m=16, consumers_n=1, block_k=block_k, stages=3, scaling="sums", looks_ahead=True
            ))
            for fields in ({"W_dtype": "int4"}, {"W_dtype": "uint4", "with_zeros": True})
            for block_k in (128, 512)
        ),
    ],
    ids=str,
)  # fmt: skip
def test_loads_ahead_are_of_the_next_tile_alone(fields, group, hint):
    """Where the loop goes beyond K, what it multiplies is zero; a scale of another expert would make NaN of it."""
    config = bq.GroupedMatmulConfig(
        6, 1500, 9 * group, A_dtype="bfloat16", out_dtype="bfloat16", with_scaling=True, group_size=group, M=(64,),
        **fields,
    )  # fmt: skip
    operator = make(config, hint)
    assert {choice.origin for choice in operator.choices.values()} == {"tuned"}
    inputs, operands = given_on_gpu(operator, 300)
    expected = operator(**operands)
    for name in {"scale", "zeros"} & operands.keys():
        operands[name][1::2] = float("nan")
    got = operator(**operands)
    ends = [0, *inputs.given["offsets"].tolist()]
    for e in range(0, 6, 2):
        assert torch.equal(got[ends[e] : ends[e + 1]], expected[ends[e] : ends[e + 1]]), e
