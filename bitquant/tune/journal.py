# SPDX-License-Identifier: Apache-2.0
"""The journal of a search: every trial as it is done, so that none is done twice after an interrupt.

One file for a problem and a device, JSON lines, written at the end alone. The first line says what it is of; each other
one is a trial (`Trial.to_dict`), of which the last one of a candidate counts, or the end of a rung's search. Everything
that decides a kernel or its time is part of the file's name: problem, layout of the weight, target, device, versions of
bitquant's own source, of the compilers and of the driver. So what another version has measured is never read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitquant import cache
from bitquant.config import MatmulConfig
from bitquant.errors import RecordError
from bitquant.files import as_path
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.schedule.rules.contract import Rule
from bitquant.tune.search import Finished
from bitquant.tune.trial import Trial

__all__ = ["Journal", "default_folder"]

SCHEMA = 1


def default_folder() -> Path | None:
    """Return the folder of journals beside the cached kernels; None where the cache is off."""
    return cache.cache_dir() / "tuning" if cache.is_enabled() else None


class Journal:
    """The trials of one problem on one device.

    Parameters
    ----------
    folder
        Where journals lie; made where it is missing.
    config
        The problem.
    made_by
        What else decides kernels and times, ready for JSON.

    Raises
    ------
    RecordError
        If the file cannot be read or written, or a line is no line of a journal.
    """

    def __init__(
        self, folder: str | Path, config: MatmulConfig | GroupedMatmulConfig, made_by: Mapping[str, Any]
    ) -> None:
        header = {"schema": SCHEMA, "problem": config.problem(), **made_by}
        digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:12]
        device = re.sub(r"[^a-z0-9]+", "-", str(made_by["device"]).lower()).strip("-")
        name = f"{device}-{config.N}x{config.K}-{config.A_format.name}-{config.W_format.name}-{digest}.jsonl"
        self.path = as_path(folder, "journal", RecordError) / name
        self._lock = threading.Lock()
        self._lines = self._read(header)

    def _read(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            content = self.path.read_bytes() if self.path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):  # A line that was cut by the death of its writer.
                os.truncate(self.path, len(whole))
            if not whole:
                self._write(header)
        except OSError as error:
            raise RecordError(
                f"{self.path}: the journal cannot be used ({error.strerror or error}); name another folder",
                path=self.path,
            ) from error
        lines = []
        for number, line in enumerate(whole.decode(errors="replace").splitlines(), 1):
            try:
                fields = json.loads(line)
                known = {"schema"} if number == 1 else {"rung"}
                if not isinstance(fields, dict) or not known <= set(fields):
                    raise ValueError(f"needs the field {known.pop()!r}")  # noqa: TRY301
            except ValueError as error:
                raise RecordError(
                    f"{self.path}, line {number}: is no line of a journal ({error}); remove the file", path=self.path
                ) from error
            lines.append(fields)
        return lines[1:]

    def _write(self, fields: Mapping[str, Any]) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.write(descriptor, json.dumps(fields, sort_keys=True).encode() + b"\n")
        finally:
            os.close(descriptor)

    def add(self, fields: Mapping[str, Any]) -> None:
        """Write a line: of a trial, or of the end of a search.

        Raises
        ------
        RecordError
            If it cannot be written.
        """
        try:
            with self._lock:
                self._write(fields)
        except OSError as error:
            raise RecordError(
                f"{self.path}: the journal cannot be written ({error.strerror or error})", path=self.path
            ) from error

    def trials(self, rung: int, rules: Sequence[Rule]) -> list[Trial]:
        """Return the trials of a rung in the order in which they were first done.

        Raises
        ------
        RecordError
            If one is none of `rules`.
        """
        found: dict[Any, Trial] = {}
        is_over = False
        for fields in self._lines:
            if fields["rung"] != rung:
                continue
            if "reason" in fields:
                is_over = True
                continue
            if is_over:  # A longer search goes on from here, and times its best anew.
                found = {key: replace(trial, is_final=False) for key, trial in found.items()}
                is_over = False
            try:
                trial = Trial.from_dict(fields, rules)
            except RecordError as error:
                raise RecordError(f"{self.path}: {error}; remove the file", path=self.path) from error
            found[trial.candidate.key] = trial
        return list(found.values())

    def finished(self, rung: int, topk: int) -> Finished | None:
        """Return the end of a search of as many trials or more; None where there was none, or not of its trials."""
        found = [Finished(**fields) for fields in self._lines if fields["rung"] == rung and "reason" in fields]
        return next((end for end in reversed(found) if end.topk >= topk), None)
