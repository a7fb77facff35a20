# SPDX-License-Identifier: Apache-2.0
"""Plots of a run's figures. Needs matplotlib, no GPU, and neither torch nor TVM.

Each plot says below its frame what it is of: device, date, commit.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bitquant.arithmetic import ceil_div
from bitquant.errors import UnsupportedError
from bitquant.testing.bench.report import (
    Entry,
    Results,
    digits,
    geometric_mean,
    latency,
    over_floor,
    peers,
    runs,
    speedup,
    with_runs,
)

__all__ = ["check_matplotlib", "plot"]

#: Rows of A beyond which reading the weight is no longer most of the time, so that the floor says little.
_FEW_ROWS = 64
#: How legends call implementations, where not by the name that results have.
_LABELS = {"ours": "bitquant"}
#: Labels that fit below a panel.
_MAX_TICKS = 10
#: Kernels of records, of the model of a rule ("held out" where neither record nor fit has seen the shape), of either.
_CLASSES: tuple[tuple[str, str, str], ...] = (
    ("record", "shapes with records", "C0"),
    ("default", "shapes without records", "C1"),
    ("", "shapes", "C0"),
)


def check_matplotlib() -> None:
    """Check that plots can be drawn.

    Raises
    ------
    UnsupportedError
        If matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: F401
    except ImportError as error:
        raise UnsupportedError("plots need matplotlib; install it with: pip install 'bitquant[bench]'") from error


def plot(results: Results | Sequence[Results], folder: Path) -> list[Path]:
    """Write plots as PNG and SVG.

    For each format with several M and a peer: the speed over the best peer against M, a panel a device; and where there
    is a floor, the share of its speed. For each device: a roofline of all cells, the error of each format, and for each
    format latency against M by shape.

    Parameters
    ----------
    results
        Of one device, or of several (`bitquant.testing.bench.report.by_device`).
    folder
        Where the files go; it is made if there is none.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UnsupportedError
        If matplotlib is not installed.
    """
    check_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    devices = [with_runs(one) for one in ([results] if isinstance(results, dict) else results)]
    folder.mkdir(parents=True, exist_ok=True)
    style: dict[Any, Any] = {
        "svg.hashsalt": "bitquant",  # the same figures give the same bytes
        "font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.3,
    }  # fmt: skip
    written = []
    with mpl.rc_context(style):
        for name, figure in _figures(devices, Figure).items():
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = folder / f"{name}.{suffix}"
                figure.savefig(path, dpi=150, bbox_inches="tight", metadata=metadata)
                written.append(path)
    return written


def _figures(devices: Sequence[Results], figure_type: Any) -> dict[str, Any]:
    """Return the figures by the names of their files."""
    figures = {}
    for name in dict.fromkeys(entry["format"] for results in devices for entry in results["cells"]):
        slug = name.replace(":", "-")
        figures[f"speedup-{slug}"] = _speedup_figure(devices, name, figure_type)
        figures[f"floor-{slug}"] = _floor_figure(devices, name, figure_type)
    for results in devices:
        device = _slug(results["device"]["name"])
        figures[f"roofline-{device}"] = _roofline(results, figure_type)
        figures[f"errors-{device}"] = _error_figure(results, figure_type)
        for name in dict.fromkeys(entry["format"] for entry in results["cells"]):
            entries = [entry for entry in results["cells"] if entry["format"] == name]
            slug = name.replace(":", "-")
            figures[f"latency-{slug}-{device}"] = _latency_figure(
                entries, f"{_words(name)}\n{_source(results['device']['name'], entries)}", figure_type
            )
    return {name: figure for name, figure in figures.items() if figure is not None}


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _source(device: str, entries: Iterable[Entry]) -> str:
    """Return what a plot is of: device; dates and commits of the runs."""
    return "; ".join([device, *runs(entries)])


