# SPDX-License-Identifier: Apache-2.0
"""Kernels ahead of time: other processes put those of all cells into the disk cache, while cells are timed."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
from collections.abc import Sequence
from typing import Any

from tvm.target import Target

from bitquant import cache
from bitquant.config import MatmulConfig
from bitquant.grouped_matmul import GroupedMatmul
from bitquant.matmul import Matmul
from bitquant.testing.bench.check import message
from bitquant.testing.bench.problems import Cell

__all__ = ["Builder", "operator_of"]


def operator_of(config: Any, target: Target | str | None) -> Any:
    """Return the operator of a problem, of either operation."""
    return (Matmul if isinstance(config, MatmulConfig) else GroupedMatmul)(config, target=target)


def _construct(config: Any, target: str) -> str | None:
    """Put the kernels of a problem into the disk cache; return what went wrong."""
    try:
        operator_of(config, target)
    except Exception as error:  # noqa: BLE001  It is raised again where the cell is timed.
        return message(error)
    return None


class Builder:
    """Constructs operators in other processes, in the order of the cells, so that they come from the disk cache."""

    def __init__(self, cells: Sequence[Cell], target: str, jobs: int) -> None:
        self._futures: dict[str, concurrent.futures.Future[str | None]] = {}
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self.workers = 0
        configs: dict[str, Any] = {}
        for cell in cells:
            configs.setdefault(cell.config.key(), cell.config)
        if jobs < 2 or len(configs) < 2 or not cache.is_enabled():
            return
        self.workers = min(jobs, len(configs))
        spawn = multiprocessing.get_context("spawn")  # A forked process may not use CUDA after its parent did.
        self._pool = concurrent.futures.ProcessPoolExecutor(self.workers, spawn)
        for key, config in configs.items():
            self._futures[key] = self._pool.submit(_construct, config, target)

    @property
    def count(self) -> int:
        """Problems that are compiled ahead."""
        return len(self._futures)

    def wait_for(self, config: Any) -> None:
        """Return when the kernels of `config` are in the cache, or have failed."""
        if future := self._futures.get(config.key()):
            with contextlib.suppress(concurrent.futures.process.BrokenProcessPool):
                future.result()

    def wait(self) -> None:
        """Return when all are."""
        concurrent.futures.wait(self._futures.values())

    def close(self) -> None:
        """Drop what has not begun, and end the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
