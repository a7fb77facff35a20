# SPDX-License-Identifier: Apache-2.0
"""`bitquant tune`: measure the likely kernels of problems, show them, write records of the best."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitquant.cli.output import counted, print_table, wrapped
from bitquant.cli.problem import GroupedCommand, RowList, parse_rows, routing_of, routing_options, target_option
from bitquant.cli.progress import Progress
from bitquant.cli.tune_file import problems_of_file, problems_of_options, without_shapes
from bitquant.cli.tune_live import TuneDisplay, duration
from bitquant.cli.tune_plot import check_plot, plot_tuning
from bitquant.errors import ConfigError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType

    from bitquant.nn.shapes import ModelProblem
    from bitquant.tune import Trial, TuningResult
    from bitquant.tune.fleet import Fleet, Here, Rung
    from bitquant.tune.work import Slot

__all__ = ["tune"]


class _Rungs(click.ParamType):
    name = "rows"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers of a list such as "1,16,64"."""
        try:
            return parse_rows(value)
        except ValueError:
            return self.fail(f"{value!r} is not a list of numbers such as 1,16,64", param, ctx)


class _TuneCommand(GroupedCommand):
    """A command whose problems are those of models or of a file, or the one that the fields state."""

    def states_problem(self, ctx: click.Context) -> bool:
        """Return whether neither models nor a file do."""
        return not ctx.params["models"] and ctx.params["file"] is None

    def problem_of(self, ctx: click.Context, fields: dict[str, Any]) -> list[ModelProblem]:
        """Return the distinct problems.

        Raises
        ------
        ConfigError
            As `problems_of_file`, `problems_of_options` and `without_shapes` do.
        """
        models, file = ctx.params.pop("models"), ctx.params.pop("file")
        tensor_parallel, left_out = ctx.params.pop("tensor_parallel"), ctx.params.pop("left_out")
        routing, with_experts = routing_of(ctx.params), ctx.params.pop("with_experts")
        if file is None:
            found = problems_of_options(models, fields, routing, tensor_parallel, with_experts)
            return without_shapes(found, left_out)
        if models or tensor_parallel:
            option = "--model" if models else "--tensor-parallel"
            raise ConfigError(f"'{option}' must be left out with --config (got --config {file}): name models there")
        if not with_experts:
            raise ConfigError(
                f"'--no-experts' must be left out with --config (got --config {file}); say experts = false there"
            )
        if given := [o for o in fields if ctx.get_parameter_source(o) is click.core.ParameterSource.COMMANDLINE]:
            raise ConfigError(f"'{given[0]}' must be left out with --config (got {fields[given[0]]}); write it there")
        if routing is not None:
            raise ConfigError(
                f"'num_experts' must be left out with --config (got {routing['num_experts']}); write it there"
            )
        return without_shapes(problems_of_file(file), left_out)


