# SPDX-License-Identifier: Apache-2.0
"""`bitquant doctor`: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import os
import platform
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitquant.cli.output import format_bytes, print_json, print_table
from bitquant.cli.progress import Progress
from bitquant.cli.startup import import_libraries
from bitquant.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import RenderableType

__all__ = ["doctor"]


@dataclass(frozen=True)
class _Row:
    """One finding.

    Attributes
    ----------
    name
        What was looked for.
    state
        "ok"; "absent": one can do without it; "broken": nothing can be computed, or wrongly.
    found
        What is there.
    fix
        What to do about it, where there is something to do.
    """

    name: str
    state: Literal["ok", "absent", "broken"]
    found: str
    fix: str = ""


@dataclass(frozen=True)
class _Probe:
    """A look at one thing; where it fails, the exception becomes its row."""

    name: str
    look: Callable[[], Iterable[_Row]]
    is_essential: bool = False
    fix: str = ""

    def rows(self) -> list[_Row]:
        try:
            return list(self.look())
        except Exception as error:  # noqa: BLE001 - a broken installation may raise anything
            reason = " ".join(str(error).split()) or "no message"
            found = f"{type(error).__name__}: {reason}"
            return [_Row(self.name, "broken" if self.is_essential else "absent", found, self.fix)]


@click.command(epilog="\b\nExamples:\n  bitquant doctor\n  bitquant doctor --json > report.json")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def doctor(as_json: bool) -> int:
    """Show what is installed and what is missing.

    That is: software, processors, compilers and the cache, and for what is missing what to do about it. At the end a
    small multiplication is compiled, run and checked on the CPU, and on the GPU if there is one. The exit code is 0 if
    a multiplication can run here, and 1 if something essential is broken.
    """
    import_libraries()
    rows: list[_Row] = []
    with Progress() as progress:
        for probe in _PROBES:
            progress.say(f"looking at {probe.name}")
            rows += probe.rows()
    is_broken = any(row.state == "broken" for row in rows)
    proofs = [row.name.removeprefix(_PROOF) for row in rows if row.name.startswith(_PROOF) and row.state == "ok"]
    if as_json:
        print_json({"runs_on": proofs, "rows": [dataclasses.asdict(row) for row in rows]})
        return int(is_broken)
    _print(rows)
    click.echo()
    if is_broken:
        click.echo("something essential is broken: see the rows above")
    else:
        click.echo(f"a matmul runs here, on {' and '.join(proofs)}")
    return int(is_broken)


def _print(rows: list[_Row]) -> None:
    from rich.text import Text

    styles = {"ok": "green", "absent": "yellow", "broken": "bold red"}
    cells: list[list[RenderableType]] = []
    for row in rows:
        found = Text(row.found)
        if row.fix:
            found.append(f"\n-> {row.fix}", style="italic")
        cells.append([Text(row.state, style=styles[row.state]), row.name, found])
    print_table(["", "", ""], cells)


# Software.


def _look_at_python() -> Iterable[_Row]:
    import bitquant

    yield _Row("bitquant", "ok", f"{bitquant.__version__}, in {Path(bitquant.__file__).parent}")
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {sys.executable}"
    yield _Row("python", "ok", found)


def _look_at_numpy() -> Iterable[_Row]:
    yield _Row("numpy", "ok", str(importlib.import_module("numpy").__version__))


def _look_at_torch() -> Iterable[_Row]:
    torch = importlib.import_module("torch")
    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU alone"
    yield _Row("torch", "ok", f"{torch.__version__}, built for {built_for}")


def _look_at_tvm() -> Iterable[_Row]:
    tvm = importlib.import_module("tvm")
    found = f"{tvm.__version__}, tvm-ffi {importlib.metadata.version('apache-tvm-ffi')}"
    if tvm.__version__.startswith("0.27."):
        yield _Row("tvm", "ok", found)
    else:
        yield _Row("tvm", "absent", f"{found}, but bitquant is made for 0.27", "pip install 'apache-tvm==0.27.*'")


# Hardware.

#: Vector extensions that matter to a matrix multiplication, by the names of LLVM.
_VECTOR_FEATURES = (
    "sse4.2", "avx", "avx2", "fma", "f16c", "avxvnni", "avx512f", "avx512vnni", "avx512bf16", "avx512fp16",
    "amx-int8", "amx-bf16", "neon", "fullfp16", "dotprod", "i8mm", "bf16", "sve", "sve2",
)  # fmt: skip


def _look_at_cpu() -> Iterable[_Row]:
    from bitquant.arch import cpu_target

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and (match := re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)):
        model = match[1]
    target = cpu_target()
    features = {str(feature).removeprefix("+") for feature in target.mattr}
    vectors = " ".join(name for name in _VECTOR_FEATURES if name in features) or "no vector extension"
    yield _Row("CPU", "ok", f"{model}, {os.cpu_count()} cores, {target.mcpu}: {vectors}")


def _look_at_gpus() -> Iterable[_Row]:
    import torch

    from bitquant.arch import detected_cuda_arch, driver_version

    driver = driver_version()
    if not torch.cuda.is_available():
        yield _missing_gpu(driver, is_cuda_build=torch.version.cuda is not None)
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found = (
            f"{properties.name}, compute capability {properties.major}.{properties.minor}, "
            f"{format_bytes(properties.total_memory)}, {properties.multi_processor_count} multiprocessors, "
            f"driver {driver or 'unknown'}"
        )
        try:
            yield _Row(f"GPU {index}", "ok", f"{found}, target {detected_cuda_arch(index)}")
        except ValueError as error:  # An architecture that bitquant does not know.
            yield _Row(f"GPU {index}", "absent", f"{found}: {error}", "use target='cpu'")


def _missing_gpu(driver: str | None, is_cuda_build: bool) -> _Row:
    if driver is None:
        fix = "to run on a GPU, install NVIDIA's driver; without, kernels for a named target can be compiled and read"
        return _Row("GPU", "absent", "no NVIDIA driver", fix)
    if not is_cuda_build:
        fix = "install torch's CUDA build, see https://pytorch.org/get-started/locally"
        return _Row("GPU", "absent", f"driver {driver}, but torch is built for CPUs alone", fix)
    return _Row("GPU", "absent", f"driver {driver}, but no GPU is visible", "see nvidia-smi, and CUDA_VISIBLE_DEVICES")


def _look_at_tvm_runtime() -> Iterable[_Row]:
    import torch
    import tvm_ffi

    import bitquant.build  # noqa: F401 - what it imports registers the runtimes

    if tvm_ffi.get_global_func("ffi.Module.create.cuda", allow_missing=True) is not None:
        yield _Row("TVM's CUDA runtime", "ok", "loaded")
    elif torch.cuda.is_available():  # Without a GPU it is of no use.
        fix = "needed to run on a GPU, not to compile: pip install --force-reinstall 'apache-tvm==0.27.*'"
        yield _Row("TVM's CUDA runtime", "absent", "not loaded", fix)


# Programs and folders.


def _look_at_cuda_compiler() -> Iterable[_Row]:
    from bitquant.compiler import cuda_compiler

    compiler = cuda_compiler()
    program = f" ({compiler.path})" if compiler.path else ""
    yield _Row("CUDA compiler", "ok", f"{compiler.name}{program}, headers in {', '.join(compiler.include_dirs)}")


def _look_at_disassembler() -> Iterable[_Row]:
    from bitquant.compiler import find_disassembler

    if path := find_disassembler():
        yield _Row("disassembler", "ok", path)
    else:
        fix = "needed for `inspect --stage sass` alone: put nvdisasm or cuobjdump of a CUDA toolkit on PATH"
        yield _Row("disassembler", "absent", "neither nvdisasm nor cuobjdump", fix)


def _look_at_linker() -> Iterable[_Row]:
    from bitquant.compiler import find_linker

    if path := find_linker():
        yield _Row("linker", "ok", path)
    else:
        fix = "needed to keep kernels on disk and to export them: put cc, gcc, clang or ld on PATH"
        yield _Row("linker", "absent", "no cc, gcc, clang or ld", fix)


def _look_at_cache() -> Iterable[_Row]:
    from bitquant.cache import KernelCache, is_enabled

    kernels = KernelCache()
    entries = kernels.entries()
    found = (
        f"{kernels.directory}, {len(entries)} entries, {format_bytes(sum(e.size_bytes for e in entries))} "
        f"of at most {format_bytes(kernels.limit_bytes)}"
    )
    if not is_enabled():
        yield _Row("cache", "absent", f"{found}, switched off", "unset BITQUANT_CACHE")
        return
    folder = kernels.directory
    while not folder.exists():  # The first write creates what is missing.
        folder = folder.parent
    if os.access(folder, os.W_OK | os.X_OK) and folder.is_dir():
        yield _Row("cache", "ok", found)
    else:
        yield _Row("cache", "absent", f"{found}, cannot be written", "set BITQUANT_CACHE_DIR to a writable folder")


# The proof.

_PROOF = "matmul on "


def _multiply(device: str) -> str:
    """Compile a small multiplication without the cache, run it and check it; return what came of it."""
    from bitquant.config import MatmulConfig
    from bitquant.matmul import Matmul
    from bitquant.schedule.rules import default_rules
    from bitquant.testing.check import check_call

    config = MatmulConfig(M=(1, 16), N=64, K=128, W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True)
    begin = time.perf_counter()
    operator = Matmul(config, target=device, rules=default_rules())  # Rules of one's own bypass the cache.
    seconds = time.perf_counter() - begin
    error = max(check_call(operator, m, device) for m in (1, 5))
    return f"{config} is right, relative error {error:.1e}; compiled in {seconds:.1f} s"


def _multiply_on_cpu() -> Iterable[_Row]:
    yield _Row(f"{_PROOF}the CPU", "ok", _multiply("cpu"))


def _multiply_on_gpu() -> Iterable[_Row]:
    import torch

    if not torch.cuda.is_available():
        return
    try:
        yield _Row(f"{_PROOF}the GPU", "ok", _multiply("cuda"))
    except UnsupportedError as error:
        yield _Row(f"{_PROOF}the GPU", "absent", str(error))


_REINSTALL = "pip install --force-reinstall bitquant"

_PROBES = (
    _Probe("python", _look_at_python, is_essential=True),
    _Probe("numpy", _look_at_numpy, is_essential=True, fix="pip install numpy"),
    _Probe("torch", _look_at_torch, is_essential=True, fix="pip install torch"),
    _Probe("tvm", _look_at_tvm, is_essential=True, fix="pip install 'apache-tvm==0.27.*'"),
    _Probe("CPU", _look_at_cpu),
    _Probe("GPU", _look_at_gpus),
    _Probe("TVM's CUDA runtime", _look_at_tvm_runtime),
    _Probe(
        "CUDA compiler",
        _look_at_cuda_compiler,
        fix="needed for CUDA targets: pip install 'bitquant[cuda]', or install a CUDA toolkit and set CUDA_PATH",
    ),
    _Probe("disassembler", _look_at_disassembler),
    _Probe("linker", _look_at_linker),
    _Probe("cache", _look_at_cache, fix="set BITQUANT_CACHE_DIR to a writable folder"),
    _Probe(f"{_PROOF}the CPU", _multiply_on_cpu, is_essential=True, fix=_REINSTALL),
    _Probe(f"{_PROOF}the GPU", _multiply_on_gpu, is_essential=True, fix=_REINSTALL),
)
