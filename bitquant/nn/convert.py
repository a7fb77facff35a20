# SPDX-License-Identifier: Apache-2.0
"""From a directory that is not quantized to one that is: nothing appears there before it is whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bitquant.errors import CheckpointError, ConfigError
from bitquant.files import as_path, read_regular
from bitquant.nn.checkpoints.checkpoint import checkpoint_path, read_checkpoint
from bitquant.nn.checkpoints.source import read_json_file
from bitquant.nn.device import present_device
from bitquant.nn.experts_linear import ExpertsLinear
from bitquant.nn.layer_kind import format_name
from bitquant.nn.linear import Linear
from bitquant.nn.loading import quantize_as_read
from bitquant.nn.swap import check_weight_format

__all__ = ["Conversion", "quantize_directory"]

#: What a directory holds beside weights and config, and stays what it is: patterns of names.
_COPIED = (
    "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt",
    "*.model", "*.tiktoken", "tekken.json", "chat_template*", "*processor_config.json", "LICENSE*", "NOTICE*",
)  # fmt: skip
#: The names that only directories with a model have.
_MODEL_FILE = "config.json"


@dataclass(frozen=True)
class Conversion:
    """What `quantize_directory` did.

    Attributes
    ----------
    model_class
        Class of the model.
    dtype
        The type that it computes in.
    formats
        The formats of quantized layers (`format_name`), and how many there are of each.
    skipped
        Names of linear layers that stayed as they were.
    copied
        Names of the files that were copied.
    bytes_before, bytes_after
        Sizes of the files with weights.
    """

    model_class: str
    dtype: str
    formats: dict[str, int]
    skipped: tuple[str, ...]
    copied: tuple[str, ...]
    bytes_before: int
    bytes_after: int


def quantize_directory(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    quantization: Any,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    *,
    overwrite: bool = False,
) -> Conversion:
    """Quantize the model of a directory and save it, with its tokenizer and generation config, in another.

    Layers are quantized as they are read, so that the float model is never in memory as a whole. The result is written
    to a directory of another name beside `destination`, which gets its name once all is there.

    Parameters
    ----------
    source
        A directory in the hub's layout that is not quantized.
    destination
        Where the result goes, as `save_pretrained` writes it: `load_model` and ``from_pretrained`` read it.
    quantization
        A `BitquantConfig`.
    device
        Where layers are rounded.
    dtype
        float16, bfloat16 or float32, that the model shall compute in; None: the type that it was saved in.
    overwrite
        Whether `destination` may hold a model already, which is removed once the new one is there.

    Raises
    ------
    CheckpointError
        If `source` is no such directory, is quantized, or is damaged; if `destination` cannot be written.
    ConfigError
        If `destination` holds something, a layer cannot have the format, or there is none to quantize.
    UnsupportedError
        If transformers is not installed.
    """
    place_of_layers = present_device(device)
    source, destination = checkpoint_path(source), as_path(destination, "destination", ConfigError)
    check_weight_format(quantization.W_dtype, quantization.codebook)
    _check_source(source)
    _check_destination(source, destination, overwrite)
    with _appearing(destination) as place:
        model = quantize_as_read(source, place_of_layers, dtype, quantization)
        formats = Counter(
            format_name(module.config.matmul if isinstance(module, ExpertsLinear) else module.config)
            for module in model.modules()
            if isinstance(module, (Linear, ExpertsLinear))
        )
        if not formats:
            raise ConfigError(
                f"{source}: must have torch.nn.Linear layers that 'skip' does not name "
                f"({type(model).__name__} has none)",
                skip=quantization.skip,
            )
        try:
            model.save_pretrained(place)
            copied = _copy_others(source, place)
        except OSError as error:
            raise _unwritable(destination, error) from error
        bytes_after = _weight_bytes(place)
    return Conversion(
        model_class=type(model).__name__,
        dtype=str(model.dtype).removeprefix("torch."),
        formats=dict(formats),
        skipped=tuple(name for name, module in model.named_modules() if type(module) is torch.nn.Linear),
        copied=copied,
        bytes_before=_weight_bytes(source),
        bytes_after=bytes_after,
    )


def _check_source(source: Path) -> None:
    if source.is_file() or (source.is_dir() and not (source / _MODEL_FILE).is_file()):
        raise CheckpointError(
            f"{source}: must be a directory with a {_MODEL_FILE}, which says what the model is", file=str(source)
        )
    if (source / _MODEL_FILE).is_file():
        quantization = read_json_file(source / _MODEL_FILE).get("quantization_config")
        if isinstance(quantization, dict) and quantization.get("quant_method") == "bitquant":
            raise _is_quantized(source, "bitquant")
    if (found := read_checkpoint(source).format) is not None:  # It also says what is missing or damaged.
        raise _is_quantized(source, found)


def _is_quantized(source: Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"{source}: is quantized already (format {name}), and quantizing it again would only lose digits; load_model "
        "reads it as it is",
        file=str(source), format=name,
    )  # fmt: skip


def _check_destination(source: Path, destination: Path, overwrite: bool) -> None:
    if destination.exists() and not destination.is_dir():
        raise ConfigError(f"{destination}: must be a directory (got a file)", destination=destination)
    here, there = source.resolve(), destination.resolve()
    if here == there or there in here.parents:
        raise ConfigError(
            f"{destination}: must be another directory than the model's, and not one around it; name another",
            destination=destination,
        )
    if not destination.is_dir() or not any(destination.iterdir()):
        return
    if not overwrite:
        raise ConfigError(
            f"{destination}: must be empty or not there yet (it holds {len(list(destination.iterdir()))} files); name "
            "another directory, or overwrite it: overwrite=True, on the command line --overwrite",
            destination=destination,
        )
    if not (destination / _MODEL_FILE).is_file():
        raise ConfigError(
            f"{destination}: must hold a model, with a {_MODEL_FILE}, to be overwritten (it holds something else); "
            "remove it yourself, or name another directory",
            destination=destination,
        )


@contextlib.contextmanager
def _appearing(destination: Path) -> Iterator[Path]:
    """Yield a new directory that gets its name when the body is through; whatever goes wrong, it is removed."""
    target = destination.resolve()
    mark = uuid.uuid4().hex[:8]
    place, aside = (target.with_name(f".{target.name}.{mark}.{kind}") for kind in ("partial", "before"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir()
    except OSError as error:
        raise _unwritable(destination, error) from error
    try:
        yield place
        if target.is_dir() and any(target.iterdir()):
            target.rename(aside)
            try:
                place.rename(target)
            except BaseException:
                aside.rename(target)
                raise
        else:
            place.rename(target)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def _unwritable(destination: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"{destination}: cannot be written ({error.strerror or error}); name another directory",
        file=str(destination),
    )


def _copy_others(source: Path, destination: Path) -> tuple[str, ...]:
    """Copy tokenizer, generation config and the like; return their names."""
    found = sorted({path for pattern in _COPIED for path in source.glob(pattern)})
    for path in found:
        if path.is_dir():
            shutil.copytree(path, destination / path.name, dirs_exist_ok=True, copy_function=_copy_file)
        else:
            _copy_file(path, destination / path.name)
    return tuple(path.name for path in found)


def _copy_file(source: str | Path, destination: str | Path) -> None:
    """Copy a file, and nothing that has no end."""
    Path(destination).write_bytes(read_regular(Path(source))[0])


def _weight_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("*.safetensors"))
