# SPDX-License-Identifier: Apache-2.0
"""`bitquant inspect`: print what stands at one stage of the making of a kernel."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import IO, TYPE_CHECKING, Any

import click

from bitquant.cli.output import print_source, wrapped
from bitquant.cli.problem import ProblemCommand, target_option
from bitquant.cli.progress import Progress
from bitquant.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from tvm.target import Target

    from bitquant.config import MatmulConfig
    from bitquant.schedule import Plan

__all__ = ["inspect", "strip_preamble", "te_source"]

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
    cls=ProblemCommand,
    epilog="""
\b
Stages, in the order of their making:
  te         the tensor expressions B_decode, C and D
  tir        the unscheduled function
  scheduled  the scheduled function
  cuda       CUDA C++                       (CUDA targets)
  ptx        PTX                            (CUDA targets)
  sass       machine code, disassembled     (CUDA targets, with a disassembler)
  report     rule, hint, refusals, registers, shared memory, bytes and
             operations a call
\b
Examples:
  bitquant inspect --stage te --M 1 --N 1024 --K 1024 --W_dtype uint3 \\
      --group_size 64 --with_scaling
  bitquant inspect --stage cuda --target h100 --M 1 --N 4096 --K 4096 \\
      --W_dtype uint4 | less
  bitquant inspect --stage ptx --rung 64 --target sm_80 --N 4096 --K 4096 \\
      --W_dtype int8 --out kernel.ptx
