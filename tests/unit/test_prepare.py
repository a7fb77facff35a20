# SPDX-License-Identifier: Apache-2.0
"""prepare_model: every kernel of a model is built before its first call, once, and never a stale one."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest
import torch

import bitquant as bq
from bitquant import build as build_module
from bitquant import cache, parallel, versions
from bitquant.nn import module
from bitquant.operator import archives, tokens
from bitquant.parallel import in_threads
from bitquant.schedule import Record, save_records
from bitquant.schedule import records as records_module
from bitquant.schedule.rules.mma.hint import MmaHint

N, K = 16, 64


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """A cache of the test's own, empty."""
    monkeypatch.delenv("BITQUANT_CACHE", raising=False)
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path / "kernels"))
    start_again()
    yield tmp_path / "kernels"
    start_again()


def start_again():
    """Forget the kernels of this process, as a new one would not know them."""
    gc.collect()
    archives._in_use.clear()
    module._in_use.clear()
    tokens._archives.clear()
    tokens._function.cache_clear()


@pytest.fixture
def built(monkeypatch):
    """The problems that are built, in the order in which that begins."""
    problems, build = [], archives.build

    def counting(scheduled, target, problem):
        problems.append(problem)
        return build(scheduled, target, problem)

    monkeypatch.setattr(archives, "build", counting)
    return problems


def products(problems):
    """Those of what is built that multiply; the others round inputs."""
    return [problem for problem in problems if "operation" not in problem]


def roundings(problems):
    """Types of x and x' of what is built to round inputs, in the order of names."""
    return sorted((p["x_dtype"], p["dtype"]) for p in problems if p.get("operation") == "quantize_tokens")


def linear(out_features=N, **fields):
    defaults = dict(W_dtype="uint4", group_size=32, with_scaling=True, opt_M=1)
    return bq.Linear(K, out_features, **{**defaults, **fields})


def stack(*layers):
    """A model with layers at several depths."""
    return torch.nn.ModuleDict({"blocks": torch.nn.ModuleList(torch.nn.ModuleDict({"q": layer}) for layer in layers)})


def operators(model, device_type="cpu"):
    return [layer._kernels.operators.get(device_type) for layer in model.modules() if isinstance(layer, bq.Linear)]


# What is built.


def test_equal_problems_are_built_once(built):
    """Each different problem of a model is, and every layer has its operator; calls build nothing more."""
    model = stack(linear(), linear(24), linear(), linear(24), linear(bias=True))
    bq.prepare_model(model)
    assert sorted((p["N"], p["with_bias"]) for p in built) == [(N, False), (N, True), (24, False)]
    assert all(operators(model))
    A = torch.randn(1, K).half()
    for block in model["blocks"]:
        assert block["q"](A).shape == (1, block["q"].out_features)
    assert len(built) == 3


def test_a_layer_that_was_not_there_builds_its_own(built):
    """What is added later is built by its first call, or by another `prepare_model`, and only that."""
    model = stack(linear())
    bq.prepare_model(model)
    model["blocks"].append(torch.nn.ModuleDict({"q": linear(40)}))
    bq.prepare_model(model)
    assert [p["N"] for p in built] == [N, 40]
    linear(48)(torch.zeros(1, K).half())
    assert [p["N"] for p in built] == [N, 40, 48]


def test_a_layer_alone_and_a_model_without_any(built):
    """A layer is a model as well; one without layers needs nothing."""
    bq.prepare_model(torch.nn.Linear(4, 4))
    assert built == []
    layer = linear()
    bq.prepare_model(layer)
    assert len(built) == 1
    assert operators(layer)[0] is layer.operator("cpu")


def test_a_layer_has_kernels_for_its_own_target(built):
    """They are made without a GPU, for the architecture that the layer names."""
    layer = linear(opt_M=1, target="sm_80")
    bq.prepare_model(layer, device="cuda")
    (operator,) = operators(layer, "cuda")
    assert operator.arch == "sm_80"
    assert len(built) == 1


