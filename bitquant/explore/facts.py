# SPDX-License-Identifier: Apache-2.0
"""What is known of a kernel besides its text: resources, occupancy, hint, refusals, and the times that bound it."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from bitquant.arch import REGISTERS_PER_SM, RESERVED_SMEM_BYTES
from bitquant.arithmetic import ceil_div, round_up
from bitquant.compiler import KernelResources
from bitquant.operator.report import bytes_per_call, floor_us, flop
from bitquant.problem import Problem
from bitquant.schedule.apply import Choice
from bitquant.schedule.hint import Hint
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.tuned import Planned

__all__ = ["Occupancy", "Times", "glossary", "occupancy", "refusals", "times"]

_ENTRY = re.compile(r"^(\w+(?:, \w+)*)\n((?:[ \t]+\S.*\n?)+)", re.MULTILINE)


def glossary(hint_type: type[Hint]) -> dict[str, str]:
    """Return what each field of a hint is, from "Attributes" in the docstrings of its type and its bases."""
    result: dict[str, str] = {}
    for each in reversed(hint_type.__mro__):
        _, _, attributes = inspect.cleandoc(each.__doc__ or "").partition("Attributes\n----------\n")
        for names, meaning in _ENTRY.findall(attributes):
            result |= dict.fromkeys(names.split(", "), " ".join(meaning.split()))
    return result


@dataclass(frozen=True)
class Occupancy:
    """Blocks that are resident on a multiprocessor, as its limits allow.

    Attributes
    ----------
    blocks
        The least of the limits.
    by
        Blocks that each resource allows.
    warps, most_warps
        Warps of these blocks, and those that a multiprocessor holds.
    """

    blocks: int
    by: dict[str, int]
    warps: int
    most_warps: int


def occupancy(problem: Problem, resources: KernelResources, smem_bytes: int, threads: int) -> Occupancy:
    """Return how many blocks of a kernel fit a multiprocessor.

    Registers are given out to warps in units of 256 (CUDA C++ Programming Guide, compute capabilities).

    Parameters
    ----------
    problem
        Names the GPU.
    resources
        What the compiler reports.
    smem_bytes
        Dynamic shared memory of a block.
    threads
        Threads of a block.
    """
    gpu = problem.gpu
    warps = ceil_div(threads, 32)
    of_warp = round_up(resources.registers * 32, 256)
    by = {
        "registers": REGISTERS_PER_SM // of_warp // warps,
        "shared memory": gpu.smem_per_sm_bytes // (resources.smem_bytes + smem_bytes + RESERVED_SMEM_BYTES),
        "threads": gpu.threads_per_sm // threads,
    }
    blocks = min(by.values())
    return Occupancy(blocks, by, blocks * warps, gpu.threads_per_sm // 32)


def refusals(problem: Problem, choice: Choice, rules: tuple[Rule, ...]) -> list[tuple[str, str]]:
    """Return each rule but the chosen one, and those for CPUs on a GPU: why it refuses, or that it was not needed."""
    rows = []
    chosen = False
    for rule in rules:
        if rule.is_for_cpu and problem.is_cuda:
            continue
        if rule.name == choice.rule:
            chosen = True
            continue
        reason = choice.refusals.get(rule.name) or rule.refusal(problem)
        if reason is None:
            reason = (
                "would serve it; it is asked after the one that was taken"
                if chosen
                else "would serve it; a record names another"
            )
        rows.append((rule.name, reason))
    return [*((name, reason) for name, reason in choice.refusals.items() if name == "record"), *rows]


@dataclass(frozen=True)
class Times:
    """What bounds a call, and how long it is expected to take.

    Attributes
    ----------
    m
        Rows of A.
    nbytes, flop
        Least bytes, and operations.
    floor_us
        Bytes by the bandwidth of the data sheet; None on a CPU.
    predicted_us
        What the rule's model predicts; None without a model.
    record_us, record_device
        What a record's measurement says, and on which device; None without one.
    """

    m: int
    nbytes: int
    flop: int
    floor_us: float | None = None
    predicted_us: float | None = None
    record_us: float | None = None
    record_device: str = ""


def times(problem: Problem, predicted_us: float | None, planned: Planned | None) -> Times:
    """Return the times of a call of as many rows as the rung has."""
    config, m = problem.config, problem.rung
    floor = floor_us(config, m, problem.gpu) if problem.is_cuda else None
    record = planned.record if planned is not None else None
    return Times(
        m, bytes_per_call(config, m), flop(config, m), floor, predicted_us,
        record.latency_us if record is not None else None,
        record.device if record is not None else "",
    )  # fmt: skip