def _words(name: str) -> str:
    """Return a format of `bitquant.testing.bench.problems` in words."""
    A, _, rest = name.partition(":")
    W, *parts = rest.split("-")
    known = {
        "row": "one scale a row", "zeros": "zero points", "rescale": "zero points (rescale)",
        "quantized": "packed zero points", "scaled": "outputs scaled by row and column",
    }  # fmt: skip
    more = [known.get(part) or re.sub(r"^g(\d+)$", r"groups of \1", part) for part in parts]
    return ", ".join([f"{A} A, {W} W", *more])


# Against M.


def _class_of(entry: Entry) -> str:
    """Return "record" or "default", by where the hint of our kernel comes from; "" where the results do not say."""
    origin = entry["ours"].get("origin")
    return "" if origin is None else "default" if origin == "default" else "record"


def _against_m(axes: Any, entries: Sequence[Entry], ratio: Callable[[Entry], float | None], scale: float = 1.0) -> None:
    """Draw a ratio against M: a thin line a shape, and the geometric mean of each class of shapes."""
    for key, label, color in _CLASSES:
        shapes: dict[tuple[int, int], dict[int, float]] = {}
        for entry in sorted(entries, key=lambda entry: entry["m"]):
            if _class_of(entry) == key and (value := ratio(entry)) is not None:
                shapes.setdefault((entry["N"], entry["K"]), {})[entry["m"]] = value * scale
        for points in shapes.values():
            axes.plot(*zip(*points.items(), strict=True), ".-", color=color, lw=0.6, ms=3, alpha=0.45, label="_shape")
        rows = sorted({m for points in shapes.values() for m in points})
        means = [geometric_mean([points[m] for points in shapes.values() if m in points]) for m in rows]
        if rows:
            marker = {"mfc": "white", "ls": "--"} if key == "default" else {}
            words = f"{len(shapes)} {label if len(shapes) > 1 else label.replace('shapes', 'shape')}: geometric mean"
            axes.plot(rows, means, **{"marker": "o", "ls": "-", **marker}, color=color, lw=2, ms=5, label=words)


def _rows_axis(axes: Any, entries: Iterable[Entry]) -> None:
    """Make the axis of M logarithmic, with a label at powers of two that were timed."""
    axes.set_xscale("log", base=2)
    axes.set_xlabel("M, rows of A")
    powers = sorted(m for m in {entry["m"] for entry in entries} if m & (m - 1) == 0)
    axes.set_xticks(powers if len(powers) <= _MAX_TICKS else powers[::2], minor=False)
    axes.xaxis.set_major_formatter(lambda m, _: f"{m:g}")


def _panels(
    devices: Sequence[Results], name: str, ratio: Callable[[Entry], float | None], figure_type: Any, most_rows: float
) -> tuple[Any, list[tuple[Any, list[Entry]]]]:
    """Return a figure with a panel for each device that has the ratio for several M of a format, and its entries."""
    found = []
    for results in devices:
        entries = [
            entry for entry in results["cells"]
            if entry["format"] == name and entry["m"] <= most_rows and ratio(entry) is not None
        ]  # fmt: skip
        if len({entry["m"] for entry in entries}) > 1:
            found.append((results, entries))
    if not found:
        return None, []
    figure = figure_type(figsize=(4.2 * len(found) + 0.8, 3.8), layout="constrained")
    panels = []
    first = None
    for i, (results, entries) in enumerate(found):
        axes = figure.add_subplot(1, len(found), i + 1, sharey=first)
        first = first or axes
        axes.set(title=results["device"]["name"])
        _rows_axis(axes, entries)
        panels.append((axes, entries))
    note = "\n".join([
        "Each thin line is a shape.", *(_source(results["device"]["name"], entries) for results, entries in found)
    ])  # fmt: skip
    figure.supxlabel(note, fontsize=7, color="0.35")
    return figure, panels


def _speedup_figure(devices: Sequence[Results], name: str, figure_type: Any) -> Any:
    """Draw how many times as fast as the best peer, linear, against M; None without a peer or with one M alone."""
    figure, panels = _panels(devices, name, speedup, figure_type, math.inf)
    for axes, entries in panels:
        axes.axhline(1, color="k", lw=1, label="_as fast")
        _against_m(axes, entries, speedup)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, loc="upper right")
    if panels:
        axes, entries = panels[0]
        axes.set_ylabel("times as fast as the best peer")
        figure.suptitle(f"{_words(name)}: speed over the faster of {_named(entries)}", fontsize=10)
    return figure


