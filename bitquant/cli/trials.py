# SPDX-License-Identifier: Apache-2.0
"""`bitquant trials`: measure kernels for many problems, keep what was measured."""

from __future__ import annotations

import os
import random
from pathlib import Path

import click

from bitquant.cli.output import print_table
from bitquant.cli.problem import parse_rows

__all__ = ["trials"]

#: Layers of which problems are drawn, those of all models but the held-out ones; and how a layer may be cut.
_MODELS = (
    "llama-2-7b,llama-2-13b,llama-3-8b,llama-3-70b,qwen3-8b,qwen3-32b,qwen3-235b-a22b,gemma-3-27b,gpt-oss-120b,"
    "deepseek-v3,bitblas,decode"
)
_CUTS, _MIN_LENGTH = (1, 1, 1, 2, 4, 8), 1024
#: Formats, the more often the more they are used.
_FORMATS = (
    *5 * ("uint4-g128-zeros",), *2 * ("int4-g128",), "bfloat16:uint4-g128-zeros", "bfloat16:int4-g32", "nf4-g64",
    "fp4_e2m1-g32", "uint2-g128-zeros", "int8-row", "float8_e4m3-row", "int8:int2", "int8:int8-scaled",
    "float8_e4m3:int4-g128", "float8_e4m3:float8_e4m3-scaled",
)  # fmt: skip
_ROWS = "1,1,1,2,4,8,16,16,32,64,64,128,256,512,1024,2048,4096,8192"


