# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ to machine code: NVRTC from PyPI packages, or the nvcc of an installed toolkit.

The choice is made once a process, in this order, and reported by `bitquant doctor`:

1. NVRTC, called in process through `cuda-bindings`, where the package and CUDA's headers are there.
2. nvcc of the toolkit at CUDA_PATH, CUDA_HOME, on PATH or at /usr/local/cuda.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitquant.errors import BuildError, UnsupportedError
from bitquant.files import scratch_folder, write_scratch

__all__ = [
    "LINE_INFO_FILE",
    "CompiledCuda",
    "CudaCompiler",
    "KernelResources",
    "compile_cuda_source",
    "cuda_compiler",
    "disassemble",
    "find_disassembler",
    "find_linker",
    "link_shared",
]

_INSTALL_HINT = "install it with: pip install 'bitquant[cuda]' (or install a CUDA toolkit and set CUDA_PATH)"

#: What a compilation with line numbers calls the source.
LINE_INFO_FILE = "bitquant_kernel.cu"

#: What TVM's generated source takes from the host compiler's headers, which NVRTC does not have, and from two headers
#: of the CUDA C++ core libraries. Reading those costs 1 s a compilation, several times what the kernel does. Of the
#: traits that the source names, kernels use one; the others are declared alone, so that a use would be an error.
_NVRTC_PREAMBLE = """\
typedef signed char int8_t;  typedef unsigned char uint8_t;
typedef short int16_t;       typedef unsigned short uint16_t;
typedef int int32_t;         typedef unsigned int uint32_t;
typedef long long int64_t;   typedef unsigned long long uint64_t;
#define __asm__ asm
#define __volatile__ volatile
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
namespace cuda { namespace std {
using ::int8_t;  using ::int16_t;  using ::int32_t;  using ::int64_t;
using ::uint8_t; using ::uint16_t; using ::uint32_t; using ::uint64_t;
template <class T, class U> struct is_same { static constexpr bool value = false; };
template <class T> struct is_same<T, T> { static constexpr bool value = true; };
template <class T, class U> constexpr bool is_same_v = is_same<T, U>::value;
template <class T> struct is_integral;
template <class T> struct is_signed;
template <class T> struct is_unsigned;
template <class T> struct is_floating_point;
template <bool condition, class T> struct enable_if;
template <bool condition, class T, class F> struct conditional;
}}
"""
_NVRTC_REPLACED_HEADERS = ("cuda/std/cstdint", "cuda/std/type_traits", "cuda.h")

#: Layout of cuda.h's tensor map (128 opaque bytes), for kernels that take one by value.
_TENSOR_MAP = """\
struct alignas(64) CUtensorMap_st { unsigned long long opaque[16]; };
typedef struct CUtensorMap_st CUtensorMap;
"""

# Subnormals are kept and quotients rounded once: --use_fast_math would flush the ones and approximate the others.
_COMMON_OPTIONS = (
    "-U__CUDA_NO_HALF_OPERATORS__",
    "-U__CUDA_NO_HALF_CONVERSIONS__",
    "-U__CUDA_NO_BFLOAT16_OPERATORS__",
    "-U__CUDA_NO_BFLOAT16_CONVERSIONS__",
    "-U__CUDA_NO_BFLOAT162_OPERATORS__",
    "-U__CUDA_NO_BFLOAT162_CONVERSIONS__",
)


@dataclass(frozen=True)
class CudaCompiler:
    """A way to compile CUDA C++.

    Attributes
    ----------
    kind
        "nvrtc" or "nvcc".
    version
        For example "13.0".
    path
        The nvcc program, or None for NVRTC.
    include_dirs
        Folders with cuda_runtime.h and with the CUDA C++ core libraries.
    """

    kind: str
    version: str
    path: str | None
    include_dirs: tuple[str, ...]

    @property
    def name(self) -> str:
        """Kind and version, as reports show it."""
        return f"{self.kind} {self.version}"

    @functools.cached_property
    def key(self) -> str:
        """What decides the machine code, for cache keys: the compiler and CUDA's headers, each with its version."""
        header = (Path(self.include_dirs[0]) / "cuda_runtime_api.h").read_text(errors="replace")
        match = re.search(r"#define\s+CUDART_VERSION\s+(\d+)", header)
        return f"{self.name}, headers {match[1] if match else 'unknown'}"


