# SPDX-License-Identifier: Apache-2.0
"""From a scheduled module to something that runs: lower, compile, link, and put it into an archive."""

from __future__ import annotations

import collections
import contextlib
import contextvars
import dataclasses
import functools
import json
import os
import resource
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tvm
import tvm_ffi
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.archive import FORMAT, Archive, Program
from bitquant.compiler import CompiledCuda, KernelResources, compile_cuda_source, find_linker, link_shared
from bitquant.compute.matmul import CONFIG_ATTR, LAYOUT_ATTR, RUNG_ATTR, layout_of, rung_of
from bitquant.errors import BitquantError, BuildError
from bitquant.files import scratch_folder, write_scratch
from bitquant.intrin.launch import LAUNCH_ATTR
from bitquant.parallel import run_all
from bitquant.schedule.apply import CHOICE_ATTR, choice_of, memory_map_of
from bitquant.schedule.rules.contract import problem_of
from bitquant.source import About, readable
from bitquant.versions import versions

__all__ = ["Listing", "build", "listing", "progress_reported", "report_progress", "share_equal_functions"]

#: True while this thread wants TVM's CUDA back end to generate source and stop there.
_source_only: contextvars.ContextVar[bool] = contextvars.ContextVar("source_only", default=False)
_callback_lock = threading.Lock()
#: More bytes than the host code of any operator has, by some ten times.
_OBJECT_BYTES = 16 << 20
#: Where progress is reported to (`progress_reported`).
_on_progress: contextvars.ContextVar[Callable[[int], object]] = contextvars.ContextVar(
    "on_progress", default=lambda _done: None
)


def share_equal_functions(scheduled: IRModule) -> tuple[IRModule, dict[int, str]]:
    """Return the module with one of each set of equal functions, and the symbol that serves each rung.

    Rungs often get the same kernel. Functions are equal when they differ in nothing but name, rung and refusals.
    """
    kept: list[tuple[PrimFunc, str]] = []
    functions, symbols = {}, {}
    for name, func in sorted(scheduled.functions_items(), key=lambda item: rung_of(item[1])):
        bare = func
        for attr in ("global_symbol", CONFIG_ATTR, RUNG_ATTR, LAYOUT_ATTR, CHOICE_ATTR):
            bare = bare.without_attr(attr)
        twin = next((s for other, s in kept if tvm_ffi.structural_equal(bare, other, map_free_vars=True)), None)
        if twin is None:
            twin = str(func.attrs["global_symbol"])
            kept.append((bare, twin))
            functions[name] = func
        symbols[rung_of(func)] = twin
    return IRModule(functions, attrs=scheduled.attrs), symbols


def _is_host(func: PrimFunc) -> bool:
    return bool(func.attrs["target"].kind.name == "llvm")


def _lower(name: Any, func: PrimFunc, target: Target) -> tuple[IRModule, IRModule]:
    """Lower a function through its own pipeline; return its host and its device functions."""
    bound = tvm.tirx.transform.BindTarget(target if target.host is not None else target.with_host(target))
    choice = choice_of(func)
    pipeline, finish_host, finish_device = tvm.tirx.get_tir_pipeline(choice.pipeline if choice else "s_tir")
    lowered = pipeline(bound(IRModule({name: func})))
    on_host = tvm.tirx.transform.Filter(_is_host)
    on_device = tvm.tirx.transform.Filter(lambda f: not _is_host(f))
    return finish_host()(on_host(lowered)), finish_device()(on_device(lowered))


def _kernel_info(device: IRModule) -> dict[str, Any]:
    """Describe kernels as TVM's CUDA runtime wants them: types of arguments and what the launcher passes."""
    info = {}
    for _, func in device.functions_items():
        name = str(func.attrs["global_symbol"])
        pointers = [isinstance(p.ty, tvm.ir.PointerType) for p in func.params]
        tensor_maps = [
            is_pointer and isinstance(p.ty.element_type, tvm.tirx.TensorMapType)
            for p, is_pointer in zip(func.params, pointers, strict=True)
        ]
        info[name] = {
            "name": name,
            "arg_types": [
                "handle" if is_pointer else str(p.ty.dtype) for p, is_pointer in zip(func.params, pointers, strict=True)
            ],
            "launch_param_tags": [str(t) for t in func.attrs.get(LAUNCH_ATTR, [])],
            "arg_extra_tags": [int(t) for t in tensor_maps],
        }
    return {"func_info": info}


