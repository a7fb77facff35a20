# SPDX-License-Identifier: Apache-2.0
"""`bitquant show`: what a checkpoint holds, which rules will serve it, and how long a token will take."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitquant.cli.output import format_bytes, print_table, three_digits
from bitquant.cli.problem import RowList
from bitquant.cli.progress import Progress
from bitquant.cli.startup import import_libraries

if TYPE_CHECKING:
    from bitquant.arch import GpuArch
    from bitquant.config import MatmulConfig
    from bitquant.nn.contents import Contents
    from bitquant.nn.layer_kind import LayerKind
    from bitquant.nn.step import Step

__all__ = ["show"]

#: What stands before a time, by where it is from.
_MARKS = {"record": "=", "model": "~", "floor": ">"}
_MEANINGS = {
    "record": "= measured by a record",
    "model": "~ predicted by a model",
    "floor": "> bytes by bandwidth, the least",
}
#: Columns where the output is no terminal, and the fewest that tables are made for.
_WIDTH = 80
#: Fewest columns of names.
_MIN_NAME = 10


@click.command(
    epilog="""
\b
Examples:
  bitquant show path/to/checkpoint
  bitquant show path/to/checkpoint --target h100 --m 1,16,256
  bitquant show weights.gguf --all
  bitquant show path/to/checkpoint --json | jq .steps
\b
Formats are [A:]W[-gSIZE|-row][-zeros|-rescale|-quantized]: the type of A
where that has 8 bits, the type of W, the size of groups that share a scale
(row: one a row), the mode of zero points.
""",
)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--target",
    metavar="TARGET",
    help="The GPU to predict for: a product such as h200, h100 or rtx4090, an architecture such as sm_90a, cuda (the "
    "GPU that is here), or cpu. Default: the GPU if there is one, else the CPU.",
)
@click.option(
    "--m",
    "rows",
    type=RowList(),
    default="1",
    show_default=True,
    help="Rows of A, such as 1,16,256: sequences of a decoded batch, or tokens of a prompt. Three fit 80 columns.",
)
@click.option("--all", "every", is_flag=True, help="List each layer, and not layers of one shape and format as one.")
@click.option("--check", is_flag=True, help="Read and check every layer, not one of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def show(path: Path, target: str | None, rows: tuple[int, ...], every: bool, check: bool, as_json: bool) -> None:
    """Show what a checkpoint holds, and which rules serve it.

    PATH is a directory in the hub's layout, quantized or not, or a .safetensors or .gguf file. Headers are read, and
    one layer of each kind, as load_model would load it: sizes are those of the loaded model. Times are those of the
    matrix products of one forward pass, without attention and what lies between kernels. No GPU is needed.
    """
    import_libraries()
    from bitquant.arch import resolve_gpu
    from bitquant.nn.contents import read_contents
    from bitquant.nn.step import predict_step

    resolved, gpu = resolve_gpu(target)
    with Progress() as progress:
        if not check:  # That has a bar.
            progress.say("reading the checkpoint")
        contents = read_contents(path, check=check)
        progress.say("choosing kernels")
        steps = [predict_step(contents, m, resolved, gpu) for m in dict.fromkeys(rows)]
    if as_json:
        click.echo(json.dumps(_as_json(contents, steps, str(getattr(resolved, "arch", "cpu")), gpu), indent=1))
        return
    for line in _header(contents):
        click.echo(line)
    click.echo()
    _print_layers(contents, every)
    click.echo()
    _print_steps(contents, steps, gpu)


def _header(contents: Contents) -> list[str]:
    what = {None: "not quantized", "bitquant": "saved by bitquant"}.get(contents.format, str(contents.format))
    facts = ", ".join(filter(None, (contents.model, what, contents.dtype)))
    quantized = [kind for kind in contents.kinds if kind.is_packed]
    lines = [str(contents.path), f"  {facts}"]
    lines.append(f"  {format_bytes(contents.file_bytes)} in files, {format_bytes(contents.memory_bytes)} loaded")
    if weights := sum(kind.count * kind.N * kind.K for kind in quantized):
        bits = sum(kind.bits * kind.count * kind.N * kind.K for kind in quantized if kind.bits) / weights
        lines.append(
            f"  {sum(kind.count for kind in quantized)} quantized layers, {bits:.2f} bits a weight with scales"
        )
    for kind in contents.kinds:
        if kind.role == "unsupported":
            lines += [
                f"  no kernel computes {kind.count} layers exactly ({_short_names(kind)}): each {kind.reason}",
                f"    load_model refuses them, or keeps them in {contents.dtype}: on_unsupported='dequantize'",
            ]
    types = {kind.config.scale_format.name for kind in quantized if kind.config and _has_other_scales(kind.config)}
    if types:
        lines.append(f"  scales stay {types.pop()}, which is not A's type: see scale_dtype of load_model")
    if experts := sum(kind.memory_bytes for kind in contents.kinds if kind.role == "experts" and not kind.is_packed):
        lines.append(f"  experts are kept in {contents.dtype}, {format_bytes(experts)}")
    return lines


def _has_other_scales(config: MatmulConfig) -> bool:
    """Whether A's type does not hold the scales, which kernels for many rows need where A has 16 bits."""
    is_scaled = config.A_format.bits > 8 and config.scale_dtype is not None
    return is_scaled and not config.scale_format.is_exact_in(config.A_format.tvm_dtype)


