# SPDX-License-Identifier: Apache-2.0
"""`bitquant inspect`: print what stands at one stage of the making of a kernel."""

from __future__ import annotations

import dataclasses
import json
from typing import IO, TYPE_CHECKING, Any

import click

from bitquant.cli.output import format_bytes, print_source, wrapped
from bitquant.cli.problem import GroupedCommand, routing_options, target_option
from bitquant.cli.progress import Progress
from bitquant.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from tvm.target import Target

    from bitquant.schedule import Plan

__all__ = ["inspect"]

#: The stages in the order of their making, and pygments' name of what they are written in.
_LANGUAGES = {
    "te": "python",
    "tir": "python",
    "scheduled": "python",
    "cuda": "cuda",
    "ptx": "ptx",
    "sass": "gas",
    "report": "text",
}
#: Columns before what a line of the report says.
_HANG = 13
_CUDA_STAGES = ("cuda", "ptx", "sass")


@click.command(
    short_help="Print a kernel at one stage, or write a page with all.",
    cls=GroupedCommand,
    epilog="""
\b
Stages, in the order of their making:
  te         the tensor expressions B_decode, C and D
  tir        the unscheduled function
  scheduled  the scheduled function
  cuda       CUDA C++ (CUDA targets)
  ptx        PTX (CUDA targets)
  sass       disassembled machine code (CUDA targets, with a disassembler)
  report     rule, hint, refusals, registers, shared memory, bytes and
             operations a call
\b
Examples:
  bitquant inspect --stage te --M 1 --N 1024 --K 1024 --W_dtype uint3 \\
      --group_size 64 --with_scaling
  bitquant inspect --stage cuda --target h100 --M 1 --N 4096 --K 4096 \\
      --W_dtype uint4 | less
  bitquant inspect --html kernel.html --target h100 --M 16 --N 4096 --K 4096 \\
      --W_dtype uint4 --group_size 128 --with_scaling
  bitquant inspect --stage cuda --target h100 --num_experts 8 --N 4096 \\
      --K 1024 --W_dtype fp4_e2m1 --routing indexed --top_k 2
  bitquant inspect --stage ptx --rung 64 --target sm_80 --N 4096 --K 4096 \\
      --W_dtype int8 --out kernel.ptx
""",
)
@target_option
@routing_options
@click.option("--stage", type=click.Choice(list(_LANGUAGES)), help="What to print; see below.")
@click.option("--html", metavar="FILE", help="Write one page on one kernel: all stages, drawings, roofline.")
@click.option(
    "--rung", type=int, metavar="M", help="The kernel for one number of --M alone. Default: all; of a page: the first."
)
@click.option("--full", is_flag=True, help="Print CUDA C++ with the preamble that TVM puts before every kernel.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--out", type=click.File("w", encoding="utf-8"), metavar="FILE", help="Write to FILE, not to the screen.")
def inspect(
    *,
    config: Any,
    target: str | None,
    stage: str | None,
    html: str | None,
    rung: int | None,
    full: bool,
    as_json: bool,
    out: IO[str] | None,
) -> None:
    """Print what stands at one stage of the making of a kernel, or write a page on all of them.

    No GPU is needed: name the architecture with --target. Sources are printed in whole lines, coloured on a terminal
    and plain in a pipe.
    """
    from bitquant.arch import resolve_target
    from bitquant.build import progress_reported
    from bitquant.schedule import plan, preferred_layout

    if stage is not None and html is not None:
        raise click.UsageError("one of --stage and --html is wanted (got both); leave one out")
    if html is not None:
        for name, is_given in (("--json", as_json), ("--full", full), ("--out", out is not None)):
            if is_given:
                raise click.UsageError(f"{name} goes with --stage (got --html); leave it out")
        _write_page(html, config, target, rung)
        return
    if stage is None:
        raise click.UsageError(f"one of --stage and --html is wanted; --stage is one of {', '.join(_LANGUAGES)}")
    if as_json and stage != "report":
        raise click.UsageError(f"--json goes with --stage report (got {stage}); leave it out")
    resolved = resolve_target(target)
    planned = plan(config, resolved, preferred_layout(config, resolved))
    if rung is not None:
        config = _one_rung(config, rung, resolved)
    if stage in _CUDA_STAGES and resolved.kind.name != "cuda":
        raise UnsupportedError(
            f"'--stage' {stage} needs a CUDA target (got {target or 'no --target, and no GPU is here'}); "
            "add --target sm_90a, say: no GPU is needed to compile for it",
            stage=stage,
            target=target,
        )
    with Progress() as progress, progress_reported(progress.advance):
        progress.say("making kernels", len(config.ladder))
        text = _source(config, resolved, "json" if as_json else stage, planned)
    if stage == "cuda" and not full:
        from bitquant.source.preamble import strip_preamble

        text = strip_preamble(text)
    if out is not None:
        out.write(text.rstrip("\n") + "\n")
    elif stage == "report" and not as_json:
        click.echo(wrapped(text, hang=" " * _HANG))
    else:
        print_source(text, "json" if as_json else _LANGUAGES[stage])


