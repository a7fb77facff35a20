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
#: By device: zeros that nobody has yet. By device and stream: its counters.
_free: dict[int, Any] = {}
_of_stream: dict[tuple[int, int], Any] = {}


def _sums(count: int) -> ctypes.c_void_p:
    import torch

    return ctypes.c_void_p(torch.empty(count, dtype=torch.int32, device="cuda").data_ptr())


def _counters(count: int) -> ctypes.c_void_p:
    import torch

    found: Any
    device, stream = torch.cuda.current_device(), torch.cuda.current_stream()
    with _lock:
        if torch.cuda.is_current_stream_capturing():
            left = _free.get(device)
            if left is None or len(left) < count:
                # Slower, since each replay sets them to zero, but as right.
                found = torch.zeros(count, dtype=torch.int32, device="cuda")
            else:
                found, _free[device] = left[:count], left[count:]
            return ctypes.c_void_p(found.data_ptr())
        key = device, stream.cuda_stream
        found = _of_stream.get(key)
        if found is None or len(found) < count:
            found = _of_stream[key] = torch.zeros(count, dtype=torch.int32, device="cuda")
        left = _free.get(device)
        if left is None or len(left) < _RESERVE:
            _free[device] = torch.zeros(_CHUNK, dtype=torch.int32, device="cuda")
            stream.synchronize()  # Other streams will use them.
        return ctypes.c_void_p(found.data_ptr())


@functools.cache
def register() -> None:
    """Register both functions with TVM, in this process; a kernel that asks for memory must find them."""
    tvm_ffi.register_global_func(SUMS, _sums)
    tvm_ffi.register_global_func(COUNTERS, _counters)
