# SPDX-License-Identifier: Apache-2.0
"""Weights of experts in the fragment layout: one stored weight for sorted and for indexed rows."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import tvm

import bitquant as bq
from bitquant.arch import resolve_target
from bitquant.compute import select_implementation
from bitquant.grouped_inputs import draw_grouped_inputs
from bitquant.layouts import fragment_refusal, weight_shape
from bitquant.schedule import preferred_layout
from bitquant.schedule.rules import GroupedFallbackRule, GroupedGemvRule
from bitquant.testing.generators import case_id
from bitquant.testing.grouped import grouped_oracle
from bitquant.testing.oracle import assert_close
from tests.unit.test_grouped import FIELDS, FORMS, GROUPED

H200 = resolve_target("h200")
TILED = [c for c in GROUPED if fragment_refusal(c.matmul) is None]


class SortedRule(GroupedFallbackRule):
    """Stands for a rule that reads the fragment layout alone, and takes sorted rows."""

    name = "sorted_on_fragments"
    weight_layouts = ("fragment",)
    routing = "sorted"

    def refuses(self, problem):
        if problem.config.routing != self.routing:
            return f"needs routing {self.routing} (got {problem.config.routing})"
        return super().refuses(problem)


class IndexedRule(SortedRule):
    """The same for indexed rows."""

    name = "indexed_on_fragments"
    routing = "indexed"


def _config(form="sorted", **fields):
    return bq.GroupedMatmulConfig(
        **{"num_experts": 3, "N": 40, "K": 96, "M": (1, 16), **FIELDS, "group_size": 32, **FORMS[form], **fields}
    )


@pytest.mark.parametrize("config", TILED, ids=lambda c: f"{c.routing}-{case_id(c.matmul)}")
@pytest.mark.sample(
    shows=lambda config: {("W", config.W_format.name), ("A", config.A_format.bits), ("rows", config.routing)}
)
def test_meaning(config):
    """The tensor expression reads each expert's tiles, and gives what the oracle says."""
    config = config.with_M(5)
    inputs = draw_grouped_inputs(config, 5, torch.Generator().manual_seed(1), "zipf", every_float8=True)
    module = tvm.compile(select_implementation(config, "fragment"), target="llvm")
    expected = grouped_oracle(config, inputs)
    D = torch.empty(expected.shape, dtype=config.out_format.torch_dtype)
    module["grouped_matmul_m5"](*inputs.stored("fragment").values(), D)
    assert_close(D, expected, config.matmul)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ((GroupedGemvRule(), GroupedFallbackRule()), "plain"),
        # Indexed rows would lose the rule of wide loads.
        ((SortedRule(), GroupedGemvRule(), GroupedFallbackRule()), "plain"),
        # The fallback, which is all that sorted rows have in either layout, reads both.
        ((IndexedRule(), GroupedGemvRule(), GroupedFallbackRule()), "fragment"),
        ((SortedRule(), IndexedRule(), GroupedGemvRule(), GroupedFallbackRule()), "fragment"),
        ((SortedRule(),), "fragment"),
        ((SortedRule(), GroupedFallbackRule()), "fragment"),
    ],
    ids=lambda value: "+".join(r.name for r in value) if isinstance(value, tuple) else value,
)
def test_layout_serves_rows_of_both_kinds(form, rules, wanted):
    """Where either kind gains and none loses it is "fragment", for whatever rows an operator takes."""
    for M in (1, (1, 4096), None):
        assert preferred_layout(_config(form, M=M), H200, rules) == wanted


@pytest.mark.parametrize("target", ["h200", "h100", "a100", "t4", "cpu"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"group_size": 24, "K": 72},
        {"W_dtype": "fp4_e2m1", "scale_dtype": "float8_e8m0", "with_zeros": False},
        {"W_dtype": "float16", "with_scaling": False, "with_zeros": False},
        {"W_dtype": "int8", "A_dtype": "int8", "out_dtype": "int32", "with_scaling": False, "with_zeros": False},
    ],
    ids=str,
)
def test_layout_depends_on_neither_rows_nor_routing(fields, target):
    """One stored weight serves all operators of a layer, in the rules' default order."""
    resolved = resolve_target(target)
    bias = {} if fields.get("out_dtype") else {"with_bias": False}
    found = {
        preferred_layout(_config(form, **{**fields, **bias, "M": M}), resolved) for form in FORMS for M in (1, (1, 512))
    }
    assert len(found) == 1
    if target == "cpu" or fragment_refusal(_config(**{**fields, **bias}).matmul) is not None:
        assert found == {"plain"}


def test_plain_layout_can_be_asked_for():
    """`fast_decoding=False` keeps a weight as it was packed."""
    assert preferred_layout(_config(fast_decoding=False), H200, (SortedRule(),)) == "plain"


@pytest.mark.parametrize("W_dtype", ["uint4", "int3", "fp4_e2m1", "float8_e4m3"])
def test_weights_come_back(W_dtype, tmp_path):
    """What is packed has an expert's tiles after another's; it comes back, and an archive knows the layout."""
    rules = (SortedRule(), GroupedFallbackRule())
    config = _config(W_dtype=W_dtype, with_zeros=False, A_dtype="bfloat16", out_dtype="bfloat16", M=16)
    operator = bq.GroupedMatmul(config, target="h200", rules=rules)
    assert operator.weight_layout == "fragment"
    inputs = draw_grouped_inputs(config, 1, torch.Generator().manual_seed(0))
    weight = torch.stack([e.W.view(torch.uint8) for e in inputs.experts]).view(inputs.experts[0].W.dtype)
    packed = operator.transform_weight(weight).cpu()
    shape = (3, *weight_shape(config.matmul, "fragment"))
    assert (tuple(packed.shape), packed.dtype) == (shape, torch.int8)
    assert operator.retrieve_weight_shape() == list(shape)
    assert torch.equal(packed, inputs.stored("fragment")["W"])
    restored = operator.restore_weight(packed)
    assert torch.equal(operator.transform_weight(restored).cpu(), packed)
    if W_dtype != "fp4_e2m1":  # Whose inputs are codes.
        assert torch.equal(restored.float(), weight.float())
    operator.export(tmp_path / "experts.bq")
    loaded = bq.GroupedMatmul.load(tmp_path / "experts.bq")
    assert (loaded.weight_layout, loaded.retrieve_weight_shape()) == ("fragment", list(shape))
    indexed = dataclasses.replace(config, **FORMS["gather"])
    other = bq.GroupedMatmul(indexed, target="h200", rules=(IndexedRule(), *rules))
    assert other.retrieve_weight_shape() == list(shape)
