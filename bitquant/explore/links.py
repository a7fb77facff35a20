# SPDX-License-Identifier: Apache-2.0
"""Which line of one stage a line of the next one was made from.

The compiler tells it of PTX and SASS (`LINE_INFO_FILE`). For the scheduled TIR it follows from the order of PTX
instructions, which TVM prints one by one.
"""

from __future__ import annotations

import re

from bitquant.compiler import LINE_INFO_FILE
from bitquant.source.lines import is_continued

__all__ = [
    "Linked",
    "instruction_links",
    "is_kernel",
    "read_ptx",
    "read_sass",
    "statement_lines",
    "with_wgmma",
]

#: What the definition of a kernel begins with.
KERNEL = 'extern "C" __global__'

#: Lines of a stage, and of each the line of CUDA C++ that it comes from, counted from 1; 0 where that is not known.
Linked = tuple[list[str], list[int]]

_FILE = re.compile(r'\s*\.file\s+(\d+)\s+"([^"]*)"')
_LOC = re.compile(r"\s*\.loc\s+(\d+)\s+(\d+)\s+\d+(?:.*\binlined_at\s+(\d+)\s+(\d+))?")
_SASS_LINE = re.compile(r'\s*//## File "([^"]*)", line (\d+)(?: inlined at "([^"]*)", line (\d+))?')
_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]+\*/")
_WARPGROUP_PRODUCT = re.compile(r"\b[HIQ]GMMA\b")
_TIR_CALL = re.compile(r"\bT\.ptx\.([a-z0-9]+)")
_CUDA_CALL = re.compile(r"\bptx_([a-z0-9]+?)_")


def is_kernel(line: str) -> bool:
    """Return whether the definition of a kernel begins on a line."""
    return line.startswith(KERNEL) and not line.endswith(";")


def statement_lines(cuda: list[str]) -> list[int]:
    """Return of each line of CUDA C++ the line, counted from 1, on which its statement begins."""
    result: list[int] = []
    for i, line in enumerate(cuda):
        result.append(result[-1] if i and is_continued(cuda[i - 1]) and line.startswith(" ") else i + 1)
    return result


def read_ptx(ptx: str, kernel_lines: range) -> Linked:
    """Return PTX without its notes for debuggers, and the line of the kernel that each line comes from.

    Parameters
    ----------
    ptx
        What was compiled with ``line_info``.
    kernel_lines
        The lines of the kernel's body: what stands in a function that is inlined counts for the line that calls it.
    """
    text = ptx.split("\n")
    ours = {m[1] for line in text if (m := _FILE.match(line)) and m[2].endswith(LINE_INFO_FILE)}
    lines: list[str] = []
    links: list[int] = []
    current = 0
    in_section = False
    for line in text:
        if in_section:
            in_section = not line.startswith(("\t}", "}"))
            continue
        if match := _LOC.match(line):
            file, number, at_file, at_number = match.groups()
            if at_file:
                file, number = at_file, at_number
            current = int(number) if file in ours and int(number) in kernel_lines else 0
        elif _FILE.match(line):
            continue
        elif line.lstrip().startswith(".section") and ".debug" in line:
            in_section = True
        else:
            is_code = line.startswith(("\t", "{", "mbarrier", "@")) and line.rstrip().endswith(";")
            lines.append(line)
            links.append(current if is_code and not line.lstrip().startswith(".") else 0)
    while lines and not lines[-1].strip():
        lines.pop()
        links.pop()
    return lines, links


def read_sass(sass: str, kernel_lines: range) -> Linked:
    """Return SASS without notes on lines, and the line of the kernel that each instruction comes from."""
    lines: list[str] = []
    links: list[int] = []
    current, is_new = 0, True
    for line in sass.split("\n"):
        if match := _SASS_LINE.match(line):
            # Of a chain of inlined functions the notes follow each other; the one in the kernel's body counts.
            if is_new:
                current, is_new = 0, False
            for file, number in ((match[1], match[2]), (match[3], match[4])):
                if file and file.endswith(LINE_INFO_FILE) and int(number) in kernel_lines:
                    current = int(number)
            continue
        is_new = True
        lines.append(line)
        links.append(current if _INSTRUCTION.match(line) else 0)
    return lines, links


def with_wgmma(lines: list[str], links: list[int], cuda: list[str]) -> list[int]:
    """Return the links of SASS with those of wgmma, for which ptxas 13.5 writes no line: it would be that before.

    They are volatile and keep their order, so the n-th is the n-th of CUDA C++ where both have as many; else none is
    linked.
    """
    here = [i for i, line in enumerate(lines) if _WARPGROUP_PRODUCT.search(line)]
    there = [j + 1 for j, line in enumerate(cuda) if line.lstrip().startswith("ptx_wgmma_mma_async")]
    links = [*links]
    for place, i in enumerate(here):
        links[i] = there[place] if len(here) == len(there) else 0
    return links


def instruction_links(scheduled: list[str], cuda: list[str]) -> list[int]:
    """Return of each line of the scheduled TIR the line of CUDA C++ that has the same PTX instruction, or 0.

    Both texts name instructions one by one in the order of the program. A kind of instruction, mma say, is linked where
    both have it as often: TVM neither unrolled a loop with it after scheduling nor removed a branch.

    Parameters
    ----------
    scheduled, cuda
        Lines of both; of CUDA C++ those of the kernel alone count.
    """
    kernels = (i for i, line in enumerate(cuda) if is_kernel(line))
    here, there = _by_kind(scheduled, 0, _TIR_CALL), _by_kind(cuda, next(kernels, len(cuda)) + 1, _CUDA_CALL)
    links = [0] * len(scheduled)
    for kind, places in here.items():
        if len(places) == len(there.get(kind, ())):
            for i, j in zip(places, there[kind], strict=True):
                links[i] = links[i] or j + 1
    return links


def _by_kind(lines: list[str], begin: int, call: re.Pattern[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, line in enumerate(lines[begin:], begin):
        for match in call.finditer(line):
            found.setdefault(match[1], []).append(i)
    return found
