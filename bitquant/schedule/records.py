# SPDX-License-Identifier: Apache-2.0
"""Records: which rule and hint were found best for a problem, and the measurement that says so.

A record file is JSON: the version of the format, then one record a line, sorted, so that a changed record is a changed
line. A folder of records holds ``<arch>/<device>/<op>-<A>-<W>.json``; only the files that can hold a problem are read.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bitquant.arch import gpu_arch
from bitquant.config import MatmulConfig
from bitquant.errors import BitquantError, RecordError
from bitquant.files import as_path, lock_folder, read_regular, write_whole
from bitquant.grouped_config import GroupedMatmulConfig, config_from_problem

__all__ = [
    "SCHEMA",
    "Record",
    "Records",
    "directories",
    "load_records",
    "problem_without_rows",
    "record_path",
    "records_for",
    "save_records",
    "shipped_directory",
]

#: Version of the file format, and those that are read. Fields of hints had other names in 1 (`Hint.former_names`).
SCHEMA, READ_SCHEMAS = 2, (1, 2)
#: A latency must be lower by this share to replace another: less is within the noise of a measurement.
NOISE = 0.01
#: Most bytes of a file of records, thousands of times what a line takes.
_LIMIT_BYTES = 64 << 20
#: Longest wait for another process that writes the same file, which takes it some milliseconds.
_LOCK_TIMEOUT_S = 60.0
#: Folders of the user's own records, in order of preference, as PATH lists folders; "off" (or "0", "false"): no records
#: at all, the shipped ones included.
ENVIRONMENT = "BITQUANT_SCHEDULES"


def problem_without_rows(config: MatmulConfig | GroupedMatmulConfig) -> dict[str, Any]:
    """Return what records and trials say of their problem: `MatmulConfig.problem` without M."""
    return {k: v for k, v in config.problem().items() if k != "M"}


@dataclass(frozen=True)
class Record:
    """A config, a hint, and the evidence for it.

    A record serves one rung: of a ladder, or as the static M.

    Attributes
    ----------
    problem
        `MatmulConfig.problem` without M.
    rung
        The most rows of a call.
    arch, device
        What it was measured on: the compiler's target, such as "sm_90a", and the product, such as "NVIDIA H200".
    rule, hint
        Name of the rule, and the fields of its hint.
    latency_us
        Median time of a call with `rung` rows (`bitquant.profiling`), in microseconds.
    floor_us
        What reading every operand and writing D once would take at the memory bandwidth of the architecture.
    provenance
        How it came about: versions, date, protocol, number of candidates. Not read back by anything but people.
    source
        The file that it was read from; None for one that was just made. Not part of the record itself.
    """

    problem: Mapping[str, Any]
    rung: int
    arch: str
    device: str
    rule: str
    hint: Mapping[str, Any]
    latency_us: float
    floor_us: float
    provenance: Mapping[str, Any] = field(default_factory=dict)
    source: Path | None = field(default=None, compare=False)

    @property
    def config(self) -> Any:
        """The problem, with the rung as its static M: a `MatmulConfig` or a `GroupedMatmulConfig`."""
        return config_from_problem({**self.problem, "M": self.rung})

    @property
    def key(self) -> tuple[str, int, str]:
        """What the record is looked up by: problem as canonical JSON, rung, architecture."""
        return _key(self.problem), self.rung, self.arch

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "source"}

    @classmethod
    def from_dict(cls, values: Any, source: Path | None = None) -> Record:
        """Return the record with these fields, checked as far as that needs no rule.

        Fields that a later version adds to the problem are filled in with their defaults.

        Raises
        ------
        RecordError
            If a field is missing, unknown, of another type, or the problem is no legal one. The message names the file
            and the field.
        """
        where = f"{source}: " if source else ""
        if not isinstance(values, dict):
            raise RecordError(f"{where}a record must be an object with the fields {', '.join(_TYPES)} (got {values!r})")
        what = f"{where}the record {_describe(values)}"
        if unknown := sorted(set(values) - set(_TYPES)):
            raise RecordError(f"{what} has an unknown field {unknown[0]!r}; its fields are {', '.join(_TYPES)}")
        if missing := [name for name in _TYPES if name not in values]:
            raise RecordError(f"{what} lacks the field {missing[0]!r}")
        for name, (types, wanted) in _TYPES.items():
            value = values[name]
            if isinstance(value, bool) or not isinstance(value, types):
                raise RecordError(f"{what}: field {name!r} must be {wanted} (got {value!r})", **{name: value})
        for name in ("rung", "latency_us", "floor_us"):
            if not 0 < values[name] < math.inf:
                raise RecordError(
                    f"{what}: field {name!r} must be above 0 (got {values[name]!r})", **{name: values[name]}
                )
        try:
            problem = problem_without_rows(config_from_problem({**values["problem"], "M": values["rung"]}))
        except (KeyError, TypeError, BitquantError) as error:
            raise RecordError(f"{what}: field 'problem' is no problem: {error}", problem=values["problem"]) from error
        return cls(**{**values, "problem": problem}, source=source)

    def __str__(self) -> str:
        return _describe(self.to_dict())


#: Field of a record in JSON: its Python types, and how to say them.
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "problem": ((dict,), "an object"),
    "rung": ((int,), "a whole number"),
    "arch": ((str,), "a string"),
    "device": ((str,), "a string"),
    "rule": ((str,), "a string"),
    "hint": ((dict,), "an object"),
    "latency_us": ((int, float), "a number"),
    "floor_us": ((int, float), "a number"),
    "provenance": ((dict,), "an object"),
}


def _describe(values: Mapping[str, Any]) -> str:
    """Return what a record is of in a few words; for messages, so whatever is in it."""
    problem = values.get("problem")
    problem = problem if isinstance(problem, Mapping) else {}
    shape = ", ".join(f"{k}={problem.get(k, '?')}" for k in ("N", "K"))
    if "num_experts" in problem:
        top_k = f", top {problem['top_k']}" if "top_k" in problem else ""
        shape = f"{shape}, {problem['num_experts']} experts, {problem.get('routing', '?')}{top_k}"
    formats = f"{problem.get('A_dtype', '?')} x {problem.get('W_dtype', '?')}"
    return f"m <= {values.get('rung', '?')}, {shape}, {formats} by rule {values.get('rule', '?')}"


def _key(problem: Mapping[str, Any]) -> str:
    """Return what tells problems apart: all but accum_dtype, a least precision that every kernel's sums have."""
    fields = {k: v for k, v in problem.items() if k != "accum_dtype"}
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


