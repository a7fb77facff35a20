# SPDX-License-Identifier: Apache-2.0
"""read_checkpoint: from a directory or file to the layers it holds, read one by one."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch

from bitquant.errors import BitquantError, CheckpointError, ConfigError
from bitquant.files import as_path
from bitquant.nn.checkpoints.layer import StoredLayer, TensorSource, checkpoint_error
from bitquant.nn.checkpoints.reader import Inexpressible, Reader, all_readers, find_reader
from bitquant.nn.checkpoints.source import SafetensorsSource, read_json_file
from bitquant.nn.checkpoints.weight import QuantizedWeight
from bitquant.nn.device import present_device

__all__ = ["Checkpoint", "checkpoint_path", "find_weights", "model_dtype", "read_checkpoint"]

#: Where packers put their parameters, besides config.json (in the order of preference).
_PARAMETER_FILES = (
    "quantization_config.json",
    "quantize_config.json",
    "quant_config.json",
    "hf_quant_config.json",
)

#: Types of which a matrix is a quantized weight; one that no layer claims is a damaged or unknown
#: layer.
_STORED_DTYPES = (
    torch.int8,
    torch.uint8,
    torch.int32,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float8_e8m0fnu,
)


class _Lazy(Mapping[str, Any]):
    """A mapping whose values are made at each access."""

    def __init__(self, names: Iterable[str], read: Callable[[str], Any]) -> None:
        self._names, self._read = dict.fromkeys(names), read

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


class Checkpoint(Mapping[str, QuantizedWeight]):
    """The quantized layers of a checkpoint: from the path of a layer's module to its weight.

    A weight is read, unpacked and checked at each access and not kept. Made by `read_checkpoint`.

    Attributes
    ----------
    path : pathlib.Path
        What was opened.
    format : str or None
        Name of the format; None where nothing is quantized.
    parameters : Mapping
        The quantization config that the checkpoint carries.
    config : Mapping
        The model's config.json; empty where there is none.
    dtype : str
        float16, bfloat16 or float32: the type that the checkpoint computes in.
    plain : Mapping[str, torch.Tensor]
        All other tensors by name, read at each access.
    """

    def __init__(
        self,
        path: Path,
        source: TensorSource,
        reader: Reader | None,
        config: Mapping[str, Any],
        dtype: str,
        on_unsupported: Literal["error", "dequantize"],
        device: torch.device | str,
    ) -> None:
        self.path, self._source, self._reader, self.dtype = path, source, reader, dtype
        self.format = reader.name if reader is not None else None
        self.parameters: Mapping[str, Any] = MappingProxyType(reader.parameters if reader is not None else {})
        self.config: Mapping[str, Any] = MappingProxyType(dict(config))
        self._on_unsupported = on_unsupported
        self._layers: dict[str, StoredLayer] = {}
        if reader is not None:
            with _foreign_values(partial(checkpoint_error, reader.origin)):
                self._layers = reader.layers()
        for layer in self._layers.values():
            layer.device = torch.device(device)
        claimed = {name for layer in self._layers.values() for name in layer.tensors.values()}
        rest = [name for name in source.names if name not in claimed]
        self.plain: Mapping[str, torch.Tensor] = _Lazy(rest, source.read)
        self._check_plain(rest)

    def __getitem__(self, path: str) -> QuantizedWeight:
        weight = self.read(path)
        if isinstance(weight, QuantizedWeight):
            return weight
        if self._on_unsupported == "error":
            raise self._layers[path].error(
                weight.rule, fix="on_unsupported='dequantize' gives such layers as plain floats"
            )
        return _as_plain(weight, self.dtype)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __contains__(self, path: object) -> bool:
        return path in self._layers

    def read(self, path: str) -> QuantizedWeight | Inexpressible:
        """Return the weight of a layer, whatever `on_unsupported` says: or why no kernel computes it exactly.

        Raises
        ------
        CheckpointError
            If a tensor breaks a rule of the format.
        """
        layer, reader = self._layers[path], self._reader
        if reader is None:  # Then there are no layers.
            raise KeyError(path)
        try:
            with _foreign_values(layer.error):
                return reader.read(layer)
        except ConfigError as error:  # A rule of QuantizedWeight that the reader's own checks let pass.
            raise layer.error(str(error)) from error

    def experts(self, path: str) -> Iterator[QuantizedWeight]:
        """Yield the weights of the experts of a layer that holds all of them, each unpacked when it is due.

        Raises
        ------
        CheckpointError
            As `read`, or if the layer holds one weight.
        """
        layer, reader = self._layers[path], self._reader
        if reader is not None:
            with _foreign_values(layer.error):
                yield from reader.experts(layer)

    def in_turn(self, paths: Sequence[str]) -> Iterator[str]:
        """Yield paths of layers; the tensors of the next one are on their way to its device meanwhile."""
        try:
            for path, following in itertools.zip_longest(paths, paths[1:]):
                for one in (path, following):
                    if one is not None:
                        layer = self._layers[one]
                        self._source.read_ahead(layer.tensors.values(), layer.device)
                yield path
        finally:
            self._source.close()

    def read_plain(self, name: str, device: torch.device) -> torch.Tensor:
        """Return a tensor of `plain`, on a device."""
        return self._source.read(name, device)

    def tensors(self, path: str) -> dict[str, str]:
        """Return the full names of the tensors of a layer by role."""
        return dict(self._layers[path].tensors)

    def signature(self, path: str) -> Hashable:
        """Return what headers say of a layer: those with equal signatures differ in the numbers of their tensors alone.

        Raises
        ------
        CheckpointError
            If a small tensor that says how the layer is stored breaks a rule of the format.
        """
        layer, reader = self._layers[path], self._reader
        stored = sorted((role, self.shape(name), str(self.dtype_of(name))) for role, name in layer.tensors.items())
        return (*stored, reader.variant(layer) if reader is not None else None)

    def shape(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of a tensor by its full name, from the header."""
        return self._source.shape(tensor)

    def dtype_of(self, tensor: str) -> torch.dtype | str:
        """Return the type of a tensor by its full name, from the header; the file's own name where torch has none."""
        return self._source.dtype(tensor)

    def nbytes(self, tensor: str) -> int:
        """Return the bytes of a tensor in its file by its full name, from the header."""
        return self._source.nbytes(tensor)

    def __repr__(self) -> str:
        return f"Checkpoint({str(self.path)!r}, {self.format}, {len(self)} layers, {len(self.plain)} other tensors)"

    def _check_plain(self, names: Iterable[str]) -> None:
        known = f"no layer of format {self.format}" if self.format else "no layer, and no quantization config is there"
        for name in names:
            dtype = self._source.dtype(name)
            if dtype in _STORED_DTYPES and len(self._source.shape(name)) > 1:
                raise checkpoint_error(
                    self._source.file(name),
                    f"is {str(dtype).removeprefix('torch.')}, shape {self._source.shape(name)}, and belongs to {known}",
                    tensor=name,
                    fix="tensors or parameters beside it are lost, or the format is one that is not read",
                )


