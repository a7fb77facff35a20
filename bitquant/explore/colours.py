# SPDX-License-Identifier: Apache-2.0
"""Colours of the stages' text.

pygments, which the command line uses, takes over a second for the stages of one kernel, as long as its compilation.
The page needs to tell comments, strings, numbers and keywords apart, and no more: one expression a language.
"""

from __future__ import annotations

import html
import re

__all__ = ["coloured"]

_PYTHON = r"def|for|in|with|if|else|elif|while|return|import|from|as|lambda|class|True|False|None"
_CUDA = (
    r"extern|__global__|__device__|__forceinline__|__launch_bounds__|asm|volatile|void|int|uint|float|half|bool|const|"
    r"unsigned|ushort|uchar|uint32_t|int32_t|uint64_t|int64_t|nv_bfloat16|alignas|for|if|else|while|return"
)
_LLVM = (
    r"define|declare|br|ret|label|phi|load|store|getelementptr|inbounds|call|tail|icmp|fcmp|select|add|sub|mul|fadd|"
    r"fmul|i\d+|float|half|ptr|x|align|nuw|nsw|to|true|false|undef|poison|zeroinitializer|constant|private|global"
)
_NUMBER = r"\b(?:0[xfFdD][0-9a-fA-F]+|\d+(?:\.\d+)?(?:e[-+]?\d+)?)[uUfFlL]*\b"
_STRING = r'"[^"\n]*"'


def _language(comment: str, keyword: str) -> re.Pattern[str]:
    return re.compile(rf"(?P<c>{comment})|(?P<s>{_STRING})|(?P<k>{keyword})|(?P<m>{_NUMBER})")


_LANGUAGES = {
    "python": _language(r"\#.*", rf"\b(?:{_PYTHON})\b"),
    "cuda": _language(r"//.*|^\s*\#\w+", rf"\b(?:{_CUDA})\b"),
    "ptx": _language(r"//.*", r"(?:(?<=\t)|^)(?:@!?%?\w+\s+)?[a-z][\w.:]*(?=\s|;)|(?<![\w%])\.[a-z]\w*"),
    "sass": _language(r"/\*.*?\*/|//.*", r"\b[A-Z][A-Z0-9]+(?:\.[A-Z0-9_.]+)?(?=[\s;])"),
    "llvm": _language(r";.*", rf"\b(?:{_LLVM})\b"),
    "asm": _language(r"\#.*", r"(?:(?<=\t)|^)[a-z.][\w.]*(?=\s|$)"),
}


def coloured(line: str, language: str) -> str:
    """Return a line as HTML: ``<b>`` a keyword, ``<i>`` a comment, ``<u>`` a number, ``<s>`` a string."""
    parts: list[str] = []
    at = 0
    for match in _LANGUAGES[language].finditer(line):
        tag = _TAGS[match.lastgroup or ""]
        parts += [
            html.escape(line[at : match.start()], quote=False),
            f"<{tag}>",
            html.escape(match[0], quote=False),
            f"</{tag}>",
        ]
        at = match.end()
    parts.append(html.escape(line[at:], quote=False))
    return "".join(parts)


#: Short names of elements: there are ten thousands of them. The style sheet takes their own looks away.
_TAGS = {"c": "i", "s": "s", "k": "b", "m": "u"}