@click.command(
    short_help="Measure the likely kernels, and keep the best.",
    cls=_TuneCommand,
    epilog="""
\b
Examples:
  bitquant tune --M 1,16,64 --N 4096 --K 4096 --W_dtype uint4 \\
      --group_size 128 --with_scaling --with_zeros
  bitquant tune --model llama-3-8b --tensor-parallel 1,2 --W_dtype uint4 \\
      --group_size 128 --with_scaling --write ~/schedules --plot tuned.png
  bitquant tune --model path/to/checkpoint --write ~/schedules
  bitquant tune --num_experts 128 --routing indexed --top_k 8 --M 1,4,16 \\
      --N 1536 --K 2048 --W_dtype uint4 --group_size 128 --with_scaling
  BITQUANT_SCHEDULES=~/schedules bitquant run --M 1 --N 28672 --K 4096 \\
      --W_dtype uint4 --group_size 128 --with_scaling
""",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|DIR",
    help="Tune all layers of a model instead of one problem: llama-3-8b, say (a wrong name lists all), or a folder "
    "with a config.json. May be repeated.",
)
@click.option("--tensor-parallel", type=RowList(), metavar="GPUS", help="Over how many GPUs the model is cut: 1,2,4.")
@click.option("--config", "file", metavar="FILE", help="Tune the [[model]] and [[problem]] tables of a TOML file.")
@click.option(
    "--experts/--no-experts", "with_experts", default=True, help="Whether to tune a model's products of experts, too."
)
@click.option(
    "--leave-out", "left_out", metavar="SHAPES", help="Sizes not to tune: NxK, or sets of `bitquant bench`: held-out."
)
@target_option
@routing_options
@click.option(
    "--m", "rungs", type=_Rungs(), metavar="ROWS", help="Which numbers of --M to tune, such as 1,16. Default: all."
)
@click.option(
    "--topk", type=click.IntRange(min=1), default=20, show_default=True, help="The most trials for a number of rows."
)
@click.option(
    "--time-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Begin no trial after this time, and end with the best so far; the same command goes on from there.",
)
@click.option(
    "--workers", type=click.IntRange(min=0), help="Processes that compile; 0: this one. Default: as many as CPUs."
)
@click.option("--journal", metavar="DIR", help="Where trials are kept as they are done. Default: beside the cache.")
@click.option("--again", is_flag=True, help="Measure again what the journal has.")
@click.option(
    "--ray",
    "cluster",
    metavar="ADDRESS",
    help="Tune on all GPUs of a Ray cluster: auto, or its address. Name a --target where no GPU is here.",
)
@click.option(
    "--write", "directory", metavar="DIR", help="Merge the best for each number of rows into this folder, as records."
)
@click.option(
    "--least-gain",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    metavar="PERCENT",
    help="Write a record only where the best is faster than what was used before by more than this; 0: each.",
)
@click.option("--replace", is_flag=True, help="Write records also where there are faster ones.")
@click.option("--plot", metavar="FILE", help="Draw the best time over the trials, as PNG, PDF or SVG.")
@click.option("--all", "show_all", is_flag=True, help="Show every candidate.")
def tune(
    config: list[ModelProblem],
    target: str | None,
    rungs: tuple[int, ...] | None,
    topk: int,
    time_limit: float | None,
    workers: int | None,
    journal: str | None,
    again: bool,
    cluster: str | None,
    directory: str | None,
    least_gain: float,
    replace: bool,
    plot: str | None,
    show_all: bool,
) -> int:
    """Measure the likely kernels of a problem, or of all layers of models, and show the best for each number of rows.

    Candidates of every rule that applies are compiled, checked against a float64 product, and timed; the best few
    twice, in turns with what is used now. All GPUs that are visible take part, and problems of which most is expected
    begin. An interrupted tuning goes on where it was when the same command runs again. The exit code is 1 if a
    candidate gave a wrong result.
    """
    from bitquant.arch import resolve_target
    from bitquant.schedule import preferred_layout
    from bitquant.tune.api import check_gpu, rungs_of
    from bitquant.tune.journal import default_folder
    from bitquant.tune.result import Subject

    begin = time.monotonic()
    resolved = resolve_target(target)
    is_cuda = resolved.kind.name == "cuda"
    if directory is not None and not is_cuda:
        raise UnsupportedError(
            f"'--write' needs a CUDA target (got {target or 'no --target, and no GPU is here'}): records are of "
            "CUDA GPUs; leave --write out to see what is measured",
            directory=directory,
        )
    if plot is not None:
        check_plot()
    searched: list[Rung] = []
    names: list[str] = []
    for problem in config:
        ladder = problem.config.ladder
        if unknown := [rows for rows in rungs or () if rows not in ladder]:
            raise ConfigError(
                f"'--m' must be numbers of rows that M has, {', '.join(map(str, ladder))} (got {unknown[0]})"
            )
        subject = Subject(problem.config, resolved, preferred_layout(problem.config, resolved))
        mine = rungs_of(
            subject, rungs, warn=lambda error: click.echo(f"{error}\nbeginning from the default instead", err=True)
        )
        searched += mine
        names += [f"{problem.name}, {problem.config.W_format.name}" if len(config) > 1 else problem.name] * len(mine)
    if is_cuda and cluster is None:
        check_gpu(str(resolved.arch))
    folder = Path(journal) if journal is not None else default_folder()
    deadline = None if time_limit is None else begin + time_limit

    def keep(results: Sequence[TuningResult]) -> None:
        if directory is not None:
            _write(results, directory, replace, least_gain / 100)

    results, usage = _search(searched, names, topk, workers, folder, again, cluster, deadline, keep)
    _show(results, config, show_all)
    click.echo(usage)
    failures = dict.fromkeys(rung.failure for rung in searched if rung.failure)
    for failure in failures:
        click.echo(f"failed: {failure}", err=True)
    if plot is not None:
        plot_tuning(searched, names, results[0].device, Path(plot))
        click.echo(f"drew {plot}")
    keep(results)
    left = {id(rung.subject) for rung in searched if rung.is_left}
    if not failures:
        for result in results:
            if id(result.operator) not in left:
                result.plan()  # Every rung has a kernel that works, or this says what each candidate said.
    return int(bool(failures) or any(trial.status == "wrong" for result in results for trial in result.complaints))


