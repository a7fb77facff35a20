"""Building all kernels of a model at once, before its first call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import torch

from bitquant.build import watched
from bitquant.errors import BitquantError, BuildError, ConfigError
from bitquant.nn.device import as_device
from bitquant.nn.module import KernelModule
from bitquant.parallel import run_all

__all__ = ["prepare_model"]

_DEVICE_TYPES = ("cpu", "cuda")
#: Types of inputs that BitLinear has kernels for.
_INPUT_DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def prepare_model(model: torch.nn.Module, device: torch.device | str | None = None, *, progress: bool = True) -> None:
    """Make the operators of all layers of a model now, so that no call has to wait for a compiler.

    Without it, each layer makes its own at its first call, one after the other. Here kernels that neither this process
    nor the disk cache has are compiled together, on as many threads as there are CPUs, and equal problems once. Several
    processes may prepare one model at a time: each kernel is compiled by one of them, while there is a disk cache.

    A model costs its different problems times their rungs; docs/architecture.md has figures. Layers with fewer rungs
    (`opt_M` of `Linear` and `BitLinear`) have fewer kernels.

    Parameters
    ----------
    model
        Any module: layers of bitquant are found wherever they are in it. Layers with a `target` of their own get
        kernels for that, and layers with `enable_tuning` are tuned.
    device
        Where the model will run; its type counts, "cuda" or "cpu". None: where each layer is.
    progress
        Whether to show progress while kernels are compiled, on standard error where that is a terminal.

    Raises
    ------
    ConfigError
        If `model` is no module, `device` is neither a CPU nor a GPU, or a layer is on the meta device and `device` is
        None.
    BitquantError
        What the operator of a layer raises; the message names the layer. Kernels of other layers that were compiled
        before are in the cache.

    Notes
    -----
    Layers that round their input have a kernel for that, and a `BitLinear` without bias has all kernels, for each type
    of the input. They are made for the types of the model's floating-point parameters, or torch's default type where it
    has none. A `BitLinear` that is not packed is left out.
    """
    wanted = _wanted(model, None if device is None else as_device(device).type)
    missing = []
    for (kernels, device_type), name in wanted.items():
        with _naming(name, kernels):
            if not kernels.find(device_type):
                missing.append((kernels, device_type, name))
    if not missing:
        return

    def build(item: tuple[Any, str, str]) -> Any:
        kernels, device_type, name = item
        with _naming(name, kernels):
            return kernels.build(device_type)

    with _shown(sum(kernels.rungs for kernels, _, _ in missing), progress) as advance, watched(advance):
        built = run_all(build, missing)
    for kernels, device_type, name in missing:
        with _naming(name, kernels):
            kernels.prepare(device_type)  # It finds what is `built` in this process, and tunes if it is to.
    del built


def _wanted(model: Any, device_type: str | None) -> dict[tuple[Any, str], str]:
    """Return what a model needs, kernels and type of device, each with the name of the first layer that does."""
    if not isinstance(model, torch.nn.Module):
        raise ConfigError(f"'model' must be a torch.nn.Module (got {type(model).__name__})", model=model)
    dtypes = {p.dtype for m in model.modules() if not isinstance(m, KernelModule) for p in m.parameters(recurse=False)}
    inputs = [dtype for dtype in _INPUT_DTYPES if dtype in dtypes] or [torch.get_default_dtype()]
    wanted: dict[tuple[Any, str], str] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, KernelModule) or not (needed := layer.needed_kernels(inputs)):
            continue
        where = device_type
        if where is None:
            where = "meta" if layer.qweight is None else layer.qweight.device.type
        if where not in _DEVICE_TYPES:
            raise ConfigError(
                f"'device' must be given: layer {name!r} is on the {where} device; pass the one on which the model "
                "will run, 'cuda' or 'cpu'",
                device=None,
            )
        for kernels in needed:
            wanted.setdefault((kernels, where), name)
    return wanted


@contextlib.contextmanager
def _naming(layer: str, kernels: Any) -> Iterator[None]:
    """Name the layer whose operator cannot be made."""
    where = f"layer {layer!r}, {kernels.config}" if layer else str(kernels.config)
    try:
        yield
    except CancelledError:  # Another layer failed.
        raise
    except BitquantError as error:
        raise type(error)(f"{where}: {error}", **{**error.values, "layer": layer}) from error
    except Exception as error:
        raise BuildError(f"{where}: {type(error).__name__}: {error}", layer=layer) from error


@contextlib.contextmanager
def _shown(rungs: int, progress: bool) -> Iterator[Callable[[int], object]]:
    """Show a bar that fills as rungs get their kernels; yield what is called with the number of those that did."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("compiling kernels"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    is_hidden = not (progress and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=is_hidden) as bar:
        task = bar.add_task("", total=rungs)
        yield lambda done: bar.advance(task, done)