@dataclass(frozen=True)
class KernelResources:
    """What one kernel takes, as ptxas reports it.

    Attributes
    ----------
    registers
        Registers a thread.
    smem_bytes
        Static shared memory a block.
    spill_bytes
        Bytes of spill stores and loads a thread; zero is what one wants.
    stack_bytes
        Stack frame (local memory) a thread.
    """

    registers: int
    smem_bytes: int
    spill_bytes: int
    stack_bytes: int


@dataclass(frozen=True)
class CompiledCuda:
    """The result of a compilation: machine code, PTX, and the resources of each kernel by name."""

    cubin: bytes
    ptx: str
    resources: dict[str, KernelResources]


def _toolkit_roots() -> Iterator[Path]:
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        if value := os.environ.get(variable):
            yield Path(value)
    if nvcc := shutil.which("nvcc"):
        yield Path(nvcc).resolve().parent.parent
    yield Path("/usr/local/cuda")


def _wheel_roots() -> Iterator[Path]:
    """The nvidia/cu* folders of site-packages, newest first."""
    spec = importlib.util.find_spec("nvidia")
    for location in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted(Path(location).glob("cu[0-9]*"), reverse=True)
        yield Path(location) / "cuda_runtime"


def _include_dirs(root: Path) -> tuple[str, ...] | None:
    """Return the include folders of a CUDA root, or None where the headers are incomplete.

    CUDA's headers and the CUDA C++ core libraries (cuda/std) are separate packages; the latter may lie elsewhere.
    """
    for include in _include_folders(root):
        if not (include / "cuda_runtime.h").is_file() or not (include / "cuda_fp16.h").is_file():
            continue
        for other in (include, *(i for r in (*_wheel_roots(), *_toolkit_roots()) for i in _include_folders(r))):
            for core in (other / "cccl", other):
                if (core / "cuda" / "std" / "cstdint").is_file():
                    return tuple(dict.fromkeys((str(include), str(core))))
    return None


def _include_folders(root: Path) -> tuple[Path, ...]:
    return (root / "include", *sorted(root.glob("targets/*-linux/include")))


def _find_nvrtc() -> CudaCompiler | str:
    """Return NVRTC with CUDA's headers, or why there is none."""
    try:
        from cuda.bindings import nvrtc

        status, major, minor = nvrtc.nvrtcVersion()
    except ModuleNotFoundError as error:
        return f"the package cuda-bindings is not installed ({error})"
    except Exception as error:  # noqa: BLE001  cuda-bindings raises its own types where the library cannot be loaded
        return f"the library cannot be loaded ({type(error).__name__}: {error})"
    if int(status) != 0:
        return f"nvrtcVersion returned {status}"
    for root in (*_wheel_roots(), *_toolkit_roots()):
        if dirs := _include_dirs(root):
            return CudaCompiler("nvrtc", f"{major}.{minor}", None, dirs)
    return f"NVRTC {major}.{minor} is installed, but CUDA's headers are not"


def _find_nvcc() -> CudaCompiler | str:
    """Return nvcc with its headers, or why there is none."""
    reason = "no CUDA toolkit"
    for root in _toolkit_roots():
        nvcc, dirs = root / "bin" / "nvcc", _include_dirs(root)
        if not nvcc.is_file():
            continue
        if dirs is None:
            reason = f"{nvcc} has no headers of CUDA"
            continue
        answer = subprocess.run([str(nvcc), "--version"], capture_output=True, text=True, check=False)
        if match := re.search(r"release (\d+\.\d+)", answer.stdout):
            return CudaCompiler("nvcc", match[1], str(nvcc), dirs)
        reason = f"{nvcc} --version names no release"
    return reason


@functools.cache
def _detected_compiler() -> CudaCompiler | str:
    """Return the compiler of this machine, or why there is none."""
    reasons = {}
    for name, find in (("NVRTC", _find_nvrtc), ("nvcc", _find_nvcc)):
        found = find()
        if isinstance(found, CudaCompiler):
            return found
        reasons[name] = found
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def cuda_compiler() -> CudaCompiler:
    """Return the CUDA compiler of this machine.

    Raises
    ------
    UnsupportedError
        If there is none; the message says what was looked for, and what to install.
    """
    compiler = _detected_compiler()
    if isinstance(compiler, str):
        raise UnsupportedError(f"no CUDA compiler found ({compiler}); {_INSTALL_HINT}")
    return compiler


