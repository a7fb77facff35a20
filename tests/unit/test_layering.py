"""The order of the modules: each imports only what stands above it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import bitquant

PACKAGE = Path(bitquant.__file__).parent

#: From the bottom up; `testing` may import anything, and only the command line imports it.
ORDER = (
    "errors", "dtypes", "arch", "config", "packing", "layouts", "compute", "intrin", "schedule", "cache", "compiler",
    "build", "profiling", "operator", "matmul", "nn", "tune", "testing", "cli", "__main__",
)  # fmt: skip

#: `Matmul.hardware_aware_finetune` imports the search when it is called.
EXEMPT = {("matmul", "tune")}


def unit(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """Names of bitquant's modules that a file imports when it runs, whatever the place; not those for types alone."""
    names = set()
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "bitquant":
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bitquant."):
            names.add(node.module.split(".")[1])
    return names - {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_import_only_what_stands_above_them(path):
    """The layering of docs/architecture.md holds."""
    if path == PACKAGE / "__init__.py":
        return
    here = unit(path)
    assert here in ORDER, f"{here} has no place in the order"
    for name in imported(path) & set(ORDER):
        if (here, name) in EXEMPT:
            continue
        assert ORDER.index(name) <= ORDER.index(here), f"{path.name} imports bitquant.{name}, which stands below it"
    if here not in ("testing", "cli", "__main__"):
        assert "testing" not in imported(path)


def test_public_names_exist():
    """Everything in __all__ can be had."""
    for name in bitquant.__all__:
        assert getattr(bitquant, name) is not None
