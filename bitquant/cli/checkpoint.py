# SPDX-License-Identifier: Apache-2.0
"""What commands on whole models share: their directory, device and type, and a quiet transformers."""

from __future__ import annotations

import contextlib
import fnmatch
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitquant.cli.progress import Progress
from bitquant.cli.startup import import_libraries
from bitquant.errors import BitquantError, CheckpointError, ConfigError, UnsupportedError

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_directory",
    "chosen_device",
    "chosen_dtype",
    "device_option",
    "directory_argument",
    "dtype_option",
    "has_tokenizer",
    "import_transformers",
    "naming",
]

#: Names of a tokenizer's files, of all kinds that transformers loads.
_TOKENIZER_FILES = ("tokenizer*", "*vocab*", "merges.txt", "*.model", "*.tiktoken", "tekken.json")

#: The model.
directory_argument = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))

#: Where it computes.
device_option = click.option(
    "--device", metavar="DEVICE", help="cpu, cuda or cuda:1. Default: the GPU if there is one, else the CPU."
)

#: What it computes in.
dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float16", "bfloat16", "float32"]),
    help="Type that the model computes in. Default: the one that it was saved in.",
)


def check_directory(directory: Path) -> None:
    """Check that there is such a directory, and that a model is in it.

    Raises
    ------
    CheckpointError
        If there is not.
    """
    if not directory.exists():
        rule = "no such directory; models on the hub are fetched with: hf download OWNER/NAME --local-dir DIR"
    elif not directory.is_dir():
        rule = "must be a directory (got a file)"
        rule += "; bitquant show reads .gguf files, models are loaded from the hub's layout" * _is_gguf(directory)
    elif not (directory / "config.json").is_file():
        rule = "must hold a config.json, which says what the model is"
    else:
        return
    raise CheckpointError(f"{directory}: {rule}", file=str(directory))


def has_tokenizer(names: Iterable[str]) -> bool:
    """Return whether one of the names of a model's files is that of a tokenizer, of any kind."""
    return any(fnmatch.fnmatch(name, pattern) for name in names for pattern in _TOKENIZER_FILES)


def _is_gguf(path: Path) -> bool:
    return path.suffix == ".gguf"


def chosen_device(text: str | None) -> torch.device:
    """Return the device that an option names; by default the GPU if there is one, else the CPU.

    Raises
    ------
    ConfigError
        If it is none, or neither a CPU nor a CUDA GPU.
    UnsupportedError
        If there is no such GPU.
    """
    import_libraries()
    import torch

    if text is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ConfigError(f"'--device' must be cpu, cuda or cuda:1 (got {text!r})", device=text)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UnsupportedError(f"'--device' {text} needs a GPU and none is visible; use --device cpu", device=text)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnsupportedError(
            f"'--device' must name one of the {torch.cuda.device_count()} GPUs here (got {text}); the first is cuda:0",
            device=text,
        )
    return device


def chosen_dtype(name: str | None) -> Any:
    """Return the type of torch that an option names."""
    import torch

    return None if name is None else getattr(torch, name)


def import_transformers(command: str) -> Any:
    """Return transformers, which shows bars on terminals alone and says nothing but errors.

    Raises
    ------
    UnsupportedError
        If it is not installed.
    """
    try:
        with Progress() as progress:
            progress.say("loading transformers")
            import transformers
    except ImportError as error:
        raise UnsupportedError(
            f"bitquant {command} needs the package transformers ({error}); install it with: "
            "pip install 'bitquant[models]'",
            package="transformers",
        ) from error
    transformers.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers.logging.disable_progress_bar()
    return transformers


@contextlib.contextmanager
def naming(directory: Path) -> Iterator[None]:
    """Put the directory, and what to do, into errors of transformers and torch.

    Raises
    ------
    CheckpointError
        If transformers cannot load the model.
    UnsupportedError
        If the GPU's memory does not hold it.
    """
    import torch

    try:
        yield
    except BitquantError:
        raise
    except torch.OutOfMemoryError as error:
        raise UnsupportedError(
            f"{directory}: the GPU's memory does not hold the model ({error!s:.200}); use --device cpu, or fewer bits"
        ) from error
    except (OSError, ValueError, KeyError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{directory}: transformers cannot load the model ({reason:.300})", file=str(directory)
        ) from error
