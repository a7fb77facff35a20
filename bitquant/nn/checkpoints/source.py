"""Tensors of a directory of safetensors files, memory-mapped: a tensor is read when it is asked for."""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bitquant.errors import UnsupportedError
from bitquant.files import read_regular
from bitquant.nn.checkpoints.layer import checkpoint_error

__all__ = ["SafetensorsSource", "read_json_file", "require"]

_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


#: Most bytes of a JSON file; the index of the largest model has some ten million.
_MAX_JSON_BYTES = 1 << 28


def require(module: str, extra: str) -> Any:
    """Return an optional module.

    Raises
    ------
    UnsupportedError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnsupportedError(
            f"reading this checkpoint needs the package {module!r} ({error}); "
            f"install it with: pip install 'bitquant[{extra}]'",
            package=module,
        ) from error


def read_json_file(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises
    ------
    CheckpointError
        If it cannot be read or holds something else.
    """
    try:
        value = json.loads(read_regular(path, _MAX_JSON_BYTES)[0].decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # The last where it is nested too deep.
        raise checkpoint_error(str(path), f"must be a JSON file ({error})", fix="fetch it again") from error
    if not isinstance(value, dict):
        raise checkpoint_error(str(path), f"must hold a JSON object (got {type(value).__name__})")
    return value


class SafetensorsSource:
    """The tensors of one safetensors file, or of the files that an index names.

    The headers of all files are read at once, and with them that each file is whole; data is
    mapped, not read.

    Parameters
    ----------
    path
        A ``.safetensors`` file, or a ``.safetensors.index.json``.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or has not the tensors that the index places in it.
    UnsupportedError
        If the package safetensors is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._open_file = require("safetensors", "models").safe_open
        self._handles: dict[str, Any] = {}
        self._files: dict[str, str] = {}
        if path.name.endswith(".index.json"):
            self._follow_index(path)
        else:
            self._files = dict.fromkeys(self._open(path).keys(), str(path))

    @property
    def names(self) -> Sequence[str]:
        """Names of all tensors."""
        return tuple(self._files)

    def file(self, name: str) -> str:
        """Return the path of the file that holds a tensor."""
        return self._files[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, from the header."""
        return tuple(self.slice(name).get_shape())

    def dtype(self, name: str) -> torch.dtype | str:
        """Return the type of a tensor, from the header; safetensors' own name where torch has no such type."""
        stored = self.slice(name).get_dtype()
        return _DTYPES.get(stored, stored)

    def nbytes(self, name: str) -> int:
        """Return the bytes of a tensor, from the header; those of a type that torch has not are taken for one each."""
        dtype = self.dtype(name)
        return math.prod(self.shape(name)) * (dtype.itemsize if isinstance(dtype, torch.dtype) else 1)

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor.

        Raises
        ------
        CheckpointError
            If its data cannot be read.
        """
        try:
            return self._handles[self._files[name]].get_tensor(name)
        except Exception as error:  # safetensors raises its own kind, and OSError where a mapped file shrank.
            raise checkpoint_error(
                self._files[name],
                f"cannot be read ({error})",
                tensor=name,
                fix="fetch the file again",
            ) from error

    def slice(self, name: str) -> Any:
        """Return what reads a part of a tensor, and knows shape and type: safetensors' own."""
        return self._handles[self._files[name]].get_slice(name)

    def _open(self, path: Path) -> Any:
        try:
            handle = self._open_file(str(path), framework="pt")
        except Exception as error:
            raise checkpoint_error(
                str(path), f"must be a whole safetensors file ({error})", fix="fetch the file again"
            ) from error
        self._handles[str(path)] = handle
        return handle

    def _follow_index(self, path: Path) -> None:
        weight_map = read_json_file(path).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(f, str) for f in weight_map.values()):
            raise checkpoint_error(str(path), "must have a 'weight_map' from tensors to files")
        directory = path.parent
        shards = sorted(set(weight_map.values()))
        for shard in shards:
            # An index names files beside it; a path would read files elsewhere.
            if Path(shard).name != shard:
                raise checkpoint_error(str(path), f"must name files of its own directory (got {shard!r:.80})")
        missing = [shard for shard in shards if not os.path.isfile(directory / shard)]  # noqa: PTH113  never raises
        if missing:
            named = ", ".join(f"{name:.80}" for name in missing[:3]) + (" ..." if missing[3:] else "")
            raise checkpoint_error(
                str(path), f"names {len(missing)} of {len(shards)} files that are not there: {named}",
                fix="fetch them into the same directory", missing=missing,
            )  # fmt: skip
        held = {shard: set(self._open(directory / shard).keys()) for shard in shards}
        for name, shard in weight_map.items():
            if name not in held[shard]:
                raise checkpoint_error(
                    str(directory / shard), f"is missing, though {path.name} places it here", tensor=name,
                    fix="fetch index and files of one revision",
                )  # fmt: skip
        self._files = {name: str(directory / shard) for name, shard in weight_map.items()}