def _named(entries: Iterable[Entry]) -> str:
    cublas = {"torch linear": "cuBLAS (torch linear)"}
    return " and ".join(dict.fromkeys(cublas.get(peer, peer) for entry in entries for peer in entry.get("peers", {})))


def _floor_figure(devices: Sequence[Results], name: str, figure_type: Any) -> Any:
    """Draw the share of the floor's speed against M, up to 64 rows; None without a floor or with one M alone."""

    def share(entry: Entry) -> float | None:
        ratio = over_floor(entry)
        return None if ratio is None else 1 / ratio

    figure, panels = _panels(devices, name, share, figure_type, _FEW_ROWS)
    for axes, entries in panels:
        axes.axhline(100, color="k", lw=1, label="_floor")
        _against_m(axes, entries, share, scale=100)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, loc="lower left")
    if panels:
        panels[0][0].set_ylabel("% of the speed of reading the same bytes")
        figure.suptitle(f"{_words(name)}: share of the floor's speed", fontsize=10)
    return figure


# By format.


def _error_figure(results: Results, figure_type: Any) -> Any:
    """Draw each cell's error, and the bound of its problem, by format; None where no cell has an error."""
    found: dict[str, list[Entry]] = {}
    for entry in results["cells"]:
        if entry["ours"].get("error") is not None and "complaint" not in entry["ours"]:
            found.setdefault(entry["format"], []).append(entry)
    if not found:
        return None
    figure = figure_type(figsize=(7, 0.8 + 0.24 * len(found) + 0.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    names = list(found)[::-1]  # The first at the top.
    errors = [entry["ours"]["error"] for entries in found.values() for entry in entries]
    least = min((error for error in errors if error > 0), default=1e-4)
    exact = least / 4
    points = [(entry["ours"]["error"], i) for i, name in enumerate(names) for entry in found[name]]
    bounds = [(entry["ours"]["bound"], i) for i, name in enumerate(names) for entry in found[name]
              if entry["ours"].get("bound")]  # fmt: skip
    if bounds:
        style = {"color": "k", "ms": 9, "mew": 1.5, "ls": "", "label": "bound of the tests"}
        axes.plot(*zip(*dict.fromkeys(bounds), strict=True), "|", **style)
    rounded = [point for point in points if point[0] > 0]
    if rounded:
        axes.plot(*zip(*rounded, strict=True), "o", ms=4, alpha=0.5, ls="", label="a shape and M")
    if equal := dict.fromkeys((exact, i) for error, i in points if error == 0):
        axes.plot(*zip(*equal, strict=True), "s", color="C2", ms=5, ls="", label="0: equal in every element")
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set(
        xlabel="relative error in the Frobenius norm, against float64",
        title=f"error by format\n{_source(results['device']['name'], itertools.chain(*found.values()))}",
    )
    axes.title.set_fontsize(8)
    figure.legend(fontsize=7, loc="outside lower center", ncols=3)
    return figure


# Of one device.


def _roofline(results: Results, figure_type: Any) -> Any:
    """Draw TFLOP/s against FLOP a byte, one point a cell, under the roofs that this run measured."""
    figure = figure_type(figsize=(7, 4.5))
    axes = figure.add_subplot()
    # Before anything else: limits that are set on a linear axis do not fit a logarithmic one.
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="FLOP for each byte that bitquant moves",
        ylabel="TFLOP/s",
        title=f"speed against arithmetic intensity\n{_source(results['device']['name'], results['cells'])}",
    )
    axes.title.set_fontsize(8)
    cells = [entry for entry in results["cells"] if latency(entry, "ours") is not None]
    highest = 0.0
    for name in ("ours", *peers(results)):
        points = [
            (entry["flop"] / entry["bytes"], entry["flop"] / time_us / 1e6)
            for entry in cells
            if (time_us := latency(entry, name)) is not None
        ]
        if points:
            is_ours = name == "ours"
            highest = max(highest, *(rate for _, rate in points))
            label, marker = _LABELS.get(name, name), "o" if is_ours else "x"
            axes.plot(*zip(*points, strict=True), marker, ms=5, label=label, zorder=3 if is_ours else 2)
    intensities = [entry["flop"] / entry["bytes"] for entry in cells]
    bandwidths = [entry["bytes"] / floor / 1e6 for entry in cells if (floor := latency(entry, "floor"))]
    if bandwidths and intensities:
        roof = max(bandwidths)
        # As high as the points go; beyond that other roofs are lower.
        ends = (min(intensities), max(min(intensities), min(max(intensities), 1.5 * highest / roof)))
        axes.plot(ends, [roof * x for x in ends], "k-", lw=1, label=f"memory, {roof:.2f} TB/s measured")
    rates = [entry["flop"] / t / 1e6 for entry in cells if (t := latency(entry, "torch linear"))]
    if rates:
        axes.axhline(max(rates), color="k", ls="--", lw=1, label=f"torch linear, {digits(max(rates))} TFLOP/s at most")
    axes.grid(visible=True, which="major", alpha=0.3)
    if cells:
        axes.legend(fontsize=7)
    return figure


def _boundaries(entries: Sequence[Entry]) -> list[tuple[float, str, str]]:
    """Return the m, between two that were timed, where another rule makes our kernel, and both rules' names."""
    ordered = sorted(entries, key=lambda entry: entry["m"])
    rules = [(entry["m"], entry["ours"].get("rule", "")) for entry in ordered]
    return [
        (math.sqrt(m * following), rule, next_rule)
        for (m, rule), (following, next_rule) in itertools.pairwise(rules)
        if rule != next_rule
    ]


def _latency_figure(entries: Sequence[Entry], title: str, figure_type: Any) -> Any:
    """Draw latency against m, one panel a shape and one line an implementation; None without a shape of several m."""
    shapes: dict[tuple[int, int], list[Entry]] = {}
    for entry in entries:
        shapes.setdefault((entry["N"], entry["K"]), []).append(entry)
    timed = {s: [entry for entry in found if latency(entry, "ours") is not None] for s, found in shapes.items()}
    shapes = {shape: found for shape, found in timed.items() if len(found) > 1}
    if not shapes:
        return None
    columns = min(3, len(shapes))
    lines = ceil_div(len(shapes), columns)
    figure = figure_type(figsize=(4 * columns, 3 * lines), layout="constrained")
    names = ("ours", "floor", *dict.fromkeys(name for entry in entries for name in entry.get("peers", {})))
    styles: dict[str, dict[str, Any]] = {
        "ours": {"lw": 2, "marker": "o", "zorder": 3},
        "floor": {"color": "k", "ls": ":"},
    }
    colors = {name: f"C{i}" for i, name in enumerate(names)}
    for i, ((N, K), found) in enumerate(shapes.items()):
        axes = figure.add_subplot(lines, columns, i + 1)
        for name in names:
            ordered = sorted(found, key=lambda entry: entry["m"])
            points = [(entry["m"], t) for entry in ordered if (t := latency(entry, name)) is not None]
            if points:
                style: dict[str, Any] = {"ms": 3, "marker": ".", "color": colors[name], **styles.get(name, {})}
                axes.plot(*zip(*points, strict=True), label=_LABELS.get(name, name), **style)
        for m, before, after in _boundaries(found):
            axes.axvline(m, color="0.5", ls="--", lw=1)
            label = f"{before} | {after}"
            axes.text(m, 0.02, label, transform=axes.get_xaxis_transform(), ha="center", color="0.4", fontsize=6)
        _rows_axis(axes, found)
        axes.set(
            yscale="log",
            ylabel="us a call",
            title=f"{N} x {K}{', no record' if _class_of(found[0]) == 'default' else ''}",
        )
        axes.grid(visible=True, which="major", alpha=0.3)
        if i == 0:
            axes.legend(fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure
