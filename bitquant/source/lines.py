# SPDX-License-Identifier: Apache-2.0
"""Statements of more than a line, broken where they are read: between arguments, and before operators."""

from __future__ import annotations

import re

__all__ = ["WIDTH", "broken", "is_continued"]

#: Columns of a line.
WIDTH = 100
_INDENT = 4
_PLACES = re.compile(r"\w\(|[(\[]|[)\]]|, | (?:[-+*/%?:|&^]|<<|>>|&&|\|\|) ")
_ENDS = (";", "{", "}")


def broken(line: str) -> list[str]:
    """Return the lines of a statement, the first as it is indented; a statement that is short enough is one.

    Each line ends at the place that lies in the fewest brackets, of those that fit the last one.
    """
    if len(line) <= WIDTH:
        return [line]
    indent = len(line) - len(line.lstrip())
    depth = 0
    places: list[tuple[int, float]] = []  # Where a line may end, and the brackets around it.
    for match in _PLACES.finditer(line):
        part = match[0]
        if part[-1] in "([":
            depth += 1
            if len(part) > 1:
                places.append((match.end(), depth + 0.2))  # After a function's name, before operators.
        elif part in (")", "]"):
            depth -= 1
        else:
            is_comma = part == ", "
            places.append((match.end() if is_comma else match.start() + 1, depth if is_comma else depth + 0.4))
    lines, begin, prefix, first, count = [], 0, "", 0, len(places)
    while len(prefix) + len(line) - begin > WIDTH and first < count:
        limit = begin + WIDTH + 1 - len(prefix)
        best, lowest = first, places[first][1]
        for i in range(first + 1, count):
            at, level = places[i]
            if at > limit:
                break
            if level <= lowest:
                best, lowest = i, level
        end = places[best][0]
        lines.append(prefix + line[begin:end].rstrip())
        begin, prefix, first = end, " " * (indent + _INDENT), best + 1
    lines.append(prefix + line[begin:])
    return lines


def is_continued(line: str) -> bool:
    """Return whether a statement goes on after this line of a kernel's body."""
    text = line.strip()
    return bool(text) and not text.endswith(_ENDS) and not text.startswith(("//", "#"))
