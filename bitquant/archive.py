# SPDX-License-Identifier: Apache-2.0
"""The archive that keeps a built operator, and loads it again.

An *archive* is one zip file: a manifest, the host code as a shared library, and for CUDA the machine code with its
sources. It is what the cache stores and what `Operator.export` writes. Loading it compiles nothing, and checks
everything that is not machine code: which members there are and how large, a digest of each, a digest of the manifest,
and that every field of the manifest is what a build writes. What machine code does cannot be checked; docs/SECURITY.md
says what that means.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import tvm
import tvm_ffi
from tvm.target import Target

from bitquant import workspace
from bitquant.arch import cpu_target, resolve_target
from bitquant.compiler import KernelResources
from bitquant.errors import BuildError, UnsupportedError
from bitquant.files import read_regular, scratch_folder, write_scratch, write_whole
from bitquant.layouts import WEIGHT_LAYOUTS
from bitquant.schedule.apply import Choice
from bitquant.versions import versions

__all__ = ["FORMAT", "Archive", "Program", "join_programs"]

#: Version of the archive's own format.
FORMAT = 4

_MANIFEST, _HOST_LIBRARY, _HOST_IR = "manifest.json", "host.so", "host.ll"
#: What a program's members are called after its symbol.
_CUBIN, _CUDA, _PTX = ".cubin", ".cu", ".ptx"
_MiB = 1 << 20
#: Most bytes of each member, some hundred times what the largest operators have; members of a program by their suffix.
_LIMITS_BYTES = {
    _MANIFEST: 4 * _MiB,
    _HOST_LIBRARY: 64 * _MiB,
    _HOST_IR: 64 * _MiB,
    _CUBIN: 64 * _MiB,
    _CUDA: 64 * _MiB,
    _PTX: 64 * _MiB,
}
#: Most bytes of all members together.
_LIMIT_BYTES = 512 * _MiB

#: Line above each of several programs where they are read as one text; a comment in CUDA C++ and PTX.
_HEADING = "// ---- {} ----"

#: Device code of this process, by a digest of it.
_device_modules: dict[str, tvm.runtime.Module] = {}


class Program(NamedTuple):
    """What a GPU runs of one function: a CUDA program, compiled by itself.

    Attributes
    ----------
    cubin
        Machine code.
    cuda_source, ptx
        What it was made from.
    """

    cubin: bytes
    cuda_source: str
    ptx: str


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
    programs
        The device code by symbol; empty for a CPU.
    """

    manifest: dict[str, Any]
    host_library: bytes | None
    host_ir: bytes | None
    programs: dict[str, Program]
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

    @property
    def cuda_source(self) -> str | None:
        """The CUDA C++ of all programs; None for a CPU."""
        return join_programs({name: program.cuda_source for name, program in self.programs.items()})

    @property
    def ptx(self) -> str | None:
        """The PTX of all programs; None for a CPU."""
        return join_programs({name: program.ptx for name, program in self.programs.items()})

    @property
    def uses_workspace(self) -> bool:
        """Whether a kernel asks for memory beside its operands (`bitquant.workspace`)."""
        return workspace.SUMS.encode() in (self.host_library or self.host_ir or b"")

    # Files.

    def to_bytes(self) -> bytes:
        """Return the archive as a file has it."""
        members = {
            _HOST_LIBRARY: self.host_library,
            _HOST_IR: self.host_ir if self.host_library is None else None,
        }
        for name, program in self.programs.items():
            members[name + _CUBIN] = program.cubin
            members[name + _CUDA] = program.cuda_source.encode()
            members[name + _PTX] = program.ptx.encode()
        present = {name: content for name, content in members.items() if content is not None}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in present.items()}
        manifest: dict[str, Any] = {**self.manifest, "members": digests}
        manifest["digest"] = _digest(manifest)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
            for name, content in present.items():
                archive.writestr(name, content)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "the archive") -> Archive:
        """Return the archive whose `to_bytes` is `content`.

        Parameters
        ----------
        content
            The file.
        name
            What errors call it.

        Raises
        ------
        BuildError
            If it is not an archive of this format, is damaged, or its manifest says what no build writes.
        """
        try:
            manifest, members = _checked(content)
            programs = {
                name: Program(members[name + _CUBIN], members[name + _CUDA].decode(), members[name + _PTX].decode())
                for name in manifest["kernels"]
            }
        except Exception as error:  # zipfile alone raises a dozen types on damaged files.
            raise BuildError(f"{name} is not an exported operator: {error!s:.500}") from error
        return cls(
            manifest={key: value for key, value in manifest.items() if key not in _OF_THE_FILE},
            host_library=members.get(_HOST_LIBRARY),
            host_ir=members.get(_HOST_IR),
            programs=programs,
        )

    def save(self, path: Path) -> None:
        """Write the archive, whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        write_whole(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Archive:
        """Read an archive.

        Raises
        ------
        BuildError
            As `from_bytes`, and if there is no such file.
        """
        try:
            content, _ = read_regular(path, _LIMIT_BYTES)
        except (OSError, ValueError) as error:  # A path with a NUL is a ValueError.
            raise BuildError(f"{path} is not an exported operator: {error}") from error
        return cls.from_bytes(content, str(path))

    # Running.

    def runtime_module(self) -> tvm.runtime.Module:
        """Return the module that holds one function a symbol, loaded into this process once.

        Raises
        ------
        UnsupportedError
            If the archive is for a GPU and TVM's CUDA runtime cannot be loaded here, or for another CPU.
        BuildError
            If the host code cannot be loaded, or lacks a function.
        """
        if self._module is None:
            self._module = self._load_module()
        return self._module

    def _load_module(self) -> tvm.runtime.Module:
        workspace.register()
        built, here = self.manifest["versions"], versions()
        if (built["os"], built["machine"]) != (here["os"], here["machine"]):
            raise UnsupportedError(
                f"this operator was built on {built['os']} {built['machine']} and does not run on "
                f"{here['os']} {here['machine']}; build it here"
            )
        if not self.programs:
            missing = sorted(set(self.manifest["cpu_features"]) - _cpu_features())
            if missing:
                raise UnsupportedError(
                    f"this operator was built for a CPU with {', '.join(missing)}, which this one lacks; build it here"
                )
        module = _load_host(self.host_library, self.host_ir)
        if self.programs:
            create = tvm_ffi.get_global_func("ffi.Module.create.cuda", allow_missing=True)
            if create is None:
                raise UnsupportedError(
                    f"a kernel for {self.manifest['arch']} needs a GPU with its driver, and none is visible; "
                    "it can be read and exported, but not run here"
                )
            for name in self.programs:
                module.import_module(self._device_module(name, create))
        try:
            for symbol in self.symbols.values():
                module.get_function(symbol)
        except AttributeError as error:
            raise BuildError(f"the host code of this operator is not that of its problem: {error}") from error
        return module

    def _device_module(self, name: str, create: Any) -> tvm.runtime.Module:
        """Return a program, loaded once a process and for its life: CUDA graphs hold kernels, not operators."""
        program = self.programs[name]
        key = hashlib.sha256(program.cubin).hexdigest()
        if key not in _device_modules:
            info = tvm_ffi.get_global_func("runtime.LoadMetaDataFromJSON")(json.dumps(self.manifest["kernels"][name]))
            _device_modules[key] = create(program.cubin, "cubin", info, {"cuda": program.cuda_source})
        return _device_modules[key]


def join_programs(texts: Mapping[str, str]) -> str | None:
    """Return the texts of programs as one, each headed by its name where there are several; None for none."""
    if len(texts) < 2:
        return next(iter(texts.values()), None)
    return "\n".join(f"{_HEADING.format(name)}\n{text}" for name, text in texts.items())


@functools.cache
def _cpu_features() -> frozenset[str]:
    return frozenset(str(f) for f in cpu_target().mattr)


def _load_host(library: bytes | None, ir: bytes | None) -> tvm.runtime.Module:
    """Load host code from memory. The file is gone once it is mapped; it is unmapped when nothing uses the module."""
    name, content = (_HOST_LIBRARY, library) if library is not None else (_HOST_IR, ir)
    if content is None:
        raise BuildError("the operator has no host code; build it again")
    with scratch_folder() as folder:
        write_scratch(folder / name, content)
        try:
            return tvm_ffi.load_module(folder / name, keep_module_alive=False)
        except Exception as error:
            raise BuildError(
                f"host code cannot be loaded from {folder}: {error}; the file is damaged, or TMPDIR forbids execution"
            ) from error


# What a file must be.


def _checked(content: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return manifest and members of an archive; an exception, mostly ValueError, where it is none."""
    members = _read_members(content)
    manifest = json.loads(members.pop(_MANIFEST, b"null"))
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if type(version) is int and version != FORMAT:
        raise ValueError(f"it has archive format {version}, and this version reads {FORMAT}; export it again")
    _check_digests(manifest, members)
    _check_manifest(manifest, members.keys())
    return manifest, members