@functools.cache
def _install_callback() -> None:
    """Keep TVM from compiling what `_cuda_source` asks for.

    Where TVM finds a GPU it compiles in the same step, through a callback in its registry. Ours takes that place and
    passes on whatever is not bitquant's.
    """
    from tvm.support import nvcc

    registered = tvm_ffi.get_global_func("tvm_callback_cuda_compile", allow_missing=True)
    original = registered or nvcc.tvm_callback_cuda_compile

    def compile_unless_source_only(code: str) -> Any:
        return b"/" if _source_only.get() else original(code)

    tvm_ffi.register_global_func("tvm_callback_cuda_compile", compile_unless_source_only, override=True)


def _cuda_source(device: IRModule, target: Target) -> str:
    """Return the CUDA C++ of the kernels, without letting TVM compile it."""
    with _callback_lock:
        _install_callback()
    token = _source_only.set(True)
    try:
        return str(tvm_ffi.get_global_func("target.build.cuda")(device, target).inspect_source("cuda"))
    finally:
        _source_only.reset(token)


def _host_code(host: IRModule, target: Target) -> tuple[bytes | None, bytes | None]:
    """Compile host functions; return a shared library, or LLVM IR where nothing can link."""
    module = tvm_ffi.get_global_func("target.build.llvm")(host, target)
    if find_linker() is None:
        return None, str(module.inspect_source("ll")).encode()
    with scratch_folder() as folder:
        objects, library = folder / "host.o", folder / "host.so"
        write_scratch(objects, _object_code(module))
        link_shared([objects], library)
        return library.read_bytes(), None


