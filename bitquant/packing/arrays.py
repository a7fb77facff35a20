# SPDX-License-Identifier: Apache-2.0
"""Arrays in and out: NumPy or torch, and a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from bitquant.errors import ConfigError
from bitquant.packing.checks import check_dense

__all__ = ["Array", "chunk_elements", "like", "map_rows", "to_tensor"]

Array = TypeVar("Array", torch.Tensor, np.ndarray)

#: Elements handled at a time: temporaries, of at most 8 bytes an element, stay below 8 MiB each. On a CPU fewer
#: measured no faster, and four times as many up to twice as slow.
_CHUNK_ELEMENTS = 1 << 20
#: On a GPU, where each step of a chunk is a launch and takes some 5 us, these take several times as long.
_GPU_CHUNK_ELEMENTS = 1 << 24
#: Bytes of all temporaries of an element at a time.
_TEMPORARY_BYTES = 16


def chunk_elements(device: torch.device) -> int:
    """Return how many elements to handle at a time: on a GPU a quarter of its free memory holds the temporaries."""
    if device.type != "cuda" or not torch.cuda.is_available():  # A tensor of a trace may be on a GPU that is not here.
        return _CHUNK_ELEMENTS
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(_CHUNK_ELEMENTS, min(_GPU_CHUNK_ELEMENTS, free // (4 * _TEMPORARY_BYTES)))


def to_tensor(array: Any, argument: str) -> torch.Tensor:
    """Return a tensor that shares the memory of `array` where it can."""
    if isinstance(array, torch.Tensor):
        check_dense(array, argument)
        return array.detach()
    if not isinstance(array, np.ndarray):
        raise ConfigError(
            f"{argument!r} must be a torch tensor or a NumPy array (got {type(array).__name__})", **{argument: array}
        )
    # torch takes neither negative strides nor, without a warning, memory that it may not write.
    owned = array if array.flags.writeable and all(s >= 0 for s in array.strides) else array.copy()
    try:
        return torch.from_numpy(owned)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{argument!r} has a type that torch does not know (got {array.dtype}); cast it first, for example "
            "with .astype('int8')",
            **{argument: array.dtype},
        ) from error


def like(result: torch.Tensor, source: Array) -> Array:
    """Return a result as what its source is, a tensor or an array."""
    return result if isinstance(source, torch.Tensor) else result.numpy()


def map_rows(
    source: torch.Tensor, width: int, dtype: torch.dtype, function: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Apply `function`, (rows, K) -> (rows, width), to a few rows at a time, which bounds the memory of temporaries.

    The rows are contiguous, and aligned to any type of up to 8 bytes.
    """
    leading = source.shape[:-1]
    table = source.reshape(math.prod(leading), source.shape[-1])
    result = torch.empty((table.shape[0], width), dtype=dtype, device=source.device)
    step = max(1, chunk_elements(source.device) // max(1, width, table.shape[1]))
    for start in range(0, table.shape[0] if width else 0, step):
        # A fresh copy: a slice may start at an address or an offset at which it cannot be read as wider integers.
        rows = table[start : start + step].clone(memory_format=torch.contiguous_format)
        result[start : start + step] = function(rows).view(dtype)
    return result.view(*leading, width)
