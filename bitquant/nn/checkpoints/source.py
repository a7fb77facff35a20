# SPDX-License-Identifier: Apache-2.0
"""Tensors of a directory of safetensors files, memory-mapped: a tensor is read when it is asked for."""

from __future__ import annotations

import importlib
import json
import math
import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

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


#: Tensors below are copied from the mapped file: it takes longer to open it than to read them.
_MIN_DIRECT_BYTES = 1 << 17
#: Bytes that are read at a time on their way to a GPU.
_PIECE_BYTES = 1 << 25
#: Threads that read ahead.
_READERS = 2
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


def _fill(file: BinaryIO, piece: torch.Tensor) -> None:
    """Fill a tensor of bytes from a file.

    Raises
    ------
    OSError
        If the file ends before.
    """
    array: Any = piece.numpy()
    memory = memoryview(array)
    while memory:
        count = file.readinto(memory)  # type: ignore[attr-defined]  # BinaryIO lacks it in typeshed
        if not count:
            raise OSError("the file is shorter than its header says")
        memory = memory[count:]


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
        self._spans_of: dict[str, dict[str, tuple[int, int]]] = {}
        self._lock = threading.Lock()
        self._ahead: dict[tuple[str, torch.device], Future[torch.Tensor]] = {}
        self._readers: ThreadPoolExecutor | None = None
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

    def read(self, name: str, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return a tensor on a device.

        On the CPU it is the mapped file. To a GPU large ones go by `read` and page-locked memory: the pages of a mapped
        file are entered one by one into the tables of the process, and copied twice.

        Raises
        ------
        CheckpointError
            If its data cannot be read.
        """
        device = torch.device(device)
        ahead = self._ahead.pop((name, device), None)
        try:
            if ahead is not None:
                return ahead.result()
            if self._goes_directly(name, device):
                return self._read_directly(name, device)
            return self._handles[self._files[name]].get_tensor(name).to(device)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # safetensors raises its own kind, and OSError where a mapped file shrank.
            raise checkpoint_error(
                self._files[name],
                f"cannot be read ({error})",
                tensor=name,
                fix="fetch the file again",
            ) from error

    def read_ahead(self, names: Iterable[str], device: torch.device) -> None:
        """Begin to read tensors to a GPU that will be asked for, in threads that `close` ends."""
        wanted = [name for name in names if (name, device) not in self._ahead and self._goes_directly(name, device)]
        if not wanted:
            return
        readers = self._readers = self._readers or ThreadPoolExecutor(_READERS, "bitquant-read")
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        for name in wanted:
            self._ahead[name, device] = readers.submit(self._read_directly, name, device, stream)

    def close(self) -> None:
        """End the threads that read ahead, and let go of what was not asked for."""
        if self._readers is not None:
            self._readers.shutdown(cancel_futures=True)
            self._readers = None
        self._ahead.clear()

    def _goes_directly(self, name: str, device: torch.device) -> bool:
        """Whether a tensor is read past the mapped file."""
        return device.type == "cuda" and self.nbytes(name) >= _MIN_DIRECT_BYTES

    def _read_directly(self, name: str, device: torch.device, stream: Any = None) -> torch.Tensor:
        """Return a tensor on a device, read in pieces into memory that a GPU copies from by itself.

        It belongs to a stream of the caller's, where another thread reads for him.
        """
        with torch.cuda.stream(stream):
            return self._read_in_pieces(name, device)

    def _read_in_pieces(self, name: str, device: torch.device) -> torch.Tensor:
        path, shape, dtype = self._files[name], self.shape(name), self.dtype(name)
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"torch has no type {dtype}")
        begin, end = self._spans(path)[name]
        stored = torch.empty(end - begin, dtype=torch.uint8, device=device)
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123  unbuffered
            file.seek(begin)
            for start in range(0, end - begin, _PIECE_BYTES):
                # torch gives page-locked memory out again when the copy from it is over.
                size = min(_PIECE_BYTES, end - begin - start)
                piece = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
                _fill(file, piece)
                stored[start : start + size].copy_(piece, non_blocking=True)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()  # Whoever asks may use it on another stream.
        return stored.view(dtype).view(shape)

    def _spans(self, path: str) -> dict[str, tuple[int, int]]:
        """Return where the bytes of each tensor of a file begin and end.

        A file begins with the length of its header, 8 bytes, little-endian, and the header, JSON; offsets count from
        its end (safetensors, "Format"). The package has checked it when it opened the file.
        """
        with self._lock:
            if (spans := self._spans_of.get(path)) is None:
                with open(path, "rb") as file:  # noqa: PTH123
                    length = int.from_bytes(file.read(8), "little")
                    header = json.loads(file.read(length))
                spans = self._spans_of[path] = {
                    name: (8 + length + entry["data_offsets"][0], 8 + length + entry["data_offsets"][1])
                    for name, entry in header.items()
                    if name != "__metadata__"
                }
            return spans

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
