# SPDX-License-Identifier: Apache-2.0
"""Digests of scheduled functions: a change that leaves kernels alone shows that it does.

`make digests` rewrites `digests.json`, and ``python -m tests.compile.digests --check`` says what differs from it.

A line is a problem on a target. For each rung it has the rule and two digests: of the choice (rule, pipeline, hint,
dynamic shared memory, layout of the weight), and of the scheduled function as TVM prints it. A hint with one field more
changes the first alone. Origins and refusals are in neither, and nor is anything of the machine.

The problems are the shipped records, the golden files, the kernels of given hints, and default schedules of the
problems that correctness tests draw from, each on one target or two. Defaults are those of the analytical models.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.arch import cuda_target
from bitquant.compute.matmul import layout_of, matmul_dequantize_b, symbol
from bitquant.config import MatmulConfig
from bitquant.errors import RecordError
from bitquant.layouts import WeightLayout
from bitquant.schedule import Plan, Planned, apply_plan, choice_of, load_records, preferred_layout, schedule_module
from bitquant.schedule.ranking.order import ENVIRONMENT
from bitquant.schedule.records import shipped_directory
from bitquant.testing.generators import case_id, cases
from bitquant.testing.kernels import HINTED_ARCH, HINTED_KERNELS
from tests.compile.test_golden import PROBLEMS, TARGETS

FILE = Path(__file__).with_name("digests.json")

#: Architectures of default schedules, one for each set of instructions that rules tell apart; and the CPU of `TARGETS`.
ARCHS = ("cpu", "sm_75", "sm_80", "sm_89", "sm_90a", "sm_100a")
#: (N, K, group_size): weights of models, and one that no tile divides.
SHAPES = (
    (4096, 4096, 128), (28672, 8192, 128), (6144, 4096, 64), (4096, 14336, -1), (1024, 8192, 32), (5120, 13824, 128),
    (1000, 1088, 32),
)  # fmt: skip
#: M of the default schedules.
ROWS: tuple[int | tuple[int, ...], ...] = (
    (1, 16, 64), (1, 16, 256, 2048), 1, 2, 4, 8, 16, 24, 48, 96, 128, 384, 1024, 8192,
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One line of the file.

    Attributes
    ----------
    name
        Of the line.
    config, target, layout
        What is scheduled: a problem, for "cpu" or an architecture, on a layout of the weight.
    rungs
        Those of the problem that are.
    planned
        Rule and hint, in place of the default.
    """

    name: str
    config: MatmulConfig
    target: str
    layout: WeightLayout
    rungs: tuple[int, ...]
    planned: Planned | None = None


def entries() -> list[Entry]:
    """Return every line of the file, in its order."""
    found = [*_records(), *_golden(), *_cpus(), *_hinted(), *_defaults()]
    return sorted(found, key=lambda entry: entry.name)


#: CPUs with the instructions that rules tell apart, besides that of `TARGETS`.
_CPUS = {
    "cpu-avx512": Target({"kind": "llvm", "mcpu": "skylake-avx512"}),
    "cpu-bf16": Target({"kind": "llvm", "mcpu": "cooperlake"}),
}


def _target(name: str) -> Target:
    cpus = {"cpu": TARGETS["cpu"], **_CPUS}
    return cpus[name] if name in cpus else cuda_target(name)


def _records() -> Iterator[Entry]:
    """Yield each shipped record twice: for its rung as the static M, and in a ladder where m is symbolic then."""
    directory = shipped_directory()
    assert directory is not None
    for record in load_records(directory):
        planned = Planned(record.rule, dict(record.hint), "record")
        for M in (record.rung, (record.rung, 2 * record.rung)):
            config = record.config.with_M(M)
            if config.has_fixed_rows(record.rung) and not config.is_static:
                continue
            layout = preferred_layout(config, _target(record.arch))
            name = f"record {record.arch} {record.device} {case_id(config)}"
            yield Entry(name, config, record.arch, layout, (record.rung,), planned)


def _golden() -> Iterator[Entry]:
    for problem, fields in PROBLEMS.items():
        config = MatmulConfig(**fields)
        for target in TARGETS:
            layouts: tuple[WeightLayout, ...] = ("plain", preferred_layout(config, _target(target)))
            for layout in dict.fromkeys(layouts):
                yield Entry(f"golden {problem} {target} {layout}", config, target, layout, config.ladder)


