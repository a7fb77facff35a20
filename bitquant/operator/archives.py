# SPDX-License-Identifier: Apache-2.0
"""Built kernels: from this process, from the disk cache, or compiled."""

from __future__ import annotations

import os
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Protocol

import tvm
from tvm.ir import IRModule
from tvm.target import Target

from bitquant import cache
from bitquant.archive import Archive
from bitquant.build import build, report_progress
from bitquant.compiler import cuda_compiler, find_linker
from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.parallel import CooperativeLock
from bitquant.workers import BuildWarning, Outcome, current_pool

__all__ = ["compile_archive", "find_archive", "present_archive"]


class Problem(Protocol):
    """What kernels are built for: a `MatmulConfig`, or a config of another operation. Its text names it in messages."""

    def problem(self) -> dict[str, Any]:
        """Return the fields in canonical spelling."""


#: Archives in use, so that equal operators share one module. It keeps nothing alive.
_in_use: weakref.WeakValueDictionary[str, Archive] = weakref.WeakValueDictionary()


class _Locks:
    """Locks among the threads of this process."""

    def __init__(self) -> None:
        #: Held while a module is scheduled, which is work of Python's interpreter. Its lock would change hands at each
        #: of TVM's thousands of short calls if several threads did that at once.
        self.scheduling = CooperativeLock()
        self._table = threading.Lock()
        self._of_keys: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()

    def of_key(self, key: str) -> Any:
        """Return the lock under which an archive is found: where there is no disk cache, it is built once as well."""
        with self._table:
            lock = self._of_keys.get(key)
            if lock is None:
                lock = self._of_keys[key] = threading.Lock()
            return lock


_locks = _Locks()


def _forget_locks() -> None:
    """Let a forked child have locks of its own: threads that hold the others are not there to give them back."""
    global _locks  # noqa: PLW0603
    _locks = _Locks()


os.register_at_fork(after_in_child=_forget_locks)


def compile_archive(schedule: Callable[[], IRModule], config: Problem, target: Target) -> Archive:
    """Return what `schedule` returns, built."""
    with tvm.transform.PassContext():  # Not the caller's: what is built here, others take from the cache.
        with _locks.scheduling:
            scheduled = schedule()
        return build(scheduled, target, config.problem())


def _built_elsewhere(request: dict[str, Any] | None) -> Outcome | None:
    """Return what a worker of this thread's pool built, or why it did not; None where the thread has no pool."""
    pool = current_pool()
    if pool is None or request is None:
        return None
    return pool.build(request, report_progress)


def _key(parts: dict[str, Any], config: Problem, target: Target) -> str:
    parts = {
        "problem": config.problem(),
        "target": str(target),
        "linked": find_linker() is not None,
        **parts,
    }
    if target.kind.name == "cuda":
        parts["compiler"] = cuda_compiler().key
    return cache.cache_key(parts)


def _title(parts: dict[str, Any], config: Problem, target: Target) -> str:
    """Return what tells an entry of the cache from others, for people."""
    words = [f"{parts['operation']} of {config}" if "operation" in parts else str(config)]
    if isinstance(config, (MatmulConfig, GroupedMatmulConfig)):
        words += [config.problem_summary(), f"{parts['weight_layout']} weight"]
    if parts.get("plan", {}).get("planned"):
        words.append("tuned")
    return f"{', '.join(words)} on {target.arch if target.kind.name == 'cuda' else target.kind.name}"


def present_archive(parts: dict[str, Any], config: Problem, target: Target) -> Archive | None:
    """Return the archive of a problem from this process or the disk cache; None where neither has it.

    Parameters
    ----------
    parts, config, target
        As for `find_archive`.
    """
    key = _key(parts, config, target)
    if (archive := _in_use.get(key)) is None:
        archive = cache.KernelCache().load(key, Archive.from_bytes)
        if archive is not None:
            archive = _in_use.setdefault(key, archive)
    return archive


def find_archive(
    parts: dict[str, Any],
    schedule: Callable[[], IRModule],
    config: Problem,
    target: Target,
    request: dict[str, Any] | None = None,
) -> Archive:
    """Return the archive of a problem, compiled where neither this process nor the disk has it.

    Where this thread has workers (`bitquant.workers.current_pool`), one of them compiles. What it cannot build, this
    process does, or fails to with an error of the right kind.

    Parameters
    ----------
    parts
        What decides the kernels beside problem and target.
    schedule
        Returns the scheduled module.
    config, target
        The problem, and what it is built for.
    request
        What a worker is told of it (`bitquant.worker.build_request`); None: it is built here.

    Warns
    -----
    BuildWarning
        If a worker failed, and this process did not.
    """
    key = _key(parts, config, target)

    def compiled() -> Archive:
        outcome = _built_elsewhere(request)
        if isinstance(outcome, Archive):
            return outcome
        archive = compile_archive(schedule, config, target)
        if outcome is not None:
            warnings.warn(f"{config} was built in this process, which is slower: {outcome}", BuildWarning, stacklevel=2)
        return archive

    with _locks.of_key(key):
        if (archive := _in_use.get(key)) is None:
            archive = _in_use[key] = cache.KernelCache().get_or_build(
                key,
                Archive.from_bytes,
                compiled,
                Archive.to_bytes,
                _title(parts, config, target),
            )
        return archive
