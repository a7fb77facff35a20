# SPDX-License-Identifier: Apache-2.0
"""`bitquant cache`: show and clear the disk cache of compiled kernels."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import click

from bitquant.cli.output import format_bytes, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bitquant.cache import CacheEntry

__all__ = ["cache"]

#: Digits of a key that are shown: as many as tell thousands of entries apart.
_KEY_DIGITS = 8


@click.group(
    invoke_without_command=True,
    epilog="""
\b
Examples:
  bitquant cache
  bitquant cache --all
  bitquant cache clear --yes
  BITQUANT_CACHE_DIR=~/kernels bitquant cache path
\b
Environment:
  BITQUANT_CACHE        0, off or false: the cache is neither read nor written
  BITQUANT_CACHE_DIR    its folder
  BITQUANT_CACHE_LIMIT  size beyond which the least recently used kernels are
                        removed, such as 500M
""",
)
@click.option("--all", "every", is_flag=True, help="List each kernel, those used last first.")
@click.option("--json", "as_json", is_flag=True, help="Print each kernel as JSON.")
@click.pass_context
def cache(ctx: click.Context, every: bool, as_json: bool) -> None:
    """Show or remove the kernels that are kept on disk."""
    if ctx.invoked_subcommand is None:
        _show(every, as_json)
    elif every or as_json:
        raise click.UsageError(f"--all and --json go with bitquant cache alone (got {ctx.invoked_subcommand})")


def _show(every: bool, as_json: bool) -> None:
    from bitquant.cache import KernelCache, cache_dir, is_enabled

    kernels = KernelCache(cache_dir())  # The folder that is named, also where another takes its place.
    entries = sorted(kernels.entries(), key=lambda entry: -entry.last_used)
    if as_json:
        print_json({
            "directory": str(kernels.directory),
            "is_enabled": is_enabled(),
            "problem": kernels.problem,
            "limit_bytes": kernels.limit_bytes,
            "entries": [{**dataclasses.asdict(entry), "path": str(entry.path)} for entry in entries],
        })  # fmt: skip
        return
    size, limit = format_bytes(sum(e.size_bytes for e in entries)), format_bytes(kernels.limit_bytes)
    state = "" if is_enabled() else "; switched off by BITQUANT_CACHE"
    state += f"; not used: {kernels.problem}" if kernels.problem else ""
    click.echo(f"{kernels.directory}: {_count(len(entries))}, {size} of at most {limit}{state}")
    if every:
        _print_each(entries)
    elif entries:
        _print_targets(entries)
        click.echo("bitquant cache --all lists each")


def _print_targets(entries: Sequence[CacheEntry]) -> None:
    """Print a line for each target that kernels are for."""
    now = time.time()
    targets: dict[str, list[CacheEntry]] = {}
    for entry in entries:
        targets.setdefault(entry.title.rpartition(" on ")[2] or "unknown", []).append(entry)
    rows = [
        [
            target,
            str(len(found)),
            format_bytes(sum(e.size_bytes for e in found)),
            _age(now - min(e.created for e in found)),
            _age(now - max(e.last_used for e in found)),
        ]
        for target, found in sorted(targets.items())
    ]
    print_table(
        ["target", "entries", "size", "oldest", "last used"], rows, right=["entries", "size", "oldest", "last used"]
    )


def _print_each(entries: Sequence[CacheEntry]) -> None:
    """Print a line for each entry; keys tell those apart that were made by different versions of bitquant."""
    now = time.time()
    rows = [
        [e.key[:_KEY_DIGITS], format_bytes(e.size_bytes), _age(now - e.created), _age(now - e.last_used), e.title]
        for e in entries
    ]
    print_table(["key", "size", "age", "used", "kernel"], rows, right=["size", "age", "used"])


@cache.command()
def path() -> None:
    """Print the folder."""
    from bitquant.cache import cache_dir

    click.echo(cache_dir())


@cache.command(epilog="\b\nExample:\n  bitquant cache clear --yes")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(yes: bool) -> None:
    """Remove all kernels. Processes that use them are not disturbed."""
    from bitquant.cache import KernelCache, cache_dir

    kernels = KernelCache(cache_dir())
    entries = kernels.entries()
    question = f"remove {_count(len(entries))} ({format_bytes(kernels.total_bytes)}) from {kernels.directory}?"
    if entries and not yes and not click.confirm(question):
        click.echo("nothing removed")
        return
    count, size_bytes = kernels.clear()
    click.echo(f"removed {_count(count)}, {format_bytes(size_bytes)}")


def _count(entries: int) -> str:
    return f"{entries} entr{'y' if entries == 1 else 'ies'}"


def _age(seconds: float) -> str:
    """Return a duration for people: "12 s", "3 min", "5 h", "2 d"."""
    for unit, length, count in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 24)):
        if seconds < length * count:
            return f"{max(0, seconds) // length:.0f} {unit}"
    return f"{seconds // 86400:.0f} d"
