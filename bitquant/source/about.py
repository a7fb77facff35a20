# SPDX-License-Identifier: Apache-2.0
"""What stands above a kernel: the problem, how it is solved, the launch, and the map of shared memory."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bitquant.source.lines import WIDTH

if TYPE_CHECKING:
    from bitquant.schedule.rules.contract import MemoryPart

__all__ = ["About"]

#: What the names of offsets begin with.
PREFIX = "SMEM_"
_LITERAL = re.compile(r"(\(uint\))?(\d+)")
_INDEXED = re.compile(r"(arena_ptr\[)(\d+)\]")
_MBARRIER_BYTES = 8
#: A number that is added to an address.
_ADDED = re.compile(r"(\d+)u?")
#: What addresses in shared memory are computed from.
_BASES = frozenset(("smem", "slot", "address", "arena_ptr"))


@dataclass(frozen=True)
class About:
    """What is known of a kernel beside its text.

    Attributes
    ----------
    paragraphs
        Lines of the comment, which are wrapped.
    launches
        Of each kernel its grid and block, by name.
    memory
        The parts of shared memory by offset; they may overlap.
    """

    paragraphs: Sequence[str] = ()
    launches: Mapping[str, str] = field(default_factory=dict)
    memory: Sequence[MemoryPart] = ()

    def head(self) -> str:
        """Return the comment, and the offsets as constants."""
        launches = [f"{name}: {launch}" for name, launch in self.launches.items()]
        paragraphs = [*self.paragraphs, *launches]
        lines = [
            line
            for paragraph in paragraphs
            for line in textwrap.wrap(paragraph, WIDTH, initial_indent="// ", subsequent_indent="//   ")
        ]
        if self.memory:
            lines += ["// Parts of shared memory, by offset in bytes.", "enum : int {"]
            width = max(len(f"{name} = {offset},") for name, offset, _, _ in self.memory)
            for name, offset, end, holds in self.memory:
                lines.append(f"  {PREFIX}{f'{name} = {offset},':{width}}  // to {end}: {holds}")
            lines.append("};")
        return "".join(f"{line}\n" for line in lines)

    def named(self, number: int) -> str:
        """Return an offset by the part that alone has it, as its name plus the rest; empty where none or several do."""
        found = [
            (part.name, number - part.offset, part.holds)
            for part in self.memory
            if 0 < part.offset <= number < part.end
        ]
        if len(found) != 1:
            return ""
        name, rest, holds = found[0]
        if not rest:
            return f"{PREFIX}{name}"
        is_barrier = holds.startswith("mbarriers") and rest % _MBARRIER_BYTES == 0
        return f"{PREFIX}{name} + " + (f"{_MBARRIER_BYTES} * {rest // _MBARRIER_BYTES}" if is_barrier else f"{rest}")

    def with_sums(self, tokens: list[str]) -> list[str]:
        """Return a readable expression with one number behind the name of an offset, where several were added."""
        if not any(token.startswith(PREFIX) for token in tokens):
            return tokens
        result: list[str] = []
        at = 0
        while at < len(tokens):
            end, total = at + 1, self._number(tokens[at]) if tokens[at].startswith(PREFIX) else None
            while total is not None and tokens[end : end + 1] == [" + "]:
                number = self._number(tokens[end + 1])
                if number is None or tokens[end + 2 : end + 3] in ([" * "], [" / "], [" % "]):
                    break
                end, total = end + 2, total + number
            name = self.named(total) if total is not None and end > at + 1 else ""
            result += [name] if name else tokens[at:end]
            at = end
        return result

    def _number(self, token: str) -> int | None:
        """Return the number that a token is, or the name of an offset; None for other tokens."""
        name, _, rest = token.removeprefix(PREFIX).partition(" + ")
        if name != token:
            offset = next((part.offset for part in self.memory if part.name == name), None)
            factors = [int(factor) for factor in rest.split(" * ") if factor]
            return None if offset is None else offset + (math.prod(factors) if factors else 0)
        return int(match[1]) if (match := _ADDED.fullmatch(token)) else None

    def with_names(self, tokens: list[str], names: Sequence[str]) -> list[str]:
        """Return tokens with the names of offsets, in place of the numbers that are added to an address.

        Parameters
        ----------
        tokens
            A statement or an expression.
        names
            The names in it, as they are printed.
        """
        if not self.memory or all(name.rstrip("0123456789").rstrip("_") not in _BASES for name in names):
            return tokens
        result = tokens
        for i, token in enumerate(tokens):
            if token.startswith("arena_ptr["):
                match = _INDEXED.fullmatch(token)
            else:
                match = _LITERAL.fullmatch(token) if i and tokens[i - 1] == " + " else None
            if match is None or not (name := self.named(int(match[2]))):
                continue
            if result is tokens:
                result = tokens.copy()
            result[i] = f"arena_ptr[{name}]" if token[0] == "a" else name
        return result
