# SPDX-License-Identifier: Apache-2.0
"""How many threads kernels for a CPU run on: as many as torch's own operations.

TVM has a pool of threads for each thread that calls kernels. It makes it at the first call, of a fixed size: by default
one thread for every second CPU, each bound to a CPU of its own, the caller to as many CPUs as there are threads. Here
the pool gets as many threads as torch uses, on the CPUs that the caller may run on. Bound threads of two processes, or
those of torch, would wait for one another on the same CPUs.
"""

from __future__ import annotations

import functools
import os
import threading

import torch
import tvm  # noqa: F401  it registers what is looked up below
import tvm_ffi

from bitquant.errors import UnsupportedError

__all__ = ["follow_torch_threads"]

#: TVM's mode in which every thread of a pool may run on every CPU of a list (`kSpecifyThreadShareAllCore`).
_SHARE_ALL_CPUS = -3
#: Threads that TVM_NUM_THREADS may ask for. TVM's wait by spinning, so that a call takes minutes with some thousands.
_MAX_A_CPU = 16


class _Pool(threading.local):
    """The pool of this thread.

    Attributes
    ----------
    asked
        What `torch.get_num_threads` said when the pool was last arranged; 0 before.
    used, size
        Threads that take part in a call, the caller included, and those that could.
    """

    asked = 0
    used = 0
    size = 0


_pool = _Pool()
_get_num_threads = torch.get_num_threads


def follow_torch_threads() -> None:
    """Make this thread's next calls of kernels for a CPU run on ``torch.get_num_threads()`` threads.

    It costs a comparison where nothing has changed. There are never more threads than CPUs that the caller may run on.
    A thread other than the main one keeps at most as many as it began with, because TVM's pools do not grow. After a
    fork the child's kernels run on one thread, because a fork copies no others.

    The environment variable TVM_NUM_THREADS, where it is set, decides in place of torch. Nothing is arranged then.
    """
    if _pool.asked != _get_num_threads():
        _arrange()


def _arrange() -> None:
    _pool.asked = _get_num_threads()
    if wanted := os.environ.get("TVM_NUM_THREADS"):
        most = _MAX_A_CPU * (os.cpu_count() or 1)
        if not (wanted.isascii() and wanted.isdecimal()) or not 1 <= int(wanted[:10]) <= most:
            raise UnsupportedError(
                f"'TVM_NUM_THREADS' must be a number from 1 to {most}, {_MAX_A_CPU} for each CPU (got "
                f"{wanted!r:.80}): waiting threads keep CPUs busy",
                TVM_NUM_THREADS=wanted,
            )
        return
    cpus = _allowed_cpus()
    used = min(_pool.asked, _pool.size or len(cpus))
    if not _pool.size:
        # The first call makes the pool, with a thread for each CPU of the list, and lets them run there alone.
        is_main = threading.current_thread() is threading.main_thread()
        _pool.size = len(cpus) if is_main else used
        _look_after_forks()
        if _pool.size < len(cpus):
            _configure(used, cpus[: _pool.size])
        _configure(used, cpus)
    elif used != _pool.used:
        _configure(used, cpus)
    _pool.used = used


def _allowed_cpus() -> list[str]:
    return [str(cpu) for cpu in sorted(os.sched_getaffinity(0))]


def _configure(used: int, cpus: list[str]) -> None:
    tvm_ffi.get_global_func("runtime.config_threadpool")(_SHARE_ALL_CPUS, used, cpus)


@functools.cache
def _look_after_forks() -> None:
    os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    """Leave out threads of the pool that a fork has not copied: a call would wait for them."""
    if _pool.size > 1:
        # At once, while TVM's handles of these threads point to memory that is there.
        _configure(1, _allowed_cpus())
        _pool.size = _pool.used = 1
