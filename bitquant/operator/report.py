# SPDX-License-Identifier: Apache-2.0
"""The report of an operator: its kernels, what they take of the GPU, and the memory traffic and FLOP of a call."""

from __future__ import annotations

from typing import Any

from tvm.target import Target

from bitquant.arch import GpuArch, target_gpu
from bitquant.archive import Archive
from bitquant.config import MatmulConfig
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.markup import Text, html_table
from bitquant.operands import GROUPED_OPERANDS, OPERANDS

__all__ = ["bytes_per_call", "facts", "floor_us", "flop", "report"]


def bytes_per_call(config: MatmulConfig | GroupedMatmulConfig, m: int, *, is_uniform: bool = False) -> int:
    """Return the least bytes that a call of `m` rows moves: every operand read once, D written once.

    Of a grouped call that is with rows of as many experts as there can be; with `is_uniform`, of as many as rows meet
    on average where all experts are equally likely.
    """
    if isinstance(config, MatmulConfig):
        return sum(operand.size_bytes(config, m) for operand in OPERANDS)
    met = config.expected_experts(m) if is_uniform else min(config.num_experts, m * (config.top_k or 1))
    total = 0.0
    for operand in GROUPED_OPERANDS:
        size = operand.size_bytes(config, m)
        total += size / config.num_experts * met if operand.rows == "W" else size
    return round(total)


def flop(config: MatmulConfig | GroupedMatmulConfig, m: int) -> int:
    """Return the operations of a call of `m` rows, a multiplication and an addition being two: 2 m N K of each slot."""
    top_k = config.top_k or 1 if isinstance(config, GroupedMatmulConfig) else 1
    return 2 * m * top_k * config.N * config.K


def floor_us(config: MatmulConfig | GroupedMatmulConfig, m: int, gpu: GpuArch, *, is_uniform: bool = False) -> float:
    """Return the least time of a call in microseconds: `bytes_per_call` over the bandwidth of the GPU's data sheet."""
    return bytes_per_call(config, m, is_uniform=is_uniform) / gpu.bandwidth_bytes_per_s * 1e6


def facts(config: MatmulConfig | GroupedMatmulConfig, archive: Archive) -> dict[str, Any]:
    """Return what `report` says as values that JSON can hold; sizes are in bytes, times in microseconds."""
    manifest = archive.manifest
    gpu = target_gpu(Target(manifest["target"])) if archive.programs else None
    kernels = []
    for name in dict.fromkeys(archive.symbols.values()):
        rungs = [r for r, s in archive.symbols.items() if s == name]
        choice = archive.choices[rungs[0]]
        resources = [r for kernel, r in archive.resources.items() if kernel.startswith(name + "_")]
        kernels.append({
            "name": name,
            "rungs": rungs,
            "rule": choice.rule,
            "hint": choice.hint,
            "origin": choice.origin,
            "refusals": choice.refusals,
            "resources": [
                {
                    "registers": r.registers,
                    "smem_bytes": r.smem_bytes + choice.smem_bytes,
                    "spill_bytes": r.spill_bytes,
                }
                for r in resources
            ],
        })  # fmt: skip
    calls = [
        {
            "m": m,
            "bytes": bytes_per_call(config, m),
            "flop": flop(config, m),
            "floor_us": None if gpu is None else floor_us(config, m, gpu),
        }
        for m in config.ladder
    ]
    return {
        "problem": config.problem(),
        "target": manifest["arch"],
        "weight_layout": manifest["weight_layout"],
        "kernels": kernels,
        "calls": calls,
        "floor_of": None if gpu is None else gpu.example,
        "bandwidth_bytes_per_s": None if gpu is None else gpu.bandwidth_bytes_per_s,
    }


def report(config: MatmulConfig | GroupedMatmulConfig, archive: Archive) -> Text:
    """Return one screen on how a problem is solved; a notebook shows it as tables.

    For each kernel: the rungs it serves, rule and hint, why other rules refused the first of them, registers, shared
    memory, spills; then bytes and operations a call, and the time that memory alone would take.
    """
    c, found = config, facts(config, archive)
    lines = [
        str(c),
        f"  {c.problem_summary()}",
        f"  target {found['target']}, weight layout {found['weight_layout']}",
        "",
    ]
    for kernel in found["kernels"]:
        rungs = kernel["rungs"]
        served = f"m == {rungs[0]}" if c.is_static else f"m <= {', '.join(map(str, rungs))}"
        more = " and more" if not c.is_static and rungs[-1] == c.ladder[-1] else ""
        lines.append(f"{kernel['name']}: {served}{more}")
        hint = ", ".join(f"{k}={v}" for k, v in kernel["hint"].items()) or "no hint"
        lines.append(f"  rule       {kernel['rule']} ({hint})")
        if kernel["origin"] != "default":
            lines.append(f"  from       {kernel['origin']}")
        lines += [f"  not {rule:<6} {reason}" for rule, reason in kernel["refusals"].items()]
        lines += [
            f"  kernel     {r['registers']} registers, {r['smem_bytes']} bytes shared memory, "
            f"{r['spill_bytes']} bytes spilled"
            for r in kernel["resources"]
        ]
    lines.append("")
    for call in found["calls"]:
        floor = ""
        if call["floor_us"] is not None:
            bandwidth = found["bandwidth_bytes_per_s"] / 1e12
            floor = f", floor {call['floor_us']:.1f} us at {bandwidth:.2f} TB/s ({found['floor_of']})"
        lines.append(f"m = {call['m']:<5} {call['bytes'] / 2**20:.2f} MiB, {call['flop'] / 1e9:.2f} GFLOP{floor}")
    return Text("\n".join(lines), _tables(config, found))


def _tables(config: MatmulConfig | GroupedMatmulConfig, found: dict[str, Any]) -> str:
    """Return what `report` says as tables in HTML."""
    kernels, refusals = [], []
    for kernel in found["kernels"]:
        hint = ", ".join(f"{k}={v}" for k, v in kernel["hint"].items())
        rungs = ", ".join(map(str, kernel["rungs"]))
        used = kernel["resources"] or [{"registers": "", "smem_bytes": "", "spill_bytes": ""}]
        kernels += [
            [kernel["name"], rungs, kernel["rule"], hint, kernel["origin"], *(r[k] for k in used[0])] for r in used
        ]
        refusals += [[kernel["name"], rule, reason] for rule, reason in kernel["refusals"].items()]
    calls = [
        [call["m"], f"{call['bytes'] / 2**20:.2f}", f"{call['flop'] / 1e9:.2f}"]
        + ([] if call["floor_us"] is None else [f"{call['floor_us']:.1f}"])
        for call in found["calls"]
    ]
    caption = f"{config}, {config.problem_summary()}, on {found['target']}, weight layout {found['weight_layout']}"
    headers = ["kernel", "m", "rule", "hint", "from", "registers", "shared memory, bytes", "spilled, bytes"]
    of_calls = ["m", "MiB", "GFLOP"] + ([] if found["floor_of"] is None else [f"floor, us ({found['floor_of']})"])
    tables = [html_table(headers, kernels, caption, headers[5:]), html_table(of_calls, calls, right=of_calls)]
    if refusals:
        tables.insert(1, html_table(["kernel", "rule", "why not"], refusals))
    return "".join(tables)
