# SPDX-License-Identifier: Apache-2.0
"""A kernel that TVM printed, as statements; and the functions before it, which are its instructions."""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass, field

from bitquant.source.text import TYPE, Unknown, names_in, tokenize

__all__ = ["Instruction", "Kernel", "Statement", "instructions"]

_ARRAY = re.compile(rf"(?:alignas\((\d+)\) )?({TYPE}) (\w+)\[(\d+)\];")
_RAW = re.compile(r"#pragma unroll(?: \d+)?|extern __shared__ [^;]*;|//.*")
#: A variable without a value.
_DECLARED = re.compile(rf"({TYPE}) \w+;")
_BRANCHES = frozenset(("if", "for", "while", "}"))
_INDENTATION = re.compile(r"\n +")
#: A function of one instruction: name, parameters, and its body.
_FUNCTION = re.compile(r"^[^\n]*\b(\w+)\(([^()\n]*)\) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_MNEMONIC = re.compile(r'asm volatile\("(?:\{ [^;]*; [^;]*; )?([a-z][\w.:]*)((?: \d+)?)')


@dataclass(slots=True)
class Statement:
    """One line of a kernel's body.

    Attributes
    ----------
    kind
        "array", "variable", "code" or "raw" (kept as it is).
    tokens
        What is assigned to a variable, ";" included; all of "code"; the line of "raw".
    names
        Those among the tokens, without constant indices.
    block
        Number of the block that it stands in.
    called, arguments
        The function that "code" is a call of, if it is one of those before the kernel, and the tokens of each argument.
    target
        The name that is assigned to; empty where there is none.
    type, name, size, align
        What is declared; a variable has no size.
    comment
        The line above it.
    """

    kind: str
    tokens: list[str]
    names: list[str]
    block: int
    called: str = ""
    target: str = ""
    type: str = ""
    name: str = ""
    size: int = 0
    align: str = ""
    comment: str = ""
    arguments: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Instruction:
    """A function before the kernel, mostly one instruction.

    Attributes
    ----------
    mnemonic
        As PTX calls it; empty for other functions.
    operands
        Names of its parameters, without underscores before and digits behind.
    outputs
        Which of them it writes to.
    """

    mnemonic: str
    operands: tuple[str, ...]
    outputs: tuple[int, ...]


@functools.lru_cache(maxsize=64)
def _instruction(name: str, parameters: str, body: str) -> Instruction:
    listed = [p for p in parameters.split(", ") if p]
    match = _MNEMONIC.search(body)
    mnemonic = match[1] + match[2].replace(" ", "_") if match and name.startswith("tvm_builtin_ptx_") else ""
    operands = tuple(p.split(" ")[-1].lstrip("_").rstrip("0123456789") for p in listed)
    outputs = tuple(i for i, p in enumerate(listed) if "&" in p and not p.startswith("const "))
    return Instruction(mnemonic, operands, outputs)


def instructions(preamble: str) -> dict[str, Instruction]:
    """Return the functions that are defined in a text, by name."""
    return {name: _instruction(name, parameters, body) for name, parameters, body in _FUNCTION.findall(preamble)}


@dataclass(slots=True)
class Kernel:
    """A kernel: its head, up to the brace, and its body.

    Attributes
    ----------
    statements
        The body, braces included.
    uses, writes
        How often each name stands in the body, and how often it is assigned to or written by an instruction.
    outputs
        What the instruction of a statement writes to, by the statement's index.
    """

    head: str
    statements: list[Statement]
    uses: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    outputs: dict[int, list[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, known: dict[str, Instruction]) -> Kernel:
        """Read a definition; raise `Unknown` where it is not what TVM prints.

        Parameters
        ----------
        text
            From ``extern "C"`` to the brace that closes the kernel, without the line's end.
        known
            The functions before it.
        """
        head, _, body = text.partition("\n")
        if not head.endswith(" {") or not body.endswith("}"):
            raise Unknown(text)
        tokens = tokenize(_INDENTATION.sub("\n", "\n" + body))
        kernel = cls(head, [])
        blocks, count, begin = [0], 0, 1
        add = kernel.statements.append
        last = len(tokens) - 1
        while begin < last:  # The last token is the kernel's own brace.
            try:
                end = tokens.index("\n", begin)
            except ValueError:
                raise Unknown(text) from None
            line = tokens[begin:end]
            begin = end + 1
            if not line:
                continue
            if line[0] == "}":
                if len(blocks) == 1:
                    raise Unknown(text)
                blocks.pop()
            add(_statement(line, blocks[-1], known))
            if line[-1] == "{":
                count += 1
                blocks.append(count)
        if len(blocks) != 1 or tokens[-1] != "}":
            raise Unknown(text)
        kernel._count(known)
        return kernel

    def _count(self, known: dict[str, Instruction]) -> None:
        names: list[str] = []
        for i, statement in enumerate(self.statements):
            names += statement.names
            if statement.name:
                names.append(statement.name)
            if statement.target:
                self.writes[statement.target] += 1
            elif statement.called and (instruction := known[statement.called]).outputs:
                found = [names_in(statement.arguments[o][:1]) for o in instruction.outputs]
                if [] in found:
                    raise Unknown("".join(statement.tokens))
                self.outputs[i] = [name for (name,) in found]
                self.writes.update(self.outputs[i])
        self.uses = Counter(names)


def _statement(tokens: list[str], block: int, known: dict[str, Instruction]) -> Statement:
    """Return the statement of a line."""
    first = tokens[0]
    if len(tokens) == 1 and len(first) > 1:
        if match := _ARRAY.fullmatch(first):
            align, kind, name, size = match.groups()
            return Statement("array", [], [], block, "", "", kind, name, int(size), align or "")
        if _RAW.fullmatch(first):
            return Statement("raw", tokens, [], block)
        raise Unknown(first)
    if first[-1] == " " and len(first) > 1 and tokens[2] == " = ":
        name, value = tokens[1], tokens[3:]
        if value[-1] != ";" or " = " in value:
            raise Unknown("".join(tokens))
        return Statement("variable", value, names_in(value), block, "", name, first[:-1], name)
    # TVM prints no jumps, no declarations of several variables, and one statement a line.
    is_branch = first in _BRANCHES
    if not is_branch and (
        "; " in tokens or (len(tokens) > 1 and tokens[1] == " " and not _DECLARED.fullmatch("".join(tokens)))
    ):
        raise Unknown("".join(tokens))
    names = names_in(tokens)
    called = target = ""
    arguments: list[list[str]] = []
    if not is_branch and len(tokens) > 1 and names and first.startswith(names[0]):
        if tokens[1] == "(" and first in known:
            called, arguments = first, _arguments(tokens)
            if len(arguments) != len(known[first].operands):
                raise Unknown("".join(tokens))
        elif tokens[1] == " = " or (tokens[1] == "[" and " = " in tokens):
            target = names[0]
    return Statement("code", tokens, names, block, called, target, arguments=arguments)


def _arguments(tokens: list[str]) -> list[list[str]]:
    """Return the arguments of a call, each as its tokens."""
    found: list[list[str]] = []
    current: list[str] = []
    depth = 0
    for part in tokens[2:-2]:
        if part in ("(", "["):
            depth += 1
        elif part in (")", "]"):
            depth -= 1
        elif part == ", " and not depth:
            found.append(current)
            current = []
            continue
        current.append(part)
    return [*found, current] if current else found