def _write_page(path: str, config: Any, target: str | None, rung: int | None) -> None:
    """Write the page of one rung, by default the first one."""
    from bitquant.explore import check_writable

    check_writable(path)
    from bitquant.arch import resolve_target
    from bitquant.compute import select_implementation
    from bitquant.explore import explore
    from bitquant.problem import Problem
    from bitquant.schedule import plan, preferred_layout

    rung = config.ladder[0] if rung is None else rung
    _check_rung(config, rung)
    resolved = resolve_target(target)
    layout = preferred_layout(config, resolved)
    with Progress() as progress:
        progress.say("making the page", 1)
        planned = plan(config, resolved, layout, rungs=(rung,))
        page = explore(Problem(config, rung, resolved, layout), select_implementation(config, layout), planned)
    page.save(path)
    size = format_bytes(len(page.html.encode()))
    click.echo(f"{path}: {size}; compiled in {page.compile_s:.1f} s, the page in {page.page_s:.2f} s")


def _check_rung(config: Any, rung: int) -> None:
    if rung not in config.ladder:
        raise ConfigError(f"'--rung' must be one of {', '.join(map(str, config.ladder))} (got {rung})", rung=rung)


def _one_rung(config: Any, rung: int, target: Target) -> Any:
    """Return the problem whose one function is that of a rung: with rows as fixed, and a weight in the same layout."""
    from bitquant.schedule import preferred_layout

    _check_rung(config, rung)
    one = config.with_M(rung if config.has_fixed_rows(rung) else (rung,))
    if preferred_layout(one, target) != preferred_layout(config, target):
        return dataclasses.replace(one, fast_decoding=False)
    return one


def _source(config: Any, target: Target, stage: str, planned: Plan) -> str:
    from bitquant.compute import select_implementation
    from bitquant.grouped_matmul import GroupedMatmul
    from bitquant.matmul import Matmul
    from bitquant.schedule import apply_plan, preferred_layout, schedule_module

    if stage in ("te", "tir", "scheduled"):  # These need no compiler.
        mod = select_implementation(config, preferred_layout(config, target))
        if stage == "te":
            from bitquant.compute.expressions import te_source

            return te_source(config, mod)
        return str(
            (schedule_module(apply_plan(mod, target, planned), target) if stage == "scheduled" else mod).script()
        )
    kind = Matmul if config.operation == "matmul" else GroupedMatmul
    operator = kind(config, target=target, records=planned)
    read = {"cuda": operator.get_source, "ptx": operator.get_ptx, "sass": operator.get_sass, "report": operator.report}
    read["json"] = lambda: json.dumps(operator.facts(), indent=1)
    return read[stage]()
