# SPDX-License-Identifier: Apache-2.0
"""Workspace: global memory that kernels need beside their operands, for partial sums of stream-K.

Host code of a kernel asks for it at each launch, through two global functions of TVM:

- `SUMS` returns uninitialized memory for so many numbers of 32 bits. It comes from torch's allocator, in the order of
  the current stream, or from the pool of the graph that is captured. It belongs to the kernel that is launched next.
- `COUNTERS` returns so many 32-bit counters that are zero. A kernel leaves them zero again. Kernels of one stream run
  one after the other and share theirs. Each captured launch has its own, because graphs of one stream may be replayed
  concurrently.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import Any

import tvm_ffi

__all__ = ["COUNTERS", "SUMS", "register"]

#: Names of the global functions.
SUMS, COUNTERS = "bitquant.workspace.sums", "bitquant.workspace.counters"

#: Counters that are made zero at a time, 1 MiB, and those that are kept for captures, where none can be made.
_CHUNK, _RESERVE = 1 << 18, 1 << 16

_lock = threading.Lock()
#: By device and stream: its counters. By device: zeros that nobody has yet. All zeros ever made, which graphs point to.
_of_stream: dict[tuple[int, int], Any] = {}
_free: dict[int, Any] = {}
_kept: list[Any] = []
#: What the kernel that a thread launches next was given, until it asks again: nobody else may get it before the launch.
_given = threading.local()


def _sums(count: int) -> ctypes.c_void_p:
    import torch

    _given.sums = torch.empty(count, dtype=torch.int32, device="cuda")
    return ctypes.c_void_p(_given.sums.data_ptr())


def _counters(count: int) -> ctypes.c_void_p:
    import torch

    with _lock:
        is_captured = torch.cuda.is_current_stream_capturing()
        _given.counters = _for_capture(count) if is_captured else _for_stream(count)
    return ctypes.c_void_p(_given.counters.data_ptr())


def _for_stream(count: int) -> Any:
    """Return the counters of the current stream, and see to it that there are some for captures."""
    import torch

    device, stream = torch.cuda.current_device(), torch.cuda.current_stream()
    key = device, stream.cuda_stream
    if key not in _of_stream or len(_of_stream[key]) < count:
        _of_stream[key] = torch.zeros(count, dtype=torch.int32, device="cuda")
    if device not in _free or len(_free[device]) < _RESERVE:
        _free[device] = torch.zeros(_CHUNK, dtype=torch.int32, device="cuda")
        _kept.append(_free[device])
        stream.synchronize()  # Other streams will use them.
    return _of_stream[key]


def _for_capture(count: int) -> Any:
    """Return counters for one launch of a graph."""
    import torch

    device = torch.cuda.current_device()
    if device not in _free or len(_free[device]) < count:
        # Slower, since each replay sets them to zero, but as right.
        return torch.zeros(count, dtype=torch.int32, device="cuda")
    found, _free[device] = _free[device][:count], _free[device][count:]
    return found


@functools.cache
def register() -> None:
    """Register both functions with TVM, in this process; a kernel that asks for memory must find them."""
    tvm_ffi.register_global_func(SUMS, _sums)
    tvm_ffi.register_global_func(COUNTERS, _counters)
