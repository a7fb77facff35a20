"""Built kernels: from this process, from the disk cache, or compiled."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import tvm
from tvm.ir import IRModule
from tvm.target import Target

from bitquant import cache
from bitquant.archive import Archive
from bitquant.build import build
from bitquant.compiler import cuda_compiler, find_linker
from bitquant.config import MatmulConfig

__all__ = ["compile_archive", "find_archive"]

#: Archives in use, so that equal operators share one module. It keeps nothing alive.
_in_use: weakref.WeakValueDictionary[str, Archive] = weakref.WeakValueDictionary()


def compile_archive(schedule: Callable[[], IRModule], config: MatmulConfig, target: Target) -> Archive:
    """Return what `schedule` returns, built."""
    with tvm.transform.PassContext():  # Not the caller's: what is built here, others take from the cache.
        return build(schedule(), target, config.problem())


def find_archive(
    parts: dict[str, Any], schedule: Callable[[], IRModule], config: MatmulConfig, target: Target
) -> Archive:
    """Return the archive of a problem, compiled where neither this process nor the disk has it.

    Parameters
    ----------
    parts
        What decides the kernels beside problem and target.
    schedule
        Returns the scheduled module.
    config, target
        The problem, and what it is built for.
    """
    parts = {
        "problem": config.problem(),
        "target": str(target),
        "linked": find_linker() is not None,
        **parts,
    }
    where = target.kind.name
    if where == "cuda":
        parts["compiler"] = cuda_compiler().key
        where = str(target.arch)
    key = cache.cache_key(parts)
    if (archive := _in_use.get(key)) is None:
        archive = cache.KernelCache().get_or_build(
            key,
            Archive.from_bytes,
            lambda: compile_archive(schedule, config, target),
            Archive.to_bytes,
            f"{config} on {where}",
        )
        _in_use[key] = archive
    return archive
