# SPDX-License-Identifier: Apache-2.0
"""What is built for a package index: that it has everything, is in order, and runs where it is installed."""

from __future__ import annotations

import email
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import bitquant

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of an sdist and a wheel of this checkout."""
    pytest.importorskip("hatchling", reason="builds the wheel; the extra `test` has it")
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    """The wheel."""
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def contents(wheel):
    """The names of the files in the wheel."""
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


@pytest.fixture(scope="module")
def metadata(wheel):
    """What the wheel says of itself."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(file.read(name))


def test_wheel_says_that_it_has_types(contents):
    """PEP 561: type checkers read the annotations of an installed bitquant where it has this file."""
    assert "bitquant/py.typed" in contents


def test_wheel_has_every_module_and_record(contents):
    """What is imported, the parts of the page, and the schedules that were measured, come along; tests do not."""
    files = [path for suffix in ("py", "html", "css", "js") for path in (ROOT / "bitquant").rglob(f"*.{suffix}")]
    assert {path.suffix for path in files} == {".py", ".html", ".css", ".js"}
    wanted = {str(path.relative_to(ROOT)) for path in files}
    wanted |= {f"bitquant/_{path.relative_to(ROOT)}" for path in (ROOT / "schedules").rglob("*.json")}
    assert wanted <= contents
    assert not {name for name in contents if name.startswith("tests/")}


def test_sdist_builds_the_same_wheel(built, contents, tmp_path):
    """The sdist has what the wheel is made of."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as file:
        file.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(again) as file:
        assert set(file.namelist()) == contents


def test_version_is_said_once(metadata):
    """The package, its metadata and the newest heading of CHANGELOG.md name one version."""
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert metadata["Version"] == bitquant.__version__ == heading[1]


def test_the_index_page_names_files(metadata):
    """The project has no public address: the package's README has no relative link, and names files that are there."""
    assert metadata.get_all("Project-URL") is None
    page = metadata.get_payload()
    assert all(target.startswith(("https://", "#")) for target in re.findall(r"\]\(([^)\s]+)\)", page))
    named = re.findall(r"[(,] ?`([A-Za-z][\w./-]*\.(?:md|png|py)|LICENSE)`", page)
    assert {"docs/tutorial.md", "docs/plots/speedup-float16-uint4-g128-zeros.png", "LICENSE"} <= set(named)
    for name in named:
        assert (ROOT / name).exists(), name


def test_links_of_the_index_page_would_lead_to_files():
    """With a public address, every link of the README is absolute, and those into the source name files there."""
    pytest.importorskip("hatchling", reason="builds the wheel; the extra `test` has it")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    metadata = {"version": "1.2", "urls": {"Source": "https://host/name"}}
    module.ReadmeHook(str(ROOT), {}).update(metadata)
    targets = re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", metadata["readme"]["text"])
    assert targets
    for picture, target in targets:
        base = f"https://host/name/{'raw' if picture else 'blob'}/v1.2/"
        assert target.startswith((base, "#")), target
        if target.startswith(base):
            assert (ROOT / target.removeprefix(base).split("#")[0]).exists(), target


@pytest.mark.parametrize("checker", [["twine", "check", "--strict"], ["check_wheel_contents"]])
def test_checkers_of_packages_accept_it(built, wheel, checker):
    """Twine renders the page of a package index, check-wheel-contents looks for what does not belong into a wheel."""
    pytest.importorskip(checker[0], reason="the extra `test` has it")
    paths = sorted(built.iterdir()) if checker[0] == "twine" else [wheel]
    result = subprocess.run([sys.executable, "-m", *checker, *paths], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.thorough
def test_installed_wheel_runs(wheel, tmp_path):
    """In an environment of its own, the wheel has its command and its records, and computes.

    Dependencies are those of this environment: `make demo` installs them by what the package says it needs.
    """
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True)
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", show], check=True, capture_output=True, text=True).stdout.strip())
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "BITQUANT_CACHE_DIR": str(tmp_path / "kernels")
    }
    command = [environment / "bin" / "bitquant", "run", "--M", "1", "--N", "64", "--K", "64", "--W_dtype", "uint4"]
    result = subprocess.run(
        [*command, "--target", "cpu", "--json"], cwd=tmp_path, env=clean, capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout)["results"][0]["is_right"]
    look = "import bitquant.schedule.records as r, pathlib; print(pathlib.Path(r.__file__).parents[1])"
    found = subprocess.run([python, "-c", look], cwd=tmp_path, env=clean, capture_output=True, text=True, check=True)
    package = Path(found.stdout.strip())
    assert package.is_relative_to(environment)
    assert list((package / "_schedules").rglob("*.json"))
    assert not list((package / "_schedules").rglob("*.parquet")), "trials are for a checkout"
    for model in ("trees.npz", "trees-5-16.npz"):
        assert (package / "schedule" / "ranking" / model).is_file()
