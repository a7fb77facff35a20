"""From a scheduled module to something that runs: lower, compile, link; and the archive that keeps the result.

An *archive* is one zip file: a manifest, the host code as a shared library, and for CUDA the machine code with its
sources. It is what the cache stores and what `Operator.export` writes. Loading it compiles nothing.
"""

from __future__ import annotations

import contextvars
import dataclasses
import functools
import hashlib
import json
import tempfile
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant import cache
from bitquant.arch import cpu_target
from bitquant.compiler import KernelResources, compile_cuda_source, find_linker, link_shared
from bitquant.compute.matmul import CONFIG_ATTR, LAYOUT_ATTR, RUNG_ATTR, layout_of, rung_of
from bitquant.errors import BitquantError, BuildError, UnsupportedError
from bitquant.intrin.launch import LAUNCH_ATTR
from bitquant.schedule.apply import CHOICE_ATTR, Choice, choice_of

__all__ = ["Archive", "build", "share_equal_functions"]

_MANIFEST, _HOST_LIBRARY, _HOST_IR = "manifest.json", "host.so", "host.ll"
_CUBIN, _CUDA, _PTX = "kernels.cubin", "kernels.cu", "kernels.ptx"
#: Version of the archive's own format.
_FORMAT = 2
_MANIFEST_FIELDS = frozenset(
    {
        "format",
        "problem",
        "weight_layout",
        "target",
        "arch",
        "cpu_features",
        "symbols",
        "choices",
        "kernels",
        "resources",
        "versions",
    }
)

#: True while this thread wants TVM's CUDA back end to generate source and stop there.
_source_only: contextvars.ContextVar[bool] = contextvars.ContextVar("source_only", default=False)
_callback_lock = threading.Lock()


#: Device code of this process, by a digest of it.
_device_modules: dict[str, tvm.runtime.Module] = {}


