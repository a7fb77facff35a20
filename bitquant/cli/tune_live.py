# SPDX-License-Identifier: Apache-2.0
"""What `bitquant tune` shows while it works: a table on a terminal, else a line for each rung that is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from bitquant.cli.output import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.table import Table
    from typing_extensions import Self

    from bitquant.tune.fleet import Rung

__all__ = ["TuneDisplay", "duration"]

#: Lines of a terminal that are not rows of the table.
_OTHER_LINES = 5


def duration(seconds: float) -> str:
    """Return a time for people: "48 s", "3 min 20 s", "1 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


class TuneDisplay:
    """Shows how far rungs are, on standard error.

    Parameters
    ----------
    rungs, names
        What is searched, and what each is called.
    topk
        The most trials of a rung.
    """

    def __init__(self, rungs: Sequence[Rung], names: Sequence[str], topk: int) -> None:
        from rich.console import Console
        from rich.live import Live

        self._rungs, self._topk = rungs, topk
        self._name = {id(rung): name for rung, name in zip(rungs, names, strict=True)}
        self._told: set[int] = set()
        self._begin = time.monotonic()
        self._console = Console(stderr=True, highlight=False, markup=False)
        self._live = (
            Live(get_renderable=self._table, console=self._console, transient=True, refresh_per_second=4)
            if self._console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, rung: Rung) -> None:
        """Show that something of a rung has changed; on a terminal the table is drawn anew by itself."""
        if self._live is not None or not _is_over(rung) or id(rung) in self._told:
            return
        self._told.add(id(rung))
        words = rung.failure or f"best {_us(rung.best_us())} us, before {_us(_before_us(rung))} us, {self._count(rung)}"
        done = sum(map(_is_over, self._rungs))
        left = self._left_s()
        rest = f", {duration(left)} left at most" if left else ""
        click.echo(
            f"{self._name[id(rung)]}, m <= {rung.rung}: {words}; {done} of {len(self._rungs)} done{rest}", err=True
        )

    def _count(self, rung: Rung) -> str:
        kept = f", {rung.kept} of them from before" if rung.kept else ""
        end = f", {rung.finished.reason}" if rung.finished is not None and "trials" not in rung.finished.reason else ""
        return f"{counted(len(rung.trials), 'trial')}{kept}{end}"

    def _left_s(self) -> float | None:
        """Return the time until all rungs have had as many trials as they may; None where there is no saying."""
        new = sum(len(r.trials) - r.kept for r in self._rungs)
        left = sum(self._topk - len(r.trials) for r in self._rungs if not _is_over(r))
        return (time.monotonic() - self._begin) / new * left if new and left > 0 else None

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        over = sum(map(_is_over, self._rungs))
        trials = sum(len(r.trials) for r in self._rungs)
        left = self._left_s()
        taken = duration(time.monotonic() - self._begin)
        title = f"{over} of {len(self._rungs)} rungs, {counted(trials, 'trial')}, {taken}"
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left", title_style="")
        table.title = Text(title + (f", at most {duration(left)} left" if left else ""))
        for header in ("layer", "m <=", "trials", "before us", "best us", "gain", ""):
            table.add_column(header, justify="left" if header in ("layer", "") else "right", no_wrap=True)
        # Those under way, then what is done, the latest first, then what waits.
        rungs = sorted(self._rungs, key=lambda r: (_is_over(r), not r.trials))
        room = max(1, self._console.height - _OTHER_LINES)
        for rung in rungs[:room]:
            best, before = rung.best_us(), _before_us(rung)
            state: Any = Text("failed", style="bold red") if rung.failure else _state(rung)
            table.add_row(
                self._name[id(rung)], str(rung.rung), f"{len(rung.trials)}/{self._topk}", _us(before), _us(best),
                f"{before / best:.2f}" if before and best else "", state,
            )  # fmt: skip
        if len(rungs) > room:
            table.add_row(f"and {len(rungs) - room} more")
        return table


def _state(rung: Rung) -> str:
    if rung.finished is not None:
        return rung.finished.reason
    return "searching" if len(rung.trials) > rung.kept else ""


def _is_over(rung: Rung) -> bool:
    return rung.finished is not None or bool(rung.failure)


def _before_us(rung: Rung) -> float | None:
    first = next(iter(rung.ordered), None)
    return first.latency_us if first is not None else None


def _us(latency_us: float | None) -> str:
    return "" if latency_us is None else f"{latency_us:.2f}"
