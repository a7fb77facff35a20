# SPDX-License-Identifier: Apache-2.0
"""Tokens of the CUDA C++ that TVM prints, and what changes of them without changing what they mean.

TVM prints one statement a line, puts each binary operation in parentheses and blanks around its operator, and nothing
else has blanks around it. So tokens are few, and a line is the tokens' concatenation.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["NAME", "TYPE", "Unknown", "is_name", "names_in", "readable_literal", "tokenize", "without_parentheses"]


class Unknown(Exception):  # noqa: N818  it is caught here, and is no error to anybody
    """The text is not what TVM prints."""


_TYPES = (
    "void", "bool", "char", "signed char", "unsigned char", "uchar", "short", "ushort", "int", "uint", "unsigned int",
    "int64_t", "uint64_t", "long long", "unsigned long long", "float", "double", "half", "half2", "nv_bfloat16",
    "nv_bfloat162", "__nv_fp8_e4m3", "__nv_fp8_e5m2", "__nv_fp8_e8m0", "int2", "int4", "uint2", "uint4", "float2",
    "float4",
)  # fmt: skip
#: Matches a type.
TYPE = "|".join(sorted(_TYPES, key=len, reverse=True))
#: Matches a name, or a word of a type.
NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_INTEGER = r"-?\d+(?:ULL|LL|UL|L|U)?"
#: Frequent tokens first.
_TOKEN = re.compile(
    rf"(?<=\n)(?:alignas|#pragma|extern|//)[^\n]*|(?<=\n)(?:{TYPE}) (?=\w+ = )"  # Lines that are kept; types.
    r"|[A-Za-z_]\w*(?:\[\d+\])?"
    r"|, |\n| (?:<<|>>|[<>=!]=|&&|\|\||[-+*/%&|^<>=?:]) "
    rf"|\((?:uint|ushort|uchar|uint64_t)\){_INTEGER}(?![\w.])"
    rf"|\((?:{TYPE})(?: ?\*)?\)"
    r"|-?0x[\da-f]+(?:\.[\da-f]*)?p[+-]?\d+f?/\*[^*/]*\*/"
    r"|\d\w*|; |\+\+|[]()[{};&*!~.:-]| "
)

#: Precedence of binary operators in C++; more binds tighter.
_PRECEDENCE = {
    " ? ": 1, " : ": 1, " || ": 2, " && ": 3, " | ": 4, " ^ ": 5, " & ": 6, " == ": 7, " != ": 7, " < ": 8, " > ": 8,
    " <= ": 8, " >= ": 8, " << ": 9, " >> ": 9, " + ": 10, " - ": 10, " * ": 11, " / ": 11, " % ": 11,
}  # fmt: skip
_SUM, _PRODUCT, _UNARY, _ATOM = 10, 11, 12, 13
_BEFORE = frozenset(("(", "[", ", ", " = "))
_AFTER = frozenset((")", "]", ", ", ";", "; "))
_COMPARE = frozenset((" == ", " != ", " < ", " > ", " <= ", " >= "))
_SUMS = frozenset((" + ", " - "))
#: What may stand around a product or a sum that needs no parentheses there.
_BEFORE_PRODUCT, _AFTER_PRODUCT = _BEFORE | _SUMS | _COMPARE | {" ? ", " : "}, _AFTER | _SUMS | _COMPARE | {" : "}
_BEFORE_SUM, _AFTER_SUM = _BEFORE | _COMPARE | {" ? ", " : "}, _AFTER_PRODUCT
_ARITHMETIC = _SUMS | _COMPARE | {" * ", " / ", " % "}
#: From where an unsigned number is a pattern of bits; two equal halves, by which a half is doubled; a float's length.
_PATTERN, _PAIR, _FLOAT_DIGITS = 0x1000, 0x00010001, 12


def tokenize(text: str) -> list[str]:
    """Return the tokens of lines without indentation; raise `Unknown` where there is anything else."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        raise Unknown(text)
    return tokens


class _Memo(dict[str, Any]):
    """Remembers what a function says of tokens: the same ones come by the thousand, in every kernel."""

    def __init__(self, function: Callable[[str], Any]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, token: str) -> Any:
        if len(self) >= _MEMO_TOKENS:
            self.clear()
        self[token] = result = self._function(token)
        return result


#: Most tokens that are remembered; a kernel has some thousand different ones.
_MEMO_TOKENS = 1 << 16


def is_name(token: str) -> bool:
    """Return whether a token is a name, with or without a constant index."""
    return token[0].isalpha() or token[0] == "_"


_name_of = _Memo(lambda token: token.partition("[")[0] if is_name(token) else "")


def names_in(tokens: Iterable[str]) -> list[str]:
    """Return the names among tokens, without constant indices."""
    return list(filter(None, map(_name_of.__getitem__, tokens)))