@dataclass
class Archive:
    """A built operator, in memory.

    Attributes
    ----------
    manifest
        What was built and by what: problem, weight layout, target, symbol of each rung, choices, resources, versions.
    host_library
        The host code as a shared library; None where no linker was there to make one.
    host_ir
        The host code as LLVM IR; used where there is no library.
    cubin, cuda_source, ptx
        The device code and its sources; None for a CPU.
    """

    manifest: dict[str, Any]
    host_library: bytes | None
    host_ir: bytes | None
    cubin: bytes | None
    cuda_source: str | None
    ptx: str | None
    _module: Any = field(default=None, repr=False, compare=False)

    @property
    def symbols(self) -> dict[int, str]:
        """Symbol of the function that serves each rung; equal functions are built once."""
        return {int(rung): name for rung, name in self.manifest["symbols"].items()}

    @property
    def choices(self) -> dict[int, Choice]:
        """How each rung was scheduled."""
        return {int(rung): Choice(**fields) for rung, fields in self.manifest["choices"].items()}

    @property
    def resources(self) -> dict[str, KernelResources]:
        """What each CUDA kernel takes, by symbol."""
        return {name: KernelResources(**fields) for name, fields in self.manifest["resources"].items()}

    def save(self, path: Path) -> None:
        """Write the archive."""
        members = {
            _MANIFEST: json.dumps(self.manifest, indent=1),
            _HOST_LIBRARY: self.host_library,
            _HOST_IR: self.host_ir if self.host_library is None else None,
            _CUBIN: self.cubin,
            _CUDA: self.cuda_source,
            _PTX: self.ptx,
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in members.items():
                if content is not None:
                    archive.writestr(name, content)

    @classmethod
    def load(cls, path: Path) -> Archive:
        """Read an archive.

        Raises
        ------
        BuildError
            If the file is not an archive of this format.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                members = {name: archive.read(name) for name in archive.namelist()}
            manifest = json.loads(members[_MANIFEST])
            version, is_whole = manifest["format"], set(manifest) >= _MANIFEST_FIELDS
        except Exception as error:  # zipfile alone raises a dozen types on damaged files.
            raise BuildError(f"{path} is not an exported operator: {error}") from error
        if version != _FORMAT:
            raise BuildError(f"{path}: archive format {version}, this version reads {_FORMAT}; export it again")
        if not is_whole or not members.keys() & {_HOST_LIBRARY, _HOST_IR}:
            raise BuildError(f"{path} is not an exported operator: parts of it are missing")
        texts = {name: members[name].decode() for name in (_CUDA, _PTX) if name in members}
        return cls(
            manifest=manifest,
            host_library=members.get(_HOST_LIBRARY),
            host_ir=members.get(_HOST_IR),
            cubin=members.get(_CUBIN),
            cuda_source=texts.get(_CUDA),
            ptx=texts.get(_PTX),
        )

    def runtime_module(self) -> tvm.runtime.Module:
        """Return the module that holds one function a symbol, loaded into this process once.

        Raises
        ------
        UnsupportedError
            If the archive is for a GPU and TVM's CUDA runtime cannot be loaded here, or for another CPU.
        """
        if self._module is None:
            self._module = self._load_module()
        return self._module

    def _load_module(self) -> tvm.runtime.Module:
        built, here = self.manifest["versions"], cache.versions()
        if (built["os"], built["machine"]) != (here["os"], here["machine"]):
            raise UnsupportedError(
                f"this operator was built on {built['os']} {built['machine']} and does not run on "
                f"{here['os']} {here['machine']}; build it here"
            )
        if self.cubin is None:
            missing = sorted(set(self.manifest["cpu_features"]) - _cpu_features())
            if missing:
                raise UnsupportedError(
                    f"this operator was built for a CPU with {', '.join(missing)}, which this one lacks; build it here"
                )
        module = _load_host(self.host_library, self.host_ir)
        if self.cubin is not None:
            create = tvm_ffi.get_global_func("ffi.Module.create.cuda", allow_missing=True)
            if create is None:
                raise UnsupportedError(
                    f"a kernel for {self.manifest['arch']} needs a GPU with its driver, and none is visible; "
                    "it can be read and exported, but not run here"
                )
            module.import_module(self._device_module(create))
        return module

    def _device_module(self, create: Any) -> tvm.runtime.Module:
        """Return the device code, loaded once a process and for its life: CUDA graphs hold kernels, not operators."""
        key = hashlib.sha256(self.cubin).hexdigest()  # type: ignore[arg-type]
        if key not in _device_modules:
            info = tvm_ffi.get_global_func("runtime.LoadMetaDataFromJSON")(json.dumps(self.manifest["kernels"]))
            _device_modules[key] = create(self.cubin, "cubin", info, {"cuda": self.cuda_source})
        return _device_modules[key]


@functools.cache
def _cpu_features() -> frozenset[str]:
    return frozenset(str(f) for f in cpu_target().mattr)


def _load_host(library: bytes | None, ir: bytes | None) -> tvm.runtime.Module:
    """Load host code from memory. The file is gone once it is mapped; it is unmapped when nothing uses the module."""
    name, code = (_HOST_LIBRARY, library) if library is not None else (_HOST_IR, ir)
    if code is None:
        raise BuildError("there is no host code in the archive; build the operator again")
    with tempfile.TemporaryDirectory(prefix="bitquant-") as folder:
        file = Path(folder) / name
        file.write_bytes(code)
        try:
            return tvm_ffi.load_module(file, keep_module_alive=False)
        except Exception as error:
            raise BuildError(
                f"host code cannot be loaded from {folder}: {error}; the file is damaged, or TMPDIR forbids execution"
            ) from error


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
    with tempfile.TemporaryDirectory(prefix="bitquant-") as folder:
        if find_linker() is None:
            file = Path(folder) / _HOST_IR
            module.write_to_file(str(file), "ll")
            return None, file.read_bytes()
        objects, library = Path(folder) / "host.o", Path(folder) / _HOST_LIBRARY
        module.write_to_file(str(objects), "o")
        link_shared([objects], library)
        return library.read_bytes(), None


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
        "format": _FORMAT,
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
