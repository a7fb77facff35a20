# SPDX-License-Identifier: Apache-2.0
"""What commands print: tables and sources, coloured on a terminal and plain in a pipe."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console, RenderableType
    from rich.text import Text

__all__ = ["counted", "format_bytes", "print_json", "print_source", "print_table", "three_digits", "wrapped"]

#: Columns of a pipe, which has no width: no line is ever wrapped or cut there.
_PIPE_WIDTH = 10_000
#: Columns between two columns of a table, and the fewest that its last one is wrapped to.
_GAP, _MIN_WRAPPED = 2, 20
#: Before what stands below its row.
_INDENT = "    "


def _console() -> Console:
    """Return a console for standard output; rich decides on colours (terminal, NO_COLOR, FORCE_COLOR)."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def print_table(headers: Sequence[str], rows: Sequence[Sequence[RenderableType]], right: Sequence[str] = ()) -> None:
    """Print a table without lines, as wide as its content.

    On a terminal the last column is wrapped between words, so that the table is no wider than the window. A word that
    is longer than its column stays whole. Where the others leave no room for sentences, they stand below each row.

    Parameters
    ----------
    headers
        One a column, of one line or more; all empty: no headers.
    rows
        Cells: strings, or rich's `Text` where they have a style.
    right
        The headers of columns that are aligned to the right.
    """
    from rich.table import Table
    from rich.text import Text

    console = _console()
    cells = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in rows]
    columns = list(zip(*cells, strict=True)) if cells else [()] * len(headers)
    taken = sum(
        _GAP + max([*map(len, header.split("\n")), *(line.cell_len for cell in column for line in cell.split())])
        for header, column in zip(headers[:-1], columns[:-1], strict=True)
    )
    width, room = console.width, max(console.width - taken, _MIN_WRAPPED)
    console.width = _PIPE_WIDTH  # Nothing below is wrapped, folded or cut.
    is_below = width - taken < _MIN_WRAPPED and any(row[-1].cell_len > width // 2 for row in cells)
    if is_below:
        below = [_between_words(row[-1], width - len(_INDENT)) for row in cells]
        headers, cells = headers[:-1], [row[:-1] for row in cells]
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), show_header=any(headers), header_style="")
    for header in headers:
        table.add_column(Text(header, style="bold"), justify="right" if header in right else "left", no_wrap=True)
    for *others, last in cells:
        table.add_row(*others, last if is_below else _between_words(last, room))
    # rich pads the last column; click writes, so that a closed pipe is an error like any other.
    lines = [re.sub(r" +(\x1b\[0m)?$", r"\1", line) for line in _rendered(console, table)]
    if is_below:
        first = len(lines) - len(cells)
        more = [[_INDENT + line for line in _rendered(console, text)] for text in below]
        lines = lines[:first] + [line for row in zip(lines[first:], more, strict=True) for line in (row[0], *row[1])]
    click.echo("\n".join(lines), color=True)


def _rendered(console: Console, content: RenderableType) -> list[str]:
    with console.capture() as capture:
        console.print(content)
    return capture.get().splitlines()


def _between_words(text: Text, width: int) -> Text:
    """Return text in lines of at most `width` columns, but for longer words."""
    lines: list[Text] = []
    for line in text.split("\n"):
        breaks, begin = [], 0
        for word in re.finditer(r"\S+", line.plain):
            if word.start() > begin and word.end() - begin > width:
                begin = word.start()
                breaks.append(begin)
        lines += line.divide(breaks)
    for line in lines:
        line.rstrip()
    return type(text)("\n").join(lines)


def print_json(value: Any) -> None:
    """Print what a command has found as JSON, for programs."""
    click.echo(json.dumps(value, indent=1))


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


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: "1 trial", "2 trials"."""
    return f"{count} {noun}{'s' if count != 1 else ''}"


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


def wrapped(text: str, indent: str = "", hang: str = "", is_error: bool = False) -> str:
    """Return text, on a terminal in lines that fit it; no word is broken.

    Parameters
    ----------
    text
        Its lines are wrapped one by one.
    indent, hang
        What each line begins with, and what comes after that in lines that are continued.
    is_error
        Whether it is for standard error.
    """
    is_terminal = (sys.stderr if is_error else sys.stdout).isatty()
    width = shutil.get_terminal_size().columns if is_terminal else _PIPE_WIDTH
    lines: list[str] = []
    for line in text.split("\n"):
        begin = indent + line[: len(line) - len(line.lstrip())]
        following = indent + hang if hang else begin
        lines += (
            textwrap.wrap(
                line.strip(),
                width,
                initial_indent=begin,
                subsequent_indent=following,
                break_long_words=False,
                break_on_hyphens=False,
            )
            or [""]
            if len(indent + line) > width
            else [indent + line]
        )
    return "\n".join(lines)
