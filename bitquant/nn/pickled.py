# SPDX-License-Identifier: Apache-2.0
"""What of a layer's state plain pickle cannot write, in a form in which it can."""

from __future__ import annotations

import copy
from typing import Any

import torch

__all__ = ["plain_state", "whole_state"]


class _AsBytes:
    """A tensor of 8-bit floats, written as bytes.

    torch 2.13 pickles such a tensor, and cannot read what it wrote (torch.save is not concerned).
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor

    def __reduce__(self) -> tuple[Any, ...]:
        return _of_bytes, (self.tensor.view(torch.uint8), self.tensor.dtype)

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        return copy.deepcopy(self.tensor, memo)


def _of_bytes(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.view(dtype)


def plain_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return a module's state for pickling and copying; what is read back has the buffers as they were."""
    buffers = state["_buffers"]
    small = {name for name, t in buffers.items() if t is not None and t.is_floating_point() and t.itemsize == 1}
    if not small:
        return state
    return {**state, "_buffers": {name: _AsBytes(t) if name in small else t for name, t in buffers.items()}}


def whole_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state as it was before `plain_state`, where a shallow copy has it, which nothing has read back."""
    buffers = state["_buffers"]
    if not any(isinstance(t, _AsBytes) for t in buffers.values()):
        return state
    return {**state, "_buffers": {n: t.tensor if isinstance(t, _AsBytes) else t for n, t in buffers.items()}}
