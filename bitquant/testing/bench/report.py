# SPDX-License-Identifier: Apache-2.0
"""Tables and plots of a run's figures. Needs no GPU and neither torch nor TVM; plots need matplotlib."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bitquant.errors import UnsupportedError
from bitquant.markup import html_table

__all__ = ["RATIO_LIMITS", "Table", "best_peer", "load", "markdown", "plot", "summary", "table"]

Entry = dict[str, Any]
Results = dict[str, Any]

#: Multiples of the floor for which `summary` counts cells.
RATIO_LIMITS: tuple[float, ...] = (1.1, 1.25, 1.5, 2.0)


def load(paths: Sequence[Path]) -> Results:
    """Return the results of one file, or of several runs of the same device as one.

    Cells of later files replace those of earlier ones.

    Raises
    ------
    UnsupportedError
        If a file holds something else, or the devices differ.
    """
    merged: Results = {}
    for path in paths:
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            cells, name = {_key(cell): cell for cell in results["cells"]}, results["device"]["name"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnsupportedError(f"{path} holds no results of bitquant bench: {error!r}") from error
        if merged and merged["device"]["name"] != name:
            raise UnsupportedError(f"{path} is of {name}, and the files before it are of {merged['device']['name']}")
        if merged:
            cells = {**{_key(cell): cell for cell in merged["cells"]}, **cells}
            results["versions"] = {**merged["versions"], **results["versions"]}
            refusals = dict(merged["refusals"])
            for peer, reasons in results["refusals"].items():
                refusals[peer] = {**refusals.get(peer, {}), **reasons}
            results["refusals"] = refusals
        merged = {**results, "cells": list(cells.values())}
    return merged


def _key(entry: Entry) -> tuple[Any, ...]:
    return entry["format"], entry["N"], entry["K"], entry["m"]


# Figures of a cell.


def _latency(entry: Entry, name: str) -> float | None:
    """Return the latency of an implementation in microseconds; None where it has none or its result is wrong."""
    figures = entry.get(name) if name in ("ours", "floor") else entry.get("peers", {}).get(name)
    if not figures or "complaint" in figures:
        return None
    return figures.get("latency_us")


def best_peer(entry: Entry) -> tuple[str, float] | None:
    """Return name and latency of the fastest peer whose result is right, or None."""
    found = [(latency, name) for name in entry.get("peers", {}) if (latency := _latency(entry, name)) is not None]
    return (min(found)[1], min(found)[0]) if found else None


def _over_floor(entry: Entry) -> float | None:
    ours, floor = _latency(entry, "ours"), _latency(entry, "floor")
    return ours / floor if ours and floor else None


def _speedup(entry: Entry) -> float | None:
    ours, peer = _latency(entry, "ours"), best_peer(entry)
    return peer[1] / ours if ours and peer else None


def _peers(results: Results) -> list[str]:
    """Return the names of peers that took part in some cell, in order."""
    return list(dict.fromkeys(name for entry in results["cells"] for name in entry.get("peers", {})))


# Tables.


class Table(NamedTuple):
    """Headers, and a row of strings a cell of a run; a notebook shows it as a table."""

    headers: list[str]
    rows: list[list[str]]

    def _repr_html_(self) -> str:
        used = [i for i, _ in enumerate(self.headers) if any(row[i] for row in self.rows)]
        headers = [self.headers[i] for i in used]
        return html_table(headers, [[row[i] for i in used] for row in self.rows], "Times in us", headers[2:])


def table(results: Results) -> Table:
    """Return headers, and a row of strings a cell: problem, times in microseconds, ratios.

    "wrong" and "failed" stand for times of implementations whose result was wrong or that raised.
    """
    peers = _peers(results)
    headers = ["format", "N x K", "m", "ours", "floor", "ours / floor", "TFLOP/s", *peers, "best peer / ours", "error"]
    rows = []
    for entry in results["cells"]:
        ours = _latency(entry, "ours")
        error = entry["ours"].get("error")
        rows.append([
            entry["format"],
            f"{entry['N']} x {entry['K']}",
            str(entry["m"]),
            _time(entry.get("ours")),
            _time(entry.get("floor")),
            _ratio(_over_floor(entry)),
            _digits(entry["flop"] / ours / 1e6) if ours else "",
            *(_time(entry.get("peers", {}).get(name)) for name in peers),
            _ratio(_speedup(entry)),
            "" if error is None else f"{error:.1e}",
        ])  # fmt: skip
    return Table(headers, rows)


def _time(figures: Entry | None) -> str:
    if not figures:
        return ""
    if complaint := figures.get("complaint"):
        return "wrong" if complaint.startswith("wrong") else "failed"
    return _digits(figures["latency_us"]) if "latency_us" in figures else ""


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _digits(value: float) -> str:
    """Return a positive number with three significant digits and without an exponent."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def summary(results: Results, limits: Sequence[float] = RATIO_LIMITS) -> list[str]:
    """Return lines on all cells: geometric mean and shares of the two ratios, by format where there are several."""
    lines = []
    formats = list(dict.fromkeys(entry["format"] for entry in results["cells"]))
    groups = [("all", results["cells"])] if len(formats) > 1 else []
    groups += [(name, [entry for entry in results["cells"] if entry["format"] == name]) for name in formats]
    for name, entries in groups:
        parts = []
        if speedups := [value for entry in entries if (value := _speedup(entry)) is not None]:
            parts.append(
                f"best peer / ours: geometric mean {_geometric_mean(speedups):.2f}, least {min(speedups):.2f}, "
                f"at least 1 in {_share(value >= 1 for value in speedups)}"
            )
        if ratios := [value for entry in entries if (value := _over_floor(entry)) is not None]:
            within = ", ".join(f"{limit:g} in {_share(value <= limit for value in ratios)}" for limit in limits)
            parts.append(f"ours / floor: geometric mean {_geometric_mean(ratios):.2f}, at most {within}")
        if bad := sum(_latency(entry, "ours") is None for entry in entries):
            parts.append(f"{bad} of {len(entries)} cells of ours wrong or failed")
        lines += [f"{name}: {part}" for part in parts]
    return lines


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def _share(conditions: Iterable[bool]) -> str:
    found = list(conditions)
    return f"{sum(found)} of {len(found)}"


