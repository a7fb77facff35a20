# SPDX-License-Identifier: Apache-2.0
"""GGUF, the file of llama.cpp: Q4_0, Q8_0, Q4_K and Q6_K, by the layout in gguf/quants.py of the package gguf.

A row of W, (N, K), is a row of blocks; d and dmin are float16::

    Q4_0   18 bytes / 32    d; 16 bytes, byte j with value j in the low half and value j + 16 in the high
                            w = d * (q - 8)
    Q8_0   34 bytes / 32    d; 32 int8
                            w = d * q
    Q4_K  144 bytes / 256   d, dmin; 12 bytes with scales sc and mins m of 8 sub-blocks of 32, 6 bits each; 128 bytes
                            w = d * sc * q - dmin * m
    Q6_K  210 bytes / 256   128 bytes low halves; 64 bytes upper 2 bits; 16 int8 scales sc of 16 values each; d
                            w = d * sc * (q - 32)

Tensors of other types are made floats by the package where `on_unsupported` says so. Names and
order are llama.cpp's own (``blk.0.attn_q``); rows of attn_q and attn_k of Llama models stand in its
order of rotary pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitquant.nn.checkpoints.bits import codes_of_bytes
from bitquant.nn.checkpoints.layer import StoredLayer, checkpoint_error
from bitquant.nn.checkpoints.reader import Inexpressible, Reader
from bitquant.nn.checkpoints.source import require
from bitquant.nn.checkpoints.weight import QuantizedWeight

__all__ = ["GgufReader", "GgufSource"]

_PLAIN = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
}
#: Values and bytes of a block.
_BLOCKS = {"Q4_0": (32, 18), "Q8_0": (32, 34), "Q4_K": (256, 144), "Q6_K": (256, 210)}


class GgufSource:
    """The tensors of a .gguf file, memory-mapped.

    Raises
    ------
    CheckpointError
        If the file is damaged, or one of several parts.
    UnsupportedError
        If the package gguf is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._gguf = require("gguf", "gguf")
        self._path = str(path)
        try:
            reader = self._gguf.GGUFReader(path)
            self._tensors = {tensor.name: tensor for tensor in reader.tensors}
            self.parameters = {
                name: field.contents()
                for name, field in reader.fields.items()
                if field.types and field.types[0] is not self._gguf.GGUFValueType.ARRAY
            }
            parts = int(self.parameters.get("split.count", 1))
        except Exception as error:  # Damage shows as errors of NumPy, of enumerations, of text, of memory.
            raise checkpoint_error(
                self._path,
                f"must be a whole GGUF file ({type(error).__name__}: {error})",
                fix="fetch the file again",
            ) from error
        if reader.byte_order != "I":
            raise checkpoint_error(self._path, "has another byte order than this machine", fix="convert it again")
        if parts > 1:
            raise checkpoint_error(
                self._path, f"is one of {parts} parts, which are not read",
                fix="join them with: llama-gguf-split --merge FIRST OUT",
            )  # fmt: skip

    @property
    def names(self) -> Sequence[str]:
        """Names of all tensors."""
        return tuple(self._tensors)

    def file(self, name: str) -> str:
        """Return the path of the file."""
        del name
        return self._path

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor in torch's order, the reverse of the file's."""
        return tuple(int(n) for n in reversed(self._tensors[name].shape))

    def dtype(self, name: str) -> torch.dtype | str:
        """Return the type of a tensor: GGUF's own name where it is stored in blocks."""
        kind = self._tensors[name].tensor_type.name
        return _PLAIN.get(kind, kind)

    def nbytes(self, name: str) -> int:
        """Return the bytes of a tensor in the file."""
        return int(self._tensors[name].n_bytes)

    def read(self, name: str, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return a tensor; one in blocks as its bytes, (..., bytes of a row) uint8."""
        data = np.array(self._tensors[name].data)  # a copy: torch does not take memory that it may not write
        dtype = self.dtype(name)
        stored = torch.from_numpy(data.view(np.uint8)).to(device)
        return stored if isinstance(dtype, str) else stored.view(dtype).reshape(self.shape(name))

    def read_ahead(self, names: Iterable[str], device: torch.device) -> None:
        """Do nothing: the package reads."""

    def close(self) -> None:
        """Do nothing: no thread reads."""

    def dequantize(self, name: str) -> torch.Tensor:
        """Return a tensor as float32, by the package.

        Raises
        ------
        NotImplementedError
            If the package does not know the type either.
        """
        tensor = self._tensors[name]
        return torch.from_numpy(np.array(self._gguf.quants.dequantize(tensor.data, tensor.tensor_type)))


class GgufReader(Reader):
    """GGUF: a layer is a matrix, or one for each of several experts, that is stored in blocks."""

    name = "gguf"
    source: GgufSource

    def layers(self) -> dict[str, StoredLayer]:
        """Return the layers: tensors in blocks, by name without ``.weight``."""
        names = set(self.source.names)
        layers = {}
        for name in self.source.names:
            if isinstance(self.source.dtype(name), str) and len(self.source.shape(name)) in (2, 3):
                path = name.removesuffix(".weight")
                bias = {"bias": f"{path}.bias"} if f"{path}.bias" in names else {}
                layers[path] = StoredLayer(self.source, path, {"weight": name, **bias})
        return layers

    def read(self, layer: StoredLayer) -> QuantizedWeight | Inexpressible:
        """Return the weight."""
        kind, shape, name = (
            str(layer.dtype("weight")),
            layer.shape("weight"),
            layer.tensors["weight"],
        )
        bias = layer.read_floats("bias", shape[:-1]) if "bias" in layer else None
        if kind not in _BLOCKS:

            def dequantize() -> torch.Tensor:
                try:
                    return self.source.dequantize(name)
                except NotImplementedError as error:
                    raise layer.unread(
                        f"is {kind}, which the package gguf does not read ({error})", "weight"
                    ) from error

            return Inexpressible(f"is {kind}; read are {', '.join(_BLOCKS)}", dequantize, bias)
        values, size = _BLOCKS[kind]
        stored = self.source.read(name, layer.device)
        rows = (*shape[:-1], shape[-1] // values * size)
        if shape[-1] % values or tuple(stored.shape) != rows:
            raise layer.error(f"must have rows of whole blocks of {values} (got shape {shape})", "weight")
        fields = _DECODERS[kind](stored.unflatten(-1, (-1, size)))
        for part in ("scale", "zeros"):
            if part in fields and not bool(torch.isfinite(fields[part]).all()):
                raise layer.error("must have finite scales (got infinity or NaN)", "weight")
        return QuantizedWeight(**fields, dtype=self.dtype, bias=bias)


def _halves(blocks: torch.Tensor, start: int) -> torch.Tensor:
    """Return the float16 at a byte of each block, (..., blocks)."""
    return blocks[..., start : start + 2].contiguous().view(torch.float16).squeeze(-1)


def _q4_0(blocks: torch.Tensor) -> dict[str, Any]:
    stored = blocks[..., 2:]
    values = torch.cat([stored & 15, stored >> 4], -1).view(torch.int8) - 8
    return {
        "values": values.flatten(-2),
        "W_dtype": "int4",
        "scale": _halves(blocks, 0),
        "group_size": 32,
    }


def _q8_0(blocks: torch.Tensor) -> dict[str, Any]:
    values = blocks[..., 2:].contiguous().view(torch.int8).flatten(-2)
    return {"values": values, "W_dtype": "int8", "scale": _halves(blocks, 0), "group_size": 32}


def _q4_k(blocks: torch.Tensor) -> dict[str, Any]:
    d, dmin = (_halves(blocks, start).to(torch.float32).unsqueeze(-1) for start in (0, 2))
    low, mid, high = blocks[..., 4:8], blocks[..., 8:12], blocks[..., 12:16]
    scales = torch.cat([low & 63, (high & 15) | (low >> 6 << 4)], -1)
    mins = torch.cat([mid & 63, (high >> 4) | (mid >> 6 << 4)], -1)
    stored = blocks[..., 16:].unflatten(-1, (4, 32))
    values = torch.stack([stored & 15, stored >> 4], -2).view(torch.int8)  # (..., 4, 2, 32)
    return {
        "values": values.flatten(-4), "W_dtype": "uint4", "group_size": 32, "zeros_mode": "rescale",
        "scale": (d * scales).flatten(-2), "zeros": (dmin * mins).flatten(-2),
    }  # fmt: skip


def _q6_k(blocks: torch.Tensor) -> dict[str, Any]:
    # Value 128 h + 64 b + p has its low bits in half b of byte 64 h + p, and 128 h + 32 c + p its
    # upper two in bits 2c of byte 32 h + p.
    low = blocks[..., :128].unflatten(-1, (2, 64))
    low = torch.stack([low & 15, low >> 4], -2).flatten(-3)
    high = codes_of_bytes(blocks[..., 128:192].contiguous(), 2, 256).unflatten(-1, (2, 32, 4))
    high = high.transpose(-1, -2).flatten(-3)
    values = (low.view(torch.int8) | (high << 4)) - 32
    scales = blocks[..., 192:208].contiguous().view(torch.int8)
    d = _halves(blocks, 208).to(torch.float32).unsqueeze(-1)
    return {
        "values": values.flatten(-2),
        "W_dtype": "int6",
        "group_size": 16,
        "scale": (d * scales).flatten(-2),
    }


_DECODERS = {"Q4_0": _q4_0, "Q8_0": _q8_0, "Q4_K": _q4_k, "Q6_K": _q6_k}
