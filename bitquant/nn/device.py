# SPDX-License-Identifier: Apache-2.0
"""Models and devices that callers name."""

from __future__ import annotations

import os
from typing import Any

import torch

from bitquant.errors import ConfigError, UnsupportedError

__all__ = ["as_device", "check_module", "present_device"]


def check_module(model: Any) -> None:
    """Check that a model is a module.

    Raises
    ------
    ConfigError
        If it is something else, a path, say.
    """
    if not isinstance(model, torch.nn.Module):
        fix = "; load_model opens a checkpoint" if isinstance(model, str | os.PathLike) else ""
        raise ConfigError(f"'model' must be a torch.nn.Module (got {type(model).__name__}){fix}", model=model)


def as_device(device: Any) -> torch.device:
    """Return the CPU or GPU that a caller means; it need not be there.

    Raises
    ------
    ConfigError
        If it is none.
    """
    try:
        # An int names a GPU, and torch takes True for one.
        found = torch.device("cuda", device) if type(device) is int else torch.device(device)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"'device' must be a torch device, 'cuda' or 'cpu' (got {device!r:.80})", device=device
        ) from error
    if found.type not in ("cpu", "cuda"):
        raise ConfigError(f"'device' must be a GPU or a CPU, 'cuda' or 'cpu' (got {device!r:.80})", device=device)
    return found


def present_device(device: Any) -> torch.device:
    """Return the CPU or GPU that a caller means, which is there.

    Raises
    ------
    ConfigError
        If it is none.
    UnsupportedError
        If it is a GPU that is not there.
    """
    found = as_device(device)
    count = torch.cuda.device_count() if found.type == "cuda" else 1
    if (found.index or 0) >= count:
        there = f"there are {count}" if count else "there is none"
        raise UnsupportedError(f"'device' {device!r:.80} needs that GPU, and {there}; use 'cpu'", device=device)
    return found
