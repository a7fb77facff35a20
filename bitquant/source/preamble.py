# SPDX-License-Identifier: Apache-2.0
"""What TVM puts before every kernel, and people need not read."""

from __future__ import annotations

import re

__all__ = ["strip_preamble"]


def strip_preamble(source: str) -> str:
    """Return CUDA C++ without the types and macros that TVM puts before every kernel; whole where it has none.

    Of several programs (`bitquant.archive.join_programs`) each loses its own.
    """
    stripped = []
    for program in re.split(r"(?m)^(?=// ---- \w+ ----$)", source):
        heading, line_end, text = program.partition("\n") if program.startswith("// ----") else ("", "", program)
        preamble, end, kernels = text.partition("  #define ushort unsigned short\n#endif\n")
        if end:
            lines = preamble.count("\n") + end.count("\n")
            text = f"// {lines} lines of TVM's preamble are left out; --full prints them.\n{kernels}"
        stripped.append(heading + line_end + text)
    return "".join(stripped)
