"""What commands print: tables and sources, coloured on a terminal and plain in a pipe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType

__all__ = ["format_bytes", "print_source", "print_table", "three_digits"]

#: Columns of a pipe, which has no width: no line is ever wrapped or cut there.
_PIPE_WIDTH = 10_000


def _console() -> Console:
    """Return a console for standard output; rich decides on colours (terminal, NO_COLOR, FORCE_COLOR)."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def print_table(headers: Sequence[str], rows: Sequence[Sequence[RenderableType]], right: Sequence[str] = ()) -> None:
    """Print a table without lines, as wide as its content.

    Parameters
    ----------
    headers
        One a column; all empty: no line of headers.
    rows
        Cells: strings, or rich's `Text` where they have a style.
    right
        The headers of columns that are aligned to the right.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(headers), header_style="bold")
    for header in headers:
        table.add_column(header, justify="right" if header in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = _console()
    with console.capture() as capture:
        console.print(table)
    # rich pads the last column; click writes, so that a closed pipe is an error like any other.
    text = "\n".join(line.rstrip() for line in capture.get().splitlines())
    click.echo(text, color=True)


def print_source(text: str, language: str) -> None:
    """Print source text whole: no line is wrapped or cut, and colours appear on a terminal alone.

    Parameters
    ----------
    text
        The source.
    language
        pygments' name of it, such as "python", "cuda", "ptx"; "text" for none.
    """
    text = text.rstrip("\n")
    console = _console()
    is_coloured = console.color_system is not None and not console.no_color
    if is_coloured and language != "text":
        from pygments import highlight
        from pygments.formatters import TerminalFormatter
        from pygments.lexers import get_lexer_by_name

        # Not rich's `Syntax`, which fits lines to the window.
        text = highlight(text, get_lexer_by_name(language, stripnl=False), TerminalFormatter()).rstrip("\n")
    click.echo(text, color=is_coloured)


def format_bytes(count: float) -> str:
    """Return a size for people, in powers of 1024: "512 B", "1.5 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def three_digits(x: float) -> str:
    """Return a number with three significant digits and without an exponent; 0 for what is not positive."""
    return f"{x:.{max(0, 2 - math.floor(math.log10(x)))}f}" if x > 0 else "0"
