# SPDX-License-Identifier: Apache-2.0
"""The picture of a tuning: the best time so far over the trials."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

from bitquant.arithmetic import ceil_div
from bitquant.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bitquant.tune.fleet import Rung

__all__ = ["check_plot", "plot_tuning"]


def check_plot() -> None:
    """Check that matplotlib is installed.

    Raises
    ------
    UnsupportedError
        If it is not.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise UnsupportedError(
            f"'--plot' needs matplotlib ({error}); install it with: pip install 'bitquant[tune]'"
        ) from error


def plot_tuning(rungs: Sequence[Rung], names: Sequence[str], device: str, path: Path) -> None:
    """Draw a panel for each problem, a line for each rung: the best time so far by what was used before.

    Parameters
    ----------
    rungs, names
        What was searched, and the name of each one's problem.
    device
        Where.
    path
        The file; its suffix says the format.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels: dict[str, list[Rung]] = {}
    for rung, name in zip(rungs, names, strict=True):
        if rung.trials:
            panels.setdefault(name, []).append(rung)
    columns = min(3, max(1, len(panels)))
    rows = max(1, ceil_div(len(panels), columns))
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    ladder = sorted({rung.rung for rung in rungs})
    colors = {m: colormaps["viridis"](i / max(1, len(ladder) - 1) * 0.9) for i, m in enumerate(ladder)}
    nothing: tuple[str, list[Rung]] = ("", [])
    for axis, (name, mine) in zip(axes.flat, itertools.chain(panels.items(), itertools.repeat(nothing)), strict=False):
        if not mine:
            axis.set_axis_off()
            continue
        for rung in mine:
            steps = _best_so_far(rung)
            if steps:
                axis.step(
                    range(1, len(steps) + 1),
                    steps,
                    where="post",
                    marker=".",
                    markersize=3,
                    color=colors[rung.rung],
                    label=str(rung.rung),
                )
        axis.axhline(1.0, color="0.6", linewidth=0.8, linestyle=":")
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("trials", fontsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.tick_params(labelsize=8)
    for row in axes:
        row[0].set_ylabel("best time / time before", fontsize=8)
    handles = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    order = sorted(handles, key=int)
    figure.legend(
        [handles[m] for m in order], order, title="m <=", loc="outside right upper", fontsize=8, title_fontsize=8
    )
    figure.suptitle(f"Tuning on {device}: best of the right kernels so far", fontsize=10)
    figure.savefig(path, dpi=150)


def _best_so_far(rung: Rung) -> list[float]:
    """Return, after each trial, the least time so far as a share of that of what was used before.

    Times are those that are known at the end: precise ones of the finalists, short samples of the others.
    """
    trials = rung.ordered
    first = next((trial.latency_us for trial in trials if trial.latency_us), None)
    if first is None:
        return []
    times = [trial.latency_us or math.inf for trial in trials]
    return [us / first for us in itertools.accumulate(times, min)]