""",
)
@target_option
@click.option("--stage", type=click.Choice(list(_LANGUAGES)), required=True, help="What to print; see below.")
@click.option("--rung", type=int, metavar="R", help="One rung of the ladder. Default: all.")
@click.option("--full", is_flag=True, help="Print CUDA C++ with the preamble that TVM puts before every kernel.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--out", type=click.File("w", encoding="utf-8"), metavar="FILE", help="Write to FILE, not to the screen.")
def inspect(
    *,
    config: MatmulConfig,
    target: str | None,
    stage: str,
    rung: int | None,
    full: bool,
    as_json: bool,
    out: IO[str] | None,
) -> None:
    """Print what stands at one stage of the making of a kernel.

    No GPU is needed: name the architecture with --target. Sources are printed in whole lines, coloured on a terminal
    and plain in a pipe.
    """
    from bitquant.arch import resolve_target
    from bitquant.build import watched
    from bitquant.schedule import plan, preferred_layout

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
    with Progress() as progress, watched(progress.advance):
        progress.say("making kernels", len(config.ladder))
        text = _source(config, resolved, "json" if as_json else stage, planned)
    if stage == "cuda" and not full:
        text = strip_preamble(text)
    if out is not None:
        out.write(text.rstrip("\n") + "\n")
    elif stage == "report" and not as_json:
        click.echo(wrapped(text, hang=" " * _HANG))
    else:
        print_source(text, "json" if as_json else _LANGUAGES[stage])


def _one_rung(config: MatmulConfig, rung: int, target: Target) -> MatmulConfig:
    """Return the problem whose one function is that of a rung: with rows as fixed, and a weight in the same layout."""
    from bitquant.schedule import preferred_layout

    if rung not in config.ladder:
        raise ConfigError(f"'--rung' must be one of {', '.join(map(str, config.ladder))} (got {rung})", rung=rung)
    one = config.with_M(rung if config.has_fixed_rows(rung) else (rung,))
    if preferred_layout(one, target) != preferred_layout(config, target):
        one = dataclasses.replace(one, fast_decoding=False)
    return one


def _source(config: MatmulConfig, target: Target, stage: str, planned: Plan) -> str:
    from bitquant.compute import select_implementation
    from bitquant.matmul import Matmul
    from bitquant.schedule import apply_plan, preferred_layout, schedule_module

    if stage in ("te", "tir", "scheduled"):  # These need no compiler.
        mod = select_implementation(config, preferred_layout(config, target))
        if stage == "te":
            return te_source(config, mod)
        return str(
            (schedule_module(apply_plan(mod, target, planned), target) if stage == "scheduled" else mod).script()
        )
    operator = Matmul(config, target=target, records=planned)
    read = {"cuda": operator.get_source, "ptx": operator.get_ptx, "sass": operator.get_sass, "report": operator.report}
    read["json"] = lambda: json.dumps(operator.facts(), indent=1)
    return read[stage]()


def strip_preamble(source: str) -> str:
    """Return CUDA C++ without the types and macros that TVM puts before every kernel; whole where it has none.

    Of several programs (`bitquant.archive.join_programs`) each loses its own.
    """
    stripped = []
    for program in re.split(r"(?m)^(?=// ---- \w+ ----$)", source):
        heading, line_end, text = program.partition("\n") if program.startswith("// ----") else ("", "", program)
        preamble, end, kernels = text.partition("  #define ushort unsigned short\n#endif\n")
        if end:
            lines = preamble.count("\n") + end.count("\n")
            text = f"// {lines} lines of TVM's preamble are left out; --full prints them.\n{kernels}"
        stripped.append(heading + line_end + text)
    return "".join(stripped)


def te_source(config: MatmulConfig, mod: Any) -> str:
    """Return the tensor expressions of a problem as a Python program in TVM's TE.

    TE graphs have no text of their own. This one is read back from the unscheduled functions, where
    `te.create_prim_func` has written one block for each `te.compute`. Run, the program makes the same functions.

    Parameters
    ----------
    config
        The problem.
    mod
        Its unscheduled module.
    """
    from bitquant.compute.matmul import symbol

    texts: dict[str, list[int]] = {}
    for rung in config.ladder:  # Rungs differ in whether m is symbolic, and in no more.
        texts.setdefault(_te_statements(mod[symbol(rung)]), []).append(rung)
    lines = [
        f"# {config}",
        f"# {config.problem_summary()}",
        "from tvm import te, tirx",
        "from tvm.script import tirx as T",
    ]
    for text, rungs in texts.items():
        where = f"m == {rungs[0]}" if config.is_static else f"m <= {', '.join(map(str, rungs))}"
        lines += ["", f"# {where}", text]
    return "\n".join(lines)


def _te_statements(func: Any) -> str:
    *inputs, D = func.params
    lines = []
    if not (rows := str(inputs[0].shape[0])).isdigit():
        lines.append(f'{rows} = tirx.Var("{rows}", "int32")')
    lines += [f'{p.name} = te.placeholder({_shape(p)}, "{p.dtype}", name="{p.name}")' for p in inputs]
    for block in _blocks(func):
        store = block.body
        axes = {_bare(axis.var.name): (axis, str(axis.dom.extent)) for axis in block.iter_vars}
        spatial = [name for name, (axis, _) in axes.items() if axis.iter_type == axis.DataPar]
        reduced = [name for name in axes if name not in spatial]
        lines += [f'{name} = te.reduce_axis((0, {axes[name][1]}), name="{name}")' for name in reduced]
        # The body of a reduction adds to what the element holds: C[i, j] + (what is summed).
        expression = store.value.b if reduced else store.value
        value = _bare(expression.script())
        lines += [f'{name} = tirx.Var("{name}", "{dtype}")' for name, dtype in _let_variables(expression, value)]
        if reduced:
            value = f"te.sum({value}, axis={', '.join(reduced)})"
        name = store.buffer.name
        lines += [
            f"{name} = te.compute(  # {store.buffer.dtype}",
            f"    {_shape(store.buffer)},",
            f"    lambda {', '.join(spatial)}: {value},",
            f'    name="{name}",',
            ")",
        ]
    arguments = ", ".join(p.name for p in (*inputs, D))
    lines.append(f"func = te.create_prim_func([{arguments}])")
    return "\n".join(lines)


def _blocks(func: Any) -> list[Any]:
    """Return the blocks of an unscheduled function in their order."""
    body = func.body.block.body
    blocks = []
    for loops in body.seq if hasattr(body, "seq") else [body]:
        inner = loops
        while not hasattr(inner, "block"):
            inner = inner.body
        blocks.append(inner.block)
    return blocks


def _let_variables(expression: Any, text: str) -> list[tuple[str, str]]:
    """Return names, as they stand in the text, and types of the variables that an expression binds."""
    import tvm
    import tvm_ffi

    dtypes: dict[str, str] = {}

    def note(let: Any) -> None:
        dtypes[let.var.name] = str(let.var.ty.dtype)

    tvm_ffi.structural_walk(expression, (tvm.tirx.Let, note))
    # The printer numbers variables of one name: code, code_1.
    names = dict.fromkeys(re.findall(r"where=\{(\w+):", text))
    return [(name, dtypes[re.sub(r"_\d+$", "", name)]) for name in names]


def _shape(tensor: Any) -> str:
    return f"({', '.join(map(str, tensor.shape))}{',' if len(tensor.shape) == 1 else ''})"


def _bare(text: str) -> str:
    """Return an expression with the names of TE's axes; `create_prim_func` puts "v_" before them."""
    return re.sub(r"\bv_(?=\w)", "", text)