def bit_linear(**fields):
    return bq.BitLinear.from_bit_linear(torch.nn.Linear(K, N, bias=False), opt_M=1, **fields)


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (torch.nn.LayerNorm(8), ["float32"]),
        (torch.nn.LayerNorm(8).bfloat16(), ["bfloat16"]),
        (torch.nn.Identity(), ["float32"]),
        (torch.nn.ModuleList([torch.nn.LayerNorm(8).half(), torch.nn.Embedding(2, 2)]), ["float16", "float32"]),
    ],
)
@pytest.mark.thorough
def test_bit_linear_has_kernels_for_the_types_of_the_model(other, wanted, built):
    """Its kernels write the type of its input, which is one of those of the model's parameters, or torch's default."""
    bq.prepare_model(torch.nn.Sequential(other, bit_linear()))
    assert sorted(p["out_dtype"] for p in products(built)) == wanted
    assert roundings(built) == [(dtype, "int8") for dtype in wanted]


def test_bit_linear_before_and_with_a_bias(built):
    """One whose weight is not packed multiplies by torch; one with a bias adds it in float32, whatever comes in."""
    bq.prepare_model(torch.nn.Sequential(bq.BitLinear(K, N, opt_M=1), torch.nn.LayerNorm(8).half()))
    assert built == []
    layer = bq.BitLinear.from_bit_linear(torch.nn.Linear(K, N), opt_M=1)
    bq.prepare_model(torch.nn.Sequential(layer, torch.nn.LayerNorm(8).half()))
    assert [p["out_dtype"] for p in products(built)] == ["float32"]
    layer(torch.randn(1, K).half())
    assert len(built) == 2


def test_layers_that_round_their_input_have_a_kernel_for_that(built, cache_folder):
    """It is built with the others, for the types of the model, once for layers with equal K, and then found on disk."""
    fields = dict(A_dtype="int8", W_dtype="int8", quantize_activations=True, out_dtype="float32", accum_dtype="int32")
    model = stack(bq.Linear(K, N, opt_M=1, **fields), bq.Linear(K, 24, opt_M=1, **fields))
    model["norm"] = torch.nn.LayerNorm(8).bfloat16()
    bq.prepare_model(model)
    assert roundings(built) == [("bfloat16", "int8")]
    assert len(products(built)) == 2
    model["blocks"][0]["q"](torch.randn(2, K).bfloat16()[:1])
    assert len(built) == 3
    del model
    start_again()
    model = stack(bq.Linear(K, N, opt_M=1, **fields), torch.nn.LayerNorm(8).bfloat16())
    bq.prepare_model(model)
    model["blocks"][0]["q"](torch.randn(1, K).bfloat16())
    assert len(built) == 3


def test_the_kernel_that_rounds_is_for_the_target_of_the_layer(built):
    """It is made without a GPU, for the architecture that the layer names."""
    bq.prepare_model(bit_linear(target="sm_80"), "cuda")
    assert roundings(built) == [("float32", "int8")]
    assert [key.target for key in tokens._archives] == [str(bq.arch.cuda_target("sm_80"))]


def test_a_layer_to_be_tuned_is(monkeypatch, built):
    """Its kernels are built with the others, and then it is tuned, once."""
    tuned = []

    def tune(matmul):
        tuned.append(matmul)

    monkeypatch.setattr(bq.Matmul, "hardware_aware_finetune", tune)
    model = stack(linear(opt_M=1, target="sm_80", enable_tuning=True))
    bq.prepare_model(model, "cuda")
    bq.prepare_model(model, "cuda")
    assert tuned == operators(model, "cuda")
    assert len(built) == 1


