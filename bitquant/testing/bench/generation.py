# SPDX-License-Identifier: Apache-2.0
"""Timing of whole models: prefill and decoding with a static cache, and what a decoded token is made of.

Each method runs in a process of its own, so that none meets another's memory, patches or faults. Several may prepare at
once, which is mostly compiling; then each is timed while the others wait. Times are of CUDA graphs of what
torch.compile(fullgraph=True) made: no host time is in them. On a CPU, calls are timed.
"""

from __future__ import annotations

import gc
import inspect
import math
import multiprocessing
import os
import re
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from bitquant.nn.models import dequantize_model
from bitquant.nn.module import KernelModule
from bitquant.nn.prepare import prepare_model
from bitquant.testing.bench.methods import Method, float_bytes, make_model, parse_method

__all__ = ["GenerationOptions", "Run", "parts_of", "read_bandwidth", "time_methods"]

#: Longest wait for a process that times, in seconds.
_TIME_S = 300.0
#: A kernel's part of a token, by its name; the first that matches.
_PARTS = (
    ("bitquant", r"^(matmul_m|dequantize|quantize_tokens)"),
    ("attention", r"flash|fmha|attention|sdpa|softmax"),
    ("dense", r"(?<!k)(?<!tiny)gemm(?!lite|_4bit)|gemv2|cutlass|nvjet|cublas|splitK"),
    ("Inductor", r"^triton_"),
    ("torch", r"at::native::(?!tinygemm)|Memcpy|Memset"),
)


@dataclass(frozen=True)
class GenerationOptions:
    """What is timed.

    Attributes
    ----------
    model
        As in `make_model`.
    batches
        Numbers of sequences.
    prompt
        Tokens of each prompt.
    cache
        Tokens that the static cache holds.
    layers
        As in `make_model`.
    device
        "cuda" or "cpu".
    is_compiled
        Whether torch.compile makes the step.
    jobs
        Methods that prepare at once. Each holds a model on the GPU meanwhile.
    samples
        Times that decoding fills the cache; the median counts.
    prepare_limit_s
        Seconds after which a method that still prepares is left out; None: it may take any time.
    """

    model: str
    batches: tuple[int, ...] = (1, 16)
    prompt: int = 32
    cache: int = 256
    layers: int | None = None
    device: str = "cuda"
    is_compiled: bool = True
    jobs: int = 1
    samples: int = 5
    prepare_limit_s: float | None = None


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


