# SPDX-License-Identifier: Apache-2.0
"""`bitquant bench`: time kernels against the memory's speed and other libraries; tables and plots of the figures."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitquant.cli.output import print_table, wrapped
from bitquant.cli.problem import DASHES, RowList, routing_of, routing_options, target_option
from bitquant.errors import UnsupportedError

if TYPE_CHECKING:
    from bitquant.testing.bench.peers import Peer
    from bitquant.testing.bench.problems import Cell
    from bitquant.testing.bench.run import Options

__all__ = ["bench"]

#: In docs/figures.md, the tables stand between these lines.
_BEGIN, _END = "<!-- begin: bitquant bench -->", "<!-- end: bitquant bench -->"


@click.command(
    short_help="Time kernels beside those of other libraries.",
    context_settings=DASHES,
    epilog="""
\b
Examples:
  bitquant bench --shapes decode --formats uint4-g128-zeros,int4-g128 \\
      --m 1,8,16 --json decode.json
  bitquant bench --shapes llama-3-70b,4096x4096 --formats nf4-g64 --m 1 \\
      --peers "torch linear,bitsandbytes"
  bitquant bench --num_experts 128 --routing indexed --top_k 8 \\
      --shapes 1536x2048 --formats bfloat16:uint4-g128 --m 1,4,16
  bitquant bench --host --shapes 4096x4096 --formats uint4-g128-zeros
  bitquant bench --from-json decode.json --markdown docs/figures.md \\
      --plots plots
  bitquant bench --model llama-3-8b \\
      --methods float16,uint4-g128-zeros,bitsandbytes
