# SPDX-License-Identifier: Apache-2.0
"""Random legal problems and hints for every rule of a GPU, as an adversary would call them (`tests.fuzz`).

Beside what `fuzz.first_call` does: the same call on a stream of its own and as the replay of a graph, each right behind
a kernel that writes its operands and lets its successor in at once; right behind one of torch's that writes the weight;
from the device that is not current; and on a second GPU where there is one. BITQUANT_FUZZ=34 draws 34 times as many,
some 2000. For a sample under NVIDIA's tool::

    compute-sanitizer --error-exitcode 1 python -m pytest -q tests/gpu/test_fuzz.py -k "seed0-"
"""

from __future__ import annotations

import ctypes
import functools
from random import Random
from typing import Any

import pytest
import torch

import bitquant as bq
from bitquant.arch import resolve_target
from bitquant.compiler import compile_cuda_source
from tests import fuzz

#: What kernels that begin before the kernel before them has ended may read before it has (docs/architecture.md).
_CONSTANTS = ("bias", "channel_scale")
READ_EARLY = {
    "decode": ("W", "scale", "zeros", *_CONSTANTS), "wgmma": ("W", "scale", "zeros", *_CONSTANTS),
    "wgmma_dense": _CONSTANTS,
}  # fmt: skip

MAX_COPIES = 8
#: A user's kernel: it lets the next one in, takes its time, and only then writes what that one reads.
PRODUCER = """
struct Copies { const unsigned char* from[%(n)d]; unsigned char* to[%(n)d]; long long bytes[%(n)d]; };
extern "C" __global__ void produce(Copies copies, long long cycles) {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
  for (long long start = clock64(); clock64() - start < cycles;) {}
  for (int i = 0; i < %(n)d; ++i)
    for (long long at = blockIdx.x * blockDim.x + threadIdx.x; at < copies.bytes[i]; at += gridDim.x * blockDim.x)
      copies.to[i][at] = copies.from[i][at];
}
""" % {"n": MAX_COPIES}  # noqa: UP031  braces are CUDA C++'s
PRODUCER_BLOCKS, PRODUCER_THREADS = 4, 256
#: Some 20 us, in which its successor begins, and 100 us, in which the host queues both.
PRODUCER_CYCLES, SLEEP_CYCLES = 40_000, 200_000


class Copies(ctypes.Structure):
    """What `produce` copies."""

    _fields_ = [
        ("source", ctypes.c_void_p * MAX_COPIES),
        ("to", ctypes.c_void_p * MAX_COPIES),
        ("bytes", ctypes.c_longlong * MAX_COPIES),
    ]


def driver(name: str, *arguments: Any) -> None:
    """Call a function of CUDA's driver."""
    status = getattr(ctypes.CDLL("libcuda.so.1"), name)(*arguments)
    assert status == 0, f"{name} returns {status}"


@functools.cache
def producer(index: int) -> ctypes.c_void_p:
    """Return the kernel of PRODUCER on a GPU, which is current."""
    major, minor = torch.cuda.get_device_capability(index)
    cubin = compile_cuda_source(PRODUCER, f"sm_{major}{minor}").cubin
    torch.cuda.synchronize()  # The context is there.
    module, function = ctypes.c_void_p(), ctypes.c_void_p()
    driver("cuModuleLoadData", ctypes.byref(module), cubin)
    driver("cuModuleGetFunction", ctypes.byref(function), module, b"produce")
    return function


def produce(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Copy from and to tensors, on the current stream, by a kernel that lets its successor in before it does."""
    assert len(pairs) <= MAX_COPIES
    copies, cycles = Copies(), ctypes.c_longlong(PRODUCER_CYCLES)
    for i, (source, to) in enumerate(pairs):
        copies.source[i], copies.to[i] = source.data_ptr(), to.data_ptr()
        copies.bytes[i] = to.numel() * to.element_size()
    arguments = (ctypes.c_void_p * 2)(*(ctypes.cast(ctypes.byref(x), ctypes.c_void_p) for x in (copies, cycles)))
    stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
    kernel = producer(torch.cuda.current_device())
    sizes = (PRODUCER_BLOCKS, 1, 1, PRODUCER_THREADS, 1, 1, 0)
    driver("cuLaunchKernel", kernel, *sizes, stream, arguments, None)


def check_problem(random: Random, operator: bq.Matmul, rule: str, m: int, device: torch.device) -> tuple[Any, float]:
    """Call an operator in every way there is; return the call and how near to a bound its result came."""
    call, share = fuzz.first_call(random, operator, m, device)
    right = {name: tensor.clone() for name, tensor in call.operands.items()}
    early = [name for name in call.operands if name in READ_EARLY.get(rule, ())]
    late = [name for name in call.operands if name not in early]
    copies = [(right[name], call.operands[name]) for name in late] + [(call.output.clone(), call.output)]

    def behind_a_producer() -> None:
        torch.cuda._sleep(SLEEP_CYCLES)  # So that the GPU waits for nothing that the host has yet to do.
        produce(copies)
        call()

    call.spoil(*late)
    stream = torch.cuda.Stream(device)
    with torch.cuda.stream(stream):
        behind_a_producer()
    call.same("a producer that lets its successor in, on a stream,")

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        behind_a_producer()
    call.spoil(*late)
    graph.replay()
    call.same("a graph")
    call.spoil(*late)
    graph.replay()
    graph.replay()
    call.same("a graph that runs twice")
    call.calls += 2  # Three replays; what was captured did not run.

    if early:
        random.shuffle(early)
        inverse = {name: ~right[name].view(torch.uint8) for name in early}
        call.spoil(*early)
        torch.cuda._sleep(SLEEP_CYCLES)
        for name in early:
            torch.bitwise_not(inverse[name], out=call.operands[name].view(torch.uint8))
        call()
        call.same(f"a kernel of torch that writes {early[-1]!r} right before")

    for other in range(torch.cuda.device_count()):
        if other != device.index:
            with torch.cuda.device(other):
                call()
            call.same("another device that is current")
    return call, share


@pytest.mark.parametrize("seed", range(10 * fuzz.FACTOR), ids=lambda seed: f"seed{seed}-")
@pytest.mark.parametrize("rule", [name for name in fuzz.RULES if not name.startswith("cpu")])
def test_random_problem(rule, seed, record_property, monkeypatch):
    """A random problem by a rule and a random hint: right, in bounds, and the same bits however it is called."""
    monkeypatch.setenv("BITQUANT_CACHE", "0")  # No kernel is needed twice.
    random, target = Random(f"{rule} {seed}"), resolve_target("cuda")
    drawn = fuzz.draw(random, rule, target)
    if drawn is None:
        pytest.skip(f"no problem is for {rule} on {target.arch}")
    config, rung, plan = drawn
    operator = bq.Matmul(config, target="cuda", records=plan)
    assert operator.choices[rung].rule == rule
    tally = fuzz.tally(plan, config, rung, target)
    for m in fuzz.rows_of(random, config, rung):
        for index in range(min(2, torch.cuda.device_count())):
            if torch.cuda.get_device_capability(index) == torch.cuda.get_device_capability(0):
                with torch.cuda.device(index):
                    tally.add(*check_problem(random, operator, rule, m, torch.device("cuda", index)))
    record_property(fuzz.PROPERTY, tally.to_text())
