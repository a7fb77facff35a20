# SPDX-License-Identifier: Apache-2.0
"""What makes the command line begin and end sooner: torch and TVM take most of the time of a run from the cache."""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib.util
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from bitquant.cli.progress import Progress

__all__ = ["QuickExit", "import_libraries", "is_debugging", "tune_collector"]


def is_debugging() -> bool:
    """Whether errors are to be shown with their tracebacks."""
    return os.environ.get("BITQUANT_DEBUG", "") not in ("", "0")


def tune_collector() -> None:
    """Have the garbage collector look less often, in a process that is this command's alone.

    torch and TVM make some 10^6 objects that stay. With Python's thresholds the collector looks through all of them
    again and again while they are imported, which takes a tenth of the time of a cached run.
    """
    gc.set_threshold(100_000, 20, 50)


class QuickExit:
    """Ends the process when all functions registered with atexit have run, without taking down what it holds.

    The interpreter and the C++ libraries free what they own one by one, a fifth of a second in a process that ends
    anyway. Make one before torch and TVM are imported: functions that are registered later run earlier.
    """

    def __init__(self) -> None:
        self._code: int | None = None
        if not is_debugging():  # Profilers and coverage write what they know at the very end.
            atexit.register(self._end)

    def with_code(self, code: object) -> None:
        """Say that the process ends with `code`, as a `SystemExit` has it; else it ends as Python does."""
        self._code = code if isinstance(code, int) else None

    def _end(self) -> None:
        if self._code is None:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # A reader that has gone, or a stream that is closed.
                stream.flush()
        os._exit(self._code)


def import_libraries() -> None:
    """Import torch and TVM, and say so on a terminal: it takes seconds.

    Where one is missing, what needs it says so.
    """
    if "tvm" in sys.modules:
        return
    with Progress() as progress, suppress(ImportError):
        progress.say("loading torch and TVM")
        if not is_debugging():
            indexing = threading.Thread(target=_index_symbols_early, daemon=True)
            indexing.start()
            import rich.table  # noqa: F401  needed in any case, and time for the other thread

            indexing.join()
        import tvm  # noqa: F401  tvm_ffi imports torch


def _index_symbols_early() -> None:
    """Have tvm_ffi read the symbols that name C++ frames in tracebacks while few libraries are loaded.

    It reads those of every loaded library at its first error, and TVM meets one, which it catches, when it is imported.
    With torch loaded that takes half a second. C++ frames of libraries that are loaded later then have addresses for
    names, in tracebacks that the command line shows where BITQUANT_DEBUG is set alone.
    """
    spec = None if "torch" in sys.modules else importlib.util.find_spec("tvm_ffi")
    if spec is None or spec.origin is None:
        return
    with suppress(OSError, AttributeError):  # Another build of tvm_ffi: TVM is as slow to import as it is.
        library = ctypes.CDLL(str(Path(spec.origin).parent / "lib" / "libtvm_ffi.so"), ctypes.RTLD_GLOBAL)
        library.TVMFFIBacktrace.restype = ctypes.c_void_p
        library.TVMFFIBacktrace(None, 0, None, 1)
