# SPDX-License-Identifier: Apache-2.0
"""Time of the two products of experts' layers, as Markdown: python -m tests.bench.compare_experts.

A layer's time is the sum of its products by gate and up, (T, hidden) -> (T, top_k, 2 inner), and by down, (T, top_k,
inner) -> (T, hidden) or (T, top_k, hidden). Beside bitquant's two forms stand Humming's (indexed and grouped), whose
down gives slots that are not summed, and torch's ``grouped_mm`` in bfloat16. Sorting is in nobody's time: rows, and
Humming's blocks of ids, are sorted beforehand; bitquant's indexed form needs neither. Each call is a node of one CUDA
graph, with a copy of the weights of its own, so that the experts that it reads are in no cache (`bitquant.profiling`).
Routing is uniform at random, the same for all.

The floor is the time in which the GPU reads the weights of the experts that are hit, scales and zero points included
(`bitquant.testing.bench.floor`), or multiplies at its dense rate, whichever is longer.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import itertools
import json
import math
import multiprocessing
import statistics
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bitquant import GroupedMatmul, GroupedMatmulConfig
from bitquant.arch import resolve_target
from bitquant.nn.model_sizes import KNOWN_MODELS
from bitquant.profiling import GraphTimer, copies_needed
from bitquant.testing.bench.floor import FloorReader

MXFP4 = {"W_dtype": "fp4_e2m1", "group_size": 32, "with_scaling": True, "scale_dtype": "float8_e8m0"}
UINT4 = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True, "zeros_mode": "quantized"}
INT4 = {"W_dtype": "int4", "group_size": 32, "with_scaling": True}
#: Dense rate of bfloat16 that a Hopper GPU keeps up, in operations a microsecond: measured with cuBLAS on an H200.
OPERATIONS_US = 790e6
#: What Humming's heuristics want sizes to be multiples of; it fills up those of gpt-oss.
HUMMING_COLUMNS = 128
#: Most by which results may differ, over the largest of them: two roundings to bfloat16, of weights and of outputs.
MAX_DIFFERENCE = 0.02


@dataclasses.dataclass(frozen=True)
class Layer:
    """Sizes of a model's experts, from its config.json."""

    experts: int
    top_k: int
    hidden: int
    inner: int
    fields: dict[str, Any]

    def products(self) -> dict[str, tuple[int, int]]:
        """Return N and K of both products."""
        return {"gate_up": (2 * self.inner, self.hidden), "down": (self.hidden, self.inner)}


def _known(name: str, fields: dict[str, Any]) -> Layer:
    """Return the experts of a known model, with weights in this format."""
    model = KNOWN_MODELS[name]
    experts = model.experts
    return Layer(experts.num_experts, experts.top_k, model.hidden_size, experts.intermediate_size, fields)


#: Layers on which no kernel and no cost model was developed. No `KNOWN_MODELS` are among them.
HELD_OUT = {
    "OLMoE-1B-7B": Layer(64, 8, 2048, 1024, UINT4),
    "GLM-4.5-Air": Layer(128, 8, 4096, 1408, UINT4),
    "Phi-3.5-MoE": Layer(16, 2, 4096, 6400, MXFP4),
}
LAYERS = {
    "gpt-oss-20b": _known("gpt-oss-20b", MXFP4),
    "gpt-oss-120b": _known("gpt-oss-120b", MXFP4),
    "Qwen3-30B-A3B": _known("qwen3-30b-a3b", UINT4),
    "Qwen3-235B-A22B": _known("qwen3-235b-a22b", UINT4),
    "Mixtral-8x7B": _known("mixtral-8x7b", UINT4),
    "Kimi-K2/8": Layer(384, 8, 7168, 256, INT4),
    **HELD_OUT,
}


