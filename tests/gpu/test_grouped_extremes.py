# SPDX-License-Identifier: Apache-2.0
"""Grouped products of unusual sizes: one expert, more than a kernel tells apart, many slots, more than 2^31 weights."""

from __future__ import annotations

import pytest
import torch

import bitquant as bq
from bitquant.testing.grouped import check_grouped_call
from tests.compile.test_rule_grouped_decode import DOWN, UINT4

#: Fields of a config, and the numbers of rows of calls.
PROBLEMS = {
    "one expert": ({"num_experts": 1, "M": (1, 64)}, (0, 1, 63, 300)),
    "one expert, three times": ({"num_experts": 1, "M": (1, 8), "routing": "indexed", "top_k": 3}, (0, 1, 7, 40)),
    "a static number of rows": ({"num_experts": 5, "M": 37}, (37,)),
    "a static number of tokens": ({"num_experts": 5, "M": 7, **DOWN}, (7,)),
    "rows beyond the ladder": ({"num_experts": 5, "M": (1,)}, (2, 300, 2000)),
    "tokens beyond the ladder": ({"num_experts": 5, "M": (1,), **DOWN}, (2, 300, 2000)),
    "1024 experts": ({"num_experts": 1024, "M": (64,), "N": 32, "K": 64}, (1, 3000)),
    "1025 experts": ({"num_experts": 1025, "M": (64,), "N": 32, "K": 64}, (1, 3000)),
    "2000 experts, tokens": ({"num_experts": 2000, "M": (64,), "N": 32, "K": 64, **DOWN, "top_k": 4}, (1, 64)),
    "1024 slots of a token": ({"num_experts": 7, "M": (4,), **DOWN, "top_k": 1024}, (1, 4, 9)),
    "one slot of a token": ({"num_experts": 7, "M": (4, 64), **DOWN, "top_k": 1}, (1, 4, 90)),
    "25 columns of gate and up": ({"num_experts": 5, "M": (4, 64), "N": 50, "activation": "silu_mul"}, (1, 7, 200)),
    "25 columns of gate and up, tokens": (
        {"num_experts": 5, "M": (4, 64), "N": 50, "activation": "clamped_swiglu", **DOWN}, (1, 7, 90),
    ),
    "sums of integers": (
        {
            "num_experts": 5, "M": (4,), "routing": "indexed", "top_k": 3, "D_rows": "tokens", "A_dtype": "int8",
            "W_dtype": "int4", "accum_dtype": "int32", "out_dtype": "int8", "group_size": -1, "with_scaling": False,
            "with_zeros": False, "with_bias": True, "with_activation_scale": True, "with_channel_scale": True,
            "scale_dtype": None,
        },
        (1, 4, 50),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_results(name):
    """Results are those of float64, for every kind of routing."""
    fields, rows = PROBLEMS[name]
    config = bq.GroupedMatmulConfig(**{"N": 96, "K": 256, **UINT4, "group_size": 32, **fields})
    operator = bq.GroupedMatmul(config, target="cuda")
    for m in rows:
        for routing in ("uniform", "one"):
            check_grouped_call(operator, m, "cuda", routing=routing)


@pytest.mark.parametrize("form", ["up", "down"])
def test_more_than_2_31_weights_of_indexed_rows(form):
    """The codes, scales and channels of the last experts are found behind 2^31 weights."""
    E, N, K = 40, 8192, 8192
    fields = {"routing": "indexed", "top_k": 2, "with_routing_weights": True, "D_rows": "slots"}
    if form == "down":
        fields |= {"A_rows": "slots", "D_rows": "tokens"}
    config = bq.GroupedMatmulConfig(
        E, N, K, W_dtype="int8", group_size=128, with_scaling=True, with_channel_scale=True, M=(4,), **fields
    )
    operator, generator = bq.GroupedMatmul(config, target="cuda"), torch.Generator("cuda").manual_seed(0)
    shape = operator.retrieve_weight_shape()
    W = torch.randint(-128, 128, shape, dtype=torch.int8, device="cuda", generator=generator)
    scale = torch.rand((E, N, K // 128), device="cuda", generator=generator).half() * 0.001
    channels = torch.rand((E, N), device="cuda", generator=generator) + 0.5
    A = torch.randn((4, 2, K) if form == "down" else (4, K), device="cuda", generator=generator).half()
    ids = torch.tensor([[39, 0], [38, 39], [33, -1], [40, 39]], dtype=torch.int32, device="cuda")
    routing = torch.rand((4, 2), device="cuda", generator=generator)
    got = operator(A, W, scale, expert_ids=ids, routing_weights=routing, channel_scale=channels)
    slots = torch.zeros((4, 2, N), dtype=torch.float64, device="cuda")
    for e in (39, 0, 38, 33):
        weight = operator.dequantize_expert(W[e], scale[e], dtype=torch.float32).double()
        weight *= channels[e].double()[:, None]
        for t, j in (ids == e).nonzero().tolist():
            slots[t, j] = weight @ (A[t, j] if form == "down" else A[t]).double() * routing[t, j].double()
    wanted = slots.sum(1) if form == "down" else slots
    error = torch.linalg.norm(got.double() - wanted) / torch.linalg.norm(wanted)
    assert error <= 1e-3
    if form == "up":  # Slots without an expert.
        assert not got[2, 1].any()
        assert not got[3, 0].any()