def _read_members(content: bytes) -> dict[str, bytes]:
    """Return the members of a zip file; ValueError where there is one that an archive has not, or too large a one."""
    members: dict[str, bytes] = {}
    unpacked = 0
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for info in archive.infolist():
            limit = _LIMITS_BYTES.get(_kind_of(info.filename))
            if limit is None or info.filename in members:
                raise ValueError(f"it has a member {info.filename!r} too many")
            if info.file_size > limit:
                raise ValueError(f"{info.filename} has {info.file_size} bytes, more than {limit}")
            if (unpacked := unpacked + info.file_size) > _LIMIT_BYTES:
                raise ValueError(f"its members have more than {_LIMIT_BYTES} bytes together")
            members[info.filename] = archive.read(info)  # No more than `file_size`, whatever the stream holds.
    return members


def _kind_of(member: str) -> str:
    """Return under what a member's limit stands: its suffix for members of programs, else its name."""
    match = re.fullmatch(r"[A-Za-z_][0-9A-Za-z_]*(\.(?:cubin|cu|ptx))", member)
    return match[1] if match else member


def _digest(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 over a manifest, which names those of the members."""
    fields = {key: value for key, value in manifest.items() if key != "digest"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_digests(manifest: Any, members: Mapping[str, bytes]) -> None:
    """Raise ValueError unless manifest and members are those that were written together."""
    if not isinstance(manifest, dict) or not isinstance(manifest.get("members"), dict) or "digest" not in manifest:
        raise ValueError("parts of it are missing")
    if manifest["digest"] != _digest(manifest):
        raise ValueError("the digest of its manifest does not fit: it was changed after it was written")
    if manifest["members"].keys() != members.keys():
        raise ValueError("parts of it are missing")
    for name, content in members.items():
        if manifest["members"][name] != hashlib.sha256(content).hexdigest():
            raise ValueError(f"the digest of its {name} does not fit: the file is damaged")


def _is_int(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_][0-9A-Za-z_]*", value) is not None


def _is_rung(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"0|[1-9][0-9]{0,9}", value) is not None


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str)) or value is None


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _map_of(is_key: Callable[[Any], bool], check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(is_key(k) and check(v) for k, v in value.items())


def _fields(**checks: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return what checks an object with exactly these fields."""
    return lambda value: (
        isinstance(value, dict) and value.keys() == checks.keys() and all(c(value[k]) for k, c in checks.items())
    )


_is_choice = _fields(
    rule=_is_text,
    pipeline=lambda value: value in ("s_tir", "tirx"),
    hint=_map_of(_is_text, _is_scalar),
    smem_bytes=_is_int,
    refusals=_map_of(_is_text, _is_text),
    origin=_is_text,
)
_is_kernel = _fields(
    name=_is_name,
    arg_types=_list_of(lambda value: isinstance(value, str) and re.fullmatch(r"[a-z]+[0-9]*", value) is not None),
    launch_param_tags=_list_of(_is_text),
    arg_extra_tags=_list_of(_is_int),
)
_is_resources = _fields(registers=_is_int, smem_bytes=_is_int, spill_bytes=_is_int, stack_bytes=_is_int)

#: What belongs to the file, and not to what was built.
_OF_THE_FILE = frozenset({"members", "digest"})
#: Each field of a manifest, and what it must be.
_SCHEMA: dict[str, Callable[[Any], bool]] = {
    "format": lambda value: type(value) is int and value == FORMAT,
    "problem": lambda value: isinstance(value, dict),
    "weight_layout": lambda value: value in WEIGHT_LAYOUTS,
    "target": _is_text,
    "arch": _is_text,
    "cpu_features": _list_of(_is_text),
    "symbols": _map_of(_is_rung, _is_name),
    "choices": _map_of(_is_rung, _is_choice),
    "kernels": _map_of(_is_name, _fields(func_info=_map_of(_is_name, _is_kernel))),
    "resources": _map_of(_is_name, _is_resources),
    "versions": _map_of(_is_text, _is_text),
    "members": _map_of(_is_text, _is_text),
    "digest": _is_text,
}


def _check_manifest(manifest: dict[str, Any], members: Any) -> None:
    """Raise ValueError where a manifest says what no build writes, or what its members contradict."""
    if manifest.keys() != _SCHEMA.keys():
        wrong = min(manifest.keys() ^ _SCHEMA.keys())
        raise ValueError(f"the field {wrong!r} of its manifest is {'unknown' if wrong in manifest else 'missing'}")
    for name, is_right in _SCHEMA.items():
        if not is_right(manifest[name]):
            raise ValueError(
                f"the field {name!r} of its manifest is none that bitquant writes: {manifest[name]!r:.200}"
            )
    if not {"os", "machine"} <= manifest["versions"].keys():
        raise ValueError("the field 'versions' of its manifest names no machine")
    if not manifest["symbols"]:
        raise ValueError("the field 'symbols' of its manifest names no function")
    if not manifest["choices"].keys() <= manifest["symbols"].keys():
        raise ValueError("the field 'choices' of its manifest has rungs that no function serves")
    described = [item for program in manifest["kernels"].values() for item in program["func_info"].items()]
    if any(name != kernel["name"] for name, kernel in described):
        raise ValueError("the field 'kernels' of its manifest calls a kernel by two names")
    if len({_HOST_LIBRARY, _HOST_IR} & members) != 1:
        raise ValueError("parts of it are missing")
    _check_target(manifest, members)


def _check_target(manifest: dict[str, Any], members: Any) -> None:
    """Raise ValueError where the target is not what the other fields and the members are for."""
    try:
        target = resolve_target(Target(manifest["target"]))
    except Exception as error:
        raise ValueError(f"the field 'target' of its manifest is no target: {error!s:.200}") from error
    is_cuda = target.kind.name == "cuda"
    features = [] if is_cuda else sorted(str(f) for f in target.attrs.get("mattr", []))
    arch = str(target.arch) if is_cuda else target.kind.name
    for name, wanted in (("arch", arch), ("cpu_features", features)):
        if manifest[name] != wanted:
            raise ValueError(f"the fields 'target' and {name!r} of its manifest contradict each other")
    if not is_cuda and manifest["weight_layout"] != "plain":
        raise ValueError("the fields 'target' and 'weight_layout' of its manifest contradict each other")
    if not is_cuda and target.attrs.get("cl-opt"):
        raise ValueError("the field 'target' of its manifest has options for LLVM's command line")
    symbols = set(manifest["symbols"].values()) if is_cuda else set()
    if manifest["kernels"].keys() != symbols:
        raise ValueError(f"the fields 'symbols' and 'kernels' of its manifest are not those for {arch}")
    if members - {_HOST_LIBRARY, _HOST_IR} != {name + suffix for name in symbols for suffix in (_CUBIN, _CUDA, _PTX)}:
        raise ValueError(f"its members are not those for {arch}")
