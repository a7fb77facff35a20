# SPDX-License-Identifier: Apache-2.0
"""`bitquant bench --model`: tokens a second of whole models, beside other libraries."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import click

from bitquant.cli.output import print_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bitquant.testing.bench.generation import GenerationOptions, Run

__all__ = ["bench_model", "model_table"]


def bench_model(
    options: GenerationOptions, methods: list[str], json_path: Path | None, say: Callable[[str], None]
) -> int:
    """Time methods, print their table, and return the exit code: 1 if one of bitquant's failed."""
    import torch

    from bitquant import __version__
    from bitquant.testing.bench import generation

    results: dict[str, Any] = {
        "options": dataclasses.asdict(options),
        "bitquant": __version__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "read_bytes_per_s": None,
        "runs": [],
    }
    runs = []
    for run in generation.time_methods(options, methods, say):
        runs.append(run)
        say(f"{run.method}: {run.failure or _words(run)}")
        results["runs"] = [_plain(each) for each in runs]
        _save(results, json_path)
    if options.device == "cuda":
        results["read_bytes_per_s"] = generation.read_bandwidth(torch.device("cuda"))
        _save(results, json_path)
    click.echo(
        f"{options.model}, prompt of {options.prompt}, cache of {options.cache}, {results['device']}, torch "
        f"{torch.__version__}"
    )
    headers, rows = model_table(results)
    print_table(headers, rows, right=headers[2:])
    for run in runs:
        if run.failure:
            click.echo(f"{run.method}: {run.failure}")
    return int(any(run.failure and run.version.startswith("bitquant") for run in runs))


def _words(run: Run) -> str:
    return ", ".join(f"batch {batch}: {batch / ms * 1e3:.0f} tokens/s" for batch, ms in run.decode_ms.items())


def _plain(run: Run) -> dict[str, Any]:
    fields = dataclasses.asdict(run)
    del fields["logits"]
    return fields


def _save(results: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def model_table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return headers and rows of the figures, a row for each method and batch.

    "layers" is the time that bitquant's kernels add to a step, "floor" that in which the GPU reads their weights and
    does nothing else; "logits differ" is how far logits are from those of torch's layers with the same weights.
    """
    headers = ["method", "batch", "tokens/s", "x first", "prefill tokens/s", "GiB", "step us", "layers us", "floor us"]
    headers += ["layers / floor", "logits differ"]
    first: dict[Any, float] = {}
    rows = []
    prompt = results["options"]["prompt"]
    for run in results["runs"]:
        for batch, ms in run["decode_ms"].items():
            count = int(batch)
            first.setdefault(count, ms)
            ours = run["parts"].get(batch, {}).get("bitquant")
            bandwidth = results["read_bytes_per_s"]
            head = run["head_bytes"] if "+" in run["method"] else 0
            floor = (run["linear_bytes"] + head) / bandwidth * 1e6 if bandwidth else None
            rows.append(
                [
                    run["method"],
                    str(count),
                    f"{count / ms * 1e3:.0f}",
                    f"{first[count] / ms:.2f}",
                    f"{count * prompt / run['prefill_ms'][batch] * 1e3:.0f}",
                    f"{(run['linear_bytes'] + run['head_bytes']) / 2**30:.2f}",
                    f"{ms * 1e3:.0f}",
                    f"{ours:.0f}" if ours else "",
                    f"{floor:.0f}" if floor else "",
                    f"{ours / floor:.2f}" if ours and floor else "",
                    "" if math.isnan(run["weight_error"]) else f"{run['weight_error']:.4f}",
                ]
            )
    return headers, rows
