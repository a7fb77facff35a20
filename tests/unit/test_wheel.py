"""The wheel: that it has everything that the checkout has, and that its types can be read."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """The names of the files in a wheel of this checkout."""
    pytest.importorskip("hatchling", reason="builds the wheel; the extra `test` has it")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def test_wheel_says_that_it_has_types(contents):
    """PEP 561: type checkers read the annotations of an installed bitquant where it has this file."""
    assert "bitquant/py.typed" in contents


def test_wheel_has_every_module_and_record(contents):
    """What is imported, and the schedules that were measured, come along; tests do not."""
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "bitquant").rglob("*.py")}
    wanted |= {f"bitquant/_{path.relative_to(ROOT)}" for path in (ROOT / "schedules").rglob("*.json")}
    assert wanted <= contents
    assert not {name for name in contents if name.startswith("tests/")}
