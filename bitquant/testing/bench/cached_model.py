# SPDX-License-Identifier: Apache-2.0
"""A model that decodes with a static cache, and the times of its steps and of their kernels."""

from __future__ import annotations

import inspect
import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

__all__ = ["CachedModel", "GenerationOptions", "kernel_sums", "parts_of"]

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


class CachedModel:
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
