# SPDX-License-Identifier: Apache-2.0
"""The decode kernel for experts on the GPU: every format, kind of routing and part of the kernel, against float64."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

import bitquant as bq
from bitquant.grouped_inputs import draw_grouped_inputs, draw_routing
from bitquant.layouts import fragment_refusal
from bitquant.schedule import Plan, Planned
from bitquant.testing.generators import case_id, cases
from bitquant.testing.grouped import GroupedInputs, check_grouped_call, grouped_oracle
from bitquant.testing.oracle import assert_close
from tests.compile.test_rule_grouped_decode import DOWN, HINTED, MXFP4, UINT4, UP, hinted_config, hinted_id
from tests.unit.test_grouped import FORMS

INDEXED = [form for form in FORMS if form != "sorted"]


def _decoded_cases():
    """Problems of all formats that the rule takes, each in one form."""
    own = {f.name for f in dataclasses.fields(bq.GroupedMatmulConfig)}
    found = []
    for one in cases("cover", stride=2, offset=1):
        if fragment_refusal(one) or one.N >= 200 or one.wants_plain_layout:
            continue
        fields = {k: v for k, v in one.to_dict().items() if k in own}
        form = FORMS[INDEXED[len(found) % len(INDEXED)]]
        found.append(bq.GroupedMatmulConfig(**{"num_experts": 5, **fields, "M": (1, 16), **form}))
    return found


DECODED = _decoded_cases()


def strange_ids(m, top_k, experts):
    """Experts of slots with none (-1, E, the largest and the least number), and twice the same of a token."""
    ids = torch.arange(m * top_k, dtype=torch.int64) * 7 % (experts + 2) - 1
    ids[3::11], ids[5::13] = 2**31 - 1, -(2**31)
    ids = ids.to(torch.int32).view(m, top_k)
    if m > 1:
        ids[1] = experts - 1
        ids[-1] = -1
    return ids


def check_all_routings(operator, rows):
    """Call an operator with so many rows, or tokens, by every kind of routing."""
    config = operator.config
    for m, routing in zip(rows, itertools.cycle(("uniform", "zipf", "one")), strict=False):
        check_grouped_call(operator, m, "cuda", routing=routing)
    if config.is_indexed:
        m = rows[-1]
        check_grouped_call(operator, m, "cuda", expert_ids=strange_ids(m, config.top_k, config.num_experts))


@pytest.mark.parametrize("config", DECODED, ids=lambda c: f"{c.A_rows}-{c.D_rows}-{case_id(c.matmul)}")
def test_results(config):
    """Every format, with one token and with several, is within the tolerance."""
    operator = bq.GroupedMatmul(config, target="cuda")
    for choice in operator.choices.values():
        assert choice.rule in ("grouped_decode", "grouped_wgmma") or "grouped_decode" in choice.refusals
    check_all_routings(operator, (0, 1, 3, 16, 33))


@pytest.mark.parametrize("row", HINTED, ids=hinted_id)
def test_hints(row):
    """Every part of the kernel, with any number of rows."""
    N, K, fields, hint = row
    config = hinted_config(N, K, fields)
    operator = bq.GroupedMatmul(config, target="cuda", records=Plan({16: Planned("grouped_decode", hint, "tuned")}))
    assert operator.choices[16].hint == {**operator.choices[16].hint, **hint}
    check_all_routings(operator, (0, 1, 2, 3, 8, 16, 33, 64))


@pytest.mark.parametrize("experts", [1, 3, 32, 128, 384])
@pytest.mark.parametrize("form", [*INDEXED, "sorted"])
def test_many_experts(experts, form):
    """Any number of experts: the search for those that rows meet is by warps."""
    fields = {**FORMS[form], "top_k": 8} if form != "sorted" else {}
    config = bq.GroupedMatmulConfig(experts, 144, 256, **MXFP4, **fields, M=(1, 64))
    check_all_routings(bq.GroupedMatmul(config, target="cuda"), (1, 2, 16, 64, 100))


@pytest.mark.parametrize(
    "offsets", [[0, 0, 0, 0], [13, 13, 13, 13], [0, 0, 13, 13], [2, 2, 9, 10], [0, 5, 20, 40]], ids=str
)
def test_sorted_rows_without_an_expert_are_left_alone(offsets):
    """Rows beyond the last offset are not written, and offsets beyond the rows count as their number."""
    config = bq.GroupedMatmulConfig(4, 96, 256, **UINT4, M=(16,))
    planned = Planned("grouped_decode", {"units": "experts", "warps_k": 4}, "tuned")
    operator = bq.GroupedMatmul(config, target="cuda", records=Plan({16: planned}))
    given = torch.tensor(offsets, dtype=torch.int32)
    check_grouped_call(operator, 13, "cuda", offsets=given)
    inputs = draw_grouped_inputs(config, 13, torch.Generator().manual_seed(0))
    operands = {name: t.cuda() for name, t in inputs.stored(operator.weight_layout).items()}
    output = torch.full((13, 96), float("nan"), dtype=torch.float16, device="cuda")
    operator(**{**operands, "offsets": given.cuda()}, output=output)
    assert output[min(13, offsets[-1]) :].isnan().all()


@pytest.mark.parametrize("m", [1, 12, 40])
@pytest.mark.parametrize("form", ["gather", "reduce"])
def test_a_graph_of_a_layer_is_replayed_with_other_routing(form, m):
    """Two calls of a captured graph follow what the tensors hold when it is replayed, and leave the counters zero."""
    config = bq.GroupedMatmulConfig(6, 200, 512, **UINT4, **(UP if form == "gather" else DOWN), M=(1, 16))
    operator = bq.GroupedMatmul(config, target="cuda")
    inputs = draw_grouped_inputs(config, m, torch.Generator().manual_seed(0), "one")
    operands = {name: t.cuda() for name, t in inputs.stored(operator.weight_layout).items()}
    outputs = [operator(**operands), operator(**operands)]
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for output in outputs:
            operator(**operands, output=output)
    for seed in range(6):
        routing = draw_routing(config, m, torch.Generator().manual_seed(seed), ("uniform", "zipf", "one")[seed % 3])
        if seed == 5:
            routing["expert_ids"] = strange_ids(m, config.top_k, config.num_experts)
        for name, tensor in routing.items():
            operands[name].copy_(tensor)
        for output in outputs:
            output.fill_(float("nan"))
        graph.replay()
        expected = grouped_oracle(config, GroupedInputs(config, inputs.experts, {**inputs.given, **routing}))
        for output in outputs:
            assert_close(output.cpu(), expected, config.matmul)


@pytest.mark.parametrize("hint", [{}, {"multicast": 2}, {"split_k": 2}, {"multicast": 2, "split_k": 2}], ids=str)
def test_results_do_not_depend_on_the_order_of_blocks(hint):
    """Values of slots are added in their order, and blocks of a cluster list slots in one order: bits are the same."""
    config = bq.GroupedMatmulConfig(8, 512, 512, **UINT4, **DOWN, M=(64,))
    fields = {"units": "experts", "block_m": 32, "warps_n": 2, "warps_k": 4, "unroll": 1, "ahead": 1, **hint}
    planned = Planned("grouped_decode", fields, "tuned")
    operator = bq.GroupedMatmul(config, target="cuda", records=Plan({64: planned}))
    check_grouped_call(operator, 64, "cuda")
    inputs = draw_grouped_inputs(config, 64, torch.Generator().manual_seed(0))
    operands = {name: t.cuda() for name, t in inputs.stored(operator.weight_layout).items()}
    first = operator(**operands)
    for _ in range(20):
        assert torch.equal(operator(**operands), first)


def test_a_layer_of_two_products():
    """The second product of a layer reads what the first has just written, in one stream."""
    common = {**UINT4, "num_experts": 6, "M": (1, 8)}
    up = bq.GroupedMatmul(bq.GroupedMatmulConfig(N=512, K=512, **common, **{**UP, "top_k": 3}), target="cuda")
    down = bq.GroupedMatmul(bq.GroupedMatmulConfig(N=512, K=512, **common, **DOWN), target="cuda")
    for m in (1, 5, 8):
        drawn = [draw_grouped_inputs(o.config, m, torch.Generator().manual_seed(i)) for i, o in enumerate((up, down))]
        a, b = ({k: t.cuda() for k, t in d.stored("fragment").items()} for d in drawn)
        b["expert_ids"] = a["expert_ids"]
        once = up(**a)
        b["A"] = (once / once.abs().max()).contiguous()
        expected = down(**b)
        for _ in range(50):
            again = up(**a)
            b["A"].copy_(again / once.abs().max())
            assert torch.equal(down(**b), expected)