\b
Formats are [A:]W[-gSIZE|-row][-zeros|-rescale|-quantized][-scaled]: the type
of A where it is not --A_dtype, the type of W, the size of groups that share a
scale (row: one a row; nothing: no scales), the mode of zero points, and
whether outputs are scaled by row and column.
Shapes are NxK, or sets: llama-3-8b, llama-3-70b, bitblas, square, decode.
""",
)
@click.option("--shapes", default="decode", show_default=True, help="Sizes NxK and names of sets.")
@click.option("--formats", default="uint4-g128-zeros", show_default=True, help="Formats of A and W.")
@click.option("--m", "rows", type=RowList(), default="1,16,64", show_default=True, help="Rows of A, each static.")
@routing_options
@click.option("--A_dtype", "a_dtype", default="float16", show_default=True, help="Type of A where a format names none.")
@click.option(
    "--order",
    default="format,shape,m",
    show_default=True,
    help="Which axis varies slowest first; within an axis the order is yours. With m last, weights are made once.",
)
@click.option(
    "--peers", default=None, help="Names of peers that take part; none: no peer. Default: all that are installed."
)
@target_option
@click.option("--replays", type=click.IntRange(5), default=5, show_default=True, help="Samples; their median counts.")
@click.option("--target-ms", type=float, default=10.0, show_default=True, help="Length of a sample.")
@click.option(
    "--time-limit",
    type=float,
    default=None,
    metavar="SECONDS",
    help="End in this time, with what there is. With --model: the longest preparation of a method.",
)
@click.option(
    "--peer-limit",
    type=click.FloatRange(0, min_open=True),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="A peer that takes longer to prepare for a cell is left out from there on.",
)
@click.option(
    "--jobs", type=click.IntRange(1), default=None, help="Processes that compile. Default: all cores but one."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="File for all figures, written one by one.")
@click.option(
    "--from-json",
    "sources",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Time nothing; take the figures of this file. May be given several times, of one device or several.",
)
@click.option("--commit", default=None, help="Which sources are timed, for the results. Default: that of the checkout.")
@click.option(
    "--markdown",
    "markdown_path",
    type=click.Path(path_type=Path),
    help=f"File for tables in Markdown; in one with the lines {_BEGIN} and {_END} what stands between them changes.",
)
@click.option("--plots", "plot_folder", type=click.Path(path_type=Path), help="Folder for plots, PNG and SVG.")
@click.option("--host", is_flag=True, help="Time the host's part of a call instead, of each problem.")
@click.option("--model", default=None, metavar="NAME|DIR", help="Time a whole model instead: tokens a second.")
@click.option(
    "--methods",
    default="float16,uint4-g128-zeros,int8-row",
    show_default=True,
    help="With --model: what its linear layers are, the first being what others are compared with.",
)
@click.option("--batch", type=RowList(), default="1,16", show_default=True, help="With --model: sequences.")
@click.option(
    "--prompt", type=click.IntRange(1), default=32, show_default=True, help="With --model: tokens of a prompt."
)
@click.option(
    "--cache",
    "cache_length",
    type=click.IntRange(4),
    default=256,
    show_default=True,
    help="With --model: tokens that the static cache holds.",
)
@click.option("--layers", type=click.IntRange(1), default=None, help="With --model NAME: fewer blocks than it has.")
@click.option("--compile/--no-compile", "is_compiled", default=True, help="With --model: whether by torch.compile.")
def bench(
    shapes: str,
    formats: str,
    rows: tuple[int, ...],
    a_dtype: str,
    order: str,
    peers: str | None,
    target: str | None,
    replays: int,
    target_ms: float,
    time_limit: float | None,
    peer_limit: float,
    jobs: int | None,
    json_path: Path | None,
    sources: tuple[Path, ...],
    commit: str | None,
    markdown_path: Path | None,
    plot_folder: Path | None,
    host: bool,
    model: str | None,
    methods: str,
    batch: tuple[int, ...],
    prompt: int,
    cache_length: int,
    layers: int | None,
    is_compiled: bool,
    **experts: Any,
) -> int:
    """Time kernels against the memory's speed and against other libraries.

    Every time is that of one call whose weight is not in the cache, on a GPU without host time: CUDA graphs of all
    implementations replayed in turn, the median of their samples. The floor is a kernel that reads as many bytes and
    does nothing else. Results are checked against float64 in the same run. The exit code is 1 if one of ours is wrong
    or fails.

    With --num_experts, products with the weights of experts, without peers: --m counts rows that are sorted, or tokens;
    routing is random, another for each call, and the floor reads the experts that are met on average.

    With --model, whole models: random weights of a model's sizes, or a checkpoint. The static cache, attention and
    all else but the linear layers is the same for every method, each of which has a process of its own.
    """
    begin = time.perf_counter()
    progress = _Progress(begin)
    routing = routing_of(experts)
    if routing is not None and (model is not None or sources):
        raise click.UsageError(f"--num_experts goes without {'--model' if model else '--from-json'}; leave one out")
    if model is not None:
        progress.say("importing torch and TVM", is_lasting=True)
        from bitquant.cli.bench_model import bench_model
        from bitquant.testing.bench.generation import GenerationOptions

        chosen_options = GenerationOptions(
            model,
            batch,
            prompt,
            cache_length,
            layers,
            _device_type(target),
            is_compiled,
            jobs or 1,
            prepare_limit_s=time_limit,
        )
        with progress:
            return bench_model(chosen_options, methods.split(","), json_path, progress.say)
    if not sources:
        progress.say("importing torch and TVM", is_lasting=True)
    from bitquant.testing.bench import report

    if sources:
        found = report.by_device(sources)
    else:
        from bitquant.testing.bench.problems import Grouping, cells, parse_kind, parse_shapes
        from bitquant.testing.bench.run import Options

        kinds = [parse_kind(text, a_dtype) for text in formats.split(",")]
        if routing is not None:
            kinds = [kind.of_experts(Grouping(**routing)) for kind in kinds]
        chosen = list(cells(kinds, parse_shapes(shapes), rows, order.split(",")))
        if host:
            _print_host_times(chosen, target)
            return 0
        options = Options(
            target=target,
            replays=replays,
            target_ms=target_ms,
            time_limit_s=time_limit,
            peer_limit_s=peer_limit,
            jobs=max(1, (os.cpu_count() or 2) - 1) if jobs is None else jobs,
            peers=_peers("none" if peers is None and routing is not None else peers),
            begin=begin,
            commit=commit,
        )
        with progress:
            found = [_run(chosen, options, progress, json_path)]
    for results in found:
        _print(results)
    if markdown_path is not None:
        _write_markdown(markdown_path, "\n".join(map(report.markdown, found)))
        click.echo(f"wrote {markdown_path}")
    if plot_folder is not None:
        from bitquant.testing.bench.plots import plot

        for path in plot(found, plot_folder):
            click.echo(f"wrote {path}")
    return int(any("complaint" in entry["ours"] for results in found for entry in results["cells"]))


def _device_type(target: str | None) -> str:
    """Return where whole models are timed.

    Raises
    ------
    UnsupportedError
        If that is a GPU and there is none.
    """
    import torch

    if target == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError("'--target' cuda needs a GPU and none is visible; use --target cpu", target=target)
    if target in ("cuda", "cpu"):
        return target
    if target is not None:
        raise click.BadParameter(f"{target!r}: with --model it is cuda or cpu", param_hint="--target")
    return "cuda" if torch.cuda.is_available() else "cpu"


def _peers(names: str | None) -> tuple[Peer, ...]:
    """Return who takes part: None: all; "none": nobody."""
    from bitquant.testing.bench.peers import PEERS, Refusal, peers_by_name

    try:
        return PEERS if names is None else () if names == "none" else peers_by_name(names.split(","))
    except Refusal as error:
        raise click.BadParameter(str(error), param_hint="--peers") from error


class _Progress:
    """Says on standard error what a run does: on a terminal in one line that changes, else in a line a stage."""

    def __init__(self, begin: float) -> None:
        from rich.console import Console

        self._begin = begin
        self._console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        self._status = self._console.status("") if self._console.is_terminal else None

    def __enter__(self) -> None:
        if self._status is not None:
            self._status.start()

    def __exit__(self, *_error: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, words: str, is_lasting: bool = False) -> None:
        """Print a line, at once; on a terminal the next one replaces it unless it is a lasting one."""
        line = f"{time.perf_counter() - self._begin:6.1f} s  {words}"
        if self._status is None:
            click.echo(line, err=True)
        elif is_lasting:
            self._console.print(line)
        else:
            self._status.update(line)


def _run(chosen: list[Cell], options: Options, progress: _Progress, json_path: Path | None) -> dict[str, Any]:
    """Time the cells; progress goes to standard error, the figures so far to the file."""
    from bitquant.testing.bench.report import best_peer
    from bitquant.testing.bench.run import Bench, Listener, save

    def where(index: int) -> str:
        return f"cell {index + 1}/{len(run.cells)} {run.cells[index]}: "

    class Speaker(Listener):
        def stage(self, index: int | None, words: str) -> None:
            progress.say(words if index is None else where(index) + words)

        def changed(self) -> None:
            if json_path is not None:
                save(run.results, json_path)

    run = Bench(chosen, options, Speaker())
    is_main = threading.current_thread() is threading.main_thread()
    # `timeout` and batch systems end a run so; it then closes like one that is interrupted.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if is_main else None
    try:
        for i, entry in enumerate(run.run()):
            ours, floor = entry["ours"], entry.get("floor", {}).get("latency_us")
            words = [ours.get("complaint") or f"ours {ours['latency_us']:.2f} us"]
            if floor:
                words.append(f"floor {floor:.2f} us")
            if peer := best_peer(entry):
                words.append(f"best peer {peer[0]} {peer[1]:.2f} us")
            progress.say(where(i) + ", ".join(words), is_lasting=True)
    except KeyboardInterrupt:
        run.results["stopped"] = f"interrupted: {len(run.results['cells'])} of {len(run.cells)} cells done"
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)
    if json_path is not None:
        save(run.results, json_path)
    return run.results


def _print(results: dict[str, Any]) -> None:
    from bitquant.testing.bench import report

    click.echo(wrapped(report.environment(results), hang="  "))
    click.echo("Times in us.")
    headers, rows = report.table(results)
    used = [i for i in range(len(headers)) if any(row[i] for row in rows)]
    headers, rows = [headers[i] for i in used], [[row[i] for i in used] for row in rows]
    if sys.stdout.isatty():  # A table a format, with headers of two lines: 80 columns have room for two peers.
        for long, short in ((" / ", "\n/"), ("/s", "\n/s"), ("torch ", "torch\n"), ("best peer", "best"), (" x ", "x")):
            headers = [header.replace(long, short) for header in headers]
            rows = [[row[0], *(text.replace(" x ", "x") for text in row[1:])] for row in rows]
        for name in dict.fromkeys(row[0] for row in rows):
            click.echo(f"\n{name}")
            print_table(headers[1:], [row[1:] for row in rows if row[0] == name], right=headers[2:])
        click.echo()
    else:
        print_table(headers, rows, right=headers[2:])
    for line in (*report.summary(results), *report.complaints(results)):
        click.echo(wrapped(line, hang="  "))


def _print_host_times(chosen: list[Cell], target: str | None) -> None:
    from bitquant.testing.bench.run import host_times

    for cell in chosen:
        times = host_times(cell, target)
        click.echo(f"{cell}: forward {times['forward_us']:.2f} us, bare kernel {times['kernel_us']:.2f} us a call")


def _write_markdown(path: Path, text: str) -> None:
    """Write the tables: into their section of a document that has one, else as the whole file."""
    document = path.read_text(encoding="utf-8") if path.is_file() else ""
    if _BEGIN in document and _END in document:
        before, after = document.split(_BEGIN)[0], document.split(_END)[1]
        text = f"{before}{_BEGIN}\n\n{text}\n{_END}{after}"
    path.write_text(text, encoding="utf-8")
