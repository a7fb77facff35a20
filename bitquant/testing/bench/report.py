# SPDX-License-Identifier: Apache-2.0
"""Tables of a run's figures. Needs no GPU and neither torch nor TVM; `plots` draws the same figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bitquant.errors import UnsupportedError
from bitquant.markup import html_table

__all__ = [
    "RATIO_LIMITS", "Table", "best_peer", "by_device", "complaints", "digits", "environment", "geometric_mean",
    "latency", "load", "markdown", "over_floor", "peers", "runs", "speedup", "summary", "table", "with_runs",
]  # fmt: skip

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
    loaded = by_device(paths)
    if len(loaded) > 1:
        names = ", ".join(results["device"]["name"] for results in loaded)
        raise UnsupportedError(
            f"files of one table must be of one device (got {names}); give those of each by themselves"
        )
    return loaded[0]


def by_device(paths: Sequence[Path]) -> list[Results]:
    """Return the results of the files, those of a device as one, in the order in which devices come.

    Each cell says in "run" which run it is of.

    Cells of later files replace those of earlier ones.

    Raises
    ------
    UnsupportedError
        If a file holds something else.
    """
    merged: dict[str, Results] = {}
    for path in paths:
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            cells, name = {_key(cell): cell for cell in with_runs(results)["cells"]}, results["device"]["name"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnsupportedError(f"{path} holds no results of bitquant bench: {error!r}") from error
        if before := merged.get(name):
            cells = {**{_key(cell): cell for cell in before["cells"]}, **cells}
            results["versions"] = {**before["versions"], **results["versions"]}
            refusals = dict(before["refusals"])
            for peer, reasons in results["refusals"].items():
                refusals[peer] = {**refusals.get(peer, {}), **reasons}
            results["refusals"] = refusals
        merged[name] = {**results, "cells": list(cells.values())}
    return list(merged.values())


def with_runs(results: Results) -> Results:
    """Return results each cell of which says in "run" which run it is of."""
    run = _run_of(results)
    return {**results, "cells": [{"run": run, **cell} for cell in results["cells"]]}


def _run_of(results: Results) -> str:
    """Return date, commit (of a wheel: version) and versions of the peers of a run."""
    versions = results["versions"]
    source = f"commit {results['commit']}" if results.get("commit") else f"bitquant {versions.get('bitquant', '?')}"
    others = [f"{name} {versions[name]}" for name in peers(results) if name in versions]
    return ", ".join([results["begun"][:10], source, *others])


def _key(entry: Entry) -> tuple[Any, ...]:
    return entry["format"], entry["N"], entry["K"], entry["m"]


# Figures of a cell.


def latency(entry: Entry, name: str) -> float | None:
    """Return the latency of an implementation in microseconds; None where it has none or its result is wrong."""
    figures = entry.get(name) if name in ("ours", "floor") else entry.get("peers", {}).get(name)
    if not figures or "complaint" in figures:
        return None
    return figures.get("latency_us")


def best_peer(entry: Entry) -> tuple[str, float] | None:
    """Return name and latency of the fastest peer whose result is right, or None."""
    found = [(time_us, name) for name in entry.get("peers", {}) if (time_us := latency(entry, name)) is not None]
    return (min(found)[1], min(found)[0]) if found else None


def over_floor(entry: Entry) -> float | None:
    """Return our time over that of the floor, or None."""
    ours, floor = latency(entry, "ours"), latency(entry, "floor")
    return ours / floor if ours and floor else None


def speedup(entry: Entry) -> float | None:
    """Return the time of the best peer over ours, or None."""
    ours, peer = latency(entry, "ours"), best_peer(entry)
    return peer[1] / ours if ours and peer else None


def peers(results: Results) -> list[str]:
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
    names = peers(results)
    headers = ["format", "N x K", "m", "ours", "floor", "ours / floor", "TFLOP/s", *names, "best peer / ours", "error"]
    rows = []
    for entry in results["cells"]:
        ours = latency(entry, "ours")
        error = entry["ours"].get("error")
        rows.append([
            entry["format"],
            f"{entry['N']} x {entry['K']}",
            str(entry["m"]),
            _time(entry.get("ours")),
            _time(entry.get("floor")),
            _ratio(over_floor(entry)),
            digits(entry["flop"] / ours / 1e6) if ours else "",
            *(_time(entry.get("peers", {}).get(name)) for name in names),
            _ratio(speedup(entry)),
            "" if error is None else f"{error:.1e}",
        ])  # fmt: skip
    return Table(headers, rows)


def _time(figures: Entry | None) -> str:
    if not figures:
        return ""
    if complaint := figures.get("complaint"):
        return "wrong" if complaint.startswith("wrong") else "failed"
    return digits(figures["latency_us"]) if "latency_us" in figures else ""


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def digits(value: float) -> str:
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
        if speedups := [value for entry in entries if (value := speedup(entry)) is not None]:
            parts.append(
                f"best peer / ours: geometric mean {geometric_mean(speedups):.2f}, least {min(speedups):.2f}, "
                f"at least 1 in {_share(value >= 1 for value in speedups)}"
            )
        if ratios := [value for entry in entries if (value := over_floor(entry)) is not None]:
            within = ", ".join(f"{limit:g} in {_share(value <= limit for value in ratios)}" for limit in limits)
            parts.append(f"ours / floor: geometric mean {geometric_mean(ratios):.2f}, at most {within}")
        if bad := sum(latency(entry, "ours") is None for entry in entries):
            parts.append(f"{bad} of {len(entries)} cells of ours wrong or failed")
        lines += [f"{name}: {part}" for part in parts]
    return lines


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers."""
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


def runs(entries: Iterable[Entry]) -> list[str]:
    """Return the runs that cells are of: date, commit, versions of peers."""
    return list(dict.fromkeys(entry["run"] for entry in entries if "run" in entry))


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