def _print_layers(contents: Contents, every: bool) -> None:
    """Print what there is: a line for each kind, or for each layer."""
    if every:
        layers = []
        for kind in contents.kinds:
            sizes = f"{kind.experts} x {_sizes(kind)}" if kind.experts > 1 else _sizes(kind)
            sizes = sizes or " x ".join(map(str, kind.shape))
            facts = [sizes, _format(kind, contents), format_bytes(kind.memory_bytes / len(kind.names))]
            layers += [[name, *facts] for name in kind.names]
        layers.sort(key=lambda row: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", row[0])])
        print_table(["layer", "N x K", "format", "loaded"], layers, right=["loaded"])
    else:
        rows = []
        for kind in contents.kinds:
            if kind.role == "rest":
                continue
            bits = f"{kind.bits:.2f}" if kind.bits else ""
            size = format_bytes(kind.memory_bytes)
            rows.append([str(kind.count), _short_names(kind), _sizes(kind), _format(kind, contents), bits, size])
        if rest := [kind for kind in contents.kinds if kind.role == "rest"]:
            types = {kind.dtype for kind in rest}
            size = format_bytes(sum(kind.memory_bytes for kind in rest))
            what = types.pop() if len(types) == 1 else "several types"
            rows.append([str(sum(kind.count for kind in rest)), "norms, biases", "", what, "", size])
        _print_fitting(["n", "layers", "N x K", "format", "bits", "loaded"], rows, ["n", "bits", "loaded"])
    if any(kind.is_permuted for kind in contents.kinds):
        click.echo("* columns sorted by group (act-order): a call gathers A first")
    if any(kind.is_tied for kind in contents.kinds):
        click.echo("the embedding is the output layer as well")
    if not contents.was_checked and contents.format is not None:
        click.echo("one quantized layer of each line was read; --check reads all")


def _print_steps(contents: Contents, steps: list[Step], gpu: GpuArch | None) -> None:
    """Print what serves each kind, and how long a forward pass takes."""
    headers = ["layers", "N x K", *(f"m = {step.m}" for step in steps)]
    rows, bases = [], set()
    for index, kind in enumerate(contents.operators):
        cells = []
        for step in steps:
            prediction = step.predictions[index]
            cells.append("" if prediction is None else _cell(prediction.rule, prediction.basis, prediction.time_us))
            bases.add(prediction.basis if prediction is not None else None)
        if any(cells):
            rows.append([_short_names(kind), _sizes(kind), *cells])
    if gpu is None:
        _print_fitting(headers, rows, [], name_column=0)
        click.echo("no time is predicted for a CPU; --target h200, say, names a GPU")
        return
    speed = f"{gpu.bandwidth_bytes_per_s / 1e12:.2f} TB/s"
    click.echo(f"{gpu.example} ({gpu.name}, {speed}): the rule, and us for one layer")
    _print_fitting(headers, rows, [], name_column=0)
    click.echo("; ".join(text for basis, text in _MEANINGS.items() if basis in bases))
    click.echo()
    for step in steps:
        click.echo(_summary(contents, step))
    is_merged = any("+" in name for kind in contents.operators for name in kind.names)
    merging = "layers with a + are merged" if is_merged else "each layer by itself"
    click.echo(f"{merging}, without attention and what lies between kernels")
    if contents.unmerged:
        click.echo(f"no layers are merged: {contents.unmerged}")


def _cell(rule: str, basis: str | None, time_us: float | None) -> str:
    return rule if time_us is None or basis is None else f"{rule} {_MARKS[basis]}{three_digits(time_us)}"


def _summary(contents: Contents, step: Step) -> str:
    """Return one line on the sum of a forward pass."""
    times_us = step.times_us or ()  # There is a GPU.
    total_us = sum(times_us)
    ours_us = sum(t for kind, t in zip(contents.operators, times_us, strict=True) if kind.is_packed)
    what = "a token" if step.m == 1 else f"{step.m} rows"
    rate = step.m / total_us * 1e6
    ours = f"; quantized layers take {_duration(ours_us)} of it" if 0 < ours_us < total_us else ""
    return f"{what}: {_duration(total_us)}, {rate:,.0f} tokens/s{ours}"


def _print_fitting(headers: list[str], rows: list[list[str]], right: list[str], name_column: int = 1) -> None:
    """Print a table whose names are cut so that it fits the window, and a page of 80 columns."""
    width = max(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    others = [i for i in range(len(headers)) if i != name_column]
    taken = sum(2 + max(len(headers[i]), *(len(row[i]) for row in rows)) for i in others) if rows else 0
    room = max(_MIN_NAME, width - taken)
    for row in rows:
        if len(row[name_column]) > room:
            row[name_column] = row[name_column][: room - 3] + "..."
    print_table(headers, rows, right=right)


def _format(kind: LayerKind, contents: Contents) -> str:
    """Return the format as it is stored, and what it becomes where that is another one."""
    if not kind.is_packed and kind.role != "rest" and kind.dtype != contents.dtype:
        return f"{kind.dtype} -> {contents.dtype}"
    return kind.format + ("*" if kind.is_permuted else "")


def _sizes(kind: LayerKind) -> str:
    return f"{kind.N} x {kind.K}" if kind.N else ""


def _short_names(kind: LayerKind) -> str:
    """Return the last parts of the names of a kind, each once."""
    parts = [[part for part in name.split(".") if not part.isdigit() and part != "weight"] for name in kind.names]
    last = list(dict.fromkeys(part[-1] if part else name for part, name in zip(parts, kind.names, strict=True)))
    inside = "experts " if kind.role == "experts" and not any("exp" in name for name in last) else ""
    return inside + ", ".join(last)


def _duration(time_us: float) -> str:
    return f"{three_digits(time_us / 1e3)} ms" if time_us >= 1000 else f"{three_digits(time_us)} us"


def _as_json(contents: Contents, steps: list[Step], arch: str, gpu: GpuArch | None) -> dict[str, Any]:
    return {
        "path": str(contents.path),
        "model": contents.model or None,
        "format": contents.format,
        "dtype": contents.dtype,
        "file_bytes": contents.file_bytes,
        "memory_bytes": contents.memory_bytes,
        "experts_used": contents.experts_used,
        "was_checked": contents.was_checked,
        "target": {
            "arch": arch,
            "product": gpu.example if gpu else None,
            "bandwidth_bytes_per_s": gpu.bandwidth_bytes_per_s if gpu else None,
        },
        "unmerged": contents.unmerged or None,
        "operators": [
            {
                "role": kind.role,
                "names": list(kind.names),
                "count": kind.count,
                "problem": kind.config.problem() if kind.config is not None else None,
            }
            for kind in contents.operators
        ],
        "kinds": [
            {
                "role": kind.role,
                "names": list(kind.names),
                "count": kind.count,
                "N": kind.N or None,
                "K": kind.K or None,
                "experts": kind.experts,
                "shape": list(kind.shape) or None,
                "format": kind.format,
                "bits": kind.bits,
                "file_bytes": kind.file_bytes,
                "memory_bytes": kind.memory_bytes,
                "is_permuted": kind.is_permuted,
                "is_tied": kind.is_tied,
                "reason": kind.reason or None,
                "problem": kind.config.problem() if kind.config is not None else None,
            }
            for kind in contents.kinds
        ],
        "steps": [
            {
                "m": step.m,
                "time_us": step.time_us,
                "operators": [
                    None
                    if prediction is None and step.times_us is None
                    else {
                        **(dataclasses.asdict(prediction) if prediction is not None else {}),
                        "total_us": step.times_us[index] if step.times_us is not None else None,
                    }
                    for index, prediction in enumerate(step.predictions)
                ],
            }
            for step in steps
        ],
    }
