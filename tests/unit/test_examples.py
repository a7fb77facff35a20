# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/examples run, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
NEEDS = {"checkpoint.py": "transformers"}
#: The one that shows whether anything runs at all.
FIRST = "quickstart.py"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=() if path.name == FIRST else pytest.mark.thorough, id=path.stem)
        for path in sorted(FOLDER.glob("*.py"))
    ],
)
def test_example_runs(path, tmp_path):
    """An example ends without an error or a warning, and prints something."""
    if path.name in NEEDS:
        pytest.importorskip(NEEDS[path.name], reason="the example is of that library")
    environment = {**os.environ, "BITQUANT_CACHE_DIR": str(tmp_path / "kernels"), "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(
        [sys.executable, "-W", "error::bitquant.cache.CacheWarning", path],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_readme_names_every_example():
    """docs/examples has the five files that the README lists."""
    text = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in FOLDER.glob("*.py")} == {
        name for name in ("quickstart.py", "checkpoint.py", "own_format.py", "tuning.py", "inspect_kernel.py")
        if f"docs/examples/{name}" in text
    }  # fmt: skip