class Records:
    """A set of records, at most one for each problem, rung, architecture and device.

    Parameters
    ----------
    records
        Later ones replace earlier ones where they are faster (`add`).
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records: dict[tuple[str, int, str], dict[str, Record]] = {}
        for record in _all_of(records):
            self.add(record)

    def add(self, record: Record, replace: bool = False) -> bool:
        """Add a record, unless the one for the same problem, rung, architecture and device is as fast.

        Parameters
        ----------
        record
            The new one. It must be faster by more than 1 %, which is the noise of a measurement.
        replace
            Whether it comes in whatever its latency: the kernels have changed, say, and old measurements with them.

        Returns
        -------
        bool
            Whether it was taken.
        """
        devices = self._records.setdefault(record.key, {})
        old = devices.get(record.device)
        if old is not None and not replace and record.latency_us >= (1 - NOISE) * old.latency_us:
            return False
        devices[record.device] = record
        return True

    def find(
        self, config: MatmulConfig | GroupedMatmulConfig, rung: int, arch: str, device: str | None = None
    ) -> Record | None:
        """Return the record of this problem, whatever its accum_dtype, of exactly this rung and architecture, or None.

        Parameters
        ----------
        config
            The problem; its M does not matter.
        rung
            The rung, or static M.
        arch
            For example "sm_90a".
        device
            Product whose record is preferred; where it has none, the first in alphabetical order of all of `arch`.
        """
        devices = self._records.get((_key(problem_without_rows(config)), rung, arch), {})
        if device in devices:
            return devices[device]
        return devices[min(devices)] if devices else None

    def devices(self) -> set[str]:
        """Return the products that the records were measured on."""
        return {device for devices in self._records.values() for device in devices}

    def __iter__(self) -> Iterator[Record]:
        """Yield the records in the order of a file."""
        return iter(sorted((r for d in self._records.values() for r in d.values()), key=_order))

    def __len__(self) -> int:
        return sum(len(devices) for devices in self._records.values())


def _all_of(records: Iterable[Record]) -> list[Record]:
    """Return records as a list; RecordError where they are none."""
    try:
        found = list(records)
    except TypeError as error:
        raise RecordError(
            f"'records' must be Record objects, a Records, or the path of a file or folder (got {records!r:.80})",
            records=records,
        ) from error
    if other := [record for record in found if not isinstance(record, Record)]:
        raise RecordError(f"'records' must hold Record objects alone (got {other[0]!r:.80})", records=other[0])
    return found


def _order(record: Record) -> tuple[Any, ...]:
    p = record.problem
    return record.arch, record.device, p["N"], p["K"], _key(p), record.rung


# Files.


def record_path(config: MatmulConfig | GroupedMatmulConfig, arch: str, device: str) -> Path:
    """Return where a folder of records keeps a problem, ``<arch>/<device>/<op>-<A>-<W>.json``.

    The folder of a device is its name in lower case, with a dash for whatever is neither letter nor digit.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return Path(gpu_arch(arch).name) / slug / _file_name(config)


