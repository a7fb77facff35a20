# SPDX-License-Identifier: Apache-2.0
"""Tables of the reference that are made from the package: formats, GPUs, shapes with records.

``python docs/site/tables.py`` writes them between the marks of their pages (`make tables`); a test compares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bitquant.arch import gpu_arch, known_gpus
from bitquant.formats import ACTIVATION_DTYPES, WEIGHT_DTYPES, number_format
from bitquant.nn.shapes import routing_name
from bitquant.schedule.records import load_records, shipped_directory

__all__ = ["TABLES", "written"]

DOCS = Path(__file__).parents[1]


def markdown(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def formats() -> str:
    """Return every weight format with what it holds and what it goes with."""
    rows = []
    for name in WEIGHT_DTYPES:
        fmt = number_format(name)
        if fmt.takes_codebook:
            values = "16 levels of the config's `codebook`"
        elif fmt.is_integer and fmt.step != 1:
            values = ", ".join(f"{fmt.step * code + fmt.offset:g}" for code in range(2**fmt.bits))
        else:
            values = f"{fmt.min_value:g} to {fmt.max_value:g}" + (", every integer" if fmt.is_integer else "")
        missing = [A for A in ACTIVATION_DTYPES if A not in fmt.activations]
        activations = f"all but {missing[0]}" if len(missing) == 1 else ", ".join(fmt.activations) if missing else "all"
        rows.append(
            [f"`{name}`", str(fmt.bits), values, activations, ", ".join(fmt.zeros_modes), ", ".join(fmt.aliases)]
        )
    return markdown(["W_dtype", "Bits", "Values", "A_dtype", "Zero points", "Other spellings"], rows)


def gpus() -> str:
    """Return every product that is known by name, with the facts that kernels are chosen by."""
    rows = []
    for words, gpu in known_gpus():
        rows.append([
            f"`{words}`", gpu.example, f"`{gpu.name}`", str(gpu.sm_count), f"{gpu.bandwidth_bytes_per_s / 1e12:.2f}",
            f"{gpu.smem_per_block_bytes // 1024}", "yes" if gpu_arch(gpu.name).example == gpu.example else "",
        ])  # fmt: skip
    headers = [
        "`target`",
        "Product",
        "Architecture",
        "Multiprocessors",
        "TB/s",
        "Shared memory, KiB a block",
        "Stands for its architecture",
    ]
    return markdown(headers, rows)


def records() -> str:
    """Return the shipped records: a line for each device, pair of formats and shape."""
    found: dict[tuple[str, ...], set[int]] = {}
    for record in load_records(shipped_directory()):
        config = record.config
        words = config.problem_summary().split(", sums")[0]
        group = f"{config.group_size}" if config.with_scaling and config.group_size and config.group_size > 0 else ""
        zeros = config.zeros_mode if config.with_zeros else ""
        key = (record.device, words, group, zeros, f"{config.N} x {config.K}{routing_name(config)}")
        found.setdefault(key, set()).add(record.rung)
    rows = [[*key, ", ".join(map(str, sorted(rungs)))] for key, rungs in sorted(found.items())]
    return markdown(["Device", "A x W -> D", "Groups of", "Zero points", "N x K", "Rows"], rows)


#: What stands between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->`` of a page.
TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "formats": ("formats.md", formats),
    "gpus": ("gpus.md", gpus),
    "records": ("records.md", records),
}


def written(name: str) -> str:
    """Return the text of a table's page with the table as it should be."""
    page, table = TABLES[name]
    text = (DOCS / page).read_text(encoding="utf-8")
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{table()}\n\n{end}{rest.split(end)[1]}"


def main() -> None:
    """Write every table."""
    for name, (page, _) in TABLES.items():
        (DOCS / page).write_text(written(name), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
