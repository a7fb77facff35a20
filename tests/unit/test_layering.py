# SPDX-License-Identifier: Apache-2.0
"""The order of the modules: each imports only what stands above it, and no file is part of a circle."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

import bitquant

PACKAGE = Path(bitquant.__file__).parent

#: From the bottom up; `testing` may import anything, and only the command line imports it.
ORDER = (
    "errors", "arithmetic", "spelling", "files", "markup", "progress", "formats", "arch", "threads", "workspace",
    "parallel", "checks", "config_rules", "config", "grouped_config", "packing", "layouts", "relayout", "problem",
    "operands", "inputs", "grouped_inputs", "compute", "intrin", "schedule", "versions", "cache_entry", "cache",
    "source", "compiler", "archive", "build", "child", "workers", "worker", "profiling", "operator", "tune",
    "explore", "tunable", "matmul", "grouped_matmul", "nn", "peft", "transformers", "bitblas", "testing", "cli",
    "__main__",
)  # fmt: skip


def module_name(path: Path, package: Path = PACKAGE) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """The modules of a package, each with those that it names in an import: at the top, in a function, for types alone.

    That a module's package is imported with it does not count.
    """
    paths = {module_name(path, package): path for path in sorted(package.rglob("*.py"))}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        graph[name] = found = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names if alias.name in paths)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} has a relative import, which is not followed here"
                named = {f"{node.module}.{alias.name}" for alias in node.names}
                found.update(named & set(paths))
                if named - set(paths) and node.module in paths:
                    found.add(str(node.module))
        found.discard(name)
    return graph


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    rest = [start]
    while rest:
        new = graph[rest.pop()] - found
        found |= new
        rest += new
    return found


@pytest.fixture(scope="module")
def graph():
    """The modules of bitquant."""
    return import_graph()


def test_no_file_is_part_of_a_circle(graph):
    """Imports at the top, in functions and for types alone lead back to no file."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail("files import each other: " + " -> ".join(reversed(error.args[1])))


def test_what_predicts_a_wgmma_kernel_does_not_import_what_emits_it(graph):
    """Geometry, cost and space reach no emitter."""
    room = "bitquant.schedule.rules.hopper."
    for name in ("hint", "products", "registers", "memory", "geometry", "cost", "space"):
        found = reached(graph, room + name)
        assert not {other for other in found if other.startswith((room + "emit", room + "rule"))}, name


@pytest.mark.parametrize(
    "line",
    [
        "from made.b import name",
        "import made.b",
        "from made import b",
        "def function():\n    from made.b import name",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from made.b import name",
    ],
)
def test_every_kind_of_import_is_seen(tmp_path, line):
    """A circle of two files is found whatever the form of one of its imports."""
    package = tmp_path / "made"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text(line)
    (package / "b.py").write_text("from made.a import function")
    found = import_graph(package)
    assert found == {"made": set(), "made.a": {"made.b"}, "made.b": {"made.a"}}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(found).prepare()


def test_modules_import_only_what_stands_above_them(graph):
    """The layering of docs/architecture.md holds, imports for types alone included."""
    wrong = []
    for name in sorted(graph.keys() - {"bitquant"}):  # Its imports are the public names.
        here = name.split(".")[1]
        assert here in ORDER, f"{here} has no place in the order"
        for other in graph[name] - {"bitquant"}:
            there = other.split(".")[1]
            if ORDER.index(there) > ORDER.index(here):
                wrong.append(f"{name} imports {other}, which stands below it")
            if there == "testing" and here not in ("testing", "cli"):
                wrong.append(f"{name} imports {other}")
        if "bitquant" in graph[name] and here not in ("testing", "cli"):
            wrong.append(f"{name} imports the package's public names; name their modules")
    assert not wrong, "\n".join(wrong)


def test_order_names_every_module(graph):
    """The order has no module that there is not."""
    assert set(ORDER) == {name.split(".")[1] for name in graph if "." in name}


def test_documentation_has_the_order():
    """docs/architecture.md lists the modules in this order."""
    text = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.split("## Order of imports")[1].split("## ")[0]
    listed = "".join(line for line in section.splitlines() if line.startswith("    "))
    assert tuple(listed.replace(",", " ").split()) == ORDER[:-1]


def test_dir_shows_the_public_names():
    """`dir(bitquant)` has the public names and modules, and nothing that the package itself needs."""
    shown = {name for name in dir(bitquant) if not name.startswith("__")}
    assert set(bitquant.__all__) - {"__version__"} <= shown
    assert {"TYPE_CHECKING", "Any", "annotations", "importlib"}.isdisjoint(shown)
    for name in shown:
        assert getattr(bitquant, name) is not None


def test_public_names_exist():
    """Everything in __all__ can be had."""
    for name in bitquant.__all__:
        assert getattr(bitquant, name) is not None
