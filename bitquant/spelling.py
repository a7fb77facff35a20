# SPDX-License-Identifier: Apache-2.0
"""What a name that is not understood may have meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

__all__ = ["did_you_mean"]

#: A number of bits and no type: 4, 4bit, 4-bit, 4 bits, w4, q4, b4.
_BITS = re.compile(r"[wqb]?(\d{1,2})[-_ ]?(?:b|bit|bits)?")
#: What torch and C++ call these types.
_WORDS = {"half": "float16", "single": "float32", "float": "float32"}


def did_you_mean(name: str, allowed: Iterable[str], aliases: Mapping[str, str]) -> str:
    """Return the end of an error on a number format, such as "; did you mean 'uint4'?", or nothing.

    Parameters
    ----------
    name
        What was written. A number of bits alone stands for both integers of that width.
    allowed
        Names that are understood.
    aliases
        Other spellings, each with its name.
    """
    names = list(allowed)
    written = name[:80].strip().lower()
    meant = []
    if match := _BITS.fullmatch(written):
        meant = [whole for whole in (f"int{match[1]}", f"uint{match[1]}") if whole in names]
    if not meant:
        near = difflib.get_close_matches(_WORDS.get(written, written), [*names, *aliases], n=1, cutoff=0.5)
        meant = [found for found in (aliases.get(word, word) for word in near) if found in names]
    return f"; did you mean {' or '.join(map(repr, meant))}?" if meant else ""
