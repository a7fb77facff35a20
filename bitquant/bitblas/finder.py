# SPDX-License-Identifier: Apache-2.0
"""Makes ``import bitblas`` find `bitquant.bitblas`."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from bitquant.errors import UnsupportedError

__all__ = ["install"]

_NAME, _PACKAGE = "bitblas", "bitquant.bitblas"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for `bitblas` and what is below it with the modules of this package, which are not loaded twice."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module that the package has; others are not found."""
        if fullname != _NAME and not fullname.startswith(f"{_NAME}."):
            return None
        real = importlib.util.find_spec(_PACKAGE + fullname[len(_NAME) :])
        if real is None:
            return None
        return importlib.machinery.ModuleSpec(
            fullname, self, origin=real.origin, is_package=real.submodule_search_locations is not None
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Return None: `exec_module` puts the real module in the place of an empty one."""

    def exec_module(self, module: Any) -> None:
        """Put the real module where the import machinery takes it from."""
        sys.modules[module.__name__] = importlib.import_module(_PACKAGE + module.__name__[len(_NAME) :])


def install() -> None:
    """Make ``import bitblas``, and imports of what is below it, find `bitquant.bitblas` in this process.

    It comes before a BitBLAS that is installed. Calling it twice does nothing more.

    Raises
    ------
    UnsupportedError
        If another `bitblas` has been imported already.
    """
    there = sys.modules.get(_NAME)
    if there is not None and there.__name__ != _PACKAGE:
        raise UnsupportedError(
            f"bitblas has been imported already, from {getattr(there, '__file__', None)}; "
            "call bitquant.bitblas.install() before whatever imports it"
        )
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
