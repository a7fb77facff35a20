# SPDX-License-Identifier: Apache-2.0
"""Progress of long work, on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

__all__ = ["print_above", "showing", "spinning_line", "track", "working"]

#: Where lines of progress are shown now, the latest last.
_shown: list[Console] = []


def print_above(text: str) -> bool:
    """Print text above the line of progress that is shown on standard error; false where none is."""
    if not _shown:
        return False
    _shown[-1].print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
    return True


@contextlib.contextmanager
def showing(console: Console) -> Iterator[None]:
    """Have `print_above` print there, where it is a terminal."""
    if console.is_terminal:
        _shown.append(console)
    try:
        yield
    finally:
        if console.is_terminal:
            _shown.remove(console)


def spinning_line() -> Progress:
    """Return a line on standard error with a turning wheel, words and the time so far, which goes when it is stopped.

    It is shown where that is a terminal.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextlib.contextmanager
def working(description: str) -> Iterator[None]:
    """Show on standard error that something goes on whose end nobody knows, and for how long, where that is a terminal.

    The line goes when it is done. Nothing else shows progress meanwhile.
    """
    with spinning_line() as progress, showing(progress.console):
        progress.add_task(description, total=None)
        yield


_Item = TypeVar("_Item")


def track(items: Iterable[_Item], description: str, total: int) -> Iterator[_Item]:
    """Yield `items` beside a bar on standard error that goes when it is done.

    There is no bar where that is no terminal, or another line of progress is shown.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    if not console.is_terminal or not total or _shown:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console, transient=True)
    with progress, showing(console):
        yield from progress.track(items, total=total, description=description)
