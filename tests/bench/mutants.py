# SPDX-License-Identifier: Apache-2.0
"""Bugs that tests must find: each is planted in a copy of the repository, where tests of `make test` then have to fail.

``python -m tests.bench.mutants`` plants one after the other, some minutes on two cores; a number picks one.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """A bug: in `file`, `new` stands in place of `old`. It must show in `tests`, or those that -k `select` takes."""

    subject: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    select: str = ""


MUTANTS = (
    Mutant(
        "codes: a value near a midpoint goes to the farther level",
        "formats/levels.py", "[(a + b) / 2 for", "[(a + b) / 2.01 for",
        ("unit/test_packing.py",),
    ),
    Mutant(
        "formats: a zero among -1 and +1",
        "formats/integers.py", "2 if self.is_signed and self.bits == 1 else 1", "1",
        ("unit/test_formats.py",),
    ),
    Mutant(
        "fragment layout: values of a register change places",
        "layouts.py", "(i * self.values_per_register + e) * plane.bits",
        "(i * self.values_per_register + (self.values_per_register - 1 - e)) * plane.bits",
        ("unit/test_layouts.py", "unit/test_fragments.py"),
    ),
    Mutant(
        "decoding: zero points of mode rescale are scaled",
        "compute/decode.py", 'zeros_mode == "rescale":\n        w = w - zero',
        'zeros_mode == "rescale":\n        w = w - zero * scale if scale is not None else w - zero',
        ("unit/test_correctness.py",),
    ),
    Mutant(
        "outputs: integers are rounded down",
        "compute/matmul.py", "tirx.isnan(x), tirx.nearbyint(x)", "tirx.isnan(x), tirx.floor(x)",
        ("unit/test_correctness.py",),
    ),
    Mutant(
        "tokens: halves of a float8 are rounded up",
        "compute/tokens.py", "- 1) + is_odd,", "- 1) + word(1),",
        ("unit/test_tokens.py",), "halves",
    ),
    Mutant(
        "cpu rule: one element beyond K is multiplied",
        "schedule/rules/cpu.py", "v * K_LANES + l - K if", "v * K_LANES + l - K - 1 if",
        ("unit/test_rule_cpu.py",),
    ),
    Mutant(
        "gemv rule: zero points are not multiplied by the sum of A",
        "schedule/rules/gemv.py", "* sum_of_a.astype(total_dtype)", "* T.cast(1, total_dtype)",
        ("compile/test_golden.py",),
    ),
    Mutant(
        "mma rule: zero points are rounded away",
        "schedule/rules/mma/emit/decode.py", "T.Select(near[0] == near[1], T.float32(0), rest)", "T.float32(0)",
        ("compile/test_golden.py",),
    ),
    Mutant(
        "decode rule: the next kernel may start before the one before has ended",
        "schedule/rules/decode/emit/kernel.py", "            wait_for_dependency()", "            pass",
        ("compile/test_rule_decode.py",),
    ),
    Mutant(
        "wgmma rule: a run crosses groups",
        "schedule/rules/hopper/products.py", "(config.with_scaling and config.num_groups > 1)", "config.with_scaling",
        ("compile/test_rule_wgmma_narrow.py",),
    ),
    Mutant(
        "records: a slower measurement replaces a faster one",
        "schedule/records.py", "record.latency_us >= (1 - NOISE)", "record.latency_us < (1 - NOISE)",
        ("unit/test_records.py",),
    ),
    Mutant(
        "cache: checksums are not compared",
        "cache_entry.py", "if first_line != _MAGIC +", "if not first_line and first_line != _MAGIC +",
        ("unit/test_cache.py",),
    ),
    Mutant(
        "config: a last group of less than half the size is taken",
        "config_rules.py", "if g is not None and K % g:", "if g is not None and K % g > abs(g) // 2:",
        ("unit/test_config.py",),
    ),
    Mutant(
        "layers: zero points are rounded down",
        "nn/rounding.py", "(-low.unsqueeze(-1) / s).round()", "(-low.unsqueeze(-1) / s).floor()",
        ("unit/test_nn.py",), "zero_points or half_a_step",
    ),
    Mutant(
        "call: a later call reads a scale that is a negated view as it lies",
        "operator/call.py", 'f"{name}.is_neg()" for name in there', 'f"{name}.is_neg()" for name in ("A", "W")',
        ("unit/test_operator.py",), "call",
    ),
    Mutant(
        "command line: dashes in options are not taken",
        "cli/problem.py", 'name.replace("_", "-")', "name",
        ("unit/test_cli.py",),
    ),
)  # fmt: skip


def is_found(mutant: Mutant) -> bool:
    """Plant a bug, run its tests, print the first that fails, and return whether one does."""
    with tempfile.TemporaryDirectory(prefix="bitquant-") as folder:
        for part in ("bitquant", "tests", "schedules", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, Path(folder, part))
        file = Path(folder, "bitquant", mutant.file)
        source = file.read_text(encoding="utf-8")
        assert mutant.old in source, f"{mutant.file} has no {mutant.old!r}"
        file.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
        answer = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not thorough", "-k", mutant.select,
             *(f"tests/{path}" for path in mutant.tests)],
            cwd=folder, env={**os.environ, "BITQUANT_CACHE_DIR": str(Path(folder, "cache"))},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    failed = re.search(r"^FAILED (.+?)(?: - |$)", answer.stdout, re.MULTILINE)
    result = failed[1] if answer.returncode == 1 and failed else f"NOT FOUND\n{answer.stdout[-2000:]}"
    print(f"{mutant.subject}\n  {result}", flush=True)
    return answer.returncode == 1


def main() -> None:
    """Plant them all, or the one whose number is given."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mutants", description=__doc__)
    parser.add_argument("number", type=int, nargs="?", choices=range(1, len(MUTANTS) + 1))
    number = parser.parse_args().number
    missed = [m.subject for m in (MUTANTS[number - 1 : number] if number else MUTANTS) if not is_found(m)]
    sys.exit(f"{len(missed)} not found: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
