# SPDX-License-Identifier: Apache-2.0
"""The stages of a kernel's making, side by side: text, parts and links, from one compilation."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tvm.ir import IRModule
from tvm.target import Target

from bitquant.build import Listing, listing
from bitquant.compiler import CompiledCuda, disassemble, find_disassembler
from bitquant.compute.expressions import te_source
from bitquant.config import MatmulConfig
from bitquant.explore.links import (
    instruction_links,
    is_kernel,
    read_ptx,
    read_sass,
    statement_lines,
    with_wgmma,
)
from bitquant.explore.parts import parts_of
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.source.preamble import strip_preamble

__all__ = ["Stage", "make_stages"]

#: Notes for debuggers in LLVM IR and assembly, which nobody reads here.
_LLVM_NOTES = re.compile(r"(?:, !(?:dbg|tbaa|prof|noalias|alias\.scope) !\d+)+")
_ASM_NOTES = re.compile(r"\s*(?:\.loc|\.cfi_|\.Ltmp\d+:|\.file|\.ident|\.addrsig|#DEBUG_VALUE|\.Lfunc_)")


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    key, title
        Its name in code and for people.
    language
        What it is written in: "python", "cuda", "ptx", "sass", "llvm" or "asm".
    lines
        The text.
    parts
        Of each line the part of the computation (`parts_of`).
    links
        Of each line the line of the stage "cuda" that belongs to it, counted from 1; 0: none is known.
    note
        Where the links come from, or why there are none.
    """

    key: str
    title: str
    language: str
    lines: list[str]
    parts: list[str]
    links: list[int]
    note: str = ""


def make_stages(
    config: MatmulConfig | GroupedMatmulConfig, unscheduled: IRModule, scheduled: IRModule, target: Target
) -> tuple[list[Stage], Listing]:
    """Return all stages of one function, and what it was compiled to.

    Parameters
    ----------
    config
        The problem.
    unscheduled, scheduled
        One function each.
    target
        What it is compiled for.
    """
    built = listing(scheduled, target)
    stages = [
        _stage("te", "TE", "python", te_source(config, unscheduled).split("\n")),
        _stage("tir", "TIR", "python", _script(unscheduled)),
        _stage("scheduled", "Scheduled TIR", "python", _script(scheduled)),
    ]
    if built.compiled is None:
        return stages + _of_cpu(built), built
    of_gpu = _of_gpu(built.cuda_source, built.compiled)
    return [*stages[:2], _link_scheduled(stages[2], of_gpu[0]), *of_gpu], built


def _stage(key: str, title: str, language: str, lines: list[str], note: str = "") -> Stage:
    return Stage(key, title, language, lines, parts_of(key, lines), [0] * len(lines), note)


def _script(mod: IRModule) -> list[str]:
    return str(mod.script()).rstrip("\n").split("\n")


def _link_scheduled(scheduled: Stage, cuda: Stage) -> Stage:
    links = instruction_links(scheduled.lines, cuda.lines)
    if not any(links):
        return replace(scheduled, note="No lines are linked: its instructions are not those of CUDA C++ one by one.")
    parts = [cuda.parts[link - 1] if link else "" for link in links]
    note = "Linked by PTX instructions, whose order is that of CUDA C++."
    return replace(scheduled, links=links, parts=parts_of(scheduled.key, scheduled.lines, parts), note=note)


def _of_gpu(source: str, compiled: CompiledCuda) -> list[Stage]:
    shown = strip_preamble(source).replace("; --full prints them.", ".", 1).rstrip("\n").split("\n")
    # Line 1 stands for the lines that are left out.
    whole = source.rstrip("\n").split("\n")
    hidden = len(whole) - len(shown)
    begin = max(i for i, line in enumerate(whole, 1) if is_kernel(line))
    kernel_lines = range(begin, len(whole) + 1)
    cuda = _stage("cuda", "CUDA C++", "cuda", shown)
    # What a line above the kernel says is no part of the computation.
    first = begin - hidden - 1
    begins = statement_lines(shown)
    of_statement = [cuda.parts[line - 1] for line in begins]
    cuda = replace(
        cuda, parts=[""] * first + of_statement[first:], links=begins,
        note="The kernel stands below the functions for its instructions.",
    )  # fmt: skip

    def linked(key: str, title: str, text: tuple[list[str], list[int]], note: str) -> Stage:
        lines, links = text
        links = [begins[link - hidden - 1] if link else 0 for link in links]
        sources = [cuda.parts[link - 1] if link else "" for link in links]
        return Stage(key, title, key, lines, parts_of(key, lines, sources), links, note)

    stages = [cuda, linked("ptx", "PTX", read_ptx(compiled.ptx, kernel_lines), "Linked by the compiler's .loc.")]
    if (program := find_disassembler()) is not None:
        sass = disassemble(compiled.cubin, line_info=True)
        note = "Linked by the compiler's line table." if "nvdisasm" in program else "cuobjdump tells no lines."
        lines, links = read_sass(sass.rstrip("\n"), kernel_lines)
        stages.append(linked("sass", "SASS", (lines, with_wgmma(lines, links, whole)), note))
    return stages


def _of_cpu(built: Listing) -> list[Stage]:
    ir = _LLVM_NOTES.sub("", built.llvm_ir)
    llvm = [line for line in ir.rstrip("\n").split("\n") if not line.startswith("!")]
    asm = built.assembly.split('\t.section\t".debug', 1)[0].split("\t.section\t.debug", 1)[0]
    lines = [line for line in asm.rstrip("\n").split("\n") if not _ASM_NOTES.match(line)]
    note = "LLVM tells no lines of TIR: colours go by the kind of instruction."
    return [_stage("llvm", "LLVM IR", "llvm", llvm, note), _stage("asm", "Assembly", "asm", lines, note)]