class _Generator:
    """A model with a static cache for one batch: a prompt, then tokens, one at a time.

    Parameters
    ----------
    model
        A causal language model of transformers.
    batch
        Number of sequences.
    options
        Lengths, and how it runs.
    """

    def __init__(self, model: Any, batch: int, options: GenerationOptions) -> None:
        from transformers import StaticCache

        self._model, self._options = model, options
        device = torch.device(options.device)
        generator = torch.Generator().manual_seed(1)
        vocabulary = model.config.get_text_config().vocab_size
        self.prompt = torch.randint(vocabulary, (batch, options.prompt), generator=generator).to(device)
        self.tokens = torch.zeros((batch, 1), dtype=torch.long, device=device)
        #: Of the last step.
        self.logits = torch.zeros(0)
        self._cache: Any = StaticCache(config=model.config, max_cache_len=options.cache)
        # transformers 5.22 renamed it.
        names = inspect.signature(type(model).forward).parameters
        self._cache_name = "cache" if "cache" in names else "past_key_values"
        self._next = torch.compile(self._eager, fullgraph=True, dynamic=False) if options.is_compiled else self._eager

    def _eager(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits behind the tokens, and the most likely next ones."""
        arguments = {self._cache_name: self._cache, "use_cache": True, "logits_to_keep": 1}
        logits: torch.Tensor = self._model(tokens, **arguments).logits[:, -1]
        return logits, logits.argmax(-1, keepdim=True)

    def _set_length(self, length: int) -> None:
        """Say how many tokens are in the cache."""
        for layer in self._cache.layers:
            if isinstance(layer.cumulative_length, torch.Tensor):
                layer.cumulative_length.fill_(length)
            else:
                layer.cumulative_length = length

    def prefill(self) -> None:
        """Run the prompt, not compiled, from an empty cache."""
        if self._cache.layers[0].is_initialized:
            self._set_length(0)
        self._read_prompt()

    def _read_prompt(self) -> None:
        self.tokens.copy_(self._eager(self.prompt)[1])

    def step(self) -> None:
        """Decode one token of each sequence."""
        self.logits, tokens = self._next(self.tokens)
        self.tokens.copy_(tokens)

    def eager_logits(self) -> torch.Tensor:
        """Return the logits behind one token after the prompt, without compiling."""
        self._begin_decoding()
        return self._eager(self.tokens)[0].float()

    def prepare(self) -> None:
        """Compile and capture."""
        self.prefill()
        self.step()
        if self._options.device == "cuda":
            self._prefill_graph = self._captured(self._read_prompt, 0)
            self._step_graph = self._captured(self.step, self._options.prompt)

    def _captured(self, call: Callable[[], None], length: int) -> torch.cuda.CUDAGraph:
        """Return a graph of a call, which is run once before with that many tokens in the cache."""
        self._set_length(length)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            call()
        torch.cuda.current_stream().wait_stream(stream)
        self._set_length(length)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        return graph

    def first_logits(self) -> torch.Tensor:
        """Return the logits behind one token after the prompt, by what is timed."""
        self._begin_decoding()
        self._run_step()
        return self.logits.float()

    def _begin_decoding(self) -> None:
        """Run the prompt, and take a token that does not depend on what the model makes of it."""
        self.prefill()
        self.tokens.copy_(self.prompt[:, :1])

    def _run_step(self) -> None:
        if self._options.device == "cuda":
            self._step_graph.replay()
        else:
            self.step()

    def prefill_ms(self) -> float:
        """Return milliseconds of the prompt."""
        run = self._prefill_graph.replay if self._options.device == "cuda" else self._read_prompt
        times = []
        for _ in range(self._options.samples):
            self._set_length(0)
            times.append(_elapsed_ms(run, self._options.device))
        return statistics.median(times)

    def decode_ms(self) -> float:
        """Return milliseconds of a step, the mean over all that fit into the cache."""
        steps = self._options.cache - self._options.prompt - 1
        times = []
        for _ in range(self._options.samples):
            self.prefill()
            times.append(_elapsed_ms(partial(self._run_steps, steps), self._options.device) / steps)
        return statistics.median(times)

    def _run_steps(self, count: int) -> None:
        for _ in range(count):
            self._run_step()

    def kernel_times(self) -> list[tuple[str, int, float]]:
        """Return name, launches and microseconds of the kernels of a step on a GPU, the longest first.

        A kernel that starts before the one ahead of it has ended, as those of bitquant do to read their weight, counts
        from that end: the times of all kernels, and the gaps between them, are the step.
        """
        from torch.profiler import ProfilerActivity, profile

        self.prefill()
        steps = 8
        self._run_step()
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            self._run_steps(steps)
            torch.cuda.synchronize()
        spans = [
            (event.time_range.start, event.time_range.end, event.name)
            for event in profiler.events()
            if event.device_type.name == "CUDA"
        ]
        return kernel_sums(spans, steps)


def _elapsed_ms(call: Callable[[], object], device: str) -> float:
    if device != "cuda":
        begin = time.perf_counter()
        call()
        return (time.perf_counter() - begin) * 1e3
    begin_event, end_event = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin_event.record()
    call()
    end_event.record()
    torch.cuda.synchronize()
    return begin_event.elapsed_time(end_event)


def kernel_sums(spans: Sequence[tuple[float, float, str]], steps: int) -> list[tuple[str, int, float]]:
    """Return name, launches and time by step of kernels, of which each counts from the end of those before it.

    Parameters
    ----------
    spans
        Start, end and name of each launch, in one unit of time.
    steps
        How many steps they are of.
    """
    sums: dict[str, list[float]] = {}
    end = -math.inf
    for start, stop, name in sorted(spans):
        times = sums.setdefault(name, [])
        times.append(max(0.0, stop - max(start, end)))
        end = max(end, stop)
    rows = [(name, round(len(times) / steps), sum(times) / steps) for name, times in sums.items()]
    return sorted(rows, key=lambda row: -row[2])


def parts_of(kernels: Sequence[tuple[str, int, float]]) -> dict[str, float]:
    """Return microseconds by kind of kernel; "other" is what no pattern knows, a peer's kernels say."""
    result: dict[str, float] = {}
    for name, _, us in kernels:
        part = next((part for part, pattern in _PARTS if re.search(pattern, name)), "other")
        result[part] = result.get(part, 0.0) + us
    return result


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
        generators = {batch: _Generator(model, batch, options) for batch in options.batches}
        for batch, generator in generators.items():
            wanted = generator.eager_logits()
            generator.prepare()
            got = generator.first_logits()
            if batch == options.batches[0]:
                run.logits = got[0].cpu().numpy()  # A tensor would be shared memory, which goes with the process.
                run.graph_error = float((got - wanted).norm() / wanted.norm())
        run.compile_s = time.perf_counter() - ready
        yield
        for batch, generator in generators.items():
            run.prefill_ms[batch] = generator.prefill_ms()
            run.decode_ms[batch] = generator.decode_ms()
        for batch, generator in generators.items():
            if is_cuda:
                kernels = generator.kernel_times()
                run.parts[batch], run.kernels[batch] = parts_of(kernels), kernels[:30]
        if any(isinstance(module, KernelModule) for module in model.modules()):
            generator = generators[options.batches[0]]
            ours = generator.eager_logits()
            dequantize_model(model)
            plain = generator.eager_logits()
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
