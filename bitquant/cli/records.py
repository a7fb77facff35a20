# SPDX-License-Identifier: Apache-2.0
"""`bitquant records`: list, show, merge, verify and compare what was tuned."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bitquant.cli.output import counted, print_table
from bitquant.cli.progress import Progress
from bitquant.cli.startup import import_libraries
from bitquant.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from bitquant.schedule.records import Record, Records

__all__ = ["records"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.group(
    short_help="List, show, merge, verify and compare records.",
    invoke_without_command=True,
    epilog="""
\b
Examples:
  bitquant records list
  bitquant records show ~/schedules --N 28672 --K 8192 --m 16
  bitquant records show ~/schedules --num_experts 128 --routing indexed
  bitquant records merge from-gpu-0 from-gpu-1 ~/schedules
  bitquant records verify ~/schedules --workers 16
  bitquant records diff schedules ~/schedules
""",
)
@click.pass_context
def records(ctx: click.Context) -> None:
    """List, show, merge, verify and compare records: which rule and hint won for a problem, and how long it took."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


#: Fields of problems that records are selected by.
_SELECTED = ("N", "K", "A_dtype", "W_dtype", "num_experts", "routing")


def _selecting(command: _Command) -> _Command:
    """Add the options that select records."""
    for decorate in (
        click.option("--m", "rung", type=int, metavar="ROWS", help="Those for this number of rows alone."),
        click.option("--routing", type=click.Choice(["sorted", "indexed"]), help="Those of experts, so routed, alone."),
        click.option("--num_experts", type=int, help="Those of so many experts alone."),
        click.option("--K", "K", type=int, help="Those of this K alone."),
        click.option("--N", "N", type=int, help="Those of this N alone."),
        click.option("--W_dtype", "W_dtype", metavar="TYPE", help="Those of this type of W alone."),
        click.option("--A_dtype", "A_dtype", metavar="TYPE", help="Those of this type of A alone."),
        click.option("--device", metavar="TEXT", help="Those of products whose name has this text."),
    ):
        command = decorate(command)
    return command


def _select(found: Iterable[Record], wanted: dict[str, Any]) -> list[Record]:
    return [
        r
        for r in found
        if (wanted["rung"] is None or r.rung == wanted["rung"])
        and (wanted["device"] is None or wanted["device"].lower() in r.device.lower())
        and all(wanted[name] is None or r.problem.get(name) == wanted[name] for name in _SELECTED)
    ]


def _load(paths: Sequence[str]) -> Records:
    """Return the records of files and folders; by default of those where operators look."""
    import_libraries()
    from bitquant.schedule.records import Records, directories, load_records

    if not paths:
        own, shipped = directories()
        paths = [str(path) for path in (*own, shipped) if path is not None]
        if not paths:
            raise RecordError("there are no folders of records: BITQUANT_SCHEDULES is off; name a file or folder")
    return Records(record for path in paths for record in load_records(path))


@records.command("list")
@click.argument("paths", nargs=-1)
@_selecting
def list_records(paths: tuple[str, ...], **wanted: Any) -> None:
    """Count the records of files or folders by device and types. Default: those where operators look."""
    groups: dict[tuple[str, str], dict[str, list[Record]]] = {}
    found = _select(_load(paths), wanted)
    for record in found:
        types = f"{record.problem['A_dtype']} x {record.problem['W_dtype']}"
        types += f", {record.problem['routing']} experts" if "num_experts" in record.problem else ""
        groups.setdefault((record.device, record.arch), {}).setdefault(types, []).append(record)
    headers = ["types", "records", "shapes", "latest", "m <="]
    for (device, arch), by_types in sorted(groups.items()):
        rows: list[list[RenderableType]] = []
        for types, mine in sorted(by_types.items()):
            shapes = {(r.problem["N"], r.problem["K"], r.problem.get("num_experts")) for r in mine}
            rungs = sorted({r.rung for r in mine})
            date = max(str(r.provenance.get("date", "")) for r in mine)
            rows.append([types, str(len(mine)), str(len(shapes)), date, ", ".join(map(str, rungs))])
        click.echo(f"{device}, {arch}")
        print_table(headers, rows, right=headers[1:3])
        click.echo()
    click.echo(counted(len(found), "record"))


@records.command("show")
@click.argument("paths", nargs=-1)
@_selecting
def show_records(paths: tuple[str, ...], **wanted: Any) -> None:
    """Show each record of files or folders. Default: those where operators look."""
    rows: list[list[RenderableType]] = [
        [
            r.device, *_problem(r), f"{r.latency_us:.2f}", f"{r.latency_us / r.floor_us:.2f}", r.rule,
            ", ".join(f"{k}={v}" for k, v in r.hint.items()),
        ]
        for r in _select(_load(paths), wanted)
    ]  # fmt: skip
    headers = ["device", *_PROBLEM, "latency us", "x floor", "rule", "hint"]
    print_table(headers, rows, right=["m <=", "latency us", "x floor"])