@pytest.mark.thorough
def test_threads_build_what_one_thread_builds(monkeypatch):
    """Programs, resources and choices are the same bytes, whichever threads compile them beside one another."""
    config = bq.MatmulConfig(M=(1, 64), N=64, K=128, W_dtype="uint4", group_size=32, with_scaling=True)
    monkeypatch.setenv("BITQUANT_CACHE", "0")
    with in_threads(1):
        alone = bq.Matmul(config, target="sm_80")._archive
    start_again()
    monkeypatch.setattr(parallel, "thread_count", lambda: 4)
    together = bq.Matmul(config, target="sm_80")._archive
    assert together is not alone
    assert len(alone.programs) == 2
    assert together.programs == alone.programs
    assert together.manifest == alone.manifest


# The cache.


def test_from_the_cache_nothing_is_built_and_no_thread_starts(built, monkeypatch):
    """A second process finds all of it; so it does in a folder that it cannot write to."""
    bq.prepare_model(stack(linear(), linear(24)))
    assert len(built) == 2
    start_again()
    monkeypatch.setattr(archives, "build", lambda *_: pytest.fail("built again"))
    monkeypatch.setattr(parallel, "_ThreadPool", lambda *_, **__: pytest.fail("a thread was started"))
    monkeypatch.setattr(os, "utime", lambda *_: (_ for _ in ()).throw(OSError("read-only")))
    model = stack(linear(), linear(24))
    bq.prepare_model(model)
    assert all(operators(model))


@pytest.mark.thorough
def test_without_a_cache_kernels_are_kept_by_the_model(built, monkeypatch):
    """With BITQUANT_CACHE=0 each process builds, and each problem once."""
    monkeypatch.setenv("BITQUANT_CACHE", "0")
    model = stack(linear(), linear(24), linear())
    bq.prepare_model(model)
    bq.prepare_model(model)
    bq.prepare_model(stack(linear()))
    assert len(built) == 2


def test_a_folder_that_cannot_be_written_is_a_warning(built, monkeypatch, cache_folder):
    """Kernels are built all the same, and the model has them."""
    cache_folder.parent.joinpath("kernels").write_text("in the way")
    monkeypatch.setattr(cache, "_default_dir", lambda: cache_folder)
    model = stack(linear())
    with pytest.warns(cache.CacheWarning, match="cannot be used"):
        bq.prepare_model(model)
    assert all(operators(model))
    assert len(built) == 1


def record_for(layer, stages):
    """A record of a hint that is not the default one."""
    problem = {k: v for k, v in layer.config.problem().items() if k != "M"}
    hint = MmaHint(16, 16, 128, 1, 1, 4, stages).to_dict()
    return Record.from_dict(
        dict(
            problem=problem, rung=16, arch="sm_90a", device="NVIDIA H200", rule="mma", hint=hint, latency_us=10.0,
            floor_us=5.0, provenance={},
        )
    )  # fmt: skip


@pytest.mark.thorough
def test_a_stale_decision_is_never_used(built, monkeypatch, tmp_path):
    """Another BITQUANT_SCHEDULES, another record in a file, other sources: each time the kernel is the right one."""
    monkeypatch.setattr(records_module, "shipped_directory", lambda: None)
    monkeypatch.delenv("BITQUANT_SCHEDULES", raising=False)

    def prepared():
        """What a new process gets: the stages of the kernel, None for the default, and how much was built for it."""
        start_again()
        layer = bq.Linear(256, 256, W_dtype="uint4", opt_M=16, fast_decoding=False, target="sm_90a")
        before = len(built)
        bq.prepare_model(layer, "cuda")
        choice = layer.operator("cuda").choices[16]
        return choice.hint["stages"] if choice.origin != "default" else None, len(built) - before

    layer = bq.Linear(256, 256, W_dtype="uint4", opt_M=16, fast_decoding=False)
    save_records([record_for(layer, 5)], tmp_path / "mine")
    assert prepared() == (None, 1)
    monkeypatch.setenv("BITQUANT_SCHEDULES", str(tmp_path / "mine"))
    assert prepared() == (5, 1)
    assert prepared() == (5, 0)
    save_records([record_for(layer, 6)], tmp_path / "mine", replace=True)
    assert prepared() == (6, 1)
    monkeypatch.setenv("BITQUANT_SCHEDULES", "off")
    assert prepared() == (None, 0)
    monkeypatch.setattr(versions, "_SOURCE_DIGEST", "0" * 64)
    versions._versions.cache_clear()
    try:
        assert prepared() == (None, 1)
    finally:
        monkeypatch.undo()
        versions._versions.cache_clear()


