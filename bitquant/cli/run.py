# SPDX-License-Identifier: Apache-2.0
"""`bitquant run`: build a problem, check it against the float64 oracle, time it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bitquant.cli.output import print_json, print_table, three_digits, wrapped
from bitquant.cli.problem import ProblemCommand, parse_rows, target_option
from bitquant.cli.progress import Progress
from bitquant.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    import torch
    from rich.console import RenderableType

    from bitquant.config import MatmulConfig
    from bitquant.matmul import Matmul
    from bitquant.operator import Operator
    from bitquant.testing.generators import Inputs

__all__ = ["run"]

#: Rungs of a ladder that are run where --m does not say which.
_MAX_RUNGS = 4
#: Work of the float64 oracle on a CPU, in multiplications, beyond which only some columns are checked; a second or so.
#: Decoding a weight costs it about as much as 64 multiplications.
_MAX_WORK, _WORK_PER_WEIGHT = 2**32, 64
_CHECKED_COLUMNS = 512


@dataclass(frozen=True)
class _Result:
    """The outcome of a call with `m` rows; `complaint` says what is wrong and is empty where all is right."""

    m: int
    error: float
    columns: int
    complaint: str
    latency_us: float


@dataclass(frozen=True)
class _Construction:
    """How an operator came about: where it runs, how long its making took, and whether it was compiled for that.

    `cache_complaint` says why it is not kept in the disk cache, and is empty where it is.
    """

    device: str
    seconds: float
    is_compiled: bool
    cache_complaint: str


class _Rows(click.ParamType):
    name = "rows"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers of a list such as "1,16,64"."""
        try:
            rows = parse_rows(value)
        except ValueError:
            return self.fail(f"{value!r} is not a list of numbers such as 1,16,64", param, ctx)
        if min(rows) < 1:
            self.fail(f"{value!r} has a number of rows below 1", param, ctx)
        return rows


