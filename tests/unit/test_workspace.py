# SPDX-License-Identifier: Apache-2.0
"""The workspace of stream-K without a GPU: who gets which memory, from which pool, and for how long."""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import bitquant as bq
from bitquant import workspace
from bitquant.operator.call import Launcher
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.schedule.tuned import Plan, Planned


class Cuda:
    """What of torch.cuda the workspace uses, for CPU tensors: device, stream, pool and capture of each thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here = threading.local()
        self.streams = 0
        #: Live tensors, with device, stream and pool of the thread that allocated them.
        self.live: list[tuple[weakref.ref[torch.Tensor], tuple[Any, ...]]] = []
        empty, zeros = torch.empty, torch.zeros

        def allocating(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
            def allocate(count: int, *, dtype: torch.dtype, device: str) -> torch.Tensor:
                assert device == "cuda"
                made = make(count, dtype=dtype)
                self.live.append((weakref.ref(made), (self.get("device"), self.get("stream"), self.get("pool"))))
                return made

            return allocate

        monkeypatch.setattr(torch, "empty", allocating(empty))
        monkeypatch.setattr(torch, "zeros", allocating(zeros))
        for name, value in {
            "current_device": lambda: self.get("device") or 0,
            "current_stream": lambda: SimpleNamespace(cuda_stream=self.get("stream") or 0),
            "is_current_stream_capturing": lambda: bool(self.get("captures")),
            "Stream": self.new_stream,
            "device": lambda device: self.set(device=device),
            "stream": lambda stream: self.set(stream=stream.cuda_stream),
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    def get(self, name: str) -> Any:
        return getattr(self.here, name, None)

    @contextlib.contextmanager
    def set(self, **values: Any) -> Iterator[None]:
        before = {name: self.get(name) for name in values}
        self.here.__dict__.update(values)
        yield
        self.here.__dict__.update(before)

    def new_stream(self, _device: Any = None) -> Any:
        self.streams += 1
        return SimpleNamespace(cuda_stream=1000 + self.streams, synchronize=lambda: None)

    def pool(self, name: str) -> list[torch.Tensor]:
        """Return what lives of a pool."""
        return [tensor for each, (_, _, pool) in self.live if pool == name and (tensor := each()) is not None]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    """A workspace that has given nothing yet, over fake GPUs."""
    kept: dict[str, Any] = {"_of_stream": {}, "_of_capture": {}, "_free": {}, "_kept": [], "_given": threading.local()}
    for name, value in kept.items():
        monkeypatch.setattr(workspace, name, value)
    monkeypatch.setattr(workspace, "_CHUNK", 1 << 14)
    monkeypatch.setattr(workspace, "_RESERVE", 1 << 13)
    cuda = Cuda(monkeypatch)
    monkeypatch.setattr(workspace, "_capture_id", lambda _stream: cuda.get("captures") or 0)
    return cuda


COUNT = 528


def ask() -> range:
    """Ask for the memory of a launch; return the addresses of its counters."""
    workspace._sums(1000)
    first = workspace._counters(COUNT).value
    assert first is not None
    return range(first, first + 4 * COUNT)


@workspace.releases
def launch(found: list[range]) -> None:
    """Ask as host code does, and launch."""
    found.append(ask())


def disjoint(found: list[range]) -> bool:
    """Whether no two of the launches share a counter."""
    starts = sorted(found, key=lambda each: each.start)
    return all(a.stop <= b.start for a, b in itertools.pairwise(starts))


def in_thread(work: Callable[[], Any]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_nothing_stays_in_the_pool_of_a_graph(cuda):
    """Warming up for a graph, as torch.compile's CUDA graph trees do, and capturing: no memory of the pool is kept."""
    found: list[range] = []
    with cuda.set(pool="graph", stream=7):
        launch(found)
        assert cuda.pool("graph") == []
        with cuda.set(captures=1):
            launch(found)
    assert cuda.pool("graph") == []
    assert disjoint(found)


def test_capture_without_a_call_before_it(cuda):
    """Counters are then of the graph's pool, and go back to it."""
    with cuda.set(pool="graph", captures=1):
        workspace._sums(1000)
        workspace._counters(COUNT)
        assert len(cuda.pool("graph")) == 2
        launch([])
    assert cuda.pool("graph") == []


