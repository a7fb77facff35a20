# SPDX-License-Identifier: Apache-2.0
"""Statements of kernels for CPUs, outside of a function that TVM parses: loops and buffers with names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder

__all__ = ["loop", "loops", "named_buffer", "store"]

Expr = Any


@contextmanager
def loop(name: str, frame: Any) -> Iterator[Expr]:
    """Emit a loop, `frame` being ``T.serial(extent)`` or one of another kind; yield its variable, which is `name`."""
    with frame as variable:
        yield IRBuilder.name(name, variable)


@contextmanager
def loops(names: str, frame: Any) -> Iterator[tuple[Expr, ...]]:
    """Emit nested loops, `frame` being ``T.grid(*extents)``; yield their variables, whose names are `names`."""
    with frame as variables:
        yield tuple(IRBuilder.name(name, v) for name, v in zip(names.split(), variables, strict=True))


def named_buffer(name: str, shape: Sequence[Expr], dtype: str) -> Any:
    """Emit a buffer; return it."""
    return IRBuilder.name(name, T.alloc_buffer(tuple(shape), dtype))


def store(buffer: Any, place: Sequence[Expr], value: Expr) -> None:
    """Emit ``buffer[place] = value``."""
    T.buffer_store(buffer, value, list(place))
