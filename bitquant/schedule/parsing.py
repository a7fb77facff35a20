# SPDX-License-Identifier: Apache-2.0
"""A decorator like ``T.prim_func`` that does not look up the source of all its callers.

``T.prim_func`` asks for `inspect.stack`, twice a kernel. That looks up file and line of source of each caller, and goes
through all imported modules for one without a file (``<string>``). It takes up to half of the time in which a small
kernel is scheduled, the more the deeper the call and the more is imported. The parser needs the frames alone.

The parser wants to read the decorator as an attribute: ``@parsing.prim_func``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

from tvm.script.parser.core import utils
from tvm.script.parser.core.entry import parse
from tvm.tirx import PrimFunc

__all__ = ["prim_func"]


class _Caller(NamedTuple):
    """What the parser reads of `inspect.FrameInfo`."""

    frame: FrameType


def prim_func(func: Callable | None = None, *, s_tir: bool = False) -> Any:
    """Parse a function as TVMScript, as ``T.prim_func`` does; not for functions of a class.

    Parameters
    ----------
    func
        The function.
    s_tir
        Whether it has blocks to be scheduled; the parser reads this from the source, too.

    Returns
    -------
    PrimFunc
        The parsed function; without `func`, a decorator.
    """
    del s_tir

    def parsed(func: Callable) -> PrimFunc:
        variables = utils.inspect_function_capture(func)
        utils.resolve_closure_vars(func, variables, callers)
        found = parse(func, variables)
        found.__name__ = func.__name__
        return found

    callers: list[_Caller] = []
    frame: FrameType | None = sys._getframe()  # noqa: SLF001
    while frame is not None:
        callers.append(_Caller(frame))
        frame = frame.f_back
    if func is not None:
        return parsed(func)
    parsed.dispatch_token = prim_func.dispatch_token  # type: ignore[attr-defined]
    return parsed


# The parser asks the decorator for its dialect.
prim_func.dispatch_token = "tirx"  # type: ignore[attr-defined]  # noqa: S105
