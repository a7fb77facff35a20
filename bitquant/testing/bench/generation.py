# SPDX-License-Identifier: Apache-2.0
"""Timing of whole models by several methods: how each is prepared and timed, and what came of it.

Each method runs in a process of its own, so that none meets another's memory, patches or faults. Several may prepare at
once, which is mostly compiling; then each is timed while the others wait. Times are of CUDA graphs of what
torch.compile(fullgraph=True) made: no host time is in them. On a CPU, calls are timed.
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from bitquant.nn.models import dequantize_model
from bitquant.nn.module import KernelModule
from bitquant.nn.prepare import prepare_model
from bitquant.testing.bench.cached_model import CachedModel, GenerationOptions, parts_of
from bitquant.testing.bench.methods import Method, float_bytes, make_model, parse_method

__all__ = ["GenerationOptions", "Run", "read_bandwidth", "time_methods"]

#: Longest wait for a process that times, in seconds.
_TIME_S = 300.0


@dataclass
class Run:
    """What came of one method, or why nothing did.

    Attributes
    ----------
    method, version
        Its name, and whose layers they are.
    linear_bytes, head_bytes
        Bytes that a decoded token reads of linear layers, and of lm_head.
    model_bytes, peak_bytes
        GPU memory that the model holds, and the most while it was made.
    make_s, kernels_s, compile_s
        Seconds for weights and layers; for bitquant's kernels; for torch.compile, all batches.
    prefill_ms, decode_ms
        By batch: milliseconds of a prompt, and of a step that decodes a token of each sequence.
    parts
        By batch: microseconds of a step by kind of kernel.
    kernels
        By batch: the kernels that take longest: name, launches, microseconds.
    logits
        Of the first step after the prompt, of the first sequence.
    logits_error
        Relative distance, in the Euclidean norm, from those of the first method; of random weights and many layers it
        says little, for each layer amplifies it.
    graph_error
        Relative distance of the replayed graph's logits from those of the model, neither compiled nor captured.
    weight_error
        Of bitquant's layers: relative distance of the model's logits from those of torch's layers with the same
        weights (`dequantize_model`).
    failure
        Why there are no figures.
    """

    method: str
    version: str = ""
    linear_bytes: int = 0
    head_bytes: int = 0
    model_bytes: int = 0
    peak_bytes: int = 0
    make_s: float = 0.0
    kernels_s: float = 0.0
    compile_s: float = 0.0
    prefill_ms: dict[int, float] = field(default_factory=dict)
    decode_ms: dict[int, float] = field(default_factory=dict)
    parts: dict[int, dict[str, float]] = field(default_factory=dict)
    kernels: dict[int, list[tuple[str, int, float]]] = field(default_factory=dict)
    logits: Any = None
    logits_error: float = math.nan
    graph_error: float = math.nan
    weight_error: float = math.nan
    failure: str | None = None


def read_bandwidth(device: torch.device, size: int = 1 << 30) -> float:
    """Return the bytes per second that a GPU reads while it does nothing else, of `size` bytes at a time."""
    from bitquant.arch import resolve_target
    from bitquant.testing.bench.floor import FloorReader
    from bitquant.testing.bench.protocol import timer

    calls = FloorReader(resolve_target("cuda"), device).calls(size, 2)
    times = {shape: timer(each, device) for shape, each in calls.items()}
    best_us = min(statistics.median(each.sample_us(10.0) for _ in range(3)) for each in times.values())
    return size / best_us * 1e6


def _weight_bytes(model: Any) -> tuple[int, int]:
    """Return the bytes of linear layers, and of lm_head, that a decoded token reads."""
    head = model.get_output_embeddings()
    total = of_head = 0
    for module in model.modules():
        size = getattr(module, "bytes", None)  # Of a layer that a peer's function computes.
        if size is None and isinstance(module, (torch.nn.Linear, KernelModule)):
            size = sum(map(_bytes_of, (*module.parameters(recurse=False), *module.buffers(recurse=False))))
        if module is head:
            of_head = size or 0
        else:
            total += size or 0
    return total, of_head


def _bytes_of(tensor: torch.Tensor) -> int:
    """Return the bytes of a tensor; of a subclass with tensors inside, those of these."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(_bytes_of(getattr(tensor, name)) for name in names)
    size = tensor.numel() * tensor.element_size()
    state = getattr(tensor, "quant_state", None)  # bitsandbytes keeps maxima here.
    return size + (_bytes_of(state.absmax) if state is not None else 0)


