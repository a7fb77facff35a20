# SPDX-License-Identifier: Apache-2.0
"""The module `bitblas.testing`: what tests of BitBLAS and of its clients use of it. It needs pytest."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from typing import Any

import pytest
import torch

__all__ = ["main", "requires_cuda_compute_version", "requires_package", "torch_assert_close"]


def main() -> None:
    """Run the tests of the calling file with the arguments of the command line, and leave the process."""
    sys.exit(pytest.main([inspect.stack()[1].filename, *sys.argv[1:]]))


def requires_package(*packages: str) -> Any:
    """Return a mark that skips a test where one of the packages is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def requires_cuda_compute_version(major: int, minor: int = 0) -> Any:
    """Return a mark that skips a test where a GPU of a lower compute capability is here. A CPU runs every test."""
    here = torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    is_older = here is not None and here < (major, minor)
    return pytest.mark.skipif(is_older, reason=f"needs compute capability {major}.{minor} (got {here})")


def torch_assert_close(
    tensor_a: torch.Tensor,
    tensor_b: torch.Tensor,
    rtol: float = 1e-2,
    atol: float = 1e-3,
    max_mismatched_ratio: float = 0.001,
    verbose: bool = False,
) -> bool:
    """Return True where all but a share of the elements satisfy ``|a - b| <= atol + rtol * |b|``.

    Raises
    ------
    AssertionError
        If more than ``max_mismatched_ratio`` of the elements do not, NaN among them.
    """
    difference = (tensor_a.double() - tensor_b.double()).abs()
    mismatched = int((~(difference <= atol + rtol * tensor_b.double().abs())).sum())
    allowed = int(tensor_a.numel() * max_mismatched_ratio)
    message = (
        f"{mismatched} of {tensor_a.numel()} elements differ by more than {atol:g} + {rtol:g} |b|, "
        f"the most by {difference.max().item() if difference.numel() else 0.0:g}; {allowed} may"
    )
    if verbose:
        print(message)
    if mismatched > allowed:
        raise AssertionError(message)
    return True
