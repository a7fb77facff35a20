# SPDX-License-Identifier: Apache-2.0
"""Models of checkpoints: whole models of transformers with the layers that some program quantized."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from bitquant.checks import check_bool, check_rows
from bitquant.errors import CheckpointError, ConfigError
from bitquant.formats import SCALE_DTYPES, canonical_name
from bitquant.nn.checkpoint_loader import CheckpointLoader
from bitquant.nn.checkpoints.checkpoint import checkpoint_path, find_weights, read_checkpoint
from bitquant.nn.checkpoints.layer import checkpoint_error
from bitquant.nn.checkpoints.source import SafetensorsSource, read_json_file
from bitquant.nn.device import present_device
from bitquant.nn.merged import merge_layers, unmerge_layers
from bitquant.nn.model_state import LazyTensor, check_loaded, model_of_state
from bitquant.nn.outline import import_transformers, model_class_of, read_model_config
from bitquant.nn.swap import as_model_dtype, check_options
from bitquant.progress import working

__all__ = ["load_model", "quantize_as_read"]


def load_model(
    path: str | os.PathLike[str],
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    on_unsupported: Literal["error", "dequantize"] = "error",
    scale_dtype: str | None = None,
    quantize_activations: bool = True,
    merge: bool = True,
    **options: Any,
) -> Any:
    """Return the transformers model of a checkpoint, with `Linear` layers where the checkpoint is quantized.

    config.json says what the model is. Nothing is quantized again: layers compute with the weights that the checkpoint
    holds (docs/checkpoints.md lists formats). All else is loaded as transformers does, generation config included. The
    model is in evaluation mode. Where there are many kernels to build and at least 4 CPUs, worker processes do so
    meanwhile, and go on when this has returned; `prepare_model` waits for them.

    Parameters
    ----------
    path
        A directory in the hub's layout whose format `read_checkpoint` reads, or that is not quantized, or that
        `save_pretrained` of a model with layers of bitquant wrote.
    device
        Where the model goes; None: the GPU if there is one, else the CPU.
    dtype
        float16, bfloat16 or float32; None: the type that the checkpoint computes in.
    on_unsupported
        As in `read_checkpoint`: "dequantize" keeps layers that no kernel expresses in `dtype`.
    scale_dtype
        Type of scales, for the whole model. None: that of A where it holds every scale of the model exactly, else the
        one that does (and then one for all layers). Kernels for many rows on Hopper take 16-bit A only with scales of
        its type: "bfloat16", say, accepts the rounding of each scale for that, by at most 2^-8 of it (float16: 2^-11).
    quantize_activations
        Whether layers round their input to 8 bits where the checkpoint's own runtime does (W8A8, fp8, BitNet), token by
        token, with a scale that is computed at the call, also where the checkpoint has a static one. False: inputs stay
        in `dtype`, which is at least as exact.
    merge
        As in `quantize_model`.
    **options
        Further parameters of `Linear`: opt_M, target ...

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, a format is not read, or layers do not fit the model. There is no model then.
    ConfigError
        If an argument is wrong, or an option would not be used: a model that bitquant saved says itself how its layers
        are constructed, and one that is not quantized has none.
    UnsupportedError
        If transformers is not installed.

    Warns
    -----
    ModelWarning
        If experts are kept in 16 bits; if scales keep kernels from being the fastest; if tensors belong to no module.
    """
    dtype = as_model_dtype(dtype)
    check_options(options, own=("dtype", "device", "on_unsupported", "quantize_activations", "merge"))
    check_bool(quantize_activations, "quantize_activations")
    check_bool(merge, "merge")
    check_rows(options.get("opt_M"), "opt_M")
    if scale_dtype is not None:
        scale_dtype = canonical_name(scale_dtype, "scale_dtype", SCALE_DTYPES)
    place = present_device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")
    directory = checkpoint_path(path)
    if directory.is_file() or (directory.is_dir() and not (directory / "config.json").is_file()):
        raise CheckpointError(
            f"{directory}: must be a directory with a config.json, which says what the model is; read_checkpoint opens "
            "single files",
            file=str(directory),
        )
    unused = {**options, **({} if scale_dtype is None else {"scale_dtype": scale_dtype})}
    loader = None
    with working("Opening the model"):
        transformers = import_transformers()
        is_saved = _is_saved_by_bitquant(directory)
        checkpoint = None if is_saved else read_checkpoint(directory, on_unsupported, place)
        if checkpoint is not None and checkpoint.format:
            check_options(options, _OF_WEIGHTS)
            loader = CheckpointLoader(transformers, checkpoint, place, dtype or getattr(torch, checkpoint.dtype))
            loader.scale_dtype, loader.quantize_activations, loader.options = scale_dtype, quantize_activations, options
            loader.merge = merge
            loader.open()
    if loader is not None:
        return loader.load()
    if is_saved and not quantize_activations:
        unused["quantize_activations"] = False
    why = "says itself how its layers are constructed" if is_saved else "is not quantized; quantize_model takes them"
    _refuse_unused(unused, directory, why)
    return _load_as_it_is(transformers, directory, place, dtype, merge)


def _refuse_unused(options: dict[str, Any], directory: Path, why: str) -> None:
    """Check that no option was given that would be left unused."""
    if options:
        name = next(iter(options))
        raise ConfigError(
            f"{name!r} must be left out for this checkpoint (got {options[name]!r}): {directory} {why}", **options
        )


def _is_saved_by_bitquant(directory: Path) -> bool:
    if not directory.is_dir():
        return False  # read_checkpoint says what is wrong.
    quantization = read_json_file(directory / "config.json").get("quantization_config")
    return isinstance(quantization, dict) and quantization.get("quant_method") == "bitquant"


_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
#: Parameters of `Linear` that are facts of a checkpoint's weights, or follow from `dtype`.
_OF_WEIGHTS = (
    "W_dtype", "A_dtype", "out_dtype", "accum_dtype", "group_size", "codebook", "rows_per_scale",
)  # fmt: skip


def _load_as_it_is(
    transformers: Any, directory: Path, place: torch.device, dtype: torch.dtype | None, merge: bool
) -> Any:
    """Load a model that needs no reader: one that is not quantized, or that transformers and bitquant saved."""
    import bitquant.nn.hub  # noqa: F401  It registers the format.

    model = _load_directory(transformers, directory, place, dtype)
    (merge_layers if merge else unmerge_layers)(model)
    return model


def _load_directory(
    transformers: Any, directory: Path, place: torch.device, dtype: torch.dtype | None, **options: Any
) -> Any:
    """Load a directory whose tensors are those of its model, or of one with layers of bitquant."""
    with working("Opening the model"):
        config, source = read_model_config(transformers, directory), SafetensorsSource(find_weights(directory))
        wanted = dtype or config.dtype
        if wanted is None:  # As transformers: what the weights have.
            wanted = next((t for t in map(source.dtype, source.names) if t in _DTYPES), torch.get_default_dtype())
        if wanted not in _DTYPES:
            raise checkpoint_error(
                str(directory / "config.json"), f"'dtype' must be float16, bfloat16 or float32 (got {wanted!r:.80})"
            )
        model_class = model_class_of(transformers, config, directory)
        state: dict[str, Any] = {name: source.slice(name) for name in source.names}
        if place.type == "cuda":
            state = {name: LazyTensor(partial(source.read, name, place)) for name in source.names}
    model, info = model_of_state(transformers, model_class, config, directory, state, wanted, place, **options)
    check_loaded(info, directory)
    model.config.name_or_path = str(directory)
    return model


def quantize_as_read(directory: Path, place: torch.device, dtype: torch.dtype | None, quantization: Any) -> Any:
    """Return the model of a directory that is not quantized, each layer quantized as it is read.

    Parameters
    ----------
    directory
        Where it is.
    place
        Where its layers are rounded, and stay.
    dtype
        Its type; None: as it was saved.
    quantization
        A `BitquantConfig`.

    Raises
    ------
    CheckpointError
        If the checkpoint lacks tensors of the model.
    ConfigError
        If a layer cannot have the format.
    UnsupportedError
        If transformers is not installed.
    """
    transformers = import_transformers()
    return _load_directory(transformers, directory, place, dtype, quantization_config=quantization)