@contextlib.contextmanager
def _foreign_values(make_error: Callable[[str], CheckpointError]) -> Iterator[None]:
    """Say what is wrong where a quantization config has values of other types than its packer writes.

    Readers check the values that decide how a weight is read, and not each one's type.
    """
    try:
        yield
    except BitquantError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        raise make_error(
            f"the quantization config has a value that is none of its format ({type(error).__name__}: {error!s:.200})"
        ) from error


def _as_plain(weight: Inexpressible, dtype: str) -> QuantizedWeight:
    values = weight.dequantize().to(getattr(torch, dtype))
    return QuantizedWeight(values=values, W_dtype=dtype, dtype=dtype, bias=weight.bias)


def read_checkpoint(
    path: str | os.PathLike[str],
    on_unsupported: Literal["error", "dequantize"] = "error",
    device: torch.device | str = "cpu",
) -> Checkpoint:
    """Open a quantized checkpoint: a mapping from the path of a layer's module to its `QuantizedWeight`.

    Headers are read and checked now, data at each access, from memory-mapped files: besides what
    the caller keeps there is never more than one layer in memory. docs/checkpoints.md lists formats,
    what is exact and what is refused.

    Parameters
    ----------
    path
        A directory in the hub's layout (config.json with model.safetensors, or shards and their
        index), a ``.safetensors`` file beside its config.json, or a ``.gguf`` file.
    on_unsupported
        What to do with a layer that is understood but that no kernel computes exactly: "error", or
        "dequantize", which gives its weight as plain floats of the checkpoint's own type
        (``is_quantized`` is False).
    device
        Where the weights of layers are unpacked and stay. A GPU does that many times faster than a
        CPU.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, a layer lacks a tensor, or the format is not read; and at
        an access, if a tensor breaks a rule of the format. The message names file, layer, tensor,
        rule and fix.
    ConfigError
        If `on_unsupported` is another word, or `device` is no CPU and no GPU.
    UnsupportedError
        If the package safetensors (or gguf) is not installed, or the GPU is not there.

    Examples
    --------
    >>> weights = read_checkpoint("path/to/checkpoint")
    >>> weights.format, len(weights)
    ('gptq', 224)
    >>> weights["model.layers.0.mlp.up_proj"]
    QuantizedWeight(N=14336, K=4096, uint4, groups of 128, float16 scales, quantized zero points)
    """
    if not isinstance(on_unsupported, str) or on_unsupported not in ("error", "dequantize"):
        raise ConfigError(
            f"'on_unsupported' must be 'error' or 'dequantize' (got {on_unsupported!r:.80})",
            on_unsupported=on_unsupported,
        )
    device, place = present_device(device), checkpoint_path(path)
    directory = place if place.is_dir() else place.parent
    weights = find_weights(place)
    config_file = directory / "config.json"
    config = read_json_file(config_file) if config_file.is_file() else {}
    if weights.suffix == ".gguf":
        from bitquant.nn.checkpoints.readers.gguf import GgufReader, GgufSource

        gguf = GgufSource(weights)
        reader = GgufReader(gguf, gguf.parameters, "float16", str(weights))
        return Checkpoint(place, gguf, reader, config, "float16", on_unsupported, device)
    source = SafetensorsSource(weights)
    parameters, origin = _quantization_parameters(directory, config)
    dtype = model_dtype(config, config_file)
    found = None if parameters is None else _make_reader(source, parameters, origin, dtype)
    return Checkpoint(place, source, found, config, dtype, on_unsupported, device)