def _object_code(module: Any) -> bytes:
    """Return the object file of an LLVM module.

    LLVM ends the process where it cannot write one, on a full disk say. So it writes to memory.

    Raises
    ------
    BuildError
        If this process may not write files of that size, for which memory counts as well.
    """
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit_bytes != resource.RLIM_INFINITY and limit_bytes < _OBJECT_BYTES:
        raise BuildError(
            f"the limit on the size of files must be at least {_OBJECT_BYTES} bytes to compile (got {limit_bytes}); "
            "raise it with: ulimit -f unlimited",
            RLIMIT_FSIZE=limit_bytes,
        )
    descriptor = os.memfd_create("bitquant-host.o", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        module.write_to_file(f"/proc/self/fd/{descriptor}", "o")
        return file.read()


@dataclasses.dataclass(frozen=True)
class Listing:
    """What one function was compiled to, for people; nothing of it runs.

    Attributes
    ----------
    cuda_source, compiled
        CUDA C++, and what it was compiled to, with line numbers; empty and None for a CPU.
    llvm_ir, assembly
        The code of a CPU; empty for a GPU.
    """

    cuda_source: str = ""
    compiled: CompiledCuda | None = None
    llvm_ir: str = ""
    assembly: str = ""


def listing(scheduled: IRModule, target: Target) -> Listing:
    """Compile a module of one scheduled function once, for what people read of it.

    Raises
    ------
    BuildError, UnsupportedError
        As `build` does.
    """
    ((name, func),) = scheduled.functions_items()
    kind = target.kind.name
    with _stage(f"lower the scheduled module for {kind}"):
        host, device = _lower(name, func, target)
    with _stage(f"generate code for {kind}"):
        if kind == "cuda":
            source = _shown_source(device, func, target)
            return Listing(source, compile_cuda_source(source, str(target.arch), line_info=True))
        module = tvm_ffi.get_global_func("target.build.llvm")(host, target)
        return Listing(llvm_ir=str(module.inspect_source("ll")), assembly=str(module.inspect_source("s")))


class _Compiled(NamedTuple):
    """The device code of one function, and what TVM's runtime and people are told of its kernels."""

    program: Program
    info: dict[str, Any]
    resources: dict[str, KernelResources]


def _launch(func: PrimFunc) -> str:
    """Return the grid and the block of a device function."""
    extents, body = {}, func.body
    while body is not None:
        if isinstance(body, tvm.tirx.AttrStmt):
            if body.attr_key == "thread_extent":
                extents[str(body.node.thread_tag)] = str(body.value)
            body = body.body
        else:
            body = body.seq[-1] if isinstance(body, tvm.tirx.SeqStmt) else getattr(body, "body", None)
    kinds = (("grid", "blockIdx"), ("cluster", "clusterCtaIdx"), ("block", "threadIdx"))
    sizes = {kind: [extents[f"{tag}.{axis}"] for axis in "xyz" if f"{tag}.{axis}" in extents] for kind, tag in kinds}
    return ", ".join(f"{kind} {' x '.join(size)}" for kind, size in sizes.items() if size)


def _shown_source(device: IRModule, func: PrimFunc, target: Target) -> str:
    """Return the CUDA C++ of device functions as it is shown and compiled; `func` is what was lowered to them."""
    choice, problem = choice_of(func), problem_of(func, target)
    paragraphs = [] if problem is None else [str(problem)]
    if choice is not None:
        hint = ", ".join(f"{k}={v}" for k, v in choice.hint.items())
        paragraphs.append(f"rule {choice.rule}: {hint or 'no hint'}")
    launches = {str(f.attrs["global_symbol"]): _launch(f) for _, f in device.functions_items()}
    return readable(_cuda_source(device, target), About(paragraphs, launches, memory_map_of(func, target)))


def _program(device: IRModule, func: PrimFunc, target: Target) -> _Compiled:
    """Compile the device functions that one function was lowered to."""
    source, arch = _shown_source(device, func, target), str(target.arch)
    compiled = compile_cuda_source(source, arch)
    return _Compiled(Program(compiled.cubin, source, compiled.ptx), _kernel_info(device), compiled.resources)


@contextlib.contextmanager
def progress_reported(on_progress: Callable[[int], object]) -> Iterator[None]:
    """Have `build` report its progress within this block: it calls `on_progress` with the number of rungs just done."""
    token = _on_progress.set(on_progress)
    try:
        yield
    finally:
        _on_progress.reset(token)


def report_progress(done: int) -> None:
    """Report that so many more rungs are done, for builds that run elsewhere."""
    _on_progress.get()(done)


def build(scheduled: IRModule, target: Target, problem: dict[str, Any]) -> Archive:
    """Compile a scheduled module, several functions at a time.

    Parameters
    ----------
    scheduled
        One function a rung, each with its `Choice`.
    target
        What to compile for; no GPU is needed for a CUDA target.
    problem
        `MatmulConfig.problem`, kept in the manifest.

    Raises
    ------
    BuildError
        If lowering or a compiler fails; the message names the stage.
    UnsupportedError
        If there is no CUDA compiler.
    """
    shared, symbols = share_equal_functions(scheduled)
    kind, is_cuda = target.kind.name, target.kind.name == "cuda"
    by_rung = sorted(shared.functions_items(), key=lambda item: rung_of(item[1]))
    functions = {str(func.attrs["global_symbol"]): (name, func) for name, func in by_rung}
    served = collections.Counter(symbols.values())

    def lower(symbol: str) -> tuple[IRModule, IRModule]:
        with _stage(f"lower the scheduled module for {kind}"):
            return _lower(*functions[symbol], target)

    lowered = dict(zip(functions, run_all(lower, functions, is_leaf=True), strict=True))

    def generate(symbol: str | None) -> Any:
        with _stage(f"generate code for {kind}"):
            if symbol is None:
                host = IRModule({k: v for module, _ in lowered.values() for k, v in module.functions_items()})
                result: Any = _host_code(host, target.host if target.host is not None else target)
                done = 0 if is_cuda else len(symbols)
            else:
                result, done = _program(lowered[symbol][1], functions[symbol][1], target), served[symbol]
        report_progress(done)
        return result

    # Kernels for many rows take the longest, up to a third of all; they go first, so that no thread waits for the last.
    kernels = [*reversed(functions)] if is_cuda else []
    *programs, (library, ir) = run_all(generate, [*kernels, None], is_leaf=True)
    by_symbol: dict[str, _Compiled] = dict(zip(kernels, programs, strict=True))
    compiled = {symbol: by_symbol[symbol] for symbol in functions if symbol in by_symbol}
    choices = {rung_of(f): choice_of(f) for _, f in scheduled.functions_items()}
    manifest = {
        "format": FORMAT,
        "problem": problem,
        "weight_layout": layout_of(next(iter(scheduled.functions.values()))),
        "target": str(target),
        "arch": str(target.arch) if is_cuda else kind,
        "cpu_features": sorted(str(f) for f in target.attrs.get("mattr", [])) if kind == "llvm" else [],
        "symbols": symbols,
        "choices": {rung: choice.to_dict() for rung, choice in choices.items() if choice},
        "kernels": {symbol: c.info for symbol, c in compiled.items()},
        "resources": {k: dataclasses.asdict(v) for c in compiled.values() for k, v in c.resources.items()},
        "versions": versions(),
    }
    return Archive(
        manifest=json.loads(json.dumps(manifest)),
        host_library=library,
        host_ir=ir,
        programs={symbol: c.program for symbol, c in compiled.items()},
    )


@contextlib.contextmanager
def _stage(what: str) -> Iterator[None]:
    """Run a stage of a build with TVM's passes as they are by default, and name it where TVM fails."""
    try:
        with tvm.transform.PassContext():  # A thread's own, and not that of whoever asked for the build.
            yield
    except BitquantError:
        raise
    except Exception as error:
        raise BuildError(f"TVM cannot {what}: {error}") from error
