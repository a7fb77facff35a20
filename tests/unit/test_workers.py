# SPDX-License-Identifier: Apache-2.0
"""Worker processes: they build what this process builds, and whatever becomes of them, the model gets its kernels."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import pytest
import torch
from tqdm import tqdm

import bitquant as bq
from bitquant import parallel
from bitquant import worker as worker_module
from bitquant.archive import Archive
from bitquant.nn import checkpoint_loader, module, prepare
from bitquant.operator import archives
from bitquant.workers import BuildWarning, Worker, WorkerPool, describe

from .checkpoints.packers import FIXTURES

K = 64
#: What a worker's process is like before it answers.
SERVER = "import json, sys, time\nfor line in sys.stdin: "


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    """A cache of the test's own, empty, and no kernels in this process."""
    monkeypatch.delenv("BITQUANT_CACHE", raising=False)
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path / "kernels"))
    gc.collect()
    archives._in_use.clear()
    module._in_use.clear()


@pytest.fixture
def pools(monkeypatch):
    """Two workers for two problems; the pools that were made."""
    made = []

    class Noted(WorkerPool):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(parallel, "thread_count", lambda: 4)
    monkeypatch.setattr(prepare, "_MIN_KERNELS", 1)
    monkeypatch.setattr(prepare, "WorkerPool", Noted)
    return made


@pytest.fixture
def built_here(monkeypatch):
    """The problems that this process builds itself."""
    problems, build = [], archives.build

    def counting(scheduled, target, problem):
        problems.append(problem.get("N"))
        return build(scheduled, target, problem)

    monkeypatch.setattr(archives, "build", counting)
    return problems


@pytest.fixture
def in_this_process(monkeypatch):
    """Have workers build here: to start two takes longer than what some tests are about."""

    def build(_worker, request, *_):
        try:
            return worker_module._build(request)
        except bq.BuildError as failure:
            return describe(failure)

    monkeypatch.setattr(Worker, "start", lambda _: None)
    monkeypatch.setattr(Worker, "build", build)


def model(*widths, **fields):
    return torch.nn.ModuleList(bq.Linear(K, N, W_dtype="uint4", opt_M=1, **fields) for N in widths)


def operators(layers):
    return [layer._kernels.operators.get("cpu") for layer in layers]


def is_gone(pid):
    """Whether a process has ended, within a few seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


# One worker.


def test_a_worker_that_dies_or_hangs_costs_one_request(tmp_path):
    """The outcome says so, with the last words of an exception, and the next request gets a new process."""
    dying = Worker([sys.executable, "-c", SERVER + "sys.exit(3)"])
    for _ in range(2):
        assert dying.build({}, tmp_path / "a") == "the compiling process died (exit code 3)"
    raising = Worker([sys.executable, "-c", SERVER + "raise ValueError('no such rule')"])
    words = "the compiling process died (exit code 1: ValueError: no such rule)"
    assert raising.build({}, tmp_path / "a") == words
    hanging = Worker([sys.executable, "-c", SERVER + "time.sleep(60)"], timeout_s=0.5)
    assert hanging.build({}, tmp_path / "a") == "not built within 0.5 s"
    absent = Worker(["/no/such/interpreter"])
    assert "the compiling process cannot start" in absent.build({}, tmp_path / "a")
    for worker in (dying, raising, hanging, absent):
        worker.stop()


def test_a_worker_answers_and_tells_of_progress(tmp_path):
    """Lines before the answer are progress; what is no JSON is no answer."""
    told = []
    answering = Worker([sys.executable, "-c", SERVER + 'print(\'{"done": 2}\\n{"error": "no"}\', flush=True)'])
    assert [answering.build({}, tmp_path / "a", told.append) for _ in range(2)] == ["no", "no"]
    assert told == [2, 2]
    babbling = Worker([sys.executable, "-c", SERVER + "print('hello', flush=True)"])
    assert "died" in babbling.build({}, tmp_path / "a")
    for worker in (answering, babbling):
        worker.stop()


def test_a_pool_that_is_stopped_lets_nobody_wait():
    """Who waits for a busy worker, or for its answer, is told at once; no process is left."""
    pool = WorkerPool(1, 1, [sys.executable, "-c", SERVER + "time.sleep(60)"])
    (pid,) = (worker.pid for worker in pool.members)
    raised = []

    def ask():
        try:
            pool.build({}, lambda _: None)
        except CancelledError:
            raised.append(True)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    with pool.activated():
        for thread in threads:
            thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join(timeout=10)
    assert raised == [True, True]
    assert is_gone(pid)


# A model's kernels.


def test_workers_build_what_this_process_builds(pools, built_here, monkeypatch):
    """The archives are equal, byte for byte, and nothing is built here, also where there is no disk cache."""
    monkeypatch.setenv("BITQUANT_CACHE", "0")
    layers = model(16, 24, target="sm_80")
    bq.prepare_model(layers, "cuda")
    theirs = [layer.operator("cuda")._archive for layer in layers]
    assert (built_here, len(pools)) == ([], 1)
    archives._in_use.clear()
    ours = [bq.Matmul(layer.config, target="sm_80")._archive for layer in layers]
    assert built_here == [16, 24]
    for a, b in zip(ours, theirs, strict=True):
        assert a is not b
        assert (a.manifest, a.programs) == (b.manifest, b.programs)


def test_killed_workers_are_a_warning(pools, built_here):
    """What they do not build this process does, says why it took longer, and no process stays."""
    layers, pids = model(16, 24), []

    def kill(pool, request, on_progress):
        pids.extend(worker.pid for worker in pool.members if worker.pid is not None)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return build(pool, request, on_progress)

    build, prepare.WorkerPool.build = WorkerPool.build, kill
    with pytest.warns(BuildWarning, match=r"built in this process, .* died \(SIGKILL\)"):
        bq.prepare_model(layers)
    assert sorted(built_here) == [16, 24]
    assert all(operators(layers))
    assert all(map(is_gone, pids))


@pytest.mark.usefixtures("in_this_process")
def test_a_kernel_that_fails_is_this_process_s_error(pools):
    """The error has its type and its layer's name, as without workers."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(bq.BuildError, match=r"layer '\d', .*: the limit on the size of files"):
            bq.prepare_model(model(16, 24))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_few_kernels_and_few_cpus_take_threads(monkeypatch):
    """No process is started for what threads build as fast."""
    monkeypatch.setattr(prepare, "WorkerPool", lambda *_: pytest.fail("workers were started"))
    for cpus, widths in ((2, range(16, 16 + 12 * 8, 8)), (8, (16, 24)), (8, (16,))):
        monkeypatch.setattr(parallel, "thread_count", lambda cpus=cpus: cpus)
        items = [prepare._Item(layer._kernels, "cuda", "") for layer in model(*widths)]
        assert prepare._pool_for(items) is None
    made = []
    monkeypatch.setattr(prepare, "WorkerPool", lambda *arguments: made.append(arguments[:2]))
    layers = [bq.Linear(K, N, W_dtype="uint4") for N in (16, 24, 32, 40)]
    for cpus in (4, 16, 17):
        monkeypatch.setattr(parallel, "thread_count", lambda cpus=cpus: cpus)
        prepare._pool_for([prepare._Item(layer._kernels, "cuda", "") for layer in layers])
    assert made == [(4, 1), (4, 4), (4, 5)]


