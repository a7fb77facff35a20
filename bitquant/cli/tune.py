# SPDX-License-Identifier: Apache-2.0
"""`bitquant tune`: measure the likely kernels of a problem, show them, write records of the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bitquant.cli.output import print_table, wrapped
from bitquant.cli.problem import ProblemCommand, parse_rows, target_option
from bitquant.cli.progress import Progress
from bitquant.errors import RecordError, UnsupportedError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bitquant.config import MatmulConfig
    from bitquant.tune import Trial, TuningResult

__all__ = ["tune"]


class _Rungs(click.ParamType):
    name = "rungs"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers of a list such as "1,16,64"."""
        try:
            return parse_rows(value)
        except ValueError:
            return self.fail(f"{value!r} is not a list of numbers such as 1,16,64", param, ctx)


@click.command(
    cls=ProblemCommand,
    epilog="""
\b
Examples:
  bitquant tune --M 1,16,64 --N 4096 --K 4096 --W_dtype uint4 \\
      --group_size 128 --with_scaling --with_zeros
  bitquant tune --M 1 --N 28672 --K 8192 --W_dtype nf4 --group_size 64 \\
      --with_scaling --write ~/schedules
  BITQUANT_SCHEDULES=~/schedules bitquant run --M 1 --N 28672 --K 8192 \\
      --W_dtype nf4 --group_size 64 --with_scaling
""",
)
@target_option
@click.option("--m", "rungs", type=_Rungs(), metavar="RUNGS", help="Rungs to tune, such as 1,16. Default: all.")
@click.option("--topk", type=click.IntRange(min=1), default=20, show_default=True, help="Candidates a rung.")
@click.option(
    "--workers", type=click.IntRange(min=0), help="Processes that compile; 0: this one. Default: as many as CPUs."
)
@click.option("--write", "directory", metavar="DIR", help="Merge a record of each rung's best into this folder.")
@click.option("--replace", is_flag=True, help="Write records also where there are faster ones.")
@click.option("--all", "show_all", is_flag=True, help="Show every candidate.")
def tune(
    config: MatmulConfig,
    target: str | None,
    rungs: tuple[int, ...] | None,
    topk: int,
    workers: int | None,
    directory: str | None,
    replace: bool,
    show_all: bool,
) -> int:
    """Measure the likely kernels of a problem and show the best of each rung.

    The first candidates of every rule that applies are compiled, checked against a float64 product, and timed; the best
    few twice. The exit code is 1 if a candidate gave a wrong result.
    """
    from bitquant.arch import resolve_target
    from bitquant.build import watched
    from bitquant.matmul import Matmul
    from bitquant.tune import tune as search

    resolved = resolve_target(target)
    if directory is not None and resolved.kind.name != "cuda":
        raise UnsupportedError(
            f"'--write' needs a CUDA target (got {target or 'no --target, and no GPU is here'}): records are of "
            "CUDA GPUs; leave --write out to see what is measured",
            directory=directory,
        )
    with Progress() as progress, watched(progress.advance):
        progress.say("compiling the kernels to begin from", len(config.ladder))
        try:
            operator = Matmul(config, target=resolved)
        except RecordError as error:  # It says: tune it again.
            click.echo(f"{error}\nbeginning from the default instead", err=True)
            operator = Matmul(config, target=resolved, records=())
    with Progress() as progress:
        result = search(operator, topk, rungs, workers, progress=progress.say)
    click.echo(config)
    click.echo(wrapped(config.problem_summary(), "  "))
    click.echo(f"  target {operator.arch}, {result.device}\n")
    if show_all:
        _print_trials(result)
        click.echo()
    _print_best(result)
    for trial in result.complaints:
        click.echo(f"{trial.status}: {trial.candidate}: {trial.note}", err=True)
    result.plan()  # Every rung has a kernel that works, or this says what each candidate said.
    if directory is not None:
        changed = result.write_record(directory, replace)
        for path in changed:
            click.echo(f"wrote {path}")
        if not changed:
            click.echo(f"{directory} has records that are as fast; --replace writes all the same")
    return int(any(trial.status == "wrong" for trial in result.complaints))


def _latency(trial: Trial) -> str:
    return "" if trial.latency_us is None else f"{trial.latency_us:.2f}"


def _print_trials(result: TuningResult) -> None:
    """Print each candidate, by rung and time; latencies of the short pass are in brackets."""
    from rich.text import Text

    rows: list[list[RenderableType]] = []
    for rung in dict.fromkeys(t.candidate.rung for t in result.trials):
        for trial in result.of_rung(rung):
            is_best = result.best.get(rung) is trial
            style = "green" if is_best else "" if trial.status == "measured" else "bold red"
            rows.append([
                str(rung),
                _latency(trial) if trial.is_final or not _latency(trial) else f"({_latency(trial)})",
                Text("best" if is_best else trial.status, style=style),
                trial.candidate.rule.name,
                str(trial.candidate.hint),
            ])  # fmt: skip
    print_table(["m <=", "latency us", "status", "rule", "hint"], rows, right=["m <=", "latency us"])


def _print_best(result: TuningResult) -> None:
    """Print a line a rung: the best candidate, and what it has gained over what was used before."""
    rows: list[list[RenderableType]] = []
    for rung, trial in result.best.items():
        before, trials = result.before(rung), result.of_rung(rung)
        rows.append([
            str(rung),
            _latency(trial),
            _latency(before),
            f"{(before.latency_us or 0.0) / (trial.latency_us or 1.0):.2f}" if before.latency_us else "",
            f"{result.floor_us(rung):.2f}" if result.operator.is_cuda else "",
            f"{len(trials)}, {sum(t.status != 'measured' for t in trials)}",
            trial.candidate.rule.name,
        ])  # fmt: skip
    headers = ["m <=", "latency us", "before us", "gain", "floor us", "tried, failed", "rule"]
    print_table(headers, rows, right=headers[:6])
    click.echo()
    hints = [[str(rung), str(trial.candidate.hint)] for rung, trial in result.best.items()]
    print_table(["m <=", "hint"], hints, right=["m <="])