@click.command(
    cls=ProblemCommand,
    epilog="""
\b
Examples:
  bitquant run --M 1 --N 1024 --K 1024 --W_dtype uint4 --group_size 128 \\
      --with_scaling --with_zeros
  bitquant run --M 1,16,64 --m 1,5,64,100 --N 4096 --K 4096 --W_dtype nf4 \\
      --group_size 64 --with_scaling
  bitquant run --M 8 --N 512 --K 512 --A_dtype int8 --W_dtype int2 \\
      --accum_dtype int32 --out_dtype int32 --target cpu --json
""",
)
@target_option
@click.option(
    "--m",
    "rows",
    type=_Rows(),
    metavar="ROWS",
    help=f"Rows of A to call with, such as 1,16,64. Default: M, or the first {_MAX_RUNGS} of a list.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed gives other operands.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def run(config: MatmulConfig, target: str | None, rows: tuple[int, ...] | None, seed: int, as_json: bool) -> int:
    """Build a problem, check its result, and time it.

    The operands are random, and the reference is computed in float64. The time is that of one call whose weight is not
    in the cache: on a GPU the median of replays of a CUDA graph, without host time. GB/s counts every operand once,
    TFLOP/s 2 M N K operations. The exit code is 1 if a result is wrong.
    """
    asked, rows = rows, _rows_to_run(config, rows)
    operator, construction = _construct(config, target)
    if not as_json:
        _print_header(operator, construction)
    with Progress() as progress:
        progress.say("checking and timing", len(rows))
        results = []
        for m in rows:
            results.append(_run_once(operator, m, seed))
            progress.advance()
    if as_json:
        print_json(_as_json(operator, construction, results))
    else:
        click.echo()
        _print_results(operator, results)
        left_out = config.ladder[len(rows) :] if asked is None else ()
        for line in _notes(config, results, left_out):
            click.echo(line)
    for result in results:
        if result.complaint:
            click.echo(f"wrong result for m = {result.m}: {result.complaint}", err=True)
    return int(any(r.complaint for r in results))


def _rows_to_run(config: MatmulConfig, rows: tuple[int, ...] | None) -> tuple[int, ...]:
    if rows is None:
        return config.ladder[:_MAX_RUNGS]
    if isinstance(config.M, int) and set(rows) != {config.M}:
        raise ConfigError(
            f"'--m' must be {config.M} where M is static (got {','.join(map(str, rows))}); "
            f"use a list, such as --M {config.M},{16 * config.M}",
            m=rows,
        )
    return rows


def _construct(config: MatmulConfig, target: str | None) -> tuple[Matmul, _Construction]:
    """Return the operator, and how it came about."""
    import torch

    from bitquant import cache
    from bitquant.arch import resolve_target
    from bitquant.build import progress_reported
    from bitquant.matmul import Matmul

    resolved = resolve_target(target)
    is_cuda = resolved.kind.name == "cuda"
    if is_cuda and not torch.cuda.is_available():
        raise UnsupportedError(
            f"running a kernel for {resolved.arch} needs that GPU, and none is visible; use --target cpu, "
            f"or read the kernel: bitquant inspect --target {resolved.arch} --stage cuda ...",
            target=target,
        )
    begin = time.perf_counter()
    with Progress() as progress, progress_reported(progress.advance):
        progress.say("compiling kernels", len(config.ladder))
        operator = Matmul(config, target=resolved)
    seconds = time.perf_counter() - begin
    device = torch.cuda.get_device_name() if is_cuda else f"CPU {resolved.attrs.get('mcpu', '')}"
    # A kernel from the cache has not been scheduled in this process.
    is_compiled = "scheduled_mod" in vars(operator)
    complaint = "" if cache.is_enabled() else "the cache is off"
    if not complaint and not os.access(cache.cache_dir(), os.W_OK):
        complaint = "the cache cannot be used"
    return operator, _Construction(device, seconds, is_compiled, complaint)


def _print_header(operator: Matmul, construction: _Construction) -> None:
    """Say what is run, and how long its construction took."""
    click.echo(operator.config)
    click.echo(wrapped(operator.config.problem_summary(), "  "))
    click.echo(f"  target       {operator.arch}, {construction.device}")
    how = "from the cache"
    if construction.is_compiled:
        how = f"compiled; {construction.cache_complaint or 'the next run takes it from the cache'}"
    click.echo(f"  constructed  in {construction.seconds:.2f} s, {how}")


def _notes(config: MatmulConfig, results: list[_Result], left_out: tuple[int, ...]) -> list[str]:
    """Return lines on what was not run, or not checked in full."""
    lines = []
    if left_out:
        lines.append(f"not run: m = {', '.join(map(str, left_out))}; --m names others")
    for columns in sorted({r.columns for r in results if r.columns < config.columns}):
        many = ", ".join(str(r.m) for r in results if r.columns == columns)
        lines.append(f"checked for m = {many}: {columns} of {config.columns} columns, drawn at random")
    return lines


def _as_json(operator: Matmul, construction: _Construction, results: list[_Result]) -> dict[str, Any]:
    config = operator.config
    return {
        "problem": config.problem(),
        "target": operator.arch,
        "device": construction.device,
        "weight_layout": operator.weight_layout,
        "construction_s": construction.seconds,
        "is_compiled": construction.is_compiled,
        "results": [
            {
                "m": r.m,
                "rule": _rule(operator, r.m),
                "relative_error": r.error,
                "tolerance": _tolerance(config),
                "is_right": not r.complaint,
                "complaint": r.complaint or None,
                "checked_columns": r.columns,
                "latency_us": r.latency_us,
                "bytes": operator.bytes_per_call(r.m),
                "flop": _flop(operator, r.m),
            }
            for r in results
        ],
    }


def _tolerance(config: MatmulConfig) -> float | str:
    """Return the bound of the relative error; for integers, in words, that of the difference of an element."""
    from bitquant.testing.oracle import tolerance

    if config.has_exact_results:
        return "exact"
    return "1 at ties" if config.out_format.is_integer else tolerance(config)


def _flop(operator: Operator, m: int) -> int:
    return 2 * m * operator.config.N * operator.config.K


def _run_once(operator: Matmul, m: int, seed: int) -> _Result:
    from bitquant.testing.check import poisoned
    from bitquant.testing.generators import make_inputs
    from bitquant.testing.oracle import assert_close, relative_error, round_to_output

    config, device = operator.config, "cuda" if operator.is_cuda else "cpu"
    inputs = make_inputs(config, m, device, seed)
    output = poisoned((m, config.columns), config.out_format.torch_dtype, device)
    operator(
        inputs.A,
        operator.transform_weight(inputs.W),
        **inputs.optional,
        output=output,
    )
    checked, inputs, output = _checked_columns(config, inputs, output.cpu(), seed)
    reference = inputs.reference(checked)
    complaint = ""
    try:
        assert_close(output, reference, checked, inputs.passed_on(checked))
    except AssertionError as error:
        complaint = str(error)
    rounded = round_to_output(reference, checked)
    latency_us = operator.profile_latency(m)
    return _Result(m, relative_error(output, rounded), checked.columns, complaint, latency_us)


def _checked_columns(
    config: MatmulConfig, inputs: Inputs, output: torch.Tensor, seed: int
) -> tuple[MatmulConfig, Inputs, torch.Tensor]:
    """Return the problem, operands and output of the columns n to check: all, or a random few of a large problem."""
    import torch

    N, of_w = output.shape[1], config.rows_per_column
    if N <= _CHECKED_COLUMNS or (len(output) + _WORK_PER_WEIGHT) * config.N * config.K <= _MAX_WORK:
        return config, inputs, output
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randperm(N, generator=generator)[:_CHECKED_COLUMNS].sort().values
    rows_of_w = (columns[:, None] * of_w + torch.arange(of_w)).flatten()
    few = inputs.columns(rows_of_w.to(inputs.W.device))
    return few.config, few, output[:, columns]


def _print_results(operator: Operator, results: list[_Result]) -> None:
    from rich.text import Text

    c = operator.config
    bound = _tolerance(c)
    rows: list[list[RenderableType]] = [
        [
            str(r.m),
            f"{r.error:.1e}",
            bound if isinstance(bound, str) else f"{bound:.1e}",
            Text("FAIL", style="bold red") if r.complaint else Text("pass", style="green"),
            three_digits(r.latency_us),
            three_digits(operator.bytes_per_call(r.m) / r.latency_us / 1e3),
            three_digits(_flop(operator, r.m) / r.latency_us / 1e6),
            _rule(operator, r.m),
        ]
        for r in results
    ]
    headers = ["m", "rel. error", "tolerance", "result", "latency us", "GB/s", "TFLOP/s", "rule"]
    print_table(headers, rows, right=[h for h in headers if h not in ("result", "rule")])


def _rule(operator: Operator, m: int) -> str:
    """Return the name of the rule that made the kernel for `m` rows."""
    ladder = operator.config.ladder
    rung = next((rung for rung in ladder if m <= rung), ladder[-1])
    return operator.choices[rung].rule
