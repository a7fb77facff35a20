# SPDX-License-Identifier: Apache-2.0
"""What is said where there is no CUDA compiler. Compilations are tested by `tests/compile`."""

from __future__ import annotations

import sys
import types

import pytest

from bitquant import compiler
from bitquant.errors import UnsupportedError


@pytest.fixture
def _nothing_installed(monkeypatch):
    """Neither wheels nor a toolkit, and nothing remembered of this machine before or after."""
    monkeypatch.setattr(compiler, "_wheel_roots", tuple)
    monkeypatch.setattr(compiler, "_toolkit_roots", tuple)
    compiler._detected_compiler.cache_clear()
    yield
    compiler._detected_compiler.cache_clear()


def nvrtc_with(monkeypatch, version):
    """Put a module in the place of cuda.bindings.nvrtc."""
    nvrtc = types.ModuleType("cuda.bindings.nvrtc")
    nvrtc.nvrtcVersion = version
    bindings = types.ModuleType("cuda.bindings")
    bindings.nvrtc = nvrtc
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", nvrtc)


def broken():
    raise RuntimeError("Failed to load libnvrtc.so.13: GLIBC_2.38 not found")


@pytest.mark.usefixtures("_nothing_installed")
@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (broken, "NVRTC: the library cannot be loaded (RuntimeError: Failed to load libnvrtc.so.13: GLIBC_2.38"),
        (lambda: (7, 0, 0), "NVRTC: nvrtcVersion returned 7"),
        (lambda: (0, 13, 1), "NVRTC: NVRTC 13.1 is installed, but CUDA's headers are not"),
    ],
)
def test_reason_why_nvrtc_is_not_used(version, reason, monkeypatch):
    """A library that is there and does not serve is no missing package; the error has its own words, and what to do."""
    nvrtc_with(monkeypatch, version)
    with pytest.raises(UnsupportedError) as error:
        compiler.cuda_compiler()
    assert reason in str(error.value)
    assert "nvcc: no CUDA toolkit" in str(error.value)
    assert "pip install 'bitquant[cuda]'" in str(error.value)


@pytest.mark.usefixtures("_nothing_installed")
def test_reason_where_the_package_is_missing(monkeypatch):
    """Its name is said."""
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(UnsupportedError, match="the package cuda-bindings is not installed"):
        compiler.cuda_compiler()


@pytest.mark.usefixtures("_nothing_installed")
def test_reason_why_nvcc_is_not_used(monkeypatch, tmp_path):
    """A toolkit without headers is named with its path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").touch()
    monkeypatch.setattr(compiler, "_toolkit_roots", lambda: [tmp_path])
    nvrtc_with(monkeypatch, broken)
    with pytest.raises(UnsupportedError) as error:
        compiler.cuda_compiler()
    assert f"nvcc: {tmp_path}/bin/nvcc has no headers of CUDA" in str(error.value)