def _prepared(options: GenerationOptions, method: Method, run: Run, making: Any) -> Iterator[None]:
    """Prepare, yield, and time, into `run`; `making` is a semaphore under which the float model is on the GPU."""
    device = torch.device(options.device)
    is_cuda = device.type == "cuda"
    run.version = method.version()
    begin = time.perf_counter()
    with making:
        model = make_model(options.model, method, options.layers, device)
        gc.collect()
        if is_cuda:
            torch.cuda.synchronize()
            run.peak_bytes = torch.cuda.max_memory_allocated()
            torch.cuda.empty_cache()
            run.model_bytes = torch.cuda.memory_allocated()
    run.linear_bytes, run.head_bytes = _weight_bytes(model)
    made = time.perf_counter()
    prepare_model(model, progress=False)
    ready = time.perf_counter()
    run.make_s, run.kernels_s = made - begin, ready - made
    with torch.inference_mode():
        models = {batch: CachedModel(model, batch, options) for batch in options.batches}
        for batch, cached in models.items():
            wanted = cached.eager_logits()
            cached.prepare()
            got = cached.first_logits()
            if batch == options.batches[0]:
                run.logits = got[0].cpu().numpy()  # A tensor would be shared memory, which goes with the process.
                run.graph_error = float((got - wanted).norm() / wanted.norm())
        run.compile_s = time.perf_counter() - ready
        yield
        for batch, cached in models.items():
            run.prefill_ms[batch] = cached.prefill_ms()
            run.decode_ms[batch] = cached.decode_ms()
        for batch, cached in models.items():
            if is_cuda:
                kernels = cached.kernel_times()
                run.parts[batch], run.kernels[batch] = parts_of(kernels), kernels[:30]
        if any(isinstance(module, KernelModule) for module in model.modules()):
            cached = models[options.batches[0]]
            ours = cached.eager_logits()
            dequantize_model(model)
            plain = cached.eager_logits()
            run.weight_error = float((ours - plain).norm() / plain.norm())


def _child(connection: Connection, options: GenerationOptions, name: str, making: Any) -> None:
    """Prepare, say so, wait to be asked, and answer with the figures."""
    run = Run(name)
    try:
        steps = _prepared(options, parse_method(name), run, making)
        next(steps)
        connection.send("ready")
        connection.recv()
        next(steps, None)
    except Exception as error:  # noqa: BLE001  it is somebody else's library that fails, and the others go on
        words = str(error).strip().splitlines()
        run.failure = f"{type(error).__name__}: {words[0] if words else ''}"
        if os.environ.get("BITQUANT_TRACEBACK"):
            traceback.print_exc()
    connection.send(run)


def _float_models(options: GenerationOptions) -> int:
    """Return how many methods may hold their model before it is quantized: as many as fit the GPU's free memory.

    Quantizing a layer needs its weight a few times over, which is little beside a model. Peers are given half as much
    again for what they hold meanwhile.
    """
    if options.device != "cuda" or options.jobs == 1:
        return 1
    free, _ = torch.cuda.mem_get_info()
    return max(1, min(options.jobs, int(free / (1.5 * float_bytes(options.model, options.layers)))))


@contextmanager
def _few_compiler_threads(jobs: int) -> Iterator[None]:
    """Share the CPUs among the compilers of Inductor in several processes."""
    name = "TORCHINDUCTOR_COMPILE_THREADS"
    before = os.environ.get(name)
    if before is None:
        os.environ[name] = str(max(1, len(os.sched_getaffinity(0)) // jobs))
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]


def time_methods(options: GenerationOptions, methods: Sequence[str], say: Callable[[str], None]) -> Iterator[Run]:
    """Time methods; yield what came of each.

    Parameters
    ----------
    options
        What is timed.
    methods
        Names as `parse_method` reads them. Logits are compared with the first one's.
    say
        Called with what is done now.

    Raises
    ------
    ConfigError
        If a name is wrong; nothing has been started then.
    """
    for name in methods:
        parse_method(name)
    reference: Any = None
    context = multiprocessing.get_context("spawn")
    making = context.BoundedSemaphore(_float_models(options))
    for first in range(0, len(methods), options.jobs):
        names = methods[first : first + options.jobs]
        say(f"preparing {', '.join(names)}")
        children = []
        with _few_compiler_threads(len(names)):
            for name in names:
                here, there = context.Pipe()
                process = context.Process(target=_child, args=(there, options, name, making), daemon=False)
                process.start()
                there.close()
                children.append((name, process, here))
        try:
            answers = [_answer(name, process, here, options.prepare_limit_s) for name, process, here in children]
            for (name, process, here), answer in zip(children, answers, strict=True):
                if answer == "ready":
                    say(f"timing {name}")
                    here.send("go")
                    run = _answer(name, process, here, _TIME_S)
                else:
                    run = answer
                if run.logits is not None:
                    reference = run.logits if reference is None else reference
                    run.logits_error = float(np.linalg.norm(run.logits - reference) / np.linalg.norm(reference))
                process.join(10)
                yield replace(run, logits=None)
        finally:
            for _, process, _ in children:
                if process.is_alive():
                    process.kill()


def _answer(name: str, process: Any, connection: Connection, seconds: float | None) -> Any:
    """Return what a process sends, or a run that failed."""
    try:
        if connection.poll(seconds):
            return connection.recv()
        process.kill()
        return Run(name, failure=f"took longer than {seconds:.0f} s")
    except EOFError:
        process.join(10)
        return Run(name, failure=f"its process ended with {process.exitcode}")
