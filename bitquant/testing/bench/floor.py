# SPDX-License-Identifier: Apache-2.0
"""The floor: the time in which a GPU reads a number of bytes and does nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import tvm
from tvm.script import tirx as T
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant import cache
from bitquant.arch import gpu_arch
from bitquant.archive import Archive
from bitquant.arithmetic import ceil_div, round_up
from bitquant.build import build
from bitquant.compiler import cuda_compiler, find_linker
from bitquant.compute.matmul import RUNG_ATTR
from bitquant.schedule import parsing
from bitquant.schedule.apply import CHOICE_ATTR, Choice

__all__ = ["CHUNK_BYTES", "READ_SHAPES", "FloorReader", "ReadShape", "build_floor", "read_kernel"]

#: Bytes of one load.
CHUNK_BYTES = 16

#: What the exclusive or of all words of a thread must be for it to store. Random words hit it once in 2^32 threads, and
#: then a word is stored that nobody reads: it is there so that the compiler cannot drop the loads.
_MAGIC = 0x9E3779B9


@dataclass(frozen=True)
class ReadShape:
    """Grid of a reading kernel.

    Attributes
    ----------
    threads
        Threads a block.
    loads
        16-byte loads that a thread has in flight.
    steps
        Times that it has them; a block reads threads * loads * steps * 16 bytes.
    """

    threads: int
    loads: int
    steps: int

    @property
    def block_bytes(self) -> int:
        """Bytes that a block reads."""
        return self.threads * self.loads * self.steps * CHUNK_BYTES


#: What is tried for each size; the best is taken. Few bytes want many small blocks, many bytes few launches of blocks.
READ_SHAPES: tuple[ReadShape, ...] = (
    ReadShape(128, 2, 1),
    ReadShape(256, 2, 1),
    ReadShape(256, 4, 1),
    ReadShape(512, 4, 1),
    ReadShape(256, 8, 1),
    ReadShape(512, 4, 4),
    ReadShape(256, 8, 4),
)


def read_kernel(shape: ReadShape, load: str) -> PrimFunc:
    """Return a kernel (Data, Out) that reads all of Data, int32 of shape (chunks, 4), and stores nothing.

    The number of chunks is symbolic. The last block reads the last chunk again in place of those beyond the end.

    Parameters
    ----------
    shape
        Its grid.
    load
        PTX name of the 16-byte load.
    """
    THREADS, LOADS, STEPS = shape.threads, shape.loads, shape.steps
    per_block = THREADS * LOADS * STEPS

    @parsing.prim_func
    def kernel(Data_handle: T.handle, Out_handle: T.handle) -> None:
        chunks = T.int32()
        Data = T.match_buffer(Data_handle, (chunks, 4), "int32")
        Out = T.match_buffer(Out_handle, (1,), "int32")
        T.device_entry()
        block = T.cta_id([T.truncdiv(chunks + (per_block - 1), per_block)])
        thread = T.thread_id([THREADS])
        words = T.alloc_local((4 * LOADS,), "uint32")
        total = T.alloc_local((1,), "uint32")
        total[0] = T.uint32(0)
        for step in T.serial(STEPS):
            for i in T.unroll(LOADS):
                chunk = T.meta_var(T.min(block * per_block + (step * LOADS + i) * THREADS + thread, chunks - 1))
                T.ptx[load](
                    words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3], Data.ptr_to([chunk, 0])
                )  # fmt: skip
            for i in T.unroll(4 * LOADS):
                total[0] = total[0] ^ words[i]
        if total[0] == T.uint32(_MAGIC):
            Out[0] = T.cast(total[0], "int32")

    return kernel


def _module(arch: str) -> tvm.IRModule:
    # Hints to keep the line out of L1 and to fetch 256 bytes into L2 need sm_80.
    hints = ".L1::no_allocate.L2::256B" if gpu_arch(arch).has_cache_hints else ""
    functions = {}
    for i, shape in enumerate(READ_SHAPES):
        choice = Choice("floor", "tirx", vars(shape), 0, {})
        attrs = {"global_symbol": f"floor_{i}", RUNG_ATTR: i, CHOICE_ATTR: choice.to_dict()}
        functions[f"floor_{i}"] = read_kernel(shape, f"ld.global.nc{hints}.v4.u32").with_attrs(attrs)
    return tvm.IRModule(functions)


def build_floor(target: Target) -> Archive:
    """Return the compiled kernels of all `READ_SHAPES`, from the cache of kernels where they are there.

    Parameters
    ----------
    target
        A CUDA target. No GPU is needed.
    """

    def make() -> Archive:
        with tvm.transform.PassContext():
            return build(_module(str(target.arch)), target, {"floor": [vars(shape) for shape in READ_SHAPES]})

    parts: dict[str, Any] = {
        "floor": [vars(shape) for shape in READ_SHAPES],
        "target": str(target),
        "linked": find_linker() is not None,
        "compiler": cuda_compiler().key,
    }
    title = f"memory floor on {target.arch}"
    return cache.KernelCache().get_or_build(cache.cache_key(parts), Archive.from_bytes, make, Archive.to_bytes, title)


class FloorReader:
    """Reads a number of bytes, from enough different places that none is in the L2 cache.

    Parameters
    ----------
    target
        A CUDA target.
    device
        The GPU.
    """

    def __init__(self, target: Target, device: torch.device) -> None:
        archive = build_floor(target)
        module, symbols = archive.runtime_module(), archive.symbols
        self._functions = [module[symbols[i]] for i in range(len(READ_SHAPES))]
        self._device = device
        self._data = torch.empty((0, 4), dtype=torch.int32, device=device)
        self._out = torch.zeros(1, dtype=torch.int32, device=device)

    def calls(self, size_bytes: int, copies: int) -> dict[ReadShape, list[Callable[[], None]]]:
        """Return, for each shape, one call a copy that reads `size_bytes` bytes of it, rounded up to 16."""
        chunks = ceil_div(size_bytes, CHUNK_BYTES)
        step = round_up(chunks, 16)  # Copies begin at whole 256 bytes, as allocations do.
        if self._data.shape[0] < copies * step:
            self._data = torch.empty((0, 4), dtype=torch.int32, device=self._device)  # Free before what replaces it.
            size = (copies * step, 4)
            self._data = torch.randint(-(2**31), 2**31, size, dtype=torch.int32, device=self._device)
        parts = [self._data[i * step : i * step + chunks] for i in range(copies)]

        def read(function: Any, part: torch.Tensor) -> Callable[[], None]:
            return lambda: function(part, self._out)

        return {
            shape: [read(function, part) for part in parts]
            for shape, function in zip(READ_SHAPES, self._functions, strict=True)
        }
