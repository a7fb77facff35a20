# SPDX-License-Identifier: Apache-2.0
"""Workspace: global memory that kernels need beside their operands, for partial sums of stream-K.

Host code of a kernel asks for it at each launch, through two global functions of TVM:

- `SUMS` returns uninitialized memory for so many numbers of 32 bits. It comes from torch's allocator, in the order of
  the current stream, or from the pool of the graph that is captured. It belongs to the kernel that is launched next,
  and goes back once that is launched (`releases`).
- `COUNTERS` returns so many 32-bit counters that are zero. A kernel leaves them zero again. Kernels of one stream run
  one after the other and share theirs. Those of a capture share them by capture and stream: graphs that were captured
  on one stream may be replayed concurrently. A graph's counters are never given to another, also once it is gone:
  4 KiB a graph for kernels of stream-K.

The device is the current one: TVM's launcher has made it that of the operands when it asks.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import tvm_ffi

__all__ = ["COUNTERS", "SUMS", "register", "releases"]

#: Names of the global functions.
SUMS, COUNTERS = "bitquant.workspace.sums", "bitquant.workspace.counters"

#: Counters that are made zero at a time, 4 MiB, and those that are kept for captures, where none can be made: a launch
#: of stream-K takes 2 for each block and consumer, 528 mostly, so that these are for hundreds of graphs; one of sums
#: over the slots of tokens takes one for each token and block of n that is computed at a time, up to some thousands.
_CHUNK, _RESERVE = 1 << 20, 1 << 19
#: Fewest counters of a stream, and of a stream in a capture, which then seldom need to grow.
_OF_STREAM, _OF_CAPTURE = 1 << 12, 1 << 10
#: CU_STREAM_CAPTURE_STATUS_ACTIVE.
_IS_ACTIVE = 1
#: Captures and streams whose counters are remembered, the latest ones: a capture that is over does not return.
_REMEMBERED = 64

_lock = threading.Lock()
#: By device and stream: its counters. By device, capture and stream: theirs. By device: zeros that nobody has yet. All
#: zeros ever made, which graphs point to.
_of_stream: dict[tuple[int, int], Any] = {}
_of_capture: dict[tuple[int, int, int], Any] = {}
_free: dict[int, Any] = {}
_kept: list[Any] = []
#: What the kernel that a thread launches next was given: nobody else may get it before the launch.
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
        _of_stream[key] = _take(device, max(count, _OF_STREAM))
    if device not in _free or len(_free[device]) < _RESERVE:
        _free[device] = _zeros(device, _CHUNK)
    return _of_stream[key]


def _for_capture(count: int) -> Any:
    """Return the counters of the current stream in the capture that it is part of."""
    import torch

    device, stream = torch.cuda.current_device(), torch.cuda.current_stream().cuda_stream
    capture = _capture_id(stream)
    key = device, capture, stream
    if capture and key in _of_capture and len(_of_capture[key]) >= count:
        return _of_capture[key]
    wanted = max(count, _OF_CAPTURE) if capture else count
    if device not in _free or len(_free[device]) < wanted:
        # Slower, since each replay sets them to zero, but as right.
        return torch.zeros(count, dtype=torch.int32, device="cuda")
    found = _take(device, wanted)
    if capture:
        _of_capture.pop(key, None)
        _of_capture[key] = found
        if len(_of_capture) > _REMEMBERED:
            del _of_capture[next(iter(_of_capture))]
    return found


def _capture_id(stream: int) -> int:
    """Return the driver's number of the capture that a stream is part of, unique in the process; 0 where it says none.

    The first version of the driver's function: later ones report dependencies, too, and refuse those of dependent
    launches.
    """
    try:
        ask = ctypes.CDLL("libcuda.so.1").cuStreamGetCaptureInfo
    except (OSError, AttributeError):
        return 0
    status, number = ctypes.c_int(), ctypes.c_uint64()
    failed = ask(ctypes.c_void_p(stream), ctypes.byref(status), ctypes.byref(number))
    return 0 if failed or status.value != _IS_ACTIVE else number.value


def _take(device: int, count: int) -> Any:
    """Return zeros that nobody has yet; they are never given to anybody else."""
    if device not in _free or len(_free[device]) < count:
        _free[device] = _zeros(device, max(count, _CHUNK))
    found, _free[device] = _free[device][:count], _free[device][count:]
    return found


def _zeros(device: int, count: int) -> Any:
    """Return zeros that all streams of a device may use, for the life of the process.

    Another thread allocates them. Memory that this thread allocates may belong to the pool of a graph although nothing
    is captured: torch.compile's CUDA graph trees warm up so. What outlives the call there is an error to them, and is
    overwritten.
    """
    import torch

    def make() -> Any:
        stream = torch.cuda.Stream(device)
        with torch.cuda.device(device), torch.cuda.stream(stream):
            zeros = torch.zeros(count, dtype=torch.int32, device="cuda")
        stream.synchronize()  # Other streams will use them.
        return zeros

    with ThreadPoolExecutor(1) as executor:
        zeros = executor.submit(make).result()
    _kept.append(zeros)
    return zeros


def releases(kernel: Callable[..., Any]) -> Callable[..., None]:
    """Return a function that launches `kernel`, and gives back to torch what it was given.

    What a thread holds on to would be missing in the pool of the graph that it captures or warms up for. The kernel
    runs before whatever gets the memory next, because that is in the same stream, or in the same graph.
    """

    def launch(*operands: Any) -> None:
        try:
            kernel(*operands)
        finally:
            _given.__dict__.clear()

    return launch


@functools.cache
def register() -> None:
    """Register both functions with TVM, in this process; a kernel that asks for memory must find them."""
    # Two threads may come here at once.
    tvm_ffi.register_global_func(SUMS, _sums, override=True)
    tvm_ffi.register_global_func(COUNTERS, _counters, override=True)
