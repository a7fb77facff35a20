# SPDX-License-Identifier: Apache-2.0
"""The site of docs/: that nothing is missing on its pages, and that it builds."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bitquant

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def load(name):
    """The module of docs/site of that name."""
    spec = importlib.util.spec_from_file_location(f"docs_site_{name}", DOCS / "site" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_environment_variable_is_documented():
    """docs/environment.md has a row for each variable that code reads, and for no other of bitquant's."""
    name = re.compile(r"""["'](_?BITQUANT_[A-Z_]+|TVM_NUM_THREADS|CUDA_PATH|CUDA_HOME|CC)["']""")
    code = [*(ROOT / "bitquant").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    found = {match for path in code for match in name.findall(path.read_text(encoding="utf-8"))}
    found |= set(re.findall(r"BITQUANT_[A-Z_]+(?==)", (ROOT / "Makefile").read_text(encoding="utf-8")))
    documented = set(re.findall(r"`(\w+)`", "".join(
        line.split("|")[1] for line in (DOCS / "environment.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    )))  # fmt: skip
    assert found <= documented
    assert {name for name in documented - found if name.startswith("BITQUANT_")} == set()


@pytest.mark.parametrize("name", ["formats", "gpus", "records"])
def test_tables_are_those_of_the_package(name):
    """`make tables` would change nothing."""
    tables = load("tables")
    assert (DOCS / tables.TABLES[name][0]).read_text(encoding="utf-8") == tables.written(name)


def test_every_public_name_is_in_the_reference():
    """The pages of docs/api name each name that `import bitquant` gives."""
    shown = " ".join(
        line for path in sorted((DOCS / "api").glob("*.md")) for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith(":::")
    )  # fmt: skip
    for name in set(bitquant.__all__) - {"__version__"}:
        home = bitquant._HOMES[name]
        assert re.search(rf"bitquant\.{home}[\w.]*\.{name}\b", shown) or f"bitquant.{home}" in shown.split(), name


def test_every_page_is_in_the_navigation():
    """mkdocs.yml names each page of docs/ once, and those that are made when the site is built."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:")[1]
    named = re.findall(r": (\S+\.md)$", text, re.MULTILINE)
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(named) == sorted(written | {"index.md", "changelog.md", "command-line.md"})


def test_command_line_has_every_command():
    """The page of the command line, which is made when the site is built, has each command and its options."""
    pytest.importorskip("mkdocs", reason="the extra `docs` has it")
    page = load("hooks").command_line()
    for command in ("run", "bench", "tune", "inspect", "doctor", "cache", "quantize", "generate", "show"):
        assert f"\n## bitquant {command}\n" in page
    assert "--W_dtype" in page


@pytest.mark.thorough
def test_site_builds_without_warnings(tmp_path):
    """Every link leads to a page and a heading, every name of the reference is found; a warning is an error."""
    pytest.importorskip("material", reason="the extra `docs` has it")
    pytest.importorskip("mkdocstrings_handlers.python", reason="the extra `docs` has it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path / "site"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "tutorial.html", "command-line.html", "api/operators.html"} <= pages
    for path in pages:
        text = (tmp_path / "site" / path).read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//', text), path