def _cpus() -> Iterator[Entry]:
    """Yield the golden problems, and one whose products are bfloat16, for CPUs with the wider instructions."""
    rounded = {"A_dtype": "bfloat16", "W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True}
    problems = {**PROBLEMS, "bfloat16": {"M": (1, 16, 64), "N": 64, "K": 512, **rounded}}
    for (problem, fields), target in itertools.product(problems.items(), _CPUS):
        config = MatmulConfig(**fields)
        yield Entry(f"golden {problem} {target}", config, target, "plain", config.ladder)


def _hinted() -> Iterator[Entry]:
    for kernel in HINTED_KERNELS:
        layout = preferred_layout(kernel.config, _target(HINTED_ARCH))
        planned = Planned(kernel.rule, kernel.hint.to_dict(), "hinted")
        yield Entry(f"hinted {kernel}", kernel.config, HINTED_ARCH, layout, kernel.config.ladder, planned)


def _defaults() -> Iterator[Entry]:
    """Yield default schedules. Which of them there are depends on each problem alone, so that new ones move none."""
    for config in cases("cover", shapes=SHAPES, seed=1):
        number = zlib.crc32(case_id(config).encode())
        yield from _default(config.with_M(ROWS[number // 12 % len(ROWS)]), number % 12)
    for config in cases("cover"):
        number = zlib.crc32(case_id(config).encode())
        if number // 12 % 4 == 0:
            yield from _default(config, number % 12)


def _default(config: MatmulConfig, number: int) -> Iterator[Entry]:
    """Yield one problem for sm_90a, for another target, or for both."""
    for target in dict.fromkeys((ARCHS[number % 6], "sm_90a" if number < 6 else ARCHS[number % 6])):
        layout = preferred_layout(config, _target(target))
        yield Entry(f"default {target} {case_id(config)}", config, target, layout, config.ladder)


def digest(entry: Entry) -> str:
    """Return what the file says of an entry."""
    target = _target(entry.target)
    functions = {symbol(rung): matmul_dequantize_b(entry.config, rung, layout=entry.layout) for rung in entry.rungs}
    plan = Plan(dict.fromkeys(entry.rungs, entry.planned) if entry.planned else {})
    try:
        with mock.patch.dict(os.environ, {ENVIRONMENT: "off"}):
            scheduled = schedule_module(apply_plan(IRModule(functions), target, plan), target)
    except RecordError:
        return "does not fit"
    return ", ".join(f"{rung} {digest_of(scheduled[symbol(rung)])}" for rung in entry.rungs)


def digest_of(func: PrimFunc) -> str:
    """Return the rule of a scheduled function, the digest of its choice, and that of its text."""
    choice = choice_of(func)
    assert choice is not None
    hint = json.dumps({key: choice.hint[key] for key in sorted(choice.hint)})
    how = f"{choice.rule} {choice.pipeline} {hint} {choice.smem_bytes} {layout_of(func)}"
    for attribute in func.attrs.keys():  # noqa: SIM118  it is TVM's, and iterates over nothing
        if str(attribute).startswith("bitquant."):
            func = func.without_attr(str(attribute))
    return f"{choice.rule} {_short(how, 8)} {_short(func.script(show_meta=True), 12)}"


def _short(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def compute(of: list[Entry], processes: int) -> dict[str, str]:
    """Return the digests of entries by name, made in so many processes."""
    names = [entry.name for entry in of]
    if processes <= 1:
        return dict(zip(names, map(digest, of), strict=True))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return dict(zip(names, pool.map(digest, of, chunksize=8), strict=True))


def differences(wanted: Mapping[str, str], got: Mapping[str, str]) -> list[str]:
    """Return what differs, a line each."""
    lines = []
    for name in sorted({*wanted, *got}):
        before, after = wanted.get(name, "(no entry)"), got.get(name, "(no entry)")
        if before != after:
            lines.append(f"{name}\n  - {before}\n  + {after}")
    return lines


def read() -> dict[str, str]:
    """Return the file."""
    content: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def main() -> None:
    """Rewrite the file, or compare with it."""
    parser = argparse.ArgumentParser(prog="python -m tests.compile.digests", description=__doc__)
    parser.add_argument("--check", action="store_true", help="say what differs from the file, and leave it as it is")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a CPU")
    arguments = parser.parse_args()
    found = compute(entries(), arguments.processes)
    if not arguments.check:
        FILE.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
        print(f"{len(found)} entries in {FILE}")
        return
    differing = differences(read(), found)
    print("\n".join(differing))
    print(f"{len(differing)} of {len(found)} entries differ")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
