"""`bitquant cache`: show and clear the disk cache of compiled kernels."""

from __future__ import annotations

import time

import click

from bitquant.cli.output import format_bytes, print_table

__all__ = ["cache"]


@click.group(
    invoke_without_command=True,
    epilog="""
\b
Examples:
  bitquant cache
  bitquant cache clear --yes
  BITQUANT_CACHE_DIR=~/kernels bitquant cache path
\b
Environment:
  BITQUANT_CACHE        0, off or false: the cache is neither read nor written
  BITQUANT_CACHE_DIR    its folder
  BITQUANT_CACHE_LIMIT  size beyond which the least recently used kernels are removed, such as 500M
""",
)
@click.pass_context
def cache(ctx: click.Context) -> None:
    """Show or remove the kernels that are kept on disk."""
    if ctx.invoked_subcommand is None:
        _show()


def _show() -> None:
    from bitquant.cache import KernelCache, cache_dir, is_enabled

    kernels = KernelCache(cache_dir())  # The folder that is named, also where another takes its place.
    entries = kernels.entries()
    size, limit = format_bytes(sum(e.size_bytes for e in entries)), format_bytes(kernels.limit_bytes)
    state = "" if is_enabled() else "; switched off by BITQUANT_CACHE"
    state += f"; not used: {kernels.problem}" if kernels.problem else ""
    click.echo(f"{kernels.directory}: {_count(len(entries))}, {size} of at most {limit}{state}")
    if entries:
        now = time.time()
        rows = [[e.title, format_bytes(e.size_bytes), _age(now - e.created), _age(now - e.last_used)] for e in entries]
        print_table(["kernel", "size", "age", "last used"], rows, right=["size", "age", "last used"])


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