def complaints(results: Results) -> list[str]:
    """Return a line for each implementation and message that did not get through, and for each refusal, once."""
    lines: dict[str, None] = {}
    for entry in results["cells"]:
        where = f"{entry['format']} {entry['N']}x{entry['K']} m={entry['m']}"
        for name, figures in (("ours", entry["ours"]), *entry.get("peers", {}).items()):
            if complaint := figures.get("complaint"):
                lines[f"{name}, {where}: {complaint}"] = None
        if entry.get("is_provisional"):
            why = f": {entry['unfinished']}" if "unfinished" in entry else ""
            lines[f"{where}: provisional, not all were timed in turn{why}"] = None
    for name, reasons in results["refusals"].items():
        lines.update(dict.fromkeys(f"{name} left out: {reason}" for reason in reasons))
    if stopped := results.get("stopped"):
        lines[f"stopped: {stopped}"] = None
    elif doing := results.get("doing"):
        lines[f"not finished; the last thing it did: {doing}"] = None
    return list(lines)


def environment(results: Results) -> str:
    """Return one line on device, versions and protocol."""
    device, protocol = results["device"], results["protocol"]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    driver = f", driver {device['driver']}" if device.get("driver") else ""
    return (
        f"{device['name']} ({device['arch']}{driver}), {results['begun'][:10]}; {versions}; "
        f"median of {protocol['replays']} samples of {protocol['target_ms']:g} ms, interleaved"
    )


def markdown(results: Results) -> str:
    """Return the tables as Markdown, one a format, with a summary."""
    blocks = [environment(results) + "."]
    headers, rows = table(results)
    for name in dict.fromkeys(row[0] for row in rows):
        own = [row[1:] for row in rows if row[0] == name]
        used = [i for i in range(len(headers) - 1) if any(row[i] for row in own)]
        lines = [
            "| " + " | ".join(headers[1 + i] for i in used) + " |",
            "|" + "---|" * len(used),
            *("| " + " | ".join(row[i] for i in used) + " |" for row in own),
        ]
        blocks += [f"### {name}", "Times in us.", "\n".join(lines)]
    blocks.append("\n".join(f"- {line}" for line in summary(results)))
    if notes := complaints(results):
        blocks.append("\n".join(f"- {line}" for line in notes))
    return "\n\n".join(block for block in blocks if block) + "\n"


