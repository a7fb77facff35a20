# SPDX-License-Identifier: Apache-2.0
"""What stands above a kernel: the problem, how it is solved, the launch, and the map of shared memory."""

from __future__ import annotations

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
        found = [(name, number - offset) for name, offset, end, _ in self.memory if 0 < offset <= number < end]
        if len(found) != 1:
            return ""
        name, rest = found[0]
        return f"{PREFIX}{name} + {rest}" if rest else f"{PREFIX}{name}"

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