_OPEN, _CLOSE, _OPEN_INDEX, _CLOSE_INDEX = -1, -2, -3, -4
_BRACKETS = {"(": _OPEN, ")": _CLOSE, "[": _OPEN_INDEX, "]": _CLOSE_INDEX}


def _level(token: str) -> int:
    """Return what a token is to parentheses: the precedence of an operator, 0 for operands, less for brackets."""
    if token in _BRACKETS:
        return _BRACKETS[token]
    is_unary = token in ("&", "*", "!", "~", "-") or (token[0] == "(" and token[-1] == ")")
    return _UNARY if is_unary else _PRECEDENCE.get(token, 0)


_level_of = _Memo(_level)


def without_parentheses(tokens: list[str]) -> list[str]:
    """Return an expression or statement without parentheses that change nothing.

    They stay around shifts, comparisons and bit operations inside of others, whose precedence few know by heart.
    """
    count = tokens.count("(")
    if count == 0 or (count == 1 and tokens[1] == "(" and is_name(tokens[0])):
        return tokens
    opened: list[tuple[int, int]] = []
    dropped: list[int] = []
    lowest = _ATOM  # The operator that binds least, of those outside of the parentheses within.
    last = len(tokens) - 1
    for i, level in [pair for pair in enumerate(map(_level_of.__getitem__, tokens)) if pair[1]]:
        if level > 0:
            if level < lowest:  # noqa: PLR1730  a call of min costs more
                lowest = level
        elif level in (_OPEN, _OPEN_INDEX):
            opened.append((i, lowest))
            lowest = _ATOM
        else:
            begin, outer = opened.pop() if opened else (0, 0)
            if tokens[begin] != ("(" if level == _CLOSE else "["):
                raise Unknown("".join(tokens))
            inner, lowest = lowest, outer
            if level == _CLOSE:
                before = tokens[begin - 1] if begin else " = "
                if _is_free(inner, before, tokens[i + 1] if i < last else ";"):
                    dropped += (begin, i)
                    lowest = min(lowest, inner)
    if opened:
        raise Unknown("".join(tokens))
    if not dropped:
        return tokens
    kept = tokens.copy()
    for i in dropped:
        kept[i] = ""
    return [token for token in kept if token]


def _is_free(inner: int, before: str, after: str) -> bool:
    """Return whether parentheses around what has operators of precedence `inner` and more change nothing."""
    if is_name(before) or before in (")", "]", " "):  # Of a call, or of `if`.
        return False
    if inner == _ATOM:
        return True
    if before in _BEFORE and after in _AFTER:
        return True
    if inner == _UNARY:
        return before[0] == " " or before in _BEFORE
    if inner == _PRODUCT:
        return before in _BEFORE_PRODUCT and after in _AFTER_PRODUCT
    if inner == _SUM:
        return before in _BEFORE_SUM and after in _AFTER_SUM
    return False


#: Zeros as TVM prints them.
_ZEROS = frozenset(("(uint)0", "(uchar)0", "(ushort)0"))


def without_shifts_by_zero(tokens: list[str]) -> list[str]:
    """Return an expression or statement without shifts by nothing, and without zeros that are shifted and combined."""
    if _ZEROS.isdisjoint(tokens):
        return tokens
    result: list[str] = []
    for part in tokens:
        if part in _ZEROS and result and result[-1] in (" >> ", " << "):
            result.pop()
            continue
        result.append(part)
        if part == ")":
            for count, zero in ((6, [" | ", "(", "(uchar)0", " << "]), (4, [" | ", "(", "(uchar)0", ")"])):
                if result[-count:][:4] == zero:
                    del result[-count:]
    return result


def readable_literal(token: str, before: str, after: str, is_number: bool = False) -> str:
    """Return a literal as one reads it: patterns of bits in hexadecimal, floats in decimal.

    Parameters
    ----------
    token
        A literal: an integer under a cast, or a float.
    before, after
        The tokens around it. An unsigned number from 0x1000 on is a pattern, unless it is added, scaled or compared:
        then it is an offset, a count or a size.
    is_number
        That it is none in any case.
    """
    if token[0] == "(":
        kind, _, digits = token[1:].partition(")")
        number = int(digits.rstrip("UL"))
        if kind == "uint64_t":
            return f"0x{number:016x}ull" if number >= _PATTERN else token
        if number < 0:
            return token
        if kind != "uint":
            return f"({kind})0x{number:02x}" if number > 9 else token
        is_number |= number < _PATTERN or (number != _PAIR and (before in _ARITHMETIC or after in _ARITHMETIC))
        return f"{number}u" if is_number else f"0x{number:0{4 if number < 1 << 16 else 8}x}u"
    hexadecimal, _, rest = token.partition("/")
    if not rest or not hexadecimal.endswith("f"):
        return token
    value = float.fromhex(hexadecimal[:-1])
    text = repr(value)
    is_exact = struct.unpack("f", struct.pack("f", value))[0] == value
    return f"{text}f" if is_exact and len(text) <= _FLOAT_DIGITS and "e" not in text else token
