# SPDX-License-Identifier: Apache-2.0
"""Models that transformers makes of a state dict: it opens no file of weights itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bitquant.errors import BitquantError, CheckpointError, UnsupportedError
from bitquant.nn.checkpoints.layer import checkpoint_error
from bitquant.nn.outline import brief
from bitquant.nn.swap import ModelWarning

__all__ = ["LazyTensor", "check_loaded", "model_of_state"]


class LazyTensor:
    """A tensor that is made when transformers takes it, as of a memory-mapped file: by ``[...]``."""

    def __init__(self, make: Callable[[], torch.Tensor]) -> None:
        self._make = make

    def __getitem__(self, index: Any) -> torch.Tensor:
        return self._make()[index]


def model_of_state(
    transformers: Any,
    model_class: Any,
    config: Any,
    directory: Path,
    state_dict: dict[str, Any],
    dtype: torch.dtype,
    place: torch.device,
    **options: Any,
) -> tuple[Any, dict[str, Any]]:
    """Return the model that transformers makes of a state dict, and what it says of that; it opens no file of weights.

    Raises
    ------
    CheckpointError
        If it cannot.
    """
    generation_config = None
    try:
        if (directory / "generation_config.json").is_file():
            generation_config = transformers.GenerationConfig.from_pretrained(directory)
        model, info = model_class.from_pretrained(
            None,
            config=config,
            state_dict=state_dict,
            dtype=dtype,
            output_loading_info=True,
            generation_config=generation_config,
            trust_remote_code=False,
            **({} if place.type == "cpu" else {"device_map": {"": place}}),
            **options,
        )
    except ImportError as error:
        raise UnsupportedError(f"{directory}: transformers needs another package ({error})") from error
    except (CheckpointError, MemoryError, torch.OutOfMemoryError):
        raise
    except BitquantError as error:
        if "quantization_config" in options:  # It is the caller's.
            raise
        raise CheckpointError(f"{directory}: {error}", **{**error.values, "file": str(directory)}) from error
    except Exception as error:
        raise checkpoint_error(str(directory), f"transformers cannot load it ({brief(error)})") from error
    return model, info


def check_loaded(info: dict[str, Any], path: Path) -> None:
    """Check that transformers found a tensor for every parameter.

    Parameters
    ----------
    info
        What `model_of_state` returned beside the model.
    path
        The checkpoint, for messages.

    Raises
    ------
    CheckpointError
        If a parameter has none, or one of another shape.
    """
    for kind, what in (("missing_keys", "lacks"), ("mismatched_keys", "has in another shape")):
        if keys := sorted(map(str, info[kind])):
            raise CheckpointError(
                f"{path}: {what} {len(keys)} tensors of the model, {', '.join(keys[:3])}{' ...' if keys[3:] else ''}; "
                "save or fetch the checkpoint again",
                file=str(path),
            )
    if info.get("error_msgs"):
        raise CheckpointError(f"{path}: {info['error_msgs'][0]}", file=str(path))
    if keys := sorted(info["unexpected_keys"]):
        warnings.warn(
            f"{path}: {len(keys)} tensors belong to no module of the model and were left out, "
            f"{', '.join(keys[:3])}{' ...' if keys[3:] else ''}",
            ModelWarning,
            stacklevel=5,
        )