# At once.


@pytest.mark.thorough
def test_threads_that_want_one_problem_build_it_once(built, monkeypatch):
    """Also without a disk cache, whose locks do that among processes."""
    monkeypatch.setenv("BITQUANT_CACHE", "0")
    config, found = linear().config, []
    threads = [threading.Thread(target=lambda: found.append(bq.Matmul(config, target="cpu"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len({id(operator._archive) for operator in found}) == 1


SCRIPT = """
import sys, time
from pathlib import Path
import torch
import bitquant as bq
from bitquant.operator import archives, tokens
folder = Path(sys.argv[1])
build = archives.build

def counting(scheduled, target, problem):
    (folder / f"{problem['N']}-{time.time_ns()}").touch()
    return build(scheduled, target, problem)

archives.build = counting
layers = [bq.Linear(64, N, W_dtype="uint4", opt_M=1) for N in (16, 24, 32)]
(folder / f"ready-{time.time_ns()}").touch()
deadline = time.monotonic() + 60
while len(list(folder.glob("ready-*"))) < 2 and time.monotonic() < deadline:
    time.sleep(0.001)
bq.prepare_model(torch.nn.ModuleList(layers))
assert all(layer._kernels.operators for layer in layers)
"""


@pytest.mark.thorough
def test_processes_that_prepare_one_model_share_the_work(tmp_path):
    """Two at once build each problem once between them, and both end with all operators."""
    (tmp_path / "counted").mkdir()
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "counted")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    names = sorted(path.name.split("-")[0] for path in (tmp_path / "counted").iterdir())
    assert names == ["16", "24", "32", "ready", "ready"]


def test_a_forked_child_has_locks_of_its_own():
    """What a thread of the parent holds at a fork would never be given back in the child."""
    with archives._locks.scheduling:
        child = os.fork()
        if child == 0:
            os._exit(0 if archives._locks.scheduling._lock.acquire(blocking=False) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# Errors.


def failing(monkeypatch, error, width=24):
    """Have the problems of a width fail."""
    build = archives.build

    def build_or_fail(scheduled, target, problem):
        if problem["N"] == width:
            time.sleep(0.05)
            raise error
        return build(scheduled, target, problem)

    monkeypatch.setattr(archives, "build", build_or_fail)


@pytest.mark.parametrize(
    ("threads", "error", "kind", "words"),
    [
        (1, bq.BuildError("NVRTC rejects it", stage=3), bq.BuildError, "NVRTC rejects it"),
        (3, bq.UnsupportedError("no compiler"), bq.UnsupportedError, "no compiler"),
        (2, ZeroDivisionError("by 0"), bq.BuildError, "ZeroDivisionError: by 0"),
    ],
)
def test_a_layer_that_fails_is_named(threads, error, kind, words, monkeypatch):
    """The error has the name of the first layer of its problem, which problem that is, and what went wrong."""
    monkeypatch.setattr(parallel, "thread_count", lambda: threads)
    failing(monkeypatch, error)
    model = stack(linear(), linear(24), linear(24))
    with pytest.raises(kind, match=rf"layer 'blocks\.1\.q', matmul_nt\(.*N=24.*\): {words}$") as caught:
        bq.prepare_model(model)
    assert caught.value.__cause__ is error
    assert caught.value.values["layer"] == "blocks.1.q"
    assert operators(model)[1:] == [None, None]
    with pytest.raises(type(error), match=rf"^{words.split(': ')[-1]}$"):
        model["blocks"][1]["q"](torch.zeros(1, K).half())


@pytest.mark.thorough
def test_an_interrupt_leaves_the_model_to_be_prepared_again(monkeypatch, built):
    """Ctrl-C ends it, leaves no lock, and what was built before is found."""
    failing(monkeypatch, KeyboardInterrupt())
    monkeypatch.setattr(parallel, "thread_count", lambda: 1)
    model = stack(linear(), linear(24), linear(32))
    with pytest.raises(KeyboardInterrupt):
        bq.prepare_model(model)
    assert [p["N"] for p in built] == [N]
    failing(monkeypatch, None, width=0)
    monkeypatch.setattr(archives, "build", build_module.build)
    start = time.monotonic()
    bq.prepare_model(model)
    assert time.monotonic() - start < 30
    assert all(operators(model))


def test_what_is_no_model_or_no_device_is_refused():
    """The message names the argument, the value and what to do."""
    with pytest.raises(bq.ConfigError, match=r"'model' must be a torch\.nn\.Module \(got list\)"):
        bq.prepare_model([linear()])
    for device in ("tpu", "mps", 3.5):
        with pytest.raises(bq.ConfigError, match=r"'device' must be .*'cuda' or 'cpu' \(got "):
            bq.prepare_model(linear(), device=device)
    with pytest.raises(bq.ConfigError, match=r"'device' must be given: layer 'blocks\.0\.q' is on the meta device"):
        bq.prepare_model(stack(linear().to("meta")))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_here(built):
    """Kernels for the GPU of this machine need one; the layer is named."""
    with pytest.raises(bq.UnsupportedError, match=r"layer 'blocks\.0\.q', .*'target' cuda needs a GPU"):
        bq.prepare_model(stack(linear()), device="cuda")
    assert built == []


def test_meta_layers_are_prepared_for_where_they_will_be(built):
    """So a checkpoint may be read meanwhile."""
    model = stack(linear().to("meta"))
    bq.prepare_model(model, device=torch.device("cpu"))
    assert all(operators(model))


# Progress.


class Terminal:
    """Standard error as a terminal has it."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("is_terminal", "progress", "is_shown"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
@pytest.mark.thorough
def test_progress_is_for_a_terminal(is_terminal, progress, is_shown, monkeypatch, capsys):
    """It is shown on one, unless it is not wanted, or all kernels come from the cache."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    if is_terminal:
        monkeypatch.setattr(sys, "stderr", terminal)

    def shown():
        return terminal.text if is_terminal else capsys.readouterr().err

    bq.prepare_model(stack(linear(), linear(24)), progress=progress)
    text = shown()
    assert ("compiling kernels" in text) is is_shown
    assert ("2/2" in text) is is_shown
    assert is_shown or text == ""
    terminal.text = ""
    start_again()
    bq.prepare_model(stack(linear(), linear(24)), progress=progress)
    assert shown() == ""


def test_progress_counts_rungs(monkeypatch):
    """Rungs that share a kernel are done together; at the end all are."""
    done = []
    config = bq.MatmulConfig(M=(1, 4, 64), N=N, K=K, W_dtype="uint4")
    for target in ("cpu", "sm_80"):
        done.clear()
        start_again()
        with build_module.progress_reported(done.append):
            operator = bq.Matmul(config, target=target)
        assert sum(done) == 3
        assert len([d for d in done if d]) == (1 if target == "cpu" else len(set(operator._archive.symbols.values())))


@pytest.mark.thorough
def test_the_registry_of_kernels_is_not_kept_alive():
    """When a model is gone, so are its operators."""
    model = stack(linear())
    bq.prepare_model(model)
    operator = weakref.ref(operators(model)[0])
    del model
    gc.collect()
    assert operator() is None
