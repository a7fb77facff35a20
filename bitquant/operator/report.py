"""One screen on how a problem is solved, and what a call of it moves."""

from __future__ import annotations

from bitquant.arch import gpu_arch
from bitquant.archive import Archive
from bitquant.config import MatmulConfig
from bitquant.operands import OPERANDS

__all__ = ["bytes_per_call", "report"]


def bytes_per_call(config: MatmulConfig, m: int) -> int:
    """Return the least bytes that a call of `m` rows moves: every operand read once, D written once."""
    return sum(operand.size_bytes(config, m) for operand in OPERANDS)


def report(config: MatmulConfig, archive: Archive) -> str:
    """Return one screen on how a problem is solved.

    For each kernel: the rungs it serves, rule and hint, why other rules refused the first of them, registers, shared
    memory, spills; then bytes and operations a call, and the time that memory alone would take.
    """
    c, manifest = config, archive.manifest
    arch = manifest["arch"]
    lines = [str(c), f"  {c.problem_summary()}", f"  target {arch}, weight layout {manifest['weight_layout']}", ""]
    for name in dict.fromkeys(archive.symbols.values()):
        rungs = [r for r, s in archive.symbols.items() if s == name]
        choice = archive.choices[rungs[0]]
        served = f"m == {rungs[0]}" if c.is_static else f"m <= {', '.join(map(str, rungs))}"
        more = " and more" if not c.is_static and rungs[-1] == c.ladder[-1] else ""
        lines.append(f"{name}: {served}{more}")
        hint = ", ".join(f"{k}={v}" for k, v in choice.hint.items()) or "no hint"
        lines.append(f"  rule       {choice.rule} ({hint})")
        if choice.origin != "default":
            lines.append(f"  from       {choice.origin}")
        lines += [f"  not {rule:<6} {reason}" for rule, reason in choice.refusals.items()]
        for kernel, r in archive.resources.items():
            if kernel.startswith(name + "_"):
                smem_bytes = r.smem_bytes + choice.smem_bytes
                lines.append(
                    f"  kernel     {r.registers} registers, {smem_bytes} bytes shared memory, "
                    f"{r.spill_bytes} bytes spilled"
                )
    lines.append("")
    for m in c.ladder:
        moved, flop = bytes_per_call(c, m), 2 * m * c.N * c.K
        floor = ""
        if archive.programs:
            gpu = gpu_arch(arch)
            bandwidth = gpu.bandwidth_bytes_per_s
            floor = f", floor {moved / bandwidth * 1e6:.1f} us at {bandwidth / 1e12:.2f} TB/s ({gpu.example})"
        lines.append(f"m = {m:<5} {moved / 2**20:.2f} MiB, {flop / 1e9:.2f} GFLOP{floor}")
    return "\n".join(lines)
