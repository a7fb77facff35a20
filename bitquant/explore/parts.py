# SPDX-License-Identifier: Apache-2.0
"""Which part of the computation a line belongs to: B_decode, C, D, or the ring that brings the operands.

A line that says it itself, by an instruction or a name of what it computes, decides. Lines that say nothing follow the
one before in the same block, where text is indented. In PTX and SASS the line of CUDA C++ that an instruction comes
from decides first.
"""

from __future__ import annotations

import re

__all__ = ["PARTS", "parts_of"]

#: The parts, with what they do, in the order of the computation.
PARTS = {
    "ring": "the ring: copies of A, W and scales, and the barriers that wait for them",
    "B_decode": "B_decode: codes become values; scale and zero point",
    "C": "C: products and their sums",
    "D": "D: epilogue; sums meet, are converted and stored",
}

_RING, _DECODE, _PRODUCT, _STORE = PARTS


def _patterns(**by_part: str) -> list[tuple[str, re.Pattern[str]]]:
    return [(part, re.compile(pattern)) for part, pattern in by_part.items()]


#: By stage: what tells that a line belongs to a part; the first that matches decides.
_TELLS = {
    "te": _patterns(D=r"^D = ", C=r"^C = ", B_decode=r"^B_decode = "),
    "tir": _patterns(D=r'sblock\("D"\)', C=r'sblock\("C"\)', B_decode=r'sblock\("B_decode"\)'),
    "scheduled": _patterns(
        D=r'sblock\("D\w*"\)|ptx\.stmatrix|"st".*"global"|ptx\.st\(.*"(shared|global)"|ptx\.mapa|^\s*D\w*\[.* = ',
        C=r'ptx\.mma|ptx\.wgmma|"mma|sblock\("C\w*"\)|llvm\.fm|ldmatrix|^\s*(?:C|dot|total|C_sum)(?:_\d+)?\[.* = ',
        ring=r"ptx\.(mbarrier|cp|fence|griddepcontrol|barrier|bar\b|setmaxnreg)|mbarrier_wait|cp_async|ptx\.ld\(.*\"(global|shared)\"",
        B_decode=r'sblock\("B_decode\w*"\)|prmt|byte_perm|lop3|decode|Scale|Zeros|bitwise_and|shift_right|uint4|hsub2|hfma2',
    ),
    "cuda": _patterns(
        D=r"ptx_st_(global|shared)|ptx_stmatrix|ptx_mapa|^\s*D_\w+\[?.* = |\bD_words",
        C=r"ptx_(mma|wgmma|ldmatrix)|\bacc\w*\[\d+\] = (?!0)",
        ring=r"ptx_(mbarrier|cp_async|fence|griddepcontrol|barrier_cluster|bar_sync|setmaxnreg|ld_)|mbarrier_wait|\bcta_sync|cuda_cta_sync|__syncthreads",
        B_decode=r"\bdecoded|\bcodes|\bleft\w*\[|\bright\w*\[|ptx_(prmt|lop3)|__byte_perm|\bscale|\bzero|\btotal\w*\[",
    ),
    "ptx": _patterns(
        D=r"\b(st\.global|st\.shared|stmatrix|mapa)\b",
        C=r"\b(wgmma|mma|ldmatrix)\.",
        ring=r"\b(mbarrier|cp\.async|fence|griddepcontrol|barrier|bar|setmaxnreg|ld\.global|ld\.shared)\b",
        B_decode=r"\b(prmt|lop3|cvt\.f32\.f16|and\.b32|shr\.u32)\b",
    ),
    "sass": _patterns(
        D=r"\b(STG|STS|STSM|ST)\b",
        C=r"\b(HGMMA|IGMMA|QGMMA|HMMA|IMMA|LDSM)\b",
        ring=r"\b(LDG|LDGSTS|LDS|UBLKCP|UTMALDG|SYNCS|DEPBAR|LDGDEPBAR|BAR|ACQBULK|PREEXIT|FENCE|UCGABAR\w*|USETMAXREG|NANOSLEEP)\b",
        B_decode=r"\b(LOP3|PRMT|I2F\w*|HADD2|HFMA2|HMUL2)\b",
    ),
    "llvm": _patterns(
        D=r"\bfptrunc\b|store .*half|store .*bfloat",
        C=r"llvm\.(fma|fmuladd)|\bfadd\b|dpbf16ps|vpdpbusd|pmadd",
        B_decode=r"\b(fsub|fmul|lshr|uitofp|sitofp|fpext|shufflevector)\b|permps|permvar",
    ),
    "asm": _patterns(
        D=r"\bvcvtps2ph|\bvcvtneps2bf16",
        C=r"\bvfn?m(add|sub)|\bvaddps|\bvpdpbusd|\bvdpbf16ps|\bvpmadd",
        B_decode=r"\bv(sub|mul)ps|\bvps[rl][la]|\bvpand|\bvpmov[zs]x|\bvcvt(dq2ps|ph2ps)|\bvperm",
    ),
}  # fmt: skip
_INDENT = re.compile(r"\s*")
#: What declares a function, its attributes, or a variable, and belongs to no part.
_DECLARES = re.compile(r"^\s*(def |@|with T\.attr|T\.func_attr|extern |declare |T\.call_packed|\w+: T\.let)")
_VARIABLE = re.compile(r"^\s*(?:alignas\(\d+\) )?\w+ \w+(?:\[\d+\])?;$|^\s*\w+ = T\.alloc")
#: Stages whose text is indented by block: a line that says nothing follows one that stands as deep or less deep.
_INDENTED = frozenset(("te", "tir", "scheduled", "cuda"))


def parts_of(stage: str, lines: list[str], sources: list[str] | None = None) -> list[str]:
    """Return the part of each line; empty where it has none.

    Parameters
    ----------
    stage
        Name of the stage.
    lines
        Its lines.
    sources
        Of each line the part of the line that it was made from, where that is known; else empty.
    """
    tells = _TELLS[stage]
    result: list[str] = []
    current, depth = "", 0
    for index, line in enumerate(lines):
        text = line.strip()
        if not text:
            result.append("")
            continue
        here = _INDENT.match(line).end() if stage in _INDENTED else 0  # type: ignore[union-attr]  # it matches every line
        if _DECLARES.match(line):
            current = ""
            result.append("")
            continue
        if _VARIABLE.match(line):
            result.append("")
            continue
        told = (sources[index] if sources else "") or next((part for part, tell in tells if tell.search(line)), "")
        if told:
            current, depth = told, here
        elif here < depth or stage not in _INDENTED:
            current, depth = "", here
        if text.startswith(("//", "#")) and not told:
            result.append("")
        else:
            result.append(current)
    return result
