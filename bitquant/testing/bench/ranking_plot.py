# SPDX-License-Identifier: Apache-2.0
"""A picture of what the learned order of hints is worth, and of what it goes by (`bitquant trials train --plot`)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bitquant.testing.bench.plots import check_matplotlib

__all__ = ["plot_ranking"]

#: Features that are shown, those of the greatest gain.
_SHOWN = 16
#: Characters of a line of the subject, which a figure of 10 inches has room for.
_COLUMNS = 150


def plot_ranking(losses: Mapping[str, np.ndarray], gains: Mapping[str, float], subject: str, path: Path) -> None:
    """Draw by order the share of problems whose first kernel is at most so much slower than the best one, and gains.

    Parameters
    ----------
    losses
        By the name of an order: of each problem, time of its first kernel over the best one's.
    gains
        By feature: the share of the error that the splits by it take away.
    subject
        What the figures are of: device, kernels, date.
    path
        The file; its suffix says of what kind.

    Raises
    ------
    UnsupportedError
        If matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in losses.items():
        ordered = np.sort(values)
        left.step(100 * (ordered - 1), 100 * np.arange(1, len(ordered) + 1) / len(ordered), where="post", label=name)
    left.set_xlim(0, 50)
    left.set_ylim(0, 101)
    left.set_xlabel("first kernel slower than the best one by, %")
    left.set_ylabel("problems, %")
    left.set_title("shapes that the model has not seen", fontsize=10)
    left.legend(loc="lower right", frameon=False)
    left.grid(alpha=0.3)
    shown = sorted(gains.items(), key=lambda item: item[1])[-_SHOWN:]
    right.barh([name for name, _ in shown], [100 * gain for _, gain in shown])
    right.set_xlabel("share of the gain, %")
    right.set_title("what the model goes by", fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(textwrap.fill(subject, _COLUMNS), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
