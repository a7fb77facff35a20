# SPDX-License-Identifier: Apache-2.0
"""Experts in a model on the GPU: both forms of a call, captured, compiled, and whole models."""

from __future__ import annotations

import copy

import pytest
import torch

import bitquant as bq
from bitquant.nn import experts
from bitquant.nn.module import _product

pytest.importorskip("transformers")

from tests.unit.test_experts import (
    FEW,
    FORMATS,
    MANY,
    MODELS,
    build,
    difference,
    logits,
    make,
    modules,
    quantized,
    route,
)
from tests.unit.test_experts import reference as oracle

#: Few tokens, the most that are indexed (8 rows for each of 4 experts), and many.
TOKENS = (1, 5, 16, 17, 200)


def reference(made, *call):
    """The layer in float64, of a copy on the CPU."""
    return oracle(copy.deepcopy(made).cpu(), *call)


@pytest.mark.parametrize(
    ("name", "dtype"),
    # float16 holds no scale of 2^-17, as those of MXFP4 here are.
    [(n, d) for n in FORMATS for d in ("float16", "bfloat16") if (n, d) != ("mxfp4", "float16")],
)
def test_experts_against_float64(name, dtype):
    """Both forms compute with the stored weights, in the layout that the kernels of this GPU read."""
    made = build(FORMATS[name], A_dtype=dtype)
    made.cuda()
    layer = made.gate_up
    assert layer.weight_layout == layer.operator("cuda").weight_layout
    assert all(k.layout("cuda") == layer.weight_layout for k in layer.needed_kernels(()))
    for tokens in TOKENS:
        x, index, weights = route(tokens)
        index[::3, 0] = 4
        x = x.to(getattr(torch, dtype))
        got = made(x.cuda(), index.cuda(), weights.cuda()).cpu()
        assert difference(got, reference(made, x, index, weights)) <= (4e-3 if dtype == "float16" else 2e-2), tokens


def test_layouts_and_state_dicts_across_devices():
    """A state dict is plain on every device; moving there and back changes nothing."""
    made = build(FORMATS["uint4, packed zeros"], A_dtype="bfloat16")
    plain = {n: t.clone() for n, t in made.state_dict().items()}
    made.cuda()
    assert all(torch.equal(t.cpu(), plain[n]) for n, t in made.state_dict().items())
    other = build(FORMATS["uint4, packed zeros"], A_dtype="bfloat16", seed=1).cuda()
    other.load_state_dict(plain)
    call = [t.cuda() for t in route(9)]
    call[0] = call[0].bfloat16()
    assert torch.equal(other(*call), made(*call))
    back = copy.deepcopy(made).cpu()
    assert all(torch.equal(t, plain[n]) for n, t in back.state_dict().items())
    assert _product(back.gate_up.config) is back.gate_up.config.matmul


@pytest.mark.parametrize("tokens", [8, 200])
def test_captured_graphs_replay_with_other_routing(tokens):
    """A graph that was captured with one routing is right with another, experts without rows included."""
    made = build(FORMATS["int4"], A_dtype="bfloat16").cuda()
    x, index, weights = (t.cuda() for t in route(tokens))
    x = x.bfloat16()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        made(x, index, weights)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        D = made(x, index, weights)
    for seed in (1, 2):
        others = route(tokens, seed=seed)
        for mine, new in zip((x, index, weights), others, strict=True):
            mine.copy_(new)
        if seed == 2:
            index.fill_(3)
            index[0], index[1], index[2] = 4, 2**32 + 1, -(2**63)
        graph.replay()
        torch.cuda.synchronize()
        wanted = reference(made, x.cpu(), index.cpu(), weights.cpu())
        assert difference(D.cpu(), wanted) <= 2e-2


def test_ids_are_narrowed_in_one_launch():
    """Ids of 64 bits, also those beyond 32, become int32 in one kernel, once the bounds are there."""
    ids = torch.tensor([[2**32 + 1, 3], [4, -(2**63)], [0, -1]], device="cuda").t()
    experts._narrow(ids, 4)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        got = experts._narrow(ids, 4)
        torch.cuda.synchronize()
    kernels = [e.name for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    assert len(kernels) == 1, kernels
    assert got.tolist() == [[4, 4, 0], [3, -1, -1]]


@pytest.mark.parametrize("tokens", [8, 200])
def test_torch_compile(tokens):
    """One graph, with CUDA graphs by torch, with the numbers of the layer."""
    made = build(FORMATS["uint4, packed zeros"], A_dtype="bfloat16").cuda()
    x, index, weights = (t.cuda() for t in route(tokens))
    x = x.bfloat16()
    compiled = torch.compile(made, mode="reduce-overhead", fullgraph=True)
    with torch.no_grad():
        wanted = made(x, index, weights)
        for _ in range(3):
            got = compiled(x, index, weights).clone()
        assert difference(got, wanted) <= 1e-2


@pytest.mark.parametrize("name", list(MODELS))
def test_models(name):
    """Logits are those of transformers' own modules with dequantized weights; a model generates."""
    model = quantized(make(name).bfloat16().cuda())
    assert modules(model)
    plain = bq.dequantize_model(copy.deepcopy(model)).float()
    for tokens in (FEW, MANY, torch.cat([MANY] * 4)):
        with torch.no_grad():
            hidden = plain(tokens.cuda(), use_cache=False).logits
        # A router in bfloat16 may choose otherwise where two experts are about as likely.
        assert difference(logits(model, tokens.cuda()), hidden) <= 0.2
    assert model.generate(FEW.cuda(), max_new_tokens=3, do_sample=False).shape == (1, 8)
