"""From a scheduled module to something that runs: lower, compile, link, and put it into an archive."""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import json
import os
import threading
from typing import Any

import tvm
import tvm_ffi
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant import cache
from bitquant.archive import FORMAT, Archive
from bitquant.compiler import compile_cuda_source, find_linker, link_shared
from bitquant.compute.matmul import CONFIG_ATTR, LAYOUT_ATTR, RUNG_ATTR, layout_of, rung_of
from bitquant.errors import BitquantError, BuildError
from bitquant.files import scratch_folder, write_scratch
from bitquant.intrin.launch import LAUNCH_ATTR
from bitquant.schedule.apply import CHOICE_ATTR, choice_of

__all__ = ["Archive", "build", "share_equal_functions"]

#: True while this thread wants TVM's CUDA back end to generate source and stop there.
_source_only: contextvars.ContextVar[bool] = contextvars.ContextVar("source_only", default=False)
_callback_lock = threading.Lock()


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


def _lower(scheduled: IRModule, target: Target) -> tuple[IRModule, IRModule]:
    """Lower each function through its own pipeline; return the host and the device functions."""
    host: dict[Any, PrimFunc] = {}
    device: dict[Any, PrimFunc] = {}
    bound = tvm.tirx.transform.BindTarget(target if target.host is not None else target.with_host(target))
    for name, func in scheduled.functions_items():
        choice = choice_of(func)
        pipeline, finish_host, finish_device = tvm.tirx.get_tir_pipeline(choice.pipeline if choice else "s_tir")
        lowered = pipeline(bound(IRModule({name: func})))
        on_host = tvm.tirx.transform.Filter(_is_host)
        on_device = tvm.tirx.transform.Filter(lambda f: not _is_host(f))
        host.update(finish_host()(on_host(lowered)).functions_items())
        device.update(finish_device()(on_device(lowered)).functions_items())
    return IRModule(host), IRModule(device)


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
    """
    descriptor = os.memfd_create("bitquant-host.o", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        module.write_to_file(f"/proc/self/fd/{descriptor}", "o")
        return file.read()


def build(scheduled: IRModule, target: Target, problem: dict[str, Any]) -> Archive:
    """Compile a scheduled module.

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
    try:
        host, device = _lower(shared, target)
    except Exception as error:
        raise BuildError(f"TVM cannot lower the scheduled module for {target.kind.name}: {error}") from error
    compiled, source, arch, info = None, None, target.kind.name, {}
    try:
        library, ir = _host_code(host, target.host if target.host is not None else target)
        if target.kind.name == "cuda":
            source, info = _cuda_source(device, target), _kernel_info(device)
    except BitquantError:
        raise
    except Exception as error:
        raise BuildError(f"TVM cannot generate code for {target.kind.name}: {error}") from error
    if source is not None:
        arch = str(target.arch)
        compiled = compile_cuda_source(source, arch)
    choices = {rung_of(f): choice_of(f) for _, f in scheduled.functions_items()}
    manifest = {
        "format": FORMAT,
        "problem": problem,
        "weight_layout": layout_of(next(iter(scheduled.functions.values()))),
        "target": str(target),
        "arch": arch,
        "cpu_features": sorted(str(f) for f in target.attrs.get("mattr", [])) if target.kind.name == "llvm" else [],
        "symbols": symbols,
        "choices": {rung: choice.to_dict() for rung, choice in choices.items() if choice},
        "kernels": info,
        "resources": {k: dataclasses.asdict(v) for k, v in compiled.resources.items()} if compiled else {},
        "versions": cache.versions(),
    }
    return Archive(
        manifest=json.loads(json.dumps(manifest)),
        host_library=library,
        host_ir=ir,
        cubin=compiled.cubin if compiled else None,
        cuda_source=source,
        ptx=compiled.ptx if compiled else None,
    )
