# SPDX-License-Identifier: Apache-2.0
"""From the text that TVM prints to the one that is shown and compiled."""

from __future__ import annotations

import dataclasses
import itertools
import re
from dataclasses import dataclass, field

from bitquant.source.about import PREFIX, About
from bitquant.source.kernel import Instruction, Kernel, Statement, instructions
from bitquant.source.lines import broken
from bitquant.source.names import is_temporary, name_temporaries
from bitquant.source.sections import add_comments
from bitquant.source.text import (
    NAME,
    Unknown,
    is_name,
    names_in,
    readable_literal,
    without_parentheses,
    without_shifts_by_zero,
)

__all__ = ["readable"]

#: Stands before the kernels of a text that was made readable.
_MARK = "// The operations are those that TVM printed. Names, comments and the macros of indices are bitquant's.\n"
#: Special registers. A variable would be read at its declaration, where the kernel reads them at every use: other code.
_INDICES = {
    "(((int)threadIdx.x) & 31)": "LANE", "(((int)threadIdx.x) >> 5)": "WARP",
    "((int)threadIdx.x)": "THREAD", "((int)threadIdx.y)": "THREAD_Y", "((int)threadIdx.z)": "THREAD_Z",
    "((int)blockIdx.x)": "BLOCK", "((int)blockIdx.y)": "BLOCK_Y", "((int)blockIdx.z)": "BLOCK_Z",
}  # fmt: skip
#: Functions that do nothing but return a value.
_PURE = frozenset(("min", "max"))
#: Variables that TVM declares for indices, and does not use.
_OF_TVM = frozenset(("block", "thread", "warp_id_in_cta"))
#: Functions that take sizes and counts, but no patterns.
_OF_SIZES = ("tvm_builtin_ptx_mbarrier", "tvm_builtin_ptx_cp_async")
_CLUSTER_RANK = "tvm_builtin_cluster_ctaid_x"
#: Functions whose name tells less than it could: that reads %cluster_ctarank, this is PTX's cvta.to.shared.
_PLAIN_NAMES = {_CLUSTER_RANK: "cluster_rank", "tvm_builtin_cuda_cvta_generic_to_shared": "cvta_to_shared"}
_UNUSED = "TVM emits this, and nothing uses the result."
_HEAD = re.compile(r"(.*\()(.+)\) \{")
#: What stores to memory, and takes its address as that of constants.
_STORES = ("st.", "red.", "atom.", "cp.async.bulk.global", "cp.reduce")


def readable(source: str, about: About = About()) -> str:  # noqa: B008  it is immutable
    """Return CUDA C++ that compiles to the same machine code, and says more to people.

    Parameters
    ----------
    source
        What TVM's CUDA back end prints. Kernels that it does not print like that are left as they are, but for the
        names of functions; text that this function returned, and text in which a macro would mean something, is
        returned as it is.
    about
        What stands above the kernels.

    Returns
    -------
    str
        Temporaries have names of what they hold (`bitquant.source.names`), those of one element that are written once
        are scalars, variables that nobody reads are gone, patterns of bits are hexadecimal, indices of threads and
        blocks have names, functions are called as their PTX instruction, and parts have comments.
    """
    begin = source.find('extern "C" __global__')
    if begin < 0 or _MARK in source or any(name in source for name in _INDICES.values()):
        return source
    if PREFIX in source:
        about = dataclasses.replace(about, memory=())
    preamble, rest = source[:begin], source[begin:]
    words = set(NAME.findall(preamble))
    known = instructions(preamble)
    functions = _function_names(known, words)
    parts, at = [], 0
    while (end := rest.find("\n}", at)) >= 0:
        text = rest[at : end + 2]
        at = end + 2
        parts.append(_rewritten(text, known, functions, words, about))
    rest = "".join(parts) + rest[at:]
    used = {name for name in _INDICES.values() if name in rest}
    used |= {"THREAD"} if used & {"LANE", "WARP"} else set()
    defines = [f"#define {name} {_defined(index)}\n" for index, name in _INDICES.items() if name in used]
    return _renamed(preamble, functions) + "".join([_MARK, about.head(), *reversed(defines)]) + rest


def _rewritten(
    text: str, known: dict[str, Instruction], functions: dict[str, str], words: set[str], about: About
) -> str:
    """Return a kernel, from what stands before it to its last brace; as it was where it is not what TVM prints."""
    begin = text.find(" {\n")
    head = text[: text.rfind("\n", 0, begin) + 1] if begin >= 0 else ""
    definition = text[len(head) :]
    short = definition
    for index, name in _INDICES.items():
        short = short.replace(index, name)
    try:
        text = _Writer(Kernel.parse(short, known), known, functions, words, about).text()
    except Unknown:
        return _renamed(text, functions)
    declared = definition[: definition.find(" {\n")]
    return head.replace(f"{declared};\n", "") + text