@records.command("merge", short_help="Merge records into a folder.")
@click.argument("sources", nargs=-1, required=True)
@click.argument("folder")
@click.option("--replace", is_flag=True, help="Take records of the sources also where there are faster ones.")
def merge_records(sources: tuple[str, ...], folder: str, replace: bool) -> None:
    """Merge the records of files or folders into a folder; of two for one problem the faster stays."""
    from bitquant.schedule.records import save_records

    for path in save_records(_load(sources), folder, replace):
        click.echo(f"wrote {path}")


@records.command("verify", short_help="Compile the kernel of each record.")
@click.argument("paths", nargs=-1)
@_selecting
@click.option(
    "--workers", type=click.IntRange(min=0), help="Processes that compile; 0: this one. Default: as many as CPUs."
)
def verify_records(paths: tuple[str, ...], workers: int | None, **wanted: Any) -> int:
    """Compile the kernel of each record for its architecture; no GPU is needed. The exit code is 1 if one fails."""
    from bitquant.tune.verify import verify

    chosen = _select(_load(paths), wanted)
    with Progress() as progress:
        progress.say("compiling the kernels of records", len(chosen))
        workers = workers if workers is not None else os.cpu_count() or 1
        found = verify(chosen, workers, lambda _: progress.advance())
    failed = [v for v in found if v.complaint]
    for v in found:
        if v.complaint or v.spill_bytes:
            words = v.complaint or f"spills {v.spill_bytes} bytes of registers a thread"
            where = f"{v.record.source}: " if v.record.source else ""
            click.echo(f"{where}{v.record}: {words}", err=True)
    click.echo(f"{len(found) - len(failed)} of {len(found)} records give kernels")
    return int(bool(failed))


@records.command("diff", short_help="Compare two files or folders.")
@click.argument("old")
@click.argument("new")
@_selecting
def diff_records(old: str, new: str, **wanted: Any) -> None:
    """Compare two files or folders: what only one has, and where rule, hint or latency differ."""
    before, after = ({_identity(r): r for r in _select(_load([path]), wanted)} for path in (old, new))
    rows: list[list[RenderableType]] = []
    for key in sorted({*before, *after}, key=str):
        a, b = before.get(key), after.get(key)
        if a is not None and b is not None:
            is_same = _kernel(a) == _kernel(b)
            if is_same and a.latency_us == b.latency_us:
                continue
            what = "latency" if is_same else "hint" if a.rule == b.rule else f"{a.rule} -> {b.rule}"
        else:
            what = f"only in {old if b is None else new}"
        shown: Any = a or b
        rows.append([
            shown.device,
            *_problem(shown),
            f"{a.latency_us:.2f}" if a else "",
            f"{b.latency_us:.2f}" if b else "",
            f"{a.latency_us / b.latency_us:.3f}" if a and b else "",
            what,
        ])  # fmt: skip
    headers = ["device", *_PROBLEM, "old us", "new us", "old / new", "differs in"]
    print_table(headers, rows, right=["m <=", *headers[-4:-1]])
    click.echo(f"{len(rows)} of {len({*before, *after})} records differ")


_PROBLEM = ("m <=", "N x K", "types", "rest")


def _problem(record: Record) -> list[str]:
    """Return what a record is of in four columns: rung, sizes, types, and what else is not the default."""
    p = record.problem
    rest = [f"g{p['group_size']}"] if p["group_size"] not in (-1, p["K"]) else []
    rest += [p["zeros_mode"] if p["with_zeros"] and p["zeros_mode"] != "original" else ""]
    rest += ["zeros" if p["with_zeros"] and p["zeros_mode"] == "original" else "", "bias" if p["with_bias"] else ""]
    rest += ["" if p["out_dtype"] == p["A_dtype"] else f"to {p['out_dtype']}", "plain" if p["plain_layout"] else ""]
    rest += [name.removeprefix("with_") for name in ("with_activation_scale", "with_channel_scale") if p.get(name)]
    rest += [f"blocks of {p['rows_per_scale']} rows"] if p.get("rows_per_scale") else []
    rest += [p.get("activation", "")]
    if "num_experts" in p:
        rest += [f"{p['num_experts']} experts, {p['routing']}"]
        rest += [f"top {p['top_k']}, {p['A_rows']} to {p['D_rows']}"] if p["routing"] == "indexed" else []
        rest += ["weighted"] if p.get("with_routing_weights") else []
    types = f"{p['A_dtype']} x {p['W_dtype']}"
    return [str(record.rung), f"{p['N']} x {p['K']}", types, " ".join(filter(None, rest))]


def _identity(record: Record) -> tuple[Any, ...]:
    return record.key, record.device


def _kernel(record: Record) -> tuple[str, Any]:
    """Return a record's rule and hint as the rule reads it: with defaults, and by its names.

    A hint that the rule cannot read is what the record has.
    """
    from bitquant.schedule.rules import all_rules
    from bitquant.schedule.tuned import read_hint

    rule = next((rule for rule in all_rules() if rule.name == record.rule), None)
    try:
        return record.rule, dict(record.hint) if rule is None else read_hint(rule, record.hint).to_dict()
    except RecordError:
        return record.rule, dict(record.hint)
