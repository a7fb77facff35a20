# SPDX-License-Identifier: Apache-2.0
"""Steps of LoRA over quantized layers, as Markdown: python -m tests.bench.lora [--device cpu --tiny].

A Llama of the layers of Llama 3 8B (Llama Team, "The Llama 3 Herd of Models", arXiv 2407.21783, table 3), with random
weights, few layers and a small vocabulary, so that linear layers dominate. Adapters are peft's, over all linear layers.
Each kind of layer starts from the same float weights, adapters and batch, and is trained with AdamW.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from bitquant import __version__
from bitquant.nn.model_sizes import KNOWN_MODELS, ModelSizes

os.environ["HF_HUB_OFFLINE"] = "1"

#: The rung of the default ladder that serves a batch of 2048 rows.
OPT_M = (1024,)
#: Steps before those that are timed: kernels are compiled in the first.
WARM_UP = 5
#: Rank of the adapters.
RANK = 16


class Size(NamedTuple):
    """Sizes of a model and of its batch."""

    model: ModelSizes
    layers: int
    vocabulary: int
    batch: int
    sequence: int
    steps: int


LLAMA = Size(KNOWN_MODELS["llama-3-8b"], layers=4, vocabulary=4096, batch=4, sequence=512, steps=20)
TINY = Size(ModelSizes(128, 256, 4, 2, 32), layers=2, vocabulary=256, batch=2, sequence=16, steps=3)


def plain(linear: torch.nn.Linear) -> torch.nn.Module:
    return linear


def bitquant(W_dtype: str, group_size: int) -> Callable[[torch.nn.Linear], torch.nn.Module]:
    def make(linear: torch.nn.Linear) -> torch.nn.Module:
        from bitquant import Linear

        return Linear.from_float(linear, W_dtype, group_size, opt_M=OPT_M)

    return make


def bitsandbytes(linear: torch.nn.Linear) -> torch.nn.Module:
    import bitsandbytes as bnb

    options = {"quant_type": "nf4", "compress_statistics": False}
    layer = bnb.nn.Linear4bit(
        linear.in_features, linear.out_features, bias=False, compute_dtype=torch.bfloat16, device="meta", **options
    )
    weight = linear.weight.detach()
    layer.weight = bnb.nn.Params4bit(weight.cpu(), requires_grad=False, blocksize=64, **options)
    return layer.to(weight.device)  # Quantizes.


#: Name of the layers, what makes them, the package that they need.
KINDS = (
    ("torch.nn.Linear, bfloat16", plain, "torch"),
    ("bitquant uint4, groups of 128", bitquant("uint4", 128), "bitquant"),
    ("bitquant nf4, groups of 64", bitquant("nf4", 64), "bitquant"),
    ("bitsandbytes nf4, groups of 64", bitsandbytes, "bitsandbytes"),
)


def is_installed(package: str) -> bool:
    """Return whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def version(package: str) -> str:
    """Return the version of a package in words."""
    if package == "bitquant":
        return __version__  # Also where it runs from a checkout.
    return importlib.metadata.version(package) if is_installed(package) else "is not installed"


def adapted(make: Callable[[torch.nn.Linear], torch.nn.Module], size: Size, arguments: argparse.Namespace) -> Any:
    """Return a model whose linear layers are of one kind, with adapters over them."""
    import peft
    from transformers import LlamaConfig, LlamaForCausalLM

    from bitquant.peft import register

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=size.model.hidden_size,
        intermediate_size=size.model.intermediate_size,
        num_hidden_layers=size.layers,
        num_attention_heads=size.model.num_heads,
        num_key_value_heads=size.model.num_kv_heads,
        vocab_size=size.vocabulary,
        use_cache=False,
    )
    with torch.device(arguments.device):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    for name, linear in list(model.named_modules()):
        if isinstance(linear, torch.nn.Linear) and name != "lm_head":
            model.set_submodule(name, make(linear))
    model.is_loaded_in_4bit = make is bitsandbytes  # By this peft knows its own layers for them.
    torch.manual_seed(1)
    adapters = register(peft.LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"), model)
    return peft.get_peft_model(model, adapters, autocast_adapter_dtype=arguments.adapters == "float32").train()


def measure(
    make: Callable[[torch.nn.Linear], torch.nn.Module], is_checkpointed: bool, size: Size, arguments: argparse.Namespace
) -> str:
    """Return the figures of one kind of layer as cells of a table."""
    is_cuda = arguments.device == "cuda"
    wait = torch.cuda.synchronize if is_cuda else lambda: None
    model = adapted(make, size, arguments)
    if is_checkpointed:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    gc.collect()
    if is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(size.vocabulary, (size.batch, size.sequence), generator=generator).to(arguments.device)
    is_cast = arguments.adapters == "float32"
    times, losses = [], []
    for _ in range(WARM_UP + size.steps):
        wait()
        begin = time.perf_counter()
        with torch.autocast(arguments.device, torch.bfloat16) if is_cast else contextlib.nullcontext():
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        wait()
        times.append((time.perf_counter() - begin) * 1e3)
        losses.append(loss.item())
    cells = [f"{statistics.median(times[WARM_UP:]):.1f}"]
    cells += (
        [f"{number / 2**20:.0f}" for number in (held, torch.cuda.max_memory_allocated())] if is_cuda else ["-", "-"]
    )
    return " | ".join([*cells, f"{losses[0]:.4f}", f"{losses[-1]:.4f}"])


def main() -> None:
    """Print step time, memory and losses of each kind of layer, without and with gradient checkpointing."""
    parser = argparse.ArgumentParser(description="Time steps of LoRA over quantized layers.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda", help="default: %(default)s")
    parser.add_argument("--tiny", action="store_true", help="a model of a few kilobytes, to try the script")
    parser.add_argument(
        "--adapters",
        choices=["float32", "bfloat16"],
        default="float32",
        help="type of the adapters; with float32, as peft makes them, steps run under autocast; default: %(default)s",
    )
    arguments = parser.parse_args()
    missing = [name for name in ("peft", "transformers") if not is_installed(name)]
    if missing:
        parser.error(f"needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    size = TINY if arguments.tiny else LLAMA
    here = torch.cuda.get_device_name() if arguments.device == "cuda" else platform.processor() or platform.machine()
    versions = (f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "bitsandbytes", "bitquant"))
    print(f"{here}; {', '.join(versions)}")
    print(
        f"\n{size.layers} layers, hidden {size.model.hidden_size}, intermediate {size.model.intermediate_size}, "
        f"batch {size.batch} x {size.sequence}, rank {RANK}, adapters in {arguments.adapters}; "
        f"median of {size.steps} steps\n"
    )
    print(
        "| layers | checkpointing | step, ms | model, MiB | peak, MiB | first loss | last loss |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, make, package in KINDS:
        for is_checkpointed in (False, True):
            if is_installed(package):
                cells = measure(make, is_checkpointed, size, arguments)
            else:
                cells = f"{package} is not installed | - | - | - | -"
            print(f"| {name} | {'yes' if is_checkpointed else 'no'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
