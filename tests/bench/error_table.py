# SPDX-License-Identifier: Apache-2.0
"""Table of errors by format, from what `error_log` noted: python -m tests.bench.error_table LOG [LOG ...]."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from bitquant.formats import WEIGHT_DTYPES

MODES = ("none", "original", "rescale", "quantized")


def main(paths: list[str]) -> None:
    """Print, by W, A and zeros mode, the worst relative error, its share of the bound, and the calls, as Markdown.

    Outputs that are integers are left out of the errors where they round a sum of float32; of integer sums they count.
    """
    cells: dict[tuple[str, str, str], list[dict]] = defaultdict(list)
    for path in paths:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            p = entry["problem"]
            cells[p["W_dtype"], p["A_dtype"], p["zeros_mode"] if p["with_zeros"] else "none"].append(entry)
    entries = [entry for cell in cells.values() for entry in cell]
    exact = [entry for entry in entries if entry["is_exact"]]
    print(
        f"{len(entries)} calls of {len({json.dumps(e['problem']) for e in entries})} problems. "
        f"Integer sums with integer output: {len(exact)} calls, {sum(e['error'] > 0 for e in exact)} not exact.\n"
    )
    print("| W | A | " + " | ".join(MODES) + " |\n|---|---|" + "---|" * len(MODES))
    order = {name: i for i, name in enumerate(WEIGHT_DTYPES)}
    for W, A in sorted({(w, a) for w, a, _ in cells}, key=lambda wa: (order[wa[0]], order[wa[1]])):
        print(f"| {W} | {A} | " + " | ".join(_cell(cells.get((W, A, mode), [])) for mode in MODES) + " |")


def _cell(entries: list[dict]) -> str:
    if not entries:
        return ""
    measured = [e for e in entries if e["is_exact"] or not e["problem"]["out_dtype"].startswith("int")]
    worst = max((e["error"] for e in measured), default=None)
    share = max((e["error"] / e["bound"] for e in measured if e["bound"]), default=0.0)
    error = "rounded" if worst is None else "exact" if worst == 0 else f"{worst:.1e}, {share:.0%}"
    return f"{error} ({len(entries)})"


if __name__ == "__main__":
    main(sys.argv[1:])