def compile_cuda_source(source: str, arch: str, *, line_info: bool = False) -> CompiledCuda:
    """Compile CUDA C++ for one architecture. No GPU or driver is needed.

    Parameters
    ----------
    source
        CUDA C++ as TVM generates it.
    arch
        For example "sm_90a".
    line_info
        Whether PTX and machine code name the lines of the source, which they call `LINE_INFO_FILE`. The instructions
        are the same.

    Raises
    ------
    BuildError
        If the compiler rejects the source; the message holds its log.
    UnsupportedError
        If there is no compiler.
    """
    compiler = cuda_compiler()
    options = ["-lineinfo"] if line_info else []
    has_tensor_map = "CUtensorMap" in source
    if line_info:
        source = f'#line 1 "{LINE_INFO_FILE}"\n{source}'
    if has_tensor_map and compiler.kind == "nvrtc":
        source = _TENSOR_MAP + source
    return (_compile_nvrtc if compiler.kind == "nvrtc" else _compile_nvcc)(compiler, source, arch, options)


def _compile_nvrtc(compiler: CudaCompiler, source: str, arch: str, more: list[str]) -> CompiledCuda:
    from cuda.bindings import nvrtc

    options = [
        f"--gpu-architecture={arch}",
        "-default-device",
        "--device-int128",
        "--ptxas-options=-v",
        # Gates on host-side deprecation notes that the float8 headers use before they define them.
        "-D__NV_SILENCE_DEPRECATION_BEGIN=",
        "-D__NV_SILENCE_DEPRECATION_END=",
        "-D__NV_SILENCE_HOST_DEPRECATION_BEGIN=",
        "-D__NV_SILENCE_HOST_DEPRECATION_END=",
        *_COMMON_OPTIONS,
        *more,
        *(f"-I{folder}" for folder in compiler.include_dirs),
    ]
    for header in _NVRTC_REPLACED_HEADERS:
        source = source.replace(f"#include <{header}>", "")
    text = _NVRTC_PREAMBLE + source
    # From its own cache, NVRTC returns machine code without the log that names a kernel's resources.
    status, log, *code = _run_nvrtc(compiler, text, [*options, "--no-cache"])
    if status == nvrtc.nvrtcResult.NVRTC_ERROR_INVALID_OPTION:  # A version without that cache.
        status, log, *code = _run_nvrtc(compiler, text, options)
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise BuildError(f"NVRTC {compiler.version} rejects the kernel for {arch}:\n{log}")
    cubin, ptx = code
    return CompiledCuda(cubin, ptx.rstrip(b"\0").decode(), _parse_ptxas(log))


def _run_nvrtc(compiler: CudaCompiler, text: str, options: list[str]) -> tuple[Any, str, bytes, bytes]:
    """Compile with NVRTC; return its verdict, its log, machine code and PTX, the last two empty after an error."""
    from cuda.bindings import nvrtc

    def checked(call: str, answer: tuple) -> tuple:
        if int(answer[0]) != 0:
            raise BuildError(f"NVRTC {compiler.version}: {call} failed with {answer[0]!s}")
        return answer[1:]

    def content(program: Any, what: str) -> bytes:
        (size,) = checked(f"nvrtcGet{what}Size", getattr(nvrtc, f"nvrtcGet{what}Size")(program))
        buffer = bytearray(size)
        checked(f"nvrtcGet{what}", getattr(nvrtc, f"nvrtcGet{what}")(program, buffer))
        return bytes(buffer)

    (program,) = checked("nvrtcCreateProgram", nvrtc.nvrtcCreateProgram(text.encode(), b"bitquant.cu", 0, None, None))
    try:
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
        log = content(program, "ProgramLog").rstrip(b"\0").decode(errors="replace")
        failed = status != nvrtc.nvrtcResult.NVRTC_SUCCESS
        cubin, ptx = (b"", b"") if failed else (content(program, "CUBIN"), content(program, "PTX"))
    finally:
        nvrtc.nvrtcDestroyProgram(program)
    return status, log, cubin, ptx


