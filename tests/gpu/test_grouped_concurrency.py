# SPDX-License-Identifier: Apache-2.0
"""Grouped products that run at once: streams, threads, captured graphs, and kernels that start before others end."""

from __future__ import annotations

import threading

import pytest
import torch

import bitquant as bq
from bitquant.grouped_inputs import draw_grouped_inputs, draw_routing
from bitquant.schedule import Plan, Planned
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from tests.compile.test_rule_grouped_decode import DOWN, UINT4, UP

#: Few rows by slots, with and without sums over these, and sorted ones.
FORMS = {"up": UP, "down": DOWN, "sorted": {}}


def make(form, N=384, K=512, E=6, **fields):
    """An operator of one of the forms."""
    config = bq.GroupedMatmulConfig(E, N, K, **{**UINT4, **FORMS[form], "M": (1, 16, 64), **fields})
    return bq.GroupedMatmul(config, target="cuda")


def drawn(operator, m, seed=0, routing="uniform"):
    """Operands of a call on the GPU."""
    inputs = draw_grouped_inputs(operator.config, m, torch.Generator().manual_seed(seed), routing)
    return {name: t.cuda() for name, t in inputs.stored(operator.weight_layout).items()}


def calls_of(operator, rows=(1, 16, 5, 64)):
    """Operands of several calls with one weight, and the results when nothing else runs."""
    first = drawn(operator, rows[0])
    calls = []
    for seed, m in enumerate(rows):
        own = drawn(operator, m, seed, ("uniform", "zipf", "one")[seed % 3])
        of_weight = {k: first[k] for k in ("W", "scale", "zeros", "bias", "channel_scale") if k in first}
        calls.append({**own, **of_weight})
    expected = [operator(**given).clone() for given in calls]
    torch.cuda.synchronize()
    return calls, expected


def stream_k(form="sorted"):
    """Sorted rows whose partial sums meet in the workspace."""
    hint = WgmmaHint(block_m=16, consumers_n=2, block_k=64, stages=4, stream_k=True).to_dict()
    config = bq.GroupedMatmulConfig(6, 640, 1024, **UINT4, M=(64,))
    planned = Plan({64: Planned("grouped_wgmma", hint, "tuned")})
    return bq.GroupedMatmul(config, target="cuda", records=planned)


MAKERS = {**dict.fromkeys(FORMS, make), "stream_k": stream_k}


@pytest.fixture(autouse=True)
def _require_hopper():
    if torch.cuda.is_available() and torch.cuda.get_device_capability() != (9, 0):
        pytest.skip("needs a Hopper GPU")


@pytest.mark.parametrize("form", list(MAKERS))
def test_streams_share_an_operator(form):
    """Each stream has counters of its own: results are those of calls one after the other, bit for bit."""
    operator = MAKERS[form](form)
    calls, expected = calls_of(operator)
    streams = [torch.cuda.Stream() for _ in range(3)]
    results = []
    for i in range(120):
        with torch.cuda.stream(streams[i % 3]):
            results.append((i % len(calls), operator(**calls[i % len(calls)])))
    torch.cuda.synchronize()
    for which, result in results:
        assert torch.equal(result, expected[which])


@pytest.mark.parametrize("form", ["down", "stream_k"])
def test_threads_share_an_operator(form):
    """Threads with a stream each, and threads of one stream."""
    operator = MAKERS[form](form)
    calls, expected = calls_of(operator)
    wrong, shared = [], torch.cuda.Stream()

    def work(seed, stream):
        with torch.cuda.stream(stream):
            for i in range(60):
                which = (i + seed) % len(calls)
                result = operator(**calls[which])
                if i % 7 == 0:
                    stream.synchronize()
                    if not torch.equal(result, expected[which]):
                        wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(i, shared if i < 2 else torch.cuda.Stream())) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("form", ["down", "stream_k"])
def test_graphs_of_one_operator_are_replayed_at_once(form):
    """Captured launches have counters of their own; more of them than are kept are right, too."""
    operator = MAKERS[form](form)
    calls, expected = calls_of(operator, (64, 16, 64, 33))
    graphs, outputs = [], []
    for given, wanted in zip(calls, expected, strict=True):
        graph, output = torch.cuda.CUDAGraph(), torch.empty_like(wanted)
        with torch.cuda.graph(graph):
            for _ in range(60):
                operator(**given, output=output)
        graphs.append(graph)
        outputs.append(output)
    streams = [torch.cuda.Stream() for _ in graphs]
    for _ in range(3):
        for output in outputs:
            output.fill_(float("nan"))
        torch.cuda.synchronize()
        for graph, stream in zip(graphs, streams, strict=True):
            with torch.cuda.stream(stream):
                graph.replay()
                graph.replay()
        eager = [operator(**given) for given in calls]  # In a stream of its own meanwhile.
        torch.cuda.synchronize()
        for got, again, wanted in zip(outputs, eager, expected, strict=True):
            assert torch.equal(got, wanted)
            assert torch.equal(again, wanted)


def test_a_layer_whose_buffers_are_used_again():
    """The first product writes what the second, which may not have ended, still reads; neither waits on the host."""
    up, down = make("up", N=512, K=512, top_k=3), make("down", N=512, K=512)
    ups, downs = drawn(up, 16), drawn(down, 16)
    hidden = torch.empty_like(up(**ups))
    inputs = [torch.randn_like(ups["A"]) / 16 for _ in range(4)]

    def layer(x, output):
        up(**{**ups, "A": x}, output=hidden)
        down(**{**downs, "A": hidden, "expert_ids": ups["expert_ids"]}, output=output)

    expected = [torch.empty_like(down(**downs)) for _ in inputs]
    for x, output in zip(inputs, expected, strict=True):
        layer(x, output)
        torch.cuda.synchronize()
    outputs = [torch.empty_like(expected[0]) for _ in range(100)]
    for i, output in enumerate(outputs):
        layer(inputs[i % 4], output)
    for i, output in enumerate(outputs):
        assert torch.equal(output, expected[i % 4])


@pytest.mark.parametrize(("form", "m"), [("up", 1), ("up", 40), ("down", 1), ("down", 40), ("sorted", 40)])
def test_routing_is_the_result_of_the_kernel_before(form, m):
    """A kernel that starts before the one ends that computes the routing, bitquant's own, reads the result of that."""
    fields = {} if form == "sorted" else {"top_k": 16}
    operator = make(form, E=16, **fields)
    # The identity: a product whose result is a routing.
    K = 8192
    router = bq.Matmul(
        bq.MatmulConfig(M=(1, 64), N=16, K=K, A_dtype="int8", W_dtype="int8", accum_dtype="int32", out_dtype="int32"),
        target="cuda",
    )
    identity = router.transform_weight(torch.eye(16, K, dtype=torch.int8))
    given = drawn(operator, m)
    name = "offsets" if form == "sorted" else "expert_ids"
    routings, expected = [], []
    for seed in range(4):
        routing = draw_routing(operator.config, m, torch.Generator().manual_seed(seed), ("uniform", "one")[seed % 2])
        rows = routing[name].view(-1, 16)
        routings.append(torch.nn.functional.pad(rows.to(torch.int8), (0, K - 16)).cuda())
        expected.append(operator(**{**given, name: routing[name].cuda()}).clone())
    torch.cuda.synchronize()
    target = given[name].view(-1, 16)
    results = []
    for i in range(100):
        target.zero_()
        router(routings[i % 4], identity, output=target)
        results.append(operator(**given))
    for i, result in enumerate(results):
        assert torch.equal(result, expected[i % 4]), i
