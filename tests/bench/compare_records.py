# SPDX-License-Identifier: Apache-2.0
"""Records against defaults, timed in turn, as Markdown: python -m tests.bench.compare_records FOLDER.

Of each record for the GPU that is here two kernels are compiled for exactly its rows: that of the record, and the one
that an operator would get without records. Both are checked against a float64 product and timed in turns, by the
protocol of tuning (`bitquant.tune.measurer`), but in other processes than those that chose the record. The exit code is
1 if one is wrong, or slower than the default by more than the noise of a measurement.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

from bitquant.arch import resolve_target
from bitquant.archive import Archive
from bitquant.problem import Problem
from bitquant.schedule import preferred_layout
from bitquant.schedule.records import NOISE, Record, load_records
from bitquant.schedule.rules import default_rules
from bitquant.schedule.tuned import read_hint
from bitquant.tune.candidates import Candidate, default_candidate
from bitquant.tune.compile import Builder
from bitquant.tune.fleet import start_measurers, visible_gpus
from bitquant.tune.measurer import Measurer


def pairs_of(records: list[Record], builder: Builder) -> Iterator[tuple]:
    """Yield each record with its problem, and the outcomes that are promised of its default and of itself."""
    rules, target = default_rules(), resolve_target("cuda")
    for record in records:
        problem = Problem(record.config, record.rung, target, preferred_layout(record.config, target))
        rule = next(rule for rule in rules if rule.name == record.rule)
        both = default_candidate(problem, rules), Candidate(record.rung, rule, read_hint(rule, record.hint))
        if both[0] is not None and both[0].key != both[1].key:
            yield record, problem, [(c, builder.submit(problem, c)) for c in both]


def measure(records: list[Record], workers: int, deadline: float) -> list[tuple[Record, float, float, str]]:
    """Return for each record the times of its default and of itself in microseconds, and what went wrong."""
    builder, measurers = Builder(workers), start_measurers("cuda", visible_gpus())
    waiting = pairs_of([r for r in records if r.device == measurers[0].device], builder)
    lock, found = threading.Lock(), []

    def serve(measurer: Measurer) -> None:
        ahead: list = []
        while time.monotonic() < deadline:
            with lock:
                while len(ahead) <= workers // 2 and (drawn := next(waiting, None)) is not None:
                    ahead.append(drawn)
            if not ahead:
                return
            record, problem, made = ahead.pop(0)
            outcomes = [(candidate, future.result()) for candidate, future in made]
            if said := [str(outcome) for _, outcome in outcomes if not isinstance(outcome, Archive)]:
                found.append((record, math.nan, math.nan, said[0]))
                continue
            default, own = measurer.compare(problem, outcomes, rounds=9)
            times = [v.latency_us or math.nan for v in (default, own)]
            found.append((record, *times, default.note or own.note))

    threads = [threading.Thread(target=serve, args=(measurer,)) for measurer in measurers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    builder.stop()
    for measurer in measurers:
        measurer.stop()
    return found


def main() -> int:
    """Print a line for each record and the means of formats and rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", default="schedules")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--time-limit", type=float, default=math.inf, metavar="SECONDS")
    parser.add_argument("--date", default="", help="Those of this date alone.")
    options = parser.parse_args()
    records = [r for r in load_records(options.folder) if str(r.provenance.get("date", "")).startswith(options.date)]
    found = measure(records, options.workers, time.monotonic() + options.time_limit)
    print("| A x W | N x K | M | default us | record us | default / record |\n|---|---|---|---|---|---|")
    gains = defaultdict(list)
    for record, default_us, own_us, note in sorted(found, key=lambda line: line[1] / line[2]):
        p = record.problem
        types = f"{p['A_dtype']} x {p['W_dtype']}"
        gain = default_us / own_us
        print(
            f"| {types} | {p['N']} x {p['K']} | {record.rung} | {default_us:.2f} | {own_us:.2f} | {gain:.3f} | {note}"
        )
        if not note:
            gains[types, record.rung].append(gain)
    print("\n| A x W | M | records | geometric mean | least | most |\n|---|---|---|---|---|---|")
    for (types, rung), mine in sorted(gains.items()):
        mean = statistics.geometric_mean(mine)
        print(f"| {types} | {rung} | {len(mine)} | {mean:.3f} | {min(mine):.3f} | {max(mine):.3f} |")
    print(f"\n{len(found)} of {len(records)} records were timed")
    return int(any(note or default_us / own_us < 1 - NOISE for _, default_us, own_us, note in found))


if __name__ == "__main__":
    sys.exit(main())