INTERRUPTED = """
import os, signal, sys, threading
import torch
import bitquant as bq
from bitquant import parallel
from bitquant.nn import prepare
from bitquant.operator import archives
# A shell's background jobs ignore Ctrl-C, and so do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
parallel.thread_count, prepare._MIN_KERNELS = lambda: 4, 1
busy = [sys.executable, "-c", "import sys, time\\nfor line in sys.stdin: time.sleep(60)"]
prepare.Worker.for_module = staticmethod(lambda *_, **__: busy)
archives.build = lambda *_: os.abort()
pools, activated = [], prepare.WorkerPool.activated
def noted(pool):
    pools.append(pool)
    threading.Timer(1.0, signal.pthread_kill, (helper(), signal.SIGINT)).start()
    return activated(pool)
def helper():
    if sys.argv[1] == "main":
        return threading.main_thread().ident
    sleeper = threading.Thread(target=threading.Event().wait, args=(30,), daemon=True)
    sleeper.start()
    return sleeper.ident
prepare.WorkerPool.activated = noted
layers = torch.nn.ModuleList(bq.Linear(64, N, W_dtype="uint4", opt_M=1) for N in (16, 24, 32))
try:
    bq.prepare_model(layers)
except KeyboardInterrupt:
    print([worker.pid for worker in pools[0].members], flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("thread", ["main", pytest.param("another", marks=pytest.mark.thorough)])
def test_ctrl_c_ends_the_workers(thread, tmp_path):
    """It is not for them to say when they have answered, whichever thread is interrupted; nothing is built here."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", INTERRUPTED, thread]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[None, None, None]\n", "")


SCRIPT = """
import torch
import bitquant as bq
from bitquant import parallel
from bitquant.nn import prepare
from bitquant.operator import archives
print("the script runs")
parallel.thread_count, prepare._MIN_KERNELS = lambda: 4, 1
archives.build = None
layers = torch.nn.ModuleList(bq.Linear(64, N, W_dtype="uint4", opt_M=1) for N in (16, 24))
bq.prepare_model(layers)
for layer in layers:
    assert layer(torch.ones(1, 64).half()).shape == (1, layer.out_features)
"""


@pytest.mark.parametrize("way", ["file", pytest.param("-c", marks=pytest.mark.thorough)])
def test_a_script_needs_no_guard(way, tmp_path):
    """A file without `if __name__ == "__main__"`, and code of `python -c`, run once, with workers."""
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    command = [sys.executable, str(file)] if way == "file" else [sys.executable, "-c", SCRIPT]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the script runs\n", "")


