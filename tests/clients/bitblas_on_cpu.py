# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin that runs programs written for BitBLAS, their tests among them, over `bitquant.bitblas`.

With this folder on PYTHONPATH, ``python -m pytest -p bitblas_on_cpu PATH`` makes ``import bitblas``
find it. Without a GPU, tensors that are asked for on "cuda" are on the CPU, and nothing else is
changed. docs/bitblas.md has the commands.
"""

from __future__ import annotations

import sys
import tempfile
import types
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

import bitquant.bitblas


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == "cuda" else value
    return "cpu" if isinstance(value, str) and (value == "cuda" or value.startswith("cuda:")) else value


class CpuForCuda(TorchFunctionMode):
    """Gives the CPU to whoever asks torch for the device "cuda"."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = {name: _on_cpu(value) if name == "device" else value for name, value in (kwargs or {}).items()}
        if getattr(func, "__name__", "") in ("to", "_to"):
            args = (args[0], *map(_on_cpu, args[1:]))
        if getattr(func, "__name__", "") == "cuda":
            return args[0]
        return func(*args, **kwargs)


def pytest_configure() -> None:
    """Install the module, and the CPU in the place of a GPU that is not there."""
    bitquant.bitblas.install()
    # BitBLAS's tests take a folder from a module of the TVM that it brings; TVM 0.27 has it no
    # more.
    folders = types.ModuleType("tvm.contrib.utils")
    folders.tempdir = lambda: types.SimpleNamespace(path=tempfile.mkdtemp())
    sys.modules.setdefault("tvm.contrib.utils", folders)
    sys.modules["tvm.contrib"] = sys.modules.get("tvm.contrib") or __import__("tvm.contrib").contrib
    sys.modules["tvm.contrib"].utils = sys.modules["tvm.contrib.utils"]
    if not torch.cuda.is_available():
        CpuForCuda().__enter__()
        torch.nn.Module.cuda = lambda self, device=None: self
        torch.cuda.current_stream = lambda device=None: None