def _search(
    searched: list[Rung],
    names: list[str],
    topk: int,
    workers: int | None,
    folder: Path | None,
    again: bool,
    cluster: str | None,
    deadline: float | None,
    keep: Callable[[Sequence[TuningResult]], None],
) -> tuple[list[TuningResult], str]:
    """Return the results, and a sentence on what they took; an interrupt ends it after `keep` has what there is."""
    from bitquant.schedule.rules import all_rules
    from bitquant.tune.cluster import slots_on_cluster
    from bitquant.tune.fleet import Fleet, slots_here, visible_gpus

    rules, begin = all_rules(), time.monotonic()
    subject = searched[0].subject
    workers = workers if workers is not None else os.cpu_count() or 1
    with contextlib.ExitStack() as stack:
        here = None
        with Progress() as progress:
            progress.say("starting processes")
            if cluster is not None:
                slots: Sequence[Slot] = stack.enter_context(
                    slots_on_cluster(cluster, subject.arch if subject.is_cuda else None)
                )
            else:
                device_type = "cuda" if subject.is_cuda else "cpu"
                here = stack.enter_context(slots_here(device_type, visible_gpus(), workers, rules))
                slots = here.slots
        display = TuneDisplay(searched, names, topk)
        fleet = Fleet(slots, rules, topk, folder, display.tell)
        try:
            with display:
                results = fleet.tune(searched, again=again, deadline=deadline)
        except KeyboardInterrupt:
            click.echo(wrapped(_interrupted(fleet, searched), is_error=True), err=True)
            keep(fleet.results(searched))
            raise
        return results, _usage(searched, here, workers, time.monotonic() - begin)


def _interrupted(fleet: Fleet, searched: Sequence[Rung]) -> str:
    trials = sum(len(rung.trials) for rung in searched)
    done = sum(rung.finished is not None for rung in searched)
    if not fleet.journals:
        return (
            f"interrupted; nothing is kept ({counted(trials, 'trial')}): the cache is off; name a folder with --journal"
        )
    return (
        f"interrupted: {counted(trials, 'trial')} kept in {fleet.journals[0].parent}, {done} of {len(searched)} rungs "
        "are done; run the same command again to go on"
    )


