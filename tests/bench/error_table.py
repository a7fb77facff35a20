"""Table of errors by format, from what `error_log` noted: python -m tests.bench.error_table LOG [LOG ...]."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path


def main(paths: list[str]) -> None:
    """Print worst relative error and number of calls by W, A and zeros mode, as Markdown."""
    worst: dict[tuple[str, str, str], float] = defaultdict(float)
    calls: dict[tuple[str, str, str], int] = defaultdict(int)
    for path in paths:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            p = entry["problem"]
            key = (p["W_dtype"], p["A_dtype"], p["zeros_mode"] if p["with_zeros"] else "none")
            worst[key] = max(worst[key], entry["error"])
            calls[key] += 1
    modes = ("none", "original", "rescale", "quantized")
    print(f"{sum(calls.values())} calls, worst relative error {max(worst.values()):.2e}\n")
    print("| W | A | " + " | ".join(modes) + " |\n|---|---|" + "---|" * len(modes))
    for W, A in dict.fromkeys((w, a) for w, a, _ in worst):
        cells = [f"{worst[W, A, z]:.1e} ({calls[W, A, z]})" if calls.get((W, A, z)) else "" for z in modes]
        print(f"| {W} | {A} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