# Plots.


def plot(results: Results, folder: Path) -> list[Path]:
    """Write plots as PNG and SVG: a roofline of all cells, and for each format latency against m by shape.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UnsupportedError
        If matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UnsupportedError("plots need matplotlib; install it with: pip install 'bitquant[bench]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    # The same figures give the same bytes.
    with mpl.rc_context({"svg.hashsalt": "bitquant", "font.size": 9}):
        figures = {"roofline": _roofline(results, Figure)}
        for name in dict.fromkeys(entry["format"] for entry in results["cells"]):
            entries = [entry for entry in results["cells"] if entry["format"] == name]
            if figure := _latency_figure(entries, name, Figure):
                figures[f"latency-{name.replace(':', '-')}"] = figure
        for name, figure in figures.items():
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = folder / f"{name}.{suffix}"
                figure.savefig(path, dpi=150, bbox_inches="tight", metadata=metadata)
                written.append(path)
    return written


def _roofline(results: Results, figure_type: Any) -> Any:
    """Draw TFLOP/s against FLOP a byte, one point a cell, under the roofs that this run measured."""
    figure = figure_type(figsize=(7, 4.5))
    axes = figure.add_subplot()
    # Before anything else: limits that are set on a linear axis do not fit a logarithmic one.
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="FLOP a byte that ours moves",
        ylabel="TFLOP/s",
        title=results["device"]["name"],
    )
    cells = [entry for entry in results["cells"] if _latency(entry, "ours") is not None]
    highest = 0.0
    for name in ("ours", *_peers(results)):
        points = [
            (entry["flop"] / entry["bytes"], entry["flop"] / latency / 1e6)
            for entry in cells
            if (latency := _latency(entry, name)) is not None
        ]
        if points:
            is_ours = name == "ours"
            highest = max(highest, *(rate for _, rate in points))
            axes.plot(*zip(*points, strict=True), "o" if is_ours else "x", ms=5, label=name, zorder=3 if is_ours else 2)
    intensities = [entry["flop"] / entry["bytes"] for entry in cells]
    bandwidths = [entry["bytes"] / floor / 1e6 for entry in cells if (floor := _latency(entry, "floor"))]
    if bandwidths and intensities:
        roof = max(bandwidths)
        # As high as the points go; beyond that other roofs are lower.
        ends = (min(intensities), max(min(intensities), min(max(intensities), 1.5 * highest / roof)))
        axes.plot(ends, [roof * x for x in ends], "k-", lw=1, label=f"memory, {roof:.2f} TB/s measured")
    rates = [entry["flop"] / t / 1e6 for entry in cells if (t := _latency(entry, "torch linear"))]
    if rates:
        axes.axhline(max(rates), color="k", ls="--", lw=1, label=f"torch linear, {_digits(max(rates))} TFLOP/s at most")
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
    timed = {s: [entry for entry in found if _latency(entry, "ours") is not None] for s, found in shapes.items()}
    shapes = {shape: found for shape, found in timed.items() if len(found) > 1}
    if not shapes:
        return None
    columns = min(3, len(shapes))
    lines = -(-len(shapes) // columns)
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
            points = [(entry["m"], t) for entry in ordered if (t := _latency(entry, name)) is not None]
            if points:
                style: dict[str, Any] = {"ms": 3, "marker": ".", "color": colors[name], **styles.get(name, {})}
                axes.plot(*zip(*points, strict=True), label=name, **style)
        for m, before, after in _boundaries(found):
            axes.axvline(m, color="0.5", ls="--", lw=1)
            label = f"{before} | {after}"
            axes.text(m, 0.02, label, transform=axes.get_xaxis_transform(), ha="center", color="0.4", fontsize=6)
        axes.set_xscale("log", base=2)
        axes.set(yscale="log", xlabel="m", ylabel="us a call", title=f"{N} x {K}")
        axes.grid(visible=True, which="major", alpha=0.3)
        if i == 0:
            axes.legend(fontsize=7)
    figure.suptitle(title)
    return figure
