# SPDX-License-Identifier: Apache-2.0
"""Kernels for a CPU run on as many threads as torch's operations."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from bitquant import threads

CPUS = len(os.sched_getaffinity(0))
needs_two_cpus = pytest.mark.skipif(CPUS < 2, reason="needs two CPUs")

#: A pool stays with its thread, so that what a test does needs a process or a thread of its own.
PRELUDE = """
import json, os, threading
import torch, tvm_ffi
from bitquant.threads import follow_torch_threads

used = tvm_ffi.get_global_func("runtime.NumThreads")

def in_thread(function):
    result = []
    thread = threading.Thread(target=lambda: result.append(function()))
    thread.start()
    thread.join()
    return result[0]

def followed(*numbers):
    result = []
    for number in numbers:
        torch.set_num_threads(number)
        follow_torch_threads()
        result.append(used())
    return result

def affinities():
    return {frozenset(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")}

def kernel_call():
    import bitquant as bq
    from bitquant.testing.generators import make_inputs

    config = bq.MatmulConfig(M=5, N=64, K=64, W_dtype="uint4", group_size=32, with_scaling=True, with_bias=True)
    matmul, inputs = bq.Matmul(config, target="cpu"), make_inputs(config, 5)
    W, kernel = matmul.transform_weight(inputs.W), matmul.kernel_for(5)

    def call():
        output = torch.full((5, 64), float("nan"), dtype=torch.float16)
        kernel(inputs.A, W, *inputs.optional.values(), output)
        return output.numpy().tobytes()

    return call
"""


def run(script, **environment):
    """What a script leaves in `found`, run in a process of its own."""
    variables = {k: v for k, v in os.environ.items() if k not in ("TVM_NUM_THREADS", "OMP_NUM_THREADS")}
    result = subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}\nfound = {{}}\n{script}\nprint(json.dumps(found))"],
        env={**variables, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stderr, "TVM has warned"
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def found():
    if CPUS < 2:
        pytest.skip("needs two CPUs")
    return run("""
before = os.sched_getaffinity(0)
found["main"] = followed(1, 2, 1, 1000)
torch.set_num_threads(2)
found["thread"] = in_thread(lambda: (follow_torch_threads(), used())[1])
found["shrinks"], found["main after"] = in_thread(lambda: followed(2, 1, 2)), followed(2)
found["grows"] = in_thread(lambda: followed(1, 2))
found["is unbound"] = in_thread(lambda: (followed(2), affinities() == {frozenset(before)})[1])
call = kernel_call()
results = set()
for number in (2, 1, 2):
    followed(number)
    results.add(call())
results.add(in_thread(lambda: (followed(2), call())[1]))
found["results"] = len(results)
""")


def test_number_follows_torch_up_and_down(found):
    """What torch.set_num_threads says holds for the next call; there are no more than CPUs."""
    assert found["main"] == [1, 2, 1, CPUS]


def test_each_thread_has_the_number_that_torch_has_there(found):
    """Another thread follows too, and does not change the main one's; the number it began with is its most."""
    assert found["thread"] == 2
    assert found["shrinks"] == [2, 1, 2]
    assert found["main after"] == [2]
    assert found["grows"] == [1, 1]


def test_no_thread_is_bound_to_a_cpu(found):
    """The callers and the threads of their pools may run where the process could before."""
    assert found["is unbound"]


def test_results_are_the_same_bits_on_any_number(found):
    """One thread, several, and another thread's compute the same."""
    assert found["results"] == 1


@needs_two_cpus
@pytest.mark.thorough
def test_process_that_may_use_one_cpu_stays_there():
    """TVM's own pool would bind the caller to the first CPUs of the machine, whatever it was restricted to."""
    found = run("""
last = max(os.sched_getaffinity(0))
os.sched_setaffinity(0, {last})
found.update(used=followed(2), stays=os.sched_getaffinity(0) == {last})
""")
    assert found == {"used": [1], "stays": True}


@needs_two_cpus
@pytest.mark.thorough
def test_environment_variable_of_tvm_decides():
    """Where TVM_NUM_THREADS is set, torch's number is not looked at."""
    assert run("found['used'] = followed(2, 1)", TVM_NUM_THREADS="2") == {"used": [2, 2]}


@needs_two_cpus
@pytest.mark.thorough
def test_child_of_a_fork_computes_on_one_thread():
    """It has none of the pool's threads and does not wait for them; a thread that it starts has a pool of its own."""
    found = run("""
call = kernel_call()
followed(2)
wanted = call()
if child := os.fork():
    found["exit code"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found.update(used=followed(2), right=call() == wanted)
else:
    follow_torch_threads()
    right = used() == 1 and call() == wanted and followed(2, 1) == [1, 1] and call() == wanted
    os._exit(0 if right and in_thread(lambda: (followed(2), call() == wanted)) == ([2], True) else 1)
""")
    assert found == {"exit code": 0, "used": [2], "right": True}


def test_nothing_is_arranged_while_the_number_stays(monkeypatch):
    """A call whose number is that of the call before makes one comparison."""
    calls = []
    monkeypatch.setattr(threads, "_arrange", lambda: calls.append(torch.get_num_threads()))
    monkeypatch.setattr(threads._pool, "asked", torch.get_num_threads())
    threads.follow_torch_threads()
    assert not calls
    monkeypatch.setattr(threads._pool, "asked", torch.get_num_threads() + 1)
    threads.follow_torch_threads()
    assert calls == [torch.get_num_threads()]
