# SPDX-License-Identifier: Apache-2.0
"""The versions of what makes a kernel: of this package with its source, of TVM, and of the machine."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["versions"]


def _source_digest(package: Path) -> str:
    """Return the SHA-256 of paths, sizes and bytes of all ``*.py`` and ``*.npz`` below `package`, in order of path."""
    digest = hashlib.sha256()
    # Editors leave dangling links (.#name.py) beside a file that is open.
    sources = (path for pattern in ("*.py", "*.npz") for path in package.rglob(pattern) if path.is_file())
    for name, path in sorted((path.relative_to(package).as_posix(), path) for path in sources):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


#: Taken at import: a file that is edited later is not the code that this process runs.
_SOURCE_DIGEST: Final = _source_digest(Path(__file__).parent)


def _distribution_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


@functools.cache
def _versions() -> Mapping[str, str]:
    return {
        "bitquant": _distribution_version("bitquant"),
        "bitquant_source": _SOURCE_DIGEST,
        "apache-tvm": _distribution_version("apache-tvm"),
        "apache-tvm-ffi": _distribution_version("apache-tvm-ffi"),
        "machine": platform.machine(),
        "os": platform.system(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what makes a kernel, which are part of every key.

    Returns
    -------
    dict
        ``bitquant``, ``apache-tvm``, ``apache-tvm-ffi``: versions of the distributions. ``bitquant_source``: SHA-256 of
        the package's own ``*.py`` as they were at import, so that an edited checkout never reads stale kernels.
        ``machine``, ``os``: those that Python runs on, for which the host part of a kernel is compiled.
    """
    return dict(_versions())