def grouped_config(layer: Layer, product: str, routing: str, rows: Sequence[int]) -> GroupedMatmulConfig:
    """Return the problem of a product in one of its two forms."""
    N, K = layer.products()[product]
    own: dict[str, Any] = {"routing": routing}
    if routing == "indexed":
        down = {"A_rows": "slots", "D_rows": "tokens", "with_routing_weights": True}
        own |= {"top_k": layer.top_k, **(down if product == "down" else {})}
    return GroupedMatmulConfig(
        layer.experts, N, K, A_dtype="bfloat16", out_dtype="bfloat16", accum_dtype="float32",
        M=list(rows) if len(rows) > 1 else rows[0], **own, **layer.fields,
    )  # fmt: skip


class Problem:
    """A product's weights as values, and a routing of tokens."""

    def __init__(self, layer: Layer, product: str) -> None:
        self.layer, self.product = layer, product
        self.N, self.K = layer.products()[product]
        generator = torch.Generator("cuda").manual_seed(0)
        E, fields = layer.experts, layer.fields
        options: dict[str, Any] = {"device": "cuda", "generator": generator}
        self.groups = self.K // fields["group_size"]
        self.codes = torch.randint(0, 16, (E, self.N, self.K), dtype=torch.uint8, **options)
        if fields.get("scale_dtype") == "float8_e8m0":
            self.scale = torch.randint(118, 124, (E, self.N, self.groups), dtype=torch.uint8, **options)
            self.scale = self.scale.view(torch.float8_e8m0fnu)
        else:
            self.scale = ((torch.rand((E, self.N, self.groups), **options) + 0.5) / 64).bfloat16()
        self.zeros = None
        if fields.get("with_zeros"):
            self.zeros = torch.randint(0, 16, (E, self.groups, self.N), dtype=torch.uint8, **options)

    @property
    def expert_bytes(self) -> int:
        """Bytes of an expert's weight, scales and zero points."""
        scales = self.N * self.groups * (self.scale.element_size() + (0.5 if self.zeros is not None else 0))
        return int(self.N * self.K / 2 + scales)

    def values(self) -> torch.Tensor:
        """Return what an operator packs: numbers of a signed integer, else codes."""
        return self.codes.to(torch.int8) - (8 if self.layer.fields["W_dtype"] == "int4" else 0)

    def ids(self, tokens: int) -> torch.Tensor:
        """Return the experts of each token, (T, top_k) int32; all tokens' scores are of one table."""
        generator = torch.Generator("cuda").manual_seed(tokens)
        scores = torch.rand((tokens, self.layer.experts), device="cuda", generator=generator)
        return scores.topk(self.layer.top_k).indices.to(torch.int32)

    def activations(self, tokens: int) -> torch.Tensor:
        """Return A by tokens, or by slots for the second product."""
        shape = (tokens, self.K) if self.product == "gate_up" else (tokens, self.layer.top_k, self.K)
        generator = torch.Generator("cuda").manual_seed(1)
        return torch.randn(shape, device="cuda", generator=generator).bfloat16() / math.sqrt(self.K)

    def sorted_rows(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return A in the order of experts, the ends of their rows, and where in that order each slot stands."""
        flat = self.ids(tokens).flatten()
        order = flat.argsort(stable=True)
        A = self.activations(tokens)
        rows = A[order // self.layer.top_k] if A.ndim == 2 else A.flatten(0, 1)[order]
        counts = flat.bincount(minlength=self.layer.experts)
        return rows.contiguous(), counts.cumsum(0).to(torch.int32), order.argsort()


Calls = list[Callable[[], torch.Tensor]]


class Bitquant:
    """Operators of one product, in the form that `routing` names."""

    def __init__(self, problem: Problem, routing: str, tokens: Sequence[int]) -> None:
        self.problem, self.routing = problem, routing
        per_token = problem.layer.top_k if routing == "sorted" else 1
        self.rows = {t: t * per_token for t in tokens}
        config = grouped_config(problem.layer, problem.product, routing, sorted(self.rows.values()))
        self.operator = GroupedMatmul(config)
        self.W = self.operator.transform_weight(problem.values())
        self.zeros = None if problem.zeros is None else self.operator.transform_zeros(problem.zeros)

    def calls(self, tokens: int, copies: int) -> Calls:
        """Return one call a copy."""
        problem = self.problem
        if self.routing == "sorted":
            A, offsets, _ = problem.sorted_rows(tokens)
            routing: dict[str, Any] = {"offsets": offsets}
        else:
            A, routing = problem.activations(tokens), {"expert_ids": problem.ids(tokens)}
            if problem.product == "down":
                routing["routing_weights"] = torch.ones(tokens, problem.layer.top_k, device="cuda")

        def copied(tensor: torch.Tensor | None, i: int) -> torch.Tensor | None:
            return tensor.clone() if tensor is not None and i else tensor

        return [
            partial(
                self.operator, A, copied(self.W, i), copied(problem.scale, i), copied(self.zeros, i), **routing
            )
            for i in range(copies)
        ]  # fmt: skip

    def by_slots(self, tokens: int, D: torch.Tensor) -> torch.Tensor:
        """Return D in the order of slots, where it is not summed."""
        return D[self.problem.sorted_rows(tokens)[2]] if self.routing == "sorted" else D.flatten(0, 1)


class Humming:
    """Humming's layer of one product; `gemm_type` is "indexed" or "grouped_contiguous"."""

    def __init__(self, problem: Problem, gemm_type: str) -> None:
        from humming import ops
        from humming.layer import HummingLayer

        self.problem, self.gemm_type = problem, gemm_type
        layer = problem.layer
        names = {"fp4_e2m1": "float4e2m1", "uint4": "uint4", "int4": "uint4"}
        weight_config: dict[str, Any] = {
            "dtype": names[layer.fields["W_dtype"]], "group_size": layer.fields["group_size"],
            "has_zero_point": problem.zeros is not None,
        }  # fmt: skip
        if problem.scale.element_size() == 1:
            weight_config["scale_dtype"] = "float8e8m0"
        self.layer = HummingLayer(
            problem.N,
            problem.K,
            weight_config,
            num_experts=layer.experts,
            torch_dtype=torch.bfloat16,
            pad_n_to_multiple=HUMMING_COLUMNS,
            pad_k_to_multiple=HUMMING_COLUMNS,
        ).cuda()
        weight = torch.stack([ops.pack_weight(codes.to(torch.int32), 4) for codes in problem.codes])
        tensors = {"weight": weight, "weight_scale": problem.scale}
        if problem.zeros is not None:
            points = [ops.pack_weight(z.to(torch.int32).contiguous(), 4).t() for z in problem.zeros]
            tensors["zero_point"] = torch.stack(points).contiguous()
        self.layer.load_from_tensors(tensors)
        self.layer.transform()

    def kernel(self, tokens: int) -> dict[str, Any]:
        """Return what its heuristics name for so many tokens; their rows count routed rows."""
        from humming.tune import get_heuristics_config

        rows = tokens * self.problem.layer.top_k
        kernels = get_heuristics_config(self.layer.humming_config, gemm_type=self.gemm_type)
        return next(found for above, most, found in kernels if above < rows <= most)

    def compute_config(self) -> str:
        """Return the kind of its product."""
        return json.dumps({"gemm_type": self.gemm_type})

    def prepare(self, tokens: Sequence[int]) -> None:
        """Compile its kernels into its cache on the disk."""
        from humming.kernel.humming import HummingKernel

        for t in tokens:
            layer_config, kernel = self.layer.humming_config.to_str(), json.dumps(self.kernel(t))
            HummingKernel.prepare_kernels(layer_config, self.compute_config(), kernel, 0)

    def calls(self, tokens: int, copies: int) -> Calls:
        """Return one call a copy."""
        from humming.forward import humming_forward

        problem, kernel = self.problem, self.kernel(tokens)
        rows = tokens * problem.layer.top_k
        if self.gemm_type == "indexed":
            A, top_k = problem.activations(tokens), problem.layer.top_k
            if A.ndim == 3:
                A, top_k = A.flatten(0, 1), 1
            routing = self._blocks(problem.ids(tokens), kernel["block_shape"][0])
        else:
            A, offsets, _ = problem.sorted_rows(tokens)
            top_k = 1
            routing = {"expert_layout": torch.nn.functional.pad(offsets.long(), (1, 0))}
        parts = ("weight", "weight_scale", "zero_point", "weight_scale_2")
        tensors = {part: t.detach() for part in parts if (t := getattr(self.layer, part, None)) is not None}
        output = torch.empty(rows, problem.N, dtype=torch.bfloat16, device="cuda")
        return [
            partial(
                humming_forward, self.layer.humming_config, inputs=A, outputs=output, locks=self.layer.locks,
                top_k=top_k, valid_shape_m=rows, compute_config=self.compute_config(), tuning_config=kernel,
                **routing, **{name: t.clone() if i else t for name, t in tensors.items()},
            )
            for i in range(copies)
        ]  # fmt: skip

    @staticmethod
    def _blocks(ids: torch.Tensor, block: int) -> dict[str, torch.Tensor]:
        """Return slots in the order of experts, filled up to whole blocks, and the expert of each block."""
        flat = ids.flatten().cpu()
        slots: list[int] = []
        experts: list[int] = []
        for e in flat.unique().tolist():
            own = torch.nonzero(flat == e).flatten().tolist()
            blocks = -(-len(own) // block)
            slots += own + [len(flat)] * (blocks * block - len(own))
            experts += [e] * blocks
        numbers = {"sorted_ids": slots, "expert_ids": experts, "num_tokens_padded": len(slots)}
        return {name: torch.tensor(value, dtype=torch.int32, device="cuda") for name, value in numbers.items()}

    def by_slots(self, tokens: int, D: torch.Tensor) -> torch.Tensor:
        """Return D in the order of slots."""
        return D if self.gemm_type == "indexed" else D[self.problem.sorted_rows(tokens)[2]]


class TorchGrouped:
    """torch's grouped_mm on the decoded weights in bfloat16."""

    def __init__(self, problem: Problem, decoded: torch.Tensor) -> None:
        self.problem, self.weight = problem, decoded.transpose(1, 2)

    def calls(self, tokens: int, copies: int) -> Calls:
        """Return one call a copy."""
        A, offsets, _ = self.problem.sorted_rows(tokens)
        function = getattr(torch.nn.functional, "grouped_mm", None) or torch._grouped_mm
        weights = [self.weight, *(self.weight.transpose(1, 2).clone().transpose(1, 2) for _ in range(copies - 1))]
        return [partial(function, A, weight, offs=offsets) for weight in weights]

    def by_slots(self, tokens: int, D: torch.Tensor) -> torch.Tensor:
        """Return D in the order of slots."""
        return D[self.problem.sorted_rows(tokens)[2]]


def _prepare(layer: str, product: str, what: str, tokens: Sequence[int]) -> str | None:
    """Compile kernels, in a process of its own; return what went wrong, or None."""
    try:
        if what in ("sorted", "indexed"):
            per_token = LAYERS[layer].top_k if what == "sorted" else 1
            for t in tokens:
                GroupedMatmul(grouped_config(LAYERS[layer], product, what, [t * per_token]), target="sm_90a")
        else:
            Humming(Problem(LAYERS[layer], product), what.removeprefix("humming ")).prepare(tokens)
    except Exception:  # noqa: BLE001  A contender that fails is named, and left out.
        return f"{layer} {product} {what}: {traceback.format_exc(limit=3)}"
    return None


def attempt(function: Callable[[], Any], what: str) -> Any:
    """Return what a function returns; None where it fails, which is printed."""
    try:
        return function()
    except Exception:  # noqa: BLE001  A contender that fails is named, and left out.
        print(f"\n{what}: {traceback.format_exc(limit=4)}", flush=True)
        return None


def contenders(problem: Problem, options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Make each contender that takes part; what fails is printed and left out."""
    few = [t for t in options.tokens if t <= options.most_indexed]
    makers: dict[str, Callable[[], Any]] = {}
    makers["sorted"] = partial(Bitquant, problem, "sorted", options.tokens)
    if few:
        makers["indexed"] = partial(Bitquant, problem, "indexed", few)
    if options.humming:
        makers["humming indexed"] = partial(Humming, problem, "indexed")
        makers["humming grouped"] = partial(Humming, problem, "grouped_contiguous")
    for name, make in makers.items():
        if (contender := attempt(make, name)) is not None:
            yield name, contender


class Comparison:
    """A product's contenders, for one number of tokens after the other."""

    def __init__(self, layer: str, product: str, options: argparse.Namespace) -> None:
        self.problem, self.options, self.title = Problem(LAYERS[layer], product), options, f"{layer} {product}"
        self.made = dict(contenders(self.problem, options))
        ours = self.made.get("sorted")
        if options.torch and ours is not None:
            decoded = ours.operator.dequantize(ours.W, self.problem.scale, ours.zeros, torch.bfloat16)
            self.made["torch grouped_mm"] = TorchGrouped(self.problem, decoded)
        self.reader = FloorReader(resolve_target(None), torch.device("cuda"))
        self.reference: torch.Tensor | None = None

    def measure(self, tokens: int) -> dict[str, float]:
        """Return microseconds by contender, and "floor"."""
        problem, options = self.problem, self.options
        size = len(problem.ids(tokens).unique()) * problem.expert_bytes
        copies = copies_needed(size, torch.device("cuda"), 64)
        reads = [GraphTimer(calls).sample_us(options.ms) for calls in self.reader.calls(size, copies).values()]
        operations = 2 * tokens * problem.layer.top_k * problem.N * problem.K
        self.reference = None
        timers = {
            name: timer
            for name, contender in self.made.items()
            if name != "indexed" or tokens <= options.most_indexed
            if (timer := attempt(partial(self._timer, name, contender, tokens, copies), f"{self.title} {name}"))
        }
        samples: dict[str, list[float]] = {name: [] for name in timers}
        for _ in range(options.samples):
            for name, timer in timers.items():
                samples[name].append(timer.sample_us(options.ms))
        floor = max(min(reads), operations / OPERATIONS_US)
        return {"floor": floor} | {name: statistics.median(values) for name, values in samples.items()}

    def _timer(self, name: str, contender: Any, tokens: int, copies: int) -> GraphTimer:
        # Weights in bfloat16 have about four times the bytes.
        calls = contender.calls(tokens, -(-copies // 4) if name == "torch grouped_mm" else copies)
        is_summed = name == "indexed" and self.problem.product == "down"
        if not is_summed:
            D = contender.by_slots(tokens, calls[0]()).float()
            self.reference = D if self.reference is None else self.reference
            error = float((D - self.reference).abs().max() / self.reference.abs().max())
            if not error < MAX_DIFFERENCE:
                print(f"\n{self.title}, {tokens} tokens, {name}: differs by {error:.3g} of the largest", flush=True)
        return GraphTimer(calls)


def main() -> None:
    """Print a table for each layer, and geometric means."""
    parser = argparse.ArgumentParser(description="Time products of experts' layers.")
    parser.add_argument("--layers", default=",".join(LAYERS), help="default: %(default)s")
    parser.add_argument("--tokens", default="1,4,16,64,256,1024,4096", help="default: %(default)s")
    parser.add_argument("--most_indexed", type=int, default=64, help="most tokens by ids; default: %(default)s")
    parser.add_argument("--samples", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--ms", type=float, default=4.0, help="length of a sample; default: %(default)s")
    parser.add_argument("--no-humming", dest="humming", action="store_false")
    parser.add_argument("--no-torch", dest="torch", action="store_false")
    parser.add_argument("--jobs", type=int, default=12, help="processes that compile; default: %(default)s")
    parser.add_argument("--json", type=Path, help="write all times to this file")
    options = parser.parse_args()
    options.tokens = [int(t) for t in options.tokens.split(",")]
    layers = options.layers.split(",")
    few = [t for t in options.tokens if t <= options.most_indexed]
    tasks = [
        (layer, product, what, [t])
        for layer, product in itertools.product(layers, ("gate_up", "down"))
        for what, of in (("sorted", options.tokens), ("indexed", few))
        for t in of
    ]
    if options.humming:
        tasks += [
            (layer, product, what, options.tokens)
            for layer, product in itertools.product(layers, ("gate_up", "down"))
            for what in ("humming indexed", "humming grouped_contiguous")
        ]
        tasks.reverse()  # Those take longest.
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.jobs, spawn) as pool:
        for fault in pool.map(_prepare, *zip(*tasks, strict=True)):
            if fault is not None:
                print(fault, flush=True)
    properties = torch.cuda.get_device_properties(0)
    print(f"{properties.name}, torch {torch.__version__}", flush=True)
    everything: dict[str, Any] = {}
    for layer in layers:
        by_product = {}
        for product in ("gate_up", "down"):
            comparison = Comparison(layer, product, options)
            by_product[product] = {t: comparison.measure(t) for t in options.tokens}
            del comparison
            torch.cuda.empty_cache()
        everything[layer] = by_product
        _print_table(layer, by_product, options.tokens)
        if options.json:
            options.json.write_text(json.dumps({"device": properties.name, "layers": everything}, indent=1))
    _print_means(everything, options.tokens)


def _sums(by_product: dict[str, dict[int, dict[str, float]]], tokens: int) -> dict[str, float]:
    """Return the time of both products by contender: the better of its two forms of each, as a model takes them."""
    forms = {"bitquant": ("sorted", "indexed"), "Humming": ("humming indexed", "humming grouped")}
    sums: dict[str, float] = {}
    for name, of in {**forms, "floor": ("floor",), "torch grouped_mm": ("torch grouped_mm",)}.items():
        best = [min(row[tokens].get(form, math.inf) for form in of) for row in by_product.values()]
        if math.isfinite(sum(best)):
            sums[name] = sum(best)
    return sums


def _print_table(layer: str, by_product: dict[str, dict[int, dict[str, float]]], tokens: Sequence[int]) -> None:
    names = ("floor", "sorted", "indexed", "humming indexed", "humming grouped", "torch grouped_mm")
    print(f"\n{layer}: microseconds\n\n| tokens | product | " + " | ".join(names) + " |")
    print("|---|---" * 4 + "|")
    for t, product in itertools.product(tokens, by_product):
        row = by_product[product][t]
        cells = (f"{row[n]:.1f}" if n in row else "-" for n in names)
        print(f"| {t} | {product} | " + " | ".join(cells) + " |", flush=True)


def _print_means(everything: dict[str, Any], tokens: Sequence[int]) -> None:
    print("\n| layer | tokens | bitquant | over floor | ahead of Humming | of grouped_mm |\n|---|---|---|---|---|---|")
    leads: dict[str, list[float]] = {}
    for layer, t in itertools.product(everything, tokens):
        sums = _sums(everything[layer], t)
        if "bitquant" not in sums:
            continue
        ours = sums["bitquant"]
        cells = [f"{ours:.1f}", f"{ours / sums['floor']:.2f}"]
        cells += [f"{sums[name] / ours:.2f}" if name in sums else "-" for name in ("Humming", "torch grouped_mm")]
        if "Humming" in sums:
            leads.setdefault("held out" if layer in HELD_OUT else "others", []).append(sums["Humming"] / ours)
        print(f"| {layer} | {t} | " + " | ".join(cells) + " |")
    for which, values in leads.items():
        mean = statistics.geometric_mean(values)
        print(f"\nAhead of Humming, {which}: geometric mean {mean:.2f}, least {min(values):.2f}")


if __name__ == "__main__":
    with torch.no_grad():
        main()
