# SPDX-License-Identifier: Apache-2.0
"""What a command says while it works: one line on standard error, on a terminal alone, which goes when it is done."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from bitquant.progress import showing, spinning_line

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as Line
    from typing_extensions import Self

__all__ = ["Progress"]


class Progress:
    """A line with a turning wheel, what is being done, how many steps of it are done, and for how long.

    It is there from the first `say` on. Enter one at a time: two would write over each other.
    """

    def __init__(self) -> None:
        self._line: Line | None = None
        self._shown = contextlib.ExitStack()
        self._words = ""
        self._done = self._total = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shown.close()
        self._line = None

    def say(self, words: str, total: int = 0) -> None:
        """Show what is done from now on.

        Parameters
        ----------
        words
            What it is, in a few words.
        total
            Steps of which `advance` tells; 0: they are not counted.
        """
        if not sys.stderr.isatty():
            return
        self._words, self._done, self._total = words, 0, total
        if self._line is None:
            self._line = spinning_line()
            self._line.add_task("")
            self._shown.enter_context(self._line)
            self._shown.enter_context(showing(self._line.console))
        self._line.reset(self._line.task_ids[0], description=self._description())

    def advance(self, steps: int = 1) -> None:
        """Count so many steps as done."""
        if self._line is not None:
            self._done += steps
            self._line.update(self._line.task_ids[0], description=self._description())

    def _description(self) -> str:
        return f"{self._words}, {self._done} of {self._total}" if self._total else self._words