def _file_name(config: MatmulConfig | GroupedMatmulConfig) -> str:
    form = config.routing if isinstance(config, GroupedMatmulConfig) else config.layout
    return f"{config.operation}_{form}-{config.A_format.name}-{config.W_format.name}.json"


def load_records(path: str | Path) -> Records:
    """Return all records of a file, or of all files below a folder.

    Raises
    ------
    RecordError
        If a file cannot be read, or is malformed. The message names file and field.
    """
    path = as_path(path, "path", RecordError)
    if _is_folder(path):
        return Records(r for file in sorted(path.rglob("*.json")) for r in _read(file))
    return Records(_read(path))


def records_for(path: str | Path, config: MatmulConfig | GroupedMatmulConfig, arch: str) -> Records:
    """Return the records that may serve a problem: those of a file, or of the files of a folder for its formats.

    A file is read again only after it has changed. All callers share what is returned: it is for looking up.

    Raises
    ------
    RecordError
        If there is no such file or folder, or a file is malformed.
    """
    path = as_path(path, "records", RecordError)
    is_folder = _is_folder(path)
    files = sorted(path.glob(f"{arch}/*/{_file_name(config)}")) if is_folder else [path]
    return _records_of(tuple(_state(file) for file in files))


@functools.lru_cache(maxsize=64)
def _records_of(states: tuple[tuple[Path, int, int], ...]) -> Records:
    return Records(record for state in states for record in _parse(*state))


def _is_folder(path: Path) -> bool:
    try:
        is_folder = path.is_dir()
        if is_folder:
            with os.scandir(path):  # What cannot be listed would look as if it held nothing.
                pass
    except OSError as error:
        raise RecordError(f"{path!s:.200}: cannot be read: {error.strerror or error}", path=path) from error
    return is_folder


def _read(path: Path) -> tuple[Record, ...]:
    return _parse(*_state(path))


def _state(path: Path) -> tuple[Path, int, int]:
    """Return a file with its time and size, which say whether it has changed."""
    try:
        status = path.stat()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}", path=path) from error
    return path, status.st_mtime_ns, status.st_size