def _usage(searched: Sequence[Rung], here: Here | None, workers: int, wall_s: float) -> str:
    """Return what a tuning took: trials, time, and how busy compilers and GPUs were."""
    trials, kept = sum(len(r.trials) for r in searched), sum(r.kept for r in searched)
    words = f"{counted(trials, 'trial')}{f', {kept} of them from before' if kept else ''}, {duration(wall_s)}"
    if left := sum(r.is_left for r in searched):
        words = f"time limit: {left} of {len(searched)} rungs are left; run the same command again to go on\n{words}"
    if trials == kept or here is None:
        return words
    compiling = here.builder.busy_s / max(1, workers) / wall_s
    measured_s = [m.busy_s for m in here.measurers if hasattr(m, "busy_s")]
    phases_s: dict[str, float] = defaultdict(float)
    for measurer in here.measurers:
        for phase, seconds in getattr(measurer, "phases_s", {}).items():
            phases_s[phase] += seconds
    measuring = sum(measured_s) / max(1, len(measured_s)) / wall_s
    where = "GPU" if len(measured_s) == 1 else f"{len(measured_s)} GPUs"
    where = where if searched[0].subject.is_cuda else "CPU"
    phases = ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in phases_s.items())
    return (
        f"{words}: {counted(max(1, workers), 'compiler')} busy for {compiling:.0%} of it ({here.builder.busy_s:.0f} s "
        f"together; the first kernel after {here.builder.first_s:.0f} s), the {where} for {measuring:.0%}"
        f"{f' ({phases})' if phases else ''}"
    )


def _write(results: Sequence[TuningResult], directory: str, replace: bool, least_gain: float) -> None:
    changed = dict.fromkeys(path for result in results for path in result.write_record(directory, replace, least_gain))
    for path in changed:
        click.echo(f"wrote {path}")
    if not changed:
        click.echo(
            f"nothing to write: nothing is faster by more than {least_gain:.1%} than what is used now, or {directory} "
            "has records that are as fast (--least-gain 0 --replace writes all the same)"
        )


def _show(results: Sequence[TuningResult], problems: Sequence[ModelProblem], show_all: bool) -> None:
    """Print each problem's best, or one table of all where there are several."""
    for result, problem in zip(results, problems, strict=True):
        if len(results) == 1:
            click.echo(problem.config)
            click.echo(wrapped(problem.config.problem_summary(), "  "))
            click.echo(f"  target {result.operator.arch}, {result.device}\n")
        elif show_all:
            click.echo(f"{problem.name}: {problem.config}")
        if show_all:
            _print_trials(result)
            click.echo()
    if len(results) == 1:
        _print_best(results[0])
    else:
        click.echo(f"target {results[0].operator.arch}, {results[0].device}\n")
        _print_models(results, problems)
    for result in results:
        for trial in result.complaints:
            c = result.operator.config
            which = f"{c.N} x {c.K}, " if len(results) > 1 else ""
            click.echo(f"{trial.status}: {which}{trial.candidate}: {trial.note}", err=True)


def _print_models(results: Sequence[TuningResult], problems: Sequence[ModelProblem]) -> None:
    """Print a line for each rung of each problem."""
    rows: list[list[RenderableType]] = []
    for result, problem in zip(results, problems, strict=True):
        c = problem.config
        for rung, trial in result.best.items():
            types = f"{c.A_format.name} x {c.W_format.name}"
            rows.append([problem.name, f"{c.N} x {c.K}", types, *_figures(result, rung, trial)])
    print_table(["layer", "N x K", "types", *_FIGURES], rows, right=_FIGURES[:6])
    click.echo()


#: Columns of a tuned rung, and its figures.
_FIGURES = ["m <=", "latency us", "before us", "gain", "floor us", "tried, failed", "rule"]


def _figures(result: TuningResult, rung: int, trial: Trial) -> list[str]:
    before, trials = result.before(rung), result.of_rung(rung)
    return [
        str(rung),
        _latency(trial),
        _latency(before),
        _gain(before, trial),
        f"{result.floor_us(rung):.2f}" if result.operator.is_cuda else "",
        f"{len(trials)}, {sum(t.status != 'measured' for t in trials)}",
        trial.candidate.rule.name,
    ]


def _gain(before: Trial, trial: Trial) -> str:
    return f"{(before.latency_us or 0.0) / (trial.latency_us or 1.0):.2f}" if before.latency_us else ""


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
    rows = [_figures(result, rung, trial) for rung, trial in result.best.items()]
    print_table(_FIGURES, rows, right=_FIGURES[:6])
    click.echo()
    hints = [[str(rung), str(trial.candidate.hint)] for rung, trial in result.best.items()]
    print_table(["m <=", "hint"], hints, right=["m <="])