@click.group(invoke_without_command=True, short_help="Collect measured kernels, and learn from them.")
@click.pass_context
def trials(ctx: click.Context) -> None:
    """Collect measured kernels, from which the model of time is learned."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@trials.command(short_help="Measure random kernels of random problems.")
@click.argument("journal", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--problems", type=click.IntRange(min=1), default=100, show_default=True, help="Problems to draw.")
@click.option("--hints", type=click.IntRange(min=2), default=50, show_default=True, help="Hints of a problem.")
@click.option("--shapes", default=_MODELS, help="Models, or sizes such as 4096x14336. Default: all models.")
@click.option("--uncut", is_flag=True, help="Take layers as they are, and not also as tensor parallelism cuts them.")
@click.option("--formats", help="Formats as for `bitquant bench`, such as uint4-g128-zeros,nf4-g64.")
@click.option("--m", "rows", default=_ROWS, help="Rows of A to draw from; those named more often are drawn more often.")
@click.option("--blind", is_flag=True, help="Draw no hint that the model names first, but for the defaults.")
@click.option("--stratum", default="", help="Field of hints: draw of each of its values in turn, such as stream_k.")
@click.option("--seed", type=int, default=0, show_default=True, help="Other seeds draw other problems and hints.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes that compile. Default: as many as CPUs, less one."
)
def collect(
    journal: Path,
    problems: int,
    hints: int,
    shapes: str,
    uncut: bool,
    formats: str | None,
    rows: str,
    blind: bool,
    stratum: str,
    seed: int,
    workers: int | None,
) -> None:
    """Draw problems and hints, compile, check and time them on the GPUs that are here.

    Kernels run in a process of its own for each GPU: one that hangs or breaks the GPU's context has failed, and the
    collection goes on. Each problem's kernels are added at the end of JOURNAL when they are measured; what is there is
    not measured again.
    `bitquant trials merge` makes a compact file of journals.
    """
    from bitquant.arch import resolve_target
    from bitquant.problem import Problem
    from bitquant.schedule.apply import preferred_layout
    from bitquant.schedule.rules import default_rules
    from bitquant.testing.bench.machine import checkout_commit
    from bitquant.testing.bench.problems import parse_kind, parse_shapes
    from bitquant.testing.shape_sets import HELD_OUT_SHAPES
    from bitquant.tune.collect import Draw, collect
    from bitquant.tune.fleet import start_measurers, visible_gpus

    target = resolve_target("cuda")
    rules = [rule for rule in default_rules() if rule.name in ("wgmma", "wgmma_dense", "decode", "mma")]
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    kinds = [parse_kind(name) for name in (formats.split(",") if formats else _FORMATS)]
    sizes, wanted_rows = parse_shapes(shapes), parse_rows(rows)
    draws: dict[str, Draw] = {}
    for _ in range(100 * problems):
        if len(draws) == problems:
            break
        N, K = chance.choice(sizes)
        kind, m, cut = chance.choice(kinds), chance.choice(wanted_rows), 1 if uncut else chance.choice(_CUTS)
        if chance.random() < 0.5:
            N = N // cut if N // cut >= _MIN_LENGTH and N // cut % 16 == 0 else N
        else:
            K = K // cut if K // cut >= _MIN_LENGTH and K // cut % 128 == 0 else K
        group = kind.group_size or -1
        if (N, K) in HELD_OUT_SHAPES or (group > 0 and K % group):
            continue
        config = kind.config(N, K, m)
        problem = Problem(config, m, target, preferred_layout(config, target))
        if (name := str(problem)) not in draws:
            draws[name] = Draw.of(problem, rules, hints, blind, stratum)
    workers = workers or max(1, (os.cpu_count() or 2) - 1)
    measurers = start_measurers("cuda", visible_gpus())
    collect(list(draws.values()), journal, workers, measurers, rules, seed, checkout_commit() or "", click.echo)


@trials.command()
@click.argument("journals", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def merge(journals: tuple[Path, ...], file: Path) -> None:
    """Make FILE, Parquet, of JOURNALS and of what it has already."""
    from bitquant.tune.trials import read_journal, read_trials, write_trials

    found = list(read_trials(file)) if file.exists() else []
    for journal in journals:
        found += read_journal(journal)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_trials(found, file)
    click.echo(f"{file}: {len({m.key for m in found})} kernels, {file.stat().st_size / 1024:.0f} KiB")


@trials.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
def summary(files: tuple[Path, ...]) -> None:
    """Say how many problems and kernels FILES have, by device and rule."""
    from bitquant.tune.trials import read_trials

    found = [m for file in files for m in read_trials(file)]
    rows = []
    for device, rule in sorted({(m.device, m.rule) for m in found}):
        mine = [m for m in found if (m.device, m.rule) == (device, rule)]
        failed = sum(m.status != "measured" for m in mine)
        rows.append([device, rule, str(len({m.problem_key for m in mine})), str(len(mine)), str(failed)])
    print_table(["device", "rule", "problems", "kernels", "not measured"], rows, right=["problems", "kernels"])


#: Rows of A by which the table of `train` is divided.
_ROW_RANGES = ((1, 1), (2, 8), (9, 16), (17, 64), (65, None), (1, 64))


@trials.command(short_help="Learn the ranking of hints from FILES.")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the model to this file (.npz).")
@click.option("--by", type=click.Choice(["shape", "gpu"]), default="shape", show_default=True, help="What is left out.")
@click.option("--plot", "picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw to this file (.png).")
def train(files: tuple[Path, ...], out: Path | None, by: str, picture: Path | None) -> None:
    """Learn the ranking of hints from FILES, and say what it is worth on shapes or GPUs that it has not seen.

    The table compares orders of the kernels that were measured: by the analytical models, by the learned one, and any.
    It shows the time of the first kernel of an order over the best one's, and of the best of the first eight.
    """
    import numpy as np

    from bitquant.schedule.ranking.order import MAX_ROWS
    from bitquant.tune.train import first_losses, gains, measured_problems, regrets, train, validated
    from bitquant.tune.trials import read_trials

    trials = [m for file in files for m in read_trials(file)]
    problems = measured_problems(trials)
    chance = np.random.default_rng(0)
    orders = {
        "analytical": [p.analytical_score for p in problems],
        "learned": validated(problems, by=by),
        "random": [chance.random(len(p.latency_us)) for p in problems],
    }
    rows = []
    for least, most in _ROW_RANGES:
        for name, scores in orders.items():
            wanted = [i for i, p in enumerate(problems) if least <= p.problem.rung <= (most or p.problem.rung)]
            regret = regrets([problems[i] for i in wanted], [scores[i] for i in wanted])
            if regret.count:
                rows.append([
                    f"{least} to {most}" if most else f"from {least}", str(regret.count), name,
                    f"{regret.first:.3f}", f"{regret.first_worst:.2f}",
                    f"{regret.best_of_8:.3f}", f"{regret.best_of_8_worst:.2f}",
                ])  # fmt: skip
    headers = ["rows of A", "problems", "order", "first", "worst", "best of 8", "worst "]
    print_table(headers, rows, right=[headers[1], *headers[3:]])
    if picture is not None:
        from bitquant.testing.bench.ranking_plot import plot_ranking

        few = [i for i, p in enumerate(problems) if p.problem.rung <= MAX_ROWS]
        losses = {
            name: first_losses([problems[i] for i in few], [scores[i] for i in few]) for name, scores in orders.items()
        }
        devices = ", ".join(sorted({p.problem.gpu.example for p in problems}))
        kernels = sum(len(problems[i].latency_us) for i in few)
        taken = ", ".join(sorted({f"{m.date} at {m.commit[:7]}" for m in trials}))
        subject = f"{devices}, {len(few)} problems of up to {MAX_ROWS} rows, {kernels} kernels; {taken}"
        plot_ranking(losses, gains(problems), subject, picture)
        click.echo(f"wrote {picture}")
    if out is not None:
        trees = train(problems)
        trees.save(out)
        click.echo(
            f"wrote {out}: {len(trees.roots)} trees, {len(trees.feature)} nodes, {out.stat().st_size / 1024:.0f} KiB"
        )