def checkpoint_path(path: Any) -> Path:
    """Return the path of a checkpoint.

    Raises
    ------
    CheckpointError
        If it is no path, or one that this system cannot have.
    """
    place = as_path(path, "path", CheckpointError)
    try:
        place.is_dir()
    except OSError as error:
        raise checkpoint_error(f"{place!s:.200}", f"cannot be read ({error.strerror})") from error
    return place


def find_weights(place: Path) -> Path:
    """Return the file to open: safetensors, an index of such, or gguf.

    Raises
    ------
    CheckpointError
        If there is none, or several.
    """
    if place.is_file():
        if place.suffix in (".safetensors", ".gguf") or place.name.endswith(".safetensors.index.json"):
            return place
        raise checkpoint_error(
            str(place),
            "must be a .safetensors or .gguf file",
            fix="for a directory, pass the directory itself",
        )
    if not place.is_dir():
        raise checkpoint_error(
            str(place), "no such file or directory",
            fix="models on the hub are fetched with: hf download OWNER/NAME --local-dir DIR",
        )  # fmt: skip
    for name in ("model.safetensors.index.json", "model.safetensors"):
        if (place / name).is_file():
            return place / name
    for pattern in ("*.safetensors.index.json", "*.safetensors", "*.gguf"):
        if len(files := sorted(f for f in place.glob(pattern) if f.is_file())) == 1:
            return files[0]
        if files:
            names = ", ".join(file.name for file in files)
            raise checkpoint_error(
                str(place), f"must hold one checkpoint (got {names})", fix="keep one, or name it model.safetensors"
            )
    if pickles := [f.name for p in ("*.bin", "*.pt", "*.pth") for f in sorted(place.glob(p))]:
        raise checkpoint_error(
            str(place), f"holds pickled tensors ({', '.join(pickles[:3])}), which are not read",
            fix="save them as safetensors: model.save_pretrained(DIR, safe_serialization=True)",
        )  # fmt: skip
    raise checkpoint_error(str(place), "holds no .safetensors and no .gguf file")


def _quantization_parameters(directory: Path, config: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the quantization config and the file that it is from; None where there is none."""
    for holder in (config, config.get("text_config")):
        for key in ("quantization_config", "compression_config"):
            if isinstance(holder, dict) and isinstance(found := holder.get(key), dict):
                return _normalized(found, None), str(directory / "config.json")
    for name in _PARAMETER_FILES:
        if (directory / name).is_file():
            return _normalized(read_json_file(directory / name), name), str(directory / name)
    return None, ""


def _normalized(parameters: dict[str, Any], file: str | None) -> dict[str, Any]:
    """Return parameters with a quant_method, from what packers without one write."""
    if file == "hf_quant_config.json":  # {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": ...}}
        producer = parameters.get("producer")
        method = producer.get("name") if isinstance(producer, dict) else None
        return {"quant_method": method, **parameters.get("quantization", {})}
    if "quant_method" in parameters:
        return dict(parameters)
    if "w_bit" in parameters:  # AutoAWQ's own file
        method = "awq"
    elif "bits" in parameters and "group_size" in parameters:  # AutoGPTQ's own file
        method = "gptq"
    elif parameters.get("load_in_4bit") or parameters.get("load_in_8bit"):
        method = "bitsandbytes"
    else:
        method = None
    return {"quant_method": method, **parameters}


def _make_reader(source: TensorSource, parameters: dict[str, Any], origin: str, dtype: str) -> Reader:
    reader = find_reader(parameters)
    if reader is None:
        names = sorted({method for known in all_readers() for method in known.methods})
        raise checkpoint_error(
            origin,
            f"quantization method {parameters.get('quant_method')!r} is not read",
            fix="load_model opens it"
            if parameters.get("quant_method") == "bitquant"
            else f"read are {', '.join(names)}",
        )
    with _foreign_values(partial(checkpoint_error, origin)):
        return reader(source, parameters, dtype, origin)


def model_dtype(config: Mapping[str, Any], file: Path) -> str:
    """Return the type that a model computes in, by its config.json; float16 where that does not say.

    Raises
    ------
    CheckpointError
        If it is none of float16, bfloat16 and float32; `file` is named.
    """
    for holder in (config, config.get("text_config")):
        for key in ("dtype", "torch_dtype"):
            name = holder.get(key) if isinstance(holder, dict) else None
            if isinstance(name, str):
                short = name.removeprefix("torch.")
                if short not in ("float16", "bfloat16", "float32"):
                    raise checkpoint_error(str(file), f"{key!r} must be float16, bfloat16 or float32 (got {name!r})")
                return short
    return "float16"
