# SPDX-License-Identifier: Apache-2.0
"""Grouped products on the GPU: results against float64, and replay of a graph with other routing than at capture."""

from __future__ import annotations

import pytest
import torch

import bitquant as bq
from bitquant.grouped_inputs import draw_grouped_inputs, draw_routing
from bitquant.schedule import Plan, Planned
from bitquant.schedule.rules import GroupedFallbackRule
from bitquant.testing.generators import case_id
from bitquant.testing.grouped import GroupedInputs, check_grouped_call, grouped_oracle
from bitquant.testing.oracle import assert_close
from tests.unit.test_grouped import FIELDS, FORMS, GROUPED
from tests.unit.test_grouped_layout import TILED, IndexedRule, SortedRule

ROUTINGS = ("uniform", "zipf", "one")


@pytest.mark.parametrize("config", GROUPED, ids=lambda c: f"{c.routing}-{case_id(c.matmul)}")
def test_results(config):
    """Every format, in every form of a call and with every kind of routing, is within the tolerance."""
    operator = bq.GroupedMatmul(config, target="cuda")
    for m, routing in ((0, "uniform"), (1, "uniform"), (9, "zipf"), (20, "one"), (33, "uniform")):
        check_grouped_call(operator, m, "cuda", routing=routing)


@pytest.mark.parametrize(
    "config", [c for c in TILED if not c.wants_plain_layout], ids=lambda c: f"{c.routing}-{case_id(c.matmul)}"
)
@pytest.mark.sample(shows=lambda config: {("W", config.W_format.name, config.A_format.bits), ("rows", config.routing)})
def test_fallback_reads_fragments(config):
    """The fallback and `dequantize` give the same on a weight in the fragment layout."""
    rules = (SortedRule(), IndexedRule(), GroupedFallbackRule())
    operator = bq.GroupedMatmul(config, target="cuda", rules=rules)
    assert operator.weight_layout == "fragment"
    check_grouped_call(operator, 20, "cuda", routing="zipf")
    inputs = draw_grouped_inputs(config, 1, torch.Generator().manual_seed(0))
    operands = {name: t.cuda() for name, t in inputs.stored("fragment").items()}
    decoded = operator.dequantize(operands["W"], operands.get("scale"), operands.get("zeros"), torch.float32)
    expected = torch.stack([expert.decoded(slice(None)) for expert in inputs.experts])
    bound = 2.0**-22 * float(expected.abs().max())
    torch.testing.assert_close(decoded.double().cpu(), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("m", [1, 8, 100, 8192])
def test_many_rows(m, routing):
    """Any number of rows, sorted."""
    config = bq.GroupedMatmulConfig(16, 96, 128, **{**FIELDS, "group_size": 32}, M=(1, 16, 64))
    check_grouped_call(bq.GroupedMatmul(config, target="cuda"), m, "cuda", routing=routing)


@pytest.mark.parametrize(
    "offsets", [[0, 0, 0, 0], [13, 13, 13, 13], [0, 0, 13, 13], [2, 2, 9, 10], [0, 5, 20, 40]], ids=str
)
def test_rows_without_an_expert_are_left_alone(offsets):
    """Rows beyond the last offset are not written."""
    config = bq.GroupedMatmulConfig(4, 21, 72, **FIELDS, M=(1, 16))
    operator = bq.GroupedMatmul(config, target="cuda")
    given = torch.tensor(offsets, dtype=torch.int32)
    check_grouped_call(operator, 13, "cuda", offsets=given)
    inputs = draw_grouped_inputs(config, 13, torch.Generator().manual_seed(0))
    operands = {name: t.cuda() for name, t in inputs.stored(operator.weight_layout).items()}
    output = torch.full((13, 21), float("nan"), dtype=torch.float16, device="cuda")
    operator(**{**operands, "offsets": given.cuda()}, output=output)
    assert output[min(13, offsets[-1]) :].isnan().all()


@pytest.mark.parametrize("form", FORMS)
def test_a_graph_is_replayed_with_other_routing(form):
    """Routing is data: a captured call follows what the tensors hold when it is replayed."""
    config = bq.GroupedMatmulConfig(6, 40, 72, **FIELDS, **FORMS[form], M=(1, 16))
    operator = bq.GroupedMatmul(config, target="cuda")
    inputs = draw_grouped_inputs(config, 12, torch.Generator().manual_seed(0), "one")
    operands = {name: t.cuda() for name, t in inputs.stored(operator.weight_layout).items()}
    output = operator(**operands)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        operator(**operands, output=output)
    for seed in range(4):
        routing = draw_routing(config, 12, torch.Generator().manual_seed(seed), ROUTINGS[seed % 2])
        for name, tensor in routing.items():
            operands[name].copy_(tensor)
        output.fill_(float("nan"))
        graph.replay()
        expected = grouped_oracle(config, GroupedInputs(config, inputs.experts, {**inputs.given, **routing}))
        assert_close(output.cpu(), expected, config.matmul)


def test_no_synchronization():
    """A call reads nothing on the host."""
    config = bq.GroupedMatmulConfig(6, 40, 72, **FIELDS, M=(1, 16))
    operator = bq.GroupedMatmul(config, target="cuda")
    inputs = draw_grouped_inputs(config, 12, torch.Generator().manual_seed(0))
    operands = {name: t.cuda() for name, t in inputs.stored(operator.weight_layout).items()}
    operator(**operands)
    torch.cuda.set_sync_debug_mode("error")
    try:
        operator(**operands)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("form", [form for form in FORMS if form != "sorted"])
@pytest.mark.parametrize("n_per_warp", [1, 2, 4])
def test_wide_loads(form, n_per_warp):
    """The kernel of wide loads, with any number of rows of W a warp, and slots without an expert."""
    fields = {"W_dtype": "fp4_e2m1", "group_size": 32, "scale_dtype": "float8_e8m0", "with_scaling": True}
    types = {"A_dtype": "bfloat16", "out_dtype": "bfloat16", "with_bias": True}
    config = bq.GroupedMatmulConfig(6, 45, 1056, **fields, **types, **FORMS[form], M=7, fast_decoding=False)
    planned = Planned("grouped_gemv", {"warps": 4, "n_per_warp": n_per_warp}, "tuned")
    operator = bq.GroupedMatmul(config, target="cuda", records=Plan({7: planned}))
    check_grouped_call(operator, 7, "cuda", routing="zipf")
    ids = torch.arange(-2, 7 * config.top_k - 2, dtype=torch.int32).view(7, config.top_k)
    check_grouped_call(operator, 7, "cuda", expert_ids=ids)


@pytest.mark.parametrize("hint", [(2, 16), (8, 4), (4, 1)])
def test_other_hints_of_the_fallback(hint):
    """Other numbers of warps, and of rows of a warp, give the same results."""
    config = bq.GroupedMatmulConfig(4, 21, 72, **FIELDS, M=16)
    planned = Planned("grouped_fallback", {"warps": hint[0], "m_per_warp": hint[1]}, "tuned")
    operator = bq.GroupedMatmul(config, target="cuda", records=Plan({16: planned}))
    assert operator.choices[16].hint == planned.hint
    check_grouped_call(operator, 16, "cuda", routing="zipf")
