# SPDX-License-Identifier: Apache-2.0
"""Building all kernels of a model at once, before its first call."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any, NamedTuple

import torch

from bitquant import parallel
from bitquant.arithmetic import ceil_div
from bitquant.build import progress_reported
from bitquant.errors import BitquantError, BuildError, ConfigError
from bitquant.nn.device import as_device, check_module
from bitquant.nn.module import KernelModule
from bitquant.parallel import run_all
from bitquant.workers import Worker, WorkerPool

__all__ = ["Preparation", "may_prepare", "prepare_model"]

_DEVICE_TYPES = ("cpu", "cuda")
#: Types of inputs that BitLinear has kernels for.
_INPUT_DTYPES = (torch.float16, torch.bfloat16, torch.float32)
#: Where workers pay: they take as long to start as one CPU for five kernels, and threads of one process share one
#: interpreter, which has two fifths of the work (docs/architecture.md, "What a start costs").
_MIN_CPUS, _MIN_KERNELS = 4, 10
#: Kernels of a problem with the default ladder: a CPU's rungs share two.
_KERNELS = {"cuda": 8, "cpu": 2}
#: How often progress of another thread is looked at, in seconds.
_POLL_S = 0.1


def prepare_model(model: torch.nn.Module, device: torch.device | str | None = None, *, progress: bool = True) -> None:
    """Make the operators of all layers of a model now, so that no call has to wait for a compiler.

    Without it, each layer makes its own at its first call, one after the other. Here kernels that neither this process
    nor the disk cache has are compiled together, on all CPUs, and equal problems once: where there are many kernels and
    at least 4 CPUs by worker processes, which end with the call, else by threads. Several processes may prepare one
    model at a time: each kernel is compiled by one of them, while there is a disk cache.

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

    Warns
    -----
    BuildWarning
        If a worker process failed, so that this one had to compile instead.

    Notes
    -----
    Layers that round their input have a kernel for that, and a `BitLinear` without bias has all kernels, for each type
    of the input. They are made for the types of the model's floating-point parameters, or torch's default type where it
    has none. A `BitLinear` that is not packed is left out.
    """
    device_type = None if device is None else as_device(device).type
    missing = _missing(model, device_type)
    if missing and (running := list(_running)):
        with _shown(sum(other.rungs for other in running), progress) as advance:
            for other in running:
                other.wait(advance)
        missing = _missing(model, device_type)
    if missing:
        with _shown(sum(item.kernels.rungs for item in missing), progress) as advance:
            _build(missing, advance)


def may_prepare(problems: int, device_type: str) -> bool:
    """Return whether a `Preparation` of so many problems may build anything on this machine."""
    return problems > 1 and parallel.thread_count() >= _MIN_CPUS and problems * _KERNELS[device_type] >= _MIN_KERNELS


class Preparation:
    """The kernels of a model under way, while the caller does something else.

    They are built by worker processes: threads of this one would hold up the caller, as both are work for Python's
    interpreter. Where that does not pay nothing is built.

    Parameters
    ----------
    model
        As for `prepare_model`; layers may be on the meta device.
    device
        Where it will run.

    Notes
    -----
    What fails is not said here: who needs the kernel builds it again, and gets the error. `prepare_model` waits for
    what is under way in its process, and so does the first call of a layer. Layers find their kernels while this lives,
    or the disk cache has them.
    """

    def __init__(self, model: torch.nn.Module, device: torch.device) -> None:
        self._items = items = [item for item in _missing(model, device.type) if not item.kernels.enable_tuning]
        self.rungs = self._done = 0
        self._pool = _pool_for(items)
        self._thread: threading.Thread | None = None
        if self._pool is None:
            return
        self.rungs = sum(item.kernels.rungs for item in items)
        _running.add(self)
        # Not a daemon: what is built when the process ends goes to the cache.
        self._thread = threading.Thread(target=self._run, args=(items, self._pool), name="bitquant-prepare")
        self._thread.start()

    def _run(self, items: list[_Item], pool: WorkerPool) -> None:
        try:
            with pool.activated():
                built = run_all(lambda item: _build_item(item, self._advance), items)
            for item in items:
                item.kernels.prepare(item.device_type)  # It finds what is `built`.
            del built
        except (Exception, CancelledError):  # noqa: BLE001, S110  said by whoever needs the kernel
            pass
        finally:
            _running.discard(self)

    def _advance(self, done: int) -> None:
        with _lock:
            self._done += done

    def wait(self, advance: Callable[[int], object]) -> None:
        """Wait until it is over; `advance` is called with numbers of rungs that got their kernels."""
        reported = 0
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(_POLL_S)
            done = self._done
            advance(done - reported)
            reported = done

    def cancel(self) -> None:
        """End it, whatever is built."""
        if self._pool is not None:
            self._pool.stop()


def _forget_running() -> None:
    _running.clear()


#: What is under way in this process; a forked child has none of it.
_running: set[Preparation] = set()
_lock = threading.Lock()
os.register_at_fork(after_in_child=_forget_running)


class _Item(NamedTuple):
    """Kernels to build, the type of device that they are for, and the first layer that needs them."""

    kernels: Any
    device_type: str
    name: str


def _missing(model: torch.nn.Module, device_type: str | None) -> list[_Item]:
    """Return what neither this process nor the disk cache has; keep what is found."""
    missing = []
    for (kernels, where), name in _wanted(model, device_type).items():
        with _naming(name, kernels):
            if not kernels.find(where):
                missing.append(_Item(kernels, where, name))
    return missing


def _build(items: list[_Item], advance: Callable[[int], object]) -> None:
    """Build and keep what is missing, by workers where that is faster."""
    pool = _pool_for(items)
    with pool.activated() if pool is not None else contextlib.nullcontext():
        built = run_all(
            lambda item: _build_item(item, advance), items, on_interrupt=pool.stop if pool is not None else lambda: None
        )
    for kernels, device_type, name in items:
        with _naming(name, kernels):
            kernels.prepare(device_type)  # It finds what is `built` in this process, and tunes if it is to.
    del built


def _build_item(item: _Item, advance: Callable[[int], object]) -> Any:
    """Build one item, and say of all its rungs that they are done, of those that another thread has built as well."""
    reported = 0

    def report(done: int) -> None:
        nonlocal reported
        reported += done
        advance(done)

    with _naming(item.name, item.kernels), progress_reported(report):
        built = item.kernels.build(item.device_type)
    advance(item.kernels.rungs - reported)
    return built


def _pool_for(items: list[_Item]) -> WorkerPool | None:
    """Return the workers that build some items, started; None where threads of this process are as fast."""
    cpus = parallel.thread_count()
    by_workers = [item for item in items if item.kernels.is_heavy]
    kernels = sum(min(item.kernels.rungs, _KERNELS[item.device_type]) for item in by_workers)
    if cpus < _MIN_CPUS or kernels < _MIN_KERNELS or len(by_workers) < 2:
        return None
    if getattr(sys, "frozen", False):  # An application that contains its interpreter: it would start itself.
        return None
    workers = min(cpus, len(by_workers))
    return WorkerPool(workers, ceil_div(cpus, workers), Worker.for_module("bitquant.worker", without=("torch",)))


def _wanted(model: Any, device_type: str | None) -> dict[tuple[Any, str], str]:
    """Return what a model needs, kernels and type of device, each with the name of the first layer that does."""
    check_module(model)
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
