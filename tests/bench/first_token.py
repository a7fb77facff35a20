# SPDX-License-Identifier: Apache-2.0
"""From a GPTQ directory to the first token: python -m tests.bench.first_token write DIR; ... read DIR.

"write" makes a checkpoint of a model's sizes with random codes, as GPTQModel lays them out (uint4, groups of 128, zero
points, no act-order). "read" is what a user does, in a process of its own: import, load_model, prepare_model, generate.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

GROUP = 128
#: Blocks whose tensors share a file.
BLOCKS_A_FILE = 8


def write(directory: Path, model: str, layers: int | None, device: str) -> None:
    """Write the checkpoint."""
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    from bitquant.testing.bench.methods import MODELS

    fields = {**MODELS[model], **({} if layers is None else {"num_hidden_layers": layers})}
    config = AutoConfig.for_model(**fields, tie_word_embeddings=False)
    with torch.device("meta"):
        outline = AutoModelForCausalLM.from_config(config, dtype=torch.float16)
    directory.mkdir(parents=True, exist_ok=True)
    config.architectures = [type(outline).__name__]
    config.quantization_config = {
        "quant_method": "gptq", "bits": 4, "group_size": GROUP, "sym": False, "desc_act": False,
        "checkpoint_format": "gptq", "meta": {"quantizer": ["gptqmodel:7.7.0"]},
    }  # fmt: skip
    config.dtype = torch.float16
    config.save_pretrained(directory)
    generator = torch.Generator(device=device).manual_seed(0)

    def words(*shape: int) -> torch.Tensor:
        return torch.randint(-(2**31), 2**31, shape, dtype=torch.int32, device=device, generator=generator)

    files: dict[int, dict[str, torch.Tensor]] = {}
    for name, parameter in outline.named_parameters():
        parts = name.split(".")
        index = 1 + int(parts[2]) // BLOCKS_A_FILE if parts[:2] == ["model", "layers"] else 0
        tensors = files.setdefault(index, {})
        module = outline.get_submodule(name.rpartition(".")[0])
        if type(module) is torch.nn.Linear and name.endswith("weight") and "lm_head" not in name:
            N, K = parameter.shape
            path = name.removesuffix(".weight")
            tensors[f"{path}.qweight"] = words(K // 8, N)
            # Zero points of GPTQ v1 are stored minus one: 7 in each field stands for 8.
            tensors[f"{path}.qzeros"] = torch.full((K // GROUP, N // 8), 0x77777777, dtype=torch.int32)
            scale = torch.rand((K // GROUP, N), device=device, generator=generator)
            tensors[f"{path}.scales"] = ((scale + 0.5) * 0.02 / 4.6).half()
            tensors[f"{path}.g_idx"] = (torch.arange(K) // GROUP).to(torch.int32)
        elif parameter.ndim > 1:
            tensors[name] = torch.randn(parameter.shape, device=device, generator=generator).mul_(0.02).half()
        else:
            tensors[name] = torch.ones(parameter.shape, dtype=torch.float16)
    weight_map = {}
    for index, tensors in files.items():
        file = f"model-{index + 1:05}-of-{len(files):05}.safetensors"
        save_file({k: t.cpu().contiguous() for k, t in tensors.items()}, directory / file, {"format": "pt"})
        weight_map.update(dict.fromkeys(tensors, file))
    total = sum((directory / file).stat().st_size for file in set(weight_map.values()))
    index_json = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index_json), encoding="utf-8")
    print(f"{directory}: {total / 2**30:.2f} GiB")


class _Watch(threading.Thread):
    """Keeps the most anonymous memory that this process had, in bytes: without mapped files."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0

    def run(self) -> None:
        while True:
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            anonymous = next(line for line in status.splitlines() if line.startswith("RssAnon"))
            self.most = max(self.most, int(anonymous.split()[1]) * 1024)
            time.sleep(0.02)


def profiled(load: Callable[[], Any], device: str) -> Any:
    """Return what `load` does, and print where its time goes: functions of Python, and operations of torch."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    profile = cProfile.Profile()
    with torch.profiler.profile(activities=activities) as operations:
        model = profile.runcall(load)
    for key in ("cumtime", "tottime"):
        pstats.Stats(profile).sort_stats(key).print_stats(40)
    by = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
    print(operations.key_averages().table(sort_by=by, row_limit=30))
    return model


def read(directory: Path, device: str, cpus: int | None, *, with_profile: bool = False) -> None:
    """Load, prepare and generate, and print the seconds of each."""
    if cpus is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
    begin = time.perf_counter()
    watch = _Watch()
    watch.start()
    import bitquant as bq

    marks: list[tuple[str, float]] = []

    def mark(name: str) -> None:
        if device == "cuda":
            torch.cuda.synchronize()
        marks.append((name, time.perf_counter()))

    import transformers  # noqa: F401

    load_model = bq.load_model  # It imports TVM.
    mark("import")
    model = profiled(lambda: load_model(directory, device), device) if with_profile else load_model(directory, device)
    mark("load_model")
    bq.prepare_model(model, progress=False)
    mark("prepare_model")
    prompt = torch.arange(32, device=device)[None]
    options: dict[str, Any] = {"do_sample": False, "pad_token_id": 0}
    model.generate(prompt, max_new_tokens=1, min_new_tokens=1, **options)
    mark("first token")
    model.generate(prompt, max_new_tokens=17, min_new_tokens=17, **options)
    mark("17 tokens more")
    for name, at in marks:
        print(f"{name}: {at - begin:.2f} s")
        begin = at
    print(f"sum to the first token: {sum_of(marks, 'first token'):.2f} s")
    print(f"host memory, anonymous: {watch.most / 2**30:.2f} GiB at most; with mapped files "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")  # fmt: skip
    if device == "cuda":
        print(f"GPU memory: {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB at most, "
              f"{torch.cuda.memory_allocated() / 2**30:.2f} GiB held")  # fmt: skip


_BEGIN = time.perf_counter()


def sum_of(marks: list[tuple[str, float]], name: str) -> float:
    """Return the seconds from the start of this script to a mark."""
    return dict(marks)[name] - _BEGIN


def main() -> None:
    """Write or read."""
    parser = argparse.ArgumentParser(description="Time from a GPTQ directory to the first token.")
    parser.add_argument("action", choices=["write", "read"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--model", default="llama-3-8b", help="default: %(default)s")
    parser.add_argument("--layers", type=int, help="fewer blocks than the model has")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cpus", type=int, help="use so many CPUs")
    parser.add_argument("--profile", action="store_true", help="print where the time of load_model goes")
    arguments = parser.parse_args()
    if arguments.action == "write":
        write(arguments.directory, arguments.model, arguments.layers, arguments.device)
        return
    if "BITQUANT_CACHE_DIR" not in os.environ:  # Cold.
        os.environ["BITQUANT_CACHE_DIR"] = tempfile.mkdtemp()
    read(arguments.directory, arguments.device, arguments.cpus, with_profile=arguments.profile)


if __name__ == "__main__":
    sys.exit(main())
