# SPDX-License-Identifier: Apache-2.0
"""The workspace of stream-K: kernels that run side by side, and graphs, do not meet in each other's memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import bitquant as bq
from bitquant import workspace
from bitquant.arch import detected_cuda_arch
from bitquant.profiling import random_operands
from bitquant.schedule.rules.decode.hint import DecodeHint
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.tuned import Plan, Planned
from bitquant.testing.kernels import HINTED_ARCH

#: Calls of a stream, or replays of a graph, that overlap with those of another.
CALLS = 50
N, K = 2048, 8192
#: Rows of A, rule and hint of kernels whose tiles several blocks share, with half of the GPU for each.
KERNELS = {
    "wgmma": (16, WgmmaHint(block_m=16, consumers_n=1, block_k=128, stages=4, stream_k=True, blocks_per_sm=2)),
    "decode": (
        4,
        DecodeHint(
            n_tiles_per_warp=2, warps_n=2, warps_k=4, unroll=2, phase=2, stream_k=True, weights="shared", ahead=4,
            blocks_per_sm=2,
        ),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _require_arch() -> None:
    """Both rules have stream-K there."""
    if (arch := detected_cuda_arch()) != HINTED_ARCH:
        pytest.skip(f"needs a GPU of {HINTED_ARCH} (got {arch})")


@pytest.fixture(params=sorted(KERNELS))
def operator(request: pytest.FixtureRequest) -> bq.Matmul:
    """A kernel of each rule."""
    M, hint = KERNELS[request.param]
    config = bq.MatmulConfig(M=M, N=N, K=K, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True)
    return bq.Matmul(config, target="cuda", records=Plan({M: Planned(request.param, hint.to_dict(), "tuned")}))


@pytest.fixture
def calls(operator: bq.Matmul) -> Iterator[list[tuple[dict[str, torch.Tensor], torch.Tensor]]]:
    """Operands of two calls with different rows of A, and the right bits of each."""
    operands = random_operands(operator, operator.config.ladder[0], torch.device("cuda"))
    other = {**operands, "A": operands["A"].flip(0).contiguous()}
    found = [(each, operator(**each)) for each in (operands, other)]
    torch.cuda.synchronize()
    yield found
    torch.cuda.synchronize()
    for counters in workspace._kept:
        assert not bool(counters.any()), "a kernel of a stream or a graph has left a counter"


def test_streams_that_overlap(operator, calls):
    """Kernels of two streams, each of which leaves room for the other, have counters and sums of their own."""
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    results: list[list[torch.Tensor]] = [[], []]
    for _ in range(CALLS):
        for stream, (operands, _), found in zip(streams, calls, results, strict=True):
            with torch.cuda.stream(stream):
                found.append(operator(**operands))
    torch.cuda.synchronize()
    for (_, expected), found in zip(calls, results, strict=True):
        assert all(torch.equal(each, expected) for each in found)


@pytest.mark.parametrize("has_reserve", [True, False])
def test_graphs_of_one_stream_that_overlap(operator, calls, has_reserve, monkeypatch):
    """Two graphs, captured one after the other on one stream and replayed side by side, are right, each several times.

    Where no zeros are left for a capture, the graph sets its counters to zero itself.
    """
    if not has_reserve:
        monkeypatch.setattr(workspace, "_free", {})
    captured = []
    side = torch.cuda.Stream()
    for operands, _ in calls:
        graph = torch.cuda.CUDAGraph()
        outputs = [torch.empty_like(calls[0][1]) for _ in range(3)]
        with torch.cuda.graph(graph, stream=side):
            for output in outputs:
                operator(**operands, output=output)
        captured.append((graph, outputs))
    streams = [torch.cuda.Stream(), torch.cuda.Stream()]
    for _ in range(CALLS):
        for _, outputs in captured:
            for output in outputs:
                output.fill_(float("nan"))
        torch.cuda.synchronize()
        for stream, (graph, _) in zip(streams, captured, strict=True):
            with torch.cuda.stream(stream):
                graph.replay()
        torch.cuda.synchronize()
        for (_, expected), (_, outputs) in zip(calls, captured, strict=True):
            assert all(torch.equal(output, expected) for output in outputs)


def test_launches_of_a_graph_share_counters(operator, calls):
    """By stream: a graph takes as many counters with all calls as with one, in each of two branches."""
    for given, wanted in calls:
        assert torch.equal(operator(**given), wanted)
    torch.cuda.synchronize()
    device, side, other = torch.cuda.current_device(), torch.cuda.Stream(), torch.cuda.Stream()
    left, graph, outputs = len(workspace._free[device]), torch.cuda.CUDAGraph(), []
    with torch.cuda.graph(graph, stream=side):
        other.wait_stream(side)
        for _ in range(3):
            for stream in (side, other):
                with torch.cuda.stream(stream):
                    outputs.append([operator(**given) for given, _ in calls])
        side.wait_stream(other)
    assert left - len(workspace._free[device]) == 2 * workspace._OF_CAPTURE
    for _ in range(3):
        for each in outputs:
            for output in each:
                output.fill_(float("nan"))
        graph.replay()
        torch.cuda.synchronize()
        assert all(
            torch.equal(output, wanted) for each in outputs for output, (_, wanted) in zip(each, calls, strict=True)
        )


def test_a_stream_that_needs_more_counters_gets_them(operator, calls):
    """Counters of a stream grow; what was zero before is zero after."""
    workspace._of_stream.clear()  # As in a process whose first call this is.
    key = torch.cuda.current_device(), torch.cuda.current_stream().cuda_stream
    assert torch.equal(operator(**calls[0][0]), calls[0][1])
    assert len(workspace._of_stream[key]) < 1 << 14
    workspace._counters(1 << 14)
    assert len(workspace._of_stream[key]) >= 1 << 14
    assert torch.equal(operator(**calls[0][0]), calls[0][1])


def test_graph_trees_of_torch_compile(operator, calls):
    """torch.compile warms up and captures in a pool where no memory may be left but outputs, and checks that."""
    workspace._of_stream.clear()  # As in a process whose first call this is.
    compiled = torch.compile(lambda operands: operator(**operands), mode="reduce-overhead")
    for _ in range(4):
        for operands, expected in calls:
            torch.compiler.cudagraph_mark_step_begin()
            assert torch.equal(compiled(operands), expected)