def test_captures_share_no_counters(cuda):
    """Nor do they share them with calls of the stream, also once the reserve was used up and renewed."""
    found: list[range] = []
    capture = itertools.count(1)
    for _ in range(3):
        launch(found)
        for _ in range((1 << 13) // workspace._OF_CAPTURE):
            with cuda.set(captures=next(capture)):
                launch(found)
    assert found[0] == found[1 + (1 << 13) // workspace._OF_CAPTURE], "a stream keeps its counters"
    assert disjoint(list(set(found)))
    assert cuda.pool("graph") == []


def test_launches_of_a_capture_share_counters_by_stream(cuda, monkeypatch):
    """They run one after the other in one stream of a graph, so that memory does not grow by the launch.

    Concurrent branches are captured from two streams. A driver that does not say which capture it is: each launch has
    its own.
    """
    launch([])
    left = len(workspace._free[0])
    found: dict[int, list[range]] = {5: [], 6: []}
    for _ in range(20):
        for stream, launches in found.items():
            with cuda.set(captures=3, stream=stream):
                launch(launches)
    assert all(len(set(launches)) == 1 for launches in found.values())
    assert disjoint([found[5][0], found[6][0]])
    assert left - len(workspace._free[0]) == 2 * workspace._OF_CAPTURE
    with cuda.set(captures=3, stream=5):
        larger = workspace._counters(workspace._OF_CAPTURE + 1).value
        workspace._given.__dict__.clear()
        launch(grown := [])
    assert larger == grown[0].start
    monkeypatch.setattr(workspace, "_capture_id", lambda _stream: 0)
    with cuda.set(captures=3, stream=5):
        own: list[range] = []
        launch(own)
        launch(own)
    assert disjoint([*own, *grown, found[5][0]])


def test_captures_that_are_over_are_forgotten(cuda):
    """Their counters stay theirs, since graphs point to them; what is remembered of them does not grow."""
    found: list[range] = []
    for capture in range(1, 200):
        launch([])
        with cuda.set(captures=capture):
            launch(found)
    assert disjoint(found)
    assert len(workspace._of_capture) == workspace._REMEMBERED


def test_streams_and_devices_have_counters_of_their_own(cuda):
    """Two streams of two GPUs; the handle of the default stream is 0 on both. Memory is the device's."""
    found: list[range] = []
    for device in (0, 1):
        for stream in (0, 5):
            with cuda.set(device=device, stream=stream):
                launch(found)
    assert disjoint(found)
    assert {device for device, _ in workspace._of_stream} == {0, 1}
    assert {of[0] for each, of in cuda.live if each() is not None} == {0, 1}


def test_threads_of_one_stream(cuda):
    """Their kernels follow each other and share counters; partial sums are a thread's until it has launched."""
    found = [ask()]
    mine = workspace._given.sums.data_ptr()
    others: list[int] = []

    def other() -> None:
        found.append(ask())
        others.append(workspace._given.sums.data_ptr())

    in_thread(other)
    assert found[0] == found[1]
    assert mine not in others


def test_counters_of_a_stream_grow(cuda):
    """What is asked for is there, and zero; more than is made at a time as well."""
    first = ask()
    workspace._counters(1 << 16)
    (counters,) = workspace._of_stream.values()
    assert len(counters) >= 1 << 16
    assert not bool(counters.any())
    assert disjoint([first, range(counters.data_ptr(), counters.data_ptr() + 4 * len(counters))])


def test_registration_by_two_threads(monkeypatch):
    """Two threads that load their first operators at once both register the functions."""
    register = workspace.register.__wrapped__
    register()
    register()


def test_memory_that_runs_out_is_said(cuda, monkeypatch):
    """An allocation that fails in the other thread raises here, and nothing is remembered of it."""

    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("no memory")

    with monkeypatch.context() as context:
        context.setattr(torch, "zeros", fail)
        with pytest.raises(torch.OutOfMemoryError, match="no memory"):
            launch([])
    launch([])


def test_operators_release_what_their_kernels_asked_for(cuda):
    """A function of an operator that uses the workspace holds nothing after the launch, also after one that failed."""
    config = bq.MatmulConfig(M=16, N=256, K=1024, W_dtype="uint4")
    hint = WgmmaHint(block_m=16, consumers_n=1, stages=3, stream_k=True)
    operator, plain = (
        bq.Matmul(config, target="sm_90a", records=records)
        for records in (Plan({16: Planned("wgmma", hint.to_dict(), "tuned")}), Plan({}))
    )
    assert operator._archive.uses_workspace
    assert not plain._archive.uses_workspace
    asked: list[range] = []

    def kernel(fails: bool) -> None:
        asked.append(ask())
        if fails:
            raise RuntimeError("no launch")

    archive = SimpleNamespace(uses_workspace=True, symbols={16: "k"}, runtime_module=lambda: {"k": kernel})
    function = Launcher(operator.signature, archive, None).kernel_for(16)  # type: ignore[arg-type]
    function(False)
    with pytest.raises(RuntimeError):
        function(True)
    assert len(asked) == 2
    assert not vars(workspace._given)


def test_a_loaded_operator_finds_the_functions(monkeypatch):
    """Kernels from a file or from the disk cache register the functions before they are there to be called."""
    registered: list[bool] = []
    monkeypatch.setattr(workspace, "register", lambda: registered.append(True))
    config = bq.MatmulConfig(M=16, N=64, K=64, W_dtype="uint4")
    archive = bq.Matmul(config, target="cpu")._archive
    loaded = type(archive).from_bytes(archive.to_bytes())
    assert not loaded.uses_workspace
    loaded.runtime_module()
    assert registered