def _compile_nvcc(compiler: CudaCompiler, source: str, arch: str, more: list[str]) -> CompiledCuda:
    number = arch.removeprefix("sm_")
    with scratch_folder() as folder:
        cu, cubin, ptx = (folder / f"kernel.{suffix}" for suffix in ("cu", "cubin", "ptx"))
        write_scratch(cu, source.encode())
        common = [str(compiler.path), "-O3", *_COMMON_OPTIONS, *more, "--expt-relaxed-constexpr", str(cu)]
        machine = ["-cubin", "-o", str(cubin), f"-gencode=arch=compute_{number},code=sm_{number}", "-Xptxas=-v"]
        virtual = ["-ptx", "-o", str(ptx), f"-arch=compute_{number}"]
        log = ""
        for step in (machine, virtual):
            answer = subprocess.run([*common, *step], capture_output=True, text=True, check=False)
            if answer.returncode:
                raise BuildError(f"nvcc {compiler.version} rejects the kernel for {arch}:\n{answer.stderr}")
            log += answer.stderr
        return CompiledCuda(cubin.read_bytes(), ptx.read_text(), _parse_ptxas(log))


def _parse_ptxas(log: str) -> dict[str, KernelResources]:
    """Read the resources of each kernel from what `ptxas -v` prints."""
    resources: dict[str, KernelResources] = {}
    for part in re.split(r"Compiling entry function ", log)[1:]:
        name = re.match(r"'([^']+)'", part)
        registers = re.search(r"Used (\d+) registers", part)
        if name is None or registers is None:
            continue
        smem = re.search(r"(\d+) bytes smem", part)
        stack = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        resources[name[1]] = KernelResources(
            registers=int(registers[1]),
            smem_bytes=int(smem[1]) if smem else 0,
            spill_bytes=int(stack[2]) + int(stack[3]) if stack else 0,
            stack_bytes=int(stack[1]) if stack else 0,
        )
    return resources


@functools.cache
def find_disassembler() -> str | None:
    """Return the path of a program that prints a cubin's SASS, nvdisasm or cuobjdump, or None."""
    for name in ("nvdisasm", "cuobjdump"):
        if path := shutil.which(name):
            return path
        for root in _toolkit_roots():
            if (root / "bin" / name).is_file():
                return str(root / "bin" / name)
    if spec := importlib.util.find_spec("triton"):  # Triton's wheel carries both.
        for location in spec.submodule_search_locations or []:
            for program in sorted(Path(location).glob("backends/nvidia/bin/*")):
                if program.name in ("nvdisasm", "cuobjdump"):
                    return str(program)
    return None


def disassemble(cubin: bytes, *, line_info: bool = False) -> str:
    """Return the SASS of a cubin.

    Parameters
    ----------
    cubin
        The machine code.
    line_info
        Whether lines of the source stand between the instructions, as nvdisasm prints them, where the cubin has them.
        cuobjdump prints none.

    Raises
    ------
    UnsupportedError
        If there is no disassembler.
    """
    program = find_disassembler()
    if program is None:
        raise UnsupportedError("no disassembler found: SASS needs nvdisasm or cuobjdump of a CUDA toolkit on PATH")
    with scratch_folder() as folder:
        file = folder / "kernel.cubin"
        write_scratch(file, cubin)
        lines = ["--print-line-info-inline"] if line_info else []
        flags = ["--dump-sass"] if program.endswith("cuobjdump") else ["--print-code", *lines]
        answer = subprocess.run([program, *flags, str(file)], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise BuildError(f"{program} failed: {answer.stderr.strip()}")
    return answer.stdout


@functools.cache
def find_linker() -> str | None:
    """Return the program that links host code into a shared library, or None.

    CC where it is set; else cc, gcc, clang, and the plain linkers, which do as well: the code calls no C library.
    """
    if sys.platform == "win32":
        return None
    for name in (os.environ.get("CC"), "cc", "gcc", "clang", "ld", "ld.lld"):
        if name and (path := shutil.which(name)):
            return path
    return None


def link_shared(objects: list[Path], output: Path) -> None:
    """Link object files into a shared library.

    Raises
    ------
    UnsupportedError
        If there is no linker.
    BuildError
        If it fails.
    """
    linker = find_linker()
    if linker is None:
        raise UnsupportedError("no linker found: saving a kernel as a library needs cc, gcc, clang or ld on PATH")
    command = [linker, "-shared", "-o", str(output), *map(str, objects)]
    if not Path(linker).name.startswith("ld"):
        command.append("-nostartfiles")
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        with contextlib.suppress(OSError):
            output.unlink()
        said = answer.stderr.strip() or f"exit code {answer.returncode}"
        raise BuildError(
            f"{linker} failed in {output.parent}: {said}; where no space is left, set TMPDIR to a folder that has it"
        )
