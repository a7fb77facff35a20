# SPDX-License-Identifier: Apache-2.0
"""The table of operators by problem text: how registered operations of torch find the operator that they name."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Protocol

import torch

from bitquant.operator.signature import Operands, Signature

__all__ = ["Registered", "operator_of", "register", "set_rebuild"]


class Registered(Protocol):
    """What an operation needs of an operator.

    Attributes
    ----------
    signature
        What its operands must be.
    is_tuned
        Whether its kernels are others than those that follow from the problem.
    """

    signature: Signature
    is_tuned: bool

    def launch(self, operands: Operands, output: torch.Tensor | None) -> torch.Tensor:
        """Compute a plain call."""

    def compute(self, operands: Operands, output: torch.Tensor | None = None) -> torch.Tensor:
        """Compute a call with tensors that hold memory."""

    def compute_weight(
        self, W: torch.Tensor, scale: torch.Tensor | None, zeros: torch.Tensor | None, dtype: torch.dtype
    ) -> torch.Tensor:
        """Return decode(W), (N, K), in `dtype`."""


#: Live operators by their problem, the newest last. It keeps none alive.
_live: dict[str, list[weakref.ref[Registered]]] = {}
#: Operators that a program asked for where none lived, by their problem; they stay, as that program may.
_rebuilt: dict[str, Registered] = {}
#: What makes the operator of a problem: one function. `bitquant.operator.core`, which imports this file, sets it.
_rebuild: list[Callable[[str], Registered]] = []
_lock = threading.RLock()


def register(problem: str, operator: Registered) -> None:
    """Let operations find an operator by its problem."""
    with _lock:
        others = [ref for ref in _live.get(problem, ()) if ref() is not None and ref() is not operator]
        _live[problem] = [*others, weakref.ref(operator)]


def set_rebuild(rebuild: Callable[[str], Registered]) -> None:
    """Set the function that makes the operator of a problem where none lives."""
    _rebuild[:] = [rebuild]


def operator_of(problem: str) -> Registered:
    """Return the operator that serves a problem: the newest one that lives, a tuned one before others."""
    alive = [operator for ref in _live.get(problem, ()) if (operator := ref()) is not None]
    if alive:
        return next((operator for operator in reversed(alive) if operator.is_tuned), alive[-1])
    with _lock:
        if problem not in _rebuilt:
            _rebuilt[problem] = _rebuild[0](problem)
        return _rebuilt[problem]