# Beside other work.


@pytest.mark.usefixtures("in_this_process")
def test_a_preparation_is_waited_for(pools, built_here):
    """`prepare_model` waits for what is under way and builds none of it; layers share the operators."""
    outline, layers = model(16, 24).to("meta"), model(16, 24)
    preparation = prepare.Preparation(outline, torch.device("cpu"))
    assert preparation.rungs == 2
    bq.prepare_model(layers)
    assert (built_here, len(pools)) == ([], 1)
    assert all(operators(layers))
    assert prepare._running == set()


def test_a_preparation_that_is_cancelled_leaves_the_work_to_the_caller(pools, built_here):
    """Nobody waits for it; a call builds what it needs, and no process stays."""
    preparation = prepare.Preparation(model(16, 24).to("meta"), torch.device("cpu"))
    pids = [worker.pid for worker in pools[0].members]
    preparation.cancel()
    layers = model(16)
    layers[0](torch.ones(1, K).half())
    assert built_here == [16]
    preparation.wait(lambda _: None)
    assert all(map(is_gone, pids))


def test_a_preparation_may_have_nothing_to_do(monkeypatch):
    """Where all is there, or workers do not pay, it is over at once."""
    monkeypatch.setattr(parallel, "thread_count", lambda: 1)
    preparation = prepare.Preparation(model(16, 24).to("meta"), torch.device("cpu"))
    preparation.wait(lambda _: pytest.fail("nothing is built"))
    preparation.cancel()
    assert prepare._running == set()


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", ["gptq-w4g64-asym-actorder", pytest.param("ct-w8a8-int8", marks=pytest.mark.thorough)])
def test_load_model_builds_the_kernels_that_its_model_needs(name, pools, built_here, monkeypatch):
    """Those of merged layers, before they are there: prepare_model finds all of them."""
    requests, build = [], WorkerPool.build

    def counting(pool, request, on_progress):
        requests.append(request["problem"])
        return build(pool, request, on_progress)

    prepare.WorkerPool.build = counting
    loaded = bq.load_model(FIXTURES / name, device="cpu", opt_M=1)
    bq.prepare_model(loaded)
    assert [N for N in built_here if N] == []
    kernels = {module._kernels.config.key(): module._kernels for module in merged_layers(loaded)}
    assert sorted(kernels) == sorted(json.dumps(p, sort_keys=True, separators=(",", ":")) for p in requests)
    assert len(pools) == 1


def merged_layers(loaded):
    """The layers whose operators a model calls."""
    layers = [m for m in loaded.modules() if isinstance(m, bq.Linear)]
    return [layer._merged.whole.layer if layer._merged is not None else layer for layer in layers]


def test_load_model_that_fails_ends_its_workers(pools, monkeypatch, tmp_path):
    """No process and no thread stays, and the error is that of the checkpoint."""
    directory = tmp_path / "damaged"
    shutil.copytree(FIXTURES / "gptq-w4g64-asym-actorder", directory)
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # The first bar of a process starts a thread that stays.
    threads = threading.active_count()

    def failing(loader, path, place):
        raise loader._error(path, "is damaged")

    monkeypatch.setattr(checkpoint_loader.CheckpointLoader, "_layer", failing)
    with pytest.raises(bq.CheckpointError, match="is damaged"):
        bq.load_model(directory, device="cpu", opt_M=1)
    pids = [worker.pid for worker in pools[0].members if worker.pid is not None]
    assert all(map(is_gone, pids))
    for _ in range(100):
        if threading.active_count() == threads:
            break
        time.sleep(0.05)
    assert threading.active_count() == threads


@pytest.mark.thorough
def test_two_threads_prepare_one_model(pools, built_here):
    """Each has workers of its own; a problem is built by one of them."""
    layers, requests, build = model(16, 24), [], WorkerPool.build

    def counting(pool, request, on_progress):
        requests.append(request["problem"]["N"])
        return build(pool, request, on_progress)

    prepare.WorkerPool.build = counting
    threads = [threading.Thread(target=bq.prepare_model, args=(layers,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(requests) == [16, 24]
    assert built_here == []
    assert all(isinstance(operator._archive, Archive) for operator in operators(layers))


def test_a_worker_needs_no_torch():
    """All that schedules and compiles runs where torch cannot be imported: importing it takes longer than TVM."""
    script = """
import sys
sys.modules["torch"] = None
import bitquant.worker
from bitquant.arch import cuda_target
from bitquant.compute import select_implementation
from bitquant.config import MatmulConfig
from bitquant.schedule import schedule_module
config = MatmulConfig(M=(1, 16), N=64, K=128, W_dtype="uint4", with_scaling=True, with_zeros=True, with_bias=True)
for layout in ("plain", "fragment"):
    schedule_module(select_implementation(config, layout), cuda_target("sm_90a"))
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