@functools.lru_cache(maxsize=64)
def _parse(path: Path, _mtime_ns: int, _size: int) -> tuple[Record, ...]:
    """Return the records of a file in the state that time and size name."""
    try:
        content = json.loads(read_regular(path, _LIMIT_BYTES)[0].decode())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror or error}", path=path) from error
    except (ValueError, RecursionError) as error:  # The latter where it is nested too deep.
        raise RecordError(f"{path}: is no JSON file: {error}", path=path) from error
    if not isinstance(content, dict) or "schema" not in content or not isinstance(content.get("records"), list):
        raise RecordError(f"{path}: must be an object with the fields 'schema' and 'records'", path=path)
    if content["schema"] not in READ_SCHEMAS:
        raise RecordError(
            f"{path}: field 'schema' must be 1 or {SCHEMA} (got {content['schema']!r}): another version of bitquant "
            "wrote it; tune again",
            path=path,
        )
    return tuple(Record.from_dict(values, path) for values in content["records"])


def save_records(records: Iterable[Record], directory: str | Path, replace: bool = False) -> list[Path]:
    """Merge records into the files of a folder; what other files and lines hold stays.

    Parameters
    ----------
    records
        What to write.
    directory
        The folder; made where it is missing.
    replace
        Whether they replace records that are as fast (`Records.add`).

    Returns
    -------
    list of Path
        The files that have changed.

    Raises
    ------
    RecordError
        If a file that is there is malformed; nothing of it is overwritten then. If a file or the lock of its folder
        cannot be had.
    """
    folder, by_file = as_path(directory, "directory", RecordError), dict[Path, list[Record]]()
    for record in _all_of(records):
        by_file.setdefault(folder / record_path(record.config, record.arch, record.device), []).append(record)
    return [path for path, new in sorted(by_file.items()) if _merge(path, new, replace)]


def _merge(path: Path, new: Iterable[Record], replace: bool) -> bool:
    """Merge records into a file, and return whether it has changed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock_folder(path.parent, _LOCK_TIMEOUT_S):
            merged = Records(_read(path) if path.exists() else ())
            if not sum(merged.add(record, replace) for record in new):
                return False
            write_whole(path, _text(merged).encode())
            return True
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be written: {error.strerror or error}; name a folder of your own", path=path
        ) from error


def _text(records: Iterable[Record]) -> str:
    lines = ",\n".join(json.dumps(r.to_dict(), sort_keys=True, separators=(",", ":")) for r in records)
    return f'{{\n"schema": {SCHEMA},\n"records": [\n{lines}\n]\n}}\n'


# Folders.


def shipped_directory() -> Path | None:
    """Return the folder of the records that come with bitquant: in the wheel, or in the checkout."""
    package = Path(__file__).parents[1]
    if (inside := package / "_schedules").is_dir():
        return inside
    beside = package.parent / "schedules"
    return beside if beside.is_dir() and (package.parent / "pyproject.toml").is_file() else None


def directories() -> tuple[list[Path], Path | None]:
    """Return the user's folders, from BITQUANT_SCHEDULES, in order of preference; and the folder of shipped records.

    Raises
    ------
    RecordError
        If a folder of BITQUANT_SCHEDULES does not exist.
    """
    value = os.environ.get(ENVIRONMENT, "").strip()
    if value.lower() in ("off", "0", "false"):
        return [], None
    own = [Path(part) for part in value.split(os.pathsep) if part]
    try:
        missing = next((path for path in own if not path.exists()), None)
    except OSError as error:
        raise RecordError(f"{ENVIRONMENT} names no folders: {error!s:.200}; unset {ENVIRONMENT}") from error
    if missing:
        raise RecordError(f"{ENVIRONMENT} names {missing}, which does not exist; make it, or unset {ENVIRONMENT}")
    return own, shipped_directory()
