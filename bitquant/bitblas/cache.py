# SPDX-License-Identifier: Apache-2.0
"""The module `bitblas.cache`: operators by config, in memory and in a folder.

A folder holds ``<arch>/<digest of the config>.json``: the fields of the config and the records that
tuning found. It holds no kernels; those come from bitquant's own cache, or are compiled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from pathlib import Path
from typing import Any

from tvm.target import Target

from bitquant.arch import resolve_target
from bitquant.bitblas.config import MatmulConfig
from bitquant.bitblas.matmul import Matmul
from bitquant.bitblas.utils import auto_detect_nvidia_target
from bitquant.cache import cache_dir
from bitquant.errors import BitquantError, BuildError, RecordError
from bitquant.files import as_path, read_regular, write_whole
from bitquant.schedule.records import Record

__all__ = ["OperatorCache", "get_database_path", "global_operator_cache"]

logger = logging.getLogger("bitquant.bitblas")

#: An entry has some kilobytes; what is larger is none.
_MAX_BYTES = 1 << 24


class OperatorCache:
    """Operators by their config. Threads may share one, and processes a folder."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._operators: dict[MatmulConfig, Matmul] = {}

    def add(self, config: MatmulConfig, op_inst: Matmul) -> None:
        """Keep an operator; it replaces one of an equal config."""
        with self._lock:
            self._operators[config] = op_inst

    def get(self, config: MatmulConfig) -> Matmul | None:
        """Return the operator of an equal config, or None."""
        with self._lock:
            return self._operators.get(config)

    def exists(self, config: MatmulConfig) -> bool:
        """Return whether there is an operator of an equal config."""
        return self.get(config) is not None

    def clear(self) -> None:
        """Forget all operators; a folder keeps its own."""
        with self._lock:
            self._operators.clear()

    def size(self) -> int:
        """Return how many operators there are."""
        return len(self._operators)

    def save_into_database(self, database_path: str | Path | None = None, target: str | Target | None = None) -> None:  # noqa: ARG002
        """Write every operator into a folder. One that is there stays, unless this one was tuned.

        Parameters
        ----------
        database_path
            The folder, made where it is missing; None: `get_database_path`.
        target
            Accepted for BitBLAS: an operator knows its own.

        Raises
        ------
        BuildError
            If the folder cannot be written to.
        """
        folder = as_path(get_database_path() if database_path is None else database_path, "database_path", BuildError)
        with self._lock:
            operators = list(self._operators.items())
        for config, operator in operators:
            path = folder / _folder_name(operator.target) / f"{_digest(config)}.json"
            content = {"config": config.to_dict(), "records": [r.to_dict() for r in operator.records]}
            try:
                if path.exists() and not operator.records:
                    continue
                if cache_dir() in folder.parents:  # Kernels are read from it if nobody else can write.
                    cache_dir().mkdir(mode=0o700, parents=True, exist_ok=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, json.dumps(content, indent=1, sort_keys=True).encode())
            except OSError as error:
                raise BuildError(
                    f"{path!s:.200} cannot be written: {error!s:.200}; pass another folder, or set BITQUANT_CACHE_DIR"
                ) from error

    def load_from_database(self, database_path: str | Path, target: str | Target | None = None) -> None:
        """Make the operators of a target that a folder holds, and keep them. A missing folder holds none.

        An entry that cannot be read, or whose records this version's rules do not take, is left
        out, and a warning is logged.

        Parameters
        ----------
        database_path
            The folder.
        target
            As in `Matmul`.

        Raises
        ------
        RecordError
            If `database_path` is no path, or the folder cannot be read.
        """
        resolved = resolve_target(auto_detect_nvidia_target() if target is None else target)
        folder = as_path(database_path, "database_path", RecordError) / _folder_name(resolved)
        try:
            paths = sorted(folder.glob("*.json"))
        except OSError as error:
            raise RecordError(f"{folder!s:.200} cannot be read: {error.strerror}", path=folder) from error
        for path in paths:
            try:
                config, records = _read(path)
                operator = Matmul(config, target=resolved, records=records)
            except (OSError, BitquantError) as error:
                logger.warning("%s is left out: %s", path, error)
                continue
            self.add(config, operator)


def _folder_name(target: Target) -> str:
    return str(target.arch) if target.kind.name == "cuda" else "cpu"


def _digest(config: MatmulConfig) -> str:
    return hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> tuple[MatmulConfig, tuple[Record, ...]]:
    try:
        content: Any = json.loads(read_regular(path, _MAX_BYTES)[0])
        config = MatmulConfig(**content["config"])
        hash(config)  # A field of another type may have none.
        return config, tuple(Record.from_dict(values, path) for values in content["records"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # The last where it is nested too deep.
        raise RecordError(f"it holds no operator: {error}", path=path) from error


#: The operators that the clients of a process share.
global_operator_cache = OperatorCache()


def get_database_path() -> str:
    """Return the folder that clients keep tuned operators in, inside bitquant's cache."""
    return str(cache_dir() / "bitblas")
