# SPDX-License-Identifier: Apache-2.0
"""Measured kernels as data: what a model of time is learned from, and what a claim about one is checked on.

While kernels are measured, each is a line of JSON at the end of a *journal*, so that nothing is lost and nothing is
measured twice after an interrupt. A folder of trials holds Parquet files, some bytes a kernel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bitquant.config import MatmulConfig
from bitquant.errors import RecordError
from bitquant.files import as_path, write_whole

__all__ = ["Measurement", "append_to_journal", "read_journal", "read_trials", "write_trials"]

#: Version of the files, in the metadata of their schema.
SCHEMA = 1


@dataclass(frozen=True)
class Measurement:
    """One kernel: what it was made from, and how long it took.

    Attributes
    ----------
    problem
        `MatmulConfig.problem` without M.
    rung
        Rows of the calls that were timed; the kernel was made for exactly as many.
    device
        The product, such as "NVIDIA H200".
    target
        The TVM target, as text.
    rule, hint
        Name of the rule, and the fields of its hint.
    draw
        How the hint was drawn: "uniform" (from all that the rule considers), "mutated" (from the neighbors of such),
        "likely" (from the first that the analytical model names), "default" (the first).
    status
        "measured"; "wrong": its result is; "failed": it could not be built or run.
    latency_us
        Median time of a call, in microseconds; 0 where it was not measured.
    rounds
        In how many turns with others it was timed: 1 for a short sample alone.
    registers, spill_bytes, smem_bytes
        Of a thread, of a thread, and of a block, by the compiler and the hint.
    note
        What went wrong.
    """

    problem: Mapping[str, Any]
    rung: int
    device: str
    target: str
    rule: str
    hint: Mapping[str, Any]
    draw: str
    status: str
    latency_us: float = 0.0
    rounds: int = 1
    registers: int = 0
    spill_bytes: int = 0
    smem_bytes: int = 0
    note: str = ""

    @property
    def config(self) -> MatmulConfig:
        """The problem, for exactly `rung` rows."""
        return MatmulConfig.from_problem({**self.problem, "M": self.rung})

    @property
    def problem_key(self) -> tuple[str, str, int]:
        """What tells problems apart: device, config, rows."""
        return self.device, json.dumps(self.problem, sort_keys=True), self.rung

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What tells kernels apart."""
        return *self.problem_key, self.rule, json.dumps(self.hint, sort_keys=True)


def append_to_journal(path: str | Path, measurements: Iterable[Measurement]) -> None:
    """Add lines at the end of a journal, which is made where there is none."""
    path = as_path(path, "journal", RecordError)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for measurement in measurements:
            file.write(json.dumps(asdict(measurement), sort_keys=True) + "\n")


def read_journal(path: str | Path) -> list[Measurement]:
    """Return what a journal has; a last line that was cut is left out, and of a kernel the last one counts.

    Raises
    ------
    RecordError
        If another line is no measurement.
    """
    path = as_path(path, "journal", RecordError)
    found: dict[Any, Measurement] = {}
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = text.split("\n")
    for number, line in enumerate(lines[:-1], 1):  # The part behind the last newline is empty, or cut.
        try:
            measurement = Measurement(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise RecordError(f"{path}, line {number}: needs a measurement ({error})") from error
        found[measurement.key] = measurement
    return list(found.values())


def write_trials(measurements: Iterable[Measurement], path: str | Path) -> None:
    """Write a Parquet file, sorted by problem and hint; of a kernel the last one counts.

    Raises
    ------
    ImportError
        If pyarrow is not installed (the extra ``train``).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    unique = {m.key: m for m in measurements}
    ordered = [unique[key] for key in sorted(unique)]
    columns: dict[str, Any] = {}
    for field in fields(Measurement):
        values = [getattr(m, field.name) for m in ordered]
        if field.name in ("problem", "hint"):
            columns[field.name] = pa.array([json.dumps(v, sort_keys=True) for v in values], pa.string())
        elif field.name == "latency_us":
            columns[field.name] = pa.array([round(v, 3) for v in values], pa.float32())
        else:
            columns[field.name] = pa.array(values, pa.string() if field.type == "str" else pa.int32())
    table = pa.table(columns).replace_schema_metadata({"bitquant": str(SCHEMA)})
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", compression_level=19)
    write_whole(as_path(path, "path", RecordError), buffer.getvalue().to_pybytes())


def read_trials(folder: str | Path) -> Iterator[Measurement]:
    """Yield the measurements of a Parquet file, or of all in a folder, by the names of the files.

    Raises
    ------
    RecordError
        If a file is of another version, or is no file of trials.
    ImportError
        If pyarrow is not installed (the extra ``train``).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = as_path(folder, "trials", RecordError)
    for path in sorted(folder.rglob("*.parquet")) if folder.is_dir() else [folder]:
        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise RecordError(f"{path} is no file of trials ({error})") from error
        version = (table.schema.metadata or {}).get(b"bitquant")
        if version != str(SCHEMA).encode():
            raise RecordError(f"{path} needs version {SCHEMA} of trials (got {version!r})")
        for row in table.to_pylist():
            yield Measurement(**{**row, "problem": json.loads(row["problem"]), "hint": json.loads(row["hint"])})
