# SPDX-License-Identifier: Apache-2.0
"""Serialization of operators: exported files, pickles, and the canonical text of a problem in exported programs.

All three hold the problem, the target and what is planned for each rung. A file holds the kernels, too; for the others
they come from the cache of where they are read, or are compiled there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tvm.target import Target

from bitquant.arch import gpu_arch, gpu_name, resolve_target, target_gpu
from bitquant.archive import Archive
from bitquant.config import MatmulConfig
from bitquant.errors import BuildError, UnsupportedError
from bitquant.files import as_path
from bitquant.grouped_config import GroupedMatmulConfig, config_from_problem
from bitquant.layouts import WeightLayout, fragment_refusal
from bitquant.schedule import Plan

__all__ = ["Parts", "export_archive", "lenient_plan", "load_archive", "problem_parts", "problem_text", "target_name"]


class Parts(NamedTuple):
    """What an operator is made from."""

    config: Any
    target: Target
    layout: WeightLayout
    plan: Plan | None


def export_archive(archive: Archive, path: str | Path) -> None:
    """Write an archive to a file: all of it, or nothing.

    Raises
    ------
    UnsupportedError
        If the host code could not be linked because this machine has no linker.
    BuildError
        If the file cannot be written.
    """
    if archive.host_library is None:
        raise UnsupportedError("export needs a linker to make a library: put cc, gcc, clang or ld on PATH")
    file = as_path(path, "path", BuildError)
    if not file.parent.is_dir():
        raise BuildError(f"{file} cannot be written: there is no folder {file.parent}; make it, or name another")
    try:
        archive.save(file)
    except OSError as error:
        raise BuildError(f"{file} cannot be written: {error}") from error


def load_archive(path: str | Path) -> tuple[Archive, Parts]:
    """Return what `export_archive` wrote, and what it was made from.

    Raises
    ------
    BuildError
        If the file is not an exported operator.
    """
    archive = Archive.load(as_path(path, "path", BuildError))
    try:
        return archive, _parts_of(archive)
    except (TypeError, ValueError, KeyError) as error:
        raise BuildError(f"{path} was exported by another version of bitquant: {error}; export it again") from error


def _parts_of(archive: Archive) -> Parts:
    """Return what the operator of an archive was made from; ValueError, TypeError or KeyError where it was none."""
    problem, layout = archive.manifest["problem"], archive.manifest["weight_layout"]
    config = config_from_problem(problem)
    if config.problem() != problem:
        raise ValueError("the field 'problem' of its manifest is not spelt as bitquant spells it")
    one = config if isinstance(config, MatmulConfig) else config.matmul
    if layout == "fragment" and (reason := fragment_refusal(one)) is not None:
        raise ValueError(f"a weight in the fragment layout {reason}")
    for field, rungs in (("symbols", archive.symbols), ("choices", archive.choices)):
        if sorted(rungs) != list(config.ladder):
            raise ValueError(f"the field {field!r} of its manifest has other rungs than the problem")
    plan = Plan.from_choices(archive.choices)  # So `scheduled_mod` and pickles are of the kernels that run.
    return Parts(config, resolve_target(Target(archive.manifest["target"])), layout, plan)


def target_name(target: Target) -> str:
    """Return the name that makes a target again: an architecture, a product, or "cpu" for the CPU that is there."""
    if target.kind.name != "cuda":
        return "cpu"
    gpu = target_gpu(target)
    return str(target.arch) if gpu == gpu_arch(gpu.name) else gpu_name(gpu)


def lenient_plan(fields: Mapping[str, Any]) -> Plan:
    """Return the plan whose `to_dict` is `fields`; the default serves where this version's rules refuse a hint."""
    plan = Plan.from_dict(fields)
    planned = {rung: dataclasses.replace(p, is_required=False) for rung, p in plan.planned.items()}
    return Plan(planned, plan.refusals)


def problem_text(
    config: MatmulConfig | GroupedMatmulConfig, target: Target, layout: WeightLayout, plan: Plan | None
) -> str:
    """Return the problem as canonical JSON, from which `problem_parts` makes it again.

    Parameters
    ----------
    config, target, layout
        What is computed, for which architecture, and how the weight is stored.
    plan
        What was planned for it; None where that follows from the problem, as records that come with bitquant do.
    """
    fields: dict[str, Any] = {"problem": config.problem(), "target": target_name(target), "weight_layout": layout}
    if plan is not None:
        fields["plan"] = plan.to_dict()
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def problem_parts(text: str) -> Parts:
    """Return what a `problem_text` names.

    Raises
    ------
    BuildError
        If it names nothing that this version of bitquant can make.
    """
    try:
        fields = json.loads(text)
        config = config_from_problem(fields["problem"])
        plan = lenient_plan(fields["plan"]) if "plan" in fields else None
        return Parts(config, resolve_target(fields["target"]), fields["weight_layout"], plan)
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise BuildError(
            f"the program calls an operator that cannot be made again: {text[:200]} ({error}). Operators with rules "
            "of their own live in their process alone; a program of another version must be exported again"
        ) from error