def _defined(index: str) -> str:
    return index.replace("((int)threadIdx.x)", "THREAD") if index.startswith("(((") else index


def _renamed(text: str, functions: dict[str, str]) -> str:
    return re.sub(r"\btvm_builtin_\w+", lambda match: functions.get(match[0], match[0]), text)


def _function_names(known: dict[str, Instruction], words: set[str]) -> dict[str, str]:
    """Return what TVM's functions are called: as the instruction in PTX, as far as that tells them apart."""
    taken = set(words)
    result = {}
    for name, instruction in known.items():
        if not name.startswith("tvm_builtin_"):
            continue
        plain = _PLAIN_NAMES.get(name) or name.removeprefix("tvm_builtin_")
        from_ptx = "ptx_" + re.sub(r"[.:]+", "_", instruction.mnemonic)
        new = from_ptx if instruction.mnemonic and from_ptx not in taken else plain
        if new not in taken:
            taken.add(new)
            result[name] = new
    return result


@dataclass
class _Writer:
    """Writes one kernel."""

    kernel: Kernel
    known: dict[str, Instruction]
    functions: dict[str, str]
    words: set[str]
    about: About
    scalars: set[str] = field(default_factory=set)

    def text(self) -> str:
        kernel = self.kernel
        self._scalars()
        self._remove_unused()
        taken = self.words.union(kernel.uses, NAME.findall(kernel.head), self.functions.values())
        names = name_temporaries(kernel, self.known, taken)
        add_comments(kernel, self.known, names)
        self.names = {**self.functions, **names}
        self._new = _NewTokens(self.names, self.scalars)
        lines, depth = self._head(), 1
        for statement in kernel.statements:
            if statement.kind == "gone":
                continue
            line = self._line(statement)
            if line[:1] == "}":
                depth -= 1
            indent = "  " * depth
            if statement.comment:
                lines.append(f"{indent}// {statement.comment}")
            lines += broken(indent + line)
            if line[-1:] == "{":
                depth += 1
        lines.append("}")
        return "\n".join(lines)

    def _head(self) -> list[str]:
        """Return the lines up to the body: a parameter a line.

        const are those that instructions alone read. Where the compiler chooses the load, const would have a say in it.
        """
        kernel = self.kernel
        head = NAME.sub(lambda match: self.names.get(match[0], match[0]), kernel.head)
        match = _HEAD.fullmatch(head)
        if match is None:
            return [head]
        declaration, parameters = match[1], match[2].split(", ")
        read = {p.rpartition(" ")[2] for p in parameters if "* __restrict__" in p}
        for statement in kernel.statements:
            if read.isdisjoint(statement.names):
                continue
            tokens = statement.tokens
            if statement.called and self.known[statement.called].mnemonic.startswith(_STORES):
                read.difference_update(statement.names)
            for i, token in enumerate(tokens):
                if token.partition("[")[0] in read and tokens[i - 2 : i] != ["&", "("]:
                    read.discard(token.partition("[")[0])
        parameters = [f"const {p}" if p.rpartition(" ")[2] in read else p for p in parameters]
        return [declaration, *(f"    {p}," for p in parameters[:-1]), f"    {parameters[-1]}) {{"]

    def _remove_unused(self) -> None:
        """Remove what nobody reads, where the compiler takes no notice.

        The first value of a block with a loop's variable + 1 stays: that equals the loop's own, and the compiler
        computes both where it meets the first. Of volatile instructions the calls stay: without them,
        others are scheduled differently.
        """
        uses = self.kernel.uses
        computed: set[tuple[int, str]] = set()
        for statement in self.kernel.statements:
            name = statement.name
            if statement.kind == "array" and uses[name] == 1:
                statement.kind = "gone"
            if statement.kind != "variable" or uses[name] > 1 or not (is_temporary(name) or name in _OF_TVM):
                continue
            tokens = statement.tokens
            called = [t for t, after in itertools.pairwise(tokens) if after == "(" and is_name(t) and t not in _PURE]
            if not called:
                successors = {
                    (statement.block, t)
                    for i, t in enumerate(tokens)
                    if tokens[i + 1 : i + 3] == [" + ", "1"] and is_name(t)
                }
                if successors <= computed:
                    statement.kind = "gone"
                computed |= successors
            elif set(called) == {_CLUSTER_RANK}:
                statement.kind, statement.target, statement.name = "code", "", ""
                statement.comment = _UNUSED
                statement.tokens = [_CLUSTER_RANK, "(", ")", ";"]
                statement.tokens += [" ", *statement.tokens] * (len(called) - 1)
            elif called == ["__shfl_sync"] and tokens[0] == "__shfl_sync" and tokens[-2:] == [")", ";"]:
                statement.kind, statement.target, statement.name = "code", "", ""
                statement.comment = _UNUSED

    def _scalars(self) -> None:
        """Make scalars of arrays of one element that are written once and used up to the next branch.

        They are declared where they are written. The compiler takes an array apart later than it puts a scalar into a
        register, which does not show in the machine code of most kernels. It does in those with wgmma: there, only what
        an instruction writes becomes a scalar, whose address keeps it in memory for as long.
        """
        kernel = self.kernel
        single = {
            s.name: s
            for s in kernel.statements
            if s.kind == "array" and s.size == 1 and kernel.writes[s.name] == 1 and is_temporary(s.name)
        }
        if any(i.mnemonic.startswith("wgmma.") for s in kernel.statements if (i := self.known.get(s.called))):
            by_instruction = {name for outputs in kernel.outputs.values() for name in outputs}
            single = {name: s for name, s in single.items() if name in by_instruction}
        wanted = {f"{name}[0]" for name in single}
        counted = dict.fromkeys(single, 1)
        begun: dict[str, int] = {}
        straight = 0  # Counts the pieces of code without branches and labels.
        for statement in kernel.statements:
            tokens = statement.tokens
            if tokens and tokens[0] == "}":
                straight += 1
            if not wanted.isdisjoint(tokens):
                for token in tokens:
                    if token in wanted:
                        name = token[:-3]
                        counted[name] += begun.setdefault(name, straight) == straight
            if "{" in tokens:
                straight += 1
        self.scalars = {name for name, count in counted.items() if count == kernel.uses[name]}
        for statement in kernel.statements:
            if statement.kind == "code" and statement.target in self.scalars:
                declared = single[statement.target]
                if declared.block == statement.block:
                    statement.kind, statement.type, statement.name = "variable", declared.type, statement.target
                    statement.tokens, statement.names = statement.tokens[2:], statement.names[1:]
                    statement.comment = statement.comment or declared.comment
                    declared.kind = "gone"
                    kernel.uses[statement.name] -= 1

    def _line(self, statement: Statement) -> str:
        if statement.kind == "raw":
            return statement.tokens[0]
        name = self.names.get(statement.name, statement.name)
        if statement.kind == "array":
            if statement.name in self.scalars:
                return f"{statement.type} {name};"
            align = f"alignas({statement.align}) " if statement.align and statement.size > 1 else ""
            return f"{align}{statement.type} {name}[{statement.size}];"
        line = "".join(self._expression(statement.tokens))
        return f"{statement.type} {name} = {line}" if statement.kind == "variable" else line

    def _expression(self, tokens: list[str]) -> list[str]:
        tokens = without_shifts_by_zero(tokens)
        tokens = self.about.with_names(tokens, list(map(self._new.__getitem__, names_in(tokens))))
        result = list(map(self._new.__getitem__, tokens))
        if not self._new.literals.isdisjoint(tokens):
            is_number = tokens[0].startswith(_OF_SIZES)
            last = len(tokens) - 1
            for i, token in enumerate(tokens):
                if token in self._new.literals:
                    around = (tokens[i - 1] if i else "", tokens[i + 1] if i < last else "")
                    result[i] = readable_literal(token, *around, is_number)
        return self.about.with_sums(without_parentheses(result))


class _NewTokens(dict[str, str]):
    """What stands for each token. `literals` are those that their neighbours decide about."""

    def __init__(self, names: dict[str, str], scalars: set[str]) -> None:
        super().__init__()
        self.literals: set[str] = set()
        self._names, self._scalars = names, scalars

    def __missing__(self, token: str) -> str:
        new = token
        first = token[0]
        if first == "_" or first.isalpha():
            base, bracket, index = token.partition("[")
            new = self._names.get(base, base)
            if base not in self._scalars:
                new += bracket + index
        elif token[-1] == "/" or (first == "(" and len(token) > 1 and token[-1] != ")"):
            new = readable_literal(token, "", "")
            if new != readable_literal(token, "", "", is_number=True):
                self.literals.add(token)
        self[token] = new
        return new
