# SPDX-License-Identifier: Apache-2.0
"""A faster call stack for TVM's parser.

``T.prim_func`` asks for `inspect.stack`, twice a kernel. That looks up file and line of source of each caller, and goes
through all imported modules for one without a file (``<string>``). It takes up to half of the time in which a small
kernel is scheduled, the more the deeper the call and the more is imported. The parser reads the frames, and the line of
one of them. So `stack` looks a line up when it is read.
"""

from __future__ import annotations

import inspect
import linecache
from types import FrameType
from typing import Any

from tvm.tirx.script.parser import entry

__all__ = ["install", "stack"]


class _Caller:
    """A frame, with the attributes of `inspect.FrameInfo`."""

    def __init__(self, frame: FrameType) -> None:
        self.frame = frame
        self.filename, self.lineno, self.function = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name

    @property
    def code_context(self) -> list[str] | None:
        """The line of source that the frame was at."""
        line = linecache.getline(self.filename, self.lineno, self.frame.f_globals)
        return [line] if line else None


def stack() -> list[_Caller]:
    """Return the frames from the caller outwards, as `inspect.stack` does."""
    found: list[_Caller] = []
    frame = inspect.currentframe()
    while frame is not None and (frame := frame.f_back) is not None:
        found.append(_Caller(frame))
    return found


class _Inspect:
    """The module `inspect`, with the other `stack`."""

    stack = staticmethod(stack)

    def __getattr__(self, name: str) -> Any:
        return getattr(inspect, name)


def install() -> None:
    """Have ``T.prim_func`` call `stack`."""
    entry.inspect = _Inspect()
